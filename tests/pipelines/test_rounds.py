"""The nodes of a round on drawn people, one by one, and how rounds are chained; any method."""

import json
from typing import get_args

import numpy as np
import pytest
import torch
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner
from safetensors.torch import load_file

from sspcm_kedro.data.loader import Batches
from sspcm_kedro.data.views import ViewConfig
from sspcm_kedro.engine.optimizer import TrainingConfig
from sspcm_kedro.engine.stage import MonitorConfig
from sspcm_kedro.errors import BadInput
from sspcm_kedro.machine import MachineConfig
from sspcm_kedro.methods import MethodConfig
from sspcm_kedro.nets import NetworkConfig
from sspcm_kedro.pipelines import rounds, warmup
from sspcm_kedro.pipelines.annotation_queue.nodes import QueueConfig, select_people
from sspcm_kedro.pipelines.rounds.nodes import correction, round_trainer

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


def test_the_correction_report_says_what_was_kept():
    now = {
        "ids": torch.tensor([5]),
        "keypoints": torch.tensor([[[[0.0, 0.0], [10.0, 10.0]]], [[[48.0, 64.0], [10.0, 10.0]]]]),
        "scores": torch.full((2, 1, 2), 0.8),
    }
    method = MethodConfig.model_validate({"kind": "sspcm", "max_inconsistency": 0.5})
    corrected, report = correction(now, now, ViewConfig(input_hw=(64, 48)), method)
    assert corrected["kept"].tolist() == [[0, 1]] and corrected["ids"].tolist() == [5]
    assert report["kept"] == 0.5 and report["kept_per_keypoint"] == [0, 1]
    assert report["pair_shares"] == {
        "now_now": 1, "earlier_now": 0, "now_earlier": 0, "earlier_earlier": 0
    }  # fmt: skip
    assert list(report["inconsistency_quantiles"].values()) == pytest.approx([0.1, 0.5, 0.9])


def test_occluders_are_of_unlabeled_people(outputs, people):
    bank = outputs["round_1_occluders"]["occluders"]
    assert bank.shape[1] == 3 and len(bank) > 0
    assert set(np.unique(bank[:, 0])) <= set(range(len(people["unlabeled"])))
    figure = outputs["round_1_occlusion_sheet"]
    assert figure.axes


@pytest.mark.parametrize("epoch", [0, 3, 5])
def test_a_stage_that_was_not_finished_is_no_start(outputs, people, epoch):
    """Warm-up of two epochs, rounds of two: only 2, 4, 6, ... are ends of a stage."""
    training = SETTINGS["training"].model_copy(update={"warmup_epochs": 2, "round_epochs": 2})
    previous = {**outputs["warmup_checkpoint"], "epoch": epoch}
    with pytest.raises(BadInput, match=f"found it after epoch {epoch}. Run that stage to its end"):
        next(round_trainer(1)(
            previous, None, **people, predictions=outputs["round_1_predictions"],
            occluders=outputs["round_1_occluders"], **{**SETTINGS, "training": training},
        ))  # fmt: skip


def test_a_round_of_another_number_is_no_start(outputs, people):
    """Round 2 after round 2's own end: not round 3 under another name."""
    with pytest.raises(BadInput, match="found it after epoch 3"):
        next(round_trainer(2)(
            outputs["round_2_checkpoint"], None, **people, **SETTINGS,
            predictions=outputs["round_2_predictions"], occluders=outputs["round_2_occluders"],
        ))  # fmt: skip


def test_what_a_round_learns_from_decides_where_it_goes_on(outputs, people):
    """Settings, people and stored products tell its checkpoint from another's; the machine not."""

    def first_epoch(resume=None, **changed) -> dict:
        inputs = {"previous": outputs["warmup_checkpoint"], "resume": resume, **people, **SETTINGS,
                  "predictions": outputs["round_1_predictions"],
                  "occluders": outputs["round_1_occluders"]}  # fmt: skip
        return next(round_trainer(1)(**{**inputs, **changed}))["checkpoint"]

    moved = {**outputs["round_1_predictions"]}
    moved["keypoints"] = moved["keypoints"] + 1
    weight = {"kind": "sspcm", "min_score": 0.0, "weight": 2.0}
    others = (
        {"seed": 1},
        {"method": MethodConfig.model_validate(weight)},
        {"training": SETTINGS["training"].model_copy(update={"learning_rate": 1e-4})},
        {"view": SETTINGS["view"].model_copy(update={"sigma": 1.7})},
        {"labeled": people["labeled"].take(slice(5))},
        {"unlabeled": people["unlabeled"].take(np.arange(6)[::-1])},
        {"predictions": moved},
        {"previous": {**outputs["warmup_checkpoint"], "fingerprint": "another"}},
    )
    done = first_epoch()
    machine = SETTINGS["machine"].model_copy(update={"workers": 1})
    again = first_epoch(machine=machine, monitor=MonitorConfig(people=1), resume=done)
    assert again["fingerprint"] == done["fingerprint"]
    assert again["history"] == done["history"]  # its pace too: nothing was trained again
    prints = [first_epoch(done, **changed)["fingerprint"] for changed in others]
    assert len({done["fingerprint"], *prints}) == len(others) + 1


KINDS = ("supervised", "pose_cons", "pose_dual", "sspcm", "sspcm, snapshots")


def config(name: str) -> MethodConfig:
    """Rules that keep some keypoints of networks that have hardly learned."""
    kind, _, snapshots = name.partition(", ")
    more = {"min_score": 0.0, "max_inconsistency": 1.0} if kind == "sspcm" else {}
    more |= {"snapshot_every": 1} if snapshots else {}
    return MethodConfig.model_validate({"kind": kind, **more})


def test_every_kind_runs_in_rounds():
    union = get_args(MethodConfig.model_fields["root"].annotation)
    kinds = {get_args(member.model_fields["kind"].annotation)[0] for member in union}
    assert kinds == {config(name).kind for name in KINDS}


@pytest.mark.parametrize("name", KINDS)
def test_any_method_goes_through_warmup_and_rounds(people, name, monkeypatch):
    """Its labelers' predictions are stored and corrected; its steps are given what it reads."""
    given, epoch = [], Batches.epoch

    def watched(batches, number):
        for batch in epoch(batches, number):
            given.append(batch.unlabeled)
            yield batch

    monkeypatch.setattr(Batches, "epoch", watched)
    found, n = run(people, 2, method=config(name)), len(people["unlabeled"])
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
    assert still == [one, False]  # a single network has no second opinion in round 1

    warm, *later = given
    assert warm is None and len(later) == 2
    assert [unlabeled is not None for unlabeled in later] == [method.needs_unlabeled] * 2
    stored = bool(method.reads & {"earlier", "donors"})
    if method.needs_unlabeled:
        assert all((unlabeled.earlier is not None) == stored for unlabeled in later)
    before, after = (found[f"{stage}_checkpoint"]["method"] for stage in ("warmup", "round_2"))
    for network in method.networks:
        weights = [key for key in before if key.startswith(f"networks.{network}.")]
        assert any(not before[key].equal(after[key]) for key in weights), network


@pytest.fixture(scope="module", params=["pose_cons", "pose_dual"])
def whole_run(request, make_project, drawn_project):
    """The smoke environment's whole default run, and its annotation queue, of another method."""
    project = make_project(request.param)
    project.take_people(drawn_project)
    project.run(method={"kind": request.param}, training={"steps": 2})
    project.run("annotation_queue", method={"kind": request.param}, training={"steps": 2})
    return request.param, project


def test_a_whole_run_of_another_method_ends_in_its_own_networks_scores(whole_run):
    kind, data = whole_run[0], whole_run[1].data
    networks = {"pose_cons": ("student",), "pose_dual": ("teacher_a", "teacher_b")}[kind]
    metrics = json.loads((data / "08_reporting" / "metrics.json").read_text())
    assert list(metrics) == ["baseline", *networks, "pseudo_labels"]
    teachers = {"teacher_a", "teacher_b"} if len(networks) == 2 else set()
    for row in metrics["pseudo_labels"].values():
        assert {"mean", "corrected", "kept"} <= set(row)
        assert set(row) & {"teacher_a", "teacher_b"} == teachers
    for name in ("report.html", "round_2_correction.json", "round_2_cut_occlude.png",
                 "pseudo_labels.png", "predictions.png", "pseudo_label_quality.png"):  # fmt: skip
        assert (data / "08_reporting" / name).stat().st_size > 0, name


def test_the_network_that_it_ships_is_exported(whole_run):
    kind, data = whole_run[0], whole_run[1].data
    deployed = {"pose_cons": "student", "pose_dual": "teacher_a"}[kind]
    path = data / "06_models" / "round_2" / "checkpoint.pt"
    trained = torch.load(path, weights_only=True)["method"]
    exported = load_file(data / "06_models" / "student.safetensors")
    assert exported
    for key, value in exported.items():
        assert value.equal(trained[f"networks.{deployed}.{key}"]), key


def test_its_annotation_queue_asks_for_the_most_inconsistent_first(whole_run):
    data = whole_run[1].data
    queue = data / "08_reporting" / "annotation_queue" / "annotations"
    content = json.loads((queue / "person_keypoints_default.json").read_text())
    asked = [person["inconsistency"] for person in content["annotations"]]
    stored = load_file(data / "07_model_output" / "round_2" / "corrected.safetensors")
    assert asked == sorted(asked, reverse=True) and asked[0] > 0
    means = stored["inconsistency"].double().mean(dim=1)
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
    if kind == "pose_dual":
        select_people(corrected, config=QueueConfig(), **inputs)
        return
    with pytest.raises(BadInput, match=r"must disagree somewhere.*training\.rounds=2"):
        select_people(corrected, config=QueueConfig(), **inputs)
