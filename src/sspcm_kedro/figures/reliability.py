"""Do probabilities of pseudo-labels say which ones are right?"""

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from sspcm_kedro.figures.style import NETWORK_COLORS, legend_below

_WHOSE = {
    "held_out": ("held-out labeled people", "o", NETWORK_COLORS["baseline"]),
    "unlabeled": ("unlabeled people", "s", NETWORK_COLORS["corrected"]),
}


def reliability_diagram(measured: Mapping[str, Any], pck_unit: str) -> Figure:
    """The share of right labels by probability, and the median error by probability.

    Args:
        measured: ``tolerance``, in PCK units; and for ``held_out`` and ``unlabeled`` people, where
            they are measured, what ``calibration.reliability`` gives.
        pck_unit: what errors are measured by.

    Source: Niculescu-Mizil and Caruana, ICML 2005 (reliability diagrams).
    """
    figure = Figure(figsize=(9.5, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot([0, 1], [0, 1], color="#999999", linewidth=1, linestyle=":", label="as said")
    for key, (name, marker, color) in _WHOSE.items():
        if key not in measured:
            continue
        own = measured[key]
        bins = own["bins"]
        sizes = [20 + 280 * row["labels"] / own["labels"] for row in bins]
        said = [row["probability"] for row in bins]
        for axes, column in ((left, "right"), (right, "error")):
            values = [row[column] for row in bins]
            axes.plot(said, values, color=color, linewidth=1.2)
            axes.scatter(said, values, sizes, color=color, marker=marker, alpha=0.75,
                         label=f"{name}: {own['labels']:,} labels, Brier score {own['brier']:.3f}"
                         if axes is left else None)  # fmt: skip
    tolerance = measured["tolerance"]
    right.axhline(tolerance, color="#999999", linewidth=1, linestyle=":")
    right.annotate("right below", (1, tolerance), (0, 3), textcoords="offset points",
                   ha="right", fontsize=8, color="#666666")  # fmt: skip
    left.set_ylabel(f"share right (within {tolerance:g} {pck_unit})")
    right.set_ylabel(f"median error ({pck_unit})")
    left.set_ylim(-0.03, 1.03)
    right.set_ylim(bottom=0)
    for axes in (left, right):
        axes.set_xlim(-0.03, 1.03)
        axes.set_xlabel("probability of a label (area: number of labels)")
        axes.grid(alpha=0.25)
    legend_below(figure, left.get_legend_handles_labels()[0], columns=3)
    return figure
