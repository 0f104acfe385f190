"""DeepLabCut projects, in every form that DeepLabCut has written them."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from formats import save_video
from sspcm_kedro.data.source import Source
from sspcm_kedro.errors import BadInput
from sspcm_kedro.sources import DeepLabCutSource, UnionSource
from sspcm_kedro.sources.deeplabcut_table import read_label_table

HEAD = """\
scorer,ann,ann,ann,ann,ann,ann
bodyparts,snout,snout,leftear,leftear,rightear,rightear
coords,x,y,x,y,x,y
"""
TABLE = f"""{HEAD}\
labeled-data/reach/img0003.png,21.521,30.428,33.819,5.941000000000001,19.984,25.05599999999999
labeled-data/reach/img0010.png,,,12.25,7.05599999999998,40.5,11.0
"""
KEYPOINTS = [[[21.521, 30.428], [33.819, 5.941000000000001], [19.984, 25.05599999999999]],
             [[0, 0], [12.25, 7.05599999999998], [40.5, 11.0]]]  # fmt: skip
SEVERAL = """\
scorer,ann,ann,ann,ann,ann,ann,ann,ann,ann,ann
individuals,mus1,mus1,mus1,mus1,mus2,mus2,mus2,mus2,single,single
bodyparts,snout,snout,tail,tail,snout,snout,tail,tail,nest,nest
coords,x,y,x,y,x,y,x,y,x,y
labeled-data/pair/img1.png,10,20,30,24,,,50,40,3,4
labeled-data/pair/img2.png,,,,,44.5,12,50,14,,
labeled-data/pair/img3.png,,,,,,,,,5,6
"""
CONFIG: dict[str, Any] = {
    "Task": "reach", "scorer": "ann", "multianimalproject": False,
    "video_sets": {"C:\\Users\\ann\\reach.avi": {"crop": "0, 64, 0, 48"}},
    "bodyparts": ["snout", "leftear", "rightear"],
    "skeleton": [["snout", "leftear", "rightear"], ["bodypart1", "objectA"]],
}  # fmt: skip
OF_SEVERAL = {**CONFIG, "multianimalproject": True, "bodyparts": "MULTI!",
              "multianimalbodyparts": ["snout", "tail"], "individuals": ["mus1", "mus2"],
              "uniquebodyparts": ["nest"], "skeleton": [["snout", "tail"]]}  # fmt: skip


def save_image(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (64, 48), (9, 9, 9)).save(file)


def write(root: Path, table: str = TABLE, **changed: Any) -> DeepLabCutSource:
    """A project of images 3, 10 and 20, of which two have a row."""
    root.mkdir(exist_ok=True)
    (root / "config.yaml").write_text(yaml.safe_dump({**CONFIG, **changed}, sort_keys=False))
    for number in (3, 10, 20):
        save_image(root / f"labeled-data/reach/img{number:04d}.png")
    (root / "labeled-data/reach/CollectedData_ann.csv").write_text(table)
    return DeepLabCutSource(root=root, frames=0)


def write_several(root: Path, **settings: Any) -> DeepLabCutSource:
    """A project of two animals: both on one image, one on another, none on a third."""
    root.mkdir(exist_ok=True)
    (root / "config.yaml").write_text(yaml.safe_dump(OF_SEVERAL, sort_keys=False))
    for number in (1, 2, 3, 4):
        save_image(root / f"labeled-data/pair/img{number}.png")
    (root / "labeled-data/pair/CollectedData_ann.csv").write_text(SEVERAL)
    return DeepLabCutSource.model_validate({"root": root, "frames": 0, **settings})


def refused(source: DeepLabCutSource, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        source.read()


def test_a_project_of_one_animal(tmp_path):
    source = write(tmp_path / "p").read()
    people, folder = source.annotated, tmp_path / "p/labeled-data/reach"
    np.testing.assert_array_equal(people.keypoints, np.array(KEYPOINTS, np.float32))
    assert people.visibility.tolist() == [[2, 2, 2], [0, 2, 2]]
    assert people.boxes.tolist() == [[0, 0, 63, 47]] * 2
    assert people.image_hw.tolist() == [[48, 64]] * 2
    assert people.paths.tolist() == [str(folder / f"img{n}.png") for n in ("0003", "0010")]
    assert people.source_image_ids.tolist() == [
        "labeled-data/reach/img0003.png", "labeled-data/reach/img0010.png"]  # fmt: skip
    skeleton = source.skeleton
    assert skeleton.names == ("snout", "leftear", "rightear")
    assert skeleton.flip_pairs == ((1, 2),)
    assert skeleton.limbs == ((0, 1), (1, 2))
    assert (skeleton.torso, skeleton.sigmas, skeleton.category) == (None, (), "animal")


def test_an_image_without_a_row_is_unlabeled(tmp_path):
    source = write(tmp_path / "p")
    save_image(tmp_path / "p/labeled-data/later/img1.png")
    save_image(tmp_path / "p/labeled-data/reach_labeled/img0003.png")  # DeepLabCut's check_labels
    read = source.read()
    unlabeled = read.unlabeled
    assert unlabeled is not None and read.hidden_truth is None
    assert unlabeled.source_image_ids.tolist() == [
        "labeled-data/later/img1.png", "labeled-data/reach/img0020.png"]  # fmt: skip
    assert not unlabeled.visibility.any() and not unlabeled.keypoints.any()
    assert unlabeled.boxes.tolist() == [[0, 0, 63, 47]] * 2
    assert len({*unlabeled.ids, *read.annotated.ids}) == 4
    assert len({*unlabeled.image_ids, *read.annotated.image_ids}) == 4


@pytest.mark.parametrize("style", ["three columns", "Windows", "another disk", "blank lines"])
def test_rows_name_images_in_many_ways(tmp_path, style):
    expected = write(tmp_path / "p").read()
    table = TABLE
    if style == "three columns":
        table = table.replace("labeled-data/reach/", "labeled-data,reach,")
        for head, cells in (("scorer", "ann"), ("bodyparts", "snout"), ("coords", "x")):
            table = table.replace(f"{head},{cells}", f"{head},,,{cells}", 1)
    if style == "Windows":
        table = table.replace("/", "\\").replace("\n", "\r\n")
    if style == "another disk":
        table = table.replace("labeled-data", "D:\\Ann's project\\labeled-data")
    if style == "blank lines":
        table = "\ufeff" + table.replace("\n", "\n,,,,,,\n")
    found = write(tmp_path / "p", table).read()
    for name in ("keypoints", "visibility", "paths", "boxes", "ids"):
        np.testing.assert_array_equal(getattr(found.annotated, name),
                                      getattr(expected.annotated, name))  # fmt: skip


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("levels", [1, 3])
def test_tables_that_pandas_writes_as_deeplabcut_does(tmp_path, several, levels):
    """Every bit of every coordinate comes back, and every empty cell."""
    animals, parts = (["a", "b"] if several else ["ann"]), ["tail", "snout"]
    points = np.random.default_rng(0).uniform(0, 500, (4, len(animals), 2, 2))
    points[0, -1], points[2, 0, 1] = np.nan, np.nan
    names = ["scorer", *(["individuals"] if several else []), "bodyparts", "coords"]
    columns = pd.MultiIndex.from_product(
        [["ann"], *([animals] if several else []), parts, ["x", "y"]], names=names
    )
    rows = [("labeled-data", "run", f"img{number}.png") for number in (7, 3, 10, 1)]
    index = pd.MultiIndex.from_tuples(rows) if levels == 3 else ["/".join(row) for row in rows]
    file = tmp_path / "run" / "CollectedData_ann.csv"
    file.parent.mkdir()
    pd.DataFrame(points.reshape(4, -1), index, columns).to_csv(file)
    table = read_label_table(file, "ann", ["snout", "tail"])
    np.testing.assert_array_equal(table.points, points[:, :, ::-1])
    assert table.images == ("img7.png", "img3.png", "img10.png", "img1.png")
    assert table.animals == (("a", "b") if several else ("",))


def test_body_parts_are_those_of_the_config_in_its_order(tmp_path):
    """A table may have them in another order, and lack one that was added later."""
    names = ["tail", "rightear", "leftear", "snout"]
    people = write(tmp_path / "p", bodyparts=names).read().annotated
    assert people.visibility.tolist() == [[0, 2, 2, 2], [0, 2, 2, 0]]
    np.testing.assert_array_equal(people.keypoints[0, [3, 2, 1]],
                                  np.array(KEYPOINTS[0], np.float32))  # fmt: skip


def test_settings_of_the_skeleton(tmp_path):
    source = write(tmp_path / "p").model_copy(update={"torso": (0, 1), "flip_pairs": ()})
    skeleton = source.read().skeleton
    assert (skeleton.torso, skeleton.flip_pairs) == ((0, 1), ())
    refused(source.model_copy(update={"torso": (0, 3)}), "torso: .*Count from 0 in")


def test_a_human_torso_is_found_by_name(tmp_path):
    names = ["Rhip", "Lshoulder", "nose"]
    table = TABLE
    for old, new in zip(CONFIG["bodyparts"], names, strict=True):
        table = table.replace(f"{old},", f"{new},").replace(f"{old}\n", f"{new}\n")
    assert write(tmp_path / "p", table, bodyparts=names).read().skeleton.torso == (1, 0)


def test_points_off_the_image_and_empty_rows_are_no_labels(tmp_path, caplog):
    table = TABLE.replace("21.521,30.428", "-7,30.428").replace("40.5,11.0", "40.5,47.6")
    table += "labeled-data/reach/img0020.png,,,,,,\n"
    with caplog.at_level(logging.INFO):
        read = write(tmp_path / "p", table).read()
    assert read.annotated.visibility.tolist() == [[0, 2, 2], [0, 2, 0]]
    assert not read.annotated.keypoints[:, 0].any()
    assert read.unlabeled is None  # somebody has looked at image 20, and there is nothing
    assert "2 points are off their images" in caplog.text
    assert "1 images have a row without a labeled point" in caplog.text
    assert "2 animals are labeled, and 0 images" in caplog.text


def test_a_project_of_several_animals(tmp_path):
    read = write_several(tmp_path / "p").read()
    people = read.annotated
    assert people.visibility.tolist() == [[2, 2], [2, 2]]
    assert people.keypoints.tolist() == [[[10, 20], [30, 24]], [[44.5, 12], [50, 14]]]
    # the longer sides are 20 and 5.5: the boxes reach 5 and 1.375 further
    assert people.boxes.tolist() == [[5, 15, 35, 29], [43.125, 10.625, 51.375, 15.375]]
    assert people.source_image_ids.tolist() == ["labeled-data/pair/img1.png",
                                                "labeled-data/pair/img2.png"]  # fmt: skip
    assert read.skeleton.names == ("snout", "tail") and read.skeleton.limbs == ((0, 1),)
    assert read.unlabeled is None


def test_what_has_no_box_is_counted(tmp_path, caplog):
    write_several(tmp_path / "p").read()
    assert "1 animals have one labeled point" in caplog.text
    assert "1 images have a row without a labeled point" in caplog.text
    assert "1 images without labels have no box" in caplog.text


def test_boxes_are_cut_at_the_image(tmp_path):
    people = write_several(tmp_path / "p", margin=2.0).read().annotated
    assert people.boxes[0].tolist() == [0, 0, 63, 47]


def test_animals_of_one_image_share_it(tmp_path):
    source = write_several(tmp_path / "p")
    table = SEVERAL.replace("img1.png,10,20,30,24,,,", "img1.png,10,20,30,24,60,41,")
    (tmp_path / "p/labeled-data/pair/CollectedData_ann.csv").write_text(table)
    people = source.read().annotated
    assert people.image_ids.tolist() == [1, 1, 2] and people.ids.tolist() == [1, 2, 3]
    assert people.keypoints[1].tolist() == [[60, 41], [50, 40]]
    frame = source.model_copy(update={"box": "frame"})
    refused(frame, r"ann\.csv, image img1\.png: one animal .*found 2\. Set source\.box=keypoints")


def test_one_animal_may_have_a_box_of_keypoints(tmp_path):
    source = write(tmp_path / "p").model_copy(update={"box": "keypoints", "margin": 0.0})
    people = source.read().annotated
    low = [19.984 - 1, 5.941 - 1]
    np.testing.assert_allclose(people.boxes[0, :2], low, atol=1e-5)  # a pixel, at least


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("scorer,ann", "scorer,bob", r"csv, row scorer: .*'ann'.*found \['bob'\].*source\.scorer"),
        ("bodyparts,snout", "bodyparts,nose", r"row bodyparts: .*snout, .*found 'nose'"),
        ("coords,x,y,x,y,x,y", "coords,x,y,x,y,x,likelihood", "row coords: .*'likelihood'"),
        ("coords,x,y", "coords,x,x", "row coords: snout must have one column x"),
        ("coords,x", "places,x", "must begin with the rows scorer, bodyparts, coords or"),
        (",40.5,11.0", ",40.5", r"csv, row 5: must have 7 cells as the first row, found 6.*cut"),
        ("12.25", "12;25", r"image img0010\.png: leftear must have a number .*'12;25'"),
        ("12.25", "inf", r"image img0010\.png: leftear must have a number .*'inf'"),
        ("12.25", "", r"image img0010\.png: leftear must have both x and y, or neither"),
        ("img0010", "img0003", r"image img0003\.png: must have one row, found 2"),
        ("img0010", "img0011", r"csv, image img0011\.png: the image must be in .*reach, and"),
        ("reach/img0010", "run/img0010", "image labeled-data/run/img0010.png: must lie in the"),
        (TABLE, "", "must begin with the rows .*found nothing"),
        (TABLE, "\x00\n", "must begin with the rows"),
        (TABLE, HEAD, "labeled-data: an image must have labeled points"),
    ],
)  # fmt: skip
def test_a_broken_table_is_refused(tmp_path, old, new, message):
    assert old in TABLE
    refused(write(tmp_path / "p", TABLE.replace(old, new)), message)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("bodyparts", [], r"config\.yaml, bodyparts: must be a list of different names"),
        ("bodyparts", ["snout", "snout"], "different names"),
        ("bodyparts", ["snout", None], "different names"),
        ("bodyparts", "snout", "different names"),
        ("multianimalproject", True, r"config\.yaml, multianimalbodyparts"),
    ],
)  # fmt: skip
def test_a_broken_config_is_refused(tmp_path, key, value, message):
    refused(write(tmp_path / "p", **{key: value}), message)


def test_the_only_table_of_a_folder_is_read_whoever_wrote_it(tmp_path, caplog):
    """As the queue's draft beside folders of the project's scorer, which have another's too."""
    source, folder = write(tmp_path / "p"), tmp_path / "p/labeled-data/reach"
    (folder / "CollectedData_bob.csv").write_text(
        TABLE.replace("ann", "bob").replace("12.25", "13.25")
    )
    save_image(tmp_path / "p/labeled-data/default/img0003.png")
    draft = TABLE.replace("ann", "sspcm").replace("reach", "default").splitlines()[:4]
    (tmp_path / "p/labeled-data/default/CollectedData_sspcm.csv").write_text("\n".join(draft))
    with caplog.at_level(logging.INFO):
        people = source.read().annotated
    assert people.source_image_ids.tolist() == [
        "labeled-data/default/img0003.png", "labeled-data/reach/img0003.png",
        "labeled-data/reach/img0010.png"]  # fmt: skip
    np.testing.assert_array_equal(people.keypoints, np.array(KEYPOINTS, np.float32)[[0, 0, 1]])
    assert caplog.text.count("default: labels of sspcm, the only ones, though the project's") == 1
    refused(source.model_copy(update={"scorer": "ann"}),
            r"CollectedData_sspcm\.csv: .*'ann', found sspcm\. .*source\.scorer=NAME")  # fmt: skip
    (folder / "CollectedData_ann.csv").rename(folder / "CollectedData_eve.csv")
    refused(source, r"CollectedData_bob\.csv: .*'ann', found bob, eve\. .*source\.scorer=NAME")


def test_of_several_scorers_the_right_one_is_read(tmp_path):
    source = write(tmp_path / "p", scorer=None)
    assert len(source.read().annotated) == 2  # the only one, where nobody is named
    folder = tmp_path / "p/labeled-data/reach"
    (folder / "CollectedData_bob.csv").write_text(
        TABLE.replace("ann", "bob").replace("12.25", "13.25")
    )
    refused(source, "must be of the project's scorer, None, found ann, bob")
    people = source.model_copy(update={"scorer": "bob"}).read().annotated
    assert people.keypoints[1, 1, 0] == 13.25


def test_labels_in_hdf5_alone_are_not_passed_over(tmp_path):
    source, folder = write(tmp_path / "p"), tmp_path / "p/labeled-data/reach"
    (folder / "CollectedData_ann.h5").write_bytes(b"the twin")
    assert len(source.read().annotated) == 2
    (folder / "CollectedData_ann.csv").unlink()
    refused(source, r"CollectedData_ann\.h5: .*only HDF5.*to_csv\('CollectedData_ann\.csv'\)")


def test_copies_of_editors_are_no_labels(tmp_path):
    source = write(tmp_path / "p")
    hidden = tmp_path / "p/labeled-data/.ipynb_checkpoints"
    save_image(hidden / "img1.png")
    (hidden / "CollectedData_ann.csv").write_text("a copy")
    assert len(source.read().annotated) == 2


def test_odd_values_in_a_config_change_nothing(tmp_path):
    expected = write(tmp_path / "p").read().skeleton
    for odd in (None, 3, "x", [3], [["snout", 3]], {"a": 1}):
        skeleton = write(tmp_path / "p", video_sets=odd, skeleton=odd).read().skeleton
        assert skeleton.names == expected.names and skeleton.limbs == ()


def test_videos_of_the_project(tmp_path, caplog):
    source = write(tmp_path / "p").model_copy(update={"frames": 7})
    videos = tmp_path / "p/videos"
    pixels = [np.zeros((48, 64, 3), np.uint8)] * 2
    for name in ("reach.avi", "b.MKV", "reachDLC_resnet50_labeled.mp4", "b_labeled.mp4"):
        save_video(videos / name.lower(), pixels)
    (videos / "b.mkv").rename(videos / "b.MKV")
    (videos / "notes.txt").write_text("")
    (videos / "gone.mp4").symlink_to(tmp_path / "nowhere.mp4")
    frames = source.video_frames()
    assert frames.known == {videos / "b.MKV": (), videos / "reach.avi": (3, 10, 20)}
    assert frames.most == 7
    assert "video gone.mp4 of the project is not in" in caplog.text
    caplog.clear()
    (videos / "reach.avi").unlink()
    assert list(source.video_frames().known) == [videos / "b.MKV"]
    assert "video reach.avi of the project is not in" in caplog.text


@pytest.mark.parametrize(
    ("crop", "frame_hw", "expected"),
    [("20, 84, 10, 58", (96, 128), (20, 10)),  # the images of labeled-data are 64 x 48
     ("20, 84, 10, 58", (48, 64), None),  # the video has been cropped as well
     ("0, 128, 0, 96", (96, 128), None),
     ("20, 90, 10, 58", (96, 128), None),
     (None, (96, 128), None)],
)  # fmt: skip
def test_frames_are_cropped_as_the_labeled_images_of_their_video(
    tmp_path, caplog, crop, frame_hw, expected
):
    sets = {"C:\\Users\\ann\\reach.avi": {"crop": crop}, "D:\\other.avi": {"crop": crop}}
    source = write(tmp_path / "p", video_sets=sets).model_copy(update={"frames": 7})
    rng, videos = np.random.default_rng(0), tmp_path / "p/videos"
    frames = rng.integers(0, 256, (2, *frame_hw, 3), np.uint8)
    for name in ("reach.avi", "other.avi"):  # nobody has labeled the other one
        save_video(videos / name, frames)
    with caplog.at_level(logging.INFO):
        chosen = {videos / "reach.avi": [0, 1], videos / "other.avi": [1]}
        *found, (other, _) = source.video_frames().images(chosen)
    x, y = expected or (0, 0)
    height, width = (48, 64) if expected else frame_hw
    for (image, record), pixels in zip(found, frames, strict=True):
        np.testing.assert_array_equal(image, pixels[y : y + height, x : x + width])
        assert (record["height"], record["width"]) == (height, width)
    np.testing.assert_array_equal(other, frames[1])
    assert ("2 frames were cut to x0, y0, x1, y1 = (20, 10, 84, 58)" in caplog.text) == (
        expected is not None)  # fmt: skip


def test_a_crop_of_frames_is_part_of_what_they_are_known_by(tmp_path):
    save_video(tmp_path / "p/videos/reach.avi", [np.zeros((96, 128, 3), np.uint8)] * 2)
    known = []
    for crop in ("20, 84, 10, 58", "21, 85, 10, 58"):
        sets = {"reach.avi": {"crop": crop}}
        source = write(tmp_path / "p", video_sets=sets).model_copy(update={"frames": 7})
        known.append(source.video_frames().fingerprint())
    assert known[0] != known[1]


def test_no_videos(tmp_path, caplog):
    source = write(tmp_path / "p").model_copy(update={"frames": 7})
    assert source.video_frames().known == {}
    assert "no video is in" in caplog.text
    refused(source, r"source\.frames: must be 0 where node 'choose_frames'")


def test_frames_have_no_box_of_keypoints(tmp_path):
    source = write_several(tmp_path / "p", frames=7)
    assert source.video_frames().known == {}  # no video, no question
    save_video(tmp_path / "p/videos/pair.avi", [np.zeros((48, 64, 3), np.uint8)] * 2)
    with pytest.raises(BadInput, match=r"source\.frames: .*source\.frames=0.*source\.box=frame"):
        source.video_frames()
    assert source.model_copy(update={"frames": 0}).video_frames().known == {}


def test_a_folder_that_is_no_project(tmp_path):
    refused(DeepLabCutSource(root=tmp_path / "p"), "p: there must be such a folder")
    refused(DeepLabCutSource(root=tmp_path), r"config\.yaml: there must be such a file")
    (tmp_path / "config.yaml").write_text("bodyparts: [a]")
    refused(DeepLabCutSource(root=tmp_path, frames=0), "labeled-data: there must be such a folder")


def test_it_is_part_of_a_union(tmp_path):
    people = {"nose": "snout", "left_ear": "leftear", "right_ear": "rightear"}
    table = TABLE
    for new, old in people.items():
        table = table.replace(f"{old},", f"{new},").replace(f"{old}\n", f"{new}\n")
    own = write(tmp_path / "p", table, bodyparts=list(people))
    union = UnionSource(sources={"mine": own}, labeled=("mine",))
    read: Source = union.read()
    assert read.annotated.visibility.sum() == 10
