"""The console command of an installed package."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def command() -> list[str]:
    """Python that calls what pyproject.toml installs as ``sspcm-kedro``, as pip's script does."""
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    module, _, function = scripts["sspcm-kedro"].partition(":")
    call = f"import sys; sys.argv[0] = 'sspcm-kedro'; from {module} import {function}; {function}()"
    return [sys.executable, "-c", call]


MODULE = [sys.executable, "-m", "sspcm_kedro"]


def start(begin: list[str], folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "100"}
    return subprocess.run(
        [*begin, *arguments], cwd=folder, env=environment, capture_output=True, text=True,
        check=False, timeout=300,
    )  # fmt: skip


@pytest.fixture
def settings(tmp_path) -> Path:
    """A folder with the settings alone: no pyproject.toml and no source."""
    folder = tmp_path / "settings"
    shutil.copytree(ROOT / "conf", folder / "conf", ignore=shutil.ignore_patterns("local"))
    (folder / "conf" / "local").mkdir()
    return folder


def test_help_says_how_it_is_used_anywhere(tmp_path):
    done = start(command(), tmp_path, "--help")
    assert done.returncode == 0
    assert "Usage: sspcm-kedro" in done.stdout and "sspcm-kedro run --env smoke" in done.stdout
    assert all(option in done.stdout for option in ("--env", "--params", "--conf-source"))


@pytest.mark.parametrize("arguments", [["run", "--env", "smoke"], ["--env", "smoke"]])
def test_outside_of_a_project_it_says_one_sentence(tmp_path, arguments):
    done = start(command(), tmp_path, *arguments)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f"Error: {tmp_path}: must hold the settings of a project (conf/base), and does not. "
        "Go to the project's folder, or name its settings: --conf-source FOLDER"
    ]
    assert "Traceback" not in done.stdout and not any(tmp_path.iterdir())


@pytest.mark.parametrize(("begin", "words"), [(command(), ["run"]), (MODULE, [])])
def test_it_runs_pipelines_with_the_settings_of_its_folder(settings, begin, words):
    done = start(begin, settings, *words, "--env", "smoke", "--pipelines", "ingestion")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (settings / "data" / "smoke" / "05_model_input" / "labeled.parquet").is_file()


def test_settings_may_lie_elsewhere(settings, tmp_path):
    here = tmp_path / "here"
    here.mkdir()
    source = str(settings / "conf")
    arguments = ["--conf-source", source, "--env", "smoke", "--pipelines", "ingestion"]
    done = start(command(), here, "run", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (here / "data" / "smoke" / "05_model_input" / "labeled.parquet").is_file()


def test_a_wrong_option_is_named(tmp_path):
    done = start(command(), tmp_path, "run", "--envs", "smoke")
    assert done.returncode == 2 and "No such option '--envs'" in done.stderr


def test_a_command_starts_without_what_only_networks_need():
    """They take as long as all other imports together, and half of the commands need none."""
    code = "import sys, sspcm_kedro.settings, sspcm_kedro.pipeline_registry; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True
    )
    modules = set(loaded.stdout.split())
    assert "torch" in modules
    assert not modules & {
        "timm",
        "torchvision",
        "sklearn",
        "scipy.stats",
        "scipy.optimize",
        "torch._dynamo",
        "triton",
    }
