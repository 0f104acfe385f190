"""The exported model is the network that its checkpoint deploys."""

import json

import numpy as np
import pytest
import torch
from torch import Tensor

from sspcm_kedro.data.views import ViewConfig, normalize
from sspcm_kedro.datasets.tensors import TensorsDataset
from sspcm_kedro.engine.export import TrainedModel
from sspcm_kedro.engine.learner import Learner, network_maker
from sspcm_kedro.engine.optimizer import TrainingConfig
from sspcm_kedro.errors import BadInput
from sspcm_kedro.methods import MethodConfig
from sspcm_kedro.nets import NetworkConfig
from sspcm_kedro.pose.heatmap import flip_back
from sspcm_kedro.pose.skeleton import Skeleton
from sspcm_kedro.serving import DECODING, WEIGHTS, _load_pyfunc

SKELETON = Skeleton(names=("nose", "left_eye", "right_eye"), flip_pairs=((1, 2),))
VIEW = ViewConfig()
CPU = torch.device("cpu")
SMALL = {"kind": "small_baseline", "width": 16, "blocks": 1}
LARGE = {"kind": "small_baseline", "width": 24, "blocks": 2}
MIXED = NetworkConfig.model_validate(
    {"kind": "teacher_student", "teacher": LARGE, "student": SMALL}
)
METHODS = [
    ({"kind": "supervised"}, "student", SMALL),
    ({"kind": "pose_dual"}, "teacher_a", LARGE),
    ({"kind": "sspcm", "snapshot_every": 1}, "student", SMALL),
]


def trained(method: dict, network: NetworkConfig = MIXED) -> tuple[TrainedModel, dict[str, Tensor]]:
    """The exported model of a method, and the weights of the network that it deploys."""
    config = MethodConfig.model_validate(method)
    learner = Learner(config, network_maker(network, 3, 0), VIEW.codec, TrainingConfig(), CPU)
    model = TrainedModel.from_checkpoint(
        learner.state({"fingerprint": "abc"}), SKELETON, VIEW, network
    )
    return model, learner.method.networks[learner.method.deployed].state_dict()


@pytest.mark.parametrize(("method", "deployed", "expected"), METHODS)
def test_the_stored_network_is_the_deployed_one(method, deployed, expected):
    """Teachers and student differ in size; a teacher may be what is deployed."""
    model, weights = trained(method)
    assert model.config.model_dump() == expected
    stored = model.to_tensors()
    assert json.loads(stored["network"]) == expected
    again = TrainedModel.from_tensors(stored, "model")
    found = again.network.state_dict()
    assert found.keys() == weights.keys()
    assert all(torch.equal(found[key], weights[key]) for key in weights)


@pytest.mark.parametrize("flip_test", [False, True])
def test_images_give_the_network_s_own_keypoints(flip_test):
    """Cut into batches or not, what it says is decoded from its heatmaps."""
    model, _ = trained({"kind": "supervised"})
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (130, 64, 48, 3), np.uint8)
    found = model.predict_images(images, flip_test=flip_test, device=CPU)
    assert found.shape == (130, 3, 3) and found.dtype == np.float32
    with torch.no_grad():
        pixels = normalize(torch.tensor(images).permute(0, 3, 1, 2).float() / 255)
        heatmaps = model.network(pixels)
        if flip_test:
            mirrored = flip_back(model.network(pixels.flip(3)), SKELETON.flip_order)
            heatmaps = (heatmaps + mirrored) / 2
    keypoints, scores = VIEW.codec.decode(heatmaps)
    np.testing.assert_allclose(found[..., :2], keypoints, atol=0.02)
    np.testing.assert_allclose(found[..., 2], scores, atol=1e-4)
    assert model.predict_images(images[:0], flip_test=flip_test, device=CPU).shape == (0, 3, 3)


@pytest.fixture
def logged(tmp_path):
    """A folder as tracking logs it."""
    model, _ = trained({"kind": "pose_dual"})
    stored = model.to_tensors()
    tensors = {k: v.clone().contiguous() for k, v in stored.items() if isinstance(v, Tensor)}
    texts = {k: v for k, v in stored.items() if isinstance(v, str)}
    TensorsDataset(str(tmp_path / WEIGHTS)).save({**tensors, **texts})
    (tmp_path / DECODING).write_text('{"flip_test": false}')
    return tmp_path, model


def test_mlflow_s_entrance_serves_the_same_model(logged):
    folder, model = logged
    images = np.random.default_rng(1).integers(0, 255, (3, 64, 48, 3), np.uint8)
    expected = model.predict_images(images, flip_test=False, device=CPU)
    np.testing.assert_allclose(_load_pyfunc(str(folder)).predict(images), expected, atol=0.02)


@pytest.mark.parametrize(
    "images", [np.zeros((1, 64, 48, 3), np.float32), np.zeros((1, 48, 64, 3), np.uint8)]
)
def test_other_images_are_refused(logged, images):
    with pytest.raises(BadInput, match=r"images: must be uint8 of shape \(n, 64, 48, 3\), got"):
        _load_pyfunc(str(logged[0])).predict(images)


def test_a_flipped_bit_in_the_weights_is_seen(logged):
    file = logged[0] / WEIGHTS
    data = bytearray(file.read_bytes())
    data[-100] ^= 64
    file.write_bytes(data)
    with pytest.raises(BadInput, match="its SHA-256 is another"):
        _load_pyfunc(str(logged[0]))


@pytest.mark.parametrize("name", [WEIGHTS, DECODING])
def test_a_folder_of_something_else_is_refused(logged, name):
    (logged[0] / name).write_text("nothing")
    with pytest.raises(BadInput, match="must be a network that this project has logged"):
        _load_pyfunc(str(logged[0]))
