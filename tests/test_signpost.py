"""The end of a run says where things are; log lines go where bars are drawn."""

import io
import logging.config
import sys
from types import SimpleNamespace

import yaml

from conftest import ROOT
from sspcm_kedro.signpost import signs


def file(place: str):
    return SimpleNamespace(_describe=lambda: {"filepath": place})


CATALOG = {"report": file("/d/report.html"), "trained_model": file("/d/model"),
           "plan": file("/d/plan.json"), "labeled": file("/d/labeled")}  # fmt: skip


def test_what_was_made_is_named_with_its_place_and_the_next_command():
    lines = signs({"report", "trained_model", "labeled"}, CATALOG, "smoke", {})  # pyright: ignore
    assert [line.split()[-1] for line in lines[:2]] == ["/d/report.html", "/d/model"]
    assert any(
        line.endswith("kedro run --env smoke --pipelines annotation_queue") for line in lines
    )
    assert lines[-1].endswith("make ui") and not any("/d/labeled" in line for line in lines)


def test_a_run_that_trains_nothing_says_no_command():
    (line,) = signs({"plan"}, CATALOG, None, {})  # pyright: ignore
    assert line.endswith("/d/plan.json")
    assert signs({"labeled"}, CATALOG, None, {}) == []  # pyright: ignore
    (_, *commands) = signs({"trained_model"}, CATALOG, None, {})  # pyright: ignore
    assert any("kedro run --pipelines prediction" in line for line in commands)


def test_the_next_command_repeats_the_params_that_its_results_are_of():
    given = {"training": {"steps": 30}, "seed": 1, "machine": {"workers": None}}
    lines = signs({"trained_model"}, CATALOG, "mine", given)  # pyright: ignore
    params = "training.steps=30,seed=1,machine.workers=null"
    commands = [line.split("kedro ", 1)[1] for line in lines if "kedro run" in line]
    assert commands == [
        f"run --env mine --pipelines prediction --params prediction.images=FOLDER,{params}",
        f"run --env mine --pipelines annotation_queue --params {params}",
    ]
    folder = {"source": {"root": "/my people"}}  # as a shell takes it
    lines = signs({"trained_model"}, CATALOG, None, folder)  # pyright: ignore
    assert sum(line.endswith("--params 'source.root=/my people'") for line in lines) == 1


def test_the_next_command_reads_the_data_folder_of_the_run(monkeypatch):
    """Without it the command would take the model of another training, and say nothing."""
    monkeypatch.setenv("SSPCM_DATA", "data/my second")
    lines = signs({"trained_model"}, CATALOG, "smoke", {})  # pyright: ignore
    commands = [line.split(":", 1)[1].strip() for line in lines if "kedro run" in line]
    start = "SSPCM_DATA='data/my second' kedro run --env smoke --pipelines"
    assert commands == [
        f"{start} prediction --params prediction.images=FOLDER", f"{start} annotation_queue"
    ]  # fmt: skip


def test_where_there_are_settings_alone_the_next_command_is_the_packages(tmp_path, monkeypatch):
    """There ``kedro`` has no command run, and make no ui."""
    (tmp_path / "conf" / "base").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    lines = signs({"trained_model"}, CATALOG, None, {})  # pyright: ignore
    assert lines[-1].endswith(" sspcm-kedro run --pipelines annotation_queue")


def test_a_log_line_goes_to_what_stderr_is_when_it_is_written(monkeypatch):
    """A bar puts a stream of its own there, which prints above it."""
    settings = yaml.safe_load((ROOT / "conf" / "logging.yml").read_text())
    logging.config.dictConfig(
        {"version": 1, "incremental": False, "disable_existing_loggers": False,
         "formatters": settings["formatters"], "handlers": settings["handlers"],
         "loggers": {"a": {"handlers": ["console"], "level": "INFO"}}}
    )  # fmt: skip
    bar = io.StringIO()
    monkeypatch.setattr(sys, "stderr", bar)
    logging.getLogger("a").info("epoch 3")
    assert bar.getvalue().endswith(" INFO    epoch 3\n")


def test_settings_of_the_log_import_no_package_of_ours():
    """Kedro reads them before it knows a project's src: another checkout's code would run."""
    assert "sspcm_kedro." not in (ROOT / "conf" / "logging.yml").read_text()
