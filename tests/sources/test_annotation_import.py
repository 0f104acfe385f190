"""Labels that come back: as several tools write them, and with every fault that was thought of."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sspcm_kedro.data.instances import Instances
from sspcm_kedro.data.split import Split
from sspcm_kedro.errors import BadInput
from sspcm_kedro.pose.skeleton import Skeleton
from sspcm_kedro.sources.annotation_import import AnnotationImportConfig, flat_names, merge
from sspcm_kedro.sources.coco_writer import coco_content

JOINTS = Skeleton(("left_hand", "right_hand", "head"), ((0, 1),), (), ((0, 2), (1, 2)))
FOLDER = Path("/data/pictures")


def people(records: list[tuple[int, str, list[float]]], labeled: bool = False) -> Instances:
    """People (id, image, box) on images of 100 x 200."""
    n = len(records)
    pictures = [name for _, name, _ in records]
    return Instances(
        ids=np.array([record[0] for record in records]),
        image_ids=np.array([hash_of(name) for name in pictures]),
        paths=np.array([str(FOLDER / name) for name in pictures], object),
        image_hw=np.full((n, 2), (100, 200)),
        boxes=np.array([record[2] for record in records], np.float32),
        areas=np.full(n, 500, np.float32),
        box_scores=np.ones(n, np.float32),
        keypoints=np.full((n, 3, 2), 5.0 if labeled else 0.0, np.float32),
        visibility=np.full((n, 3), 2 if labeled else 0),
    )


def hash_of(name: str) -> int:
    return 7 + sum(map(ord, name))


@pytest.fixture
def split() -> Split:
    """Five unlabeled people on three images; 11 and 12 share one, 13 one with labeled 1."""
    unlabeled = people(
        [
            (11, "a/1.jpg", [10, 10, 50, 90]),
            (12, "a/1.jpg", [60, 10, 110, 90]),
            (13, "b/1.jpg", [20, 20, 60, 80]),
            (14, "b/2.jpg", [20, 20, 60, 80]),
            (15, "b/2.jpg", [120, 20, 160, 80]),
        ]
    )
    return Split(
        labeled=people([(1, "b/1.jpg", [100, 20, 140, 80])], labeled=True),
        unlabeled=unlabeled,
        validation=people([(2, "c/9.jpg", [20, 20, 60, 80])], labeled=True),
        hidden_truth=unlabeled,
        ignored=unlabeled.take(slice(0)),
    )


class Trip:
    """A queue of the people of some rows, what came back, and the merging of it."""

    def __init__(self, split: Split, folder: Path, rows: list[int]) -> None:
        self.split, self.folder, chosen = split, folder, split.unlabeled.take(rows)
        corner = chosen.boxes[:, None, :2]
        sides = (chosen.boxes[:, 2:] - chosen.boxes[:, :2])[:, None]
        shares = np.array([[0.1, 0.1], [0.9, 0.9], [0.5, 0.2]])
        self.points = corner + shares * sides
        self.draft: dict[str, Any] = coco_content(
            chosen, flat_names(split.unlabeled.paths), self.points,
            np.array([[2, 1, 2]] * len(rows)), JOINTS, description="",
        )  # fmt: skip
        self.content = json.loads(json.dumps(self.draft))
        for number, person in enumerate(self.content["annotations"]):
            person["keypoints"] = np.column_stack(
                [self.points[number] + [3, -2], [2, 2, 2]]
            ).ravel().tolist()  # fmt: skip
        self.people, self.images = self.content["annotations"], self.content["images"]
        self.more: dict[str, Any] = {}

    def merged(self) -> Split:
        for name, content in (("back.json", self.content), ("draft.json", self.draft)):
            (self.folder / name).write_text(json.dumps(content))
        file = {"file": self.folder / "back.json", "draft": self.folder / "draft.json"}
        return merge(
            self.split,
            AnnotationImportConfig.model_validate({"files": [{**file, **self.more}]}),
            JOINTS,
        )


@pytest.fixture
def trip(split, tmp_path) -> Trip:
    """Persons 11, 13 and 15 went out."""
    return Trip(split, tmp_path, [4, 0, 2])


def assert_moved(trip: Trip, merged: Split, tolerance: float = 0.01) -> None:
    """11, 13 and 15 are labeled with the returned points, and nobody else has changed."""
    assert merged.labeled.ids.tolist() == [1, 11, 13, 15]
    assert merged.unlabeled.ids.tolist() == merged.hidden_truth.ids.tolist() == [12, 14]
    assert merged.validation is trip.split.validation
    expected = trip.points[[1, 2, 0]] + [3, -2]
    np.testing.assert_allclose(merged.labeled.keypoints[1:], expected, atol=tolerance)
    assert (merged.labeled.visibility == 2).all()
    np.testing.assert_array_equal(merged.labeled.keypoints[0], trip.split.labeled.keypoints[0])
    np.testing.assert_array_equal(merged.labeled.boxes[1:], trip.split.unlabeled.boxes[[0, 2, 4]])
    assert not merged.unlabeled.visibility.any()


def test_nothing_came_back(split):
    assert merge(split, AnnotationImportConfig(), JOINTS) is split


def test_names_have_no_folders_and_differ():
    paths = ["/d/x/a/1.jpg", "/d/x/b/1.jpg", "/d/x/b/c/1.jpg", "/d/x/a/1.jpg"]
    assert list(flat_names(paths).values()) == ["a__1.jpg", "b__1.jpg", "b__c__1.jpg"]
    assert flat_names(["/d/x/1.jpg"]) == {"/d/x/1.jpg": "1.jpg"}


def test_labels_come_back_as_they_went_out(trip):
    assert_moved(trip, trip.merged())


def test_renumbered_and_shuffled(trip):
    """Ids from 1, of which one is another person's own, and in another order."""
    for number, image in enumerate(trip.images, start=1):
        for person in trip.people:
            if person["image_id"] == image["id"]:
                person["image_id"] = -number
        image["id"] = -number
    trip.people.reverse()
    for person, new in zip(trip.people, (12, 1, 14), strict=True):
        person["id"] = new
    assert_moved(trip, trip.merged())


def test_as_cvat_writes_it(trip):
    """Boxes around the keypoints, keypoints in another order, a category of boxes besides."""
    order = [2, 0, 1]
    names = [JOINTS.names[joint] for joint in order]
    trip.content["categories"] = [
        {"id": 1, "name": "box", "keypoints": [], "skeleton": []},
        {"id": 2, "name": "person", "keypoints": names, "skeleton": [[1, 2]]},
    ]
    for person in trip.people:
        points = np.array(person["keypoints"]).reshape(3, 3)
        first, last = points[:, :2].min(axis=0), points[:, :2].max(axis=0)
        person |= {
            "bbox": [*first, *(last - first)], "category_id": 2,
            "keypoints": points[order].ravel().tolist(), "attributes": {"occluded": False},
        }  # fmt: skip
    trip.people.append({**trip.people[0], "id": 99, "category_id": 1, "keypoints": []})
    assert_moved(trip, trip.merged())


def test_as_coco_annotator_writes_it(trip):
    """Boxes of zeros, whole pixels, and where it keeps the image."""
    for person in trip.people:
        person["bbox"], person["area"] = [0, 0, 0, 0], 0
        person["keypoints"] = [round(number) for number in person["keypoints"]]
    for image in trip.images:
        image["path"] = f"/datasets/queue/{image['file_name']}"
    assert_moved(trip, trip.merged(), tolerance=0.51)


@pytest.mark.parametrize("before", ["images/0a1b2c3d-", "images\\0a1b2c3d-", "C:\\x\\", "queue/"])
def test_names_that_tools_have_made_longer(trip, before):
    for image in trip.images:
        image["file_name"] = before + image["file_name"]
    assert_moved(trip, trip.merged())


def test_a_source_that_has_grown_since(trip, split):
    """Its people's common folder is another one now, and so are the names of a new queue."""
    more = people([(16, "1.jpg", [20, 20, 60, 80])])
    more.paths[0] = "/data/more/1.jpg"
    grown = Instances.join([split.unlabeled, more])
    assert flat_names(grown.paths)[str(FOLDER / "a/1.jpg")] == "pictures__a__1.jpg"
    trip.split = replace(split, unlabeled=grown, hidden_truth=grown)
    merged = trip.merged()
    assert merged.labeled.ids.tolist() == [1, 11, 13, 15]
    assert merged.unlabeled.ids.tolist() == [12, 14, 16]


def test_an_absent_keypoint_has_no_place(trip):
    trip.people[1]["keypoints"][:3] = [44, 55, 0]
    merged = trip.merged()
    assert merged.labeled.visibility[1].tolist() == [0, 2, 2]
    assert merged.labeled.keypoints[1, 0].tolist() == [0, 0]


def test_more_people_of_a_image_may_be_labeled(trip):
    """12 was not in the queue, but is on an image of it."""
    twelve = {"bbox": [60, 10, 50, 80], "keypoints": [70, 20, 2, 90, 80, 2, 80, 30, 2]}
    trip.people.append({**trip.people[1], "id": 5, **twelve})
    assert trip.merged().labeled.ids.tolist() == [1, 11, 12, 13, 15]


def test_labeled_people_who_count_as_unlabeled_stay(trip, split):
    """The released protocol: whoever is labeled is learnt from as if he were not, too."""
    everybody = Instances.join([split.labeled.without_labels(), split.unlabeled])
    trip.split = replace(split, unlabeled=everybody, hidden_truth=everybody)
    merged = trip.merged()
    assert merged.labeled.ids.tolist() == [1, 11, 13, 15]
    assert merged.unlabeled.ids.tolist() == [1, 11, 12, 13, 14, 15]


def test_the_truth_of_people_who_teach_now_is_hidden_no_more(trip, split):
    """Pseudo-labels of those who are labeled and stay among the unlabeled are not measured."""
    everybody = Instances.join([split.labeled.without_labels(), split.unlabeled])
    truth = replace(
        everybody, keypoints=everybody.keypoints + 7, visibility=everybody.visibility + 2
    )
    trip.split = replace(split, unlabeled=everybody, hidden_truth=truth)
    merged = trip.merged().hidden_truth
    assert merged.ids.tolist() == [1, 11, 12, 13, 14, 15]
    assert merged.visibility[:, 0].tolist() == [2, 0, 2, 0, 2, 0]
    assert merged.keypoints[:, 0, 0].tolist() == [7, 0, 7, 0, 7, 0]
    assert trip.split.hidden_truth.visibility.all()


def test_a_checked_draft_is_a_label(trip):
    trip.content = trip.draft
    trip.more = {"confirmed": True}
    merged = trip.merged()
    assert merged.labeled.ids.tolist() == [1, 11, 13, 15]
    assert merged.labeled.visibility[1:].tolist() == [[2, 1, 2]] * 3


def unknown_picture(trip):
    trip.images[1]["file_name"] = "a__7.jpg"


def unknown_picture_of_a_known_name(trip):
    trip.images[1]["file_name"] = "z__1.jpg"


def two_pictures_of_a_name(trip):
    trip.images[1]["file_name"] = "1.jpg"


def too_few_key_points(trip):
    trip.people[1]["keypoints"] = [1, 1, 2, 3, 3, 2]


def not_a_number(trip):
    trip.people[1]["keypoints"][4] = float("nan")


def visibility_of_another_meaning(trip):
    trip.people[1]["keypoints"][2] = 3


def the_same_id_twice(trip):
    trip.people[1]["id"] = trip.people[0]["id"]


def the_same_person_twice(trip):
    trip.people.append({**trip.people[1], "id": 5})


def nobody_looked(trip):
    trip.people[1]["keypoints"] = trip.draft["annotations"][1]["keypoints"]


def nobody_looked_but_the_tool_rounded(trip):
    draft = trip.draft["annotations"][1]["keypoints"]
    trip.people[1]["keypoints"] = [2 if i % 3 == 2 else round(n) for i, n in enumerate(draft)]


def nothing_labeled(trip):
    trip.people[1]["keypoints"] = [0] * 9


def no_key_points_at_all(trip):
    del trip.people[1]["keypoints"]


def another_skeleton(trip):
    trip.content["categories"][0]["keypoints"] = ["left_hand", "right_hand", "foot"]


def no_skeleton(trip):
    trip.content["categories"][0]["keypoints"] = []


def another_size(trip):
    trip.images[1]["width"] = 400


def nobody_there(trip):
    trip.people[1]["bbox"] = [150, 10, 40, 80]


def box_of_a_labeled_person(trip):
    trip.people[2]["bbox"] = [100, 20, 40, 60]


def box_between_two_people(trip):
    trip.people[1]["bbox"] = [10, 10, 95, 80]


def image_not_listed(trip):
    trip.people[1]["image_id"] = 12345


def not_the_draft(trip):
    for image in trip.draft["images"]:
        image["file_name"] = f"other_{image['file_name']}"


def everybody(trip):
    trip.__init__(trip.split, trip.folder, [0, 1, 2, 3, 4])


@pytest.mark.parametrize(
    ("broken", "texts"),
    [
        (unknown_picture, ["annotation 11", "'a__7.jpg'", "Keep the queue's file names"]),
        (unknown_picture_of_a_known_name, ["annotation 11", "'z__1.jpg'", "Keep the queue's"]),
        (two_pictures_of_a_name, ["annotation 11", "may be", "Write the name as the queue does"]),
        (too_few_key_points, ["annotation 11", "3 keypoints, found 2", "List every keypoint"]),
        (not_a_number, ["annotation 11", "must be finite, found nan", "Correct the value"]),
        (visibility_of_another_meaning, ["annotation 11", "v must be 0", "visibility flags"]),
        (the_same_id_twice, ["annotation 15", "must be unique", "Renumber"]),
        (the_same_person_twice, ["annotation 5", "same person as", "annotation 11", "Remove one"]),
        (nobody_looked, ["annotation 11", "still the draft", "confirmed: true"]),
        (nobody_looked_but_the_tool_rounded, ["annotation 11", "still the draft", "Export fin"]),
        (nothing_labeled, ["annotation 11", "at least one keypoint", "Remove people"]),
        (no_key_points_at_all, ["annotation 11", "must have the key 'keypoints'", "Add the key"]),
        (another_skeleton, ["category 1", "left_hand, right_hand, head", "the queue's own"]),
        (no_skeleton, ["at least one person with keypoints", "Export the skeletons"]),
        (another_size, ["annotation 11", "(100, 200)", "(100, 400)", "in pixels of the queue's"]),
        (nobody_there, ["annotation 11", "the nearest overlaps by 0.00", "Remove them, or add"]),
        (box_of_a_labeled_person, ["annotation 13", "is a labeled one", "use the seed and"]),
        (box_between_two_people, ["annotation 11", "alike, by 0.45 and 0.42", "own box"]),
        (image_not_listed, ["annotation 11", "image_id = 12345", "Add the image"]),
        (not_the_draft, ["draft.json", "has none of its images", "annotation_import.files"]),
        (everybody, ["parameter annotation_import", "must remain unlabeled", "merge fewer"]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)  # fmt: skip
def test_what_is_refused(trip, broken, texts):
    broken(trip)
    with pytest.raises(BadInput) as caught:
        trip.merged()
    for text in texts:
        assert text in str(caught.value), str(caught.value)


def test_one_message_for_many_drafts_nobody_looked_at(trip):
    trip.content = trip.draft
    with pytest.raises(BadInput, match=r"back.json, annotation 15: .* \(and 2 more like it\)"):
        trip.merged()


def test_a_file_that_is_cut_short(trip, split, tmp_path):
    trip.merged()
    file = tmp_path / "back.json"
    file.write_text(file.read_text()[:-20])
    config = {"files": [{"file": file, "draft": tmp_path / "draft.json"}]}
    with pytest.raises(BadInput, match=r"back.json: must be JSON"):
        merge(split, AnnotationImportConfig.model_validate(config), JOINTS)


def test_a_file_that_is_not_there(split, tmp_path):
    config = {"files": [{"file": tmp_path / "no.json", "draft": tmp_path / "draft.json"}]}
    with pytest.raises(BadInput, match=r"no.json: there must be such a file"):
        merge(split, AnnotationImportConfig.model_validate(config), JOINTS)


def test_two_files_about_one_person(trip, split, tmp_path):
    trip.merged()
    one = {"file": tmp_path / "back.json", "draft": tmp_path / "draft.json"}
    (tmp_path / "again.json").write_text((tmp_path / "back.json").read_text())
    two = {**one, "file": tmp_path / "again.json"}
    with pytest.raises(BadInput, match=r"again.json, annotation 15: is the same person as .*back"):
        merge(split, AnnotationImportConfig.model_validate({"files": [one, two]}), JOINTS)


def test_labels_do_not_go_to_a_neighbour_who_was_not_asked_for(trip):
    """11 was asked for, 12 was not; the box is one around the keypoints."""
    trip.people[1]["bbox"] = [66, 14, 40, 70]
    with pytest.raises(BadInput, match=r"annotation 11: .* somebody who was not asked"):
        trip.merged()


@pytest.mark.parametrize("name", ["/data/files/?d=queue/{}", "/x/?d=queue%2F{}", "x/%61__1.jpg"])
def test_addresses_are_decoded(trip, name):
    for image in trip.images:
        if image["file_name"] == "a__1.jpg" or "%61" not in name:
            image["file_name"] = name.format(image["file_name"])
    assert_moved(trip, trip.merged())


def test_names_that_would_be_the_same_are_refused():
    with pytest.raises(BadInput, match=r"a/b__c\.jpg.*Rename one"):
        flat_names(["/d/a/b__c.jpg", "/d/a__b/c.jpg"])


@pytest.mark.parametrize("odd", [[1], {}, None])
def test_odd_values_of_returned_files(trip, odd):
    trip.people[1]["category_id"] = odd
    with pytest.raises(BadInput, match=r"annotation 11: 'category_id' must"):
        trip.merged()
    trip.people[1]["category_id"] = "1"
    trip.content["categories"][0]["keypoints"] = 5
    with pytest.raises(BadInput, match=r"category 1: its keypoints must be"):
        trip.merged()
