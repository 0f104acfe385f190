"""Images of people with skeletons on them, as tiles in a matplotlib figure.

n people, k keypoints; crops are (n, 3, H, W) uint8 RGB; points are (x, y) in pixels of the crop, a
pixel's index being its center, y pointing down. Crops of another kind, and points of another number
of people, are a ``ValueError`` in every sheet.
"""

from collections.abc import Mapping, Sequence

import matplotlib.patheffects as effects
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sspcm_kedro.figures.style import NETWORK_COLORS, legend_below, readable

Pairs = Sequence[tuple[int, int]]

LEFT_COLOR, RIGHT_COLOR, MIDDLE_COLOR = "#ff7f0e", "#2f9bff", "#f0f0f0"
TRUTH_COLOR, KEPT_COLOR, REJECTED_COLOR = "#ffffff", "#33dd55", "#ff3355"

_TILE_WIDTH, _TILES_ACROSS = 2.1, 6


def pseudo_label_sheet(
    crops: np.ndarray,
    teacher_a: np.ndarray,
    teacher_b: np.ndarray | None,
    corrected: np.ndarray,
    kept: np.ndarray,
    truth: np.ndarray | None,
    truth_visibility: np.ndarray | None,
    limbs: Pairs,
) -> Figure:
    """Each person twice: what the networks predicted, and the corrected pseudo-label.

    On the right tile kept keypoints are filled dots and rejected ones hollow crosses, limbs that
    end in one being thin; the truth, where known, is a thin white skeleton on both.

    Args:
        crops: (n, 3, H, W) uint8.
        teacher_a: (n, k, 2) crop pixels.
        teacher_b: (n, k, 2) crop pixels; ``None`` where one network labels.
        corrected: (n, k, 2) crop pixels.
        kept: (n, k) bool, the keypoints that are trusted.
        truth: (n, k, 2) crop pixels, or ``None``.
        truth_visibility: (n, k), above 0 where labeled; ``None`` where there is no truth.
        limbs: keypoint pairs to connect.
    """
    networks = {"teacher_a": teacher_a} | ({} if teacher_b is None else {"teacher_b": teacher_b})
    _check(crops, {**networks, "corrected": corrected})
    figure, tiles = _grid(crops, 2)
    for person, (before, after) in enumerate(tiles):
        for ax, title in ((before, "before"), (after, "after")):
            _show(ax, crops[person], f"{person + 1} {title}")
            if truth is not None and truth_visibility is not None:
                labeled = truth_visibility[person] > 0
                _draw_limbs(ax, truth[person], limbs, TRUTH_COLOR, labeled, width=1.0)
        for name, points in networks.items():
            _draw_limbs(before, points[person], limbs, NETWORK_COLORS[name])
            _draw_keypoints(before, points[person], NETWORK_COLORS[name])
        _draw_kept(after, corrected[person], limbs, np.asarray(kept[person], dtype=bool))
    key = [
        *(_key(readable(name) if teacher_b is not None else "network", NETWORK_COLORS[name],
               marker="o") for name in networks),
        *_kept_keys("corrected, "),
    ]  # fmt: skip
    truth_key = [_key("truth", TRUTH_COLOR)] if truth is not None else []
    legend_below(figure, [*key, *truth_key], columns=5)
    return figure


def occlusion_sheet(
    before: np.ndarray, after: np.ndarray, keypoints: np.ndarray, limbs: Pairs
) -> Figure:
    """Each person before and after occlusion, the pseudo-keypoints it aimed at on the latter.

    Args:
        before: (n, 3, H, W) uint8.
        after: (n, 3, H, W) uint8, in the frame of ``before``.
        keypoints: (n, k, 2) crop pixels.
        limbs: keypoint pairs to connect.
    """
    _check(before, {"keypoints": keypoints})
    _check(after, {"keypoints": keypoints})
    figure, tiles = _grid(before, 2)
    color = NETWORK_COLORS["teacher_b"]
    for person, (left, right) in enumerate(tiles):
        _show(left, before[person], f"{person + 1} before")
        _show(right, after[person], f"{person + 1} after")
        _draw_limbs(right, keypoints[person], limbs, color, width=1.0)
        _draw_keypoints(right, keypoints[person], color)
    legend_below(figure, [_key("pseudo-keypoints", color, marker="o")])
    return figure


def prediction_sheet(
    crops: np.ndarray,
    predictions: Mapping[str, np.ndarray],
    truth: np.ndarray,
    visibility: np.ndarray,
    limbs: Pairs,
    errors: Mapping[str, np.ndarray],
    *,
    flip_pairs: Pairs,
) -> Figure:
    """Each person with the truth and with every network's prediction, left and right told apart.

    Args:
        crops: (n, 3, H, W) uint8.
        predictions: (n, k, 2) crop pixels by network.
        truth: (n, k, 2) crop pixels.
        visibility: (n, k), above 0 where the truth is labeled.
        limbs: keypoint pairs to connect.
        errors: (n) mean error of each person in image pixels, to print at the tile, by network.
        flip_pairs: index pairs (left, right) of the k keypoints, which choose the colors.
    """
    drawn = {"truth": truth, **predictions}
    _check(crops, drawn)
    figure, tiles = _grid(crops, len(drawn))
    k = truth.shape[1]
    colors, everything = _side_colors(k, flip_pairs), np.ones(k, dtype=bool)
    for person, row in enumerate(tiles):
        for ax, (name, points) in zip(row, drawn.items(), strict=True):
            note = f" ({float(errors[name][person]):.3g} px)" if name in errors else ""
            _show(ax, crops[person], f"{person + 1} {readable(name)}{note}")
            shown = visibility[person] > 0 if name == "truth" else everything
            _draw_limbs(ax, points[person], limbs, colors, shown)
            _draw_keypoints(ax, points[person][shown], colors[shown])
    legend_below(figure, _side_keys())
    return figure


def overlay_sheet(
    crops: np.ndarray,
    points: np.ndarray,
    limbs: Pairs,
    titles: Sequence[str],
    *,
    flip_pairs: Pairs,
    kept: np.ndarray | None = None,
) -> Figure:
    """Each person once with a skeleton: left and right told apart, or kept keypoints from others.

    Args:
        crops: (n, 3, H, W) uint8.
        points: (n, k, 2) crop pixels.
        limbs: keypoint pairs to connect.
        titles: n lines, one over each person.
        flip_pairs: index pairs (left, right) of the k keypoints, which choose the colors.
        kept: (n, k) bool, colors by it instead; rejected keypoints are hollow crosses.
    """
    _check(crops, {"points": points})
    figure, tiles = _grid(crops, 1)
    sides = _side_colors(points.shape[1], flip_pairs)
    for person, (ax,) in enumerate(tiles):
        _show(ax, crops[person], titles[person])
        if kept is None:
            _draw_limbs(ax, points[person], limbs, sides)
            _draw_keypoints(ax, points[person], sides)
        else:
            _draw_kept(ax, points[person], limbs, np.asarray(kept[person], dtype=bool))
    legend_below(figure, _side_keys() if kept is None else _kept_keys())
    return figure


def _draw_kept(ax: Axes, points: np.ndarray, limbs: Pairs, kept: np.ndarray) -> None:
    """Kept keypoints as dots; rejected ones as crosses, limbs that end in one being thin."""
    doubtful = [(a, b) for a, b in limbs if not (kept[a] and kept[b])]
    _draw_limbs(ax, points, doubtful, REJECTED_COLOR, width=0.7)
    _draw_limbs(ax, points, limbs, KEPT_COLOR, kept)
    _draw_keypoints(ax, points[kept], KEPT_COLOR)
    ax.scatter(*points[~kept].T, s=45, marker="X", facecolors="none", edgecolors=REJECTED_COLOR,
               linewidths=1.3, zorder=4)  # fmt: skip


def _side_colors(k: int, flip_pairs: Pairs) -> np.ndarray:
    """The color (k) of each keypoint by its place in a pair; the middle's for those in none."""
    colors = np.full(k, MIDDLE_COLOR, dtype=object)
    for left, right in flip_pairs:
        colors[left], colors[right] = LEFT_COLOR, RIGHT_COLOR
    return colors


def _grid(crops: np.ndarray, tiles: int) -> tuple[Figure, list[Sequence[Axes]]]:
    """A figure and, for each person, its tiles side by side; several people a row if they fit."""
    n, _, height, width = crops.shape
    across = min(n, max(1, _TILES_ACROSS // tiles))
    down = -(-n // across)
    tall = _TILE_WIDTH * height / width + 0.28
    figure = Figure(figsize=(_TILE_WIDTH * tiles * across, tall * down + 0.5), layout="compressed")
    axes: list[Axes] = figure.subplots(down, across * tiles, squeeze=False).ravel().tolist()
    for unused in axes[n * tiles :]:
        figure.delaxes(unused)
    return figure, [axes[person * tiles : (person + 1) * tiles] for person in range(n)]


def _show(ax: Axes, crop: np.ndarray, title: str) -> None:
    """The crop, every pixel a sharp square: crops are small and blur would hide their truth."""
    _, height, width = crop.shape
    ax.imshow(np.asarray(crop).transpose(1, 2, 0), interpolation="nearest")
    ax.set_autoscale_on(False)  # a point outside the crop must not shrink the image
    ax.set_xlim(-0.5, width - 0.5)
    ax.set_ylim(height - 0.5, -0.5)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.set_title(title, fontsize=9, pad=3)


def _draw_limbs(
    ax: Axes, points: np.ndarray, limbs: Pairs, color: str | np.ndarray,
    shown: np.ndarray | None = None, width: float = 2.0,
) -> None:  # fmt: skip
    """Lines between the shown keypoints; with a color each (k), a limb of two sides is neutral."""
    drawn = [(a, b) for a, b in limbs if shown is None or (shown[a] and shown[b])]
    colors = [color if isinstance(color, str) else _limb_color(color, a, b) for a, b in drawn]
    segments = [np.asarray(points)[[a, b]] for a, b in drawn]
    lines = LineCollection(segments, colors=colors, linewidths=width, capstyle="round")
    lines.set_path_effects([effects.withStroke(linewidth=width + 1.2, foreground="black")])
    ax.add_collection(lines)


def _limb_color(colors: np.ndarray, first: int, second: int) -> str:
    """The side of a limb: that of its sided end, or the middle's where it joins two sides."""
    sides = {colors[first], colors[second]} - {MIDDLE_COLOR}
    return sides.pop() if len(sides) == 1 else MIDDLE_COLOR


def _draw_keypoints(ax: Axes, points: np.ndarray, color: str | np.ndarray) -> None:
    colors = color if isinstance(color, str) else list(color)
    ax.scatter(*np.asarray(points).T, s=22, c=colors, edgecolors="black", linewidths=0.7, zorder=3)


def _key(label: str, color: str, marker: str = "", *, hollow: bool = False) -> Line2D:
    """A legend entry; the black rim keeps white ones visible on white paper."""
    key = Line2D(
        [], [], color=color, marker=marker, label=label, linestyle="" if hollow else "-",
        linewidth=2.0, markersize=7, markerfacecolor="none" if hollow else color,
        markeredgecolor=color if hollow else "black",
    )  # fmt: skip
    if not hollow:
        key.set_path_effects([effects.withStroke(linewidth=3.2, foreground="black")])
    return key


def _side_keys() -> list[Line2D]:
    sides = {"left": LEFT_COLOR, "right": RIGHT_COLOR, "middle": MIDDLE_COLOR}
    return [_key(side, color, marker="o") for side, color in sides.items()]


def _kept_keys(prefix: str = "") -> list[Line2D]:
    return [
        _key(f"{prefix}kept", KEPT_COLOR, marker="o"),
        _key(f"{prefix}rejected", REJECTED_COLOR, marker="X", hollow=True),
    ]


def _check(crops: np.ndarray, points: Mapping[str, np.ndarray]) -> None:
    kind = str(crops.dtype).split(".")[-1]  # a tensor says torch.uint8
    if [crops.ndim, *crops.shape[1:2], kind] != [4, 3, "uint8"] or not len(crops):
        raise ValueError(
            f"crops must be (n, 3, height, width) uint8 of at least one person, got "
            f"{tuple(crops.shape)} {kind}; scale to 0..255 and put the channels first"
        )
    for name, values in points.items():
        if tuple(values.shape) != (len(crops), *values.shape[1:2], 2):
            raise ValueError(
                f"{name} must be ({len(crops)}, k, 2), one person a crop, "
                f"got {tuple(values.shape)}; pass the points of these crops"
            )
