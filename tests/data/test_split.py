"""Splits: exact people, no leak, no label where there must be none."""

from dataclasses import replace

import numpy as np
import pytest

from sspcm_kedro.data.held_out import held_out_rows
from sspcm_kedro.data.source import Source
from sspcm_kedro.data.split import SplitConfig, _image_numbers, split
from sspcm_kedro.errors import BadInput
from sspcm_kedro.pose.skeleton import Skeleton

SKELETON = Skeleton(names=("a", "b", "c"))


@pytest.fixture
def source(make_people):
    """Eight annotated people on five images, two validation and two unlabeled people."""
    return Source(
        SKELETON,
        annotated=make_people("aabccdee"),
        validation=make_people("vw", first_id=11),
        unlabeled=make_people("xy", first_id=21, labeled=False),
        hidden_truth=make_people("xy", first_id=21),
    )


def only_annotated(make_people) -> Source:
    return Source(SKELETON, make_people("aabccdee"))


def ids(people) -> list[int]:
    return people.ids.tolist()


def test_first_people_of_the_file(source):
    parts = split(source, SplitConfig(labeled=3), seed=0)
    assert ids(parts.labeled) == [1, 2, 3]
    assert ids(parts.unlabeled) == ids(parts.hidden_truth) == [4, 5, 6, 7, 8, 21, 22]
    assert ids(parts.validation) == [11, 12]


def test_labels_are_erased_and_kept_aside(source):
    parts = split(source, SplitConfig(labeled=3), seed=0)
    assert not parts.unlabeled.visibility.any()
    assert not parts.unlabeled.keypoints.any()
    assert np.unique(parts.hidden_truth.visibility).tolist() == [2]
    assert parts.hidden_truth.keypoints[:, 0, 0].tolist() == [4, 5, 6, 7, 8, 21, 22]
    assert np.unique(parts.labeled.visibility).tolist() == [2]


def test_unknown_truth_has_visibility_0(source):
    blind = Source(SKELETON, source.annotated, source.validation, source.unlabeled)
    parts = split(blind, SplitConfig(labeled=3), seed=0)
    assert ids(parts.hidden_truth) == [4, 5, 6, 7, 8, 21, 22]
    assert parts.hidden_truth.visibility[:, 0].tolist() == [2, 2, 2, 2, 2, 0, 0]


def test_caps_keep_the_first(source):
    parts = split(source, SplitConfig(labeled=1, unlabeled=2, validation=1), seed=0)
    assert (ids(parts.unlabeled), ids(parts.validation)) == ([2, 3], [11])


def test_seeded_caps_take_people_from_anywhere_in_a_part(make_people):
    """Files are often sorted by video: the first of them are the first video's."""
    names = "ghijklmnopqrstuvwxyz"
    source = Source(
        SKELETON, make_people("abc"), make_people(names, first_id=101),
        make_people(names.upper(), first_id=201, labeled=False),
    )  # fmt: skip
    config = SplitConfig(labeled=2, validation=8, unlabeled=9, order="seeded")
    chosen = [split(source, config, seed) for seed in range(4)]
    for parts in chosen:
        people = ids(parts.validation)
        assert people == sorted(people) and len(set(people)) == 8 and max(people) > 108
        rest, *wild = ids(parts.unlabeled)
        assert rest in (1, 2, 3) and wild == sorted(wild) and len(set(wild)) == 8
        assert max(wild) > 208
    assert len({tuple(ids(parts.validation)) for parts in chosen}) == 4
    assert ids(split(source, config, 0).validation) == ids(chosen[0].validation)
    whole = replace_config(config, validation=20, unlabeled=None)
    assert ids(split(source, whole, 0).validation) == list(range(101, 121))
    with pytest.raises(BadInput, match="21 people were asked for, and the source has 20"):
        split(source, replace_config(config, validation=21), 0)


def replace_config(config: SplitConfig, **changes) -> SplitConfig:
    return config.model_copy(update=changes)


def test_all_labels(make_people):
    wild = make_people("xy", first_id=21, labeled=False)
    source = Source(SKELETON, make_people("abcc"), make_people("v", first_id=9), wild)
    parts = split(source, SplitConfig(labeled="all"), seed=0)
    assert ids(parts.labeled) == [1, 2, 3, 4]
    assert ids(parts.unlabeled) == [21, 22]
    parts = split(source, SplitConfig(labeled="all", unlabeled_includes_labeled=True), seed=0)
    assert ids(parts.unlabeled) == [1, 2, 3, 4, 21, 22]


def test_the_released_protocol_keeps_the_labeled_people(source):
    parts = split(source, SplitConfig(labeled=3, unlabeled_includes_labeled=True), seed=0)
    assert ids(parts.unlabeled) == [1, 2, 3, 4, 5, 6, 7, 8, 21, 22]
    assert not parts.unlabeled.visibility.any()


def test_labels_that_teach_are_no_hidden_truth(source):
    """How right pseudo-labels are is measured with labels that training never saw."""
    config = SplitConfig(labeled=3, unlabeled_includes_labeled=True, unlabeled=9)
    parts = split(source, config, seed=0)
    truth = parts.hidden_truth
    assert ids(truth) == ids(parts.unlabeled) == [1, 2, 3, 4, 5, 6, 7, 8, 21]
    assert truth.visibility[:, 0].tolist() == [0, 0, 0, 2, 2, 2, 2, 2, 2]
    assert truth.keypoints[:, 0, 0].tolist() == [0, 0, 0, 4, 5, 6, 7, 8, 21]
    assert np.unique(parts.labeled.visibility).tolist() == [2]


@pytest.mark.parametrize(("asked", "held_out"), [(1, [7, 8]), (2, [7, 8]), (3, [6, 7, 8])])
def test_whole_images_are_held_out_from_the_end(make_people, asked, held_out):
    config = SplitConfig(labeled=2, validation=asked)
    parts = split(only_annotated(make_people), config, seed=0)
    assert ids(parts.validation) == held_out
    assert ids(parts.unlabeled) == [i for i in range(3, 9) if i not in held_out]


def test_an_image_with_a_labeled_person_is_not_held_out(make_people):
    scattered = Source(SKELETON, make_people("abca"))
    parts = split(scattered, SplitConfig(labeled=1, validation=1), seed=0)
    assert (ids(parts.labeled), ids(parts.validation)) == ([1], [3])
    assert ids(parts.unlabeled) == [2, 4]


def test_unlabeled_people_on_held_out_images_are_dropped(make_people):
    source = Source(SKELETON, make_people("abc"), unlabeled=make_people("cx", 11, labeled=False))
    parts = split(source, SplitConfig(labeled=1, validation=1), seed=0)
    assert (ids(parts.validation), ids(parts.unlabeled)) == ([3], [2, 12])


@pytest.mark.parametrize("seed", range(5))
def test_seeded_split_is_repeatable_nested_and_disjoint(make_people, seed):
    source = only_annotated(make_people)
    config = SplitConfig(labeled=3, validation=2, order="seeded")
    parts, again = (split(source, config, seed) for _ in range(2))
    assert ids(parts.labeled) == ids(again.labeled)
    fewer = split(source, config.model_copy(update={"labeled": 1}), seed)
    assert ids(fewer.labeled) == ids(parts.labeled)[:1]
    assert ids(fewer.validation) == ids(parts.validation)
    everyone = [*ids(parts.labeled), *ids(parts.unlabeled), *ids(parts.validation)]
    assert sorted(everyone) == list(range(1, 9))
    assert not {*parts.validation.paths} & {*parts.labeled.paths, *parts.unlabeled.paths}


def test_seeds_differ(make_people):
    config = SplitConfig(labeled=3, validation=1, order="seeded")
    drawn = {tuple(ids(split(only_annotated(make_people), config, s).labeled)) for s in range(9)}
    assert len(drawn) > 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"labeled": 9, "validation": 1}, r"split, labeled: 9 .* has 7 .*the 1 to val.*at most 7"),
        ({"labeled": 2}, r"split: .*'validation' must be a number.*how many"),
        ({"labeled": 2, "validation": 7}, r"split, labeled: 2 .* has 1 .*the 7 to.*most 1"),
        ({"labeled": 1, "validation": 9}, r"split, labeled: 1 .* has 0 .*fewer of the other"),
        ({"labeled": 1, "validation": 7}, r"split, validation: 7 .* has 6 people on unlab.*most 6"),
        (
            {"labeled": 2, "validation": 1, "unlabeled": 5},
            r"split, unlabeled: 5 .* has 4.*most 4",
        ),
        ({"labeled": 6, "validation": 1}, r"split: at least one person must remain.*fewer lab"),
    ],
)
def test_impossible_splits_are_refused(make_people, settings, message):
    with pytest.raises(BadInput, match=message):
        split(only_annotated(make_people), SplitConfig(**settings), seed=0)


def test_frames_survive(source):
    parts = split(source, SplitConfig(labeled=3), seed=0)
    back = type(parts.labeled).from_frame(parts.labeled.to_frame())
    np.testing.assert_array_equal(back.keypoints, parts.labeled.keypoints)


@pytest.mark.parametrize(
    ("people", "share", "count"),
    [(10, 0.2, 2), (20, 0.25, 5), (4, 0.2, 2), (7, 0.2, 2), (9, 0.9, 4), (3, 0.5, 0), (50, 0.0, 0)],
)
def test_some_labeled_people_are_held_out_and_never_all(people, share, count):
    rows = held_out_rows(people, share, seed=3)
    assert len(rows) == len(set(rows.tolist())) == count
    assert rows.tolist() == sorted(rows) and set(rows.tolist()) <= set(range(people))
    assert rows.tolist() == held_out_rows(people, share, seed=3).tolist()


def test_whom_is_held_out_follows_the_seed():
    chosen = {tuple(held_out_rows(40, 0.2, seed)) for seed in range(5)}
    assert len(chosen) == 5


def test_images_are_numbered_in_the_order_of_their_names(make_people):
    """As numpy numbers them, whatever characters they have: a seeded split is of these numbers."""
    names = [
        "b/10.jpg",
        "b/9.jpg",
        "B.jpg",
        "ä.jpg",
        "a b.jpg",
        "a.jpg",
        "\U0001f600.png",
        "\uffff.png",
    ]
    rows = np.random.default_rng(0).integers(0, len(names), 60)
    paths = np.array(names, object)[rows]
    people = replace(make_people("a" * 60), paths=paths)
    wanted = np.unique(paths.astype(str), return_inverse=True)[1]
    np.testing.assert_array_equal(_image_numbers(people), wanted)
