"""Parameters are typed and bounded: what hangs, crashes or is nonsense is refused by its name."""

import math
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from benchmarks.reliability.mutations import base_parameters, mutated, parameter_mutations
from parameters_schema import FILE

from sspcm_kedro.conf_files import change
from sspcm_kedro.engine.memory import need_memory
from sspcm_kedro.errors import BadInput
from sspcm_kedro.machine import MachineConfig
from sspcm_kedro.parameters import parameter_types, parse, refuse_unknown
from sspcm_kedro.pipeline_registry import of_videos, register_pipelines
from sspcm_kedro.sources.lsp import LspetSource

ROOT = Path(__file__).parents[1]
SMALL = {"kind": "small_baseline", "width": 16}
HUGE = {"kind": "small_baseline", "width": 1024, "blocks": 64}
TEACHER_B = {"kind": "teacher_student", "teacher": SMALL, "teacher_b": HUGE, "student": SMALL}


@pytest.fixture(scope="module")
def base() -> dict[str, Any]:
    return base_parameters()


@pytest.fixture(scope="module")
def types(configured, base) -> dict[str, Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sspcm_kedro.hooks.PipelineShape.parameters", base)
        return parameter_types(register_pipelines())


def read(parameters: dict[str, Any], types: dict[str, Any]) -> dict[str, Any]:
    refuse_unknown(parameters, types, {})
    return {key: parse(key, parameters[key], kind) for key, kind in types.items()}


def test_base_is_right(base, types):
    typed = read(base, types)
    assert typed["seed"] == 0 and typed["training"].rounds == 2 and set(typed) == set(base)


def test_another_kind_begins_anew(caplog):
    """The files' settings of a method are no settings of another."""
    files = {
        "method": {"kind": "many_view", "finish": 0, "weight": 0.3},
        "seed": 0,
        "view": {"a": 1},
    }
    with caplog.at_level("INFO"):
        assert change(files, {"method": {"kind": "sspcm", "weight": 2.0}, "seed": 4}) == {
            "method": {"kind": "sspcm", "weight": 2.0}, "seed": 4, "view": {"a": 1},
        }  # fmt: skip
    said = "method.kind is sspcm: the files' settings of many_view are left out (finish)."
    assert caplog.messages == [said]
    same = change(files, {"method": {"kind": "many_view", "weight": 2.0}})
    assert same["method"] == {"kind": "many_view", "finish": 0, "weight": 2.0}
    assert change(files, {"method": {"finish": 1}, "view": {"b": 2}}) == {
        "method": {"kind": "many_view", "finish": 1, "weight": 0.3}, "seed": 0,
        "view": {"a": 1, "b": 2},
    }  # fmt: skip


def test_another_kind_begins_anew_within_an_object_too(caplog):
    teacher, student = {"kind": "hrnet", "width": 8}, {"kind": "small_baseline", "width": 16}
    files = {"network": {"kind": "teacher_student", "teacher": teacher, "student": student}}
    with caplog.at_level("INFO"):
        found = change(files, {"network": {"teacher": {"kind": "small_baseline", "blocks": 2}}})
    assert found["network"] == {
        "kind": "teacher_student", "student": student,
        "teacher": {"kind": "small_baseline", "blocks": 2},
    }  # fmt: skip
    assert "network.teacher.kind is small_baseline" in caplog.text
    same = change(files, {"network": {"student": {"width": 24}, "teacher_b": teacher}})["network"]
    assert same == {
        **files["network"], "student": {**student, "width": 24}, "teacher_b": teacher,
    }  # fmt: skip


@pytest.mark.parametrize("env", ["lspet", "openfield", "coco_1k"])
def test_an_environment_takes_another_method(make_project, env):
    """Of ``conf/lspet``, ``views`` and ``finish`` are ours alone."""
    given = {"method": {"kind": "pose_dual"}, "source": {"root": "photographs"}}
    with make_project("other").session(env, **given) as session:
        params = session.load_context().params
    assert params["method"].root.kind == "pose_dual"
    assert str(params["source"].root.root) == "photographs"


NAN, INF = math.nan, math.inf
OCCLUDE = [[-1, -1], [0, 0], [0.1, 0.05], [NAN, NAN], [1e9, 1e9]]
REFUSED = [
    *[("seed", seed) for seed in ("abc", {"a": 1}, -1, 1.5, NAN, 1e3, None, [1], True, 2**63)],
    *[("training.rounds", count) for count in (50_000, 10**12, 0, -1, 1.5, True, "two", None)],
    *[("training.batch", size) for size in (10**12, 1, 0, True)],
    *[("training.steps", steps) for steps in (1e30, 10**9, 0)],
    ("training.warmup_epochs", 1e30), ("training.round_epochs", 10**9),
    *[("training.learning_rate", rate) for rate in (0, -1, NAN, INF, 1e30)],
    *[("training.milestones", m) for m in ([NAN], [-0.5], [1e9], [0.9, 0.7], [0.5, 0.5], [0])],
    ("network.blocks", 10**12), ("network.width", 10**12),
    *[("source.processes", count) for count in (10**12, 0)],
    ("source.annotated", 10**9), ("source.look.people", [10**9, 10**9]),
    *[("source.look.clutter", value) for value in (1e30, NAN, INF, -1)],
    *[("source.look.noise", value) for value in (NAN, 1e9)],
    *[("source.look.blur", value) for value in (NAN, INF)],
    *[("source.look.occlusion", value) for value in (NAN, 2)],
    *[("source.look.person_px", value) for value in (1e9, [1e9, 1e9], [150, 100], [NAN, 100])],
    ("source.look.image_hw", [10**6, 10**6]), ("source.look.supersample", 10**6),
    ("source.look.what", 1),
    *[("machine.device", name) for name in ("nonsense", "", "meta", "cuda:", "cuda:-1", None)],
    *[("machine.threads", count) for count in (10**12, 0)],
    *[("machine.crop_memory_gib", size) for size in (INF, NAN, 1e12)],
    ("machine.workers", 10**12),
    *[("view.sigma", sigma) for sigma in (INF, NAN, 1e30, 0, 37)],
    *[("view.padding", factor) for factor in (0.49, 4.01, INF, NAN, True, None)],
    ("view.border", 10**12), ("view.stride", 10**12), ("view.blur", 10**9 + 1),
    *[("view.input_hw", hw) for hw in ([10**9, 10**9], [0, 0], [96], 96, [96, True])],
    *[("method.occlude", {"half_size": size}) for size in OCCLUDE],
    *[("method.occlude", {"patches": count}) for count in (10**12, -1)],
    *[("method.occlude", {"jitter": value}) for value in (INF, NAN, 1e9)],
    *[("method.weight", weight) for weight in (1e30, INF, NAN, 0)],
    *[("evaluation.pck_threshold", value) for value in (NAN, INF, 0, 1e9)],
    ("prediction.shown", 10**9), ("prediction.images", "x" * 5000), ("prediction.images", "a\0b"),
    ("published.scores", {"theirs": {"AP": NAN}}), ("plan.tflops", INF),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value"), REFUSED, ids=[f"{k}={v!r:.20}" for k, v in REFUSED])
def test_what_hung_crashed_or_was_nonsense_is_refused_by_name(base, types, key, value):
    with pytest.raises(BadInput) as caught:
        read(mutated(base, key, value), types)
    message = str(caught.value)
    assert key in message or key.rpartition(".")[2] in message
    assert message.count("\n") == 0 and "pydantic" not in message and len(message) < 600


def test_the_sentence(base, types):
    with pytest.raises(BadInput) as caught:
        read(mutated(base, "training.batch", 10**12), types)
    assert str(caught.value) == (
        "parameter training.batch: must be less than or equal to 8192, found 1000000000000. "
        f"Correct it; {FILE} has what each setting may be"
    )


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("trainning", "trainning: is not a parameter of this project. Did you mean training?"),
        ("training.bach", "training.bach: is not a setting, found 7. Did you mean batch?"),
        ("source.look.noize", "noize: is not a setting, found 7. Did you mean noise?"),
        ("network.teacher_b", "is not a setting, found 7. It is one where kind is teacher_student"),
        ("method.dual", "dual: is not a setting, found 7. It is one where kind is multi_augs"),
    ],
)
def test_a_mistyped_name_is_an_error_that_guesses(base, types, key, hint):
    with pytest.raises(BadInput) as caught:
        read(mutated(base, key, 7), types)
    assert hint in str(caught.value)


def test_a_key_for_anchors_is_allowed(base, types):
    assert read({**base, "_shared": {"width": 24}}, types)["seed"] == 0


def test_no_mutation_gets_through_or_hangs_or_ends_in_another_error(base, types):
    refused = 0
    for key, value in islice(parameter_mutations(1, base), 300):
        try:
            typed = read(mutated(base, key, value), types)
        except BadInput as error:
            refused += 1
            assert "\n" not in str(error)
        else:
            hw, training = typed["view"].input_hw, typed["training"]
            assert 0 <= typed["seed"] < 2**63 and max(hw) <= 2048
            assert training.rounds <= 200 and math.isfinite(training.learning_rate)
    assert refused > 150


def test_a_path_may_begin_at_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    source = LspetSource(kind="lspet", root="~/lspet")
    assert source.root == tmp_path / "lspet"
    assert LspetSource(kind="lspet", root="~nobody-has-it/x").root == Path("~nobody-has-it/x")
    (tmp_path / "one.mp4").touch()
    assert of_videos({"prediction": {"images": "~"}})
    assert of_videos({"prediction": {"images": "~/one.mp4"}})


@pytest.mark.parametrize("device", ["cuda:0", "cuda:7"])
def test_a_gpu_that_is_not_there(monkeypatch, device):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    with pytest.raises(BadInput, match=rf"machine\.device {device}: there must be such a GPU"):
        MachineConfig(device=device).need_device()
    MachineConfig(device="cpu").need_device()


def test_a_graph_is_of_a_gpu():
    with pytest.raises(BadInput, match=r"compile graph: needs a GPU.* Set machine\.compile=null"):
        MachineConfig(device="cpu", compile="graph").need_compile()


@pytest.mark.parametrize(
    "change",
    [
        {"view.border": 1024, "training.batch": 8192},
        {"network": HUGE},
        {"network": TEACHER_B},
    ],
)
def test_sizes_that_no_memory_holds_are_refused_before_it_is_taken(
    base, types, monkeypatch, change
):
    monkeypatch.setattr("sspcm_kedro.engine.memory.memory_of", lambda device: 16 * 2**30)
    right = read(base, types)
    need_memory(right["view"], right["network"], right["training"], torch.device("cpu"))
    for key, value in change.items():
        base = mutated(base, key, value)
    typed = read(base, types)
    with pytest.raises(BadInput, match=r"must fit into the 16.0 GiB of cpu, and need"):
        need_memory(typed["view"], typed["network"], typed["training"], torch.device("cpu"))
