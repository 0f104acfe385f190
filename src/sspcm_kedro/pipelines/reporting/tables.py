"""The numbers of an experiment for people: the table in the terminal, and words for both."""

import math
from collections.abc import Mapping
from textwrap import wrap
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from sspcm_kedro.engine.evaluate import METRICS, Metric
from sspcm_kedro.figures.style import readable
from sspcm_kedro.nets import ROLES

Metrics = Mapping[str, Mapping[str, float]]

_NOTHING = "\N{EN DASH}"
_FEW = 5
_HEAD = 7
"""Letters in a line of a column's name, unless a word is longer."""


def comparison_table(
    metrics: Metrics, *, reference: str, published: Metrics | None = None,
    labels: Mapping[str, str] | None = None,
) -> Table:  # fmt: skip
    """The networks' scores, and what each gains over the comparison.

    Args:
        metrics: scores (0 to 1) by network, then by metric. A column each of ``METRICS`` that
            belongs to tables and that some network has; the gain is of the first of them.
        reference: the row to compare with, shown first; without it the gains are blank.
        published: scores of others, below a line of their own and without a gain.
        labels: of columns that are called more than their metric's name (``explain_columns``).
    """
    called = labels or {}
    known = {name for row in metrics.values() for name in row if _known(row[name])}
    columns = [m for m in METRICS if m.shown != "report" and m.name in known]
    main = columns[0] if columns else next(m for m in METRICS if m.protocol is None)
    table = Table(title="Validation", box=box.SIMPLE_HEAVY, show_edge=False, pad_edge=False,
                  collapse_padding=True)  # fmt: skip
    table.add_column("network", min_width=max((len(name) for name in metrics), default=0))
    gain = f"{main.name} vs {readable(reference)}"
    for name in (*(called.get(m.name, readable(m.name)) for m in columns), gain):
        lines = wrap(name, _HEAD, break_long_words=False)  # 80 columns have room for all then
        table.add_column("\n".join(lines), justify="right", no_wrap=True)
    start = metrics.get(reference, {}).get(main.name)
    order = [name for name in (reference, *ROLES) if name in metrics]
    for name in dict.fromkeys([*order, *metrics]):
        row = metrics[name]
        gain = Text(_NOTHING) if name == reference else _gain(main, row.get(main.name), start)
        table.add_row(readable(name), *(number(row.get(m.name)) for m in columns), gain)
    table.add_section()
    for name, row in (published or {}).items():
        table.add_row(name, *(number(row.get(m.name)) for m in columns), _NOTHING)
    return table


def explain_columns(
    scores: Mapping[str, Mapping[str, Any]],
) -> tuple[dict[str, str], list[str]]:
    """What columns are called that need more than their metric's name, and notes on them.

    PCK has its unit; what counts by OKS an asterisk, if sigmas are not published ones.

    Args:
        scores: of networks, with what ``score_networks`` says beside them.
    """
    labels, notes = {}, []
    units = {row["PCK_unit"] for row in scores.values() if "PCK_unit" in row}
    if units:
        labels["PCK"] = f"PCK ({', '.join(sorted(units))})"
    own = list(
        dict.fromkeys(n for row in scores.values() for n in row.get("unpublished_sigmas", ()))
    )
    if own:
        labels |= {m.name: f"{m.name}*" for m in METRICS if m.protocol in ("coco", "aic")}
        few = own if len(own) <= _FEW else [*own[:_FEW], f"{len(own) - _FEW} more"]
        notes.append(
            f"* by OKS sigmas that nobody has published for {', '.join(few)}: comparable on this "
            "data set only. The errors in pixels depend on no sigma."
        )
    return labels, notes


def choice_lines(choice: Mapping[str, Any]) -> list[Text]:
    """Which network is shipped and why, and in yellow, why the comparison should not be trusted.

    Args:
        choice: as ``engine.choice.Choice.to_dict`` gives it.
    """
    reason = Text(choice["reason"])
    reason.highlight_words([f"The {readable(choice['ships'])} is shipped"], "bold")
    return [reason, *([Text(choice["doubt"], style="yellow")] if choice["doubt"] else [])]


def _gain(metric: Metric, value: float | None, start: float | None) -> Text:
    """The signed difference, green where it is better; a dash where either side is unknown."""
    if value is None or start is None or not (_known(value) and _known(start)):
        return Text(_NOTHING)
    gain = value - start
    better = gain if metric.higher_is_better else -gain
    return Text(f"{gain:+.3f}", style="green" if better > 0 else "red" if better < 0 else "")


def number(value: float | None) -> str:
    """Three decimals; a dash where it is not known."""
    if value is None or not _known(value):
        return _NOTHING
    return str(value) if isinstance(value, int) else f"{value:.3f}"


def _known(value: float | None) -> bool:
    return value is not None and not math.isnan(value)
