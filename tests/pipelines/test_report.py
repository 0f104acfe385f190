"""report.html: what stands on it, that it stands alone, and what a browser makes of it."""

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from importlib.resources import files

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from chromium import open_browser
from sspcm_kedro.data.instances import Instances
from sspcm_kedro.data.views import ViewConfig
from sspcm_kedro.data.whose import whose
from sspcm_kedro.datasets.run_record import RunRecordDataset
from sspcm_kedro.machine import MachineConfig
from sspcm_kedro.pipelines.reporting.cases import collect_cases, worth_seeing
from sspcm_kedro.pipelines.reporting.html import duration, facts, network_words
from sspcm_kedro.pipelines.reporting.page import PublishedConfig, describe_run, report
from sspcm_kedro.pose.skeleton import Skeleton

EVIL = "</script><script>window.hacked = 1</script>"
SKELETON = Skeleton(("nose", EVIL, "tail"), flip_pairs=((0, 1),), limbs=((0, 1), (1, 2)))
VIEW = ViewConfig(input_hw=(64, 48), padding=1.0, border=4)
MACHINE = MachineConfig(device="cpu", workers=1)
# How far off, in image pixels, the student finds each keypoint of five people; nan: no label.
ERRORS = np.array([[5, 1, 3], [10, 2, np.nan], [0, 0, 0], [2, 8, 2], [20, 1, 6]], float)
SURE = np.array([[0.9, 0.2, 0.4], [0.5, 0.5, 0.5], [0.8, 0.8, 0.8], [0.3, 0.6, 0.3],
                 [0.1, 0.9, 0.2]])  # fmt: skip
CHOICE = {
    "metric": "PCK", "network": "student", "comparison": "baseline", "gain": 0.1, "low": 0.05,
    "high": 0.2, "better": 0.99, "images": 5, "resamples": 1000, "ships": "student",
    "reason": "The student is shipped: of <b>course</b>.", "doubt": "Not to be trusted: few.",
}  # fmt: skip


@pytest.fixture(scope="module")
def people(tmp_path_factory) -> Instances:
    """Five, each the whole of an image of 64 x 48 pixels: input pixels are image pixels."""
    folder = tmp_path_factory.mktemp("images")
    paths = [folder / f"{name}.png" for name in ("a", "b", "c", "d", "<i>e")]
    for number, path in enumerate(paths):
        Image.new("RGB", (48, 64), (40 * number, 90, 120)).save(path)
    keypoints = np.tile(np.array([[12, 20], [24, 20], [20, 40]], np.float32), (5, 1, 1))
    visibility = np.where(np.isnan(ERRORS), 0, 2)
    return Instances(
        ids=np.arange(5), image_ids=np.arange(5), paths=np.array(list(map(str, paths)), object),
        image_hw=np.full((5, 2), (64, 48)), boxes=np.tile(np.array([0, 0, 48, 64], np.float32),
        (5, 1)), areas=np.full(5, 9, np.float32), box_scores=np.ones(5, np.float32),
        keypoints=keypoints * (visibility > 0)[..., None], visibility=visibility,
    )  # fmt: skip


def stored(name: str, people: Instances, errors: np.ndarray, scores: np.ndarray):
    """Predictions to the right of the labels by the errors."""
    points = np.tile(np.array([[12, 20], [24, 20], [20, 40]], float), (5, 1, 1))
    points[..., 0] += np.nan_to_num(errors)
    found = {"keypoints": torch.from_numpy(points).float(), "scores": torch.tensor(scores.copy())}
    named = {f"{name}.{key}": values for key, values in found.items()}
    return {**named, "deployed": name, **whose(people)}


@pytest.fixture(scope="module")
def networks(people):
    return {"student": stored("student", people, ERRORS, SURE),
            "baseline": stored("baseline", people, ERRORS[::-1] * 2, SURE[::-1])}  # fmt: skip


@pytest.fixture(scope="module")
def page(people, networks) -> str:
    row = {"PCK": 0.25, "error_px": 12.5, "PCK_unit": "box", "AP": 0.5,
           "unpublished_sigmas": ["snout"],
           "PCK_per_keypoint": dict.fromkeys(SKELETON.names, 0.25)}  # fmt: skip
    metrics = {"baseline": {**row, "APL": float("nan")}, "student": row, "choice": CHOICE,
               "pseudo_labels": {}}  # fmt: skip
    record = {
        "made": "2026-01-02 03:04", "environment": "mine", "data": "abc", "keypoints": 3,
        "people": {"labeled": 7}, "images": {"labeled": 6}, "seconds": {"method": 700.0},
        "settings": {"method.kind": "sspcm", "comparison.kind": "supervised", "seed": 3,
                     "source.kind": "coco", "source.root": "/data/me/mice",
                     "network.kind": "small_baseline", "evaluation.pck_threshold": 0.2},
        "changed": {"split.labeled": [100, "<u>7"]},
        "revision": {"commit": "f" * 40, "branch": "main", "dirty": True},
    }  # fmt: skip
    return report(
        metrics, {"baseline": row}, PublishedConfig(), record, networks["student"],
        networks["baseline"], people, SKELETON, VIEW, MACHINE, learning_curves=b"\x89PNG fake",
    )  # fmt: skip


class Reader(HTMLParser):
    """The text of a page, its tags, and its elements' addresses; scripts apart."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.texts: list[str] = []
        self.scripts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data):
        (self.scripts if self.tags[-1:] == ["script"] else self.texts).append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


def test_it_says_what_it_is_of(page):
    text = Reader(page).text
    for said in (
        "sspcm against supervised, 7 labeled people", "2026-01-02 03:04 UTC",
        "Kedro environment mine, seed 3", "coco, folder mice: 7 labeled people on 6 images",
        "commit ffffffffffff on main, with changes that are not committed",
        "Networks small baseline", "Training of the method 12 min", "split.labeled <u>7 100",
        "PCK (box)", "AP*",
        "published for snout", "within 20 % of the longer side of the box", "12.500",
        "The student is shipped: of <b>course</b>.", "Not to be trusted: few.",
    ):  # fmt: skip
        assert said in text, said
    assert text.index(CHOICE["reason"]) < text.index("Scores on validation people")
    assert "/data/me" not in text  # it is sent to others


def test_networks_are_named_by_role_where_they_differ():
    """The settings of a record lie flat; what has no value is None or not there."""
    resnet = {"kind": "simple_baseline", "backbone": "resnet18", "weights": None}
    small = {"kind": "small_baseline", "width": 16}

    def words(**parts):
        flat = {f"network.{role}.{k}": v for role, own in parts.items() for k, v in own.items()}
        return network_words({"network.kind": "teacher_student", **flat})

    assert network_words({f"network.{k}": v for k, v in resnet.items()}) == (
        "simple baseline on resnet18"
    )
    assert words(teacher=resnet, student=small) == (
        "teachers: simple baseline on resnet18, student: small baseline"
    )
    assert words(teacher=small, teacher_b=resnet, student=small) == (
        "teacher a: small baseline, teacher b: simple baseline on resnet18, student: small baseline"
    )


def test_it_stands_alone_and_no_text_becomes_code(page):
    read = Reader(page)
    assert read.addresses and all(value.startswith("data:") for value in read.addresses)
    assert read.tags.count("script") == 2 and not {"i", "b", "u"} & set(read.tags)
    assert EVIL in read.text  # as a keypoint's name, in the table
    assert len(page) < 3e6


def test_numbers_of_people_are_those_of_their_predictions(page):
    cases = json.loads(Reader(page).scripts[0])
    assert cases["keypoints"] == list(SKELETON.names) and cases["labels"] == [5, 5, 4]
    assert [row["image"] for row in cases["rows"]] == [
        "a.png",
        "b.png",
        "c.png",
        "d.png",
        "<i>e.png",
    ]
    assert list(cases["networks"]) == ["student", "baseline"]  # what is shipped comes first
    own = cases["networks"]["student"]
    assert own["error"] == [[None if np.isnan(e) else e for e in row] for row in ERRORS.tolist()]
    assert own["confidence"] == SURE.tolist()
    assert own["mean"] == [7.4, 2.4, 2.75] and own["median"] == [5, 1, 2.5]
    image = cases["images"]["1"]
    assert image["size"] == [56, 72] and image["truth"][2] is None
    assert image["truth"][0] == [16.5, 24.5] and image["points"]["student"][0] == [26.5, 24.5]


def test_those_worth_seeing_are_the_worst_the_median_and_the_surest_of_error():
    errors = np.array([[0.1, 0.1], [0.2, np.nan], [0.3, 0.3], [0.0, 0.9], [np.nan, np.nan]])
    sure = np.array([[0.5, 0.5], [0.9, 0.9], [0.99, 0.99], [0.1, 0.1], [1, 1]])
    assert worth_seeing(errors, sure, 2) == [1, 3]  # the worst, then the median
    assert worth_seeing(errors, sure, 3) == [1, 2, 3]  # then the one who is off and sure
    assert worth_seeing(errors, sure, 9) == [0, 1, 2, 3]


def test_of_many_people_some_are_shown_and_all_are_counted(people, networks, monkeypatch):
    monkeypatch.setattr("sspcm_kedro.pipelines.reporting.cases.MOST_PEOPLE", 3)
    cases = collect_cases(networks, people, SKELETON, VIEW, MACHINE)
    assert [row["id"] for row in cases["rows"]] == ["0", "2", "4"]
    assert cases["people"] == 5 and cases["labels"] == [5, 5, 4]
    assert cases["networks"]["student"]["mean"] == [7.4, 2.4, 2.75]
    assert set(cases["images"]) <= {"0", "1", "2"}


@pytest.mark.parametrize(
    ("seconds", "said"), [(41.6, "42 s"), (700, "12 min"), (12000, "3 h 20 min")]
)
def test_how_long(seconds, said):
    assert duration(seconds) == said


def test_what_the_method_costs_is_told_beside_the_comparison():
    """Equal steps are not equal time."""
    said = facts({"seconds": {"method": 700.0, "comparison": 400.0}}, {})
    assert said["Training of the method"] == (
        "12 min (optimizer steps alone), 1.8 times the comparison's"
    )
    assert said["Training of the comparison"] == "7 min (optimizer steps alone)"
    alone = facts({"seconds": {"method": 700.0, "comparison": None}}, {})
    assert alone == {"Training of the method": "12 min (optimizer steps alone)"}


def test_a_record_counts_people_and_seconds(people):
    stages = [pd.DataFrame({"seconds": values}) for values in ([1.5], [2.0, 3.0])]
    metrics = {"student": {"PCK": 0.5}}
    record = describe_run(metrics, people, people.take([0]), people, SKELETON,
                          pd.DataFrame({"step": [1]}), *stages)  # fmt: skip
    assert record["people"] == {"labeled": 5, "unlabeled": 1, "validation": 5}
    assert record["images"]["unlabeled"] == 1 and record["keypoints"] == 3
    assert record["seconds"] == {"method": 6.5, "comparison": None}  # of an older version


def test_the_time_and_the_commit_stay_those_of_the_first_record(tmp_path):
    dataset = RunRecordDataset(str(tmp_path / "run.json"))
    dataset.save({"results": "a", "revision": "first"})
    first = dataset.load()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d", first["made"])
    (tmp_path / "run.json").unlink()
    dataset._filepath.write_bytes(b"")
    super(RunRecordDataset, dataset).save({**first, "made": "2001-01-01 00:00"})
    dataset.save({"results": "a", "revision": "second"})
    assert dataset.load() == {**first, "made": "2001-01-01 00:00"}
    dataset.save({"results": "b", "revision": "second"})
    again = dataset.load()
    assert again["revision"] == "second" and again["made"] != "2001-01-01 00:00"


def expected(keypoint: int, low: float, high: float, order: str) -> list[int]:
    """Rows that the page's controls are to choose, by numpy."""
    wanted = slice(None) if keypoint < 0 else [keypoint]
    known = np.isfinite(ERRORS[:, wanted])
    count = np.maximum(known.sum(axis=1), 1)
    error = np.where(known, ERRORS[:, wanted], 0).sum(axis=1) / count
    sure = np.where(known, SURE[:, wanted], 0).sum(axis=1) / count
    rows = np.flatnonzero(known.any(axis=1) & (sure >= low) & (sure <= high))
    keys = {"worst": -error, "best": error, "sure": -error * sure,
            "median": np.abs(error - np.median(error[rows]) if len(rows) else error)}  # fmt: skip
    return sorted(rows.tolist(), key=lambda row: (keys[order][row], row))


CHOICES = [(-1, 0, 1, "worst"), (-1, 0, 1, "median"), (0, 0, 1, "sure"), (2, 0, 1, "best"),
           (0, 0.3, 0.8, "worst"), (1, 0.95, 1, "worst")]  # fmt: skip


@pytest.mark.parametrize("choice", CHOICES)
def test_the_script_chooses_people_without_a_page(page, choice, tmp_path):
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    (tmp_path / "cases.json").write_text(Reader(page).scripts[0])
    script = str(files("sspcm_kedro.pipelines.reporting") / "web" / "page.js")
    code = (
        f"const Cases = require({script!r}), data = require('{tmp_path}/cases.json');"
        f"const found = Cases.choose(Cases.of(data, 'student', {choice[0]}),"
        f"{choice[1]}, {choice[2]}, '{choice[3]}');"
        "console.log(JSON.stringify(found.map((one) => one.row)))"
    )
    done = subprocess.run(["node", "-e", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == expected(*choice)


@pytest.mark.browser
def test_a_browser_filters_people_by_keypoint_and_confidence(page, tmp_path):
    file, asked, errors = tmp_path / "report.html", [], []
    file.write_text(page)
    with open_browser() as browser:
        tab = browser.new_page(viewport={"width": 400, "height": 800})
        tab.on("pageerror", lambda error: errors.append(str(error)))
        tab.on("request", lambda request: asked.append(request.url))
        tab.goto(file.as_uri())
        tab.locator("#gallery figure").first.wait_for()

        def shown() -> list[int]:
            figures = tab.locator("#gallery figure")
            return [int(row) for row in figures.evaluate_all("f => f.map(x => x.dataset.row)")]

        for keypoint, low, high, order in CHOICES:
            tab.select_option("[name=keypoint]", str(keypoint))
            tab.fill("[name=low]", str(low))
            tab.fill("[name=high]", str(high))
            tab.select_option("[name=order]", order)
            assert shown() == expected(keypoint, low, high, order)
            assert tab.locator("#summary").inner_text().startswith(f"{len(shown())} of 5 people")
        tab.select_option("[name=keypoint]", "0")
        for name, value in (("low", "0"), ("high", "1")):
            tab.fill(f"[name={name}]", value)
        first = tab.locator("#gallery figure").first.inner_text()
        assert "20 px" in first and "confidence 0.10" in first and "<i>e.png, person 4" in first
        decoded = tab.locator("#gallery image").first.evaluate(
            "async x => { const i = new Image(); i.src = x.href.baseVal; await i.decode();"
            " return [i.naturalWidth, i.naturalHeight]; }"
        )
        assert decoded == [56, 72]

        tab.select_option("[name=network]", "baseline")  # off by twice the student's, reversed
        assert shown()[0] == 0 and "40 px" in tab.locator("#gallery figure").first.inner_text()
        tab.locator("canvas").click(position={"x": 60, "y": 20})  # where the surest are the worst
        assert shown() == [0] and tab.locator("#all").is_visible()
        tab.locator("#all").click()
        assert len(shown()) == 5
        assert tab.evaluate("document.documentElement.scrollWidth") <= 400
        assert tab.evaluate("window.hacked") is None
    assert errors == [] and all(url.startswith(("file:", "data:")) for url in asked)
