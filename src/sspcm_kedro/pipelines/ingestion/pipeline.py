"""The wiring of ingestion."""

from kedro.pipeline import Node, Pipeline

from sspcm_kedro.pipelines import by_name
from sspcm_kedro.pipelines.ingestion.nodes import (
    choose_frames,
    crops_to_store,
    draw_people,
    read_people,
    split_people,
)


def create_pipeline(drawn: bool = False, videos: bool = False, cached: bool = False) -> Pipeline:
    """Source to split; a drawn source is drawn first, and of videos frames are chosen.

    Args:
        drawn: whether ``source`` is of kind "drawn".
        videos: whether it is of a kind with videos (``has_videos``).
        cached: whether crops are stored.
    """
    made: list[Node] = []
    if drawn:
        made = [Node(draw_people, ["params:source", "params:seed"], "drawn_folder", name="draw")]
    elif videos:
        made = [Node(choose_frames, "params:source", "video_frames", name="choose_frames")]
    folder = {"made_folder": made[0].outputs[0]} if made else {}
    inputs = by_name("params:source", known="resume_images", **folder)
    read = Node(read_people, inputs, ["instances", "skeleton", "images"], name="read")
    split = Node(
        split_people,
        ["instances", "skeleton", "params:split", "params:annotation_import", "params:seed"],
        ["labeled", "unlabeled", "validation", "hidden_truth", "ignored"],
        name="split",
    )
    crops = Node(
        crops_to_store, ["labeled", "unlabeled", "params:view", "params:machine"], "crop_cache",
        name="store_crops",
    )  # fmt: skip
    return Pipeline([*made, read, split, *([crops] if cached else [])], tags="people")
