"""The benchmarks run and say what they measured."""

import dataclasses
import importlib.util
import itertools
import json
import pickle
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import get_args

import numpy as np
import pytest
import torch

from formats import TEMPLATE, pictures, save_video, write_deeplabcut
from sspcm_kedro.batch import Batch, Unlabeled
from sspcm_kedro.batch import Labeled as LabeledBatch
from sspcm_kedro.data.views import ViewConfig
from sspcm_kedro.datasets.trained_model import TrainedModelDataset
from sspcm_kedro.engine.export import TrainedModel
from sspcm_kedro.engine.learner import network_maker
from sspcm_kedro.errors import BadInput
from sspcm_kedro.methods import ComparisonConfig, MethodConfig
from sspcm_kedro.nets import NetworkConfig
from sspcm_kedro.pose.consistency import correct_heatmaps
from sspcm_kedro.pose.heatmap import peaks
from sspcm_kedro.pose.losses import keypoint_mse
from sspcm_kedro.pose.skeleton import Skeleton
from sspcm_kedro.pose.weighted import WeightedShare
from sspcm_kedro.sources.labeled import Labeled

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_shows_mean_spread_and_gain():
    results = {
        0: {"supervised": {"PCK": 0.1}, "PoseDual": {"PCK": 0.2}},
        1: {"supervised": {"PCK": 0.3}, "PoseDual": {"PCK": 0.3}},
    }
    lines = load("table").markdown(results).splitlines()
    assert lines[2] == "| supervised | 0.200 ± 0.141 | 0.100 0.300 | +0.000 (+0%) |"
    assert lines[3] == "| PoseDual | 0.250 ± 0.071 | 0.200 0.300 | +0.050 (+25%) |"
    alone = load("table").markdown({0: results[0]}).splitlines()  # one seed has no spread
    assert alone[3] == "| PoseDual | 0.200 | 0.200 | +0.100 (+100%) |"


def test_the_table_leaves_out_what_somebody_has_no_number_in_and_knows_that_less_error_is_better():
    rows = {"supervised": {"PCK": 0.5, "error_px": 8.0}, "PoseDual": {"PCK": None, "error_px": 6.0}}
    lines = load("table").markdown({0: rows}).splitlines()
    assert lines[0] == "| method | error_px | error_px, seeds 0 | gain |"
    assert lines[3] == "| PoseDual | 6.000 | 6.000 | +2.000 (+25%) |"


def test_cells_have_folders_of_their_own():
    table = load("table")
    folders = {
        table.folder_of(env, seed, method)
        for env in ("base", "lspet")
        for seed in (0, 1)
        for method in table.METHODS
    }
    assert len(folders) == 4 * 14


def test_supervised_training_may_last_as_long_as_ours(tmp_path, capsys):
    """Twice and three times the seconds, 2.5 on average: 30 epochs for 12, of which 8 in rounds."""
    table, cells = load("table"), []
    for seed, seconds in ((0, 200), (1, 300)):
        cell = table.cell_of("base", seed, table.OURS, [])
        cells.append(dataclasses.replace(cell, folder=tmp_path / str(seed)))
        (cells[-1].folder / "08_reporting").mkdir(parents=True)
        content = json.dumps({"seconds": {"method": seconds, "comparison": 100}})
        (cells[-1].folder / "08_reporting/run.json").write_text(content)
    given = ["training.warmup_epochs=4", "training.rounds=3", "training.round_epochs=2"]
    given.append("training.last_round_epochs=4")
    longer = table.equal_time(cells, "base", given)
    assert longer == [*given, "training.warmup_epochs=22"]
    assert "2.50 times" in capsys.readouterr().out


@pytest.mark.parametrize("env", ["base", "lspet", "openfield"])
def test_every_method_of_the_table_can_be_trained_in(env):
    """An environment's own settings of its method are no settings of the others."""
    table = load("table")
    for method, params in table.METHODS.items():
        parameters = table.parameters_of(env, params)
        config = ComparisonConfig if method not in table.ROUNDS else MethodConfig
        name = "comparison" if method not in table.ROUNDS else "method"
        assert f"{name}.kind={config.model_validate(parameters[name]).kind}" == params[0]


def test_the_table_has_every_method_and_reads_its_own_row():
    """Supervised training is the comparison of ours; alone its row is called baseline as well."""
    table = load("table")
    kinds = {params[0].partition("=")[2] for params in table.METHODS.values()}
    union = get_args(MethodConfig.model_fields["root"].annotation)
    assert kinds | {"supervised"} == {
        get_args(member.model_fields["kind"].annotation)[0] for member in union
    }

    class Stored:
        def __init__(self, **found):
            self.found = found

        def read(self):
            return self.found

    cells = {
        "many_view": Stored(baseline={"AP": 0.1}, teacher_a={"AP": 0.2}, student={"AP": 0.3}),
        "SSPCM (rounds)": Stored(baseline={"AP": 0.15}, student={"AP": 0.25}),
        "PoseDual": Stored(
            pose_dual={"AP": 0.22, "PCK_unit": "torso"},
            pose_dual_last={"AP": 0.21},
        ),
        table.EQUAL_TIME: Stored(baseline={"AP": 0.18}, baseline_last={"AP": 0.17}),
    }
    assert table.scores_of(cells) == {
        "supervised": {"AP": 0.1}, "many_view": {"AP": 0.3}, "SSPCM (rounds)": {"AP": 0.25},
        "PoseDual": {"AP": 0.22}, table.EQUAL_TIME: {"AP": 0.18},
    }  # fmt: skip


def test_the_step_benchmark_measures_every_method():
    command = [sys.executable, BENCHMARKS / "step.py", "--people", "2", "--repeat", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for method in load("step").METHODS:
        assert method in done.stdout


@pytest.mark.parametrize("kind", ["supervised", "pose_cons", "pose_dual", "sspcm (rounds)"])
def test_the_step_benchmark_counts_the_passes_that_the_method_makes(kind):
    """Counts forward passes with and without gradient of a real step."""
    step = load("step")
    maker = network_maker(NetworkConfig.model_validate({"kind": "small_baseline"}), 17, 0)
    method = MethodConfig.model_validate(step.METHODS[kind]).build(maker, step.HeatmapCodec())
    pool = step.InstancePool.from_crops(step.NoiseCrops(8, (64, 48), 12))
    pseudo = step.PseudoLabels(
        torch.arange(8),
        torch.rand(2, 8, 17, 2) * 48,
        torch.rand(2, 8, 17),
        torch.tensor([[0, 20.0, 30.0]]),
        torch.rand(8, 17, 2) * 48,
        torch.rand(8, 17),
    )
    batches = step.Batches(
        pool, pool if method.needs_unlabeled else None, pseudo, step.COCO,
        step.HeatmapCodec(sigma=1.0), step.AffineConfig().build(), (4, 4), 1, 0,
        torch.device("cpu"),
    )  # fmt: skip
    calls = []
    for net in method.networks.values():
        net.register_forward_hook(lambda *_: calls.append(torch.is_grad_enabled()))
    method.training_step(next(batches.epoch(0)), torch.Generator())
    networks, without, with_gradient = step.PASSES[kind]
    assert len(method.networks) == networks
    assert (calls.count(False), calls.count(True)) == (without, with_gradient)


def test_the_published_step_is_measured_beside_ours(capsys):
    load("released_step").main(["--people", "2", "--hw", "32", "32", "--repeat", "1"])
    shown = capsys.readouterr().out
    assert "2 + 2 people, 32x32" in shown and shown.count(" to ") == 6


def test_the_published_step_chooses_pairs_and_sums_squares_as_ours_does():
    released = load("released_step")
    maps = torch.rand(4, 6, 17, 8, 8, generator=torch.Generator().manual_seed(0))
    weights = torch.rand(6, 17, generator=torch.Generator().manual_seed(1))
    loss = released.loop_mse(maps[0], maps[1], weights)
    torch.testing.assert_close(loss, keypoint_mse(maps[0], maps[1], weights))
    pairs = (maps[0], maps[1]), (maps[2], maps[3])
    corrected, choice = correct_heatmaps(*pairs)
    assert len(choice.pair.unique()) == 4
    found, at = released.loop_correct(*pairs)
    torch.testing.assert_close(found, corrected, rtol=0, atol=0)
    np.testing.assert_array_equal(at, [peaks(maps[0])[0], peaks(maps[2])[0]])


def test_the_published_step_makes_ten_passes_and_minimizes_the_published_loss(monkeypatch):
    """Summed up here from whole images on which nothing is pasted and which nothing turns."""
    released = load("released_step")
    monkeypatch.setattr(released.ReleasedStep, "cut_occlude", lambda _, images, peaks: images)
    identity = torch.eye(2, 3).expand(6, 2, 3)
    monkeypatch.setattr(released.ReleasedStep, "draw_affine", lambda *_: identity)
    start = network_maker(NetworkConfig.model_validate({"kind": "small_baseline"}), 17, 0)

    def maker(index: int) -> torch.nn.Module:
        """Its first heatmaps are not all but zero, and some are never high."""
        net, rng = start(index), torch.Generator().manual_seed(index)
        *_, weight, bias = net.parameters()
        torch.nn.init.normal_(weight, std=0.05, generator=rng)
        bias.data = torch.linspace(-2, 0.5, 17)
        return net

    step, calls = released.ReleasedStep(maker), []
    for net in (*step.networks, *step.copies):
        net.register_forward_hook(lambda *_: calls.append(torch.is_grad_enabled()))
    rng = torch.Generator().manual_seed(0)
    images, heatmaps = (torch.rand(2, 6, n, s, s, generator=rng) for n, s in ((3, 32), (17, 8)))
    weights = torch.randint(0, 2, (2, 6, 17), generator=rng).float()
    first, second = zip(images, heatmaps, weights, strict=True)
    trained, fixed = list(step.networks.parameters()), list(step.copies.parameters())
    before = [weight.clone() for weight in (*trained, *fixed)]
    value, right = step(Batch(LabeledBatch(*first), Unlabeled(second[0], second[2])))

    assert (calls.count(False), calls.count(True)) == (4, 6) and 0 <= right <= 1
    supervised = sum(keypoint_mse(maker(i)(first[0]), *first[1:]).item() for i in range(3)) / 2
    a, b, student = (maker(i)(second[0]) for i in range(3))
    seen = (a.amax(dim=(2, 3)) + b.amax(dim=(2, 3))) / 2 > 0.1
    assert 0 < seen.float().mean() < 1
    pairs = ((a, b), (b, a), (student, (a + b) / 2))
    consistency = sum(keypoint_mse(*pair, second[2] * seen).item() for pair in pairs)
    assert value == pytest.approx(supervised + consistency, rel=1e-4)
    assert consistency > 0.01 * supervised
    learned = [not torch.equal(*two) for two in zip(before, (*trained, *fixed), strict=True)]
    assert learned == [True] * len(trained) + [False] * len(fixed)


def test_the_published_cut_occlude_takes_whole_patches_of_a_donor():
    """Or blank ones: every image has a value of its own."""
    released = load("released_step")
    step = released.ReleasedStep(lambda _: torch.nn.Linear(1, 1))
    images = torch.arange(1.0, 5)[:, None, None, None].expand(4, 3, 64, 48).contiguous()
    before = images.clone()
    occluded = step.cut_occlude(images, np.full((4, 17, 2), 24))
    assert torch.equal(images, before)
    changed = [set(map(float, image.unique())) - {float(i + 1)} for i, image in enumerate(occluded)]
    assert any(changed) and all(found <= {0.0, 1.0, 2.0, 3.0, 4.0} for found in changed)
    covered = (occluded != images).float().mean(dim=(1, 2, 3))
    assert covered.max() <= 2 * 38**2 / (64 * 48)


def write_run(data: Path, stage: str = "warmup", pck: str = "PCK") -> dict:
    """What a training leaves; the returned state can be changed and saved again."""
    net = torch.nn.Linear(2, 1)
    optimizer = torch.optim.Adam(net.parameters())
    net(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[0.0, 0.5]]))
        net.bias.fill_(float("nan"))  # bits are compared: not a number is like itself
    odd = torch.empty_strided((16, 1), (1, 16)).fill_(1)  # as of a sum over one channel
    row = {"stage": stage, "loss": 0.5, "people_per_second": 3.0, "memory_gib": 1.0}
    state = {
        "method": {
            **{f"networks.student.{name}": value for name, value in net.state_dict().items()},
            "networks.student.kernel": odd, "networks.student.none": torch.empty(0, 3),
            "networks.student.mask": torch.tensor([True, False]),
        },
        "optimizer": optimizer.state_dict(), "epoch": 1, "history": [row], "deployed": "student",
        "fingerprint": "of this code",
    }  # fmt: skip
    save_state(data, state, stage)
    (data / "08_reporting").mkdir()
    (data / "08_reporting" / "metrics.json").write_text(f'{{"{stage}": {{"{pck}": 0.25}}}}')
    return state


def save_state(data: Path, state: dict, stage: str = "warmup") -> None:
    file = data / "06_models" / stage / "checkpoint.pt"
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, file)


def same(capsys, *arguments: object) -> tuple[int, list[str]]:
    """Exit status and lines of benchmarks/same.py."""
    with pytest.raises(SystemExit) as ended:
        load("same").main([str(argument) for argument in arguments])
    return ended.value.code, capsys.readouterr().out.splitlines()


@pytest.fixture
def two_runs(tmp_path) -> tuple[Path, Path, dict]:
    """Two data folders with the same result, and the state in the second one."""
    old, new = tmp_path / "old", tmp_path / "new"
    write_run(old)
    return old, new, write_run(new)


def test_an_unchanged_result_is_the_same(two_runs, capsys):
    """Whatever the code's fingerprint, the speed and the memory."""
    old, new, state = two_runs
    state["fingerprint"] = "of other code"
    state["history"][0].update(people_per_second=9.0, memory_gib=2.0)
    save_state(new, state)
    code, lines = same(capsys, old, new)
    assert code == 0 and lines[-1].endswith(" values compared, 0 differences")
    assert int(lines[-1].split()[0]) > 10 and len(lines) == 1


@pytest.mark.parametrize(
    ("path", "value", "line"),
    [
        (["method", "networks.student.weight"], torch.tensor([[-0.0, 0.5]]), "1 of 2 values"),
        (["method", "networks.student.weight"], torch.zeros(2, 2), "(1, 2) became torch.float32"),
        (["method", "networks.student.weight"], torch.zeros(1, 2).double(), "torch.float64"),
        (["optimizer", "state", 0, "exp_avg"], torch.ones(1, 2), "values differ, by up to 0.9"),
        (["optimizer", "param_groups", 0, "lr"], 0.5, "0.001 became 0.5"),
        (["history", 0, "loss"], 0.25, "0.5 became 0.25"),
        (["deployed"], "teacher_a", "'student' became 'teacher_a'"),
    ],
)
def test_a_changed_value_is_named(two_runs, capsys, path, value, line):
    old, new, state = two_runs
    inner = state
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    save_state(new, state)
    code, lines = same(capsys, old, new)
    assert code == 1 and lines[-1].endswith(", 1 differences") and len(lines) == 2
    name = ".".join(map(str, path))
    assert lines[0].startswith(f"06_models/warmup/checkpoint.pt.{name}: ") and line in lines[0]


def test_what_is_missing_is_named(two_runs, capsys):
    old, new, state = two_runs
    del state["method"]["networks.student.bias"]
    save_state(new, state)
    (new / "08_reporting" / "metrics.json").write_text('{"warmup": {"PCK": 0.5, "AP": null}}')
    code, lines = same(capsys, old, new)
    assert code == 1 and lines[:-1] == [
        f"06_models/warmup/checkpoint.pt.method.networks.student.bias: only in {old}",
        f"08_reporting/metrics.json.warmup.AP: only in {new}",
        "08_reporting/metrics.json.warmup.PCK: 0.25 became 0.5",
    ]


def test_renamed_stages_and_keys_are_the_same(tmp_path, capsys):
    """Whole parts of a name: PCK is not renamed inside PCKh."""
    old, new = tmp_path / "old", tmp_path / "new"
    write_run(old, "baseline")
    write_run(new, "comparison", "PCKh")
    assert same(capsys, old, new)[0] == 1
    assert same(capsys, old, new, "--rename", "baseline=comparison")[0] == 1
    renames = ["--rename", "baseline=comparison", "--rename", "PCK=PCKh"]
    assert same(capsys, old, new, *renames)[0] == 0
    placed = ["--rename", "06_models/baseline=06_models/comparison", "--rename", "PCK=PCKh"]
    code, lines = same(capsys, old, new, *placed)
    assert code == 1 and lines[:-1] == [
        f"08_reporting/metrics.json.baseline.PCKh: only in {old}",
        f"08_reporting/metrics.json.comparison.PCKh: only in {new}",
    ]
    swap = {"a": "b", "b": "a", "a.b": "c"}
    assert load("same").renamed("x/a.bb.b.a", swap) == "x/b.bb.a.b"
    assert load("same").renamed("x/a.b.a", swap) == "x/c.b"


def test_only_the_first_of_many_differences_are_shown(two_runs, capsys):
    old, new, _ = two_runs
    (new / "08_reporting" / "metrics.json").write_text(json.dumps({f"m{i}": i for i in range(50)}))
    code, lines = same(capsys, old, new)
    assert code == 1 and len(lines) == 32
    assert lines[-2:] == ["... and 21 more", lines[-1]] and lines[-1].endswith(" 51 differences")
    assert len(same(capsys, old, new, "--all")[1]) == 52


def test_nothing_is_not_the_same_as_nothing(tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        load("same").main([str(tmp_path), str(tmp_path)])
    assert ended.value.code == 2 and "has no 06_models" in capsys.readouterr().err


def test_checkpoints_are_read_without_running_code(two_runs):
    old, new, state = two_runs
    save_state(new, {**state, "history": [Path("code")]})
    with pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
        load("same").main([str(old), str(new)])


def test_smoothing_is_measured_at_the_labeled_frames(tmp_path, monkeypatch, capsys):
    """Of a video in which every seventh frame is labeled, called by its number."""
    shown = pictures(3, seed=5)
    write_deeplabcut(tmp_path, shown)
    frames = [np.asarray(shown[min(place // 7, 2)].image) for place in range(16)]
    save_video(tmp_path / "videos" / "reach.avi", frames)
    config = NetworkConfig.model_validate({"kind": "small_baseline", "width": 16, "blocks": 1})
    names = tuple(TEMPLATE)
    model = TrainedModel(
        config.build(len(names)).eval(), config, Skeleton(names), ViewConfig(input_hw=(48, 64))
    )
    file = tmp_path / "model.safetensors"
    TrainedModelDataset(str(file)).save(model)
    arguments = ["smoothing.py", str(tmp_path), "--model", str(file), "--threshold", "0"]
    monkeypatch.setattr(sys, "argv", arguments)
    load("smoothing").main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "reach.avi: 3 labeled frames of 16"
    assert lines[1].startswith("raw: mean ") and lines[2].startswith("smoothed: mean ")
    assert lines[3].endswith("(3 frames)")
    (tmp_path / "videos" / "reach.avi").unlink()
    save_video(tmp_path / "videos" / "reach.avi", frames[::-1])
    with pytest.raises(BadInput, match=r"img000\.png: must be frame 0 of the video"):
        load("smoothing").main()


def test_a_drawn_person_moves_little_from_frame_to_frame_and_stays_in_the_box():
    frames = list(load("smoothing").draw_moving(3, seconds=0.2))
    assert [boxed.frame.index for boxed, _ in frames] == [0, 1, 2, 3, 4]
    points = np.stack([truth.points for _, truth in frames])
    steps = np.linalg.norm(np.diff(points, axis=0), axis=2)
    assert np.nanmax(steps) < 10 and np.nanmax(steps) > 0
    for boxed, truth in frames:
        low, high = np.split(boxed.boxes[0], 2)
        assert (np.nanmin(truth.points, axis=0) > low - 2).all()
        assert (np.nanmax(truth.points, axis=0) < high + 2).all()


def test_errors_are_distances_from_the_labels_of_their_frames():
    points = np.zeros((2, 1, 2))
    labels = {9: Labeled(Path("a"), (4, 4), np.array([[3.0, 4.0]])),
              8: Labeled(Path("b"), (4, 4), np.full((1, 2), np.nan))}  # fmt: skip
    table = SimpleNamespace(frames=np.array([8, 9]))
    errors = load("smoothing").errors_at(table, points, labels)
    np.testing.assert_array_equal(errors, [[5.0], [np.nan]])


def test_the_device_benchmark_trains_from_stored_crops(monkeypatch: pytest.MonkeyPatch):
    device = load("device")
    monkeypatch.setattr(sys.modules["benchmarks.fed_loop"], "PEOPLE", 9)
    settings = device.settings_of_small() | {"training": {"batch": 4, "shards": 2}}
    found = device.feed(device.Step(settings, False), "bf16", 2, torch.device("cpu"), steps=2)
    assert found["images_per_second"] > 0 and found["shards"] == 2
    assert 0 < found["making_batches"] < 1


def test_the_device_benchmark_needs_few_packages_and_no_gpu():
    """As on a machine that has the data and a GPU, and only what trains."""
    hidden = "kedro kedro_datasets mlflow dvc jaxtyping psutil pycocotools matplotlib omegaconf av"
    hidden += " joblib sklearn pyarrow click"
    code = (
        f"import sys, runpy; sys.modules.update(dict.fromkeys({hidden.split()!r}));"
        "sys.argv = ['device.py', '--tiny', '--env', 'coco_1k', 'coco_wild_w48'];"
        f"runpy.run_path({str(BENCHMARKS / 'device.py')!r}, run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout[done.stdout.index("\n{\n") :])
    assert found["crops_per_second"] > 0
    row = next(iter(found["steps"].values()))
    assert row["images"] == 4 and row["launches"] > 500 and row["stops"] == 0
    if not torch.cuda.is_available():
        assert row["bf16"] == row["tf32, compiled"] == found["agreement"] == "not measured"
        assert {v for key, v in row.items() if key.startswith(("fp32", "tf32", "bf16"))} == {
            "not measured"
        }


def test_hours_follow_from_a_measured_rate_of_steps():
    step = {"flops": 2e12}
    method = {"step": {"rest": step}, "flops": {"total": 1.0}, "hours_per_tflops": 100.0}
    plans = {"a": {"method": method}, "c": {"method": method}}
    # 5 images a second of steps of 10 are 1 TFLOP/s
    row = {"images": 10, "bf16": {"images_per_second": 5.0}, "fp32": "not measured"}
    lines = load("plan").markdown_hours(plans, {"steps": {"a, b": row}}).splitlines()
    assert lines == ["| environment | bf16 |", "|---|---|", "| a | 100.0 |",
                     "| c | not measured |"]  # fmt: skip


def test_a_number_that_fails_costs_the_device_benchmark_no_other():
    device = load("device")

    def fails() -> None:
        raise RuntimeError("no compiler\nand a long tale")

    assert device.attempt(lambda: {"images_per_second": 3.0}) == {"images_per_second": 3.0}
    assert device.attempt(fails) == "failed: RuntimeError: no compiler"


def test_what_choosing_costs_is_counted_on_the_images_that_have_not_chosen(monkeypatch):
    """By hand, draw by draw; where the score of three images may differ by chance, which all
    resamples of them say, the mean error decides."""
    chosen = load("chosen")
    monkeypatch.setattr(chosen, "DRAWS", 40)
    monkeypatch.setattr(chosen, "RESAMPLES", 400)
    rng = np.random.default_rng(5)
    right = rng.integers(0, 3, (2, 9))
    error = rng.uniform(1, 9, (2, 9))
    counted = np.full(9, 4)
    both = [
        chosen.Judged((WeightedShare(np.arange(9), right[i], counted),), error[i], counted)
        for i in range(2)
    ]
    found = chosen.behind(both, 3, seed=2)
    draws, rows, sure = np.random.default_rng(2), [], 0
    for _ in range(40):
        order = draws.permutation(9)
        on, off = order[:3], order[3:]
        seen, rest = right[:, on].sum(axis=1), right[:, off].sum(axis=1) / 24
        each = right[0, on] - right[1, on]
        resamples = [sum(each[list(three)]) for three in itertools.product(range(3), repeat=3)]
        low, high = np.percentile(np.repeat(resamples, 15), (2.5, 97.5))
        told = not low <= 0 <= high
        sure += told
        by = seen if told else -error[:, on].sum(axis=1)
        ships, best = (0 if by[0] >= by[1] else 1), max(rest)
        rows.append([rest[ships] == best, best - rest[ships], best - rest[0], best - rest[1]])
    assert 0 < sure < 40
    means = np.mean(rows, axis=0).tolist()
    assert [found[n] for n in ("right", "chosen", "method", "comparison")] == pytest.approx(means)


def test_what_choosing_costs_is_read_from_finished_runs(trained_project, monkeypatch, capsys):
    monkeypatch.setenv("SSPCM_DATA", "set anew by the benchmark")
    chosen = load("chosen")
    monkeypatch.setattr(chosen, "LEAST", 1)
    chosen.main([str(trained_project.data), "--env", "smoke", "--images", "2", "1000"])
    shown = capsys.readouterr().out
    assert "1 runs" in shown and "│ 2 │" in " ".join(shown.split()) and "1000" not in shown
