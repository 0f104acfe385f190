"""The wiring of evaluation."""

from kedro.pipeline import Node, Pipeline

from sspcm_kedro.engine.export import TrainedModel
from sspcm_kedro.pipelines.evaluation.nodes import (
    collect,
    predict_comparison,
    predict_validation,
    score_networks,
    score_pseudo_labels,
)


def _settings(*names: str) -> dict[str, str]:
    return {name: f"params:{name}" for name in names}


def create_comparison_pipeline() -> Pipeline:
    """The comparison's checkpoint to its scores: a part of evaluation that also runs alone.

    Pipeline ``comparison`` ends with it; evaluation scores all networks alike.
    """
    return Pipeline([
        Node(
            predict_comparison,
            {"checkpoint": "comparison_checkpoint", "validation": "validation",
             "skeleton": "skeleton", **_settings("view", "network", "evaluation", "machine")},
            "comparison_predictions",
            name="predict_comparison",
            tags=["evaluation", "gpu"],
        ),
        Node(
            score_networks,
            {"predictions": "comparison_predictions", "validation": "validation",
             "ignored": "ignored", "skeleton": "skeleton",
             **_settings("view", "evaluation")},
            "comparison_scores",
            name="score_comparison",
            tags="evaluation",
        ),
    ])  # fmt: skip


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
            *create_comparison_pipeline().nodes,
            Node(
                TrainedModel.from_checkpoint,
                {"checkpoint": last, "skeleton": "skeleton", **_settings("view", "network")},
                "student",
                name="export_student",
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
                ["network_scores", "comparison_scores", "pseudo_label_scores"],
                "metrics",
                name="collect",
            ),
        ],
        tags="evaluation",
    )  # fmt: skip
