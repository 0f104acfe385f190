"""Keypoints drawn onto the frames of a video, in its own pixels."""

import colorsys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from sspcm_kedro.data.video_stream import VideoFrame
from sspcm_kedro.engine.frame_table import CLEAR, HIDDEN, FrameTable

RADIUS = 1 / 75
"""Of a keypoint of score 1, as a share of the frame's shorter side; its area grows with the score.
"""

Color = tuple[int, int, int]


def keypoint_colors(count: int) -> list[Color]:
    """Hues evenly around the circle, one a keypoint."""
    hues = [colorsys.hsv_to_rgb(i / count, 0.85, 1.0) for i in range(count)]
    return [(round(255 * r), round(255 * g), round(255 * b)) for r, g, b in hues]


@dataclass(frozen=True)
class LabeledFrames:
    """Draws a video's predictions; nothing is opened before ``draw``.

    A clear keypoint is a disk whose area is its score, one below the threshold a ring, one outside
    of the image is not there. A legend names the colors; with several tracks each has its number.

    Attributes:
        table: the predictions.
        limbs: index pairs of keypoints that a line joins where both are clear.
    """

    table: FrameTable
    limbs: Sequence[tuple[int, int]] = ()

    def draw(self, frames: Iterator[VideoFrame]) -> Iterator[VideoFrame]:
        """The same frames with what the table has of them."""
        starts = np.searchsorted(self.table.frames, np.arange(self.table.count + 1))
        for frame in frames:
            rows = range(0)
            if frame.index < self.table.count:
                rows = range(starts[frame.index], starts[frame.index + 1])
            yield frame._replace(image=self._drawn(frame, rows))

    def _drawn(self, frame: VideoFrame, rows: Sequence[int]) -> np.ndarray:
        image = Image.fromarray(frame.image)
        draw = ImageDraw.Draw(image)
        table, colors = self.table, keypoint_colors(len(self.table.names))
        most = max(4.0, RADIUS * min(image.size))
        size = max(13, round(2 * most))
        font = ImageFont.load_default(size)
        width = max(1, round(most / 4))
        for row in rows:
            points, seen = table.keypoints[row], table.visibility[row]
            for a, b in self.limbs:
                if seen[a] == seen[b] == CLEAR:
                    line = [tuple(points[a].tolist()), tuple(points[b].tolist())]
                    draw.line(line, fill=(255, 255, 255), width=width)
            for (x, y), score, v, color in zip(
                points.tolist(), table.scores[row].tolist(), seen.tolist(), colors, strict=True
            ):
                if v == HIDDEN:
                    continue
                radius = most * min(max(score, 0.05), 1) ** 0.5
                place = (x - radius, y - radius, x + radius, y + radius)
                if v == CLEAR:
                    draw.ellipse(place, fill=color, outline=(0, 0, 0))
                else:
                    radius = max(radius, most / 2)
                    place = (x - radius, y - radius, x + radius, y + radius)
                    draw.ellipse(place, outline=color, width=width)
            if table.tracks.max() > 0:
                x, y = table.boxes[row, :2].tolist()
                draw.text((x, y), f"{table.tracks[row]}", (255, 255, 255), font, stroke_width=1,
                          stroke_fill=(0, 0, 0))  # fmt: skip
        self._legend(draw, font, size, colors)
        return np.asarray(image)

    def _legend(self, draw: ImageDraw.ImageDraw, font: Any, size: int, colors: list[Color]) -> None:
        line = size * 1.2
        for place, (name, color) in enumerate(zip(self.table.names, colors, strict=True)):
            draw.text((4, 2 + place * line), name, color, font, stroke_width=1,
                      stroke_fill=(0, 0, 0))  # fmt: skip
