"""HRNet: published sizes, and published checkpoints against an HRNet of functions alone."""

import math

import pytest
import timm
import torch
from torch import nn
from torch.nn import functional

from sspcm_kedro.errors import BadInput
from sspcm_kedro.nets import NetworkConfig, parameter_count
from sspcm_kedro.nets.hrnet import HRNet

WIDTH, MODULES, BLOCKS, JOINTS = 8, (1, 2, 2), 1, 5
SMALL = {"kind": "hrnet", "width": WIDTH, "modules": MODULES, "blocks": BLOCKS}

State = dict[str, torch.Tensor]


@pytest.mark.parametrize(
    ("width", "with_17", "with_24"),
    [(32, 28_536_113, 28_536_344), (48, 63_595_745, 63_596_088)],
)
def test_parameter_counts_are_the_published_ones(width, with_17, with_24):
    """28.5 and 63.6 million, to the last one."""
    config = NetworkConfig.model_validate({"kind": "hrnet", "width": width})
    with torch.device("meta"):
        assert parameter_count(config.build(17)) == with_17
        assert parameter_count(config.build(24)) == with_24


class Published:
    """The published network as its paper's table has it: keys and shapes, then functions.

    Calling it with images computes heatmaps; ``state`` holds made-up weights.
    """

    def __init__(self, seed: int) -> None:
        self.rng = torch.Generator().manual_seed(seed)
        self.state: State = {}
        channels = [WIDTH * 2**i for i in range(4)]
        self.make("conv1", "bn1", 3, 64, 3)
        self.make("conv2", "bn2", 64, 64, 3)
        for block in range(4):
            name, inside = f"layer1.{block}", 64 if block == 0 else 256
            for i, (a, b, size) in enumerate([(inside, 64, 1), (64, 64, 3), (64, 256, 1)], start=1):
                self.make(f"{name}.conv{i}", f"{name}.bn{i}", a, b, size)
        self.make("layer1.0.downsample.0", "layer1.0.downsample.1", 64, 256, 1)
        self.make("transition1.0.0", "transition1.0.1", 256, channels[0], 3)
        self.make("transition1.1.0.0", "transition1.1.0.1", 256, channels[1], 3)
        self.make("transition2.2.0.0", "transition2.2.0.1", channels[1], channels[2], 3)
        self.make("transition3.3.0.0", "transition3.3.0.1", channels[2], channels[3], 3)
        for stage, modules in zip((2, 3, 4), MODULES, strict=True):
            for module in range(modules):
                name = f"stage{stage}.{module}"
                for branch in range(stage):
                    for block in range(BLOCKS):
                        for i in (1, 2):
                            unit = f"{name}.branches.{branch}.{block}"
                            width = channels[branch]
                            self.make(f"{unit}.conv{i}", f"{unit}.bn{i}", width, width, 3)
                for i in range(self.outputs(stage, module)):
                    for j in range(stage):
                        fuse = f"{name}.fuse_layers.{i}.{j}"
                        if j > i:
                            self.make(f"{fuse}.0", f"{fuse}.1", channels[j], channels[i], 1)
                        for k in range(i - j):
                            out = channels[i] if k == i - j - 1 else channels[j]
                            self.make(f"{fuse}.{k}.0", f"{fuse}.{k}.1", channels[j], out, 3)
        self.state["final_layer.weight"] = self.rand(JOINTS, channels[0], 1, 1)
        self.state["final_layer.bias"] = self.rand(JOINTS)

    def rand(self, *shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=self.rng)

    def make(self, conv: str, norm: str, inside: int, outside: int, size: int) -> None:
        spread = math.sqrt(2 / (inside * size * size))
        self.state[f"{conv}.weight"] = spread * self.rand(outside, inside, size, size)
        self.state[f"{norm}.weight"] = 1 + 0.1 * self.rand(outside)
        self.state[f"{norm}.bias"] = 0.1 * self.rand(outside)
        self.state[f"{norm}.running_mean"] = 0.1 * self.rand(outside)
        self.state[f"{norm}.running_var"] = 1 + 0.2 * self.rand(outside).abs()

    @staticmethod
    def outputs(stage: int, module: int) -> int:
        """The last module of all fuses into the highest resolution alone."""
        return 1 if (stage, module) == (4, MODULES[2] - 1) else stage

    def unit(self, x, conv: str, norm: str, stride: int = 1) -> torch.Tensor:
        weight = self.state[f"{conv}.weight"]
        x = functional.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)
        return functional.batch_norm(x, *(self.state[f"{norm}.{what}"] for what in (
            "running_mean", "running_var", "weight", "bias")))  # fmt: skip

    def block(self, x, name: str, convolutions: int) -> torch.Tensor:
        y = x
        for i in range(1, convolutions + 1):
            y = self.unit(y, f"{name}.conv{i}", f"{name}.bn{i}")
            y = functional.relu(y) if i < convolutions else y
        if f"{name}.downsample.0.weight" in self.state:
            x = self.unit(x, f"{name}.downsample.0", f"{name}.downsample.1")
        return functional.relu(y + x)

    def fused(self, x, name: str, i: int, j: int) -> torch.Tensor:
        if i == j:
            return x
        if j > i:
            return functional.interpolate(
                self.unit(x, f"{name}.0", f"{name}.1"), scale_factor=2 ** (j - i), mode="nearest"
            )
        for k in range(i - j):
            x = self.unit(x, f"{name}.{k}.0", f"{name}.{k}.1", stride=2)
            x = functional.relu(x) if k < i - j - 1 else x
        return x

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.relu(self.unit(x, "conv1", "bn1", stride=2))
        x = functional.relu(self.unit(x, "conv2", "bn2", stride=2))
        for block in range(4):
            x = self.block(x, f"layer1.{block}", 3)
        xs = [
            functional.relu(self.unit(x, "transition1.0.0", "transition1.0.1")),
            functional.relu(self.unit(x, "transition1.1.0.0", "transition1.1.0.1", stride=2)),
        ]
        for stage, modules in zip((2, 3, 4), MODULES, strict=True):
            if stage > 2:
                new = f"transition{stage - 1}.{stage - 1}.0"
                xs.append(functional.relu(self.unit(xs[-1], f"{new}.0", f"{new}.1", stride=2)))
            for module in range(modules):
                name = f"stage{stage}.{module}"
                for branch in range(stage):
                    for block in range(BLOCKS):
                        xs[branch] = self.block(xs[branch], f"{name}.branches.{branch}.{block}", 2)
                xs = [
                    functional.relu(sum(
                        self.fused(xs[j], f"{name}.fuse_layers.{i}.{j}", i, j)
                        for j in range(stage)
                    ))
                    for i in range(self.outputs(stage, module))
                ]  # fmt: skip
        return functional.conv2d(
            xs[0], self.state["final_layer.weight"], self.state["final_layer.bias"]
        )


@pytest.fixture(scope="module")
def published() -> Published:
    return Published(4)


def built(state, folder, record=SMALL, key="checkpoint", joints=JOINTS) -> nn.Module:
    path = folder / "pose_hrnet.pth"
    torch.save(state, path)
    return NetworkConfig.model_validate({**record, key: str(path)}).build(joints).eval()


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_published_checkpoint_gives_the_published_heatmaps(published, wrapped, tmp_path):
    """Every key has its place, and what is computed with it is what the paper's figure says."""
    state = published.state
    if wrapped:
        state = {"state_dict": {f"module.{k}": v for k, v in state.items()}, "epoch": 210}
    net = built(state, tmp_path)
    images = torch.randn(2, 3, 96, 64, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        seen, expected = net(images), published(images)
    assert seen.shape == (2, JOINTS, 24, 16)
    assert expected.std() > 0.1
    torch.testing.assert_close(seen, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda s: s.pop("stage4.1.fuse_layers.0.3.0.weight"), r"missing \['backbone.stage4.1"),
        (
            lambda s: s.update({"stage4.1.fuse_layers.1.0.0.0.weight": torch.zeros(1)}),
            r"unexpected \['backbone.stage4.1.fuse_layers.1",
        ),
        (
            lambda s: s.update({"final_layer.bias": torch.zeros(17)}),
            r"another shape \['head.bias \(17,\) for \(5,\)'\] \(1\)",
        ),
    ],
)
def test_another_network_is_refused_by_key(published, change, says, tmp_path):
    broken = dict(published.state)
    change(broken)
    with pytest.raises(BadInput, match=f"pose_hrnet.pth: .*{says}"):
        built(broken, tmp_path)


def test_another_width_is_refused(published, tmp_path):
    with pytest.raises(BadInput, match="another shape"):
        built(published.state, tmp_path, {**SMALL, "width": 16})


def test_a_classifier_gives_its_backbone(published, tmp_path):
    """The published ImageNet files have a head, and fuse layers that a pose network lacks."""
    classifier = {k: v for k, v in published.state.items() if not k.startswith("final_layer")}
    classifier |= {
        "stage4.1.fuse_layers.3.0.0.0.weight": torch.zeros(WIDTH, WIDTH, 3, 3),
        "incre_modules.0.0.conv1.weight": torch.zeros(32, WIDTH, 1, 1),
        "downsamp_modules.0.0.weight": torch.zeros(256, 128, 3, 3),
        "final_layer.0.weight": torch.zeros(2048, 1024, 1, 1),
        "classifier.weight": torch.zeros(1000, 2048),
    }
    net = built(classifier, tmp_path, key="weights")
    images = torch.randn(1, 3, 64, 32)
    head = {"final_layer.weight": net.head.weight, "final_layer.bias": net.head.bias}
    expected = Published(4)
    expected.state |= head
    with torch.no_grad():
        torch.testing.assert_close(net(images), expected(images), rtol=1e-5, atol=1e-6)
    with pytest.raises(BadInput, match=r"unexpected .*'backbone.classifier.weight'"):
        built(classifier, tmp_path)


def test_timms_own_classifier_fits():
    """The layout of timm's ImageNet weights (made up here) is the one that is read."""
    with torch.device("meta"):
        classifier = timm.create_model("hrnet_w32", pretrained=False).state_dict()
        net = HRNet(3, width=32, modules=(1, 4, 3), blocks=4)
        net.load_backbone(classifier, "hrnet_w32")
    assert any(key.startswith("incre_modules.") for key in classifier)


def test_an_unknown_name_is_bad_input(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = NetworkConfig.model_validate({**SMALL, "width": 32, "weights": "hrnet_w48.ms_in1k"})
    with pytest.raises(BadInput, match=r"one of \['hrnet_w32.ms_in1k'\]"):
        config.build(3)


def test_it_starts_as_published():
    """N(0, 0.001^2) for convolutions, batch norm 1 and 0, no bias but the head's, which is 0."""
    torch.manual_seed(0)
    net = NetworkConfig.model_validate({**SMALL, "width": 32}).build(JOINTS)
    convolutions = [m for m in net.modules() if isinstance(m, nn.Conv2d)]
    assert [c for c in convolutions if c.bias is not None] == [net.head]
    assert (net.head.bias == 0).all()
    weights = torch.cat([c.weight.flatten() for c in convolutions])
    assert weights.std().item() == pytest.approx(0.001, rel=0.005)
    assert weights.mean().item() == pytest.approx(0, abs=1e-5)
    for norm in (m for m in net.modules() if isinstance(m, nn.BatchNorm2d)):
        assert (norm.weight == 1).all() and (norm.bias == 0).all() and norm.momentum == 0.1


def test_there_is_one_stride():
    with pytest.raises(BadInput, match=r"view\.stride 8: must be 4 for an HRNet"):
        NetworkConfig.model_validate(SMALL).build(JOINTS, stride=8)
