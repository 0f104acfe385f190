"""The one reader of pixels: people to canonical uint8 crops, each at most once if memory allows."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sspcm_kedro.data.image_file import read_rgb
from sspcm_kedro.data.instances import Instances
from sspcm_kedro.pose.geometry import CropFrame, crop_matrix


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
    """

    def __init__(
        self, instances: Instances, frame: CropFrame, *, border: int, workers: int = 2,
        memory: int = 2 * 2**30,
    ) -> None:  # fmt: skip
        self.instances, self.workers = instances, workers
        self.frame, self.border = frame, border
        self.matrix = crop_matrix(instances.boxes, frame)
        height, width = (size + 2 * border for size in frame.hw)
        self._shape = (3, height, width)
        self._kept: Tensor | None = None
        if len(instances) * 3 * height * width <= memory:
            self._kept = self._read(np.arange(len(instances)))

    @property
    def input_hw(self) -> tuple[int, int]:
        """(height, width) of the network's input, in input pixels."""
        return self.frame.hw

    def __len__(self) -> int:
        return len(self.instances)

    def __getitem__(self, rows: Tensor) -> Tensor:
        """Crops (b, 3, H + 2 border, W + 2 border) of the given rows (b)."""
        return self._read(rows.numpy()) if self._kept is None else self._kept[rows]

    def _read(self, rows: np.ndarray) -> Tensor:
        crops = torch.empty((len(rows), *self._shape), dtype=torch.uint8)
        by_image: dict[str, list[int]] = {}
        for place, row in enumerate(rows):
            by_image.setdefault(str(self.instances.paths[row]), []).append(place)

        def read(item: tuple[str, list[int]]) -> None:
            path, places = item
            checksum = int(self.instances.checksums[rows[places[0]]])
            image = read_rgb(path, checksum)  # EXIF orientation is ignored, as annotations assume
            for place in places:
                crop = cut(image, self.matrix[rows[place]], self._shape[1:], self.border)
                crops[place] = torch.tensor(crop).permute(2, 0, 1)

        with ThreadPoolExecutor(self.workers) as pool:
            list(pool.map(read, by_image.items()))
        return crops


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
    # Image.crop fills with black what lies outside; cutting first keeps large photographs cheap.
    x, y = int(np.floor(left)), int(np.floor(top))
    window = image.crop((x, y, int(np.ceil(right)), int(np.ceil(bottom))))
    box = (left - x, top - y, right - x, bottom - y)
    return np.asarray(window.resize((out_hw[1], out_hw[0]), Image.Resampling.BILINEAR, box=box))
