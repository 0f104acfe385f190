"""An experiment made stage by stage, as ``dvc repro`` makes it, and what MLflow holds then."""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.pyfunc import scoring_server
from safetensors.torch import load_file

import sspcm_kedro
from sspcm_kedro.data.instances import Instances
from sspcm_kedro.datasets.instances import InstancesDataset
from sspcm_kedro.engine.confidence import Confidence
from sspcm_kedro.engine.predict import to_image
from sspcm_kedro.errors import BadInput
from sspcm_kedro.pose.geometry import CropFrame

from .conftest import SHORT

STAGES = ("warmup", "round_1", "comparison", "evaluation", "reporting")
STEPS = [2, 4, 6, 8]


@pytest.fixture(scope="module")
def staged(make_tracked, tracking_on):
    """Every stage in a session of its own, as of an experiment of DVC."""
    project, book = make_tracked("staged")
    for stage in STAGES:
        tracking_on.setenv("DVC_STAGE", f"{stage}@sspcm-0")
        tracking_on.setenv("DVC_EXP_NAME", "brave-otter")
        project.run(stage, **SHORT)
    for name in ("DVC_STAGE", "DVC_EXP_NAME"):
        tracking_on.delenv(name)
    method, dual = book.run(method__kind="sspcm"), book.run(method__kind="pose_dual")
    return SimpleNamespace(project=project, book=book, method=method, dual=dual)


def history_of(staged, *stages: str) -> pd.DataFrame:
    files = [staged.project.data / "06_models" / stage / "history.csv" for stage in stages]
    return pd.concat([pd.read_csv(f) for f in files])


def read(staged, name: str):
    return json.loads((staged.project.data / name).read_text())


def test_two_trainings_are_two_finished_runs(staged):
    runs = staged.book.runs()
    assert [run.info.run_name for run in runs] == [
        "smoke, sspcm, 12 labels, seed 0", "smoke, pose_dual, 12 labels, seed 0",
    ]  # fmt: skip
    assert {run.info.status for run in runs} == {"FINISHED"}


def test_curves_are_the_histories_on_one_axis(staged):
    for run, stages in ((staged.method, ("warmup", "round_1")), (staged.dual, ("comparison",))):
        rows = history_of(staged, *stages)
        assert rows["step"].tolist() == STEPS
        names = set(rows.columns) - {"stage", "step"}
        assert {"learning_rate", "people_per_second", "memory_gib", "loss/supervised",
                "teacher_a/AP", "teacher_a/loss/supervised"} <= names  # fmt: skip
        for name in names:
            known = rows[["step", name]].dropna()
            expected = list(zip(known["step"], known[name].astype(float), strict=True))
            curve = staged.book.curve(run, name)
            assert [step for step, _ in curve] == [step for step, _ in expected]
            assert [v for _, v in curve] == pytest.approx([v for _, v in expected], rel=1e-12)
    rows = history_of(staged, "round_1")
    assert [s for s, _ in staged.book.curve(staged.method, "kept")] == STEPS[2:]
    assert {"student/loss/consistency", "inconsistency"} <= set(rows.columns)


def test_methods_have_the_network_that_ships_under_one_name(staged):
    for run, network in ((staged.method, "student"), (staged.dual, "teacher_a")):
        for name in ("AP", "PCK", "loss/supervised"):
            curve = staged.book.curve(run, f"deployed/{name}")
            assert [step for step, _ in curve] == STEPS
            assert curve == staged.book.curve(run, f"{network}/{name}")


def test_results(staged):
    metrics = read(staged, "08_reporting/metrics.json")
    for run, network in ((staged.method, "student"), (staged.dual, "pose_dual")):
        for name in ("AP", "AP50", "AR", "PCK"):
            assert run.data.metrics[f"final/{name}"] == metrics[network][name]
    for network in ("student", "teacher_a", "teacher_b"):
        assert staged.method.data.metrics[f"final/{network}/PCK"] == metrics[network]["PCK"]
    labels = metrics["pseudo_labels"]["round_1"]
    assert staged.book.curve(staged.method, "pseudo_labels/corrected") == [(4, labels["corrected"])]
    report = read(staged, "08_reporting/round_1_correction.json")
    assert staged.book.curve(staged.method, "correction/kept") == [(4, report["kept"])]


def test_runs_say_which_network_is_shipped_and_how_sure_that_is(staged):
    choice = read(staged, "08_reporting/metrics.json")["choice"]
    ships = choice["ships"] == "student"
    assert choice["ships"] in ("student", "pose_dual")
    assert staged.method.data.tags["ships"] == str(ships).lower()
    assert staged.dual.data.tags["ships"] == str(not ships).lower()
    for name in ("gain", "low", "high", "better"):
        assert staged.book.curve(staged.method, f"choice/{name}") == [(8, choice[name])]
        assert f"choice/{name}" not in staged.dual.data.metrics


def test_tables_of_people_are_data_sets_and_the_verdict_is_the_description(staged):
    inputs = {d.dataset.name: d for d in staged.method.inputs.dataset_inputs}
    assert {n: d.tags[0].value for n, d in inputs.items()} == {
        "labeled": "training", "unlabeled": "pseudo-labels", "validation": "validation"
    }  # fmt: skip
    rows = len(pd.read_parquet(staged.project.data / "05_model_input" / "labeled.parquet"))
    assert json.loads(inputs["labeled"].dataset.profile) == {"num_rows": rows}
    digests = {d.dataset.name: d.dataset.digest for d in staged.dual.inputs.dataset_inputs}
    assert digests == {name: d.dataset.digest for name, d in inputs.items()}
    choice = read(staged, "08_reporting/metrics.json")["choice"]
    for own in (staged.method, staged.dual):
        note = own.data.tags["mlflow.note.content"]
        assert note.startswith(choice["reason"]) and choice["doubt"] in note


def test_the_registered_model_that_is_shipped_is_that_of_the_better_run(staged):
    choice = read(staged, "08_reporting/metrics.json")["choice"]
    ships = choice["ships"] == "student"
    version = staged.book.client.get_model_version_by_alias("sspcm", "shipped")
    assert version.run_id == (staged.method if ships else staged.dual).info.run_id
    assert version.description.startswith(choice["reason"])
    with store_of(staged):
        people = pd.DataFrame(sent(validation(staged)))
        by_alias = mlflow.pyfunc.load_model("models:/sspcm@shipped").predict(people)
    run = staged.method if ships else staged.dual
    own = served(staged, run).predict(people)
    np.testing.assert_array_equal(points_of(by_alias), points_of(own))


def test_settings_and_surroundings(staged):
    params, tags = staged.method.data.params, staged.method.data.tags
    assert params["training.steps"] == "2" and params["seed"] == "0"
    assert params["environment"] == "smoke" and params["evaluation.nms_threshold"] == "0.9"
    assert len(params["people"]) == len(params["code"]) == 12
    assert staged.dual.data.params["people"] == params["people"]
    assert tags["version.torch"] == version("torch")
    assert tags["dvc.experiment"] == "brave-otter"
    stages = {"warmup", "round_1", "evaluation", "reporting"}
    assert stages == {
        name.split(".")[2].split("/")[0] for name in tags if name.startswith("dvc.stage.")
    }


def test_figures_are_those_of_the_report(staged):
    files = staged.book.files(staged.method)
    reporting = staged.project.data / "08_reporting"
    figures = {f"figures/{file.name}" for file in reporting.glob("*.png")}
    assert len(figures) >= 6
    assert files == {*figures, "choice.json", "metrics.json", "report.html"}
    shared = {"learning_curves", "predictions", "per_keypoint"}
    assert staged.book.files(staged.dual) == {
        *(f"figures/{name}.png" for name in shared), "choice.json", "metrics.json", "report.html",
    }  # fmt: skip
    place = Path(mlflow.artifacts.download_artifacts(
        run_id=staged.method.info.run_id, artifact_path="figures", tracking_uri=staged.book.uri
    ))  # fmt: skip
    for file in reporting.glob("*.png"):
        assert (place / file.name).read_bytes() == file.read_bytes()


@contextmanager
def store_of(staged) -> Iterator[None]:
    """MLflow's loaders know no argument for the store that a ``runs:`` address means."""
    mlflow.set_tracking_uri(staged.book.uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(None)


def served(staged, run):
    with store_of(staged):
        return mlflow.pyfunc.load_model(f"runs:/{run.info.run_id}/model")


def validation(staged) -> Instances:
    file = staged.project.data / "05_model_input" / "validation.parquet"
    return InstancesDataset(filepath=str(file)).load()


def sent(people: Instances) -> list[dict]:
    """A request for each person: the image's file as base64, and the box."""
    return [
        {"image": base64.b64encode(Path(path).read_bytes()).decode(), "boxes": [box.tolist()]}
        for path, box in zip(people.paths, people.boxes, strict=True)
    ]


def points_of(answers: list[dict]) -> np.ndarray:
    """(n, k, 3) x, y, score."""
    people = [answer["people"][0]["keypoints"] for answer in answers]
    return np.array([[[p["x"], p["y"], p["score"]] for p in points] for points in people])


@pytest.mark.parametrize("which", ["method", "dual"])
def test_the_model_serves_what_evaluation_saw(staged, which):
    model, people = served(staged, getattr(staged, which)), validation(staged)
    answers = model.predict(pd.DataFrame(sent(people)))
    found = points_of(answers)
    folder, name = {"method": ("validation", "student"), "dual": ("comparison", "pose_dual")}[which]
    stored = load_file(staged.project.data / "07_model_output" / folder / "predictions.safetensors")
    expected = to_image(stored[f"{name}.keypoints"], people, CropFrame((64, 48)))
    assert found[..., :2] == pytest.approx(expected, abs=0.05)
    assert found[..., 2] == pytest.approx(stored[f"{name}.scores"].numpy(), abs=1e-3)
    report = {"method": "network", "dual": "comparison"}[which]
    measured = read(staged, f"07_model_output/{report}_reliability.json")
    assert measured["network"] == name
    told = [[p["probability"] for p in a["people"][0]["keypoints"]] for a in answers]
    confidence = Confidence.from_dict(measured["confidence"])
    np.testing.assert_allclose(told, confidence(found[..., 2]), atol=1e-5)


def test_the_scoring_protocol_takes_json_and_gives_named_keypoints(staged):
    """What `mlflow models serve` does with a request, without a server."""
    model, requests = served(staged, staged.method), sent(validation(staged).take(slice(2)))
    content = json.dumps({"dataframe_records": requests})
    schema = model.metadata.get_input_schema()
    done = scoring_server.invocations(content, "application/json", model, schema)
    assert done.status == 200, done.response
    answers = json.loads(done.response)["predictions"]
    expected = points_of(model.predict(pd.DataFrame(requests)))
    assert points_of(answers) == pytest.approx(expected, abs=1e-4)
    assert answers[0]["people"][0]["keypoints"][0]["name"] == "nose"


def test_the_model_says_what_it_takes_and_gives(staged):
    model = served(staged, staged.method)
    inputs, outputs = (
        json.loads(model.metadata.signature.to_dict()[key]) for key in ("inputs", "outputs")
    )
    assert [(column["name"], column["required"]) for column in inputs] == [
        ("image", True), ("boxes", False),
    ]  # fmt: skip
    assert [column["name"] for column in outputs] == ["people"]
    assert points_of(model.predict(model.input_example)).shape == (1, 17, 3)


def test_the_library_loads_it_by_its_address(staged, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", staged.book.uri)
    people = validation(staged)
    with store_of(staged):
        model = sspcm_kedro.load(f"runs:/{staged.method.info.run_id}/model", device="cpu")
        with pytest.raises(BadInput, match="must be a model that MLflow has"):
            sspcm_kedro.load("models:/nobody/1")
    found = model.predict(people.paths[0], people.boxes[:1])
    (answer,) = served(staged, staged.method).predict(pd.DataFrame(sent(people.take(slice(1)))))
    assert found.keypoints == pytest.approx(points_of([answer])[..., :2], abs=1e-3)


def test_the_model_holds_weights_and_text_alone(staged):
    """No pickle and no code that loading would execute."""
    with store_of(staged):
        model = f"runs:/{staged.method.info.run_id}/model"
        place = Path(mlflow.artifacts.download_artifacts(model))
    suffixes = {file.suffix for file in place.rglob("*") if file.is_file()}
    assert suffixes == {"", ".json", ".safetensors", ".txt", ".yaml"}
    flavor = mlflow.models.Model.load(str(place)).flavors["python_function"]
    assert flavor["loader_module"] == "sspcm_kedro.serving" and flavor["code"] is None


def counts(staged) -> dict[str, object]:
    """Everything that a second writing would add to."""
    client, runs = staged.book.client, staged.book.runs()
    return {
        "runs": [run.info.run_id for run in runs],
        "points": [
            len(client.get_metric_history(r.info.run_id, n)) for r in runs for n in r.data.metrics
        ],
        "models": len(client.search_logged_models([runs[0].info.experiment_id])),
        "files": [staged.book.files(run) for run in runs],
    }


def test_the_same_again_adds_nothing(staged):
    before = counts(staged)
    assert before["models"] == 2
    again = [stage for stage in STAGES if stage != "reporting"]
    staged.project.run(*again, **SHORT, machine={"workers": 1})
    assert counts(staged) == before
    assert {run.info.status for run in staged.book.runs()} == {"FINISHED"}


def test_only_other_evaluation_settings(staged):
    """As ``dvc repro`` after a change of them: no training, and yet a whole run."""
    before = counts(staged)
    staged.project.run("evaluation", **SHORT, evaluation={"flip_test": True})
    other = staged.book.run(method__kind="sspcm", evaluation__flip_test="True")
    assert other.info.run_id not in before["runs"]
    for name in ("loss/supervised", "student/PCK", "kept"):
        assert staged.book.curve(other, name) == staged.book.curve(staged.method, name)
    people = pd.DataFrame(sent(validation(staged)))
    flipped, plain = (points_of(served(staged, run).predict(people))
                      for run in (other, staged.method))  # fmt: skip
    assert not np.array_equal(plain, flipped)


def test_prediction_makes_no_run(staged, tracking_on):
    before = counts(staged)
    images = staged.project.data / "01_raw" / "drawn" / "images" / "val"
    staged.project.run("prediction", prediction={"images": str(images)})
    assert counts(staged) == before


def test_what_was_not_trained_is_not_recorded(staged, tracking_on, caplog):
    """People who would be another experiment's: a run of them would have no curves."""
    before = counts(staged)
    staged.project.run("reporting", **SHORT, split={"labeled": 11})
    assert counts(staged) == before
    assert "MLflow has no run of a training of these settings" in caplog.text
