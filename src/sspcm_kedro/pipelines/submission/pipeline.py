"""The wiring of submission."""

from kedro.pipeline import Node, Pipeline

from sspcm_kedro.engine.export import TrainedModel
from sspcm_kedro.pipelines import by_name
from sspcm_kedro.pipelines.submission.nodes import predict_test, submit_coco, submit_mpii

TRAINED = {"student": "round_{}_checkpoint", "comparison": "comparison_checkpoint"}
"""Networks that are exported for a submission, and the checkpoints that they are in."""


def create_pipeline(rounds: int, kind: str, network: str) -> Pipeline:
    """Test people and a network to the file of one server.

    Args:
        rounds: ``training.rounds``: the last one has trained the student.
        kind: ``submission.kind``, whose file is written.
        network: ``submission.network``, "shipped", "student" or "comparison".
    """
    model = f"{network}_network" if network in TRAINED else "trained_model"
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
    if network in TRAINED:
        checkpoint = TRAINED[network].format(rounds)
        trained = by_name("skeleton", "params:view", "params:network", checkpoint=checkpoint)
        nodes.append(Node(TrainedModel.from_checkpoint, trained, model, name=f"export_{network}"))
    return Pipeline(nodes)
