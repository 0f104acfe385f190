"""Paints a head: skin, mouth, eyes, nose, ears, hair, beard, cap.

The face is fixed to the 3-D head, so that front and back, left and right can be told apart.
"""

from collections.abc import Sequence

import numpy as np

from .camera import Projected
from .looks import Look
from .parts import Part
from .raster import Canvas, Light, hit_capsule, hit_ellipsoid, stamp
from .settings import FloatArray
from .skeleton3d import Build

_DARK = np.array([38.0, 26.0, 24.0], np.float32)
_Strand = tuple[tuple[float, ...], tuple[float, ...], tuple[float, float]]
_STRANDS: dict[str, tuple[_Strand, ...]] = {
    "long": (
        ((-0.85, 0.5, -0.3), (-0.8, -1.5, -0.5), (0.3, 0.32)),
        ((0.85, 0.5, -0.3), (0.8, -1.5, -0.5), (0.3, 0.32)),
        ((0.0, 0.4, -0.75), (0.0, -1.6, -0.8), (0.55, 0.5)),
    ),
    "bun": (((0.0, 0.75, -0.95), (0.0, 0.8, -1.0), (0.38, 0.38)),),
    "tail": (((0.0, 0.5, -1.05), (0.0, -0.9, -1.6), (0.24, 0.16)),),
    "cap": (
        ((-0.35, 0.5, 1.15), (0.35, 0.5, 1.15), (0.2, 0.2)),
        ((-0.3, 0.52, 0.8), (0.3, 0.52, 0.8), (0.25, 0.25)),
    ),
}
"""Hair that stands off the skull, and the brim of a cap: start, end, radii at both, all in
semi-axes of the head."""


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
    axes = np.asarray(build.head, np.float32) * np.float32(body.zoom["head"])
    high = float(axes[1])
    frame, center = body.frames["head"], body.points["head"]
    found = hit_ellipsoid(canvas, center, frame, axes)
    if found is not None:
        hits, local = found
        stamp(canvas, hits, _skull_color(look, local), light, owner + Part.HEAD)

    def put(
        part: Part, ends: Sequence[FloatArray], radius: tuple[float, float], color: FloatArray
    ) -> None:
        """A capsule on the canvas with radii in semi-axes of the head."""
        hits = hit_capsule(canvas, ends[0], ends[1], (radius[0] * high, radius[1] * high))
        if hits is not None:
            stamp(canvas, hits, color, light, owner + part)

    for start, end, radius in _STRANDS.get(look.style, ()):
        ends = [center + frame @ (axes * np.asarray(tip, np.float32)) for tip in (start, end)]
        put(Part.HAIR, ends, radius, look.mark if look.style == "cap" else look.hair)

    def ball(name: str, size: float, color: FloatArray, sink: float) -> None:
        """A ball on the face, moved `sink` (share of the offset) towards the head's center."""
        place = body.points[name] + sink * (center - body.points[name])
        put(Part[name.upper()], [place, place], (size, size), color)

    eye_size, eye_color = (0.24, 0.5 * _DARK) if look.glasses else (0.15, _DARK)
    for name in ("eye_l", "eye_r"):
        ball(name, eye_size, eye_color, 0.06)
    ball("nose", 0.17, look.skin * np.array([0.95, 0.82, 0.78], np.float32), 0.12)
    if look.style != "long":
        for name in ("ear_l", "ear_r"):
            ball(name, 0.2, look.skin * np.float32(0.88), 0.06)


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
        rows, cols = (left * 30).astype(np.int32) & 63, (up * 18).astype(np.int32) & 63
        strands = 1.0 + 0.18 * look.tile[rows, cols]
        hair = up > line
        cap = look.style == "cap"
        above = hair & (up > 0.2) if cap else hair
        color[hair] = look.hair
        color[above] = (look.mark if cap else look.hair) * strands[above, None]
    return color
