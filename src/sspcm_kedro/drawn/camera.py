"""Camera: turns a 3-D skeleton into screen points with depth.

Screen coordinates: x right, y down, z away from the camera, all in pixels of the canvas.
"""

from dataclasses import dataclass

import numpy as np

from .settings import FloatArray
from .skeleton3d import Skeleton, rotation


@dataclass(frozen=True)
class View:
    """Where a person is seen from.

    Attributes:
        yaw: Turn of the person about the vertical; 0 faces the camera, 180 shows the back.
        pitch: Height of the camera; positive looks down on the person.
        roll: In-plane rotation, positive clockwise on the screen.
        distance: Camera to person in statures (small = strong perspective).
    """

    yaw: float
    pitch: float
    roll: float
    distance: float


@dataclass(frozen=True)
class Projected:
    """A skeleton on the screen.

    Attributes:
        points: Joint name -> (3,) float32 screen x, y, z.
        zoom: Joint name -> pixels per stature at that depth.
        frames: Part name -> (3, 3) float32 columns left, up, forward in screen coordinates.
        scale: Pixels per stature at the middle of the body.
    """

    points: dict[str, FloatArray]
    zoom: dict[str, float]
    frames: dict[str, FloatArray]
    scale: float


def sample_view(rng: np.random.Generator, strong_rotation: float, turned: float) -> View:
    """Draws a view: about from the front, or with probability ``turned`` from any side."""
    any_side = rng.random() < turned
    yaw = float(rng.uniform(-180.0, 180.0) if any_side else rng.normal(0.0, 25.0))
    pitch = float(np.clip(rng.normal(9.0, 12.0), -20.0, 55.0))
    if rng.random() < strong_rotation:
        roll = float(rng.uniform(-90.0, 90.0)) + (180.0 if rng.random() < 0.2 else 0.0)
    else:
        roll = float(np.clip(rng.normal(0.0, 10.0), -25.0, 25.0))
    return View(yaw, pitch, roll, float(rng.uniform(2.2, 8.0)))


def camera_matrix(view: View) -> FloatArray:
    """(3, 3) float32 from body coordinates (left, up, forward) to screen axes."""
    flip = np.diag(np.array([1.0, -1.0, -1.0], np.float32))
    turned = rotation(0, view.pitch) @ rotation(1, view.yaw)
    return rotation(2, view.roll) @ flip @ turned


def project(skeleton: Skeleton, view: View, scale: float, center_xy: FloatArray) -> Projected:
    """Projects a skeleton.

    Args:
        skeleton: Posed skeleton, unit = stature.
        view: Camera.
        scale: Pixels per stature at the middle of the body.
        center_xy: (2,) pixel on which the middle of the joints' extent falls.

    Returns:
        The screen points; `center_xy` is the center of the joints' bounding box.
    """
    names = list(skeleton.points)
    body = np.stack([skeleton.points[name] for name in names])
    matrix = camera_matrix(view)
    seen = (body - body.mean(axis=0)) @ matrix.T
    zoom = scale * view.distance / np.maximum(view.distance + seen[:, 2], 0.4)
    xy = seen[:, :2] * zoom[:, None]
    xy += center_xy - 0.5 * (xy.min(axis=0) + xy.max(axis=0))
    screen = np.concatenate([xy, seen[:, 2:] * scale], axis=1).astype(np.float32)
    return Projected(
        points=dict(zip(names, screen, strict=True)),
        zoom={name: float(value) for name, value in zip(names, zoom, strict=True)},
        frames={name: matrix @ frame for name, frame in skeleton.frames.items()},
        scale=scale,
    )


def extent(skeleton: Skeleton, view: View) -> FloatArray:
    """(2,) width and height in statures of the joints' bounding box in this view."""
    flat = project(skeleton, view, 1.0, np.zeros(2, np.float32))
    xy = np.stack([point[:2] for point in flat.points.values()])
    return xy.max(axis=0) - xy.min(axis=0)
