"""What training nodes yield: after each epoch all that the catalog has to keep."""

import io
import logging
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from sspcm_kedro.batch import Batch, Labeled
from sspcm_kedro.engine.fingerprint import code_digests
from sspcm_kedro.engine.fit import EpochPart
from sspcm_kedro.engine.learner import Learner
from sspcm_kedro.engine.optimizer import TrainingConfig
from sspcm_kedro.engine.progress import Checkpoints, StepProgress, format_epoch
from sspcm_kedro.engine.record import origin, place, warn_of_other_code
from sspcm_kedro.engine.training import train
from sspcm_kedro.methods import MethodConfig
from sspcm_kedro.pose.heatmap import HeatmapCodec

MINE = {"seed": 0, "method": {"kind": "supervised", "weight": 0.5}}
CODE = {"engine/fit.py": "1", "pose/losses.py": "2"}
TRAINING = TrainingConfig(batch=2, steps=2, warmup_epochs=2, round_epochs=2, rounds=1)


def make_learner() -> Learner:
    """A network of one convolution: training it takes no time."""

    def make(index: int) -> nn.Module:
        net = nn.Conv2d(3, 1, 4, stride=4)  # not 1x1: oneDNN's bug below 16 channels (issue 6035)
        nn.init.constant_(net.weight, 0.1 * (index + 1))
        nn.init.zeros_(net.bias)
        return net

    method = MethodConfig.model_validate({"kind": "supervised"})
    return Learner(method, make, HeatmapCodec(), TRAINING, torch.device("cpu"))


def batches(epoch: int, shard: int, start: int):
    for i in range(start, TRAINING.steps):
        rng = torch.Generator().manual_seed(10 * epoch + i)
        images = torch.randn(2, 3, 8, 8, generator=rng)
        yield Batch(Labeled(images, torch.rand(2, 1, 2, 2, generator=rng), torch.ones(2, 1)))


def outputs(span: range, resume=None, record=MINE, learner=None, code=CODE, minutes=0):
    """Copies of all that a training yields at the ends of epochs."""
    seen = []
    for output in train(
        learner or make_learner(), batches, lambda method: {"student/PCK": 0.5}, stage="warmup",
        span=span, training=TRAINING, seed=0, comes_from=origin(record, code, "u"),
        resume=resume, checkpoint_minutes=minutes,
    ):  # fmt: skip
        state = output["checkpoint"]
        if state["part"] is not None:
            continue
        method = {key: value.clone() for key, value in state["method"].items()}
        seen.append(SimpleNamespace(state={**state, "method": method}, history=output["history"]))
    return seen


def snapshot(learner: Learner) -> dict:
    """As a file would keep it."""
    file = io.BytesIO()
    torch.save(learner, file)
    return torch.load(io.BytesIO(file.getvalue()), weights_only=True)


def equal(a: dict, b: dict) -> bool:
    return all(torch.equal(a["method"][key], b["method"][key]) for key in a["method"])


def test_every_epoch_is_yielded_with_its_history():
    seen = outputs(range(3))
    assert [output.state["epoch"] for output in seen] == [1, 2, 3]
    assert [len(output.history) for output in seen] == [1, 2, 3]
    assert not equal(seen[0].state, seen[1].state)
    last = seen[-1].history
    assert last["stage"].tolist() == ["warmup"] * 3
    assert last["epoch"].tolist() == [1, 2, 3] and last["step"].tolist() == [2, 4, 6]
    assert last["student/PCK"].tolist() == [0.5] * 3
    assert (last["loss/supervised"] > 0).all()
    assert all(output.state["record"] == MINE for output in seen)


def test_a_checkpoint_of_the_same_record_is_gone_on_from(caplog):
    whole = outputs(range(3))
    first = next(iter(train_once(make_learner())))
    with caplog.at_level(logging.INFO):
        rest = outputs(range(3), resume=snapshot(first))
    assert [output.state["epoch"] for output in rest] == [2, 3]
    assert rest[-1].history["epoch"].tolist() == [1, 2, 3]
    assert equal(rest[-1].state, whole[-1].state)
    assert "warmup goes on after epoch 1 of 3" in caplog.text


def train_once(learner: Learner):
    """The checkpoints of a training of three epochs, at their ends, one at a time."""
    for state in train_by_steps(learner):
        if state["part"] is None:
            yield state


def train_by_steps(learner: Learner):
    """The same after every step."""
    for output in train(
        learner, batches, lambda method: {"student/PCK": 0.5}, stage="warmup", span=range(3),
        training=TRAINING, seed=0, comes_from=origin(MINE, CODE, "u"), resume=None,
        checkpoint_minutes=0,
    ):  # fmt: skip
        yield output["checkpoint"]


def test_a_checkpoint_from_within_an_epoch_is_gone_on_from(caplog):
    whole = outputs(range(3))
    states = [snapshot(state) for state in train_by_steps(make_learner())]
    assert [(s["epoch"], (s["part"] or {}).get("steps")) for s in states] == [
        (0, 1), (1, None), (1, 1), (2, None), (2, 1), (3, None)
    ]  # fmt: skip
    for middle in states[::2]:
        caplog.clear()
        with caplog.at_level(logging.INFO):
            rest = outputs(range(3), resume=middle)
        said = f"warmup goes on after epoch {middle['epoch']} and 1 steps of 3"
        assert said in caplog.text and place(middle) in said
        assert rest[-1].history["epoch"].tolist() == [1, 2, 3]
        assert equal(rest[-1].state, whole[-1].state)
        losses = (h["loss/supervised"].tolist() for h in (rest[-1].history, whole[-1].history))
        assert next(losses) == next(losses)


def test_the_history_of_a_first_epoch_that_has_not_ended_is_a_table():
    first = next(train(
        make_learner(), batches, lambda method: {}, stage="warmup", span=range(3),
        training=TRAINING, seed=0, comes_from=origin(MINE, CODE, "u"), resume=None,
        checkpoint_minutes=0,
    ))  # fmt: skip
    assert first["history"].empty and list(first["history"]) == ["stage", "epoch", "step"]


def test_short_epochs_are_not_stored_each():
    """The first one, and the last; in between what the minutes ask for."""
    assert [output.state["epoch"] for output in outputs(range(3), minutes=60)] == [1, 3]


def test_checkpoints_are_due_by_the_clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("sspcm_kedro.engine.progress.time.monotonic", lambda: now[0])
    due = Checkpoints(300)
    assert not due.at(whole=False, last=False)
    assert due.at(whole=True, last=False) and due.at(whole=True, last=True)
    now[0] = 400
    assert due.at(whole=False, last=False)
    due.restart()
    now[0] = 699
    assert not due.at(whole=True, last=False) and due.at(whole=True, last=True)
    now[0] = 700
    assert due.at(whole=True, last=False)


def test_a_checkpoint_of_another_record_is_left_alone(caplog):
    resume = snapshot(next(iter(train_once(make_learner()))))
    with caplog.at_level(logging.WARNING):
        seen = outputs(
            range(3), resume=resume, record={"seed": 1, "method": {"kind": "supervised"}}
        )
    assert [output.state["epoch"] for output in seen] == [1, 2, 3]
    assert equal(seen[-1].state, outputs(range(3))[-1].state)
    said = "another training, starts afresh: seed was 0, is 1; method.weight was 0.5, is absent"
    assert said in caplog.text


def test_a_finished_stage_yields_what_it_has():
    *_, last = (snapshot(state) for state in train_once(make_learner()))
    seen = outputs(range(3), resume=last)
    assert len(seen) == 1
    assert equal(seen[0].state, last)
    assert seen[0].history["epoch"].tolist() == [1, 2, 3]


def test_changed_code_warns_and_discards_nothing(caplog):
    """New files are no change of it; the checkpoint keeps the code that it began with."""
    first = snapshot(next(iter(train_once(make_learner()))))
    now = {"engine/fit.py": "3", "pose/losses.py": "2", "methods/mine.py": "4"}
    with caplog.at_level(logging.WARNING):
        seen = outputs(range(3), resume=first, code=now)
    assert [output.state["epoch"] for output in seen] == [2, 3]
    assert equal(seen[-1].state, outputs(range(3))[-1].state)
    (warning,) = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    said = "warmup goes on from a checkpoint that other code trained: engine/fit.py changed since"
    assert warning.startswith(said) and "raise training.version" in warning
    assert seen[-1].state["code"] == CODE
    caplog.clear()
    outputs(range(3), resume=first, code={**CODE, "methods/mine.py": "4"})
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING]


@pytest.mark.parametrize(
    ("name", "warned"), [("pipelines/warmup/nodes.py", False), ("engine/long_gone.py", True)]
)
def test_code_of_the_stage_before_is_no_change_and_a_file_that_is_gone_is(caplog, name, warned):
    state = {"code": {**code_digests("warmup"), name: "1"}}
    warn_of_other_code("round_1 starts", state, code_digests("rounds"))
    assert bool(caplog.records) == warned
    assert not warned or "engine/long_gone.py changed since" in caplog.text


def test_a_checkpoint_without_a_record_is_of_an_older_version(caplog):
    state = snapshot(next(iter(train_once(make_learner()))))
    del state["record"]
    with caplog.at_level(logging.WARNING):
        seen = outputs(range(3), resume=state)
    assert [output.state["epoch"] for output in seen] == [1, 2, 3]
    assert "an older version of this project made it" in caplog.text


@pytest.mark.parametrize("terminal", [True, False])
def test_a_long_epoch_has_a_line_a_minute_without_a_terminal(monkeypatch, caplog, terminal):
    now = [0.0]
    monkeypatch.setattr("sspcm_kedro.engine.progress.time.monotonic", lambda: now[0])
    monkeypatch.setattr("sspcm_kedro.engine.progress.sys.stderr.isatty", lambda: terminal)
    progress = StepProgress("warmup", 20)
    sums = {"loss/a": torch.tensor(1.0), "loss/b": torch.tensor(2.0), "kept": torch.ones(())}
    part = EpochPart(2, 4, [sums], people=240, seconds=80.0, generators=[])
    with caplog.at_level(logging.INFO, "sspcm_kedro.engine.progress"):
        for step in range(1, 5):
            now[0] += 30
            progress.steps = step
            progress.tell(part, 10)
    line = "warmup epoch 3, step 4 of 10: loss 0.75, 3 people/s, 9 min left"
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == (0 if terminal else 2)
    assert terminal or lines[0] == line


def test_a_line_of_the_log():
    line = {"stage": "warmup", "epoch": 2, "step": 6, "learning_rate": 1e-3, "loss": 0.012345}
    assert format_epoch(line) == "warmup epoch 2 (step 6): loss 0.01235"


@pytest.mark.parametrize("terminal", [True, False])
def test_the_bar_shows_the_loss_on_a_terminal_only(monkeypatch, terminal):
    monkeypatch.setattr("sys.stderr", SimpleNamespace(
        isatty=lambda: terminal, write=lambda text: None, flush=lambda: None, encoding="utf-8",
    ))  # fmt: skip
    bar = StepProgress("warmup", 20)
    with bar as on_step:
        for _ in range(20):
            on_step(
                {"loss/a": torch.tensor(0.25), "loss/b": torch.tensor(0.5), "kept": torch.ones(1)}
            )
    shown = bar.bar.tasks[0].fields["loss"]
    assert shown == ("0.75000" if terminal else "-")
