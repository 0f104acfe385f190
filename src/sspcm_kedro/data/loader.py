"""Batches of weak views: which people, which random view, drawn anew from (seed, epoch)."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from sspcm_kedro.augment.affine import RandomAffine
from sspcm_kedro.augment.occlude import Donors
from sspcm_kedro.batch import Batch, Labeled, Unlabeled
from sspcm_kedro.data.crops import Crops
from sspcm_kedro.data.views import plain_view, weak_view
from sspcm_kedro.pose.geometry import flip_keypoints, move_points
from sspcm_kedro.pose.heatmap import HeatmapCodec
from sspcm_kedro.pose.skeleton import Skeleton
from sspcm_kedro.seeds import Stream, mixed_seed, stream_seed


@dataclass(frozen=True)
class PseudoLabels:
    """What a round knows of the unlabeled people.

    Attributes:
        keypoints: (t, n, k, 2) predictions of the method's t labelers, canonical input pixels.
        scores: (t, n, k) their peaks.
        occluders: (q, 3) row of the unlabeled person, x, y of a limb worth cutting out.
    """

    keypoints: Tensor
    scores: Tensor
    occluders: Tensor

    def content(self) -> list[bytes]:
        """All of it as bytes, to tell whether it has changed."""
        return [t.numpy().tobytes() for t in (self.keypoints, self.scores, self.occluders)]


@dataclass(frozen=True)
class InstancePool:
    """People that training draws from.

    Attributes:
        crops: their pixels.
        keypoints: (n, k, 2) canonical input pixels; unused where nothing is labeled.
        visibility: (n, k).
    """

    crops: Crops
    keypoints: Tensor
    visibility: Tensor

    @classmethod
    def of(cls, crops: Crops) -> "InstancePool":
        """The pool of some crops, its keypoints moved from image to input pixels."""
        points = torch.from_numpy(crops.instances.keypoints).double()
        keypoints = move_points(points, torch.from_numpy(crops.matrix)).float()
        return cls(crops, keypoints, torch.from_numpy(crops.instances.visibility))


@dataclass(frozen=True)
class Batches:
    """The batches of an epoch; the same (seed, epoch) gives the same ones, in any process.

    Attributes:
        labeled: people with labels.
        unlabeled: people without, or None for supervised training.
        pseudo: predictions and occluders of the round, or None for methods that read none.
        skeleton: keypoints and their flip order.
        codec: target encoding.
        affine: the weak view.
        size: people of each kind in a batch.
        steps: batches an epoch.
        seed: of the experiment.
        device: where the views are made.
    """

    labeled: InstancePool
    unlabeled: InstancePool | None
    pseudo: PseudoLabels | None
    skeleton: Skeleton
    codec: HeatmapCodec
    affine: RandomAffine
    size: int
    steps: int
    seed: int
    device: torch.device

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """The batches of one epoch, counted from 0 over the whole training."""
        rng = Generator(self.device).manual_seed(stream_seed(self.seed, Stream.VIEWS, epoch))
        start, count = epoch * self.steps * self.size, self.steps * self.size
        order = [
            shuffled_rows(len(pool.crops), stream_seed(self.seed, stream), start, count)
            if pool is not None
            else None
            for pool, stream in (
                (self.labeled, Stream.LABELED_ORDER),
                (self.unlabeled, Stream.UNLABELED_ORDER),
            )
        ]
        weights = (self.labeled.visibility > 0).any(dim=0).float().to(self.device)
        for step in range(self.steps):
            part = slice(step * self.size, (step + 1) * self.size)
            labeled = self._labeled(order[0][part], rng)  # type: ignore[index]
            unlabeled = None
            if order[1] is not None:
                unlabeled = self._unlabeled(order[1][part], weights, rng)
            yield Batch(labeled, unlabeled)

    def _view(
        self, pool: InstancePool, rows: Tensor, rng: Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Weak views (b, 3, H, W), the maps (b, 2, 3) that made them, and who is mirrored (b)."""
        matrix, flip = self.affine.sample(len(rows), pool.crops.input_hw, rng)
        return weak_view(pool.crops, rows, matrix, self.device), matrix, flip

    def _labeled(self, rows: Tensor, rng: Generator) -> Labeled:
        pool = self.labeled
        images, matrix, flip = self._view(pool, rows, rng)
        keypoints = move_points(pool.keypoints[rows].to(self.device), matrix)
        visibility = pool.visibility[rows].to(self.device)
        order = self.skeleton.flip_order
        heatmaps, weights = self.codec.encode(
            flip_keypoints(keypoints, flip, order),
            flip_keypoints(visibility, flip, order),
            pool.crops.input_hw,
        )
        return Labeled(images, heatmaps, weights)

    def _unlabeled(self, rows: Tensor, weights: Tensor, rng: Generator) -> Unlabeled:
        assert self.unlabeled is not None
        images, matrix, flip = self._view(self.unlabeled, rows, rng)
        weights = weights.expand(len(rows), -1)
        if self.pseudo is None:
            return Unlabeled(images, weights)
        labelers = range(len(self.pseudo.keypoints))
        earlier = tuple(self._redrawn(t, rows, matrix, flip) for t in labelers)
        return Unlabeled(images, weights, earlier, self._donors(len(rows), rng))

    def _redrawn(self, teacher: int, rows: Tensor, matrix: Tensor, flip: Tensor) -> Tensor:
        """A teacher's stored predictions, moved with the image, as Gaussians of their score."""
        assert self.pseudo is not None and self.unlabeled is not None
        keypoints = move_points(self.pseudo.keypoints[teacher, rows].to(self.device), matrix)
        scores = self.pseudo.scores[teacher, rows].to(self.device)
        order = self.skeleton.flip_order
        heatmaps, _ = self.codec.encode(
            flip_keypoints(keypoints, flip, order),
            torch.ones_like(scores),
            self.unlabeled.crops.input_hw,
        )
        return heatmaps * flip_keypoints(scores, flip, order)[..., None, None]

    def _donors(self, count: int, rng: Generator) -> Donors | None:
        """``count`` limbs of the round's occluder bank."""
        assert self.pseudo is not None and self.unlabeled is not None
        bank = self.pseudo.occluders
        if len(bank) == 0:
            return None
        chosen = torch.randint(len(bank), (count,), generator=rng, device=rng.device).cpu()
        rows, points = bank[chosen, 0].long(), bank[chosen, None, 1:].to(self.device)
        return Donors(plain_view(self.unlabeled.crops, rows, self.device), points)


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
