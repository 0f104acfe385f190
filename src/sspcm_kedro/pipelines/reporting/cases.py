"""Validation people for the page: errors and confidences of all, images of those worth seeing."""

from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from io import BytesIO
from itertools import chain, islice, zip_longest
from typing import Any

import numpy as np
import torch
from PIL import Image

from sspcm_kedro.data.instances import Instances, evenly_spaced
from sspcm_kedro.data.views import ViewConfig, crops_of
from sspcm_kedro.engine.predict import to_image
from sspcm_kedro.machine import MachineConfig
from sspcm_kedro.pipelines.reporting.people import label_points
from sspcm_kedro.pose.skeleton import Skeleton

MOST_PEOPLE = 1000
"""People whose numbers are on the page; of more, so many evenly spaced ones."""
MOST_IMAGES = 150
"""People whose images are there."""
LONGEST_SIDE = 160
"""Of an image, in its own pixels."""


def collect_cases(
    networks: Mapping[str, Mapping[str, Any]],
    people: Instances,
    skeleton: Skeleton,
    view: ViewConfig,
    machine: MachineConfig,
) -> dict[str, Any]:
    """What the page's script shows of people, as JSON has it; numbers that are unknown are None.

    Args:
        networks: stored predictions (``<deployed>.keypoints`` and ``.scores``) by the name of the
            network that they deploy; the first is the one that chooses who is worth seeing.
        people: with their labels.
        skeleton: the keypoints.
        view: the frame of the predictions.
        machine: reads the images.

    Returns:
        ``keypoints`` (names), ``limbs``, ``pairs`` (of left and right); ``people``, how many;
        ``labels``, how many of each keypoint; ``rows``, for each shown person ``id``, ``image`` and
        ``side`` (the box's longer one, image pixels); ``networks``, for each ``error`` (image
        pixels) and ``confidence`` by row and keypoint, and ``mean`` and ``median`` error of each
        keypoint over all people; ``images`` by row: ``source``, ``size`` (width, height), ``truth``
        and ``points`` of each network in its pixels.
    """
    channels = list(skeleton.evaluated_channels)
    labeled = people.gather(channels)
    rows = evenly_spaced(len(people), MOST_PEOPLE)
    shown = labeled.take(rows)
    points = {name: own[f"{name}.keypoints"][:, channels] for name, own in networks.items()}
    sure = {name: own[f"{name}.scores"][:, channels].numpy().astype(float)
            for name, own in networks.items()}  # fmt: skip
    errors = {name: keypoint_errors(to_image(xy, labeled, view.frame), labeled)
              for name, xy in points.items()}  # fmt: skip
    side = (shown.boxes[:, 2:] - shown.boxes[:, :2]).max(axis=1)
    first = next(iter(networks))
    seen = worth_seeing(errors[first][rows] / side[:, None], sure[first][rows], MOST_IMAGES)
    return {
        "keypoints": list(skeleton.evaluated.names),
        "limbs": [list(limb) for limb in skeleton.evaluated.limbs],
        "pairs": [list(pair) for pair in skeleton.evaluated.flip_pairs],
        "people": len(people),
        "labels": (labeled.visibility > 0).sum(axis=0).tolist(),
        "rows": [
            {"id": str(who), "image": str(path).replace("\\", "/").rsplit("/", 1)[-1],
             "side": rounded(length)}
            for who, path, length in zip(shown.source_ids, shown.paths, side, strict=True)
        ],
        "networks": {
            name: {"error": rounded(errors[name][rows]), "confidence": rounded(sure[name][rows], 3),
                   **by_keypoint(errors[name])}
            for name in networks
        },
        "images": images_of(
            shown, seen, {name: xy[rows].numpy() for name, xy in points.items()}, view, machine
        ),
    }  # fmt: skip


def by_keypoint(errors: np.ndarray) -> dict[str, Any]:
    """``mean`` and ``median`` of errors (n, k) over people, a number a keypoint; None where nobody
    is labeled."""
    known = [column[np.isfinite(column)] for column in errors.T]
    return {
        "mean": [rounded(column.mean(), 2) if len(column) else None for column in known],
        "median": [rounded(np.median(column), 2) if len(column) else None for column in known],
    }


def keypoint_errors(predicted: np.ndarray, people: Instances) -> np.ndarray:
    """Distances (n, k) to the labels, image pixels; nan where there is no label."""
    distance = np.linalg.norm(predicted - people.keypoints, axis=2)
    return np.where(people.visibility > 0, distance, np.nan)


def worth_seeing(errors: np.ndarray, confidence: np.ndarray, most: int) -> list[int]:
    """Rows of up to ``most`` people: the worst and the median ones in the mean, the worst of each
    keypoint, and those who are the furthest off where the network was the surest.

    Args:
        errors: (n, k) as shares of a person's size; nan where there is no label.
        confidence: (n, k).
        most: how many.
    """
    labeled = np.isfinite(errors)
    filled = np.where(labeled, errors, 0)
    mean = np.where(labeled.any(axis=1), filled.sum(1) / np.maximum(labeled.sum(1), 1), -1.0)
    worst = [int(row) for row in np.argsort(-mean, kind="stable") if mean[row] >= 0]
    middle = len(worst) // 2
    median = sorted(worst, key=lambda row: abs(worst.index(row) - middle))
    kinds = [worst, median, np.argsort(-(filled * confidence).max(axis=1), kind="stable").tolist()]
    keypoints = [np.argsort(-filled[:, k], kind="stable").tolist() for k in range(errors.shape[1])]
    order = [*kinds, in_turn(keypoints)]
    known = (row for row in in_turn(order) if mean[row] >= 0)
    return sorted(islice(dict.fromkeys(known), most))


def in_turn(lists: Iterable[Iterable[int]]) -> Iterator[int]:
    """The first of each, the second of each, ..."""
    return (value for value in chain.from_iterable(zip_longest(*lists)) if value is not None)


def images_of(
    people: Instances, rows: list[int], points: Mapping[str, np.ndarray], view: ViewConfig,
    machine: MachineConfig,
) -> dict[str, Any]:  # fmt: skip
    """The crops of some rows as small JPEG files in text, with what is drawn on them.

    Args:
        people: all.
        rows: of those to be seen.
        points: (n, k, 2) by network, canonical input pixels.
        view: their frame.
        machine: reads the images.
    """
    if not rows:
        return {}
    chosen = people.take(rows)
    crops = crops_of(chosen, view, machine)
    truth = label_points(chosen, view)
    made: dict[str, Any] = {}
    for place, row in enumerate(rows):
        pixels = crops[torch.tensor([place])][0].permute(1, 2, 0).numpy()
        factor = min(1.0, LONGEST_SIDE / max(pixels.shape[:2]))
        size = [max(1, round(side * factor)) for side in (pixels.shape[1], pixels.shape[0])]

        def moved(xy: np.ndarray, factor: float = factor) -> Any:  # pixels' centers, to edges
            return rounded((xy + view.border + 0.5) * factor)

        labeled = people.visibility[row] > 0
        made[str(row)] = {
            "source": as_jpeg(pixels, size),
            "size": size,
            "truth": [xy if seen else None
                      for xy, seen in zip(moved(truth[place]), labeled, strict=True)],
            "points": {name: moved(xy[row]) for name, xy in points.items()},
        }  # fmt: skip
    return made


def as_jpeg(pixels: np.ndarray, size: list[int]) -> str:
    """An image (H, W, 3) of uint8, resized to (width, height), as a data URI."""
    file = BytesIO()
    image = Image.fromarray(np.ascontiguousarray(pixels))
    if list(image.size) != size:
        image = image.resize((size[0], size[1]), Image.Resampling.BILINEAR)
    image.save(file, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{b64encode(file.getvalue()).decode('ascii')}"


def rounded(values: Any, digits: int = 1) -> Any:
    """Numbers as JSON has them, of so many decimals; None for nan and infinities."""
    if isinstance(values, np.ndarray) and values.ndim:
        return [rounded(value, digits) for value in values]
    number = float(values)
    return round(number, digits) if np.isfinite(number) else None
