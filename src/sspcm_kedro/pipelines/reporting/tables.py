"""The numbers of an experiment for people: a table in the terminal, a page in the browser."""

import math
from base64 import b64encode
from collections.abc import Mapping, Sequence
from html import escape
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

_CSS = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem;
       color: #222; background: #fff; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: 1rem 0; }
th, td { padding: .3rem .8rem; border-bottom: 1px solid #ddd; text-align: right; }
th:first-child { text-align: left; }
figure { margin: 2rem 0; } img { max-width: 100%; } figcaption { color: #666; }
"""


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
        table.add_row(readable(name), *(_number(row.get(m.name)) for m in columns), gain)
    table.add_section()
    for name, row in (published or {}).items():
        table.add_row(name, *(_number(row.get(m.name)) for m in columns), _NOTHING)
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


def report_html(
    title: str, metrics: Metrics, figures: Mapping[str, bytes], notes: Sequence[str] | str = (),
    labels: Mapping[str, str] | None = None,
) -> str:  # fmt: skip
    """One self-contained page: notes, a table of every metric, the figures inline.

    Args:
        title: the heading.
        metrics: numbers by row, then by column: those of ``METRICS`` in its order, then others.
        figures: PNG files by caption.
        notes: paragraphs, plain text; all text is escaped.
        labels: of columns that are called more than their name.
    """
    paragraphs = [notes] if isinstance(notes, str) else notes
    body = [
        f"<h1>{escape(title)}</h1>",
        *(f"<p>{escape(note)}</p>" for note in paragraphs),
        _html_table(metrics, labels or {}) if metrics else "",
        *(_html_figure(caption, png) for caption, png in figures.items()),
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f"<title>{escape(title)}</title>\n<style>{_CSS}</style>\n</head>\n<body>\n"
        + "\n".join(part for part in body if part)
        + "\n</body>\n</html>\n"
    )


def _html_table(metrics: Metrics, labels: Mapping[str, str]) -> str:
    names = dict.fromkeys(name for row in metrics.values() for name in row)
    notes = {metric.name: metric.description for metric in METRICS if metric.name in names}
    columns = {**notes, **names}
    head = "".join(
        f'<th scope="col" title="{escape(notes.get(name, ""))}">'
        f"{escape(labels.get(name, readable(name)))}</th>"
        for name in columns
    )
    lines = [
        f'<tr><th scope="row">{escape(readable(name))}</th>'
        + "".join(f"<td>{_number(row.get(column))}</td>" for column in columns)
        + "</tr>"
        for name, row in metrics.items()
    ]
    return f"<table>\n<tr><th></th>{head}</tr>\n" + "\n".join(lines) + "\n</table>"


def _html_figure(caption: str, png: bytes) -> str:
    text = escape(readable(caption))
    source = f"data:image/png;base64,{b64encode(png).decode('ascii')}"
    return f'<figure><img alt="{text}" src="{source}"><figcaption>{text}</figcaption></figure>'


def _gain(metric: Metric, value: float | None, start: float | None) -> Text:
    """The signed difference, green where it is better; a dash where either side is unknown."""
    if value is None or start is None or not (_known(value) and _known(start)):
        return Text(_NOTHING)
    gain = value - start
    better = gain if metric.higher_is_better else -gain
    return Text(f"{gain:+.3f}", style="green" if better > 0 else "red" if better < 0 else "")


def _number(value: float | None) -> str:
    if value is None or not _known(value):
        return _NOTHING
    return str(value) if isinstance(value, int) else f"{value:.3f}"


def _known(value: float | None) -> bool:
    return value is not None and not math.isnan(value)
