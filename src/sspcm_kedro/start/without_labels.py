"""Images of a project's folder that nobody has labeled, and whether they can be learned from."""

import logging
from collections import Counter
from collections.abc import Set
from pathlib import Path
from typing import Any

import numpy as np

from sspcm_kedro.data.source import Source
from sspcm_kedro.sources.base import BaseSource
from sspcm_kedro.sources.coco import CocoSource
from sspcm_kedro.sources.cvat import CvatSource
from sspcm_kedro.sources.image_folder import is_image
from sspcm_kedro.sources.label_studio import LabelStudioSource
from sspcm_kedro.sources.labeled import shares_of_images

logger = logging.getLogger(__name__)

WithFolder = CocoSource | CvatSource | LabelStudioSource
"""Sources that read images without labels from a folder which the settings name."""
FILLED = 0.5
"""The share of its image that a labeled person's box has, at least, in the median, where an image
without labels may be taken as one person who fills it."""


def find_unlabeled(
    folder: Path, source: BaseSource, people: Source, unread: Set[Path]
) -> tuple[Any, str] | None:
    """``source.unlabeled`` with its reason, where the folder holds images without labels.

    They are those of one folder in it, the one with the most; the log says which are left out.

    Args:
        folder: the project's.
        source: that reads it.
        people: as read without them.
        unread: images that some file lists which the source does not read, as of a test set. They
            are not learned from, and so no folder is that holds one of them.
    """
    if not isinstance(source, WithFolder):
        return None
    known = source.listed_images() | set(map(Path, people.annotated.paths))
    count = _count_further(folder, known, unread)
    if not count:
        return None
    kind = source.kind
    shares = shares_of_images(people.annotated)
    share = float(np.median(shares))
    filled = share >= FILLED if kind == "coco" else bool((shares >= 1).all())
    if not filled:
        logger.warning(
            "%d images of %s have no labels and are not learned from: labeled people have %.0f %% "
            "of their images in the median, and boxes are needed that say where these are (COCO: "
            "source.unlabeled.annotations; docs/data.md)", sum(count.values()), folder, 100 * share,
        )  # fmt: skip
        return None
    (best, many), *others = count.most_common()
    if best == ".":
        many, others = count.total(), []  # all folders are in this one
    if others:
        left = ", ".join(f"{number} in {name}" for name, number in others)
        logger.warning("further images without labels are not learned from (%s): one folder can be",
                       left)  # fmt: skip
    reason = f"{many} images in it have no labels; each is taken as one who fills it"
    return ({"images": best} if kind == "coco" else best), reason


def _count_further(folder: Path, known: Set[Path], unread: Set[Path]) -> Counter[str]:
    """How many images that are not known are in each folder that may be read as a whole.

    That is a folder of the project, or one in it, without an unread image; "." is the project's.
    """
    unread = unread - known
    closed = {above for path in unread for above in path.parents}
    count: Counter[str] = Counter()
    beside = 0
    for file in folder.rglob("*"):
        inside = file.relative_to(folder)
        if file in known or file in unread or not is_image(inside) or not file.is_file():
            continue
        within = [*reversed(inside.parents)][1:] or [Path(".")]
        place = next((place for place in within if folder / place not in closed), None)
        if place is None:
            beside += 1
        else:
            count[place.as_posix()] += 1
    if beside:
        logger.warning(
            "%d images without labels lie beside those of a list that is not read, such as a test "
            "set, and are not learned from: move them to a folder of their own", beside,
        )  # fmt: skip
    return count
