"""Tables of people can be moved with their images, and say all that they were given."""

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sspcm_kedro.data.instances import Instances
from sspcm_kedro.datasets.instances import InstancesDataset, PartsDataset


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    (folder / "01_raw").mkdir(parents=True)
    (folder / "01_raw" / "a.png").write_bytes(b"pixels")
    return folder


@pytest.fixture
def at(make_people):
    """People at these image files."""

    def make(*paths: object) -> Instances:
        people = make_people("a" * len(paths))
        return replace(people, paths=np.array([str(path) for path in paths], object))

    return make


def table(data) -> InstancesDataset:
    return InstancesDataset(filepath=str(data / "05_model_input" / "labeled.parquet"))


def same(first: Instances, second: Instances) -> None:
    for column in fields(Instances):
        one, other = map(np.asarray, (getattr(p, column.name) for p in (first, second)))
        assert one.shape == other.shape
        np.testing.assert_array_equal(one, other)


def test_images_in_the_data_folder_are_found_where_it_was_moved_to(data, at, tmp_path):
    people = at(*[data / "01_raw" / "a.png"] * 2)
    table(data).save(people)
    same(table(data).load(), people)
    moved = data.rename(tmp_path / "elsewhere")
    found = table(moved).load()
    assert found.paths.tolist() == [str(moved / "01_raw" / "a.png")] * 2
    assert Path(found.paths[0]).read_bytes() == b"pixels"


def test_two_places_write_the_same_bytes(data, at, tmp_path):
    """So that what one machine pushed is not out of date on another."""
    other = tmp_path / "other" / "deeper" / "data"
    for folder in (data, other):
        table(folder).save(at(folder / "01_raw" / "a.png"))
    stored = [(f / "05_model_input" / "labeled.parquet").read_bytes() for f in (data, other)]
    assert stored[0] == stored[1]


def test_a_path_from_the_working_folder_is_the_same_image(data, at, monkeypatch):
    monkeypatch.chdir(data.parent)
    table(data).save(at("data/01_raw/a.png"))
    assert table(data).load().paths.tolist() == [str(data / "01_raw" / "a.png")]


def test_images_elsewhere_keep_their_path(data, at, tmp_path):
    paths = [str(tmp_path / "photos" / "a.png"), "../photos/b.png"]
    table(data).save(at(*paths))
    assert table(data).load().paths.tolist() == paths
    moved = data.rename(tmp_path / "moved")
    assert table(moved).load().paths.tolist() == paths


def test_nobody_still_has_keypoints(data, make_people):
    """As the ignored people of most sources: no row, and yet k = 3."""
    nobody = make_people("ab").take(slice(0))
    table(data).save(nobody)
    found = table(data).load()
    assert len(found) == 0
    assert found.keypoints.shape == (0, 3, 2) and found.visibility.shape == (0, 3)
    same(found, nobody)
    same(Instances.join([found, make_people("c")]), make_people("c"))


def test_parts_of_a_source_come_back_by_name(data, make_people):
    """One part has columns that the other lacks; their order stays."""
    heads = np.array([10, np.nan], np.float32)
    parts = {
        "validation": replace(make_people("ab", first_id=7), head_sizes=heads),
        "annotated": make_people("cde"),
    }
    dataset = PartsDataset(filepath=str(data / "03_primary" / "instances.parquet"))
    dataset.save(parts)
    found = dataset.load()
    assert list(found) == ["validation", "annotated"]
    for name, people in parts.items():
        same(found[name], people)


def test_a_preview_counts_keypoints(data, at):
    table(data).save(at(data / "01_raw" / "a.png"))
    shown = table(data).preview()
    row = dict(zip(shown["columns"], shown["data"][0], strict=True))
    assert row["path"] == "a.png" and row["labeled_keypoints"] == 3
    assert not {"keypoints", "visibility"} & set(row)


def test_paths_are_made_once_for_each_image(data, at, monkeypatch):
    """Not for each person; and are what a loop over the people would give."""
    dataset = table(data)
    images = [str(data / "01_raw" / "a.png"), "elsewhere/b.png", str(data / "01_raw" / "c.png")]
    people = at(*(images[i] for i in [0, 1, 0, 2, 1, 0] * 20))
    rows = [dataset._stored(path) for path in people.paths]
    called, stored, opened = [], InstancesDataset._stored, InstancesDataset._opened
    monkeypatch.setattr(
        InstancesDataset, "_stored", lambda self, path: called.append(path) or stored(self, path)
    )
    monkeypatch.setattr(
        InstancesDataset, "_opened", lambda self, path: called.append(path) or opened(self, path)
    )
    dataset.save(people)
    assert called == images
    assert pd.read_parquet(dataset._filepath)["path"].tolist() == rows
    called.clear()
    assert dataset.load().paths.tolist() == people.paths.tolist()
    assert called == list(dict.fromkeys(rows))
