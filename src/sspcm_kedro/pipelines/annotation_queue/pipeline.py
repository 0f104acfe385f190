"""The wiring of the annotation queue."""

from kedro.pipeline import Node, Pipeline

from sspcm_kedro.pipelines import by_name
from sspcm_kedro.pipelines.annotation_queue.nodes import select_people


def create_pipeline(rounds: int) -> Pipeline:
    """Corrected labels of the last round to a folder for annotators, and a contact sheet."""
    inputs = by_name(
        "labeled", "unlabeled", "skeleton", "params:view", "params:machine",
        corrected=f"round_{rounds}_corrected", config="params:annotation_queue",
    )  # fmt: skip
    outputs = ["annotation_queue", "annotation_queue_sheet"]
    return Pipeline([Node(select_people, inputs, outputs, name="select_people")])
