"""Weights that networks start from."""

import pytest
import torch
import torchvision


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    """Weights of a ResNet-18 in torchvision's layout, the classifier included."""
    torch.manual_seed(5)
    return torchvision.models.resnet18(weights=None).state_dict()
