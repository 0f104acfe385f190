"""Backgrounds: walls, floors, textures, shapes and limb-like things that are not people."""

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from .looks import cloth_color, random_cloth, random_color, skin_color, smooth_noise
from .raster import Canvas, Light, hit_capsule, stamp
from .settings import ByteArray, FloatArray


def paint_backdrop(
    rng: np.random.Generator, hw: tuple[int, int], clutter: float, light: Light
) -> Canvas:
    """Paints a background.

    Args:
        rng: Source of randomness.
        hw: Canvas height and width.
        clutter: 0 plain, 1 usual.
        light: Light for the solid distractors.

    Returns:
        A canvas whose owner is 0 everywhere.
    """
    height, width = hw
    # Half the resolution is enough for what is smooth or out of focus anyway.
    half = _surfaces(rng, (height // 2, width // 2), clutter)
    image = Image.fromarray(half).resize((width, height), Image.Resampling.BILINEAR)
    _draw_shapes(rng, image, int(clutter * rng.integers(2, 16)))
    if rng.random() < 0.3:
        image = image.filter(ImageFilter.BoxBlur(float(rng.uniform(1.0, 4.0))))
    canvas = Canvas.of(np.array(image))
    tile = smooth_noise(rng)
    for _ in range(int(clutter * rng.integers(0, 6))):
        _paint_mock_limb(rng, canvas, light, tile)
    return canvas


def texture(rng: np.random.Generator, hw: tuple[int, int], strength: float) -> FloatArray:
    """(h, w, 1 or 3) float32 smooth random texture about 0, amplitude about `strength`."""
    height, width = hw
    channels = 3 if rng.random() < 0.4 else 1
    total = np.zeros((height, width, channels), np.float32)
    for _ in range(int(rng.integers(1, 3))):
        cell = float(2.0 ** rng.uniform(0.8, 5.0))
        # Cells may be long and thin: planks, grass, blinds.
        stretch = float(2.0 ** rng.uniform(-2.0, 2.0)) if rng.random() < 0.4 else 1.0
        rows = max(2, int(height / cell / stretch))
        cols = max(2, int(width / cell * stretch))
        method = Image.Resampling.NEAREST if rng.random() < 0.2 else Image.Resampling.BILINEAR
        weight = strength * float(rng.uniform(0.3, 1.0))
        for channel in range(channels):
            grid = weight * rng.standard_normal((rows, cols)).astype(np.float32)
            total[..., channel] += np.asarray(Image.fromarray(grid).resize((width, height), method))
    return total


def _surfaces(rng: np.random.Generator, hw: tuple[int, int], clutter: float) -> ByteArray:
    """Wall above, floor below a horizon, each with its own color and texture."""
    height, width = hw
    plain = 1.0 if clutter > 0 else 0.1
    wall = random_color(rng, 0.45) + texture(rng, hw, plain * float(rng.uniform(2, 45)))
    base = np.broadcast_to(wall, (height, width, 3)).astype(np.float32)
    if rng.random() < 0.75:
        horizon = int(height * rng.uniform(0.35, 0.95))
        base[horizon:] = random_color(rng, 0.4)
        base[horizon:] += texture(rng, (height - horizon, width), plain * float(rng.uniform(2, 40)))
    slope = np.linspace(-1.0, 1.0, width, dtype=np.float32)[None, :, None]
    base *= 1.0 + float(rng.uniform(-0.3, 0.3)) * slope
    return np.clip(base, 0.0, 255.0).astype(np.uint8)


def _draw_shapes(rng: np.random.Generator, image: Image.Image, count: int) -> None:
    """Windows, boxes, balls, poles, fences: flat shapes with borders."""
    draw = ImageDraw.Draw(image)
    width, height = image.size

    def ink() -> tuple[int, int, int]:
        color = skin_color(rng) if rng.random() < 0.12 else random_color(rng)
        red, green, blue = (int(value) for value in np.clip(color, 0, 255))
        return red, green, blue

    for _ in range(count):
        x, y = rng.uniform(-0.1, 1.0) * width, rng.uniform(-0.1, 1.0) * height
        w, h = width * rng.uniform(0.03, 0.4), height * rng.uniform(0.03, 0.45)
        kind = int(rng.integers(5))
        outline = ink() if rng.random() < 0.5 else None
        if kind == 0:
            draw.rectangle((x, y, x + w, y + h), fill=ink(), outline=outline, width=3)
        elif kind == 1:
            size = w if rng.random() < 0.5 else h
            draw.ellipse((x, y, x + w, y + size), fill=ink(), outline=outline, width=3)
        elif kind == 2:
            corners = [(x + w * rng.uniform(-1, 1), y + h * rng.uniform(-1, 1)) for _ in range(4)]
            draw.polygon(corners, fill=ink())
        elif kind == 3:
            end = (x + width * rng.normal(0, 0.3), y + height * rng.normal(0, 0.5))
            draw.line(((x, y), end), fill=ink(), width=int(rng.integers(2, 16)))
        else:
            color, step = ink(), int(rng.integers(6, 22))
            upright = rng.random() < 0.6
            for k in range(int(rng.integers(3, 9))):
                dx, dy = (k * step, 0) if upright else (0, k * step)
                end = (x + dx, y + h) if upright else (x + w, y + dy)
                draw.line((x + dx, y + dy, *end), fill=color, width=step // 3 + 1)


def _paint_mock_limb(
    rng: np.random.Generator, canvas: Canvas, light: Light, tile: FloatArray
) -> None:
    """A jointed chain of shaded capsules in cloth or skin colors, or a head-like ball."""
    height, width = canvas.owner.shape
    canvas.new_layer()
    radius = float(rng.uniform(0.012, 0.04)) * height
    point = np.array([rng.uniform(0, width), rng.uniform(0, height), 0.0], np.float32)
    cloth, skin = random_cloth(rng, 0.0), skin_color(rng)
    axes = np.diag(np.array([1.0, -1.0, -1.0], np.float32))
    angle = float(rng.uniform(0, 2 * np.pi))
    for _ in range(int(rng.integers(1, 4))):
        length = float(rng.uniform(0.0, 0.2)) * height
        angle += float(rng.normal(0.0, 0.9))
        step = np.array([np.cos(angle), np.sin(angle), rng.normal(0, 0.3)], np.float32)
        last = (point + length * step).astype(np.float32)
        sizes = radius, radius * float(rng.uniform(0.6, 1.0))
        hits = hit_capsule(canvas, point, last, sizes)
        if hits is not None:
            local = (hits.xyz - point) @ axes / np.float32(0.55 * height)
            color = skin if rng.random() < 0.4 else cloth_color(cloth, local, tile)
            stamp(canvas, hits, color, light, owner=0)
        point, radius = last, sizes[1]
