"""``start``: which images of a folder it takes for images without labels."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import formats
from formats import pictures
from sspcm_kedro.data.source import Source
from sspcm_kedro.parameters import parse
from sspcm_kedro.sources import SourceConfig
from sspcm_kedro.start.find import find_project
from sspcm_kedro.start.read import read_project

BLANK = Image.new("RGB", (128, 96))


def label_studio_partly(root: Path) -> None:
    """Of 24 tasks 16 are labeled, 6 not looked at, and 2 are said to have nobody."""
    formats.write_label_studio(root, pictures(24, seed=4))
    file = root / "label_studio.json"
    tasks = json.loads(file.read_text())
    for task in tasks:  # without boxes, which else are those of the people
        regions = task["annotations"][0]["result"]
        regions[:] = [one | {"parentID": None} for one in regions if "parentID" in one]
    for task in tasks[16:22]:
        task["annotations"] = []
    for task in tasks[22:]:
        task["annotations"][0]["result"] = []
    file.write_text(json.dumps(tasks))


def cvat_partly(root: Path) -> None:
    """Of 24 images 16 are labeled, 6 have no shape, and 2 only points that are not on them."""
    formats.write_cvat(root, pictures(18, seed=4))
    file = root / "annotations.xml"
    head, *images = file.read_text().split("<image ")
    images[16:] = [one.replace('outside="0"', 'outside="1"') for one in images[16:]]
    empty = ""
    for place in range(18, 24):
        BLANK.save(root / f"images/{place}.jpg")
        empty += f'<image id="{place}" name="{place}.jpg" width="128" height="96"></image>'
    text = "<image ".join([head, *images]).replace("</annotations>", f"{empty}</annotations>")
    file.write_text(text)


def ingested(folder: Path) -> tuple[dict[str, Any], Source]:
    """What ``start`` writes of the source, and what ingestion reads by it."""
    found = read_project(folder, find_project(folder), {}).source
    settings = {key: value for key, (value, _) in found.items()}
    return settings, parse("source", settings, SourceConfig).root.read()


@pytest.mark.parametrize("write", [label_studio_partly, cvat_partly])
@pytest.mark.parametrize("further", [0, 3])
def test_images_that_a_project_lists_are_no_further_ones(write, further, tmp_path):
    """Nobody's are taken once, and those on which somebody has found nobody are not taken."""
    write(tmp_path)
    nobody = {f"{place}.jpg" for place in (range(16, 22) if "label" in write.__name__
                                           else range(18, 24))}  # fmt: skip
    for number in range(further):
        BLANK.save(tmp_path / f"images/more{number}.jpg")
    settings, people = ingested(tmp_path)
    assert settings.get("unlabeled") == ("images" if further else None)
    assert len(people.annotated) == 16
    assert people.unlabeled is not None
    names = sorted(Path(path).name for path in people.unlabeled.paths)
    assert names == sorted([*nobody, *(f"more{number}.jpg" for number in range(further))])


@pytest.mark.parametrize("write", [label_studio_partly, cvat_partly])
def test_a_folder_that_is_named_adds_only_what_the_project_does_not_list(write, tmp_path):
    write(tmp_path)
    BLANK.save(tmp_path / "images/more.jpg")
    config = {"kind": find_project(tmp_path).kind, "root": tmp_path, "unlabeled": "images"}
    people = parse("source", config, SourceConfig).root.read()
    assert people.unlabeled is not None and len(people.unlabeled) == 6 + 1


def coco_list(folder: Path, file: str, many: int, *, nobody: int = 0, first_id: int = 1) -> None:
    """A list of ``many`` images beside it, each with one who fills it but the last ``nobody``."""
    names = [f"{Path(file).parent.name}{place}.jpg" for place in range(many)]
    (folder / file).parent.mkdir(parents=True, exist_ok=True)
    images, people = [], []
    for number, name in enumerate(names, start=first_id):
        BLANK.save((folder / file).with_name(name))
        images.append({"id": number, "file_name": name, "width": 128, "height": 96})
        person = {"id": number, "image_id": number, "category_id": 1, "bbox": [0, 0, 128, 96]}
        people.append({**person, "iscrowd": 0, "keypoints": [20, 30, 2, 90, 40, 2]})
    category = {"id": 1, "name": "mouse", "keypoints": ["nose", "tail"]}
    content = {"images": images, "annotations": people[: many - nobody], "categories": [category]}
    (folder / file).write_text(json.dumps(content))


ROBOFLOW = "_annotations.coco.json"


def roboflow(root: Path, *, nobody: int = 0) -> None:
    """As Roboflow exports it: a folder a part, with its list and its images."""
    coco_list(root, f"train/{ROBOFLOW}", 12, nobody=nobody)
    coco_list(root, f"valid/{ROBOFLOW}", 6, nobody=nobody)
    coco_list(root, f"test/{ROBOFLOW}", 15, nobody=nobody)


@pytest.mark.parametrize("nobody", [0, 2])
def test_images_of_validation_and_test_are_never_learned_from(nobody, tmp_path):
    roboflow(tmp_path, nobody=nobody)
    settings, people = ingested(tmp_path)
    assert settings.get("unlabeled") == ({"images": "train"} if nobody else None)
    names = [] if people.unlabeled is None else people.unlabeled.paths.tolist()
    assert names == [str(tmp_path / f"train/train{place}.jpg") for place in (10, 11)[:nobody]]
    assert (len(people.annotated), len(people.validation or ())) == (12 - nobody, 6 - nobody)


def test_only_folders_without_test_images_are_read_as_a_whole(tmp_path, caplog):
    """Where test images lie, even new ones stay out: the setting can name a folder only."""
    roboflow(tmp_path / "images", nobody=2)
    for part in ("train", "valid", "test"):
        (tmp_path / "annotations").mkdir(exist_ok=True)
        (tmp_path / "images" / part / ROBOFLOW).rename(tmp_path / f"annotations/{part}.json")
    for place, many in {"images/test": 9, "images/train": 2, "images/new/day": 5, ".": 7}.items():
        (tmp_path / place).mkdir(parents=True, exist_ok=True)
        for number in range(many):
            BLANK.save(tmp_path / place / f"more{number}.jpg")
    settings, people = ingested(tmp_path)
    assert settings["unlabeled"] == {"images": "images/new"}
    assert people.unlabeled is not None
    assert [path.removeprefix(f"{tmp_path}/") for path in people.unlabeled.paths] == [
        f"images/new/day/more{number}.jpg" for number in range(5)]  # fmt: skip
    assert "(4 in images/train)" in caplog.text
    assert "16 images without labels lie beside those of a list that is not read" in caplog.text


def test_a_list_without_people_is_a_test_set_by_its_name(tmp_path):
    coco_list(tmp_path, f"train/{ROBOFLOW}", 12)
    coco_list(tmp_path, "hidden/list.json", 5, nobody=5)
    (tmp_path / "annotations").mkdir()
    (tmp_path / "hidden/list.json").rename(tmp_path / "annotations/image_info_test-dev.json")
    assert "unlabeled" not in ingested(tmp_path)[0]
    (tmp_path / "annotations/image_info_test-dev.json").rename(tmp_path / "annotations/info.json")
    settings, people = ingested(tmp_path)
    assert settings["unlabeled"] == {"images": "hidden"} and len(people.unlabeled or ()) == 5


def test_the_projects_own_folder_counts_all_that_it_holds(tmp_path):
    coco_list(tmp_path, f"train/{ROBOFLOW}", 12)
    for place, many in {".": 4, "more": 3}.items():
        (tmp_path / place).mkdir(exist_ok=True)
        for number in range(many):
            BLANK.save(tmp_path / place / f"new{number}.jpg")
    found = read_project(tmp_path, find_project(tmp_path), {})
    (unlabeled, reason), people = found.source["unlabeled"], found.people
    assert unlabeled == {"images": "."} and len(people.unlabeled or ()) == 7
    assert reason.startswith("7 images in it have no labels")
