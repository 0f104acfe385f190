"""The wiring of the baseline."""

from kedro.pipeline import Node, Pipeline

from sspcm_kedro.pipelines.baseline.nodes import train_baseline
from sspcm_kedro.pipelines.evaluation.nodes import predict_baseline, score_networks

INPUTS = ("labelled", "unlabelled", "validation", "skeleton")
SETTINGS = ("seed", "view", "network", "baseline", "training", "evaluation", "machine")


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
            ),
            Node(
                predict_baseline,
                {
                    "checkpoint": "baseline_checkpoint",
                    "validation": "validation",
                    "skeleton": "skeleton",
                    **{n: f"params:{n}" for n in ("view", "network", "evaluation", "machine")},
                },
                "baseline_predictions",
                name="predict_baseline",
            ),
            Node(
                score_networks,
                {
                    "predictions": "baseline_predictions",
                    "validation": "validation",
                    "skeleton": "skeleton",
                    "view": "params:view",
                    "evaluation": "params:evaluation",
                },
                "baseline_scores",
                name="score_baseline",
            ),
        ]
    )
