"""What all figures share: colors that color-blind readers can tell apart, and legends."""

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

NETWORK_COLORS = {
    "teacher_a": "#0077bb",
    "teacher_b": "#ee7733",
    "student": "#cc3377",
    "baseline": "#555555",
    "mean": "#009988",
    "corrected": "#228833",
    "kept_corrected": "#228833",
    "rejected": "#cc3311",
}
"""One color a network or kind of pseudo-label, the same in every figure."""

SPARE_COLORS = ("#332288", "#88ccee", "#44aa99", "#999933", "#aa4499", "#882255", "#117733")
"""For names without a color of their own, in order."""


def color_of(name: str, others: Sequence[str] = ()) -> str:
    """The color of a network, or a spare one by the name's place among the others."""
    if name in NETWORK_COLORS:
        return NETWORK_COLORS[name]
    spare = [other for other in others if other not in NETWORK_COLORS]
    return SPARE_COLORS[spare.index(name) % len(SPARE_COLORS) if name in spare else 0]


def readable(name: str) -> str:
    """A name for people: ``teacher_a`` becomes ``teacher a``."""
    return name.replace("_", " ")


def legend_below(figure: Figure, handles: Sequence[Any], columns: int = 4) -> None:
    """One legend for the whole figure, under it; never over an image."""
    place, columns = "outside lower center", min(columns, len(handles))
    figure.legend(handles=list(handles), loc=place, ncols=columns, frameon=False)
