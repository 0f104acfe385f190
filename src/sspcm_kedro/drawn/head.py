"""Paints a head: skin, mouth, eyes, nose, ears, hair, beard, cap.

The face is fixed to the 3-D head, so that front and back, left and right can be told apart.
"""

import numpy as np

from .camera import Projected
from .looks import Look
from .parts import Part
from .raster import Canvas, Light, hit_capsule, hit_ellipsoid, stamp
from .settings import FloatArray
from .skeleton3d import Build

_DARK = np.array([38.0, 26.0, 24.0], np.float32)


def paint_head(
    canvas: Canvas, body: Projected, build: Build, look: Look, light: Light, owner: int
) -> None:
    """Paints the head of a person into the person's current layer.

    Args:
        canvas: Canvas to paint on.
        body: Joints on the canvas.
        build: Proportions.
        look: Skin and hair.
        light: Light.
        owner: Owner value of the person (Part values are added).
    """
    zoom = body.zoom["head"]
    axes = np.asarray(build.head, np.float32) * np.float32(zoom)
    frame, center = body.frames["head"], body.points["head"]
    found = hit_ellipsoid(canvas, center, frame, axes)
    if found is not None:
        hits, local = found
        stamp(canvas, hits, _skull_color(look, local), light, owner + Part.HEAD)
    _paint_hair(canvas, center, frame, axes, look, light, owner)

    def ball(name: str, part: Part, size: float, color: FloatArray, sink: float) -> None:
        """A ball on the face, moved `sink` (share of the offset) towards the head's center."""
        place = body.points[name] + sink * (center - body.points[name])
        radius = size * float(axes[1])
        hits = hit_capsule(canvas, place, place, (radius, radius))
        if hits is not None:
            stamp(canvas, hits, color, light, owner + part)

    eye = _DARK * (0.5 if look.glasses else 1.0)
    for side, part in (("l", Part.EYE_L), ("r", Part.EYE_R)):
        ball(f"eye_{side}", part, 0.24 if look.glasses else 0.15, eye, 0.06)
    ball("nose", Part.NOSE, 0.17, look.skin * np.array([0.95, 0.82, 0.78], np.float32), 0.12)
    if look.style not in ("long",):
        for side, part in (("l", Part.EAR_L), ("r", Part.EAR_R)):
            ball(f"ear_{side}", part, 0.2, look.skin * np.float32(0.88), 0.06)


def _skull_color(look: Look, local: FloatArray) -> FloatArray:
    """Skin or hair for (n, 3) unit directions in head axes (left, up, forward)."""
    left, up, forward = local[:, 0], local[:, 1], local[:, 2]
    color = np.broadcast_to(look.skin, local.shape).copy()
    if look.beard:
        color[(forward > 0.1) & (up < -0.32)] = look.hair
    mouth = (forward > 0.5) & (np.abs(left) < 0.34) & (np.abs(up + 0.5) < 0.075)
    color[mouth] = look.skin * np.array([0.72, 0.38, 0.38], np.float32)
    brows = (forward > 0.5) & (np.abs(np.abs(left) - 0.42) < 0.2) & (np.abs(up - 0.36) < 0.05)
    color[brows] = 0.6 * look.hair
    if look.style != "bald":
        # The hair line runs from high on the forehead down to the nape behind the ears.
        line = np.where(forward > 0.0, 0.25 + 0.42 * forward, 0.25 + 1.1 * forward)
        strands = (
            1.0
            + 0.18 * look.tile[(left * 30).astype(np.int32) & 63, (up * 18).astype(np.int32) & 63]
        )
        hair = up > line
        worn = look.mark if look.style == "cap" else look.hair
        above = hair & (up > 0.2) if look.style == "cap" else hair
        color[hair] = look.hair
        color[above] = worn * strands[above, None]
    return color


def _paint_hair(
    canvas: Canvas,
    center: FloatArray,
    frame: FloatArray,
    axes: FloatArray,
    look: Look,
    light: Light,
    owner: int,
) -> None:
    """Hair that stands off the skull, and the brim of a cap."""

    def strand(start: tuple[float, ...], end: tuple[float, ...], sizes: tuple[float, float]):
        """Capsule between two points given in semi-axes of the head."""
        first = center + frame @ (axes * np.asarray(start, np.float32))
        last = center + frame @ (axes * np.asarray(end, np.float32))
        pixels = (sizes[0] * float(axes[1]), sizes[1] * float(axes[1]))
        hits = hit_capsule(canvas, first, last, pixels)
        if hits is not None:
            color = look.mark if look.style == "cap" else look.hair
            stamp(canvas, hits, color, light, owner + Part.HAIR)

    if look.style == "long":
        for side in (-1.0, 1.0):
            strand((side * 0.85, 0.5, -0.3), (side * 0.8, -1.5, -0.5), (0.3, 0.32))
        strand((0.0, 0.4, -0.75), (0.0, -1.6, -0.8), (0.55, 0.5))
    elif look.style == "bun":
        strand((0.0, 0.75, -0.95), (0.0, 0.8, -1.0), (0.38, 0.38))
    elif look.style == "tail":
        strand((0.0, 0.5, -1.05), (0.0, -0.9, -1.6), (0.24, 0.16))
    elif look.style == "cap":
        strand((-0.35, 0.5, 1.15), (0.35, 0.5, 1.15), (0.2, 0.2))
        strand((-0.3, 0.52, 0.8), (0.3, 0.52, 0.8), (0.25, 0.25))
