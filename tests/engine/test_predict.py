"""Prediction: what a network sees in a view comes back in pixels of the photograph."""

import sys
from dataclasses import fields

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from sspcm_kedro.augment.fixed_views import FixedViews
from sspcm_kedro.data.crops import Crops
from sspcm_kedro.data.instances import Instances
from sspcm_kedro.engine.predict import predict, predict_views, to_image
from sspcm_kedro.pose.geometry import CropFrame, crop_matrix
from sspcm_kedro.pose.heatmap import HeatmapCodec
from sspcm_kedro.pose.skeleton import Skeleton

FRAME = CropFrame((128, 96))
SKELETON = Skeleton(names=("left_hand", "right_hand"), flip_pairs=((0, 1),))


class Eye(nn.Module):
    """Sees bright spots: the left hand's in the right half of the view, as of a person that faces
    the camera, the right hand's in the left half. So it does the right thing on mirrored views.
    """

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[tuple[int, bool]] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.batches.append((len(images), self.training))
        spots = images[:, 0] * 0.229 + 0.485
        cells = spots[:, ::4, ::4]  # x_input = 4 x_heatmap
        right = torch.arange(cells.shape[2]) * 4 > (images.shape[3] - 1) / 2
        return torch.stack([cells * right, cells * ~right], dim=1)


@pytest.fixture(scope="module")
def people(tmp_path_factory) -> Instances:
    """Five people of different sizes; one bright spot for each hand, 7 pixels wide in the view."""
    folder, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(3)
    corner = rng.uniform(20, 80, (5, 2))
    size = rng.uniform((60, 80), (160, 200), (5, 2))
    boxes = np.concatenate([corner, corner + size], axis=1)
    keypoints = np.empty((5, 2, 2))
    for i, matrix in enumerate(crop_matrix(boxes, FRAME)):
        view = rng.uniform((64, 30), (76, 98), (2, 2))  # in input pixels
        view[1, 0] = 95 - view[1, 0]
        keypoints[i] = (view - matrix[:, 2]) / matrix[0, 0]
        columns, rows = np.meshgrid(np.arange(320), np.arange(340))
        plane = sum(
            255 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) * matrix[0, 0] ** 2 / (2 * 7.0**2))
            for x, y in keypoints[i]
        )
        pixels = np.repeat(np.minimum(plane, 255).round().astype(np.uint8)[..., None], 3, axis=2)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    return Instances(
        ids=np.arange(5),
        image_ids=np.arange(5),
        paths=np.array([str(folder / f"{i}.png") for i in range(5)], object),
        image_hw=np.full((5, 2), (340, 320)),
        boxes=boxes.astype(np.float32),
        areas=np.ones(5, np.float32),
        box_scores=np.ones(5, np.float32),
        keypoints=keypoints.astype(np.float32),
        visibility=np.full((5, 2), 2),
    )


CODEC = {field.name for field in fields(HeatmapCodec)}


def predicted(people, net=None, **more):
    codec = HeatmapCodec(
        **{"refinement": "dark", "blur": 11} | {k: more.pop(k) for k in CODEC & more.keys()}
    )
    settings = {"flip_test": False, "device": torch.device("cpu"), **more}
    crops = Crops(people, FRAME, border=6)
    keypoints, scores = predict(net or Eye(), crops, SKELETON, codec, **settings)
    return keypoints, scores, to_image(keypoints, people, FRAME)


def error(people, found: np.ndarray) -> np.ndarray:
    """(n, k) distances in input pixels."""
    factor = crop_matrix(people.boxes, FRAME)[:, 0, 0]
    return np.linalg.norm(found - people.keypoints, axis=2) * factor[:, None]


@pytest.mark.parametrize(("refinement", "limit"), [("dark", 0.4), ("shift", 2.2), ("none", 2.9)])
def test_planted_keypoints_come_back_in_image_pixels(people, refinement, limit):
    """Within a tenth of a cell where the decoder can see between cells."""
    keypoints, scores, found = predicted(people, refinement=refinement)
    assert keypoints.shape == (5, 2, 2) and scores.shape == (5, 2) and found.shape == (5, 2, 2)
    assert error(people, found).max() < limit
    assert scores.min() > 0.8 and scores.max() <= 1


def test_the_mirrored_view_agrees_within_a_quarter_cell(people):
    """The average of the view and its mirror image, keypoints changed back."""
    _, _, found = predicted(people, flip_test=True)
    assert error(people, found).max() < 1.0


def test_the_flip_test_asks_twice_and_changes_sides(people):
    """A network that sees nothing on the mirrored view halves every score."""

    class OneSided(Eye):
        def forward(self, images):
            heatmaps = super().forward(images)
            return heatmaps if len(self.batches) % 2 else 0 * heatmaps

    net = OneSided()
    _, plain, _ = predicted(people)
    _, halved, found = predicted(people, net, flip_test=True)
    assert len(net.batches) == 2
    torch.testing.assert_close(halved, plain / 2)
    assert error(people, found).max() < 0.4


def test_batches_change_nothing_but_the_pace(people):
    net = Eye()
    whole = predicted(people)
    parts = predicted(people, net, batch=2)
    assert [size for size, _ in net.batches] == [2, 2, 1]
    torch.testing.assert_close(parts[0], whole[0])
    torch.testing.assert_close(parts[1], whole[1])


def test_a_title_gives_a_bar_on_a_terminal(people, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    predicted(people, batch=2)
    assert capsys.readouterr().err == ""
    predicted(people, batch=2, title="looking at people")
    assert "looking at people" in capsys.readouterr().err


@pytest.mark.parametrize("training", [True, False])
def test_the_network_is_evaluated_and_left_in_its_mode(people, training):
    net = Eye().train(training)
    predicted(people, net, flip_test=True)
    assert [mode for _, mode in net.batches] == [False, False]
    assert net.training == training


def test_the_stride_is_that_of_the_network(people):
    class Fine(Eye):
        def forward(self, images):
            spots = images[:, 0] * 0.229 + 0.485
            cells = spots[:, ::2, ::2]
            right = torch.arange(cells.shape[2]) * 2 > (images.shape[3] - 1) / 2
            return torch.stack([cells * right, cells * ~right], dim=1)

    _, _, found = predicted(people, Fine(), refinement="none", stride=2)
    assert error(people, found).max() < 1.5


def test_to_image_undoes_the_crop(people):
    matrix = crop_matrix(people.boxes, FRAME)
    view = np.einsum("nij,nkj->nki", matrix[:, :, :2], people.keypoints) + matrix[:, None, :, 2]
    found = to_image(torch.from_numpy(view).float(), people, FRAME)
    assert found.dtype == np.float32
    assert found == pytest.approx(people.keypoints, abs=1e-3)


def test_the_kernel_of_dark_is_the_one_asked_for(people):
    """A wide kernel drags these narrow spots; the other decoders do not read it."""
    narrow, wide = (predicted(people, blur=blur)[0] for blur in (5, 17))
    assert not torch.allclose(narrow, wide, atol=1e-3)
    assert torch.equal(predicted(people, blur=11)[0], predicted(people)[0])
    same = [predicted(people, refinement="shift", blur=blur)[0] for blur in (5, 17)]
    assert torch.equal(*same)


def test_many_views_come_back_to_the_same_points(people):
    """Of a network that sees the same spots in every view: no spread, and the planted points."""
    crops, codec = Crops(people, FRAME, border=6), HeatmapCodec(refinement="dark", blur=11)
    views = FixedViews(scales=(0.9, 1.1), rotations=(-8, 8), mirrored=True)
    net = Eye()
    keypoints, scores, spread = predict_views(
        net, crops, SKELETON, codec, views, mirrored=True, device=torch.device("cpu"), batch=2
    )
    assert keypoints.shape == (5, 2, 2) and scores.shape == spread.shape == (5, 2)
    assert error(people, to_image(keypoints, people, FRAME)).max() < 1.5
    assert len(net.batches) == 8 * 3 and not any(training for _, training in net.batches)
    assert spread.max() < 0.02 and scores.min() > 0.7


def test_views_that_disagree_are_spread():
    """Hand-computed: two views, one of which is mirrored, of a network that sees one fixed cell."""

    class Fixed(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            maps = torch.zeros(len(images), 1, 16, 12)
            maps[:, :, 8, 2] = 1.0
            return maps

    codec = HeatmapCodec(refinement="none")
    crops = StillCrops()
    found = predict_views(
        Fixed(), crops, Skeleton(("nose",)), codec, FixedViews(), mirrored=True,
        device=torch.device("cpu"),
    )  # fmt: skip
    keypoints, scores, spread = (part.squeeze().tolist() for part in found)
    # The mirrored view's cell 2, x = 8, lies at 47 - 8 = 39: between cells 9 and 10, nearer to 10.
    here, there = codec.decode(Fixed()(torch.zeros(1, 3, 64, 48)))[0].squeeze().tolist(), 10 * 4
    assert keypoints == pytest.approx(here, abs=1e-4) and scores == pytest.approx(0.5)
    assert spread == pytest.approx((there - here[0]) / 2 / (64**2 + 48**2) ** 0.5, abs=1e-4)


class StillCrops(Crops):
    """One gray person of 64 x 48 input pixels."""

    def __init__(self) -> None:
        self.frame, self.border, self.workers = CropFrame((64, 48)), 0, 1
        self._kept = np.full((1, 64, 48, 3), 128, np.uint8)

    def __len__(self) -> int:
        return 1
