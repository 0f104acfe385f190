"""The exported graph is the trained model: onnxruntime finds what prediction finds."""

import json

import numpy as np
import onnxruntime
import pytest
import torch
from kedro.io import DatasetError
from PIL import Image

from sspcm_kedro.data.crops import cut_people
from sspcm_kedro.data.views import ViewConfig
from sspcm_kedro.datasets.onnx_model import OnnxDataset
from sspcm_kedro.engine.export import TrainedModel
from sspcm_kedro.engine.frames import predict_frames
from sspcm_kedro.engine.portable import PortableModel, crop_origin, cut_boxes, to_onnx
from sspcm_kedro.nets import NetworkConfig
from sspcm_kedro.pose.skeleton import Skeleton

SKELETON = Skeleton(names=("nose", "left_eye", "right_eye"), flip_pairs=((1, 2),))
CPU = torch.device("cpu")
NETWORKS = [
    ({"kind": "small_baseline"}, ViewConfig(input_hw=(64, 48)), True),
    (
        {"kind": "simple_baseline", "backbone": "tf_efficientnet_lite0", "reduction": 16,
         "head_width": 32},
        ViewConfig(input_hw=(96, 64), padding=0.95, border=0), True,
    ),
    (
        {"kind": "hrnet", "width": 18},
        ViewConfig(input_hw=(64, 64), refinement="dark", sigma=2.0), False,
    ),
    ({"kind": "small_baseline"}, ViewConfig(input_hw=(32, 48), refinement="shift"), True),
]  # fmt: skip
SIZES = [(120, 90), (61, 400), (700, 500)]


def trained(network: dict, view: ViewConfig) -> TrainedModel:
    """A network whose heatmaps vary and are positive, as those of a trained one are."""
    torch.manual_seed(0)
    config = NetworkConfig.model_validate(network).bare()
    net = config.build(SKELETON.size, stride=view.stride).eval()
    convolutions = [m for m in net.modules() if hasattr(m, "kernel_size") and hasattr(m, "weight")]
    (head,) = [m for m in convolutions if m.out_channels == SKELETON.size]
    with torch.no_grad():
        for module in convolutions:
            torch.nn.init.kaiming_normal_(module.weight)
        head.weight /= net(torch.randn(2, 3, *view.input_hw)).std() * 10
        head.bias.fill_(0.5)
    return TrainedModel(net, config, SKELETON, view)


def scene(hw: tuple[int, int], people: int) -> tuple[np.ndarray, np.ndarray]:
    """A smooth random image, and boxes in it, over its edges, and beyond."""
    rng = np.random.default_rng(hw[0] + people)
    small = Image.fromarray(rng.integers(0, 256, (12, 12, 3), np.uint8))
    image = np.array(small.resize(hw[::-1], Image.Resampling.BICUBIC))
    start = rng.uniform(-20, [hw[1] * 0.7, hw[0] * 0.7], (people, 2))
    sizes = rng.uniform(8, [hw[1], hw[0]], (people, 2))
    boxes = np.concatenate([start, start + sizes], axis=1).astype(np.float32)
    boxes[0] = 0, 0, hw[1], hw[0]
    return image, boxes


@pytest.mark.parametrize(("network", "view", "flip_test"), NETWORKS)
def test_onnxruntime_finds_what_torch_and_prediction_find(network, view, flip_test):
    """Images and numbers of people that the export has not seen; each kind of network."""
    model = trained(network, view)
    session = onnxruntime.InferenceSession(to_onnx(model, flip_test).SerializeToString())
    portable = PortableModel(model, flip_test).eval()
    usual = []
    for number, hw in enumerate(SIZES):
        image, boxes = scene(hw, people=1 + 2 * number)
        keypoints, scores = session.run(None, {"image": image, "boxes": boxes})
        with torch.no_grad():
            expected = portable(torch.from_numpy(image), torch.from_numpy(boxes))
        assert keypoints.shape == (len(boxes), 3, 2) and keypoints.dtype == np.float32
        assert (scores > 0.5).all() and len(np.unique(keypoints)) > 3
        np.testing.assert_allclose(keypoints, expected[0], atol=0.01)
        np.testing.assert_allclose(scores, expected[1], atol=1e-4)
        (found,) = predict_frames(model, [(image, boxes)], flip_test=flip_test, device=CPU)
        usual.append(np.abs(found.keypoints - keypoints).reshape(-1))
    # A pixel one level off may move the maximum of a map to a cell that is as high.
    assert np.quantile(np.concatenate(usual), 0.9) < 0.01


@pytest.mark.parametrize(
    ("hw", "input_hw", "border"),
    [((100, 80), (64, 48), 12), ((700, 900), (64, 48), 0), ((20, 30), (96, 64), 16)],
)
def test_crops_are_pillow_s_but_for_single_levels(hw, input_hw, border):
    """Shrunk and enlarged, with a border and without, inside and outside of the image."""
    view = ViewConfig(input_hw=input_hw, border=border)
    image, boxes = scene(hw, people=6)
    boxes[1] = boxes[0] + 3 * max(hw)  # nothing of it is in the image
    expected = cut_people(Image.fromarray(image), boxes, view.frame, border).float()
    start, pixel = crop_origin(torch.from_numpy(boxes).double(), view.frame)
    difference = (cut_boxes(torch.from_numpy(image), start, pixel, view) - expected).abs()
    assert difference.max() <= 1 and (difference > 0).float().mean() < 0.01
    assert expected.amax(dim=(1, 2, 3))[1] == 0 and expected.amax(dim=(1, 2, 3))[0] > 0


@pytest.fixture(scope="module")
def graph():
    return to_onnx(trained({"kind": "small_baseline"}, ViewConfig()), False)


def test_a_box_that_is_none_gives_nan_and_leaves_the_others(graph):
    session = onnxruntime.InferenceSession(graph.SerializeToString())
    image, boxes = scene((120, 90), people=4)
    alone = session.run(None, {"image": image, "boxes": boxes[[0, 3]]})
    boxes[1], boxes[2] = (5, 5, 5, 9), (1, 2, np.nan, 4)
    keypoints, scores = session.run(None, {"image": image, "boxes": boxes})
    assert np.isnan(keypoints[[1, 2]]).all() and (scores[[1, 2]] == 0).all()
    np.testing.assert_allclose(keypoints[[0, 3]], alone[0], atol=1e-4)


def test_the_file_says_what_it_is(graph, tmp_path):
    dataset = OnnxDataset(filepath=str(tmp_path / "model.onnx"))
    dataset.save(graph)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    said = session.get_modelmeta().custom_metadata_map
    assert json.loads(said["keypoints"]) == list(SKELETON.names)
    assert json.loads(said["flip_order"]) == [0, 2, 1]
    assert json.loads(said["input_hw"]) == [64, 48]
    assert json.loads(said["flip_test"]) is False
    assert Skeleton.from_dict(json.loads(said["skeleton"])) == SKELETON
    assert dataset.load() == graph
    (tmp_path / "model.onnx").write_bytes(b"nothing")
    with pytest.raises(DatasetError, match="must be an ONNX file"):
        dataset.load()
