"""Whatever stands in a file, what comes out is people or one sentence; nothing else happens."""

import json
import os
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
from benchmarks.reliability.hostile import NAMES, good_coco, hostile_files

from sspcm_kedro.conf_files import StrictConfigLoader
from sspcm_kedro.data.image_file import read_rgb
from sspcm_kedro.downloads.unpack import unpack
from sspcm_kedro.errors import BadInput
from sspcm_kedro.pose.skeleton import Skeleton
from sspcm_kedro.sources.annotation_file import read_annotated_people
from sspcm_kedro.sources.coco import CocoSource
from sspcm_kedro.sources.coco_format import read_boxes

ACCEPTED = {"yaml": 4, "archive": 0, "image": 0, "detections": 1}
"""How many of these kinds harm nobody, such as a key of no parameter, which is refused later."""


def read_settings(file: Path) -> None:
    conf = file.parent / f"conf_{file.stem}"
    for name in ("base", "local"):
        (conf / name).mkdir(parents=True)
    (conf / "local" / "parameters.yml").write_bytes(file.read_bytes())
    StrictConfigLoader(str(conf), base_env="base", default_run_env="local")["parameters"]


def read_detections(file: Path) -> None:
    boxes = file.parent / "boxes.json"
    boxes.write_text(json.dumps(good_coco()))
    read_boxes(boxes, file.parent / "images", detections=file)


def read_people(file: Path) -> None:
    train = {"annotations": file.name, "images": "images"}
    CocoSource.model_validate({"root": file.parent, "train": train}).read()


def read_returned(file: Path) -> None:
    read_annotated_people(file, Skeleton(NAMES))


def unpack_images(file: Path) -> None:
    unpack(file, file.parent / f"new_{file.stem}", [("*.jpg", "images/")])


READERS = {
    "yaml": [read_settings],
    "coco": [read_people, read_returned],
    "detections": [read_detections],
    "image": [read_rgb],
    "archive": [unpack_images],
}


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.filterwarnings("ignore:Truncated File Read")
def test_every_file_is_read_or_refused_in_one_sentence(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    accepted, refused = Counter(), Counter()
    for file, kind in hostile_files(tmp_path / "files", seed=1):
        for read in READERS[kind]:
            try:
                read(file)
            except BadInput as error:
                refused[kind] += 1
                assert "\n" not in str(error) and len(str(error)) < 1000, file
            else:
                accepted[kind] += 1
    assert {kind: accepted[kind] for kind in ACCEPTED} == ACCEPTED
    assert sum(refused.values()) > 300 and refused["coco"] > 3 * accepted["coco"]
    assert sorted(os.listdir(tmp_path)) == ["files"]  # no code ran, nothing was unpacked here
    assert not list(tmp_path.parent.glob("*.jpg"))


def test_the_good_files_are_read(tmp_path):
    list(hostile_files(tmp_path / "files", seed=1))
    file = tmp_path / "files" / "good.json"
    file.write_text(json.dumps(good_coco()))
    for read in (read_people, read_returned):
        read(file)


@pytest.fixture
def files(tmp_path) -> SimpleNamespace:
    """A folder of settings in which one file is written."""
    conf = tmp_path / "conf"
    for name in ("base", "local", "mine"):
        (conf / name).mkdir(parents=True)

    def read(
        text: str | bytes, env: str = "local", file: str = "parameters.yml"
    ) -> StrictConfigLoader:
        content = text.encode() if isinstance(text, str) else text
        (conf / env / file).write_bytes(content)
        return StrictConfigLoader(str(conf), env=env, base_env="base", default_run_env="local")

    return SimpleNamespace(conf=conf, read=read)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- 1\n", "must hold names with values (name: value), found a list. Compare the file"),
        (b"seed: 1 # M\xfcller\n", "must be text in the encoding UTF-8, but 'utf-8' codec"),
        ("a: " + "[" * 60 + "]" * 60, "must have at most 50 levels, and line 1 is deeper"),
        ("\n5: 1\n", "line 2: a key must be a text, found '5'. Put it in quotes: \"5\""),
        ("seed: 1\nview: {}\nseed: 2\n", "line 3: a key must be there once, and 'seed' is there"),
        ("a:\n  b: 1\n  b: 1\n", "line 3: a key must be there once, and 'b' is there again"),
        ("seed: {\n", "must be YAML, but line 2: expected the node content, but found"),
        ("a: &a [*a]\n", "line 1: must not hold itself"),
    ],
)
@pytest.mark.parametrize("env", ["base", "local", "mine"])
def test_a_file_of_settings_that_is_none(files, text, message, env):
    with pytest.raises(BadInput) as caught:
        files.read(text, env)
    assert f"{files.conf}/{env}/parameters.yml" in str(caught.value)
    assert message in str(caught.value)


def test_right_files_are_read_as_ever(files):
    loader = files.read("_anchors: &a {x: 1}\nview: {<<: *a, y: [1, 2]}\n")
    assert loader["parameters"]["view"] == {"x": 1, "y": [1, 2]}
    assert loader.file_of["view"] == files.conf / "local" / "parameters.yml"


def test_an_environment_that_is_not_there_is_named(files):
    with pytest.raises(BadInput, match=r"min: there must be such a folder.* base, local, mine"):
        StrictConfigLoader(str(files.conf), env="min", base_env="base", default_run_env="local")


def test_what_refers_to_nothing_is_one_sentence(files):
    with pytest.raises(BadInput, match="cannot be read"):
        files.read("seed: ${nothing.there}\n")["parameters"]
