"""Crops, stored for training to read."""

from sspcm_kedro.pipelines.crops.pipeline import create_pipeline

__all__ = ["create_pipeline"]
