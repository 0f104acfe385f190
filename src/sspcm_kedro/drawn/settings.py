"""Settings and result types of the drawn-people source."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating[Any]]
"""Any float array; the renderer computes in float32."""
IntArray = npt.NDArray[np.int64]
ByteArray = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class DrawnSettings:
    """How the scenes look.

    Attributes:
        image_hw: Image size (height, width) in pixels.
        people: Smallest and largest number of people drawn in one image (both included).
        company: Probability that there are more people than the smallest number.
        person_px: Range of the main person's longer side (largest extent of the
            keypoints) in pixels; the others are 0.55 to 1.15 times as large.
        crowding: Probability that a further person stands next to or in front of the main one.
        occlusion: Probability that an object is put in front of a person.
        truncation: Probability that a person is cut by the image border.
        clutter: 0 gives a plain background, 1 the usual clutter; may be larger.
        rotation: Probability of a strong in-plane rotation (up to 90 degrees, rarely upside down).
        variety: Probability that a pose is drawn from all modes (sitting, jumping, lying, ...);
            otherwise the person stands or walks.
        turned: Probability that a person is seen from any side; otherwise about from the front.
        blur: Largest standard deviation of the blur in pixels.
        noise: Largest standard deviation of the sensor noise in grey levels (of 255).
        jpeg_quality: Smallest and largest JPEG quality (both included).
        supersample: Whole factor at which the scene is painted before it is reduced.
    """

    image_hw: tuple[int, int] = (192, 192)
    people: tuple[int, int] = (1, 2)
    company: float = 0.05
    person_px: tuple[float, float] = (100.0, 150.0)
    crowding: float = 0.5
    occlusion: float = 0.1
    truncation: float = 0.02
    clutter: float = 0.6
    rotation: float = 0.0
    variety: float = 0.0
    turned: float = 0.0
    blur: float = 0.8
    noise: float = 8.0
    jpeg_quality: tuple[int, int] = (60, 95)
    supersample: int = 2

    def __post_init__(self) -> None:
        """Refuses settings that cannot be drawn.

        Raises:
            ValueError: A range is empty, a probability is not in [0, 1], or a size is too small.
        """
        if not all(32 <= side <= 2048 for side in self.image_hw):
            raise ValueError(f"image_hw must be 32 to 2048 pixels each way, got {self.image_hw}")
        largest = {"people": 50, "person_px": 4 * max(self.image_hw), "jpeg_quality": 95}
        for name, most in largest.items():
            low, high = getattr(self, name)
            if not 1 <= low <= high <= most:
                rule = f"{name} must be a range (low, high) from 1 to {most}"
                raise ValueError(f"{rule}, got {(low, high)}")
        odds = (
            "company",
            "crowding",
            "occlusion",
            "truncation",
            "rotation",
            "variety",
            "turned",
        )
        for name in odds:
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} is a probability, got {getattr(self, name)}")
        for name, most in {"clutter": 10, "blur": 50, "noise": 255}.items():
            if not 0.0 <= getattr(self, name) <= most:
                raise ValueError(f"{name} must be 0 to {most}, got {getattr(self, name)}")
        if not 1 <= self.supersample <= 4:
            raise ValueError(f"supersample must be 1 to 4, got {self.supersample}")


@dataclass(frozen=True)
class DrawnPerson:
    """One annotated person.

    Attributes:
        keypoints: (17, 2) float32, (x, y) in image pixels (0, 0 = center of the first pixel).
        visibility: (17,) int64; 2 visible, 1 in the image but covered, 0 outside (then xy = 0).
        box: (4,) float32 x, y, w, h of the whole silhouette (covered parts too), clipped to
            the image; in pixel-edge coordinates (0 = left edge of the first pixel).
        area: Number of the person's visible pixels, > 0 (a fraction where edges are shared).
    """

    keypoints: FloatArray
    visibility: IntArray
    box: FloatArray
    area: float


@dataclass(frozen=True)
class Scene:
    """One drawn image.

    Attributes:
        image: (H, W, 3) uint8 RGB, before JPEG.
        people: The annotated people; people who are nearly hidden are drawn but left out.
    """

    image: ByteArray
    people: tuple[DrawnPerson, ...]
