"""A progress bar for slow loops: on a terminal only, never in a log file."""

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import track

Item = TypeVar("Item")


def show_progress(items: Iterable[Item], total: int, title: str) -> Iterator[Item]:
    """The same items; a bar on stderr counts them when stderr is a terminal."""
    if not sys.stderr.isatty():
        yield from items
        return
    yield from track(items, description=title, total=total, console=Console(stderr=True))
