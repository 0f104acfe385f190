"""Keypoints of any folder of images, as a COCO file."""

import json

import numpy as np
import pandas as pd
import pytest
from kedro.io import DatasetError
from PIL import Image
from pycocotools.coco import COCO
from safetensors.torch import load_file
from scipy.special import expit

from sspcm_kedro.data.video_stream import VideoFrame, stream_video
from sspcm_kedro.data.views import ViewConfig
from sspcm_kedro.datasets.labeled_videos import write_video
from sspcm_kedro.datasets.tensors import TensorsDataset
from sspcm_kedro.engine.export import TrainedModel
from sspcm_kedro.errors import BadInput
from sspcm_kedro.nets import NetworkConfig
from sspcm_kedro.pose.skeleton import COCO as SKELETON

HW = (64, 48)


@pytest.fixture
def ready(make_project, trained_project):
    """A project of its own with the trained model; its images are in ``trained_project``."""
    project = make_project("prediction")
    (project.data / "06_models").mkdir(parents=True)
    model = "06_models/trained_model.safetensors"
    (project.data / model).write_bytes((trained_project.data / model).read_bytes())
    return project


def predict(project, **prediction) -> dict:
    """What the pipeline writes."""
    given = {key: str(value) for key, value in prediction.items()}
    project.run("prediction", prediction=given)
    file = project.data / "07_model_output" / "prediction" / "person_keypoints.json"
    return json.loads(file.read_text())


def image_points(points: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Points (n, k, 2) of 64 x 48 views in image pixels: boxes grown to 4:3, then by a quarter."""
    sides, centers = boxes[:, 2:] - boxes[:, :2], (boxes[:, :2] + boxes[:, 2:]) / 2
    width = 1.25 * np.maximum(sides[:, 0], sides[:, 1] * HW[1] / HW[0])
    shifted = points - np.array(HW[::-1]) / 2
    return shifted * (width / HW[1])[:, None, None] + centers[:, None]


def hw_of(people: pd.DataFrame) -> np.ndarray:
    """Image sizes (n, 2)."""
    return people[["height", "width"]].to_numpy()


def probabilities(project, scores) -> np.ndarray:
    """By the curve that evaluation measured on the validation people."""
    choice = json.loads((project.data / "08_reporting/choice.json").read_text())
    whose = "network" if choice["ships"] == choice["network"] else "comparison"
    file = project.data / "07_model_output" / f"{whose}_reliability.json"
    curve = json.loads(file.read_text())
    line = curve["confidence"]["slope"] * np.log(np.maximum(np.asarray(scores, float), 1e-3))
    return expit(line + curve["confidence"]["offset"])


def found_points(written: dict) -> np.ndarray:
    """Keypoints (n, k, 3) of a COCO file."""
    return np.array([p["keypoints"] for p in written["annotations"]]).reshape(-1, 17, 3)


def test_boxes_give_what_evaluation_saw(ready, trained_project):
    """The validation people, once through each pipeline: the network that is shipped."""
    drawn = trained_project.data / "01_raw" / "drawn"
    file = drawn / "annotations" / "person_keypoints_val.json"
    written = predict(ready, images=drawn / "images" / "val", boxes=file)
    people = pd.read_parquet(trained_project.data / "05_model_input" / "validation.parquet")
    choice = json.loads((trained_project.data / "08_reporting" / "choice.json").read_text())
    name = choice["ships"]
    folder = "validation" if name == "student" else "comparison"
    output = trained_project.data / "07_model_output" / folder / "predictions.safetensors"
    seen = load_file(output)
    expected = image_points(
        seen[f"{name}.keypoints"].double().numpy(), people[["x0", "y0", "x1", "y1"]].to_numpy(float)
    )
    found = found_points(written)
    outside = ~((expected >= -0.5) & (expected <= hw_of(people)[:, None, ::-1] - 0.5)).all(axis=2)
    np.testing.assert_allclose(found[..., :2], np.where(outside[..., None], 0, expected), atol=0.01)
    marked = np.where(outside, 0, np.where(seen[f"{name}.scores"].numpy() >= 0.2, 2, 1))
    np.testing.assert_array_equal(found[..., 2], marked)
    assert [p["id"] for p in written["annotations"]] == people["id"].tolist()
    scores = np.array([p["keypoint_scores"] for p in written["annotations"]])
    np.testing.assert_allclose(scores, seen[f"{name}.scores"], atol=1e-4)
    for person, row in zip(written["annotations"], scores, strict=True):
        clear = row[row > 0.2]
        assert person["score"] == pytest.approx(clear.mean() if len(clear) else 0, abs=2e-4)
    likely = np.array([p["keypoint_probabilities"] for p in written["annotations"]])
    np.testing.assert_allclose(
        likely, probabilities(trained_project, seen[f"{name}.scores"]), atol=1e-4
    )
    assert written["info"]["description"].endswith("boxes were given")


def test_tools_can_read_it(ready, trained_project):
    images = trained_project.data / "01_raw" / "drawn" / "images" / "val"
    predict(ready, images=images)
    file = ready.data / "07_model_output" / "prediction" / "person_keypoints.json"
    coco = COCO(file)
    results = coco.loadRes([coco.anns[i] for i in coco.getAnnIds()])
    assert len(results.getAnnIds()) == len(list(images.iterdir()))
    (category,) = coco.loadCats(coco.getCatIds())
    assert len(category["keypoints"]) == 17 and len(category["skeleton"]) == 19
    with Image.open(ready.data / "08_reporting" / "prediction_overlays.png") as sheet:
        assert len(np.unique(np.asarray(sheet.convert("RGB")).reshape(-1, 3), axis=0)) > 20


def pictures(folder, *names, size=(50, 80)):
    rng = np.random.default_rng(0)
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (*size, 3), np.uint8)).save(folder / name)
    return folder


def test_without_boxes_each_image_is_one_person(ready, tmp_path):
    folder = pictures(tmp_path / "p", "b.png", "a.JPG", "sub/c.webp")
    (folder / "notes.txt").write_text("no image")
    written = predict(ready, images=folder)
    assert [image["file_name"] for image in written["images"]] == ["a.JPG", "b.png", "sub/c.webp"]
    assert {(image["height"], image["width"]) for image in written["images"]} == {(50, 80)}
    assert [p["image_id"] for p in written["annotations"]] == [1, 2, 3]
    assert [p["bbox"] for p in written["annotations"]] == [[0, 0, 79, 49]] * 3
    scores = np.array([p["keypoint_scores"] for p in written["annotations"]])
    marks = found_points(written)[..., 2]
    assert (marks[marks > 0] == np.where(scores >= 0.2, 2, 1)[marks > 0]).all()
    assert "each image was taken as one person" in written["info"]["description"]


def test_a_video_becomes_tables_a_labeled_video_and_other_tools_files(
    ready, trained_project, tmp_path
):
    """Through Kedro: DeepLabCut's CSV has three rows of head and the points of the table."""
    rng = np.random.default_rng(3)
    frames = (VideoFrame(i, i / 10, rng.integers(0, 255, (48, 64, 3), np.uint8)) for i in range(5))
    write_video(tmp_path / "film.mp4", frames, 10)
    ready.run("prediction", prediction={
        "images": str(tmp_path / "film.mp4"), "formats": ["deeplabcut", "coco"], "threshold": 0.0,
    })  # fmt: skip
    folder = ready.data / "07_model_output" / "prediction"
    table = pd.read_csv(folder / "videos" / "film.mp4.csv")
    exported = pd.read_csv(folder / "exports/deeplabcut/filmDLC_sspcm.csv",
                           header=[0, 1, 2], index_col=0)  # fmt: skip
    assert len(exported) == 5 and len(table) == 5 * 17
    points = exported.to_numpy().reshape(5, 17, 3)
    there = (table["v"] > 0).to_numpy().reshape(5, 17)
    wanted = table[["x", "y", "score"]].to_numpy().reshape(5, 17, 3)
    np.testing.assert_allclose(points[there], wanted[there], atol=0.006)
    assert np.isnan(points[~there][:, :2]).all()
    likely = probabilities(trained_project, table["score"])
    np.testing.assert_allclose(table["probability"], likely, atol=0.02)  # scores are rounded
    assert (folder / "exports/coco").is_dir()
    assert len(list(stream_video(ready.data / "08_reporting/labeled_videos/film.mp4"))) == 5


def test_detections(ready, tmp_path):
    """A detector's list for images that a COCO file names; one of them has nobody."""
    folder = pictures(tmp_path / "p", "a.png", "b.png")
    images = [{"id": 7, "file_name": "a.png", "height": 50, "width": 80},
              {"id": 9, "file_name": "b.png", "height": 50, "width": 80}]  # fmt: skip
    (tmp_path / "images.json").write_text(json.dumps({"images": images}))
    found = [{"image_id": 9, "category_id": 1, "bbox": [5, 5, 30, 40], "score": 0.5},
             {"image_id": 9, "category_id": 3, "bbox": [5, 5, 30, 40], "score": 0.9}]  # fmt: skip
    (tmp_path / "found.json").write_text(json.dumps(found))
    written = predict(
        ready, images=folder, boxes=tmp_path / "images.json", detections=tmp_path / "found.json"
    )
    (person,) = written["annotations"]
    assert person["image_id"] == 9 and person["bbox"] == [5, 5, 30, 40]
    clear = np.array(person["keypoint_scores"])
    clear = clear[clear > 0.2]
    assert person["score"] == pytest.approx(0.5 * clear.mean() if len(clear) else 0, abs=2e-4)


def test_boxes_of_people_without_keypoints_count(ready, tmp_path):
    """Also in a file of keypoints, where training leaves such people out; crowds do not."""
    folder = pictures(tmp_path / "p", "a.png")
    box = {"image_id": 1, "category_id": 1, "area": 9, "bbox": [5, 5, 30, 40], "iscrowd": 0}
    content = {
        "images": [{"id": 1, "file_name": "a.png", "height": 50, "width": 80}],
        "categories": [{"id": 1, "name": "person", "keypoints": ["tail", "nose"], "skeleton": []}],
        "annotations": [{**box, "id": 1, "keypoints": [0] * 6},
                        {**box, "id": 2, "keypoints": [9, 9, 2, 0, 0, 0]},
                        {**box, "id": 3, "keypoints": [0] * 6, "iscrowd": 1}],
    }  # fmt: skip
    (tmp_path / "boxes.json").write_text(json.dumps(content))
    written = predict(ready, images=folder, boxes=tmp_path / "boxes.json")
    assert [p["id"] for p in written["annotations"]] == [1, 2]


def test_no_folder_was_given(ready):
    with pytest.raises(BadInput, match=r"prediction\.images: must name a folder.*images=FOLDER"):
        ready.run("prediction")


@pytest.mark.parametrize(
    ("names", "text"),
    [((), "at least one image"), (("x/a.txt",), "at least one image"), (None, "such a folder")],
)
def test_no_images(ready, tmp_path, names, text):
    folder = tmp_path / "p"
    for name in names or ():
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text("")
    if names == ():
        folder.mkdir()
    with pytest.raises(BadInput, match=text):
        predict(ready, images=folder)


@pytest.mark.parametrize("kept", [0, 60, -200])
def test_a_image_that_is_none(ready, tmp_path, kept):
    folder = pictures(tmp_path / "p", "a.png", "b.png")
    (folder / "b.png").write_bytes((folder / "a.png").read_bytes()[:kept])
    with pytest.raises(BadInput, match=r"b\.png: (must be an image|the image must decode), but"):
        predict(ready, images=folder)
    assert not (ready.data / "07_model_output").exists()


def test_detections_need_a_list_of_images(ready, tmp_path):
    with pytest.raises(BadInput, match=r"set prediction\.boxes"):
        predict(ready, images=tmp_path, detections=tmp_path / "found.json")


def test_there_is_no_trained_model(ready, tmp_path):
    (ready.data / "06_models" / "trained_model.safetensors").unlink()
    with pytest.raises((BadInput, DatasetError), match=r"trained_model\.safetensors.*kedro run"):
        predict(ready, images=pictures(tmp_path / "p", "a.png"))


def test_a_model_that_is_cut_short(ready, tmp_path):
    file = ready.data / "06_models" / "trained_model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(
        (BadInput, DatasetError), match=r"trained_model\.safetensors: must be as it was"
    ):
        predict(ready, images=pictures(tmp_path / "p", "a.png"))


def test_weights_that_are_no_model(ready, tmp_path):
    file = ready.data / "06_models" / "trained_model.safetensors"
    TensorsDataset(str(file)).save(load_file(file))  # without skeleton, network and view
    rule = r"trained_model\.safetensors: must hold weights with.*KeyError.*Use the"
    with pytest.raises((BadInput, DatasetError), match=rule):
        predict(ready, images=pictures(tmp_path / "p", "a.png"))


def test_a_model_of_another_network(ready):
    saved = TensorsDataset(str(ready.data / "06_models" / "trained_model.safetensors")).load()
    saved["network"] = json.dumps({"kind": "small_baseline", "width": 32})
    with pytest.raises(BadInput, match=r"model: must hold weights.*RuntimeError"):
        TrainedModel.from_tensors(saved, "model")


def test_a_model_downloads_nothing():
    """Where its training started from pretrained weights, they are in it already."""
    config = NetworkConfig.model_validate({"kind": "simple_baseline"})
    saved = TrainedModel(config.build(17), config, SKELETON, ViewConfig()).to_tensors()
    network = {**json.loads(saved["network"]), "weights": "/nowhere/imagenet.pth"}
    model = TrainedModel.from_tensors({**saved, "network": json.dumps(network)}, "model")
    assert model.skeleton.size == 17 and not model.network.training
    assert model.config == config
