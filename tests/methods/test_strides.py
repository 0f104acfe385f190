"""Training at other strides than 4: heatmaps, networks and methods agree about cells."""

import pytest
import torch

from sspcm_kedro.batch import Batch, Labeled, Unlabeled
from sspcm_kedro.methods import MethodConfig
from sspcm_kedro.nets import ROLES, NetworkConfig
from sspcm_kedro.pose.heatmap import HeatmapCodec

H, W, B = 64, 48, 4
POINTS = torch.tensor([[14.0, 20.0], [34.0, 44.0]]).expand(B, 2, 2)


def batch(codec: HeatmapCodec) -> Batch:
    images = torch.rand((B, 3, H, W), generator=torch.Generator().manual_seed(0))
    heatmaps, weights = codec.encode(POINTS, torch.ones(B, 2), (H, W))
    return Batch(Labeled(images, heatmaps, weights), Unlabeled(images, weights, (heatmaps,) * 2))


def build(kind: str, codec: HeatmapCodec):
    def make_net(index: int) -> torch.nn.Module:
        torch.manual_seed(index)
        network = NetworkConfig.model_validate({"kind": "small_baseline", "width": 16})
        return network.build(2, ROLES[index], stride=codec.stride)

    return MethodConfig.model_validate({"kind": kind}).build(make_net, codec).train()


@pytest.mark.parametrize("stride", [2, 8])
def test_supervised_steps_teach_where_keypoints_are(stride):
    """Peaks of a network of CPU size come to lie in the right cells, counted in input pixels."""
    codec = HeatmapCodec(stride, sigma=1.0, sub_cell=True, refinement="none")
    method, people = build("supervised", codec), batch(codec)
    optimizer = torch.optim.Adam(method.parameters(), 3e-3)
    losses = []
    for _ in range(40):
        loss = method.training_step(people, torch.Generator())["loss/supervised"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2
    with torch.no_grad():
        heatmaps = method.networks["student"](people.labeled.images)
    assert heatmaps.shape[2:] == (H // stride, W // stride)
    assert (codec.decode(heatmaps)[0] - POINTS).abs().max() <= stride


@pytest.mark.parametrize("stride", [2, 8])
def test_a_step_of_sspcm_reaches_every_network(stride):
    codec = HeatmapCodec(stride, sigma=1.0)
    method = build("sspcm", codec)
    scalars = method.training_step(batch(codec), torch.Generator().manual_seed(0))
    (scalars["loss/supervised"] + scalars["loss/consistency"]).backward()
    for parameter in method.parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all()
