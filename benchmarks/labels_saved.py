"""How many labels the unlabeled images are worth: numbers, a sentence, a table and a figure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import mean
from textwrap import fill

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, NullLocator

from sspcm_kedro.figures.style import color_of

STUDENT, BASELINE, GAIN = color_of("student"), color_of("baseline"), "#117733"
TITLE_WIDTH = 72
"""Characters of the title that fit beside each other."""

ROOM = 0.7
"""Share of the figure's width up to which a number stands right of its line."""


@dataclass(frozen=True)
class Worth:
    """A number of labels, or a bound where the measured points end.

    Attributes:
        labels: the number.
        beyond: 1: more than that; -1: fewer than that; 0: that many.
    """

    labels: float
    beyond: int = 0

    def __str__(self) -> str:
        return {1: "more than ", -1: "fewer than ", 0: ""}[self.beyond] + f"{round(self.labels):,}"


def labels_worth(labels: Sequence[float], scores: Sequence[float], score: float) -> Worth:
    """The smallest number of labels with which the baseline reaches a score.

    Between measured points its score is taken as linear in log2(labels): each doubling brings
    the same. Beyond them nothing is assumed: the answer is a bound.

    Args:
        labels: numbers of labels that were measured, rising.
        scores: the baseline's with each.
        score: to be reached; higher is better.

    Raises:
        ValueError: the numbers are not rising, or not as many as scores, or there are none.
    """
    if not labels or len(labels) != len(scores):
        raise ValueError(f"needs a score for each number of labels, got {labels} and {scores}")
    if any(a >= b for a, b in pairwise(labels)) or labels[0] <= 0:
        raise ValueError(f"numbers of labels must rise from above 0, got {labels}")
    if score < scores[0]:
        return Worth(labels[0], beyond=-1)
    reached = next((i for i, s in enumerate(scores) if s >= score), None)
    if reached is None:
        return Worth(labels[-1], beyond=1)
    if scores[reached] == score:  # exactly, whatever logarithms round to
        return Worth(labels[reached])
    below = scores[reached - 1]
    share = (score - below) / (scores[reached] - below)
    low, high = math.log2(labels[reached - 1]), math.log2(labels[reached])
    return Worth(2 ** (low + share * (high - low)))


@dataclass(frozen=True)
class Point:
    """What was measured with one number of labels, seed by seed.

    Attributes:
        labels: people whose labels are used; only "all" differs between seeds.
        unlabeled_images: images of the unlabeled people.
        baseline: its scores.
        student: its scores; empty where nobody remains to learn from without labels.
        everyone: whether these are all labels of the source.
    """

    labels: tuple[int, ...]
    unlabeled_images: tuple[int, ...]
    baseline: tuple[float, ...]
    student: tuple[float, ...] = ()
    everyone: bool = False


@dataclass(frozen=True)
class Curve:
    """Scores against numbers of labels.

    Attributes:
        people: what the source is, for people.
        score: the metric's name.
        seeds: in the order of the points' numbers.
        points: by rising number of labels.
        own: the place of the point with the environment's own number of labels.
    """

    people: str
    score: str
    seeds: tuple[int, ...]
    points: tuple[Point, ...]
    own: int

    def worth(self, place: int) -> Worth:
        """What the student of a point is worth: the mean over seeds against the baseline's."""
        labels = [mean(point.labels) for point in self.points]
        baseline = [mean(point.baseline) for point in self.points]
        return labels_worth(labels, baseline, mean(self.points[place].student))

    def worth_of_seed(self, place: int, seed: int) -> Worth:
        """The same of a single seed, by its place among the seeds."""
        labels = [point.labels[seed] for point in self.points]
        baseline = [point.baseline[seed] for point in self.points]
        return labels_worth(labels, baseline, self.points[place].student[seed])


def count_text(values: Sequence[int]) -> str:
    """A number for people: exactly, or about where seeds differ."""
    if len(set(values)) == 1:
        return f"{values[0]:,}"
    return f"about {round(mean(values), -1):,.0f}"


def gain_sentence(curve: Curve) -> str:
    """The gain as labels: "500 labels and 3,000 unlabeled images are worth N labels"."""
    point, worth = curve.points[curve.own], curve.worth(curve.own)
    have = mean(point.labels)
    text = f"{count_text(point.labels)} labels and {count_text(point.unlabeled_images)} unlabeled "
    text += f"images are worth {worth} labels"
    if worth.beyond:
        return text
    more = round(worth.labels) - round(have)
    if more < 0:
        return f"{text}, {-more:,} fewer than there are"
    return text if more else f"{text}: nothing is gained"


def markdown(curve: Curve) -> str:
    """The table of all points, and the gain below it."""
    seeds = ", ".join(map(str, curve.seeds))
    lines = [
        f"| labels | unlabeled images | baseline, {curve.score} | student, {curve.score} | gain "
        f"| the student is worth | seeds {seeds} |",
        "|---|---|---|---|---|---|---|",
    ]
    for place, point in enumerate(curve.points):
        cells = [_labels_text(point), "", _spread(point.baseline), "", "", "", ""]
        if point.student:
            gain = mean(point.student) - mean(point.baseline)
            cells[1] = count_text(point.unlabeled_images)
            cells[3:] = _spread(point.student), f"{gain:+.3f}", f"{curve.worth(place)} labels", \
                _each_seed(curve, place)  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", f"{gain_sentence(curve)}.", ""])


def _each_seed(curve: Curve, place: int) -> str:
    """What the student of a point is worth with each seed, of which the mean is made."""
    return "; ".join(str(curve.worth_of_seed(place, seed)) for seed in range(len(curve.seeds)))


def _labels_text(point: Point) -> str:
    return f"all ({count_text(point.labels)})" if point.everyone else count_text(point.labels)


def _spread(values: Sequence[float]) -> str:
    """Mean, smallest and largest."""
    if len(values) == 1:
        return f"{values[0]:.3f}"
    return f"{mean(values):.3f} ({min(values):.3f} to {max(values):.3f})"


def label_figure(curve: Curve) -> Figure:
    """Both lines over the number of labels, and an arrow as long as the gain; for 900 pixels."""
    figure = Figure(figsize=(9, 5.2), layout="constrained")
    ax = figure.subplots()
    labels = [mean(point.labels) for point in curve.points]
    _draw_line(ax, labels, [p.baseline for p in curve.points], "baseline: the labels alone",
               BASELINE)  # fmt: skip
    both = [(n, p.student) for n, p in zip(labels, curve.points, strict=True) if p.student]
    _draw_line(ax, [n for n, _ in both], [scores for _, scores in both],
               "student: the labels and the unlabeled images", STUDENT)  # fmt: skip
    _draw_axes(ax, curve, labels)
    _draw_gain(ax, curve)
    title = fill(gain_sentence(curve), TITLE_WIDTH)
    figure.suptitle(title, x=0.01, ha="left", fontsize=14, fontweight="bold")
    each = ", ".join(map(str, curve.seeds))
    spread = f"mean of seeds {each} ({_each_seed(curve, curve.own)} labels); "
    spread += "band: smallest to largest"
    ax.set_title(
        f"{curve.people}, {spread if len(curve.seeds) > 1 else f'seed {each}'}",
        loc="left", fontsize=11, color="#555555",
    )  # fmt: skip
    ax.legend(loc="upper left", frameon=False, fontsize=12)
    return figure


def _draw_line(
    ax: Axes, labels: Sequence[float], scores: Sequence[Sequence[float]], name: str, color: str
) -> None:
    ax.fill_between(
        labels, [min(s) for s in scores], [max(s) for s in scores],
        color=color, alpha=0.15, linewidth=0,
    )  # fmt: skip
    ax.plot(labels, [mean(s) for s in scores], marker="o", markersize=6, linewidth=2.4,
            color=color, label=name)  # fmt: skip


def _draw_axes(ax: Axes, curve: Curve, labels: Sequence[float]) -> None:
    ax.set_xscale("log", base=2)
    names = [
        f"\nall: {count_text(p.labels)}" if p.everyone else count_text(p.labels)
        for p in curve.points
    ]
    ax.set_xticks(labels, names)
    if curve.points[-1].everyone:
        ax.get_xticklabels()[-1].set_horizontalalignment("right")
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xlim(labels[0] / 1.15, labels[-1] * 1.15)
    scores = [s for p in curve.points for s in (*p.baseline, *p.student)]
    span = max(scores) - min(scores) or 0.1
    ax.set_ylim(min(scores) - 0.16 * span, max(scores) + 0.28 * span)  # the legend, the numbers
    ax.set_xlabel("labeled people", fontsize=12)
    ax.set_ylabel(f"{curve.score} on the validation people", fontsize=12)
    ax.tick_params(labelsize=12)
    ax.grid(alpha=0.25)
    ax.spines[["top", "right"]].set_visible(False)


def _draw_gain(ax: Axes, curve: Curve) -> None:
    """From the student to the baseline of the same score, and down to both numbers of labels."""
    worth, point = curve.worth(curve.own), curve.points[curve.own]
    have, score, bottom = mean(point.labels), mean(point.student), ax.get_ylim()[0]
    arrow = {"arrowstyle": "-|>", "color": GAIN, "linewidth": 2.4, "mutation_scale": 20,
             "shrinkA": 4, "shrinkB": 0}  # fmt: skip
    ax.annotate("", (worth.labels, score), (have, score), arrowprops=arrow, zorder=5)
    ends = [(have, f"{count_text(point.labels)} labels"), (worth.labels, f"{worth} labels")]
    (low, _), (high, _) = sorted(ends)
    first, last = map(math.log2, ax.get_xlim())
    late = (math.log2(high) - first) / (last - first) > ROOM
    close = (math.log2(high) - math.log2(low)) / (last - first) < 1 - ROOM
    early = (math.log2(low) - first) / (last - first) < 1 - ROOM and not close
    for number, text in ends if high > low else ends[:1]:
        left = not early if number == low else late  # of its line: the figure's edge may be near
        raised = left and number > low and close  # above the other one
        ax.plot([number, number], [bottom, score], linestyle=":", color=GAIN, linewidth=1.6)
        ax.annotate(
            text, (number, bottom), (-7 if left else 7, 25 if raised else 7),
            ha="right" if left else "left", va="bottom", textcoords="offset points", color=GAIN,
            fontsize=13, fontweight="bold", bbox={"color": "white", "alpha": 0.8, "pad": 1},
        )  # fmt: skip
