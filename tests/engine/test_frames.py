"""Frames in memory: the keypoints that the same people have from files, and a bounded memory."""

import dataclasses
import threading

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from sspcm_kedro.data.crops import Crops, cut_people
from sspcm_kedro.data.instances import Instances
from sspcm_kedro.data.views import ViewConfig, plain_pixels
from sspcm_kedro.engine.evaluate import EvaluationConfig
from sspcm_kedro.engine.export import TrainedModel
from sspcm_kedro.engine.frames import predict_frames, read_ahead
from sspcm_kedro.engine.predict import to_image
from sspcm_kedro.engine.runtime import RuntimeNetwork, use_runtime
from sspcm_kedro.errors import BadInput
from sspcm_kedro.nets import NetworkConfig
from sspcm_kedro.pose.skeleton import Skeleton

SKELETON = Skeleton(names=("nose", "left_eye", "right_eye"), flip_pairs=((1, 2),))
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def model() -> TrainedModel:
    config = NetworkConfig.model_validate({"kind": "small_baseline", "width": 16, "blocks": 1})
    torch.manual_seed(0)
    return TrainedModel(config.build(3).eval(), config, SKELETON, ViewConfig())


@pytest.fixture(scope="module")
def people(tmp_path_factory) -> Instances:
    """Twelve people on seven images; the fourth image has nobody."""
    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(1)
    image_ids = np.array([0, 1, 1, 1, 2, 4, 4, 5, 5, 5, 6, 6])
    for i in range(7):
        Image.fromarray(rng.integers(0, 255, (120, 160, 3), np.uint8)).save(folder / f"{i}.png")
    corner, size = rng.uniform(-10, 80, (12, 2)), rng.uniform(20, 90, (12, 2))
    return Instances(
        ids=np.arange(12), image_ids=image_ids,
        paths=np.array([str(folder / f"{i}.png") for i in image_ids], object),
        image_hw=np.full((12, 2), (120, 160)),
        boxes=np.concatenate([corner, corner + size], axis=1).astype(np.float32),
        areas=np.ones(12, np.float32), box_scores=np.ones(12, np.float32),
        keypoints=np.zeros((12, 3, 2), np.float32), visibility=np.zeros((12, 3), np.int64),
    )  # fmt: skip


def frames_of(people: Instances) -> list[tuple[np.ndarray, np.ndarray]]:
    folder = people.paths[0].rpartition("/")[0]
    return [
        (np.asarray(Image.open(f"{folder}/{i}.png")), people.boxes[people.image_ids == i])
        for i in range(7)
    ]


def test_people_in_memory_have_the_pixels_of_people_in_files(people, model):
    view = model.view
    from_files = plain_pixels(
        Crops(people, view.frame, border=view.border)[torch.arange(12)], view.input_hw
    )
    in_memory = [cut_people(Image.fromarray(image), boxes, view.frame, view.border)
                 for image, boxes in frames_of(people)]  # fmt: skip
    assert torch.equal(torch.cat(in_memory), from_files)


@pytest.mark.parametrize("flip_test", [False, True])
def test_one_batch_gives_the_bits_of_prediction_from_files(people, model, flip_test):
    crops = Crops(people, model.view.frame, border=model.view.border)
    config = EvaluationConfig(flip_test=flip_test)
    expected = model.predict(crops, config, CPU, "people")
    found = list(predict_frames(model, frames_of(people), flip_test=flip_test, device=CPU))
    assert [len(f.keypoints) for f in found] == [1, 3, 1, 0, 2, 3, 2]
    points = to_image(expected["keypoints"], people, model.view.frame)
    np.testing.assert_array_equal(np.concatenate([f.keypoints for f in found]), points)
    np.testing.assert_array_equal(np.concatenate([f.scores for f in found]), expected["scores"])


@pytest.mark.parametrize("batch", [1, 2, 4])
def test_batches_go_over_frames_and_change_nothing(people, model, batch):
    seen = []
    handle = model.network.register_forward_hook(lambda _net, given, _out: seen.append(given[0]))
    whole = list(predict_frames(model, frames_of(people), flip_test=False, device=CPU))
    parts = list(predict_frames(model, frames_of(people), flip_test=False, device=CPU, batch=batch))
    handle.remove()
    sizes = {1: [1] * 12, 2: [1, 2, 1, 1, 2, 2, 1, 2], 4: [4, 3, 3, 2]}[batch]
    assert [len(images) for images in seen] == [12, *sizes]
    for a, b in zip(whole, parts, strict=True):
        np.testing.assert_allclose(a.keypoints, b.keypoints, atol=1e-3)
        np.testing.assert_allclose(a.scores, b.scores, atol=1e-5)


@pytest.mark.parametrize("flip_test", [False, True])
def test_onnxruntime_finds_what_torch_finds(people, model, flip_test):
    """In batches of any size; the model itself goes on to use torch."""
    settings = {"flip_test": flip_test, "device": CPU, "batch": 5}
    expected = list(predict_frames(model, frames_of(people), **settings))
    quick = use_runtime(model, CPU)
    found = list(predict_frames(quick, frames_of(people), **settings))
    assert quick is not model and isinstance(quick.network, RuntimeNetwork)
    assert not isinstance(model.network, RuntimeNetwork)
    for a, b in zip(expected, found, strict=True):
        np.testing.assert_allclose(b.scores, a.scores, atol=1e-6)
        np.testing.assert_allclose(b.keypoints, a.keypoints, atol=0.01)
    assert use_runtime(model, torch.device("cuda")) is model


def test_a_network_that_does_not_export_is_refused(model):
    class Odd(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.linalg.eigvals(images[..., :2, :2]).real

    with pytest.raises(BadInput, match=r"must export.*prediction\.runtime=torch"):
        use_runtime(dataclasses.replace(model, network=Odd()), CPU)


def test_frames_are_taken_as_they_are_needed(model):
    """In another thread, a few batches ahead; and no further when nobody asks any more."""
    taken, image, box = [], np.zeros((40, 30, 3), np.uint8), np.array([[0, 0, 29, 39.0]])

    def frames():
        for index in range(10_000):
            taken.append((index, threading.current_thread()))
            yield image, box

    found = predict_frames(model, frames(), flip_test=False, device=CPU, batch=4, workers=2)
    for _ in range(20):
        next(found)
    found.close()
    assert 20 <= len(taken) < 60
    assert threading.main_thread() not in {thread for _, thread in taken}
    count = len(taken)
    assert not any(thread.is_alive() for _, thread in taken) and len(taken) == count


def test_an_error_on_the_way_comes_after_the_items_before_it():
    def items():
        yield from range(5)
        raise BadInput("a.mp4", "must decode", "Copy it")

    got = []
    with pytest.raises(BadInput, match=r"a\.mp4"):
        got.extend(read_ahead(items()))
    ahead = read_ahead(items())
    assert [next(ahead) for _ in range(5)] == list(range(5))


@pytest.mark.parametrize(
    ("image", "boxes", "text"),
    [
        (np.zeros((4, 4), np.uint8), np.zeros((0, 4)), r"frame 1: must be uint8 RGB"),
        (np.zeros((4, 4, 3)), np.zeros((0, 4)), r"frame 1: must be uint8 RGB.*float64"),
        (np.zeros((4, 4, 3), np.uint8), np.zeros(4), r"boxes of frame 1: must be \(people, 4\)"),
        (
            np.zeros((4, 4, 3), np.uint8),
            np.array([[3, 0, 3, 3.0]]),
            r"frame 1: boxes must",
        ),
    ],
)
def test_other_frames_are_refused(model, image, boxes, text):
    good = (np.zeros((4, 4, 3), np.uint8), np.array([[0, 0, 3, 3.0]]))
    with pytest.raises(BadInput, match=text):
        list(predict_frames(model, [good, (image, boxes)], flip_test=False, device=CPU))
