"""Random numbers of a step: drawn when they are asked for, or before the step, in the same order.

A step asks for them by the functions here, whose shapes depend on shapes alone. Given a generator
they draw; given ``Drawn`` they hand out what ``Noted`` saw asked for in such a step and
``draw_all`` drew before this one: a compiled step is one graph then, with them as its input.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Generator, Tensor

Kind = Literal["normal", "uniform", "integers", "exponential"]


@dataclass(frozen=True)
class Request:
    """Numbers that a step asks for: of which distribution, how many, and integers from where to
    where (``high`` excluded)."""

    kind: Kind
    shape: tuple[int, ...]
    dtype: torch.dtype = torch.float32
    low: int = 0
    high: int = 0

    def draw(self, rng: Generator) -> Tensor:
        """The numbers, on the generator's device."""
        if self.kind == "normal":
            return torch.randn(self.shape, generator=rng, device=rng.device)
        if self.kind == "uniform":
            return torch.rand(self.shape, generator=rng, device=rng.device, dtype=self.dtype)
        if self.kind == "integers":
            return torch.randint(self.low, self.high, self.shape, generator=rng, device=rng.device)
        return torch.empty(self.shape, device=rng.device).exponential_(generator=rng)


class Noted:
    """Draws, and notes what is asked for.

    Attributes:
        requests: so far.
    """

    def __init__(self, rng: Generator) -> None:
        self.rng, self.requests = rng, list[Request]()

    def take(self, request: Request) -> Tensor:
        """The numbers."""
        self.requests.append(request)
        return request.draw(self.rng)


class Drawn:
    """Hands out numbers that were drawn before, in the order in which they are asked for."""

    def __init__(self, numbers: Sequence[Tensor]) -> None:
        self.numbers, self.place = numbers, 0

    def take(self, request: Request) -> Tensor:
        """The next ones.

        Raises:
            ValueError: they are not of the shape that is asked for.
        """
        found = self.numbers[self.place]
        self.place += 1
        if tuple(found.shape) != request.shape:
            raise ValueError(f"drawn were {tuple(found.shape)}, asked for are {request.shape}")
        return found


class Undrawn:
    """Draws nothing: gives shapes on the meta device, where torch has no generator."""

    def take(self, request: Request) -> Tensor:
        """A tensor without numbers."""
        return torch.empty(request.shape, dtype=request.dtype, device="meta")


Draws = Generator | Noted | Drawn | Undrawn
"""Where a step's random numbers come from."""


def draw_all(requests: Sequence[Request], rng: Generator) -> list[Tensor]:
    """What a step with these requests would have drawn from the generator."""
    return [request.draw(rng) for request in requests]


def draw_normal(rng: Draws, shape: tuple[int, ...]) -> Tensor:
    """Standard normal numbers."""
    return _take(rng, Request("normal", shape))


def draw_uniform(rng: Draws, shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> Tensor:
    """Numbers from 0 to 1, 1 excluded."""
    return _take(rng, Request("uniform", shape, dtype))


def draw_integers(rng: Draws, low: int, high: int, shape: tuple[int, ...]) -> Tensor:
    """Integers from ``low`` to ``high``, ``high`` excluded."""
    return _take(rng, Request("integers", shape, torch.int64, low, high))


def draw_exponential(rng: Draws, shape: tuple[int, ...]) -> Tensor:
    """Exponential numbers of mean 1."""
    return _take(rng, Request("exponential", shape))


def _take(rng: Draws, request: Request) -> Tensor:
    return request.draw(rng) if isinstance(rng, Generator) else rng.take(request)
