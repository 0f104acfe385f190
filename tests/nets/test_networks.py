"""The union of networks: what every kind promises, and what is refused."""

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from sspcm_kedro.nets import ROLES, NetworkConfig, parameter_count


def test_frozen_parameters_do_not_count():
    net = nn.Linear(3, 2)
    net.bias.requires_grad_(False)
    assert parameter_count(net) == 6


@pytest.mark.parametrize(
    ("config", "hw"),
    [
        ({"kind": "small_baseline", "width": 16}, (64, 48)),
        ({"kind": "small_baseline", "width": 16, "blocks": 2}, (32, 80)),
        ({"kind": "simple_baseline", "backbone": "resnet18"}, (96, 64)),
        ({"kind": "simple_baseline", "backbone": "resnet50"}, (64, 32)),
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


@pytest.mark.parametrize(
    "record",
    [
        {"kind": "vitpose"},
        {},
        {"kind": "hrnet", "width": 2},
        {"kind": "hrnet", "modules": [1, 4]},
        {"kind": "hrnet", "modules": [1, 0, 3]},
        {"kind": "hrnet", "backbone": "resnet18"},
        {"kind": "simple_baseline", "weights": "a.pth", "checkpoint": "b.pth"},
        {"kind": "teacher_student", "teacher": {"kind": "hrnet"}},
        {
            "kind": "teacher_student",
            "teacher": {"kind": "hrnet"},
            "student": {"kind": "teacher_student"},
        },
        {"kind": "small_baseline", "backbone": "resnet18"},
        {"kind": "small_baseline", "width": 2},
        {"kind": "small_baseline", "blocks": 0},
        {"kind": "simple_baseline", "backbone": "resnet20"},
        {"kind": "simple_baseline", "depth": 18},
        {"kind": "simple_baseline", "reduction": 0},
        {"kind": "simple_baseline", "head_width": 0},
        {"kind": "simple_baseline", "width": 16},
    ],
)
def test_wrong_kinds_keys_and_sizes_are_refused(record):
    with pytest.raises(ValidationError):
        NetworkConfig.model_validate(record)


@pytest.mark.parametrize("teacher_b", [None, 32])
def test_each_role_has_its_network_and_teacher_b_that_of_teacher_a_unless_it_is_given(teacher_b):
    def small(width):
        return {"kind": "small_baseline", "width": width}

    record = {"kind": "teacher_student", "teacher": small(24), "student": small(16)}
    if teacher_b:
        record["teacher_b"] = small(teacher_b)
    network = NetworkConfig.model_validate(record)
    assert [network.of(name).width for name in ROLES] == [24, teacher_b or 24, 16]


def test_a_bare_network_starts_from_nothing_whatever_its_role():
    def resnet(weights):
        return {"kind": "simple_baseline", "weights": weights}

    parts = {"teacher": resnet("a"), "teacher_b": resnet("b"), "student": resnet("c")}
    network = NetworkConfig.model_validate({"kind": "teacher_student", **parts})
    assert network.files() == ["a", "b", "c"]
    assert network.bare().files() == []
