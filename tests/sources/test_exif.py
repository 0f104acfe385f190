"""Orientation tags are ignored everywhere: sizes, checks and pixels are those of the stored image.

Annotators saw the stored pixels; a reader that turns the image puts every label beside its
keypoint.
"""

from pathlib import Path

import pytest
from PIL import Image, ImageOps

from formats import (
    pictures,
    write_aic,
    write_coco,
    write_fisheye,
    write_lsp,
    write_lspet,
    write_mpii,
    write_mpii_mat,
)
from sspcm_kedro.data.crops import Crops
from sspcm_kedro.pose.geometry import CropFrame
from sspcm_kedro.sources import SourceConfig
from sspcm_kedro.sources.checks import verify_images

SHOWN = (pictures(1, 1), pictures(1, 2))
WRITERS = {
    "coco": lambda root: write_coco(root, *SHOWN),
    "mpii": lambda root: write_mpii(root, *SHOWN),
    "mpii_mat": lambda root: write_mpii_mat(root, *SHOWN),
    "aic": lambda root: write_aic(root, *SHOWN),
    "lsp": lambda root: write_lsp(root, *SHOWN),
    "lspet": lambda root: write_lspet(root, SHOWN[0]),
    "fisheye": lambda root: write_fisheye(root, *SHOWN),
}


def turn(path: Path) -> None:
    """Tag a JPEG as lying on its side; its pixels stay as they are, byte by byte."""
    tags = Image.Exif()
    tags[0x0112] = 6
    segment = tags.tobytes()
    content = path.read_bytes()
    head = b"\xff\xe1" + (len(segment) + 2).to_bytes(2, "big")
    path.write_bytes(content[:2] + head + segment + content[2:])
    with Image.open(path) as image:
        assert ImageOps.exif_transpose(image).size == image.size[::-1]


@pytest.mark.parametrize("kind", WRITERS)
def test_orientation_is_ignored(tmp_path, kind):
    record = WRITERS[kind](tmp_path)
    before = SourceConfig.model_validate(record).root.read().annotated
    pixels = Crops(before, CropFrame((64, 48)), border=0, workers=1)[[0]]
    for path in tmp_path.rglob("*.jpg"):
        turn(path)
    people = SourceConfig.model_validate(record).root.read().annotated
    assert people.image_hw.tolist() == before.image_hw.tolist() == [[96, 128]]
    assert people.boxes.tolist() == before.boxes.tolist()
    verify_images(people)
    assert (Crops(people, CropFrame((64, 48)), border=0, workers=1)[[0]] == pixels).all()
