"""SLEAP's .slp, through the library sleap-io."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from sspcm_kedro.exports.predictions import Predictions
from sspcm_kedro.sources.sleap_io_library import import_sleap_io


def export_sleap(predictions: Predictions) -> dict[str, bytes]:
    """``predictions.slp``: predicted instances on frames of videos, or on images.

    Images of one size are one video of SLEAP's. Names are written as they are: SLEAP asks where
    files are that do not lie there.

    Raises:
        BadInput: sleap-io is not installed.
    """
    with TemporaryDirectory() as folder:
        file = Path(folder) / "predictions.slp"
        sleap_labels(predictions).save(str(file), embed=False, verbose=False)
        return {file.name: file.read_bytes()}


def sleap_labels(predictions: Predictions) -> Any:
    """The instances as ``sleap_io.Labels``."""
    sio = import_sleap_io()
    own = predictions.skeleton
    nodes = [sio.Node(name) for name in own.names]
    skeleton = sio.Skeleton(
        nodes, [sio.Edge(nodes[a], nodes[b]) for a, b in own.limbs],
        [sio.Symmetry([nodes[a], nodes[b]]) for a, b in own.flip_pairs], name=own.category,
    )  # fmt: skip
    tracks: dict[int, Any] = {}
    if predictions.tracks is not None:
        known = sorted({track for track in predictions.tracks.tolist() if track >= 0})
        tracks = {track: sio.Track(f"track_{track + 1}") for track in known}
    videos, places = _videos(predictions, sio)
    frames: dict[tuple[int, int], Any] = {}
    scores, present = predictions.instance_scores(), predictions.present()
    for row, (video, frame) in enumerate(places):
        if (video, frame) not in frames:
            frames[video, frame] = sio.LabeledFrame(videos[video], frame)
        points = np.where(present[row][:, None], predictions.keypoints[row], np.nan)
        track = None if predictions.tracks is None else int(predictions.tracks[row])
        frames[video, frame].instances.append(sio.PredictedInstance.from_numpy(
            points.astype(np.float64), skeleton,
            point_scores=predictions.scores[row].astype(np.float64), score=float(scores[row]),
            track=None if track is None else tracks.get(track),
        ))  # fmt: skip
    return sio.Labels([frames[key] for key in sorted(frames)], videos, [skeleton],
                      list(tracks.values()))  # fmt: skip


def _videos(predictions: Predictions, sio: Any) -> tuple[list[Any], list[tuple[int, int]]]:
    """SLEAP's videos, and the video and the frame of each instance."""
    sizes = [tuple(map(int, hw)) for hw in predictions.image_hw]
    if predictions.frames is not None:
        size_of = dict(zip(predictions.files, sizes, strict=True))
        numbers = {name: number for number, name in enumerate(size_of)}
        videos = []
        for name, (height, width) in size_of.items():
            last = max(
                int(frame)
                for file, frame in zip(predictions.files, predictions.frames, strict=True)
                if file == name
            )
            count = predictions.frame_counts.get(name, last + 1)
            videos.append(
                sio.Video(
                    name,
                    open_backend=False,
                    backend_metadata={
                        "type": "MediaVideo",
                        "shape": [count, height, width, 3],
                        "filename": name,
                        "grayscale": False,
                        "bgr": True,
                        "dataset": "",
                        "input_format": "",
                    },
                )
            )
        return videos, [(numbers[file], int(frame)) for file, frame in
                        zip(predictions.files, predictions.frames, strict=True)]  # fmt: skip
    images: dict[tuple[int, ...], dict[str, int]] = {}
    for name, size in zip(predictions.files, sizes, strict=True):
        of_size = images.setdefault(size, {})
        of_size.setdefault(name, len(of_size))
    number = {size: place for place, size in enumerate(images)}
    videos = [
        sio.Video(list(names), open_backend=False, backend_metadata={
            "type": "ImageVideo", "shape": [len(names), height, width, 3],
            "filename": next(iter(names)), "filenames": list(names), "grayscale": False})
        for (height, width), names in images.items()
    ]  # fmt: skip
    return videos, [(number[size], images[size][name])
                    for name, size in zip(predictions.files, sizes, strict=True)]  # fmt: skip
