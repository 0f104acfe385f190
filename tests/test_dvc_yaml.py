"""dvc.yaml says what the pipelines, the catalog and the imports say."""

import shlex
from pathlib import Path
from types import SimpleNamespace

import grimp
import pytest
import yaml
from kedro.framework.project import pipelines as registered
from kedro.pipeline import Pipeline

from sspcm_kedro.datasets.instances import InstancesDataset
from sspcm_kedro.engine.fingerprint import code_digests

ROOT = Path(__file__).parents[1]
PACKAGE = "sspcm_kedro"
SOURCE = f"src/{PACKAGE}/"
DVC = yaml.safe_load((ROOT / "dvc.yaml").read_text())
STAGES = DVC["stages"]
TRAININGS = {
    "warmup": "warmup",
    "comparison": "comparison",
    **{name: "rounds" for name in STAGES if name.startswith("round_") and "training" in name},
}
NO_RESULT = {"machine"}
"""Parameters that change no result."""

NOT_TRAINED = ("datasets/", "figures/", "data/progress.py", "data/whose.py", "errors.py")
"""Code that training stages import, without influence on weights: files, images, bars, words."""


@pytest.fixture(scope="module")
def project(make_project):
    """Pipelines and catalog of the default environment; files relative to the project."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSPCM_DATA", "data")
        shell = make_project("dvc_yaml")
        with shell.session("base") as session:
            catalog = session.load_context().catalog
            pipelines = {name: registered[name] for name in registered.keys()}

    def files(names) -> set[str]:
        found = {Path(catalog[name]._describe()["filepath"]) for name in names}
        return {path.relative_to(shell.root).as_posix() for path in found}

    return SimpleNamespace(catalog=catalog, pipelines=pipelines, files=files)


@pytest.fixture(scope="module")
def imports() -> grimp.ImportGraph:
    return grimp.build_graph(PACKAGE, cache_dir=None)


def pipeline_of(project, stage: str) -> Pipeline:
    """The nodes that the stage's command runs."""
    words = shlex.split(STAGES[stage]["cmd"])
    assert words[:5] == ["SSPCM_DATA=data", "kedro", "run", "--env", "base"]
    options = dict(zip(words[5::2], words[6::2], strict=True))
    whole = sum(
        (project.pipelines[name] for name in options.pop("--pipelines").split(",")), Pipeline([])
    )
    names = {"--nodes": "node_names", "--to-nodes": "to_nodes"}
    chosen = {names[option]: value.split(",") for option, value in options.items()}
    return whole.filter(**chosen) if chosen else whole


def datasets(names) -> set[str]:
    return {name for name in names if not name.startswith(("params:", "resume_"))}


def paths(entries) -> set[str]:
    """Of ``outs`` and ``metrics``, whose entries may have options."""
    return {next(iter(entry)) if isinstance(entry, dict) else entry for entry in entries}


def outputs(stage: str) -> set[str]:
    return paths([*STAGES[stage]["outs"], *STAGES[stage].get("metrics", [])])


def code_of(stage: str) -> set[str]:
    return {dep.removeprefix(SOURCE) for dep in STAGES[stage]["deps"] if dep.startswith(SOURCE)}


def source_files(place: str) -> set[str]:
    """The files of a code_digests dependency, from the package's folder."""
    at = ROOT / SOURCE / place
    assert at.exists(), f"{at} does not exist"
    found = [at] if at.is_file() else at.rglob("*.py")
    return {file.relative_to(ROOT / SOURCE).as_posix() for file in found}


def file_of(module: str) -> str:
    """Where a module of the package stands, from the package's folder."""
    name = module.removeprefix(PACKAGE).lstrip(".").replace(".", "/")
    single = f"{name}.py"
    return single if (ROOT / SOURCE / single).is_file() else f"{name}/__init__.py"


def test_every_node_of_a_default_run_is_in_one_stage(project):
    names = [node.name for stage in STAGES for node in pipeline_of(project, stage).nodes]
    assert sorted(names) == sorted(node.name for node in project.pipelines["__default__"].nodes)


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_names_all_that_its_nodes_write(project, stage):
    pipeline = pipeline_of(project, stage)
    assert outputs(stage) == project.files(pipeline.all_outputs())


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_names_all_that_its_nodes_read(project, stage):
    """The files, and the images that tables of people name."""
    read = datasets(pipeline_of(project, stage).inputs())
    if any(isinstance(project.catalog[name], InstancesDataset) for name in read):
        read.add("drawn_folder")
    assert {dep for dep in STAGES[stage]["deps"] if dep.startswith("data/")} == project.files(read)


@pytest.mark.parametrize("stage", STAGES)
def test_what_goes_on_where_it_was_killed_is_kept(project, stage):
    """DVC deletes the other outputs before it starts a stage."""
    pipeline = pipeline_of(project, stage)
    resumed = {name for name in pipeline.inputs() if name.startswith("resume_")}
    kept = resumed | ({"drawn_folder"} & pipeline.all_outputs())
    persistent = [
        path
        for entry in STAGES[stage]["outs"]
        if isinstance(entry, dict)
        for path, options in entry.items()
        if options == {"persist": True}
    ]
    assert set(persistent) == project.files(kept)


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_names_the_parameters_that_its_nodes_read(project, stage):
    tracked = {key: file for entry in STAGES[stage]["params"] for file, keys in entry.items()
               for key in keys}  # fmt: skip
    read = {
        name.removeprefix("params:")
        for name in pipeline_of(project, stage).inputs()
        if name.startswith("params:")
    }
    assert set(tracked) == read - NO_RESULT
    for key, file in tracked.items():
        text = (ROOT / file).read_text()
        assert key in yaml.safe_load(text), f"{key} is not in {file}"
        assert "${" not in text, f"{file}: DVC would take what is in ${{}} for a value"


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_names_the_code_that_its_nodes_and_datasets_import(project, imports, stage):
    pipeline = pipeline_of(project, stage)
    modules = {node.func.__module__ for node in pipeline.nodes}
    names = {name for name in pipeline.datasets() if not name.startswith("params:")}
    classes = {type(project.catalog[name]).__module__ for name in names}
    modules |= {module for module in classes if module.startswith(PACKAGE)}
    for module in set(modules):
        modules |= imports.find_upstream_modules(module)
    needed = {file_of(module) for module in modules}

    named = {place: source_files(place) for place in code_of(stage)}
    missing = needed - set().union(*named.values())
    assert not missing, "imported, and a change of it would not rerun the stage"
    idle = [place for place, files in named.items() if not files & needed]
    assert not idle, "not imported, and a change of it would rerun the stage"


@pytest.mark.parametrize(("stage", "pipeline"), TRAININGS.items())
def test_code_that_makes_training_rerun_is_what_it_warns_of(stage, pipeline):
    """DVC reruns the stage, which keeps its checkpoint and names the files that changed."""
    rerun = set().union(*map(source_files, code_of(stage)))
    assert {file for file in rerun if not file.startswith(NOT_TRAINED)} == set(
        code_digests(pipeline)
    )


def test_plots_are_of_files_that_stages_write():
    written = set().union(*map(outputs, STAGES))
    shown = set()
    for plot in DVC["plots"]:
        options = next(iter(plot.values())) if isinstance(plot, dict) else None
        shown |= set(options["y"]) if options else {plot}
    assert shown <= written
    assert {file for file in written if file.endswith("history.csv")} <= shown
