"""MPII's own mat: structures that may be one, none or many, and points in no order."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
from PIL import Image

from formats import pictures, structs, write_mpii, write_mpii_mat
from sspcm_kedro.errors import BadInput
from sspcm_kedro.pose.skeleton import MPII
from sspcm_kedro.sources.mpii import MpiiMatSource, MpiiSource
from sspcm_kedro.sources.mpii_json import read_mpii
from sspcm_kedro.sources.mpii_mat import read_mpii_mat, read_mpii_test, read_test_images

NOTHING = np.empty((0, 0))


def point(joint: Any, x: float = 11, y: float = 21, is_visible: Any = NOTHING) -> dict:
    return {"x": x, "y": y, "id": joint, "is_visible": is_visible}


def person(points: Any, **changed: Any) -> dict:
    head = {"x1": 11, "y1": 11, "x2": 14, "y2": 15}
    place = {"scale": 0.1, "objpos": {"x": 31, "y": 41}}
    return {**head, **place, "annopoints": {"point": structs(points)}, **changed}


@pytest.fixture
def write(tmp_path):
    """Writes a mat with the people of each image; the training images come first."""

    def write(*images: Any, training: Any = 1) -> tuple[Path, Path]:
        records = []
        for place, people in enumerate(images):
            rects = structs(people) if people else NOTHING
            records.append({"image": {"name": f"{place}.jpg"}, "annorect": rects})
            Image.new("RGB", (60, 80)).save(tmp_path / f"{place}.jpg")
        flags = [int(place < training) for place in range(len(images))]
        release = {"annolist": structs(records), "img_train": np.array([flags])}
        scipy.io.savemat(tmp_path / "mpii.mat", {"RELEASE": release})
        return tmp_path / "mpii.mat", tmp_path

    return write


def test_points_are_found_by_their_id_and_count_from_0(write):
    points = [point(15, 5, 6, 1), point(0, 7.5, 8, "0"), point(9, 9, 10)]
    people, test = read_mpii_mat(*write([person(points)]))
    assert test is None
    assert np.flatnonzero(people.visibility[0]).tolist() == [0, 9, 15]
    assert people.keypoints[0, [0, 9, 15]].tolist() == [[6.5, 7], [8, 9], [4, 5]]
    assert people.visibility[0, [0, 9, 15]].tolist() == [1, 2, 2]  # covered, no flag, visible
    np.testing.assert_allclose(people.boxes, [[20, 31.5, 40, 51.5]], rtol=1e-6)
    np.testing.assert_allclose(people.head_sizes, [0.6 * 5], rtol=1e-6)
    assert people.image_hw.tolist() == [[80, 60]]


@pytest.mark.parametrize("flag", [0, 0.0, "0", np.uint8(0)])
def test_a_covered_keypoint_however_it_is_written(write, flag):
    people, _ = read_mpii_mat(*write([person([point(3, is_visible=flag)])]))
    assert people.visibility[0, 3] == 1


def test_images_may_have_no_one_one_or_many(write):
    no_points, no_place = person([point(1)]), person([point(1)])
    no_points["annopoints"] = NOTHING
    no_place.update(scale=NOTHING, objpos=NOTHING)
    people, test = read_mpii_mat(
        *write([], [person([point(1)])], [no_points, no_place, person([point(2)])],
               [no_points, no_place], training=3), test=True
    )  # fmt: skip
    assert people.source_image_ids.tolist() == ["2", "3"]
    assert people.source_ids.tolist() == ["1", "3"]
    assert test.source_image_ids.tolist() == ["4"]
    assert test.source_ids.tolist() == ["1"]
    assert not test.visibility.any()


def test_the_mat_and_the_json_tell_the_same(tmp_path):
    shown = pictures(3, 5, people=2)
    write_mpii(tmp_path / "json", shown, pictures(1, 1))
    write_mpii_mat(tmp_path / "mat", shown, pictures(2, 6))
    plain, _ = read_mpii(tmp_path / "json" / "annot" / "train.json", tmp_path / "json" / "images")
    source = MpiiMatSource(root=tmp_path / "mat", test=True).read()
    people = source.annotated
    assert source.skeleton is MPII
    assert [Path(path).name for path in people.paths] == [Path(path).name for path in plain.paths]
    for column in ("ids", "image_ids", "image_hw", "boxes", "areas", "keypoints"):
        np.testing.assert_allclose(getattr(people, column), getattr(plain, column), atol=1e-4)
    assert ((people.visibility > 0) == (plain.visibility > 0)).all()
    expected = [p.triples(MPII)[:, 2].tolist() for shot in shown for p in shot.people]
    expected = np.array(expected)
    expected[:, [8, 9]] = np.where(expected[:, [8, 9]] > 0, 2, 0)  # the head has no flag
    assert people.visibility.tolist() == expected.tolist()
    assert len(source.test) == 2


def test_test_people_have_the_places_of_the_release(tmp_path):
    train, test = pictures(3, 5, people=2), pictures(2, 6, people=2)
    write_mpii(tmp_path, train[:2], train[2:])
    write_mpii_mat(tmp_path, train, test)
    mat = "mpii_human_pose_v1_u12_1.mat"
    images = read_test_images(tmp_path / mat)
    assert images.names == ["015604864.jpg", "015605864.jpg"]
    assert images.places == [4, 5]  # of annolist, from 1, after three training images
    assert images.people == [3, 3]  # one more on each, who is not to be predicted
    people = MpiiSource(root=tmp_path, test=Path(mat)).read().test
    assert people.source_image_ids.tolist() == ["4", "4", "5", "5"]
    assert people.source_ids.tolist() == ["1", "2", "1", "2"]


def test_images_that_mpii_lists_and_never_released(tmp_path, caplog):
    """Neither training images nor those three are needed to read the test people."""
    train, test = pictures(2, 5), pictures(2, 6)
    write_mpii_mat(tmp_path, train, test)
    mat, images = tmp_path / "mpii_human_pose_v1_u12_1.mat", tmp_path / "images"
    release = scipy.io.loadmat(mat)["RELEASE"]
    release["annolist"][0, 0]["image"][0, 2]["name"][0, 0] = np.array(["002878268.jpg"])
    scipy.io.savemat(mat, {"RELEASE": release})
    for name in ("015601864.jpg", "015602864.jpg", "015603864.jpg"):
        (images / name).unlink()
    people = read_mpii_test(mat, images)
    assert people.source_image_ids.tolist() == ["4"]
    assert "has not released 002878268.jpg" in caplog.text
    assert read_test_images(mat).names == ["002878268.jpg", "015604864.jpg"]  # pred lists it
    (images / "015604864.jpg").unlink()
    with pytest.raises(BadInput, match=r"015604864\.jpg.*is not there"):
        read_mpii_test(mat, images)


def test_validation_images_are_a_list(tmp_path):
    write_mpii_mat(tmp_path, pictures(3, 5))
    (tmp_path / "valid.txt").write_text("015602864.jpg\n\n999999999.jpg\n")
    source = MpiiMatSource(root=tmp_path, validation_images=Path("valid.txt")).read()
    assert [Path(path).name for path in source.validation.paths] == ["015602864.jpg"]
    assert len(source.annotated) == 2
    for text, message in (("1.jpg", "at least one listed"), ("015601864.jpg\n015602864.jpg\n"
                          "015603864.jpg", "some annotated image must remain")):  # fmt: skip
        (tmp_path / "valid.txt").write_text(text)
        with pytest.raises(BadInput, match=rf"valid\.txt: {message}"):
            MpiiMatSource(root=tmp_path, validation_images=Path("valid.txt")).read()


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ([point(16)], r"annolist 1, annorect 1: a keypoint's id must be 0 to 15, found 16"),
        ([point(1.5)], r"annolist 1, annorect 1: a keypoint's id must be 0 to 15, found 1\.5"),
        ([point(1), point(1)], r"annolist 1, annorect 1: keypoint 1 must occur once.*Remove"),
        ([point(1, is_visible=3)], r"annorect 1: is_visible must be 0, 1 or empty, found 3"),
        ([point(1, x=np.nan)], r"annorect 1, keypoint 1: 'x, y' must hold 2 finite numbers"),
    ],
)
def test_broken_points_are_refused(write, points, message):
    with pytest.raises(BadInput, match=message):
        read_mpii_mat(*write([person(points)]))


def test_broken_files_are_refused(write, tmp_path):
    with pytest.raises(BadInput, match=r"someone on a training image must have keypoints"):
        read_mpii_mat(*write([], [person([point(1)])]))
    with pytest.raises(BadInput, match=r"at least one test person must have a center"):
        read_mpii_mat(*write([person([point(1)])]), test=True)
    with pytest.raises(BadInput, match=r"annorect 1: a person needs a center and a scale above 0"):
        read_mpii_mat(*write([person([point(1)], scale=0)]))
    file, images = write([person([point(1)])])
    (images / "0.jpg").unlink()
    with pytest.raises(BadInput, match=r"image 0\.jpg: .*not there.*Copy"):
        read_mpii_mat(file, images)
    for content, message in (
        ({"release": 1}, r"must hold the variable 'RELEASE'.*as it was downloaded"),
        ({"RELEASE": 1}, r"RELEASE must have annolist and img_train"),
        ({"RELEASE": {"annolist": structs([{"image": 1}]), "img_train": [[1, 0]]}},
         r"img_train must have one number an image, 1, found 2"),
        ({"RELEASE": {"annolist": structs([{"image": 1, "annorect": structs([person([point(1)])])}])
                      , "img_train": 1}}, r"annorect 1: the image's name must be .*found None"),
    ):  # fmt: skip
        scipy.io.savemat(file, content)
        with pytest.raises(BadInput, match=message):
            read_mpii_mat(file, images)
