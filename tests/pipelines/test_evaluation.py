"""Evaluation: planted predictions score what they must, and nothing unknown becomes a number."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
import torchvision
from PIL import Image

from sspcm_kedro.data.instances import Instances
from sspcm_kedro.data.views import ViewConfig
from sspcm_kedro.data.whose import whose
from sspcm_kedro.engine.choice import Choice
from sspcm_kedro.engine.evaluate import EvaluationConfig
from sspcm_kedro.engine.export import TrainedModel
from sspcm_kedro.engine.learner import Learner, network_maker
from sspcm_kedro.engine.optimizer import TrainingConfig
from sspcm_kedro.engine.record import as_record
from sspcm_kedro.errors import BadInput
from sspcm_kedro.figures.charts import learning_curves
from sspcm_kedro.machine import MachineConfig
from sspcm_kedro.methods import MethodConfig
from sspcm_kedro.nets import NetworkConfig
from sspcm_kedro.pipelines.evaluation.labels import measure_probabilities, score_pseudo_labels
from sspcm_kedro.pipelines.evaluation.nodes import (
    choose_network,
    collect,
    export,
    measure_deployed,
    predict_validation,
    score_networks,
)
from sspcm_kedro.pipelines.prediction.nodes import PredictionConfig, predict_people, write_keypoints
from sspcm_kedro.pipelines.reporting.nodes import draw_reliability
from sspcm_kedro.pipelines.reporting.tables import comparison_table
from sspcm_kedro.pose.skeleton import MPII, Skeleton
from sspcm_kedro.tracking.log import score_points

SKELETON = Skeleton(names=("a", "b", "c"), sigmas=(0.1, 0.1, 0.1), torso=(0, 1))
VIEW, EVALUATION = ViewConfig(), EvaluationConfig()
N = 4
NETWORKS = ("baseline", "teacher_a", "teacher_b", "student")


@pytest.fixture
def people() -> Instances:
    """Four people with boxes of 3:4, so that the view is the box and an eighth on each side."""
    corner = np.array([[100.0 * i, 50.0] for i in range(N)])
    points = corner[:, None] + np.array([[30.0, 20.0], [30.0, 80.0], [60.0, 100.0]])
    return Instances(
        ids=np.arange(N),
        image_ids=np.arange(N),
        paths=np.array([f"{i}.jpg" for i in range(N)], object),
        image_hw=np.full((N, 2), 600),
        boxes=np.concatenate([corner, corner + np.array([90, 120])], axis=1).astype(np.float32),
        areas=np.full(N, 6000.0, np.float32),
        box_scores=np.ones(N, np.float32),
        keypoints=points.astype(np.float32),
        visibility=np.full((N, 3), 2),
    )


def in_view(people: Instances, shift: float = 0) -> torch.Tensor:
    """The truth in 64 x 48 views, moved by pixels of the image (112.5 of them are 48 wide)."""
    center = people.boxes[:, :2] + [45, 60]
    moved = people.keypoints - center[:, None] + [shift, 0]
    return torch.tensor(moved * 48 / 112.5 + [24, 32]).float()


def test_each_network_has_its_scores(people):
    """The torso is 60 pixels, so 12 are tolerated."""
    predictions = {"student.keypoints": in_view(people), "student.scores": torch.ones(N, 3),
                   "teacher_a.keypoints": in_view(people, 11.9),
                   "teacher_a.scores": torch.ones(N, 3),
                   "teacher_b.keypoints": in_view(people, 12.1),
                   "teacher_b.scores": torch.ones(N, 3)}  # fmt: skip
    predictions["teacher_b.keypoints"][:, 2] = in_view(people)[:, 2]
    predictions |= {"deployed": "student", **whose(people)}
    nobody = people.take(slice(0))
    scores = score_networks(predictions, people, nobody, SKELETON, VIEW, EVALUATION)
    assert set(scores) == {"student", "teacher_a", "teacher_b"}
    assert scores["student"]["AP"] == pytest.approx(1) and scores["student"]["PCK"] == 1
    assert scores["teacher_a"]["PCK"] == 1 and scores["teacher_a"]["AP"] < 1
    assert scores["teacher_b"]["PCK"] == pytest.approx(1 / 3)
    assert scores["teacher_b"]["PCK_per_keypoint"] == {"a": 0, "b": 0, "c": 1}
    names = ("error_px", "median_error_px", "error_box")
    found = [scores["teacher_a"][name] for name in names]
    assert found == pytest.approx((11.9, 11.9, 11.9 / 120), rel=1e-3)
    assert scores["teacher_b"]["error_px"] == pytest.approx(2 * 12.1 / 3, rel=1e-3)
    for row in scores.values():
        assert row["PCK_unit"] == "torso" and row["unpublished_sigmas"] == ["a", "b", "c"]


def test_scores_say_what_they_are_measured_by(people, caplog):
    """The unit of PCK; sigmas only where OKS counts; and why PCK has no value."""
    found = whose(people)
    found |= {"student.keypoints": in_view(people), "student.scores": torch.ones(N, 3)}
    nobody = people.take(slice(0))
    bare = replace(SKELETON, torso=None, sigmas=())
    (row,) = score_networks(found, people, nobody, bare, VIEW, EVALUATION).values()
    assert row["PCK_unit"] == "box" and row["PCK"] == 1
    assert "AP" not in row and "unpublished_sigmas" not in row
    assert not caplog.records
    people.visibility[:, 1] = 0
    (row,) = score_networks(found, people, nobody, SKELETON, VIEW, EVALUATION).values()
    assert np.isnan(row["PCK"]) and row["error_px"] == pytest.approx(0, abs=1e-3)
    assert "of no validation person are both a and b labeled" in caplog.text


@pytest.mark.parametrize("protocol", ["aic", "pckh"])
def test_every_headline_of_another_protocol_reaches_table_curve_and_tracking(people, protocol):
    """From the scores of a source with AI Challenger's, or with MPII's, protocol."""
    points = np.repeat(people.keypoints[:, :1], 16, axis=1)
    people = replace(people, keypoints=points, visibility=np.full((N, 16), 2),
                     head_sizes=np.full(N, 20.0))  # fmt: skip
    skeleton = replace(MPII, sigmas=(0.1,) * 16)
    config = EvaluationConfig.model_validate({"protocol": protocol})
    found = {**whose(people), "deployed": "student"}
    for name in ("teacher_a", "student"):
        found |= {f"{name}.keypoints": in_view(people), f"{name}.scores": torch.ones(N, 16)}
    nobody = people.take(slice(0))
    scores = score_networks(found, people, nobody, skeleton, VIEW, config)
    headlines = {"aic": "AIC_AP", "pckh": "PCKh"}[protocol], "error_px"
    for name in headlines:
        tracked = {point.name for point in score_points(scores, "student", 5)}
        assert {f"final/{name}", f"final/teacher_a/{name}", f"final/student/{name}"} <= tracked
        curves = learning_curves({"a": pd.DataFrame({"step": [1], f"student/{name}": [0.5]})})
        assert [ax.get_ylabel() for ax in curves.axes] == [f"validation {name}"]
    numbers = {name: {key: value for key, value in row.items() if isinstance(value, float)}
               for name, row in scores.items()}  # fmt: skip
    table = comparison_table(numbers, reference="teacher_a")
    headers = [str(column.header).replace("\n", " ") for column in table.columns]
    assert headers[1] == headlines[0].replace("_", " ") and "error px" in headers


def test_pseudo_labels_are_judged_where_the_truth_is_known(people):
    """Teacher A right, teacher B far off; the keypoint c of people 2 and 3 is not labeled."""
    people.visibility[2:, 2] = 0
    a, b = in_view(people), in_view(people, 40)
    kept = torch.tensor([[1, 1, 0]] * N, dtype=torch.uint8)
    keypoints = torch.where(kept[..., None].bool(), a, b)
    stored = (
        {"keypoints": torch.stack([a, b])}, {"keypoints": keypoints, "kept": kept},
        {"keypoints": torch.stack([a, a])}, {"keypoints": a, "kept": torch.ones_like(kept)},
    )  # fmt: skip
    stored = tuple({**whose(people), **tensors} for tensors in stored)
    rows = score_pseudo_labels(people, SKELETON, VIEW, EVALUATION, *stored)
    assert rows[0] == pytest.approx({
        "round": 1, "teacher_a": 1, "teacher_b": 0, "mean": 0, "corrected": 8 / 10,
        "kept_corrected": 1, "kept_mean": 0, "rejected": 0, "kept": 8 / 10,
    })  # fmt: skip
    assert rows[1]["round"] == 2 and rows[1]["corrected"] == 1 and rows[1]["kept"] == 1
    assert np.isnan(rows[1]["rejected"])


def test_rows_of_other_people_are_not_scored(people):
    others = replace(people, ids=people.ids + 1)
    a = in_view(people)
    found = {**whose(others), "keypoints": torch.stack([a, a])}
    corrected = {**whose(people), "keypoints": a, "kept": torch.ones(N, 3)}
    message = rf"pseudo-labels of round 1: .*{N} of {N} rows are of others.*--pipelines rounds"
    with pytest.raises(BadInput, match=message):
        score_pseudo_labels(people, SKELETON, VIEW, EVALUATION, found, corrected)
    predictions = {**whose(others), "student.keypoints": a, "student.scores": torch.ones(N, 3)}
    tables = (people, people.take(slice(0)), SKELETON, VIEW, EVALUATION)
    with pytest.raises(BadInput, match=rf"validation people: .*{N} of {N} rows.*evaluation"):
        score_networks(predictions, *tables)
    with pytest.raises(BadInput, match=r"ignored people: must be of the same ingestion"):
        nobody = replace(people.take(slice(0)), unit="another")
        score_networks({**predictions, **whose(people)}, people, nobody, *tables[2:])


def test_a_checkpoint_is_evaluated_on_people_of_its_own_ingestion(people):
    """Those of another may be people whom it learned from."""
    network = NetworkConfig.model_validate(SMALL)
    record = as_record({"stage": "round_1", "network": network.model_dump(),
                        "view": VIEW.model_dump(), "skeleton": SKELETON.to_dict()})  # fmt: skip
    checkpoint = {"record": record, "unit": "another", "deployed": "student"}
    rest = (SKELETON, VIEW, network, EVALUATION, MachineConfig(device="cpu"))
    with pytest.raises(BadInput, match=r"^validation people: must be of the ingestion whose"):
        predict_validation(checkpoint, people, *rest)
    view = VIEW.model_copy(update={"border": 3})
    with pytest.raises(BadInput, match=r"^checkpoint of round_1: .*view.border was"):
        predict_validation(checkpoint, people, SKELETON, view, *rest[2:])


@pytest.mark.parametrize("padding", [1.0, 1.25, None])
def test_an_exported_model_cuts_people_as_it_was_trained(people, tmp_path, padding):
    """Predicting with the file gives what evaluation saw; a file of before (None) means 1.25."""
    rng = np.random.default_rng(4)
    for i in range(N):
        pixels = rng.integers(0, 256, (300, 500, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
    people = replace(people, paths=np.array([str(tmp_path / f"{i}.png") for i in range(N)], object))
    network = NetworkConfig.model_validate(SMALL)
    view = VIEW.model_copy(update={"padding": padding or 1.25})
    record = as_record({"stage": "round_1", "network": network.model_dump(),
                        "view": view.model_dump(), "skeleton": SKELETON.to_dict()})  # fmt: skip
    config = MethodConfig.model_validate({"kind": "supervised"})
    maker = network_maker(network, SKELETON.size, 0)
    learner = Learner(config, maker, view.codec, TrainingConfig(), torch.device("cpu"))
    checkpoint = learner.state({"record": record, "unit": people.unit, "fingerprint": "a"})
    machine, protocol = MachineConfig(device="cpu"), EvaluationConfig(flip_test=False)
    seen = predict_validation(checkpoint, people, SKELETON, view, network, protocol, machine)

    saved = TrainedModel.from_checkpoint(checkpoint, SKELETON, view, network).to_tensors()
    if padding is None:
        own = json.loads(saved["view"])
        assert own.pop("padding") == 1.25
        saved["view"] = json.dumps(own)
    model = TrainedModel.from_tensors(saved, "model")
    found = predict_people(model, people, protocol, machine)
    written = write_keypoints(found, people, model, PredictionConfig(images=tmp_path), protocol)
    points = np.array([p["keypoints"] for p in written["annotations"]]).reshape(N, 3, 3)[..., :2]
    centers = people.boxes[:, None, :2] + [45, 60]
    scale = (padding or 1.25) * 90 / 48
    expected = (seen["student.keypoints"].numpy() - [24, 32]) * scale + centers
    np.testing.assert_allclose(points, expected, atol=0.02)


def test_unknown_truth_gives_no_rows(people):
    blank = replace(people, visibility=np.zeros_like(people.visibility))
    found = {**whose(blank), "keypoints": torch.zeros(2, N, 3, 2)}
    corrected = {**whose(blank), "keypoints": torch.zeros(N, 3, 2), "kept": torch.ones(N, 3)}
    assert score_pseudo_labels(blank, SKELETON, VIEW, EVALUATION, found, corrected) == []


def test_all_numbers_come_together():
    networks = {name: {"AP": 0.5, "PCK_per_keypoint": {"a": 0.3}}
                for name in ("student", "teacher_b", "teacher_a")}  # fmt: skip
    rounds = [{"round": 1, "mean": 0.25, "rejected": 0.1}]
    metrics = collect(networks, {"baseline": {"AP": 0.1}}, rounds, {"ships": "student"})
    assert list(metrics) == [*NETWORKS, "choice", "pseudo_labels"]
    assert metrics["choice"] == {"ships": "student"}
    assert metrics["student"] == {"AP": 0.5, "PCK_per_keypoint": {"a": 0.3}}
    assert metrics["baseline"] == {"AP": 0.1}
    assert metrics["pseudo_labels"] == {"round_1": {"mean": 0.25, "rejected": 0.1}}
    teachers = {name: networks[name] for name in ("teacher_b", "teacher_a")}
    named = collect(teachers, {"pose_dual": {"AP": 0.1}}, [], {})
    assert list(named) == ["pose_dual", "teacher_a", "teacher_b", "choice", "pseudo_labels"]


SMALL = {"kind": "small_baseline", "width": 16}
LARGE = {"kind": "hrnet", "width": 8, "modules": [1, 1, 1], "blocks": 1}


@pytest.mark.parametrize(
    "record",
    [
        SMALL,
        {"kind": "teacher_student", "teacher": LARGE, "student": SMALL},
        {"kind": "teacher_student", "teacher": SMALL, "teacher_b": LARGE, "student": SMALL},
    ],
)
def test_a_network_is_stored_with_all_that_is_needed_to_use_it(record):
    network = NetworkConfig.model_validate(record)
    method = MethodConfig.model_validate({"kind": "sspcm", "snapshot_every": 1})
    learner = Learner(
        method, network_maker(network, 3, 0), VIEW.codec, TrainingConfig(), torch.device("cpu")
    )
    checkpoint = learner.state({"fingerprint": "abc"})
    stored = TrainedModel.from_checkpoint(checkpoint, SKELETON, VIEW, network).to_tensors()
    expected = learner.method.networks["student"].state_dict()
    assert set(stored) == {*expected, "skeleton", "network", "view", "flip_test"}
    assert all(torch.equal(stored[key], value) for key, value in expected.items())
    assert Skeleton.from_dict(json.loads(stored["skeleton"])) == SKELETON
    assert NetworkConfig.model_validate_json(stored["network"]).model_dump() == {
        **SMALL,
        "blocks": 1,
    }
    assert ViewConfig.model_validate_json(stored["view"]) == VIEW


def test_a_stored_student_names_no_file_that_it_started_from(tmp_path):
    path = tmp_path / "resnet18.pth"
    torch.save(torchvision.models.resnet18(weights=None).state_dict(), path)
    network = NetworkConfig.model_validate({"kind": "simple_baseline", "weights": str(path)})
    method = MethodConfig.model_validate({"kind": "supervised"})
    learner = Learner(
        method, network_maker(network, 3, 0), VIEW.codec, TrainingConfig(), torch.device("cpu")
    )
    checkpoint = learner.state({"fingerprint": "abc"})
    stored = TrainedModel.from_checkpoint(checkpoint, SKELETON, VIEW, network).to_tensors()
    again = NetworkConfig.model_validate_json(stored["network"])
    assert again == NetworkConfig.model_validate({"kind": "simple_baseline"})


@pytest.mark.parametrize("average_decay", [None, 0.5])
@pytest.mark.parametrize("better", ["student", "baseline"])
def test_the_better_network_is_exported_and_says_why(people, better, average_decay):
    """Its weights to the bit; where averages are kept, they are what was compared."""
    stored = {}
    for name in ("student", "baseline"):
        shift = 0 if name == better else 12.1  # 12 are tolerated
        points = {f"{name}.keypoints": in_view(people, shift), f"{name}.scores": torch.ones(N, 3)}
        teacher = {"teacher_a.keypoints": in_view(people), "teacher_a.scores": torch.ones(N, 3)}
        last = {f"{name}_last.keypoints": in_view(people), f"{name}_last.scores": torch.ones(N, 3)}
        stored[name] = {**whose(people), **points, **teacher, **last, "deployed": name}
    nobody = people.take(slice(0))
    pair = (stored["student"], stored["baseline"])
    choice = choose_network(*pair, people, nobody, SKELETON, VIEW, EVALUATION, 3)
    assert choice["ships"] == better and choice["metric"] == "AP" and choice["people"] == N
    assert choice["value" if better == "student" else "comparison_value"] == pytest.approx(1)
    assert choice["doubt"] == "Not to be trusted: these are fewer than 50 people."

    network = NetworkConfig.model_validate(SMALL)
    training = TrainingConfig(average_decay=average_decay)
    checkpoints, expected = {}, {}
    for seed, (name, kind) in enumerate((("student", "sspcm"), ("baseline", "supervised"))):
        every = {"snapshot_every": 1} if kind == "sspcm" else {}
        method = MethodConfig.model_validate({"kind": kind, **every})
        learner = Learner(
            method, network_maker(network, 3, seed), VIEW.codec, training, torch.device("cpu")
        )
        with torch.no_grad():  # the averages are not what the weights are now
            for parameter in learner.method.networks.parameters():
                parameter.add_(1)
        checkpoints[name] = learner.state({"fingerprint": "abc"})
        averages = learner.method.networks if average_decay is None else learner.method.averages
        expected[name] = averages["student"].state_dict()
    unmirrored = EVALUATION.model_copy(update={"flip_test": False})
    both = [measure_deployed(own, people, SKELETON, VIEW, unmirrored) for own in pair]
    (measured,) = (own for own in both if own["network"] == better)
    assert measured["people"] == N and measured["labels"] == 3 * N
    assert measured["right"] == 1  # the other's are not
    of_both = (checkpoints["student"], checkpoints["baseline"], choice)
    model = export(*of_both, *both, SKELETON, VIEW, network, unmirrored)
    tensors = model.to_tensors()
    assert model.confidence is not None
    assert model.confidence.to_dict() == json.loads(tensors["confidence"]) == measured["confidence"]
    assert model.confidence.tolerance == EVALUATION.pck_threshold
    assert model.confidence.unit == "torso" and model.confidence.flip_test is False
    weights = {key: value for key, value in tensors.items() if isinstance(value, torch.Tensor)}
    assert weights.keys() == expected[better].keys()
    assert all(torch.equal(weights[key], value) for key, value in expected[better].items())
    assert json.loads(tensors["choice"]) == choice
    again = TrainedModel.from_tensors(tensors, "model")
    assert again.choice == choice
    del tensors["choice"]  # a file of before
    assert TrainedModel.from_tensors(tensors, "model").choice == {}
    blank = replace(people, visibility=np.zeros_like(people.visibility))
    assert measure_deployed(pair[0], blank, SKELETON, VIEW, unmirrored) == {}
    mirrored = EVALUATION.model_copy(update={"flip_test": True})
    model = export(*of_both, {}, {}, SKELETON, VIEW, network, mirrored)
    again = TrainedModel.from_tensors(model.to_tensors(), "model")
    assert (again.confidence, again.flip_test) == (None, True)


def test_predictions_of_other_people_choose_nothing(people):
    others = whose(replace(people, ids=people.ids + 1))
    points = {"student.keypoints": in_view(people), "student.scores": torch.ones(N, 3)}
    own = {**whose(people), **points, "deployed": "student"}
    tables = (people, people.take(slice(0)), SKELETON, VIEW, EVALUATION, 0)
    for pair in (({**own, **others}, own), (own, {**own, **others})):
        with pytest.raises(BadInput, match=rf"validation people: .*{N} of {N} rows"):
            choose_network(*pair, *tables)


def test_probabilities_are_measured_on_held_out_and_on_unlabeled_people(people):
    """One unit is the longer side of the box; keypoint b of everybody is 0.3 units off."""
    bare = replace(SKELETON, torso=None)
    method = MethodConfig.model_validate({"kind": "many_view", "tolerance": 0.25})
    sides = (people.boxes[:, 2:] - people.boxes[:, :2]).max(axis=1)
    shifted = replace(people, keypoints=people.keypoints.copy())
    shifted.keypoints[:, 1, 0] += 0.3 * sides
    probability = torch.tensor([[0.9, 0.2, 0.7]]).expand(N, 3)
    corrected = {**whose(people), "keypoints": in_view(shifted), "probability": probability}
    report = {"calibration": {"labels": 4}}
    found = measure_probabilities(people, bare, VIEW, method, corrected, report)
    assert found["tolerance"] == 0.25 and found["held_out"] == {"labels": 4}
    assert found["unlabeled"]["labels"] == 3 * N
    assert found["unlabeled"]["right"] == pytest.approx(2 / 3)
    assert found["unlabeled"]["brier"] == pytest.approx((0.1**2 + 0.2**2 + 0.3**2) / 3, abs=1e-6)
    assert [row["right"] for row in found["unlabeled"]["bins"]] == [0, 1, 1]
    errors = [row["error"] for row in found["unlabeled"]["bins"]]
    assert errors == pytest.approx([0.3, 0, 0], abs=1e-3)
    labels = found | {"held_out": found["unlabeled"]}
    choice = Choice(None, "student", "baseline", *[None] * 6, 0, 0, 0, "student", False, "", "")
    figure = draw_reliability(labels, {"choice": choice.to_dict()}, {}, {}, bare)
    assert [ax.get_ylabel() for ax in figure.axes] == [
        "share right (within 0.25 box)", "median error (box)"
    ]  # fmt: skip

    blank = replace(people, visibility=np.zeros_like(people.visibility))
    assert set(measure_probabilities(blank, bare, VIEW, method, corrected, report)) == {
        "tolerance", "held_out"
    }  # fmt: skip
    assert measure_probabilities(people, bare, VIEW, method, corrected, {}) == {}
    with pytest.raises(BadInput, match=r"corrected labels of the last round: .*rows are of others"):
        other = replace(people, ids=people.ids + 1)
        measure_probabilities(other, bare, VIEW, method, corrected, report)
