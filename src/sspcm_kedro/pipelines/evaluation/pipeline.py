"""The wiring of evaluation."""

from kedro.pipeline import Node, Pipeline

from sspcm_kedro.pipelines.evaluation.nodes import (
    collect,
    finished,
    predict_baseline,
    predict_validation,
    score_networks,
    score_pseudo_labels,
)


def _settings(*names: str) -> dict[str, str]:
    return {name: f"params:{name}" for name in names}


def scoring_of_baseline() -> list[Node]:
    """The baseline's checkpoint to its numbers; in this pipeline and in that of the baseline.

    There, a method is trained and scored without rounds; here, all networks are judged alike.
    """
    return [
        Node(
            predict_baseline,
            {"checkpoint": "baseline_checkpoint", "validation": "validation",
             "skeleton": "skeleton", **_settings("view", "network", "evaluation", "machine")},
            "baseline_predictions",
            name="predict_baseline",
            tags=["evaluation", "gpu"],
        ),
        Node(
            score_networks,
            {"predictions": "baseline_predictions", "validation": "validation",
             "ignored": "ignored", "skeleton": "skeleton",
             **_settings("view", "evaluation")},
            "baseline_scores",
            name="score_baseline",
            tags="evaluation",
        ),
    ]  # fmt: skip


def create_pipeline(rounds: int) -> Pipeline:
    """Checkpoints to the student's weights, predictions and numbers."""
    last = f"round_{rounds}_checkpoint"
    labels = [
        f"round_{number}_{name}"
        for number in range(1, rounds + 1)
        for name in ("predictions", "corrected")
    ]
    return Pipeline(
        [
            *scoring_of_baseline(),
            Node(
                finished,
                {"checkpoint": last, "skeleton": "skeleton", **_settings("view", "network")},
                "student",
                name="finish_student",
            ),
            Node(
                predict_validation,
                {"checkpoint": last, "validation": "validation",
                 "skeleton": "skeleton", **_settings("view", "network", "evaluation", "machine")},
                "validation_predictions",
                name="predict_validation",
                tags="gpu",
            ),
            Node(
                score_networks,
                {"predictions": "validation_predictions", "validation": "validation",
                 "ignored": "ignored", "skeleton": "skeleton",
                 **_settings("view", "evaluation")},
                "network_scores",
                name="score_networks",
            ),
            Node(
                score_pseudo_labels,
                ["hidden_truth", "skeleton", "params:view", "params:evaluation", *labels],
                "pseudo_label_scores",
                name="score_pseudo_labels",
            ),
            Node(
                collect,
                ["network_scores", "baseline_scores", "pseudo_label_scores"],
                "metrics",
                name="collect",
            ),
        ],
        tags="evaluation",
    )  # fmt: skip
