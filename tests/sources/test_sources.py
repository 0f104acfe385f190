"""Sources: typed, strict, with unique ids and hidden labels kept aside."""

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from sspcm_kedro.errors import BadInput
from sspcm_kedro.sources import CocoSource, DrawnSource, LspetSource, SourceConfig


def coco_source(coco, **more) -> CocoSource:
    record = {"kind": "coco", "root": coco.root, **more}
    record.setdefault("train", {"annotations": "people.json", "images": "pictures"})
    source = SourceConfig.model_validate(record).root
    assert isinstance(source, CocoSource)
    return source


def write_part(coco, name: str, content: dict) -> dict[str, str]:
    """A part of the same content, on copies of the images in a folder of its own."""
    folder = coco.root / name
    folder.mkdir()
    for path in coco.images.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (coco.root / f"{name}.json").write_text(json.dumps(content))
    return {"annotations": f"{name}.json", "images": name}


@pytest.mark.parametrize(
    ("record", "kind"),
    [
        ({"kind": "drawn", "annotated": 2, "unlabeled": 3, "validation": 1}, DrawnSource),
        ({"kind": "coco", "root": ".", "train": {"annotations": "a", "images": "b"}}, CocoSource),
        ({"kind": "lspet", "root": "."}, LspetSource),
    ],
)
def test_kinds(record, kind):
    assert type(SourceConfig.model_validate(record).root) is kind


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"kind": "video"}, "'drawn', 'coco', 'lspet'"),
        ({"kind": "lspet", "root": ".", "boxes": 1}, "boxes"),
        ({"kind": "drawn", "annotated": 0, "unlabeled": 3, "validation": 1}, "annotated"),
        (
            {"kind": "drawn", "annotated": 1, "unlabeled": 3, "validation": 1, "look": {"x": 1}},
            "look.x",
        ),
    ],
)
def test_wrong_settings_are_named(record, message):
    with pytest.raises(ValidationError, match=message):
        SourceConfig.model_validate(record)


def test_coco_source_reads_its_train_part(coco):
    coco.write()
    source = coco_source(coco, sigmas=[0.1, 0.1, 0.2]).read()
    assert source.annotated.ids.tolist() == [2, 5, 1]
    assert source.skeleton.sigmas == (0.1, 0.1, 0.2)
    assert source.validation is source.unlabeled is source.hidden_truth is None


def test_taken_ids_are_numbered_on(coco):
    coco.write()
    parts = {name: write_part(coco, name, coco.content) for name in ("validation", "unlabeled")}
    source = coco_source(coco, **parts).read()
    assert source.annotated.ids.tolist() == [2, 5, 1]
    assert source.validation.ids.tolist() == [7, 10, 6]
    assert source.unlabeled.ids.tolist() == [12, 15, 11]
    assert source.annotated.image_ids.tolist() == [30, 30, 10]
    assert source.validation.image_ids.tolist() == [51, 51, 31]
    assert source.unlabeled.image_ids.tolist() == [72, 72, 52]


def test_free_ids_are_kept(coco):
    coco.write()
    content = json.loads(coco.file.read_text())
    for image in content["images"]:
        image["id"] += 1000
    for person in content["annotations"]:
        person.update(id=person["id"] + 50, image_id=person["image_id"] + 1000)
    source = coco_source(coco, validation=write_part(coco, "validation", content)).read()
    assert source.validation.ids.tolist() == [52, 55, 51]
    assert source.validation.image_ids.tolist() == [1030, 1030, 1010]


def test_labels_of_unlabeled_people_are_hidden(coco):
    coco.write()
    part = write_part(coco, "unlabeled", coco.content)
    source = coco_source(coco, unlabeled=part).read()
    assert not source.unlabeled.visibility.any()
    assert source.hidden_truth.visibility.tolist()[1] == [1, 0, 2]
    assert source.hidden_truth.ids.tolist() == source.unlabeled.ids.tolist()


def test_truth_in_a_file_of_its_own(coco):
    coco.write()
    boxes = [
        {key: value for key, value in person.items() if key != "keypoints"}
        for person in coco.content["annotations"]
    ]
    part = write_part(coco, "unlabeled", {**coco.content, "annotations": boxes})
    (coco.root / "truth.json").write_text(json.dumps(coco.content))
    source = coco_source(coco, unlabeled={**part, "truth": "truth.json"}).read()
    assert source.unlabeled.ids.tolist() == [7, 10, 6, 9]
    assert source.hidden_truth.ids.tolist() == [7, 10, 6, 9]
    assert source.hidden_truth.visibility.tolist() == [[2, 1, 0], [1, 0, 2], [2, 1, 0], [0, 0, 0]]
    assert source.hidden_truth.boxes.tolist() == source.unlabeled.boxes.tolist()


def test_truth_of_other_people_is_refused(coco):
    coco.write()
    part = write_part(coco, "unlabeled", coco.content)
    others = [{**person, "id": person["id"] + 100} for person in coco.content["annotations"]]
    (coco.root / "truth.json").write_text(json.dumps({**coco.content, "annotations": others}))
    with pytest.raises(BadInput, match=r"truth\.json: .*has none of them.*belongs to"):
        coco_source(coco, unlabeled={**part, "truth": "truth.json"}).read()


def test_detections_as_the_unlabeled_part(coco):
    coco.write()
    found = [{"image_id": 20, "category_id": 1, "bbox": [1, 1, 9, 9], "score": 0.5}]
    (coco.root / "found.json").write_text(json.dumps(found))
    part = {"annotations": "people.json", "images": "pictures", "detections": "found.json"}
    source = coco_source(coco, unlabeled=part).read()
    assert source.unlabeled.ids.tolist() == [6]
    assert source.unlabeled.image_ids.tolist() == [20]  # the same file keeps its number
    assert source.unlabeled.box_scores.tolist() == [0.5]
    assert source.hidden_truth is None


def test_training_images_in_validation_are_refused(coco):
    coco.write()
    part = {"annotations": "people.json", "images": "pictures"}
    with pytest.raises(
        BadInput, match=r"10\.jpg: a validation image must not be among the training ones, and 2"
    ):
        coco_source(coco, validation=part).read()


def test_train_part_without_labels_is_refused(coco):
    for person in coco.content["annotations"]:
        del person["keypoints"]
    coco.write()
    with pytest.raises(BadInput, match=r"people\.json: .*need labels.*as unlabeled"):
        coco_source(coco).read()


def test_drawn_source_needs_its_folder():
    source = DrawnSource(annotated=2, unlabeled=3, validation=1)
    with pytest.raises(BadInput, match=r"node 'draw'"):
        source.read()
    people = source.people(seed=5)
    assert (people.seed, people.counts) == (5, {"train": 2, "val": 1, "unlabeled": 3})
    assert Path("x") != people
