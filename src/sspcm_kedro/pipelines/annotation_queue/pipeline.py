"""The wiring of the annotation queue."""

from kedro.pipeline import Node, Pipeline

from sspcm_kedro.pipelines.annotation_queue.nodes import select_people


def create_pipeline(rounds: int) -> Pipeline:
    """Corrected labels of the last round to a folder for annotators, and a contact sheet."""
    return Pipeline(
        [
            Node(
                select_people,
                {
                    "corrected": f"round_{rounds}_corrected",
                    "labeled": "labeled",
                    "unlabeled": "unlabeled",
                    "skeleton": "skeleton",
                    "view": "params:view",
                    "config": "params:annotation_queue",
                    "machine": "params:machine",
                },
                ["annotation_queue", "annotation_queue_sheet"],
                name="select_people",
            )
        ]
    )
