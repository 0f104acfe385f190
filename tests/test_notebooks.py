"""The notebooks run from top to bottom on a small experiment, and are stored without results."""

import json
import re
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from mlflow.tracking import MlflowClient
from nbclient import NotebookClient
from safetensors.torch import load_file

FOLDER = Path(__file__).parents[1] / "notebooks"
NAMES = sorted(file.name for file in FOLDER.glob("*.ipynb"))


def run(name: str, where: Path) -> list[dict]:
    """The outputs of a notebook that is started in a folder, cell after cell."""
    notebook = nbformat.read(FOLDER / name, as_version=4)
    client = NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(where)}}
    )
    client.execute()
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def results(outputs: list[dict], kind: str) -> list[str]:
    """What the cells show, of one MIME type."""
    return [output["data"][kind] for output in outputs if kind in output.get("data", {})]


def rows(text: str) -> dict[str, list[str]]:
    """A printed table: the cells of each row by its first word; rows of words alone are left out.

    Wide tables are printed in parts, whose cells are put together.
    """
    table: dict[str, list[str]] = {}
    for line in text.splitlines():
        label, *cells = re.split(r"\s{2,}", line.strip())
        if cells:
            table.setdefault(label, []).extend(cells)
    return table


def test_there_are_three():
    assert NAMES == ["compare_runs.ipynb", "data.ipynb", "one_person.ipynb"]


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_is_stored_without_results(name):
    text = (FOLDER / name).read_text()
    stored = json.loads(text)
    for cell in stored["cells"]:
        assert not cell.get("outputs") and cell.get("execution_count") is None
    assert set(stored["metadata"]) <= {"kernelspec", "language_info"}
    assert not re.search(r"(?<![\w.])/(work|home|root|Users|tmp|mnt)/\w|[A-Z]:\\\\", text)
    code = ["".join(c["source"]) for c in stored["cells"] if c["cell_type"] == "code"]
    assert sum(len(cell.splitlines()) for cell in code) < 120
    assert not re.search(r"^\s*(def|class) ", "\n".join(code), re.M)  # the library defines


def test_the_notebook_of_the_data(whole, monkeypatch):
    monkeypatch.setenv("KEDRO_ENV", "smoke")
    outputs = run("data.ipynb", whole.project.root)
    first, *_ = results(outputs, "text/plain")
    table = rows(first)
    for name in ("labeled", "unlabeled", "validation"):
        stored = pd.read_parquet(whole.data / "05_model_input" / f"{name}.parquet")
        count = stored["visibility"].map(lambda seen: (seen > 0).sum()).mean()
        people, images, mean = map(float, table[name])
        assert (people, images) == (len(stored), stored["image_id"].nunique())
        assert mean == pytest.approx(count, abs=1e-4)
    assert len(results(outputs, "image/png")) == 5  # people, weak, heatmaps, Cut-Occlude, strong
    (errors,) = [text for text in results(outputs, "text/plain") if "error in pixels" in text]
    count, middle, largest = (float(rows(errors)[row][0]) for row in ("count", "50%", "max"))
    assert count > 20 and middle < 0.1 and largest < 4  # a cell, at the heatmap's edge


def test_the_notebook_of_one_person(whole, monkeypatch):
    """Its table of pairs is the one that the node stored."""
    monkeypatch.setenv("KEDRO_ENV", "smoke")
    outputs = run("one_person.ipynb", whole.project.root)
    texts = results(outputs, "text/plain")
    assert "True" in texts  # the correction again gives what is stored
    assert len(results(outputs, "image/png")) == 4
    (text,) = [text for text in texts if "A earlier, B earlier" in text]
    stored = load_file(whole.data / "07_model_output" / "round_2" / "corrected.safetensors")
    person = int(stored["inconsistency"].mean(dim=1).argmax())
    skeleton = json.loads((whole.data / "03_primary" / "skeleton.json").read_text())
    names = ["A now, B now", "A earlier, B now", "A now, B earlier", "A earlier, B earlier"]
    table = rows(text)
    for keypoint, name in enumerate(skeleton["names"]):
        *distances, chosen, score, kept = table[name]
        pair = int(stored["pair"][person, keypoint])
        assert chosen == names[pair] and kept == str(bool(stored["kept"][person, keypoint]))
        found = stored["inconsistency"][person, keypoint].item()
        assert (
            float(distances[pair]) == min(map(float, distances)) == pytest.approx(found, abs=1e-3)
        )
        assert float(score) == pytest.approx(stored["score"][person, keypoint].item(), abs=1e-3)


@pytest.fixture
def logged(tmp_path, monkeypatch) -> dict[str, list[float]]:
    """Curves of five runs by name, in a store of their own; half a run never finished."""
    uri = f"sqlite:///{tmp_path / 'runs.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    client = MlflowClient(uri)
    experiment = client.create_experiment("small", (tmp_path / "artifacts").as_uri())
    curves = {
        "sspcm, seed 0": [0.125, 0.5, 0.375], "sspcm, seed 1": [0.25, 0.5, 0.75],
        "supervised, seed 0": [0.125, 0.25, 0.0625], "half a run": [0.9],
        "sspcm, min_score, seed 2": [0.0, 0.25, 0.125],
    }  # fmt: skip
    for name, values in curves.items():
        key = client.create_run(experiment, run_name=name).info.run_id
        facts = {"method.kind": name.split(",")[0], "seed": name[-1], "split.labeled": "12"}
        if "min_score" in name:
            facts["method.min_score"] = "0.5"
        for what, value in {**facts, "training.steps": "3"}.items():
            client.log_param(key, what, value)
        for epoch, value in enumerate(values, start=1):
            client.log_metric(key, "deployed/PCK", value, step=3 * epoch)
        client.log_metric(key, "final/PCK", values[-1], step=9)
        if len(values) == 3:
            client.set_terminated(key, "FINISHED")
    nothing = client.create_run(experiment, run_name="no metric").info.run_id
    client.set_terminated(nothing, "FINISHED")
    return curves


def test_the_notebook_that_compares_runs(logged, whole):
    outputs = run("compare_runs.ipynb", whole.project.root)
    texts = results(outputs, "text/plain")
    assert not any("half a run" in text for text in texts)
    assert "no metric" in texts[0] and not any("no metric" in text for text in texts[1:])
    differ = next(text for text in texts if "method.kind" in text and "seed" in text)
    assert "training.steps" not in differ and "split.labeled" not in differ
    spread = rows(next(text for text in texts if "std" in text and "count" in text))
    kind, *numbers = spread["12"]  # the run of another min_score is no third seed of theirs
    assert kind == "sspcm"
    assert [float(v) for v in numbers] == [1, 0.5625, pytest.approx(0.2652), 2]
    assert spread["supervised"][:2] == ["2", "0.0625"] and spread["3"][0] == "0.1250"
    last = rows(texts[-1])
    for name, values in logged.items():
        if len(values) == 3:
            (row,) = [cells for label, cells in last.items() if label.startswith(name)]
            best = max(values)
            steps = 3 * (values.index(best) + 1)
            assert [float(cell) for cell in row] == [steps, best, values[-1]]
    assert len(results(outputs, "image/png")) == 1
