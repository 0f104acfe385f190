"""The drawn folder: real COCO files, written whole, and not twice."""

import json

import numpy as np
import pytest
from kedro.io import DatasetError

from sspcm_kedro.datasets.drawn_folder import DrawnFolderDataset
from sspcm_kedro.drawn import DrawnPerson, DrawnSettings
from sspcm_kedro.pose.skeleton import COCO
from sspcm_kedro.sources import DrawnSource, drawn_folder
from sspcm_kedro.sources.drawn_folder import BOXES_FILE, TRUTH_FILE, DrawnPeople

SOURCE = DrawnSource(annotated=2, unlabeled=3, validation=1, look=DrawnSettings(image_hw=(40, 60)))
PEOPLE = 2  # the fake draws two people an image


@pytest.fixture
def drawn(monkeypatch):
    """Images that only say their index; the indices that were drawn."""
    indices: list[int] = []

    def draw(seed, wanted, settings, processes):
        for index in wanted:
            indices.append(index)
            visibility = np.array([2, 1, *[0] * 15])
            points = np.full((17, 2), index % 7 + 0.123, np.float32)
            box = np.array([1, 2, 30, 20.456], np.float32)
            person = DrawnPerson(points, visibility, box, 300.0)
            yield f"{seed} {index}".encode(), (person,) * PEOPLE

    monkeypatch.setattr(drawn_folder, "draw_many", draw)
    return indices


def test_files_of_the_folder(tmp_path, drawn):
    dataset = DrawnFolderDataset(str(tmp_path / "raw" / "drawn"))
    dataset.save(SOURCE.people(seed=3))
    root = dataset.load()
    assert sorted(str(p.relative_to(root)) for p in root.rglob("*.*")) == [
        "annotations/boxes_unlabeled.json",
        "annotations/hidden_truth_unlabeled.json",
        "annotations/person_keypoints_train.json",
        "annotations/person_keypoints_val.json",
        "fingerprint.json",
        "images/train/000000.jpg",
        "images/train/000001.jpg",
        "images/unlabeled/000000.jpg",
        "images/unlabeled/000001.jpg",
        "images/unlabeled/000002.jpg",
        "images/val/000000.jpg",
    ]
    assert drawn == [0, 1, 1_000_000, 2_000_000, 2_000_001, 2_000_002]
    assert (root / "images/unlabeled/000002.jpg").read_bytes() == b"3 2000002"
    assert [p.name for p in root.parent.iterdir()] == ["drawn"]


def test_annotations_are_coco(tmp_path, drawn):
    dataset = DrawnFolderDataset(str(tmp_path / "drawn"))
    dataset.save(SOURCE.people(seed=3))
    content = json.loads((dataset.load() / "annotations/person_keypoints_train.json").read_text())
    assert content["images"][1] == {
        "id": 2, "file_name": "000001.jpg", "height": 40, "width": 60}  # fmt: skip
    assert content["categories"][0]["keypoints"] == list(COCO.names)
    assert content["categories"][0]["skeleton"][0] == [16, 14]
    person = content["annotations"][2]
    assert person["keypoints"] == [1.12, 1.12, 2, 1.12, 1.12, 1, *[0] * 45]
    assert {k: person[k] for k in ("id", "image_id", "category_id", "iscrowd")} == {
        "id": 3, "image_id": 2, "category_id": 1, "iscrowd": 0}  # fmt: skip
    found = (person["bbox"], person["area"], person["num_keypoints"])
    assert found == ([1, 2, 30, 20.46], 300, 2)


def test_unlabeled_part_gives_no_label_away(tmp_path, drawn):
    dataset = DrawnFolderDataset(str(tmp_path / "drawn"))
    dataset.save(SOURCE.people(seed=3))
    text = (dataset.load() / BOXES_FILE).read_text()
    assert "keypoints" not in text
    assert len(json.loads(text)["annotations"]) == 3 * PEOPLE
    assert "keypoints" in (dataset.load() / TRUTH_FILE).read_text()


def test_folder_reads_back_as_a_source(tmp_path, drawn):
    dataset = DrawnFolderDataset(str(tmp_path / "drawn"))
    dataset.save(SOURCE.people(seed=3))
    source = SOURCE.read(dataset.load())
    assert source.skeleton == COCO
    parts = (source.annotated, source.validation, source.unlabeled)
    assert [len(part) for part in parts] == [4, 2, 6]
    everyone = [i for part in parts for i in part.ids.tolist()]
    assert sorted(set(everyone)) == sorted(everyone)
    assert not source.unlabeled.visibility.any()
    assert source.hidden_truth.visibility[:, :3].tolist() == [[2, 1, 0]] * 6
    assert source.hidden_truth.ids.tolist() == source.unlabeled.ids.tolist()


@pytest.mark.parametrize(
    ("people", "pictures"),
    [
        (SOURCE.people(seed=3), 6),
        (SOURCE.people(seed=4), 12),
        (SOURCE.model_copy(update={"annotated": 3}).people(seed=3), 13),
        (DrawnPeople(DrawnSettings(image_hw=(40, 61)), 3, SOURCE.people(3).counts), 12),
    ],
)
def test_only_other_people_are_drawn_again(tmp_path, drawn, people, pictures):
    dataset = DrawnFolderDataset(str(tmp_path / "drawn"))
    dataset.save(SOURCE.people(seed=3))
    dataset.save(people)
    assert len(drawn) == pictures
    note = json.loads((dataset.load() / "fingerprint.json").read_text())
    assert note["people"] == people.fingerprint()
    assert [p.name for p in tmp_path.iterdir()] == ["drawn"]


def test_a_damaged_file_is_seen(tmp_path, drawn):
    dataset = DrawnFolderDataset(str(tmp_path / "drawn"))
    dataset.save(SOURCE.people(seed=3))
    for file in sorted(file for file in dataset.load().rglob("*") if file.is_file()):
        whole = file.read_bytes()
        damaged = bytearray(whole)
        damaged[-3] ^= 1
        file.write_bytes(damaged)
        with pytest.raises(DatasetError, match=r"must be as it was drawn.*Delete"):
            dataset.load()
        file.write_bytes(whole)
    dataset.load()
    (tmp_path / "drawn" / "fingerprint.json").write_text("damaged")
    dataset.save(SOURCE.people(seed=3))
    assert len(drawn) == 12  # all again
    dataset.load()


def test_processes_do_not_matter(drawn):
    first, second = (
        SOURCE.model_copy(update={"processes": n}).people(seed=3).fingerprint() for n in (1, 2)
    )
    assert first == second


def test_an_interrupted_save_leaves_the_old_folder(tmp_path, drawn, monkeypatch):
    dataset = DrawnFolderDataset(str(tmp_path / "drawn"))
    dataset.save(SOURCE.people(seed=3))

    def fail(*_):
        yield b"one", ()
        raise RuntimeError("power cut")

    monkeypatch.setattr(drawn_folder, "draw_many", fail)
    with pytest.raises(DatasetError, match="power cut"):
        dataset.save(SOURCE.people(seed=4))
    assert (dataset.load() / "images/train/000000.jpg").read_bytes() == b"3 0"
    assert [p.name for p in tmp_path.iterdir()] == ["drawn"]


def test_leftovers_of_a_killed_run_are_removed(tmp_path, drawn):
    (tmp_path / ".drawn.new" / "images").mkdir(parents=True)
    dataset = DrawnFolderDataset(str(tmp_path / "drawn"))
    dataset.save(SOURCE.people(seed=3))
    assert [p.name for p in tmp_path.iterdir()] == ["drawn"]


def test_files_of_somebody_else_are_not_replaced(tmp_path, drawn):
    (tmp_path / "drawn").mkdir()
    dataset = DrawnFolderDataset(str(tmp_path / "drawn"))
    (tmp_path / "drawn" / "thesis.txt").write_text("mine")
    with pytest.raises(DatasetError, match=r"drawn: only an empty folder.*another filepath"):
        dataset.save(SOURCE.people(seed=3))
    assert (tmp_path / "drawn" / "thesis.txt").read_text() == "mine"
    assert drawn == []


def test_an_absent_folder_is_not_loaded(tmp_path):
    dataset = DrawnFolderDataset(str(tmp_path / "drawn"))
    assert not dataset.exists()
    with pytest.raises(DatasetError, match=r"drawn: .*found none\. Run node 'draw'"):
        dataset.load()
