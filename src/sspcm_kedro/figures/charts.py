"""Charts of training and evaluation, as matplotlib figures that no global state knows of.

Every function is pure: numbers in, a ``Figure`` out. The images of people are in ``sheets``.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sspcm_kedro.engine.evaluate import HEADLINES
from sspcm_kedro.figures.style import SPARE_COLORS, color_of, legend_below, readable

_LINE_STYLES = ("-", "--", ":", "-.")
_QUALITIES = ("teacher_a", "teacher_b", "mean", "corrected", "kept_corrected", "rejected")
_PARTS = {"kept_corrected": "corrected, kept", "rejected": "corrected, not kept"}
_PART_LINES = {"kept_corrected": ":", "rejected": "--"}
_FEW_POINTS = 40
_MANY_STAGES = 8


def learning_curves(histories: Mapping[str, pd.DataFrame], pck_unit: str | None = None) -> Figure:
    """Headline metrics, losses and pseudo-label statistics over training, a panel each.

    Args:
        histories: a frame per trained thing, in drawing order; the first is drawn solid, the
            next dashed. Columns: ``step`` (continuous), ``stage``, ``<network>/<metric>`` of each
            of ``HEADLINES``, ``loss/<name>``, ``kept`` (share) and ``inconsistency``; any of
            them may be missing, or nan on some rows. Panels without numbers are left out.
        pck_unit: what PCK measures by, to be named beside it.

    Raises:
        ValueError: if no history has anything to draw.
    """
    panels = [
        (draw, names)
        for draw, names in (
            *((_draw_scores, _columns(histories, suffix=f"/{name}")) for name in HEADLINES),
            (_draw_losses, _columns(histories, prefix="loss/")),
            (_draw_trust, [c for c in ("kept", "inconsistency") if _columns(histories, c, c)]),
        )
        if names
    ]
    if not panels:
        raise ValueError(
            f"learning curves need a score, loss, kept or inconsistency column with numbers, got "
            f"{ {name: list(frame.columns) for name, frame in histories.items()} }; "
            "pass the histories that training saved"
        )
    figure = Figure(figsize=(10, 1.0 + 2.6 * len(panels)), layout="constrained")
    axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for ax, (draw, names) in zip(axes, panels, strict=True):
        draw(ax, histories, names)
        if ax.get_ylabel() == "validation PCK":
            ax.set_ylabel(f"validation {_pck(pck_unit)}")
        ax.grid(alpha=0.25)
        _draw_stages(ax, histories, with_labels=ax is axes[0])
    axes[-1].set_xlabel("step")
    return figure


def _columns(
    histories: Mapping[str, pd.DataFrame], prefix: str = "", suffix: str = ""
) -> list[str]:
    """Columns of that prefix and suffix that hold a number in some history, in first-seen order."""
    return list(dict.fromkeys(
        column
        for frame in histories.values()
        for column in frame.columns[frame.notna().any()]
        if column.startswith(prefix) and column.endswith(suffix)
    ))  # fmt: skip


def _draw_series(
    ax: Axes,
    histories: Mapping[str, pd.DataFrame],
    column: str,
    label: str,
    alone: Collection[str] = (),
    **look: Any,
) -> None:
    """One column of every history that has it; rows without a number are skipped, not gaps. It has
    the name of histories that stand ``alone``, behind which its label would say nothing."""
    for (name, frame), line_style in zip(
        histories.items(), _LINE_STYLES * len(histories), strict=False
    ):
        rows = frame.dropna(subset=[column]) if column in frame else frame[:0]
        if rows.empty:
            continue
        ax.plot(
            rows["step"], rows[column], linestyle=line_style, markersize=3, linewidth=1.5,
            marker="o" if len(rows) <= _FEW_POINTS else "",
            label=label if len(histories) < 2 else name if name in alone else f"{name}: {label}",
            **look,
        )  # fmt: skip


def _draw_scores(ax: Axes, histories: Mapping[str, pd.DataFrame], columns: list[str]) -> None:
    networks = [column.rsplit("/", 1)[0] for column in columns]
    alone = {n for n, frame in histories.items() if len(frame.columns.intersection(columns)) < 2}
    for network, column in zip(networks, columns, strict=True):
        _draw_series(
            ax, histories, column, readable(network), alone, color=color_of(network, networks)
        )
    ax.set_ylabel(f"validation {columns[0].rsplit('/', 1)[1]}")
    _legend_beside(ax)


def _draw_losses(ax: Axes, histories: Mapping[str, pd.DataFrame], columns: list[str]) -> None:
    ax.set_yscale("log", nonpositive="mask")
    for index, column in enumerate(columns):
        label = readable(column.removeprefix("loss/"))
        _draw_series(ax, histories, column, label, color=SPARE_COLORS[index % len(SPARE_COLORS)])
    ax.set_ylabel("loss")
    _legend_beside(ax)


def _draw_trust(ax: Axes, histories: Mapping[str, pd.DataFrame], columns: list[str]) -> None:
    """The share of keypoints kept on the left axis, the mean inconsistency on the right one."""
    handles = []
    for column, label, color in (
        ("kept", "share of keypoints kept", "#228833"),
        ("inconsistency", "mean inconsistency", "#aa3377"),
    ):
        if column not in columns:
            continue
        side = ax if not handles else ax.twinx()
        _draw_series(side, histories, column, readable(column), color=color)
        side.set_ylabel(label, color=color)
        if column == "kept":
            side.set_ylim(-0.03, 1.03)
        handles.extend(side.get_lines())
    _legend_beside(ax, handles, offset=1.08)


def _draw_stages(ax: Axes, histories: Mapping[str, pd.DataFrame], *, with_labels: bool) -> None:
    """A thin line where a stage begins, and its name above the top panel.

    A history of one stage has no boundary; it is named by its lines already.
    """
    for frame in histories.values():
        stages = list(frame["stage"]) if "stage" in frame else []
        begins = [i for i, stage in enumerate(stages) if i == 0 or stage != stages[i - 1]]
        rotation = 45 if len(begins) > _MANY_STAGES else 0
        for row in begins if len(begins) > 1 else ():
            step, stage = frame["step"].iloc[row], stages[row]
            ax.axvline(step, color="#888888", linewidth=0.7, zorder=0, gid="stage")
            if with_labels:
                ax.text(
                    step, 1.02, f"{'' if rotation else ' '}{readable(str(stage))}",
                    transform=ax.get_xaxis_transform(), rotation=rotation,
                    fontsize=8, color="#555555", ha="left", va="bottom",
                )  # fmt: skip


def _legend_beside(ax: Axes, handles: Sequence[Any] | None = None, offset: float = 1.01) -> None:
    handles = list(handles) if handles is not None else ax.get_lines()
    place = (offset, 1.0)
    ax.legend(handles=handles, loc="upper left", bbox_to_anchor=place, fontsize=8, frameon=False)


def _pck(unit: str | None) -> str:
    """PCK with what it measures by: PCK (torso)."""
    return f"PCK ({unit})" if unit else "PCK"


def per_keypoint_bars(
    per_keypoint: Mapping[str, np.ndarray], names: Sequence[str], pck_unit: str | None = None
) -> Figure:
    """The PCK (0 to 1) of every keypoint, a bar a network; no bar where a keypoint was never
    evaluated.

    Args:
        per_keypoint: (k) scores by network.
        names: the k keypoints.
        pck_unit: what PCK measures by, to be named beside it.

    Raises:
        ValueError: if there is no network, or one has not k scores.
    """
    lengths = {name: len(values) for name, values in per_keypoint.items()}
    if set(lengths.values()) != {len(names)}:
        raise ValueError(
            f"every network needs {len(names)} keypoint scores, got {lengths}; "
            "pass scores and names of one skeleton"
        )
    figure = Figure(figsize=(max(8.0, 0.75 * len(names)), 4.2), layout="constrained")
    ax = figure.subplots()
    places, width = np.arange(len(names)), 0.8 / len(per_keypoint)
    for index, (name, values) in enumerate(per_keypoint.items()):
        x = places + (index - (len(per_keypoint) - 1) / 2) * width
        color = color_of(name, list(per_keypoint))
        ax.bar(x, np.asarray(values, np.float64), width, color=color, label=readable(name))
    ax.set_xticks(places, [readable(name) for name in names], rotation=40, ha="right")
    ax.set_xlim(-0.6, len(names) - 0.4)
    ax.set_ylim(0, 1)
    ax.set_ylabel(_pck(pck_unit))
    return _legend_and_grid(figure, ax)


def pseudo_label_quality(
    rounds: Sequence[Mapping[str, Any]], pck_unit: str | None = None
) -> Figure:
    """How right the pseudo-labels were in each round, and what share of keypoints was kept.

    Args:
        rounds: one record a round: accuracy (PCK, 0 to 1) under ``teacher_a``, ``teacher_b``,
            ``mean``, ``corrected``, and of the corrected labels ``kept_corrected`` and
            ``rejected``; the share under ``kept``; its number or name under ``round`` (default:
            1, 2, ...). Missing is nan.
        pck_unit: what PCK measures by, to be named beside it.

    Raises:
        ValueError: if there is no round.
    """
    if not rounds:
        raise ValueError("pseudo-label quality needs at least one round, got none")
    figure = Figure(figsize=(max(7.0, 0.7 * len(rounds) + 3), 4.4), layout="constrained")
    ax, places = figure.subplots(), np.arange(len(rounds))
    for quality in _QUALITIES:
        values = np.array([row.get(quality, np.nan) for row in rounds], dtype=np.float64)
        if np.isfinite(values).any():
            ax.plot(
                places, values, marker="o", color=color_of(quality),
                label=_PARTS.get(quality, readable(quality)),
                linestyle=_PART_LINES.get(quality, "-"),
            )  # fmt: skip
    kept = np.array([row.get("kept", np.nan) for row in rounds], dtype=np.float64)
    ax.bar(places, kept, 0.5, color="#dddddd", zorder=0, label="share of keypoints kept")
    ax.set_xticks(places, [str(row.get("round", i + 1)) for i, row in enumerate(rounds)])
    ax.set_xlim(-0.6, len(rounds) - 0.4)
    ax.set_ylim(0, 1.03)
    ax.set_xlabel("round")
    ax.set_ylabel(f"{_pck(pck_unit)} of the pseudo-labels, share kept")
    return _legend_and_grid(figure, ax, columns=3)


def _legend_and_grid(figure: Figure, ax: Axes, columns: int = 4) -> Figure:
    ax.grid(axis="y", alpha=0.25)
    legend_below(figure, ax.get_legend_handles_labels()[0], columns)
    return figure
