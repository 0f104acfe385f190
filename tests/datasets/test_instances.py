"""Tables of people can be moved with their images."""

from pathlib import Path

import pandas as pd
import pytest

from sspcm_kedro.datasets.instances import InstancesDataset


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    (folder / "01_raw").mkdir(parents=True)
    (folder / "01_raw" / "a.png").write_bytes(b"pixels")
    return folder


def table(data) -> InstancesDataset:
    return InstancesDataset(filepath=str(data / "05_model_input" / "labeled.parquet"))


def test_images_in_the_data_folder_are_found_where_it_was_moved_to(data, tmp_path):
    people = pd.DataFrame({"id": [1, 2], "path": [str(data / "01_raw" / "a.png")] * 2})
    table(data).save(people)
    pd.testing.assert_frame_equal(table(data).load(), people)
    moved = data.rename(tmp_path / "elsewhere")
    found = table(moved).load()
    assert found["path"].tolist() == [str(moved / "01_raw" / "a.png")] * 2
    assert Path(found["path"][0]).read_bytes() == b"pixels"


def test_two_places_write_the_same_bytes(data, tmp_path):
    """So that what one machine pushed is not out of date on another."""
    other = tmp_path / "other" / "deeper" / "data"
    for folder in (data, other):
        table(folder).save(pd.DataFrame({"path": [str(folder / "01_raw" / "a.png")]}))
    stored = [(f / "05_model_input" / "labeled.parquet").read_bytes() for f in (data, other)]
    assert stored[0] == stored[1]


def test_a_path_from_the_working_folder_is_the_same_image(data, monkeypatch):
    monkeypatch.chdir(data.parent)
    table(data).save(pd.DataFrame({"path": ["data/01_raw/a.png"]}))
    assert table(data).load()["path"].tolist() == [str(data / "01_raw" / "a.png")]


def test_images_elsewhere_keep_their_path(data, tmp_path):
    paths = [str(tmp_path / "photos" / "a.png"), "../photos/b.png"]
    table(data).save(pd.DataFrame({"path": paths}))
    assert table(data).load()["path"].tolist() == paths
    moved = data.rename(tmp_path / "moved")
    assert table(moved).load()["path"].tolist() == paths
