"""Warm-up: teachers and student learn from the labels."""

from sspcm_kedro.pipelines.warmup.pipeline import create_pipeline

__all__ = ["create_pipeline"]
