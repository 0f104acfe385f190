"""What all networks are: features of an image, and a last layer that makes heatmaps of them."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn


class HeatmapNetwork(nn.Module, ABC):
    """Images (b, 3, H, W) to heatmaps (b, k, h, w).

    Attributes:
        bf16: features are computed in bfloat16, where torch's autocast does so. The last layer and
            its heatmaps are float32: rounding maps to bfloat16 moves one peak in fifty by a cell.
    """

    bf16 = False

    @abstractmethod
    def features(self, images: Tensor) -> Tensor:
        """What the last layer reads."""

    @property
    @abstractmethod
    def last_layer(self) -> nn.Module:
        """The 1x1 convolution to heatmaps."""

    def forward(self, images: Tensor) -> Tensor:
        if not self.bf16:
            return self.last_layer(self.features(images))
        with torch.autocast(images.device.type, torch.bfloat16):
            features = self.features(images)
        return self.last_layer(features.float())
