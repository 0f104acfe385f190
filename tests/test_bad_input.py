"""Wrong data stop a run before anything is trained; the message says where, what and the remedy."""

import json
from types import SimpleNamespace

import pytest
import yaml
from PIL import Image

from sspcm_kedro.errors import BadInput

NAMES = ["left_hand", "right_hand", "head"]


@pytest.fixture
def coco(make_project):
    """A project whose source is a good COCO folder of five images, and results from before."""
    project = make_project("bad")
    root = project.root / "people"
    (root / "images").mkdir(parents=True)
    content = {
        "images": [
            {"id": i, "file_name": f"{i}.jpg", "height": 48, "width": 64} for i in range(1, 6)
        ],
        "annotations": [
            {"id": 10 * i, "image_id": i, "category_id": 1, "bbox": [4, 4, 40, 40], "area": 900.0,
             "iscrowd": 0, "keypoints": [10, 10, 2, 30, 10, 2, 20, 30, 1]} for i in range(1, 6)
        ],
        "categories": [{"id": 1, "name": "person", "keypoints": NAMES, "skeleton": [[1, 3]]}],
    }  # fmt: skip
    for i in range(1, 6):
        Image.new("RGB", (64, 48), (40 * i, 90, 20)).save(root / "images" / f"{i}.jpg")
    parameters = {
        "source": {
            "kind": "coco",
            "root": str(root),
            "train": {"annotations": "people.json", "images": "images"},
        },
        "split": {"labeled": 2, "validation": 1},
        "training": {"batch": 2, "steps": 1, "warmup_epochs": 1, "round_epochs": 1, "rounds": 1},
        "network": {"kind": "small_baseline", "width": 16},
        "method": {"kind": "sspcm"},
    }
    folder = project.root / "conf" / "people"
    folder.mkdir()
    data = project.root / "data" / "people"
    (folder / "globals.yml").write_text(f"data_root: {data}")

    def run() -> None:
        (folder / "parameters.yml").write_text(yaml.safe_dump(parameters))
        text = content if isinstance(content, str) else json.dumps(content)
        (root / "people.json").write_text(text)
        project.run(env="people")

    old = data / "08_reporting" / "metrics.json"
    old.parent.mkdir(parents=True)
    old.write_text("from an earlier run")
    return SimpleNamespace(
        run=run, root=root, content=content, parameters=parameters, data=data, old=old
    )


def refused(coco, *texts: str) -> None:
    """The run stops with a message that has the texts, and neither trained nor deleted."""
    with pytest.raises(BadInput) as caught:
        coco.run()
    message = str(caught.value)
    for text in texts:
        assert text in message, message
    assert coco.old.read_text() == "from an earlier run"
    assert not (coco.data / "06_models").exists()
    assert not (coco.data / "05_model_input").exists()


def test_the_good_folder_is_trained_on(coco):
    """What the other tests break is otherwise fine."""
    coco.run()
    metrics = json.loads(coco.old.read_text())
    assert {"baseline", "student"} <= set(metrics)
    assert (coco.data / "06_models" / "trained_model.safetensors").exists()


def test_missing_folder(coco):
    coco.parameters["source"]["root"] = str(coco.root.parent / "elsewhere")
    refused(coco, "elsewhere", "there must be such a file", "Correct the path in the parameters")


def test_missing_image_folder(coco):
    coco.parameters["source"]["train"]["images"] = "pictures"
    refused(coco, "pictures", "there must be such a folder", "Correct the path")


def test_missing_image(coco):
    (coco.root / "images" / "3.jpg").unlink()
    refused(coco, "people.json, image 3.jpg", "is not there", "Copy the missing images")


def test_json_that_is_not_coco(coco):
    coco.content.clear()
    coco.content["people"] = []
    refused(coco, "people.json", "must have a list called 'images'", "Export the annotations")


def test_wrong_number_of_keypoints(coco):
    coco.content["annotations"][3]["keypoints"] = [1, 1, 2] * 4
    refused(
        coco, "people.json, annotation 40", "the category's 3 keypoints, found 4",
        "List every keypoint of the category",
    )  # fmt: skip


def test_nan(coco):
    coco.content["annotations"][2]["keypoints"][3] = float("nan")
    refused(coco, "people.json, annotation 30", "must be finite, found nan", "Correct the value")


def test_duplicate_ids(coco):
    coco.content["annotations"][1]["id"] = 10
    refused(coco, "people.json, annotation 10", "must be unique", "Renumber the annotations")


def test_box_outside_its_image(coco):
    coco.content["annotations"][4]["bbox"] = [70, 4, 10, 10]
    refused(coco, "annotation 50", "must touch the image", "in pixels of the original image")


def test_truncated_image(coco):
    file = coco.root / "images" / "4.jpg"
    file.write_bytes(file.read_bytes()[:-200])
    refused(coco, str(file), "must decode", "Copy the file again")


def test_image_of_another_size(coco):
    Image.new("RGB", (32, 24)).save(coco.root / "images" / "2.jpg")
    refused(coco, "2.jpg", "(48, 64), the file has (24, 32)", "Annotate the size")


def test_fewer_people_than_labels_asked_for(coco):
    coco.parameters["split"]["labeled"] = 6
    said = "has 4 annotated people beside the 1 to validate on"
    refused(coco, "split, labeled", "6 people were asked for", said, "Ask for at most 4")


def test_nobody_is_left_without_a_label(coco):
    coco.parameters["split"] = {"labeled": 4, "validation": 1}
    refused(coco, "split", "at least one person must remain unlabeled", "Ask for fewer")


def test_nobody_to_validate_on(coco):
    del coco.parameters["split"]["validation"]
    refused(coco, "split", "no validation part", "Say how many annotated people to hold out")
