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
