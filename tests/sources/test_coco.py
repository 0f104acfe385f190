"""COCO 2017 with all its parts, in its own layout."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from formats import pictures, save_video, write_coco
from sspcm_kedro.datasets.video_frames import VideoFramesDataset
from sspcm_kedro.errors import BadInput
from sspcm_kedro.pose.skeleton import COCO
from sspcm_kedro.sources import has_videos
from sspcm_kedro.sources.coco import CocoSource
from sspcm_kedro.sources.coco_checks import read_coco_json


@pytest.fixture
def parts():
    return [pictures(3, seed, people=2) for seed in range(4)]


def read(record) -> CocoSource:
    return CocoSource.model_validate(record)


def test_all_parts(tmp_path, parts):
    source = read(write_coco(tmp_path, *parts)).read()
    assert source.skeleton == COCO
    assert [len(p) for p in (source.annotated, source.validation, source.unlabeled, source.test)] \
        == [6, 6, 6, 6]  # fmt: skip
    drawn = parts[0][2].people[0].triples(COCO)
    np.testing.assert_allclose(source.annotated.keypoints[4], drawn[:, :2], rtol=1e-6)
    assert source.annotated.visibility[4].tolist() == drawn[:, 2].tolist()
    assert source.hidden_truth is None


def test_detected_people_are_unlabeled_people_in_raw_boxes(tmp_path, parts):
    people = read(write_coco(tmp_path, *parts)).read().unlabeled
    shown = [person for picture in parts[2] for person in picture.people]
    assert people.box_scores.tolist() == pytest.approx([person.score for person in shown])
    x0, y0, x1, y1 = shown[0].box
    assert people.boxes[0].tolist() == pytest.approx([x0 - 1.5, y0 - 1, x1 + 0.5, y1 + 1.5])
    assert not people.visibility.any()


def test_unlabeled_people_of_low_scores_are_left_out(tmp_path, parts):
    record = write_coco(tmp_path, *parts)
    scores = read(record).read().unlabeled.box_scores
    least = float(np.median(scores))
    record["unlabeled"]["min_box_score"] = least
    kept = read(record).read().unlabeled
    assert 0 < len(kept) < len(scores)
    assert kept.box_scores.tolist() == scores[scores >= least].tolist()
    del record["unlabeled"]["detections"]
    with pytest.raises(ValueError, match="min_box_score is of detections"):
        read(record)


def test_the_first_people_are_the_first_of_the_file(tmp_path, parts):
    """Images are not sorted in COCO's own files, and a reader that sorts them takes others."""
    record = write_coco(tmp_path, *parts)
    file = tmp_path / "annotations" / "person_keypoints_train2017.json"
    content = json.loads(file.read_text())
    listed = [image["id"] for image in content["images"]]
    assert listed != sorted(listed)
    content["annotations"].reverse()
    file.write_text(json.dumps(content))
    people = read(record).read().annotated
    assert people.image_ids.tolist() == np.repeat(listed, 2).tolist()
    assert people.ids.tolist() == [2, 1, 4, 3, 6, 5]


def test_files_to_hand_in_get_the_ids_of_the_images(tmp_path, parts):
    """Ids of two parts that collide are changed, but not those that a server wants."""
    record = write_coco(tmp_path, *parts)
    for file in tmp_path.rglob("*test-dev*"):
        content = json.loads(file.read_text())
        for item in content["images"] if isinstance(content, dict) else content:
            key = "id" if isinstance(content, dict) else "image_id"
            item[key] -= 3000  # now they are those of train2017
        file.write_text(json.dumps(content))
    source = read(record).read()
    assert not set(source.test.image_ids) & set(source.annotated.image_ids)
    image_names = [int(path[-16:-4]) for path in source.test.paths]
    wanted = [str(image - 3000) for image in image_names]
    assert source.test.source_image_ids.tolist() == wanted


def test_a_test_image_to_train_on_is_refused(tmp_path, parts):
    record = write_coco(tmp_path, *parts)
    with pytest.raises(
        BadInput, match=r"a test image must not be among the training ones, and 3 are"
    ):
        read({**record, "test": record["train"]}).read()
    with pytest.raises(BadInput, match=r"a test image must not be among the unlabeled ones"):
        read({**record, "test": record["unlabeled"]}).read()


def test_segmentations_do_not_stay_in_memory(tmp_path, parts):
    write_coco(tmp_path, *parts)
    file = tmp_path / "annotations" / "person_keypoints_train2017.json"
    assert "segmentation" in file.read_text()
    content = read_coco_json(file, ["annotations"])
    assert all("segmentation" not in record for record in content["annotations"])


@pytest.mark.parametrize("named", ["images", {"images": "images"}])
def test_a_bare_folder_is_one_person_an_image(tmp_path, parts, caplog, named):
    """Images of the other parts are no new ones."""
    record = write_coco(tmp_path, *parts)
    del record["test"]
    record["unlabeled"] = named
    source = read(record).read()
    folders = {path.split("/")[-2] for path in source.unlabeled.paths}
    assert folders == {"unlabeled2017", "test2017"} and len(source.unlabeled) == 6
    height, width = parts[2][0].image.height, parts[2][0].image.width
    assert source.unlabeled.boxes[-1].tolist() == [0, 0, width - 1, height - 1]
    assert source.unlabeled.keypoints.shape == (6, 17, 2)
    assert not source.unlabeled.visibility.any() and source.hidden_truth is None
    boxes = source.annotated.boxes
    sides = (boxes[:, 2:] - boxes[:, :2]) / (source.annotated.image_hw[:, ::-1] - 1)
    filled = np.median(sides.prod(axis=1))
    assert f"labeled people fill {100 * filled:.0f} % of theirs (median)" in caplog.text


def test_videos_are_unlabeled_people_too(tmp_path, parts):
    record = write_coco(tmp_path, *parts)
    frames = [np.asarray(shown.image) for shown in pictures(4, seed=6)]
    save_video(tmp_path / "clips" / "a.avi", [*frames, frames[0]])
    record["unlabeled"] = {"videos": "clips", "frames": 8}
    assert has_videos(record) and not has_videos({**record, "unlabeled": "clips"})
    source = read(record)
    VideoFramesDataset(filepath=str(tmp_path / "made")).save(source.video_frames())
    people = source.read(tmp_path / "made").unlabeled
    assert [path[-16:] for path in people.paths] == [f"a.avi/{i:06d}.jpg" for i in range(4)]
    assert people.boxes.tolist() == [[0, 0, frames[0].shape[1] - 1, frames[0].shape[0] - 1]] * 4
    with pytest.raises(BadInput, match="not in a union"):
        source.read()
    (tmp_path / "clips" / "a.avi").rename(tmp_path / "a.avi")
    with pytest.raises(BadInput, match="must hold a video"):
        source.video_frames()


@pytest.mark.parametrize(
    ("part", "text"),
    [
        ({}, "images or of videos"),
        ({"images": "a", "videos": "b"}, "images or of videos"),
        ({"images": "a", "detections": "b.json"}, "detections of unlabeled people needs"),
        ({"videos": "a", "annotations": "b.json"}, "annotations of unlabeled people needs"),
    ],
)
def test_unlabeled_people_are_of_one_kind(part, text):
    record = {"kind": "coco", "root": "x", "train": {"annotations": "a", "images": "b"}}
    with pytest.raises(ValueError, match=text):
        read({**record, "unlabeled": part})


@pytest.mark.parametrize("key", ["train", "validation", "test"])
def test_an_image_of_nobody_is_new_of_the_training_part_alone(tmp_path, parts, key):
    """Many tools list all images, labeled or not; nobody learns from one to be tested on."""
    record = write_coco(tmp_path, *parts)
    record["unlabeled"] = "images"
    file = tmp_path / record[key]["annotations"]
    content = json.loads(file.read_text())
    shown = {**content["images"][0], "id": 9999, "file_name": "nobody's.jpg"}
    content["images"].append(shown)
    file.write_text(json.dumps(content))
    size = (shown["width"], shown["height"])
    Image.new("RGB", size).save(tmp_path / record[key]["images"] / "nobody's.jpg")
    people = read(record).read()
    added = [Path(path).name for path in people.unlabeled.paths
             if path.split("/")[-2] != "unlabeled2017"]  # fmt: skip
    assert added == ["nobody's.jpg"] * (key == "train")
    assert len(people.unlabeled) == 3 + len(added)
