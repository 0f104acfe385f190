"""Baseline: any method without rounds, as one node."""

from sspcm_kedro.pipelines.baseline.pipeline import create_pipeline

__all__ = ["create_pipeline"]
