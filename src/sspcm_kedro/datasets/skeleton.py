"""Skeletons in JSON files."""

from sspcm_kedro.datasets.files import JsonDataset
from sspcm_kedro.pose.skeleton import Skeleton


class SkeletonDataset(JsonDataset):
    """A keypoint convention: names, flip pairs, sigmas, limbs."""

    REMEDY = "Delete it, and read the people again: kedro run --pipelines ingestion"

    def save(self, data: Skeleton) -> None:
        super().save(data.to_dict())

    def load(self) -> Skeleton:
        return Skeleton.from_dict(super().load())
