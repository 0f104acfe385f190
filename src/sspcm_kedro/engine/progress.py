"""What people see of a training: a line an epoch, and a bar."""

import sys
from collections.abc import Callable
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from sspcm_kedro import ranks
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
            TimeRemainingColumn(), console=Console(stderr=True),
            disable=not sys.stderr.isatty() or ranks.rank() > 0,
        )  # fmt: skip
        self.task = self.bar.add_task(title, total=total, loss="-")
        self.steps = 0

    def __enter__(self) -> Callable[[dict[str, torch.Tensor]], None]:
        self.bar.start()
        return self.advance

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def advance(self, scalars: dict[str, torch.Tensor]) -> None:
        """Count a step; the loss is read every 20 steps, since reading stops a GPU's queue."""
        self.steps += 1
        if not self.bar.disable and self.steps % 20 == 0:
            self.bar.update(self.task, loss=f"{total_loss(scalars).item():.5f}")
        self.bar.advance(self.task)
