"""The wiring of submission."""

from kedro.pipeline import Node, Pipeline

from sspcm_kedro.pipelines.evaluation.nodes import finished
from sspcm_kedro.pipelines.submission.nodes import predict_test, submit_coco, submit_mpii


def create_pipeline(kind: str, network: str) -> Pipeline:
    """Test people and a network to the file of one server.

    Args:
        kind: ``submission.kind``, whose file is written.
        network: ``submission.network``, "student" or "baseline".
    """
    settings = {name: f"params:{name}" for name in ("submission", "evaluation")}
    network = "baseline_network" if network == "baseline" else network
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
    if network == "baseline_network":
        of_baseline = {"checkpoint": "baseline_checkpoint", "skeleton": "skeleton",
                       "view": "params:view", "network": "params:network"}  # fmt: skip
        nodes.append(Node(finished, of_baseline, network, name="finish_baseline"))
    return Pipeline(nodes)
