"""Ingestion: a source of people becomes labeled, unlabeled and validation tables."""

from sspcm_kedro.pipelines.ingestion.pipeline import create_pipeline

__all__ = ["create_pipeline"]
