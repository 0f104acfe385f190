"""The wiring of evaluation."""

from kedro.pipeline import Node, Pipeline

from sspcm_kedro.pipelines import by_name
from sspcm_kedro.pipelines.evaluation.labels import measure_probabilities, score_pseudo_labels
from sspcm_kedro.pipelines.evaluation.nodes import (
    choose_network,
    collect,
    export,
    measure_deployed,
    predict_comparison,
    predict_validation,
    score_networks,
)

NETWORK = by_name("skeleton", "params:view", "params:network")
PREDICT = NETWORK | by_name("validation", "params:evaluation", "params:machine")
MEASURE = by_name("validation", "skeleton", "params:view", "params:evaluation")
SCORE = MEASURE | by_name("ignored")


def create_comparison_pipeline() -> Pipeline:
    """The comparison's checkpoint to its scores: a part of evaluation that also runs alone.

    Pipeline ``comparison`` ends with it; evaluation scores all networks alike.
    """
    return Pipeline([
        Node(predict_comparison, {**PREDICT, "checkpoint": "comparison_checkpoint"},
             "comparison_predictions", name="predict", tags=["evaluation", "gpu"]),
        Node(score_networks, {**SCORE, "predictions": "comparison_predictions"},
             "comparison_scores", name="score", tags="evaluation"),
        Node(measure_deployed, {**MEASURE, "predictions": "comparison_predictions"},
             "comparison_reliability", name="measure", tags="evaluation"),
    ])  # fmt: skip


def create_pipeline(rounds: int) -> Pipeline:
    """Checkpoints to predictions, numbers and the network that is shipped.

    It reads what ``create_comparison_pipeline`` makes.
    """
    last = {"checkpoint": f"round_{rounds}_checkpoint"}
    labels = [f"round_{number}_{name}" for number in range(1, rounds + 1)
              for name in ("predictions", "corrected")]  # fmt: skip
    return Pipeline([
        Node(predict_validation, PREDICT | last, "validation_predictions",
             name="predict_validation", tags="gpu"),
        Node(score_networks, {**SCORE, "predictions": "validation_predictions"},
             "network_scores", name="score_networks"),
        Node(choose_network,
             SCORE | by_name("params:seed", predictions="validation_predictions",
                             comparison="comparison_predictions"),
             "choice", name="choose_network"),
        Node(measure_deployed, {**MEASURE, "predictions": "validation_predictions"},
             "network_reliability", name="measure_network"),
        Node(export,
             NETWORK | last | by_name("choice", "comparison_reliability", "params:evaluation",
                                      comparison="comparison_checkpoint",
                                      reliability="network_reliability"),
             "trained_model", name="export"),
        Node(score_pseudo_labels,
             ["hidden_truth", "skeleton", "params:view", "params:evaluation", *labels],
             "pseudo_label_scores", name="score_pseudo_labels"),
        Node(measure_probabilities,
             by_name("hidden_truth", "skeleton", "params:view", "params:method",
                     corrected=f"round_{rounds}_corrected",
                     report=f"round_{rounds}_correction_report"),
             "label_reliability", name="measure_probabilities"),
        Node(collect, ["network_scores", "comparison_scores", "pseudo_label_scores",
                       "choice"], "metrics", name="collect"),
    ], tags="evaluation")  # fmt: skip
