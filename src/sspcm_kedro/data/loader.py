"""Batches of weak views: which people, which random view, drawn anew from (seed, epoch)."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
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
        keypoints: predictions of the method's t labelers, (x, y) in canonical input pixels.
        scores: the maxima of their heatmaps.
        occluders: limbs worth cutting out: the row of an unlabeled person, and x and y in its
            canonical input pixels.
    """

    keypoints: Float[Tensor, "t n k 2"]
    scores: Float[Tensor, "t n k"]
    occluders: Float[Tensor, "occluders 3"]

    def to_bytes(self) -> list[bytes]:
        """Each tensor's bytes, for a fingerprint."""
        return [t.numpy().tobytes() for t in (self.keypoints, self.scores, self.occluders)]


@dataclass(frozen=True)
class InstancePool:
    """People that training draws from.

    Attributes:
        crops: their pixels (n).
        keypoints: points (x, y) in canonical input pixels; never read of unlabeled people.
        visibility: above 0 where labeled.
    """

    crops: Crops
    keypoints: Float[Tensor, "n k 2"]
    visibility: Int[Tensor, "n k"]

    @classmethod
    def from_crops(cls, crops: Crops) -> "InstancePool":
        """The people of some crops, their keypoints moved from image to input pixels."""
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
        skeleton: gives the order of mirrored keypoints.
        codec: encodes targets.
        affine: draws the weak views.
        size: people of each pool in a batch.
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
        labeled_rows = self._rows_of(epoch, self.labeled, Stream.LABELED_ORDER)
        unlabeled_rows = None
        if self.unlabeled is not None:
            unlabeled_rows = self._rows_of(epoch, self.unlabeled, Stream.UNLABELED_ORDER)
        weights = (self.labeled.visibility > 0).any(dim=0).float().to(self.device)
        for step in range(self.steps):
            labeled = self._labeled_batch(labeled_rows[step], rng)
            unlabeled = None
            if unlabeled_rows is not None:
                unlabeled = self._unlabeled_batch(unlabeled_rows[step], weights, rng)
            yield Batch(labeled, unlabeled)

    def _rows_of(
        self, epoch: int, pool: InstancePool, stream: Stream
    ) -> Int[Tensor, "{self.steps} {self.size}"]:
        """Which people of a pool each batch of an epoch has."""
        count = self.steps * self.size
        seed = stream_seed(self.seed, stream)
        rows = shuffled_rows(len(pool.crops), seed, epoch * count, count)
        return rows.reshape(self.steps, self.size)

    def _draw_views(
        self, pool: InstancePool, rows: Int[Tensor, " b"], rng: Generator
    ) -> tuple[Float[Tensor, "b 3 H W"], Float[Tensor, "b 2 3"], Bool[Tensor, " b"]]:
        """Weak views, the maps in input pixels that made them, and who is mirrored."""
        matrix, flip = self.affine.sample(len(rows), pool.crops.input_hw, rng)
        return weak_view(pool.crops, rows, matrix, self.device), matrix, flip

    def _labeled_batch(self, rows: Int[Tensor, " b"], rng: Generator) -> Labeled:
        """Weak views of labeled people, and targets of their keypoints moved alike."""
        pool = self.labeled
        images, matrix, flip = self._draw_views(pool, rows, rng)
        keypoints = move_points(pool.keypoints[rows].to(self.device), matrix)
        visibility = pool.visibility[rows].to(self.device)
        order = self.skeleton.flip_order
        heatmaps, weights = self.codec.encode(
            flip_keypoints(keypoints, flip, order),
            flip_keypoints(visibility, flip, order),
            pool.crops.input_hw,
        )
        return Labeled(images, heatmaps, weights)

    def _unlabeled_batch(
        self, rows: Int[Tensor, " b"], weights: Float[Tensor, " k"], rng: Generator
    ) -> Unlabeled:
        """Weak views of unlabeled people, with what the round stored of them moved alike."""
        assert self.unlabeled is not None
        images, matrix, flip = self._draw_views(self.unlabeled, rows, rng)
        weights = weights.expand(len(rows), -1)
        if self.pseudo is None:
            return Unlabeled(images, weights)
        labelers = range(len(self.pseudo.keypoints))
        earlier = tuple(self._stored_heatmaps(t, rows, matrix, flip) for t in labelers)
        return Unlabeled(images, weights, earlier, self._draw_donors(len(rows), rng))

    def _stored_heatmaps(
        self,
        teacher: int,
        rows: Int[Tensor, " b"],
        matrix: Float[Tensor, "b 2 3"],
        flip: Bool[Tensor, " b"],
    ) -> Float[Tensor, "b k h w"]:
        """A teacher's stored predictions, moved with the image: Gaussians as high as its scores."""
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

    def _draw_donors(self, count: int, rng: Generator) -> Donors | None:
        """``count`` limbs of the round's occluder bank; None where it is empty."""
        assert self.pseudo is not None and self.unlabeled is not None
        bank = self.pseudo.occluders
        if len(bank) == 0:
            return None
        chosen = torch.randint(len(bank), (count,), generator=rng, device=rng.device).cpu()
        rows, points = bank[chosen, 0].long(), bank[chosen, None, 1:].to(self.device)
        return Donors(plain_view(self.unlabeled.crops, rows, self.device), points)


def shuffled_rows(n: int, seed: int, start: int, count: int) -> Int[Tensor, "{count}"]:
    """Rows ``start`` to ``start + count`` of an endless sequence of permutations of n rows.

    Every person is seen once before any is seen twice, also across epochs, and any part of the
    sequence can be had without the parts before it, so that a resumed run sees the same people.
    """
    passes = range(start // n, (start + count - 1) // n + 1)
    rng = Generator()
    rows = [torch.randperm(n, generator=rng.manual_seed(mixed_seed(seed, p))) for p in passes]
    offset = start - passes[0] * n
    return torch.cat(rows)[offset : offset + count]
