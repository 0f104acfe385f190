"""Images of a project's folder that nobody has labeled, and whether they can be learned from."""

import logging
from collections import Counter
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


def find_unlabeled(folder: Path, source: BaseSource, people: Source) -> tuple[Any, str] | None:
    """``source.unlabeled`` with its reason, where the folder holds images without labels.

    They are those of one folder in it, the one with the most; the log says which are left out.

    Args:
        folder: the project's.
        source: that reads it.
        people: as read without them.
    """
    if not isinstance(source, WithFolder):
        return None
    count = _count_further(folder, source, people)
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
    if others:
        left = ", ".join(f"{number} in {name}" for name, number in others)
        logger.warning("further images without labels are not learned from (%s): one folder can be",
                       left)  # fmt: skip
    reason = f"{many} images in it have no labels; each is taken as one who fills it"
    return ({"images": best} if kind == "coco" else best), reason


def _count_further(folder: Path, source: WithFolder, people: Source) -> Counter[str]:
    """How many images that are not in use yet each folder of the project holds, itself as "."."""
    parts = (people.annotated, people.validation, people.unlabeled)
    known = {Path(path) for part in parts if part is not None for path in part.paths}
    if not isinstance(source, CocoSource):
        known |= source.listed_images()
    count: Counter[str] = Counter()
    for file in folder.rglob("*"):
        inside = file.relative_to(folder)
        if is_image(inside) and file not in known and file.is_file():
            count[inside.parts[0] if len(inside.parts) > 1 else "."] += 1
    return count
