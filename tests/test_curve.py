"""`make curve`: cells that go on, people that stay the same, and the gain as labels."""

import json
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import cells
import curve
import psutil
import pytest
from cells import Cell, Runner, parameters_of, seeded
from labels_saved import (
    Curve,
    Point,
    Worth,
    count_text,
    gain_sentence,
    label_figure,
    labels_worth,
    markdown,
)
from matplotlib.text import Annotation
from rich.console import Console

from sspcm_kedro.data.source import Source
from sspcm_kedro.data.split import SplitConfig, split
from sspcm_kedro.datasets.instances import PartsDataset
from sspcm_kedro.datasets.skeleton import SkeletonDataset
from sspcm_kedro.errors import BadInput
from sspcm_kedro.pose.skeleton import COCO, Skeleton

LABELS, SCORES = (16, 64, 256), (0.25, 0.5, 1.0)


@pytest.mark.parametrize(
    ("score", "worth"),
    [
        (0.375, Worth(32)),  # half way in score is half way in doublings: 16, 32, 64
        (0.75, Worth(128)),
        (0.25, Worth(16)),
        (0.5, Worth(64)),
        (1.0, Worth(256)),
        (1.25, Worth(256, beyond=1)),
        (0.125, Worth(16, beyond=-1)),
    ],
)
def test_between_points_each_doubling_brings_the_same_and_beyond_them_nothing_is_assumed(
    score, worth
):
    assert labels_worth(LABELS, SCORES, score) == worth


@pytest.mark.parametrize(
    ("scores", "score", "worth"),
    [
        ((0.25, 0.75, 0.5), 0.5, Worth(32)),  # falls to 0.5 again at 256
        ((0.25, 0.75, 0.5), 0.75, Worth(64)),
        ((0.25, 0.75, 0.5), 0.8, Worth(256, beyond=1)),
        ((0.25, 0.5, 0.5), 0.5, Worth(64)),
        ((0.5, 0.5, 0.5), 0.5, Worth(16)),
        ((0.5, 0.25, 1.0), 0.375, Worth(16, beyond=-1)),
    ],
)
def test_the_first_crossing_counts(scores, score, worth):
    assert labels_worth(LABELS, scores, score) == worth


def test_one_point_is_a_bound_on_both_sides():
    assert labels_worth((100,), (0.5,), 0.5) == Worth(100)
    assert labels_worth((100,), (0.5,), 0.6) == Worth(100, beyond=1)
    assert labels_worth((100,), (0.5,), 0.4) == Worth(100, beyond=-1)


@pytest.mark.parametrize("labels", [(), (16, 64), (64, 16, 256), (16, 16, 64), (0, 16, 64)])
def test_numbers_of_labels_that_make_no_curve_are_refused(labels):
    with pytest.raises(ValueError, match=r"rise|a score for each"):
        labels_worth(labels, SCORES, 0.5)


def curve_of(student: float, **changes) -> Curve:
    """Three points of one seed, 64 labels the environment's own."""
    points = [Point((n,), (3000,), (s,), (s + 0.125,)) for n, s in zip(LABELS, SCORES, strict=True)]
    points[1] = replace(points[1], student=(student,))
    return replace(Curve("Drawn people", "AP", (0,), tuple(points), 1), **changes)


@pytest.mark.parametrize(
    ("student", "text"),
    [
        (0.75, "64 labels and 3,000 unlabeled images are worth 128 labels"),
        (1.5, "64 labels and 3,000 unlabeled images are worth more than 256 labels"),
        (
            0.375,
            "64 labels and 3,000 unlabeled images are worth 32 labels, 32 fewer than there are",
        ),
        (0.125, "64 labels and 3,000 unlabeled images are worth fewer than 16 labels"),
        (0.5, "64 labels and 3,000 unlabeled images are worth 64 labels: nothing is gained"),
    ],
)
def test_the_gain_is_told_as_labels(student, text):
    assert gain_sentence(curve_of(student)) == text


def test_numbers_that_differ_between_seeds_are_about():
    assert count_text((1155, 1155)) == "1,155"
    assert count_text((1155, 1172, 1161)) == "about 1,160"


def seeds_curve() -> Curve:
    """Two seeds, the last point without a student."""
    points = (
        Point((16, 16), (30, 30), (0.25, 0.25), (0.5, 0.25)),
        Point((64, 64), (30, 30), (0.5, 0.5), (0.75, 1.0)),
        Point((1000, 1100), (), (1.0, 1.0), everyone=True),
    )
    return Curve("Drawn people", "AP", (0, 1), points, 0)


def test_the_table_has_mean_and_spread_and_the_gain_of_each_seed():
    lines = markdown(seeds_curve()).splitlines()
    student = "0.375 (0.250 to 0.500) | +0.125 | 32 labels | 64; 16"
    assert lines[2] == f"| 16 | 30 | 0.250 (0.250 to 0.250) | {student} |"
    assert lines[4] == "| all (about 1,050) |  | 1.000 (1.000 to 1.000) |  |  |  |  |"
    assert lines[6] == "16 labels and 30 unlabeled images are worth 32 labels."


def arrows_of(ax) -> list:
    """From where to where the figure's arrows lead."""
    return [
        (tuple(a.xyann), tuple(a.xy))
        for a in ax.texts
        if isinstance(a, Annotation) and a.arrow_patch
    ]


def test_the_figure_has_both_lines_the_arrow_and_the_sentence():
    figure = label_figure(curve_of(0.75))
    (ax,) = figure.axes
    assert figure.get_suptitle() == gain_sentence(curve_of(0.75))
    lines = {line.get_label(): line.get_xydata().tolist() for line in ax.get_lines()}
    assert lines["baseline: the labels alone"] == [[16, 0.25], [64, 0.5], [256, 1.0]]
    students = lines["student: the labels and the unlabeled images"]
    assert students == [[16, 0.375], [64, 0.75], [256, 1.125]]
    assert arrows_of(ax) == [((64, 0.75), (128, 0.75))]
    assert [text.get_text() for text in ax.texts] == ["", "64 labels", "128 labels"]
    assert ax.get_xscale() == "log" and ax.get_ylabel() == "AP on the validation people"
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["16", "64", "256"]
    assert ax.get_title("left") == "Drawn people, seed 0"
    figure.draw_without_rendering()


@pytest.mark.parametrize(
    ("student", "end", "text"),
    [(1.5, 256, "more than 256 labels"), (0.375, 32, "32 labels"),
     (0.125, 16, "fewer than 16 labels")],
)  # fmt: skip
def test_the_arrow_ends_where_measurements_end_or_points_back(student, end, text):
    (ax,) = label_figure(curve_of(student)).axes
    assert arrows_of(ax) == [((64, student), (end, student))]
    assert [t.get_text() for t in ax.texts][1:] == ["64 labels", text]


def test_all_labels_stand_on_a_line_of_their_own_and_the_bands_are_the_spread():
    (ax,) = label_figure(seeds_curve()).axes
    assert [t.get_text() for t in ax.get_xticklabels()] == ["16", "64", "\nall: about 1,050"]
    band = ax.collections[1].get_paths()[0].get_extents()
    assert (band.x0, band.x1, band.y0, band.y1) == (16, 64, 0.25, 1.0)
    told = "Drawn people, mean of seeds 0, 1 (64; 16 labels); band: smallest to largest"
    assert ax.get_title("left") == told


SKELETON = Skeleton(names=("a", "b", "c"))


def ids(people) -> list[int]:
    return people.ids.tolist()


def people_of(source: Source, config: SplitConfig, share: curve.Share):
    """Whom the cell's params choose, in ``kedro run``'s own way."""
    params = parameters_of("smoke", share.params)["split"]
    changes = {key: params[key] for key in (p[6:].split("=")[0] for p in share.params)}
    return split(source, SplitConfig.model_validate({**config.model_dump(), **changes}), 0)


def test_only_the_labels_differ_between_cells(make_people):
    source = Source(
        SKELETON,
        make_people("aabccdee"),
        make_people("vw", 11),
        make_people("xyy", 21, labeled=False),
    )
    config = SplitConfig(labeled=3, unlabeled=4)
    shares = {n: curve.share_of(source, config, 0, n) for n in (1, 3, 5, 7)}
    parts = {n: people_of(source, config, share) for n, share in shares.items()}
    assert [ids(p.labeled) for p in parts.values()] == [[*range(1, n + 1)] for n in (1, 3, 5, 7)]
    assert {tuple(ids(p.validation)) for p in parts.values()} == {(11, 12)}
    assert {len(p.unlabeled) for p in parts.values()} == {4}
    assert [s.people for s in shares.values()] == [1, 3, 5, 7]
    assert [s.images for s in shares.values()] == [3, 3, 3, 3]  # abcc, ccde, deex, exyy
    assert not any(share.alone for share in shares.values())


def test_all_labels_leave_the_validation_people_and_train_the_baseline_alone(make_people):
    source = Source(SKELETON, make_people("abcdefgh"))
    config = SplitConfig(labeled=2, unlabeled=4, validation=2)
    with pytest.raises(BadInput, match="unlabeled"):
        curve.share_of(source, config, 0, "all")
    share = curve.share_of(source, config, 0, "all", alone=True)
    parts = people_of(source, config, share)
    assert share.alone and share.people == 6
    assert (ids(parts.labeled), ids(parts.validation)) == ([1, 2, 3, 4, 5, 6], [7, 8])


def test_labels_that_would_change_the_validation_people_are_refused(make_people):
    source = Source(SKELETON, make_people("abcdb"))  # b, held out whole, has the second label
    config = SplitConfig(labeled=1, validation=1)
    assert ids(split(source, config, 0).validation) == [2, 5]
    assert ids(split(source, SplitConfig(labeled=2, validation=1), 0).validation) == [4]
    with pytest.raises(BadInput, match="the same people to validate on"):
        curve.share_of(source, config, 0, 2)


def test_what_the_source_lacks_is_left_out_and_said(make_people, monkeypatch):
    said = Console(record=True, width=200)
    monkeypatch.setattr(curve, "console", said)
    sources = {
        0: Source(SKELETON, make_people("abcdefgh"), make_people("v", 11)),
        1: Source(SKELETON, make_people("abcdefg"), make_people("v", 11)),
    }
    planned = curve.plan(sources, SplitConfig(labeled=2, unlabeled=4), [2, 1, 5, 8, "all"])
    assert list(planned) == [1, 2, 5, "all"]
    assert [share.people for share in planned["all"]] == [8, 7]
    assert [share.alone for share in planned[5]] == [True, True]  # seed 0 has 3, and 1 has 2
    assert [share.alone for share in planned[2]] == [False, False]
    text = said.export_text()
    assert "8 labels are left out: split, labeled: 8 people were asked for" in text
    assert "5 labels: the baseline alone (split, unlabeled: 4 people were asked for" in text
    assert "all labels: the baseline alone" in text


def test_all_is_not_measured_twice(make_people):
    source = Source(SKELETON, make_people("abc"), make_people("v", 11), make_people("xy", 21))
    assert list(curve.plan({0: source}, SplitConfig(labeled=3), [3, 1, "all"])) == [1, 3]


@pytest.mark.parametrize("text", ["0", "-5", "1.5", "every"])
def test_what_is_no_number_of_labels_is_refused(text, capsys):
    with pytest.raises(SystemExit):
        curve.options_of(["--labels", text])
    assert "must be a number above 0 or all" in capsys.readouterr().err


def test_the_curve_needs_a_supervised_baseline():
    assert curve.usable_parameters("base", ["seed=1"])["seed"] == 1
    with pytest.raises(SystemExit, match="must be supervised"):
        curve.usable_parameters("base", ["comparison.kind=pose_dual"])
    with pytest.raises(SystemExit, match="must be empty"):
        curve.usable_parameters("base", ["annotation_import.files=[a]"])


def test_the_score_is_the_first_headline_that_every_network_has():
    row = {"AP": 0.5, "PCK": 0.25, "error_px": 3.0}
    assert curve.score_of([{"baseline": row, "student": row}]) == "AP"
    assert curve.score_of([{"baseline": row, "student": {**row, "AP": None}}]) == "PCK"


def test_an_error_is_no_score_of_a_curve():
    """Less of it is better, and a curve asks which number of labels reaches a score."""
    row = {"AP": None, "PCK": None, "error_px": 3.0}
    with pytest.raises(SystemExit, match="no score has a number for every network"):
        curve.score_of([{"baseline": row, "student": row}])


def test_given_params_win_and_change_single_values():
    parameters = parameters_of("smoke", seeded(3, ["split.labeled=8,machine.device=cuda"]))
    assert (parameters["seed"], parameters["machine"]["device"]) == (3, "cuda")
    assert parameters["split"] == {"labeled": 8, "order": "first"}
    assert parameters_of("smoke", ["split.unlabeled=null"])["split"]["unlabeled"] is None


@dataclass(frozen=True)
class Script(Cell):
    """A cell that runs a script in place of Kedro."""

    script: str = ""

    def command(self) -> list[str]:
        return [sys.executable, "-c", self.script]


WRITES = """
import os, pathlib
data = pathlib.Path(os.environ["SSPCM_DATA"])
(data / "result.json").write_text("[1]")
with (data / "runs.txt").open("a") as runs:
    runs.write("x")
"""


def script_cell(folder: Path, script: str = WRITES, *params: str, **more) -> Script:
    return Script(folder.name, folder, "smoke", params or ("seed=0",), "result.json", None, more,
                  script)  # fmt: skip


@pytest.fixture
def runner() -> Runner:
    return Runner(2, Console(record=True, width=300))


def printed(runner: Runner) -> str:
    return runner._console.export_text()


def test_a_cell_runs_kedro_with_its_params():
    cell = Cell("c", Path("d"), "lspet", ("seed=1", "split.labeled=8"), "r", "ingestion")
    assert cell.command()[1:] == [
        "-m", "kedro", "run", "--env", "lspet", "--params", "seed=1,split.labeled=8",
        "--pipelines", "ingestion",
    ]  # fmt: skip
    assert "--pipelines" not in replace(cell, pipelines=None).command()


def test_a_finished_cell_is_not_run_again_unless_its_settings_change(tmp_path, runner):
    cell = script_cell(tmp_path / "one")
    assert runner.run([cell, script_cell(tmp_path / "two")]) == []
    assert cell.read() == [1] and "one: 0.0 min" in printed(runner)
    assert runner.run([cell]) == [] and "one: there already" in printed(runner)
    assert (tmp_path / "one" / "runs.txt").read_text() == "x"
    assert runner.run([replace(cell, params=("seed=0", "machine.workers=0"))]) == []
    assert (tmp_path / "one" / "runs.txt").read_text() == "x"  # no part of the experiment
    assert runner.run([replace(cell, params=("seed=0", "training.steps=4"))]) == []
    assert (tmp_path / "one" / "runs.txt").read_text() == "xx"
    (tmp_path / "one" / "result.json").unlink()
    assert not cell.is_finished()


def test_a_failed_cell_names_its_log_and_the_others_go_on(tmp_path, runner):
    bad = script_cell(tmp_path / "bad", "raise SystemExit('the [disk] is full')")
    idle = script_cell(tmp_path / "idle", "pass")  # ends well, and leaves nothing
    good = script_cell(tmp_path / "good")
    assert {cell.name for cell in runner.run([bad, idle, good])} == {"bad", "idle"}
    text = printed(runner)
    assert f"bad: failed, see {bad.log}\nthe [disk] is full" in text
    assert f"idle: failed, see {idle.log}" in text and good.is_finished()


def test_a_cell_that_fails_now_is_not_finished_although_it_was(tmp_path, runner):
    cell = script_cell(tmp_path / "one")
    runner.run([cell])
    changed = replace(cell, params=("seed=5",), script="raise SystemExit(1)")
    assert runner.run([changed]) == [changed]
    assert not cell.is_finished()  # result.json may be of either


def test_shared_parts_lie_elsewhere(tmp_path, runner):
    place = tmp_path / "people" / "01_raw"
    place.mkdir(parents=True)
    cell = script_cell(tmp_path / "one", **{"01_raw": place})
    for seed in (0, 1):
        runner.run([replace(cell, params=(f"seed={seed}",))])
        assert (cell.folder / "01_raw").resolve() == place


def test_a_stopped_runner_stops_its_cells(tmp_path, runner):
    script = f"""
import os, pathlib, time
pathlib.Path({str(tmp_path / "part")!r}).write_text(str(os.getpid()))
os.rename({str(tmp_path / "part")!r}, {str(tmp_path / "pid")!r})
time.sleep(120)
"""

    def stop() -> None:
        while not (tmp_path / "pid").exists():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=stop, daemon=True)
    thread.start()
    waiting = [script_cell(tmp_path / f"{n}") for n in range(3)]
    one = Runner(1, runner._console)
    with pytest.raises(SystemExit) as ended:
        one.run([script_cell(tmp_path / "slow", script), *waiting])
    thread.join()
    assert ended.value.code == 128 + signal.SIGTERM
    assert not psutil.pid_exists(int((tmp_path / "pid").read_text()))
    assert not any(cell.folder.exists() for cell in waiting)
    assert "the same command goes on" in printed(one)
    assert signal.getsignal(signal.SIGTERM) == before
    assert runner.run(waiting) == []


@dataclass
class FakeRuns:
    """In place of Kedro: people are read from nowhere, and scores follow the number of labels."""

    people: dict
    begun: list = field(default_factory=list)
    fails: str = "none"

    def run(self, cells, what="cells"):
        for cell in cells:
            self.begun.append(cell)
            parameters = cell.settings()["parameters"]
            if cell.pipelines == "ingestion":
                PartsDataset(str(cell.folder / cell.result)).save(self.people[parameters["seed"]])
                SkeletonDataset(
                    filepath=str(cell.folder / "03_primary" / "skeleton.json")
                ).save(COCO)  # fmt: skip
                continue
            score = {1: 0.125, 2: 0.25, 4: 0.5, 6: 1.0}[parameters["split"]["labeled"]]
            rows = {"baseline": {"AP": score, "PCK": 0.0}}
            if not cell.pipelines:
                row = {"AP": score * 1.5, "PCK": 0.0}
                rows |= {"teacher_a": row, "choice": {"network": "teacher_a"}}
            (cell.folder / cell.result).parent.mkdir(parents=True, exist_ok=True)
            (cell.folder / cell.result).write_text(json.dumps(rows))
        return [cell for cell in cells if self.fails in cell.name]


@pytest.fixture
def fake(make_people, tmp_path, monkeypatch):
    """``curve.main`` on six annotated, one validation and three unlabeled people a seed."""
    people = {
        seed: {"annotated": make_people("abcdef"), "validation": make_people("v", 11),
               "unlabeled": make_people("xyz", 21, labeled=False)}
        for seed in (0, 1)
    }  # fmt: skip
    runs = FakeRuns(people)
    monkeypatch.setattr(curve, "PROJECT", tmp_path)
    monkeypatch.setattr(curve, "Runner", lambda jobs, console: runs)
    return runs


ASKED = ["--env", "smoke", "--labels", "4", "1", "all", "50", "--seeds", "0", "1", "--params",
         "split.labeled=2", "split.unlabeled=5"]  # fmt: skip


def test_the_command_writes_numbers_table_and_picture(fake, tmp_path):
    curve.main(ASKED)
    folder = tmp_path / "data" / "curve"
    numbers = json.loads((folder / "smoke.json").read_text())
    # with 2 labels the student has 0.375, half way from 2 to 4 labels in doublings: 2.83
    gain = "2 labels and 5 unlabeled images are worth 3 labels"
    assert numbers["gain"] == gain and f"{gain}." in (folder / "smoke.md").read_text()
    points = numbers["curve"]["points"]
    assert [point["labels"] for point in points] == [[1, 1], [2, 2], [4, 4], [6, 6]]
    assert [point["baseline"] for point in points] == [[s, s] for s in (0.125, 0.25, 0.5, 1.0)]
    assert [point["student"] for point in points] == [[0.1875] * 2, [0.375] * 2, [0.75] * 2, []]
    assert numbers["scores"]["4"]["1"]["student"] == {"AP": 0.75, "PCK": 0.0}
    assert (folder / "smoke.png").read_bytes().startswith(b"\x89PNG")


def test_a_seed_draws_its_people_once(fake, tmp_path):
    curve.main(ASKED)
    people, cells_begun = fake.begun[:2], fake.begun[2:]
    assert [cell.pipelines for cell in people] == ["ingestion"] * 2
    for cell in cells_begun:
        seed = cell.settings()["parameters"]["seed"]
        assert cell.shared == {"01_raw": people[seed].folder / "01_raw"}
    assert len({cell.folder for cell in fake.begun}) == len(fake.begun) == 10
    assert [cell.name for cell in cells_begun[:4]] == [
        f"smoke, seed 0, {labels} labels" for labels in (1, 2, 4, "all")
    ]
    assert [cell.pipelines for cell in cells_begun[:4]] == [None] * 3 + ["ingestion,comparison"]


def test_numbers_of_labels_with_a_failed_cell_are_left_out(fake, tmp_path):
    fake.fails = "seed 1, 4 labels"
    with pytest.raises(SystemExit, match="1 cells failed"):
        curve.main(ASKED)
    numbers = json.loads((tmp_path / "data" / "curve" / "smoke.json").read_text())
    assert [point["labels"][0] for point in numbers["curve"]["points"]] == [1, 2, 6]
    fake.fails = "seed 1, 2 labels"
    with pytest.raises(SystemExit, match="no curve without the cells with 2 labels"):
        curve.main(ASKED)


def test_one_place_says_where_the_project_is():
    assert cells.PROJECT == Path(__file__).parents[1]
