"""The wiring of the comparison."""

from kedro.pipeline import Node, Pipeline

from sspcm_kedro.pipelines import by_name, crop_cache
from sspcm_kedro.pipelines.comparison.nodes import train_comparison


def create_pipeline(cached: bool = False) -> Pipeline:
    """People to the checkpoint of one method; from stored crops if ``cached``."""
    inputs = by_name(
        "labeled", "unlabeled", "validation", "skeleton", "params:seed", "params:view",
        "params:network", "params:comparison", "params:training", "params:monitor",
        "params:machine", *crop_cache(cached), resume="resume_comparison",
    )  # fmt: skip
    outputs = {"checkpoint": "comparison_checkpoint", "history": "comparison_history"}
    tags = ["training", "gpu"]
    return Pipeline([Node(train_comparison, inputs, outputs, name="training", tags=tags)])
