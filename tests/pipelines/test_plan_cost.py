"""What a step costs, against counting by hand and against the same step with numbers."""

import functools

import pytest
import torch
import torchvision
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from sspcm_kedro.data.views import ViewConfig
from sspcm_kedro.engine.correction import correct, occluder_bank
from sspcm_kedro.engine.learner import Learner, network_maker
from sspcm_kedro.engine.optimizer import TrainingConfig
from sspcm_kedro.machine import MachineConfig
from sspcm_kedro.methods import MethodConfig
from sspcm_kedro.methods.supervised import Supervised
from sspcm_kedro.nets import NetworkConfig
from sspcm_kedro.nets.heatmap_network import HeatmapNetwork
from sspcm_kedro.pipelines.plan.cost import (
    blank_batch,
    blank_method,
    checkpoint_bytes,
    hours,
    label_bytes,
    memory_of,
    prediction_flops,
    step_cost,
)
from sspcm_kedro.pipelines.plan.probe import Throughput, measure, timed_step
from sspcm_kedro.pose.heatmap import HeatmapCodec

B, K, H, W = 3, 7, 32, 24
CPU = torch.device("cpu")
SMALL = NetworkConfig.model_validate({"kind": "small_baseline", "width": 16})
CODEC = HeatmapCodec()
MIXED = NetworkConfig.model_validate(
    {
        "kind": "teacher_student",
        "teacher": {"kind": "small_baseline", "width": 32},
        "teacher_b": {"kind": "small_baseline", "width": 24},
        "student": {"kind": "small_baseline", "width": 16, "blocks": 2},
    }
)
KINDS = {
    "supervised": {"kind": "supervised"},
    "pose_cons": {"kind": "pose_cons"},
    "pose_dual": {"kind": "pose_dual"},
    "rounds": {"kind": "sspcm"},
    "snapshots": {"kind": "sspcm", "snapshot_every": 10},
    "distilled": {"kind": "data_distill", "views": {"scales": [0.8, 1.0, 1.2]}},
    "averages": {"kind": "ubpl"},
    "paths": {"kind": "multi_augs", "paths": ["joco", "jccm"]},
}


def config(kind: str) -> MethodConfig:
    return MethodConfig.model_validate(KINDS[kind])


def decay(kind: str) -> float | None:
    return 0.9 if kind == "averages" else None


@functools.cache
def cost(kind: str, mixed: bool = False, size: int = B):
    network = MIXED if mixed else SMALL
    method = blank_method(config(kind), network, K, CODEC, average_decay=decay(kind))
    return step_cost(method, blank_batch(
        size, K, (64, 32), CODEC, unlabeled=method.needs_unlabeled, stored=kind == "rounds"
    ))  # fmt: skip


def two_layers() -> nn.Module:
    """Images to heatmaps of an eighth of their height: 3 -> 5 -> K channels."""
    return nn.Sequential(
        nn.Conv2d(3, 5, 3, stride=4, padding=1), nn.ReLU(), nn.Conv2d(5, K, 1, bias=False)
    )


def two_layer_cost():
    with torch.device("meta"):
        method = Supervised(lambda _: two_layers())
    return method, step_cost(
        method, blank_batch(B, K, (H, W), CODEC, unlabeled=False, stored=False)
    )


def test_flops_of_convolutions_are_those_of_the_formula():
    """2 Cin Cout k k Hout Wout an image; backward twice that, but images need no gradient."""
    _, step = two_layer_cost()
    first = 2 * 3 * 5 * 3 * 3 * (H // 4) * (W // 4) * B
    second = 2 * 5 * K * (H // 4) * (W // 4) * B
    assert step.forward_flops == first + second
    assert step.backward_flops == first + 2 * second
    assert step.flops == 2 * first + 3 * second


def test_people_of_both_kinds_in_one_pass_are_seen_by_its_network():
    """Ours learns from labeled and hard people in one batch."""
    method = blank_method(MethodConfig.model_validate({"kind": "many_view"}), SMALL, K, CODEC)
    step = step_cost(method, blank_batch(B, K, (64, 32), CODEC, unlabeled=True, stored=True))
    assert (step.forwards, step.backwards) == (2, 2)  # of the two teachers
    assert (step.labeled_networks, step.unlabeled_networks) == (2, 2)


def test_activations_are_what_backward_reads_once_each():
    _, step = two_layer_cost()
    images, hidden, maps = B * 3 * H * W, B * 5 * (H // 4) * (W // 4), B * K * (H // 4) * (W // 4)
    prediction_and_target, squared_weights = 2 * maps, B * K
    assert step.activation_bytes == 4 * (images + hidden + prediction_and_target + squared_weights)


@pytest.mark.parametrize(
    ("kind", "forwards", "backwards", "labeled", "unlabeled"),
    [
        ("supervised", 1, 1, 1, 0),
        ("pose_cons", 3, 2, 1, 1),  # labeled, weak; strong
        ("pose_dual", 6, 4, 2, 2),
        ("rounds", 8, 6, 3, 3),  # 3 labeled, 2 teachers weak, 3 strong
        ("snapshots", 10, 6, 3, 5),  # and 2 frozen copies weak
        ("distilled", 8, 2, 1, 2),  # student: labeled, strong; teacher: 3 scales, mirrored too
        ("averages", 6, 4, 2, 4),  # 2 labeled, 2 averages weak, 2 strong
        ("paths", 4, 3, 1, 1),  # labeled, weak; 2 strong
    ],
)
def test_passes_are_those_counted_by_hand(kind, forwards, backwards, labeled, unlabeled):
    step = cost(kind)
    assert (step.forwards, step.backwards) == (forwards, backwards)
    assert (step.labeled_networks, step.unlabeled_networks) == (labeled, unlabeled)
    assert (step.labeled, step.unlabeled) == (B, B if kind != "supervised" else 0)


@pytest.mark.parametrize(("kind", "mixed"), [*((kind, False) for kind in KINDS), ("rounds", True)])
def test_the_same_step_with_numbers_has_the_same_flops(kind, mixed):
    """On the CPU, where the step is computed."""
    method = blank_method(config(kind), MIXED if mixed else SMALL, K, CODEC, CPU, decay(kind))
    batch = blank_batch(
        B, K, (64, 32), CODEC, unlabeled=method.needs_unlabeled, stored=kind == "rounds", device=CPU
    )
    with FlopCounterMode(display=False) as forward:
        scalars = method.training_step(batch, torch.Generator().manual_seed(0))
        loss = torch.stack([v for k, v in scalars.items() if k.startswith("loss/")]).sum()
    with FlopCounterMode(display=False) as backward:
        loss.backward()
    step = cost(kind, mixed=mixed)
    assert step.forward_flops == forward.get_total_flops()
    assert step.backward_flops == backward.get_total_flops()


def test_views_are_mirrored_only_where_training_mirrors():
    method = blank_method(config("distilled"), SMALL, K, CODEC)
    batch = blank_batch(B, K, (64, 32), CODEC, unlabeled=True, stored=False, mirrors=False)
    assert step_cost(method, batch).forwards == 5 == cost("distilled").forwards - 3


def test_twice_the_batch_is_twice_the_cost():
    once, twice = cost("pose_cons"), cost("pose_cons", size=2 * B)
    assert twice.flops == 2 * once.flops
    assert 1.9 * once.activation_bytes < twice.activation_bytes <= 2 * once.activation_bytes


def test_a_step_is_not_counted_where_it_would_be_computed():
    method = blank_method(config("supervised"), SMALL, K, CODEC, CPU)
    with pytest.raises(ValueError, match="meta device"):
        step_cost(method, blank_batch(B, K, (64, 32), CODEC, unlabeled=False, stored=False))


def test_the_published_network_has_its_parameters_and_is_not_downloaded(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("weights were asked for")

    monkeypatch.setattr(torchvision.models.ResNet18_Weights, "get_state_dict", refuse)
    network = NetworkConfig.model_validate(
        {
            "kind": "simple_baseline",
            "backbone": "resnet18",
            "weights": "ResNet18_Weights.IMAGENET1K_V1",
        }
    )
    method, step = blank_method(config("supervised"), network, 17, CODEC), two_layer_cost()[1]
    backbone = sum(p.numel() for p in torchvision.models.resnet18().parameters()) - 513_000  # fc
    head = 16 * 256 * (512 + 256 + 256) + 3 * 2 * 256 + (256 + 1) * 17
    memory = memory_of(method, [step])
    assert memory.gradients == 4 * (backbone + head)
    assert round((backbone + head) / 1e6, 1) == 15.4


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "distilled"])
def test_memory_and_checkpoint_are_those_of_a_real_training(kind):
    training = TrainingConfig(
        batch=2, steps=1, warmup_epochs=1, round_epochs=1, rounds=1, average_decay=decay(kind)
    )
    learner = Learner(config(kind), network_maker(SMALL, K, 0), CODEC, training, CPU)
    batch = blank_batch(B, K, (64, 32), CODEC, unlabeled=True, stored=True, device=CPU)
    scalars = learner.method.training_step(batch, torch.Generator().manual_seed(0))
    torch.stack([v for k, v in scalars.items() if k.startswith("loss/")]).sum().backward()
    learner.optimizer.step()
    gradients = sum(p.grad.nbytes for p in learner.method.parameters() if p.grad is not None)
    adam = sum(t.nbytes for state in learner.optimizer.state.values() for t in state.values())
    tensors = sum(t.nbytes for t in learner.method.state_dict().values())

    method = blank_method(config(kind), SMALL, K, CODEC, average_decay=decay(kind))
    step = cost(kind)
    memory = memory_of(method, [cost("supervised"), step])
    assert memory.parameters == tensors
    assert memory.gradients == gradients
    assert memory.optimizer == adam
    assert memory.activations == max(cost("supervised").activation_bytes, step.activation_bytes)
    assert memory.total == tensors + gradients + adam + memory.activations
    assert checkpoint_bytes(method) == tensors + adam


def test_stored_labels_have_the_size_that_correction_gives_them():
    people, rng = 5, torch.Generator().manual_seed(0)
    now = torch.rand(2, people, K, 2, generator=rng), torch.rand(2, people, K, generator=rng)
    corrected = correct(
        (now[0], now[0]), (now[1], now[1]), (H, W), min_score=0.0, max_inconsistency=1.0
    )
    ids = torch.arange(people)
    every = occluder_bank(corrected["keypoints"], torch.ones(people, K, dtype=torch.bool), (H, W))
    assert len(every) == people * K
    assert label_bytes(people, K) == {
        "predictions": ids.nbytes + now[0].nbytes + now[1].nbytes,
        "corrected": ids.nbytes + sum(t.nbytes for t in corrected.values()),
        "occluders": ids.nbytes + every.nbytes,
    }


def test_prediction_is_one_forward_pass():
    with torch.device("meta"):
        net = two_layers()
    assert prediction_flops(net, (H, W)) == (2 * 27 * 5 + 2 * 5 * K) * (H // 4) * (W // 4)


def test_hours():
    assert hours(3.6e15, 1) == 1.0
    assert hours(3.6e15, 20) == 0.05


def test_a_probe_divides_the_counted_flops_by_the_time_of_real_steps(monkeypatch):
    ticks = iter(range(100))  # each step takes one second
    monkeypatch.setattr("sspcm_kedro.pipelines.plan.probe.time.perf_counter", lambda: next(ticks))
    seen = measure(
        config("rounds"), SMALL, K, ViewConfig(input_hw=(64, 32)), TrainingConfig(),
        MachineConfig(device="cpu"), labeled=2, unlabeled=6, repeat=1,
    )  # fmt: skip
    batch = blank_batch(2, K, (64, 32), CODEC, unlabeled=True, stored=True, others=6)
    counted = step_cost(blank_method(config("rounds"), SMALL, K, CODEC), batch).flops
    assert seen == Throughput(counted / 1e12, "cpu", labeled=2, unlabeled=6)


def test_one_backward_pass_through_all_keeps_what_every_network_needs():
    """SSPCM's step in rounds: six passes with a gradient through equal networks."""
    method = blank_method(config("rounds"), SMALL, K, CODEC)
    batch = blank_batch(B, K, (64, 32), CODEC, unlabeled=True, stored=True)
    each, whole = (step_cost(method, batch, whole=one) for one in (False, True))
    assert 5 * each.activation_bytes < whole.activation_bytes <= 6 * each.activation_bytes
    assert (each.flops, each.backwards) == (whole.flops, whole.backwards)


def test_the_gradients_of_a_shard_lie_beside_the_sum_of_those_before():
    method = blank_method(config("supervised"), SMALL, K, CODEC)
    step = step_cost(method, blank_batch(B, K, (64, 32), CODEC, unlabeled=False, stored=False))
    assert memory_of(method, [step], 2).gradients == 2 * memory_of(method, [step], 1).gradients


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_probe_computes_in_the_precision_of_the_training(precision, monkeypatch):
    seen = set()
    forward = HeatmapNetwork.forward

    def watched(self, images):
        seen.add(self.bf16)
        return forward(self, images)

    monkeypatch.setattr(HeatmapNetwork, "forward", watched)
    training = TrainingConfig(precision=precision)
    step = timed_step(
        config("rounds"), SMALL, K, ViewConfig(input_hw=(64, 32)), training,
        MachineConfig(device="cpu"),
    )  # fmt: skip
    assert step(blank_batch(2, K, (64, 32), CODEC, unlabeled=True, stored=True, device=CPU)) > 0
    assert seen == {precision == "bf16"}
