"""The wiring of reporting."""

from kedro.pipeline import Node, Pipeline

from sspcm_kedro.pipelines.reporting.nodes import (
    curves,
    draw_predictions,
    draw_pseudo_labels,
    joints_figure,
    quality_figure,
    report,
)

PEOPLE = {"skeleton": "skeleton", "view": "params:view", "machine": "params:machine"}


def create_pipeline(rounds: int) -> Pipeline:
    """Histories, labels, predictions and metrics to pictures and a page."""
    last = f"round_{rounds}"
    stages = ["warmup_history", *(f"round_{n}_history" for n in range(1, rounds + 1))]
    figures = {
        "learning_curves": "learning_curves",
        "predictions": "prediction_sheet",
        "per_joint": "per_joint_pck",
        "pseudo_labels": "pseudo_label_sheet",
        "pseudo_label_quality": "pseudo_label_quality",
    }
    return Pipeline(
        [
            Node(curves, ["baseline_history", *stages], "learning_curves", name="draw_curves"),
            Node(
                draw_pseudo_labels,
                {"predictions": f"{last}_predictions", "corrected": f"{last}_corrected",
                 "unlabelled": "unlabelled", "hidden_truth": "hidden_truth", **PEOPLE},
                "pseudo_label_sheet",
                name="draw_pseudo_labels",
            ),
            Node(
                draw_predictions,
                {"predictions": "validation_predictions", "baseline": "baseline_predictions",
                 "validation": "validation", **PEOPLE},
                "prediction_sheet",
                name="draw_predictions",
            ),
            Node(joints_figure, "metrics", "per_joint_pck", name="draw_joints"),
            Node(
                quality_figure, "pseudo_label_scores", "pseudo_label_quality", name="draw_quality"
            ),
            Node(
                report,
                {"metrics": "metrics", "published": "params:published", **figures},
                "report",
                name="report",
            ),
        ],
        tags="figures",
    )  # fmt: skip
