"""Images are opened in one place: few formats, no clipped values, and every fault with its file."""

import re
import warnings

import numpy as np
import pytest
from PIL import Image

from sspcm_kedro.data.image_file import decode, is_turned, read_rgb, stored_hw
from sspcm_kedro.errors import BadInput

POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 40 40\n%%EndComments\nshowpage\n"
TAG = 0x0112


@pytest.fixture(params=[stored_hw, decode, read_rgb])
def opening(request):
    return request.param


@pytest.mark.parametrize(
    "content",
    [POSTSCRIPT, b"", b"text", b"\0\0\0\x18ftypheic" + bytes(99), b"II*\0\xff\xff\xff\xff"],
)
def test_what_is_no_image_of_the_list_is_refused(tmp_path, opening, content):
    """PostScript is known to Pillow, which starts Ghostscript for it."""
    file = tmp_path / "a.jpg"
    file.write_bytes(content)
    with pytest.raises(BadInput, match=rf"{re.escape(str(file))}: the image must decode.*Copy"):
        opening(file)


def test_too_many_pixels_are_refused_and_many_are_read(tmp_path, monkeypatch, opening):
    Image.new("L", (60, 50)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1400)
    with pytest.raises(BadInput, match=r"a\.png: the image must have at most .*Reduce it"):
        opening(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 3000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        opening(tmp_path / "a.png")


DEEP = {
    "thermal": (lambda ramp: (21000 + 16 * ramp).astype(np.uint16), "png"),
    "12 bits": (lambda ramp: (16 * ramp).astype(np.uint16), "png"),
    "32 bits": (lambda ramp: (257 * ramp - 9000).astype(np.int32), "tif"),
    "degrees": (lambda ramp: (18 + ramp / 15).astype(np.float32), "tif"),
}


@pytest.mark.parametrize("kind", DEEP)
def test_images_of_many_bits_are_stretched(tmp_path, kind):
    """Pillow clips them at 255: white all over."""
    ramp = np.tile(np.arange(256), (8, 1))
    make, suffix = DEEP[kind]
    Image.fromarray(make(ramp)).save(tmp_path / f"a.{suffix}")
    found = np.asarray(read_rgb(tmp_path / f"a.{suffix}"))
    assert (found == ramp[..., None]).all()


def test_an_image_of_one_deep_value_is_black_and_nan_is_the_lowest(tmp_path):
    Image.fromarray(np.full((4, 5), 700, np.uint16)).save(tmp_path / "flat.png")
    assert not np.asarray(read_rgb(tmp_path / "flat.png")).any()
    values = np.array([[np.nan, 3.0, 5.0, np.inf]], np.float32)
    Image.fromarray(values).save(tmp_path / "nan.tif")
    assert np.asarray(read_rgb(tmp_path / "nan.tif"))[0, :, 0].tolist() == [0, 0, 255, 0]


@pytest.mark.parametrize(("value", "turned"), [(1, False), (3, True), (6, True), (None, False)])
def test_a_tag_that_turns(tmp_path, value, turned):
    exif = Image.Exif()
    if value:
        exif[TAG] = value
    Image.new("RGB", (9, 6)).save(tmp_path / "a.jpg", exif=exif)
    assert is_turned(decode(tmp_path / "a.jpg")) == turned
    assert stored_hw(tmp_path / "a.jpg") == (6, 9)
