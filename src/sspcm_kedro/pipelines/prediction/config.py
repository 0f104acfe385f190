"""What prediction is asked for."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from sspcm_kedro.config import Distinct, Settings, Share
from sspcm_kedro.data.video import SUFFIXES as VIDEOS
from sspcm_kedro.engine.frames import BATCH
from sspcm_kedro.errors import BadInput
from sspcm_kedro.exports import ExportFormat
from sspcm_kedro.nets.detector import DetectorConfig
from sspcm_kedro.sources.image_folder import SUFFIXES as IMAGES


class PredictionConfig(Settings):
    """What to predict on, and how.

    Attributes:
        images: a folder of images, also in sub-folders, or an image; or a video, or a folder of
            videos.
        boxes: of the people. Without it each image or frame is taken as one person who fills it. A
            COCO file, its file names relative to ``images``; of videos a CSV table (``frame, x0,
            y0, x1, y1``). ``detector``: a detector finds them. ``previous``, of videos: one person
            or animal, boxed by its keypoints on the frame before.
        detections: a detector's result list for the images of ``boxes``, instead of its boxes.
        detector: which one.
        min_box_score: the lowest score of a detector's box.
        threshold: of keypoint scores. Below it a keypoint has visibility 1, at it or above 2; and
            outside of the image 0.
        smooth: keypoints of videos over time.
        batch: people of videos at once.
        runtime: what computes the network on a CPU, of videos.
        shown: people on the overlay sheet, evenly spaced.
        formats: of other tools, that the keypoints are written in as well.
    """

    images: Path | None = None
    boxes: Literal["detector", "previous"] | Path | None = None
    detections: Path | None = None
    detector: DetectorConfig = DetectorConfig()
    min_box_score: Share = 0.5
    threshold: Share = 0.2
    smooth: bool = False
    batch: int = Field(default=BATCH, ge=1, le=4096)
    runtime: Literal["onnxruntime", "torch"] = Field(
        default="onnxruntime", description="what computes the network on a CPU, of videos"
    )
    shown: int = Field(default=24, ge=1, le=1000)
    formats: Annotated[tuple[ExportFormat, ...], Distinct] = ()

    @model_validator(mode="after")
    def _listed(self) -> "PredictionConfig":
        if self.detections is not None and not isinstance(self.boxes, Path):
            raise ValueError(
                "detections know images by id; set prediction.boxes to the COCO file listing them"
            )
        return self

    @property
    def root(self) -> Path:
        """The folder that names of files are relative to.

        Raises:
            BadInput: nothing was given to predict on.
        """
        if self.images is None:
            remedy = "kedro run --pipelines prediction --params prediction.images=FOLDER"
            rule = "must name a folder of images, an image, a video or a folder of videos"
            raise BadInput("parameter prediction.images", rule, remedy)
        return self.images.parent if self.images.is_file() else self.images


def find_videos(images: Path | None) -> list[Path]:
    """The videos that ``prediction.images`` means, by name; none where it means images.

    A folder with an image in it is a folder of images.
    """
    if images is None:
        return []
    if not images.is_dir():
        return [images] if images.suffix.lower() in VIDEOS else []
    files = [file for file in sorted(images.rglob("*")) if not file.name.startswith("._")]
    if any(file.suffix.lower() in IMAGES for file in files):
        return []
    return [file for file in files if file.suffix.lower() in VIDEOS and file.is_file()]
