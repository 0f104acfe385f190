"""The table of people, and columns that only some sets have."""

from dataclasses import fields, replace

import numpy as np
import pandas as pd
import pytest

from sspcm_kedro.data.instances import Instances, evenly_spaced


def same(first: Instances, second: Instances) -> None:
    for column in fields(Instances):
        np.testing.assert_array_equal(getattr(first, column.name), getattr(second, column.name))


@pytest.fixture
def known(make_people) -> Instances:
    heads = np.array([10, np.nan, 30], np.float32)
    names = np.array(["human1", "7", "0"], object)
    return replace(make_people("abc"), head_sizes=heads, source_ids=names,
                   source_image_ids=np.array(["x", "y", "z"], object),
                   crowds=np.array([False, True, False]))  # fmt: skip


def test_what_is_not_said_is_the_default(make_people):
    people = make_people("ab", first_id=5)
    assert np.isnan(people.head_sizes).all()
    assert people.source_ids.tolist() == ["5", "6"]
    assert people.source_image_ids.tolist() == ["97", "98"]
    assert people.crowds.tolist() == [False, False]


def test_a_table_and_back(known, make_people):
    same(Instances.from_frame(known.to_frame()), known)
    plain = make_people("abc")
    assert not {"head_size", "source_id", "source_image_id", "crowd"} & set(
        plain.to_frame().columns
    )
    same(Instances.from_frame(plain.to_frame()), plain)


def test_tables_of_people_with_and_without_the_columns(known, make_people, tmp_path):
    other = make_people("de", first_id=9)
    file = tmp_path / "people.parquet"
    pd.concat([other.to_frame(), known.to_frame()], ignore_index=True).to_parquet(file)
    same(Instances.from_frame(pd.read_parquet(file)), Instances.join([other, known]))


def test_rows_and_channels(known):
    assert known.take([2, 0]).source_ids.tolist() == ["0", "human1"]
    points = np.arange(18).reshape(3, 3, 2)
    people = replace(known, keypoints=points, visibility=np.array([[0, 1, 2]] * 3))
    wide = people.scatter([4, 0, 2], 5)
    assert wide.visibility.tolist() == [[1, 0, 2, 0, 0]] * 3
    assert wide.keypoints[1].tolist() == [[8, 9], [0, 0], [10, 11], [0, 0], [6, 7]]
    same(wide.gather([4, 0, 2]), people)


def test_columns_of_one_length(known):
    with pytest.raises(ValueError, match="one length"):
        replace(known, source_ids=np.array(["a"], object))


def test_rows_are_evenly_spaced_and_no_more_than_there_are():
    assert evenly_spaced(9, 3).tolist() == [0, 4, 8]
    assert evenly_spaced(9, 1).tolist() == [0]
    assert evenly_spaced(4, 10**15).tolist() == [0, 1, 2, 3]  # without an array of so many
