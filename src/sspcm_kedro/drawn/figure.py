"""Paints one person on the canvas, part by part, with a depth test between the parts."""

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from .camera import Projected
from .head import paint_head
from .looks import Cloth, Look, cloth_color
from .parts import PARTS, Part
from .raster import Canvas, Hits, Light, hit_capsule, stamp
from .settings import FloatArray
from .skeleton3d import Build


@dataclass(frozen=True)
class Figure:
    """A person ready to be painted.

    Attributes:
        body: Joints on the canvas.
        build: Proportions.
        look: Clothes, skin, hair.
    """

    body: Projected
    build: Build
    look: Look


@dataclass(frozen=True)
class Painted:
    """A person who has been painted.

    Attributes:
        figure: The person.
        number: Owner number, from 1.
        silhouette: (H, W) bool, all pixels the person covers, also where others follow in front.
        front: Joint name -> depth of the person's own surface at the joint, or a huge number.
    """

    figure: Figure
    number: int
    silhouette: npt.NDArray[np.bool_]
    front: dict[str, float]


@dataclass(frozen=True)
class _Brush:
    canvas: Canvas
    figure: Figure
    light: Light
    owner: int

    def limb(
        self,
        part: Part,
        frame: str,
        start: FloatArray,
        end: FloatArray,
        radius: tuple[float, float],
        zoom: tuple[float, float],
        color: "_Paint",
        bulge: float = 0.0,
    ) -> None:
        """Paints a capsule; radii in statures, `zoom` in pixels per stature at its ends."""
        pixels = (radius[0] * zoom[0], radius[1] * zoom[1])
        axes = self.figure.body.frames[frame] / np.float32(zoom[0])

        def put(hits: Hits | None) -> None:
            if hits is not None:
                tint = color(hits, (hits.xyz - start) @ axes, hits.along)
                stamp(self.canvas, hits, tint, self.light, self.owner + int(part))

        put(hit_capsule(self.canvas, start, end, pixels, bulge * zoom[0]))
        if math.hypot(float(end[0] - start[0]), float(end[1] - start[1])) < max(pixels):
            # Seen along its axis: the nearer end is a ball in front, which the 2-D distance to
            # the axis alone would miss.
            near = int(end[2] < start[2])
            place = (start, end)[near]
            ball = hit_capsule(self.canvas, place, place, (pixels[near], pixels[near]))
            put(ball and replace(ball, along=np.full_like(ball.along, near)))


class _Paint:
    """Color of a limb: one cloth up to `cut`, bare skin beyond."""

    def __init__(self, look: Look, cloth: Cloth, cut: float) -> None:
        self.look, self.cloth, self.cut = look, cloth, cut

    def __call__(self, hits: Hits, local: FloatArray, along: FloatArray) -> FloatArray:
        if self.cut <= 0.0:
            return np.broadcast_to(self.look.skin, local.shape)
        color = cloth_color(self.cloth, local, self.look.tile)
        if self.cut < 1.0:
            color[along > self.cut] = self.look.skin
        return color


class _TrunkPaint(_Paint):
    """Shirt of the trunk; marks on the front (prints, open jacket) and panels on the back."""

    def __init__(self, look: Look, center: FloatArray, axes: FloatArray, zoom: float) -> None:
        super().__init__(look, look.shirt, 2.0)
        self.center, self.axes, self.zoom = center, axes, zoom

    def __call__(self, hits: Hits, local: FloatArray, along: FloatArray) -> FloatArray:
        look = self.look
        local = (hits.xyz - self.center) @ self.axes / np.float32(self.zoom)
        color = cloth_color(look.shirt, local, look.tile)
        facing = hits.normal @ self.axes[:, 2]
        u, v = local[:, 0], local[:, 1]
        front = facing > 0.25
        if look.chest == "print":
            color[front & (np.abs(u) < 0.05) & (v > 0.07) & (v < 0.14)] = look.mark
        elif look.chest == "number":
            bars = (np.abs(np.abs(u) - 0.028) < 0.012) & (v > 0.04) & (v < 0.14)
            color[front & bars] = look.mark
        elif look.chest == "jacket":
            color[front & (np.abs(u) < 0.012 + 0.18 * np.maximum(v, 0.0))] = look.mark
        if look.back is not None:
            color[(facing < -0.25) & (np.abs(u) < 0.07) & (v > 0.06)] = look.back
        return color


def paint_person(canvas: Canvas, figure: Figure, light: Light, number: int) -> Painted:
    """Paints a person in front of everything painted so far.

    Args:
        canvas: Canvas to paint on.
        figure: The person.
        light: Light.
        number: Owner number of the person, from 1.

    Returns:
        The silhouette and the depths that the labels need.
    """
    canvas.new_layer()
    brush = _Brush(canvas, figure, light, number * PARTS)
    _paint_trunk(brush)
    for side in "lr":
        _paint_leg(brush, side)
        _paint_arm(brush, side)
    paint_head(canvas, figure.body, figure.build, figure.look, light, number * PARTS)
    height, width = canvas.owner.shape
    front = {}
    for name, (x, y, _) in figure.body.points.items():
        col, row = round(float(x)), round(float(y))
        inside = 0 <= col < width and 0 <= row < height
        front[name] = float(canvas.depth[row, col]) if inside else 1e9
    return Painted(figure, number, canvas.depth < 1e8, front)


def _paint_trunk(brush: _Brush) -> None:
    """Three columns from hips over waist to chest, the shoulder bar and the neck."""
    body, build, look = brush.figure.body, brush.figure.build, brush.figure.look
    points, zoom = body.points, body.zoom["waist"]
    pelvis, chest = body.frames["pelvis"], body.frames["chest"]
    girth, shirt, trousers = build.girth, look.shirt.loose, look.trousers.loose
    waist, hips = points["waist"], points["pelvis"]
    top = waist + chest @ np.array([0, build.back - 0.03, 0], np.float32) * zoom
    upper = _TrunkPaint(look, waist, chest, zoom)
    lower = _Paint(look, look.trousers, 2.0)
    zooms = (zoom, zoom)
    for column in (-1.0, 0.0, 1.0):
        forward = build.belly * (1.0 if column == 0.0 else 0.4)
        at_waist = waist + chest @ np.array([column * 0.034 * girth, 0, forward], np.float32) * zoom
        at_chest = top + chest @ np.array([column * 0.052 * girth**0.5, 0, 0], np.float32) * zoom
        at_hip = hips + pelvis @ np.array([column * build.hip * 0.75, 0.02, 0], np.float32) * zoom
        thick = 0.052 * girth + shirt
        mid = at_waist + 0.35 * (at_hip - at_waist)
        brush.limb(Part.TRUNK, "chest", mid, at_chest, (thick, thick), zooms, upper)
        seat = 0.056 * girth + trousers
        brush.limb(Part.TRUNK, "pelvis", at_hip, mid, (seat, thick * 0.97), zooms, lower)
    left, right = points["shoulder_l"], points["shoulder_r"]
    bar = 0.033 * build.limb + 0.5 * shirt
    inner = 0.12
    ends = left + inner * (right - left), right + inner * (left - right)
    brush.limb(Part.TRUNK, "chest", ends[0], ends[1], (bar, bar), zooms, upper)
    nape = points["neck"] + 0.25 * (points["head"] - points["neck"])
    for end in ends:
        brush.limb(Part.TRUNK, "chest", nape, end, (0.027, 0.03), zooms, upper)
    bare = _Paint(look, look.shirt, 0.0)
    radius = 0.030 * build.limb**0.5
    neck = points["neck"] + 0.1 * (points["waist"] - points["neck"])
    brush.limb(Part.NECK, "chest", neck, points["head"], (radius, radius), zooms, bare)
    if look.bag:
        shift = chest @ np.array([0, 0, -0.075 * girth], np.float32) * zoom
        sack = _Paint(look, look.shoes, 2.0)
        low, high = waist + shift, top + shift
        brush.limb(Part.BAG, "chest", low, high, (0.075, 0.06), zooms, sack)


def _paint_leg(brush: _Brush, side: str) -> None:
    body, build, look = brush.figure.body, brush.figure.build, brush.figure.look
    points, limb = body.points, build.limb
    hip, knee, ankle, toe = (points[f"{n}_{side}"] for n in ("hip", "knee", "ankle", "toe"))
    z_hip, z_knee, z_ankle = (body.zoom[f"{n}_{side}"] for n in ("hip", "knee", "ankle"))
    loose = look.trousers.loose
    cover = loose if look.leg > 0.9 else 0.0
    radius = (0.052 * limb + 0.5 * loose, 0.033 * limb + cover)
    cut = _Paint(look, look.trousers, look.leg)
    frames = f"thigh_{side}", f"shin_{side}", f"foot_{side}"
    thigh, shin, foot = (
        (Part.THIGH_L, Part.SHIN_L, Part.FOOT_L)
        if side == "l"
        else (Part.THIGH_R, Part.SHIN_R, Part.FOOT_R)
    )
    brush.limb(thigh, frames[0], hip, knee, radius, (z_hip, z_knee), cut)
    if look.skirt:
        share = min(look.skirt, 1.0)
        hem = hip + share * (knee - hip)
        wide = (0.06 * limb + loose, 0.07 * limb + 2 * loose)
        dress = _Paint(look, look.trousers, 2.0)
        brush.limb(thigh, frames[0], hip, hem, wide, (z_hip, z_hip), dress)
        middle = points["pelvis"] + 0.35 * (hem - points["pelvis"])
        inner = hem + 0.5 * (middle - hem)
        brush.limb(thigh, frames[0], middle, inner, wide, (z_hip, z_hip), dress)
    cut = _Paint(look, look.trousers, look.leg - 1.0)
    cover = loose if look.leg > 1.6 else 0.0
    radius = (0.031 * limb + cover, 0.018 * limb + cover)
    brush.limb(shin, frames[1], knee, ankle, radius, (z_knee, z_ankle), cut, 0.009 * limb)
    shoe = _Paint(look, look.shoes, 2.0)
    zooms = (z_ankle, z_ankle)
    heel = points[f"heel_{side}"]
    brush.limb(foot, frames[2], heel, toe, (0.024, 0.019), zooms, shoe)


def _paint_arm(brush: _Brush, side: str) -> None:
    body, build, look = brush.figure.body, brush.figure.build, brush.figure.look
    points, limb, loose = body.points, build.limb, look.shirt.loose
    names = ("shoulder", "elbow", "wrist", "hand")
    shoulder, elbow, wrist, hand = (points[f"{name}_{side}"] for name in names)
    z_shoulder, z_elbow, z_wrist, z_hand = (body.zoom[f"{name}_{side}"] for name in names)
    upper, fore, palm = (
        (Part.UPPER_ARM_L, Part.FOREARM_L, Part.HAND_L)
        if side == "l"
        else (Part.UPPER_ARM_R, Part.FOREARM_R, Part.HAND_R)
    )
    frames = f"upper_arm_{side}", f"forearm_{side}"
    cover = loose if look.sleeve > 0.9 else 0.0
    radius = (0.034 * limb + 0.5 * loose, 0.024 * limb + cover)
    cut = _Paint(look, look.shirt, look.sleeve)
    brush.limb(upper, frames[0], shoulder, elbow, radius, (z_shoulder, z_elbow), cut, 0.003)
    cut = _Paint(look, look.shirt, look.sleeve - 1.0)
    cover = loose if look.sleeve > 1.7 else 0.0
    radius = (0.024 * limb + cover, 0.016 * limb + cover)
    brush.limb(fore, frames[1], elbow, wrist, radius, (z_elbow, z_wrist), cut, 0.004)
    bare = _Paint(look, look.shirt, 0.0)
    brush.limb(palm, frames[1], wrist, hand, (0.019, 0.016), (z_wrist, z_hand), bare, 0.005)
