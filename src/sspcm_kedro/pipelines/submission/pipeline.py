"""The wiring of submission."""

from kedro.pipeline import Node, Pipeline

from sspcm_kedro.engine.export import TrainedModel
from sspcm_kedro.pipelines import by_name
from sspcm_kedro.pipelines.submission.nodes import predict_test, submit_coco, submit_mpii


def create_pipeline(kind: str, network: str) -> Pipeline:
    """Test people and a network to the file of one server.

    Args:
        kind: ``submission.kind``, whose file is written.
        network: ``submission.network``, "student" or "comparison".
    """
    model = "comparison_network" if network == "comparison" else network
    inputs = by_name("instances", "params:submission", model=model)
    predicted = {**inputs, "predictions": "test_predictions"}
    evaluation = by_name("params:evaluation")
    nodes = [
        Node(predict_test, inputs | evaluation | by_name("params:machine"), "test_predictions",
             name="predict_test", tags="gpu"),
        Node(submit_mpii, predicted, "mpii_submission", name="submit_mpii")
        if kind == "mpii"
        else Node(submit_coco, predicted | evaluation, "coco_submission", name="submit_coco"),
    ]  # fmt: skip
    if network == "comparison":
        trained = by_name(
            "skeleton", "params:view", "params:network", checkpoint="comparison_checkpoint"
        )
        nodes.append(Node(TrainedModel.from_checkpoint, trained, model, name="export_comparison"))
    return Pipeline(nodes)
