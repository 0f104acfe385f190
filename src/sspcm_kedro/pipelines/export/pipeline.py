"""The wiring of export."""

from kedro.pipeline import Node, Pipeline

from sspcm_kedro.pipelines import by_name
from sspcm_kedro.pipelines.export.nodes import export_onnx


def create_pipeline() -> Pipeline:
    """The trained model to an ONNX file."""
    inputs = by_name("params:evaluation", model="trained_model")
    return Pipeline([Node(export_onnx, inputs, "onnx_model", name="export_onnx")])
