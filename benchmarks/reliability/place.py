"""Projects of their own in a scratch folder, run as users run them: each by a process."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parents[2]
LIMIT = 300.0
"""Seconds after which a run is said to hang: many times of what it takes on a loaded machine."""
PARAMS = "method.min_score=0.02"
"""Networks of twelve steps are sure of nothing, and some pseudo-labels must be kept."""


@dataclass(frozen=True)
class Ended:
    """How a process ended, and what it printed."""

    code: int
    printed: str

    def faults(self, code: int, *texts: str) -> list[str]:
        """What is not as it should be: the code, the texts that must be there, no traceback."""
        found = [] if self.code == code else [f"ended with {self.code}, not {code}: {self.end()}"]
        found += [f"does not say {text!r}: {self.end()}" for text in texts
                  if text not in self.printed]  # fmt: skip
        return found + (["prints a traceback"] if "Traceback" in self.printed else [])

    def end(self, length: int = 300) -> str:
        """The last of what it printed, on one line."""
        return re.sub(r"\s+", " ", self.printed)[-length:]


class Running:
    """A process and the file that it prints to."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self.process, self.log = process, log
        self.began = time.monotonic()

    def wait(self, limit: float = LIMIT) -> Ended:
        """The end of it; one that hangs is killed, and its code is that of the kill."""
        try:
            self.process.wait(limit)
        except subprocess.TimeoutExpired:
            self.end_group()
            hung = f"\n(hung: killed after {limit:.0f} s)"
            return Ended(self.process.wait(), self.printed() + hung)
        return Ended(self.process.returncode, self.printed())

    def printed(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def ended(self) -> bool:
        return self.process.poll() is not None

    def end_group(self) -> None:
        """Kill it with all that it started."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)


class Place:
    """A copy of this project's settings in a folder of its own; the code is this project's.

    Args:
        root: the folder; what is there is deleted.
        data: where the data lie instead of below it.
    """

    def __init__(self, root: Path, data: Path | None = None) -> None:
        self.root, self.params, self._count = root, PARAMS, 0
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(PROJECT / "conf", root / "conf", ignore=shutil.ignore_patterns("local"))
        (root / "conf" / "local").mkdir()
        (root / "src").mkdir()
        shutil.copy(PROJECT / "pyproject.toml", root)
        self.environ = clean_environ()
        self.data = data or root / "data" / "smoke"
        if data is not None:
            self.environ["SSPCM_DATA"] = str(data)

    @property
    def uri(self) -> str:
        """MLflow's database, where runs are recorded that are not told otherwise."""
        return f"sqlite:///{self.root / 'mlflow.db'}"

    def start(
        self, *arguments: str, params: str | None = None, environ: Mapping[str, str] | None = None,
        shell: str = "",
    ) -> Running:  # fmt: skip
        """``kedro run --env smoke``, printing to a file of its own.

        Args:
            arguments: further ones of the command.
            params: what ``--params`` gets; the same for all by default.
            environ: variables to set.
            shell: redirections of output, which then is not in the file (``>&- 2>/dev/full``).
        """
        self._count += 1
        command = [sys.executable, "-m", "kedro", "run", "--env", "smoke", *arguments]
        command += ["--params", params or self.params]
        log = self.root / f"log_{self._count}.txt"
        return start(command, self.root, log, {**self.environ, **(environ or {})}, shell)

    def run(self, *arguments: str, **options: Any) -> Ended:
        """The same to its end."""
        return self.start(*arguments, **options).wait()

    def holder(self) -> int | None:
        """The process that holds the data folder, or held it when it was killed."""
        try:
            return json.loads((self.data / ".run.json").read_bytes())["process"]
        except OSError:
            return None

    def remove(self) -> None:
        shutil.rmtree(self.root, ignore_errors=True)
        if self.data.exists():
            shutil.rmtree(self.data, ignore_errors=True)


def clean_environ() -> dict[str, str]:
    """This process's variables without those that steer a run; one thread."""
    steer = ("SSPCM_", "MLFLOW_", "DVC_", "KEDRO_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(steer)}
    return {
        **kept, "OMP_NUM_THREADS": "1", "COLUMNS": "200", "DO_NOT_TRACK": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true", "PYTHONPATH": f"{PROJECT / 'src'}:{PROJECT}",
    }  # fmt: skip


def start(
    command: Sequence[str], folder: Path, log: Path, environ: Mapping[str, str], shell: str = ""
) -> Running:
    """A process in a group of its own, printing to a file."""
    if shell:
        command = ["sh", "-c", f'exec "$0" "$@" {shell}', *command]
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, cwd=folder, env=dict(environ), stdin=subprocess.DEVNULL, stdout=file,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    return Running(process, log)


def wait_for(true: Callable[[], bool], running: Running, limit: float = LIMIT) -> bool:
    """Whether it became true while the process ran."""
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        if true():
            return True
        if running.ended():
            return true()
        time.sleep(0.002)
    return False


@contextmanager
def ended_group(running: Running) -> Iterator[Running]:
    """The process, of which nothing is left after the block."""
    try:
        yield running
    finally:
        running.end_group()
        running.process.wait()
