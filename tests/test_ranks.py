"""Several processes do what one does, bit for bit; one that dies ends all, and nothing is lost."""

import functools
import multiprocessing
import multiprocessing.forkserver
import os
import pickle
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import kubernetes_validate
import psutil
import pytest
import torch
import yaml
from click.testing import CliRunner
from kedro.pipeline import Pipeline
from torch.distributed.elastic.multiprocessing import Std

from conftest import ROOT
from ranked import (
    exchange,
    fail,
    look_for_what_is_missing,
    meet,
    predict_noise,
    sleep,
    train_in_parts,
)
from sspcm_kedro import launch, ranks
from sspcm_kedro.cli import cli, run, run_as_one_of_several
from sspcm_kedro.engine.fit import CHECKS, is_due
from sspcm_kedro.engine.optimizer import TrainingConfig
from sspcm_kedro.errors import BadInput
from sspcm_kedro.launch import shared_by
from sspcm_kedro.machine import MachineConfig
from sspcm_kedro.pipelines import comparison, ingestion, prediction
from test_resume import assert_same, file_of, load

SHARDED = {
    "training": {
        "steps": 2, "warmup_epochs": 2, "round_epochs": 1, "rounds": 1, "shards": 2,
        "average_decay": 0.9,
    },
    "method": {"min_score": 0.0}, "machine": {"threads": 1},
    "monitor": {"people": 3},
}  # fmt: skip
PIPELINES = ["warmup", "rounds", "evaluation"]
MADE = ["network_scores"]
FILES = [
    *(f"07_model_output/round_1/{name}.safetensors"
      for name in ("predictions", "corrected", "occluders")),
    "07_model_output/validation/predictions.safetensors", "07_model_output/network_scores.json",
]  # fmt: skip


@pytest.fixture(scope="module")
def start(tmp_path_factory) -> Iterator[Callable[..., str]]:
    """Starts two processes by ``launch`` and gives what they print.

    They fork from a server that has imported everything once, which no user's process does.
    """
    multiprocessing.set_forkserver_preload(["ranked", "timm", "sspcm_kedro.pipeline_registry"])
    multiprocessing.forkserver.ensure_running()  # it imports while the tests go on
    before = {s: signal.getsignal(s) for s in
              (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)}  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        forked = functools.partial(launch.LaunchConfig, start_method="forkserver")
        patch.setattr(launch, "LaunchConfig", forked)

        def started(task: Callable[[Any], None], options: Any) -> str:
            folder = tmp_path_factory.mktemp("printed")
            kept = functools.partial(launch.DefaultLogsSpecs, redirects=Std.ALL)
            with pytest.MonkeyPatch.context() as again:
                again.setattr(launch, "DefaultLogsSpecs", lambda log_dir: kept(str(folder)))
                try:
                    launch.launch(2, task, options)
                finally:
                    started.printed = "".join(
                        file.read_text() for file in sorted(folder.rglob("*.log"))
                    )
            return started.printed

        yield started
    for signum, handler in before.items():
        signal.signal(signum, handler)


def options_of(project, **more: Any) -> dict[str, Any]:
    """What click makes of ``kedro run --env smoke --pipelines ... --params ...``."""
    given = {"env": "smoke", "pipelines": PIPELINES, "to_outputs": MADE, "params": SHARDED, **more}
    context = run.make_context("run", [])
    return context.params | given | {"conf_source": str(project.root / "conf")}


@pytest.fixture(scope="module")
def twice(start, make_project, drawn_project) -> SimpleNamespace:
    """The same experiment by one process with two shards, and by two processes, of which one was
    killed in the warm-up; the same command followed."""
    one, two = make_project("one_process"), make_project("two_processes")
    for project in (one, two):
        project.take_people(drawn_project)
    threads = torch.get_num_threads()
    one.run(*PIPELINES, only={"to_outputs": MADE}, **SHARDED)
    torch.set_num_threads(threads)

    def kill() -> None:
        while not file_of(two, "warmup").exists():
            time.sleep(0.01)
        own = psutil.Process()
        ranked = set(own.children(recursive=True)) - set(own.children())
        max(ranked, key=lambda process: process.pid).kill()

    before = os.getcwd()
    os.chdir(two.root)
    try:
        killer = threading.Thread(target=kill, daemon=True)
        killer.start()
        with pytest.raises(BadInput) as caught:
            start(run_as_one_of_several, options_of(two))
        killer.join()
        first, reached = start.printed, load(two, "warmup")["epoch"]
        second = start(run_as_one_of_several, options_of(two))
    finally:
        os.chdir(before)
    return SimpleNamespace(
        one=one, two=two, error=str(caught.value), killed=first, reached=reached, done=second
    )


def test_two_processes_learn_what_one_learns_to_the_last_bit(twice):
    for stage in ("warmup", "round_1"):
        one, two = load(twice.one, stage), load(twice.two, stage)
        assert len(one["optimizer"]["state"]) > 0 and one["record"]["training"]["shards"] == 2
        assert_same(one, two)
    for name in FILES:
        assert (twice.one.data / name).read_bytes() == (twice.two.data / name).read_bytes(), name


def test_a_killed_process_ends_all_with_one_sentence_and_the_same_command_goes_on(twice):
    assert re.fullmatch(
        r"process 2 of 2: must live as long as the others, and SIGKILL has ended it\. "
        r"The same command goes on from what is stored; .*", twice.error,
    )  # fmt: skip
    assert "Traceback" not in twice.killed and "Error" not in twice.killed
    assert 1 <= twice.reached <= 2
    assert f"warmup goes on after epoch {twice.reached} of 2" in twice.done


def test_one_process_saves_and_tells(twice):
    assert twice.done.count("Completed node: round_1.training") == 1
    assert twice.done.count("round_1 epoch 3") == 1


def test_a_signal_to_the_process_that_people_see_ends_all(start, tmp_path):
    def running() -> list[int]:
        return [int(file.name) for file in tmp_path.iterdir()]

    def stop() -> None:
        while len(running()) < 2:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    assert threading.current_thread() is threading.main_thread()  # which alone hears of it
    threading.Thread(target=stop, daemon=True).start()
    with pytest.raises(SystemExit) as caught:
        start(sleep, tmp_path)
    assert caught.value.code == 128 + signal.SIGTERM
    assert not any(map(psutil.pid_exists, running()))


def test_what_processes_exchange(start, tmp_path):
    """Computed by hand; the predictions are those of this process."""
    start(exchange, tmp_path)
    both = [pickle.loads((tmp_path / str(rank)).read_bytes()) for rank in range(2)]
    (keypoints, scores), everybody = predict_noise()
    assert everybody == list(range(7))
    assert [found.pop("place") for found in both] == [(0, 2), (1, 2)]
    assert [found.pop("shards") for found in both] == [[0, 1], [2, 3]]
    told = [once for found in both for once in found.pop("tells")]
    assert sorted(told) == [False, False, False, True]
    for found, rows in zip(both, ([0, 1, 4, 5], [2, 3, 6]), strict=True):
        (xy, score), read = found.pop("predicted")
        assert xy.equal(keypoints) and score.equal(scores) and read == rows
        assert found.pop("refused") == (
            "training.shards = 3: must be a multiple of the 2 processes (WORLD_SIZE) that share "
            "its shards. Start 1 or 3, or set training.shards, which changes the result"
        )
        assert found == {
            "gradient": [[3.0, 3.0]], "none": None, "statistics": (10.0, 20),
            "gathered": ["00", "10", "01", "11", "02"],
        }  # fmt: skip


def test_an_error_of_one_process_ends_all_and_is_told_once(start, tmp_path):
    """It leaves the group as it is: with NCCL to leave it would wait for those that wait."""
    with pytest.raises(SystemExit) as caught:
        start(fail, tmp_path)
    assert caught.value.code == 1
    assert start.printed.count("Error") == 1 and "Traceback" not in start.printed
    assert "Error: an image: must be whole, and is not. Copy it again" in start.printed
    assert not (tmp_path / "destroyed").exists()


def test_all_processes_run_what_the_first_finds_missing(start, tmp_path):
    start(look_for_what_is_missing, tmp_path)
    assert [(tmp_path / str(rank)).read_text() for rank in range(2)] == ["second"] * 2


def test_srun_starts_processes_that_find_each_other(start, tmp_path):
    context = multiprocessing.get_context("forkserver")
    both = [context.Process(target=meet, args=(rank, tmp_path)) for rank in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0]
    assert [(tmp_path / str(rank)).read_text() for rank in range(2)] == ["3.0", "3.0"]


@pytest.mark.parametrize("given", [
    {}, {"SLURM_NTASKS": "4", "SLURM_PROCID": "0"},  # a batch script
    {"SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"},
    {"SLURM_STEP_NUM_TASKS": "2", "RANK": "5", "WORLD_SIZE": "8"},  # srun torchrun
])  # fmt: skip
def test_a_process_that_srun_has_not_put_among_others_stays_alone(given, monkeypatch):
    monkeypatch.setattr(os, "environ", dict(given))
    ranks.take_slurms_place()
    assert os.environ == given


@pytest.mark.parametrize(("nodes", "first"), [
    ("gpu7", "gpu7"), ("a,b", "a"), ("node[03-05]", "node03"), ("n[1,4-6],m2", "n1"),
    ("rack-a[007-010]-ib,rack-b1", "rack-a007-ib"), ("rack[0-3]node[1-4],x", "rack0node1"),
])  # fmt: skip
def test_the_first_of_slurms_hosts(nodes, first):
    assert ranks.first_host(nodes) == first


def test_processes_tell_where_an_epoch_stands_as_one_does(start, tmp_path):
    """In its midst, of all shards, so that as many as you like go on from there."""
    train_in_parts(tmp_path)
    start(train_in_parts, tmp_path)
    told = [torch.load(tmp_path / name, weights_only=True) for name in ("1_0", "2_0", "2_1")]
    for report in (report for reports in told for report in reports):
        for name in ("seconds", "people_per_second", "memory_gib"):
            report.pop(name, None)
    assert [report.get("steps") for report in told[0]] == [1, 2, None] * 2
    for one, *others in zip(*told, strict=True):
        for other in others:
            assert_same(one, other)


@pytest.mark.parametrize(("steps", "asked"), [(3, 3), (64, 64), (65, 33), (6400, 64)])
def test_processes_agree_at_so_many_places_of_an_epoch_at_most(steps, asked, monkeypatch):
    """The first process decides, whatever another has on its clock."""
    told = []
    monkeypatch.setattr(ranks, "_place", (1, 2))
    monkeypatch.setattr(ranks, "exchange", lambda own: told.append(own) or [True, own])
    due = [is_due(False, step, steps) for step in range(steps)]
    assert sum(due) == len(told) == asked <= CHECKS and due[0]


@pytest.mark.parametrize(("cores", "processes", "workers", "threads"), [
    (2, 1, None, 2), (32, 1, None, 16), (32, 4, None, 8), (2, 4, None, 1), (2, 4, 5, 5),
])  # fmt: skip
def test_threads_that_decode_share_the_cores(cores, processes, workers, threads, monkeypatch):
    monkeypatch.setattr("sspcm_kedro.machine.cpu_count", lambda: cores)
    monkeypatch.setattr(ranks, "_place", (0, processes))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
    assert MachineConfig(workers=workers).decoders == threads


def test_a_process_alone_waits_for_nobody():
    assert (ranks.rank(), ranks.world(), list(ranks.mine(3))) == (0, 1, [0, 1, 2])
    value = torch.ones(2)
    assert ranks.total(value) is value and ranks.gather([1, 2]) == [1, 2]
    ranks.wait()


TRAINS, READS, PREDICTS = (
    comparison.create_pipeline(), ingestion.create_pipeline(False, False),
    prediction.create_pipeline(),
)  # fmt: skip


@pytest.mark.parametrize(
    ("pipeline", "gpus", "shards", "device", "used"),
    [
        (TRAINS, 4, 4, "auto", 4),
        (TRAINS, 8, 4, "cuda", 4),
        (TRAINS, 3, 4, "auto", 2),
        (TRAINS, 4, 1, "auto", 1),  # batch norm of a whole batch
        (PREDICTS, 4, 1, "auto", 4),
        (READS, 4, 4, "auto", 1),
        (TRAINS, 4, 4, "cuda:1", 1),
        (TRAINS, 4, 4, "cpu", 1),
    ],
)
def test_a_run_uses_the_gpus_that_can_share_it(
    pipeline: Pipeline, gpus: int, shards: int, device: str, used: int
):
    training = TrainingConfig(batch=8, shards=shards)
    assert shared_by(gpus, pipeline, MachineConfig(device=device), training) == used


@pytest.mark.parametrize(("gpus", "started"), [(4, 4), (3, 2), (1, None)])
def test_kedro_run_starts_a_process_a_gpu(gpus, started, configured, make_project, monkeypatch):
    """Nothing more is typed; the environment has four shards."""
    monkeypatch.chdir(make_project(f"{gpus}_gpus").root)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    asked: list[tuple[Any, ...]] = []
    monkeypatch.setattr(launch, "launch", lambda *given: asked.append(given))
    words = ["run", "--env", "coco_1k", "--pipelines", "warmup", "--params", "machine.device=auto"]
    done = CliRunner().invoke(cli, words)
    if started is None:  # it goes on by itself, and has no people
        assert not asked and done.exit_code == 1
        return
    ((processes, task, options),) = asked
    assert (processes, task, options["env"]) == (started, run_as_one_of_several, "coco_1k")
    assert done.exit_code == 0


def test_torchrun_starts_the_same_run(make_project):
    project = make_project("by_torchrun")
    words = ["--standalone", "--nproc-per-node", "2", "-m", "sspcm_kedro", "run"]
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", *words, "--env", "smoke", "--pipelines",
         "plan"],
        cwd=project.root, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (done.stdout + done.stderr).count("2 processes share the nodes") == 1
    assert (project.data / "08_reporting" / "plan.json").exists()


@pytest.mark.parametrize("name", ["one_machine", "two_machines"])
def test_manifests_are_kubernetes(name):
    """Of the newest version whose schemas are installed; unknown keys are errors."""
    file = ROOT / "docs" / "kubernetes" / f"{name}.yaml"
    resources = list(yaml.safe_load_all(file.read_text()))
    for resource in resources:
        kubernetes_validate.validate(resource, kubernetes_validate.latest_version(), strict=True)
    (job,) = (resource for resource in resources if resource["kind"] == "Job")
    (container,) = job["spec"]["template"]["spec"]["containers"]
    words = container["command"]
    assert (ROOT / "conf" / words[words.index("--env") + 1]).is_dir()
    job["spec"]["template"]["spec"]["containers"][0]["imagee"] = "a slip"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(job, kubernetes_validate.latest_version(), strict=True)
