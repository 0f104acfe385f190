"""The wiring of prediction."""

from kedro.pipeline import Node, Pipeline

from sspcm_kedro.pipelines.prediction.nodes import (
    draw_predictions,
    find_people,
    predict_people,
    write_keypoints,
)

PREDICTED = {
    "predictions": "prediction_keypoints", "people": "prediction_instances", "model": "student",
}  # fmt: skip


def create_pipeline() -> Pipeline:
    """A folder of images and the student to a COCO file and a sheet."""
    return Pipeline(
        [
            Node(find_people, "params:prediction", "prediction_instances", name="find_people"),
            Node(
                predict_people,
                {"model": "student", "people": "prediction_instances",
                 "evaluation": "params:evaluation", "machine": "params:machine"},
                "prediction_keypoints",
                name="predict_people",
            ),
            Node(
                write_keypoints,
                {**PREDICTED, "config": "params:prediction", "evaluation": "params:evaluation"},
                "predicted_keypoints",
                name="write_keypoints",
            ),
            Node(
                draw_predictions,
                {**PREDICTED, "config": "params:prediction", "machine": "params:machine"},
                "prediction_overlays",
                name="draw_overlays",
            ),
        ]
    )  # fmt: skip
