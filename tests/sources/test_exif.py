"""Orientation tags are ignored: sizes, checks and pixels are those of the stored image.

Annotators saw the stored pixels; a reader that turns the image puts every label beside its
keypoint. Labels of tools that show images turned are of other pixels: such images are refused.
"""

from pathlib import Path

import pytest
from PIL import Image, ImageOps

from formats import (
    pictures,
    write_aic,
    write_coco,
    write_cvat,
    write_fisheye,
    write_label_studio,
    write_lsp,
    write_lspet,
    write_mpii,
    write_mpii_mat,
    write_yolo_pose,
)
from sspcm_kedro.data.crops import Crops
from sspcm_kedro.errors import BadInput
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


TURNING = {
    "yolo_pose": lambda root: write_yolo_pose(root, *SHOWN),
    "label_studio": lambda root: write_label_studio(root, SHOWN[0]),
    "cvat": lambda root: write_cvat(root, SHOWN[0]),
}


def turn(path: Path, orientation: int = 6) -> None:
    """Tag a JPEG as lying on its side; its pixels stay as they are, byte by byte."""
    tags = Image.Exif()
    tags[0x0112] = orientation
    segment = tags.tobytes()
    content = path.read_bytes()
    head = b"\xff\xe1" + (len(segment) + 2).to_bytes(2, "big")
    path.write_bytes(content[:2] + head + segment + content[2:])
    with Image.open(path) as image:
        assert (ImageOps.exif_transpose(image).size == image.size[::-1]) == (orientation >= 5)


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


@pytest.mark.parametrize("orientation", [3, 6])  # turned by 180 degrees the size is the same
@pytest.mark.parametrize("kind", TURNING)
def test_labeled_images_are_refused_of_tools_that_show_them_turned(tmp_path, kind, orientation):
    source = SourceConfig.model_validate(TURNING[kind](tmp_path)).root
    (path,) = source.read().annotated.paths
    turn(Path(path), orientation)
    message = r"(train)?0\.jpg: the image must lie in its file as the tool shows it.*exiftran -ai"
    with pytest.raises(BadInput, match=message):
        source.read()
    upright = ImageOps.exif_transpose(Image.open(path))
    upright.save(path)
    if orientation == 3:  # labels are as they were, and their image is as it was shown
        assert source.read().annotated.image_hw.tolist() == [[96, 128]]


def test_images_without_labels_may_be_turned(tmp_path):
    source = SourceConfig.model_validate({**TURNING["yolo_pose"](tmp_path), "box": "frame"}).root
    Image.new("RGB", (60, 40)).save(tmp_path / "images/train/x.jpg")
    turn(tmp_path / "images/train/x.jpg")
    unlabeled = source.read().unlabeled
    assert unlabeled is not None and unlabeled.image_hw.tolist() == [[40, 60]]
