"""SLEAP projects: .slp with videos beside it, and .pkg.slp with its images inside."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from sspcm_kedro.data.source import Source
from sspcm_kedro.errors import BadInput
from sspcm_kedro.sources import checks
from sspcm_kedro.sources.checks import Record
from sspcm_kedro.sources.labeled import Labeled, unlabeled_images, usual_box
from sspcm_kedro.sources.moved_files import find_moved_folder, find_moved_images, parts_of
from sspcm_kedro.sources.project import VideoProjectSource
from sspcm_kedro.sources.sleap_io_library import import_sleap_io
from sspcm_kedro.sources.video_frames import VideoFrames, listed_frames

Size = tuple[int, int]


class SleapSource(VideoProjectSource):
    """A SLEAP project, .slp or .pkg.slp, and frames of its videos; needs the library sleap-io.

    Labels are what somebody has placed; SLEAP's own predictions are none. Frames of videos and
    images in a package become files first, so this kind is no part of a union.

    Attributes:
        labels: the .slp or .pkg.slp, relative to the root.
        videos: the folder with the videos and images, wherever they lay for SLEAP.
    """

    kind: Literal["sleap"] = "sleap"
    labels: Path = Path("labels.slp")
    videos: Path = Path(".")

    def video_frames(self) -> "SleapFrames":
        """The labeled frames, and what further frames to choose of.

        Raises:
            BadInput: a video with labels is not there, or unlabeled frames would have no boxes.
        """
        file = self.root / self.labels
        labels = _load(file)
        of_video: dict[int, list[int]] = {place: [] for place in range(len(labels.videos))}
        blank: list[Labeled] = []
        for place, frame, instances in _labeled_frames(labels):
            of_video[place].append(frame)
            where = Path(f"{place}/{frame}")
            blank += [Labeled(where, (0, 0), np.zeros((0, 2))) for _ in instances]
        known, embedded = {}, {}
        for place, video in enumerate(labels.videos):
            frames = tuple(sorted(of_video[place]))
            if _is_embedded(video):
                embedded[place] = frames
            elif not isinstance(video.filename, list):
                path = self._find(file, video.filename)
                if path.name in {other.name for other in known}:
                    rule = f"videos must differ in their names, and two are called {path.name}"
                    raise BadInput(file, rule, "Rename one with SLEAP")
                known[path] = frames
        wanted = self.frames_of(known, usual_box(blank))
        return SleapFrames(known, wanted.most, file, embedded)

    def read(self, made_folder: Path | None = None) -> Source:
        file = self.root / self.labels
        if made_folder is None:
            rule = "must be read after node 'choose_frames', which a union does not have"
            raise BadInput(file, rule, "Read it as a source of its own")
        labels = _load(file)
        (own, *others) = labels.skeletons or [None]
        if own is None or others:
            rule = f"must have one skeleton, found {len(labels.skeletons)}"
            raise BadInput(file, rule, "Remove those that are not used, with SLEAP")
        pairs = tuple((min(pair), max(pair)) for pair in own.symmetry_inds)
        skeleton = self.own_skeleton(
            file, own.node_names, tuple((int(a), int(b)) for a, b in own.edge_inds),
            pairs or None,
        )  # fmt: skip
        made = {(record["video"], record["frame"]): record for record in listed_frames(made_folder)}
        images = self._images(file, labels)
        people = []
        for place, frame, instances in _labeled_frames(labels):
            video = labels.videos[place]
            if isinstance(video.filename, list):
                path = images[video.filename[frame]]
                (size,) = checks.stored_sizes([path]).tolist()
                name, image_hw = video.filename[frame], (size[0], size[1])
            else:
                record = made.pop((_name(place, video), frame), None)
                if record is None:
                    rule = f"must have frame {frame}, which is labeled, and it cannot be decoded"
                    raise BadInput(f"{file}, video {video.filename}", rule, "Copy the video again")
                name, image_hw = record["file"], (record["height"], record["width"])
                path = made_folder / name
            _need_size(file, video, image_hw)
            people += [Labeled(path, image_hw, _points(one, own), name=name) for one in instances]
        rest = [record["file"] for record in made.values()]
        pool = unlabeled_images([made_folder / name for name in rest], rest, skeleton.size)
        return self.source_of(file, skeleton, people, pool)

    def _find(self, file: Path, name: str) -> Path:
        folder = self.root / self.videos
        found = find_moved_folder(folder, name) or find_moved_folder(file.parent, name)
        if found is None or not found.is_file():
            rule = f"the video {name} must be in {folder}, and {parts_of(name)[-1]} is not there"
            raise BadInput(file, rule, "Copy it there, or say where it is: source.videos")
        return found

    def _images(self, file: Path, labels: Any) -> dict[str, Path]:
        """The files of all videos that are lists of images."""
        names = [name for video in labels.videos if isinstance(video.filename, list)
                 for name in video.filename]  # fmt: skip
        return find_moved_images(file, names, self.root / self.videos) if names else {}


@dataclass(frozen=True)
class SleapFrames(VideoFrames):
    """Labeled frames, and what to choose further frames of.

    Attributes:
        file: the project.
        embedded: the frames in a package, by the number of their video.
    """

    file: Path
    embedded: Mapping[int, tuple[int, ...]]

    def choose(self) -> dict[Path, list[int]]:
        """The labeled frames and the chosen ones; of a package by the video's number."""
        chosen = super().choose()
        of_videos = {video: sorted({*frames, *chosen.get(video, ())})
                     for video, frames in self.known.items()}  # fmt: skip
        inside = {Path(_embedded_name(place)): list(frames)
                  for place, frames in self.embedded.items()}  # fmt: skip
        return {**of_videos, **inside}

    def images(self, chosen: Mapping[Path, list[int]]) -> Iterator[tuple[Image.Image, Record]]:
        """These frames and what the list says of them."""
        inside = {Path(_embedded_name(place)): place for place in self.embedded}
        yield from super().images({v: f for v, f in chosen.items() if v not in inside})
        labels = _load(self.file, open_videos=True) if inside else None
        for video, frames in chosen.items():
            if labels is None or video not in inside:
                continue
            for frame in frames:
                try:
                    pixels = np.asarray(labels.videos[inside[video]][frame])
                except Exception as error:
                    rule = f"must hold the image of frame {frame}, but {error}"
                    raise BadInput(f"{self.file}, {video}", rule, "Export it again") from error
                gray = pixels.ndim == 3 and pixels.shape[2] == 1
                image = Image.fromarray(pixels[..., 0] if gray else pixels).convert("RGB")
                yield image, {
                    "file": f"{video}/{frame:06d}.png", "video": str(video), "frame": frame,
                    "seconds": None, "height": image.height, "width": image.width,
                }  # fmt: skip

    def fingerprint(self) -> Any:
        """All that decides the files: that of the videos, and the project's."""
        stat = self.file.stat()
        inside = [[place, list(frames)] for place, frames in self.embedded.items()]
        project = [self.file.name, stat.st_size, stat.st_mtime_ns] if inside else []
        return {**super().fingerprint(), "project": project, "embedded": inside}


def _load(file: Path, open_videos: bool = False) -> Any:
    """The project, read by sleap-io; nothing of it is executed."""
    checks.need_file(file)
    sleap_io = import_sleap_io()
    try:
        return sleap_io.load_slp(str(file), open_videos=open_videos)
    except Exception as error:  # of h5py, json, and whatever a damaged file leads to
        rule = f"must be a project of SLEAP (.slp), but {type(error).__name__}: {error}"
        raise BadInput(file, rule, "Save it again with SLEAP") from error


def _labeled_frames(labels: Any) -> list[tuple[int, int, Sequence[Any]]]:
    """The number of the video, the frame, and what somebody has labeled there, in file order."""
    number = {id(video): place for place, video in enumerate(labels.videos)}
    return [
        (number[id(frame.video)], int(frame.frame_idx), frame.user_instances)
        for frame in labels.labeled_frames if frame.user_instances
    ]  # fmt: skip


def _is_embedded(video: Any) -> bool:
    return not isinstance(video.filename, list) and str(video.filename).endswith(".slp")


def _embedded_name(place: int) -> str:
    return f"embedded_{place}"


def _name(place: int, video: Any) -> str:
    """What the list of frames calls a video."""
    return _embedded_name(place) if _is_embedded(video) else parts_of(video.filename)[-1]


def _need_size(file: Path, video: Any, image_hw: Size) -> None:
    """Refuse a video of another size than the one that was labeled."""
    shape = (video.backend_metadata or {}).get("shape")
    if shape and not _is_embedded(video) and tuple(shape[1:3]) != image_hw:
        rule = f"frames must have the labeled (height, width) {tuple(shape[1:3])}, found {image_hw}"
        raise BadInput(f"{file}, video {video.filename}", rule, "Copy the video that was labeled")


def _points(instance: Any, skeleton: Any) -> np.ndarray:
    """(k, 2) x, y in image pixels; nan where a point is not visible."""
    return np.asarray(instance.numpy(), np.float64)[:, :2].reshape(len(skeleton.node_names), 2)
