"""Checkpoints: whole or not at all, and read without executing anything."""

import pickle
from pathlib import Path

import pytest
import torch
from kedro.io import DatasetError

from sspcm_kedro.datasets.checkpoint import CheckpointDataset
from sspcm_kedro.datasets.seal import fill_comment

STATE = {
    "method": {"a.weight": torch.arange(6.0).reshape(2, 3)},
    "optimizer": {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 1e-3}]},
    "epoch": 4,
    "history": [{"stage": "warmup", "loss": 0.25}],
    "fingerprint": "0123456789ab",
}


def test_what_is_saved_is_loaded(tmp_path):
    dataset = CheckpointDataset(str(tmp_path / "deep" / "er" / "checkpoint.pt"))
    dataset.save(STATE)
    loaded = dataset.load()
    assert torch.equal(loaded["method"].pop("a.weight"), STATE["method"]["a.weight"])
    assert {k: v for k, v in loaded.items() if k != "method"} == {
        k: v for k, v in STATE.items() if k != "method"
    }
    assert [file.name for file in (tmp_path / "deep" / "er").iterdir()] == ["checkpoint.pt"]


def test_a_missing_file_is_none_only_where_it_is_optional(tmp_path):
    file = str(tmp_path / "checkpoint.pt")
    assert CheckpointDataset(file, optional=True).load() is None
    assert not CheckpointDataset(file).exists()
    with pytest.raises(DatasetError, match="No such file"):
        CheckpointDataset(file).load()


class Unsavable:
    def __reduce__(self):
        raise RuntimeError("the disk is full")


def test_a_save_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    file = tmp_path / "checkpoint.pt"
    dataset = CheckpointDataset(str(file))
    dataset.save(STATE)
    before = file.read_bytes()
    with pytest.raises(DatasetError, match="the disk is full"):
        dataset.save({**STATE, "epoch": Unsavable()})
    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]


class Malicious:
    """Makes a file when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return Path.touch, (self.trace,)


@pytest.mark.parametrize("optional", [True, False])
@pytest.mark.parametrize("write", [torch.save, lambda x, file: file.write_bytes(pickle.dumps(x))])
def test_a_malicious_file_is_refused_and_does_nothing(tmp_path, optional, write):
    file, trace = tmp_path / "checkpoint.pt", tmp_path / "trace"
    write({**STATE, "epoch": Malicious(trace)}, file)
    rule = "must be as it was written"
    if write is torch.save:  # a digest can be made by anybody
        fill_comment(file)
        rule = "must be a checkpoint of this project"
    with pytest.raises(DatasetError, match=rule) as caught:
        CheckpointDataset(str(file), optional=optional).load()
    assert str(file) in str(caught.value) and "Delete it" in str(caught.value)
    assert not trace.exists()


@pytest.mark.parametrize("size", [0, 1, 500, -1])
def test_a_truncated_file_is_refused(tmp_path, size):
    file = tmp_path / "checkpoint.pt"
    CheckpointDataset(str(file)).save(STATE)
    file.write_bytes(file.read_bytes()[:size])
    with pytest.raises(DatasetError, match="must be as it was written"):
        CheckpointDataset(str(file), optional=True).load()


@pytest.mark.parametrize("content", [torch.zeros(3), [1, 2], {"weights": torch.zeros(3)}])
def test_another_torch_file_is_no_checkpoint(tmp_path, content):
    file = tmp_path / "checkpoint.pt"
    torch.save(content, file)
    fill_comment(file)
    with pytest.raises(DatasetError, match="must be a checkpoint of this project"):
        CheckpointDataset(str(file), optional=True).load()


def test_the_preview_of_no_checkpoint_is_empty(tmp_path):
    assert CheckpointDataset(str(tmp_path / "checkpoint.pt"), optional=True).preview() == ""
