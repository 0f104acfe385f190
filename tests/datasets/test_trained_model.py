"""A trained model is one file, and the same model when it comes back."""

import json

import pytest
import torch
from kedro.io import DatasetError
from safetensors import safe_open

from sspcm_kedro.data.views import ViewConfig
from sspcm_kedro.datasets.tensors import TensorsDataset
from sspcm_kedro.datasets.trained_model import TrainedModelDataset
from sspcm_kedro.engine.export import TrainedModel
from sspcm_kedro.nets import NetworkConfig
from sspcm_kedro.pose.skeleton import Skeleton

SKELETON = Skeleton(names=("a", "b", "c"), sigmas=(0.1, 0.1, 0.1), torso=(0, 1))


@pytest.fixture
def model() -> TrainedModel:
    torch.manual_seed(0)
    config = NetworkConfig.model_validate({"kind": "small_baseline"})
    return TrainedModel(config.build(3).eval(), config, SKELETON, ViewConfig())


def test_a_model_and_back(model, tmp_path):
    dataset = TrainedModelDataset(str(tmp_path / "model.safetensors"))
    dataset.save(model)
    found = dataset.load()
    assert (found.config, found.skeleton, found.view) == (model.config, SKELETON, ViewConfig())
    images = torch.randn(2, 3, 64, 48)
    with torch.no_grad():
        assert torch.allclose(found.network(images), model.network(images), atol=1e-6)
    assert not found.network.training


def test_the_file_holds_weights_four_texts_and_its_digest(model, tmp_path):
    file = tmp_path / "model.safetensors"
    TrainedModelDataset(str(file)).save(model)
    with safe_open(file, framework="pt") as opened:
        assert set(opened.keys()) == set(model.network.state_dict())
        assert set(opened.metadata()) == {"skeleton", "network", "view", "flip_test", "seal"}
        assert json.loads(opened.metadata()["network"])["kind"] == "small_baseline"
    shown = json.loads(str(TrainedModelDataset(str(file)).preview()))
    assert set(shown) == {*model.network.state_dict(), "skeleton", "network", "view", "flip_test"}


def test_a_file_of_something_else_is_refused_by_name(tmp_path):
    file = tmp_path / "model.safetensors"
    TensorsDataset(str(file)).save({"keypoints": torch.zeros(3)})
    with pytest.raises(DatasetError, match=r"model\.safetensors: must hold weights with their"):
        TrainedModelDataset(str(file)).load()
    with pytest.raises(DatasetError, match=r"absent\.safetensors: there must be such a file"):
        TrainedModelDataset(str(tmp_path / "absent.safetensors")).load()
