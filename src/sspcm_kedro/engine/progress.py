"""What people see of a training: a line an epoch, and a bar."""

import sys
from collections.abc import Callable
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from sspcm_kedro.engine.evaluate import HEADLINES
from sspcm_kedro.methods.base import total_loss


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


class StepProgress:
    """A bar with loss and time left on a terminal; nothing elsewhere (the log has a line an epoch).

    Entering it gives the function that is told each step's scalars.
    """

    def __init__(self, title: str, total: int) -> None:
        self.bar = Progress(
            TextColumn("{task.description}"), BarColumn(),
            TextColumn("{task.completed}/{task.total}"),
            TextColumn("loss {task.fields[loss]}"), TimeElapsedColumn(), TextColumn("left"),
            TimeRemainingColumn(), console=Console(stderr=True), disable=not sys.stderr.isatty(),
        )  # fmt: skip
        self.task = self.bar.add_task(title, total=total, loss="-")
        self.steps = 0
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
