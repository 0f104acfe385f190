"""The wiring of the plan."""

from kedro.pipeline import Node, Pipeline

from sspcm_kedro.pipelines.plan.nodes import count_cost, show_plan

SETTINGS = (
    "source", "split", "view", "network", "method", "comparison", "training", "evaluation",
    "monitor", "machine", "plan",
)  # fmt: skip


def create_pipeline() -> Pipeline:
    """Settings alone to the cost of a run, stored and shown."""
    return Pipeline(
        [
            Node(
                count_cost,
                {name: f"params:{name}" for name in SETTINGS},
                "plan",
                name="count_cost",
            ),
            Node(show_plan, "plan", None, name="show_plan"),
        ]
    )
