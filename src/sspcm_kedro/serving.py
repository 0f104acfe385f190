"""A trained model as MLflow serves it: images as people have them in, named keypoints out.

It knows no MLflow itself. ``mlflow.pyfunc.load_model`` calls ``_load_pyfunc`` of the installed
package; a stored model is weights and JSON, and loading it executes nothing that came with it.
"""

import base64
import binascii
import json
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image
from safetensors import safe_open

from sspcm_kedro.data.image_file import decode_rgb
from sspcm_kedro.datasets.seal import check_slot
from sspcm_kedro.engine.export import TrainedModel
from sspcm_kedro.engine.frames import predict_frames
from sspcm_kedro.errors import BadInput, shown

WEIGHTS, DECODING = "network.safetensors", "decoding.json"
SEND = "Send base64 of a JPEG or PNG file, or rows of pixels [red, green, blue] of 0 to 255"


class ServedModel:
    """What MLflow calls.

    Args:
        model: predicts.
        flip_test: average with the mirrored crops.
    """

    def __init__(self, model: TrainedModel, flip_test: bool) -> None:
        self.model, self.flip_test = model, flip_test
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def predict(
        self, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> list[dict[str, Any]]:
        """Of each image ``people``: their ``box``, and ``keypoints`` by name.

        Each keypoint has ``x`` and ``y`` in image pixels, its ``score``, and where that was
        measured the ``probability`` of being right.

        Args:
            model_input: a row an image, of any size. ``image`` is base64 of an image file, or
                pixels (height, width, 3) of 0 to 255; ``boxes``, which may be missing, is a list of
                people's x0, y0, x1, y1 in image pixels. Without it the image is one person.
            params: none are known.

        Raises:
            BadInput: an image or its boxes are not as said; names the row, from 0.
        """
        if "image" not in model_input:
            rule = f"must have a column image, found {shown(list(model_input))}"
            raise BadInput("input", rule, SEND)
        boxes_of: list[np.ndarray] = []

        def frames() -> Iterator[tuple[np.ndarray, np.ndarray]]:
            for row, record in enumerate(model_input.to_dict("records")):
                image = as_pixels(record["image"], f"image {row}")
                boxes_of.append(as_boxes(record.get("boxes"), image, f"boxes of image {row}"))
                yield image, boxes_of[-1]

        found = predict_frames(self.model, frames(), flip_test=self.flip_test, device=self.device)
        return [
            {"people": [self._person(*one) for one in zip(boxes_of[row], *of, strict=True)]}
            for row, of in enumerate(found)
        ]

    def _person(
        self, box: np.ndarray, xy: np.ndarray, scores: np.ndarray, probabilities: np.ndarray
    ) -> dict[str, Any]:
        columns = {"x": xy[:, 0], "y": xy[:, 1], "score": scores}
        if np.isfinite(probabilities).all():
            columns["probability"] = probabilities
        values = [dict(zip(columns, map(float, row), strict=True))
                  for row in zip(*columns.values(), strict=True)]  # fmt: skip
        names = self.model.skeleton.names
        return {
            "box": box.tolist(),
            "keypoints": [{"name": n, **v} for n, v in zip(names, values, strict=True)],
        }


def as_base64(pixels: np.ndarray) -> str:
    """An image (height, width, 3), uint8, as base64 of a PNG file: what a server may be sent."""
    written = BytesIO()
    Image.fromarray(pixels).save(written, "PNG")
    return base64.b64encode(written.getvalue()).decode()


def as_pixels(value: Any, where: str) -> np.ndarray:
    """An image (height, width, 3), uint8, RGB, of base64 or of numbers.

    Raises:
        BadInput: it is neither, too large, or does not decode.
    """
    if isinstance(value, str):
        try:
            content = base64.b64decode(value.partition("base64,")[2] or value, validate=True)
        except (binascii.Error, ValueError) as error:
            raise BadInput(where, f"must be base64 ({error})", SEND) from error
        return np.asarray(decode_rgb(content, where))
    try:
        pixels = np.asarray(value)
        if pixels.dtype == object:  # rows of rows, as data frames keep them
            pixels = np.array([[list(pixel) for pixel in row] for row in value])
        whole = np.issubdtype(pixels.dtype, np.number) and (pixels == pixels.round()).all()
    except (TypeError, ValueError) as error:
        raise BadInput(where, "must be an image", SEND) from error
    fits = pixels.ndim == 3 and pixels.shape[2] == 3 and pixels.size > 0
    if not (whole and fits and pixels.min() >= 0 and pixels.max() <= 255):
        rule = "must be (height, width, 3), of whole numbers from 0 to 255, got "
        raise BadInput(where, f"{rule}{pixels.dtype} of {pixels.shape}", SEND)
    return pixels.astype(np.uint8)


def as_boxes(value: Any, image: np.ndarray, where: str) -> np.ndarray:
    """People's boxes (n, 4), float32, x0, y0, x1, y1 in image pixels; without any, all of it.

    Raises:
        BadInput: they are no such numbers.
    """
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return np.array([[0, 0, image.shape[1] - 1, image.shape[0] - 1]], np.float32)
    try:
        rows: Any = value
        boxes = np.array([list(box) for box in rows], np.float32)
        if boxes.size and boxes.shape[1:] != (4,):
            raise ValueError("four numbers make a box")
    except (TypeError, ValueError) as error:
        rule = f"must be a list of boxes, found {shown(value)}"
        raise BadInput(where, rule, "Give each person [x0, y0, x1, y1] in pixels") from error
    return boxes.reshape(-1, 4)


def read_logged(folder: Path) -> ServedModel:
    """The model that tracking has logged into a folder.

    Raises:
        BadInput: the folder holds something else.
    """
    try:
        check_slot(folder / WEIGHTS, "Log it again")
        with safe_open(folder / WEIGHTS, framework="pt") as file:
            weights = {name: file.get_tensor(name) for name in file.keys()}
            model = TrainedModel.from_tensors({**weights, **file.metadata()}, WEIGHTS)
        return ServedModel(model, json.loads((folder / DECODING).read_text())["flip_test"])
    except Exception as error:
        cause = f"{type(error).__name__}: {error}"
        rule = f"must be a network that this project has logged ({cause})"
        remedy = "Log it again: run the pipelines evaluation or comparison with tracking on."
        raise BadInput(folder, rule, remedy) from error


def _load_pyfunc(path: str) -> ServedModel:
    """MLflow's entrance; errors are those of ``read_logged``."""
    return read_logged(Path(path))
