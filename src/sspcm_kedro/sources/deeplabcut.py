"""DeepLabCut projects: config.yaml, labeled-data/ and the frames of videos/."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

from sspcm_kedro.data.source import Source
from sspcm_kedro.errors import BadInput
from sspcm_kedro.pose.skeleton import Skeleton
from sspcm_kedro.sources.deeplabcut_labels import read_labels
from sspcm_kedro.sources.deeplabcut_project import (
    CONFIG,
    Project,
    extracted_frames,
    read_project,
)
from sspcm_kedro.sources.labeled import BoxKind
from sspcm_kedro.sources.project import VideoProjectSource
from sspcm_kedro.sources.video_frames import VideoFrames


class DeepLabCutSource(VideoProjectSource):
    """A DeepLabCut project: labels of `labeled-data/`, and frames of `videos/` without any.

    Labels are those of the CSV files; their twins in HDF5 (.h5) are not read. By default a box is
    the whole image, of a project of several animals what the animal's keypoints span.

    Attributes:
        box: "frame" or "keypoints"; an image without labels then has no box, so frames must be 0.
        scorer: whose labels, where not those of the scorer in config.yaml; without it a folder's
            only table is read, whoever has labeled.
    """

    skeleton = Skeleton(("bodypart1", "bodypart2", "bodypart3", "objectA"), category="animal")

    kind: Literal["deeplabcut"] = "deeplabcut"
    box: Literal["frame", "keypoints"] | None = None
    scorer: str | None = None

    def video_frames(self) -> VideoFrames:
        """What frames to choose of; those that DeepLabCut has extracted are known already.

        They are cut as DeepLabCut has cut those that it has extracted.

        Raises:
            BadInput: there are videos, and their frames would have no boxes.
        """
        project = read_project(self.root)
        videos = project.find_videos(self.root / self.videos) if self.frames else []
        labeled = self.root / "labeled-data"
        frames = {video: extracted_frames(labeled / video.stem) for video in videos}
        crops = {video: crop for video in videos if (crop := project.crop_of(video))}
        return replace(self.frames_of(frames, self._box_of(project)), crops=crops)

    def read(self, made_folder: Path | None = None) -> Source:
        project = read_project(self.root)
        self.need_frames(made_folder)
        box = self._box_of(project)
        animals, others = read_labels(project, self.scorer, one_an_image=box == "frame")
        if not animals:
            rule = "an image must have labeled points in a table CollectedData_<scorer>.csv"
            remedy = "Label frames with DeepLabCut (a .h5 file alone is not read)"
            raise BadInput(self.root / "labeled-data", rule, remedy)
        file = self.root / CONFIG
        skeleton = self.own_skeleton(file, project.bodyparts, project.limbs)
        others += self.chosen_frames(made_folder, skeleton.size)
        return self.source_of(file, skeleton, animals, others, box=box)

    def _box_of(self, project: Project) -> BoxKind:
        return self.box or ("keypoints" if project.several else "frame")
