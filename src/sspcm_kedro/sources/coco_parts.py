"""The parts of a COCO source: which files they are."""

from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from sspcm_kedro.config import Settings


class CocoPart(Settings):
    """Annotations and their images, both relative to the source's root."""

    annotations: Path
    images: Path


class DetectedPart(CocoPart):
    """People in boxes.

    Attributes:
        annotations: their boxes; with ``detections`` only the list of images.
        detections: their boxes as a detector's result list.
    """

    detections: Path | None = None


class UnlabeledPart(Settings):
    """People without labels: those of annotations, of a folder of images, or of videos.

    Attributes:
        annotations: their boxes; with ``detections`` only the list of images. Labels are erased,
            and kept as the hidden truth. Without it each image is one person who fills it.
        images: their images.
        videos: a folder of videos; of these frames are chosen, each one person who fills it.
        frames: how many, at most, of all videos together.
        detections: their boxes as a detector's result list.
        truth: their labels in a file of its own, with the same annotation ids.
        min_box_score: people of ``detections`` with a lower score are left out, and counted in the
            log; null takes everybody, as published.
    """

    annotations: Path | None = None
    images: Path | None = None
    videos: Path | None = None
    frames: Annotated[int, Field(ge=1, le=100_000)] = 2000
    detections: Path | None = None
    truth: Path | None = None
    min_box_score: float | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.images is None) == (self.videos is None):
            raise ValueError("unlabeled people are of images or of videos: name one of the two")
        further = {"annotations": self.annotations, "detections": self.detections,
                   "truth": self.truth}  # fmt: skip
        given = [name for name, path in further.items() if path is not None]
        if given and (self.annotations is None or self.images is None):
            raise ValueError(f"{given[0]} of unlabeled people needs annotations and images")
        if self.min_box_score is not None and self.detections is None:
            raise ValueError("min_box_score is of detections, and no file of them is named")
        return self

    @property
    def boxed(self) -> DetectedPart | None:
        """The part whose people have boxes; None: each image is one person."""
        if self.annotations is None or self.images is None:
            return None
        return DetectedPart(
            annotations=self.annotations, images=self.images, detections=self.detections
        )


def _of_folder(given: Any) -> Any:
    return {"images": given} if isinstance(given, str | Path) else given


UnlabeledFolderOrPart = Annotated[
    UnlabeledPart | None,
    BeforeValidator(_of_folder, json_schema_input_type=UnlabeledPart | Path | None),
]
"""A folder alone is that of the images, as all other sources of images have it."""
