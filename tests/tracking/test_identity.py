"""Which trainings are the same experiment."""

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from sspcm_kedro.run_settings import flat
from sspcm_kedro.tracking import identity
from sspcm_kedro.tracking.identity import code, identify, people_of

ROOT = Path(__file__).parents[2]
RAW = {
    name: value
    for file in (ROOT / "conf/base").glob("parameters*.yml")
    for name, value in yaml.safe_load(file.read_text()).items()
}


@pytest.fixture(autouse=True)
def pipelines(make_project):
    """Kedro's pipelines, which say the types of parameters."""
    with make_project("identity").session("base") as session:
        session.load_context()
        yield


def same(trained="method", env="base", people="abc", **changes):
    """The identity with some values of the parameters changed."""
    raw = copy.deepcopy(RAW)
    for name, value in changes.items():
        raw[name] = {**raw[name], **value} if isinstance(value, dict) else value
    return identify(trained, raw, env, people)


@pytest.mark.parametrize("trained", ["method", "comparison"])
def test_the_machine_and_the_other_training_do_not_count(trained):
    other = {"method": {"comparison": {"kind": "pose_dual"}},
             "comparison": {"method": {"sure": 0.3}}}[trained]  # fmt: skip
    assert same(trained, machine={"workers": 7}, **other) == same(trained)


@pytest.mark.parametrize(
    "change",
    [
        {"prediction": {"shown": 3}},
        {"annotation_queue": {"people": 3}},
        {"submission": {"network": "comparison"}},
        {"published": {"scores": {"theirs": {"AP": 0.5}}, "source": "a book"}},
    ],
)
def test_what_neither_trains_nor_judges_does_not_count(change):
    assert same(**change) == same()


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"training": {"steps": 3}},
        {"method": {"sure": 0.3}},
        {"split": {"labeled": 50}},
        {"env": "lspet"},
        {"people": "abd"},
        {"trained": "comparison"},
    ],
)
def test_all_else_does(change):
    assert same(**change).key != same().key
    assert same(**change).training != same().training


def test_another_evaluation_is_another_run_of_the_same_training():
    other = same(evaluation={"flip_test": True})
    assert other.key != same().key
    assert other.training == same().training


def test_a_default_spelt_out_is_the_same():
    assert same(method={"weight": 1.0}).key == same().key


def test_settings_are_flat_and_typed_and_have_their_defaults():
    params = same("comparison", comparison={"kind": "pose_dual"}).params
    assert params["seed"] == 0
    assert params["training.learning_rate"] == 0.004
    assert params["view.input_hw"] == "[144, 96]"
    assert params["method.kind"] == "pose_dual"  # a comparison's settings compare with a method's
    assert params["method.cutout.patches"] == 5  # a default
    assert not [name for name in params if name.startswith(("comparison", "machine"))]
    assert all(isinstance(value, str | int | float | bool | None) for value in params.values())


def test_names():
    assert same().name == "many_view, 100 labels, seed 0"
    assert same(env="lspet", seed=3).name == "lspet, many_view, 100 labels, seed 3"
    assert same("comparison", split={"labeled": 7}).name == "supervised, 7 labels, seed 0"
    snapshots = {"kind": "sspcm", "snapshot_every": 9}
    assert (
        same("comparison", comparison=snapshots).name == "sspcm without rounds, 100 labels, seed 0"
    )


def test_flat():
    assert flat({"a": {"b": 1, "c": {}}, "d": [1, [2]], "e": None}) == {
        "a.b": 1, "d": "[1, [2]]", "e": None,
    }  # fmt: skip


def test_people_are_what_their_tables_say(make_people, tmp_path):
    for name, size in (("a", 3), ("b", 3)):
        (tmp_path / name).write_bytes(b"x" * size)
    people = make_people("a")
    table, moved = (replace(people, paths=np.array([str(tmp_path / n)], object)) for n in "ab")
    relabeled = replace(table, keypoints=table.keypoints + np.float32(0.5))
    assert people_of({"labeled": table}) == people_of({"labeled": moved})
    assert len({people_of({"labeled": t}) for t in (table, relabeled, None)}) == 3
    assert people_of({"labeled": table}) != people_of({"unlabeled": table})


def test_code_is_its_files(tmp_path, monkeypatch):
    def digest(*without):
        code.cache_clear()
        return code(*without)

    monkeypatch.setattr(identity, "PACKAGE", tmp_path)
    (tmp_path / "pose").mkdir()
    (tmp_path / "pose" / "heatmap.py").write_text("a = 1")
    before, without = digest(), digest("pose/")
    (tmp_path / "notes.txt").write_text("nothing")
    assert digest() == before
    (tmp_path / "pose" / "heatmap.py").write_text("a = 2")
    assert digest() != before
    assert digest("pose/") == without
    code.cache_clear()
