"""What all figures share: colours that colour-blind readers can tell apart, and legends."""

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

NETWORK_COLOURS = {
    "teacher_a": "#0077bb",
    "teacher_b": "#ee7733",
    "student": "#cc3377",
    "supervised": "#555555",
    "mean": "#009988",
    "corrected": "#228833",
    "rejected": "#cc3311",
}
"""One colour a network or kind of pseudo-label, the same in every figure."""

SPARE_COLOURS = ("#332288", "#88ccee", "#44aa99", "#999933", "#aa4499", "#882255", "#117733")
"""For names without a colour of their own, in order."""


def colour_of(name: str, others: Sequence[str] = ()) -> str:
    """The colour of a network, or a spare one by the name's place among the others."""
    if name in NETWORK_COLOURS:
        return NETWORK_COLOURS[name]
    spare = [other for other in others if other not in NETWORK_COLOURS]
    return SPARE_COLOURS[spare.index(name) % len(SPARE_COLOURS) if name in spare else 0]


def readable(name: str) -> str:
    """A name for people: ``teacher_a`` becomes ``teacher a``."""
    return name.replace("_", " ")


def legend_below(figure: Figure, handles: Sequence[Any], columns: int = 4) -> None:
    """One legend for the whole figure, under it; never over a picture."""
    figure.legend(
        handles=list(handles),
        loc="outside lower center",
        ncols=min(columns, len(handles)),
        frameon=False,
    )
