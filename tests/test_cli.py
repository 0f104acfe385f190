"""Errors of users are one sentence on stderr and exit code 1; all others keep their traceback."""

import logging

import click
import pytest
from click.testing import CliRunner
from kedro.config import MissingConfigException
from kedro.io import DataCatalog, DatasetError, MemoryDataset
from kedro.pipeline import Pipeline, node
from kedro.runner import SequentialRunner

from sspcm_kedro.cli import VERBOSE, cli, run, sentence_of, tell_errors
from sspcm_kedro.errors import BadInput, Diverged

FAULT = BadInput("a.json, annotation 3", "must be small", "Make it small")


def fail(error: BaseException) -> None:
    raise error


def caught(call) -> BaseException:
    with pytest.raises(BaseException) as found:
        call()
    return found.value


def behind() -> None:
    try:
        fail(FAULT)
    except BadInput as error:
        raise DatasetError("Failed while loading data from dataset people") from error


@pytest.mark.parametrize("call", [lambda: fail(FAULT), behind])
def test_bad_input_is_the_sentence_also_behind_kedros_own_error(call):
    assert sentence_of(caught(call)) == "a.json, annotation 3: must be small. Make it small"


@pytest.mark.parametrize(
    ("call", "start"),
    [
        (lambda: Pipeline([]).only_nodes("absent"), "Pipeline does not contain nodes named"),
        (lambda: DataCatalog.from_config({"a": {"type": "no.Such"}})["a"], "An exception occurred"),
        (lambda: DataCatalog({}).load("people"), "Dataset 'people' not found"),
        (lambda: MemoryDataset().load(), "Data for MemoryDataset has not been saved yet"),
    ],
)
def test_what_kedro_refuses_is_a_sentence(call, start):
    sentence = sentence_of(caught(call))
    assert sentence is not None and sentence.startswith(start) and "\n" not in sentence
    assert sentence.endswith(f"({VERBOSE}=1 shows where)")


@pytest.mark.parametrize(
    "error", [ValueError("of ours"), KeyError("x"), TypeError("x"), MissingConfigException("ours")]
)
def test_an_error_of_the_program_keeps_its_traceback(error):
    assert sentence_of(caught(lambda: fail(error))) is None
    with pytest.raises(type(error)):
        tell_errors(lambda: fail(error))()


def test_a_training_that_diverged_says_what_to_lower():
    error = Diverged("training diverged in epoch 2: ...; lower training.learning_rate")
    assert sentence_of(error) == str(error)
    assert sentence_of(FloatingPointError("of numpy")) is None


def test_too_little_memory_says_what_to_lower():
    message = "[enforce fail at alloc_cpu.cpp:119] DefaultCPUAllocator: can't allocate memory"
    assert "Lower training.batch" in str(sentence_of(RuntimeError(message)))
    assert sentence_of(RuntimeError("shapes differ")) is None


def run_a_node(error: Exception) -> None:
    catalog = DataCatalog({"a": MemoryDataset(1)})

    def broken(a: int) -> int:
        raise error

    SequentialRunner().run(Pipeline([node(broken, "a", "b", name="broken")]), catalog)


def test_kedros_log_does_not_say_it_again(caplog, monkeypatch):
    monkeypatch.delenv(VERBOSE, raising=False)
    with caplog.at_level(logging.INFO), pytest.raises(click.ClickException) as found:
        tell_errors(lambda: run_a_node(FAULT))()
    assert found.value.message == str(FAULT) and found.value.exit_code == 1
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert any("Running node" in record.getMessage() for record in caplog.records)
    caplog.clear()
    with pytest.raises(KeyError):
        tell_errors(lambda: run_a_node(KeyError("x")))()
    assert any("failed with error" in record.getMessage() for record in caplog.records)


def test_verbose_shows_the_traceback_and_all_of_kedros_log(caplog, monkeypatch):
    monkeypatch.setenv(VERBOSE, "1")
    with pytest.raises(BadInput):
        tell_errors(lambda: run_a_node(FAULT))()
    assert any("failed with error" in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--params", "training.rounds=50000"], "Error: parameter training.rounds: must be less"),
        (["--params", "seed=-1"], "Error: parameter seed: must be greater than or equal to 0"),
        (["--params", "sed=1"], "Error: --params sed: is not a parameter of this project. Did you"),
        (["--params", "training=5"], "Error: parameter training: must be a table of settings"),
        (["--pipelines", "warmupp"], "Error: Failed to find the pipeline named 'warmupp'."),
        (["--nodes", "absent"], "Error: Pipeline does not contain nodes named ['absent']"),
        (["--env", "smok"], "conf/smok: there must be such a folder, the environment's settings."),
    ],
)
def test_a_run_that_users_got_wrong(make_project, monkeypatch, arguments, sentence):
    monkeypatch.delenv(VERBOSE, raising=False)
    project = make_project("wrong")
    monkeypatch.chdir(project.root)
    given = arguments if "--env" in arguments else ["--env", "smoke", *arguments]
    done = CliRunner().invoke(cli, ["run", *given])
    assert done.exit_code == 1
    assert sentence in done.stderr and "Traceback" not in done.output
    assert len([line for line in done.stderr.splitlines() if line.startswith("Error")]) == 1


@pytest.mark.parametrize(
    ("file", "text", "sentence"),
    [
        ("local/parameters.yml", "trainning: {rounds: 7}", "trainning: is not a parameter of this"),
        ("smoke/parameters_x.yml", "5: 1", "smoke/parameters_x.yml, line 1: a key must be a text"),
        ("smoke/catalog_x.yml", "labeled: {tipe: json.JSONDataset}", "dataset 'labeled': 'type'"),
        ("smoke/parameters_x.yml", "", "labeled.parquet: there must be such a file, and a"),
        ("smoke/catalog_x.yml", "labeled: {type: json.Nothing, filepath: a}", "'Nothing'"),
        ("local/globals.yml", "data_root: [1]", "globals.yml must say data_root, a folder, found"),
    ],
)  # fmt: skip
def test_a_file_of_settings_that_users_got_wrong(make_project, monkeypatch, file, text, sentence):
    monkeypatch.delenv(VERBOSE, raising=False)
    project = make_project("wrong")
    monkeypatch.chdir(project.root)
    (project.root / "conf" / file).write_text(text)
    env = "smoke" if file.startswith("smoke") else "local"
    done = CliRunner().invoke(cli, ["run", "--env", env, "--pipelines", "warmup"])
    assert done.exit_code == 1 and sentence in done.stderr, done.output
    assert "Traceback" not in done.output


def test_help_has_the_option():
    done = CliRunner().invoke(run, ["--help"])
    assert done.exit_code == 0 and "--verbose" in done.stdout and VERBOSE in done.stdout
