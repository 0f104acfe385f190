"""The annotation queue: the people whose pseudo-labels most need somebody's eyes."""

from sspcm_kedro.pipelines.annotation_queue.pipeline import create_pipeline

__all__ = ["create_pipeline"]
