"""A mix of MPII and unlabeled AI Challenger through all stages, from files to numbers."""

import numpy as np
import pytest
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner

from formats import pictures, write_aic, write_mpii
from sspcm_kedro.data.split import SplitConfig
from sspcm_kedro.data.views import ViewConfig
from sspcm_kedro.engine.evaluate import EvaluationConfig
from sspcm_kedro.engine.optimizer import TrainingConfig
from sspcm_kedro.engine.stage import MonitorConfig
from sspcm_kedro.machine import MachineConfig
from sspcm_kedro.methods.sspcm import SSPCMConfig
from sspcm_kedro.nets import NetworkConfig
from sspcm_kedro.pipelines import ingestion, rounds, warmup
from sspcm_kedro.pipelines.evaluation.nodes import predict_validation, score_networks
from sspcm_kedro.pipelines.reporting.nodes import draw_predictions, draw_pseudo_labels
from sspcm_kedro.pose.skeleton import MPII, UNION, union_channels
from sspcm_kedro.sources import SourceConfig
from sspcm_kedro.sources.annotation_import import AnnotationImportConfig

NOISE = [channel for channel in range(24) if channel not in union_channels(MPII)]


class Kept(MemoryDataset):
    """Is not emptied after its last reader."""

    def _release(self) -> None:
        pass


@pytest.fixture(scope="module")
def outputs(tmp_path_factory) -> dict:
    """Everything that ingestion, warm-up and a round save; each batch has everyone once."""
    root = tmp_path_factory.mktemp("mixed")
    mpii = write_mpii(root / "mpii", pictures(4, 1), pictures(2, 2), pictures(1, 3))
    sources = {"mpii": mpii, "aic": write_aic(root / "aic", pictures(4, 4))}
    source = {"kind": "union", "sources": sources, "labeled": ["mpii"], "unlabeled": ["aic"]}
    settings = {
        "source": SourceConfig.model_validate(source),
        "split": SplitConfig(labeled="all"),
        "annotation_import": AnnotationImportConfig(),
        "seed": 0,
        "view": ViewConfig(),
        "network": NetworkConfig.model_validate({"kind": "small_baseline", "width": 16}),
        "method": SSPCMConfig(kind="sspcm", min_score=0.0, max_inconsistency=1.0),
        "training": TrainingConfig(batch=4, steps=1, warmup_epochs=1, round_epochs=1, rounds=1),
        "evaluation": EvaluationConfig(),
        "monitor": MonitorConfig(people=2),
        "machine": MachineConfig(device="cpu", crop_memory_gib=0.1),
    }
    pipeline = ingestion.create_pipeline(drawn=False) + warmup.create_pipeline()
    pipeline += rounds.create_pipeline(1)
    inputs = {f"params:{key}": value for key, value in settings.items()}
    inputs |= {"resume_warmup": None, "resume_round_1": None, "resume_images": None,
               "resume_round_1_predictions": None}  # fmt: skip
    catalog = DataCatalog({name: MemoryDataset(value) for name, value in inputs.items()})
    made = [name for name in pipeline.datasets() if name not in inputs]
    for name in made:
        catalog[name] = Kept()
    SequentialRunner().run(pipeline, catalog)
    return {**settings, **{name: catalog[name].load() for name in made}}


def test_the_network_learns_mpiis_keypoints_and_no_others(outputs):
    """The last layer of every network keeps the first weights of channels without labels."""
    skeleton = outputs["skeleton"]
    assert (skeleton.names, skeleton.evaluated) == (UNION.names, MPII)
    before, after = (outputs[f"{stage}_checkpoint"]["method"] for stage in ("warmup", "round_1"))
    last = [key for key in after if after[key].shape[:1] == (24,)]
    assert last
    for key in last:
        changed = (before[key] != after[key]).flatten(1).any(dim=1) if after[key].ndim > 1 else (
            before[key] != after[key]
        )  # fmt: skip
        assert not changed[NOISE].any(), key
        assert changed[list(union_channels(MPII))].any(), key


def test_pseudo_labels_of_untaught_channels_are_rejected(outputs):
    predictions, corrected = outputs["round_1_predictions"], outputs["round_1_corrected"]
    assert (predictions["scores"][..., NOISE] == 0).all()
    assert not corrected["kept"][:, NOISE].any()
    assert corrected["kept"].any()
    bank = outputs["round_1_occluders"]["occluders"]
    assert 0 < len(bank) <= corrected["kept"].sum()


def test_evaluation_is_in_mpiis_own_keypoints(outputs):
    common = [outputs[name] for name in ("validation", "skeleton", "view")]
    predictions = predict_validation(
        outputs["round_1_checkpoint"], *common,
        *(outputs[name] for name in ("network", "evaluation", "machine")),
    )  # fmt: skip
    assert predictions["student.keypoints"].shape == (2, 24, 2)
    names = ("validation", "ignored", "skeleton", "view", "evaluation")
    scores = score_networks(predictions, *(outputs[name] for name in names))
    assert tuple(scores["student"]["PCK_per_keypoint"]) == MPII.names
    comparison = {f"baseline.{what}": predictions[f"student.{what}"]
                  for what in ("keypoints", "scores")}  # fmt: skip
    comparison |= {"deployed": "baseline", "ids": predictions["ids"], "unit": predictions["unit"]}
    figure = draw_predictions(predictions, comparison, *common, outputs["machine"])
    titles = [ax.get_title().partition(" (")[0] for ax in figure.axes[:3]]
    assert titles == ["1 truth", "1 baseline", "1 student"]


def test_the_sheet_of_pseudo_labels_has_mpiis_keypoints(outputs):
    figure = draw_pseudo_labels(
        outputs["round_1_predictions"], outputs["round_1_corrected"], outputs["unlabeled"],
        outputs["hidden_truth"], outputs["skeleton"], outputs["view"], outputs["machine"],
    )  # fmt: skip
    assert figure.axes


def test_test_people_are_in_the_table(outputs):
    people = outputs["instances"]["test"]
    assert people.source_ids.tolist() == ["0"]
    assert people.source_image_ids.tolist() == [people.paths[0].rsplit("/", 1)[1]]
    assert np.isnan(people.head_sizes).all()
    assert not np.isnan(outputs["validation"].head_sizes).any()
