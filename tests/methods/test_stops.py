"""A step is one queue of work: nothing in it waits for a GPU, and it compiles as one graph.

Without a GPU: stops are counted on the meta device, and graphs are run by torch itself.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from benchmarks.stops import DEVICE, Stops, count_stops, on_device
from torch import nn

from sspcm_kedro.augment.affine import RandomAffine
from sspcm_kedro.augment.draws import Drawn, Noted, Undrawn, draw_all, draw_normal, draw_uniform
from sspcm_kedro.augment.occlude import Donors, draw_keypoints
from sspcm_kedro.batch import Batch, Labeled, Unlabeled, map_tensors
from sspcm_kedro.data.crops import Crops
from sspcm_kedro.data.loader import Batches, InstancePool, PseudoLabels
from sspcm_kedro.engine.compiled import compiled_step, learning_step, with_backward
from sspcm_kedro.engine.fit import fit
from sspcm_kedro.engine.optimizer import StepDecay, adam
from sspcm_kedro.engine.progress import StepProgress
from sspcm_kedro.engine.recorded import RecordedStep
from sspcm_kedro.methods import MethodConfig
from sspcm_kedro.methods.base import Method, total_loss
from sspcm_kedro.pose.geometry import CropFrame
from sspcm_kedro.pose.heatmap import HeatmapCodec
from sspcm_kedro.pose.skeleton import Skeleton

ROOT = Path(__file__).parents[2]
B, K, H, W = 2, 3, 16, 16
FEW = {"scales": [0.9], "rotations": [0.0]}
KINDS = {
    "supervised": {}, "pseudo_pose": {}, "data_distill": {"views": FEW}, "ubpl": {},
    "scarce_net": {}, "denoise_select": {"views": FEW},
    "multi_augs": {"dual": True, "paths": ["joco", "jccm"]}, "teacher_reviewer": {},
    "pose_cons": {}, "pose_dual": {}, "sspcm": {}, "many_view": {},
}  # fmt: skip


def net(_: int) -> nn.Module:
    """The least that learns: a factor and a summand for each channel of a small image."""
    return nn.Sequential(nn.AvgPool2d(4), nn.BatchNorm2d(K))


def build(kind: str, device: torch.device, **more: object) -> Method:
    config = MethodConfig.model_validate({"kind": kind, **KINDS[kind], **more})
    with device:
        method = config.build(net, HeatmapCodec(sigma=1.0))
        if config.reads_averages:
            method.keep_averages(0.9)
    return method.train()


def make_batch(seed: int = 0) -> Batch:
    rng = torch.Generator().manual_seed(seed)

    def rand(*shape: int) -> torch.Tensor:
        return torch.rand(shape, generator=rng)

    maps = (B, K, H // 4, W // 4)
    return Batch(
        Labeled(rand(B, 3, H, W), rand(*maps), torch.ones(B, K)),
        Unlabeled(
            rand(B, 3, H, W), torch.ones(B, K), (rand(*maps), rand(*maps)),
            Donors(rand(B, 3, H, W), rand(B, 1, 2) * H), (1, 0, 2), rand(*maps),
        ),
    )  # fmt: skip


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize(("kind", "more"), [
    *((kind, {}) for kind in KINDS), ("sspcm", {"snapshot_every": 1}),
    ("sspcm", {"donors": "bank"}), ("many_view", {"donors": "bank"}),
])  # fmt: skip
def test_no_step_waits_for_the_device(kind, more, last):
    """Losses and averages; the backward pass and the optimizer are torch's alone."""
    with torch.no_grad(), count_stops() as stops:
        method = build(kind, DEVICE, **more)
        method.keep_averages(0.9)
        method.begin(last=last)
        batch = on_device(make_batch())
        stops.found.clear()
        loss = total_loss(method.training_step(batch, Undrawn()))
        method.after_step(1)
    assert loss.is_meta and stops.launches > 10
    assert not stops.found, dict(stops.found)


@pytest.mark.parametrize("shards", [1, 2])
def test_the_loop_waits_for_the_device_at_the_end_of_an_epoch_alone(shards, monkeypatch):
    """Shards, sums, averages and the bar; the method's step is another test's."""
    of_cpu, found = torch.Generator, []
    monkeypatch.setattr(torch, "Generator", lambda *_: of_cpu())  # which draws nothing here
    with torch.no_grad(), count_stops() as stops, StepProgress("a stage", 4) as tell:
        method = build("sspcm", DEVICE, snapshot_every=2)
        method.keep_averages(0.9)

        def learn(batch: Batch, rng: object, shards: int) -> dict[str, torch.Tensor]:
            return method.training_step(batch, Undrawn())

        def told(scalars: dict[str, torch.Tensor]) -> None:
            tell(scalars)
            found.append(stops.found.total())

        batches = [on_device(make_batch(i)) for i in range(4)]
        stops.found.clear()
        reports = fit(
            method, lambda *_: iter(batches), adam(method, 1e-3), StepDecay(1e-3, (), 4),
            epochs=range(1), steps=4, seed=1, shards=shards, on_step=told, learn=learn,
        )  # fmt: skip
        next(reports)
    assert found == [0] * 4, dict(stops.found)
    assert stops.found.total() >= 1  # the losses are read


def test_all_methods_are_counted():
    assert len(KINDS) == len(MethodConfig.model_fields["root"].annotation.__args__)


class Kept(Crops):
    """Crops in memory, of no file."""

    def __init__(self) -> None:
        self.instances, self.frame, self.border = range(6), CropFrame((H, W)), 2
        self.workers, self._stored = 1, None
        self._kept = np.zeros((6, H + 4, W + 4, 3), np.uint8)


def test_no_batch_waits_for_the_device():
    pool = InstancePool(Kept(), torch.rand(6, K, 2) * H, torch.ones(6, K, dtype=torch.int64))
    pseudo = PseudoLabels(
        torch.arange(6), torch.rand(2, 6, K, 2) * H, torch.rand(2, 6, K),
        torch.tensor([[0.0, 4, 5], [3, 6, 7]]), torch.rand(6, K, 2) * H, torch.rand(6, K),
    )  # fmt: skip
    skeleton = Skeleton(names=("left", "right", "nose"), flip_pairs=((0, 1),))
    batches = Batches(
        pool, pool, pseudo, skeleton, HeatmapCodec(sigma=1.0), RandomAffine(), (2, 2), 2, 0, DEVICE,
        color=0.4,
    )  # fmt: skip
    with torch.no_grad(), count_stops() as stops:
        found = list(batches.epoch(0))
    assert len(found) == 2 and found[0].unlabeled.donors.images.is_meta
    assert not stops.found, dict(stops.found)


def stops_of(call) -> Stops:
    with torch.no_grad(), count_stops() as stops:
        call(torch.ones(2, 2, device=DEVICE))
    return stops


@pytest.mark.parametrize(
    "call",
    [
        lambda x: x.sum().item(),
        lambda x: x.cpu(),
        lambda x: x.to("cpu"),
        lambda x: x.new_tensor([1.0, 2.0]),
        lambda x: torch.tensor([1, 2], device=DEVICE),
        lambda x: x[:, [1, 0]],
        lambda x: x[torch.tensor([1])],
        lambda x: x.copy_(torch.ones(2, 2)),
        torch.linalg.inv,
        lambda x: bool(x.any()),
        lambda x: torch.multinomial(x, 1),
        lambda x: torch.ones(3).to(DEVICE),
        lambda x: torch.ones(3).to(DEVICE, non_blocking=True),  # not pinned
        lambda x: torch.ones(3).pin_memory().to(DEVICE),
    ],
)
def test_the_counter_knows_what_waits(call):
    assert stops_of(call).found.total() >= 1


def test_the_counter_knows_what_does_not():
    stops = stops_of(
        lambda x: (
            x + 1, x[1:], x[x.long().argmax(1)], torch.where(x > 0, -1.0, x), x.new_full((), 3.0),
            torch.ones(3).pin_memory().to(DEVICE, non_blocking=True), torch.linalg.inv_ex(x),
            torch.ones(2).sum().item(),
        )
    )  # fmt: skip
    assert not stops.found and stops.launches >= 6


def test_a_step_is_one_graph_with_the_same_numbers():
    """In a process of its own: what checks shapes in the tests is no part of a graph.

    So do the steps of two shards.
    """
    command = [sys.executable, __file__, *KINDS]
    paths = os.pathsep.join((str(ROOT / "src"), str(ROOT)))
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": paths},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == list(KINDS)


def compare_with_graph(kind: str) -> None:
    """Two steps as they are and compiled, the second of them as a graph: no bit differs.

    ``fullgraph`` makes a break of the graph an error.
    """
    methods = [build(kind, torch.device("cpu")) for _ in range(2)]
    steps = [methods[0].training_step, compiled_step(methods[1], "step", "eager")]
    rngs = [torch.Generator().manual_seed(3) for _ in steps]
    for seed in range(2):
        found = [step(make_batch(seed), rng) for step, rng in zip(steps, rngs, strict=True)]
        assert found[0].keys() == found[1].keys()
        assert all(found[0][name].equal(found[1][name]) for name in found[0])
    for scalars in found:
        total_loss(scalars).backward()
    assert any(p.grad is not None and p.grad.any() for p in methods[0].parameters())
    for one, other in zip(*(m.parameters() for m in methods), strict=True):
        assert (one.grad is None) == (other.grad is None)
        assert one.grad is None or one.grad.equal(other.grad)
    assert rngs[0].get_state().equal(rngs[1].get_state())


def compare_shards_with_graphs(kind: str) -> None:
    """Two shards in turn, of which the first alone records statistics: no bit differs."""
    states = []
    for compiled in (None, "step"):
        method = build(kind, torch.device("cpu"))
        before = [buffer.clone() for buffer in method.buffers()]
        reports = fit(
            method, lambda _, shard, start: map(make_batch, (shard, 2, 3)), adam(method, 1e-3),
            StepDecay(1e-3, (), 3), epochs=range(1), steps=3, seed=1, shards=2,
            learn=with_backward(compiled_step(method, compiled, "eager")),
        )  # fmt: skip
        states.append((next(reports).scalars, method.state_dict()))
        assert not all(map(torch.equal, before, method.buffers()))
    assert states[0][0] == states[1][0]
    assert all(map(torch.equal, states[0][1].values(), states[1][1].values()))


class Replayed(RecordedStep):
    """Does on the CPU, from the same places, what a GPU would replay; counts recordings and
    replays."""

    def __init__(self, method: Method) -> None:
        super().__init__(method, self.take_down)
        self.recorded, self.replayed = 0, 0

    def take_down(self, work):
        self.recorded += 1

        def replay() -> None:
            self.replayed += 1
            work()

        return replay


def trained(kind: str, device: torch.device, learn_of) -> tuple[list, dict, object]:
    """Losses, state and the step after two epochs of three steps of two shards."""
    method = build(kind, device)
    method.keep_averages(0.9)
    learn = learn_of(method)

    def batches(epoch: int, shard: int, _: int):
        for i in range(3):
            batch = make_batch(100 * epoch + 10 * shard + i)
            yield map_tensors(batch, lambda tensor: tensor.to(device))

    reports = fit(
        method, batches, adam(method, 1e-3), StepDecay(1e-3, (), 6), epochs=range(2), steps=3,
        seed=1, shards=2, learn=learn,
    )  # fmt: skip
    return [report.scalars for report in reports], method.state_dict(), learn


def eager(method: Method):
    return with_backward(method.training_step)


@pytest.mark.parametrize("kind", KINDS)
def test_a_recorded_step_is_the_step(kind):
    """Two shards a step, of which the first alone records statistics: no bit differs. Each kind of
    shard is done once as it is, and then from its recording."""
    cpu = torch.device("cpu")
    losses, state, _ = trained(kind, cpu, eager)
    again, same, learn = trained(kind, cpu, Replayed)
    assert losses == again
    assert all(map(torch.equal, state.values(), same.values()))
    assert (learn.recorded, learn.replayed) == (2, 10)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("kind", KINDS)
def test_a_graph_of_the_gpu_is_the_step(kind):
    gpu = torch.device("cuda", torch.cuda.device_count() - 1)  # which need not be the current one
    losses, state, _ = trained(kind, gpu, eager)
    again, same, _ = trained(kind, gpu, lambda method: learning_step(method, "graph"))
    for one, other in zip(losses, again, strict=True):
        assert one == pytest.approx(other, rel=1e-5)
    for name, value in state.items():
        torch.testing.assert_close(same[name], value, rtol=1e-4, atol=1e-6)


def test_a_recording_leaves_alone_what_a_step_does_not_train():
    """A network without a gradient keeps none, so that the optimizer does not move it."""
    method = build("many_view", torch.device("cpu"))
    method.begin(last=True)
    learn = Replayed(method)
    for seed in range(3):
        for p in method.parameters():
            p.grad = None
        learn(make_batch(seed), torch.Generator().manual_seed(seed), 1)
    assert learn.replayed == 2
    trained = {n for n, p in method.networks.named_parameters() if p.grad is not None}
    assert trained and all(name.startswith("student.") for name in trained)


def test_compiled_networks_are_all_that_a_step_calls():
    """Also frozen copies and averages; their weights keep their names."""
    torch.compiler.reset()
    method = build("sspcm", torch.device("cpu"), snapshot_every=1)
    names = method.state_dict().keys()
    assert compiled_step(method, None) == method.training_step
    assert method.networks["student"]._compiled_call_impl is None
    step = compiled_step(method, "networks", "eager")
    plain = build("sspcm", torch.device("cpu"), snapshot_every=1)
    found, wanted = (
        s(make_batch(), torch.Generator().manual_seed(1)) for s in (step, plain.training_step)
    )
    assert all(found[name].equal(wanted[name]) for name in wanted)
    compiled = [*method.networks.values(), *method.snapshots]
    assert all(one._compiled_call_impl is not None for one in compiled) and len(compiled) == 5
    assert method.state_dict().keys() == names


def test_numbers_drawn_before_are_those_that_would_be_drawn():
    def ask(rng) -> list[torch.Tensor]:
        weights = torch.tensor([[1.0, 0, 1], [0, 0, 0]])
        return [draw_normal(rng, (2, 3)), draw_uniform(rng, (4,)),
                draw_keypoints(weights, 1, rng), draw_keypoints(weights, 5, rng)]  # fmt: skip

    wanted = ask(torch.Generator().manual_seed(2))
    noted = Noted(torch.Generator().manual_seed(2))
    drawn = Drawn(draw_all((ask(noted), noted.requests)[1], torch.Generator().manual_seed(2)))
    assert all(a.equal(b) for a, b in zip(ask(drawn), wanted, strict=True))
    with pytest.raises(ValueError, match="drawn were"):
        draw_normal(Drawn([torch.zeros(2)]), (3,))


@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_keypoints_are_drawn_as_multinomial_draws(count):
    """The indices and the generator's state afterwards are those of ``torch.multinomial``."""
    for seed in range(20):
        rng, other = (torch.Generator().manual_seed(seed) for _ in "ab")
        weights = (torch.rand((3, 11), generator=torch.Generator().manual_seed(seed)) > 0.5) * 0.3
        weights[0] = 0
        odds = (weights > 0).float()
        odds[odds.sum(dim=1) == 0] = 1
        found = draw_keypoints(weights, count, rng)
        if count:
            assert found.equal(torch.multinomial(odds, count, replacement=True, generator=other))
        assert found.shape == (3, count) and rng.get_state().equal(other.get_state())


if __name__ == "__main__":
    for each in sys.argv[1:]:
        torch.compiler.reset()  # a step of another method is no recompilation
        compare_with_graph(each)
        print(each)  # noqa: T201
    compare_shards_with_graphs("supervised")
