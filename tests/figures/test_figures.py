"""What is on the figures and in the terminal: numbers, directions, colors; not taste."""

import io
import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.colors import to_hex
from rich.console import Console

from sspcm_kedro.figures import charts, sheets
from sspcm_kedro.figures.style import NETWORK_COLORS
from sspcm_kedro.pipelines.reporting.page import PublishedConfig
from sspcm_kedro.pipelines.reporting.people import person_errors
from sspcm_kedro.pipelines.reporting.tables import (
    choice_lines,
    comparison_table,
    explain_columns,
)
from sspcm_kedro.pose.skeleton import LSP

HEIGHT, WIDTH = 96, 72
DASH = "\N{EN DASH}"


def history(networks=("teacher_a", "student"), stages=("warmup", "round_1", "round_2"), ap=True):
    """Four rows a stage; scores on every second row only."""
    step = np.arange(4 * len(stages)) * 10
    rng = np.random.default_rng(1)
    scored = np.where(np.arange(len(step)) % 2, 0.5, np.nan)
    columns = {
        "stage": np.repeat(stages, 4),
        "step": step,
        "learning_rate": 1e-3,
        "loss/supervised": 1e-3 * np.exp(-step / 50),
        "loss/consistency": 1e-4 * np.exp(-step / 90),
        "kept": np.linspace(0.4, 0.9, len(step)),
        "inconsistency": np.linspace(3.0, 1.0, len(step)),
    }
    for network in networks:
        columns[f"{network}/PCK"] = scored + rng.uniform(0, 0.4, len(step))
        columns[f"{network}/AP"] = scored if ap else np.nan
    return pd.DataFrame(columns)


@pytest.fixture
def person():
    """Two crops 96 high and 72 wide, and LSP keypoints (2, 14, 2) within them."""
    rng = np.random.default_rng(2)
    crops = rng.integers(0, 255, (2, 3, HEIGHT, WIDTH), dtype=np.uint8)
    return crops, rng.uniform([5, 5], [WIDTH - 5, HEIGHT - 5], (2, 14, 2))


def lines_of(ax):
    return {line.get_label(): line for line in ax.get_lines() if line.get_gid() != "stage"}


def segments_of(ax):
    """Every limb on the tile: its two ends and its color."""
    return [
        (np.asarray(ends), to_hex(lines.get_colors()[i % len(lines.get_colors())]))
        for lines in ax.collections
        if isinstance(lines, LineCollection)
        for i, ends in enumerate(lines.get_segments())
    ]


def dots_of(ax, color=None):
    """The keypoints on the tile, or those of one edge or face color."""
    groups = [dots for dots in ax.collections if isinstance(dots, PathCollection)]
    if color is not None:
        groups = [dots for dots in groups if color in colors_of(dots)]
    return np.concatenate([np.asarray(dots.get_offsets()) for dots in groups])


def colors_of(dots):
    return {to_hex(color) for color in [*dots.get_facecolors(), *dots.get_edgecolors()]}


def drawn(figure):
    """The figure as a file, which finds what only drawing would find."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=40)
    return file.getvalue()


def test_curves_hold_the_numbers_and_the_baseline_shares_the_axes():
    ours, baseline = history(), history(("student",), ("student",))
    figure = charts.learning_curves({"SSPCM": ours, "baseline": baseline.drop(columns="kept")})
    ap, pck, losses, trust, right = figure.axes
    assert [ax.get_ylabel() for ax in (ap, pck)] == ["validation AP", "validation PCK"]
    expected = {"SSPCM: teacher a", "SSPCM: student", "baseline"}
    assert set(lines_of(pck)) == set(lines_of(ap)) == expected

    scored = ours[ours["student/PCK"].notna()]
    line = lines_of(pck)["SSPCM: student"]
    assert line.get_xdata().tolist() == scored["step"].tolist()
    assert line.get_ydata().tolist() == scored["student/PCK"].tolist()
    assert line.get_linestyle() != lines_of(pck)["baseline"].get_linestyle()

    assert losses.get_yscale() == "log"
    loss = lines_of(losses)["SSPCM: consistency"].get_ydata()
    assert loss.tolist() == ours["loss/consistency"].tolist()
    assert lines_of(trust)["SSPCM: kept"].get_ydata().tolist() == ours["kept"].tolist()
    assert set(lines_of(right)) == {"SSPCM: inconsistency", "baseline: inconsistency"}
    drawn(figure)


def test_curves_mark_where_stages_begin():
    figure = charts.learning_curves({"SSPCM": history()})
    for ax in figure.axes[:4]:
        begins = [line.get_xdata()[0] for line in ax.get_lines() if line.get_gid() == "stage"]
        assert begins == [0, 40, 80]
    assert [text.get_text().strip() for text in figure.axes[0].texts] == [
        "warmup", "round 1", "round 2",
    ]  # fmt: skip
    assert not any(ax.texts for ax in figure.axes[1:])


def test_curves_without_ap_show_pck_only():
    figure = charts.learning_curves({"SSPCM": history(ap=False)})
    labels = [ax.get_ylabel() for ax in figure.axes]
    assert labels == ["validation PCK", "loss", "share of keypoints kept", "mean inconsistency"]


def test_curves_of_nothing_are_refused():
    with pytest.raises(ValueError, match="learning curves need"):
        charts.learning_curves({"SSPCM": pd.DataFrame({"step": [1, 2], "stage": ["a", "a"]})})


def test_images_stand_upright_and_small_pixels_stay_sharp(person):
    crops, points = person
    figure = sheets.occlusion_sheet(crops, crops // 2, points, LSP.limbs)
    drawn(figure)
    assert len(figure.axes) == 4
    for index, ax in enumerate(figure.axes):
        bottom, top = ax.get_ylim()
        assert (bottom, top) == (HEIGHT - 0.5, -0.5)
        assert ax.get_xlim() == (-0.5, WIDTH - 0.5)
        (image,) = ax.get_images()
        assert image.get_interpolation() == "nearest"
        source = crops if index % 2 == 0 else crops // 2
        np.testing.assert_array_equal(image.get_array(), source[index // 2].transpose(1, 2, 0))
    before, after = figure.axes[:2]
    assert not segments_of(before)
    assert len(segments_of(after)) == len(LSP.limbs)
    np.testing.assert_allclose(dots_of(after), points[0])


def test_pseudo_labels_show_teachers_then_kept_and_rejected(person):
    crops, points = person
    kept = np.arange(28).reshape(2, 14) % 3 > 0
    seen = np.ones((2, 14))
    seen[:, 0] = 0  # the end of one limb
    figure = sheets.pseudo_label_sheet(
        crops, points + 1, points + 2, points, kept, points, seen, LSP.limbs
    )
    drawn(figure)
    before, after = figure.axes[:2]
    np.testing.assert_allclose(dots_of(before, NETWORK_COLORS["teacher_a"]), points[0] + 1)
    np.testing.assert_allclose(dots_of(before, NETWORK_COLORS["teacher_b"]), points[0] + 2)
    np.testing.assert_allclose(dots_of(after, sheets.KEPT_COLOR), points[0][kept[0]])
    np.testing.assert_allclose(dots_of(after, sheets.REJECTED_COLOR), points[0][~kept[0]])
    ends_kept = [kept[0][list(limb)].all() for limb in LSP.limbs]
    colors = [color for _, color in segments_of(after)]
    assert colors.count(sheets.KEPT_COLOR) == sum(ends_kept)
    assert colors.count(sheets.REJECTED_COLOR) == len(LSP.limbs) - sum(ends_kept)
    for ax in (before, after):
        truth = [ends for ends, color in segments_of(ax) if color == sheets.TRUTH_COLOR]
        assert len(truth) == len(LSP.limbs) - 1
    assert "truth" in [text.get_text() for text in figure.legends[0].get_texts()]


def test_pseudo_labels_without_truth(person):
    crops, points = person
    figure = sheets.pseudo_label_sheet(
        crops, points, points, points, np.ones((2, 14), dtype=bool), None, None, LSP.limbs
    )
    drawn(figure)
    assert len(segments_of(figure.axes[0])) == 2 * len(LSP.limbs)
    assert "truth" not in [text.get_text() for text in figure.legends[0].get_texts()]


def test_predictions_tell_left_from_right(person):
    crops, points = person
    visibility = np.full((2, 14), 2)
    visibility[0, LSP.names.index("left_wrist")] = 0
    figure = sheets.prediction_sheet(
        crops,
        {"baseline": points + 3, "student": points + 1},
        points,
        visibility,
        LSP.limbs,
        {"student": np.array([0.125, 2.0])},
        flip_pairs=LSP.flip_pairs,
    )
    drawn(figure)
    assert [ax.get_title() for ax in figure.axes[:3]] == [
        "1 truth", "1 baseline", "1 student (0.125 px)",
    ]  # fmt: skip
    color = {
        name: {
            tint
            for ends, tint in segments_of(figure.axes[2])
            if np.allclose(ends, points[0][[LSP.names.index(n) for n in limb]] + 1)
        }
        for name, limb in {
            "left": ("left_knee", "left_ankle"),
            "right": ("right_ankle", "right_knee"),
            "across": ("right_hip", "left_hip"),
            "to neck": ("left_shoulder", "neck"),
            "head": ("neck", "head_top"),
        }.items()
    }
    assert color["left"] == color["to neck"] == {sheets.LEFT_COLOR}
    assert color["right"] == {sheets.RIGHT_COLOR}
    assert color["across"] == color["head"] == {sheets.MIDDLE_COLOR}
    assert len(segments_of(figure.axes[0])) == len(LSP.limbs) - 1
    assert len(dots_of(figure.axes[0])) == 13


def test_sides_are_those_of_the_flip_pairs_whatever_the_names(person):
    """Colors by index: the left of each pair, its right, and all others."""
    crops, points = person
    pairs = ((4, 2), (0, 9))
    left, right = [4, 0], [2, 9]
    others = [i for i in range(14) if i not in left + right]
    for figure in (
        sheets.overlay_sheet(crops, points, (), ["a", "b"], flip_pairs=pairs),
        sheets.prediction_sheet(crops, {}, points, np.ones((2, 14)), (), {}, flip_pairs=pairs),
    ):
        (dots,) = (c for c in figure.axes[0].collections if isinstance(c, PathCollection))
        colors = np.array([to_hex(color) for color in dots.get_facecolors()])
        np.testing.assert_allclose(np.asarray(dots.get_offsets()), points[0])
        assert set(colors[left]) == {sheets.LEFT_COLOR}
        assert set(colors[right]) == {sheets.RIGHT_COLOR}
        assert set(colors[others]) == {sheets.MIDDLE_COLOR}


def test_sheets_refuse_other_crops(person):
    crops, points = person
    with pytest.raises(ValueError, match=r"crops must be \(n, 3, height, width\) uint8"):
        sheets.occlusion_sheet(crops / 255, crops, points, LSP.limbs)
    with pytest.raises(ValueError, match=r"keypoints must be \(2, k, 2\)"):
        sheets.occlusion_sheet(crops, crops, points[:1], LSP.limbs)
    with pytest.raises(ValueError, match="at least one person"):
        sheets.occlusion_sheet(crops[:0], crops[:0], points[:0], LSP.limbs)


def test_bars_are_the_scores():
    scores = {"baseline": np.array([0.5, np.nan, 0.25]), "student": np.array([0.75, 1.0, 0.5])}
    figure = charts.per_keypoint_bars(scores, ["nose", "left_hip", "right_hip"])
    drawn(figure)
    (ax,) = figure.axes
    heights = [[bar.get_height() for bar in container] for container in ax.containers]
    np.testing.assert_array_equal(heights, list(scores.values()))
    assert [label.get_text() for label in ax.get_xticklabels()] == ["nose", "left hip", "right hip"]
    with pytest.raises(ValueError, match="2 keypoint scores"):
        charts.per_keypoint_bars(scores, ["nose", "left_hip"])


def test_quality_is_a_line_each_and_bars_for_the_share():
    rounds = [
        {"teacher_a": 0.5, "teacher_b": 0.4, "mean": 0.55, "corrected": 0.7, "kept": 0.6,
         "kept_corrected": 0.9, "rejected": 0.3},
        {"teacher_a": 0.6, "teacher_b": 0.5, "mean": 0.65, "corrected": 0.8, "kept": 0.7,
         "kept_corrected": 0.95, "rejected": 0.4},
    ]  # fmt: skip
    figure = charts.pseudo_label_quality(rounds)
    drawn(figure)
    (ax,) = figure.axes
    lines = lines_of(ax)
    assert set(lines) == {"teacher a", "teacher b", "mean", "corrected", "corrected, kept",
                          "corrected, not kept"}  # fmt: skip
    assert lines["corrected"].get_ydata().tolist() == [0.7, 0.8]
    assert lines["corrected, kept"].get_ydata().tolist() == [0.9, 0.95]
    assert lines["corrected, not kept"].get_ydata().tolist() == [0.3, 0.4]
    assert [bar.get_height() for bar in ax.patches] == [0.6, 0.7]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["1", "2"]
    with pytest.raises(ValueError, match="at least one round"):
        charts.pseudo_label_quality([])


def test_figures_name_the_unit_of_pck():
    curves = charts.learning_curves({"SSPCM": history()}, "torso")
    labels = [ax.get_ylabel() for ax in curves.axes[:2]]
    assert labels == ["validation AP", "validation PCK (torso)"]
    bars = charts.per_keypoint_bars({"student": np.array([0.5])}, ["nose"], "box")
    assert bars.axes[0].get_ylabel() == "PCK (box)"
    quality = charts.pseudo_label_quality([{"mean": 0.5}], "box")
    assert quality.axes[0].get_ylabel() == "PCK (box) of the pseudo-labels, share kept"


def as_text(table, width=120):
    console = Console(width=width, file=io.StringIO(), record=True)
    console.print(table)
    return console.export_text()


def rows_of(table) -> list[list[str]]:
    """The cells below the line, which two blanks part."""
    lines = as_text(table).splitlines()
    rule = next(place for place, line in enumerate(lines) if line.startswith("━"))
    return [re.split(r"\s{2,}", line.strip()) for line in lines[rule + 1 :] if line.strip()]


def test_table_compares_with_the_baseline():
    table = comparison_table(
        {
            "student": {"AP": 0.75, "AP50": 0.9, "PCK": 0.8, "loss": 1.0},
            "teacher_a": {"AP": 0.6, "PCK": 0.7},
            "baseline": {"AP": 0.625, "AP50": 0.8, "PCK": float("nan")},
        },
        reference="baseline",
    )
    assert [column.header for column in table.columns] == [
        "network", "AP", "AP50", "PCK", "AP vs\nbaseline",
    ]  # fmt: skip
    assert rows_of(table) == [
        ["baseline", "0.625", "0.800", DASH, DASH],
        ["teacher a", "0.600", DASH, "0.700", "-0.025"],
        ["student", "0.750", "0.900", "0.800", "+0.125"],
    ]


def test_published_scores_stand_below_without_a_gain():
    table = comparison_table(
        {"baseline": {"AP": 0.5}, "student": {"AP": 0.625}},
        reference="baseline",
        published={"theirs (published)": {"AP": 0.75, "AR50": 0.9}},
    )
    assert rows_of(table)[-1] == ["theirs (published)", "0.750", DASH]


def test_published_scores_need_a_source():
    with pytest.raises(ValueError, match="need their source"):
        PublishedConfig(scores={"theirs": {"AP": 0.75}})


def test_table_without_ap_compares_pck():
    nan = float("nan")
    table = comparison_table(
        {"pose_dual": {"PCK": 0.5, "AP": nan}, "student": {"PCK": 0.6, "AP": nan}},
        reference="pose_dual",
    )
    assert [column.header for column in table.columns] == ["network", "PCK", "PCK vs\npose\ndual"]
    assert "+0.100" in as_text(table)
    assert (
        as_text(comparison_table({"student": {"PCK": 0.6}}, reference="baseline")).count(DASH) == 1
    )


def test_the_default_table_fits_eighty_columns():
    """With averages of weights, and sigmas that are nobody's: nothing is cut or folded."""
    row = {"AP": 0.269, "AP50": 0.782, "AR": 0.326, "PCK": 0.74, "error_px": 12.125,
           "median_error_px": 8.5, "error_box": 0.062}  # fmt: skip
    names = [name + last for name in ("baseline", "teacher_a", "student") for last in ("", "_last")]
    labels, _ = explain_columns({"a": {**row, "PCK_unit": "torso", "unpublished_sigmas": ["a"]}})
    table = comparison_table(
        dict.fromkeys(names, row), reference="baseline", labels=labels,
        published={"SSPCM, ResNet-18 (published)": {"AP": 0.4}},
    )  # fmt: skip
    wide, narrow = as_text(table), as_text(table, width=80)
    assert max(map(len, narrow.splitlines())) <= 80 and "…" not in narrow
    for line in (r"teacher a last +0\.269", r"12\.125 +8\.500 +0\.062 +\+0\.000"):
        assert re.search(line, narrow) and re.search(line, wide)
    assert all(word in narrow for word in ("AP50*", "(torso)", "median", "baseline"))


CHOICE = {
    "ships": "teacher_a", "doubt": "Not to be trusted: these are fewer than 50 people.",
    "reason": "The teacher a is shipped: AP 0.301 on 40 people, against 0.269 for the baseline.",
}  # fmt: skip


def test_what_is_shipped_is_bold_and_what_is_not_to_be_trusted_yellow():
    reason, doubt = choice_lines(CHOICE)
    assert reason.plain == CHOICE["reason"] and doubt.plain == CHOICE["doubt"]
    (bold,) = reason.spans
    assert reason.plain[bold.start : bold.end] == "The teacher a is shipped"
    assert bold.style == "bold" and doubt.style == "yellow"
    assert len(choice_lines({**CHOICE, "doubt": ""})) == 1


def test_columns_say_the_unit_of_pck_and_that_sigmas_are_nobody_s():
    scores = {"AP": 0.5, "AP50": 0.75, "AR": 0.5, "PCK": 0.25, "PCK_unit": "box"}
    own = {"student": {**scores, "unpublished_sigmas": ["snout", "tail"]}}
    labels, (note,) = explain_columns(own)
    assert labels["PCK"] == "PCK (box)" and labels["AP"] == "AP*" and labels["AR"] == "AR*"
    assert note.startswith("* by OKS sigmas that nobody has published for snout, tail:")
    many = {"student": {"unpublished_sigmas": list("abcdefg")}}
    assert "for a, b, c, d, e, 2 more:" in explain_columns(many)[1][0]
    published = {"student": {**scores, "PCK_unit": "torso", "unpublished_sigmas": []}}
    assert explain_columns(published) == ({"PCK": "PCK (torso)"}, [])
    assert explain_columns({"student": {"AP": 0.5}}) == ({}, [])


def test_the_error_at_a_person_is_the_mean_of_their_labeled_keypoints_in_image_pixels():
    people = SimpleNamespace(
        keypoints=np.zeros((2, 3, 2)), visibility=np.array([[2, 1, 0], [0, 0, 0]])
    )
    predicted = np.array([[[3, 4], [0, 1], [99, 0]], [[5, 5], [5, 5], [5, 5]]], float)
    errors = person_errors(predicted, people)  # pyright: ignore[reportArgumentType]
    assert errors[0] == 3 and np.isnan(errors[1])
