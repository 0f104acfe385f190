"""The cells of a grid: each a `kedro run` of its own process, one thread each, side by side.

A cell that was killed goes on where it was. One that is finished is not run again as long as its
settings are the same; after changed code, delete its ``cell.json`` to have it evaluated again.
"""

import functools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from sspcm_kedro.conf_files import StrictConfigLoader, change
from sspcm_kedro.datasets.whole import replace_file
from sspcm_kedro.settings import CONFIG_LOADER_ARGS

PROJECT = Path(__file__).parents[1]
FINISHED = "cell.json"
"""Written last: the settings of a cell that is finished."""


@dataclass(frozen=True)
class Cell:
    """One run.

    Attributes:
        name: for people.
        folder: its data.
        env: its environment.
        params: as for ``kedro run --params``, each ``key=value``.
        result: the file of the folder that is asked for.
        pipelines: as for ``kedro run --pipelines``; the default pipeline by default.
        shared: parts of the folder that lie elsewhere, and are only read.
    """

    name: str
    folder: Path
    env: str
    params: tuple[str, ...]
    result: str
    pipelines: str | None = None
    shared: Mapping[str, Path] = field(default_factory=dict)

    @property
    def log(self) -> Path:
        """What its runs have printed."""
        return self.folder / "log.txt"

    def command(self) -> list[str]:
        """What is run, in the project's folder."""
        asked = ["--pipelines", self.pipelines] if self.pipelines else []
        params = ["--params", ",".join(self.params)]
        return [sys.executable, "-m", "kedro", "run", "--env", self.env, *params, *asked]

    def settings(self) -> dict[str, Any]:
        """All that decides its result but the code, as JSON gives it back."""
        parameters = parameters_of(self.env, self.params)
        del parameters["machine"]
        return json.loads(json.dumps({"parameters": parameters, "pipelines": self.pipelines}))

    def is_finished(self) -> bool:
        """Whether the result is there, and was made with these settings."""
        try:
            settings = json.loads((self.folder / FINISHED).read_bytes())
        except (OSError, ValueError):
            return False
        return (self.folder / self.result).is_file() and settings == self.settings()

    def read(self) -> Any:
        """The result, of a JSON file."""
        return json.loads((self.folder / self.result).read_bytes())


def seeded(seed: int, params: Sequence[str]) -> tuple[str, ...]:
    """The params of every cell with a seed; given ones come later and win."""
    return (f"seed={seed}", "machine.device=cpu", *params)


@functools.cache
def _written(env: str) -> dict[str, Any]:
    loader = StrictConfigLoader(PROJECT / "conf", env, **CONFIG_LOADER_ARGS)
    return loader["parameters"]


def parameters_of(env: str, params: Sequence[str]) -> dict[str, Any]:
    """The parameters of an environment, changed by ``key=value`` as ``kedro run`` does it."""
    given = OmegaConf.from_dotlist(",".join(params).split(","))
    changes = OmegaConf.to_container(given)
    assert isinstance(changes, dict)
    return change(_written(env), changes)  # pyright: ignore[reportArgumentType]


class Runner:
    """Runs cells side by side, shows how far they are, and ends them when it is ended.

    Args:
        jobs: cells at once.
        console: to print on.
    """

    def __init__(self, jobs: int, console: Console) -> None:
        self._jobs, self._console = jobs, console
        self._lock = threading.Lock()
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._stopped = False

    def run(self, cells: Sequence[Cell], what: str = "cells") -> list[Cell]:
        """Runs what is not finished; gives those that failed, which the console names."""
        if not cells:
            return []
        failed = []
        columns = (TextColumn("{task.description}"), BarColumn(20), MofNCompleteColumn(),
                   TimeElapsedColumn(), _NamesColumn(self._running))  # fmt: skip
        signals = {number: signal.signal(number, _end) for number in _signals()}
        pool = ThreadPoolExecutor(self._jobs)
        try:
            with Progress(*columns, console=self._console) as progress:
                task = progress.add_task(what, total=len(cells))
                begun = {pool.submit(self._run, cell): cell for cell in cells}
                for done in as_completed(begun):
                    cell, text = begun[done], done.result()
                    progress.advance(task)
                    progress.console.print(text)
                    failed += [] if cell.is_finished() else [cell]
        except SystemExit:
            self._console.print("Stopped; the same command goes on from there.")
            raise
        finally:
            with self._lock:
                self._stopped = True
                for process in self._running.values():
                    process.terminate()  # it stores what it has, and the same command goes on
            pool.shutdown(cancel_futures=True)
            self._stopped = False
            for number, before in signals.items():
                signal.signal(number, before)
        return failed

    def _run(self, cell: Cell) -> str:
        """Runs a cell; gives a line that says how it went."""
        if cell.is_finished():
            return f"{escape(cell.name)}: there already"
        cell.folder.mkdir(parents=True, exist_ok=True)
        (cell.folder / FINISHED).unlink(missing_ok=True)
        for part, place in cell.shared.items():
            (cell.folder / part).unlink(missing_ok=True)
            (cell.folder / part).symlink_to(place)
        environ = {**os.environ, "SSPCM_DATA": str(cell.folder), "OMP_NUM_THREADS": "1"}
        began = time.monotonic()
        with cell.log.open("ab") as log:
            with self._lock:
                if self._stopped:
                    return f"{escape(cell.name)}: not begun"
                process = self._running[cell.name] = subprocess.Popen(
                    cell.command(), cwd=PROJECT, env=environ, stdout=log, stderr=log,
                    start_new_session=True,  # Ctrl-C reaches it through this process, once
                )  # fmt: skip
            code = process.wait()
        with self._lock:
            del self._running[cell.name]
        if code or not (cell.folder / cell.result).is_file():
            said = cell.log.read_text(errors="replace").split("\n")
            last = next((line for line in reversed(said) if line.strip()), "")
            where = f"[red]{escape(cell.name)}: failed, see {escape(str(cell.log))}[/red]"
            return f"{where}\n{escape(last)}"
        with replace_file(cell.folder / FINISHED) as file:
            file.write_text(json.dumps(cell.settings(), indent=1))
        return f"{escape(cell.name)}: {(time.monotonic() - began) / 60:.1f} min"


class _NamesColumn(ProgressColumn):
    """The names of what is running."""

    def __init__(self, running: Mapping[str, object]) -> None:
        super().__init__()
        self._running = running

    def render(self, task: Task) -> Text:
        return Text("; ".join(list(self._running)), no_wrap=True, overflow="ellipsis")


def _signals() -> list[int]:
    """Those that end a program, where they may be handled."""
    if threading.current_thread() is not threading.main_thread():
        return []
    return [signal.SIGTERM, signal.SIGINT, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]


def _end(number: int, frame: object) -> None:
    raise SystemExit(128 + number)
