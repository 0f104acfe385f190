"""``start``: which of several files of labels it reads."""

import json
import os
from pathlib import Path

import pytest

import formats
from formats import pictures
from sspcm_kedro.start.find import find_project
from sspcm_kedro.start.read import read_project

DAY = 24 * 3600
TWELVE = pictures(12, seed=1)


def aged(folder: Path, days: dict[str, int]) -> None:
    """Give files the age of so many days."""
    for name, many in days.items():
        os.utime(folder / name, (10**9 - many * DAY,) * 2)


def two_exports(folder: Path, kind: str) -> tuple[str, str]:
    """Two exports of a project, the first with 5 of the 12 labels of the other; their names."""
    if kind == "cvat":
        formats.write_cvat(folder, TWELVE)
        text = (folder / "annotations.xml").read_text()
        images = text.split("<image ")
        (folder / "annotations.xml").rename(folder / "job_2.xml")
        (folder / "job_1.xml").write_text("<image ".join(images[:6]) + "</annotations>")
        return "job_1.xml", "job_2.xml"
    formats.write_label_studio(folder, TWELVE)
    (folder / "label_studio.json").rename(folder / "at-06.json")
    tasks = json.loads((folder / "at-06.json").read_text())
    (folder / "at-01.json").write_text(json.dumps(tasks[:5]))
    return "at-01.json", "at-06.json"


@pytest.mark.parametrize("kind", ["cvat", "label_studio"])
@pytest.mark.parametrize("ages", [(9, 1), (1, 9), (4, 4)])
def test_of_several_exports_the_newest_is_read(kind, ages, tmp_path, caplog):
    small, whole = two_exports(tmp_path, kind)
    aged(tmp_path, {small: ages[0], whole: ages[1]})
    newest, other, many = (small, whole, 5) if ages == (1, 9) else (whole, small, 12)
    found = find_project(tmp_path)
    assert found.kind == kind
    assert found.settings["labels"] == (newest, f"the newest; not {other}")
    assert f"The newest is taken, {newest}; not read: {other}." in caplog.text
    assert len(read_project(tmp_path, found, {}).people.annotated) == many


@pytest.mark.parametrize(
    ("days", "beside", "read"),
    [
        ({"labels.v000.slp": 3, "labels.v001.slp": 2, "labels.v002.slp": 1}, "a.mp4", "002.slp"),
        ({"labels.v000.slp": 1, "labels.v001.slp": 1, "labels.v002.slp": 1}, "a.mp4", "002.slp"),
        ({"labels.v000.slp": 1, "labels.v001.slp": 2}, "a.mp4", "000.slp"),
        ({"labels.slp": 1, "old.pkg.slp": 5}, "videos/a.mp4", "labels.slp"),
        ({"labels.slp": 5, "new.pkg.slp": 1}, "a.mp4", "new.pkg.slp"),
        ({"labels.slp": 1, "old.pkg.slp": 5}, "images/a.png", "labels.slp"),
        ({"labels.slp": 1, "old.pkg.slp": 5}, None, "old.pkg.slp"),  # the other has no images
        ({"old.pkg.slp": 9, "new.pkg.slp": 4, "labels.slp": 1}, None, "new.pkg.slp"),
        ({"labels.slp": 5, "labels.predictions.slp": 1}, "a.mp4", "labels.slp"),
    ],
)
def test_of_several_sleap_files_the_newest_that_can_be_read_is(days, beside, read, tmp_path):
    for name in days if beside is None else (*days, beside):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    aged(tmp_path, days)
    assert find_project(tmp_path).settings["labels"][0].endswith(read)


def test_one_file_alone_needs_no_warning(tmp_path, caplog):
    formats.write_cvat(tmp_path, TWELVE)
    assert find_project(tmp_path).settings["labels"] == ("annotations.xml", "found")
    assert not caplog.text
