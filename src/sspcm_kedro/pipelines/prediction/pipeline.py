"""The wiring of prediction."""

from kedro.pipeline import Node, Pipeline

from sspcm_kedro.pipelines import by_name
from sspcm_kedro.pipelines.prediction.nodes import (
    draw_predictions,
    find_people,
    predict_people,
    write_keypoints,
)


def create_pipeline() -> Pipeline:
    """A folder of images and the trained model to a COCO file and a sheet."""
    inputs = {"model": "trained_model", "people": "prediction_instances"}
    predicted = {**inputs, "predictions": "prediction_keypoints", "config": "params:prediction"}
    machine, evaluation = by_name("params:machine"), by_name("params:evaluation")
    return Pipeline([
        Node(find_people, "params:prediction", "prediction_instances", name="find_people"),
        Node(predict_people, inputs | machine | evaluation, "prediction_keypoints",
             name="predict_people"),
        Node(write_keypoints, predicted | evaluation, "predicted_keypoints",
             name="write_keypoints"),
        Node(draw_predictions, predicted | machine, "prediction_overlays", name="draw_overlays"),
    ])  # fmt: skip
