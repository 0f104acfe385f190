"""Objects in front of people: boxes, boards, poles, balls, tables, plants."""

import numpy as np

from .backdrop import texture
from .looks import cloth_color, random_cloth, random_color, smooth_noise
from .raster import Canvas, Light, hit_capsule, stamp, stamp_polygon
from .settings import ByteArray, FloatArray

_KINDS = ("box", "pole", "ball", "table", "plant", "board")


def paint_object(
    rng: np.random.Generator, canvas: Canvas, light: Light, target_xy: FloatArray,
    person_px: float, owner: int, kind: str | None = None,
) -> None:  # fmt: skip
    """Paints an object in front of everything, so that it covers a point.

    Args:
        rng: Source of randomness.
        canvas: Canvas to paint on.
        light: Light.
        target_xy: (2,) canvas point to cover.
        person_px: Size of the person in canvas pixels; objects are sized by it.
        owner: Negative owner value.
        kind: One of box, pole, ball, table, plant, board; drawn when None.
    """
    kind = kind or str(rng.choice(_KINDS, p=(0.22, 0.18, 0.12, 0.16, 0.14, 0.18)))
    canvas.new_layer()
    x, y = (float(value) for value in target_xy)
    size = person_px * float(rng.uniform(0.1, 0.3))

    def bar(
        start: tuple[float, float], end: tuple[float, float], radius: float, leaf: bool = False
    ) -> None:
        """A shaded bar, leaf or (start == end) ball."""
        first, last = (np.array([*point, 0.0], np.float32) for point in (start, end))
        hits = hit_capsule(canvas, first, last, (radius, 0.3 * radius if leaf else radius))
        if hits is None:
            return
        if leaf:
            color = np.array([60, 110, 45], np.float32) * float(rng.uniform(0.5, 1.6))
        else:
            local = (hits.xyz - first) / np.float32(6.0 * radius + 60.0)
            color = cloth_color(random_cloth(rng, 0.0), local, smooth_noise(rng))
        stamp(canvas, hits, color, light, owner)

    if kind == "ball":
        bar((x, y), (x, y), 0.5 * size)
    elif kind == "pole":
        lean = float(rng.normal(0.0, 0.25))
        reach = person_px * float(rng.uniform(0.4, 1.2))
        start = (x - lean * reach, y - reach)
        end = (x + lean * reach, y + reach)
        if rng.random() < 0.3:  # a rail
            start, end = (x - reach, y - lean * reach), (x + reach, y + lean * reach)
        bar(start, end, person_px * float(rng.uniform(0.012, 0.045)))
    elif kind == "plant":
        for _ in range(int(rng.integers(5, 14))):
            angle = float(rng.uniform(-np.pi, 0.0))
            end = (x + 1.4 * size * np.cos(angle), y + 1.4 * size * np.sin(angle))
            bar((x, y + 0.5 * size), end, 0.07 * size + 1.5, leaf=True)
    elif kind == "table":
        cloth = _texture_tile(rng)
        half = person_px * float(rng.uniform(0.25, 0.8))
        thick = person_px * float(rng.uniform(0.03, 0.12))
        top = _corners(x + float(rng.normal(0, 0.3)) * half, y, half, thick, rng.normal(0, 0.03))
        stamp_polygon(canvas, top, cloth, owner)
        for side in (-0.85, 0.85):
            leg = _corners(float(top[:, 0].mean()) + side * half, y + half, thick / 3, half, 0.0)
            stamp_polygon(canvas, leg, cloth, owner, 0.7)
    else:  # box or board
        cloth = _texture_tile(rng)
        wide, high = (size * float(rng.uniform(0.5, 1.4)) for _ in range(2))
        tilt = float(rng.normal(0.0, 0.15 if kind == "box" else 0.8))
        shift = 0.6 * np.array([rng.uniform(-wide, wide), rng.uniform(-high, high)])
        front = _corners(x + shift[0], y + shift[1], wide, high, tilt)
        stamp_polygon(canvas, front, cloth, owner)
        if kind == "box":  # a second, darker side
            depth = np.array([wide * rng.uniform(-0.5, 0.5), -high * 0.35], np.float32)
            lid = np.stack([front[0], front[1], front[1] + depth, front[0] + depth])
            stamp_polygon(canvas, lid, cloth, owner, 0.72)


def _corners(x: float, y: float, half_w: float, half_h: float, tilt: float) -> FloatArray:
    """(4, 2) corners of a rectangle turned by `tilt` radians, upper side first."""
    flat = np.array([[-half_w, -half_h], [half_w, -half_h], [half_w, half_h], [-half_w, half_h]])
    cos, sin = np.cos(tilt), np.sin(tilt)
    turn = np.array([[cos, sin], [-sin, cos]])
    return (flat @ turn + np.array([x, y])).astype(np.float32)


def _texture_tile(rng: np.random.Generator) -> ByteArray:
    """(96, 96, 3) uint8 material for flat objects."""
    color = random_color(rng) + texture(rng, (96, 96), float(rng.uniform(2.0, 35.0)))
    return np.clip(np.broadcast_to(color, (96, 96, 3)), 0, 255).astype(np.uint8)
