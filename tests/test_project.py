"""The project as a whole: its pipelines, environments, settings, layers and tracked files."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from kedro.framework.project import pipelines as registered
from kedro.io import MemoryDataset
from kedro.pipeline import Pipeline
from parameters_schema import parameter_types
from pydantic import RootModel

from sspcm_kedro.config import Settings
from sspcm_kedro.errors import BadInput
from sspcm_kedro.pipeline_registry import register_pipelines

ROOT = Path(__file__).parents[1]
ENVIRONMENTS = sorted(
    folder.name
    for folder in (ROOT / "conf").iterdir()
    if folder.is_dir() and folder.name != "local"
)
STAGES = sorted(
    folder.name
    for folder in (ROOT / "src" / "sspcm_kedro" / "pipelines").iterdir()
    if (folder / "pipeline.py").is_file()
)
ON_DEMAND = {"annotation_queue", "download", "export", "plan", "prediction", "submission"}
"""Pipelines that a plain ``kedro run`` leaves out."""


def every_pipeline() -> Pipeline:
    """The default pipeline and those that run when they are asked for."""
    return sum((registered[name] for name in sorted(ON_DEMAND)), registered["__default__"])


@pytest.fixture(scope="module")
def shell(make_project):
    """A project nobody runs: for what settings alone decide."""
    return make_project("shell")


@pytest.fixture(params=ENVIRONMENTS)
def context(request, shell):
    """The context of each environment."""
    with shell.session(request.param) as session:
        yield session.load_context()


def test_the_environments_and_stages_were_found():
    assert {"base", "lspet", "smoke"} <= set(ENVIRONMENTS)
    assert {"ingestion", "warmup", "rounds", "comparison", "evaluation", "reporting"} <= set(STAGES)


def test_every_stage_is_registered_by_its_folder_name(shell, monkeypatch):
    """Without a context, as `kedro registry list` asks."""
    monkeypatch.chdir(shell.root)
    found = register_pipelines()
    assert sorted(found) == sorted([*STAGES, "__default__", "round_1", "round_2"])
    whole = {node.name for node in found["__default__"].nodes}
    assert whole == {n.name for stage in set(STAGES) - ON_DEMAND for n in found[stage].nodes}
    for number in (1, 2):
        names = {node.name for node in found[f"round_{number}"].nodes}
        steps = ("pseudo_labels", "correction", "cut_occlude", "training")
        assert names == {f"round_{number}.{step}" for step in steps}


def test_parameters_become_typed_objects(context):
    """Of the types that nodes say they take, and with nothing left over on either side."""
    found = {name: type(value) for name, value in context.params.items()}
    assert found == {**parameter_types(registered), "seed": int}  # there, with its bounds
    found.pop("seed")
    assert all(issubclass(kind, Settings | RootModel) for kind in found.values())


def test_no_parameter_is_idle(context):
    used = {name for name in every_pipeline().inputs() if name.startswith("params:")}
    assert used == {f"params:{name}" for name in context.params}


def test_every_dataset_has_a_file_of_its_own(context):
    """In the environment's data folder; what goes on reads its own output under a second name."""
    catalog, files = context.catalog, {}
    for name in every_pipeline().datasets():
        if not name.startswith("params:"):
            assert not isinstance(catalog[name], MemoryDataset), f"{name} is not in the catalog"
            files[name] = Path(catalog[name]._describe()["filepath"])
    root = context.project_path / context.config_loader["globals"]["data_root"]
    assert all(file.is_relative_to(root) for file in files.values()), files
    resumed = {name: file for name, file in files.items() if name.startswith("resume_")}
    rounds = context.params["training"].rounds
    assert len(resumed) == 2 * rounds + 3  # with labels of a round; images, warm-up, comparison
    for name, file in resumed.items():
        made = name.removeprefix("resume_")
        assert file == files.pop(made if made in files else f"{made}_checkpoint")
    assert len(set(files.values())) == len(files)


def test_environments_do_not_share_a_data_folder(shell):
    roots = set()
    for name in ENVIRONMENTS:
        with shell.session(name) as session:
            roots.add(session.load_context().config_loader["globals"]["data_root"])
    assert len(roots) == len(ENVIRONMENTS)


def test_every_output_is_read_again_or_is_a_final_product(context):
    whole = registered["__default__"]
    rounds = [f"round_{number + 1}" for number in range(context.params["training"].rounds)]
    assert whole.outputs() == {
        "images",
        "report",
        "prediction_sheet",
        "trained_model",
        *(f"{name}_correction_report" for name in rounds[:-1]),
        *(f"{name}_occlusion_sheet" for name in rounds),
    }
    free = {name for name in whole.inputs() if not name.startswith("params:")}
    labels = [f"{name}_predictions" for name in rounds]
    stages = ("warmup", *rounds, "comparison")
    assert free == {f"resume_{name}" for name in ("images", *stages, *labels)}


def test_the_number_of_rounds_is_a_parameter(shell):
    with shell.session(training={"rounds": 3}) as session:
        context = session.load_context()
        nodes = {node.name: node for node in registered["__default__"].nodes}
        assert context.params["training"].rounds == 3
    assert "round_3.training" in nodes and "round_4.training" not in nodes
    assert "round_2_predictions" in nodes["round_3.correction"].inputs
    assert "round_3_checkpoint" in nodes["evaluation.export"].inputs
    assert "round_3_history" in nodes["reporting.draw_curves"].inputs
    with shell.session() as session:  # the next session has its own number again
        session.load_context()
        assert "round_3" not in registered.keys()


def test_params_change_single_values_in_every_environment(shell):
    """Also of a key that the environment does not have, and of one that it replaces."""
    for env in ENVIRONMENTS:
        with shell.session(env) as session:
            plain = session.load_context().params
        with shell.session(env, training={"steps": 7}, view={"sigma": 0.5}, seed=3) as session:
            changed = session.load_context().params
        assert changed["training"] == plain["training"].model_copy(update={"steps": 7})
        assert changed["view"] == plain["view"].model_copy(update={"sigma": 0.5})
        assert changed["seed"] == 3 and changed["network"] == plain["network"]


def test_an_environment_replaces_whole_keys(shell):
    with shell.session("lspet") as session:
        assert session.load_context().params["source"].root.kind == "lspet"


@pytest.mark.parametrize(
    ("params", "named"),
    [
        ({"network": {"kind": "hourglass"}}, ["'small_baseline'", "'simple_baseline'"]),
        (
            {"comparison": {"kind": "pose_dua"}},
            ["'supervised'", "'pose_cons'", "'pose_dual'", "'sspcm'"],
        ),
        ({"method": {"kind": "sspc"}}, ["'supervised'", "'pose_cons'", "'pose_dual'", "'sspcm'"]),
        ({"source": {"kind": "coco17"}}, ["'drawn'", "'coco'", "'lspet'"]),
        ({"training": {"bach": 16}}, ["bach", "is not a setting"]),
        ({"network": {"widht": 16}}, ["widht", "is not a setting"]),
        ({"source": {"look": {"image": [9, 9]}}}, ["look.image", "is not a setting"]),
        ({"training": {"rounds": 0}}, ["rounds", "greater than or equal to 1"]),
        (
            {"view": {"input_hw": [0, 48]}},
            ["view.input_hw.0: must be greater"],
        ),
        ({"comparison": {"kind": "sspcm"}}, ["set comparison.snapshot_every"]),
    ],
)
def test_wrong_settings_fail_before_any_node(make_project, params, named):
    project = make_project("wrong")
    with pytest.raises(BadInput) as caught:
        project.run(**params)
    for text in named:
        assert text in str(caught.value)
    assert not project.data.exists()


def test_a_method_that_averages_teach_is_refused_before_any_node_without_them(make_project):
    for name in ("method", "comparison"):
        project = make_project("unaveraged")
        with pytest.raises(BadInput, match=r"average_decay: must be a number for ubpl"):
            project.run(**{name: {"kind": "ubpl"}})
        assert not [path for path in project.data.glob("*/*") if path.is_file()]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"training": {"rounds": "two"}}, r"parameter training\.rounds: must be a valid integer"),
        ({"training": {"rounds": 1.5}}, r"training\.rounds: must be a valid integer"),
        ({"training": 3}, r"parameter training: must be a table of settings, found 3. Change"),
        ({"source": "coco"}, r"parameter source: must be a table of settings, found 'coco'"),
        ({"source": {"kind": 7}}, r"parameter source\.kind: must say where .* found 7. Write e.g."),
    ],
)  # fmt: skip
def test_what_shapes_the_pipelines_is_checked_first(make_project, params, message):
    project = make_project("shapeless")
    with pytest.raises(BadInput, match=message):
        project.run(**params)
    assert not project.data.exists()


def test_a_source_without_a_kind(make_project):
    project = make_project("kindless")
    (project.root / "conf" / "mine").mkdir()
    file = project.root / "conf" / "mine" / "parameters.yml"
    file.write_text("source: {root: people}\n")
    with pytest.raises(BadInput, match=r"parameter source\.kind: .* found None.*docs/data\.md"):
        project.run(env="mine")


def test_a_view_that_the_network_does_not_take_is_refused_before_anything_runs(make_project):
    project = make_project("unfit")
    with pytest.raises(BadInput, match=r"view.input_hw \(60, 48\).*multiples of 16 .*\[64, 48\]"):
        project.run(view={"input_hw": [60, 48]})
    assert {file.name for file in project.data.rglob("*")} == {".run.lock", ".run.json"}


def test_a_mistyped_parameter_is_not_a_new_one(make_project):
    project = make_project("mistyped")
    with pytest.raises(BadInput, match=r"--params trainin.*Did you mean training\?"):
        project.run(trainin={"rounds": 3})
    with pytest.raises(
        BadInput, match=r"--params xyz.*Known are annotation_import, annotation_queue, .*view\."
    ):
        project.run(xyz=1)
    assert not project.data.exists()


def test_layers_import_downwards_only(monkeypatch):
    monkeypatch.chdir(ROOT)
    # In a process of its own: its logging set-up would switch off every logger of this one.
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


@pytest.fixture(scope="module")
def tracked() -> list[Path]:
    """Files that git tracks."""
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run([git, "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    files = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    return [file for file in files if file.is_file()]


def test_no_file_knows_the_machine_it_was_written_on(tracked):
    home = re.compile(rb"(?<![\w.])/(work|home|root|Users|tmp)/\w")
    found = [file for file in tracked if home.search(file.read_bytes())]
    assert not found


def test_nothing_that_a_run_makes_is_tracked(tracked):
    names = [file.relative_to(ROOT) for file in tracked]
    kept = {".gitkeep", ".dvc"}  # a .dvc file names a user's raw data by their digest
    assert not [n for n in names if n.parts[0] == "data" and not kept & {n.name, n.suffix}]
    made = {".parquet", ".pt", ".safetensors", ".pyc", ".npz"}
    assert not [n for n in names if n.suffix in made]
    assert not [n for n, f in zip(names, tracked, strict=True) if f.stat().st_size > 2**20]
