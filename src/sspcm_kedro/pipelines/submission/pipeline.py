"""The wiring of submission."""

from kedro.pipeline import Node, Pipeline

from sspcm_kedro.engine.export import export_model
from sspcm_kedro.pipelines.submission.nodes import predict_test, submit_coco, submit_mpii


def create_pipeline(kind: str, network: str) -> Pipeline:
    """Test people and a network to the file of one server.

    Args:
        kind: ``submission.kind``, whose file is written.
        network: ``submission.network``, "student" or "comparison".
    """
    settings = {name: f"params:{name}" for name in ("submission", "evaluation")}
    network = "comparison_network" if network == "comparison" else network
    inputs = {"network": network, "instances": "instances", **settings}
    nodes = [
        Node(
            predict_test, {**inputs, "machine": "params:machine"}, "test_predictions",
            name="predict_test", tags="gpu",
        ),
    ]  # fmt: skip
    seen = {"seen": "test_predictions", **inputs}
    if kind == "mpii":
        del seen["evaluation"]
        nodes.append(Node(submit_mpii, seen, "mpii_submission", name="submit_mpii"))
    else:
        nodes.append(Node(submit_coco, seen, "coco_submission", name="submit_coco"))
    if network == "comparison_network":
        of_baseline = {"checkpoint": "comparison_checkpoint", "skeleton": "skeleton",
                       "view": "params:view", "network": "params:network"}  # fmt: skip
        nodes.append(Node(export_model, of_baseline, network, name="export_comparison"))
    return Pipeline(nodes)
