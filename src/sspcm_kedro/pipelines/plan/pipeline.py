"""The wiring of the plan."""

from kedro.pipeline import Node, Pipeline

from sspcm_kedro.pipelines import by_name
from sspcm_kedro.pipelines.plan.nodes import count_cost, show_plan


def create_pipeline() -> Pipeline:
    """Settings alone to the cost of a run, stored and shown."""
    inputs = by_name(
        "params:source", "params:split", "params:view", "params:network", "params:method",
        "params:comparison", "params:training", "params:evaluation", "params:monitor",
        "params:machine", "params:plan",
    )  # fmt: skip
    count = Node(count_cost, inputs, "plan", name="count_cost")
    return Pipeline([count, Node(show_plan, "plan", None, name="show_plan")])
