"""Download: the published sets, fetched or with the way to them."""

from sspcm_kedro.pipelines.download.pipeline import create_pipeline

__all__ = ["create_pipeline"]
