"""Batches of weak views: which people, which random view, drawn anew from (seed, epoch)."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from sspcm_kedro.augment.affine import RandomAffine
from sspcm_kedro.augment.occlude import Donors
from sspcm_kedro.batch import Batch, Labeled, Unlabeled
from sspcm_kedro.data.crops import Crops
from sspcm_kedro.pose.geometry import flip_keypoints, move_points, warp
from sspcm_kedro.pose.heatmap import encode_heatmaps
from sspcm_kedro.pose.skeleton import Skeleton

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""ImageNet statistics of RGB in 0..1, which pretrained backbones expect."""


@dataclass(frozen=True)
class Heatmap:
    """Target encoding: pixels a cell, sigma in cells, and whether centres are exact or rounded."""

    stride: int = 4
    sigma: float = 2.0
    sub_cell: bool = False


@dataclass(frozen=True)
class Pseudo:
    """What a round knows of the unlabelled people.

    Attributes:
        keypoints: (2, n, k, 2) predictions of teachers A and B, canonical input pixels.
        scores: (2, n, k) their peaks.
        occluders: (q, 3) row of the unlabelled person, x, y of a limb worth cutting out.
    """

    keypoints: Tensor
    scores: Tensor
    occluders: Tensor

    def content(self) -> list[bytes]:
        """All of it as bytes, to tell whether it has changed."""
        return [t.numpy().tobytes() for t in (self.keypoints, self.scores, self.occluders)]


@dataclass(frozen=True)
class Pool:
    """People that training draws from.

    Attributes:
        crops: their pixels.
        keypoints: (n, k, 2) canonical input pixels; unused where nothing is labelled.
        visibility: (n, k).
    """

    crops: Crops
    keypoints: Tensor
    visibility: Tensor

    @classmethod
    def of(cls, crops: Crops) -> "Pool":
        """The pool of some crops, its keypoints moved from image to input pixels."""
        points = torch.from_numpy(crops.instances.keypoints).double()
        keypoints = move_points(points, torch.from_numpy(crops.matrix)).float()
        return cls(crops, keypoints, torch.from_numpy(crops.instances.visibility))


@dataclass(frozen=True)
class Batches:
    """The batches of an epoch; the same (seed, epoch) gives the same ones, in any process.

    Attributes:
        labelled: people with labels.
        unlabelled: people without, or None for supervised training.
        pseudo: predictions and occluders of the round, or None for methods that keep their own.
        skeleton: joints and their flip order.
        heatmap: target encoding.
        affine: the weak view.
        size: people of each kind in a batch.
        steps: batches an epoch.
        seed: of the experiment.
        device: where the views are made.
    """

    labelled: Pool
    unlabelled: Pool | None
    pseudo: Pseudo | None
    skeleton: Skeleton
    heatmap: Heatmap
    affine: RandomAffine
    size: int
    steps: int
    seed: int
    device: torch.device

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """The batches of one epoch, counted from 0 over the whole training."""
        rng = Generator(self.device).manual_seed(mixed_seed(self.seed, 1, epoch))
        start, count = epoch * self.steps * self.size, self.steps * self.size
        order = [
            shuffled_rows(len(pool.crops), mixed_seed(self.seed, 2 + kind), start, count)
            if pool is not None
            else None
            for kind, pool in enumerate((self.labelled, self.unlabelled))
        ]
        weights = (self.labelled.visibility > 0).any(dim=0).float().to(self.device)
        for step in range(self.steps):
            part = slice(step * self.size, (step + 1) * self.size)
            labeled = self._labeled(order[0][part], rng)  # type: ignore[index]
            unlabeled = None
            if order[1] is not None:
                unlabeled = self._unlabeled(order[1][part], weights, rng)
            yield Batch(labeled, unlabeled)

    def _view(self, pool: Pool, rows: Tensor, rng: Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Weak views (b, 3, H, W), the maps (b, 2, 3) that made them, and who is mirrored (b)."""
        matrix, flip = self.affine.sample(len(rows), pool.crops.input_hw, rng)
        return weak_view(pool.crops, rows, matrix, self.device), matrix, flip

    def _labeled(self, rows: Tensor, rng: Generator) -> Labeled:
        pool = self.labelled
        images, matrix, flip = self._view(pool, rows, rng)
        keypoints = move_points(pool.keypoints[rows].to(self.device), matrix)
        visibility = pool.visibility[rows].to(self.device)
        order = self.skeleton.flip_order
        heatmaps, weights = encode_heatmaps(
            flip_keypoints(keypoints, flip, order),
            flip_keypoints(visibility, flip, order),
            self._heatmap_hw(pool),
            stride=self.heatmap.stride,
            sigma=self.heatmap.sigma,
            sub_cell=self.heatmap.sub_cell,
        )
        return Labeled(images, heatmaps, weights)

    def _unlabeled(self, rows: Tensor, weights: Tensor, rng: Generator) -> Unlabeled:
        assert self.unlabelled is not None
        images, matrix, flip = self._view(self.unlabelled, rows, rng)
        weights = weights.expand(len(rows), -1)
        if self.pseudo is None:
            return Unlabeled(images, weights)
        earlier = tuple(self._redrawn(t, rows, matrix, flip) for t in (0, 1))
        return Unlabeled(images, weights, (earlier[0], earlier[1]), self._donors(len(rows), rng))

    def _redrawn(self, teacher: int, rows: Tensor, matrix: Tensor, flip: Tensor) -> Tensor:
        """A teacher's stored predictions, moved with the image, as Gaussians of their score."""
        assert self.pseudo is not None and self.unlabelled is not None
        keypoints = move_points(self.pseudo.keypoints[teacher, rows].to(self.device), matrix)
        scores = self.pseudo.scores[teacher, rows].to(self.device)
        order = self.skeleton.flip_order
        heatmaps, _ = encode_heatmaps(
            flip_keypoints(keypoints, flip, order),
            torch.ones_like(scores),
            self._heatmap_hw(self.unlabelled),
            stride=self.heatmap.stride,
            sigma=self.heatmap.sigma,
            sub_cell=self.heatmap.sub_cell,
        )
        return heatmaps * flip_keypoints(scores, flip, order)[..., None, None]

    def _donors(self, count: int, rng: Generator) -> Donors | None:
        """``count`` limbs of the round's occluder bank."""
        assert self.pseudo is not None and self.unlabelled is not None
        bank = self.pseudo.occluders
        if len(bank) == 0:
            return None
        chosen = torch.randint(len(bank), (count,), generator=rng, device=rng.device).cpu()
        rows, points = bank[chosen, 0].long(), bank[chosen, None, 1:].to(self.device)
        return Donors(plain_view(self.unlabelled.crops, rows, self.device), points)

    def _heatmap_hw(self, pool: Pool) -> tuple[int, int]:
        height, width = pool.crops.input_hw
        return height // self.heatmap.stride, width // self.heatmap.stride


def weak_view(crops: Crops, rows: Tensor, matrix: Tensor, device: torch.device) -> Tensor:
    """Normalised views (b, 3, H, W) of crops through maps (b, 2, 3) in canonical input pixels.

    Outside the crop is black, before normalisation, as in the loaders of the field.
    """
    pixels = crops[rows].to(device, non_blocking=True).float() / 255
    shift = matrix[:, :, :2].sum(dim=2) * crops.border  # the border moves the crop's origin
    matrix = torch.cat([matrix[:, :, :2], (matrix[:, :, 2] - shift)[..., None]], dim=2)
    views = warp(pixels, matrix, crops.input_hw)
    return normalised(views).contiguous(memory_format=torch.channels_last)


def plain_view(crops: Crops, rows: Tensor, device: torch.device) -> Tensor:
    """Normalised crops (b, 3, H, W) as they are: a weak view through the identity, but cheaper."""
    pixels = plain_pixels(crops, rows).to(device)
    return normalised(pixels.float() / 255).contiguous(memory_format=torch.channels_last)


def plain_pixels(crops: Crops, rows: Tensor) -> Tensor:
    """Crops (b, 3, H, W) without their border, uint8."""
    (height, width), border = crops.input_hw, crops.border
    return crops[rows][:, :, border : border + height, border : border + width]


def normalised(images: Tensor) -> Tensor:
    """RGB in 0..1 (b, 3, H, W), standardised by ImageNet's statistics."""
    mean, std = (images.new_tensor(v)[None, :, None, None] for v in (MEAN, STD))
    return (images - mean) / std


def shuffled_rows(n: int, seed: int, start: int, count: int) -> Tensor:
    """Rows ``start`` to ``start + count`` of an endless sequence of permutations of n rows.

    Every person is seen once before any is seen twice, also across epochs, and any part of the
    sequence can be had without the parts before it, so that a resumed run sees the same people.
    """
    passes = range(start // n, (start + count - 1) // n + 1)
    rng = Generator()
    rows = [torch.randperm(n, generator=rng.manual_seed(mixed_seed(seed, p))) for p in passes]
    offset = start - passes[0] * n
    return torch.cat(rows)[offset : offset + count]


def mixed_seed(*parts: int) -> int:
    """One seed from several numbers, such that neighbours do not resemble each other."""
    mixed = 0
    for part in parts:
        mixed = (mixed * 0x5DEECE66D + part * 0x9E3779B97F4A7C15 + 0xB) % 2**63
        mixed ^= mixed >> 29
    return mixed
