"""What people see of a training: a line an epoch, and a bar or a line a minute."""

import logging
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from sspcm_kedro import ranks
from sspcm_kedro.engine.evaluate import HEADLINES
from sspcm_kedro.engine.fit import EpochPart
from sspcm_kedro.methods.base import total_loss

MINUTE = 60.0

logger = logging.getLogger(__name__)


def format_epoch(line: dict[str, Any]) -> str:
    """A line of the history for the log, short enough for most terminals: losses, how much was
    kept, and of each network the first headline metric that there is."""
    scored = (name for name in HEADLINES if any(key.endswith(f"/{name}") for key in line))
    first = next(scored, None)
    ends = f"/{first}" if first else ""
    wanted = [
        key
        for key in line
        if key == "kept" or key.startswith("loss") or (ends and key.endswith(ends))
    ]
    numbers = ", ".join(f"{key} {line[key]:.4g}" for key in wanted)
    return f"{line['stage']} epoch {line['epoch']} (step {line['step']}): {numbers}"


def format_part(stage: str, part: EpochPart, steps: int, left: float) -> str:
    """A line for the log from within an epoch.

    Args:
        stage: its name.
        part: where the epoch stands.
        steps: of the epoch.
        left: seconds to the end of the stage.
    """
    loss = sum(total_loss(own).item() for own in part.sums) / len(part.sums) / part.steps
    return (
        f"{stage} epoch {part.epoch + 1}, step {part.steps} of {steps}: loss {loss:.4g}, "
        f"{part.people / part.seconds:.4g} people/s, {left / MINUTE:.0f} min left"
    )


class Checkpoints:
    """When a stage stores where it stands: every few minutes, and at the end of its first epoch and
    of its last; a first one tells early of a disk that takes none.

    Attributes:
        interval: seconds between two.
    """

    def __init__(self, interval: float) -> None:
        self.interval, self._stored, self._any = interval, time.monotonic(), False

    def at(self, *, whole: bool, last: bool) -> bool:
        """Whether to store now.

        Args:
            whole: at the end of an epoch.
            last: at the end of the stage.
        """
        first = whole and not self._any
        return first or last or time.monotonic() >= self._stored + self.interval

    def restart(self) -> None:
        """Count from now on: it is stored."""
        self._stored, self._any = time.monotonic(), True


class StepProgress:
    """A bar with loss and time left on a terminal; elsewhere the log has a line an epoch, and one a
    minute within a long one.

    Entering it gives the function that is told each step's scalars.
    """

    def __init__(self, title: str, total: int) -> None:
        self.bar = Progress(
            TextColumn("{task.description}"), BarColumn(),
            TextColumn("{task.completed}/{task.total}"),
            TextColumn("loss {task.fields[loss]}"), TimeElapsedColumn(), TextColumn("left"),
            TimeRemainingColumn(), console=Console(stderr=True),
            disable=not sys.stderr.isatty() or ranks.rank() > 0,
        )  # fmt: skip
        self.task = self.bar.add_task(title, total=total, loss="-")
        self.title, self.total, self.steps = title, total, 0
        self.began = self.told = time.monotonic()
        self._loss: tuple[torch.Tensor, torch.cuda.Event | None] | None = None

    def __enter__(self) -> Callable[[dict[str, torch.Tensor]], None]:
        self.bar.start()
        return self.advance

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def advance(self, scalars: dict[str, torch.Tensor]) -> None:
        """Count a step; the loss of every 20th is shown once a GPU has it, which is not waited
        for."""
        self.steps += 1
        if not self.bar.disable and self.steps % 20 == 0:
            loss = total_loss(scalars).detach()
            arrived = torch.cuda.Event() if loss.is_cuda else None
            self._loss = loss.to("cpu", non_blocking=True), arrived
            if arrived is not None:
                arrived.record()
        if self._loss is not None and (self._loss[1] is None or self._loss[1].query()):
            self.bar.update(self.task, loss=f"{self._loss[0].item():.5f}")
            self._loss = None
        self.bar.advance(self.task)

    def tell(self, part: EpochPart, steps: int) -> None:
        """Log where an epoch of ``steps`` stands, at most once a minute and if there is no bar."""
        now = time.monotonic()
        if self.bar.disable and now >= self.told + MINUTE:
            self.told = now
            left = (now - self.began) / self.steps * (self.total - self.steps)
            logger.info("%s", format_part(self.title, part, steps, left))
