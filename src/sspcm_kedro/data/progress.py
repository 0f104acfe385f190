"""A progress bar for slow loops: on a terminal only, never in a log file."""

import sys
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


def show_progress(items: Iterable[Item], total: int, title: str) -> Iterator[Item]:
    """The same items; a bar on stderr counts them when stderr is a terminal."""
    if not sys.stderr.isatty() or ranks.rank() > 0:
        yield from items
        return
    yield from track(items, description=title, total=total, console=Console(stderr=True))


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
