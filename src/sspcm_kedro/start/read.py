"""The people of a project that was found, and how many frames its videos can add."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from sspcm_kedro.data.source import Source
from sspcm_kedro.data.video import count_frames
from sspcm_kedro.datasets.video_frames import VideoFramesDataset
from sspcm_kedro.errors import BadInput
from sspcm_kedro.parameters import parse
from sspcm_kedro.sources import KINDS, WITH_VIDEOS, SourceConfig
from sspcm_kedro.start.find import Found
from sspcm_kedro.start.without_labels import find_unlabeled

MOST_FRAMES = 2000
"""Of all videos together: as many as a source takes by default."""


@dataclass(frozen=True)
class Project:
    """What decisions are made from.

    Attributes:
        source: the settings that read it, each with its reason, in the order to write them.
        people: as the reader gives them, without frames of videos.
        frames: how many frames of videos ingestion will add, at most.
    """

    source: dict[str, tuple[Any, str]]
    people: Source
    frames: int

    @property
    def unlabeled(self) -> int:
        """Images without labels, the frames of videos included."""
        return self.frames + (0 if self.people.unlabeled is None else len(self.people.unlabeled))


def read_project(folder: Path, found: Found, given: Mapping[str, Any]) -> Project:
    """The project, read by its source.

    Args:
        folder: the project's.
        found: its kind.
        given: what the user says of ``source``; it comes before what was found.

    Raises:
        BadInput: a file breaks a rule of the reader, or a given setting is none.
    """
    source: dict[str, tuple[Any, str]] = {
        "kind": (found.kind, found.reason), "root": (str(folder), "the folder you named"),
        **found.settings, **{key: (value, "you said so") for key, value in given.items()},
    }  # fmt: skip
    frames = 0
    if found.kind in WITH_VIDEOS and "frames" not in given:
        frames, reason = _frames(source)
        source["frames"] = (frames, reason)
    elif found.kind in WITH_VIDEOS and isinstance(given["frames"], int):
        frames = given["frames"]
    config = _config({**_values(source), **_no_frames(found.kind)})
    people = _read(config)
    if "unlabeled" not in given:
        found_too = find_unlabeled(folder, config.root, people, found.unread)
        if found_too is not None:
            source["unlabeled"] = found_too
            people = _read(_config(_values(source)))
    if "flip_pairs" in KINDS[found.kind].model_fields and not people.skeleton.flip_pairs:
        why = "no name tells left from right; of some that do, set view.weak.flip_probability too"
        source.setdefault("flip_pairs", ([], why))
    known = people.skeleton.torso or "torso" not in KINDS[found.kind].model_fields
    if not known and people.skeleton.size > 1:
        torso = _torso(people)
        if torso is None:
            return Project(source, people, frames)
        source["torso"] = torso
        _config(_values(source))  # the setting is one
        a, b = torso[0]
        people = replace(people, skeleton=replace(people.skeleton, torso=(a, b)))
    return Project(source, people, frames)


def _values(source: Mapping[str, tuple[Any, str]]) -> dict[str, Any]:
    return {key: value for key, (value, _) in source.items()}


def _no_frames(kind: str) -> dict[str, int]:
    return {"frames": 0} if kind in WITH_VIDEOS else {}


def _config(values: Mapping[str, Any]) -> SourceConfig:
    return parse("source", dict(values), SourceConfig)


def _read(config: SourceConfig) -> Source:
    if config.root.kind != "sleap":
        return config.root.read()
    with tempfile.TemporaryDirectory() as made:  # SLEAP's labeled frames are in its videos
        made_folder = VideoFramesDataset(filepath=str(Path(made) / "frames"))
        made_folder.save(config.root.video_frames())
        return config.root.read(made_folder.load())


def _frames(source: Mapping[str, tuple[Any, str]]) -> tuple[int, str]:
    """How many frames to choose, and why."""
    wanted = _config({**_values(source), "frames": MOST_FRAMES}).root
    try:
        videos = wanted.video_frames().known
    except BadInput as error:
        if "frames of videos have no labels" not in str(error):
            raise
        return 0, "several may be on a frame, and frames without labels have no boxes"
    total = sum(count_frames(video) - len(known) for video, known in videos.items())
    if total <= 0:
        return 0, "there is no video with further frames"
    many = f"of {total} frames of {len(videos)} video{'s' if len(videos) > 1 else ''}"
    if total > MOST_FRAMES:
        return MOST_FRAMES, f"{many}, chosen to differ; more take longer to choose and to label"
    return total, f"{many}: all but near-duplicates"


def _torso(people: Source) -> tuple[list[int], str] | None:
    """The two keypoints that are farthest from each other in the median: a body's length.

    None where no two are labeled together on half of the images.
    """
    annotated, names = people.annotated, people.skeleton.names
    seen, median = annotated.visibility > 0, np.zeros((len(names), len(names)))
    for a, b in combinations(range(len(names)), 2):
        both = seen[:, a] & seen[:, b]
        if both.mean() >= 0.5:
            apart = annotated.keypoints[both, a] - annotated.keypoints[both, b]
            median[a, b] = np.median(np.linalg.norm(apart, axis=1))
    a, b = (int(i) for i in np.unravel_index(np.argmax(median), median.shape))
    if not median[a, b]:
        return None
    reason = f"{names[a]} and {names[b]} are farthest apart, {median[a, b]:.0f} px in the median"
    return [a, b], f"PCK's unit: {reason}"
