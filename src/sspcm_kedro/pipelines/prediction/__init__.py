"""Prediction: the trained model on any folder of images."""

from sspcm_kedro.pipelines.prediction.pipeline import create_pipeline

__all__ = ["create_pipeline"]
