"""The one reader of pixels: people to canonical uint8 crops, each at most once if memory allows."""

import logging
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sspcm_kedro.data.ahead import Read, read_ahead
from sspcm_kedro.data.image_file import read_rgb
from sspcm_kedro.data.instances import Instances
from sspcm_kedro.data.stored_crops import REMEDY, StoredCrops, crop_keys
from sspcm_kedro.errors import BadInput
from sspcm_kedro.pose.geometry import CropFrame, crop_matrix

logger = logging.getLogger(__name__)

CPU = torch.device("cpu")
AT_ONCE = 16
"""Stored crops that a thread reads before it asks for more to do."""
MOST_PIXELS = 89_000_000
"""Of an image's window, black parts included; a larger one is cut from the image shrunk. Pillow
warns from 89.5 million on and refuses twice as many, and a process needs three bytes for each."""


class Crops:
    """Crops of people with a border, as uint8 (n, 3, H + 2 border, W + 2 border), RGB.

    The border is context that rotation and scaling may bring into view. Crops that fit into
    ``memory`` are read once and kept; otherwise each batch is read when it is asked for. The pixels
    are the same either way, and so are the results.

    Args:
        instances: the people (n).
        frame: (height, width) of the network's input, in input pixels, and the padding of boxes.
        border: input pixels of context on each side.
        workers: decoding threads.
        memory: bytes that may be kept.
        stored: crops that need not be cut; those that are not there are.

    Raises:
        BadInput: crops are stored as JPEG, which changes pixels, and not all people have one.
    """

    def __init__(
        self, instances: Instances, frame: CropFrame, *, border: int, workers: int = 2,
        memory: int = 2 * 2**30, stored: StoredCrops | None = None,
    ) -> None:  # fmt: skip
        self.instances, self.workers = instances, workers
        self.frame, self.border = frame, border
        self.matrix = crop_matrix(instances.boxes, frame)
        height, width = (size + 2 * border for size in frame.hw)
        self._stored, self._places = stored, np.full(len(instances), -1)
        if stored is not None:
            self._places = stored.find(crop_keys(instances, frame, border, stored.kind))
            if stored.kind == "jpeg" and (self._places < 0).any():
                rule = f"each of {len(instances)} people must have one, of this view; "
                rule += f"{(self._places < 0).sum()} have none"
                raise BadInput("stored crops (machine.crop_cache=jpeg)", rule, REMEDY)
            if (self._places < 0).any():
                logger.warning(
                    "%d of %d people have no stored crop of this view, and their images are "
                    "decoded again and again. %s", (self._places < 0).sum(), len(instances), REMEDY,
                )  # fmt: skip
        self._kept: np.ndarray | None = None
        if len(instances) * 3 * height * width <= memory:
            self._kept = self[torch.arange(len(instances))].permute(0, 2, 3, 1).numpy()

    @property
    def input_hw(self) -> tuple[int, int]:
        """(height, width) of the network's input, in input pixels."""
        return self.frame.hw

    def __len__(self) -> int:
        return len(self.instances)

    def __getitem__(self, rows: Tensor) -> Tensor:
        """Crops (b, 3, H + 2 border, W + 2 border) of the given rows (b)."""
        ((crops,),) = read_ahead([[self.read(rows)]], self.workers)
        return crops

    def read(self, rows: Tensor, device: torch.device = CPU) -> Read:
        """What is to be done for ``self[rows]``; pinned for a CUDA device that they will go to."""
        height, width = (size + 2 * self.border for size in self.input_hw)
        shape, pinned = (len(rows), height, width, 3), device.type == "cuda"
        crops = torch.empty(shape, dtype=torch.uint8, pin_memory=pinned)
        return Read(crops.permute(0, 3, 1, 2), self._tasks(np.asarray(rows), crops.numpy()))

    def _tasks(self, rows: np.ndarray, out: np.ndarray) -> list[Callable[[], object]]:
        """What fills ``out`` (b, H + 2 border, W + 2 border, 3): a task an image, or some crops."""
        if self._kept is not None:  # by numpy: torch would start threads of its own in each thread
            return [partial(np.take, self._kept, rows, axis=0, out=out, mode="wrap")]
        by_image: dict[str, list[int]] = {}
        for place in np.flatnonzero(self._places[rows] < 0).tolist():
            by_image.setdefault(str(self.instances.paths[rows[place]]), []).append(place)
        stored = np.flatnonzero(self._places[rows] >= 0).tolist()
        some = [stored[i : i + AT_ONCE] for i in range(0, len(stored), AT_ONCE)]
        return [
            *(partial(self._copy, rows, places, out) for places in some),
            *(partial(self._cut, rows, places, out) for places in by_image.values()),
        ]

    def _copy(self, rows: np.ndarray, places: list[int], out: np.ndarray) -> None:
        """The crops at some places, which are stored."""
        assert self._stored is not None
        for place in places:
            self._stored.read(int(self._places[rows[place]]), out[place])

    def _cut(self, rows: np.ndarray, places: list[int], out: np.ndarray) -> None:
        """The crops at some places, which are all of one image."""
        row = rows[places[0]]  # EXIF orientation is ignored, as annotations assume
        image = read_rgb(str(self.instances.paths[row]), int(self.instances.checksums[row]))
        for place in places:
            out[place] = cut(image, self.matrix[rows[place]], out.shape[1:3], self.border)


def cut_people(image: Image.Image, boxes: np.ndarray, frame: CropFrame, border: int) -> Tensor:
    """The people of one image in memory: uint8 (n, 3, H, W), RGB, without a border.

    They are cut with it, as ``Crops`` does: the pixels are then the same ones to the bit. (Where a
    view is cut alone, pixels outside of it do not count in its outermost ones.)

    Args:
        image: RGB.
        boxes: (n, 4) in image pixels.
        frame: as of ``Crops``.
        border: input pixels of context on each side, which are cut off again.

    Raises:
        ValueError: a box is empty or not finite.
    """
    (height, width), matrices = frame.hw, crop_matrix(boxes, frame)
    crops = torch.empty((len(matrices), 3, height, width), dtype=torch.uint8)
    for crop, matrix in zip(crops, matrices, strict=True):
        pixels = cut(image, matrix, (height + 2 * border, width + 2 * border), border)
        inside = pixels[border : border + height, border : border + width]
        crop[:] = torch.from_numpy(np.ascontiguousarray(inside.transpose(2, 0, 1)))
    return crops


def cut(image: Image.Image, matrix: np.ndarray, out_hw: tuple[int, int], border: int) -> np.ndarray:
    """One crop (H, W, 3) of an image through an image-to-input matrix (2, 3); black outside.

    Shrinking is antialiased: a person of 500 pixels on an input of 64 would otherwise be sampled
    at every eighth pixel.
    """
    factor = matrix[0, 0]
    # Pixel indices are centers, Pillow's boxes are edges: half a pixel on either side.
    left, top = ((-border - 0.5 - matrix[:, 2]) / factor + 0.5).tolist()
    right, bottom = left + out_hw[1] / factor, top + out_hw[0] / factor
    if (excess := (right - left) * (bottom - top) / MOST_PIXELS) > 1:
        shrink = int(np.ceil(np.sqrt(excess)))
        image = image.reduce(shrink)  # to means of blocks; the filter does the rest
        left, top, right, bottom = (edge / shrink for edge in (left, top, right, bottom))
    # Image.crop fills with black what lies outside; cutting first keeps large photographs cheap.
    x, y = int(np.floor(left)), int(np.floor(top))
    window = image.crop((x, y, int(np.ceil(right)), int(np.ceil(bottom))))
    box = (left - x, top - y, right - x, bottom - y)
    return np.asarray(window.resize((out_hw[1], out_hw[0]), Image.Resampling.BILINEAR, box=box))
