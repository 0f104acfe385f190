"""lightning-pose data folders, in the form that its documents show."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from formats import save_video
from sspcm_kedro.data.source import Source
from sspcm_kedro.errors import BadInput
from sspcm_kedro.sources import KINDS

HEAD = """\
scorer,ann,ann,ann,ann
bodyparts,paw_left,paw_left,paw_right,paw_right
coords,x,y,x,y
"""
TABLE = f"""{HEAD}\
labeled-data/run/img00000003.png,21.521,30.428,33.819,5.941
labeled-data/run/img00000010.png,,,12.25,7.056
labeled-data/walk/img00000002.png,1,2,3,4
"""


def write(root: Path, table: str = TABLE, **settings: Any) -> Any:
    """Three images with a row, and one between them without."""
    names = ("run/img00000003", "run/img00000004", "run/img00000010", "walk/img00000002")
    for name in names:
        file = root / "labeled-data" / f"{name}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (64, 48)).save(file)
    (root / "CollectedData.csv").write_text(table)
    record = {"kind": "lightning_pose", "root": root, "frames": 0, **settings}
    return KINDS["lightning_pose"].model_validate(record)


def names_of(read: Source) -> list[str]:
    return read.annotated.source_image_ids.tolist()


def test_a_data_folder(tmp_path):
    read = write(tmp_path).read()
    people = read.annotated
    frame = pd.read_csv(tmp_path / "CollectedData.csv", header=[0, 1, 2], index_col=0)
    truth = frame.to_numpy().reshape(3, 2, 2)  # as lightning-pose's own data set reads it
    np.testing.assert_array_equal(people.visibility, np.where(np.isnan(truth[..., 0]), 0, 2))
    np.testing.assert_allclose(people.keypoints, np.nan_to_num(truth), rtol=1e-6)
    assert names_of(read) == frame.index.tolist()
    assert people.boxes.tolist() == [[0, 0, 63, 47]] * 3
    assert read.skeleton.names == ("paw_left", "paw_right")
    assert read.skeleton.flip_pairs == ((0, 1),)
    assert read.unlabeled is not None
    assert read.unlabeled.source_image_ids.tolist() == ["labeled-data/run/img00000004.png"]


@pytest.mark.parametrize("before", ["D:\\Ann's\\data\\", "/data/ann/labeled-data/old/", ""])
def test_rows_of_another_computer(tmp_path, before):
    table = TABLE.replace("labeled-data", f"{before}labeled-data")
    if "\\" in before:
        table = table.replace("/", "\\")
    assert names_of(write(tmp_path, table).read()) == names_of(write(tmp_path).read())


def test_frames_of_videos_without_those_that_are_labeled(tmp_path):
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 255, (48, 64, 3), dtype=np.uint8) for _ in range(6)]
    save_video(tmp_path / "videos/walk.avi", frames)
    source = write(tmp_path, frames=3)
    wanted = source.video_frames()
    assert wanted.known == {tmp_path / "videos/walk.avi": (2,)}
    chosen = wanted.choose()[tmp_path / "videos/walk.avi"]
    assert len(chosen) == 3 and 2 not in chosen
    with pytest.raises(BadInput, match=r"source\.frames: must be 0 where node"):
        source.read()


def test_labels_to_validate_on(tmp_path):
    (tmp_path / "new.csv").write_text(HEAD + "labeled-data/run/img00000004.png,1,1,2,2\n")
    read = write(tmp_path, validation="new.csv").read()
    assert read.validation is not None and read.unlabeled is None
    assert read.validation.keypoints.tolist() == [[[1, 1], [2, 2]]]
    (tmp_path / "new.csv").write_text(HEAD.replace("paw_left", "hand_left"))
    with pytest.raises(BadInput, match=r"new\.csv, row bodyparts: .*found hand_left, paw_right"):
        write(tmp_path, validation="new.csv").read()


def test_one_of_several_scorers(tmp_path):
    rows = [row.split(",") for row in TABLE.splitlines()]
    both = [",".join(row + row[1:]) for row in rows]
    both[0] = (
        both[0]
        .replace("ann,ann,ann,ann,ann,ann", "ann,ann,ann,ann,bob,bob")
        .replace("bob,ann,ann", "bob,bob,bob")
    )
    table = "\n".join(both)
    with pytest.raises(BadInput, match=r"csv, row scorer: .*one scorer, found ann, bob.*scorer"):
        write(tmp_path, table).read()
    read = write(tmp_path, table, scorer="bob").read()
    np.testing.assert_array_equal(
        read.annotated.keypoints, write(tmp_path).read().annotated.keypoints
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("scorer,", "scorers,", r"Data\.csv: must begin with the rows scorer, bodyparts"),
        (",12.25,7.056", ",12.25", r"row 5: must have 5 cells as the first row, found 4"),
        ("12.25", "nan", "image labeled-data/run/img00000010.png: paw_right must have both x and"),
        ("12.25", "1e999", "img00000010.png: paw_right must have a number or an empty cell"),
        ("walk/", "gone/", "image labeled-data/gone/img00000002.png: the image must be in"),
        ("run/img00000010", "run/img00000003", "img00000003.png: must have one row, found 2"),
        (TABLE, HEAD, "at least one image must have a labeled keypoint"),
        (TABLE, "", "must begin with the rows .*found nothing"),
    ],
)
def test_a_broken_table_is_refused(tmp_path, old, new, message):
    assert old in TABLE
    with pytest.raises(BadInput, match=message):
        write(tmp_path, TABLE.replace(old, new)).read()


def two_views(root: Path, ends: tuple[str, str] = ("_bot", "_top")) -> None:
    """Two cameras, each with a table, a video and three images, of which two have rows."""
    frames = [np.full((48, 64, 3), 20 * place, np.uint8) for place in range(6)]
    for view, end in zip(("_bot", "_top"), ends, strict=True):
        table = HEAD
        for number in (1, 2, 3):
            name = f"labeled-data/run{end}/img0000000{number}.png"
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (64, 48)).save(root / name)
            table += f"{name},1,2,3,4\n" if number < 3 else ""
        (root / f"CollectedData{view}.csv").write_text(table)
        save_video(root / f"videos/run{end}.avi", frames)


def of_view(root: Path, labels: str, **settings: Any) -> Any:
    record = {"kind": "lightning_pose", "root": root, "labels": labels, **settings}
    return KINDS["lightning_pose"].model_validate(record)


@pytest.mark.parametrize("view", ["_bot", "_top"])
def test_one_of_several_views(tmp_path, view, caplog):
    two_views(tmp_path)
    labels = f"CollectedData{view}.csv"
    read = of_view(tmp_path, labels, frames=0).read()
    assert names_of(read) == [f"labeled-data/run{view}/img0000000{n}.png" for n in (1, 2)]
    assert read.unlabeled is not None
    assert read.unlabeled.source_image_ids.tolist() == [f"labeled-data/run{view}/img00000003.png"]
    known = of_view(tmp_path, labels, frames=9).video_frames().known
    assert known == {tmp_path / f"videos/run{view}.avi": (1, 2, 3)}
    assert "the view of" not in caplog.text


def test_views_that_names_do_not_tell_are_warned_of(tmp_path, caplog):
    """Images that the other table names are left out all the same."""
    two_views(tmp_path, ("A", "B"))
    read = of_view(tmp_path, "CollectedData_bot.csv", frames=0).read()
    assert read.unlabeled is not None
    assert read.unlabeled.source_image_ids.tolist() == [
        "labeled-data/runA/img00000003.png", "labeled-data/runB/img00000003.png"]  # fmt: skip
    assert "no folder ends in _bot, the view of CollectedData_bot.csv" in caplog.text
    assert len(of_view(tmp_path, "CollectedData_bot.csv", frames=9).video_frames().known) == 2


def test_a_view_whose_name_ends_as_anothers(tmp_path):
    two_views(tmp_path, ("_bot", "_left_bot"))
    (tmp_path / "CollectedData_top.csv").rename(tmp_path / "CollectedData_left_bot.csv")
    for view in ("_bot", "_left_bot"):
        read = of_view(tmp_path, f"CollectedData{view}.csv", frames=0).read()
        assert read.unlabeled is not None
        assert read.unlabeled.source_image_ids.tolist() == [
            f"labeled-data/run{view}/img00000003.png"]  # fmt: skip


def test_a_table_of_further_videos_is_no_view(tmp_path):
    config = write(tmp_path)
    (tmp_path / "CollectedData_new.csv").write_text(
        f"{HEAD}labeled-data/run/img00000004.png,1,2,3,4\n")  # fmt: skip
    assert config.read().unlabeled is None  # the only image without a row is labeled there


def test_another_table_that_is_none_is_warned_of(tmp_path, caplog):
    config = write(tmp_path)
    (tmp_path / "CollectedData_old.csv").write_text("what,is,this\n")
    unlabeled = config.read().unlabeled
    assert unlabeled is not None and len(unlabeled) == 1
    assert "images that it names may count as unlabeled" in caplog.text
