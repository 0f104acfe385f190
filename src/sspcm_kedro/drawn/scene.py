"""Composes a scene: background, people from far to near, objects, labels."""

from dataclasses import dataclass

import numpy as np

from .backdrop import paint_backdrop
from .camera import View, extent, project, sample_view
from .figure import Figure, Painted, paint_person
from .labels import label_person
from .looks import Look, sample_look
from .objects import paint_object
from .photo import expose_photo, sample_light
from .poses import sample_angles
from .raster import Canvas, Light
from .settings import DrawnPerson, DrawnSettings, FloatArray, Scene
from .skeleton3d import Skeleton, pose_skeleton, sample_build

_ATTEMPTS = 12
_MIN_EXTENT = 0.62
"""Smallest extent, in statures, by which a folded body is scaled (else it would be a giant)."""


@dataclass(frozen=True)
class _Place:
    """Where a person stands: extent in image pixels, center (2,) in image pixels, nearness."""

    size: float
    center: FloatArray
    near: float


def draw_scene(rng: np.random.Generator, settings: DrawnSettings) -> Scene:
    """Draws one scene with at least one annotated person.

    Args:
        rng: Source of all randomness.
        settings: Settings.

    Returns:
        The image and its annotated people.

    Raises:
        RuntimeError: Twelve scenes in a row showed nobody well enough (settings too hard).
    """
    for _ in range(_ATTEMPTS):
        canvas, people = _compose(rng, settings)
        if people:
            return Scene(expose_photo(rng, canvas.rgb, settings), people)
    raise RuntimeError(f"no person could be seen in {_ATTEMPTS} scenes drawn with {settings}")


def _compose(
    rng: np.random.Generator, settings: DrawnSettings
) -> tuple[Canvas, tuple[DrawnPerson, ...]]:
    factor = settings.supersample
    height, width = settings.image_hw
    light = sample_light(rng)
    canvas = paint_backdrop(rng, (height * factor, width * factor), settings.clutter, light)
    low, high = settings.people
    more = high > low and rng.random() < settings.company
    count = low + (int(rng.integers(1, high - low + 1)) if more else 0)
    painted: list[Painted] = []
    # Nearer people are painted later and so stand in front.
    places = sorted(_sample_places(rng, settings, count), key=lambda place: place.near)
    for number, place in enumerate(places, start=1):
        figure = _sample_figure(rng, settings, place)
        _paint_support(rng, canvas, light, figure)
        painted.append(paint_person(canvas, figure, light, number))
        if rng.random() < settings.occlusion:
            _paint_occluder(rng, canvas, light, painted[-1])
    labels = (label_person(canvas, person, factor) for person in painted)
    return canvas, tuple(label for label in labels if label is not None)


def _sample_places(rng: np.random.Generator, settings: DrawnSettings, count: int) -> list[_Place]:
    """Places the main person somewhere in the image and the others next to it or anywhere."""
    image_wh = np.array(settings.image_hw[::-1])
    main_size = float(rng.uniform(*settings.person_px))
    room = np.maximum(image_wh - 0.85 * main_size, 8.0)
    main = image_wh / 2 + rng.uniform(-0.5, 0.5, 2) * room
    places = [_Place(main_size, main.astype(np.float32), main_size)]
    for _ in range(count - 1):
        size = main_size * float(rng.uniform(0.55, 1.15))
        if rng.random() < settings.crowding:
            side = 1.0 if rng.random() < 0.5 else -1.0
            shift = np.array([side * rng.uniform(0.15, 0.55), rng.normal(0.0, 0.12)])
            center = main + shift * main_size
        else:
            center = rng.uniform(0.1, 0.9, 2) * image_wh
        near = size * float(rng.uniform(0.7, 1.3))
        places.append(_Place(size, center.astype(np.float32), near))
    return places


def _sample_figure(rng: np.random.Generator, settings: DrawnSettings, place: _Place) -> Figure:
    """A person in canvas coordinates: build, pose, view and clothes are drawn.

    The joints' bounding box gets the size and center of the place; the center is moved so that
    the person is inside the image, or cut by its border with the probability of the settings.
    """
    skeleton = pose_skeleton(sample_build(rng), sample_angles(rng, settings.variety))
    view = sample_view(rng, settings.rotation, settings.turned)
    look = sample_look(rng)
    height, width = settings.image_hw
    box = extent(skeleton, view)
    scale = place.size / max(float(box.max()), _MIN_EXTENT)
    scale = min(scale, 0.92 * width / float(box[0]), 0.92 * height / float(box[1]))
    half = 0.5 * scale * box + 0.03 * place.size
    limit = np.array([width, height], np.float32)
    center = np.clip(place.center, np.minimum(half, limit / 2), np.maximum(limit - half, limit / 2))
    if rng.random() < settings.truncation:  # pushed over one border by up to 45 % of the body
        axis = int(rng.integers(2))
        inner = float(half[axis]) * (1.0 - 2.0 * float(rng.uniform(0.05, 0.45)))
        center[axis] = inner if rng.random() < 0.5 else float(limit[axis]) - inner
    return place_figure(skeleton, view, look, scale, center, settings.supersample)


def place_figure(
    skeleton: Skeleton, view: View, look: Look, scale: float, center: FloatArray, supersample: int
) -> Figure:
    """A figure on the canvas; `scale` (pixels per stature) and `center` in image pixels."""
    spot = (np.asarray(center, np.float32) + 0.5) * supersample - 0.5
    return Figure(project(skeleton, view, scale * supersample, spot), skeleton.build, look)


def _paint_support(rng: np.random.Generator, canvas: Canvas, light: Light, figure: Figure) -> None:
    """Sometimes a seat or box behind the hips, so that sitting people sit on something."""
    points, scale = figure.body.points, figure.body.scale
    folded = float(points["knee_l"][1] - points["hip_l"][1]) < 0.12 * scale
    if rng.random() < (0.5 if folded else 0.06):
        spot = points["pelvis"][:2] + np.array([0.0, 0.12 * scale], np.float32)
        kind = "box" if rng.random() < 0.7 else "table"
        paint_object(rng, canvas, light, spot, scale, 0, kind)


def _paint_occluder(
    rng: np.random.Generator, canvas: Canvas, light: Light, painted: Painted
) -> None:
    """Puts an object over a random joint, the lower body more often than the head."""
    body = painted.figure.body
    names = ("wrist", "elbow", "hip", "knee", "ankle", "shoulder")
    joint = str(rng.choice(names, p=(0.18, 0.14, 0.2, 0.22, 0.16, 0.1)))
    target = body.points[f"{joint}_{'lr'[int(rng.integers(2))]}"][:2]
    paint_object(rng, canvas, light, target, 0.8 * body.scale, -painted.number)
