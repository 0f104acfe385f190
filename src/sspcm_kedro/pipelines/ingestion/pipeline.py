"""The wiring of ingestion."""

from kedro.pipeline import Node, Pipeline

from sspcm_kedro.pipelines.ingestion.nodes import draw_people, read_people, split_people


def create_pipeline(drawn: bool) -> Pipeline:
    """Source to split; a drawn source is drawn first.

    Args:
        drawn: whether ``source`` is of kind "drawn".
    """
    draw = Node(draw_people, ["params:source", "params:seed"], "drawn_folder", name="draw")
    inputs = ["params:source", "drawn_folder"] if drawn else ["params:source"]
    read = Node(read_people, inputs, ["instances", "skeleton"], name="read")
    split = Node(
        split_people,
        ["instances", "skeleton", "params:split", "params:annotation_import", "params:seed"],
        ["labeled", "unlabeled", "validation", "hidden_truth", "ignored"],
        name="split",
    )
    return Pipeline([draw, read, split] if drawn else [read, split], tags="people")
