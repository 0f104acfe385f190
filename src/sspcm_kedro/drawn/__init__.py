"""Drawn people: a deterministic renderer of small scenes with COCO-17 keypoints.

Nothing here reads or writes files. The same (seed, index, settings) gives the same bytes
whatever the number of processes.
"""

import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np

from .photo import encode_jpeg
from .scene import draw_scene
from .settings import DrawnPerson, DrawnSettings, Scene

__all__ = ["Drawn", "DrawnPerson", "DrawnSettings", "Scene", "draw_jpeg", "draw_many", "draw_scene"]

Drawn = tuple[bytes, tuple[DrawnPerson, ...]]
"""JPEG bytes and the annotated people of one image."""

_CHUNK = 16
_DEFAULTS = DrawnSettings()


def draw_jpeg(seed: int, index: int, settings: DrawnSettings = _DEFAULTS) -> Drawn:
    """Draws image number `index` of the stream `seed`.

    Args:
        seed: Seed of the stream, >= 0.
        index: Number of the image, >= 0.
        settings: Settings.

    Returns:
        JPEG bytes and the annotated people (at least one).
    """
    rng = np.random.default_rng((seed, index))
    low, high = settings.jpeg_quality
    quality = int(rng.integers(low, high + 1))
    scene = draw_scene(rng, settings)
    return encode_jpeg(scene.image, quality), scene.people


def draw_many(
    seed: int, indices: Iterable[int], settings: DrawnSettings = _DEFAULTS, processes: int = 1
) -> Iterator[Drawn]:
    """Draws many images, in the order of `indices`.

    Args:
        seed: Seed of the stream.
        indices: Numbers of the images.
        settings: Settings.
        processes: Worker processes; 1 draws in this process.

    Returns:
        An iterator over what `draw_jpeg` returns for each index. With several processes the
        caller's main module must be importable (no side effects outside a main guard).

    Raises:
        ValueError: `processes` is below 1.
    """
    if processes < 1:
        raise ValueError(f"processes must be at least 1, got {processes}")
    return _map_in_order(partial(draw_jpeg, seed, settings=settings), list(indices), processes)


def _map_in_order(
    draw: Callable[[int], Drawn], wanted: list[int], processes: int
) -> Iterator[Drawn]:
    workers = min(processes, -(-len(wanted) // _CHUNK))
    if workers <= 1:
        yield from map(draw, wanted)
        return
    # "spawn": forking a process that already runs threads (torch, a progress bar) may hang.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context)
    try:
        yield from pool.map(draw, wanted, chunksize=_CHUNK)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
