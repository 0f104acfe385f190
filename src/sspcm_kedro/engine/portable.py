"""A trained model as one graph: an image as it is and boxes in, keypoints in image pixels out."""

import json
import warnings
from io import BytesIO
from typing import Any

import onnx
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from sspcm_kedro.data.views import ViewConfig, normalize
from sspcm_kedro.engine.export import TrainedModel
from sspcm_kedro.pose.geometry import CropFrame

OPSET = 17
"""Of the ONNX standard, of 2022: runtimes of today all have it."""


class PortableModel(nn.Module):
    """Pre-processing, network and decoding of a trained model, in operations that export.

    It crops as ``data.crops.cut`` does, Pillow's antialiased bilinear filter with its rounding to
    whole levels after each direction included: what training has seen is what is seen here.

    Args:
        model: the network, on the CPU.
        flip_test: average with the mirrored view.
    """

    def __init__(self, model: TrainedModel, flip_test: bool) -> None:
        super().__init__()
        self.network = model.network.cpu()
        self.skeleton, self.view, self.flip_test = model.skeleton, model.view, flip_test

    def forward(
        self, image: UInt8[Tensor, "H W 3"], boxes: Float[Tensor, "n 4"]
    ) -> tuple[Float[Tensor, "n k 2"], Float[Tensor, "n k"]]:
        """Keypoints (x, y) in image pixels, and their scores.

        Args:
            image: RGB.
            boxes: at least one; x0, y0, x1, y1 in image pixels. One that is empty or not finite
                gives nan, and scores of 0.
        """
        known = boxes.isfinite().all(dim=1) & (boxes[:, 2:] > boxes[:, :2]).all(dim=1)
        unit = torch.tensor([0.0, 0.0, 1.0, 1.0], dtype=torch.float64)
        used = torch.where(known[:, None], boxes.double(), unit)
        frame = self.view.frame
        start, pixel = crop_origin(used, frame)
        crops = cut_boxes(image, start, pixel, self.view)
        xy, scores = self.view.codec.decode(self.see(normalize(crops / 255)))
        # Pixel indices are centers, the crop's edges are half a pixel before them.
        points = (xy.double() + 0.5) * pixel[:, None, None] + start[:, None] - 0.5
        points = torch.where(known[:, None, None], points, torch.nan)
        return points.float(), torch.where(known[:, None], scores, 0.0)

    def see(self, views: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n k cells_h cells_w"]:
        """Heatmaps of normalized crops, as ``engine.predict.locate`` decodes them."""
        if not self.flip_test:
            return self.network(views)
        both = self.network(torch.cat([views, views.flip(3)]))  # so that the graph has it once
        plain, mirrored = both[: views.shape[0]], both[views.shape[0] :]
        return (plain + self.view.codec.unmirror(mirrored, self.skeleton.flip_order)) / 2


def crop_origin(
    boxes: Float[Tensor, "n 4"], frame: CropFrame
) -> tuple[Float[Tensor, "n 2"], Float[Tensor, " n"]]:
    """Left and top edge of the crops of boxes, and the size of an input pixel, in image pixels.

    The same crops as those of ``pose.geometry.crop_matrix``.
    """
    height, width = frame.hw
    sizes = boxes[:, 2:] - boxes[:, :2]
    extent = frame.padding * torch.maximum(sizes[:, 0], sizes[:, 1] * (width / height))
    pixel = extent / width
    center = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = torch.tensor([(width + 1) / 2, (height + 1) / 2], dtype=boxes.dtype)
    return center + 0.5 - half * pixel[:, None], pixel


def cut_boxes(
    image: UInt8[Tensor, "H W 3"], start: Float[Tensor, "n 2"], pixel: Float[Tensor, " n"],
    view: ViewConfig,
) -> Float[Tensor, "n 3 h w"]:  # fmt: skip
    """Crops of whole levels 0 to 255, black outside of the image; as ``data.crops.cut``.

    Args:
        image: RGB.
        start: left and top edges of the crops, in image pixels.
        pixel: size of an input pixel, in image pixels.
        view: the crops' size and border.
    """
    (high, wide), (rows, columns) = image.shape[:2], view.input_hw
    down, y = filter_weights(start[:, 1], pixel, rows, high, view.border)
    across, x = filter_weights(start[:, 0], pixel, columns, wide, view.border)
    places = y[:, :, None] * wide + x[:, None, :]
    window = image.flatten(0, 1)[places].permute(0, 3, 1, 2).float()  # (n, 3, y, x)
    lines = torch.floor(window @ across.transpose(1, 2)[:, None] + 0.5)
    return torch.floor(down[:, None] @ lines + 0.5)


def filter_weights(
    start: Float[Tensor, " n"], pixel: Float[Tensor, " n"], count: int, size: int, border: int
) -> tuple[Float[Tensor, "n count window"], Int[Tensor, "n window"]]:
    """Pillow's antialiased bilinear filter along one direction: what each of some places in the
    image has in each input pixel; and these places, as many as the largest crop reaches.

    Args:
        start: edges of the crops, in image pixels.
        pixel: size of an input pixel, in image pixels.
        count: input pixels.
        size: of the image.
        border: input pixels on each side, which also were cut out: the filter is normalized over
            whole pixels of the image, from the first to the last that the crop with its border
            touches.
    """
    reach = pixel.clamp_min(1.0)[:, None, None]  # shrinking averages, growing interpolates
    steps = torch.arange(count, dtype=torch.float64) + 0.5
    center = start[:, None] + pixel[:, None] * steps
    first = torch.floor(start - border * pixel)
    last = torch.ceil(start + (count + border) * pixel) - 1

    def triangle(places: Float[Tensor, "n #count x"]) -> Float[Tensor, "n count x"]:
        weights = (1 - (places + 0.5 - center[:, :, None]).abs() / reach).clamp_min(0.0)
        inside = (places >= first[:, None, None]) & (places <= last[:, None, None])
        return weights * inside

    taps = torch.arange(length(2 * reach + 2), dtype=torch.float64)
    nearby = torch.floor(center[:, :, None] - reach) + taps
    total = triangle(nearby).sum(dim=2, keepdim=True)

    low, high = first.clamp(0, size - 1), last.clamp(0, size - 1)
    places = low[:, None] + torch.arange(length(high - low + 1), dtype=torch.float64)
    weights = triangle(places[:, None]) / total * (places <= size - 1)[:, None]
    return weights.float(), places.clamp_max(size - 1).long()


def length(values: Float[Tensor, "..."]) -> Any:
    """The largest of some values, and at least 1: how long another tensor is to be.

    An integer tensor, for a number would become part of the exported graph.
    """
    return values.max().clamp_min(1.0).long()


def to_onnx(model: TrainedModel, flip_test: bool) -> onnx.ModelProto:
    """The trained model as an ONNX graph that needs nothing of this project.

    Inputs ``image`` (height, width, 3), uint8, RGB, and ``boxes`` (n, 4), float32; outputs
    ``keypoints`` (n, k, 2) and ``scores`` (n, k), float32: as ``PortableModel.forward`` says it.
    The metadata are ``about``.

    Args:
        model: any; its network is moved to the CPU.
        flip_test: average with the mirrored view.
    """
    portable = PortableModel(model, flip_test).eval()
    example = torch.zeros(32, 32, 3, dtype=torch.uint8), torch.tensor([[0.0, 0.0, 32.0, 32.0]])
    written = BytesIO()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what is constant in the graph: sizes of crop and map
        # torch.export takes twenty times as long, and is not needed for a graph without branches.
        torch.onnx.export(
            portable, example, written,  # pyright: ignore[reportArgumentType]: it takes streams
            dynamo=False, opset_version=OPSET,
            input_names=["image", "boxes"], output_names=["keypoints", "scores"],
            dynamic_axes={"image": {0: "height", 1: "width"}, "boxes": {0: "people"},
                          "keypoints": {0: "people"}, "scores": {0: "people"}},
        )  # fmt: skip
    graph = onnx.load_from_string(written.getvalue())
    onnx.checker.check_model(graph, full_check=True)
    onnx.helper.set_model_props(graph, about(model, flip_test))
    return graph


def about(model: TrainedModel, flip_test: bool) -> dict[str, str]:
    """What a user of the graph may want to know, each as JSON.

    ``keypoints``, their names in order; ``flip_order``; ``skeleton``, as ``skeleton.json`` has it;
    ``input_hw``, ``padding``, ``flip_test``; ``choice``, if networks were compared; and
    ``confidence``, if it was measured with the same ``flip_test``: what makes scores probabilities.
    """
    skeleton, view, sure = model.skeleton, model.view, model.confidence
    values: dict[str, Any] = {
        "keypoints": skeleton.names,
        "flip_order": skeleton.flip_order,
        "skeleton": skeleton.to_dict(),
        "input_hw": view.input_hw,
        "padding": view.padding,
        "flip_test": flip_test,
        **({"choice": model.choice} if model.choice else {}),
        **({"confidence": sure.to_dict()} if sure and sure.flip_test == flip_test else {}),
    }
    return {name: json.dumps(value) for name, value in values.items()}
