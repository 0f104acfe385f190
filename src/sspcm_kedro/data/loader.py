"""Batches of weak views: which people, which random view, drawn anew from (seed, epoch)."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Generator, Tensor

from sspcm_kedro.augment.affine import RandomAffine
from sspcm_kedro.augment.color import jitter_color
from sspcm_kedro.augment.occlude import Donors
from sspcm_kedro.batch import Batch, Labeled, Unlabeled
from sspcm_kedro.data.crops import Crops
from sspcm_kedro.data.views import plain_view, weak_view
from sspcm_kedro.pose.geometry import flip_keypoints, move_points
from sspcm_kedro.pose.heatmap import HeatmapCodec
from sspcm_kedro.pose.skeleton import Skeleton
from sspcm_kedro.seeds import Stream, mixed_seed, place_of, stream_seed


@dataclass(frozen=True)
class PseudoLabels:
    """What a round knows of the unlabeled people.

    Attributes:
        ids: of these people, in the order of their table.
        keypoints: predictions of the method's t labelers, (x, y) in canonical input pixels.
        scores: the maxima of their heatmaps.
        occluders: limbs worth cutting out: the row of an unlabeled person, and x and y in its
            canonical input pixels.
        corrected: the one label a keypoint that correction made of the predictions, in canonical
            input pixels.
        confidence: how likely each of them is right, 0 to 1.
    """

    ids: Int[Tensor, " n"]
    keypoints: Float[Tensor, "t n k 2"]
    scores: Float[Tensor, "t n k"]
    occluders: Float[Tensor, "occluders 3"]
    corrected: Float[Tensor, "n k 2"]
    confidence: Float[Tensor, "n k"]

    def to_bytes(self) -> list[bytes]:
        """Each tensor's bytes, for a fingerprint."""
        labels = (self.corrected, self.confidence)
        tensors = (self.ids, self.keypoints, self.scores, self.occluders, *labels)
        return [t.numpy().tobytes() for t in tensors]


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
        size: people of a batch, of labeled and of unlabeled ones.
        steps: batches an epoch.
        seed: of the experiment.
        device: where the views are made.
        color: share by which brightness, contrast and saturation of views vary; 0 draws nothing.
        shards: parts of equal size that each batch is cut into.
    """

    labeled: InstancePool
    unlabeled: InstancePool | None
    pseudo: PseudoLabels | None
    skeleton: Skeleton
    codec: HeatmapCodec
    affine: RandomAffine
    size: tuple[int, int]
    steps: int
    seed: int
    device: torch.device
    color: float = 0.0
    shards: int = 1

    def epoch(self, epoch: int, shard: int = 0) -> Iterator[Batch]:
        """A shard of the batches of one epoch, counted from 0 over the whole training."""
        seed = stream_seed(self.seed, Stream.VIEWS, *place_of(epoch, shard))
        rng = Generator(self.device).manual_seed(seed)
        labeled_size, unlabeled_size = self.size
        labeled = self._rows_of(epoch, shard, self.labeled, labeled_size, Stream.LABELED_ORDER)
        if self.unlabeled is None:
            yield from (Batch(self._labeled_batch(rows, rng)) for rows in labeled)
            return
        pool, order = self.unlabeled, Stream.UNLABELED_ORDER
        unlabeled = self._rows_of(epoch, shard, pool, unlabeled_size, order)
        weights = (self.labeled.visibility > 0).any(dim=0).float().to(self.device)
        for own, others in zip(labeled, unlabeled, strict=True):
            first = self._labeled_batch(own, rng)
            yield Batch(first, self._unlabeled_batch(pool, others, weights, rng))

    def _rows_of(
        self, epoch: int, shard: int, pool: InstancePool, size: int, stream: Stream
    ) -> Int[Tensor, "{self.steps} share"]:
        """Which people of a pool a shard of each batch of an epoch has."""
        count = self.steps * size
        seed = stream_seed(self.seed, stream)
        rows = shuffled_rows(len(pool.crops), seed, epoch * count, count)
        share = size // self.shards
        return rows.reshape(self.steps, size)[:, shard * share : (shard + 1) * share]

    def _draw_views(
        self, pool: InstancePool, rows: Int[Tensor, " b"], rng: Generator
    ) -> tuple[Float[Tensor, "b 3 H W"], Float[Tensor, "b 2 3"], Bool[Tensor, " b"]]:
        """Weak views, the maps in input pixels that made them, and who is mirrored."""
        matrix, flip = self.affine.sample(len(rows), pool.crops.input_hw, rng)

        def recolor(pixels: Tensor) -> Tensor:
            return jitter_color(pixels, self.color, rng) if self.color else pixels

        return weak_view(pool.crops, rows, matrix, self.device, recolor), matrix, flip

    def _encode(
        self, keypoints: Float[Tensor, "b k 2"], values: Shaped[Tensor, "b k"],
        matrix: Float[Tensor, "b 2 3"], flip: Bool[Tensor, " b"], *, as_scores: bool = False,
    ) -> tuple[Float[Tensor, "b k h w"], Float[Tensor, "b k"]]:  # fmt: skip
        """Heatmaps and weights of keypoints in canonical input pixels, moved with their images.

        ``values`` are visibilities, or scores: then every Gaussian is as high as its score.
        """
        keypoints = move_points(keypoints.to(self.device), matrix)
        keypoints = flip_keypoints(keypoints, flip, self.skeleton.flip_order)
        values = flip_keypoints(values.to(self.device), flip, self.skeleton.flip_order)
        visibility = torch.ones_like(values) if as_scores else values
        heatmaps, weights = self.codec.encode(keypoints, visibility, self.labeled.crops.input_hw)
        return heatmaps * values[..., None, None] if as_scores else heatmaps, weights

    def _labeled_batch(self, rows: Int[Tensor, " b"], rng: Generator) -> Labeled:
        """Weak views of labeled people, and targets of their keypoints moved alike."""
        pool = self.labeled
        images, *moves = self._draw_views(pool, rows, rng)
        return Labeled(images, *self._encode(pool.keypoints[rows], pool.visibility[rows], *moves))

    def _unlabeled_batch(
        self, pool: InstancePool, rows: Int[Tensor, " b"], weights: Float[Tensor, " k"],
        rng: Generator,
    ) -> Unlabeled:  # fmt: skip
        """Weak views of unlabeled people, with what the round stored of them moved alike."""
        images, *moves = self._draw_views(pool, rows, rng)
        weights = weights.expand(len(rows), -1)
        mirrors = self.affine.flip_probability > 0
        flip_order = self.skeleton.flip_order if mirrors else None
        if self.pseudo is None:
            return Unlabeled(images, weights, flip_order=flip_order)
        stored = zip(self.pseudo.keypoints[:, rows], self.pseudo.scores[:, rows], strict=True)
        earlier = tuple(self._encode(*labels, *moves, as_scores=True)[0] for labels in stored)
        label = self.pseudo.corrected[rows], self.pseudo.confidence[rows]
        corrected, _ = self._encode(*label, *moves, as_scores=True)
        donors = self._draw_donors(pool, self.pseudo.occluders, len(rows), rng)
        return Unlabeled(images, weights, earlier, donors, flip_order, corrected)

    def _draw_donors(
        self, pool: InstancePool, bank: Float[Tensor, "occluders 3"], count: int, rng: Generator
    ) -> Donors | None:
        """``count`` limbs of the round's occluder bank; None where it is empty."""
        if len(bank) == 0:
            return None
        chosen = torch.randint(len(bank), (count,), generator=rng, device=rng.device).cpu()
        rows, points = bank[chosen, 0].long(), bank[chosen, None, 1:].to(self.device)
        return Donors(plain_view(pool.crops, rows, self.device), points)


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
