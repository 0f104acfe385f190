"""The exported model is the network that its checkpoint deploys."""

import base64
import json

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from sspcm_kedro.data.views import ViewConfig
from sspcm_kedro.datasets.tensors import TensorsDataset
from sspcm_kedro.engine.export import TrainedModel
from sspcm_kedro.engine.frames import predict_frames
from sspcm_kedro.engine.learner import Learner, network_maker
from sspcm_kedro.engine.optimizer import TrainingConfig
from sspcm_kedro.errors import BadInput
from sspcm_kedro.methods import MethodConfig
from sspcm_kedro.nets import NetworkConfig
from sspcm_kedro.pose.skeleton import Skeleton
from sspcm_kedro.serving import DECODING, WEIGHTS, _load_pyfunc, as_base64

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


def asked(image, **others) -> pd.DataFrame:
    return pd.DataFrame({"image": [image], **{name: [value] for name, value in others.items()}})


def test_mlflow_s_entrance_serves_images_of_any_size(logged):
    """As base64 of a file, as numbers, as a data frame's own lists; each with its own boxes."""
    folder, model = logged
    served = _load_pyfunc(str(folder))
    image = np.random.default_rng(1).integers(0, 256, (90, 70, 3), np.uint8)
    boxes = [[5, 6, 50, 80], [20, 0, 69, 60]]
    (expected,) = predict_frames(
        model, [(image, np.array(boxes, np.float32))], flip_test=False, device=CPU
    )
    png = as_base64(image)
    for sent in (png, f"data:image/png;base64,{png}", image, image.tolist()):
        (found,) = served.predict(asked(sent, boxes=boxes))
        assert [person["box"] for person in found["people"]] == boxes
        for person, xy, scores, _ in zip(found["people"], *expected, strict=True):
            points = person["keypoints"]
            assert [point["name"] for point in points] == list(SKELETON.names)
            given = [[point["x"], point["y"]] for point in points]
            np.testing.assert_allclose(given, xy, atol=1e-3)
            np.testing.assert_allclose([p["score"] for p in points], scores, atol=1e-6)
    whole, nobody = served.predict(pd.DataFrame({"image": [png, png], "boxes": [None, []]}))
    assert [person["box"] for person in whole["people"]] == [[0, 0, 69, 89]]
    assert nobody == {"people": []}
    json.dumps(whole)


BOMB = b"P6 60000 60000 255 "
"""The header of a picture of 3,600 megapixels."""


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        ({"image": "no base64"}, "image 0: must be base64"),
        ({"image": base64.b64encode(b"nothing").decode()}, "image 0: the image must decode"),
        ({"image": base64.b64encode(BOMB).decode()}, "image 0: the image must have at most"),
        ({"image": [[[1, 2, 300]]]}, "image 0: must be .* whole numbers from 0 to 255"),
        ({"image": [[1, 2], [3]]}, "image 0: must be an image"),
        ({"image": [[[1, 2, 3]]], "boxes": [[1, 2, 3]]}, "boxes of image 0: must be a list of"),
        ({"image": [[[1, 2, 3]]], "boxes": [[5, 5, 5, 9]]}, "boxes of frame 0: .* x1 > x0"),
    ],
)
def test_what_is_no_image_is_refused_in_one_sentence(logged, sent, message):
    with pytest.raises(BadInput, match=message):
        _load_pyfunc(str(logged[0])).predict(asked(**sent))


def test_a_table_without_images_is_refused(logged):
    with pytest.raises(BadInput, match="input: must have a column image, found"):
        _load_pyfunc(str(logged[0])).predict(pd.DataFrame({"picture": [1]}))


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
