"""How far slow loops are: a progress bar on a terminal, a line a minute in a log file."""

import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
    track,
)

from sspcm_kedro import ranks

Item = TypeVar("Item")
MINUTE = 60.0
logger = logging.getLogger(__name__)


def show_progress(items: Iterable[Item], total: int, title: str) -> Iterator[Item]:
    """The same items; a bar on stderr counts them when stderr is a terminal, and else a line of the
    log once a minute."""
    if not sys.stderr.isatty() or ranks.rank() > 0:
        yield from log_progress(items, total, title)
        return
    yield from track(items, description=title, total=total, console=Console(stderr=True))


def log_progress(items: Iterable[Item], total: int, title: str) -> Iterator[Item]:
    """The same items; a line of the log says once a minute how many there were."""
    began = told = time.monotonic()
    for done, item in enumerate(items):
        if (now := time.monotonic()) >= told + MINUTE:
            told, pace = now, done / (now - began)
            left = (total - done) / pace / MINUTE if done else float("inf")
            logger.info(
                "%s: %d of %d, %.3g a second, %.0f min left", title, done, total, pace, left
            )
        yield item


@contextmanager
def show_bytes(title: str, total: int | None, done: int) -> Iterator[Callable[[int], None]]:
    """A function to tell of further bytes; a bar shows them when stderr is a terminal.

    Args:
        title: in front of the bar.
        total: bytes at the end, if known.
        done: bytes that were there before.
    """
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(),
               TransferSpeedColumn(), TimeRemainingColumn())  # fmt: skip
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(title, total=total, completed=done)
        yield lambda more: progress.update(task, advance=more)
