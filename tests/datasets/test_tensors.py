"""Tensors and text in one safetensors file."""

import json

import pytest
import torch
from kedro.io import DatasetError
from safetensors import safe_open

from sspcm_kedro.datasets import tensors
from sspcm_kedro.datasets.tensors import TensorsDataset


def test_tensors_and_text_come_back(tmp_path):
    dataset = TensorsDataset(str(tmp_path / "new" / "labels.safetensors"))
    base = torch.arange(12, dtype=torch.float64).reshape(3, 4)
    data = {
        "kept": torch.tensor([[1, 0]], dtype=torch.uint8),
        "ids": torch.tensor([9007199254740993]),  # no float holds it
        "view": base.T,  # not contiguous, and shares its memory
        "same": base,
        "none": torch.zeros(0, 3),
        "skeleton": '{"names": ["näse"]}',
    }
    dataset.save(data)
    loaded = dataset.load()
    assert loaded.keys() == data.keys()
    assert loaded.pop("skeleton") == data.pop("skeleton")
    for name, value in data.items():
        assert loaded[name].dtype == value.dtype and torch.equal(loaded[name], value)
    with safe_open(tmp_path / "new" / "labels.safetensors", framework="pt") as file:
        metadata = file.metadata()
    assert metadata.keys() == {"seal", "skeleton"}
    assert metadata["skeleton"] == '{"names": ["näse"]}'


def test_equal_content_is_equal_bytes(tmp_path):
    """Texts in one order, however often and in whatever order they are given."""
    texts = {f"text {i} näse": f'{{"a": "\n{i}"}}' for i in range(8)}
    written = set()
    for turn, keys in enumerate([list(texts), list(reversed(texts)), list(texts)]):
        dataset = TensorsDataset(str(tmp_path / f"{turn}.safetensors"))
        data = {"a": torch.arange(3.0), **{key: texts[key] for key in keys}}
        dataset.save(data)
        written.add((tmp_path / f"{turn}.safetensors").read_bytes())
        loaded = dataset.load()
        assert torch.equal(loaded.pop("a"), data["a"]) and loaded == texts
    assert len(written) == 1


def test_saving_does_not_change_what_is_saved(tmp_path):
    value = torch.arange(4.0)
    data = {"a": value}
    TensorsDataset(str(tmp_path / "a.safetensors")).save(data)
    assert data == {"a": value} and data["a"] is value


def test_a_save_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    file = tmp_path / "a.safetensors"
    dataset = TensorsDataset(str(file))
    dataset.save({"a": torch.ones(2)})

    def broken(data, path, metadata):
        path.write_bytes(b"half of it")
        raise OSError("the disk is full")

    monkeypatch.setattr(tensors, "save_file", broken)
    with pytest.raises(DatasetError, match="the disk is full"):
        dataset.save({"a": torch.zeros(2)})
    assert list(tmp_path.iterdir()) == [file]
    assert torch.equal(dataset.load()["a"], torch.ones(2))


def test_existence_is_that_of_the_file(tmp_path):
    dataset = TensorsDataset(str(tmp_path / "a.safetensors"))
    assert not dataset.exists()
    dataset.save({"a": torch.ones(1)})
    assert dataset.exists()


def test_the_preview_is_json_whatever_the_numbers(tmp_path):
    dataset = TensorsDataset(str(tmp_path / "labels.safetensors"))
    dataset.save({
        "points": torch.tensor([[0.5, float("nan")], [float("inf"), -2.0]]),
        "unknown": torch.full((2,), float("nan")),
        "none": torch.zeros(0, 3),
        "count": torch.tensor(7),
        "kind": "drawn",
    })  # fmt: skip
    assert json.loads(dataset.preview()) == {
        "points": "float32, 2 x 2, -2 to 0.5", "unknown": "float32, 2", "none": "float32, 0 x 3",
        "count": "int64, one number, 7 to 7", "kind": "drawn",
    }  # fmt: skip


def test_an_optional_file_may_be_missing_or_damaged(tmp_path, caplog):
    file = tmp_path / "labels.safetensors"
    dataset, optional = TensorsDataset(str(file)), TensorsDataset(str(file), optional=True)
    assert optional.load() is None and not caplog.records
    dataset.save({"a": torch.ones(2)})
    assert torch.equal(optional.load()["a"], torch.ones(2))
    file.write_bytes(file.read_bytes()[:-3])
    with pytest.raises(DatasetError, match="must be as it was written"):
        dataset.load()
    assert optional.load() is None
    assert f"{file}: " in caplog.text and "it is made again" in caplog.text
