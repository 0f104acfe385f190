"""From a canvas to a photograph: light, reduction, blur, noise, JPEG."""

import io

import numpy as np
from PIL import Image, ImageFilter

from .raster import Light
from .settings import ByteArray, DrawnSettings


def sample_light(rng: np.random.Generator) -> Light:
    """Draws a light from above or the side, soft or hard, warm or cold."""
    direction = np.array([rng.normal(0.0, 0.6), -abs(rng.normal(0.5, 0.4)), -0.7], np.float32)
    direction /= np.linalg.norm(direction)
    warm = float(rng.normal(0.0, 0.07))
    tint = np.array([1.0 + warm, 1.0, 1.0 - warm], np.float32)
    return Light(direction, float(rng.uniform(0.3, 0.75)), tint * np.float32(rng.uniform(0.8, 1.1)))


def expose_photo(rng: np.random.Generator, rgb: ByteArray, settings: DrawnSettings) -> ByteArray:
    """Reduces the canvas and adds exposure, uneven light, blur and noise.

    Args:
        rng: Source of randomness.
        rgb: (H * supersample, W * supersample, 3) uint8 canvas colors.
        settings: Settings.

    Returns:
        (H, W, 3) uint8 image.
    """
    image = Image.fromarray(rgb).reduce(settings.supersample)
    sigma = settings.blur * float(rng.uniform(0.0, 1.0)) ** 2
    if sigma > 0.25:
        image = image.filter(ImageFilter.GaussianBlur(sigma))
    pixels = np.asarray(image, np.float32)
    height, width = pixels.shape[:2]
    across = np.linspace(-1.0, 1.0, width, dtype=np.float32)[None, :]
    down = np.linspace(-1.0, 1.0, height, dtype=np.float32)[:, None]
    slope_x, slope_y = (float(value) for value in rng.normal(0.0, 0.13, 2))
    gain = float(np.clip(rng.normal(1.0, 0.14), 0.6, 1.4))
    contrast = float(rng.uniform(0.7, 1.12))
    lit = gain * contrast * (1.0 + slope_x * across + slope_y * down)
    pixels = pixels * lit[..., None]
    pixels += (115.5 - 115.0 * contrast + rng.normal(0.0, 5.0, 3)).astype(np.float32)
    level = np.float32(settings.noise * rng.uniform(0.0, 1.0) ** 1.5)
    if level > 0.3:
        channels = 3 if rng.random() < 0.5 else 1
        pixels += level * rng.standard_normal((height, width, channels), dtype=np.float32)
    return np.clip(pixels, 0.0, 255.0).astype(np.uint8)


def encode_jpeg(image: ByteArray, quality: int) -> bytes:
    """JPEG bytes of an (H, W, 3) uint8 image; the options are fixed but for the quality."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(
        buffer, "JPEG", quality=quality, subsampling="4:2:0", optimize=False, progressive=False
    )
    return buffer.getvalue()
