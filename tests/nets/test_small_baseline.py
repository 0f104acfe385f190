"""The network of CPU size."""

import pytest
import torch

from sspcm_kedro.nets.small_baseline import SmallBaseline


def test_an_output_cell_lies_where_its_input_pixels_are():
    """x_input = 4 x_heatmap: what changes at a pixel changes the output about that cell."""
    torch.manual_seed(0)
    net = SmallBaseline(1, width=4, blocks=1).eval()
    image = torch.rand(1, 3, 128, 96, requires_grad=True)
    net(image)[0, 0, 20, 9].backward()
    strength = image.grad[0].abs().sum(dim=0)
    rows, columns = torch.arange(128.0), torch.arange(96.0)
    assert (strength.sum(1) * rows).sum() / strength.sum() == pytest.approx(80, abs=8)
    assert (strength.sum(0) * columns).sum() / strength.sum() == pytest.approx(36, abs=8)
