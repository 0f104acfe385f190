"""Backbones: timm's networks, their levels, and a classifier's weights."""

import pytest
import timm
import torch
import torchvision
from pydantic import ValidationError
from torch import nn

from sspcm_kedro.errors import BadInput
from sspcm_kedro.nets import NetworkConfig
from sspcm_kedro.nets.backbone import Backbone, reduction_of


def resnet18_with(weights) -> Backbone:
    backbone = Backbone("resnet18")
    backbone.load(weights, "resnet18.pth")
    return backbone


def test_all_but_the_classifier_is_loaded(state):
    """The features of the backbone are those of torchvision's own ResNet."""
    resnet = torchvision.models.resnet18(weights=None)
    resnet.load_state_dict(state)
    resnet.fc = nn.Identity()
    backbone = resnet18_with(state)
    images = torch.rand(2, 3, 64, 32)
    with torch.no_grad():
        features = backbone.eval()(images).mean(dim=(2, 3))
        torch.testing.assert_close(features, resnet.eval()(images))


def test_a_state_without_classifier_or_batch_counters_will_do(state):
    """Torchvision's older files have no ``num_batches_tracked``."""
    bare = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
    bare = {k: v for k, v in bare.items() if not k.startswith("fc.")}
    backbone = resnet18_with(bare)
    assert backbone.net.layer3[1].conv2.weight.equal(state["layer3.1.conv2.weight"])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda s: s.pop("conv1.weight"), r"missing \['conv1.weight'\] \(1\)"),
        (lambda s: s.update({"stem.weight": s["conv1.weight"]}), r"unexpected \['stem.weight'\]"),
        (
            lambda s: s.update({"bn1.bias": torch.zeros(3)}),
            r"another shape \['bn1.bias \(3,\) for ",
        ),
    ],
)
def test_weights_of_another_network_are_refused_by_key(state, change, says):
    broken = dict(state)
    change(broken)
    with pytest.raises(BadInput, match=f"resnet18.pth: .*{says}"):
        resnet18_with(broken)


def test_another_depth_is_refused(state):
    with pytest.raises(BadInput, match=r"missing .*\(80\), unexpected \[\] \(0\)"):
        Backbone("resnet34").load(state, "resnet18.pth")


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_a_resnet_is_torchvisions_bit_for_bit(name):
    """Drawn by the same seed it has the same weights; in training its maps are the same."""
    torch.manual_seed(3)
    resnet = getattr(torchvision.models, name)(weights=None)
    torch.manual_seed(3)
    backbone = Backbone(name)
    for key, value in backbone.net.state_dict().items():
        assert value.equal(resnet.state_dict()[key]), key
    images = torch.rand(2, 3, 64, 96)
    maps = images
    for part in ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4"):
        maps = getattr(resnet, part)(maps)
    assert backbone(images).equal(maps)


@pytest.mark.parametrize(
    ("name", "reduction", "channels"),
    [
        ("resnet18", 4, 64),
        ("resnet50", 16, 1024),
        ("convnext_atto", 8, 80),
        ("tf_efficientnet_lite0", 16, 112),
        ("mobilenetv3_small_050", 16, 24),
        ("swin_tiny_patch4_window7_224", 16, 384),
    ],
)
def test_an_earlier_level_is_cut_off_behind_it(name, reduction, channels):
    """What lies behind it has no parameter left: each gets a gradient."""
    backbone = Backbone(name, reduction)
    assert (backbone.reduction, backbone.channels) == (reduction, channels)
    features = backbone(torch.randn(2, 3, 3 * reduction * 4, 2 * reduction * 4))
    assert features.shape == (2, channels, 12, 8)
    (features * torch.randn_like(features)).sum().backward()
    assert [n for n, p in backbone.named_parameters() if p.grad is None] == []


def test_an_earlier_level_takes_a_whole_classifiers_weights():
    classifier = timm.create_model("tf_efficientnet_lite0")
    backbone = Backbone("tf_efficientnet_lite0", 16)
    backbone.load(classifier.state_dict(), "lite0")
    assert backbone.net.blocks[4][0].conv_pw.weight.equal(classifier.blocks[4][0].conv_pw.weight)


def test_a_transformers_last_level_passes_its_norm():
    torch.manual_seed(0)
    backbone = Backbone("vit_tiny_patch16_224").eval()
    with torch.no_grad():
        features = backbone(torch.rand(2, 3, 48, 64))
    assert features.shape == (2, 192, 3, 4)
    torch.testing.assert_close(features.mean(dim=1), torch.zeros(2, 3, 4), atol=1e-5, rtol=0)


def test_what_is_asked_in_advance_is_what_is_built():
    for name, reduction in (("resnet18", None), ("resnet18", 8), ("vit_tiny_patch16_224", None)):
        assert reduction_of(name, reduction) == Backbone(name, reduction).reduction


def test_asking_in_advance_draws_no_random_numbers():
    torch.manual_seed(0)
    expected = torch.rand(3)
    reduction_of.cache_clear()
    torch.manual_seed(0)
    reduction_of("convnext_atto", None)
    assert torch.rand(3).equal(expected)


def test_a_level_that_is_not_there_is_bad_input():
    with pytest.raises(BadInput, match=r"reduction = 64: must be one of \[2, 4, 8, 16, 32\] for a"):
        reduction_of("resnet18", 64)


@pytest.mark.parametrize("name", ["hiera_tiny_224", "maxvit_tiny_tf_224"])
def test_a_backbone_of_one_image_size_is_bad_input(name):
    with pytest.raises(BadInput, match=rf"backbone = {name}: .* a fixed image size do not fit"):
        reduction_of(name, None)


@pytest.mark.parametrize(
    ("name", "near"), [("resnet-50", "resnet50"), ("vit_small_dinov2", "vit_small_patch14_dinov2")]
)
def test_an_unknown_backbone_names_those_that_are_near(name, near):
    record = {"kind": "simple_baseline", "backbone": name}
    with pytest.raises(ValidationError, match=rf"backbone = {name}: .*e\.g\. one of .*'{near}'"):
        NetworkConfig.model_validate(record)


def test_a_tag_does_not_belong_to_the_backbone():
    record = {"kind": "simple_baseline", "backbone": "resnet50.a1_in1k"}
    with pytest.raises(ValidationError, match=r"'resnet50'.*goes into network\.weights"):
        NetworkConfig.model_validate(record)
