"""COCO files become people in file order, with cleaned boxes and the file's own skeleton."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest

from sspcm_kedro.errors import BadInput
from sspcm_kedro.pose.skeleton import COCO, Skeleton
from sspcm_kedro.sources.coco_checks import need_good_boxes, need_points_inside
from sspcm_kedro.sources.coco_format import clean_boxes, read_coco, say_cut_boxes


def test_people_come_in_file_order_and_without_crowds_and_unlabeled(coco):
    people, _ = read_coco(coco.write(), coco.images)
    assert people.ids.tolist() == [2, 5, 1]
    assert people.image_ids.tolist() == [30, 30, 10]
    assert people.paths.tolist() == [str(coco.images / f"{i}.jpg") for i in (30, 30, 10)]
    assert people.image_hw.tolist() == [[40, 60], [40, 60], [50, 30]]


def test_columns_of_an_annotation(coco):
    people, _ = read_coco(coco.write(), coco.images)
    assert people.boxes.tolist() == [[0, 10, 15, 39], [2, 3, 5, 7], [5, 6, 14, 25]]
    assert people.areas.tolist() == [7, 7, 7]
    assert people.box_scores.tolist() == [1, 1, 1]
    assert people.visibility.tolist()[1] == [1, 0, 2]
    assert people.keypoints.tolist()[1] == [[7, 8], [0, 0], [3, 4]]


def test_skeleton_of_a_new_convention(coco):
    _, skeleton = read_coco(coco.write(), coco.images)
    assert skeleton == Skeleton(
        names=("left_wrist", "right_wrist", "nose"),
        flip_pairs=((0, 1),),
        sigmas=(0.062, 0.062, 0.026),  # COCO's, by name
        limbs=((0, 2), (1, 2)),
    )


def test_sigmas_and_flip_pairs_can_be_given(coco):
    _, skeleton = read_coco(coco.write(), coco.images, sigmas=[0.1, 0.2, 0.3], flip_pairs=[(0, 2)])
    assert skeleton.sigmas == (0.1, 0.2, 0.3)
    assert skeleton.flip_pairs == ((0, 2),)


def test_coco_names_give_the_coco_skeleton(coco):
    for record in coco.content["annotations"]:
        record["keypoints"] = [1, 2, 2] * 17
    category = {"id": 1, "name": "person", "keypoints": list(COCO.names)}
    _, skeleton = read_coco(coco.write(categories=[category]), coco.images)
    assert skeleton == COCO


def test_limbs_of_another_convention_are_ignored(coco):
    coco.content["categories"][0]["skeleton"] = [[16, 14], [1, 2]]
    _, skeleton = read_coco(coco.write(), coco.images)
    assert skeleton.limbs == ()


def test_a_file_without_keypoints_keeps_everyone_unlabeled(coco):
    for record in coco.content["annotations"]:
        del record["keypoints"], record["area"]
    people, _ = read_coco(coco.write(), coco.images)
    assert people.ids.tolist() == [2, 5, 1, 4]
    assert people.areas[1] == pytest.approx(0.53 * 4 * 5)
    assert not people.visibility.any()
    assert people.keypoints.shape == (4, 3, 2)


def test_keypoints_may_be_named_by_another_file(coco):
    _, skeleton = read_coco(coco.write(), coco.images)
    coco.content["categories"] = [{"id": 1, "name": "person"}]
    assert read_coco(coco.write(), coco.images, skeleton=skeleton)[1] == skeleton
    with pytest.raises(BadInput, match=r"must list its 'keypoints'.*Add their names"):
        read_coco(coco.write(), coco.images)


def test_another_skeleton_than_the_train_part_is_refused(coco):
    other = Skeleton(names=("left_wrist", "nose", "right_wrist"))
    with pytest.raises(BadInput, match=r"category 1: the keypoints must be .*found .*train part"):
        read_coco(coco.write(), coco.images, skeleton=other)


def test_other_categories_are_left_out(coco):
    coco.content["categories"] = [{"id": 3, "name": "dog"}, *coco.content["categories"]]
    coco.content["annotations"][1]["category_id"] = 3
    people, _ = read_coco(coco.write(), coco.images)
    assert people.ids.tolist() == [5, 1]


def test_no_usable_person_is_refused(coco):
    with pytest.raises(BadInput, match=r"people\.json: .*at least one person.*iscrowd 0"):
        read_coco(coco.write(annotations=coco.content["annotations"][2:4]), coco.images)


def test_detections_are_used_raw_and_in_their_order(coco, tmp_path):
    found = [
        {"image_id": 10, "category_id": 1, "bbox": [-2.5, 1, 9, 60], "score": 0.25},
        {"image_id": 30, "category_id": 2, "bbox": [1, 1, 9, 9], "score": 0.9},
        {"image_id": 30, "category_id": 1, "bbox": [1, 1, 9, 9], "score": 0.5},
    ]
    file = tmp_path / "detections.json"
    file.write_text(json.dumps(found))
    people, _ = read_coco(coco.write(annotations=None), coco.images, detections=file)
    assert people.ids.tolist() == [1, 3]
    assert people.image_ids.tolist() == [10, 30]
    assert people.boxes.tolist() == [[-2.5, 1, 6.5, 61], [1, 1, 10, 10]]
    assert people.box_scores.tolist() == [0.25, 0.5]
    assert not people.visibility.any()


def test_detections_of_low_scores_are_left_out_and_counted(coco, tmp_path, caplog):
    scores = [0.25, 0.5, 0.499, 0.9]
    found = [
        {"image_id": 30, "category_id": 1, "bbox": [1, 1, 9, 9], "score": score} for score in scores
    ]
    file, annotated = tmp_path / "detections.json", coco.write(annotations=None)
    file.write_text(json.dumps(found))

    def read(least: float):
        return read_coco(annotated, coco.images, detections=file, min_box_score=least)[0]

    with caplog.at_level(logging.INFO):
        people = read(0.5)
    assert people.ids.tolist() == [2, 4]  # as in a file read in full
    assert f"{file}: 2 of 4 people are left out" in caplog.text
    assert read(0).ids.tolist() == [1, 2, 3, 4]
    with pytest.raises(BadInput, match=r"min_box_score = 0\.91, the highest has 0\.9\. Lower"):
        read(0.91)


def test_clean_boxes_by_hand():
    xywh = np.array([[2, 3, 10, 5], [-5, -5, 20, 20], [55, 35, 20, 20], [4, 4, 0.5, 0.5]])
    image_hw = np.tile([40, 60], (4, 1))
    cleaned = clean_boxes(xywh, image_hw, as_published=True)
    assert cleaned.tolist() == [[2, 3, 11, 7], [0, 0, 19, 19], [55, 35, 59, 39], [4, 4, 4, 4]]
    inside = clean_boxes(xywh, image_hw)
    assert inside.tolist() == [[2, 3, 11, 7], [0, 0, 14, 14], [55, 35, 59, 39], [4, 4, 4, 4]]


@pytest.mark.parametrize(("corners", "level"), [(2, logging.INFO), (3, logging.WARNING)])
def test_boxes_that_reach_off_their_image_are_counted(corners, level, caplog):
    """Of ten, some given as corners of the whole image's right half: they end off it."""
    people = [{"id": row, "bbox": [30, 0, 60 if row < corners else 30, 40]} for row in range(10)]
    with caplog.at_level(logging.INFO):
        say_cut_boxes(Path("a.json"), people, [(40, 60)] * 10)
    (record,) = caplog.records
    assert record.levelno == level
    assert f"{corners} of 10 boxes reach off their image" in record.getMessage()
    assert ("[x, y, width, height]" in record.getMessage()) == (corners == 3)


def test_boxes_inside_or_a_pixel_off_are_not_spoken_of(caplog):
    with caplog.at_level(logging.INFO):
        say_cut_boxes(Path("a.json"), [{"id": 1, "bbox": [-1, 0, 62, 41]}], [(40, 60)])
    assert not caplog.records


def test_files_are_looked_at_once_an_image_however_many_people_are_on_it(coco, monkeypatch):
    asked = []
    join, is_file = Path.__truediv__, Path.is_file
    monkeypatch.setattr(Path, "__truediv__", lambda a, b: asked.append(b) or join(a, b))
    monkeypatch.setattr(Path, "is_file", lambda path: asked.append(path) or is_file(path))
    person = coco.content["annotations"][0]
    counts = []
    for people in (2, 200):
        crowd = [{**person, "id": number} for number in range(1, people + 1)]
        file = coco.write(annotations=crowd)
        asked.clear()
        assert len(read_coco(file, coco.images)[0]) == people
        counts.append(len(asked))
    assert counts[0] == counts[1]


def bad_boxes(boxes, image_hw) -> list[bool]:
    return [
        w <= 0 or h <= 0 or x >= width or y >= height or x + w <= 0 or y + h <= 0
        for (x, y, w, h), (height, width) in zip(boxes, image_hw, strict=True)
    ]


def test_boxes_are_refused_as_one_by_one():
    """Whole numbers, so that many touch an edge exactly; the first bad one is named."""
    rng = np.random.default_rng(0)
    boxes = rng.integers((-6, -6, -1, -1), (8, 8, 7, 7), (400, 4)).tolist()
    image_hw = [tuple(hw) for hw in rng.integers(2, 8, (400, 2)).tolist()]
    bad = bad_boxes(boxes, image_hw)
    assert 50 < sum(bad) < 350
    records = [{"id": row, "bbox": box} for row, box in enumerate(boxes)]
    good = [row for row in range(400) if not bad[row]]
    sizes = [image_hw[row] for row in good]
    need_good_boxes(Path("a.json"), "annotation", [records[row] for row in good], sizes)
    for row in np.flatnonzero(bad).tolist():
        some, sizes = [records[good[0]], records[row]], [image_hw[good[0]], image_hw[row]]
        with pytest.raises(BadInput, match=f"annotation {row}: the box must"):
            need_good_boxes(Path("a.json"), "annotation", some, sizes)
    mixed = [{"id": 0, "bbox": [1, 1, 2, 2]}, {"id": 1, "bbox": [1, 1, 2]}]
    with pytest.raises(BadInput, match=r"annotation 1: 'bbox' must be \[x, y, width, height\]"):
        need_good_boxes(Path("a.json"), "annotation", mixed, [(9, 9), (9, 9)])


def test_keypoints_off_their_image_are_refused_as_one_by_one():
    rng = np.random.default_rng(1)
    triples = rng.integers((-2, -2, 0), (7, 7, 3), (300, 3, 3))
    image_hw = [tuple(hw) for hw in rng.integers(2, 7, (300, 2)).tolist()]
    outside = 0
    for row, ((height, width), points) in enumerate(zip(image_hw, triples.tolist(), strict=True)):
        off = any(v == 2 and not (-1 <= x <= width and -1 <= y <= height) for x, y, v in points)
        person = {"id": row, "keypoints": [number for point in points for number in point]}
        outside += off
        if off:
            with pytest.raises(BadInput, match=f"annotation {row}: a visible keypoint"):
                need_points_inside(Path("a.json"), [person], [(height, width)])
        else:
            need_points_inside(Path("a.json"), [person], [(height, width)])
    assert 50 < outside < 250
