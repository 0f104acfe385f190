"""Did a change leave the result alone? Two data folders, bit for bit.

    python benchmarks/same.py OLD_DATA NEW_DATA [--rename OLD=NEW] ... [--all]

Compares what the same command with the same seed wrote before and after a change: of every stage's
checkpoint the weights, the optimizer's state and the history, and metrics.json. Prints what differs
and ends with status 1 if anything does. A renamed stage, network, layer or metric is named with
--rename, as often as it takes: parts of a name between its dots and slashes (optimiser=optimizer,
or several parts, 06_models/baseline=06_models/comparison). What differs by its nature is left out:
what the training came from (fingerprint, record, code, unit), and the history's speed, memory and
name of its stage.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor

LEFT_OUT = re.compile(
    r"/checkpoint\.pt\.(fingerprint|unit|code\..+|record\..+|history\.\d+\.(seconds|people_per_second|memory_gib|stage))$"
)
console = Console(soft_wrap=True, markup=False, highlight=False)


def files_of(data: Path) -> list[Path]:
    """What is compared of a data folder."""
    checkpoints = sorted(data.glob("06_models/*/checkpoint.pt"))
    return [*checkpoints, *data.glob("08_reporting/metrics.json")]


def values_of(data: Path) -> dict[str, Any]:
    """Every tensor, number and text of these files, by file and key."""
    found: dict[str, Any] = {}
    for file in files_of(data):
        content = (
            json.loads(file.read_text())
            if file.suffix == ".json"
            else torch.load(file, map_location="cpu", weights_only=True)
        )
        found.update(leaves(content, file.relative_to(data).as_posix()))
    return {name: value for name, value in found.items() if not LEFT_OUT.search(name)}


def leaves(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    """What is in nested tables and lists, by dotted name. Empty ones are values too."""
    if isinstance(value, dict | list | tuple) and value:
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in items:
            yield from leaves(inner, f"{name}.{key}")
    else:
        yield name, value


def renamed(name: str, renames: dict[str, str]) -> str:
    """A name with whole parts of it exchanged, all at once: a swap is two renames."""
    if not renames:
        return name
    parts = "|".join(re.escape(old) for old in sorted(renames, key=len, reverse=True))
    return re.sub(rf"(?<![^./])({parts})(?![^./])", lambda found: renames[found[1]], name)


def difference(old: Any, new: Any) -> str | None:
    """In what two values differ; None if they are the same bits."""
    if not (isinstance(old, Tensor) and isinstance(new, Tensor)):
        same = (type(old), repr(old)) == (type(new), repr(new))  # nan is nan, and 0.0 not -0.0
        return None if same else f"{old!r} became {new!r}"
    if (old.dtype, old.shape) != (new.dtype, new.shape):
        return f"{old.dtype} {tuple(old.shape)} became {new.dtype} {tuple(new.shape)}"
    # A copy has the plain layout; contiguous() leaves odd strides of sizes of 1 as they are.
    plain = [v.clone(memory_format=torch.contiguous_format).reshape(-1) for v in (old, new)]
    bits = [v.view(torch.uint8).reshape(old.numel(), old.element_size()) for v in plain]
    other = (bits[0] != bits[1]).any(dim=1)
    if not other.any():
        return None
    most = (old.double() - new.double()).abs().max().item()
    return f"{int(other.sum())} of {old.numel()} values differ, by up to {most:.3g}"


def differences(old: Path, new: Path, renames: dict[str, str]) -> tuple[int, list[str]]:
    """How many values were compared, and a line for each that is not the same on both sides."""
    before = {renamed(name, renames): value for name, value in values_of(old).items()}
    after = values_of(new)
    lines = [f"{name}: only in {old}" for name in before if name not in after]
    lines += [f"{name}: only in {new}" for name in after if name not in before]
    both = [name for name in before if name in after]
    found = {name: difference(before[name], after[name]) for name in both}
    return len(both), lines + [f"{name}: {text}" for name, text in found.items() if text]


def rename(text: str) -> tuple[str, str]:
    """OLD=NEW as two names."""
    old, equals, new = text.partition("=")
    if not (old and equals and new):
        raise argparse.ArgumentTypeError(f"must be OLD=NEW, found {text!r}")
    return old, new


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("old", type=Path, metavar="OLD_DATA")
    parser.add_argument("new", type=Path, metavar="NEW_DATA")
    parser.add_argument("--rename", type=rename, action="append", default=[], metavar="OLD=NEW")
    parser.add_argument("--all", action="store_true", help="print more than 30 differences")
    chosen = parser.parse_args(arguments)
    for data in (chosen.old, chosen.new):
        if not files_of(data):
            parser.error(f"{data} has no 06_models/*/checkpoint.pt: name the data folder of a run")
    count, lines = differences(chosen.old, chosen.new, dict(chosen.rename))
    shown = lines if chosen.all else lines[:30]
    for line in shown:
        console.print(line)
    if shown != lines:
        console.print(f"... and {len(lines) - len(shown)} more")
    console.print(f"{count} values compared, {len(lines)} differences")
    sys.exit(1 if lines else 0)


if __name__ == "__main__":
    main()
