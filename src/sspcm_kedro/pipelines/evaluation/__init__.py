"""Evaluation: networks on validation people, and pseudo-labels against the hidden truth."""

from sspcm_kedro.pipelines.evaluation.pipeline import create_comparison_pipeline, create_pipeline

__all__ = ["create_comparison_pipeline", "create_pipeline"]
