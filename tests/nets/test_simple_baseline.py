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
from torch.nn import functional

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
        ({"kind": "small_baseline", "width": 16}, (64, 48)),
        ({"kind": "small_baseline", "width": 16, "blocks": 2}, (32, 80)),
        ({"kind": "simple_baseline", "depth": 18}, (96, 64)),
        ({"kind": "simple_baseline", "depth": 50}, (64, 32)),
        ({"kind": "hrnet", "width": 8, "blocks": 1}, (96, 64)),
    ],
)
def test_heatmaps_have_a_stride_of_four(config, hw):
    network = NetworkConfig.model_validate(config)
    net = network.build(5).eval()
    assert all(size % network.root.multiple == 0 for size in hw)
    with torch.no_grad():
        out = net(torch.rand(2, 3, *hw))
    assert out.shape == (2, 5, hw[0] // 4, hw[1] // 4)
    assert net.stride == 4


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


def resnet18_with(weights) -> nn.Module:
    net = resnet_baseline(18, 3)
    load_backbone(net, weights, "resnet18.pth")
    return net


def test_all_but_the_classifier_is_loaded(state):
    """The features of the backbone are those of torchvision's own ResNet."""
    resnet = torchvision.models.resnet18(weights=None)
    resnet.load_state_dict(state)
    resnet.fc = nn.Identity()
    net = resnet18_with(state)
    images = torch.rand(2, 3, 64, 32)
    with torch.no_grad():
        features = net.eval().backbone(images).mean(dim=(2, 3))
        torch.testing.assert_close(features, resnet.eval()(images))


def test_a_state_without_classifier_or_batch_counters_will_do(state):
    """Torchvision's older files have no ``num_batches_tracked``."""
    bare = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
    bare = {k: v for k, v in bare.items() if not k.startswith("fc.")}
    net = resnet18_with(bare)
    assert net.backbone[6][1].conv2.weight.equal(state["layer3.1.conv2.weight"])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda s: s.pop("conv1.weight"), r"missing \['0.weight'\] \(1\)"),
        (lambda s: s.update({"stem.weight": s["conv1.weight"]}), r"unexpected \['stem.weight'\]"),
        (lambda s: s.update({"bn1.bias": torch.zeros(3)}), r"another shape \['1.bias \(3,\) for "),
    ],
)
def test_weights_of_another_network_are_refused_by_key(state, change, says):
    broken = dict(state)
    change(broken)
    with pytest.raises(BadInput, match=f"resnet18.pth: .*{says}"):
        resnet18_with(broken)


def test_another_depth_is_refused(state):
    with pytest.raises(BadInput, match=r"missing .*\(80\), unexpected \[\] \(0\)"):
        load_backbone(resnet_baseline(34, 3), state, "resnet18.pth")


def published_head(joints: int) -> dict[str, torch.Tensor]:
    """The head of human-pose-estimation.pytorch on a ResNet-18, by its table: 3 deconvolutions."""
    rng = torch.Generator().manual_seed(8)
    state = {}
    for i, channels in enumerate((512, 256, 256)):
        name = f"deconv_layers.{3 * i}.weight"
        state[name] = 0.05 * torch.randn(channels, 256, 4, 4, generator=rng)
        for what in ("weight", "bias", "running_mean", "running_var"):
            state[f"deconv_layers.{3 * i + 1}.{what}"] = torch.rand(256, generator=rng) + 0.5
    state["final_layer.weight"] = torch.randn(joints, 256, 1, 1, generator=rng)
    state["final_layer.bias"] = torch.randn(joints, generator=rng)
    return state


def published(images, resnet, head) -> torch.Tensor:
    """What the published network sees: torchvision's ResNet, then its head by functions."""
    for part in ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4"):
        images = getattr(resnet, part)(images)
    for i in range(0, 9, 3):
        images = functional.conv_transpose2d(
            images, head[f"deconv_layers.{i}.weight"], stride=2, padding=1
        )
        norm = [head[f"deconv_layers.{i + 1}.{what}"] for what in (
            "running_mean", "running_var", "weight", "bias")]  # fmt: skip
        images = functional.relu(functional.batch_norm(images, *norm))
    return functional.conv2d(images, head["final_layer.weight"], head["final_layer.bias"])


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_published_checkpoint_gives_the_published_heatmaps(state, wrapped, tmp_path):
    """Bit for bit; also as data-parallel training saved it, inside a training state."""
    path, head = tmp_path / "pose_resnet_18_256x192.pth.tar", published_head(5)
    whole = {**{k: v for k, v in state.items() if not k.startswith("fc.")}, **head}
    if wrapped:
        whole = {"epoch": 3, "state_dict": {f"module.{k}": v for k, v in whole.items()}}
    torch.save(whole, path)
    record = {"kind": "simple_baseline", "depth": 18, "checkpoint": str(path)}
    net = NetworkConfig.model_validate(record).build(5).eval()
    resnet = torchvision.models.resnet18(weights=None)
    resnet.load_state_dict(state)
    images = torch.randn(2, 3, 64, 32)
    with torch.no_grad():
        assert net(images).equal(published(images, resnet.eval(), head))


def test_a_published_checkpoint_of_other_keypoints_is_refused(state, tmp_path):
    path = tmp_path / "pose_resnet_18.pth"
    torch.save({**{k: v for k, v in state.items() if "fc." not in k}, **published_head(17)}, path)
    record = {"kind": "simple_baseline", "depth": 18, "checkpoint": str(path)}
    with pytest.raises(BadInput, match=r"pose_resnet_18.pth: .*head.9.bias \(17,\) for \(16,\)"):
        NetworkConfig.model_validate(record).build(16)


def test_a_classifier_is_no_published_checkpoint(state, tmp_path):
    path = tmp_path / "resnet18.pth"
    torch.save(state, path)
    record = {"kind": "simple_baseline", "depth": 18, "checkpoint": str(path)}
    with pytest.raises(
        BadInput, match=r"missing \['head.0.weight'.*unexpected \['backbone.fc.bias'"
    ):
        NetworkConfig.model_validate(record).build(16)


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
        {"kind": "vitpose"},
        {},
        {"kind": "hrnet", "width": 2},
        {"kind": "hrnet", "modules": [1, 4]},
        {"kind": "hrnet", "modules": [1, 0, 3]},
        {"kind": "hrnet", "depth": 18},
        {"kind": "simple_baseline", "weights": "a.pth", "checkpoint": "b.pth"},
        {"kind": "teacher_student", "teacher": {"kind": "hrnet"}},
        {
            "kind": "teacher_student",
            "teacher": {"kind": "hrnet"},
            "student": {"kind": "teacher_student"},
        },
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
