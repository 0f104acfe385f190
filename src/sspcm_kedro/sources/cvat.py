"""CVAT's XML, "CVAT for images 1.1"."""

import html
import re
from collections import defaultdict
from pathlib import Path
from typing import Any, Literal
from xml.etree.ElementTree import Element, ParseError

import numpy as np
from defusedxml.ElementTree import parse

from sspcm_kedro.data.source import Source
from sspcm_kedro.errors import BadInput, shown
from sspcm_kedro.sources import checks
from sspcm_kedro.sources.labeled import Labeled, unlabeled_images
from sspcm_kedro.sources.moved_files import find_moved_images
from sspcm_kedro.sources.project import Pairs, ProjectSource

_EXPORT = "Export the task as 'CVAT for images 1.1'"
_NODE = re.compile(r"<circle[^>]*>")
_EDGE = re.compile(r"<line[^>]*>")


class CvatSource(ProjectSource):
    """A CVAT task exported as "CVAT for images 1.1": skeletons, or points with a label each.

    Points with the same group are one's, with the box of the group if there is one; points without
    a group are of the one on the image. Images without a shape have no labels.

    Attributes:
        labels: the XML file, relative to the root.
        images: the folder of the images, and of those in it; they are found by their names.
        names: the keypoints in their order; without it, as the file lists them.
    """

    kind: Literal["cvat"] = "cvat"
    labels: Path = Path("annotations.xml")
    images: Path = Path("images")
    names: tuple[str, ...] | None = None

    def read(self, made_folder: Path | None = None) -> Source:
        file = self.root / self.labels
        top, found = self._parsed()
        images = top.findall("image")
        listed = [_name_of(image) for image in images]
        drawn = [label for image in images for label in _labels_of(image)]
        names = self.names or tuple(dict.fromkeys([*_listed_names(top, drawn), *drawn]))
        skeleton = self.own_skeleton(file, names, _limbs(top, names), category="person")
        people: list[Labeled] = []
        rest: list[str] = []
        for image, name in zip(images, listed, strict=True):
            if not any(shape.tag in ("skeleton", "points") for shape in image):
                rest.append(name)
                continue
            people += _people(f"{file}, image {name}", image, names, found[name], name)
        checks.refuse_turned(person.path for person in people)
        pool = unlabeled_images([found[name] for name in rest], rest, skeleton.size)
        return self.source_of(file, skeleton, people, pool, listed=found.values())

    def listed_images(self) -> set[Path]:
        """The images that the file names, whoever is on them."""
        return set(self._parsed()[1].values())

    def _parsed(self) -> tuple[Element, dict[str, Path]]:
        """The file's content, and where the images lie that it names."""
        file = self.root / self.labels
        top = _parse(file)
        names = map(_name_of, top.findall("image"))
        return top, find_moved_images(file, names, self.root / self.images)


def _parse(file: Path) -> Element:
    """The file's content; entities and outer files are refused, not followed."""
    checks.need_file(file)
    try:
        top: Any = parse(file).getroot()
    except (ParseError, ValueError, LookupError, RecursionError) as error:
        rule = f"must be XML without entities, but {type(error).__name__}: {error}"
        raise BadInput(file, rule, _EXPORT) from error
    if top.tag != "annotations" or not top.findall("image"):
        tracks = "tracks of a video" if top.find("track") is not None else f"<{top.tag}>"
        rule = f"must be <annotations> with an <image> each, found {tracks}"
        raise BadInput(file, rule, _EXPORT)
    return top


def _name_of(image: Element) -> str:
    return image.get("name", "")


def _labels_of(image: Element) -> list[str]:
    return [points.get("label", "") for points in image.iter("points")]


def _listed_names(top: Element, drawn: list[str]) -> list[str]:
    """The labels of points that the task lists and somebody has drawn one of, in its order."""
    listed = [(label.findtext("name") or "") for label in top.iter("label")]
    return [name for name in listed if name in set(drawn)]


def _limbs(top: Element, names: tuple[str, ...]) -> Pairs:
    """The edges of the skeleton as it is drawn in the task, if it is."""
    limbs = []
    for svg in top.iter("svg"):
        text = html.unescape(svg.text or "")
        nodes = {_attribute(tag, "node-id"): _attribute(tag, "label-name")
                 for tag in _NODE.findall(text)}  # fmt: skip
        for tag in _EDGE.findall(text):
            ends = [nodes.get(_attribute(tag, f"node-{end}")) for end in ("from", "to")]
            if all(end in names for end in ends):
                limbs.append((names.index(str(ends[0])), names.index(str(ends[1]))))
    return tuple(limbs)


def _attribute(tag: str, name: str) -> str | None:
    found = re.search(rf'data-{name}="([^"]*)"', tag)
    return found[1] if found else None


def _people(
    where: str, image: Element, names: tuple[str, ...], path: Path, name: str
) -> list[Labeled]:
    """Those of an image."""
    height, width = (int(_numbers(where, key, image.get(key), 1)[0]) for key in ("height", "width"))
    of_whom: dict[str, list[Element]] = defaultdict(list)
    boxes: dict[str, tuple[float, float, float, float]] = {}
    for number, shape in enumerate(image):
        group = shape.get("group_id") or ""
        if shape.tag == "skeleton":
            key = f"group {group}" if group else f"skeleton {number}"
            of_whom[key] += shape.findall("points")
        elif shape.tag == "points":
            of_whom[f"group {group}"].append(shape)
        elif shape.tag == "box" and group:
            corners = [_numbers(where, key, shape.get(key), 1)[0]
                       for key in ("xtl", "ytl", "xbr", "ybr")]  # fmt: skip
            boxes[f"group {group}"] = (corners[0], corners[1], corners[2], corners[3])
    people = []
    for key, points in of_whom.items():
        xy, covered = np.full((len(names), 2), np.nan), np.zeros(len(names), bool)
        for point in points:
            label = point.get("label", "")
            if label not in names:
                rule = f"keypoints must be {', '.join(names)}, found {label!r}"
                raise BadInput(where, rule, "Name it the same as in source.names")
            row = names.index(label)
            if not np.isnan(xy[row]).all():
                rule = f"one has one {label}, and it is there again"
                raise BadInput(where, rule, "Draw skeletons, or group the points of each")
            if point.get("outside") != "1":
                xy[row] = _numbers(where, f"points of {label}", point.get("points"), 2)
            covered[row] = point.get("occluded") == "1"
        people.append(Labeled(path, (height, width), xy, covered, boxes.get(key), name))
    return people


def _numbers(where: str, what: str, text: str | None, count: int) -> list[float]:
    try:
        numbers = [float(cell) for cell in (text or "").split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != count or not np.isfinite(numbers).all():
        wanted = "a finite number" if count == 1 else f"{count} finite numbers"
        remedy = "Give each keypoint a label of its own, with one point"
        raise BadInput(where, f"{what} must be {wanted}, found {shown(text)}", remedy)
    return numbers
