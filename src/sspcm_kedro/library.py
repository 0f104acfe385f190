"""The project in three lines: ``sspcm_kedro.load(path).predict(images)``."""

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from kedro.io import DatasetError
from PIL import Image

from sspcm_kedro.data import video
from sspcm_kedro.data.image_file import is_shown_turned, is_turned, read_rgb, to_rgb
from sspcm_kedro.data.video_stream import stream_video
from sspcm_kedro.datasets.trained_model import TrainedModelDataset
from sspcm_kedro.engine.confidence import Confidence
from sspcm_kedro.engine.export import TrainedModel
from sspcm_kedro.engine.frames import predict_frames
from sspcm_kedro.errors import BadInput
from sspcm_kedro.serving import WEIGHTS, as_boxes, read_logged
from sspcm_kedro.sources.checks import warn_of
from sspcm_kedro.sources.image_folder import read_image_folder


@dataclass(frozen=True)
class Poses:
    """People with their keypoints, one row each, in the order of images and boxes.

    Attributes:
        names: of the k keypoints.
        images: (n) text: the file of the image or video; empty for pixels.
        frames: (n) number of the image, from 0; in a video that of the frame.
        boxes: (n, 4) x0, y0, x1, y1 in image pixels, float32.
        keypoints: (n, k, 2) x and y in image pixels, float32.
        scores: (n, k) maxima of the heatmaps, float32.
        probabilities: (n, k) of lying within the tolerance of ``Model.confidence``, float32; nan
            where that was not measured.
    """

    names: tuple[str, ...]
    images: np.ndarray
    frames: np.ndarray
    boxes: np.ndarray
    keypoints: np.ndarray
    scores: np.ndarray
    probabilities: np.ndarray

    def __len__(self) -> int:
        return len(self.frames)


class Model:
    """A trained model that predicts on images as people have them.

    Args:
        trained: the network, its keypoints and how people are shown to it.
        flip_test: average with the mirrored view.
        device: where to compute; a GPU if there is one.
    """

    def __init__(
        self, trained: TrainedModel, flip_test: bool = False, device: str | None = None
    ) -> None:
        self.trained, self.flip_test = trained, flip_test
        self.device = _device(device or ("cuda" if torch.cuda.is_available() else "cpu"))

    @property
    def names(self) -> tuple[str, ...]:
        """Of the keypoints, in order."""
        return self.trained.skeleton.names

    @property
    def confidence(self) -> Confidence | None:
        """What makes scores probabilities, and says what right means; None if not measured."""
        return self.trained.confidence

    @property
    def choice(self) -> dict[str, Any]:
        """Which network it is (``ships``), the ``reason``, and the ``doubt`` where it should not be
        trusted, as ``engine.choice.Choice``; empty where it was compared with no other."""
        return self.trained.choice

    def predict(self, images: Any, boxes: Any = None) -> Poses:
        """The keypoints of everybody in images.

        Orientation tags (EXIF) are ignored, with a warning: places are those of the stored pixels.

        Args:
            images: a file, a folder (its images by name, also of folders in it) or a video; or
                pixels (H, W, 3), uint8, RGB; or a Pillow image; or a list of such images.
            boxes: (n, 4) x0, y0, x1, y1 in image pixels, of people in each of the images; or a
                list with such a table for each image. None: each image is one person.

        Raises:
            BadInput: something cannot be read or is not as said; names file and rule.
        """
        tables = _tables_of(boxes)
        sources: list[tuple[str, int]] = []
        each: list[np.ndarray] = []

        def frames() -> Iterator[tuple[np.ndarray, np.ndarray]]:
            for source, number, pixels in _read(images):
                sources.append((source, number))
                if tables is not None and len(each) == len(tables):
                    raise _not_each(tables)
                own = boxes if tables is None else tables[len(each)]
                where = f"boxes of image {len(each)}"
                each.append(as_boxes(own, pixels, where))
                yield pixels, each[-1]
            if tables is not None and len(each) < len(tables):
                raise _not_each(tables)

        found = list(
            predict_frames(self.trained, frames(), flip_test=self.flip_test, device=self.device)
        )
        size, counts = len(self.names), [len(b) for b in each]
        none = np.zeros((0, size), np.float32)
        return Poses(
            names=self.names,
            images=np.repeat(np.array([source for source, _ in sources], object), counts),
            frames=np.repeat(np.array([number for _, number in sources], np.int64), counts),
            boxes=np.concatenate([np.zeros((0, 4), np.float32), *each]),
            keypoints=np.concatenate(
                [np.zeros((0, size, 2), np.float32), *(f.keypoints for f in found)]
            ),
            scores=np.concatenate([none, *(f.scores for f in found)]),
            probabilities=np.concatenate([none, *(f.probabilities for f in found)]),
        )


def load(where: str | Path, *, flip_test: bool | None = None, device: str | None = None) -> Model:
    """A trained model, ready to predict.

    Args:
        where: ``trained_model.safetensors`` of a run; or a model of MLflow, as a folder or as an
            address (``runs:/...``, ``models:/...``) on the server of MLFLOW_TRACKING_URI.
        flip_test: average with the mirrored view; None: as it was evaluated.
        device: where to compute, as torch calls it; a GPU if there is one.

    Raises:
        BadInput: there is no such model, it is damaged, or training has mirrored nobody and
            ``flip_test`` is true; or no such device.
    """
    if str(where).startswith(("runs:", "models:", "mlflow-artifacts:")):
        from sspcm_kedro.tracking.fetch import fetch_model  # noqa: PLC0415

        where = fetch_model(str(where))
    path = Path(where)
    if path.is_dir():
        folders = sorted(file.parent for file in path.rglob(WEIGHTS))
        if len(folders) != 1:
            names = ", ".join(map(str, folders[:3])) or "none"
            rule = f"a folder must hold one model that MLflow has logged, found {names}"
            remedy = f"Name the folder of one ({WEIGHTS}), or a run's trained_model.safetensors"
            raise BadInput(path, f"{rule}{', ...' if len(folders) > 3 else ''}", remedy)
        served = read_logged(folders[0])
        model, logged = served.model, served.flip_test
    else:
        model = _read_file(path)
        logged = model.flip_test
    mirrored = logged if flip_test is None else flip_test
    if mirrored and not model.view.mirrors:
        rule = "averages with the mirrored view, and training has mirrored nobody"
        raise BadInput("flip_test", rule, "Leave it out")
    return Model(model, mirrored, device)


def _read_file(path: Path) -> TrainedModel:
    try:
        return TrainedModelDataset(filepath=str(path)).load()
    except DatasetError as error:  # Kedro's wrapping says nothing more
        raise error.__cause__ if isinstance(error.__cause__, BadInput) else error from None


def _device(name: str) -> torch.device:
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:  # the latter of a torch without CUDA
        rule = f"must be one that torch finds here ({str(error).splitlines()[0]})"
        raise BadInput(f"device = {name}", rule, "Leave it out, or say cpu") from error


def _read(images: Any) -> Iterator[tuple[str, int, np.ndarray]]:
    """File, number and pixels of each image."""
    named = isinstance(images, str | os.PathLike)
    if isinstance(images, list | tuple):
        for number, image in enumerate(images):
            yield _read_image(image, number)
    elif named and Path(images).is_dir():
        paths = read_image_folder(Path(images)).paths.tolist()
        warn_of("turned", [path for path in paths if is_shown_turned(path)])
        for number, path in enumerate(paths):
            yield str(path), number, np.asarray(read_rgb(path))
    elif named and Path(images).suffix.lower() in video.SUFFIXES:
        for frame in stream_video(Path(images)):
            yield str(images), frame.index, frame.image
    else:
        yield _read_image(images, 0)


def _read_image(image: Any, number: int) -> tuple[str, int, np.ndarray]:
    if isinstance(image, str | os.PathLike):
        warn_of("turned", [str(image)] * is_shown_turned(Path(image)))
        return str(image), number, np.asarray(read_rgb(Path(image)))
    if isinstance(image, Image.Image):
        pixels = np.asarray(to_rgb(image))  # first: TIFF files lose the tag as they are turned
        warn_of("turned", ["a Pillow image"] * is_turned(image))
        return "", number, pixels
    if isinstance(image, np.ndarray) and image.ndim == 3:
        return "", number, image
    shape = f" {tuple(image.shape)}" if hasattr(image, "shape") else ""
    rule = "must be a file, RGB pixels (height, width, 3) as a numpy array, or a Pillow image, "
    rule += f"found a {type(image).__name__}{shape}"
    raise BadInput(f"image {number}", rule, "Convert it, e.g. tensor.permute(1, 2, 0).numpy()")


def _tables_of(boxes: Any) -> list[Any] | None:
    """The table of boxes of each image, if each was given its own; some may have nobody."""
    if boxes is None or (isinstance(boxes, np.ndarray) and boxes.ndim < 3):
        return None
    given = list(boxes)
    return None if any(map(_is_box, given)) else given


def _is_box(value: Any) -> bool:
    """Whether it is a row of a table, and not a table, which may be empty or None."""
    return isinstance(value, Collection) and len(value) > 0 and np.ndim(next(iter(value))) == 0


def _not_each(tables: list[Any]) -> BadInput:
    rule = f"must be there for each image, and are for {len(tables)}"
    return BadInput("boxes", rule, "Give a table for each image, or one for all")
