"""Pixels that are there when they are wanted: threads read the next batches meanwhile."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from torch import Tensor

AHEAD = 3
"""Batches that are read while one is used."""


@dataclass(frozen=True)
class Read:
    """Crops that are to be read.

    Attributes:
        crops: where they will be.
        tasks: what fills them, in any order, in any threads.
    """

    crops: Tensor
    tasks: Sequence[Callable[[], object]]


def read_ahead(
    batches: Iterable[Sequence[Read]], workers: int
) -> Generator[list[Tensor], None, None]:
    """The crops of each batch, in order, whatever thread is done first.

    While a batch is used the next ``AHEAD`` of them are read; a batch is asked for, and its memory
    taken, no sooner. At the end, and where it is closed before, no thread is left.

    Args:
        batches: what to read.
        workers: threads.

    Raises:
        BadInput: of the first image of the first batch that cannot be read, when it is its turn.
    """
    started: deque[tuple[Sequence[Read], list[Future[object]]]] = deque()

    def first() -> list[Tensor]:
        reads, futures = started.popleft()
        for future in futures:
            future.result()
        return [read.crops for read in reads]

    with ThreadPoolExecutor(workers, thread_name_prefix="crops") as threads:
        try:
            for reads in batches:
                tasks = (task for read in reads for task in read.tasks)
                started.append((reads, [threads.submit(task) for task in tasks]))
                if len(started) > AHEAD:
                    yield first()
            while started:
                yield first()
        finally:
            threads.shutdown(wait=False, cancel_futures=True)
