"""Networks: published sizes and initial weights, and weights that come from files."""

import math
import os
import pickle

import pytest
import torch
import torchvision
from pydantic import ValidationError
from safetensors.torch import save_file
from torch import nn

from sspcm_kedro.errors import BadInput
from sspcm_kedro.nets import NetworkConfig
from sspcm_kedro.nets.simple_baseline import (
    deconvolution_head,
    load_backbone,
    parameter_count,
    resnet_baseline,
    small_baseline,
)


@pytest.mark.parametrize(
    ("depth", "with_17", "with_24"),
    [
        (18, 15_376_721, 15_378_520),
        (34, 25_484_881, 25_486_680),
        (50, 33_999_697, 34_001_496),
        (101, 52_991_825, 52_993_624),
        (152, 68_635_473, 68_637_272),
    ],
)
def test_parameter_counts_are_the_published_ones(depth, with_17, with_24):
    """Method.md 1.1, to the last one."""
    with torch.device("meta"):
        assert parameter_count(resnet_baseline(depth, 17)) == with_17
        assert parameter_count(resnet_baseline(depth, 24)) == with_24


def test_frozen_parameters_do_not_count():
    net = nn.Linear(3, 2)
    net.bias.requires_grad_(False)
    assert parameter_count(net) == 6


@pytest.mark.parametrize(
    ("config", "hw"),
    [
        ({"kind": "small_baseline", "width": 4}, (64, 48)),
        ({"kind": "small_baseline", "width": 4, "blocks": 2}, (32, 80)),
        ({"kind": "simple_baseline", "depth": 18}, (96, 64)),
        ({"kind": "simple_baseline", "depth": 50}, (64, 32)),
    ],
)
def test_heatmaps_have_a_stride_of_four(config, hw):
    network = NetworkConfig.model_validate(config)
    net = network.build(5).eval()
    assert all(size % network.root.multiple == 0 for size in hw)
    with torch.no_grad():
        out = net(torch.rand(2, 3, *hw))
    assert out.shape == (2, 5, hw[0] // 4, hw[1] // 4)
    assert net.stride == 4 and net.multiple == network.root.multiple


def test_an_output_cell_lies_where_its_input_pixels_are():
    """x_input = 4 x_heatmap: what changes at a pixel changes the output about that cell."""
    torch.manual_seed(0)
    net = small_baseline(1, width=4, blocks=1).eval()
    image = torch.rand(1, 3, 128, 96, requires_grad=True)
    net(image)[0, 0, 20, 9].backward()
    strength = image.grad[0].abs().sum(dim=0)
    rows, columns = torch.arange(128.0), torch.arange(96.0)
    assert (strength.sum(1) * rows).sum() / strength.sum() == pytest.approx(80, abs=8)
    assert (strength.sum(0) * columns).sum() / strength.sum() == pytest.approx(36, abs=8)


def test_head_starts_as_published():
    """N(0, 0.001^2) for convolutions, no bias in deconvolutions, batch norm 1 and 0."""
    torch.manual_seed(0)
    head = deconvolution_head(64, 128, 24, layers=3)
    deconvolutions = [m for m in head if isinstance(m, nn.ConvTranspose2d)]
    norms = [m for m in head if isinstance(m, nn.BatchNorm2d)]
    assert [tuple(d.weight.shape) for d in deconvolutions] == [
        (64, 128, 4, 4), (128, 128, 4, 4), (128, 128, 4, 4)
    ]  # fmt: skip
    assert all(d.bias is None for d in deconvolutions) and len(norms) == 3
    for convolution in [*deconvolutions, head[-1]]:
        count = convolution.weight.numel()
        assert convolution.weight.std().item() == pytest.approx(0.001, rel=4 / math.sqrt(count))
        assert convolution.weight.mean().item() == pytest.approx(0, abs=0.004 / math.sqrt(count))
    for norm in norms:
        assert (norm.weight == 1).all() and (norm.bias == 0).all()
        assert norm.momentum == 0.1
    assert (head[-1].bias == 0).all()


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    """Weights of a ResNet-18 in torchvision's layout, the classifier included."""
    torch.manual_seed(5)
    return torchvision.models.resnet18(weights=None).state_dict()


def test_all_but_the_classifier_is_loaded(state):
    """The features of the backbone are those of torchvision's own ResNet."""
    resnet = torchvision.models.resnet18(weights=None)
    resnet.load_state_dict(state)
    resnet.fc = nn.Identity()
    net = resnet_baseline(18, 3, state)
    images = torch.rand(2, 3, 64, 32)
    with torch.no_grad():
        features = net.eval().backbone(images).mean(dim=(2, 3))
        torch.testing.assert_close(features, resnet.eval()(images))


def test_a_state_without_classifier_or_batch_counters_will_do(state):
    """Torchvision's older files have no ``num_batches_tracked``."""
    bare = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
    bare = {k: v for k, v in bare.items() if not k.startswith("fc.")}
    resnet = torchvision.models.resnet18(weights=None)
    load_backbone(resnet, bare)
    assert resnet.layer3[1].conv2.weight.equal(state["layer3.1.conv2.weight"])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda s: s.pop("conv1.weight"), r"missing \['conv1.weight'\] \(1\)"),
        (lambda s: s.update({"stem.weight": s["conv1.weight"]}), r"unexpected \['stem.weight'\]"),
        (lambda s: s.update({"bn1.bias": torch.zeros(3)}), r"another shape \['bn1.bias'\]"),
    ],
)
def test_weights_of_another_network_are_refused_by_key(state, change, says):
    broken = dict(state)
    change(broken)
    with pytest.raises(ValueError, match=says):
        resnet_baseline(18, 3, broken)


def test_another_depth_is_refused(state):
    with pytest.raises(ValueError, match="weights of the same depth"):
        resnet_baseline(34, 3, state)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_weights_come_from_a_local_file(state, suffix, tmp_path):
    path = tmp_path / f"resnet18{suffix}"
    if suffix == ".pth":
        torch.save(state, path)
    else:
        save_file(state, path)
    config = NetworkConfig.model_validate(
        {"kind": "simple_baseline", "depth": 18, "weights": str(path)}
    )
    net = config.build(3)
    assert net.backbone[0].weight.equal(state["conv1.weight"])
    assert net.backbone[7][1].bn2.running_var.equal(state["layer4.1.bn2.running_var"])


class Malicious:
    """Unpickled, it makes a folder."""

    def __init__(self, folder) -> None:
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def built_with(weights) -> nn.Module:
    record = {"kind": "simple_baseline", "depth": 18, "weights": str(weights)}
    return NetworkConfig.model_validate(record).build(3)


@pytest.mark.parametrize("save", [torch.save, lambda o, p: p.write_bytes(pickle.dumps(o))])
def test_a_file_never_executes_code(save, tmp_path):
    """Reading this file with a plain unpickler makes a folder; here it must not."""
    path, made = tmp_path / "weights.pth", tmp_path / "made"
    save({"conv1.weight": Malicious(made)}, path)
    with pytest.raises(BadInput, match="torch file of tensors"):
        built_with(path)
    assert not made.exists()


@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
@pytest.mark.parametrize("content", [b"", b"no weights at all", b"\xff" * 64])
def test_unreadable_files_are_bad_input(name, content, tmp_path):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(BadInput, match=name):
        built_with(path)


@pytest.mark.parametrize("content", [torch.zeros(3), [1, 2], {"conv1.weight": 1.0}])
def test_a_torch_file_of_something_else_is_bad_input(content, tmp_path):
    path = tmp_path / "weights.pth"
    torch.save(content, path)
    with pytest.raises(BadInput, match="tensors"):
        built_with(path)


@pytest.mark.parametrize("name", ["nowhere.pth", "ResNet50_Weights.IMAGENET1K_V1"])
def test_a_name_that_is_neither_file_nor_of_this_depth_is_bad_input(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput, match=r"ResNet18_Weights\.IMAGENET1K_V1"):
        built_with(name)


@pytest.mark.parametrize(
    "record",
    [
        {"kind": "hrnet"},
        {},
        {"kind": "small_baseline", "depth": 18},
        {"kind": "small_baseline", "width": 2},
        {"kind": "small_baseline", "blocks": 0},
        {"kind": "simple_baseline", "depth": 20},
        {"kind": "simple_baseline", "width": 16},
    ],
)
def test_wrong_kinds_keys_and_sizes_are_refused(record):
    with pytest.raises(ValidationError):
        NetworkConfig.model_validate(record)
