"""The wiring of prediction."""

from kedro.pipeline import Node, Pipeline

from sspcm_kedro.pipelines import by_name
from sspcm_kedro.pipelines.prediction.nodes import (
    draw_predictions,
    export_keypoints,
    find_people,
    predict_people,
    write_keypoints,
)
from sspcm_kedro.pipelines.prediction.videos import draw_videos, export_videos, predict_videos


def create_pipeline(of_videos: bool = False) -> Pipeline:
    """The trained model and images to a COCO file and a sheet; or videos to tables and videos."""
    machine, evaluation = by_name("params:machine"), by_name("params:evaluation")
    if of_videos:
        asked = {"model": "trained_model", "config": "params:prediction"}
        return Pipeline([
            Node(predict_videos, asked | machine | evaluation, "predicted_videos",
                 name="predict_videos"),
            Node(export_videos, asked | {"tables": "predicted_videos"}, "prediction_exports",
                 name="export_videos"),
            Node(draw_videos, asked | {"tables": "predicted_videos"}, "labeled_videos",
                 name="draw_videos"),
        ])  # fmt: skip
    inputs = {"model": "trained_model", "people": "prediction_instances"}
    predicted = {**inputs, "predictions": "prediction_keypoints", "config": "params:prediction"}
    return Pipeline([
        Node(find_people, {"config": "params:prediction"} | machine, "prediction_instances",
             name="find_people"),
        Node(predict_people, inputs | machine | evaluation, "prediction_keypoints",
             name="predict_people", tags="gpu"),
        Node(write_keypoints, predicted | evaluation, "predicted_keypoints",
             name="write_keypoints"),
        Node(export_keypoints, predicted | evaluation, "prediction_exports",
             name="export_keypoints"),
        Node(draw_predictions, predicted | machine, "prediction_overlays", name="draw_overlays"),
    ])  # fmt: skip
