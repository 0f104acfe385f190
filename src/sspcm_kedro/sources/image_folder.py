"""A folder of images, to predict on."""

from pathlib import Path

import numpy as np
from PIL import Image

from sspcm_kedro.data.instances import Instances
from sspcm_kedro.errors import BadInput
from sspcm_kedro.sources import checks
from sspcm_kedro.sources.coco_format import AREA_OF_BOX

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})


def read_image_folder(folder: Path) -> Instances:
    """Each image of a folder and of those in it, by name, as one person who fills it (k = 0).

    Raises:
        BadInput: no folder, no image, a file that is none, or one less than two pixels wide.
    """
    checks.need_folder(folder)
    files = sorted(f for f in folder.rglob("*") if f.suffix.lower() in SUFFIXES and f.is_file())
    if not files:
        rule = f"must hold at least one image ({', '.join(sorted(SUFFIXES))}), found none"
        raise BadInput(folder, rule, "Name the folder with the images")
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


def _size(file: Path) -> tuple[int, int]:
    try:
        with Image.open(file) as image:
            size = image.height, image.width
    except checks.BROKEN_IMAGE as error:
        remedy = "Copy the file again, or remove it"
        raise BadInput(file, f"must be an image, but {error}", remedy) from error
    if min(size) < 2:
        rule = f"must be at least two pixels high and wide, found {size}"
        raise BadInput(file, rule, "Remove the file")
    return size
