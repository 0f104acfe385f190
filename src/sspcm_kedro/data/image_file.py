"""The one place that opens image files: few formats, whole files, 8-bit RGB."""

import warnings
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image, UnidentifiedImageError

from sspcm_kedro.errors import BadInput

T = TypeVar("T")

FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF", "PPM", "JPEG2000")
"""What is opened. Pillow knows more, of which some start other programs (PostScript)."""

DEEP_MODES = frozenset({"I;16", "I;16B", "I;16L", "I;16N", "I", "F"})
"""Pillow's modes of more than 8 bits a channel, which it clips at 255 when it converts them."""

_ORIENTATION = 0x0112

# Half of what is refused is read without a talk of attacks: a photograph of 100 megapixels is none.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


class UnreadableImage(BadInput):
    """An image file cannot be read; ``rule`` and ``remedy`` say why and what to do."""

    def __init__(self, where: object, rule: str, remedy: str) -> None:
        super().__init__(where, rule, remedy)
        self.rule, self.remedy = rule, remedy


def stored_hw(path: str | Path) -> tuple[int, int]:
    """The (height, width) of the stored pixels, from the header, whatever EXIF says.

    Raises:
        UnreadableImage: the file is no image of ``FORMATS``, or too large.
    """
    return _opened(path, lambda image: (image.height, image.width))


def decode(path: str | Path, content: bytes | None = None) -> Image.Image:
    """An image as it is stored, with all its pixels in memory, not turned by EXIF.

    ``content`` is the file's, where it has been read already.

    Raises:
        UnreadableImage: the file is no image of ``FORMATS``, broken, or too large.
    """
    return _opened(path, _loaded, content)


def read_rgb(path: str | Path, checksum: int = -1) -> Image.Image:
    """An image as 8-bit RGB; one of more bits is stretched from its lowest to its highest value.

    Args:
        path: the file.
        checksum: the ``checksum_of`` it that is known; -1: none is.

    Raises:
        UnreadableImage: as ``decode``.
        BadInput: the file is not the one of that checksum.
    """
    if checksum < 0:
        return _opened(path, to_rgb)
    remedy = "Bring the file back, or read the people again: kedro run --pipelines ingestion"
    rule = "the image must be the one that was read with the people, and "
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise BadInput(path, f"{rule}cannot be read", remedy) from error
    if zlib.crc32(content) != checksum:
        raise BadInput(path, f"{rule}its CRC32 is another (damaged, or changed)", remedy)
    return _opened(path, to_rgb, content)


def decode_rgb(content: bytes, where: str) -> Image.Image:
    """An image file's content as ``read_rgb`` gives the file; ``where`` is what errors call it.

    Raises:
        UnreadableImage: as ``decode``.
    """
    return _opened(where, to_rgb, content)


def checksum_of(path: str | Path) -> int:
    """The CRC32 of a file's bytes; -1 of a file that cannot be read."""
    crc = 0
    try:
        with open(path, "rb") as file:
            while part := file.read(2**20):
                crc = zlib.crc32(part, crc)
    except OSError:
        return -1
    return crc


def is_turned(image: Image.Image) -> bool:
    """Whether a tag (EXIF) asks viewers to turn the stored pixels."""
    try:
        return image.getexif().get(_ORIENTATION, 1) not in (0, 1)
    except Exception:  # a broken tag turns nothing, and the pixels are fine
        return False


def is_shown_turned(path: str | Path) -> bool:
    """The same of an image file, from its header; TIFF files are turned as they are opened.

    Raises:
        UnreadableImage: as ``stored_hw``.
    """
    return _opened(path, lambda image: "exif" in image.info and is_turned(image))


def _opened(path: str | Path, use: Callable[[Image.Image], T], content: bytes | None = None) -> T:
    """What ``use`` makes of an image file, of which the content may have been read already."""
    try:
        with Image.open(path if content is None else BytesIO(content), formats=FORMATS) as image:
            return use(image)
    except Image.DecompressionBombError as error:
        most = 2 * (Image.MAX_IMAGE_PIXELS or 0) // 10**6
        rule = f"the image must have at most {most} megapixels, and has more"
        raise UnreadableImage(path, rule, "Reduce it, and its annotations with it") from error
    except UnidentifiedImageError as error:
        rule = f"the image must decode, but it is no whole file of {', '.join(FORMATS)}"
        raise UnreadableImage(path, rule, COPY) from error
    except Exception as error:  # whatever a decoder makes of hostile bytes
        rule = f"the image must decode, but {error or type(error).__name__}"
        raise UnreadableImage(path, rule, COPY) from error


COPY = "Copy the file again or convert it, or remove the image and its people"


def _loaded(image: Image.Image) -> Image.Image:
    image.load()
    return image


def to_rgb(image: Image.Image) -> Image.Image:
    """An opened image as ``read_rgb`` gives the file."""
    return (_stretch(image) if image.mode in DEEP_MODES else image).convert("RGB")


def _stretch(image: Image.Image) -> Image.Image:
    """A gray image of many bits in 256 levels, from its lowest (finite) value to its highest."""
    values: Any = np.asarray(image).astype(np.float64)
    finite = np.isfinite(values)
    low = values[finite].min() if finite.any() else 0.0
    values = np.where(finite, values - low, 0)
    return Image.fromarray(np.round(values * (255 / (values.max() or 1))).astype(np.uint8))
