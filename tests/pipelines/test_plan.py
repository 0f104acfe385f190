"""The plan of a run: counted from settings alone, and honest about what it does not know."""

import importlib.util
import json
from pathlib import Path
from typing import get_args

import pytest
import torch

from formats import WRITERS
from sspcm_kedro.data.split import SplitConfig
from sspcm_kedro.errors import BadInput
from sspcm_kedro.pipelines.plan.nodes import PeopleFacts, people_of
from sspcm_kedro.pose.skeleton import UNION
from sspcm_kedro.sources import KINDS, SourceConfig
from sspcm_kedro.sources.project import ProjectSource

NOWHERE = {"root": "no/such/folder"}


def read_plan(data: Path) -> dict:
    return json.loads((data / "08_reporting" / "plan.json").read_text())


def load_benchmark():
    file = Path(__file__).parents[2] / "benchmarks" / "plan.py"
    spec = importlib.util.spec_from_file_location("plan_benchmark", file)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def files_in(folder: Path) -> list[str]:
    return sorted(f.relative_to(folder).as_posix() for f in folder.rglob("*") if f.is_file())


@pytest.fixture(scope="module")
def planned(make_project):
    """The plan of LSP-extended in a project without people, and with tracking turned on."""
    project = make_project("planned")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("SSPCM_TRACKING")
        patch.delenv("SSPCM_DATA", raising=False)
        project.run(
            "plan",
            env="lspet",
            source=NOWHERE,
            plan={"tflops": 2.0},
            machine={"device": "cpu"},
            method={"finish": 0.5},
        )
    data = project.root / "data" / "lspet"
    return project, data, read_plan(data)


def test_nothing_is_read_and_one_file_is_written(planned):
    project, data, _ = planned
    assert files_in(data) == [".run.lock", "08_reporting/plan.json"]
    assert not list(project.root.glob("mlflow*")) and not list(project.root.glob("mlart*"))


def test_steps_and_images_are_those_of_the_settings(planned):
    """8 epochs of warm-up, 2 rounds of 6 epochs, 100 steps each; 16 people, and 16 and 48."""
    plan = planned[2]
    assert plan["keypoints"] == 14 and plan["input_hw"] == [96, 96] and plan["batch"] == 16
    assert plan["method"]["steps"] == plan["comparison"]["steps"] == {"warmup": 800, "rest": 1200}
    step = plan["method"]["step"]["rest"]
    assert (step["labeled"], step["unlabeled"]) == (16, 48)
    assert (step["forwards"], step["backwards"]) == (2, 2)
    assert plan["people"] == {"labeled": 500, "unlabeled": 3000, "validation": 500}
    assert plan["unknown"] == []


def test_flops_of_the_run_are_those_of_its_steps_and_predictions(planned):
    """By hand from one network's forward pass; all networks are the same. Two teachers learn until
    the last round, and the student in it, its second half from labels alone."""
    plan = planned[2]
    comparison, method = plan["comparison"], plan["method"]
    image = comparison["step"]["rest"]["forward_flops"] / 16
    assert method["step"]["warmup"]["forward_flops"] == 2 * 16 * image
    warmup, rest = (method["step"][stage]["flops"] for stage in ("warmup", "rest"))
    assert method["flops"] == {
        "warmup": 800 * warmup,
        "rest": 600 * rest + 300 * rest / 2 + 300 * warmup / 2,
        "pseudo_labels": 2 * 3000 * 2 * 4 * image,  # rounds, people, teachers, views
        "monitor": (14 * 2 + 6) * 50 * image,  # epochs, networks, people; no flip test
        "evaluation": 500 * 3 * 2 * image,  # flip test
        "total": sum(v for k, v in method["flops"].items() if k != "total"),
    }
    assert comparison["flops"]["evaluation"] == 500 * 2 * image
    assert comparison["flops"]["rest"] == 1200 * comparison["step"]["rest"]["flops"]


@pytest.mark.parametrize(("kind", "networks"), [("pose_cons", 1), ("pose_dual", 2)])
def test_only_networks_that_label_are_counted_to_label(make_project, kind, networks):
    project = make_project(kind)
    people = {"unlabeled": 1000, "validation": 10}
    view, machine = {"input_hw": [64, 48], "border": 8}, {"crop_cache": "uint8"}
    project.run("plan", method={"kind": kind}, plan={"people": people, "tflops": 1.0}, view=view,
                machine=machine, split={"labeled": 100, "order": "first"})  # fmt: skip
    plan = read_plan(project.data)
    assert plan["crop_cache"] == {"kind": "uint8", "bytes": (100 + 1000) * 80 * 64 * 3}
    image = plan["comparison"]["step"]["rest"]["forward_flops"] / plan["batch"]
    method, rounds = plan["method"], 2
    assert (method["kind"], method["networks"]) == (kind, networks)
    assert method["flops"]["pseudo_labels"] == rounds * 1000 * networks * 2 * image
    assert method["stored_bytes"]["predictions"] == rounds * 1000 * (8 + networks * 17 * 3 * 4)
    assert method["step"]["rest"]["forwards"] == 3 * networks  # labels, weak and strong view


def test_hours_are_flops_by_throughput(planned):
    plan = planned[2]
    assert plan["throughput"] == {"tflops": 2.0, "measured": False}
    for name in ("method", "comparison"):
        total = plan[name]["flops"]["total"]
        assert plan[name]["hours_per_tflops"] == pytest.approx(total / 3.6e15)
        assert plan[name]["hours"] == pytest.approx(total / 7.2e15)


def test_what_a_run_stores_is_what_it_has_planned(make_project, trained_project):
    """A real run of one round: its checkpoints, predictions and corrected labels."""
    project = make_project("compared")
    project.run("plan", training={"steps": 2, "warmup_epochs": 1, "round_epochs": 1, "rounds": 1},
                plan={"people": {"unlabeled": 1000}}, machine={"device": "cpu"})  # fmt: skip
    stored = read_plan(project.data)["method"]["stored_bytes"]

    def tensors(value) -> int:
        if isinstance(value, torch.Tensor):
            return value.nbytes
        if isinstance(value, dict):
            return sum(map(tensors, value.values()))
        return 0

    with trained_project.session() as session:
        catalog = session.load_context().catalog
        checkpoints = [catalog[f"{s}_checkpoint"].load() for s in ("warmup", "round_1")]
        labels = {name: catalog[f"round_1_{name}"].load() for name in ("predictions", "corrected")}
    assert stored["checkpoints"] == sum(map(tensors, checkpoints))
    for name, content in labels.items():
        assert stored[name] * len(content["ids"]) == 1000 * tensors(content)


def test_an_unknown_number_of_people_is_said_and_not_guessed(make_project, capsys):
    project = make_project("unknown")
    project.run("plan", machine={"device": "cpu"})
    plan = read_plan(project.data)
    assert plan["unknown"] == ["plan.people.unlabeled", "plan.people.validation"]
    method = plan["method"]
    assert method["flops"]["pseudo_labels"] is None and method["flops"]["evaluation"] is None
    known = ("warmup", "rest", "monitor")
    assert method["flops"]["total"] == sum(method["flops"][part] for part in known)
    printed = " ".join(capsys.readouterr().out.split())
    assert (
        "Totals are without corrected, evaluation, occluders, predictions, pseudo_labels" in printed
    )
    assert "Nothing was measured" in printed and method["hours"] is None


def test_a_cpu_is_measured_where_it_is_asked_for(make_project, capsys):
    """With as many people of each kind to one of the other as a step of a round has."""
    project = make_project("probed")
    sizes = {"round_batch": {"labeled": 8, "unlabeled": 24}}
    project.run("plan", plan={"probe": True}, machine={"device": "cpu"}, training=sizes)
    plan = read_plan(project.data)
    seen = plan["throughput"]
    assert (seen["measured"], seen["device"]) == (True, "cpu")
    assert (seen["labeled"], seen["unlabeled"]) == (2, 6)
    total = plan["method"]["flops"]["total"]
    assert plan["method"]["hours"] == pytest.approx(total / seen["tflops"] / 3.6e15)
    printed = " ".join(capsys.readouterr().out.split())
    assert "in steps of 2 people with labels and 6 without, on noise" in printed


def test_a_step_that_does_not_fit_is_an_error_that_says_what_to_do(make_project, monkeypatch):
    def full(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("sspcm_kedro.pipelines.plan.nodes.measure", full)
    with pytest.raises(BadInput, match=r"training\.batch = 8: .*fit into.*plan\.tflops"):
        make_project("full").run("plan", plan={"probe": True}, machine={"device": "cpu"})


def test_a_throughput_of_nothing_is_refused(make_project):
    with pytest.raises(BadInput, match="tflops"):
        make_project("zero").run("plan", plan={"tflops": 0})


def test_split_is_asked_before_what_is_known():
    facts = PeopleFacts(labeled=9, unlabeled=8, validation=7)
    asked = SplitConfig(labeled=5, unlabeled=None, validation=6)
    assert people_of(asked, facts) == {"labeled": 5, "unlabeled": 8, "validation": 6}
    every = SplitConfig(labeled="all")
    assert people_of(every, PeopleFacts())["labeled"] is None
    assert people_of(every, facts)["labeled"] == 9


def test_every_kind_of_source_has_a_number_of_keypoints():
    union = get_args(SourceConfig.model_fields["root"].annotation)
    kinds = {get_args(source.model_fields["kind"].annotation)[0] for source in union}
    assert set(KINDS) == kinds == {*WRITERS, "drawn", "union", "sleap"}
    assert KINDS["union"].skeleton.size == UNION.size


PROJECTS = [kind for kind, source in KINDS.items() if issubclass(source, ProjectSource)]


def test_a_project_names_its_own_keypoints(make_project):
    """Their number is asked for, and nothing is guessed."""
    assert {"deeplabcut", "sleap", "cvat"} < set(PROJECTS)
    with pytest.raises(BadInput, match=r"plan\.keypoints: must be given for a source deeplabcut"):
        make_project("mouse").run("plan", env="openfield", plan={"keypoints": None})


@pytest.mark.parametrize("kind", sorted(set(WRITERS) - set(PROJECTS)))
def test_it_is_what_the_reader_of_that_kind_finds(tmp_path, kind):
    source = SourceConfig.model_validate(WRITERS[kind](tmp_path)).root.read()
    assert source.skeleton.size == KINDS[kind].skeleton.size


def test_drawn_people_have_as_many(drawn_project):
    skeleton = json.loads((drawn_project.data / "03_primary" / "skeleton.json").read_text())
    assert len(skeleton["names"]) == KINDS["drawn"].skeleton.size


def test_the_table_has_a_line_an_environment_and_marks_what_is_without_a_part(planned):
    plan = planned[2]
    unsure = json.loads(json.dumps(plan))
    unsure["method"]["flops"]["pseudo_labels"] = None
    module = load_benchmark()
    columns = module.COLUMNS
    lines = module.markdown_table({"lspet": plan, "unsure": unsure}).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert [len(row) for row in cells] == [len(columns)] * 4
    sure = dict(zip(columns, cells[2], strict=True))
    assert sure["environment"] == "lspet" and sure["images a step"] == "16 + 48"
    assert sure["passes a step, forward / backward"] == "2 / 2" and sure["steps"] == "2,000"
    assert sure["data, GB"] == "unknown" and "+" not in sure["PFLOP, method"]
    assert cells[3][columns.index("PFLOP, method")].endswith("+")


def test_the_benchmark_plans_the_environments_with_published_scores():
    module = load_benchmark()
    assert {"coco_1k", "coco_wild", "mpii_aic"} <= set(module.benchmarks())
    assert not {"base", "smoke", "lspet"} & set(module.benchmarks())
