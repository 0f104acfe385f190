"""kedro-viz as people see it: the static site of a finished run, through its API and a browser."""

import base64
import functools
import io
import json
import os
import re
import subprocess
import sys
import threading
from graphlib import TopologicalSorter
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import pytest
import torch
from kedro.framework.project import pipelines as registered
from PIL import Image
from safetensors.torch import load_file

from chromium import open_browser

TAGS = {
    "draw": {"people"}, "read": {"people"}, "split": {"people"},
    "pseudo_labels": {"labels", "gpu"}, "correction": {"labels"}, "cut_occlude": {"labels"},
    "training": {"training", "gpu"},
    "predict": {"evaluation", "gpu"}, "score": {"evaluation"},
    "predict_validation": {"evaluation", "gpu"}, "score_networks": {"evaluation"},
    "score_pseudo_labels": {"evaluation"}, "export": {"evaluation"},
    "choose_network": {"evaluation"}, "measure_probabilities": {"evaluation"},
    "measure": {"evaluation"}, "measure_network": {"evaluation"},
    "collect": {"evaluation"},
    "draw_curves": {"figures"}, "draw_keypoints": {"figures"}, "draw_predictions": {"figures"},
    "draw_pseudo_labels": {"figures"}, "draw_quality": {"figures"}, "report": {"figures"},
    "draw_reliability": {"figures"}, "describe_run": {"figures"},
}  # fmt: skip
FIGURES = {
    "learning_curves": "learning_curves", "prediction_sheet": "predictions",
    "per_keypoint_pck": "per_keypoint", "pseudo_label_sheet": "pseudo_labels",
    "pseudo_label_quality": "pseudo_label_quality", "reliability_diagram": "reliability",
    "round_1_occlusion_sheet": "round_1_cut_occlude",
    "round_2_occlusion_sheet": "round_2_cut_occlude",
}  # fmt: skip
SCORES = {
    "metrics": "08_reporting/metrics.json", "choice": "08_reporting/choice.json",
    "pseudo_label_scores": "08_reporting/pseudo_labels.json",
    "label_reliability": "08_reporting/label_reliability.json",
    "network_reliability": "07_model_output/network_reliability.json",
    "comparison_reliability": "07_model_output/comparison_reliability.json",
    "network_scores": "07_model_output/network_scores.json",
    "comparison_scores": "07_model_output/comparison_scores.json",
    "skeleton": "03_primary/skeleton.json",
    "round_2_correction_report": "08_reporting/round_2_correction.json",
    "run_record": "08_reporting/run.json",
}  # fmt: skip


class Site:
    """The built site; its ``api`` folder holds what kedro-viz's server would answer."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.main = json.loads((folder / "api" / "main").read_bytes())
        self.nodes = {node["id"]: node for node in self.main["nodes"]}

    def of_type(self, kind: str) -> list[dict]:
        return [node for node in self.nodes.values() if node["type"] == kind]

    def about(self, name: str) -> dict:
        """What the side panel shows of a dataset or parameter."""
        found = [n for n in self.nodes.values() if n["name"] == name and n["type"] != "task"]
        assert len(found) == 1, name
        return json.loads((self.folder / "api" / "nodes" / found[0]["id"]).read_bytes())


@pytest.fixture(scope="module")
def site(whole) -> Site:
    """``kedro viz build`` of the finished smoke run, as ``make viz`` calls it."""
    if find_spec("kedro_viz") is None:
        pytest.skip("kedro-viz is not installed (extra: viz)")
    done = subprocess.run(
        [sys.executable, "-m", "kedro", "viz", "build", "--include-hooks", "--include-previews"],
        cwd=whole.project.root,
        env={**os.environ, "KEDRO_ENV": "smoke"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    folder = whole.project.root / "build"
    assert (folder / "index.html").is_file(), done.stdout + done.stderr
    assert "could not be previewed" not in done.stdout + done.stderr  # nor what is not made yet
    return Site(folder)


def stage_of(name: str) -> str:
    """The stage that makes a dataset, by the pipelines: a round, or the one registered folder."""
    rounds = [stage for stage in registered if re.fullmatch(r"round_\d+", stage)]
    stages = [*rounds, *(s for s in registered if s not in {*rounds, "rounds", "__default__"})]
    found = {stage for stage in stages if name in registered[stage].all_outputs()}
    if found == {"comparison", "evaluation"}:  # which both evaluate the comparison
        return "comparison"
    (stage,) = found
    return stage


@pytest.mark.parametrize("env", ["base", "smoke", "lspet"])
def test_the_layer_of_a_dataset_is_the_stage_that_makes_it(make_project, env):
    """And layers follow from each other without a circle, with three rounds as with two."""
    with make_project("layers").session(env, training={"rounds": 3}) as session:
        catalog = session.load_context().catalog
        whole = registered["__default__"]

        def layer(name: str) -> str | None:
            metadata = getattr(catalog[name], "metadata", None) or {}
            return metadata.get("kedro-viz", {}).get("layer")

        layers = {name: layer(name) for name in whole.datasets() if not name.startswith("params:")}
        made = whole.all_outputs()
        assert {name: layers[name] for name in made} == {name: stage_of(name) for name in made}
        assert {layers[name] for name in layers.keys() - made} == {None}  # what a resume reads
        before: dict[str, set] = {}
        for node in whole.nodes:
            for output in node.outputs:
                reads = {layers[name] for name in node.inputs if name in layers}
                before.setdefault(layers[output], set()).update(reads - {None, layers[output]})
    order = list(TopologicalSorter(before).static_order())
    assert len(order) == 8
    assert order[0] == "ingestion" and order[-2:] == ["evaluation", "reporting"]
    middle = [name for name in order[1:-2] if name != "comparison"]
    assert middle == ["warmup", "round_1", "round_2", "round_3"]


def test_kedro_viz_sorts_the_layers(site):
    """A circle would switch them off: the list would be empty."""
    layers = site.main["layers"]
    assert set(layers) == {
        "ingestion", "warmup", "comparison", "round_1", "round_2", "evaluation", "reporting"
    }  # fmt: skip
    place = {name: number for number, name in enumerate(layers)}
    follows: dict[str, set[str]] = {}
    for edge in site.main["edges"]:
        follows.setdefault(edge["source"], set()).add(edge["target"])
    for task in site.of_type("task"):
        for source in (s for s, targets in follows.items() if task["id"] in targets):
            for target in follows[task["id"]]:
                a, b = (site.nodes[node].get("layer") for node in (source, target))
                assert a is None or b is None or place[a] <= place[b], (a, task["name"], b)


def test_names_are_short_and_tags_say_what_a_node_is_for(site):
    tasks = site.of_type("task")
    assert {task["name"]: set(task["tags"]) for task in tasks} == TAGS
    assert {tag["name"] for tag in site.main["tags"]} == set.union(*TAGS.values())


def test_a_round_is_one_box_that_opens(site):
    steps = {"pseudo_labels", "correction", "cut_occlude", "training"}
    for number in (1, 2):
        box = site.main["modular_pipelines"][f"round_{number}"]
        inside = {site.nodes[child["id"]]["name"] for child in box["children"]}
        assert inside == {*steps, f"round_{number}_occluders"}  # which nothing else reads
        assert {site.nodes[child["id"]]["type"] for child in box["children"]} == {"task", "data"}


def test_every_stage_is_a_box(site):
    stages = {"ingestion", "warmup", "comparison", "round_1", "round_2", "evaluation", "reporting"}
    assert site.main["modular_pipelines"].keys() == {"__root__", *stages}
    assert {tuple(task["modular_pipelines"]) for task in site.of_type("task")} == {
        (stage,) for stage in stages
    }


def test_parameters_are_shown_with_their_values(site):
    """Those of the environment, and defaults that no file names."""
    training = site.about("params:training")["parameters"]["training"]
    assert (training["batch"], training["steps"], training["rounds"]) == (8, 3, 2)
    assert training["milestones"] == [0.7, 0.9]
    assert site.about("params:view")["parameters"]["view"]["input_hw"] == [64, 48]
    assert site.about("params:seed")["parameters"] == {"seed": 0}
    (task,) = [t for t in site.of_type("task") if t["modular_pipelines"] == ["warmup"]]
    panel = json.loads((site.folder / "api" / "nodes" / task["id"]).read_bytes())
    assert panel["parameters"]["training"] == training
    assert "def warm_up(" in panel["code"]


def test_every_product_has_a_preview(site):
    """But the page that has all figures in it."""
    shown = {n["name"]: site.about(n["name"]).get("preview") for n in site.of_type("data")}
    assert {name for name, preview in shown.items() if not preview} == {
        "report", "resume_images", "resume_warmup", "resume_round_1", "resume_round_2",
        "resume_comparison", "resume_round_1_predictions", "resume_round_2_predictions",
    }  # fmt: skip


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_shown_as_it_is_stored(site, whole, name):
    about = site.about(name)
    assert about["preview_type"] == "ImagePreview"
    stored = (whole.data / "08_reporting" / f"{FIGURES[name]}.png").read_bytes()
    assert base64.b64decode(about["preview"]) == stored


def test_drawn_people_are_shown_as_a_sheet(site, whole):
    about = site.about("drawn_folder")
    assert about["preview_type"] == "ImagePreview"
    with Image.open(io.BytesIO(base64.b64decode(about["preview"]))) as sheet:
        assert sheet.size == (512, 256)
        second = sheet.crop((128, 0, 256, 128)).tobytes()
    files = sorted((whole.data / "01_raw" / "drawn" / "images" / "train").iterdir())
    with Image.open(files[1]) as drawn:
        assert drawn.size == (128, 128)  # as large as a tile
        assert drawn.convert("RGB").tobytes() == second


@pytest.mark.parametrize("name", ["labeled", "unlabeled", "validation", "hidden_truth"])
def test_people_are_shown_as_a_table(site, whole, name):
    about = site.about(name)
    assert about["preview_type"] == "TablePreview"
    shown = pd.DataFrame(about["preview"]["data"], columns=about["preview"]["columns"])
    stored = pd.read_parquet(whole.data / "05_model_input" / f"{name}.parquet").head(10)
    assert shown["id"].tolist() == stored["id"].tolist()
    assert shown["x0"].tolist() == pytest.approx(stored["x0"].tolist())
    assert shown["path"].tolist() == [Path(path).name for path in stored["path"]]
    joints = [sum(value > 0 for value in seen) for seen in stored["visibility"]]
    assert shown["labeled_keypoints"].tolist() == joints
    assert (max(joints) > 10) == (name != "unlabeled")


def test_a_table_of_nobody_is_shown(site):
    about = site.about("ignored")
    assert about["preview_type"] == "TablePreview"
    assert about["preview"]["data"] == []
    assert {"id", "path", "x0"} <= set(about["preview"]["columns"])


def test_a_history_is_shown_as_a_table(site, whole):
    about = site.about("comparison_history")
    assert about["preview_type"] == "TablePreview"
    stored = pd.read_csv(whole.data / "06_models" / "comparison" / "history.csv")
    assert about["preview"]["columns"] == list(stored)[:-1]  # the last one is the file's digest
    assert [row[list(stored).index("step")] for row in about["preview"]["data"]] == [
        3, 6, 9, 12, 15, 18
    ]  # fmt: skip


@pytest.mark.parametrize("name", SCORES)
def test_scores_are_shown_as_json_that_a_browser_reads(site, whole, name):
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    about = site.about(name)
    assert about["preview_type"] == "JSONPreview"
    shown = json.loads(about["preview"], parse_constant=refuse)
    assert shown == json.loads((whole.data / SCORES[name]).read_text())


def test_tensors_are_shown_as_shapes_and_ranges(site, whole):
    shown = json.loads(site.about("round_2_corrected")["preview"])
    stored = load_file(whole.data / "07_model_output" / "round_2" / "corrected.safetensors")
    people = len(stored["ids"])
    assert shown.keys() == stored.keys() | {"unit", "checkpoint"}  # whose they are, in texts
    low, high = stored["keypoints"].min().item(), stored["keypoints"].max().item()
    assert shown["keypoints"] == f"float32, {people} x 17 x 2, {low:.4g} to {high:.4g}"
    assert shown["kept"] == f"uint8, {people} x 17, 0 to 1"
    model = json.loads(site.about("trained_model")["preview"])
    assert json.loads(model["network"])["kind"] == "small_baseline"
    assert json.loads(model["choice"])["ships"] in ("student", "baseline")


def test_a_checkpoint_is_shown_as_where_it_stands(site, whole):
    shown = json.loads(site.about("round_2_checkpoint")["preview"])
    stored = torch.load(whole.data / "06_models/round_2/checkpoint.pt", weights_only=True)
    model = load_file(whole.data / "06_models" / "trained_model.safetensors")
    count = sum(tensor.numel() for tensor in model.values())
    assert shown == {
        "epoch": 6, "deployed": "student", "fingerprint": stored["fingerprint"],
        "weights": {"teacher_a": count, "teacher_b": count, "student": count},
    }  # fmt: skip


@pytest.fixture(scope="module")
def address(site):
    """Where the site is served, as any file server does."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=site.folder)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="module")
def browser():
    """A headless Chromium."""
    with open_browser() as opened:
        yield opened


@pytest.fixture
def visit(browser, address):
    """Opens the site in a tab that reaches nothing else; what is on the page must not throw."""
    tab, errors = browser.new_page(viewport={"width": 1400, "height": 1000}), []
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.route(lambda url: not url.startswith(address), lambda route: route.abort())
    tab.add_init_script("""localStorage.setItem('KedroViz', '{"showFeatureHints": false}')""")

    def opened(query: str = ""):
        tab.goto(address + query, timeout=120_000)
        tab.locator(".pipeline-node").first.wait_for()
        return tab

    yield opened
    tab.close()
    assert errors == []


def drawn(page) -> set[str]:
    """The names of the boxes in the graph."""
    return {text for text in page.locator(".pipeline-node__text").all_text_contents() if text}


@pytest.mark.browser
def test_a_browser_shows_stages_and_opens_a_round(visit, site):
    page = visit()
    names = drawn(page)
    assert not TAGS.keys() - {"report"} & names  # the page is called so, too
    assert {"ingestion", "round_1", "round_2", "evaluation", "labeled", "metrics"} <= names
    layers = page.locator(".pipeline-layer-name")
    layers.first.wait_for()
    assert layers.all_text_contents() == site.main["layers"]

    page.locator(".pipeline-node", has=page.get_by_text("round_2", exact=True)).click()
    page.locator(".pipeline-node").get_by_text("correction", exact=True).wait_for()
    names = drawn(page)
    inside = {"pseudo_labels", "correction", "cut_occlude", "training"}
    assert inside | {"round_2_occluders"} <= names and "round_1_occluders" not in names


@pytest.mark.browser
def test_a_browser_shows_previews(visit, site):
    numbers = {node["name"]: node["id"] for node in site.of_type("data")}

    def preview(name: str, shows: str):
        page = visit(f"?pid=__default__&sid={numbers[name]}")
        found = page.locator(f".pipeline-metadata {shows}").first
        found.wait_for()
        return found

    curves = preview("learning_curves", "img.pipeline-metadata__plot-image")
    assert curves.evaluate("image => image.decode().then(() => image.naturalWidth)") > 500
    assert "labeled_keypoints" in preview("labeled", "table").inner_text()
    for name, first in (("network_scores", "student"), ("trained_model", "backbone.0.weight")):
        assert f'"{first}"' in preview(name, ".pipeline-metadata__preview-json").inner_text()
