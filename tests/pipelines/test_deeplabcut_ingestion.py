"""A DeepLabCut project through ingestion, as `kedro run --env openfield` reads it."""

import json

import numpy as np
import pytest

from formats import pictures, save_video, write_deeplabcut
from sspcm_kedro.datasets.instances import InstancesDataset

SPLIT = {"labeled": 2, "validation": 3, "order": "seeded"}


@pytest.fixture(scope="module")
def ingested(make_project, tmp_path_factory):
    """The project's data folder, the source, and the tables of a run that was given twice."""
    root = tmp_path_factory.mktemp("reach")
    record = write_deeplabcut(root, pictures(6, seed=5))
    frames = [np.asarray(shown.image) for shown in pictures(9, seed=6)]
    save_video(root / "videos" / "reach.avi", [*frames, *frames[:3]])
    project = make_project("openfield")
    source = {**record, "frames": 8, "torso": [0, 1]}
    data = project.root / "data" / "openfield"
    stamps = []
    for _ in range(2):
        project.run("ingestion", env="openfield", source=source, split=SPLIT)
        note = data / "02_intermediate" / "video_frames" / "fingerprint.json"
        stamps.append(note.stat().st_mtime_ns)
    tables = {name: InstancesDataset(str(data / "05_model_input" / f"{name}.parquet")).load()
              for name in ("labeled", "unlabeled", "validation", "hidden_truth")}  # fmt: skip
    return data, tables, stamps


def test_labels_come_out_as_they_were_written(ingested):
    _, tables, _ = ingested
    people = {
        path.rsplit("img", 1)[1]: row
        for name in ("labeled", "validation")
        for path, row in zip(tables[name].paths, tables[name].keypoints, strict=True)
    }
    shown = pictures(6, seed=5)
    assert [len(tables[name]) for name in ("labeled", "validation")] == [2, 3]
    for name, points in people.items():
        person = shown[int(name.removesuffix(".png")) // 7].people[0]
        nose = person.joints[11] if person.visibility[11] else (0, 0)
        np.testing.assert_array_equal(points[0], np.array(nose, np.float32))


def test_the_pool_is_the_rest_and_frames_that_differ(ingested):
    """The video shows 9 different pictures, 3 of them twice; frame 0 and 7 lie in labeled-data."""
    data, tables, _ = ingested
    unlabeled = tables["unlabeled"]
    assert not unlabeled.visibility.any() and not unlabeled.keypoints.any()
    assert not tables["hidden_truth"].visibility[1:].any()
    folder = data / "02_intermediate" / "video_frames" / "reach.avi"
    frames = [path for path in unlabeled.paths if path.startswith(str(folder))]
    assert [int(path[-10:-4]) for path in frames] == [1, 2, 3, 4, 5, 6, 8]
    assert len(unlabeled) == 1 + 7
    assert unlabeled.boxes.tolist() == [[0, 0, 127, 95]] * 8


def test_a_second_run_takes_the_frames_that_are_there(ingested):
    assert ingested[2][0] == ingested[2][1]


def test_the_skeleton_is_the_project_s(ingested):
    skeleton = json.loads((ingested[0] / "03_primary" / "skeleton.json").read_text())
    assert skeleton["names"] == ["bodypart1", "bodypart2", "bodypart3", "objectA"]
    assert skeleton["torso"] == [0, 1]
    assert skeleton["limbs"] == [[0, 1]]
