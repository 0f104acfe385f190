"""How likely a pseudo-label is right, learned from labeled people whom no teacher learns from."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from sspcm_kedro.data.instances import Instances
from sspcm_kedro.engine.predict import to_image
from sspcm_kedro.errors import BadInput
from sspcm_kedro.pose.geometry import CropFrame
from sspcm_kedro.pose.metrics import pck_reference
from sspcm_kedro.pose.skeleton import Skeleton

SMALL = 0.005
"""Added to distances before their logarithm, in diagonals: what is closer is equally close."""
FOLDS = 5
AT_ONCE = 50_000
"""People whose features are in memory together: these take eight times as much as their scores."""
BINS = 10


def features(corrected: Mapping[str, Tensor]) -> np.ndarray:
    """What tells right labels from wrong ones, (n, k, 4).

    The score and its logarithm, and the logarithms of the pair's inconsistency and of the spread
    over views.

    Args:
        corrected: ``score``, ``inconsistency`` and ``spread`` (n, k), as ``correct`` gives.
    """
    score = corrected["score"].double().numpy().clip(1e-3)
    apart = [corrected[key].double().numpy() + SMALL for key in ("inconsistency", "spread")]
    return np.stack([score, np.log(score), *map(np.log, apart)], axis=-1)


def label_errors(
    keypoints: Tensor, people: Instances, skeleton: Skeleton, frame: CropFrame
) -> np.ndarray:
    """How far labels lie from the truth (n, k), in PCK units; nan where that is not known.

    Args:
        keypoints: the labels (n, k, 2), in canonical input pixels.
        people: those people with the truth.
        skeleton: gives the PCK unit.
        frame: the crops that the labels are of.
    """
    unit = pck_reference(people.keypoints, people.visibility, people.boxes, skeleton.torso)
    distance = np.linalg.norm(to_image(keypoints, people, frame) - people.keypoints, axis=2)
    known = (people.visibility > 0) & (unit > 0)[:, None]  # nan > 0 is False
    return np.divide(distance, unit[:, None], out=np.full(distance.shape, np.nan), where=known)


class Calibration:
    """Probabilities of labels, from their features (Platt scaling; Platt, 1999).

    One more right and one more wrong label, both of middling features, are added to those it is
    fitted on: a handful of labels that all are right do not make every label certain.

    Args:
        features: of the labels it is fitted on, (m, f).
        right: which of them are right, (m).
    """

    def __init__(self, features: np.ndarray, right: np.ndarray) -> None:
        self.model = _model().fit(*_with_doubt(features, right))

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """The probabilities (...) of labels with features (..., f)."""
        flat = features.reshape(-1, features.shape[-1])
        return self.model.predict_proba(flat)[:, 1].reshape(features.shape[:-1])

    def line(self) -> tuple[list[float], float]:
        """The weights (f) of features and what is added: the logarithm of a label's odds."""
        parts: Any = self.model
        scaler, logistic = parts[0], parts[1]
        weights = logistic.coef_[0] / scaler.scale_
        return weights.tolist(), float(logistic.intercept_[0] - weights @ scaler.mean_)

    def of(self, corrected: Mapping[str, Tensor]) -> np.ndarray:
        """The probabilities (n, k) of labels as ``correct`` gives them, for ``AT_ONCE`` people at a
        time."""
        read = ("score", "inconsistency", "spread")
        parts = (
            {key: corrected[key][start : start + AT_ONCE] for key in read}
            for start in range(0, max(1, len(corrected["score"])), AT_ONCE)
        )
        return np.concatenate([self(features(part)) for part in parts])


def check_measurable(people: Instances, skeleton: Skeleton) -> None:
    """Refuse held-out people on whom no pseudo-label can be measured.

    Raises:
        BadInput: fewer than two have labels and a PCK unit.
    """
    unit = pck_reference(people.keypoints, people.visibility, people.boxes, skeleton.torso)
    count = int(((people.visibility > 0).any(axis=1) & (unit > 0)).sum())  # nan > 0 is False
    if count < 2:
        rule = "at least two must have labels (and the two keypoints of the PCK unit, where it is "
        rule += f"the torso) to measure pseudo-labels on; of {len(people)}, {count} do"
        remedy = (
            "Label more people (four at least), raise method.held_out, or choose another method"
        )
        raise BadInput("held-out labeled people", rule, remedy)


def calibrate(
    corrected: Mapping[str, Tensor],
    people: Instances,
    skeleton: Skeleton,
    frame: CropFrame,
    tolerance: float,
) -> tuple[Calibration, dict[str, Any]]:
    """The model, and how true probabilities are, each by a model that has not seen its person.

    Args:
        corrected: labels of people whom no labeler learned from, as ``correct`` gives.
        people: they, with the truth.
        skeleton: gives the PCK unit.
        frame: the crops that the labels are of.
        tolerance: of right labels, as a share of the PCK unit.

    Raises:
        BadInput: of fewer than two people the truth is known.
    """
    check_measurable(people, skeleton)
    errors = label_errors(corrected["keypoints"], people, skeleton, frame)
    known = np.isfinite(errors)
    groups = np.nonzero(known)[0]
    of_known, right = features(corrected)[known], errors[known] <= tolerance
    honest = cross_probabilities(of_known, right, groups)
    report = reliability(honest, errors[known], tolerance)
    return Calibration(of_known, right), {"people": len(people), **report}


def cross_probabilities(features: np.ndarray, right: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """The probability (m) of each label, by a model that is fitted without its person.

    Args:
        features: (m, f).
        right: (m).
        groups: (m) whose label it is; at least two people.
    """
    from sklearn.model_selection import GroupKFold  # noqa: PLC0415 - slow, and few commands need it

    folds = min(FOLDS, len(np.unique(groups)))
    found = np.empty(len(right))
    for train, test in GroupKFold(folds).split(features, right, groups):
        found[test] = Calibration(features[train], right[train])(features[test])
    return found


def reliability(probability: np.ndarray, errors: np.ndarray, tolerance: float) -> dict[str, Any]:
    """How well probabilities (m) say which labels are right.

    Args:
        probability: of labels.
        errors: their distances from the truth (m), in PCK units.
        tolerance: the error up to which a label is right.

    Returns:
        ``labels``, their number; ``right``, the share; ``brier``, the mean squared error of the
        probabilities; ``bins``, ten equal ranges of probability that hold labels: the mean
        ``probability``, the share ``right``, the median ``error`` and the number of ``labels``.
    """
    right = errors <= tolerance
    place = np.minimum((probability * BINS).astype(int), BINS - 1)
    bins = [
        {"probability": float(probability[there].mean()), "right": float(right[there].mean()),
         "error": float(np.median(errors[there])), "labels": int(there.sum())}
        for there in (place == number for number in range(BINS)) if there.any()
    ]  # fmt: skip
    brier = float(((probability - right) ** 2).mean())
    return {"labels": len(right), "right": float(right.mean()), "brier": brier, "bins": bins}


def _model() -> Any:
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415
    from sklearn.pipeline import make_pipeline  # noqa: PLC0415
    from sklearn.preprocessing import StandardScaler  # noqa: PLC0415

    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))


def _with_doubt(features: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    middling = features.mean(axis=0, keepdims=True)
    return np.concatenate([features, middling, middling]), np.append(right, [True, False])
