"""Comparison: any method without rounds, as one node."""

from sspcm_kedro.pipelines.comparison.pipeline import create_pipeline

__all__ = ["create_pipeline"]
