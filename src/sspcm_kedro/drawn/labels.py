"""Keypoints, visibility, box and area from what has really been painted."""

import numpy as np

from .figure import Painted
from .parts import ADJACENT, KEYPOINT_JOINTS, PARTS
from .raster import Canvas
from .settings import DrawnPerson

_FACE = ("nose", "eye_l", "eye_r", "ear_l", "ear_r")
_MIN_AREA = 60.0
"""A person with fewer visible pixels is not annotated."""
_MIN_SHARE = 0.2
"""Nor one of whom less than this share of the silhouette is visible."""
_MIN_JOINTS = 5
"""Nor one with fewer visible keypoints."""


def label_person(canvas: Canvas, painted: Painted, supersample: int) -> DrawnPerson | None:
    """Annotates one person on the finished canvas.

    Args:
        canvas: Canvas after everything has been painted.
        painted: The person.
        supersample: Canvas pixels per image pixel.

    Returns:
        The annotation in image pixels, or None when too little of the person is seen.
    """
    height, width = (size // supersample for size in canvas.owner.shape)
    points = painted.figure.body.points
    keypoints = np.zeros((17, 2), np.float32)
    visibility = np.zeros(17, np.int64)
    for row, joint in enumerate(KEYPOINT_JOINTS):
        # Canvas and image both put pixel centers at whole coordinates.
        xy = (points[joint][:2] + 0.5) / supersample - 0.5
        if 0.0 <= xy[0] <= width - 1 and 0.0 <= xy[1] <= height - 1:
            keypoints[row] = xy
            visibility[row] = 2 if keypoint_is_visible(canvas, painted, joint) else 1
    first = painted.number * PARTS
    own = (canvas.owner >= first) & (canvas.owner < first + PARTS)
    area = float(np.count_nonzero(own)) / supersample**2
    hidden = area < _MIN_SHARE * np.count_nonzero(painted.silhouette) / supersample**2
    if area < _MIN_AREA or hidden or int((visibility == 2).sum()) < _MIN_JOINTS:
        return None
    rows, cols = (np.flatnonzero(painted.silhouette.any(axis)) / supersample for axis in (1, 0))
    pixel = 1.0 / supersample
    box = (cols[0], rows[0], cols[-1] - cols[0] + pixel, rows[-1] - rows[0] + pixel)
    return DrawnPerson(keypoints, visibility, np.asarray(box, np.float32), area)


def keypoint_is_visible(canvas: Canvas, painted: Painted, joint: str) -> bool:
    """Whether the topmost surface around a joint belongs to the joint.

    The 5 x 5 canvas pixels around the joint must mostly belong to a part next to it (for the
    small parts of the face: one in six), and the person's own surface there must not lie so
    far in front of the joint that it is the other side of the trunk.
    """
    x, y, depth = (float(value) for value in painted.figure.body.points[joint])
    col, row = round(x), round(y)
    patch = canvas.owner[max(0, row - 2) : max(0, row + 3), max(0, col - 2) : max(0, col + 3)]
    if patch.size == 0:
        return False
    shown = [painted.number * PARTS + part for part in ADJACENT[joint]]
    share = int(np.isin(patch, shown).sum()) / patch.size
    if joint in _FACE:
        return share >= 1 / 6
    figure = painted.figure
    thick = 0.115 * max(1.0, figure.build.girth) * figure.body.zoom[joint]
    return share >= 0.45 and depth - painted.front[joint] < thick
