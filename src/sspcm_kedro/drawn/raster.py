"""Canvas with an owner buffer, and the two solids that everything is made of.

The canvas is larger than the final image by the supersampling factor; pixel centers lie at
whole coordinates (x right, y down); depth grows away from the camera, in canvas pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from .settings import ByteArray, FloatArray, IntArray

FAR = np.float32(1e9)


@dataclass
class Canvas:
    """What has been painted so far.

    Attributes:
        rgb: (H, W, 3) uint8 colors.
        owner: (H, W) int32; 0 background, > 0 person * PARTS + part, < 0 an object.
        depth: (H, W) float32 depth within the solid (person or object) painted last.
    """

    rgb: ByteArray
    owner: npt.NDArray[np.int32]
    depth: FloatArray

    @staticmethod
    def of(rgb: ByteArray) -> "Canvas":
        """A canvas that shows only the background `rgb` (H, W, 3)."""
        shape = rgb.shape[:2]
        return Canvas(rgb, np.zeros(shape, np.int32), np.full(shape, FAR, np.float32))

    def new_layer(self) -> None:
        """Forgets the depths: what follows is painted in front of everything so far."""
        self.depth.fill(FAR)


@dataclass(frozen=True)
class Light:
    """One distant light.

    Attributes:
        direction: (3,) unit vector towards the light in screen coordinates.
        ambient: Share of the light that comes from everywhere, 0..1.
        tint: (3,) factor per color channel.
    """

    direction: FloatArray
    ambient: float
    tint: FloatArray


@dataclass(frozen=True)
class Hits:
    """Canvas pixels where a solid is nearer than what its layer shows so far.

    Attributes:
        index: the (n,) rows and (n,) columns of the pixels.
        xyz: (n, 3) float32 surface points on the screen.
        normal: (n, 3) float32 unit normals (z < 0 towards the camera).
        along: (n,) float32 position along the solid, 0..1.
    """

    index: tuple[IntArray, IntArray]
    xyz: FloatArray
    normal: FloatArray
    along: FloatArray


_Window = tuple[slice, slice]
"""Rows and columns of the canvas."""


def _window(canvas: Canvas, low: Sequence[float], high: Sequence[float]) -> _Window:
    """The rows and columns of the canvas between two points (x, y); may be empty."""

    def span(low: float, high: float, size: int) -> slice:
        start = min(max(0, int(low)), size)
        return slice(start, max(start, min(size, int(high) + 2)))

    height, width = canvas.owner.shape
    return span(low[1], high[1], height), span(low[0], high[0], width)


def _offsets(window: _Window, x: float, y: float) -> tuple[FloatArray, FloatArray]:
    """float32 (1, w) and (h, 1): how far right of and below a point the window's pixels lie."""
    down, right = (np.arange(part.start, part.stop, dtype=np.float32) for part in window)
    return right[None, :] - np.float32(x), down[:, None] - np.float32(y)


def hit_capsule(
    canvas: Canvas, start: FloatArray, end: FloatArray, radius: tuple[float, float],
    bulge: float = 0.0,
) -> Hits | None:  # fmt: skip
    """Pixels of a tapered capsule.

    Args:
        canvas: Canvas whose depths decide what is nearer.
        start: (3,) screen point.
        end: (3,) screen point.
        radius: Radius in pixels at the start and at the end.
        bulge: Extra radius in pixels between the ends (a muscle), largest at 40 %.

    Returns:
        The hits, or None when there are none.
    """
    (ax, ay, az), (bx, by, bz) = start.tolist(), end.tolist()
    wide = max(radius) + max(bulge, 0.0)
    low = (min(ax, bx) - wide, min(ay, by) - wide)
    window = _window(canvas, low, (max(ax, bx) + wide, max(ay, by) + wide))
    dx, dy = _offsets(window, ax, ay)
    ux, uy = bx - ax, by - ay
    length2 = max(ux * ux + uy * uy, 1e-6)
    along = dx * np.float32(ux / length2) + dy * np.float32(uy / length2)
    np.clip(along, 0.0, 1.0, out=along)
    reach = np.float32(radius[0]) + np.float32(radius[1] - radius[0]) * along
    if bulge:
        reach += np.float32(6.75 * bulge) * along * (1.0 - along) ** 2
    ex = dx - along * np.float32(ux)
    ey = dy - along * np.float32(uy)
    high2 = reach * reach - ex * ex - ey * ey
    high = np.sqrt(np.maximum(high2, 0.0))
    deep = np.float32(az) + along * np.float32(bz - az) - high
    hit = rows, cols = np.nonzero((high2 > 0.0) & (deep < canvas.depth[window]))
    if rows.size == 0:
        return None
    index = rows + window[0].start, cols + window[1].start
    normal = np.stack([ex[hit], ey[hit], -high[hit]], axis=1) / reach[hit][:, None]
    xyz = np.stack([index[1], index[0], deep[hit]], axis=1).astype(np.float32)
    return Hits(index, xyz, normal, along[hit])


def hit_ellipsoid(
    canvas: Canvas, center: FloatArray, frame: FloatArray, axes: FloatArray
) -> tuple[Hits, FloatArray] | None:
    """Pixels of an ellipsoid.

    Args:
        canvas: Canvas whose depths decide what is nearer.
        center: (3,) screen point.
        frame: (3, 3) its axes as columns, in screen coordinates.
        axes: (3,) semi-axes in pixels.

    Returns:
        The hits and the (n, 3) unit directions in the ellipsoid's own axes, or None.
    """
    inverse = (frame / axes[None, :] ** 2) @ frame.T
    reach = np.sqrt(((frame * axes[None, :]) ** 2).sum(axis=1))
    cx, cy, cz = center.tolist()
    window = _window(canvas, (cx - reach[0], cy - reach[1]), (cx + reach[0], cy + reach[1]))
    dx, dy = _offsets(window, cx, cy)
    # A z^2 + 2 B z + C = 0 on the surface; the smaller root faces the camera.
    a = inverse[2, 2]
    b = inverse[0, 2] * dx + inverse[1, 2] * dy
    c = inverse[0, 0] * dx * dx + 2 * inverse[0, 1] * dx * dy + inverse[1, 1] * dy * dy - 1.0
    disc = b * b - a * c
    z = (-b - np.sqrt(np.maximum(disc, 0.0))) / a
    rows, cols = np.nonzero((disc > 0.0) & (z + cz < canvas.depth[window]))
    if rows.size == 0:
        return None
    offset = np.stack([dx[0, cols], dy[rows, 0], z[rows, cols]], axis=1).astype(np.float32)
    local = offset @ frame / axes[None, :]
    normal = offset @ inverse
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    index = rows + window[0].start, cols + window[1].start
    return Hits(index, offset + center.astype(np.float32), normal, 0.5 * (1.0 - local[:, 1])), local


def stamp(canvas: Canvas, hits: Hits, color: FloatArray, light: Light, owner: int) -> None:
    """Lights `color` ((n, 3) or (3,), 0..255) and writes color, owner and depth."""
    lit = np.maximum(hits.normal @ light.direction, 0.0)
    # The dark rim stands for light that folds and gaps swallow; it keeps parts apart.
    rim = 0.72 + 0.28 * np.sqrt(np.abs(hits.normal[:, 2]))
    strength = (light.ambient + (1.15 - light.ambient) * lit) * rim
    shown = color * strength[:, None]
    shown *= light.tint
    np.minimum(shown, 255.0, out=shown)
    canvas.rgb[hits.index] = shown.astype(np.uint8)
    canvas.owner[hits.index] = owner
    canvas.depth[hits.index] = hits.xyz[:, 2]


def stamp_polygon(
    canvas: Canvas, corners: FloatArray, texture: ByteArray, owner: int, shade: float = 1.0
) -> None:
    """Paints a flat textured polygon in front of everything.

    Args:
        canvas: Canvas to paint on.
        corners: (n, 2) canvas points (x, y).
        texture: (h, w, 3) colors, repeated as needed.
        owner: Owner to write.
        shade: Brightness factor.
    """
    window = _window(canvas, corners.min(axis=0), corners.max(axis=0))
    height, width = canvas.owner[window].shape
    x0, y0 = window[1].start, window[0].start
    mask = Image.new("1", (width, height))
    ImageDraw.Draw(mask).polygon([(float(x) - x0, float(y) - y0) for x, y in corners], fill=1)
    rows, cols = inside = np.nonzero(np.asarray(mask))
    color = texture[rows % texture.shape[0], cols % texture.shape[1]] * np.float32(shade)
    canvas.rgb[window][inside] = np.clip(color, 0.0, 255.0).astype(np.uint8)
    canvas.owner[window][inside] = owner
