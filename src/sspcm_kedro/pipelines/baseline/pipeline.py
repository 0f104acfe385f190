"""The wiring of the baseline."""

from kedro.pipeline import Node, Pipeline

from sspcm_kedro.pipelines.baseline.nodes import train_baseline

INPUTS = ("labelled", "unlabelled", "validation", "skeleton")
SETTINGS = ("seed", "view", "network", "baseline", "training", "evaluation", "machine")


def create_pipeline() -> Pipeline:
    """People to the checkpoint of one method."""
    return Pipeline(
        [
            Node(
                train_baseline,
                {
                    **{name: name for name in INPUTS},
                    "resume": "resume_baseline",
                    **{name: f"params:{name}" for name in SETTINGS},
                },
                {"checkpoint": "baseline_checkpoint", "history": "baseline_history"},
                name="baseline",
            )
        ]
    )
