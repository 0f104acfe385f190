"""Supervised training against a slow loop over keypoints."""

import pytest
from torch import nn

from family import build, in_training, make_batch, slow_mse, step


def test_it_learns_from_the_labels_alone():
    method, batch = build("supervised"), make_batch()
    (net,), labeled = method.networks.values(), batch.labeled
    assert isinstance(net, nn.Module)
    expected = slow_mse(in_training(net, labeled.images), labeled.heatmaps, labeled.weights)
    scalars = step(method, batch)
    assert scalars.keys() == {"loss/supervised", "student/loss/supervised"}
    for value in scalars.values():
        assert value.item() == pytest.approx(expected, rel=1e-5)
