"""The wiring of the comparison."""

from kedro.pipeline import Node, Pipeline

from sspcm_kedro.pipelines.comparison.nodes import train_comparison

INPUTS = ("labeled", "unlabeled", "validation", "skeleton")
SETTINGS = ("seed", "view", "network", "comparison", "training", "monitor", "machine")


def create_pipeline() -> Pipeline:
    """People to the checkpoint of one method."""
    return Pipeline(
        [
            Node(
                train_comparison,
                {
                    **{name: name for name in INPUTS},
                    "resume": "resume_comparison",
                    **{name: f"params:{name}" for name in SETTINGS},
                },
                {"checkpoint": "comparison_checkpoint", "history": "comparison_history"},
                name="comparison",
                tags=["training", "gpu"],
            ),
        ]
    )
