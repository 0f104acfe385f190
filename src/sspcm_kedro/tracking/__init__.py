"""Experiments as MLflow runs. Nothing outside this package imports MLflow."""

from sspcm_kedro.tracking.hook import Tracking

__all__ = ["Tracking"]
