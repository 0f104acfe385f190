"""Reporting: numbers and labels to figures, a table and one page."""

from sspcm_kedro.pipelines.reporting.pipeline import create_pipeline

__all__ = ["create_pipeline"]
