"""How likely the shipped network's keypoints are right: fitted, stored, and told wherever scores
are."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.special import expit, logit

import sspcm_kedro
from sspcm_kedro.data.instances import Instances
from sspcm_kedro.data.views import ViewConfig
from sspcm_kedro.datasets.trained_model import TrainedModelDataset
from sspcm_kedro.engine.confidence import Confidence, measure_confidence
from sspcm_kedro.engine.export import TrainedModel
from sspcm_kedro.engine.frames import predict_frames
from sspcm_kedro.engine.portable import about
from sspcm_kedro.errors import BadInput
from sspcm_kedro.nets import NetworkConfig
from sspcm_kedro.pose.geometry import CropFrame
from sspcm_kedro.pose.skeleton import Skeleton
from sspcm_kedro.serving import ServedModel

SKELETON = Skeleton(names=("nose", "left_eye", "right_eye"), flip_pairs=((1, 2),))
FRAME, CPU = CropFrame((40, 60), padding=1.0), torch.device("cpu")
RULE = {"tolerance": 0.1, "flip_test": False}


def guesses(n: int, seed: int = 0) -> tuple[Instances, torch.Tensor, torch.Tensor, np.ndarray]:
    """People whose boxes are the frame; predictions of them, their scores, and whether each is
    right: 3 or 30 pixels off, with odds of which the logarithm is 4 log(score) + 3."""
    rng = np.random.default_rng(seed)
    truth = rng.uniform([5, 5], [55, 35], (n, 3, 2)).astype(np.float32)
    scores = rng.uniform(0.1, 1.0, (n, 3))
    right = rng.uniform(size=(n, 3)) < expit(4 * np.log(scores) + 3)
    found = truth + np.stack([np.where(right, 3.0, 30.0), np.zeros((n, 3))], axis=-1)
    people = Instances(
        ids=np.arange(n), image_ids=np.arange(n), paths=np.array([f"{i}.png" for i in range(n)]),
        image_hw=np.full((n, 2), 60), boxes=np.tile(np.float32([0, 0, 60, 40]), (n, 1)),
        areas=np.ones(n, np.float32), box_scores=np.ones(n, np.float32), keypoints=truth,
        visibility=np.full((n, 3), 2),
    )  # fmt: skip
    return people, torch.from_numpy(found).float(), torch.from_numpy(scores).float(), right


def test_the_curve_is_the_one_that_made_the_data_and_its_reliability_is_honest():
    people, found, scores, right = guesses(4000)
    measured = measure_confidence(found, scores, people, SKELETON, FRAME, **RULE)
    assert measured is not None
    confidence, report = measured
    assert (confidence.slope, confidence.offset) == pytest.approx((4, 3), abs=0.2)
    assert (confidence.tolerance, confidence.unit, confidence.flip_test) == (0.1, "box", False)
    true = expit(4 * np.log(scores.numpy()) + 3)
    np.testing.assert_allclose(confidence(scores.numpy()), true, atol=0.02)
    assert report["people"] == 4000 and report["labels"] == 12000
    assert report["right"] == pytest.approx(right.mean())
    best = (true * (1 - true)).mean()  # what is left where probabilities are exact
    assert report["brier"] == pytest.approx(best, abs=0.01)
    for row in report["bins"]:
        assert row["right"] == pytest.approx(row["probability"], abs=0.05)


def test_it_is_the_textbook_s_penalized_fit():
    """Against a general optimizer, with one right and one wrong keypoint of middling score more."""
    people, found, scores, right = guesses(20, seed=1)
    measured = measure_confidence(found, scores, people, SKELETON, FRAME, **RULE)
    assert measured is not None
    x = np.log(scores.double().numpy().ravel())
    doubted = np.append(x, [x.mean()] * 2)
    z, sign = (doubted - doubted.mean()) / doubted.std(), np.append(right, [1, 0]) * 2.0 - 1

    def objective(w: np.ndarray) -> float:
        return 0.5 * w[1] ** 2 + np.log1p(np.exp(-sign * (w[0] + z * w[1]))).sum()

    best = minimize(objective, np.zeros(2), tol=1e-10).x
    wanted = expit(best[0] + best[1] * (x - doubted.mean()) / doubted.std())
    np.testing.assert_allclose(measured[0](scores.numpy()).ravel(), wanted, atol=2e-4)


def test_what_is_not_labeled_does_not_count_and_one_person_is_too_few():
    people, found, scores, _ = guesses(6)
    people.visibility[:, 0] = 0
    measured = measure_confidence(found, scores, people, SKELETON, FRAME, **RULE)
    assert measured is not None and measured[1]["labels"] == 12
    people.visibility[1:] = 0
    assert measure_confidence(found, scores, people, SKELETON, FRAME, **RULE) is None


def test_probabilities_rise_with_scores_from_the_lowest_on():
    told = Confidence(2.0, 1.0, 0.1, "box", False)(np.array([[0.0, 1e-3, 0.5, 1.0]]))
    assert told.dtype == np.float32 and told[0, 0] == told[0, 1]
    np.testing.assert_allclose(logit(told[0, 2:].astype(float)), [2 * np.log(0.5) + 1, 1], 1e-5)


def model_of(confidence: Confidence | None) -> TrainedModel:
    torch.manual_seed(0)
    config = NetworkConfig.model_validate({"kind": "small_baseline"}).bare()
    mirrored = confidence is not None and confidence.flip_test
    network = config.build(3).eval()
    return TrainedModel(network, config, SKELETON, ViewConfig(), {}, confidence, mirrored)


def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (90, 70, 3), np.uint8)


@pytest.mark.parametrize("mirrored", [False, True])
def test_library_and_server_tell_it_for_the_scores_that_it_is_of(tmp_path, mirrored):
    """Those with the other kind of view are no probabilities: nan, and nothing from the server."""
    confidence = Confidence(1.5, 0.5, 0.2, "box", mirrored)
    file = tmp_path / "trained_model.safetensors"
    TrainedModelDataset(filepath=str(file)).save(model_of(confidence))
    model = sspcm_kedro.load(file, device="cpu")
    assert model.confidence == confidence and model.flip_test is mirrored  # as it was measured
    found = model.predict(image())
    np.testing.assert_allclose(found.probabilities, confidence(found.scores))
    assert found.probabilities.shape == (1, 3) and (0 < found.probabilities).all()
    other = sspcm_kedro.load(file, device="cpu", flip_test=not mirrored).predict(image())
    assert np.isnan(other.probabilities).all() and np.isfinite(other.scores).all()

    for flip_test in (mirrored, not mirrored):
        (frame,) = predict_frames(
            model.trained, [(image(), found.boxes)], flip_test=flip_test, device=CPU
        )
        served = ServedModel(model.trained, flip_test)
        keypoints = served._person(np.zeros(4), *(part[0] for part in frame))["keypoints"]
        assert [p["name"] for p in keypoints] == list(SKELETON.names)
        told = [p.get("probability") for p in keypoints]
        wanted = found.probabilities[0].tolist() if flip_test == mirrored else [None] * 3
        assert told == pytest.approx(wanted) if flip_test == mirrored else told == wanted
        metadata = about(model.trained, flip_test)
        assert ("confidence" in metadata) == (flip_test == mirrored)
        if flip_test == mirrored:
            assert json.loads(metadata["confidence"]) == confidence.to_dict()


def test_a_model_without_it_tells_nothing_and_a_damaged_one_is_refused():
    bare = model_of(None)
    assert "confidence" not in bare.to_tensors() and "confidence" not in about(bare, False)
    again = TrainedModel.from_tensors(bare.to_tensors(), "model")
    assert again.confidence is None
    assert np.isnan(again.probabilities(np.ones((2, 3)), flip_test=False)).all()
    damaged = {**bare.to_tensors(), "confidence": '{"slope": 1}'}
    with pytest.raises(BadInput, match="model: must hold weights with their skeleton"):
        TrainedModel.from_tensors(damaged, "model")
    sure = replace(bare, confidence=Confidence(1, 0, 0.1, "box", False))
    assert TrainedModel.from_tensors(sure.to_tensors(), "model").confidence == sure.confidence
    before = model_of(Confidence(1, 0, 0.1, "box", True)).to_tensors()
    del before["flip_test"]  # a file of before: as its confidence was measured
    assert TrainedModel.from_tensors(before, "model").flip_test is True
