"""What smoothing gains: errors of raw and of smoothed keypoints where a video's truth is known.

    python benchmarks/smoothing.py PROJECT --model data/06_models/trained_model.safetensors
    python benchmarks/smoothing.py --drawn 10 --model data/06_models/trained_model.safetensors

The second line is for a model of drawn people: they move from pose to pose, two seconds each, in so
many drawn videos, whose boxes are known, too, and every frame of which counts.

PROJECT is a DeepLabCut project with a video whose labeled frames are in labeled-data/<its name>/,
each called by its number in the video (img0123.png), as DeepLabCut calls them. That the image is
that frame is checked by its pixels. A model that was trained on these labels is closer to them than
to other frames: name another model's project, or read both columns with that in mind.
"""

import argparse
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from sspcm_kedro.data.image_file import read_rgb
from sspcm_kedro.data.video_stream import VideoFrame, stream_video
from sspcm_kedro.datasets.trained_model import TrainedModelDataset
from sspcm_kedro.drawn.backdrop import paint_backdrop
from sspcm_kedro.drawn.camera import sample_view
from sspcm_kedro.drawn.figure import paint_person
from sspcm_kedro.drawn.labels import label_person
from sspcm_kedro.drawn.looks import sample_look
from sspcm_kedro.drawn.photo import expose_photo, sample_light
from sspcm_kedro.drawn.poses import sample_angles
from sspcm_kedro.drawn.raster import Canvas
from sspcm_kedro.drawn.scene import place_figure
from sspcm_kedro.drawn.settings import DrawnSettings
from sspcm_kedro.drawn.skeleton3d import pose_skeleton, sample_build
from sspcm_kedro.engine.boxes import BoxedFrame, whole_frames
from sspcm_kedro.engine.export import TrainedModel
from sspcm_kedro.engine.frame_table import FrameTable
from sspcm_kedro.engine.runtime import use_runtime
from sspcm_kedro.engine.video import cells_of, collect, predict_boxed
from sspcm_kedro.errors import BadInput
from sspcm_kedro.sources.deeplabcut_labels import read_labels
from sspcm_kedro.sources.deeplabcut_project import read_project
from sspcm_kedro.sources.labeled import Labeled
from sspcm_kedro.sources.project import videos_in

AFTER = 60
"""Frames beyond the last labeled one, which smoothing looks at."""

POSE = 2.0
"""Seconds in which a drawn person goes from one pose to the next."""

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


def draw_moving(
    seed: int, seconds: float = 6.0, rate: int = 25
) -> Iterator[tuple[BoxedFrame, Labeled]]:
    """A drawn person on each frame of a video, moving from pose to pose and across the image."""
    rng, settings = np.random.default_rng(seed), DrawnSettings()
    factor, (height, width) = settings.supersample, settings.image_hw
    light, build, look = sample_light(rng), sample_build(rng), sample_look(rng)
    view = sample_view(rng, settings.rotation, settings.turned)
    backdrop = paint_backdrop(rng, (height * factor, width * factor), settings.clutter, light).rgb
    poses = [sample_angles(rng, settings.variety) for _ in range(int(seconds / POSE) + 2)]
    places = rng.uniform(0.4, 0.6, (len(poses), 2)) * [width, height]
    for index in range(int(seconds * rate)):
        first, share = divmod(index / rate / POSE, 1)
        share = (1 - np.cos(np.pi * share)) / 2  # slow at each pose, quick between them
        now, after = poses[int(first)], poses[int(first) + 1]
        angles = {name: (1 - share) * now[name] + share * after[name] for name in now}
        place = (1 - share) * places[int(first)] + share * places[int(first) + 1]
        figure = place_figure(pose_skeleton(build, angles), view, look, 110.0, place, factor)
        canvas = Canvas.of(backdrop.copy())
        person = label_person(canvas, paint_person(canvas, figure, light, 1), factor)
        if person is None:
            raise RuntimeError(f"video {seed} does not show its person on frame {index}")
        image = expose_photo(np.random.default_rng((seed, index)), canvas.rgb, settings)
        points = np.where(person.visibility[:, None] > 0, person.keypoints, np.nan)
        box = np.concatenate([person.box[:2], person.box[:2] + person.box[2:]])[None]
        frame = VideoFrame(index, index / rate, image)
        one = BoxedFrame(frame, box, np.ones(1, np.float32), np.zeros(1, np.int64))
        yield one, Labeled(Path(f"video {seed}"), (height, width), points)


def compare(
    model: TrainedModel, name: str, boxed: Iterable[BoxedFrame], labels: Mapping[int, Labeled],
    threshold: float, flip: bool, device: torch.device,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """The errors (n, k) of raw and of smoothed keypoints at a video's labeled frames."""
    found = predict_boxed(model, boxed, flip_test=flip, device=device)
    table = collect(model, found, threshold=threshold, nms_threshold=1.0)
    smooth = table.smoothed(cells_of(table, model), threshold)
    raw = errors_at(table, table.keypoints, labels)
    sys.stdout.write(f"{name}: {len(raw)} labeled frames of {table.count}\n")
    return raw, errors_at(smooth, smooth.keypoints, labels)


def compare_labeled(
    model: TrainedModel, root: Path, threshold: float, flip: bool, device: torch.device
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Those of each video of a project that has labeled frames."""
    project = read_project(root)
    if project.bodyparts != model.skeleton.names:
        rule = f"must have the model's keypoints {model.skeleton.names}"
        raise BadInput(root, rule, "Give the model that was trained on such a project")
    labeled, _ = read_labels(project, project.scorer, one_an_image=True)
    pairs = []
    for video in videos_in(root / "videos"):
        if labels := labels_of(video, labeled):
            frames = check_frames(islice(stream_video(video), max(labels) + 1 + AFTER), labels)
            boxed = whole_frames(frames)
            pairs.append(compare(model, video.name, boxed, labels, threshold, flip, device))
    if not pairs:
        rule = "must have a video whose labeled frames are in labeled-data/<its name>"
        raise BadInput(root, rule, "Label frames of a video that is there")
    return pairs


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("project", type=Path, nargs="?")
    parser.add_argument("--drawn", type=int, default=0, help="so many drawn videos")
    parser.add_argument("--model", required=True)
    parser.add_argument("--threshold", type=float, default=0.2)
    parser.add_argument("--flip", action="store_true")
    given = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = use_runtime(TrainedModelDataset(given.model).load(), device)
    pairs: list[tuple[np.ndarray, np.ndarray]] = []
    for seed in range(given.drawn):
        video = list(draw_moving(seed))
        labels = {boxed.frame.index: truth for boxed, truth in video}
        frames = (boxed for boxed, _ in video)
        name = f"drawn video {seed}"
        pairs.append(compare(model, name, frames, labels, given.threshold, given.flip, device))
    if given.project is not None:
        pairs += compare_labeled(model, given.project, given.threshold, given.flip, device)
    if not pairs:
        parser.error("give a project, or --drawn and a number of videos")
    raw, smoothed = zip(*pairs, strict=True)
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


if __name__ == "__main__":
    main()
