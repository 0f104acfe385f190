"""A folder from a phone: companions and other files are left out and counted."""

import logging

import pytest
from PIL import Image

from sspcm_kedro.errors import BadInput
from sspcm_kedro.sources.checks import verify_images
from sspcm_kedro.sources.image_folder import read_image_folder


@pytest.fixture
def phone(tmp_path):
    (tmp_path / "__MACOSX").mkdir()
    for name in ("b.jpg", "a.png"):
        Image.new("RGB", (30, 40)).save(tmp_path / name)
    for name in ("__MACOSX/a.png", "._b.jpg", "IMG_7.HEIC"):
        (tmp_path / name).write_bytes(b"\0\5\26\7")
    return tmp_path


def test_what_is_left_out_is_counted(phone, caplog):
    people = read_image_folder(phone)
    assert people.paths.tolist() == [str(phone / "a.png"), str(phone / "b.jpg")]
    assert people.image_hw.tolist() == [[40, 30]] * 2
    assert "3 files of" in caplog.text and "IMG_7.HEIC" in caplog.text


def test_a_broken_image_is_refused(phone):
    (phone / "c.jpg").write_bytes(b"no image")
    with pytest.raises(BadInput, match=r"c\.jpg: the image must decode"):
        read_image_folder(phone)


def test_turned_and_deep_images_are_counted(phone, caplog):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (30, 40)).save(phone / "b.jpg", exif=exif)
    Image.new("I;16", (30, 40)).save(phone / "a.png")
    with caplog.at_level(logging.WARNING):
        verify_images(read_image_folder(phone), workers=2)
    assert "1 images have an orientation tag" in caplog.text
    assert "1 images have more than 8 bits" in caplog.text
