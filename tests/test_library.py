"""The project in three lines: what ``sspcm_kedro.load(...).predict(...)`` gives."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import sspcm_kedro
from sspcm_kedro.data.video_stream import VideoFrame, stream_video
from sspcm_kedro.data.views import ViewConfig
from sspcm_kedro.datasets.labeled_videos import write_video
from sspcm_kedro.datasets.tensors import TensorsDataset
from sspcm_kedro.datasets.trained_model import TrainedModelDataset
from sspcm_kedro.engine.export import TrainedModel
from sspcm_kedro.engine.frames import predict_frames
from sspcm_kedro.errors import BadInput
from sspcm_kedro.nets import NetworkConfig
from sspcm_kedro.pose.skeleton import Skeleton
from sspcm_kedro.serving import DECODING, WEIGHTS

SKELETON = Skeleton(names=("nose", "left_eye", "right_eye"), flip_pairs=((1, 2),))
CPU = torch.device("cpu")


def test_importing_it_does_not_import_torch():
    code = (
        "import sys, sspcm_kedro; assert 'torch' not in sys.modules and 'kedro' not in sys.modules"
    )
    code += "; assert callable(sspcm_kedro.load) and 'torch' in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="has no attribute 'lode'"):
        sspcm_kedro.lode  # noqa: B018


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A model as evaluation writes it, and the file."""
    torch.manual_seed(0)
    config = NetworkConfig.model_validate({"kind": "small_baseline"}).bare()
    trained = TrainedModel(config.build(3).eval(), config, SKELETON, ViewConfig())
    file = tmp_path_factory.mktemp("model") / "trained_model.safetensors"
    TrainedModelDataset(filepath=str(file)).save(trained)
    return trained, file


def pixels(seed: int, hw: tuple[int, int] = (90, 70)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*hw, 3), np.uint8)


BOXES = np.array([[5, 6, 50, 80], [20, 0, 69, 60]], np.float32)


def expected(trained: TrainedModel, image: np.ndarray, boxes: np.ndarray):
    (found,) = predict_frames(trained, [(image, boxes)], flip_test=False, device=CPU)
    return found


def test_pixels_a_file_and_a_pillow_image_give_the_same(stored, tmp_path):
    trained, file = stored
    model, image = sspcm_kedro.load(file, device="cpu"), pixels(1)
    Image.fromarray(image).save(tmp_path / "one.png")
    found = model.predict(image, BOXES)
    assert found.names == SKELETON.names and len(found) == 2
    keypoints, scores, _ = expected(trained, image, BOXES)
    np.testing.assert_allclose(found.keypoints, keypoints, atol=1e-4)
    np.testing.assert_allclose(found.scores, scores, atol=1e-6)
    for same in (tmp_path / "one.png", str(tmp_path / "one.png"), Image.fromarray(image)):
        again = model.predict(same, BOXES.tolist())
        np.testing.assert_array_equal(again.keypoints, found.keypoints)
        np.testing.assert_array_equal(again.boxes, BOXES)


def test_a_list_of_images_is_each_of_them_in_order(stored, tmp_path):
    model, image = sspcm_kedro.load(stored[1], device="cpu"), pixels(1)
    other = np.ascontiguousarray(image[::-1])
    Image.fromarray(image).save(tmp_path / "one.png")
    found = model.predict([tmp_path / "one.png", other, Image.fromarray(image)])
    assert found.images.tolist() == [str(tmp_path / "one.png"), "", ""]
    assert found.frames.tolist() == [0, 1, 2]
    alone = [model.predict(each).keypoints[0] for each in (image, other, image)]
    np.testing.assert_allclose(found.keypoints, alone, atol=1e-4)
    each = model.predict([image, other], [[BOXES[0].tolist()], []])
    assert each.frames.tolist() == [0] and each.boxes.tolist() == [BOXES[0].tolist()]


def test_boxes_are_one_table_for_all_images_or_one_for_each(stored, tmp_path):
    for name in ("a.png", "b.png"):
        Image.fromarray(pixels(1)).save(tmp_path / name)
    model = sspcm_kedro.load(stored[1], device="cpu")
    each = np.array([[[1, 2, 30, 40]], [[5, 6, 50, 60]]], np.float32)
    for given in (each, list(each), each.tolist()):
        assert model.predict(tmp_path, given).boxes.tolist() == [[1, 2, 30, 40], [5, 6, 50, 60]]
    assert len(model.predict(tmp_path, each[0])) == 2
    for wrong in ([[1, 2, 30, 40, 5, 6, 50, 60]], [[1, 2], [30, 40]]):
        with pytest.raises(BadInput, match="must be a list of boxes"):
            model.predict(tmp_path, wrong)


def test_any_image_may_have_nobody_and_no_table_is_left_over(stored, tmp_path):
    for name in ("a.png", "b.png"):
        Image.fromarray(pixels(1)).save(tmp_path / name)
    model = sspcm_kedro.load(stored[1], device="cpu")
    one = [[1, 2, 30, 40]]
    assert model.predict(tmp_path, [[], one]).frames.tolist() == [1]
    assert model.predict(tmp_path, [one, []]).frames.tolist() == [0]
    assert len(model.predict(tmp_path, [[], []])) == 0
    with pytest.raises(BadInput, match="boxes: must be there for each image, and are for 3"):
        model.predict(tmp_path, [one, [], one])


def test_a_model_is_read_as_it_was_evaluated_also_without_a_measured_confidence(stored, tmp_path):
    own = tmp_path / "trained_model.safetensors"
    TrainedModelDataset(filepath=str(own)).save(replace(stored[0], flip_test=True))
    assert sspcm_kedro.load(own, device="cpu").flip_test is True
    assert sspcm_kedro.load(own, device="cpu", flip_test=False).flip_test is False


def test_a_model_says_which_network_it_is_and_why(stored, tmp_path):
    trained, file = stored
    assert sspcm_kedro.load(file, device="cpu").choice == {}
    chosen = {"ships": "baseline", "reason": "It is better.", "doubt": ""}
    own = tmp_path / "trained_model.safetensors"
    TrainedModelDataset(filepath=str(own)).save(replace(trained, choice=chosen))
    assert sspcm_kedro.load(own, device="cpu").choice == chosen


def test_a_folder_gives_its_images_by_name(stored, tmp_path):
    trained, file = stored
    for number, name in enumerate(("b.png", "a.png", "c.png")):
        Image.fromarray(pixels(number, (40 + number, 50))).save(tmp_path / name)
    model = sspcm_kedro.load(file, device="cpu")
    found = model.predict(tmp_path)
    assert [name[-5:] for name in found.images] == ["a.png", "b.png", "c.png"]
    assert found.frames.tolist() == [0, 1, 2]
    assert found.boxes.tolist() == [[0, 0, 49, 40], [0, 0, 49, 39], [0, 0, 49, 41]]
    whole = expected(trained, pixels(1, (41, 50)), found.boxes[:1])
    np.testing.assert_allclose(found.keypoints[:1], whole.keypoints, atol=1e-4)
    each = model.predict(tmp_path, [BOXES, BOXES[:0], BOXES[:1]])
    assert each.frames.tolist() == [0, 0, 2]
    with pytest.raises(BadInput, match="boxes: must be there for each image, and are for 1"):
        model.predict(tmp_path, [BOXES])


def test_orientation_tags_are_ignored_with_a_warning(stored, tmp_path, caplog):
    model, tags = sspcm_kedro.load(stored[1], device="cpu"), Image.Exif()
    tags[0x0112] = 6
    Image.fromarray(pixels(0)).save(tmp_path / "a.jpeg")
    for name in ("b.jpeg", "c.jpeg"):
        Image.fromarray(pixels(1)).save(tmp_path / name, exif=tags)
    model.predict(tmp_path / "a.jpeg")
    assert not caplog.records
    turned = tmp_path / "b.jpeg"
    assert model.predict(turned).boxes.tolist() == [[0, 0, 69, 89]]
    model.predict(tmp_path)
    model.predict(Image.open(turned))
    said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    rule = "images have an orientation tag (EXIF), which is ignored: labels and predictions are of"
    for count, first, line in zip((1, 2, 1), (turned, turned, "a Pillow image"), said, strict=True):
        assert line.startswith(f"{count} {rule}") and line.endswith(f"(the first: {first})")


def test_a_pillow_image_is_what_its_file_is(stored, tmp_path, caplog):
    """Also of 16 bits, which Pillow's own conversion makes white, and turned by a TIFF's tag."""
    model, tags = sspcm_kedro.load(stored[1], device="cpu"), Image.Exif()
    tags[0x0112] = 6
    Image.fromarray(pixels(0)[..., 0] * np.uint16(16) + np.uint16(1000)).save(tmp_path / "deep.png")
    Image.fromarray(pixels(1)).save(tmp_path / "turned.tif", exif=tags)
    for name in ("deep.png", "turned.tif"):
        of_file = model.predict(tmp_path / name)
        found = model.predict(Image.open(tmp_path / name))
        np.testing.assert_array_equal(found.boxes, of_file.boxes)
        np.testing.assert_array_equal(found.scores, of_file.scores)
        np.testing.assert_array_equal(found.keypoints, of_file.keypoints)
    assert not caplog.records


def test_a_video_gives_its_frames_in_order(stored, tmp_path):
    trained, file = stored
    frames = (VideoFrame(i, i / 10, pixels(i, (48, 64))) for i in range(3))
    write_video(tmp_path / "film.mp4", frames, 10)
    found = sspcm_kedro.load(file, device="cpu").predict(tmp_path / "film.mp4")
    assert found.frames.tolist() == [0, 1, 2]
    assert set(found.images) == {str(tmp_path / "film.mp4")}
    for row, frame in enumerate(stream_video(tmp_path / "film.mp4")):
        alone = expected(trained, frame.image, found.boxes[:1])
        np.testing.assert_allclose(found.keypoints[row : row + 1], alone.keypoints, atol=1e-3)


def test_a_folder_holds_one_logged_model(stored, tmp_path):
    for name in ("first", "second"):
        folder = tmp_path / "logged" / name / "data"
        folder.mkdir(parents=True)
        TensorsDataset(str(folder / WEIGHTS)).save(stored[0].to_tensors())
        (folder / DECODING).write_text('{"flip_test": false}')
    found = sspcm_kedro.load(tmp_path / "logged" / "second", device="cpu")
    assert found.names == SKELETON.names
    two = r"logged: a folder must hold one model .*, found \S+first/data, \S+second/data\. Name"
    with pytest.raises(BadInput, match=two):
        sspcm_kedro.load(tmp_path / "logged")
    with pytest.raises(BadInput, match=r"found none\. .*a run's trained_model\.safetensors"):
        sspcm_kedro.load(stored[1].parent)


def test_what_is_no_model_or_image_is_one_sentence(stored, tmp_path):
    with pytest.raises(BadInput, match="there must be such a file"):
        sspcm_kedro.load(tmp_path / "none.safetensors")
    save_file({"x": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(BadInput, match="SHA-256"):
        sspcm_kedro.load(tmp_path / "other.safetensors")
    with pytest.raises(BadInput, match="the image must decode"):
        sspcm_kedro.load(stored[1]).predict(tmp_path / "other.safetensors")
    with pytest.raises(BadInput, match=r"frame 0: must be uint8 RGB"):
        sspcm_kedro.load(stored[1]).predict(np.zeros((4, 4, 3)))
    model = sspcm_kedro.load(stored[1], device="cpu")
    with pytest.raises(BadInput, match=r"image 0: must be .* found a ndarray \(4,\)"):
        model.predict(np.zeros(4, np.uint8))
    with pytest.raises(BadInput, match=r"image 1: must be .* found a Tensor \(3, 4, 4\)"):
        model.predict([pixels(1), torch.zeros(3, 4, 4)])
    with pytest.raises(BadInput, match=r"image 0: must be .* found a NoneType"):
        model.predict(None)
    for device in ("cuda:77", "gpu"):
        with pytest.raises(BadInput, match=f"device = {device}: must be one that torch finds"):
            sspcm_kedro.load(stored[1], device=device)
