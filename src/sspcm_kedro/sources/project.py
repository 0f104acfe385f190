"""What sources have in common that are projects of a labeling tool, with keypoints of their own."""

import logging
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from sspcm_kedro.data.instances import Instances
from sspcm_kedro.data.source import Source
from sspcm_kedro.data.video import SUFFIXES
from sspcm_kedro.errors import BadInput, shown
from sspcm_kedro.pose.sides import flip_pairs_from_names
from sspcm_kedro.pose.skeleton import Skeleton
from sspcm_kedro.sources.base import BaseSource, assemble
from sspcm_kedro.sources.image_folder import read_image_folder
from sspcm_kedro.sources.labeled import (
    BoxKind,
    Labeled,
    drop_points_outside,
    frame_boxes,
    put_in_boxes,
    to_instances,
    unlabeled_images,
    usual_box,
)
from sspcm_kedro.sources.own_skeleton import (
    adjust_skeleton,
    torso_from_names,
    warn_of_lone_sides,
)
from sspcm_kedro.sources.video_frames import VideoFrames, listed_frames

logger = logging.getLogger(__name__)

Pairs = tuple[tuple[int, int], ...]


class ProjectSource(BaseSource):
    """A project of a labeling tool.

    Attributes:
        root: its folder.
        unlabeled: a folder of further images that nobody has labeled, and of those in it, relative
            to the root. The whole image is the box of the one on it.
        box: "frame" takes the whole image for the box of the one on it, "keypoints" what labeled
            keypoints span, and a margin, "annotated" the project's own boxes. By default the
            project's own, where it has them for everybody; else "frame", where one is on each
            image; else "keypoints". Only whole images can be boxes of images without labels.
        margin: of a box of keypoints, on each side, as a share of their longer side.
        flip_pairs: index pairs, from 0, where left/right in the names does not tell them.
        torso: index pair, from 0: the keypoints whose distance is PCK's unit, where they are not
            the left shoulder and the right hip.
    """

    skeleton = Skeleton(("keypoint_1", "keypoint_2"), category="animal")

    root: Path
    unlabeled: Path | None = None
    box: BoxKind | None = None
    margin: Annotated[float, Field(ge=0, le=10)] = 0.25
    flip_pairs: Pairs | None = None
    torso: tuple[int, int] | None = None

    def own_skeleton(
        self, file: Path, names: Sequence[str], limbs: Pairs = (), flip_pairs: Pairs | None = None,
        category: str = "animal",
    ) -> Skeleton:  # fmt: skip
        """The project's keypoints, as names and settings have it.

        Args:
            file: that names them, for messages.
            names: the k keypoints.
            limbs: index pairs to draw.
            flip_pairs: those that the project says; None where it says nothing.
            category: what those who have them are called.
        """
        need_names(file, names)
        known = flip_pairs_from_names(names) if flip_pairs is None else flip_pairs
        skeleton = Skeleton(tuple(names), known, limbs=limbs, torso=torso_from_names(names),
                            category=category)  # fmt: skip
        if self.flip_pairs is None and flip_pairs is None:
            warn_of_lone_sides(file, skeleton)
        return adjust_skeleton(skeleton, flip_pairs=self.flip_pairs, torso=self.torso)

    def source_of(
        self, file: Path, skeleton: Skeleton, labeled: Sequence[Labeled],
        unlabeled: Sequence[Labeled] = (), validation: Sequence[Labeled] = (),
        box: BoxKind | None = None, listed: Collection[Path] = (),
    ) -> Source:  # fmt: skip
        """The people in their boxes, and the images without labels.

        Args:
            file: the project's own, for messages.
            skeleton: the k keypoints.
            labeled: those with labels; points off their image, and who has none left, are left out.
            unlabeled: images that nobody has labeled, besides those of the settings.
            validation: those with labels to validate on.
            box: the kind of box, where the settings do not say; None: the usual one.
            listed: images that the project knows, some of nobody: these are no further ones.

        Raises:
            BadInput: nobody has a label, a box is none, or images without labels have no box.
        """
        known = {person.path for part in (labeled, unlabeled, validation) for person in part}
        labeled, held_out = drop_points_outside(labeled), drop_points_outside(validation)
        if not labeled:
            rule = "at least one image must have a labeled keypoint, and none has"
            raise BadInput(file, rule, "Label images with the tool, and export them again")
        kind = self.box or box or usual_box([*labeled, *held_out])
        annotated = self._boxed(file, labeled, kind)
        pool = [*unlabeled, *self._further_images(skeleton.size, known.union(listed))]
        if kind != "frame" and self.unlabeled is not None:
            rule = "images without labels can have no box but the whole image"
            remedy = "Set source.box=frame, or leave source.unlabeled out"
            raise BadInput("parameter source.unlabeled", rule, remedy)
        if kind != "frame" and pool:
            logger.warning("%d images without labels have no box, and are left out", len(pool))
            pool = []
        logger.info("%s: %d are labeled, in boxes that are %s; %d images have no labels",
                    file, len(annotated), _BOXES[kind], len(pool))  # fmt: skip
        return assemble(
            skeleton, annotated, self._boxed(file, held_out, kind) if held_out else None,
            to_instances(pool, frame_boxes(pool)) if pool else None,
        )  # fmt: skip

    def _boxed(self, file: Path, people: Sequence[Labeled], kind: BoxKind) -> Instances:
        boxed, boxes = put_in_boxes(file, people, kind, self.margin)
        if not boxed:
            rule = "somebody must have two labeled keypoints, which a box can be made of"
            raise BadInput(file, rule, "Set source.box=frame, or label more keypoints")
        return to_instances(boxed, boxes)

    def _further_images(self, k: int, known: set[Path]) -> list[Labeled]:
        if self.unlabeled is None:
            return []
        return further_images(self.root / self.unlabeled, k, known)


def further_images(folder: Path, k: int, known: set[Path]) -> list[Labeled]:
    """The images of a folder and of those in it, but for known ones, each one without a label."""
    paths = [Path(path) for path in read_image_folder(folder).paths]
    paths = [path for path in paths if path not in known]
    return unlabeled_images(paths, [path.relative_to(folder).as_posix() for path in paths], k)


_BOXES = {"frame": "whole images", "keypoints": "around their keypoints",
          "annotated": "the project's own"}  # fmt: skip


class VideoProjectSource(ProjectSource):
    """A project with videos, of which frames are the unlabeled images.

    Attributes:
        frames: how many frames to choose, at most, of all videos together; 0 leaves videos out.
        videos: their folder, relative to the root.
    """

    has_videos = True

    frames: Annotated[int, Field(ge=0, le=100_000)] = 2000
    videos: Path = Path("videos")

    def need_frames(self, made_folder: Path | None) -> None:
        """Refuse to read a project before the frames of its videos are there.

        Raises:
            BadInput: frames are wanted, and node 'choose_frames' does not make them.
        """
        if made_folder is None and self.frames:
            rule = "must be 0 where node 'choose_frames' does not choose them, as in a union"
            raise BadInput("parameter source.frames", rule, "Set it to 0, which leaves videos out")

    def chosen_frames(self, made_folder: Path | None, k: int) -> list[Labeled]:
        """The frames of the folder that node 'choose_frames' has written, without labels."""
        if made_folder is None or not self.frames:
            return []
        return frame_images(made_folder, k)

    def frames_of(
        self, videos: Mapping[Path, tuple[int, ...]], box: BoxKind | None = None
    ) -> VideoFrames:
        """What frames to choose of.

        Args:
            videos: each with the frames that are images of the project already.
            box: the kind of box, where the settings do not say.

        Raises:
            BadInput: there are videos, and their frames would have no boxes.
        """
        if not self.frames:
            return VideoFrames({}, 0)
        if not videos:
            logger.warning("no video is in %s: no frames are chosen", self.root / self.videos)
        elif (self.box or box or "frame") != "frame":
            rule = "frames of videos have no labels, and so no box around labeled keypoints"
            remedy = "Leave videos out (source.frames=0), or take whole frames (source.box=frame)"
            raise BadInput("parameter source.frames", rule, remedy)
        return VideoFrames(videos, self.frames)

    def find_videos(self) -> list[Path]:
        """The videos of the folder, by name."""
        return videos_in(self.root / self.videos)


def frame_images(made_folder: Path, k: int) -> list[Labeled]:
    """The frames of a folder that node 'choose_frames' has written, each one without a label."""
    nothing = np.full((k, 2), np.nan)
    return [
        Labeled(made_folder / frame["file"], (frame["height"], frame["width"]), nothing,
                name=frame["file"])
        for frame in listed_frames(made_folder)
    ]  # fmt: skip


def videos_in(folder: Path) -> list[Path]:
    """The videos of a folder, by name; those of folders in it are not."""
    there = sorted(folder.iterdir()) if folder.is_dir() else []
    return [path for path in there if path.suffix.lower() in SUFFIXES and path.is_file()
            and not path.name.startswith(".")]  # fmt: skip


def need_names(file: Path, names: Sequence[Any]) -> None:
    """Refuse keypoints that are no different names.

    Raises:
        BadInput: there is none, one is no text, or one is there twice.
    """
    texts = [name for name in names if isinstance(name, str) and name.strip()]
    if not texts or len(texts) < len(names) or len(set(texts)) < len(texts):
        rule = f"keypoints must have different names, found {shown(list(names))}"
        raise BadInput(file, rule, "Name each keypoint, and none like another one")
