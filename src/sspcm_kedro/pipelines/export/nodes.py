"""From the trained model to a graph for other programs."""

import onnx

from sspcm_kedro.engine.evaluate import EvaluationConfig
from sspcm_kedro.engine.export import TrainedModel
from sspcm_kedro.engine.portable import to_onnx


def export_onnx(model: TrainedModel, evaluation: EvaluationConfig) -> onnx.ModelProto:
    """The trained model as an ONNX graph: an image and boxes in, keypoints and scores out.

    Args:
        model: the network that is shipped.
        evaluation: whether the mirrored view counts, too.

    Raises:
        BadInput: the mirrored view would count, and training has mirrored nobody.
    """
    return to_onnx(model, evaluation.averages_mirrored(model.view))
