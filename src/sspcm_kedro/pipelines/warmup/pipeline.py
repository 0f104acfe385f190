"""The wiring of warm-up."""

from kedro.pipeline import Node, Pipeline

from sspcm_kedro.pipelines import by_name, crop_cache
from sspcm_kedro.pipelines.warmup.nodes import warm_up


def create_pipeline(cached: bool = False) -> Pipeline:
    """Labels to supervised networks, as many as the method has; from stored crops if ``cached``."""
    inputs = by_name(
        "labeled", "validation", "skeleton", "params:seed", "params:view", "params:network",
        "params:method", "params:training", "params:monitor", "params:machine",
        *crop_cache(cached), resume="resume_warmup",
    )  # fmt: skip
    outputs = {"checkpoint": "warmup_checkpoint", "history": "warmup_history"}
    return Pipeline([Node(warm_up, inputs, outputs, name="training", tags=["training", "gpu"])])
