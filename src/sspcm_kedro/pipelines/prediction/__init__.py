"""Prediction: the trained model on any images or videos."""

from sspcm_kedro.pipelines.prediction.config import find_videos
from sspcm_kedro.pipelines.prediction.pipeline import create_pipeline

__all__ = ["create_pipeline", "find_videos"]
