"""Training: a resumed run is the uninterrupted one bit for bit; hidden labels change nothing."""

import copy
import io
import itertools
from dataclasses import asdict, replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from sspcm_kedro.augment.affine import RandomAffine
from sspcm_kedro.batch import Batch, Labeled
from sspcm_kedro.data.crops import Crops
from sspcm_kedro.data.instances import Instances
from sspcm_kedro.data.loader import Batches, InstancePool, PseudoLabels
from sspcm_kedro.engine import fit as fit_module
from sspcm_kedro.engine.fit import EpochPart, fit
from sspcm_kedro.engine.optimizer import StepDecay, adam
from sspcm_kedro.methods import MethodConfig
from sspcm_kedro.methods.base import Method
from sspcm_kedro.nets import NetworkConfig
from sspcm_kedro.pose.geometry import CropFrame
from sspcm_kedro.pose.heatmap import HeatmapCodec
from sspcm_kedro.pose.skeleton import Skeleton
from sspcm_kedro.seeds import Stream, stream_seed

INPUT, STEPS, SEED = (48, 32), 3, 5
SKELETON = Skeleton(names=("left_hand", "right_hand"), flip_pairs=((0, 1),))
METHODS = {
    "supervised": {"kind": "supervised"},
    "data_distill": {"kind": "data_distill"},
    "pose_cons": {"kind": "pose_cons"},
    "pose_dual": {"kind": "pose_dual"},
    "sspcm": {"kind": "sspcm", "min_score": 0.0},
    "sspcm, snapshots": {"kind": "sspcm", "min_score": 0.0, "snapshot_every": 2},
}


@pytest.fixture(scope="module")
def people(tmp_path_factory) -> Instances:
    """Ten people on noise, with a white and a dark square at their hands."""
    folder, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    keypoints = rng.integers((10, 15), (30, 45), (10, 2, 2))
    paths = []
    for i, (light, dark) in enumerate(keypoints):
        pixels = rng.integers(90, 160, (60, 40, 3), dtype=np.uint8)
        for (x, y), value in ((light, 255), (dark, 0)):
            pixels[y - 3 : y + 4, x - 3 : x + 4] = value
        paths.append(str(folder / f"{i}.png"))
        Image.fromarray(pixels).save(paths[-1])
    return Instances(
        ids=np.arange(10),
        image_ids=np.arange(10),
        paths=np.array(paths, object),
        image_hw=np.full((10, 2), (60, 40)),
        boxes=np.tile(np.array([4, 6, 36, 54], np.float32), (10, 1)),
        areas=np.full(10, 1500, np.float32),
        box_scores=np.ones(10, np.float32),
        keypoints=keypoints.astype(np.float32),
        visibility=np.full((10, 2), 2),
    )


@pytest.fixture(scope="module")
def batches(people) -> Batches:
    pools = [
        InstancePool.from_crops(Crops(people.take(rows), CropFrame(INPUT), border=4))
        for rows in (slice(0, 4), slice(4, 10))
    ]
    guesses = torch.rand((2, 6, 2, 2), generator=torch.Generator().manual_seed(1))
    pseudo = PseudoLabels(
        torch.arange(6),
        guesses * torch.tensor([32.0, 48.0]),
        torch.full((2, 6, 2), 0.5),
        torch.tensor([[0.0, 10, 12], [4, 20, 30]]),
        guesses[0] * torch.tensor([32.0, 48.0]),
        torch.full((6, 2), 0.5),
    )
    return Batches(
        pools[0], pools[1], pseudo, SKELETON, HeatmapCodec(), RandomAffine(), size=(2, 2),
        steps=STEPS, seed=SEED, device=torch.device("cpu"),
    )  # fmt: skip


def build(method: str, seed: int = 0) -> Method:
    def make_net(i: int) -> nn.Module:
        torch.manual_seed(10 * seed + i)
        return NetworkConfig.model_validate({"kind": "small_baseline", "width": 16}).build(2)

    return MethodConfig.model_validate(METHODS[method]).build(make_net, HeatmapCodec())


def train(method: Method, batches, optimizer, epochs: range, **more) -> list:
    schedule = StepDecay(2e-3, (0.5,), 2 * STEPS)
    settings = {"epochs": epochs, "steps": STEPS, "seed": SEED, **more}
    return list(fit(method, batches.epoch, optimizer, schedule, **settings))


def same_weights(one: Method, other: Method) -> bool:
    states = one.state_dict(), other.state_dict()
    assert states[0].keys() == states[1].keys()
    return all(value.equal(states[1][name]) for name, value in states[0].items())


@pytest.mark.parametrize("method", METHODS)
def test_a_resumed_run_is_the_uninterrupted_one(method, batches):
    """Two epochs at once, and one epoch, new objects, restored states, one more: bit for bit."""
    whole = build(method)
    reports = train(whole, batches, adam(whole, 2e-3), range(2))

    half = build(method)
    optimizer = adam(half, 2e-3)
    first = train(half, batches, optimizer, range(1))
    saved = copy.deepcopy((half.state_dict(), optimizer.state_dict()))

    resumed = build(method, seed=1)
    optimizer = adam(resumed, 1.0)
    resumed.load_state_dict(saved[0])
    optimizer.load_state_dict(saved[1])
    torch.manual_seed(77)
    second = train(resumed, replace(batches), optimizer, range(1, 2))

    assert not same_weights(half, whole)
    assert same_weights(resumed, whole)
    assert [r.scalars for r in [*first, *second]] == [r.scalars for r in reports]
    assert [(r.epoch, r.step) for r in [*first, *second]] == [(0, 3), (1, 6)]


@pytest.mark.parametrize(("method", "shards"), [("sspcm, snapshots", 1), ("supervised", 2)])
def test_a_run_stopped_within_an_epoch_goes_on_to_the_same_bits(batches, method, shards):
    """From where it tells where it stands, through a file, into new objects."""
    colored = replace(batches, color=0.3, shards=shards)
    whole, files, reports = build(method), [], []
    optimizer, schedule = adam(whole, 2e-3), StepDecay(2e-3, (0.5,), 2 * STEPS)
    settings = {"steps": STEPS, "seed": SEED, "shards": shards, "interval": 0.0}
    for report in fit(whole, colored.epoch, optimizer, schedule, epochs=range(2), **settings):
        if isinstance(report, EpochPart):
            files.append(io.BytesIO())
            state = (whole.state_dict(), optimizer.state_dict(), asdict(report))
            torch.save(state, files[-1])
        else:
            reports.append(report)
    assert len(files) == 2 * (STEPS - 1)
    for file in (files[1], files[2]):
        weights, moments, part = torch.load(io.BytesIO(file.getvalue()), weights_only=True)
        resumed, begun = build(method, seed=1), EpochPart(**part)
        optimizer = adam(resumed, 1.0)
        resumed.load_state_dict(weights)
        optimizer.load_state_dict(moments)
        torch.manual_seed(78)
        rest = train(resumed, colored, optimizer, range(begun.epoch, 2), begun=begun, shards=shards)
        assert same_weights(resumed, whole)
        assert [r.scalars for r in rest] == [r.scalars for r in reports[begun.epoch :]]
        assert rest[0].step == (begun.epoch + 1) * STEPS


def test_an_epoch_goes_on_where_another_kind_of_device_has_begun_it(batches, caplog):
    """A CUDA generator's state has 16 bytes; what it would draw next, no other one knows."""
    method, schedule = build("supervised"), StepDecay(2e-3, (), STEPS)
    optimizer = adam(method, 2e-3)
    settings = {"epochs": range(1), "steps": STEPS, "seed": SEED}
    part = next(fit(method, batches.epoch, optimizer, schedule, interval=0.0, **settings))
    moved = replace(part, generators=[torch.zeros(16, dtype=torch.uint8)])
    (report,) = fit(method, batches.epoch, optimizer, schedule, begun=moved, **settings)
    assert (report.epoch, report.step) == (0, STEPS)
    assert caplog.text.count("begun on another kind of device") == 1


@pytest.mark.parametrize("method", ["pose_dual", "sspcm", "sspcm, snapshots"])
def test_hidden_labels_change_no_weight(method, batches):
    """A whole epoch on poisoned labels of the unlabeled people ends in identical weights."""
    hidden = batches.unlabeled
    poisoned = replace(
        batches,
        unlabeled=replace(
            hidden,
            keypoints=torch.full_like(hidden.keypoints, torch.nan),
            visibility=torch.zeros_like(hidden.visibility),
        ),
    )
    clean, other = build(method), build(method)
    train(clean, batches, adam(clean, 2e-3), range(1))
    train(other, poisoned, adam(other, 2e-3), range(1))
    assert same_weights(clean, other)


def test_losses_fall_on_a_tiny_problem(batches):
    still = replace(batches, affine=RandomAffine(0, 0, 0, 0))
    method = build("supervised")
    optimizer, schedule = adam(method, 1e-2), StepDecay(1e-2, (), 60)
    reports = list(fit(
        method, still.epoch, optimizer, schedule, epochs=range(20), steps=STEPS, seed=SEED
    ))  # fmt: skip
    losses = [report.scalars["loss/supervised"] for report in reports]
    assert losses[-1] < 0.5 * losses[0]


class Recorded(Method):
    """One number that is trained; its scalars are what the test says."""

    deployed = "student"

    def __init__(self, slopes: list[float]) -> None:
        super().__init__()
        self.networks = nn.ModuleDict({"student": nn.Linear(1, 1, bias=False)})
        self.slopes, self.calls = iter(slopes), []

    def training_step(self, batch, rng):
        weight = self.networks["student"].weight.sum()
        self.calls.append(("step", torch.rand((), generator=rng).item(), self.training))
        return {"loss/a": weight * next(self.slopes), "loss/b": weight * 0, "watched": weight * 9}

    def after_step(self, step):
        self.calls.append(("after", step))


class Few:
    """Two empty batches an epoch."""

    def epoch(self, epoch: int, shard: int, start: int = 0):
        nothing = Labeled(torch.zeros(4, 3, 8, 8), torch.zeros(4, 1, 2, 2), torch.ones(4, 1))
        return iter(([Batch(nothing)] * 2)[start:])


def run(method, epochs=range(2), rate=0.1, **more):
    optimizer = torch.optim.SGD(method.parameters(), 1.0)
    schedule = StepDecay(rate, (0.5,), 4)
    settings = {"epochs": epochs, "steps": 2, "seed": 1, **more}
    return list(fit(method, Few().epoch, optimizer, schedule, **settings))


def test_losses_are_summed_and_minimized_and_others_only_watched():
    """SGD by hand: rate 0.1 for the first two steps and 0.01 for the others; 'watched' is not."""
    method = Recorded([1.0, 2.0, 4.0, 8.0]).eval()
    nn.init.constant_(method.networks["student"].weight, 5.0)
    told = []
    reports = run(method, on_step=told.append)
    assert method.networks["student"].weight.item() == pytest.approx(5 - 0.3 - 0.12)
    assert [r.learning_rate for r in reports] == pytest.approx([0.1, 0.01])
    assert reports[0].scalars["loss/a"] == pytest.approx((5 * 1 + 4.9 * 2) / 2)
    assert reports[0].scalars["watched"] == pytest.approx(9 * (5 + 4.9) / 2)
    assert len(told) == 4 and told[0].keys() == {"loss/a", "loss/b", "watched"}
    assert method.training


@pytest.mark.parametrize("kind", ["supervised", "sspcm"])
def test_shards_are_steps_of_their_own_whose_gradients_are_averaged(kind, batches):
    """Each by a copy that sees nothing else; SGD by hand. Statistics are the first shard's."""
    halves, method = replace(batches, shards=2), build(kind)
    alone = [build(kind) for _ in range(2)]
    for shard, copied in enumerate(alone):
        seed = stream_seed(SEED, Stream.STEPS, *((0, 1) if shard else (0,)))
        scalars = copied.train().training_step(
            next(halves.epoch(0, shard)), torch.Generator().manual_seed(seed)
        )
        sum(v for k, v in scalars.items() if k.startswith("loss/")).backward()
    averaged = {
        name: p.detach() - 0.1 * (p.grad + dict(alone[1].named_parameters())[name].grad) / 2
        for name, p in alone[0].named_parameters() if p.grad is not None
    }  # fmt: skip
    optimizer = torch.optim.SGD(method.parameters(), 0.1)
    one_step = replace(halves, steps=1)
    (report,) = fit(
        method, one_step.epoch, optimizer, StepDecay(0.1, (), 1), epochs=range(1), steps=1,
        seed=SEED, shards=2,
    )  # fmt: skip
    assert len(averaged) > 10
    for name, parameter in method.named_parameters():
        if name in averaged:
            torch.testing.assert_close(parameter, averaged[name], rtol=1e-5, atol=1e-7)
    statistics = dict(method.named_buffers())
    assert any(name.endswith("running_mean") for name in statistics)
    for name, value in alone[0].named_buffers():
        assert statistics[name].equal(value), name
    assert report.scalars.keys() == scalars.keys()


def test_a_process_of_several_goes_on_with_its_own_shards(monkeypatch):
    """The second of two, from where one process stood: what it draws, and how many people."""

    def numbers(method):
        return [call[1] for call in method.calls if call[0] == "step"]

    whole, second = Recorded([0.0] * 4), Recorded([0.0])
    part, report = run(whole, epochs=range(1), shards=2, interval=0.0)
    assert (len(part.sums), len(part.generators), part.people) == (2, 2, 8)
    alone = SimpleNamespace(
        mine=lambda shards: range(1, shards), world=lambda: 2, total=lambda value: 2 * value,
        add_gradients=lambda method: None, share_buffers=lambda method: None,
    )  # fmt: skip
    monkeypatch.setattr(fit_module, "ranks", alone)
    (rest,) = run(second, epochs=range(1), shards=2, begun=part)
    assert numbers(second) == numbers(whole)[2:3]  # a step's last shard is done first
    assert rest.people_per_second * rest.seconds == pytest.approx(16)
    assert rest.scalars.keys() == report.scalars.keys()


def test_after_each_step_the_method_hears_how_many_were_done():
    method = Recorded([0.0] * 4)
    run(method)
    assert [call[1] for call in method.calls if call[0] == "after"] == [1, 2, 3, 4]
    late = Recorded([0.0] * 2)
    run(late, epochs=range(1, 2))
    assert [call[1] for call in late.calls if call[0] == "after"] == [3, 4]


def test_randomness_comes_from_seed_and_epoch_alone():
    whole, late, other = (Recorded([0.0] * 4) for _ in range(3))
    run(whole)
    run(late, epochs=range(1, 2))
    run(other, seed=2)
    assert whole.calls[4:] == late.calls
    assert len({call[1] for m in (whole, other) for call in m.calls if call[0] == "step"}) == 8


def test_nothing_is_done_before_it_is_asked_for():
    """An epoch at a time: who stops listening stops the training."""
    method = Recorded([0.0] * 4)
    optimizer = torch.optim.SGD(method.parameters(), 1.0)
    epochs = fit(
        method, Few().epoch, optimizer, StepDecay(0.1, (), 4), epochs=range(2), steps=2, seed=1
    )
    assert not method.calls
    assert next(epochs).epoch == 0
    assert len(method.calls) == 4


@pytest.mark.parametrize("slope", [float("nan"), float("inf")])
def test_a_diverged_epoch_is_an_error_that_names_it(slope):
    with pytest.raises(FloatingPointError, match=r"epoch 1: .*loss/a.*learning_rate"):
        run(Recorded([0.0, 0.0, slope, 0.0]))


def test_a_training_that_diverges_is_stopped_within_its_epoch():
    """At the next moment at which it tells where it stands, with the error of an epoch's end."""
    method = Recorded([0.0, 0.0, float("nan"), 0.0])
    with pytest.raises(FloatingPointError, match=r"epoch 1: .*loss/a.*learning_rate"):
        run(method, interval=0.0)
    assert len([call for call in method.calls if call[0] == "step"]) == 3


@pytest.mark.parametrize(("interval", "last"), [(0.0, 3), (60.0, 4)])
def test_weights_that_the_last_step_has_broken_are_no_checkpoint(interval, last):
    """Every loss that was read is finite; this step's weights have no loss yet."""
    method, told = Recorded([0.0] * 4), []
    optimizer = torch.optim.SGD(method.parameters(), 1.0)
    after = method.after_step

    def broken(step: int) -> None:
        after(step)
        if step == last:
            with torch.no_grad():
                next(method.parameters()).fill_(float("inf"))

    method.after_step = broken
    with pytest.raises(FloatingPointError, match=r"epoch 1: a weight is not finite"):
        for report in fit(
            method, Few().epoch, optimizer, StepDecay(0.1, (), 4), epochs=range(2), steps=2, seed=1,
            interval=interval,
        ):  # fmt: skip
            told.append(report)
    assert [report.epoch for report in told] == ([0, 0] if interval == 0 else [0])


def test_losses_are_read_at_the_end_of_an_epoch_only_unless_it_is_long(monkeypatch):
    """A clock of 10 seconds a step: an epoch of two steps tells once where it stands, or never."""
    read, clock = [], itertools.count(0, 10)
    monkeypatch.setattr(fit_module.time, "perf_counter", lambda: next(clock))
    mean_losses = fit_module.mean_losses
    monkeypatch.setattr(
        fit_module,
        "mean_losses",
        lambda *args, **more: read.append(args[2]) or mean_losses(*args, **more),
    )
    run(Recorded([0.0] * 4), interval=60.0)
    assert read == [2, 2]
    read.clear()
    first, *_ = run(Recorded([0.0] * 4), interval=10.0)
    assert read == [1, 2, 1, 2]
    assert (first.epoch, first.steps, first.people, first.seconds) == (0, 1, 4, 10)


def test_what_is_done_between_the_parts_of_an_epoch_is_no_part_of_its_time(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(fit_module.time, "perf_counter", lambda: now[0])

    def tick(_):
        now[0] += 1

    settings = {"epochs": range(1), "steps": 2, "seed": 1, "interval": 1.0, "on_step": tick}
    method = Recorded([0.0] * 2)
    optimizer = torch.optim.SGD(method.parameters(), 1.0)
    epoch = fit(method, Few().epoch, optimizer, StepDecay(0.1, (), 2), **settings)
    part = next(epoch)
    now[0] += 100  # a checkpoint is written
    assert (part.seconds, next(epoch).seconds) == (1, 2)
    rest = run(Recorded([0.0]), epochs=range(1), begun=part, on_step=tick)
    assert (rest[0].seconds, rest[0].people_per_second) == (2, 4)
