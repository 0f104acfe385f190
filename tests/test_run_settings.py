"""What comes after a training has its settings, or says in which values they differ."""

import shlex
import shutil

import click
import pytest
import torch
from kedro.framework.cli.utils import _split_params

from sspcm_kedro.datasets.checkpoint import CheckpointDataset
from sspcm_kedro.errors import BadInput
from sspcm_kedro.run_settings import how_to_give, trained_settings

from .conftest import TRAINED, Project


@pytest.fixture
def copy(make_project, trained_project) -> Project:
    """A project of the test's own after one round, whose parameters were not those of the files."""
    project = make_project("copy")
    shutil.copytree(trained_project.data, project.data, dirs_exist_ok=True)
    return project


def stored(project: Project, stage: str) -> dict:
    return torch.load(project.data / "06_models" / stage / "checkpoint.pt", weights_only=True)


def test_a_checkpoint_has_the_settings_that_it_was_trained_with(trained_project):
    """Defaults are filled in; what trains nothing is left out."""
    for stage in ("warmup", "round_1"):
        settings = stored(trained_project, stage)["settings"]
        assert set(settings) == {"seed", "view", "network", "training", "method"}
        assert settings["seed"] == 0
        assert settings["training"]["rounds"] == 1 and settings["training"]["batch"] == 8
        assert settings["method"]["min_score"] == 0 and settings["method"]["kind"] == "sspcm"
        assert settings["view"]["input_hw"] == [64, 48] and settings["view"]["sigma"] == 1


def test_other_settings_are_refused_with_both_values(copy):
    with pytest.raises(BadInput) as caught:
        copy.run("annotation_queue", method={"min_score": 0.0})
    text = str(caught.value)
    assert "round_1/checkpoint.pt" in text
    assert "training.rounds was 1, is 2" in text and "--params training." in text
    assert "training.rounds=1" in text and "min_score" not in text
    assert not (copy.data / "08_reporting" / "annotation_queue").exists()


def test_the_remedy_can_be_typed():
    """A list cannot: Kedro parts --params at its commas, and refuses the rest of it."""
    said = how_to_give({
        "training.rounds": 1, "view.input_hw": "[64, 48]", "network.weights": "/my files/w.pth"
    })  # fmt: skip
    command, rest = said.removeprefix("Add --params ").split(" and set ")
    (typed,) = shlex.split(command)
    assert _split_params(click.Context(click.Command("run")), None, typed) == {
        "training": {"rounds": 1}, "network": {"weights": "/my files/w.pth"}
    }  # fmt: skip
    assert rest.startswith("view.input_hw = [64, 48] in the environment's parameters.yml")
    assert how_to_give({"training.milestones": "[0.7, 0.9]"}).startswith("Set training.milestones")


@pytest.mark.parametrize("params", [{"seed": 3}, {"view": {"sigma": 2.0}}])
def test_evaluation_and_reporting_refuse_them_too(copy, params):
    for pipeline in ("evaluation", "reporting"):
        with pytest.raises(BadInput, match=r"(seed was 0, is 3|view.sigma was 1.0, is 2.0)"):
            copy.run(pipeline, **{**TRAINED, **params})


def test_a_training_of_before_there_was_another_padding_had_the_usual_one(copy):
    dataset = CheckpointDataset(str(copy.data / "06_models" / "round_1" / "checkpoint.pt"))
    state = dataset.load()
    assert state is not None and state["settings"]["view"].pop("padding") == 1.25
    assert "padding" not in state["record"]["view"]
    dataset.save(state)
    copy.run("annotation_queue", **TRAINED)
    with pytest.raises(BadInput, match=r"padding was 1.25, is 1.1\. Add --params view.padding"):
        copy.run("annotation_queue", **TRAINED, view={"padding": 1.1})


def test_the_settings_of_the_training_are_taken(copy):
    copy.run("annotation_queue", **TRAINED)
    assert (copy.data / "08_reporting" / "annotation_queue.png").exists()


def test_the_trained_model_needs_no_settings(copy):
    """Its file says all of it; and nothing else is looked at."""
    images = copy.data / "01_raw" / "drawn" / "images" / "val"
    copy.run("prediction", prediction={"images": str(images)})
    assert (copy.data / "07_model_output" / "prediction" / "person_keypoints.json").exists()


def test_training_on_is_the_business_of_the_stages(copy):
    """A round with another min_score is trained; its checkpoint then has it."""
    other = {**TRAINED, "method": {"min_score": 0.3}}
    copy.run("warmup", "rounds", **other)
    assert stored(copy, "round_1")["settings"]["method"]["min_score"] == 0.3
    with pytest.raises(BadInput, match=r"method.min_score was 0.3, is 0"):
        copy.run("annotation_queue", **TRAINED)


def test_a_checkpoint_of_an_older_version_is_taken_with_a_word(copy, caplog):
    dataset = CheckpointDataset(str(copy.data / "06_models" / "round_1" / "checkpoint.pt"))
    state = dataset.load()
    assert state is not None
    dataset.save({key: value for key, value in state.items() if key != "settings"})
    copy.run("annotation_queue", **TRAINED)
    assert "does not say its settings" in caplog.text


def test_notebooks_have_the_settings_of_the_training(copy):
    """Today's files say two rounds."""
    with copy.session() as session:
        context = session.load_context()
        assert context.params["training"].rounds == 2
        settings = trained_settings(context.catalog)
    assert settings["training"].rounds == 1
    assert settings["method"].root.min_score == 0


def test_nothing_trained_has_no_settings(project):
    with project.session() as session, pytest.raises(BadInput, match="must hold a training"):
        trained_settings(session.load_context().catalog)
