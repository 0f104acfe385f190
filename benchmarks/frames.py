"""Frames a second over a video: as prediction does it, and frame by frame in PyAV and torch.

    python benchmarks/frames.py VIDEO --model data/06_models/trained_model.safetensors --flip

Both decode, cut and predict the same frames in one process, in turns; medians of the repeats and
of their ratios are shown, and the CPU time, which other work on the machine changes less. Frame by
frame is what somebody writes by hand around PyAV and torch: the same crop, a batch of one through
the plain network in inference mode, and with --flip the mirrored view after it.
"""

import argparse
import copy
import sys
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from statistics import median

import av
import numpy as np
import torch

from sspcm_kedro.data.crops import cut_people
from sspcm_kedro.data.video_stream import stream_video
from sspcm_kedro.data.views import normalize
from sspcm_kedro.datasets.trained_model import TrainedModelDataset
from sspcm_kedro.engine.boxes import whole_box, whole_frames
from sspcm_kedro.engine.export import TrainedModel
from sspcm_kedro.engine.frames import BATCH
from sspcm_kedro.engine.predict import from_crops, locate
from sspcm_kedro.engine.runtime import use_runtime
from sspcm_kedro.engine.video import predict_boxed


def frame_by_frame(
    model: TrainedModel, video: Path, count: int, flip: bool, device: torch.device
) -> Iterator[np.ndarray]:
    """The keypoints (1, k, 2) of frame after frame, in image pixels; nothing ahead."""
    network, view = model.network, model.view
    with av.open(str(video)) as container, torch.inference_mode():
        for frame in islice(container.decode(video=0), count):
            image = frame.to_image()
            box = whole_box(np.empty((image.height, image.width)))
            crop = cut_people(image, box, view.frame, view.border)
            seen = normalize(crop.to(device).float() / 255)
            keypoints, _ = locate(network, seen, model.skeleton, view.codec, flip_test=flip)
            yield from_crops(keypoints.cpu(), box, view.frame)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("video", type=Path)
    parser.add_argument("--model", required=True)
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--batch", type=int, default=BATCH)
    parser.add_argument("--runtime", choices=["onnxruntime", "torch"], default="onnxruntime")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--flip", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    loaded = TrainedModelDataset(given.model).load()
    plain = copy.deepcopy(loaded)
    plain.network.to(device).to(memory_format=torch.contiguous_format)
    begun = time.perf_counter()
    model = use_runtime(loaded, device) if given.runtime == "onnxruntime" else loaded
    prepared = time.perf_counter() - begun

    def prediction() -> Iterator[np.ndarray]:
        frames = islice(stream_video(given.video), given.frames)
        found = predict_boxed(
            model, whole_frames(frames), flip_test=given.flip, device=device, batch=given.batch
        )
        return (keypoints.keypoints for _, keypoints in found)

    ways: dict[str, Callable[[], Iterator[np.ndarray]]] = {
        "frame by frame": lambda: frame_by_frame(
            plain, given.video, given.frames, given.flip, device
        ),
        "prediction": prediction,
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    costs: dict[str, list[float]] = {name: [] for name in ways}
    found: dict[str, np.ndarray] = {}
    for _ in range(given.repeats):
        for name, way in ways.items():
            start, cpu = time.perf_counter(), time.process_time()
            found[name] = np.concatenate(list(way()))
            rates[name].append(len(found[name]) / (time.perf_counter() - start))
            costs[name].append((time.process_time() - cpu) / len(found[name]))
    for name, each in rates.items():
        cost = 1000 * median(costs[name])
        sys.stdout.write(f"{name}: {median(each):.1f} frames/s, {cost:.1f} ms of CPU a frame\n")
    ratios = [a / b for a, b in zip(rates["prediction"], rates["frame by frame"], strict=True)]
    shown = f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
    sys.stdout.write(f"ratio {shown} on {device}, {given.threads} threads, {given.runtime}\n")
    apart = np.abs(found["prediction"] - found["frame by frame"]).max()
    sys.stdout.write(f"keypoints at most {apart:.3g} px apart; {prepared:.1f} s to prepare\n")


if __name__ == "__main__":
    main()
