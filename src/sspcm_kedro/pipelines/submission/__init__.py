"""Submission: a network's predictions for a set's test people, as its server takes them."""

from sspcm_kedro.pipelines.submission.pipeline import create_pipeline

__all__ = ["create_pipeline"]
