"""The record of a stage: what it reads, in what two records differ, and who refuses whom."""

import json

import pytest

from sspcm_kedro.data.views import ViewConfig
from sspcm_kedro.engine.fingerprint import fingerprint
from sspcm_kedro.engine.optimizer import RoundBatch, TrainingConfig
from sspcm_kedro.engine.record import (
    COMPARISON,
    Stage,
    as_record,
    check_network,
    check_previous,
    differences,
    summary,
)
from sspcm_kedro.errors import BadInput
from sspcm_kedro.nets import NetworkConfig
from sspcm_kedro.pose.skeleton import Skeleton

TRAINING = TrainingConfig(
    batch=4, steps=10, warmup_epochs=2, round_epochs=3, rounds=2, learning_rate=0.5
)
SKELETON = Skeleton(names=("nose", "left_eye", "right_eye"), flip_pairs=((1, 2),))
NETWORK = NetworkConfig.model_validate({"kind": "simple_baseline", "weights": "resnet18.pth"})


def change(**values) -> TrainingConfig:
    return TRAINING.model_copy(update=values)


@pytest.mark.parametrize("number", [0, 1, 2, None])
def test_the_rates_of_a_stage_are_those_of_its_steps(number):
    stage = COMPARISON if number is None else Stage.numbered(number)
    span, schedule = stage.span(TRAINING), TRAINING.schedule()
    steps = range(span.start * 10, span.stop * 10)
    rates = schedule.rates(steps)
    assert next(iter(rates)) == steps.start
    for step in steps:
        held = max(first for first in rates if first <= step)
        assert rates[held] == schedule.at(step), step
    read = stage.read_training(TRAINING, labels_only=True)["learning_rate"]
    assert read == {f"from_step_{step}": rate for step, rate in rates.items()}


@pytest.mark.parametrize(
    ("changed", "readers"),
    [
        ({"batch": 5}, {0, 1, 2, None}),
        ({"shards": 2}, {0, 1, 2, None}),
        ({"steps": 11}, {0, 1, 2, None}),
        ({"version": 2}, {0, 1, 2, None}),
        ({"learning_rate": 0.25}, {0, 1, 2, None}),
        ({"warmup_epochs": 3}, {0, 1, 2, None}),
        ({"milestones": (0.7, 0.8)}, {2, None}),
        ({"rounds": 3}, {2, None}),  # the rate falls later: after round 1, but in round 2
        ({"round_epochs": 4}, {1, 2, None}),
        ({"last_round_epochs": 4}, {2, None}),
        ({"linear_start": 20}, {0, None}),  # over before round 1 begins at step 20
        ({"linear_start": 21}, {0, 1, None}),
        ({"backbone_rate": 0.5}, {0, 1, 2, None}),
        ({"average_decay": 0.9}, {0, 1, 2, None}),
        ({"round_batch": RoundBatch(labeled=1, unlabeled=3)}, {1, 2, None}),
    ],
)
def test_a_stage_reads_of_the_training_what_decides_its_own_steps(changed, readers):
    """Milestones are at steps 56 and 72 of 80; round 1 has 20 to 49, round 2 50 to 79."""
    stages = {number: Stage.numbered(number) for number in range(3)} | {None: COMPARISON}
    found = {
        number for number, stage in stages.items()
        if stage.read_training(TRAINING, labels_only=number == 0)
        != stage.read_training(change(**changed), labels_only=number == 0)
    }  # fmt: skip
    assert found == readers


def test_names_and_places_of_stages():
    assert [Stage.numbered(n).name for n in range(3)] == ["warmup", "round_1", "round_2"]
    assert Stage.numbered(1).before == Stage.numbered(0)
    assert Stage.numbered(2).span(TRAINING) == range(5, 8)
    assert COMPARISON.span(TRAINING) == range(8)


def test_differences_name_the_key_and_both_values():
    was = {"seed": 0, "method": {"min_score": 0.3, "affine": {"scale": [0.75, 1.25]}}, "a": None}
    now = {"seed": 0, "method": {"min_score": 0.1, "affine": {"scale": [0.7, 1.25]}}, "b": "x"}
    assert differences(was, now) == [
        "method.min_score was 0.3, is 0.1",
        "method.affine.scale was [0.75, 1.25], is [0.7, 1.25]",
        "a was null, is absent",
        'b was absent, is "x"',
    ]
    assert differences(was, now, without=("method", "a", "b")) == []
    assert differences(was, was) == []
    assert summary(list("abcdefg")) == "a; b; c; d; e; and 2 more" and summary(["a"]) == "a"


def test_a_record_is_json_and_says_what_is_read():
    record = as_record({"view": ViewConfig().model_dump(), "unlabeled": None, "seed": 3})
    assert record == json.loads(json.dumps(record)) and "unlabeled" not in record
    assert record["view"]["input_hw"] == [64, 48]


def test_the_usual_padding_is_not_in_a_record():
    """So what was trained before there was another is of the same record, and stays."""
    view = ViewConfig()
    record = as_record({"view": view.model_dump(mode="json")})
    assert set(record["view"]) == {
        "input_hw", "border", "stride", "sigma", "sub_cell", "refinement", "blur", "weak", "color"
    }  # fmt: skip
    tight = as_record({"view": view.model_copy(update={"padding": 1.1}).model_dump(mode="json")})
    assert tight == {"view": {**record["view"], "padding": 1.1}}
    assert fingerprint(tight) != fingerprint(record)
    said = {"view": {**record["view"], "padding": 1.25}}
    assert differences(record, said) == [] and differences(said, record) == []
    assert differences(record, tight) == ["view.padding was 1.25, is 1.1"]
    assert differences(tight, record) == ["view.padding was 1.1, is 1.25"]
    assert differences({"seed": 0}, {"seed": 0}) == []


@pytest.mark.parametrize("padding", [None, 1.25, 1.1])
def test_networks_predict_with_the_padding_that_they_were_trained_with(padding):
    """A checkpoint of before (None) was trained with 1.25."""
    view = ViewConfig()
    record = as_record({
        "stage": "warmup", "network": NETWORK.model_dump(), "skeleton": SKELETON.to_dict(),
    })  # fmt: skip
    seen = view.model_dump(mode="json", exclude={"padding"})
    record["view"] = seen if padding is None else {**seen, "padding": padding}
    trained = padding or 1.25
    for now in (1.1, 1.25, 2.0):
        asked = view.model_copy(update={"padding": now})
        if now == trained:
            check_network({"record": record}, SKELETON, asked, NETWORK)
            continue
        message = rf"view.padding was {trained}, is {now}\. Give"
        with pytest.raises(BadInput, match=message):
            check_network({"record": record}, SKELETON, asked, NETWORK)


def test_a_previous_stage_of_other_settings_is_refused():
    expected = {"stage": "warmup", "seed": 0, "labeled": {"people": 12, "digest": "a"}}
    state = {"record": {**expected, "previous": "x", "pseudo_labels": "y"}, "epoch": 2}
    check_previous(state, Stage.numbered(0), expected, 2)
    wrong = {
        "seed was 7, is 0. Give the settings of that training": {"seed": 7},
        "labeled.people was 11, is 12": {"labeled": {"people": 11, "digest": "a"}},
        'stage was "round_1", is "warmup"': {"stage": "round_1"},
    }
    for message, record in wrong.items():
        other = {**state, "record": {**state["record"], **record}}
        with pytest.raises(BadInput, match=f"^checkpoint of warmup.*{message}"):
            check_previous(other, Stage.numbered(0), expected, 2)
    with pytest.raises(BadInput, match=r"after epoch 1\. Run that stage to its end.*warmup$"):
        check_previous({**state, "epoch": 1}, Stage.numbered(0), expected, 2)
    with pytest.raises(BadInput, match="an older version of this project made it"):
        check_previous({"epoch": 2}, Stage.numbered(0), expected, 2)


def test_predictions_are_of_the_network_and_view_that_were_trained():
    view = ViewConfig(sigma=1.5)
    record = as_record({
        "stage": "round_1", "network": NETWORK.model_dump(), "view": view.model_dump(),
        "skeleton": SKELETON.to_dict(),
    })  # fmt: skip
    state = {"record": record}
    decoded = view.model_copy(update={"refinement": "dark", "blur": 11})
    for same, network in ((view, NETWORK), (decoded, NETWORK), (view, NETWORK.bare())):
        check_network(state, SKELETON, same, network)
    deeper = NetworkConfig.model_validate({"kind": "simple_baseline", "backbone": "resnet50"})
    other = Skeleton(names=("nose", "left_ear", "right_ear"), flip_pairs=((1, 2),))
    for message, args in {
        r"view.input_hw was \[64, 48\], is \[96, 64\]": (
            SKELETON, view.model_copy(update={"input_hw": (96, 64)}), NETWORK),
        'network.backbone was "resnet18", is "resnet50"': (SKELETON, view, deeper),
        "skeleton.names was": (other, view, NETWORK),
    }.items():  # fmt: skip
        with pytest.raises(BadInput, match=f"^checkpoint of round_1: .*{message}"):
            check_network(state, *args)
    with pytest.raises(BadInput, match="older version"):
        check_network({}, SKELETON, view, NETWORK)
