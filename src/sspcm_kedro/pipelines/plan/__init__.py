"""Plan: what a full run of an environment costs, counted without its data."""

from sspcm_kedro.pipelines.plan.pipeline import create_pipeline

__all__ = ["create_pipeline"]
