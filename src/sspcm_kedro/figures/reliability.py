"""Do probabilities of pseudo-labels and of predictions say which ones are right?"""

from collections.abc import Mapping
from typing import Any

from matplotlib.collections import PathCollection
from matplotlib.figure import Figure

from sspcm_kedro.figures.style import NETWORK_COLORS, legend_below

_WHOSE = {
    "held_out": ("pseudo-labels, held-out labeled people", "o", NETWORK_COLORS["baseline"]),
    "unlabeled": ("pseudo-labels, unlabeled people", "s", NETWORK_COLORS["corrected"]),
    "validation": ("shipped network, validation people", "D", NETWORK_COLORS["student"]),
}


def reliability_diagram(measured: Mapping[str, Mapping[str, Any]], pck_unit: str) -> Figure:
    """The share of right keypoints by probability, and the median error by probability.

    Args:
        measured: for pseudo-labels of ``held_out`` and ``unlabeled`` people, and for the shipped
            network on ``validation`` people, where they are measured: what
            ``calibration.reliability`` gives, and ``tolerance``, in PCK units.
        pck_unit: what errors are measured by.

    Source: Niculescu-Mizil and Caruana, ICML 2005 (reliability diagrams).
    """
    figure = Figure(figsize=(9.5, 4.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot([0, 1], [0, 1], color="#999999", linewidth=1, linestyle=":", label="as said")
    tolerances = sorted({own["tolerance"] for own in measured.values()})
    for key, (name, marker, color) in _WHOSE.items():
        if key not in measured:
            continue
        own = measured[key]
        told = f"{name}: {own['labels']:,} keypoints, Brier score {own['brier']:.3f}"
        if len(tolerances) > 1:
            told += f", right within {own['tolerance']:g}"
        bins = own["bins"]
        sizes = [20 + 280 * row["labels"] / own["labels"] for row in bins]
        said = [row["probability"] for row in bins]
        for axes, column in ((left, "right"), (right, "error")):
            values = [row[column] for row in bins]
            axes.plot(said, values, color=color, linewidth=1.2)
            axes.scatter(said, values, sizes, color=color, marker=marker, alpha=0.75,
                         label=told if axes is left else None)  # fmt: skip
    for tolerance in tolerances:
        right.axhline(tolerance, color="#999999", linewidth=1, linestyle=":")
        right.annotate("right below", (1, tolerance), (0, 3), textcoords="offset points",
                       ha="right", fontsize=8, color="#666666")  # fmt: skip
    within = f"within {tolerances[0]:g} {pck_unit}" if len(tolerances) == 1 else "see below"
    left.set_ylabel(f"share right ({within})")
    right.set_ylabel(f"median error ({pck_unit})")
    left.set_ylim(-0.03, 1.03)
    right.set_ylim(0, max(right.get_ylim()[1], 1.1 * tolerances[-1]))  # room for what is written
    for axes in (left, right):
        axes.set_xlim(-0.03, 1.03)
        axes.set_xlabel("probability (area: number of keypoints)")
        axes.grid(alpha=0.25)
    legend_below(figure, left.get_legend_handles_labels()[0], columns=1)
    for handle in figure.legends[0].legend_handles:
        if isinstance(handle, PathCollection):
            handle.set_sizes([40])
    return figure
