"""DeepLabCut's project folder: what ``config.yaml`` says and which files are there."""

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from sspcm_kedro.data.video import SUFFIXES
from sspcm_kedro.errors import BadInput, shown
from sspcm_kedro.sources import checks
from sspcm_kedro.sources.image_folder import is_image
from sspcm_kedro.sources.video_frames import Crop

logger = logging.getLogger(__name__)

CONFIG = "config.yaml"
_MULTI = "MULTI!"
_DRAWN_ON = "_labeled"  # folders and videos in which DeepLabCut has drawn points
_PREDICTED = "DLC_"  # in the names of files that DeepLabCut's networks make
_FRAME = re.compile(r"img0*(\d+)\.\w+")


@dataclass(frozen=True)
class Project:
    """A project's settings that matter here.

    Attributes:
        root: its folder.
        scorer: who has labeled; None where the file does not say.
        bodyparts: the k names.
        limbs: index pairs to draw.
        several: whether it is of several animals.
        videos: file names of its videos, wherever they lay when it was made.
        crops: the part of their frames that was asked for, by these names; mostly all of it.
    """

    root: Path
    scorer: str | None
    bodyparts: tuple[str, ...]
    limbs: tuple[tuple[int, int], ...]
    several: bool
    videos: tuple[str, ...]
    crops: Mapping[str, Crop] = field(default_factory=dict)

    def label_folders(self) -> list[Path]:
        """The folders of labeled-data, by name, but hidden ones (of editors) and those in which
        DeepLabCut has drawn points."""
        parent = self.root / "labeled-data"
        checks.need_folder(parent)
        folders = sorted(path for path in parent.iterdir() if path.is_dir())
        return [path for path in folders if not path.name.startswith(".")
                and not path.name.endswith(_DRAWN_ON)]  # fmt: skip

    def find_videos(self, folder: Path) -> list[Path]:
        """The videos of a folder, by name, but those that DeepLabCut has drawn points in.

        Those of the settings that are not there, and broken links, are named in the log.
        """
        there = sorted(folder.iterdir()) if folder.is_dir() else []
        found = [path for path in there if path.suffix.lower() in SUFFIXES and _is_own(path.stem)]
        files = [path for path in found if path.is_file()]
        names = {path.name for path in files}
        absent = dict.fromkeys([*self.videos, *(path.name for path in found)])
        for name in absent:
            if name not in names:
                logger.warning("video %s of the project is not in %s: no frames of it are taken",
                               name, folder)  # fmt: skip
        return files

    def crop_of(self, video: Path) -> Crop | None:
        """What DeepLabCut has cut the extracted frames of a video to; None where it has not.

        The settings have a crop of every video, which counts where all images of its folder have
        that size: extracting frames asks whether to crop.
        """
        crop = self.crops.get(video.name)
        folder = self.root / "labeled-data" / video.stem
        if crop is None or not folder.is_dir():
            return None
        x0, y0, x1, y1 = crop
        sizes = checks.stored_sizes([path for path in sorted(folder.iterdir())
                                     if is_image(path.relative_to(folder))])  # fmt: skip
        return crop if len(sizes) and (sizes == (y1 - y0, x1 - x0)).all() else None


def extracted_frames(folder: Path) -> tuple[int, ...]:
    """The frames of a video that somebody has extracted into a folder, from the images' names
    (img0123.png is frame 123)."""
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    return tuple(sorted({int(match[1]) for name in names if (match := _FRAME.fullmatch(name))}))


def _is_own(stem: str) -> bool:
    return not stem.startswith(".") and not stem.endswith(_DRAWN_ON) and _PREDICTED not in stem


def read_project(root: Path) -> Project:
    """The settings of a project.

    Raises:
        BadInput: there is no config.yaml, or its body parts are no names.
    """
    checks.need_folder(root)
    file = root / CONFIG
    config = checks.read_yaml(file, "Bring the file of the DeepLabCut project back")
    several = config.get("multianimalproject") is True or config.get("bodyparts") == _MULTI
    key = "multianimalbodyparts" if several else "bodyparts"
    bodyparts = _names(file, key, config.get(key))
    videos = config.get("video_sets")
    listed = videos if isinstance(videos, dict) else {}
    names = [re.split(r"[\\/]", str(path))[-1] for path in listed]
    crops = {name: crop for name, about in zip(names, listed.values(), strict=True)
             if (crop := _crop(about))}  # fmt: skip
    scorer = config.get("scorer")
    return Project(
        root,
        None if scorer is None else str(scorer),
        bodyparts,
        _limbs(config.get("skeleton"), bodyparts),
        several,
        tuple(name for name in names if Path(name).suffix.lower() in SUFFIXES),
        crops,
    )


def _crop(about: Any) -> Crop | None:
    """Of a video's settings, ``crop: x0, x1, y0, y1``; None where they have none that is one."""
    text = about.get("crop") if isinstance(about, dict) else None
    match = re.fullmatch(r"\s*(\d+)\s*,\s*(\d+)\s*,\s*(\d+)\s*,\s*(\d+)\s*", str(text))
    if not match:
        return None
    x0, x1, y0, y1 = map(int, match.groups())
    return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None


def _names(file: Path, key: str, listed: Any) -> tuple[str, ...]:
    """Names, which YAML may have read as numbers."""
    remedy = "List the names of the body parts, each once"
    values = listed if isinstance(listed, list) else []
    names = [str(value).strip() for value in values if type(value) in (str, int, float)]
    if not names or len(names) < len(values) or len(set(names)) < len(names) or "" in names:
        rule = f"must be a list of different names, found {shown(listed)}"
        raise BadInput(f"{file}, {key}", rule, remedy)
    return tuple(names)


def _limbs(chains: Any, bodyparts: tuple[str, ...]) -> tuple[tuple[int, int], ...]:
    """Pairs of neighbors in the skeleton's chains.

    Those of other names are left out: DeepLabCut writes an example there, which most projects keep.
    """
    index = {name: number for number, name in enumerate(bodyparts)}
    limbs = []
    for chain in chains if isinstance(chains, list) else ():
        names = [str(name) for name in chain] if isinstance(chain, list) else []
        for pair in pairwise(names):
            if all(name in index for name in pair):
                limbs.append((index[pair[0]], index[pair[1]]))
    return tuple(limbs)
