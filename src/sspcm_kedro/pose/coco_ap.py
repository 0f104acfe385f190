"""COCO keypoint average precision of predictions in memory, for any skeleton."""

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Real, Shaped
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

METRICS = ("AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL")
"""COCO's ten keypoint numbers, in the order of ``COCOeval.stats``."""

PERSON = 1
"""The id of people among COCO's categories."""


@runtime_checkable
class LabeledInstances(Protocol):
    """The columns of true people that AP reads; ``data.instances.Instances`` has them.

    Attributes:
        image_ids: ids of their images.
        keypoints: points (x, y) in image pixels.
        visibility: above 0 where labeled.
        areas: square image pixels: the scale of OKS and what medium and large mean.
        boxes: x0, y0, x1, y1 in image pixels.
    """

    @property
    def image_ids(self) -> Shaped[np.ndarray, " n"]: ...
    @property
    def keypoints(self) -> Real[np.ndarray, "n k 2"]: ...
    @property
    def visibility(self) -> Real[np.ndarray, "n k"]: ...
    @property
    def areas(self) -> Real[np.ndarray, " n"]: ...
    @property
    def boxes(self) -> Real[np.ndarray, "n 4"]: ...


@dataclass(frozen=True)
class Detections:
    """Predicted people, one row each.

    Attributes:
        image_ids: ids of their images.
        keypoints: points (x, y) in image pixels.
        scores: confidence of the whole person, after rescoring and OKS-NMS.
    """

    image_ids: Shaped[np.ndarray, " m"]
    keypoints: Real[np.ndarray, "m k 2"]
    scores: Real[np.ndarray, " m"]


@dataclass(frozen=True)
class IgnoredInstances:
    """Where somebody is without a labeled keypoint: nothing is to be found or wrong there.

    COCO's files have them, and its own evaluation reads them: a detection near them that is nobody
    else's counts for nothing instead of as a false one.

    Attributes:
        image_ids: ids of their images.
        boxes: x0, y0, x1, y1 in image pixels, as annotated.
        areas: square image pixels, as annotated.
        crowds: true where the box holds several people (``iscrowd``).
    """

    image_ids: Shaped[np.ndarray, " i"]
    boxes: Real[np.ndarray, "i 4"]
    areas: Real[np.ndarray, " i"]
    crowds: Bool[np.ndarray, " i"]


def coco_ap(
    truth: LabeledInstances,
    detections: Detections,
    sigmas: Sequence[float] | Float[np.ndarray, " k"],
    ignored: IgnoredInstances | None = None,
) -> dict[str, float]:
    """COCO's keypoint AP and AR (pycocotools ``COCOeval``, at most 20 detections an image).

    OKS thresholds are .50:.05:.95; medium people have areas of 32^2 to 96^2 square image pixels,
    large ones more. True people without labeled keypoints are ignored, and so are detections
    matched to them. Images are those of either side: a detection where nobody is annotated is a
    false one.

    Args:
        truth: the true people.
        detections: the predicted people; none at all scores 0.
        sigmas: k OKS sigmas of the skeleton.
        ignored: the people of the same images without labeled keypoints, and crowds.

    Returns:
        The ten numbers of ``METRICS``, 0 to 1; nan where there are no such people to find.

    Raises:
        ValueError: if the sigmas or the two sides disagree about k, or lengths within a side do,
            or the coordinates or scores are not finite.
    """
    _, evaluation = match(truth, detections, sigmas, ignored)
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation.accumulate()
        evaluation.summarize()
    values = np.where(evaluation.stats < 0, np.nan, evaluation.stats)  # which has -1 for nobody
    return dict(zip(METRICS, values.tolist(), strict=True))


def match(
    truth: LabeledInstances,
    detections: Detections,
    sigmas: Sequence[float] | Float[np.ndarray, " k"],
    ignored: IgnoredInstances | None = None,
) -> tuple[Shaped[np.ndarray, " images"], COCOeval]:
    """The images of either side, and pycocotools' matches on each of them (``evalImgs``).

    Arguments and errors are those of ``coco_ap``; an image's id there is its position here.
    """
    _check(truth, detections, len(sigmas))
    images = np.union1d(truth.image_ids, detections.image_ids)
    places = {image: place for place, image in enumerate(images.tolist())}
    people = zip(truth.image_ids.tolist(), truth.keypoints, truth.visibility, truth.boxes,
                 truth.areas.tolist(), strict=True)  # fmt: skip
    labels = [_true_record(i, places[image], *them) for i, (image, *them) in enumerate(people)]
    if ignored is not None:
        others = zip(ignored.image_ids.tolist(), ignored.boxes, ignored.areas.tolist(),
                     ignored.crowds.tolist(), strict=True)  # fmt: skip
        unlabeled = np.zeros((len(sigmas), 2)), np.zeros(len(sigmas))
        labels += [
            _true_record(number, places[image], *unlabeled, box, area, crowd=crowd)
            for number, (image, box, area, crowd) in enumerate(others, len(labels))
            if image in places
        ]
    results = _detection_records(detections, images)
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(_index(images, labels), _index(images, results), "keypoints")
        evaluation.params.kpt_oks_sigmas = np.asarray(sigmas, dtype=np.float64)
        evaluation.evaluate()
    return images, evaluation


def _true_record(
    number: int, image: int, keypoints: Real[np.ndarray, "k 2"], visibility: Real[np.ndarray, " k"],
    box: Real[np.ndarray, " 4"], area: float, *, crowd: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """A true person as a COCO annotation."""
    return {
        **_record(number, image, keypoints, visibility),
        "iscrowd": int(crowd),
        "bbox": _xywh(box),
        "area": area,
        "num_keypoints": int((visibility > 0).sum()),
    }


def _detection_records(
    detections: Detections, images: Shaped[np.ndarray, " images"]
) -> list[dict[str, Any]]:
    """Predicted people as COCO results; box and area span the keypoints, as in ``COCO.loadRes``.

    The area decides whether an unmatched detection counts against medium or large people.
    """
    rows = np.searchsorted(images, detections.image_ids)
    records = []
    for number, (row, points, score) in enumerate(
        zip(rows, detections.keypoints, detections.scores, strict=True)
    ):
        box = _xywh(np.concatenate([points.min(axis=0), points.max(axis=0)]))
        records.append(_record(number, int(row), points, np.ones(len(points))))
        records[-1] |= {"bbox": box, "area": box[2] * box[3], "score": float(score)}
    return records


def _record(
    number: int, image: int, keypoints: Real[np.ndarray, "k 2"], visibility: Real[np.ndarray, " k"]
) -> dict[str, Any]:
    """What true and predicted people share. Ids start at 1: pycocotools reads 0 as unmatched."""
    triples = np.column_stack([keypoints, visibility]).astype(np.float64)
    return {"id": number + 1, "image_id": image, "category_id": PERSON, "iscrowd": 0,
            "keypoints": triples.ravel().tolist()}  # fmt: skip


def _xywh(box: Real[np.ndarray, " 4"]) -> list[float]:
    """x0, y0, x1, y1 as x, y, width, height."""
    x0, y0, x1, y1 = (float(value) for value in box)
    return [x0, y0, x1 - x0, y1 - y0]


def _index(images: Shaped[np.ndarray, " images"], annotations: list[dict[str, Any]]) -> COCO:
    """A COCO object without files; an image's id is its position in ``images``."""
    coco: Any = COCO()  # its own types demand fields that it never reads
    coco.dataset = {
        "info": {},
        "images": [{"id": position} for position in range(len(images))],
        "categories": [{"id": PERSON, "name": "person"}],
        "annotations": annotations,
    }
    coco.createIndex()
    return coco


def _check(truth: LabeledInstances, detections: Detections, k: int) -> None:
    """Refuse what pycocotools would misread in silence."""
    n, m = len(truth.image_ids), len(detections.image_ids)
    expected = {
        "truth.keypoints": (truth.keypoints, (n, k, 2)),
        "truth.visibility": (truth.visibility, (n, k)),
        "truth.areas": (truth.areas, (n,)),
        "truth.boxes": (truth.boxes, (n, 4)),
        "detections.keypoints": (detections.keypoints, (m, k, 2)),
        "detections.scores": (detections.scores, (m,)),
    }
    for name, (values, shape) in expected.items():
        if values.shape != shape:
            raise ValueError(
                f"{name} must have the shape {shape} ({k} sigmas were given), got {values.shape}; "
                "pass one row a person and the sigmas of the same skeleton"
            )
    for name in ("detections.keypoints", "detections.scores"):
        if not np.isfinite(expected[name][0]).all():
            raise ValueError(f"{name} must be finite, got nan or inf; drop or repair those people")
