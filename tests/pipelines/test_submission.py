"""What cannot be handed in is refused before anything is predicted."""

from typing import Any

import numpy as np
import pytest
import torch

from formats import pictures, write_mpii, write_mpii_mat
from sspcm_kedro.datasets.trained_model import TrainedModelDataset
from sspcm_kedro.engine.evaluate import EvaluationConfig
from sspcm_kedro.errors import BadInput
from sspcm_kedro.machine import MachineConfig
from sspcm_kedro.pipelines.submission import create_pipeline
from sspcm_kedro.pipelines.submission.nodes import (
    SubmissionConfig,
    people_to_predict,
    predict_test,
    submit_mpii,
)
from sspcm_kedro.sources.mpii import MpiiSource

NO_MODEL: Any = None
"""What is refused is refused before it is needed."""
MAT = "mpii_human_pose_v1_u12_1.mat"


@pytest.fixture
def json_test(tmp_path):
    """MPII's test people as the JSON file tells of them: without places in the release."""
    write_mpii(tmp_path, pictures(2, 1), pictures(1, 2), pictures(2, 3))
    return MpiiSource(root=tmp_path, test="annot/test.json").read().test


def refusal(instances, **settings) -> str:
    config = SubmissionConfig(**settings)
    with pytest.raises(BadInput) as refused:
        predict_test(NO_MODEL, instances, config, EvaluationConfig(), MachineConfig())
    return str(refused.value)


def test_a_source_without_test_people(json_test):
    said = refusal({"validation": json_test})
    assert "must have people to hand in predictions for (test), and has none" in said


def test_images_that_the_server_does_not_know(json_test, tmp_path):
    said = refusal({"test": json_test}, kind="mpii", release=tmp_path / MAT)
    assert "must be called by a number" in said and ".jpg" in said
    assert "set the source's test to it" in said
    assert "use COCO's own image list" in refusal({"test": json_test}, kind="coco")


def test_people_of_another_release(trained_project, tmp_path):
    """Their images train in the mat that is named."""
    write_mpii_mat(tmp_path / "one", pictures(1, 1), pictures(2, 3))
    write_mpii_mat(tmp_path / "two", pictures(2, 1), pictures(1, 3))
    write_mpii(tmp_path / "one", pictures(1, 1), pictures(1, 1))
    people = MpiiSource(root=tmp_path / "one", validation=None, test=MAT).read().test
    file = trained_project.data / "06_models" / "trained_model.safetensors"
    model = TrainedModelDataset(str(file)).load()
    found = {"keypoints": torch.zeros(len(people), 17, 2), "scores": torch.ones(len(people), 17)}
    found["ids"] = torch.tensor(people.ids)
    config = SubmissionConfig(kind="mpii", release=tmp_path / "two" / MAT)
    with pytest.raises(BadInput, match=r"two.*annolist 2 is no test image"):
        submit_mpii(found, {"test": people}, model, config)
    found["ids"] = found["ids"] + 1
    with pytest.raises(BadInput, match=r"test_predictions: must have a row for each person"):
        submit_mpii(found, {"test": people}, model, config)


def test_mpii_needs_its_release():
    with pytest.raises(ValueError, match="needs release"):
        SubmissionConfig(kind="mpii")


@pytest.mark.parametrize(
    ("kind", "network", "file", "first"),
    [
        ("coco", "shipped", "coco_submission", "trained_model"),
        ("mpii", "shipped", "mpii_submission", "trained_model"),
        ("mpii", "student", "mpii_submission", "round_3_checkpoint"),
        ("coco", "comparison", "coco_submission", "comparison_checkpoint"),
    ],
)
def test_the_pipeline_has_the_servers_file_and_the_networks_own_weights(kind, network, file, first):
    pipeline = create_pipeline(3, kind, network)
    assert file in pipeline.outputs()
    assert first in pipeline.inputs()
    models = {"trained_model", "round_3_checkpoint", "comparison_checkpoint"}
    assert pipeline.inputs() & models == {first}


def test_only_people_of_the_test_part(json_test):
    found = people_to_predict({"validation": json_test.take(slice(1)), "test": json_test})
    assert np.array_equal(found.boxes, json_test.boxes)
