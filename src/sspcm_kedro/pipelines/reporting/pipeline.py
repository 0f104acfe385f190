"""The wiring of reporting."""

from kedro.pipeline import Node, Pipeline

from sspcm_kedro.pipelines import by_name
from sspcm_kedro.pipelines.reporting.nodes import (
    draw_curves,
    draw_keypoints,
    draw_predictions,
    draw_pseudo_labels,
    draw_quality,
    draw_reliability,
)
from sspcm_kedro.pipelines.reporting.page import describe_run, report

PEOPLE = by_name("skeleton", "params:view", "params:machine")


def create_pipeline(rounds: int) -> Pipeline:
    """Histories, labels, predictions and metrics to images and a page."""
    stages = ["warmup_history", *(f"round_{n}_history" for n in range(1, rounds + 1))]
    labels = {name: f"round_{rounds}_{name}" for name in ("predictions", "corrected")}
    networks = {"predictions": "validation_predictions", "comparison": "comparison_predictions"}
    page = by_name(
        "metrics", "comparison_scores", "params:published", "run_record", "validation_predictions",
        "comparison_predictions", "validation", "learning_curves", "per_keypoint_pck",
        "pseudo_label_sheet", "pseudo_label_quality", "reliability_diagram",
    )  # fmt: skip
    people = ["labeled", "unlabeled", "validation", "skeleton"]
    return Pipeline([
        Node(draw_curves, ["params:method", "comparison_scores", "comparison_history", *stages],
             "learning_curves", name="draw_curves"),
        Node(draw_pseudo_labels, PEOPLE | labels | by_name("unlabeled", "hidden_truth"),
             "pseudo_label_sheet", name="draw_pseudo_labels"),
        Node(draw_predictions, PEOPLE | networks | by_name("validation"),
             "prediction_sheet", name="draw_predictions"),
        Node(draw_keypoints, "metrics", "per_keypoint_pck", name="draw_keypoints"),
        Node(draw_quality, ["pseudo_label_scores", "skeleton"], "pseudo_label_quality",
             name="draw_quality"),
        Node(draw_reliability,
             ["label_reliability", "metrics", "network_reliability", "comparison_reliability",
              "skeleton"],
             "reliability_diagram", name="draw_reliability"),
        Node(describe_run, ["metrics", *people, "comparison_history", *stages],
             "run_record", name="describe_run"),
        Node(report, PEOPLE | page, "report", name="report"),
    ], tags="figures")  # fmt: skip
