"""Frames a second over a video: in batches as prediction does it, and one by one.

    python benchmarks/frames.py VIDEO --model data/06_models/trained_model.safetensors

Both decode, cut and predict the same frames in one process, in turns; the best counts. One by
one is what a loop over frames does: decode, cut, a batch of one, with no thread beside it.
"""

import argparse
import sys
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from sspcm_kedro.data.crops import cut_people
from sspcm_kedro.data.video_stream import VideoFrame, stream_video
from sspcm_kedro.data.views import normalize
from sspcm_kedro.datasets.trained_model import TrainedModelDataset
from sspcm_kedro.engine.boxes import whole_box, whole_frames
from sspcm_kedro.engine.export import TrainedModel
from sspcm_kedro.engine.frames import BATCH
from sspcm_kedro.engine.predict import from_crops, locate
from sspcm_kedro.engine.video import predict_boxed


def one_by_one(
    model: TrainedModel, frames: Iterable[VideoFrame], flip: bool, device: torch.device
) -> Iterator[np.ndarray]:
    """The keypoints of frame after frame, nothing ahead."""
    network = model.network.to(device).eval()
    for frame in frames:
        box, view = whole_box(frame.image), model.view
        crop = cut_people(Image.fromarray(frame.image), box, view.frame, view.border)
        image = normalize(crop.to(device).float() / 255)
        keypoints, _ = locate(network, image, model.skeleton, view.codec, flip_test=flip)
        yield from_crops(keypoints.cpu(), box, view.frame)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("video", type=Path)
    parser.add_argument("--model", required=True)
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--batch", type=int, default=BATCH)
    parser.add_argument("--flip", action="store_true")
    given = parser.parse_args()
    model = TrainedModelDataset(given.model).load()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    best = {"one by one": 0.0, "batches": 0.0}
    found: dict[str, np.ndarray] = {}
    for _ in range(given.repeats):
        for name in ("one by one", "batches"):
            frames = islice(stream_video(given.video), given.frames)
            start = time.perf_counter()
            if name == "batches":
                pairs = predict_boxed(model, whole_frames(frames), flip_test=given.flip,
                                      device=device, batch=given.batch)  # fmt: skip
                points = np.concatenate([keypoints.keypoints for _, keypoints in pairs])
            else:
                points = np.concatenate(list(one_by_one(model, frames, given.flip, device)))
            best[name] = max(best[name], len(points) / (time.perf_counter() - start))
            found[name] = points
    apart = float(np.abs(found["batches"] - found["one by one"]).max())
    for name, rate in best.items():
        sys.stdout.write(f"{name}: {rate:.1f} frames/s\n")
    ratio = best["batches"] / best["one by one"]
    sys.stdout.write(f"ratio {ratio:.2f} on {device}, {torch.get_num_threads()} threads\n")
    sys.stdout.write(f"keypoints at most {apart:.3g} px apart\n")


if __name__ == "__main__":
    main()
