"""Files and folders are whole or as they were: after kills, on full disks, of every dataset."""

import errno
import os
from pathlib import Path

import pandas as pd
import pytest
import torch
from kedro.io.core import DatasetError

from sspcm_kedro.datasets import checkpoint, files, scores, tensors, whole
from sspcm_kedro.datasets.whole import is_full_disk, replace_file, replace_folder
from sspcm_kedro.errors import BadInput

KINDS = {
    "csv": (files.TableDataset, pd.DataFrame({"a": [1]}), {"save_args": {"index": False}}),
    "json": (files.JsonDataset, {"a": 1}, {}),
    "html": (files.TextDataset, "<p>", {}),
    "scores": (scores.ScoresDataset, {"a": 1.0}, {}),
    "pt": (checkpoint.CheckpointDataset, {"fingerprint": "x", "w": torch.ones(3)}, {}),
    "safetensors": (tensors.TensorsDataset, {"w": torch.ones(3)}, {}),
}


@pytest.fixture(params=KINDS)
def made(request, tmp_path):
    """A dataset of each kind, what it saves, and its file."""
    make, data, more = KINDS[request.param]
    file = tmp_path / "layer" / f"file.{request.param}"
    return make(filepath=str(file), **more), data, file


def test_what_is_saved_is_loaded_and_nothing_is_left_beside(made):
    dataset, data, file = made
    assert not dataset.exists()
    dataset.save(data)
    assert dataset.exists()
    assert os.listdir(file.parent) == [file.name]
    loaded = dataset.load()
    if isinstance(data, pd.DataFrame):
        pd.testing.assert_frame_equal(loaded, data)
    else:
        assert str(loaded) == str(data)


def test_a_kill_in_the_middle_leaves_the_file_as_it_was(made, monkeypatch):
    dataset, data, file = made
    dataset.save(data)
    before = file.read_bytes()

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        dataset.save(data)
    assert file.read_bytes() == before
    assert os.listdir(file.parent) == [file.name]


def test_an_empty_file_is_not_finished(made):
    """For ``kedro run --only-missing-outputs``."""
    dataset, _, file = made
    file.parent.mkdir()
    file.touch()
    assert not dataset.exists()


def test_an_empty_checkpoint_is_damage_and_not_a_new_start(tmp_path):
    file = tmp_path / "checkpoint.pt"
    file.touch()
    with pytest.raises(DatasetError, match="and is empty"):
        checkpoint.CheckpointDataset(str(file), optional=True).load()


def test_a_full_disk_is_one_sentence_and_the_file_is_as_it_was(made, monkeypatch):
    dataset, data, file = made
    dataset.save(data)
    before = file.read_bytes()

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DatasetError, match=f"{file.name}: cannot be written, for the disk is full"):
        dataset.save(data)
    assert file.read_bytes() == before and os.listdir(file.parent) == [file.name]
    monkeypatch.undo()
    dataset.save(data)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_libraries_say_in_their_own_words_that_a_disk_is_full(tmp_path):
    with pytest.raises(BadInput, match="is full"), replace_file(tmp_path / "x.pt") as path:
        path.symlink_to("/dev/full")
        torch.save({"w": torch.ones(1000)}, path)


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (OSError(errno.ENOSPC, "x"), True),
        (OSError(errno.EDQUOT, "x"), True),
        (RuntimeError("[enforce fail at inline_container.cc:626] . unexpected pos 1 vs 2"), True),
        (ValueError("I/O error: No space left on device (os error 28)"), True),
        (ValueError("database or disk is full"), True),
        (OSError(errno.EACCES, "Permission denied"), False),
        (ValueError("a number"), False),
    ],
)
def test_a_full_disk_is_known_from_other_errors(error, full):
    assert is_full_disk(error) is full
    wrapped = RuntimeError("outer")
    wrapped.__cause__ = error
    assert is_full_disk(wrapped) is full


def test_other_errors_stay_what_they_are(tmp_path):
    with pytest.raises(PermissionError), replace_file(tmp_path / "x"):
        raise PermissionError


def folder_of(path: Path, text: str) -> Path:
    path.mkdir()
    (path / "file").write_text(text)
    return path


@pytest.mark.parametrize("fails", [False, True])
def test_a_kill_between_the_two_renames_loses_nothing(tmp_path, fails):
    """The old copy is .old, the new one .new, and the next run fails too, or does not."""
    folder = tmp_path / "folder"
    folder_of(tmp_path / ".folder.old", "old")
    folder_of(tmp_path / ".folder.new", "new")
    try:
        with replace_folder(folder) as fresh:
            assert (folder / "file").read_text() == "old"
            (fresh / "file").write_text("newest")
            if fails:
                raise ZeroDivisionError
    except ZeroDivisionError:
        pass
    assert (folder / "file").read_text() == ("old" if fails else "newest")
    assert os.listdir(tmp_path) == ["folder"]


def test_a_folder_that_cannot_take_its_place_leaves_the_old_one(tmp_path, monkeypatch):
    folder = folder_of(tmp_path / "folder", "old")
    rename = Path.rename

    def fail(path: Path, target: Path) -> Path:
        if path.name == ".folder.new":
            raise OSError(errno.ENOSPC, "No space left on device")
        return rename(path, target)

    monkeypatch.setattr(whole.Path, "rename", fail)
    with pytest.raises(BadInput, match="folder: cannot be written"), replace_folder(folder):
        pass
    assert (folder / "file").read_text() == "old"
    assert os.listdir(tmp_path) == ["folder"]


def test_what_a_library_writes_for_its_owner_alone_others_may_read_as_the_umask_says(tmp_path):
    """safetensors writes files that only their owner may read."""
    plain, model = tmp_path / "plain", tmp_path / "model.safetensors"
    plain.write_text("a")
    tensors.TensorsDataset(filepath=str(model)).save({"a": torch.zeros(1)})
    assert model.stat().st_mode == plain.stat().st_mode
