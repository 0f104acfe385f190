"""Batches of weak views: which people, which random view, drawn anew from (seed, epoch)."""

from collections.abc import Generator as Yields
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped, UInt8
from torch import Generator, Tensor

from sspcm_kedro import ranks
from sspcm_kedro.augment.affine import RandomAffine
from sspcm_kedro.augment.color import draw_factors, jitter_color
from sspcm_kedro.augment.occlude import Donors
from sspcm_kedro.batch import Batch, Labeled, Unlabeled
from sspcm_kedro.data.ahead import read_ahead
from sspcm_kedro.data.crops import Crops
from sspcm_kedro.data.views import plain_view, weak_view
from sspcm_kedro.machine import to_device
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

    def take(self, rows: np.ndarray) -> "PseudoLabels":
        """Those of some of the people, rows of their table, and the limbs that these lend."""
        place = torch.full((len(self.ids),), -1)
        place[rows] = torch.arange(len(rows))
        row, at = self.occluders.split([1, 2], dim=1)
        limbs = torch.cat([place[row.long()].to(row), at], dim=1)
        return PseudoLabels(
            self.ids[rows], self.keypoints[:, rows], self.scores[:, rows], limbs[limbs[:, 0] >= 0],
            self.corrected[rows], self.confidence[rows],
        )  # fmt: skip


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

    def epoch(self, epoch: int, shard: int = 0, start: int = 0) -> Yields[Batch, None, None]:
        """A shard of the batches of one epoch, counted from 0 over the whole training.

        Pixels of the next ones are read while one is used, until it ends or is closed.

        Args:
            epoch: its number.
            shard: which part of each batch.
            start: the first batch to give; what those before it drew is drawn, and nothing decoded.
        """
        seed = stream_seed(self.seed, Stream.VIEWS, *place_of(epoch, shard))
        rng = Generator().manual_seed(seed)
        for _ in range(start):
            self._skip_batch(rng)
        pools, rows, limbs = self._order(epoch, shard)
        weights = to_device((self.labeled.visibility > 0).any(dim=0).float(), self.device)
        reads = (
            [pool.crops.read(own, self.device) for pool, own in zip(pools, step, strict=True)]
            for step in zip(*(own[start:] for own in rows), strict=True)
        )
        workers = max(1, self.labeled.crops.workers // len(ranks.mine(self.shards)))
        with closing(read_ahead(reads, workers)) as pixels:
            for step, (first, *others) in enumerate(pixels, start):
                labeled = self._labeled_batch(rows[0][step], first, rng)
                if not others:
                    yield Batch(labeled)
                    continue
                unlabeled = self._unlabeled_batch(rows[1][step], others[0], weights, rng)
                if limbs is not None:
                    images = plain_view(others[1], self.labeled.crops.input_hw, self.device)
                    donors = Donors(images, to_device(limbs[step], self.device))
                    unlabeled = replace(unlabeled, donors=donors)
                yield Batch(labeled, unlabeled)

    def _order(
        self, epoch: int, shard: int
    ) -> tuple[
        list[InstancePool], list[Int[Tensor, "{self.steps} _"]], Float[Tensor, "..."] | None
    ]:
        """Whom a shard of the batches of an epoch shows: pools, of each the rows a batch; and where
        the limbs are that are cut from the last, where there are such, in canonical input
        pixels."""
        labeled_size, unlabeled_size = self.size
        pools = [self.labeled]
        rows = [self._rows_of(epoch, self.labeled, labeled_size, Stream.LABELED_ORDER)]
        limbs = None
        if self.unlabeled is not None:
            pools.append(self.unlabeled)
            order = Stream.UNLABELED_ORDER
            rows.append(self._rows_of(epoch, self.unlabeled, unlabeled_size, order))
            if self.pseudo is not None and len(self.pseudo.occluders):
                rng = Generator().manual_seed(stream_seed(self.seed, Stream.DONORS, epoch))
                bank = self.pseudo.occluders
                drawn = torch.randint(len(bank), (self.steps, unlabeled_size), generator=rng)
                limbs = bank[self._shard_of(drawn, shard)]
                pools.append(self.unlabeled)
        rows = [self._shard_of(own, shard) for own in rows]
        if limbs is None:
            return pools, rows, None
        return pools, [*rows, limbs[..., 0].long()], limbs[..., None, 1:]

    def _shard_of(self, rows: Int[Tensor, "steps size"], shard: int) -> Int[Tensor, "steps share"]:
        """A shard's rows of each batch."""
        share = rows.shape[1] // self.shards
        return rows[:, shard * share : (shard + 1) * share]

    def _skip_batch(self, rng: Generator) -> None:
        """Draws what a shard of a batch draws, in its order."""
        for size in self.size[: 1 if self.unlabeled is None else 2]:
            share = size // self.shards
            self.affine.sample(share, self.labeled.crops.input_hw, rng)
            if self.color:
                draw_factors(share, rng)

    def _rows_of(
        self, epoch: int, pool: InstancePool, size: int, stream: Stream
    ) -> Int[Tensor, "{self.steps} {size}"]:
        """Which people of a pool each batch of an epoch has."""
        count = self.steps * size
        seed = stream_seed(self.seed, stream)
        rows = shuffled_rows(len(pool.crops), seed, epoch * count, count)
        return rows.reshape(self.steps, size)

    def _draw_views(
        self, pixels: UInt8[Tensor, "b 3 _ _"], rng: Generator
    ) -> tuple[Float[Tensor, "b 3 H W"], Float[Tensor, "b 2 3"], Bool[Tensor, " b"]]:
        """Weak views, the maps in input pixels that made them, and who is mirrored."""
        input_hw = self.labeled.crops.input_hw
        drawn = self.affine.sample(len(pixels), input_hw, rng)
        matrix, flip = (to_device(part, self.device) for part in drawn)

        def recolor(pixels: Tensor) -> Tensor:
            return jitter_color(pixels, self.color, rng) if self.color else pixels

        return weak_view(pixels, input_hw, matrix, self.device, recolor), matrix, flip

    def _encode(
        self, keypoints: Float[Tensor, "b k 2"], values: Shaped[Tensor, "b k"],
        matrix: Float[Tensor, "b 2 3"], flip: Bool[Tensor, " b"], *, as_scores: bool = False,
    ) -> tuple[Float[Tensor, "b k h w"], Float[Tensor, "b k"]]:  # fmt: skip
        """Heatmaps and weights of keypoints in canonical input pixels, moved with their images.

        ``values`` are visibilities, or scores: then every Gaussian is as high as its score.
        """
        keypoints = move_points(to_device(keypoints, self.device), matrix)
        keypoints = flip_keypoints(keypoints, flip, self.skeleton.flip_order)
        values = flip_keypoints(to_device(values, self.device), flip, self.skeleton.flip_order)
        visibility = torch.ones_like(values) if as_scores else values
        heatmaps, weights = self.codec.encode(keypoints, visibility, self.labeled.crops.input_hw)
        return heatmaps * values[..., None, None] if as_scores else heatmaps, weights

    def _labeled_batch(
        self, rows: Int[Tensor, " b"], pixels: UInt8[Tensor, "b 3 _ _"], rng: Generator
    ) -> Labeled:
        """Weak views of labeled people, and targets of their keypoints moved alike."""
        pool = self.labeled
        images, *moves = self._draw_views(pixels, rng)
        return Labeled(images, *self._encode(pool.keypoints[rows], pool.visibility[rows], *moves))

    def _unlabeled_batch(
        self, rows: Int[Tensor, " b"], pixels: UInt8[Tensor, "b 3 _ _"],
        weights: Float[Tensor, " k"], rng: Generator,
    ) -> Unlabeled:  # fmt: skip
        """Weak views of unlabeled people, with what the round stored of them moved alike."""
        images, *moves = self._draw_views(pixels, rng)
        weights = weights.expand(len(rows), -1)
        mirrors = self.affine.flip_probability > 0
        flip_order = self.skeleton.flip_order if mirrors else None
        if self.pseudo is None:
            return Unlabeled(images, weights, flip_order=flip_order)
        stored = zip(self.pseudo.keypoints[:, rows], self.pseudo.scores[:, rows], strict=True)
        earlier = tuple(self._encode(*labels, *moves, as_scores=True)[0] for labels in stored)
        label = self.pseudo.corrected[rows], self.pseudo.confidence[rows]
        corrected, _ = self._encode(*label, *moves, as_scores=True)
        return Unlabeled(images, weights, earlier, None, flip_order, corrected)


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
