"""Paints one person on the canvas, part by part, with a depth test between the parts."""

import math
from collections.abc import Callable
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


_Paint = Callable[[Hits, FloatArray], FloatArray]
"""(n, 3) colors 0..255 of hits, given also as points in the part's own axes, in statures."""


@dataclass(frozen=True)
class _Brush:
    canvas: Canvas
    figure: Figure
    light: Light
    owner: int

    def bone(
        self, part: str, side: str, joints: str, radius: tuple[float, float], paint: _Paint,
        bulge: float = 0.0, frame: str = "",
    ) -> None:  # fmt: skip
        """Paints a limb between two joints of a side; the frame is by default the part's own."""
        body = self.figure.body
        start, end = (f"{joint}_{side}" for joint in joints.split())
        ends, zoom = (body.points[start], body.points[end]), (body.zoom[start], body.zoom[end])
        owner = Part[f"{part}_{side}".upper()]
        self.limb(owner, f"{frame or part}_{side}", ends, radius, zoom, paint, bulge)

    def limb(
        self, part: Part, frame: str, ends: tuple[FloatArray, FloatArray],
        radius: tuple[float, float], zoom: tuple[float, float], paint: _Paint, bulge: float = 0.0,
    ) -> None:  # fmt: skip
        """Paints a capsule; radii in statures, `zoom` in pixels per stature at its ends."""
        start, end = ends
        pixels = (radius[0] * zoom[0], radius[1] * zoom[1])
        axes = self.figure.body.frames[frame] / np.float32(zoom[0])

        def put(hits: Hits | None) -> None:
            if hits is not None:
                color = paint(hits, (hits.xyz - start) @ axes)
                stamp(self.canvas, hits, color, self.light, self.owner + part)

        put(hit_capsule(self.canvas, start, end, pixels, bulge * zoom[0]))
        if math.hypot(float(end[0] - start[0]), float(end[1] - start[1])) < max(pixels):
            # Seen along its axis: the nearer end is a ball in front, which the 2-D distance to
            # the axis alone would miss.
            near = int(end[2] < start[2])
            ball = hit_capsule(self.canvas, ends[near], ends[near], (pixels[near], pixels[near]))
            put(ball and replace(ball, along=np.full_like(ball.along, near)))


def _paint_cloth(look: Look, cloth: Cloth, cut: float = 2.0) -> _Paint:
    """One cloth up to `cut` (a share of the limb's length), bare skin beyond."""

    def paint(hits: Hits, local: FloatArray) -> FloatArray:
        if cut <= 0.0:
            return np.broadcast_to(look.skin, local.shape)
        color = cloth_color(cloth, local, look.tile)
        if cut < 1.0:
            color[hits.along > cut] = look.skin
        return color

    return paint


def _paint_shirt(look: Look, center: FloatArray, axes: FloatArray, zoom: float) -> _Paint:
    """Shirt of the trunk; marks on the front (prints, open jacket) and panels on the back."""

    def paint(hits: Hits, _: FloatArray) -> FloatArray:
        local = (hits.xyz - center) @ axes / np.float32(zoom)
        color = cloth_color(look.shirt, local, look.tile)
        facing = hits.normal @ axes[:, 2]
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

    return paint


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
    girth, shirt = build.girth, look.shirt.loose
    waist, hips = points["waist"], points["pelvis"]
    top = waist + chest @ np.array([0, build.back - 0.03, 0], np.float32) * zoom
    upper, lower = _paint_shirt(look, waist, chest, zoom), _paint_cloth(look, look.trousers)
    zooms = (zoom, zoom)
    thick = 0.052 * girth + shirt
    seat = 0.056 * girth + look.trousers.loose
    for column in (-1.0, 0.0, 1.0):
        forward = build.belly * (1.0 if column == 0.0 else 0.4)
        at_waist = waist + chest @ np.array([column * 0.034 * girth, 0, forward], np.float32) * zoom
        at_chest = top + chest @ np.array([column * 0.052 * girth**0.5, 0, 0], np.float32) * zoom
        at_hip = hips + pelvis @ np.array([column * build.hip * 0.75, 0.02, 0], np.float32) * zoom
        mid = at_waist + 0.35 * (at_hip - at_waist)
        brush.limb(Part.TRUNK, "chest", (mid, at_chest), (thick, thick), zooms, upper)
        brush.limb(Part.TRUNK, "pelvis", (at_hip, mid), (seat, thick * 0.97), zooms, lower)
    left, right = points["shoulder_l"], points["shoulder_r"]
    bar = 0.033 * build.limb + 0.5 * shirt
    ends = left + 0.12 * (right - left), right + 0.12 * (left - right)
    brush.limb(Part.TRUNK, "chest", ends, (bar, bar), zooms, upper)
    nape = points["neck"] + 0.25 * (points["head"] - points["neck"])
    for end in ends:
        brush.limb(Part.TRUNK, "chest", (nape, end), (0.027, 0.03), zooms, upper)
    bare = _paint_cloth(look, look.shirt, 0.0)
    radius = 0.030 * build.limb**0.5
    neck = points["neck"] + 0.1 * (points["waist"] - points["neck"])
    brush.limb(Part.NECK, "chest", (neck, points["head"]), (radius, radius), zooms, bare)
    if look.bag:
        shift = chest @ np.array([0, 0, -0.075 * girth], np.float32) * zoom
        sack = _paint_cloth(look, look.shoes)
        brush.limb(Part.BAG, "chest", (waist + shift, top + shift), (0.075, 0.06), zooms, sack)


def _paint_leg(brush: _Brush, side: str) -> None:
    body, look, limb = brush.figure.body, brush.figure.look, brush.figure.build.limb
    loose = look.trousers.loose
    thigh, foot = Part[f"THIGH_{side.upper()}"], Part[f"FOOT_{side.upper()}"]
    radius = (0.052 * limb + 0.5 * loose, 0.033 * limb + (loose if look.leg > 0.9 else 0.0))
    brush.bone("thigh", side, "hip knee", radius, _paint_cloth(look, look.trousers, look.leg))
    if look.skirt:
        hip, knee, pelvis = (
            body.points[name] for name in (f"hip_{side}", f"knee_{side}", "pelvis")
        )
        hem = hip + min(look.skirt, 1.0) * (knee - hip)
        middle = pelvis + 0.35 * (hem - pelvis)
        wide = (0.06 * limb + loose, 0.07 * limb + 2 * loose)
        zoom = body.zoom[f"hip_{side}"]
        dress = _paint_cloth(look, look.trousers)
        for ends in ((hip, hem), (middle, hem + 0.5 * (middle - hem))):
            brush.limb(thigh, f"thigh_{side}", ends, wide, (zoom, zoom), dress)
    cover = loose if look.leg > 1.6 else 0.0
    radius = (0.031 * limb + cover, 0.018 * limb + cover)
    cloth = _paint_cloth(look, look.trousers, look.leg - 1.0)
    brush.bone("shin", side, "knee ankle", radius, cloth, 0.009 * limb)
    ends = body.points[f"heel_{side}"], body.points[f"toe_{side}"]
    zoom = body.zoom[f"ankle_{side}"]
    shoe = _paint_cloth(look, look.shoes)
    brush.limb(foot, f"foot_{side}", ends, (0.024, 0.019), (zoom, zoom), shoe)


def _paint_arm(brush: _Brush, side: str) -> None:
    look, limb = brush.figure.look, brush.figure.build.limb
    loose, sleeve = look.shirt.loose, look.sleeve
    radius = (0.034 * limb + 0.5 * loose, 0.024 * limb + (loose if sleeve > 0.9 else 0.0))
    cloth = _paint_cloth(look, look.shirt, sleeve)
    brush.bone("upper_arm", side, "shoulder elbow", radius, cloth, 0.003)
    cover = loose if sleeve > 1.7 else 0.0
    radius = (0.024 * limb + cover, 0.016 * limb + cover)
    cloth = _paint_cloth(look, look.shirt, sleeve - 1.0)
    brush.bone("forearm", side, "elbow wrist", radius, cloth, 0.004)
    bare = _paint_cloth(look, look.shirt, 0.0)
    brush.bone("hand", side, "wrist hand", (0.019, 0.016), bare, 0.005, "forearm")
