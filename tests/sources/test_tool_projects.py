"""YOLO-pose, Label Studio and CVAT: what their projects say is what is read."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import formats
from formats import KEYPOINTS, pictures
from sspcm_kedro.data.instances import Instances
from sspcm_kedro.errors import BadInput
from sspcm_kedro.exports import Predictions, export_predictions
from sspcm_kedro.pose.skeleton import UNION, Skeleton
from sspcm_kedro.sources import KINDS
from sspcm_kedro.sources.checks import verify_images

SHOWN = pictures(2, seed=3, people=2)
CHANNELS = [UNION.names.index(name) for name in KEYPOINTS]


def source(record: dict[str, Any], **settings: Any) -> Any:
    return KINDS[record["kind"]].model_validate({**record, **settings})


def the_same(people: Instances, shown: Sequence[formats.Picture], covered: bool = True) -> None:
    """The people are those of the pictures; some formats know no covered keypoints."""
    persons = [person for picture in shown for person in picture.people]
    visible = np.stack([person.visibility[CHANNELS] for person in persons])
    points = np.stack([person.joints[CHANNELS] for person in persons])
    assert people.visibility.tolist() == (
        visible if covered else np.where(visible > 0, 2, 0)).tolist()  # fmt: skip
    np.testing.assert_allclose(people.keypoints, np.where(visible[..., None] > 0, points, 0),
                               atol=1e-3)  # fmt: skip
    verify_images(people)


def boxes_of(shown: Sequence[formats.Picture]) -> np.ndarray:
    return np.array([person.box for picture in shown for person in picture.people])


def test_yolo_pose(tmp_path):
    val = pictures(1, seed=4)
    record = formats.write_yolo_pose(tmp_path, SHOWN, val)
    Image.new("RGB", (9, 9)).save(tmp_path / "images/train/nobody_has_looked.jpg")
    read = source(record).read()
    the_same(read.annotated, SHOWN)
    np.testing.assert_allclose(read.annotated.boxes, boxes_of(SHOWN), atol=1e-3)
    assert read.annotated.source_image_ids[0] == "images/train/train0.jpg"
    assert read.validation is not None
    the_same(read.validation, val)
    assert read.skeleton.names == KEYPOINTS
    assert (read.skeleton.flip_pairs, read.skeleton.category) == (((1, 2),), "dancer")
    assert read.unlabeled is None  # it has no box


def test_companions_that_macos_makes_of_files_are_none_of_a_yolo_set(tmp_path):
    record = formats.write_yolo_pose(tmp_path, SHOWN, pictures(1, seed=4))
    for name in ("images/train/._train0.jpg", "labels/train/._train0.txt",
                 "images/train/._train1.jpg", "images/val/__MACOSX/._val0.jpg"):  # fmt: skip
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"\0\5\x16\7" + b"\xff" * 100)
    read = source(record).read()
    the_same(read.annotated, SHOWN)
    assert read.validation is not None and len(read.validation) == 1


def test_label_studio(tmp_path):
    record = formats.write_label_studio(tmp_path, SHOWN)
    read = source(record).read()
    the_same(read.annotated, SHOWN, covered=False)
    np.testing.assert_allclose(read.annotated.boxes, boxes_of(SHOWN), atol=1e-3)
    assert read.skeleton.flip_pairs == ((1, 2),)


@pytest.mark.parametrize("about", [3, {"id": 3, "email": "ann@b.c"}])
def test_label_studios_annotator_is_one_who_has_annotated(tmp_path, about):
    record = formats.write_label_studio(tmp_path, SHOWN)
    file = tmp_path / "label_studio.json"
    tasks = json.loads(file.read_text())
    tasks[0]["annotations"][0]["completed_by"] = about
    file.write_text(json.dumps(tasks))
    the_same(source(record, annotator=3).read().annotated, SHOWN[:1], covered=False)
    rule = r"json: annotator 7 must have annotated a task, and only 1, 3 has\. Correct source\.ann"
    with pytest.raises(BadInput, match=rule):
        source(record, annotator=7, names=None).read()


def test_cvat(tmp_path):
    read = source(formats.write_cvat(tmp_path, SHOWN)).read()
    the_same(read.annotated, SHOWN)
    assert read.skeleton.names == KEYPOINTS
    assert read.skeleton.limbs == ((1, 0),)


def test_frames_of_a_cvat_video_task_are_named_without_suffix(tmp_path):
    record = formats.write_cvat(tmp_path, SHOWN)
    file = tmp_path / "annotations.xml"
    text = file.read_text()
    for place in (0, 1):
        text = text.replace(f"day 1\\{place}.jpg", f"frame.{place:06d}")
        frame = tmp_path / f"images/frame.{place:06d}.PNG"
        (tmp_path / f"images/{place}.jpg").rename(frame)
    file.write_text(text)
    read = source(record).read()
    the_same(read.annotated, SHOWN)
    assert [Path(path).name for path in read.annotated.paths] == [
        "frame.000000.PNG", "frame.000000.PNG", "frame.000001.PNG", "frame.000001.PNG"]  # fmt: skip
    Image.new("RGB", (8, 6)).save(tmp_path / "images/frame.000001.jpg")
    with pytest.raises(BadInput, match=r"frame\.000001: the image may be .*01\.PNG or .*01\.jpg"):
        source(record).read()
    for path in (tmp_path / "images").glob("frame.000001.*"):
        path.unlink()
    with pytest.raises(BadInput, match=r"image frame\.000001: the image must be in .*images"):
        source(record).read()


def test_one_on_each_image_has_the_whole_image_and_the_others_are_unlabeled(tmp_path):
    one = pictures(2, seed=3)
    record = formats.write_cvat(tmp_path, one)
    file = tmp_path / "annotations.xml"
    Image.new("RGB", (8, 6)).save(tmp_path / "images/later.jpg")
    (tmp_path / "more/day").mkdir(parents=True)
    Image.new("RGB", (12, 6)).save(tmp_path / "more/day/new.jpg")
    empty = '<image id="9" name="later.jpg" width="8" height="6"></image></annotations>'
    file.write_text(file.read_text().replace("</annotations>", empty))
    read = source(record, unlabeled="more").read()
    assert read.annotated.boxes.tolist() == [[0, 0, 127, 95]] * 2
    assert read.unlabeled is not None
    assert read.unlabeled.source_image_ids.tolist() == ["later.jpg", "day/new.jpg"]
    assert read.unlabeled.boxes.tolist() == [[0, 0, 7, 5], [0, 0, 11, 5]]
    with pytest.raises(BadInput, match=r"source\.unlabeled: images without labels can have no"):
        source(record, unlabeled="more", box="keypoints").read()


def test_what_goes_out_to_label_studio_comes_back(tmp_path):
    """Accepted predictions are exported as annotations with the same regions."""
    skeleton = Skeleton(("nose", "tail"), category="mouse")
    points = np.array([[[10.5, 20.25], [30, 40]], [[11, 21], [np.nan, np.nan]], [[1, 2], [3, 4.0]]])
    boxes = np.array([[2, 3, 40, 45], [1, 1, 50, 40], [0.0, 0, 10, 20]])
    made = Predictions(skeleton, points, np.ones((3, 2)), ("day/a.png", "day/a.png", "b c.png"),
                       np.array([[48, 64], [48, 64], [30, 40]]), boxes=boxes)  # fmt: skip
    tasks = json.loads(export_predictions("label_studio", made)["label_studio.json"])
    for task in tasks:
        task["annotations"] = task.pop("predictions")
    (tmp_path / "images/day").mkdir(parents=True)
    Image.new("RGB", (64, 48)).save(tmp_path / "images/day/a.png")
    Image.new("RGB", (40, 30)).save(tmp_path / "images/b c.png")
    (tmp_path / "label_studio.json").write_text(json.dumps(tasks))
    people = source({"kind": "label_studio", "root": tmp_path}).read().annotated
    np.testing.assert_allclose(people.keypoints, np.nan_to_num(points), atol=1e-4)
    np.testing.assert_allclose(people.boxes, boxes, atol=1e-4)
    assert people.visibility.tolist() == [[2, 2], [2, 0], [2, 2]]
    verify_images(people)


YOLO = "labels/train/train0.txt"
BOMB = '<!DOCTYPE a [<!ENTITY x "ha"><!ENTITY y "&x;&x;">]><annotations>&y;'


@pytest.mark.parametrize(
    ("kind", "file", "old", "new", "message"),
    [
        ("yolo_pose", "data.yaml", "[3, 3]", "[3, 4]", r"yaml, kpt_shape: must be \[number of"),
        ("yolo_pose", "data.yaml", "[3, 3]", "[2, 3]", r"flip_idx: must swap pairs of the 2"),
        ("yolo_pose", "data.yaml", "[0, 2, 1]", "[1, 2, 0]", "flip_idx: must swap pairs"),
        ("yolo_pose", "data.yaml", "kpt_names", "other", "3 keypoints must have names .*source.na"),
        ("yolo_pose", "data.yaml", "left_wrist", "nose", "must have different names"),
        ("yolo_pose", "data.yaml", "images/train", "images/gone", "train: must name a folder of"),
        ("yolo_pose", "data.yaml", "names", "!!python/object/apply:os.system ['x']\nnames", "YAML"),
        ("yolo_pose", YOLO, "0 0.", "0 nan 0.", r"line 1: must have 14 numbers .*found 1[5-9]"),
        ("yolo_pose", YOLO, "0 0.", "0 x", r"train0\.txt, line 1: must hold finite numbers"),
        ("yolo_pose", YOLO, "0 0.", "0 70.", "line 1: places must be shares of the image's"),
        ("label_studio", "label_studio.json", '"original_width": 128', '"original_width": "x"',
         r"task 1, region b0: must have numbers x, y, width, height in percent"),
        ("label_studio", "label_studio.json", '"nose"', '"snout"', "found 'snout'. Name it the"),
        ("label_studio", "label_studio.json", '"left_wrist"', '"nose"', "one has one nose, and"),
        ("label_studio", "label_studio.json", "-0.jpg", "-7.jpg", "image /data/upload/1/.*-7.jpg"),
        ("label_studio", "label_studio.json", '[{"completed_by": 1',
         '[{"completed_by": 2, "result": []}, {"completed_by": 1',
         "must have one annotation, found 2, of 2, 1. .*source.annotator=NUMBER"),
        ("label_studio", "label_studio.json", '"annotations"', '"nothing"', "key 'annotations'"),
        ("cvat", "annotations.xml", "image", "track", "must be <annotations> with an <image>"),
        ("cvat", "annotations.xml", "<annotations>", BOMB, "must be XML without entities"),
        ("cvat", "annotations.xml", 'label="left_wrist"', 'label="nose"', "one has one nose"),
        ("cvat", "annotations.xml", 'points="', 'points="nan,', "nose must be 2 finite numbers"),
        ("cvat", "annotations.xml", "1\\0.jpg", "1\\7.jpg", r"image day 1.7\.jpg: the image must"),
        ("cvat", "annotations.xml", 'width="128"', 'width="64"', r"\(96, 64\), the file has"),
    ],
)  # fmt: skip
def test_what_breaks_a_rule_is_refused(tmp_path, kind, file, old, new, message):
    write = getattr(formats, f"write_{kind}")
    record = write(tmp_path, SHOWN, SHOWN[:0]) if kind == "yolo_pose" else write(tmp_path, SHOWN)
    path = Path(tmp_path) / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(BadInput, match=message):
        verify_images(source(record).read().annotated)
