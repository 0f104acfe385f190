"""Our method: targets and losses of one step by slow loops, who learns when, and its rules."""

import copy
from dataclasses import replace

import pytest
import torch

from family import UNCUT, B, H, K, W, build, in_training, make_batch, rand, slow_mse, step
from sspcm_kedro.methods import ComparisonConfig, MethodConfig
from sspcm_kedro.methods.base import total_loss
from sspcm_kedro.nets import ROLES, NetworkConfig
from sspcm_kedro.pose.heatmap import HeatmapCodec

SURE = 0.3


def corrected_batch():
    """Labels of which some are likelier than ``SURE`` and some are not, the last never right."""
    batch = make_batch()
    heights = rand(12, B, K, 1, 1) * torch.tensor([1.0, 1, 0]).reshape(1, K, 1, 1)
    corrected = rand(11, B, K, H // 4, W // 4) * heights
    return replace(batch, unlabeled=replace(batch.unlabeled, corrected=corrected))


def still(**more):
    return build("many_view", occlude=UNCUT, sure=SURE, **more)


@pytest.mark.parametrize("last", [False, True])
def test_labeled_and_unlabeled_people_are_one_batch_with_the_expected_heatmap_as_target(last):
    batch, method = corrected_batch(), still(weight=2.0)
    method.begin(last=last)
    labeled, unlabeled = batch.labeled, batch.unlabeled
    supervised = expected = 0.0
    for name in ("student",) if last else ("teacher_a", "teacher_b"):
        images = torch.cat([labeled.images, unlabeled.images])
        predicted = in_training(method.networks[name], images)
        supervised += slow_mse(predicted[:B], labeled.heatmaps, labeled.weights)
        expected += 2.0 * slow_mse(predicted[B:], unlabeled.corrected, unlabeled.weights)
    losses = step(method, batch)
    assert losses["loss/supervised"].item() == pytest.approx(supervised, rel=1e-5)
    assert losses["loss/consistency"].item() == pytest.approx(expected, rel=1e-5)
    assert total_loss(losses).item() == pytest.approx(supervised + expected, rel=1e-5)


def test_a_label_that_is_never_right_teaches_that_nothing_is_there():
    """Its target is empty, and not masked: the weight of the third keypoint is 1."""
    batch, method = corrected_batch(), still()
    method.begin(last=True)
    assert batch.unlabeled.corrected[:, 2].eq(0).all() and batch.unlabeled.weights[:, 2].eq(1).all()
    total_loss(step(method, batch)).backward()
    with_it = method.networks["student"].head[-1].bias.grad[2].clone()
    method.zero_grad()
    weights = batch.unlabeled.weights * torch.tensor([1.0, 1, 0])
    total_loss(
        step(method, replace(batch, unlabeled=replace(batch.unlabeled, weights=weights)))
    ).backward()
    assert not with_it.equal(method.networks["student"].head[-1].bias.grad[2])


def test_kept_is_the_share_of_taught_keypoints_that_are_sure():
    batch = corrected_batch()
    taught = kept = 0.0
    for n in range(B):
        for j in range(K):
            taught += float(batch.unlabeled.weights[n, j])
            if float(batch.unlabeled.corrected[n, j].max()) > SURE:
                kept += float(batch.unlabeled.weights[n, j])
    assert 0 < kept < taught
    assert step(still(), batch)["kept"].item() == pytest.approx(kept / taught)


def test_only_sure_keypoints_are_covered():
    """Of one sure keypoint in the middle of the image, pixels change about it alone."""
    batch = make_batch()
    corrected = torch.zeros(B, K, H // 4, W // 4)
    corrected[:, 0, 8, 6] = 0.9  # (26, 34) or so in input pixels
    corrected[:, 2, 2, 2] = 0.2
    patches = {"patches": 3, "half_size": (0.05, 0.05), "jitter": 0.0}
    method = build("many_view", occlude=patches, sure=SURE)
    method.begin(last=True)
    seen = []
    method.networks["student"].register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    step(method, replace(batch, unlabeled=replace(batch.unlabeled, corrected=corrected)))
    changed = (seen[0][B:] != batch.unlabeled.images).any(dim=1).nonzero()
    assert len(changed)
    assert changed[:, 1].min() >= 28 and changed[:, 1].max() <= 40  # y
    assert changed[:, 2].min() >= 20 and changed[:, 2].max() <= 32  # x


@pytest.mark.parametrize("decay", [None, 0.9])
def test_the_student_starts_the_last_stage_as_teacher_a_ships(decay):
    method = still(decay=decay)
    with torch.no_grad():
        for value in method.networks["teacher_a"].parameters():
            value.add_(1.0)  # its average stays behind
    before = {k: v.clone() for k, v in method.networks["student"].state_dict().items()}
    method.begin(last=False)
    assert all(method.networks["student"].state_dict()[k].equal(v) for k, v in before.items())
    method.begin(last=True)
    wanted = method.shipped["teacher_a"].state_dict()
    for net in (method.networks["student"], method.shipped["student"]):
        assert all(net.state_dict()[key].equal(value) for key, value in wanted.items())


def test_teachers_learn_first_and_the_student_last():
    method = still()
    assert method.learners(last=False) == ("teacher_a", "teacher_b") == method.labelers
    assert method.learners(last=True) == ("student",) == (method.deployed,)
    for last in (False, True):
        method.begin(last=last)
        method.zero_grad()
        total_loss(step(method, corrected_batch())).backward()
        firsts = {name: next(net.parameters()) for name, net in method.networks.items()}
        learned = {name for name, weight in firsts.items() if weight.grad is not None}
        assert learned == set(method.learners(last=last))


@pytest.mark.parametrize("last", [False, True])
def test_only_averages_of_those_who_learn_move(last):
    """Teachers whose weights no step changes any more would drift from their averages to them."""
    method = still()
    method.keep_averages(0.5)
    method.begin(last=last)
    before = copy.deepcopy(method.averages)
    with torch.no_grad():
        for number in method.networks.parameters():
            number += 1
    method.after_step(10**6)
    for name, average in method.averages.items():
        moved = 0.5 if name in method.learners(last=last) else 0.0
        for was, now in zip(before[name].parameters(), average.parameters(), strict=True):
            torch.testing.assert_close(now, was + moved)


def test_it_has_to_be_trained_in_rounds():
    with pytest.raises(ValueError, match=r"Unlabeled\.corrected"):
        step(still(), make_batch())
    with pytest.raises(ValueError, match="train it as method"):
        ComparisonConfig.model_validate({"kind": "many_view"})


def test_what_a_round_does_is_part_of_the_rules():
    record = {"kind": "many_view", "views": {"scales": [0.9, 1.0]}, "held_out": 0.3,
              "tolerance": 0.1, "sure": 0.6, "max_inconsistency": 0.2}  # fmt: skip
    rules = MethodConfig.model_validate(record).label_rules()
    assert rules.views.scales == (0.9, 1.0) and rules.views.rotations == (0.0,)
    assert (rules.held_out, rules.tolerance, rules.min_probability) == (0.3, 0.1, 0.6)
    assert (rules.min_score, rules.max_inconsistency) == (0.0, 0.2)


def method_where(differs: str | None):
    """Ours, with one role's network of another width, or none's."""

    def make_net(place: int):
        torch.manual_seed(place)
        width = 32 if ROLES[place] == differs else 16
        return NetworkConfig.model_validate({"kind": "small_baseline", "width": width}).build(K)

    return MethodConfig.model_validate({"kind": "many_view"}).build(make_net, HeatmapCodec())


@pytest.mark.parametrize("differs", ["teacher_b", "student"])
def test_a_student_starts_as_teacher_a_if_that_is_the_same_network(differs):
    method = method_where(differs)
    method.keep_averages(0.9)
    before = copy.deepcopy(method)
    method.begin(last=True)
    start = before.networks["student" if differs == "student" else "teacher_a"].state_dict()
    for kept in (method.networks, method.averages):
        assert all(v.equal(start[k]) for k, v in kept["student"].state_dict().items())
    for name in ("teacher_a", "teacher_b"):
        own = before.networks[name].state_dict()
        assert all(v.equal(own[k]) for k, v in method.networks[name].state_dict().items())


@pytest.mark.parametrize("differs", ["student", None])
def test_the_average_of_a_student_that_starts_as_itself_counts_its_own_steps(differs):
    """Else, after 5,000 steps of its teachers, 0.995^3 of it would be weights without a lesson; one
    that starts as teacher A has learned, and is averaged as that is."""
    method = method_where(differs)
    method.keep_averages(0.995)
    method.begin(last=False)
    method.begin(last=True, step=5000)
    average = method.averages["student"]
    wanted = {name: value.clone() for name, value in average.named_parameters()}
    for number in (1, 2, 3):
        with torch.no_grad():
            for value in method.networks["student"].parameters():
                value.add_(number)
        method.after_step(5000 + number)
        kept = {"student": {1: 2 / 11, 2: 3 / 12, 3: 4 / 13}[number], None: 0.995}[differs]
        for name, value in method.networks["student"].named_parameters():
            wanted[name] = kept * wanted[name] + (1 - kept) * value
    for name, value in average.named_parameters():
        torch.testing.assert_close(value, wanted[name])
