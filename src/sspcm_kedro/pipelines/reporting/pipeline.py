"""The wiring of reporting."""

from kedro.pipeline import Node, Pipeline

from sspcm_kedro.pipelines.reporting.nodes import (
    draw_curves,
    draw_keypoints,
    draw_predictions,
    draw_pseudo_labels,
    draw_quality,
    report,
)

PEOPLE = {"skeleton": "skeleton", "view": "params:view", "machine": "params:machine"}


def create_pipeline(rounds: int) -> Pipeline:
    """Histories, labels, predictions and metrics to images and a page."""
    last = f"round_{rounds}"
    stages = ["warmup_history", *(f"round_{n}_history" for n in range(1, rounds + 1))]
    figures = {
        "learning_curves": "learning_curves",
        "predictions": "prediction_sheet",
        "per_keypoint": "per_keypoint_pck",
        "pseudo_labels": "pseudo_label_sheet",
        "pseudo_label_quality": "pseudo_label_quality",
    }
    return Pipeline(
        [
            Node(
                draw_curves,
                ["comparison_scores", "comparison_history", *stages],
                "learning_curves",
                name="draw_curves",
            ),
            Node(
                draw_pseudo_labels,
                {"predictions": f"{last}_predictions", "corrected": f"{last}_corrected",
                 "unlabeled": "unlabeled", "hidden_truth": "hidden_truth", **PEOPLE},
                "pseudo_label_sheet",
                name="draw_pseudo_labels",
            ),
            Node(
                draw_predictions,
                {"predictions": "validation_predictions", "comparison": "comparison_predictions",
                 "validation": "validation", **PEOPLE},
                "prediction_sheet",
                name="draw_predictions",
            ),
            Node(draw_keypoints, "metrics", "per_keypoint_pck", name="draw_keypoints"),
            Node(draw_quality, "pseudo_label_scores", "pseudo_label_quality", name="draw_quality"),
            Node(
                report,
                {"metrics": "metrics", "comparison": "comparison_scores",
                 "published": "params:published", **figures},
                "report",
                name="report",
            ),
        ],
        tags="figures",
    )  # fmt: skip
