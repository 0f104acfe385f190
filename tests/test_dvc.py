"""The real dvc on a small copy of this project: what it reruns, keeps, restores and compares.

One `dvc repro` from nothing is shared; every test works on a copy of what it left.
"""

import csv
import hashlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml

from sspcm_kedro.datasets.instances import InstancesDataset

ROOT = Path(__file__).parents[1]
PARAMETERS = "conf/base/parameters.yml"
STAGES = set(yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"])
TRAINED = re.compile(r"(\w+) epoch (\d+) \(step")

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="DVC needs git")


class Clone:
    """A project under git and DVC, with the smoke environment's values in conf/base."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.environ = {
            **{key: value for key, value in os.environ.items() if key != "SSPCM_DATA"},
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "DVC_SITE_CACHE_DIR": str(root.parent / "dvc_site"),
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CEILING_DIRECTORIES": str(root.parent),
            "OMP_NUM_THREADS": "1",
            "SSPCM_TRACKING": "off",
            "COLUMNS": "120",
            **{f"GIT_{who}_{what}": "a@example.org" for who in ("AUTHOR", "COMMITTER")
               for what in ("NAME", "EMAIL")},
        }  # fmt: skip

    def start(self, *command: str) -> "subprocess.Popen[str]":
        """In a process group of its own, so that it can be killed with all its children."""
        return subprocess.Popen(
            command, cwd=self.root, env=self.environ, text=True, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def call(self, *command: str, fails: bool = False) -> str:
        """What a command prints; it must succeed, or fail."""
        process = self.start(*command)
        try:
            printed, _ = process.communicate(timeout=1800)  # for what hangs; a busy machine is slow
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise AssertionError(f"{command} hangs: {process.communicate()[0]}") from None
        assert (process.returncode != 0) == fails, printed
        return printed

    def commit(self, message: str) -> None:
        self.call("git", "add", "--all")
        self.call("git", "commit", "--quiet", "--message", message)

    def edit(self, file: str, **values: dict) -> None:
        """Change single values of a parameter file's keys."""
        path = self.root / file
        content = yaml.safe_load(path.read_text())
        for key, value in values.items():
            content[key] = {**content[key], **value}
        path.write_text(yaml.safe_dump(content))

    def json(self, *command: str):
        """What a command prints as JSON, whatever it says before."""
        printed = self.call(*command)
        return json.loads(printed[printed.index("{") :])

    def files(self) -> dict[str, str]:
        """Digests of all files of the data folder."""
        return {
            path.relative_to(self.root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted((self.root / "data").rglob("*"))
            if path.is_file() and path.name not in (".gitkeep", ".gitignore", ".run.lock")
        }

    def metrics(self) -> dict:
        return json.loads((self.root / "data/08_reporting/metrics.json").read_text())

    def checkpoint(self, stage: str) -> dict:
        file = self.root / "data/06_models" / stage / "checkpoint.pt"
        return torch.load(file, weights_only=True)


def ran(printed: str) -> list[str]:
    """The stages that `dvc repro` ran."""
    return re.findall(r"Running stage '(\w+)'", printed)


def make_clone(root: Path) -> Clone:
    """All that git holds of this project (without tests), made small, and committed."""
    root.mkdir(parents=True)
    for name in ("conf", "src", ".dvc"):
        skip = shutil.ignore_patterns("local", "__pycache__", "*.egg-info", "tmp", "cache")
        shutil.copytree(ROOT / name, root / name, ignore=skip)
    files = ("dvc.yaml", ".dvcignore", ".gitignore", "pyproject.toml", ".telemetry", "Makefile")
    for name in files:
        shutil.copy(ROOT / name, root)
    for keep in (ROOT / "data").glob("*/.gitkeep"):
        (root / "data" / keep.parent.name).mkdir(parents=True)
        shutil.copy(keep, root / "data" / keep.parent.name)
    small = yaml.safe_load((root / "conf/smoke/parameters.yml").read_text())
    base = yaml.safe_load((root / PARAMETERS).read_text())
    small["training"]["rounds"] = base["training"]["rounds"]  # dvc.yaml has stages for each
    for file in (root / "conf/base").glob("parameters*.yml"):
        content = yaml.safe_load(file.read_text())
        file.write_text(
            yaml.safe_dump({key: small.get(key, value) for key, value in content.items()})
        )
    clone = Clone(root)
    clone.call("git", "init", "--quiet")
    clone.commit("start")
    return clone


@pytest.fixture
def new(tmp_path) -> Clone:
    """A project nobody ran."""
    return make_clone(tmp_path / "project")


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Clone:
    """A project after `dvc repro`, its results committed as users commit them."""
    clone = make_clone(tmp_path_factory.mktemp("dvc") / "project")
    elsewhere = clone.root.with_name("elsewhere")
    clone.environ["SSPCM_DATA"] = str(elsewhere)  # of the user's shell; stages do without
    printed = clone.call("dvc", "repro")
    assert set(ran(printed)) == STAGES and len(ran(printed)) == len(STAGES)
    assert clone.call("git", "status", "--porcelain").split() == ["??", "dvc.lock"]
    assert not elsewhere.exists()
    clone.commit("results")
    return clone


def copy_of(clone: Clone, place: Path) -> Clone:
    shutil.copytree(clone.root, place / "project", symlinks=True)
    return Clone(place / "project")


@pytest.fixture
def copy(finished, tmp_path) -> Clone:
    """The finished project in another place, to do something in."""
    return copy_of(finished, tmp_path)


@pytest.fixture(scope="module")
def evaluated(finished, tmp_path_factory) -> tuple[Clone, str]:
    """The finished project after one evaluation parameter changed, and what repro printed."""
    clone = copy_of(finished, tmp_path_factory.mktemp("evaluated"))
    clone.edit(PARAMETERS, evaluation={"pck_threshold": 0.4})
    return clone, clone.call("dvc", "repro")


def test_a_second_repro_does_nothing(copy):
    before, lock = copy.files(), (copy.root / "dvc.lock").read_bytes()
    printed = copy.call("dvc", "repro")
    assert ran(printed) == [] and "Data and pipelines are up to date" in printed
    assert copy.files() == before and (copy.root / "dvc.lock").read_bytes() == lock


def test_an_evaluation_parameter_reruns_evaluation_and_reporting(evaluated, finished):
    clone, printed = evaluated
    assert ran(printed) == ["evaluation", "reporting"]
    assert clone.metrics()["student"]["PCK"] > finished.metrics()["student"]["PCK"]
    changed = {name for name, digest in clone.files().items() if digest != finished.files()[name]}
    assert "data/08_reporting/metrics.json" in changed
    exported = "data/06_models/trained_model.safetensors"  # it says why this network is shipped
    made = (exported, "data/07_model_output/", "data/08_reporting/")
    assert all(name.startswith(made) for name in changed)


def test_code_of_augmentation_reruns_stages_and_a_raised_version_trains_again(copy):
    """DVC looks at the stage again; it keeps what it has learned, and says which code changed."""
    before = copy.checkpoint("warmup")
    with (copy.root / "src/sspcm_kedro/augment/affine.py").open("a") as file:
        file.write("\n# another augmentation\n")
    changed = set(copy.json("dvc", "status", "--json"))
    assert "ingestion" not in changed
    assert {"warmup", "round_1_training", "round_2_training", "comparison"} <= changed
    printed = copy.call("dvc", "repro", "warmup")
    assert ran(printed) == ["warmup"]
    assert "augment/affine.py changed since" in printed and not TRAINED.findall(printed)
    assert copy.checkpoint("warmup")["fingerprint"] == before["fingerprint"]
    copy.edit(PARAMETERS, training={"version": 2})
    printed = copy.call("dvc", "repro", "warmup")
    assert "starts afresh: training.version was 1, is 2" in printed
    assert TRAINED.findall(printed) == [("warmup", "1"), ("warmup", "2")]
    assert copy.checkpoint("warmup")["fingerprint"] != before["fingerprint"]


def test_a_killed_training_goes_on_from_its_epoch(copy):
    """DVC itself is killed with it, as when a machine goes down."""
    old, epochs = copy.checkpoint("warmup")["fingerprint"], 40
    copy.edit(PARAMETERS, training={"warmup_epochs": epochs})
    process = copy.start("dvc", "repro", "warmup")
    deadline = time.monotonic() + 1800
    try:
        while copy.checkpoint("warmup")["fingerprint"] == old:
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    done = copy.checkpoint("warmup")["epoch"]
    assert 1 <= done < epochs
    assert "warmup" in copy.json("dvc", "status", "--json", "warmup")

    printed = copy.call("dvc", "repro", "warmup")
    assert ran(printed) == ["warmup"]
    assert f"warmup goes on after epoch {done} of {epochs}" in printed
    assert TRAINED.findall(printed)[0] == ("warmup", str(done + 1))
    assert copy.checkpoint("warmup")["epoch"] == epochs
    history = pd.read_csv(copy.root / "data/06_models/warmup/history.csv")
    assert history["epoch"].tolist() == list(range(1, epochs + 1))
    assert "warmup" not in copy.json("dvc", "status", "--json")


def test_push_and_pull_restore_the_data_here_and_in_another_clone(copy):
    before = copy.files()
    copy.call("dvc", "push")
    shutil.rmtree(copy.root / "data")
    shutil.rmtree(copy.root / ".dvc" / "cache")
    copy.call("dvc", "pull")
    assert copy.files() == before

    beside = Clone(copy.root.with_name("clone"))
    copy.call("git", "clone", "--quiet", str(copy.root), str(beside.root))
    beside.call("dvc", "pull")
    assert beside.files() == before
    shutil.rmtree(copy.root)  # the clone needs nothing of it
    assert ran(beside.call("dvc", "repro")) == []
    for name in ("labeled", "unlabeled", "validation"):
        file = beside.root / "data/05_model_input" / f"{name}.parquet"
        for image in InstancesDataset(filepath=str(file)).load().paths:
            assert Path(image).is_relative_to(beside.root) and Path(image).is_file()


def test_metrics_are_compared_with_those_of_a_commit(evaluated, finished):
    clone, _ = evaluated
    diff = clone.json("dvc", "metrics", "diff", "--json", "HEAD")
    row = diff["data/08_reporting/metrics.json"]["student.PCK"]
    assert row["old"] == finished.metrics()["student"]["PCK"]
    assert row["new"] == clone.metrics()["student"]["PCK"]


def test_plots_are_compared_with_those_of_a_commit(evaluated, tmp_path):
    """Every curve has the points of the histories; every figure is there twice."""
    clone, _ = evaluated
    printed = clone.call("dvc", "plots", "diff", "HEAD", "--out", str(tmp_path / "plots"))
    page = (tmp_path / "plots" / "index.html").read_text()
    assert "ERROR" not in printed and "failed" not in printed
    images = {path.name for path in (tmp_path / "plots").rglob("*.png")}
    for name in ("HEAD", "workspace"):
        for figure in ("learning_curves", "per_keypoint", "pseudo_label_quality"):
            assert any(name in image and figure in image for image in images), (images, name)
    for plot in yaml.safe_load((clone.root / "dvc.yaml").read_text())["plots"]:
        for title, options in plot.items() if isinstance(plot, dict) else ():
            assert title in page
            for file, column in options["y"].items():
                table = pd.read_csv(clone.root / file)
                for value in table[column].dropna():
                    assert str(value) in page, (file, column)


def test_experiments_with_two_values_are_shown_beside_each_other(evaluated, finished, tmp_path):
    judged_clone, _ = evaluated
    clone = copy_of(judged_clone, tmp_path)
    clone.call("git", "checkout", "--quiet", PARAMETERS)
    clone.call("dvc", "checkout")
    for name, value in (("wide", 0.4), ("narrow", 0.1)):
        printed = clone.call(
            "dvc", "exp", "run", "--name", name, "--set-param",
            f"{PARAMETERS}:evaluation.pck_threshold={value}",
        )  # fmt: skip
        # What was evaluated with the first value before comes from DVC's cache.
        assert ran(printed) == ([] if name == "wide" else ["evaluation", "reporting"])
    rows = {
        row["Experiment"] or row["rev"]: row
        for row in csv.DictReader(io.StringIO(clone.call("dvc", "exp", "show", "--csv")))
    }
    pck = {name: float(rows[name]["student.PCK"]) for name in ("wide", "narrow")}
    assert pck["wide"] == pytest.approx(judged_clone.metrics()["student"]["PCK"], abs=1e-4)
    assert pck["narrow"] == pytest.approx(clone.metrics()["student"]["PCK"], abs=1e-4)
    assert pck["narrow"] < finished.metrics()["student"]["PCK"] < pck["wide"]
    assert [rows[name]["evaluation.pck_threshold"] for name in pck] == ["0.4", "0.1"]


def test_raw_data_of_a_user_are_tracked_by_their_dvc_file_alone(new):
    raw = new.root / "data/01_raw/lspet"
    (raw / "images").mkdir(parents=True)
    (raw / "joints.mat").write_bytes(b"joints")
    (raw / "images" / "im00001.jpg").write_bytes(b"pixels")
    new.call("dvc", "add", "data/01_raw/lspet")
    assert new.call("git", "status", "--porcelain", "--untracked-files=all").split() == [
        "??", "data/01_raw/lspet.dvc",
    ]  # fmt: skip
    new.commit("raw data")
    new.call("dvc", "push")
    shutil.rmtree(raw)
    shutil.rmtree(new.root / ".dvc" / "cache")
    new.call("dvc", "pull", "data/01_raw/lspet")
    assert (raw / "images" / "im00001.jpg").read_bytes() == b"pixels"


@pytest.mark.skipif(shutil.which("make") is None, reason="no make")
@pytest.mark.parametrize(
    ("missing", "said"),
    [(".git", "git init && git add . && git commit"), (".dvc", "git checkout .dvc")],
)
def test_without_git_or_dvc_make_repro_says_what_to_do(new, missing, said):
    shutil.rmtree(new.root / missing)
    printed = new.call("make", "repro", "--old-file", ".venv/ready", fails=True)
    assert said in printed and "without DVC: make run" in printed
    assert new.files() == {}
