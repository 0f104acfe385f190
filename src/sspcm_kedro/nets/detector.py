"""Boxes of people or animals by torchvision's detectors, with its weights or one's own."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import nn

from sspcm_kedro.config import Settings, Share
from sspcm_kedro.errors import BadInput
from sspcm_kedro.nets.weights import read_weights

KINDS = "fasterrcnn_mobilenet_v3_large_320_fpn, fasterrcnn_resnet50_fpn_v2, ..."


class DetectorConfig(Settings):
    """A detector of torchvision's, and what it is asked for."""

    name: str = Field(
        default="fasterrcnn_mobilenet_v3_large_320_fpn",
        description="one of torchvision.models.detection: Faster R-CNN or RetinaNet, any backbone",
    )
    weights: str = Field(
        default="DEFAULT",
        description="DEFAULT downloads torchvision's for COCO's categories; or a local file with "
        "the state_dict of a detector of this name",
    )
    categories: tuple[str, ...] = Field(
        default=("person",),
        description="which are wanted, by torchvision's names for COCO; of an own file by number, "
        "from 1; empty for all",
    )
    most: int = Field(default=20, ge=1, le=1000, description="boxes an image, the best ones")


@dataclass(frozen=True)
class Detector:
    """A detector that is ready.

    Attributes:
        network: in eval mode.
        wanted: labels, as the network numbers them; empty for all.
        least: the lowest score of a box.
        most: boxes an image.
        device: where it computes.
    """

    network: nn.Module
    wanted: tuple[int, ...]
    least: float
    most: int
    device: torch.device

    @torch.no_grad()
    def detect(self, images: Sequence[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
        """Boxes (n, 4) x0, y0, x1, y1 in image pixels, inside it, and scores (n), best first.

        Args:
            images: uint8 RGB (H, W, 3) each.
        """
        tensors = [torch.tensor(i).permute(2, 0, 1).to(self.device).float() / 255 for i in images]
        found = []
        for image, output in zip(images, self.network(tensors), strict=True):
            boxes, scores, labels = (output[k].cpu().numpy() for k in ("boxes", "scores", "labels"))
            # Torchvision's boxes are edges, from 0 to the width; centers are half a pixel off.
            last = np.array(image.shape[1::-1] * 2, np.float32) - 1
            boxes = np.clip(boxes - 0.5, 0, last)
            good = (scores >= self.least) & (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
            if self.wanted:
                good &= np.isin(labels, self.wanted)
            rows = np.flatnonzero(good)[np.argsort(-scores[good], kind="stable")][: self.most]
            found.append((boxes[rows], scores[rows]))
        return found


def load_detector(config: DetectorConfig, least: Share, device: torch.device) -> Detector:
    """A detector with its weights.

    Args:
        config: which one.
        least: the lowest score of a box.
        device: where to compute.

    Raises:
        BadInput: there is no such detector or category, or its weights cannot be had.
    """
    from torchvision.models import detection, list_models  # noqa: PLC0415 - slow, and few commands need it

    known = [n for n in list_models(detection) if "keypoint" not in n
             and "mask" not in n]  # fmt: skip
    if config.name not in known:
        rule = f"must be one of {', '.join(known)}"
        raise BadInput(f"prediction.detector.name = {config.name}", rule, f"Take e.g. {KINDS}")
    if config.weights == "DEFAULT":
        network, names = _published(config.name)
    else:
        network, names = _own(config.name, Path(config.weights))
    missing = [name for name in config.categories if name not in names]
    if missing:
        rule = f"must be categories of the detector, and {missing} are not"
        remedy = f"It has {', '.join(n for n in names if n not in ('__background__', 'N/A'))}"
        raise BadInput("prediction.detector.categories", rule, remedy)
    wanted = tuple(names.index(name) for name in config.categories)
    return Detector(network.eval().to(device), wanted, least, config.most, device)


def _published(name: str) -> tuple[nn.Module, Sequence[str]]:
    from torchvision import models  # noqa: PLC0415

    weights: Any = models.get_model_weights(name)["DEFAULT"]
    try:
        network = models.get_model(name, weights=weights, weights_backbone=None)
    except (OSError, RuntimeError) as error:
        rule = f"{weights.url} could not be downloaded ({str(error).partition(chr(10))[0]})"
        remedy = "Connect to the network once, or name a local file: prediction.detector.weights"
        raise BadInput(f"prediction.detector.name = {name}", rule, remedy) from error
    return network, weights.meta["categories"]


def _own(name: str, file: Path) -> tuple[nn.Module, Sequence[str]]:
    """A detector with the weights of a file, which says how many categories there are."""
    from torchvision import models  # noqa: PLC0415

    state = read_weights(file)
    heads = ("roi_heads.box_predictor.cls_score.bias", "head.classification_head.cls_logits.bias")
    head = next((key for key in heads if key in state), None)
    try:
        if head is None:
            raise ValueError(f"neither {heads[0]} nor {heads[1]} is in it")
        count = len(state[head])
        if head == heads[1]:  # RetinaNet: a number for each anchor of a place
            plain: Any = models.get_model(name, weights=None, weights_backbone=None)
            count //= plain.head.classification_head.num_anchors
        network = models.get_model(name, weights=None, weights_backbone=None, num_classes=count)
        network.load_state_dict(state)
    except (ValueError, RuntimeError, AttributeError) as error:
        rule = f"must hold the weights of a {name} ({str(error).partition(chr(10))[0]})"
        remedy = "Save its state_dict(), and name the detector in prediction.detector.name"
        raise BadInput(file, rule, remedy) from error
    published: Any = models.get_model_weights(name)["DEFAULT"]
    names = published.meta["categories"]
    return network, names if len(names) == count else [str(i) for i in range(count)]
