"""Warm-up: the networks of the method learn from the labels."""

from sspcm_kedro.pipelines.warmup.pipeline import create_pipeline

__all__ = ["create_pipeline"]
