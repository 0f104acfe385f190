"""Learners: weights from (seed, index) alone, states that go on, fingerprints that tell apart."""

import copy
import os
import subprocess
import sys

import pytest
import torch
import torchvision

from sspcm_kedro.batch import Batch, Labeled, Unlabeled
from sspcm_kedro.engine.fingerprint import fingerprint
from sspcm_kedro.engine.learner import Learner, is_averaged, network_maker, networks_of
from sspcm_kedro.engine.optimizer import TrainingConfig
from sspcm_kedro.errors import BadInput
from sspcm_kedro.methods import MethodConfig
from sspcm_kedro.methods.base import total_loss
from sspcm_kedro.nets import NetworkConfig, parameter_count
from sspcm_kedro.pose.heatmap import HeatmapCodec

NETWORK = NetworkConfig.model_validate({"kind": "small_baseline", "width": 16})
TRAINING = TrainingConfig(batch=2, steps=2, warmup_epochs=1, round_epochs=1, rounds=1)
KINDS = ("supervised", "pseudo_pose", "pose_cons", "pose_dual", "sspcm")
JOINTS = 3


MIXED = NetworkConfig.model_validate(
    {
        "kind": "teacher_student",
        "teacher": {"kind": "small_baseline", "width": 32, "blocks": 2},
        "teacher_b": {"kind": "small_baseline", "width": 24, "blocks": 1},
        "student": {"kind": "small_baseline", "width": 16},
    }
)


def learner(kind: str = "pose_dual", seed: int = 0, network: NetworkConfig = NETWORK) -> Learner:
    more = {"snapshot_every": 1} if kind == "sspcm" else {}
    method = MethodConfig.model_validate({"kind": kind, **more})
    return Learner(
        method, network_maker(network, JOINTS, seed), HeatmapCodec(), TRAINING, torch.device("cpu")
    )


def step(trained: Learner, number: int) -> None:
    """One optimizer step on made-up people."""
    rng = torch.Generator().manual_seed(number)
    images = torch.randn(2, 2, 3, 64, 48, generator=rng)
    heatmaps = torch.rand(2, JOINTS, 16, 12, generator=rng)
    weights = torch.ones(2, JOINTS)
    batch = Batch(Labeled(images[0], heatmaps, weights), Unlabeled(images[1], weights))
    losses = trained.method.train().training_step(batch, rng)
    trained.optimizer.zero_grad()
    total_loss(losses).backward()
    trained.optimizer.step()
    trained.method.after_step(number + 1)


def weights(net) -> list[torch.Tensor]:
    return list(net.state_dict().values())


def equal(a, b) -> bool:
    return all(torch.equal(x, y) for x, y in zip(weights(a), weights(b), strict=True))


def test_weights_come_from_seed_and_index_alone():
    make = network_maker(NETWORK, JOINTS, 7)
    first = make(0)
    torch.rand(3)  # whatever happened to the global generator
    torch.manual_seed(99)
    assert equal(first, make(0))
    assert equal(make(1), network_maker(NETWORK, JOINTS, 7)(1))
    assert not equal(first, make(1))
    assert not equal(first, network_maker(NETWORK, JOINTS, 8)(0))


def test_making_a_network_leaves_the_global_generator_alone():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    network_maker(NETWORK, JOINTS, 7)(0)
    assert torch.equal(torch.rand(2), expected)


def test_networks_of_a_method_start_apart():
    nets = list(learner("sspcm").method.networks.values())
    assert len(nets) == 3
    assert not any(equal(a, b) for i, a in enumerate(nets) for b in nets[:i])


@pytest.mark.parametrize("network", [NETWORK, MIXED], ids=["one", "mixed"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_restored_learner_goes_on_as_the_old_one_would(kind, network, tmp_path):
    """Through a file, into a learner of other weights: the next step is bit for bit the same."""
    old = learner(kind, network=network)
    for number in range(2):
        step(old, number)
    old.epoch, old.history = 1, [{"epoch": 1, "loss": 0.5}]
    torch.save(old.state({"fingerprint": "abc"}), tmp_path / "state.pt")
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    assert state["fingerprint"] == "abc" and state["deployed"] == old.method.deployed
    assert state["kind"] == kind and state["labelers"] == list(old.method.labelers)
    new = learner(kind, seed=1, network=network)
    new.restore(state)
    assert (new.epoch, new.history) == (1, [{"epoch": 1, "loss": 0.5}])
    before = copy.deepcopy(weights(old.method))
    step(old, 2)
    step(new, 2)
    assert equal(old.method, new.method)
    assert not all(torch.equal(a, b) for a, b in zip(before, weights(old.method), strict=True))
    for a, b in zip(old.method.parameters(), new.method.parameters(), strict=True):
        moments = (old.optimizer.state.get(a, {}), new.optimizer.state.get(b, {}))
        assert moments[0].keys() == moments[1].keys()
        assert all(torch.equal(moments[0][key], moments[1][key]) for key in moments[0])


@pytest.mark.parametrize("network", [NETWORK, MIXED], ids=["one", "mixed"])
@pytest.mark.parametrize("kind", KINDS)
def test_networks_of_gives_what_was_trained(kind, network):
    trained = learner(kind, network=network)
    step(trained, 0)
    images = torch.randn(2, 3, 64, 48, generator=torch.Generator().manual_seed(1))
    found = networks_of(trained.state({"fingerprint": "abc"}), network, JOINTS)
    assert set(found) == set(trained.method.networks)
    assert trained.method.deployed in found
    for name, net in found.items():
        assert not net.training
        with torch.no_grad():
            expected = trained.method.networks[name].eval()(images)
            assert torch.equal(net(images), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_each_network_of_a_mixed_run_is_that_of_its_role(kind):
    """Whichever method: a supervised student is the small one too."""
    parts = {"teacher_a": "teacher", "teacher_b": "teacher_b", "student": "student"}
    for name, net in learner(kind, network=MIXED).method.networks.items():
        expected = getattr(MIXED.root, parts[name]).build(JOINTS)
        assert parameter_count(net) == parameter_count(expected), name


def test_weights_in_a_state_need_no_file_to_start_from(tmp_path):
    """What a run started from may be gone when its checkpoint is evaluated."""
    path = tmp_path / "resnet18.pth"
    torch.manual_seed(0)
    torch.save(torchvision.models.resnet18(weights=None).state_dict(), path)
    start = NetworkConfig.model_validate({"kind": "simple_baseline", "weights": str(path)})
    trained = learner("supervised", network=start)
    state = trained.state({"fingerprint": "abc"})
    path.unlink()
    assert equal(networks_of(state, start, JOINTS)["student"], trained.method.networks["student"])


def test_a_method_that_averages_teach_needs_them():
    method = MethodConfig.model_validate({"kind": "ubpl"})
    maker, device = network_maker(NETWORK, JOINTS, 0), torch.device("cpu")
    with pytest.raises(BadInput, match=r"training\.average_decay: must be a number for ubpl"):
        Learner(method, maker, HeatmapCodec(), TRAINING, device)
    training = TRAINING.model_copy(update={"average_decay": 0.5})
    built = Learner(method, maker, HeatmapCodec(), training, device).method
    assert list(built.averages) == list(built.networks)


def test_history_of_a_restored_learner_is_its_own():
    old, new = learner(), learner()
    old.history = [{"epoch": 1}]
    state = old.state({"fingerprint": "abc"})
    new.restore(state)
    new.history.append({"epoch": 2})
    assert old.history == [{"epoch": 1}]


def test_fingerprints_change_with_every_part():
    base = ("warmup", 0, [{"batch": 2, "rate": 1e-3}], "[[1, 2.5]]", b"ab")
    others = [
        ("round", *base[1:]),
        (base[0], 1, *base[2:]),
        (*base[:2], [{"batch": 3, "rate": 1e-3}], *base[3:]),
        (*base[:3], "[[1, 2.6]]", base[4]),
        (*base[:4], b"ac"),
        (*base[:3], "[[1, 2.5]]a", b"b"),
        base[:4],
        (*base, None),
    ]
    prints = [fingerprint(*parts) for parts in (base, *others)]
    assert len(set(prints)) == len(prints)
    assert all(len(text) == 12 and set(text) <= set("0123456789abcdef") for text in prints)


def test_fingerprints_do_not_depend_on_the_order_of_keys_or_on_the_process():
    assert fingerprint({"a": 1, "b": (2, 3)}) == fingerprint({"b": [2, 3], "a": 1})
    code = (
        "from sspcm_kedro.engine.fingerprint import fingerprint;"
        "print(fingerprint({'b': (2, 3), 'a': 1}, b'ab'))"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed}, check=True,
            capture_output=True, text=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }  # fmt: skip
    assert printed == {fingerprint({"a": 1, "b": (2, 3)}, b"ab")}


def test_the_networks_of_a_state_are_the_averages_where_they_are_kept():
    training = TRAINING.model_copy(update={"average_decay": 0.5})
    method = MethodConfig.model_validate({"kind": "pose_dual"})
    trained = Learner(
        method, network_maker(NETWORK, JOINTS, 0), HeatmapCodec(), training, torch.device("cpu")
    )
    for number in range(3):
        step(trained, number)
    state = trained.state({})
    assert is_averaged(state) and not is_averaged(learner().state({}))
    for last, kept in ((False, trained.method.averages), (True, trained.method.networks)):
        found = networks_of(state, NETWORK, JOINTS, last=last)
        assert list(found) == ["teacher_a", "teacher_b"]
        for name, net in found.items():
            assert all(map(torch.equal, weights(net), weights(kept[name])))
    averages, networks = (networks_of(state, NETWORK, JOINTS, last=last) for last in (False, True))
    first = (next(nets["teacher_a"].parameters()) for nets in (averages, networks))
    assert not torch.equal(*first)
    again = Learner(
        method, network_maker(NETWORK, JOINTS, 1), HeatmapCodec(), training, torch.device("cpu")
    )
    again.restore(copy.deepcopy(state))
    for one in (trained, again):
        step(one, 3)
    for name in averages:
        pair = (weights(one.method.averages[name]) for one in (trained, again))
        assert all(map(torch.equal, *pair))
