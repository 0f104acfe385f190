"""DeepLabCut projects: config.yaml, labeled-data/ and the frames of videos/."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from sspcm_kedro.data.instances import Instances, as_text
from sspcm_kedro.data.source import Source
from sspcm_kedro.errors import BadInput
from sspcm_kedro.pose.sides import flip_pairs_from_names
from sspcm_kedro.pose.skeleton import Skeleton
from sspcm_kedro.sources.base import BaseSource, assemble, boxed_instances, number_names
from sspcm_kedro.sources.deeplabcut_labels import Animal, frame_boxes, keypoint_boxes, read_labels
from sspcm_kedro.sources.deeplabcut_project import CONFIG, Project, read_project
from sspcm_kedro.sources.own_skeleton import (
    adjust_skeleton,
    torso_from_names,
    warn_of_lone_sides,
)
from sspcm_kedro.sources.video_frames import VideoFrames, listed_frames

logger = logging.getLogger(__name__)


class DeepLabCutSource(BaseSource):
    """A DeepLabCut project: labels of `labeled-data/`, and frames of `videos/` without any.

    Labels are those of the CSV files; their twins in HDF5 (.h5) are not read.

    Attributes:
        root: the project's folder, in which config.yaml is.
        frames: how many frames to choose, at most, of all videos together; 0 leaves videos out.
        videos: their folder, relative to the root.
        box: "frame" takes the whole image for the box of the one animal on it, "keypoints" what
            the animal's labeled keypoints span, and a margin. An image without labels then has no
            box, so frames must be 0. By default "frame", of a project of several animals
            "keypoints".
        margin: of a box of keypoints, on each side, as a share of their longer side.
        scorer: whose labels, where not those of the scorer in config.yaml.
        flip_pairs: index pairs, from 0, where left/right in the names does not tell them.
        torso: index pair, from 0: the keypoints whose distance is PCK's unit, where they are not
            the left shoulder and the right hip.
    """

    skeleton = Skeleton(("bodypart1", "bodypart2", "bodypart3", "objectA"), category="animal")

    kind: Literal["deeplabcut"] = "deeplabcut"
    root: Path
    frames: Annotated[int, Field(ge=0, le=100_000)] = 2000
    videos: Path = Path("videos")
    box: Literal["frame", "keypoints"] | None = None
    margin: Annotated[float, Field(ge=0, le=10)] = 0.25
    scorer: str | None = None
    flip_pairs: tuple[tuple[int, int], ...] | None = None
    torso: tuple[int, int] | None = None

    def video_frames(self) -> VideoFrames:
        """What frames to choose of; those that DeepLabCut has extracted are known already.

        Raises:
            BadInput: there are videos, and their frames would have no boxes.
        """
        project = read_project(self.root)
        if not self.frames:
            return VideoFrames({}, 0)
        folder = self.root / self.videos
        videos = project.find_videos(folder)
        if not videos:
            logger.warning("no video is in %s: no frames are chosen", folder)
        elif not self._takes_frames(project):
            rule = "frames of videos have no labels, and so no box around labeled keypoints"
            remedy = "Leave videos out (source.frames=0), or take whole frames (source.box=frame)"
            raise BadInput("parameter source.frames", rule, remedy)
        return VideoFrames({v: project.extracted_frames(v) for v in videos}, self.frames)

    def read(self, made_folder: Path | None = None) -> Source:
        project = read_project(self.root)
        if made_folder is None and self.frames:
            rule = "must be 0 where node 'choose_frames' does not choose them, as in a union"
            raise BadInput("parameter source.frames", rule, "Set it to 0, which leaves videos out")
        whole = self._takes_frames(project)
        animals, others = read_labels(project, self.scorer or project.scorer, one_an_image=whole)
        if made_folder is not None and self.frames:
            others += _chosen_frames(made_folder, len(project.bodyparts))
        if whole:
            boxes = frame_boxes(animals)
        else:
            animals, boxes = keypoint_boxes(animals, self.margin)
            if others:
                logger.warning("%d images without labels have no box, and are left out",
                               len(others))  # fmt: skip
            others = []
        if not animals:
            rule = "an image must have labeled points in a table CollectedData_<scorer>.csv"
            remedy = "Label frames with DeepLabCut (a .h5 file alone is not read)"
            raise BadInput(self.root / "labeled-data", rule, remedy)
        annotated = self._instances(animals, boxes)
        pool = self._instances(others, frame_boxes(others)) if others else None
        return assemble(self._skeleton(project), annotated, unlabeled=pool)

    def _takes_frames(self, project: Project) -> bool:
        """Whether a box is the whole image."""
        return (self.box or ("keypoints" if project.several else "frame")) == "frame"

    def _skeleton(self, project: Project) -> Skeleton:
        names = project.bodyparts
        skeleton = Skeleton(
            names, flip_pairs_from_names(names), limbs=project.limbs,
            torso=torso_from_names(names), category=type(self).skeleton.category,
        )  # fmt: skip
        if self.flip_pairs is None:
            warn_of_lone_sides(self.root / CONFIG, skeleton)
        return adjust_skeleton(skeleton, flip_pairs=self.flip_pairs, torso=self.torso)

    def _instances(self, animals: Sequence[Animal], boxes: np.ndarray) -> Instances:
        """The animals, numbered from 1, on images that are called as in the tables."""
        points = np.stack([animal.points for animal in animals])
        paths = [animal.path for animal in animals]
        labeled = self.root / "labeled-data"
        names = [
            path.relative_to(self.root if labeled in path.parents else path.parents[1]).as_posix()
            for path in paths
        ]
        return boxed_instances(
            ids=np.arange(1, len(animals) + 1),
            image_ids=number_names(names),
            source_image_ids=as_text(names),
            paths=paths,
            image_hw=np.array([animal.image_hw for animal in animals], np.int64),
            boxes=boxes,
            keypoints=points,
            visibility=np.where(np.isnan(points).any(axis=-1), 0, 2),
        )


def _chosen_frames(folder: Path, k: int) -> list[Animal]:
    """The frames of the folder that node 'choose_frames' has written, without labels."""
    nothing = np.full((k, 2), np.nan)
    return [
        Animal(folder / frame["file"], (frame["height"], frame["width"]), nothing)
        for frame in listed_frames(folder)
    ]
