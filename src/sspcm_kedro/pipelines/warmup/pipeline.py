"""The wiring of warm-up."""

from kedro.pipeline import Node, Pipeline

from sspcm_kedro.pipelines.warmup.nodes import warm_up

SETTINGS = {
    name: f"params:{name}"
    for name in ("seed", "view", "network", "method", "training", "monitor", "machine")
}


def create_pipeline() -> Pipeline:
    """Labels to supervised networks, as many as the method has."""
    return Pipeline(
        [
            Node(
                warm_up,
                {
                    "labeled": "labeled",
                    "validation": "validation",
                    "skeleton": "skeleton",
                    "resume": "resume_warmup",
                    **SETTINGS,
                },
                {"checkpoint": "warmup_checkpoint", "history": "warmup_history"},
                name="warmup",
                tags=["training", "gpu"],
            )
        ]
    )
