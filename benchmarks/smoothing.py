"""What smoothing gains at the labeled frames of videos: errors of raw and of smoothed keypoints.

    python benchmarks/smoothing.py PROJECT --model data/06_models/trained_model.safetensors

PROJECT is a DeepLabCut project with a video whose labeled frames are in labeled-data/<its name>/,
each called by its number in the video (img0123.png), as DeepLabCut calls them. That the image is
that frame is checked by its pixels. A model that was trained on these labels is closer to them than
to other frames: name another model's project, or read both columns with that in mind.
"""

import argparse
import re
import sys
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from sspcm_kedro.data.image_file import read_rgb
from sspcm_kedro.data.video_stream import VideoFrame, stream_video
from sspcm_kedro.datasets.trained_model import TrainedModelDataset
from sspcm_kedro.engine.boxes import whole_frames
from sspcm_kedro.engine.frame_table import FrameTable
from sspcm_kedro.engine.runtime import use_runtime
from sspcm_kedro.engine.video import cells_of, collect, predict_boxed
from sspcm_kedro.errors import BadInput
from sspcm_kedro.sources.deeplabcut_labels import read_labels
from sspcm_kedro.sources.deeplabcut_project import read_project
from sspcm_kedro.sources.labeled import Labeled
from sspcm_kedro.sources.project import videos_in

ALIKE = 5.0
"""Mean difference in levels up to which a labeled image is a frame of the video."""


def labels_of(video: Path, labeled: list[Labeled]) -> dict[int, Labeled]:
    """The labels of a video's frames, by their number."""
    numbered = {}
    for one in labeled:
        number = re.fullmatch(r"\D*(\d+)", one.path.stem)
        if one.path.parent.name == video.stem and number:
            numbered[int(number[1])] = one
    return numbered


def check_frames(
    frames: Iterator[VideoFrame], labels: Mapping[int, Labeled]
) -> Iterator[VideoFrame]:
    """The same frames.

    Raises:
        BadInput: a labeled image is not the frame of its number.
    """
    for frame in frames:
        if frame.index in labels:
            path = labels[frame.index].path
            image = np.asarray(read_rgb(path), np.float32)
            apart = np.inf
            if image.shape == frame.image.shape:
                apart = float(np.abs(image - frame.image).mean())
            if apart > ALIKE:
                rule = (
                    f"must be frame {frame.index} of the video, and differs by {apart:.1f} levels"
                )
                raise BadInput(path, rule, "Leave the folder out, or bring the video it is of")
        yield frame


def errors_at(table: FrameTable, points: np.ndarray, labels: Mapping[int, Labeled]) -> np.ndarray:
    """(n, k) distances from the labels in image pixels, nan where nothing is labeled."""
    row_of = {int(number): row for row, number in enumerate(table.frames)}
    known = [number for number in labels if number in row_of]
    found = points[[row_of[number] for number in known]]
    return np.linalg.norm(found - np.stack([labels[number].points for number in known]), axis=2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("project", type=Path)
    parser.add_argument("--model", required=True)
    parser.add_argument("--threshold", type=float, default=0.2)
    parser.add_argument("--flip", action="store_true")
    given = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = use_runtime(TrainedModelDataset(given.model).load(), device)
    project = read_project(given.project)
    if project.bodyparts != model.skeleton.names:
        rule = f"must have the model's keypoints {model.skeleton.names}"
        raise BadInput(given.project, rule, "Give the model that was trained on such a project")
    labeled, _ = read_labels(project, project.scorer, one_an_image=True)
    raw, smoothed = [], []
    for video in videos_in(given.project / "videos"):
        if labels := labels_of(video, labeled):
            last = max(labels)
            frames = check_frames(islice(stream_video(video), last + 1 + AFTER), labels)
            found = predict_boxed(model, whole_frames(frames), flip_test=given.flip, device=device)
            table = collect(model, found, threshold=given.threshold, nms_threshold=1.0)
            smooth = table.smoothed(cells_of(table, model), given.threshold)
            raw.append(errors_at(table, table.keypoints, labels))
            smoothed.append(errors_at(smooth, smooth.keypoints, labels))
            sys.stdout.write(f"{video.name}: {len(raw[-1])} labeled frames of {table.count}\n")
    if not raw:
        rule = "must have a video whose labeled frames are in labeled-data/<its name>"
        raise BadInput(given.project, rule, "Label frames of a video that is there")
    before, after = np.concatenate(raw), np.concatenate(smoothed)
    for name, errors in {"raw": before, "smoothed": after}.items():
        each = ", ".join(
            f"{part} {error:.2f}"
            for part, error in zip(model.skeleton.names, np.nanmean(errors, axis=0), strict=True)
        )
        shown = f"mean {np.nanmean(errors):.3f} px, median {np.nanmedian(errors):.3f} px"
        sys.stdout.write(f"{name}: {shown} ({each})\n")
    gains = np.nanmean(before - after, axis=1)
    spread = gains.std(ddof=1) / np.sqrt(len(gains)) if len(gains) > 1 else np.nan
    sys.stdout.write(f"gain {gains.mean():.3f} ± {spread:.3f} px a frame ({len(gains)} frames)\n")


AFTER = 60
"""Frames beyond the last labeled one, which smoothing looks at."""


if __name__ == "__main__":
    main()
