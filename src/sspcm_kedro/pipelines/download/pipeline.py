"""The wiring of download."""

from kedro.pipeline import Node, Pipeline

from sspcm_kedro.pipelines.download.nodes import choose_parts


def create_pipeline() -> Pipeline:
    """The chosen parts to the catalog entry that fetches them."""
    return Pipeline([Node(choose_parts, "params:download", "download_report", name="download")])
