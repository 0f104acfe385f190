"""The same seed gives the same bits, another seed does not; what a machine does about it."""

import os
import subprocess
import sys

import pytest
import torch
from torch import nn

from sspcm_kedro.batch import Batch, Labeled
from sspcm_kedro.engine import determinism
from sspcm_kedro.engine.determinism import FIXED_WORKSPACES, WORKSPACE, configured_torch
from sspcm_kedro.engine.fit import fit
from sspcm_kedro.engine.optimizer import StepDecay, adam
from sspcm_kedro.errors import BadInput
from sspcm_kedro.machine import MachineConfig
from sspcm_kedro.methods.base import Method

PARAMS = {
    "training": {"steps": 2, "warmup_epochs": 1, "round_epochs": 1, "rounds": 1},
    "method": {"min_score": 0.0},
    "comparison": {"kind": "pose_dual"},
}
STAGES = ("warmup", "round_1", "comparison")
PIPELINES = ("warmup", "round_1", "comparison")


def weights(project) -> dict[str, torch.Tensor]:
    """All that training has made, by stage and name."""
    found = {}
    for stage in STAGES:
        file = project.data / "06_models" / stage / "checkpoint.pt"
        state = torch.load(file, weights_only=True)
        found |= {f"{stage}.{name}": value for name, value in state["method"].items()}
    return found


def differing(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> set[str]:
    """Names of tensors that differ in any bit."""
    assert a.keys() == b.keys()
    return {name for name in a if not torch.equal(a[name], b[name])}


@pytest.fixture
def fresh(make_project, drawn_project):
    """A factory of projects with the same people and no results."""

    def make():
        project = make_project("fresh")
        for layer in ("01_raw", "03_primary", "05_model_input"):
            target = project.data / layer
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(drawn_project.data / layer)
        return project

    return make


def test_workers_and_memory_change_no_bit(fresh, one_thread):
    """Crops decoded by one thread for each batch anew, and by four threads once."""
    found = []
    for workers, memory in ((1, 0.0), (4, 1.0)):
        project = fresh()
        machine = {"device": "cpu", "workers": workers, "crop_memory_gib": memory}
        project.run(*PIPELINES, **PARAMS, machine=machine)
        found.append(weights(project))
    assert not differing(*found)
    assert len(found[0]) > 100


def test_another_seed_is_another_training(fresh, one_thread):
    """Of the same people: every layer that is drawn at random or learnt has other weights."""
    found = []
    for seed in (0, 1):
        project = fresh()
        project.run("warmup", "comparison", **PARAMS, seed=seed, machine={"device": "cpu"})
        states = (
            project.data / "06_models" / s / "checkpoint.pt" for s in ("warmup", "comparison")
        )
        methods = [torch.load(file, weights_only=True)["method"] for file in states]
        found.append({f"{i}.{k}": v for i, method in enumerate(methods) for k, v in method.items()})
    same = set(found[0]) - differing(*found)
    assert {name.rsplit(".", 1)[1] for name in same} == {"num_batches_tracked"}


def switches() -> tuple[int, bool, bool]:
    return (
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )


def test_the_machine_is_as_before_afterwards():
    before = switches()
    with configured_torch(MachineConfig(device="cpu", threads=3, deterministic=True)):
        assert switches() == (3, True, False)
        with configured_torch(MachineConfig(device="cpu")):
            assert switches() == (3, False, False)
        assert switches() == (3, True, False)
    assert switches() == before
    with pytest.raises(KeyError), configured_torch(MachineConfig(device="cpu", deterministic=True)):
        raise KeyError
    assert switches() == before


@pytest.mark.parametrize("fails", [False, True])
def test_a_run_computes_as_its_machine_says(fresh, monkeypatch, fails):
    seen, before = [], switches()
    real = nn.Module.train

    def train(self, mode=True):  # called in every epoch
        seen.append(switches())
        if fails:
            raise RuntimeError("no")
        return real(self, mode)

    monkeypatch.setattr(Method, "train", train)
    machine = {"device": "cpu", "threads": 1, "deterministic": True}
    if fails:
        with pytest.raises(RuntimeError, match="no"):
            fresh().run("warmup", **PARAMS, machine=machine)
    else:
        fresh().run("warmup", **PARAMS, machine=machine)
    assert set(seen) == {(1, True, False)}
    assert switches() == before


@pytest.fixture
def cuda(monkeypatch):
    """As on a machine with CUDA that has not started; undoes what is set."""
    monkeypatch.setenv(WORKSPACE, "")  # so that the value from before comes back
    monkeypatch.delenv(WORKSPACE)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    return monkeypatch


@pytest.mark.parametrize("device", ["auto", "cuda", "cuda:1"])
def test_cublas_is_told_before_cuda_starts(cuda, device):
    with configured_torch(MachineConfig(device=device, deterministic=True)):
        assert os.environ[WORKSPACE] == ":4096:8"
    cuda.setattr(torch.cuda, "is_initialized", lambda: True)
    with configured_torch(MachineConfig(device=device, deterministic=True)):  # it was told in time
        assert torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize("value", FIXED_WORKSPACES)
def test_a_fixed_workspace_is_left_as_it_is(cuda, value):
    cuda.setenv(WORKSPACE, value)
    with configured_torch(MachineConfig(device="cuda", deterministic=True)):
        assert os.environ[WORKSPACE] == value


@pytest.mark.parametrize(
    "machine", [MachineConfig(device="cpu", deterministic=True), MachineConfig(device="cuda")]
)
def test_cublas_is_told_nothing_without_need(cuda, machine):
    with configured_torch(machine):
        assert WORKSPACE not in os.environ


def test_cublas_cannot_be_told_too_late(cuda):
    before = switches()
    cuda.setattr(torch.cuda, "is_initialized", lambda: True)
    machine = MachineConfig(device="cuda", deterministic=True)
    with pytest.raises(BadInput, match=f"before CUDA starts.*Set {WORKSPACE}=:4096:8 before"):
        with configured_torch(machine):
            pass
    assert switches() == before


def test_a_workspace_that_is_not_fixed_is_refused(cuda):
    cuda.setenv(WORKSPACE, ":0:0")
    machine = MachineConfig(device="cuda", deterministic=True)
    with pytest.raises(BadInput, match=rf"{WORKSPACE}: must be one of .*':0:0'. Unset it"):
        with configured_torch(machine):
            pass


class Puts(Method):
    """Trains through an operation that has no deterministic form, not even on the CPU."""

    deployed = "net"

    def __init__(self) -> None:
        super().__init__()
        self.networks = nn.ModuleDict({"net": nn.Linear(1, 1)})

    def training_step(self, batch, rng):
        torch.zeros(3).put_(torch.tensor([1, 1]), torch.ones(2))
        return {"loss/x": self.networks["net"](torch.ones(1, 1)).sum()}


def train_puts() -> None:
    method, maps = Puts(), torch.zeros(1, 1, 1, 1)
    batch = Batch(Labeled(torch.zeros(1, 3, 4, 4), maps, torch.zeros(1, 1)))
    epochs = fit(
        method, lambda _, shard, start: iter([batch][start:]), adam(method, 1e-3),
        StepDecay(1e-3, (), 1), epochs=range(1), steps=1, seed=0,
    )  # fmt: skip
    list(epochs)


def test_an_operation_without_a_deterministic_form_is_named():
    train_puts()
    with configured_torch(MachineConfig(device="cpu", deterministic=True)):
        with pytest.raises(BadInput) as caught:
            train_puts()
    text = "machine.deterministic = true: every operation must have a deterministic form"
    assert str(caught.value).startswith(text)
    assert "put_ has none" in str(caught.value)
    assert "Set machine.deterministic=false, or machine.device=cpu" in str(caught.value)


def test_other_errors_are_left_alone():
    with (
        pytest.raises(RuntimeError, match=r"^out of memory$"),
        determinism.explain_nondeterminism(),
    ):
        raise RuntimeError("out of memory")


def test_threads_are_at_least_one():
    with pytest.raises(ValueError, match="threads"):
        MachineConfig(threads=0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_same_bits_on_cuda(fresh):
    """Two processes each, since cuBLAS is told when CUDA starts."""
    found = []
    for _ in range(2):
        project = fresh()
        steps = "training.steps=8,training.warmup_epochs=2,training.round_epochs=2"
        given = f"machine.device=cuda,machine.deterministic=true,training.rounds=1,{steps}"
        command = [sys.executable, "-m", "kedro", "run", "--env", "smoke", "--pipelines",
                   ",".join(PIPELINES), "--params",
                   f"{given},comparison.kind=pose_dual"]  # fmt: skip
        environ = {k: v for k, v in os.environ.items() if k != WORKSPACE}
        done = subprocess.run(
            command, cwd=project.root, env=environ, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        found.append(weights(project))
    assert not differing(*found)
