"""Label Studio projects, exported as JSON."""

import logging
from collections import defaultdict
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote

import numpy as np

from sspcm_kedro.data.source import Source
from sspcm_kedro.errors import BadInput, shown
from sspcm_kedro.sources import checks
from sspcm_kedro.sources.checks import Record
from sspcm_kedro.sources.labeled import Labeled, unlabeled_images
from sspcm_kedro.sources.moved_files import find_moved_images
from sspcm_kedro.sources.project import ProjectSource

logger = logging.getLogger(__name__)

_EXPORT = "Export the project as JSON (not JSON-MIN), with key points"
_BY_URL = "?d="
Box = tuple[float, float, float, float]


class LabelStudioSource(ProjectSource):
    """A Label Studio project exported as JSON: key points, in boxes that are their parents if any.

    Tasks without an annotation are images without labels.

    Attributes:
        labels: the export, relative to the root.
        images: the folder of the images, and of those in it; they are found by their names.
        names: the keypoints in their order; without it, as they come first in the file.
        annotator: whose annotation (completed_by), where a task has several.
    """

    kind: Literal["label_studio"] = "label_studio"
    labels: Path = Path("label_studio.json")
    images: Path = Path("images")
    names: tuple[str, ...] | None = None
    annotator: int | None = None

    def read(self, made_folder: Path | None = None) -> Source:
        file = self.root / self.labels
        tasks, images, found = self._tasks()
        results = [self._result(f"{file}, {checks.name_of('task', row, task)}", task)
                   for row, task in enumerate(tasks)]  # fmt: skip
        self._need_annotator(file, tasks, results)
        names = self.names or tuple(dict.fromkeys(
            label for result in results for _, label, _, _ in result or [] if label))  # fmt: skip
        skeleton = self.own_skeleton(file, names, category="person")
        people: list[Labeled] = []
        rest: list[str] = []
        for row, (task, image, result) in enumerate(zip(tasks, images, results, strict=True)):
            where = f"{file}, {checks.name_of('task', row, task)}"
            if result is None:
                rest.append(image)
            else:
                people += _people(where, result, names, found[image], image)
        checks.refuse_turned(person.path for person in people)
        pool = unlabeled_images([found[image] for image in rest], rest, skeleton.size)
        return self.source_of(file, skeleton, people, pool, listed=found.values())

    def listed_images(self) -> set[Path]:
        """The images of all tasks, also of those in which somebody has found nobody."""
        return set(self._tasks()[2].values())

    def _tasks(self) -> tuple[list[Record], list[str], dict[str, Path]]:
        """The tasks, the name of each one's image, and where the images lie."""
        file = self.root / self.labels
        tasks = checks.read_records(file, "the export", _EXPORT)
        checks.need_keys(file, "task", tasks, ("data", "annotations"))
        images = [_image_of(file, row, task) for row, task in enumerate(tasks)]
        return tasks, images, find_moved_images(file, images, self.root / self.images)

    def _need_annotator(self, file: Path, tasks: list[Record], results: list[Any]) -> None:
        """Refuse an annotator who has annotated nothing."""
        if self.annotator is None or any(result is not None for result in results):
            return
        whose = {shown(_whose(one)) for task in tasks for one in task["annotations"]
                 if not one.get("was_cancelled")}  # fmt: skip
        rule = f"annotator {self.annotator} must have annotated a task, and only "
        rule += f"{', '.join(sorted(whose)) or 'nobody'} has"
        raise BadInput(file, rule, "Correct source.annotator, or leave it out")

    def _result(self, where: str, task: Record) -> "list[Region] | None":
        """The regions of the annotation that counts; None where nobody has annotated."""
        given = task["annotations"]
        if not isinstance(given, list) or not all(isinstance(one, dict) for one in given):
            raise BadInput(where, "'annotations' must be a list of JSON objects", _EXPORT)
        done = [one for one in given if not one.get("was_cancelled")]
        if self.annotator is not None:
            done = [one for one in done if _whose(one) == self.annotator]
        if len(done) > 1:
            whose = [shown(_whose(one)) for one in done]
            rule = f"must have one annotation, found {len(done)}, of {', '.join(whose)}"
            raise BadInput(where, rule, "Say whose counts: source.annotator=NUMBER")
        if not done:
            return None
        result = done[0].get("result")
        if not isinstance(result, list) or not all(isinstance(one, dict) for one in result):
            raise BadInput(where, "'result' must be a list of JSON objects", _EXPORT)
        return _regions(where, result)


Region = tuple[str, str, np.ndarray, tuple[int, int]]
"""Whose it is, the keypoint's label (none for a box), its place (2 or 4) and the image's size."""


def _whose(annotation: Record) -> Any:
    """The annotator's number; some exports have it among more about them."""
    by = annotation.get("completed_by")
    return by.get("id") if isinstance(by, dict) else by


def _image_of(file: Path, row: int, task: Record) -> str:
    data = task["data"]
    texts = [value for value in data.values() if isinstance(value, str)] if (
        isinstance(data, dict)) else []  # fmt: skip
    name = data.get("image", texts[0] if texts else None) if isinstance(data, dict) else None
    if not isinstance(name, str) or not name:
        rule = f"'data' must name the image, found {shown(data)}"
        raise BadInput(f"{file}, {checks.name_of('task', row, task)}", rule, _EXPORT)
    return unquote(name.split(_BY_URL)[-1].split("?")[0])


def _regions(where: str, result: list[Record]) -> list[Region]:
    """The key points and boxes; what else has been annotated does not count."""
    relations = [one for one in result if one.get("type") == "relation"]
    parent_of = {str(one.get("to_id")): one.get("from_id") for one in relations}
    found = []
    for one in result:
        kind = one.get("type")
        if kind not in ("keypointlabels", "rectanglelabels"):
            continue
        value: Any = one.get("value")
        own = str(one.get("id"))
        what = f"{where}, region {own}"
        keys = ("x", "y") if kind == "keypointlabels" else ("x", "y", "width", "height")
        place: list[Any] = [value.get(key) if isinstance(value, dict) else None for key in keys]
        height: Any = one.get("original_height")
        width: Any = one.get("original_width")
        for number in (*place, height, width):
            if type(number) not in (int, float) or not abs(number) <= 1e6:
                rule = f"must have numbers {', '.join(keys)} in percent, original_width and "
                raise BadInput(what, f"{rule}original_height, found {shown(number)}", _EXPORT)
        turned = one.get("image_rotation") or (isinstance(value, dict) and kind != "keypointlabels"
                                               and value.get("rotation"))  # fmt: skip
        if turned:
            rule = f"neither image nor box may be turned, found {shown(turned)}"
            raise BadInput(what, rule, "Turn it back in Label Studio, or turn the image's file")
        labels = value.get("keypointlabels") if kind == "keypointlabels" else [""]
        if not isinstance(labels, list) or len(labels) != 1 or not isinstance(labels[0], str):
            raise BadInput(what, f"must have one label, found {shown(labels)}", _EXPORT)
        scale = np.array((width, height) * (len(keys) // 2)) / 100
        of = str(one.get("parentID") or parent_of.get(own) or "") if labels[0] else own
        found.append((of, labels[0], np.array(place) * scale, (int(height), int(width))))
    return found


def _people(
    where: str, regions: list[Region], names: tuple[str, ...], path: Path, image: str
) -> list[Labeled]:
    """Those of an image: the key points of each parent; without parents, all of them are one's."""
    boxes = {of: place for of, label, place, _ in regions if not label}
    of_whom: dict[str, list[Region]] = defaultdict(list)
    for region in regions:
        if region[1]:
            single = next(iter(boxes)) if len(boxes) == 1 else ""
            of_whom[region[0] or single].append(region)
    people = []
    for of, points in of_whom.items():
        xy = np.full((len(names), 2), np.nan)
        for _, label, place, _ in points:
            if label not in names:
                rule = f"keypoints must be {', '.join(names)}, found {label!r}"
                raise BadInput(where, rule, "Name it the same as in source.names")
            if not np.isnan(xy[names.index(label)]).all():
                rule = f"one has one {label}, and it is there again"
                remedy = "Draw a box around each, as the parent of its key points"
                raise BadInput(where, rule, remedy)
            xy[names.index(label)] = place
        box: Box | None = None
        if of in boxes:
            x, y, w, h = boxes[of].tolist()
            box = (x, y, x + w, y + h)
        people.append(Labeled(path, points[0][3], xy, box=box, name=image))
    return people
