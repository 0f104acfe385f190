"""The nodes of a round on drawn people, one by one, and how rounds are chained; any method."""

import json
from copy import deepcopy
from dataclasses import replace
from typing import get_args

import numpy as np
import pandas as pd
import pytest
import torch
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner
from safetensors.torch import load_file

from sspcm_kedro.data.held_out import held_out_rows
from sspcm_kedro.data.instances import Instances
from sspcm_kedro.data.loader import Batches
from sspcm_kedro.data.views import ViewConfig
from sspcm_kedro.engine import stage as stages_of
from sspcm_kedro.engine.optimizer import RoundBatch, TrainingConfig
from sspcm_kedro.engine.record import stamp
from sspcm_kedro.engine.stage import MonitorConfig
from sspcm_kedro.errors import BadInput
from sspcm_kedro.machine import MachineConfig
from sspcm_kedro.methods import MethodConfig
from sspcm_kedro.methods.base import STORED
from sspcm_kedro.nets import NetworkConfig
from sspcm_kedro.pipelines import rounds, warmup
from sspcm_kedro.pipelines.annotation_queue.nodes import QueueConfig, select_people
from sspcm_kedro.pipelines.rounds import nodes as nodes_of_rounds
from sspcm_kedro.pipelines.rounds.nodes import (
    correction,
    cut_occlude,
    pseudo_labels,
    round_trainer,
)
from sspcm_kedro.pipelines.warmup.nodes import warm_up
from sspcm_kedro.pose.skeleton import Skeleton, UnionTraining

ROUNDS = 3
SETTINGS = {
    "seed": 0,
    "view": ViewConfig(),
    "network": NetworkConfig.model_validate({"kind": "small_baseline", "width": 16}),
    "method": MethodConfig.model_validate({"kind": "sspcm", "min_score": 0.0}),
    "training": TrainingConfig(batch=4, steps=1, warmup_epochs=1, round_epochs=1, rounds=ROUNDS),
    "monitor": MonitorConfig(people=0),
    "machine": MachineConfig(device="cpu", crop_memory_gib=0.1),
}
PEOPLE = ("labeled", "unlabeled", "validation")


class Kept(MemoryDataset):
    """Is not emptied after its last reader."""

    def _release(self) -> None:
        pass


@pytest.fixture(scope="module")
def people(drawn_project):
    with drawn_project.session() as session:
        catalog = session.load_context().catalog
    tables = {name: catalog[name].load().take(slice(6)) for name in PEOPLE}
    return {**tables, "skeleton": catalog["skeleton"].load()}


def run(people, count: int, **changed) -> dict:
    """Warm-up and so many rounds on a catalog in memory: everything that they save."""
    pipeline = warmup.create_pipeline() + rounds.create_pipeline(count)
    settings = {f"params:{key}": value for key, value in {**SETTINGS, **changed}.items()}
    stages = ("warmup", *(f"round_{n}" for n in range(1, count + 1)))
    resume = {f"resume_{stage}": None for stage in stages}
    resume |= {f"resume_{stage}_predictions": None for stage in stages[1:]}
    catalog = DataCatalog(
        {name: MemoryDataset(value) for name, value in {**settings, **people, **resume}.items()}
    )
    for name in pipeline.all_outputs():
        catalog[name] = Kept()
    SequentialRunner().run(pipeline, catalog)
    return {name: catalog[name].load() for name in pipeline.all_outputs()}


@pytest.fixture(scope="module")
def outputs(people):
    """What SSPCM saves in three rounds."""
    return run(people, ROUNDS)


def test_a_round_reads_the_one_before_and_itself():
    pipeline = rounds.create_pipeline(ROUNDS)
    nodes = {node.name: node for node in pipeline.nodes}
    assert len(nodes) == 4 * ROUNDS
    for number in range(1, ROUNDS + 1):
        before = f"round_{number - 1}" if number > 1 else "warmup"
        here = f"round_{number}"
        reads = {step: set(nodes[f"{here}.{step}"].inputs) for step in
                 ("pseudo_labels", "correction", "cut_occlude", "training")}  # fmt: skip
        assert f"{before}_checkpoint" in reads["pseudo_labels"]
        assert f"{here}_predictions" in reads["correction"]
        assert (f"{before}_predictions" in reads["correction"]) == (number > 1)
        assert {f"{before}_checkpoint", f"resume_{here}", f"{here}_predictions",
                f"{here}_occluders"} <= reads["training"]  # fmt: skip
    assert not {"hidden_truth", "instances"} & pipeline.all_inputs()
    assert "hidden_truth" not in warmup.create_pipeline().all_inputs()


def test_pseudo_labels_have_a_row_a_person(outputs, people):
    n = len(people["unlabeled"])
    for number in range(1, ROUNDS + 1):
        predictions = outputs[f"round_{number}_predictions"]
        assert predictions["ids"].tolist() == people["unlabeled"].ids.tolist()
        assert predictions["keypoints"].shape == (2, n, 17, 2)
        assert predictions["scores"].shape == (2, n, 17)
        assert not torch.equal(*predictions["scores"])  # the teachers differ
    assert not torch.equal(
        outputs["round_1_predictions"]["scores"], outputs["round_2_predictions"]["scores"]
    )


def test_every_round_goes_on_where_the_last_ended(outputs):
    stages = ("warmup", "round_1", "round_2", "round_3")
    assert [outputs[f"{stage}_checkpoint"]["epoch"] for stage in stages] == [1, 2, 3, 4]
    for number in range(1, 4):
        history = outputs[f"round_{number}_history"]
        assert history["stage"].tolist() == [f"round_{number}"]
        assert history["epoch"].tolist() == [number + 1]
    prints = {outputs[f"{stage}_checkpoint"]["fingerprint"] for stage in stages}
    assert len(prints) == 4


def test_round_one_has_no_earlier_period(outputs):
    """Its pairs coincide, so the first is chosen; later rounds choose among all."""
    assert outputs["round_1_correction_report"]["pair_shares"]["now_now"] == 1
    later = outputs["round_2_correction_report"]["pair_shares"]
    assert 0 < later["now_now"] < 1 and sum(later.values()) == pytest.approx(1)


def test_the_correction_report_says_what_was_kept(make_people):
    somebody = make_people("a", first_id=5)
    now = {
        "ids": torch.tensor([5]),
        "keypoints": torch.tensor([[[[0.0, 0.0], [10.0, 10.0]]], [[[48.0, 64.0], [10.0, 10.0]]]]),
        "scores": torch.full((2, 1, 2), 0.8),
    }
    method = MethodConfig.model_validate({"kind": "sspcm", "max_inconsistency": 0.5})
    view = ViewConfig(input_hw=(64, 48))
    corrected, report = correction(now, now, somebody, somebody, Skeleton(("a", "b")), view, method)
    assert corrected["kept"].tolist() == [[0, 1]] and corrected["ids"].tolist() == [5]
    assert report["kept"] == 0.5 and report["kept_per_keypoint"] == {"a": 0, "b": 1}
    assert report["pair_shares"] == {
        "now_now": 1, "earlier_now": 0, "now_earlier": 0, "earlier_earlier": 0
    }  # fmt: skip
    assert list(report["inconsistency_quantiles"].values()) == pytest.approx([0.1, 0.5, 0.9])


def test_what_no_label_teaches_is_not_in_the_correction_report(make_people):
    """Channel 1 of 3 of a union is noise: far apart, and of other pairs than the taught ones."""
    rng = torch.Generator().manual_seed(3)
    keypoints = torch.full((2, 20, 3, 2), 10.0)
    keypoints[:, :, 1] = 48 * torch.rand(2, 20, 2, generator=rng)
    people = make_people(20 * "a")
    scores = torch.full((2, 20, 3), 0.8)
    now = {"ids": torch.tensor(people.ids), "keypoints": keypoints, "scores": scores}
    now["scores"][..., 1] = 0
    earlier = {**now, "keypoints": keypoints.flip(1)}
    union = UnionTraining((0, 2), Skeleton(("a", "c")), (0, 2))
    method = MethodConfig.model_validate({"kind": "sspcm"})
    view = ViewConfig(input_hw=(64, 48))
    taught = Skeleton(("a", "b", "c"), union=union)
    _, report = correction(now, earlier, people, people, taught, view, method)
    assert report["kept"] == 1 and report["kept_per_keypoint"] == {"a": 1, "c": 1}
    assert report["pair_shares"]["now_now"] == 1
    assert set(report["inconsistency_quantiles"].values()) == {0}
    everything = Skeleton(("a", "b", "c"))
    _, all_taught = correction(now, earlier, people, people, everything, view, method)
    assert all_taught["kept"] == pytest.approx(2 / 3)
    assert all_taught["inconsistency_quantiles"]["0.9"] > 0.05


def test_occluders_are_of_unlabeled_people(outputs, people):
    bank = outputs["round_1_occluders"]["occluders"]
    assert bank.shape[1] == 3 and len(bank) > 0
    assert set(np.unique(bank[:, 0])) <= set(range(len(people["unlabeled"])))
    figure = outputs["round_1_occlusion_sheet"]
    assert figure.axes


@pytest.fixture
def train(outputs, people):
    """The first checkpoint that a round yields, its inputs changed as told."""

    def first_epoch(number: int = 1, resume=None, **changed) -> dict:
        before = f"round_{number - 1}" if number > 1 else "warmup"
        inputs = {"previous": outputs[f"{before}_checkpoint"], "resume": resume, **people,
                  **SETTINGS, "predictions": outputs[f"round_{number}_predictions"],
                  "corrected": outputs[f"round_{number}_corrected"],
                  "occluders": outputs[f"round_{number}_occluders"]}  # fmt: skip
        return next(round_trainer(number)(**{**inputs, **changed}))["checkpoint"]

    return first_epoch


def made_with(outputs, number: int, checkpoint: dict) -> dict:
    """What a round stores, as if this checkpoint had made it."""
    mark = {"checkpoint": stamp(checkpoint)}
    names = ("predictions", "corrected", "occluders")
    return {name: {**outputs[f"round_{number}_{name}"], **mark} for name in names}


def changed(name: str, **values):
    return {name: SETTINGS[name].model_copy(update=values)}


def method(**values):
    return {"method": MethodConfig.model_validate({"kind": "sspcm", "min_score": 0.0, **values})}


@pytest.mark.parametrize("epoch", [0, 2])
def test_a_stage_that_was_not_finished_is_no_start(outputs, train, epoch):
    previous = {**outputs["warmup_checkpoint"], "epoch": epoch}
    made = made_with(outputs, 1, previous)
    with pytest.raises(BadInput, match=rf"warmup.*found it after epoch {epoch}\. Run that stage"):
        train(previous=previous, **made)


def test_a_round_of_another_number_is_no_start(outputs, train):
    """Round 2 after round 2's own end: not round 3 under another name."""
    previous = outputs["round_2_checkpoint"]
    with pytest.raises(BadInput, match='stage was "round_2", is "round_1"'):
        train(2, previous=previous, **made_with(outputs, 3, previous))


HOLDING_OUT = {
    "method": MethodConfig.model_validate({"kind": "many_view", "held_out": 0.34}),
    "training": TrainingConfig(batch=4, steps=1, warmup_epochs=1, round_epochs=1, rounds=2),
}


def test_nobody_who_is_held_out_teaches_before_the_last_round(people, monkeypatch):
    """All labeled people are among the unlabeled ones (split.unlabeled_includes_labeled)."""
    labeled = people["labeled"]
    both = Instances.join([labeled.without_labels(), people["unlabeled"]])
    held_out = {int(labeled.ids[row]) for row in held_out_rows(len(labeled), 0.34, 0)}
    seen, make = [], stages_of.make_batches

    def watched(labeled, unlabeled, pseudo, *rest, **named):
        seen.append((labeled, unlabeled, pseudo))
        return make(labeled, unlabeled, pseudo, *rest, **named)

    monkeypatch.setattr(stages_of, "make_batches", watched)
    found = run({**people, "unlabeled": both}, 2, **HOLDING_OUT)
    assert len(held_out) == 2 and len(seen) == 3
    for number, (taught, unlabeled, pseudo) in enumerate(seen):
        last = number == 2
        assert held_out.isdisjoint(taught.ids.tolist()) != last
        if number == 0:  # the warm-up
            assert unlabeled is None and pseudo is None
            continue
        assert held_out.isdisjoint(unlabeled.ids.tolist()) != last
        assert len(unlabeled) == len(both) - (0 if last else 2)
        assert pseudo.ids.tolist() == unlabeled.ids.tolist()
        rows = np.isin(both.ids, unlabeled.ids)
        stored = found[f"round_{number}_corrected"]["probability"]
        assert torch.equal(pseudo.confidence, stored[torch.from_numpy(rows)])


def test_probabilities_of_few_keypoints_are_called_rough(people, caplog):
    run(people, 1, **HOLDING_OUT | {"training": replace_rounds(1)})
    assert "is measured on" in caplog.text and "fewer than 100 keypoints" in caplog.text


def replace_rounds(rounds_: int) -> TrainingConfig:
    return HOLDING_OUT["training"].model_copy(update={"rounds": rounds_})


@pytest.mark.parametrize(
    ("number", "other", "message"),
    [
        (1, {"seed": 7}, "checkpoint of warmup.*: seed was 0, is 7"),
        (1, changed("training", learning_rate=0.5),
         r"training.learning_rate.from_step_0 was 0.003, is 0.5"),
        (1, changed("training", version=2), "training.version was 1, is 2"),
        (1, changed("view", sigma=1.7), "view.sigma was 1.0, is 1.7"),
        (2, method(weight=100.0), "checkpoint of round_1.*: method.weight was 1.0, is 100.0"),
        (2, method(min_score=0.5), "method.min_score was 0.0, is 0.5"),
        (2, changed("training", round_epochs=2), "training.round_epochs was 1, is 2"),
    ],
)  # fmt: skip
def test_a_stage_before_of_other_settings_is_refused(train, number, other, message):
    """Nothing is trained, and nothing succeeds without having trained."""
    with pytest.raises(BadInput, match=message):
        train(number, **other)


def test_a_stage_before_of_other_people_is_refused(train, people):
    with pytest.raises(BadInput, match=r"labeled.people was 6, is 5"):
        train(labeled=people["labeled"].take(slice(5)))
    boxes = replace(people["unlabeled"], boxes=people["unlabeled"].boxes + 1)
    with pytest.raises(BadInput, match=r"checkpoint of round_1.*unlabeled.digest was"):
        train(2, unlabeled=boxes)


def test_what_a_round_learns_from_decides_where_it_goes_on(outputs, people, train, caplog):
    """Settings, people and stored products tell its checkpoint from another's; the machine not."""
    moved = {**outputs["round_1_predictions"]}
    moved["keypoints"] = moved["keypoints"] + 1
    another = {**outputs["warmup_checkpoint"], "fingerprint": "another"}
    others = {
        "method.weight was 1.0, is 2.0": method(weight=2.0),
        "unlabeled.digest was": {
            "unlabeled": replace(people["unlabeled"], boxes=people["unlabeled"].boxes + 1)},
        "pseudo_labels was": {"predictions": moved},
        "previous was": {"previous": another, **made_with(outputs, 1, another)},
    }  # fmt: skip
    done = train()
    machine = SETTINGS["machine"].model_copy(update={"workers": 1})
    again = train(machine=machine, monitor=MonitorConfig(people=1), resume=done)
    assert again["fingerprint"] == done["fingerprint"]
    assert again["history"] == done["history"]  # its pace too: nothing was trained again
    prints = set()
    for message, inputs in others.items():
        caplog.clear()
        prints.add(train(resume=done, **inputs)["fingerprint"])
        assert f"round_1 has a checkpoint of another training, starts afresh: {message}" in (
            caplog.text
        )
    assert len(prints | {done["fingerprint"]}) == len(others) + 1


def test_a_change_of_later_stages_alone_trains_no_warmup_again(people, outputs):
    """The rounds' own settings are not the warm-up's, whose rate falls after it in either case."""
    longer = SETTINGS["training"].model_copy(update={"rounds": 4, "round_epochs": 2})
    given = {**SETTINGS, **method(min_score=0.5, weight=7.0), "training": longer}
    known = {name: people[name] for name in ("labeled", "validation", "skeleton")}
    done = outputs["warmup_checkpoint"]
    again = next(warm_up(**known, resume=done, **given))["checkpoint"]
    assert again["fingerprint"] == done["fingerprint"] and again["history"] == done["history"]
    forced = {**given, "training": longer.model_copy(update={"version": 2})}
    fresh = next(warm_up(**known, resume=done, **forced))["checkpoint"]
    assert fresh["fingerprint"] != done["fingerprint"] and fresh["history"] != done["history"]


def test_rows_of_other_people_are_refused_by_every_reader(outputs, people, train):
    """As they are after the people were read and split anew (same number of them, or not)."""
    others = people["unlabeled"].take(np.arange(6)[::-1])
    fewer = people["unlabeled"].take(slice(5))
    now, corrected = outputs["round_2_predictions"], outputs["round_2_corrected"]
    view = SETTINGS["view"]
    drawn = (people["skeleton"], view, SETTINGS["method"], SETTINGS["machine"], 0)
    reversed_ids = {**now, "ids": now["ids"].flip(0)}
    for table, message in ((others, "6 of 6 rows are of others"), (fewer, "found 6 rows for 5")):
        with pytest.raises(BadInput, match=f"pseudo-labels of this round: .*{message}"):
            correction(now, now, table, table, *drawn[:3])
        with pytest.raises(BadInput, match=f"corrected labels of this round: .*{message}"):
            cut_occlude(corrected, table, *drawn)
        with pytest.raises(BadInput, match=f"pseudo-labels of this round: .*{message}"):
            train(unlabeled=table)
    with pytest.raises(BadInput, match=r"those of the round before: .*6 of 6 rows"):
        correction(
            now,
            reversed_ids,
            *(people[n] for n in ("labeled", "unlabeled", "skeleton")),
            view,
            SETTINGS["method"],
        )
    with pytest.raises(BadInput, match=r"its occluders: .*6 of 6 rows"):
        train(occluders={**outputs["round_1_occluders"], "ids": now["ids"].flip(0)})


def test_pseudo_labels_of_another_training_are_refused(outputs, train):
    """Of a warm-up that has been trained anew since, or was not at its end."""
    later = outputs["round_2_predictions"]
    message = "must be made with the checkpoint that the round starts from.*--pipelines rounds"
    with pytest.raises(BadInput, match=f"pseudo-labels of this round: {message}"):
        train(predictions=later)
    with pytest.raises(BadInput, match=f"its occluders: {message}"):
        train(occluders=outputs["round_2_occluders"])


def test_tables_of_two_ingestions_are_refused(outputs, people, train):
    unit = {**people, "unlabeled": replace(people["unlabeled"], unit="another")}
    given = {name: unit[name] for name in PEOPLE}
    with pytest.raises(BadInput, match=r"pseudo-labels of this round: .*ingestion another"):
        train(**given)
    rows = {name: {**outputs[f"round_1_{name}"], "unit": "another"}
            for name in ("predictions", "corrected", "occluders")}  # fmt: skip
    with pytest.raises(BadInput, match="unlabeled people: must be of the same ingestion as the la"):
        train(**given, **rows)


def test_pseudo_labels_are_made_by_a_checkpoint_of_this_view(outputs, people):
    given = {key: SETTINGS[key] for key in ("network", "method", "machine", "seed")}
    view = SETTINGS["view"].model_copy(update={"sigma": 1.7})
    with pytest.raises(BadInput, match=r"checkpoint of warmup: .*view.sigma was 1.0, is 1.7"):
        pseudo_labels(outputs["warmup_checkpoint"], people["labeled"], people["unlabeled"],
                      people["skeleton"], view, **given)  # fmt: skip


def look(outputs, people, resume=None, **changed):
    """Pseudo-labels of round 1 by a method that holds people out, its inputs changed as told."""
    own = MethodConfig.model_validate({"kind": "many_view", "held_out": 0.5})
    given = {key: SETTINGS[key] for key in ("view", "network", "machine", "seed")}
    inputs = {"checkpoint": outputs["warmup_checkpoint"], "labeled": people["labeled"],
              "unlabeled": people["unlabeled"], "skeleton": people["skeleton"],
              "method": own, **given}  # fmt: skip
    return pseudo_labels(**{**inputs, **changed}, resume=resume)


def test_stored_pseudo_labels_are_kept_where_nothing_has_changed(outputs, people, monkeypatch):
    stored = look(outputs, people)
    own = {key: value for key, value in stored.items() if key in ("checkpoint", "made_by", "unit")}
    assert own["unit"] == people["unlabeled"].unit and len(own) == 3
    monkeypatch.setattr(nodes_of_rounds, "predict_views", lambda *_, **__: pytest.fail("looked"))
    assert look(outputs, people, stored) is stored
    assert look(outputs, people, stored, machine=MachineConfig(device="cpu", threads=1)) is stored


@pytest.mark.parametrize("change", ["checkpoint", "people", "views", "seed", "code", "no mark"])
def test_stored_pseudo_labels_of_anything_else_are_made_anew(change, outputs, people, monkeypatch):
    stored = look(outputs, people)
    views = {"kind": "many_view", "held_out": 0.5, "views": {"scales": [0.9, 1.1]}}
    changed = {
        "checkpoint": {"checkpoint": {**outputs["warmup_checkpoint"], "epoch": 0}},
        "people": {"unlabeled": people["unlabeled"].take(np.arange(6)[::-1].copy())},
        "views": {"method": MethodConfig.model_validate(views)},
        "seed": {"seed": 4},  # holds others out
    }.get(change, {})
    if change == "code":
        monkeypatch.setattr(nodes_of_rounds, "code_digests", lambda _: {"nets": "new"})
    if change == "no mark":
        stored = {key: value for key, value in stored.items() if key != "made_by"}
    made = look(outputs, people, stored, **changed)
    assert made is not stored
    assert {name: made[name] for name in ("checkpoint", "unit", "made_by")} != {
        name: stored.get(name) for name in ("checkpoint", "unit", "made_by")
    }
    for name, value in look(outputs, people, **changed).items():
        assert torch.equal(made[name], value) if torch.is_tensor(value) else made[name] == value


KINDS = (
    "supervised", "pseudo_pose", "data_distill", "pose_cons", "pose_dual", "sspcm",
    "sspcm, snapshots", "ubpl", "scarce_net", "denoise_select", "multi_augs", "teacher_reviewer",
    "many_view",
)  # fmt: skip
FROZEN = {"pseudo_pose": {"teacher_a"}, "data_distill": {"teacher_a"}}
"""Networks that learn in the warm-up alone: in each round they predict the same."""


def config(name: str) -> MethodConfig:
    """Rules that keep some keypoints of networks that have hardly learned."""
    kind, _, snapshots = name.partition(", ")
    more = {"min_score": 0.0, "max_inconsistency": 1.0} if kind == "sspcm" else {}
    more |= {"snapshot_every": 1} if snapshots else {}
    more |= {"min_score": 0.0} if kind in ("ubpl", "denoise_select") else {}
    more |= {"held_out": 0.5, "sure": 0.0} if kind == "many_view" else {}
    return MethodConfig.model_validate({"kind": kind, **more})


def test_every_kind_runs_in_rounds():
    union = get_args(MethodConfig.model_fields["root"].annotation)
    kinds = {get_args(member.model_fields["kind"].annotation)[0] for member in union}
    assert kinds == {config(name).kind for name in KINDS}


@pytest.mark.parametrize("name", KINDS)
def test_any_method_goes_through_warmup_and_rounds(people, name, monkeypatch):
    """Its labelers' predictions are stored and corrected; its steps are given what it reads."""
    given, epoch = [], Batches.epoch

    def watched(batches, *place):
        for batch in epoch(batches, *place):
            given.append(batch.unlabeled)
            yield batch

    monkeypatch.setattr(Batches, "epoch", watched)
    decay = 0.5 if config(name).reads_averages else None
    training = SETTINGS["training"].model_copy(update={"average_decay": decay, "rounds": 2})
    found = run(people, 2, method=config(name), training=training)
    n, frozen = len(people["unlabeled"]), FROZEN.get(name, set())
    method = config(name).build(lambda _: torch.nn.Identity(), SETTINGS["view"].codec)
    one = len(method.labelers) == 1
    stages = ("warmup", "round_1", "round_2")
    assert [found[f"{stage}_checkpoint"]["epoch"] for stage in stages] == [1, 2, 3]
    for stage in stages:
        assert found[f"{stage}_checkpoint"]["kind"] == config(name).kind
    for number in (1, 2):
        predictions = found[f"round_{number}_predictions"]
        assert predictions["keypoints"].shape == (len(method.labelers), n, 17, 2)
        assert predictions["scores"].shape == (len(method.labelers), n, 17)
        corrected = found[f"round_{number}_corrected"]
        assert corrected["ids"].tolist() == people["unlabeled"].ids.tolist()
        shares = found[f"round_{number}_correction_report"]["pair_shares"]
        assert len(shares) == (1 if one else 4) and sum(shares.values()) == pytest.approx(1)
    still = [not found[f"round_{n}_corrected"]["inconsistency"].any() for n in (1, 2)]
    # A single network has no second opinion in round 1, and later only if it went on learning.
    assert still == [one, set(method.labelers) <= frozen]

    warm, *later = given
    assert warm is None and len(later) == 2
    assert [unlabeled is not None for unlabeled in later] == [method.needs_unlabeled] * 2
    stored = bool(method.reads & STORED)
    if method.needs_unlabeled:
        assert all((unlabeled.earlier is not None) == stored for unlabeled in later)
    before, after = (found[f"{stage}_checkpoint"]["method"] for stage in ("warmup", "round_2"))
    for network in method.networks:
        weights = [key for key in before if key.startswith(f"networks.{network}.")]
        changed = any(not before[key].equal(after[key]) for key in weights)
        assert changed == (network not in frozen), network


TWO_ROUNDS = SETTINGS["training"].model_copy(update={"rounds": 2})


def test_the_student_of_many_view_waits_for_the_last_round(people):
    """Teachers learn until then, the student from there on, as teacher A."""
    found = run(people, 2, method=config("many_view"), training=TWO_ROUNDS)
    weights = {
        stage: {name: {key: value for key, value in state.items() if f".{name}." in f".{key}"}
                for name in ("teacher_a", "teacher_b", "student")}
        for stage, state in ((s, found[f"{s}_checkpoint"]["method"]) for s in
                             ("warmup", "round_1", "round_2"))
    }  # fmt: skip

    def changed(name: str, first: str, second: str) -> bool:
        return any(not value.equal(weights[second][name][key])
                   for key, value in weights[first][name].items())  # fmt: skip

    for name, in_round_1 in (("teacher_a", True), ("teacher_b", True), ("student", False)):
        assert changed(name, "warmup", "round_1") == in_round_1, name
        assert changed(name, "round_1", "round_2") != in_round_1, name
    history = found["round_1_history"]
    assert "teacher_a/loss/supervised" in history and "student/loss/supervised" not in history
    assert "student/loss/supervised" in found["round_2_history"]


def test_a_student_of_another_network_is_averaged_from_its_own_first_step_on(people):
    """The steps of its teachers before it do not count: after its first it keeps 2 / 11."""
    small = {"kind": "small_baseline", "width": 16}
    network = NetworkConfig.model_validate(
        {"kind": "teacher_student", "teacher": {**small, "width": 32}, "student": small}
    )
    training = TWO_ROUNDS.model_copy(update={"average_decay": 0.995})
    found = run(people, 2, method=config("many_view"), training=training, network=network)
    before, after = (found[f"round_{number}_checkpoint"]["method"] for number in (1, 2))
    learned = [key for key in before if key.startswith("networks.student.head.")
               and not before[key].equal(after[key])]  # fmt: skip
    assert learned
    for key in learned:
        if before[key].is_floating_point():
            average = f"averages.{key.removeprefix('networks.')}"
            wanted = 2 / 11 * before[key] + 9 / 11 * after[key]
            torch.testing.assert_close(after[average], wanted, msg=key)


def test_a_student_that_was_killed_ends_as_one_that_was_not(people):
    """In each step of its epochs, with pseudo-labels or with labels alone, to the same bits."""
    training = SETTINGS["training"].model_copy(update={
        "rounds": 2, "steps": 2, "last_round_epochs": 4, "average_decay": 0.5,
        "round_batch": RoundBatch(labeled=2, unlabeled=1),
    })  # fmt: skip
    machine = SETTINGS["machine"].model_copy(update={"checkpoint_minutes": 0})
    changed = {"method": config("many_view"), "training": training, "machine": machine}
    found = run(people, 2, **changed)
    inputs = {**people, **SETTINGS, **changed, "previous": found["round_1_checkpoint"],
              "predictions": found["round_2_predictions"],
              "corrected": found["round_2_corrected"],
              "occluders": found["round_2_occluders"]}  # fmt: skip

    def states(resume=None) -> list[dict]:
        every = round_trainer(2)(**inputs, resume=resume)
        return [deepcopy(output["checkpoint"]) for output in every]

    def learned(state: dict) -> list[bytes]:
        moments = [value for own in state["optimizer"]["state"].values() for value in own.values()]
        return [value.numpy().tobytes() for value in (*state["method"].values(), *moments)]

    *killed, whole = states()
    stood = [(state["epoch"], (state["part"] or {}).get("steps", 0)) for state in killed]
    assert stood == [(2, 1), (3, 0), (3, 1), (4, 0), (4, 1), (5, 0), (5, 1)]
    for state in killed:
        assert learned(state) != learned(whole)
        *_, last = states(state)
        assert learned(last) == learned(whole)
    assert [row.get("loss/consistency") is None for row in whole["history"]] == [
        False, False, True, True
    ]  # fmt: skip


def test_labels_are_measured_on_people_whom_no_teacher_learns_from(people, monkeypatch):
    shown, pool = [], stages_of.make_batches

    def watched(labeled, *others, **more):
        shown.append(set(labeled.ids.tolist()))
        return pool(labeled, *others, **more)

    monkeypatch.setattr(stages_of, "make_batches", watched)
    found = run(people, 2, method=config("many_view"), training=TWO_ROUNDS)
    everyone = set(people["labeled"].ids.tolist())
    warm, first, last = shown
    assert warm == first < everyone == last and len(warm) == 3
    for number in (1, 2):
        predictions = found[f"round_{number}_predictions"]
        assert set(predictions["held_out.ids"].tolist()) == everyone - warm
        assert predictions["held_out.keypoints"].shape == (2, 3, 17, 2)
        assert predictions["spread"].shape == predictions["scores"].shape
        corrected = found[f"round_{number}_corrected"]
        assert ((corrected["probability"] > 0) & (corrected["probability"] < 1)).all()
        report = found[f"round_{number}_correction_report"]["calibration"]
        assert report["people"] == 3
        assert sum(row["labels"] for row in report["bins"]) == report["labels"] == 3 * 17


@pytest.fixture(scope="module", params=["pose_cons", "pose_dual", "many_view"])
def whole_run(request, make_project, drawn_project):
    """The smoke environment's whole default run, and its annotation queue, of another method."""
    project = make_project(request.param)
    project.take_people(drawn_project)
    project.run(method={"kind": request.param}, training={"steps": 2})
    project.run("annotation_queue", method={"kind": request.param}, training={"steps": 2})
    return request.param, project


def test_a_whole_run_of_another_method_ends_in_its_own_networks_scores(whole_run):
    kind, data = whole_run[0], whole_run[1].data
    pair = ("teacher_a", "teacher_b")
    networks = {
        "pose_cons": ("student",), "pose_dual": pair, "many_view": (*pair, "student")
    }[kind]  # fmt: skip
    metrics = json.loads((data / "08_reporting" / "metrics.json").read_text())
    assert list(metrics) == ["baseline", *networks, "choice", "pseudo_labels"]
    teachers = set(pair) if len(networks) > 1 else set()
    for row in metrics["pseudo_labels"].values():
        assert {"mean", "corrected", "kept"} <= set(row)
        assert set(row) & {"teacher_a", "teacher_b"} == teachers
    for name in ("report.html", "round_2_correction.json", "round_2_cut_occlude.png",
                 "pseudo_labels.png", "predictions.png", "pseudo_label_quality.png"):  # fmt: skip
        assert (data / "08_reporting" / name).stat().st_size > 0, name


def test_the_network_that_it_ships_is_exported(whole_run):
    """The better one of the network that the method deploys and the comparison's."""
    kind, data = whole_run[0], whole_run[1].data
    deployed = {"pose_dual": "teacher_a"}.get(kind, "student")
    metrics = json.loads((data / "08_reporting" / "metrics.json").read_text())
    choice = metrics["choice"]
    own, other, metric = metrics[deployed], metrics["baseline"], choice["metric"]
    better = own[metric] >= other[metric]
    if metric == "PCK" and choice["low"] <= 0 <= choice["high"]:
        better = own["error_px"] <= other["error_px"]
    assert choice["ships"] == (deployed if better else "baseline")
    stage, name = ("round_2", deployed) if better else ("comparison", "student")
    trained = torch.load(data / "06_models" / stage / "checkpoint.pt", weights_only=True)["method"]
    exported = load_file(data / "06_models" / "trained_model.safetensors")
    assert exported
    for key, value in exported.items():
        assert value.equal(trained[f"networks.{name}.{key}"]), key


def test_its_annotation_queue_asks_for_the_most_doubtful_first(whole_run):
    kind, data = whole_run[0], whole_run[1].data
    queue = data / "08_reporting" / "annotation_queue" / "annotations"
    content = json.loads((queue / "person_keypoints_default.json").read_text())
    doubt = "probability_of_being_wrong" if kind == "many_view" else "inconsistency"
    asked = [person[doubt] for person in content["annotations"]]
    stored = load_file(data / "07_model_output" / "round_2" / "corrected.safetensors")
    assert asked == sorted(asked, reverse=True) and asked[0] > 0
    doubts = 1 - stored["probability"] if kind == "many_view" else stored["inconsistency"]
    means = doubts.double().mean(dim=1)
    assert asked[0] == pytest.approx(means.max().item(), abs=1e-4)


def test_one_network_cannot_tell_after_its_first_round_who_needs_labels(whole_run):
    """Two networks can: they may differ in round 1 already."""
    kind, project = whole_run
    with project.session() as session:
        context = session.load_context()
        names = ("labeled", "unlabeled", "skeleton")
        inputs = {name: context.catalog.load(name) for name in names}
        inputs |= {name: context.params[name] for name in ("view", "machine")}
        corrected = context.catalog.load("round_1_corrected")
    if kind != "pose_cons":
        select_people(corrected, config=QueueConfig(), **inputs)
        return
    with pytest.raises(BadInput, match=r"must disagree somewhere.*training\.rounds=2"):
        select_people(corrected, config=QueueConfig(), **inputs)


def test_too_few_labels_to_measure_on_are_refused_before_anything_is_trained(people):
    """Of three labeled people nobody can be held out."""
    few = {**people, "labeled": people["labeled"].take(slice(3))}
    settings = {key: SETTINGS[key] for key in SETTINGS.keys() - {"method"}}
    given = {name: few[name] for name in ("labeled", "validation", "skeleton")}
    with pytest.raises(BadInput, match=r"held-out labeled people: .*of 0, 0 do.*four at least"):
        next(warm_up(**given, resume=None, method=config("many_view"), **settings))


@pytest.mark.parametrize(("kind", "mixed"), [("supervised", 8), ("pose_cons", 3 + 1)])
def test_labels_alone_are_learned_in_whole_batches_to_the_end(project, kind, mixed):
    """The warm-up's epoch has batches of ``batch``, and so have the others of who has no unlabeled
    people; else they are ``round_batch``. A comparison stands beside a method in rounds."""
    project.run(
        "comparison", comparison={"kind": kind}, method={"kind": "many_view"},
        training={"batch": 8, "round_batch": {"labeled": 3, "unlabeled": 1}, "steps": 2,
                  "warmup_epochs": 1, "round_epochs": 1, "rounds": 1},
    )  # fmt: skip
    history = pd.read_csv(project.data / "06_models" / "comparison" / "history.csv")
    people = history["people_per_second"] * history["seconds"]
    np.testing.assert_allclose(people, [2 * 8, 2 * mixed])


def test_the_student_ends_with_labels_alone(project):
    """The share ``finish`` of its epochs, in whole batches; the teachers' round has none of it, and
    is not trained again where it changes."""
    models, weights, seen = project.data / "06_models", [], []
    for finish, ends in ((0.5, 8), (0.0, 4)):
        project.run(
            "warmup", "rounds", method={"kind": "many_view", "finish": finish},
            training={"batch": 8, "round_batch": {"labeled": 3, "unlabeled": 1}, "steps": 2,
                      "warmup_epochs": 1, "round_epochs": 2, "rounds": 2},
        )  # fmt: skip
        for stage, wanted in (("round_1", [2 * 4, 2 * 4]), ("round_2", [2 * 4, 2 * ends])):
            history = pd.read_csv(models / stage / "history.csv")
            people = history["people_per_second"] * history["seconds"]
            np.testing.assert_allclose(people, wanted)
            assert history["loss/consistency"].isna().tolist() == [n == 2 * 8 for n in wanted]
        files = sorted(models.glob("round_*/checkpoint.pt"))
        states = [torch.load(file, weights_only=True) for file in files]
        weights.append(
            [[value.numpy().tobytes() for value in s["method"].values()] for s in states]
        )
        seen.append(
            [
                pd.read_csv(models / s / "history.csv")["seconds"].sum()
                for s in ("round_1", "round_2")
            ]
        )
    assert [one == other for one, other in zip(*weights, strict=True)] == [True, False]
    assert [one == other for one, other in zip(*seen, strict=True)] == [True, False]
