"""The wiring of submission."""

from kedro.pipeline import Node, Pipeline

from sspcm_kedro.engine.export import TrainedModel
from sspcm_kedro.pipelines.submission.nodes import predict_test, submit_coco, submit_mpii


def create_pipeline(kind: str, network: str) -> Pipeline:
    """Test people and a network to the file of one server.

    Args:
        kind: ``submission.kind``, whose file is written.
        network: ``submission.network``, "student" or "comparison".
    """
    settings = {name: f"params:{name}" for name in ("submission", "evaluation")}
    network = "comparison_network" if network == "comparison" else network
    inputs = {"model": network, "instances": "instances", **settings}
    nodes = [
        Node(
            predict_test, {**inputs, "machine": "params:machine"}, "test_predictions",
            name="predict_test", tags="gpu",
        ),
    ]  # fmt: skip
    predicted = {"predictions": "test_predictions", **inputs}
    if kind == "mpii":
        del predicted["evaluation"]
        nodes.append(Node(submit_mpii, predicted, "mpii_submission", name="submit_mpii"))
    else:
        nodes.append(Node(submit_coco, predicted, "coco_submission", name="submit_coco"))
    if network == "comparison_network":
        trained = {"checkpoint": "comparison_checkpoint", "skeleton": "skeleton",
                   "view": "params:view", "network": "params:network"}  # fmt: skip
        nodes.append(Node(TrainedModel.from_checkpoint, trained, network, name="export_comparison"))
    return Pipeline(nodes)
