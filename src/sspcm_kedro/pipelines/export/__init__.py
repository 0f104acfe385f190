"""Export: the trained model as a file that runs without this project."""

from sspcm_kedro.pipelines.export.pipeline import create_pipeline

__all__ = ["create_pipeline"]
