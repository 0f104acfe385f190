"""Tables of several ingestions, and rows of other people, are refused with what was found."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from sspcm_kedro.data.instances import Instances
from sspcm_kedro.data.whose import as_unit, check_people, check_unit, whose
from sspcm_kedro.datasets.instances import InstancesDataset
from sspcm_kedro.errors import BadInput

NOSE = {"names": ["nose"]}
CHEEK = {"names": ["cheek"]}


@pytest.fixture
def tables(make_people) -> list[Instances]:
    return as_unit([make_people("abc"), make_people("de", first_id=9)], NOSE)


def test_one_unit_through_rows_files_and_joins(tables, tmp_path):
    labeled, unlabeled = tables
    assert labeled.unit and labeled.unit == unlabeled.unit
    dataset = InstancesDataset(filepath=str(tmp_path / "data" / "05" / "labeled.parquet"))
    dataset.save(labeled)
    assert dataset.load().unit == labeled.unit
    assert labeled.take([2, 0]).unit == labeled.unit == labeled.without_labels().unit
    assert labeled.gather([0]).unit == labeled.scatter([3, 1, 0], 4).unit == labeled.unit
    assert Instances.join([labeled, unlabeled]).unit == labeled.unit
    assert not Instances.join([labeled, replace(unlabeled, unit="")]).unit


def test_equal_people_are_one_unit_wherever_they_lie(tables, make_people):
    moved = [replace(t, paths=np.array([f"/b/{p}" for p in t.paths], object)) for t in tables]
    assert as_unit(moved, NOSE)[0].unit == tables[0].unit
    box = replace(tables[1], boxes=tables[1].boxes + np.float32(0.5))
    others = [
        as_unit([tables[0], box], NOSE),
        as_unit([tables[0], tables[1].take([1, 0])], NOSE),
        as_unit(tables[::-1], NOSE),
        as_unit(tables, CHEEK),
    ]
    assert len({tables[0].unit, *(other[0].unit for other in others)}) == 5


def test_tables_of_two_ingestions_are_refused(tables, make_people):
    labeled, unlabeled = tables
    check_unit(NOSE, labeled=labeled, unlabeled=None, validation=unlabeled)
    old, _ = as_unit([unlabeled, make_people("xyz")], NOSE)
    for other in (old, replace(unlabeled, unit="")):
        with pytest.raises(BadInput, match=r"unlabeled people: must be of the same ingestion as "
                           r"the labeled people.*--pipelines ingestion"):  # fmt: skip
            check_unit(NOSE, labeled=labeled, unlabeled=other)
    with pytest.raises(BadInput, match="skeleton: must be of the same ingestion as the labeled"):
        check_unit(CHEEK, labeled=labeled)
    check_unit(CHEEK, labeled=replace(labeled, unit=""))  # made by hand: nobody said


def test_rows_are_of_the_people_they_are_used_with(tables):
    people, others = tables
    said = whose(people)
    check_people(said, people, "labels", "Run it again")
    check_people({**said, "ids": torch.from_numpy(people.ids)}, people, "labels", "Run it again")
    wrong = {
        "2 of 3 rows are of others. Run it again": {**said, "ids": people.ids[[1, 0, 2]]},
        "found 2 rows for 3 people, 2 of other people": whose(others),
        "found 2 rows for 3 people, 0 of other people": {**said, "ids": people.ids[:2]},
        f"and are of ingestion {'0' * 12}. Run": {**said, "unit": "0" * 12},
        "and are of one that left no mark": {"ids": people.ids},
        "must say of which people they are": {"keypoints": torch.zeros(3, 1, 2)},
    }
    for message, stored in wrong.items():
        with pytest.raises(BadInput, match=f"^labels: .*{message}"):
            check_people(stored, people, "labels", "Run it again")
