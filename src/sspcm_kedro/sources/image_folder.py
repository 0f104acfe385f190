"""A folder of images, or one image, to predict on."""

import logging
from pathlib import Path

import numpy as np

from sspcm_kedro.data.image_file import stored_hw
from sspcm_kedro.data.instances import Instances
from sspcm_kedro.errors import BadInput
from sspcm_kedro.sources import checks
from sspcm_kedro.sources.coco_records import AREA_OF_BOX

logger = logging.getLogger(__name__)

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})


def read_images(images: Path) -> Instances:
    """Each image of a folder, or the one image that a file is, as one person who fills it (k = 0).

    Raises:
        BadInput: as ``read_image_folder``.
    """
    return _as_people([images]) if images.is_file() else read_image_folder(images)


def read_image_folder(folder: Path) -> Instances:
    """Each image of a folder and of those in it, by name, as one person who fills it (k = 0).

    Other files are left out, and counted in the log.

    Raises:
        BadInput: no folder, no image, a file that is none, or one less than two pixels wide.
    """
    checks.need_folder(folder)
    there = sorted(file for file in folder.rglob("*") if file.is_file())
    files = [file for file in there if is_image(file.relative_to(folder))]
    skipped = sorted(set(there) - set(files))
    if skipped:
        names = ", ".join(file.name for file in skipped[:3])
        logger.warning("%d files of %s are no images that are read: %s%s", len(skipped), folder,
                       names, ", ..." if len(skipped) > 3 else "")  # fmt: skip
    if not files:
        rule = f"must hold at least one image ({', '.join(sorted(SUFFIXES))}), found none"
        raise BadInput(folder, rule, "Name the folder with the images")
    return _as_people(files)


def _as_people(files: list[Path]) -> Instances:
    image_hw = np.array([_size(file) for file in files], np.int64)
    n = len(files)
    boxes = np.zeros((n, 4), np.float32)
    boxes[:, 2:] = image_hw[:, ::-1] - 1  # from the first pixel's center to the last one's
    return Instances(
        ids=np.arange(1, n + 1),
        image_ids=np.arange(1, n + 1),
        paths=np.array([str(file) for file in files], object),
        image_hw=image_hw,
        boxes=boxes,
        areas=(AREA_OF_BOX * image_hw.prod(axis=1)).astype(np.float32),
        box_scores=np.ones(n, np.float32),
        keypoints=np.zeros((n, 0, 2), np.float32),
        visibility=np.zeros((n, 0), np.int64),
    )


def is_image(file: Path) -> bool:
    """Whether a file is an image by its name; companions that macOS makes of files are none."""
    hidden = file.name.startswith("._") or "__MACOSX" in file.parts
    return file.suffix.lower() in SUFFIXES and not hidden


def _size(file: Path) -> tuple[int, int]:
    size = stored_hw(file)
    if min(size) < 2:
        rule = f"must be at least two pixels high and wide, found {size}"
        raise BadInput(file, rule, "Remove the file")
    return size
