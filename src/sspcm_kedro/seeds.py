"""Seeds by name: what training draws comes from the seed, a stream and a place in it.

A seeded split and the drawn people draw from numpy's generators of the seed itself.
"""

from enum import IntEnum
from typing import Annotated

from pydantic import Field

Seed = Annotated[int, Field(strict=True, ge=0, lt=2**63)]
"""What ``seed`` may be: whole numbers that numpy and torch take; no text that looks like one."""


class Stream(IntEnum):
    """What is drawn. The numbers are part of every published result: they never change."""

    VIEWS = 1
    """Weak views of an epoch."""
    LABELED_ORDER = 2
    """Order of the labeled people."""
    UNLABELED_ORDER = 3
    """Order of the unlabeled people."""
    WEIGHTS = 5
    """First weights of a network."""
    OCCLUSION_SHEET = 7
    """Samples on the sheet of occlusions."""
    STEPS = 9
    """What the steps of an epoch draw: strong views, patches."""
    RESAMPLES = 10
    """Images of the bootstrap that says how sure a gain is."""
    HELD_OUT = 11
    """Labeled people whom no teacher learns from."""
    DONORS = 12
    """Limbs of the occluder bank that an epoch pastes."""


def stream_seed(seed: int, stream: Stream, *place: int) -> int:
    """The seed of a stream of an experiment, at a place in it (e.g. the epoch)."""
    return mixed_seed(seed, stream, *place)


def place_of(epoch: int, shard: int) -> tuple[int, ...]:
    """The place of an epoch's shard in a stream; the first shard has the whole epoch's."""
    return (epoch, shard) if shard else (epoch,)


def mixed_seed(*parts: int) -> int:
    """One seed, 0 to 2^63 - 1, from several numbers; neighbors do not resemble each other."""
    mixed = 0
    for part in parts:
        mixed = (mixed * 0x5DEECE66D + part * 0x9E3779B97F4A7C15 + 0xB) % 2**63
        mixed ^= mixed >> 29
    return mixed
