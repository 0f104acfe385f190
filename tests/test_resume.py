"""Training that is killed and started again ends where it would have ended; and does not cheat."""

import hashlib
import json
import logging
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from kedro.io import DatasetError

from sspcm_kedro.datasets.checkpoint import CheckpointDataset
from sspcm_kedro.errors import BadInput

LONG = {
    "training": {"steps": 8, "warmup_epochs": 6, "round_epochs": 6, "rounds": 1},
    "monitor": {"people": 0},
    "machine": {"checkpoint_minutes": 0.002},  # within epochs
}
SHORT = {
    "training": {"steps": 2, "warmup_epochs": 1, "round_epochs": 1, "rounds": 1},
    "monitor": {"people": 0},
    "comparison": {"kind": "pose_dual"},
}


def dotted(params) -> str:
    """Nested parameters as ``--params`` takes them."""
    return ",".join(f"{key}.{k}={v}" for key, table in params.items() for k, v in table.items())


def load(project, stage: str):
    return torch.load(file_of(project, stage), weights_only=True)


def file_of(project, stage: str):
    return project.data / "06_models" / stage / "checkpoint.pt"


def leaves(value, path=""):
    """(path, value) of all in a checkpoint but pace and memory, which no two runs share."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key not in ("seconds", "people_per_second", "memory_gib"):
                yield from leaves(item, f"{path}/{key}")
    elif isinstance(value, list | tuple):
        for i, item in enumerate(value):
            yield from leaves(item, f"{path}/{i}")
    else:
        yield path, value


def assert_same(a, b) -> None:
    """Two checkpoints are equal to the last bit."""
    a, b = dict(leaves(a)), dict(leaves(b))
    assert a.keys() == b.keys()
    for path, value in a.items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, b[path]), path
        else:
            assert value == b[path], path


def kill_in(project, stage: str, command) -> None:
    """Start the command and kill it, without warning, after the stage's first checkpoint."""
    process = project.start(*command)
    try:
        deadline = time.monotonic() + 120
        while not file_of(project, stage).exists():
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < deadline
            time.sleep(0.002)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()


def test_killed_training_ends_bit_for_bit_as_if_it_had_not_been(
    project, make_project, drawn_project, one_thread
):
    """Killed once in the warm-up and once in the round; the same command each time."""
    command = ("--pipelines", "warmup,round_1", "--params", dotted(LONG))
    kill_in(project, "warmup", command)
    assert load(project, "warmup")["epoch"] < 6
    kill_in(project, "round_1", command)
    assert load(project, "warmup")["epoch"] == 6
    assert 6 <= load(project, "round_1")["epoch"] < 12
    printed = project.kedro(*command)
    assert "warmup goes on after epoch 6 of 6" in printed
    assert "round_1 goes on after epoch" in printed

    reference = make_project("uninterrupted")
    reference.take_people(drawn_project)
    reference.run("warmup", "round_1", **LONG)
    for stage, epochs in (("warmup", 6), ("round_1", 12)):
        interrupted, whole = load(project, stage), load(reference, stage)
        assert whole["epoch"] == epochs
        assert len(whole["optimizer"]["state"]) > 0
        assert_same(interrupted, whole)
        history = pd.read_csv(project.data / "06_models" / stage / "history.csv")
        assert history["epoch"].tolist() == list(range(epochs - 5, epochs + 1))


@pytest.fixture
def learning_log():
    """What training logs. Kedro replaces the root's handlers, and with them pytest's own."""
    messages: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            messages.append(record.getMessage())

    logger, handler = logging.getLogger("sspcm_kedro.engine.training"), Keep()
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield messages
    logger.removeHandler(handler)


def test_a_checkpoint_of_other_settings_is_not_gone_on_from(
    project, make_project, drawn_project, learning_log, one_thread
):
    project.run("warmup", **SHORT, seed=5)
    other = load(project, "warmup")
    project.run("warmup", **SHORT)
    said = "warmup has a checkpoint of another training, starts afresh: seed was 5, is 0"
    assert said in learning_log
    fresh = make_project("fresh")
    fresh.take_people(drawn_project)
    fresh.run("warmup", **SHORT)
    assert_same(load(project, "warmup"), load(fresh, "warmup"))
    assert load(project, "warmup")["fingerprint"] != other["fingerprint"]


def test_the_machine_is_not_part_of_the_experiment(project, learning_log):
    project.run("warmup", **SHORT)
    project.run("warmup", **SHORT, machine={"workers": 1, "crop_memory_gib": 0.0})
    assert "warmup goes on after epoch 1 of 1" in learning_log


def test_a_truncated_checkpoint_says_what_to_do(project):
    project.run("warmup", **SHORT)
    file = file_of(project, "warmup")
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises((BadInput, DatasetError)) as caught:
        project.run("warmup", **SHORT)
    text = str(caught.value)
    assert str(file) in text
    assert "must be as it was written" in text
    assert "Delete it; training then starts that stage afresh" in text
    assert file.stat().st_size == 1000  # nothing was written over it
    file.unlink()
    project.run("warmup", **SHORT)
    assert load(project, "warmup")["epoch"] == 1


def test_a_round_does_not_start_from_half_a_warmup(project):
    """As after `kedro run --pipelines warmup` was killed, then `--pipelines round_1`."""
    params = {**SHORT, "training": {**SHORT["training"], "warmup_epochs": 2}}
    project.run("warmup", **params)
    state = load(project, "warmup")
    CheckpointDataset(str(file_of(project, "warmup"))).save({**state, "epoch": 1})
    with pytest.raises(BadInput, match="epoch"):
        project.run("round_1", **params)
    assert not file_of(project, "round_1").exists()


def test_labels_of_unlabeled_people_reach_no_network(make_project, one_thread):
    """Every label that training may not see is changed in the source; the weights are the same."""
    project = make_project("poison")
    stages = ("warmup", "round_1", "comparison")
    project.run("ingestion", "warmup", "rounds", "comparison", **SHORT)
    clean = {stage: load(project, stage) for stage in stages}
    tables = project.data / "05_model_input"
    before = pd.read_parquet(tables / "hidden_truth.parquet")
    labeled = set(pd.read_parquet(tables / "labeled.parquet")["id"])

    annotations, poisoned = project.data / "01_raw" / "drawn" / "annotations", 0
    for name in ("hidden_truth_unlabeled.json", "person_keypoints_train.json"):
        content = json.loads((annotations / name).read_text())
        for person in content["annotations"]:
            if name.startswith("hidden") or person["id"] not in labeled:
                points = np.array(person["keypoints"], float).reshape(-1, 3)
                points[:, :2] = 7.0  # all keypoints in a corner, and all of them visible
                points[:, 2] = 2
                person["keypoints"] = points.ravel().tolist()
                poisoned += 1
        (annotations / name).write_text(json.dumps(content))
    seal(annotations.parent)
    assert poisoned == len(before)
    for layer in ("06_models", "07_model_output"):
        shutil.rmtree(project.data / layer)

    project.run("ingestion", "warmup", "rounds", "comparison", **SHORT)
    truth = np.stack(pd.read_parquet(tables / "hidden_truth.parquet")["keypoints"].to_list())
    assert (truth == 7).all() and not (np.stack(before["keypoints"].to_list()) == 7).all()
    for stage in stages:  # the ingestion is another: its hidden truth is
        assert_same({**load(project, stage), "unit": ""}, {**clean[stage], "unit": ""})


def seal(folder: Path) -> None:
    """Makes a folder of drawn people, as it is now, one that was drawn so."""
    digests = {
        file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in folder.rglob("*")
        if file.is_file() and file.name != "fingerprint.json"
    }
    note = json.loads((folder / "fingerprint.json").read_text())
    (folder / "fingerprint.json").write_text(json.dumps({**note, "sha256": digests}))


def test_labels_of_people_who_were_split_anew_are_not_used(project):
    """The tables change, a later part of a round is run: it has pseudo-labels of others."""
    project.run("warmup", "round_1", **SHORT)
    before = file_of(project, "round_1").read_bytes()
    anew = {"split": {"labeled": 11, "order": "seeded"}}
    project.run("ingestion", **anew)
    part = {"from_nodes": ["round_1.correction"], "to_nodes": ["round_1.training"]}
    with pytest.raises(BadInput, match=r"pseudo-labels of this round: .*--pipelines rounds"):
        project.run(only=part, **SHORT, **anew)
    with pytest.raises(BadInput, match=r"checkpoint of warmup.*: labeled.people was 12, is 11"):
        project.run("round_1", **SHORT, **anew)
    assert file_of(project, "round_1").read_bytes() == before


def test_an_ingestion_that_was_killed_between_two_tables_is_seen(project, make_project):
    other = make_project("other")
    other.take_people(project)
    other.run("ingestion", split={"labeled": 11, "order": "seeded"})
    table = "05_model_input/labeled.parquet"
    shutil.copy(other.data / table, project.data / table)  # the first of the tables is written
    with pytest.raises(BadInput, match=r"validation people: must be of the same ingestion as the "
                       r"labeled people.*kedro run --pipelines ingestion"):  # fmt: skip
        project.run("warmup", **SHORT)
    project.run("ingestion")
    project.run("warmup", **SHORT)


def test_rounds_of_other_settings_do_not_pretend_to_have_trained(project):
    project.run("warmup", "round_1", **SHORT)
    with pytest.raises(BadInput, match=r"checkpoint of warmup.*: seed was 0, is 7\."):
        project.run("round_1", **SHORT, seed=7)
    first = load(project, "round_1")
    project.run("round_1", **SHORT, method={"weight": 100.0})
    second = load(project, "round_1")
    assert second["record"]["method"]["weight"] == 100
    assert second["record"]["previous"] == first["record"]["previous"]
    assert second["fingerprint"] != first["fingerprint"]
