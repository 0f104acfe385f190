"""The wiring of the baseline."""

from kedro.pipeline import Node, Pipeline

from sspcm_kedro.pipelines.baseline.nodes import train_baseline
from sspcm_kedro.pipelines.evaluation.pipeline import scoring_of_baseline

INPUTS = ("labelled", "unlabelled", "validation", "skeleton")
SETTINGS = ("seed", "view", "network", "baseline", "training", "monitor", "machine")


def create_pipeline() -> Pipeline:
    """People to the checkpoint of one method, and its scores."""
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
                tags=["training", "gpu"],
            ),
            *scoring_of_baseline(),
        ]
    )
