"""From checkpoints and stored labels to numbers."""

import logging
import math
from typing import Any

from sspcm_kedro.data.instances import Instances
from sspcm_kedro.data.views import ViewConfig, crops_of
from sspcm_kedro.data.whose import check_people, check_unit, whose
from sspcm_kedro.engine.choice import BASELINE, Choice, Predicted, choose
from sspcm_kedro.engine.confidence import Confidence, measure_confidence
from sspcm_kedro.engine.evaluate import EvaluationConfig, evaluate
from sspcm_kedro.engine.export import TrainedModel
from sspcm_kedro.engine.learner import State, is_averaged, networks_of
from sspcm_kedro.engine.predict import predict
from sspcm_kedro.engine.record import check_network
from sspcm_kedro.errors import BadInput
from sspcm_kedro.machine import MachineConfig
from sspcm_kedro.nets import ROLES, NetworkConfig
from sspcm_kedro.pose.skeleton import Skeleton
from sspcm_kedro.seeds import Seed

logger = logging.getLogger(__name__)

LAST = "_last"
"""Ends the name of a network whose weights are those after the last step, not their average."""

STORED = "stored predictions for the validation people"
REMEDY = "Predict again: kedro run --pipelines evaluation"

Predictions = dict[str, Any]
"""Tensors by name, and texts."""


def predict_validation(
    checkpoint: State,
    validation: Instances,
    skeleton: Skeleton,
    view: ViewConfig,
    network: NetworkConfig,
    evaluation: EvaluationConfig,
    machine: MachineConfig,
) -> Predictions:
    """The predictions of every network of a checkpoint for the validation people.

    Returns:
        ``<network>.keypoints`` (n, k, 2) in canonical input pixels and ``<network>.scores`` (n, k);
        whose they are (``ids``, ``unit``); and which network is ``deployed``, as text. Where
        averages of weights predict, ``<deployed>_last`` are the weights after the last step.

    Raises:
        BadInput: the people are of another ingestion than those that the checkpoint learned from,
            who may be among them; or it is of another network, view or skeleton.
    """
    check_unit(skeleton.to_dict(), validation=validation)
    check_network(checkpoint, skeleton, view, network)
    if checkpoint["unit"] != validation.unit:
        rule = "must be of the ingestion whose people the checkpoint learned from, and is another"
        remedy = "Train with them: kedro run (what they leave as it was is not trained again)"
        raise BadInput("validation people", rule, remedy)
    flip_test = evaluation.averages_mirrored(view)
    crops = crops_of(validation, view, machine)
    predictions: Predictions = {"deployed": checkpoint["deployed"], **whose(validation)}
    networks = networks_of(checkpoint, network, skeleton.size, stride=view.stride)
    if is_averaged(checkpoint):
        name = checkpoint["deployed"]
        last = networks_of(checkpoint, network, skeleton.size, stride=view.stride, last=True)
        networks[f"{name}{LAST}"] = last[name]
    for name, net in networks.items():
        keypoints, scores = predict(
            net.to(machine.pick()), crops, skeleton, view.codec, flip_test=flip_test,
            device=machine.pick(), title=f"validation people, {name}",
        )  # fmt: skip
        predictions |= {f"{name}.keypoints": keypoints, f"{name}.scores": scores}
    return predictions


def comparison_name(kind: str) -> str:
    """What a comparison's network is called: ``baseline`` if labels alone have trained it, and else
    its method's kind."""
    return BASELINE if kind == "supervised" else kind


def predict_comparison(checkpoint: State, **others: Any) -> Predictions:
    """The predictions of the network that the comparison deploys, under the comparison's name."""
    name, deployed = comparison_name(checkpoint["kind"]), checkpoint["deployed"]
    predictions = predict_validation(checkpoint, **others)
    own = {
        f"{name}{part}.{key}": predictions[f"{deployed}{part}.{key}"]
        for part in ("", LAST)
        for key in ("keypoints", "scores")
        if f"{deployed}{part}.{key}" in predictions
    }
    return {**own, "deployed": name, "ids": predictions["ids"], "unit": predictions["unit"]}


def score_networks(
    predictions: Predictions,
    validation: Instances,
    ignored: Instances,
    skeleton: Skeleton,
    view: ViewConfig,
    evaluation: EvaluationConfig,
) -> dict[str, Any]:
    """For each network what ``evaluation.protocol`` counts, PCK and errors, and PCK a keypoint.

    Beside them stand what the numbers mean: ``PCK_unit``, and where OKS counts, the keypoints whose
    sigmas nobody has published (``unpublished_sigmas``).

    Args:
        predictions: of the networks for the validation people, as ``predict_validation`` gives.
        validation: their labels.
        ignored: people on the same images whom protocol ``coco`` ignores; may have no rows.
        skeleton: the keypoints of all.
        view: the frame of the predictions.
        evaluation: the protocol.

    Raises:
        BadInput: the predictions are of other people, or the tables of several ingestions.
    """
    check_unit(skeleton.to_dict(), validation=validation, ignored=ignored)
    check_people(predictions, validation, STORED, REMEDY)
    scores: dict[str, Any] = {}
    networks = [key.removesuffix(".keypoints") for key in predictions if key.endswith(".keypoints")]
    for name in networks:
        evaluated = evaluate(
            predictions[f"{name}.keypoints"], predictions[f"{name}.scores"], validation,
            view.frame, skeleton, evaluation, ignored,
        )  # fmt: skip
        hits = evaluated.pck.per_keypoint.tolist()
        per_keypoint = dict(zip(skeleton.evaluated.names, hits, strict=True))
        scores[name] = {
            **evaluated.scores, "PCK_unit": skeleton.pck_unit, "PCK_per_keypoint": per_keypoint,
        }  # fmt: skip
        if {"AP", "AIC_AP"} & set(evaluated.scores):
            scores[name]["unpublished_sigmas"] = list(skeleton.evaluated.unpublished_sigmas)
    if networks and math.isnan(scores[networks[0]]["PCK"]) and skeleton.torso:
        ends = " and ".join(skeleton.names[keypoint] for keypoint in skeleton.torso)
        logger.warning("PCK has no value: of no validation person are both %s labeled, which its "
                       "unit needs; source.torso may name two others", ends)  # fmt: skip
    return scores


def choose_network(
    predictions: Predictions,
    comparison: Predictions,
    validation: Instances,
    ignored: Instances,
    skeleton: Skeleton,
    view: ViewConfig,
    evaluation: EvaluationConfig,
    seed: Seed,
) -> dict[str, Any]:
    """Which of the networks that method and comparison deploy is shipped: a ``Choice``, as JSON.

    Args:
        predictions: of the method's networks for the validation people.
        comparison: of the comparison's.
        validation: their labels.
        ignored: people on the same images whom protocol ``coco`` ignores; may have no rows.
        skeleton: the keypoints of all.
        view: the frame of the predictions.
        evaluation: the protocol.
        seed: of the run.

    Raises:
        BadInput: the predictions are of other people, or the tables of several ingestions.
    """
    check_unit(skeleton.to_dict(), validation=validation, ignored=ignored)
    check_people(predictions, validation, STORED, REMEDY)
    check_people(comparison, validation, STORED, REMEDY)
    choice = choose(
        _deployed(predictions), _deployed(comparison), validation, ignored, view.frame,
        skeleton, evaluation, seed,
    )  # fmt: skip
    return choice.to_dict()


def _deployed(stored: Predictions) -> Predicted:
    """The predictions of the network that is deployed."""
    name = stored["deployed"]
    return Predicted(name, stored[f"{name}.keypoints"], stored[f"{name}.scores"])


def measure_deployed(
    predictions: Predictions,
    validation: Instances,
    skeleton: Skeleton,
    view: ViewConfig,
    evaluation: EvaluationConfig,
) -> dict[str, Any]:
    """How likely keypoints of the network that is deployed are right, by their scores.

    Args:
        predictions: of the networks for the validation people, as ``predict_validation`` gives.
        validation: their labels. They help to choose one of two networks, and nothing else.
        skeleton: the keypoints of all.
        view: the frame of the predictions.
        evaluation: its ``pck_threshold`` says what is right.

    Returns:
        The ``network``; ``confidence``, a ``Confidence`` as JSON; and how true its probabilities
        are, ``people`` and what ``calibration.reliability`` gives. Empty, and said, where too few
        people can be measured.

    Raises:
        BadInput: the predictions are of other people.
    """
    check_unit(skeleton.to_dict(), validation=validation)
    check_people(predictions, validation, STORED, REMEDY)
    name, keypoints, scores = _deployed(predictions)
    measured = measure_confidence(
        keypoints, scores, validation, skeleton, view.frame, tolerance=evaluation.pck_threshold,
        flip_test=evaluation.averages_mirrored(view),
    )  # fmt: skip
    if measured is None:
        logger.warning("How likely keypoints of the %s are right is not known: fewer than two "
                       "validation people can be measured in PCK's unit", name)  # fmt: skip
        return {}
    confidence, report = measured
    return {"network": name, "confidence": confidence.to_dict(), **report}


def export(
    checkpoint: State,
    comparison: State,
    choice: dict[str, Any],
    reliability: dict[str, Any],
    comparison_reliability: dict[str, Any],
    skeleton: Skeleton,
    view: ViewConfig,
    network: NetworkConfig,
    evaluation: EvaluationConfig,
) -> TrainedModel:
    """The network that is shipped, why, and how likely it is right.

    Args:
        checkpoint: of the method's last round.
        comparison: of the comparison.
        choice: between the networks that they deploy.
        reliability: what ``measure_deployed`` gives of the method's network.
        comparison_reliability: of the comparison's.
        skeleton: what both were trained on.
        view: how people were shown to them.
        network: the networks of the run.
        evaluation: how its predictions were read.
    """
    ships, measured = (
        (checkpoint, reliability)
        if Choice.from_dict(choice).ships_network
        else (comparison, comparison_reliability)
    )
    confidence = Confidence.in_report(measured)
    return TrainedModel.from_checkpoint(
        ships, skeleton, view, network, choice, confidence, evaluation.averages_mirrored(view)
    )


def collect(
    networks: dict[str, Any],
    comparison: dict[str, Any],
    rounds: list[dict[str, float]],
    choice: dict[str, Any],
) -> dict[str, Any]:
    """All numbers of a run: the comparison's, the networks', the choice between them, and those of
    the pseudo-labels."""
    order = [name + part for name in ROLES for part in ("", LAST) if name + part in networks]
    tables = {**comparison, **{name: networks[name] for name in order}}
    labels = {f"round_{row['round']}": {k: v for k, v in row.items() if k != "round"}
              for row in rounds}  # fmt: skip
    return {**tables, "choice": choice, "pseudo_labels": labels}
