"""A trained network on a CPU in onnxruntime: the same heatmaps as torch's, sooner."""

import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from io import BytesIO
from typing import Any

import numpy as np
import onnxruntime
import torch
from jaxtyping import Float
from torch import Tensor, nn

from sspcm_kedro.engine.export import TrainedModel
from sspcm_kedro.engine.portable import OPSET
from sspcm_kedro.errors import BadInput


class RuntimeNetwork(nn.Module):
    """Normalized images (b, 3, H, W) to heatmaps (b, k, h, w) on the CPU; cannot be trained.

    It uses as many threads as torch does when it is made: each computes a part of the batch by
    itself, which is quicker than all of them sharing each operation. Fewer people than threads are
    shared so. Threads without work sleep: others decode.

    Args:
        network: in eval mode, on the CPU.
        input_hw: of its images, in pixels.

    Raises:
        BadInput: the network has an operation that does not export.
    """

    def __init__(self, network: nn.Module, input_hw: tuple[int, int]) -> None:
        super().__init__()
        written, example = BytesIO(), torch.zeros(2, 3, *input_hw)
        dynamic = {"images": {0: "people"}, "heatmaps": {0: "people"}}
        try:
            with torch.no_grad(), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of what is constant in the graph
                torch.onnx.export(
                    network, (example,), written,  # pyright: ignore[reportArgumentType]
                    dynamo=False, opset_version=OPSET, input_names=["images"],
                    output_names=["heatmaps"], dynamic_axes=dynamic,
                )  # fmt: skip
        except (RuntimeError, torch.onnx.errors.OnnxExporterError) as error:
            rule = f"the network must export, but {str(error).partition(chr(10))[0]}"
            remedy = "Set prediction.runtime=torch"
            raise BadInput("prediction.runtime onnxruntime", rule, remedy) from error
        self.threads = torch.get_num_threads()
        self._sharing = _session(written.getvalue(), self.threads)
        self._alone = _session(written.getvalue(), 1) if self.threads > 1 else self._sharing
        self._pool = ThreadPoolExecutor(self.threads, thread_name_prefix="onnxruntime")

    def forward(self, images: Float[Tensor, "b 3 H W"]) -> Float[Tensor, "b k h w"]:
        pixels = images.contiguous().numpy()
        if len(pixels) < self.threads:
            return torch.from_numpy(_run(self._sharing, pixels))
        parts = np.array_split(pixels, self.threads)
        found = list(self._pool.map(partial(_run, self._alone), parts))
        return torch.from_numpy(np.concatenate(found))


def _session(content: bytes, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def _run(session: onnxruntime.InferenceSession, pixels: np.ndarray) -> np.ndarray:
    found: Any = session.run(None, {"images": pixels})
    return found[0]


def use_runtime(model: TrainedModel, device: torch.device) -> TrainedModel:
    """The model with its network in onnxruntime where the device is the CPU, else as it is.

    Heatmaps are torch's but for rounding. To begin takes a second, which pays from about a hundred
    people on.

    Raises:
        BadInput: the network does not export.
    """
    if device.type != "cpu":
        return model
    network = RuntimeNetwork(model.network.cpu().eval(), model.view.input_hw)
    return replace(model, network=network.eval())
