"""The nodes of a round on drawn people, one by one, and how rounds are chained."""

import numpy as np
import pytest
import torch
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner

from sspcm_kedro.data.views import ViewConfig
from sspcm_kedro.engine.optimizer import TrainingConfig
from sspcm_kedro.engine.stage import MonitorConfig
from sspcm_kedro.errors import BadInput
from sspcm_kedro.machine import MachineConfig
from sspcm_kedro.methods.sspcm import SSPCMConfig
from sspcm_kedro.nets import NetworkConfig
from sspcm_kedro.pipelines import rounds, warmup
from sspcm_kedro.pipelines.rounds.nodes import correction, train_round

ROUNDS = 3
SETTINGS = {
    "seed": 0,
    "view": ViewConfig(),
    "network": NetworkConfig.model_validate({"kind": "small_baseline", "width": 16}),
    "method": SSPCMConfig(kind="sspcm", min_score=0.0),
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
    frames = {name: catalog[name].load().head(6) for name in PEOPLE}
    return {**frames, "skeleton": catalog["skeleton"].load()}


@pytest.fixture(scope="module")
def outputs(people):
    """Warm-up and three rounds on a catalog in memory: everything that they save."""
    pipeline = warmup.create_pipeline() + rounds.create_pipeline(ROUNDS)
    settings = {f"params:{key}": value for key, value in SETTINGS.items()}
    stages = ("warmup", *(f"round_{n}" for n in range(1, ROUNDS + 1)))
    resume = {f"resume_{stage}": None for stage in stages}
    catalog = DataCatalog(
        {name: MemoryDataset(value) for name, value in {**settings, **people, **resume}.items()}
    )
    for name in pipeline.all_outputs():
        catalog[name] = Kept()
    SequentialRunner().run(pipeline, catalog)
    return {name: catalog[name].load() for name in pipeline.all_outputs()}


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
        assert predictions["ids"].tolist() == people["unlabeled"]["id"].tolist()
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
    method = SSPCMConfig(kind="sspcm", max_inconsistency=0.5)
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
        next(train_round(
            previous, None, **people, predictions=outputs["round_1_predictions"],
            occluders=outputs["round_1_occluders"], **{**SETTINGS, "training": training},
        ))  # fmt: skip
