"""What a folder holds: the tool that made it, told by its files."""

import json
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sspcm_kedro.data.video import SUFFIXES as VIDEOS
from sspcm_kedro.errors import BadInput
from sspcm_kedro.sources.coco_records import find_image, find_listed
from sspcm_kedro.sources.image_folder import SUFFIXES as IMAGES

logger = logging.getLogger(__name__)

_BODYPARTS = re.compile(rb"^(multianimal)?bodyparts\s*:", re.M)
_SHAPE = re.compile(rb"^kpt_shape\s*:", re.M)
KNOWN = (
    "DeepLabCut (config.yaml), lightning-pose (CollectedData.csv), SLEAP (.slp), YOLO-pose "
    "(data.yaml with kpt_shape), CVAT (XML), Label Studio (JSON), COCO (JSON), LSP (joints.mat)"
)  # fmt: skip

FEW = 20
"""JSON files in a folder that are looked into."""


@dataclass(frozen=True)
class Found:
    """A project that was found.

    Attributes:
        kind: the ``source.kind`` that reads it.
        reason: by what it was told.
        settings: what else ``source`` must say, each with a reason.
        unread: images that are of a test set or a second validation, or labeled by a file that is
            not read.
    """

    kind: str
    reason: str
    settings: dict[str, tuple[Any, str]] = field(default_factory=dict)
    unread: frozenset[Path] = frozenset()


def find_project(folder: Path) -> Found:
    """The project in a folder.

    Raises:
        BadInput: there is no such folder, or it holds no labels of a known form.
    """
    if not folder.is_dir():
        raise BadInput(folder, "must be a folder, and is none", "Name the project's folder")
    found = _look(folder)
    if found is not None:
        return found
    inside = [path for path in _folders(folder) if _look(path) is not None]
    if inside:
        rule = f"holds no labels itself, but {inside[0].name} in it does"
        raise BadInput(folder, rule, f"Start there: sspcm-kedro start {inside[0]}")
    there = [path.suffix.lower() for path in _files(folder, 3)]
    videos, images = (sum(s in kind for s in there) for kind in (VIDEOS, IMAGES))
    if videos or images:
        rule = f"labels are needed, and it holds only {videos} videos and {images} images"
        remedy = "Label 20 to 100 images with a tool of your choice, and start with its project"
        raise BadInput(folder, rule, f"{remedy}. Known are {KNOWN}")
    rule = "must hold labeled images of a known form, and does not"
    raise BadInput(folder, rule, f"Known are {KNOWN}")


def _look(folder: Path) -> Found | None:
    finders: tuple[Callable[[Path], Found | None], ...] = (
        _deeplabcut, _lightning_pose, _sleap, _yolo_pose, _lsp, _cvat, _json,
    )  # fmt: skip
    return next((found for find in finders if (found := find(folder)) is not None), None)


def _deeplabcut(folder: Path) -> Found | None:
    file = folder / "config.yaml"
    if file.is_file() and _BODYPARTS.search(file.read_bytes()):
        return Found("deeplabcut", "config.yaml with bodyparts is a DeepLabCut project's")
    return None


def _lightning_pose(folder: Path) -> Found | None:
    tables = sorted(folder.glob("CollectedData*.csv"))
    new = [table for table in tables if table.stem.endswith("_new")]
    own = [table for table in tables if table not in new]
    if not own:
        return None
    reason = f"{own[0].name} is lightning-pose's table of labels"
    others = f"; not {', '.join(table.name for table in own[1:])}" if own[1:] else ""
    settings: dict[str, tuple[Any, str]] = {"labels": (own[0].name, f"found{others}")}
    of_view = [table for table in new if table.stem == f"{own[0].stem}_new"]
    further = of_view or (new if len(own) == 1 else [])  # others may be of another view
    if further:
        settings["validation"] = (further[0].name, "lightning-pose's table of further videos")
    return Found("lightning_pose", reason, settings)


def _sleap(folder: Path) -> Found | None:
    files = sorted(path for path in folder.glob("*.slp") if ".predictions" not in path.name)
    if not files:
        return None
    packages = [path for path in files if path.name.endswith(".pkg.slp")]
    if packages and not any(path.suffix.lower() in VIDEOS | IMAGES for path in _files(folder, 3)):
        files = packages  # only these have their images, and others could not be read
    best, why = _newest(folder, files)
    return Found("sleap", f"{best} is SLEAP's", {"labels": (best, why)})


def _yolo_pose(folder: Path) -> Found | None:
    for file in sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")]):
        if _SHAPE.search(file.read_bytes()):
            settings = {"data": (file.name, "found")}
            return Found("yolo_pose", f"{file.name} with kpt_shape is YOLO-pose's", settings)
    return None


def _lsp(folder: Path) -> Found | None:
    if not (folder / "joints.mat").is_file():
        return None
    extended = any((folder / "images").glob("im[0-9][0-9][0-9][0-9][0-9].jpg"))
    kind, digits = ("lspet", 5) if extended else ("lsp", 4)
    return Found(kind, f"joints.mat, and images whose numbers have {digits} digits")


def _cvat(folder: Path) -> Found | None:
    files = []
    for file in folder.glob("*.xml"):
        with file.open("rb") as opened:
            start = opened.read(4096)
        if b"<annotations" in start and b"<version>1.1" in start:
            files.append(file)
    if not files:
        return None
    best, why = _newest(folder, files)
    settings = {"labels": (best, why), "images": _image_folder(folder)}
    return Found("cvat", f"{best} is CVAT's for images 1.1", settings)


def _newest(folder: Path, files: Sequence[Path]) -> tuple[str, str]:
    """The file that was changed last, by its path in the folder, and why it is read.

    Of equal times, as a copy of a folder may have them, it is the last name: tools number versions
    and exports, or put the date in their names. A warning names the others.
    """
    by_age = sorted(files, key=lambda file: (file.stat().st_mtime_ns, file.name), reverse=True)
    best, *others = (file.relative_to(folder).as_posix() for file in by_age)
    if not others:
        return best, "found"
    names = ", ".join(others)
    logger.warning("%s holds several files of labels. The newest is taken, %s; not read: %s. Join "
                   "them, or say which: --source labels=FILE", folder, best, names)  # fmt: skip
    return best, f"the newest; not {names}"


def _json(folder: Path) -> Found | None:
    """Label Studio's list of tasks, or COCO's lists of images and annotations."""
    parts: dict[str, tuple[Path, Any]] = {}
    lists: dict[Path, list[Any]] = {}
    exports: list[Path] = []
    for file in _json_files(folder):
        try:
            content = json.loads(file.read_bytes())
        except (ValueError, RecursionError):
            continue
        if isinstance(content, list) and content and isinstance(content[0], dict):
            if {"data", "annotations"} <= content[0].keys():
                exports.append(file)
            continue
        part = _part_of(file.relative_to(folder).as_posix())
        labeled, images = _has_keypoints(content), _images_of(content)
        if labeled or (part != "train" and images):
            lists[file] = images
        if labeled:
            first, _ = parts.setdefault(part, (file, content))
            if first != file:
                logger.warning("%s has keypoints, too, and is not read beside %s: join them into "
                               "one file", file, first.name)  # fmt: skip
    if exports:
        labels, why = _newest(folder, exports)
        settings = {"labels": (labels, why), "images": _image_folder(folder)}
        return Found("label_studio", f"{labels} is Label Studio's export", settings)
    for only in ("validation", "test"):
        if "train" not in parts and only in parts:
            parts["train"] = parts.pop(only)
    if not parts:
        return None
    settings = {name: _coco_part(folder, *parts[name]) for name in ("train", "validation")
                if name in parts}  # fmt: skip
    for name in settings:
        del lists[parts[name][0]]
    unread = frozenset(path for file, images in lists.items()
                       for path in _wherever(folder, file, images))  # fmt: skip
    reason = f"{parts['train'][0].name} is COCO's form, with keypoints"
    return Found("coco", reason, settings, unread)


def _part_of(name: str) -> str:
    """Of a list of COCO, by the beginning of a word in its name or its folder's: "latest" is no
    test."""
    words = {"validation": r"(?<![A-Za-z])val|Val|VAL", "test": r"(?<![A-Za-z])test|Test|TEST"}
    return next((part for part, word in words.items() if re.search(word, name)), "train")


def _json_files(folder: Path) -> list[Path]:
    """Of the folder, its annotations/, and others in it; where one of these has many, each is of
    one image, and no list."""
    found = sorted(folder.glob("*.json"))
    for inside in _folders(folder):
        files = sorted(inside.glob("*.json"))
        if inside.name == "annotations" or len(files) <= FEW:
            found += files
    return found


def _images_of(content: Any) -> list[Any]:
    images = content.get("images") if isinstance(content, dict) else None
    return images if isinstance(images, list) else []


def _has_keypoints(content: Any) -> bool:
    people = content.get("annotations") if _images_of(content) else None
    return isinstance(people, list) and any(
        isinstance(person, dict) and "keypoints" in person for person in people)  # fmt: skip


def _coco_part(folder: Path, file: Path, content: Any) -> tuple[Any, str]:
    """The annotations and the folder in which the first image lies that has one, theirs before
    others. Images of nobody may have been deleted."""
    people = [person for person in content["annotations"] if isinstance(person, dict)]
    shown = {str(person.get("image_id")) for person in people}
    images = [image for image in content["images"] if isinstance(image, dict)]
    first = next((image for image in images if str(image.get("id")) in shown), None)
    name = "" if first is None else str(first.get("file_name", ""))
    for place in _places(folder, file):
        if find_image(file, first, place):
            images = place.relative_to(folder).as_posix()
            part = {"annotations": file.relative_to(folder).as_posix(), "images": images}
            return part, f"its first image lies in {'the folder' if images == '.' else images}"
    rule = f"its first image, {name or 'which has no file_name'}, must lie in {folder}"
    raise BadInput(file, rule, "Copy the images there, in a folder images")


def _places(folder: Path, file: Path) -> list[Path]:
    """The folders that the images of a list may be in, its own before others."""
    return [file.parent, folder / "images", folder, *_folders(folder),
            *(inner for outer in _folders(folder) for inner in _folders(outer))]  # fmt: skip


def _wherever(folder: Path, file: Path, images: Sequence[Any]) -> set[Path]:
    """All images that a list may mean: those of every folder that has one of its first ones."""
    places = [place for place in dict.fromkeys(_places(folder, file))
              if any(find_image(file, image, place) for image in images[:FEW])]  # fmt: skip
    return set().union(*(find_listed(file, images, place) for place in places))


def _image_folder(folder: Path) -> tuple[str, str]:
    there = (folder / "images").is_dir()
    return ("images", "found") if there else (".", "images are looked for by name")


def _folders(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


def _files(folder: Path, depth: int) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.is_file():
            yield path
        elif path.is_dir() and depth > 1 and not path.name.startswith("."):
            yield from _files(path, depth - 1)
