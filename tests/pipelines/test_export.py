"""The pipeline export, and what docs/deploy.md says of using its file."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sspcm_kedro.data.views import ViewConfig
from sspcm_kedro.datasets.onnx_model import OnnxDataset
from sspcm_kedro.engine.evaluate import EvaluationConfig
from sspcm_kedro.engine.export import TrainedModel
from sspcm_kedro.errors import BadInput
from sspcm_kedro.nets import NetworkConfig
from sspcm_kedro.pipelines.export.nodes import export_onnx
from sspcm_kedro.pose.skeleton import Skeleton

SKELETON = Skeleton(names=("nose", "left_eye", "right_eye"), flip_pairs=((1, 2),))
DEPLOY = Path(__file__).parents[2] / "docs" / "deploy.md"


def trained(flip_probability: float) -> TrainedModel:
    config = NetworkConfig.model_validate({"kind": "small_baseline"}).bare()
    view = ViewConfig.model_validate({"weak": {"flip_probability": flip_probability}})
    torch.manual_seed(0)
    return TrainedModel(config.build(3).eval(), config, SKELETON, view)


def test_the_snippet_of_the_documents_runs_in_a_folder_with_the_file(tmp_path, monkeypatch):
    graph = export_onnx(trained(0.5), EvaluationConfig(flip_test=True))
    OnnxDataset(filepath=str(tmp_path / "trained_model.onnx")).save(graph)
    image = np.random.default_rng(0).integers(0, 256, (430, 240, 3), np.uint8)
    Image.fromarray(image).save(tmp_path / "photograph.jpg")
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"runs it -->\n```python\n(.+?)```", DEPLOY.read_text(), re.S)
    assert "sspcm_kedro" not in code
    found: dict = {}
    exec(code, found)
    assert found["names"] == ["nose", "left_eye", "right_eye"]
    assert found["keypoints"].shape == (1, 3, 2) and np.isfinite(found["keypoints"]).all()
    assert found["scores"].shape == (1, 3)


def test_a_flip_test_that_training_has_not_prepared_is_refused():
    with pytest.raises(BadInput):
        export_onnx(trained(0.0), EvaluationConfig(flip_test=True))
