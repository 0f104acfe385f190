"""Images a second on a CPU, the ONNX file against torch, with 1 and 32 people an image.

Both crop, predict and decode. Medians of alternating calls in this process; the ratio is that of
the medians: python benchmarks/onnx_speed.py data/06_models/trained_model.safetensors
"""

import argparse
import time
from statistics import median

import numpy as np
import onnxruntime
import torch

from sspcm_kedro.engine.frames import predict_frames
from sspcm_kedro.engine.portable import to_onnx
from sspcm_kedro.library import load


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--calls", type=int, default=20)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = arguments.threads
    trained = load(arguments.model, device="cpu").trained
    graph = to_onnx(trained, False).SerializeToString()
    session = onnxruntime.InferenceSession(graph, options)
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (480, 640, 3), np.uint8)
    for people in (1, 32):
        start = rng.uniform(0, 300, (people, 2))
        boxes = np.concatenate([start, start + np.array([120, 170])], axis=1).astype(np.float32)
        ways = {
            "torch": lambda b=boxes: list(
                predict_frames(trained, [(image, b)], flip_test=False, device=torch.device("cpu"))
            ),
            "onnx": lambda b=boxes: session.run(None, {"image": image, "boxes": b}),
        }
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for call in range(arguments.calls + 2):
            for name, way in ways.items():
                begin = time.perf_counter()
                way()
                if call >= 2:  # the first ones plan
                    seconds[name].append(time.perf_counter() - begin)
        ours, theirs = median(seconds["onnx"]), median(seconds["torch"])
        print(  # noqa: T201
            f"{people} people: torch {1000 * theirs:.1f} ms, onnx {1000 * ours:.1f} ms, "
            f"ratio {theirs / ours:.2f}"
        )


if __name__ == "__main__":
    main()
