"""The wiring of stored crops, which are made with the people."""

from kedro.pipeline import Node, Pipeline

from sspcm_kedro.pipelines.crops.nodes import crops_to_store


def create_pipeline(cached: bool) -> Pipeline:
    """People to their crops; nothing, where none are stored."""
    node = Node(
        crops_to_store, ["labeled", "unlabeled", "params:view", "params:machine"], "crop_cache",
        name="store_crops",
    )  # fmt: skip
    return Pipeline([node] if cached else [], tags="people")
