"""Overlays: a tile shows of a person what the network sees, and keypoints where they are."""

import numpy as np
import pytest
import torch
from matplotlib.collections import PathCollection
from PIL import Image
from scipy.ndimage import map_coordinates

from sspcm_kedro.data.crops import Crops
from sspcm_kedro.data.instances import Instances
from sspcm_kedro.figures.overlays import draw_overlays, tile_frame
from sspcm_kedro.pose.geometry import CropFrame
from sspcm_kedro.pose.skeleton import Skeleton

SKELETON = Skeleton(names=("left_hand", "right_hand", "nose"), flip_pairs=((0, 1),))


@pytest.mark.parametrize(
    ("padding", "region"), [(1, (100, 50, 190, 170)), (4 / 3, (85, 30, 205, 190))]
)
def test_a_tile_has_the_padding_of_the_network_s_crop(tmp_path, padding, region):
    """The box 90 x 120 about (145, 110), in tiles of 192 x 256."""
    noise = np.random.default_rng(2).integers(0, 256, (220, 260, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    points = np.array([[[120.0, 80], [160, 90], [140, 150]]], np.float32)
    people = Instances(
        ids=np.arange(1), image_ids=np.arange(1), paths=np.array([str(tmp_path / "a.png")], object),
        image_hw=np.array([[220, 260]]), boxes=np.array([[100, 50, 190, 170]], np.float32),
        areas=np.ones(1, np.float32), box_scores=np.ones(1, np.float32),
        keypoints=points, visibility=np.full((1, 3), 2),
    )  # fmt: skip
    tile = tile_frame(CropFrame((64, 48), padding))
    pixels = Crops(people, tile, border=0)[torch.tensor([0])].numpy()
    sheet = draw_overlays(pixels, people.boxes, tile, points, ["a.png"], SKELETON)
    shown = np.asarray(sheet.axes[0].images[0].get_array())
    scale = 192 / (90 * padding)
    rows, columns = np.indices((256, 192))
    places = [(rows - 128) / scale + 110, (columns - 96) / scale + 145]
    for channel in range(3):
        expected = map_coordinates(noise[..., channel].astype(float), places, order=1)
        inner = (slice(3, -3), slice(3, -3))  # at its edges a tile sees no pixels further out
        np.testing.assert_allclose(shown[inner][..., channel], expected[inner], atol=1)
    drawn = [
        np.asarray(part.get_offsets()) for part in sheet.axes[0].collections
        if isinstance(part, PathCollection)
    ]  # fmt: skip
    assert drawn
    np.testing.assert_allclose(drawn[-1], (points[0] - [145, 110]) * scale + [96, 128], atol=1e-3)
