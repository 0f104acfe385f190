"""The benchmarks run and say what they measured."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from sspcm_kedro.engine.learner import network_maker
from sspcm_kedro.methods import MethodConfig
from sspcm_kedro.nets import NetworkConfig

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_shows_mean_spread_and_gain():
    results = {
        0: {"supervised": {"PCK": 0.1}, "PoseDual": {"PCK": 0.2}},
        1: {"supervised": {"PCK": 0.3}, "PoseDual": {"PCK": 0.3}},
    }
    lines = load("table").markdown(results).splitlines()
    assert lines[2] == "| supervised | 0.200 ± 0.141 | 0.100 0.300 | +0.000 (+0%) |"
    assert lines[3] == "| PoseDual | 0.250 ± 0.071 | 0.200 0.300 | +0.050 (+25%) |"


def test_cells_have_folders_of_their_own():
    table = load("table")
    folders = {
        table.folder_of(env, seed, method)
        for env in ("base", "lspet")
        for seed in (0, 1)
        for method in (table.ROUNDS, *table.BASELINES)
    }
    assert len(folders) == 16


def test_the_step_benchmark_measures_every_method():
    command = [sys.executable, BENCHMARKS / "step.py", "--people", "2", "--repeat", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for method in load("step").METHODS:
        assert method in done.stdout


@pytest.mark.parametrize("kind", ["supervised", "pose_cons", "pose_dual", "sspcm (rounds)"])
def test_the_step_benchmark_counts_the_passes_that_the_method_makes(kind):
    """Counts forward passes with and without gradient of a real step."""
    step = load("step")
    maker = network_maker(NetworkConfig.model_validate({"kind": "small_baseline"}), 17, 0)
    method = MethodConfig.model_validate(step.METHODS[kind]).build(maker, step.HeatmapCodec())
    pool = step.InstancePool.from_crops(step.NoisePool(8, (64, 48), 12))
    pseudo = step.PseudoLabels(
        torch.rand(2, 8, 17, 2) * 48, torch.rand(2, 8, 17), torch.tensor([[0, 20.0, 30.0]])
    )
    batches = step.Batches(
        pool, pool if method.needs_unlabeled else None, pseudo, step.COCO,
        step.HeatmapCodec(sigma=1.0), step.AffineConfig().build(), 4, 1, 0, torch.device("cpu"),
    )  # fmt: skip
    calls = []
    for net in method.networks.values():
        net.register_forward_hook(lambda *_: calls.append(torch.is_grad_enabled()))
    method.training_step(next(batches.epoch(0)), torch.Generator())
    networks, without, with_gradient = step.PASSES[kind]
    assert len(method.networks) == networks
    assert (calls.count(False), calls.count(True)) == (without, with_gradient)
