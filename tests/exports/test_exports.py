"""What is exported is what the tools' own readers read."""

import io
import json
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
import sleap_io
from PIL import Image
from pycocotools.coco import COCO

from sspcm_kedro.errors import BadInput
from sspcm_kedro.exports import Predictions, export_drafts, export_predictions
from sspcm_kedro.pose.skeleton import Skeleton

SKELETON = Skeleton(("nose", "left_ear", "right_ear"), ((1, 2),), limbs=((0, 1), (0, 2)),
                    category="mouse")  # fmt: skip
POINTS = np.array([[[10.5, 20.25], [30, 40], [31, 41]],
                   [[11.5, 21.25], [np.nan, np.nan], [32, 42]],
                   [[1, 2], [3, 4], [5, 6]]])  # fmt: skip
SCORES = np.array([[0.9, 0.8, 0.7], [0.5, 0.1, 0.3], [1.0, 0.25, 0.125]])


def predictions(**changed: Any) -> Predictions:
    """Frames 0, 2 of one video of four frames, and frame 1 of another of three."""
    columns: dict[str, Any] = {
        "files": ("a/run.mp4", "a/run.mp4", "walk.avi"), "frames": np.array([0, 2, 1]),
        "frame_counts": {"a/run.mp4": 4, "walk.avi": 3},
        "image_hw": np.array([[48, 64], [48, 64], [30, 40]]),
    }  # fmt: skip
    return Predictions(SKELETON, POINTS, SCORES, **{**columns, **changed})


def on_images(**changed: Any) -> Predictions:
    """Two on one image, one on another of another size."""
    names = ("labeled-data/default/a b.png", "labeled-data/default/a b.png", "c.png")
    return predictions(**{"files": names, "frames": None, "frame_counts": {}, **changed})


def read_table(content: bytes, heads: int = 3) -> pd.DataFrame:
    return pd.read_csv(io.BytesIO(content), header=list(range(heads)), index_col=0)


@pytest.mark.parametrize(
    ("kind", "names", "scorer"),
    [("deeplabcut", ["runDLC_sspcm.csv", "walkDLC_sspcm.csv"], "DLC_sspcm"),
     ("lightning_pose", ["run.csv", "walk.csv"], "heatmap_tracker")],
)  # fmt: skip
def test_tables_of_one_animal_have_three_rows_of_head_and_a_row_a_frame(kind, names, scorer):
    files = export_predictions(kind, predictions())
    assert list(files) == names
    table = read_table(files[names[0]])
    assert table.columns.names == ["scorer", "bodyparts", "coords"]
    expected = [(scorer, part, axis) for part in SKELETON.names
                for axis in ("x", "y", "likelihood")]  # fmt: skip
    assert table.columns.tolist() == expected
    assert table.index.tolist() == [0, 1, 2, 3]
    together = np.concatenate([POINTS, SCORES[..., None]], axis=-1)
    together[1, 1] = np.nan
    values = table.to_numpy().reshape(4, 3, 3)
    np.testing.assert_allclose(values[[0, 2]], together[:2], atol=5e-5)
    assert np.isnan(values[[1, 3]]).all()
    walk = read_table(files[names[1]])
    np.testing.assert_allclose(walk.loc[1].to_numpy().reshape(3, 3), together[2])


@pytest.mark.parametrize(
    ("videos", "names"),
    [(("a/run.mp4", "b/walk.avi"), ["run", "walk"]),
     (("day1/cam.mp4", "day2/cam.mp4"), ["day1/cam", "day2/cam"]),
     (("film.mp4", "film.avi"), ["film.mp4", "film.avi"]),
     (("day1/cam.mp4", "day1/cam.avi", "day2/cam.mp4", "cam.mov", "run.mp4"),
      ["day1/cam.mp4", "day1/cam.avi", "day2/cam", "cam", "run"]),
     (("film.mp4", "film.avi", "film.mp4.avi"), ["film.mp4", "film.avi", "film.mp4.avi"])],
)  # fmt: skip
@pytest.mark.parametrize(
    ("kind", "end"), [("deeplabcut", "DLC_sspcm.csv"), ("lightning_pose", ".csv")]
)
def test_no_video_takes_the_table_of_another(videos, names, kind, end):
    n = len(videos)
    points = np.arange(n * 6, dtype=float).reshape(n, 3, 2)
    made = Predictions(SKELETON, points, np.full((n, 3), 0.5), videos, np.full((n, 2), 99),
                       frames=np.zeros(n, int), frame_counts=dict.fromkeys(videos, 1))  # fmt: skip
    files = export_predictions(kind, made)
    assert list(files) == [f"{name}{end}" for name in names]
    tables = [read_table(content).xs("x", axis=1, level="coords") for content in files.values()]
    assert [table.to_numpy().tolist() for table in tables] == points[:, None, :, 0].tolist()


def test_sleap_io_reads_the_labels_of_several_animals_as_deeplabcut_has_them(tmp_path):
    (content,) = export_drafts("deeplabcut", on_images()).values()
    table = read_table(content, 4)
    assert table.columns.names == ["scorer", "individuals", "bodyparts", "coords"]
    assert table.index.tolist() == ["labeled-data/default/a b.png", "c.png"]
    file = tmp_path / "CollectedData_sspcm.csv"
    file.write_bytes(content)
    for name in ("a b.png", "c.png"):
        Image.new("RGB", (64, 48)).save(tmp_path / name)
    labels = sleap_io.load_file(str(file))
    order = [labels.skeletons[0].node_names.index(name) for name in SKELETON.names]
    found = [[one.numpy()[order] for one in frame.instances] for frame in labels]
    assert [len(instances) for instances in found] == [2, 1]
    np.testing.assert_allclose(np.concatenate(found), POINTS)


def test_a_draft_is_of_the_scorer_whom_deeplabcut_looks_for():
    ((name, content),) = export_drafts("deeplabcut", on_images(scorer="Ann B, PhD")).items()
    assert name == "CollectedData_Ann B, PhD.csv"
    scorers = read_table(content, 4).columns.get_level_values("scorer")
    assert scorers.unique().tolist() == ["Ann B, PhD"]


def test_tracks_are_individuals_of_the_table():
    both = predictions(files=("run.mp4",) * 3, frames=np.array([0, 0, 1]), frame_counts={},
                       tracks=np.array([7, 2, 7]))  # fmt: skip
    table = read_table(export_predictions("deeplabcut", both)["runDLC_sspcm.csv"], 4)
    assert table.columns.get_level_values("individuals").unique().tolist() == ["animal3", "animal8"]
    nose = table.xs("x", axis=1, level="coords").xs("nose", axis=1, level="bodyparts")
    assert nose.to_numpy().tolist() == [[11.5, 10.5], [pytest.approx(np.nan, nan_ok=True), 1.0]]
    twice = predictions(files=("run.mp4",) * 3, frames=np.zeros(3, int), frame_counts={},
                        tracks=np.array([7, 2, 7]))  # fmt: skip
    with pytest.raises(BadInput, match="a track must be on an image once, and 7 is there again"):
        export_predictions("deeplabcut", twice)


@pytest.mark.parametrize("kind", ["deeplabcut", "lightning_pose"])
def test_one_animal_whom_the_tracker_has_lost_is_one(kind):
    """As frame 1 without anybody, after which it has another track."""
    lost = predictions(files=("run.mp4",) * 3, frames=np.array([0, 2, 3]), frame_counts={},
                       tracks=np.array([0, 1, 1]))  # fmt: skip
    ((_, content),) = export_predictions(kind, lost).items()
    assert [line.split(b",")[0] for line in content.splitlines()] == [
        b"scorer", b"bodyparts", b"coords", b"0", b"1", b"2", b"3"]  # fmt: skip
    nose = read_table(content).xs("x", axis=1, level="coords").xs("nose", axis=1, level="bodyparts")
    np.testing.assert_array_equal(nose.to_numpy()[:, 0], [10.5, np.nan, 11.5, 1])


def test_individuals_of_a_table_are_those_of_its_own_video():
    both = predictions(files=("a.mp4", "b.mp4", "b.mp4"), frames=np.array([0, 0, 0]),
                       frame_counts={"c.mp4": 1}, tracks=np.array([4, 3, 1]))  # fmt: skip
    files = export_predictions("deeplabcut", both)
    heads = {name: [line.split(b",")[0].decode() for line in content.splitlines()][:-1]
             for name, content in files.items()}  # fmt: skip
    one = ["scorer", "bodyparts", "coords"]
    several = ["scorer", "individuals", "bodyparts", "coords"]
    assert heads == {"aDLC_sspcm.csv": one, "bDLC_sspcm.csv": several, "cDLC_sspcm.csv": one}
    table = read_table(files["bDLC_sspcm.csv"], 4)
    assert table.columns.get_level_values("individuals").unique().tolist() == ["animal2", "animal4"]
    nose = table.xs("x", axis=1, level="coords").xs("nose", axis=1, level="bodyparts")
    assert nose.to_numpy().tolist() == [[1.0, 11.5]]
    assert read_table(files["cDLC_sspcm.csv"]).shape == (1, 9)


def test_lightning_pose_has_one_animal_an_image():
    with pytest.raises(BadInput, match=r"a b\.png: lightning-pose's tables have one animal"):
        export_drafts("lightning_pose", on_images())
    one = on_images(files=("labeled-data/d/1.png", "labeled-data/d/2.png", "labeled-data/d/3.png"))
    table = read_table(export_drafts("lightning_pose", one)["CollectedData.csv"])
    np.testing.assert_allclose(table.to_numpy().reshape(3, 3, 2), POINTS)


def test_pycocotools_reads_coco(tmp_path):
    file = tmp_path / "p.json"
    (content,) = export_predictions("coco", predictions(tracks=np.array([0, 0, -1]))).values()
    file.write_bytes(content)
    coco = COCO(str(file))
    images = coco.loadImgs(coco.getImgIds())
    assert [image["file_name"] for image in images] == [
        "a/run.mp4/000000.jpg", "a/run.mp4/000002.jpg", "walk.avi/000001.jpg"]  # fmt: skip
    assert [(image["video"], image["frame"]) for image in images][1] == ("a/run.mp4", 2)
    found = coco.loadAnns(coco.getAnnIds())
    assert found[1]["keypoints"] == [11.5, 21.25, 2, 0, 0, 0, 32, 42, 2]
    assert found[1]["bbox"] == [11.5, 21.25, 20.5, 20.75] and found[1]["score"] == 0.4
    assert [person.get("track_id") for person in found] == [1, 1, None]
    assert coco.loadCats([1])[0]["keypoints"] == list(SKELETON.names)


@pytest.mark.parametrize("videos", [True, False])
def test_sleap_io_reads_sleap(tmp_path, videos):
    file = tmp_path / "p.slp"
    made = predictions(tracks=np.array([4, 4, -1])) if videos else on_images()
    (content,) = export_predictions("sleap", made).values()
    file.write_bytes(content)
    labels = sleap_io.load_slp(str(file), open_videos=False)
    skeleton = labels.skeletons[0]
    assert skeleton.node_names == list(SKELETON.names)
    assert skeleton.edge_inds == [(0, 1), (0, 2)]
    assert [sorted(pair) for pair in skeleton.symmetry_inds] == [[1, 2]]
    assert [tuple(video.shape[1:3]) for video in labels.videos] == [(48, 64), (30, 40)]
    found = [instance for frame in labels for instance in frame.instances]
    np.testing.assert_allclose(np.stack([one.numpy() for one in found]), POINTS)
    scores = np.where(np.isnan(POINTS[..., 0]), np.nan, SCORES)
    seen = np.stack([one.numpy(scores=True)[:, 2] for one in found])
    np.testing.assert_allclose(np.where(np.isnan(scores), np.nan, seen), scores, rtol=1e-6)
    if videos:
        assert [frame.frame_idx for frame in labels] == [0, 2, 1]
        assert [video.filename for video in labels.videos] == ["a/run.mp4", "walk.avi"]
        assert [one.track.name if one.track else None for one in found] == [
            "track_5", "track_5", None]  # fmt: skip
    else:
        assert [len(frame.instances) for frame in labels] == [2, 1]
        assert [list(video.filename) for video in labels.videos] == [
            ["labeled-data/default/a b.png"], ["c.png"]]  # fmt: skip


def test_label_studio_places_points_in_percent_of_the_image():
    files = export_predictions("label_studio", on_images())
    config = ElementTree.fromstring(files["label_studio.xml"])
    points, boxes, image = config
    assert [label.get("value") for label in points] == list(SKELETON.names)
    first, second = json.loads(files["label_studio.json"])
    assert first["data"] == {"image": "/data/local-files/?d=labeled-data/default/a%20b.png"}
    assert image.get("value") == "$image"
    (guess,) = first["predictions"]
    assert (guess["model_version"], guess["score"]) == ("sspcm", 0.4)
    of = {region["id"]: region for region in guess["result"]}
    assert len(of) == 7  # two boxes, three points and two
    nose = of["box1_1"]
    assert (nose["from_name"], nose["to_name"]) == (points.get("name"), image.get("name"))
    assert (nose["type"], nose["parentID"]) == ("keypointlabels", "box1")
    assert nose["value"]["keypointlabels"] == ["nose"]
    assert nose["value"]["x"] * nose["original_width"] / 100 == pytest.approx(10.5)
    assert nose["value"]["y"] * nose["original_height"] / 100 == pytest.approx(20.25)
    box = of["box1"]
    assert (box["type"], box["from_name"]) == ("rectanglelabels", boxes.get("name"))
    assert box["value"]["width"] == pytest.approx(100 * 20.5 / 64)
    assert second["predictions"][0]["result"][0]["original_height"] == 30


def test_arrays_must_fit_each_other():
    with pytest.raises(ValueError, match=r"scores must be \(3, 3\), got \(2, 3\)"):
        Predictions(SKELETON, POINTS, SCORES[:2], ("a",) * 3, np.ones((3, 2)))
