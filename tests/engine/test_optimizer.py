"""The learning rate is a function of the step alone; Adam trains what is trainable."""

import pytest
import torch
from torch import nn

from sspcm_kedro.engine.optimizer import StepDecay, TrainingConfig, adam
from sspcm_kedro.errors import BadInput
from sspcm_kedro.parameters import parse


@pytest.mark.parametrize(
    ("step", "rate"),
    [(0, 1e-3), (69, 1e-3), (70, 1e-4), (89, 1e-4), (90, 1e-5), (99, 1e-5), (500, 1e-5)],
)
def test_a_tenth_after_each_milestone(step, rate):
    assert StepDecay(1e-3, (0.7, 0.9), 100).at(step) == pytest.approx(rate)


def test_without_milestones_the_rate_stays():
    assert StepDecay(0.5, (), 10).at(9) == 0.5


def test_apply_sets_every_group_whatever_it_was():
    groups = [{"params": [nn.Parameter(torch.zeros(1))], "lr": lr} for lr in (1.0, 7.0)]
    optimizer = torch.optim.SGD(groups)
    schedule = StepDecay(0.1, (0.5,), 10)
    for step, rate in ((7, 0.01), (2, 0.1)):
        schedule.apply(optimizer, step)
        assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([rate, rate])


def test_adam_has_no_weight_decay_and_leaves_frozen_parameters():
    net = nn.Linear(2, 1)
    net.bias.requires_grad_(False)
    optimizer = adam(net, 0.01)
    (group,) = optimizer.param_groups
    assert [id(p) for p in group["params"]] == [id(net.weight)]
    assert group["weight_decay"] == 0 and group["betas"] == (0.9, 0.999)
    before = net.weight.detach().clone()
    net(torch.tensor([[1.0, -2.0]])).sum().backward()
    optimizer.step()
    # The first step of Adam is the rate, against the sign of the gradient.
    torch.testing.assert_close(net.weight - before, torch.tensor([[-0.01, 0.01]]))


@pytest.mark.parametrize(("step", "rate"), [(0, 0.025), (1, 0.05), (3, 0.1), (4, 0.1), (5, 0.01)])
def test_a_linear_start_rises_to_the_rate(step, rate):
    assert StepDecay(0.1, (0.5,), 10, linear_start=4).at(step) == pytest.approx(rate)


def test_a_linear_start_and_a_milestone_multiply():
    assert StepDecay(0.1, (0.1,), 10, linear_start=4).at(1) == pytest.approx(0.1 * 0.5 * 0.1)


def test_backbones_learn_at_their_share_of_the_rate():
    """The first step of Adam is the rate of its group, whatever the gradient."""
    net = nn.ModuleDict({"backbone": nn.Linear(1, 1), "head": nn.Linear(1, 1)})
    method = nn.ModuleDict({"networks": nn.ModuleDict({"student": net})})
    optimizer = adam(method, 7.0, backbone_rate=0.25)
    StepDecay(0.08, (), 10, linear_start=2).apply(optimizer, 0)
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    net["head"](net["backbone"](torch.tensor([[3.0]]))).sum().backward()
    optimizer.step()
    moved = {name: (p - before[name]).abs().item() for name, p in net.named_parameters()}
    assert moved == pytest.approx(
        {"backbone.weight": 0.01, "backbone.bias": 0.01, "head.weight": 0.04, "head.bias": 0.04}
    )


def test_without_backbones_there_is_one_group_of_the_whole_rate():
    optimizer = adam(nn.Linear(2, 1), 0.5, backbone_rate=0.1)
    (group,) = optimizer.param_groups
    StepDecay(0.5, (), 10).apply(optimizer, 3)
    assert group["lr"] == 0.5


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"batch": 9, "shards": 2}, "2 does not divide 9"),
        ({"round_batch": {"labeled": 4, "unlabeled": 6}, "batch": 8, "shards": 4},
         "4 does not divide 6"),
        ({"batch": 4, "shards": 4}, "2 people a shard at least, got 4"),
    ],
)  # fmt: skip
def test_a_batch_is_cut_into_equal_shards_of_several_people(settings, rule):
    with pytest.raises(BadInput, match=f"parameter training: .*{rule}"):
        parse("training", settings, TrainingConfig)


@pytest.mark.parametrize(
    ("epochs", "share", "finish"),
    [(1, 0.75, 0), (2, 0.75, 1), (3, 0.33, 1), (3, 0.5, 2), (5, 0.5, 3), (6, 0.33, 2), (6, 0.0, 0)],
)
def test_the_student_never_finishes_before_it_has_begun(epochs, share, finish):
    assert TrainingConfig(round_epochs=epochs).finish_epochs(share) == finish
