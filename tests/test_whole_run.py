"""One whole run of the smoke environment through the command line, and what it leaves."""

import base64
import io
import json
import re
import shutil
from contextlib import redirect_stdout

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from safetensors import safe_open
from safetensors.torch import load_file

from sspcm_kedro.datasets.seal import with_blanks
from sspcm_kedro.nets import NetworkConfig

HW = (64, 48)
NETWORKS = ("baseline", "teacher_a", "teacher_b", "student")
MIN_SCORE = 0.02  # what conftest's whole run is given
MAX_INCONSISTENCY = 0.1  # SSPCMConfig's default
PARAMS = f"method.min_score={MIN_SCORE}"
FIGURES = (
    "learning_curves", "predictions", "per_keypoint", "pseudo_labels", "pseudo_label_quality",
)  # fmt: skip
TRAINED = re.compile(r"(warmup|round_\d|comparison) epoch \d+ \(step")


@pytest.fixture
def copy(whole, make_project):
    """The finished project again, to do something else in."""
    project = make_project("copy")
    shutil.copytree(whole.data, project.data)
    return project


def read(whole, name: str):
    return json.loads((whole.data / name).read_text())


def checkpoint(data, stage: str):
    return torch.load(data / "06_models" / stage / "checkpoint.pt", weights_only=True)


def same(a, b) -> bool:
    """Two checkpoints, or parts of them, are equal to the last bit."""
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def table(whole, name: str) -> pd.DataFrame:
    return pd.read_parquet(whole.data / "05_model_input" / f"{name}.parquet")


def image_points(points: torch.Tensor, people: pd.DataFrame) -> np.ndarray:
    """Points of 64 x 48 views in image pixels: boxes grown to 4:3, then by a quarter."""
    moved = []
    for xy, (x0, y0, x1, y1) in zip(
        points.double().numpy(), people[["x0", "y0", "x1", "y1"]].to_numpy(float), strict=True
    ):
        width = 1.25 * max(x1 - x0, (y1 - y0) * HW[1] / HW[0])
        center = np.array([(x0 + x1) / 2, (y0 + y1) / 2])
        moved.append((xy - np.array([HW[1], HW[0]]) / 2) * width / HW[1] + center)
    return np.array(moved, np.float32)


def slow_pck(found: np.ndarray, people: pd.DataFrame) -> float:
    """Share of labeled keypoints within 0.2 of shoulder (5) to opposite hip (12)."""
    hits, count = 0, 0
    for points, (_, person) in zip(found.astype(float), people.iterrows(), strict=True):
        truth, seen = person["keypoints"].reshape(17, 2).astype(float), person["visibility"] > 0
        if not (seen[5] and seen[12]):
            continue
        reach = 0.2 * np.linalg.norm(truth[5] - truth[12])
        for joint in np.flatnonzero(seen):
            hits += np.linalg.norm(points[joint] - truth[joint]) <= reach
            count += 1
    return hits / count


def test_metrics_have_every_network_and_round(whole):
    metrics = read(whole, "08_reporting/metrics.json")
    assert set(metrics) == {*NETWORKS, "choice", "pseudo_labels"}
    for name in NETWORKS:
        assert {"AP", "AP50", "AR", "PCK"} <= set(metrics[name])
        assert all(0 <= metrics[name][key] <= 1 for key in ("AP", "AP50", "AR", "PCK"))
    assert set(metrics["pseudo_labels"]) == {"round_1", "round_2"}
    for row in metrics["pseudo_labels"].values():
        assert {"teacher_a", "teacher_b", "mean", "corrected", "kept"} <= set(row)


@pytest.mark.parametrize("name", NETWORKS)
def test_metrics_say_what_the_stored_predictions_score(whole, name):
    """PCK keypoint by keypoint; AP from pycocotools fed by hand (all boxes score 1)."""
    people = table(whole, "validation")
    file = "comparison" if name == "baseline" else "validation"
    stored = load_file(whole.data / "07_model_output" / file / "predictions.safetensors")
    found = image_points(stored[f"{name}.keypoints"], people)
    scores = stored[f"{name}.scores"].double().numpy()
    metrics = read(whole, "08_reporting/metrics.json")[name]
    assert metrics["PCK"] == pytest.approx(slow_pck(found, people))

    numbers = {image: i for i, image in enumerate(people["image_id"].unique())}
    truth, guesses = [], []
    for i, (_, person) in enumerate(people.iterrows()):
        box = [float(person[key]) for key in ("x0", "y0", "x1", "y1")]
        flat = np.column_stack([person["keypoints"].reshape(17, 2), person["visibility"]])
        common = {"id": i + 1, "image_id": numbers[person["image_id"]], "category_id": 1}
        truth.append({
            **common, "iscrowd": 0, "area": float(person["area"]), "keypoints": flat.ravel(),
            "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]],
            "num_keypoints": int((person["visibility"] > 0).sum()),
        })  # fmt: skip
        sure = scores[i][scores[i] > 0.2]
        guesses.append({
            **common, "score": sure.mean() if len(sure) else 0.0,
            "keypoints": np.column_stack([found[i], np.ones(17)]).ravel(),
            "area": float(np.ptp(found[i], axis=0).prod()), "bbox": [0, 0, 1, 1], "iscrowd": 0,
        })  # fmt: skip
    with redirect_stdout(io.StringIO()):
        sides = []
        for annotations in (truth, guesses):
            side = COCO()
            side.dataset = {
                "images": [{"id": i} for i in numbers.values()],
                "categories": [{"id": 1}],
                "annotations": annotations,
            }
            side.createIndex()
            sides.append(side)
        evaluate = COCOeval(*sides, "keypoints")
        evaluate.evaluate()
        evaluate.accumulate()
        evaluate.summarize()
    for key, position in (("AP", 0), ("AP50", 1), ("AR", 5)):
        assert metrics[key] == pytest.approx(evaluate.stats[position])


@pytest.mark.parametrize("number", [1, 2])
def test_pseudo_label_scores_compare_with_the_hidden_truth(whole, number):
    people = table(whole, "hidden_truth")
    folder = whole.data / "07_model_output" / f"round_{number}"
    a, b = load_file(folder / "predictions.safetensors")["keypoints"]
    corrected = load_file(folder / "corrected.safetensors")
    row = read(whole, "08_reporting/metrics.json")["pseudo_labels"][f"round_{number}"]
    points = {"teacher_a": a, "teacher_b": b, "mean": (a + b) / 2,
              "corrected": corrected["keypoints"]}  # fmt: skip
    for name, xy in points.items():
        assert row[name] == pytest.approx(slow_pck(image_points(xy, people), people))
    known = np.stack(people["visibility"].to_list()) > 0
    assert row["kept"] == pytest.approx(corrected["kept"].numpy()[known].mean())


def test_unlabeled_people_have_no_labels(whole):
    unlabeled, truth = table(whole, "unlabeled"), table(whole, "hidden_truth")
    assert not np.stack(unlabeled["visibility"].to_list()).any()
    assert not np.stack(unlabeled["keypoints"].to_list()).any()
    assert unlabeled["id"].tolist() == truth["id"].tolist()
    assert not set(unlabeled["id"]) & set(table(whole, "labeled")["id"])


@pytest.mark.parametrize("number", [1, 2])
def test_corrected_labels_are_those_of_the_least_inconsistent_pair(whole, number):
    """Person by person, one by one; round 1 has no earlier period and takes its own twice."""
    output = whole.data / "07_model_output"
    now = load_file(output / f"round_{number}" / "predictions.safetensors")
    earlier = load_file(output / f"round_{max(number - 1, 1)}" / "predictions.safetensors")
    found = load_file(output / f"round_{number}" / "corrected.safetensors")
    assert torch.equal(found["ids"], torch.tensor(table(whole, "unlabeled")["id"].to_numpy()))
    diagonal, pairs = np.hypot(*HW), []
    for person in range(len(found["ids"])):
        for joint in range(17):
            a = [side["keypoints"][0, person, joint].double().numpy() for side in (now, earlier)]
            b = [side["keypoints"][1, person, joint].double().numpy() for side in (now, earlier)]
            sa = [float(side["scores"][0, person, joint]) for side in (now, earlier)]
            sb = [float(side["scores"][1, person, joint]) for side in (now, earlier)]
            order = [(0, 0), (1, 0), (0, 1), (1, 1)]  # (A, B): 0 now, 1 earlier
            squares = [((a[i] - b[j]) ** 2).sum() for i, j in order]
            best = int(np.argmin(squares))  # the first of equal ones
            i, j = order[best]
            assert found["pair"][person, joint] == best
            distance = np.sqrt(squares[best]) / diagonal
            assert float(found["inconsistency"][person, joint]) == pytest.approx(distance, abs=1e-6)
            agree = distance <= MAX_INCONSISTENCY
            likelier = a[i] if sa[i] >= sb[j] else b[j]
            place = (a[i] + b[j]) / 2 if agree else likelier
            assert found["keypoints"][person, joint].numpy() == pytest.approx(place, abs=1e-4)
            assert float(found["score"][person, joint]) == pytest.approx((sa[i] + sb[j]) / 2)
            kept = agree and (sa[i] + sb[j]) / 2 > MIN_SCORE
            assert bool(found["kept"][person, joint]) == kept
            pairs.append(best)
    assert set(pairs) == ({0} if number == 1 else {0, 1, 2, 3})
    report = read(whole, f"08_reporting/round_{number}_correction.json")
    shares = [pairs.count(index) / len(pairs) for index in range(4)]
    assert list(report["pair_shares"].values()) == pytest.approx(shares)


def test_occluders_are_the_kept_keypoints_inside_the_view(whole):
    banks, joints = 0, 0
    for number in (1, 2):
        folder = whole.data / "07_model_output" / f"round_{number}"
        bank = load_file(folder / "occluders.safetensors")["occluders"].tolist()
        corrected = load_file(folder / "corrected.safetensors")
        expected = [
            [person, *xy]
            for person in range(len(corrected["ids"]))
            for xy, kept in zip(
                corrected["keypoints"][person].tolist(), corrected["kept"][person], strict=True
            )
            if kept and 0 <= xy[0] <= HW[1] - 1 and 0 <= xy[1] <= HW[0] - 1
        ]
        assert bank == expected
        banks, joints = banks + len(bank), joints + corrected["kept"].numel()
    assert 0 < banks < joints


def test_history_goes_on_without_a_gap(whole):
    folder = whole.data / "06_models"
    stages = [pd.read_csv(folder / s / "history.csv") for s in ("warmup", "round_1", "round_2")]
    sspcm, baseline = pd.concat(stages), pd.read_csv(folder / "comparison" / "history.csv")
    assert [len(stage) for stage in stages] == [2, 2, 2]
    for rows in (sspcm, baseline):
        assert rows["epoch"].tolist() == [1, 2, 3, 4, 5, 6]
        assert rows["step"].tolist() == [3, 6, 9, 12, 15, 18]
        # a tenth after 70 % and after 90 % of 18 steps; the rate is that of an epoch's last step
        assert rows["learning_rate"].tolist() == pytest.approx([3e-3] * 4 + [3e-4, 3e-5])
    assert sspcm["stage"].tolist() == ["warmup"] * 2 + ["round_1"] * 2 + ["round_2"] * 2


def test_the_better_network_is_exported_with_the_reason_and_needs_no_other_file(whole):
    file = whole.data / "06_models" / "trained_model.safetensors"
    weights = load_file(file)
    metrics = read(whole, "08_reporting/metrics.json")
    choice = metrics["choice"]
    student, baseline = metrics["student"], metrics["baseline"]
    metric = "AP" if student["AP"] != baseline["AP"] else "PCK"  # so small networks find nobody
    better = student[metric] >= baseline[metric]
    assert choice["ships"] == ("student" if better else "baseline")
    assert (choice["metric"], choice["people"]) == (metric, len(table(whole, "validation")))
    assert choice["value"] == pytest.approx(student[metric], abs=1e-12)
    assert choice["comparison_value"] == pytest.approx(baseline[metric], abs=1e-12)
    assert read(whole, "08_reporting/choice.json") == choice
    trained = checkpoint(whole.data, "round_2" if better else "comparison")["method"]
    prefix = "networks.student."
    assert same(
        weights,
        {k.removeprefix(prefix): v for k, v in trained.items() if k.startswith(prefix)},
    )
    with safe_open(file, framework="pt") as opened:
        metadata = opened.metadata()
    assert json.loads(metadata["choice"]) == choice
    names = json.loads(metadata["skeleton"])["names"]
    network = NetworkConfig.model_validate_json(metadata["network"]).build(len(names))
    network.load_state_dict(weights)
    heatmaps = network.eval()(torch.zeros(1, 3, *json.loads(metadata["view"])["input_hw"]))
    assert heatmaps.shape == (1, 17, HW[0] // 4, HW[1] // 4)


def test_the_networks_learned_and_differ(whole):
    stages = [checkpoint(whole.data, stage) for stage in ("warmup", "round_1", "round_2")]
    nets = [f"networks.{n}" for n in ("teacher_a", "teacher_b", "student")]
    weight = next(k for k, v in stages[0]["method"].items()
                  if k.startswith(nets[0]) and v.ndim == 4).removeprefix(nets[0])  # fmt: skip
    seen = [state["method"][net + weight] for state in stages for net in nets]
    assert not any(torch.equal(a, b) for i, a in enumerate(seen) for b in seen[:i])
    assert [state["epoch"] for state in stages] == [2, 4, 6]


@pytest.mark.parametrize("name", [*FIGURES, "round_1_cut_occlude", "round_2_cut_occlude"])
def test_images_show_something(whole, name):
    with Image.open(whole.data / "08_reporting" / f"{name}.png") as picture:
        pixels = np.asarray(picture.convert("RGB"))
    assert min(pixels.shape[:2]) >= 150
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 20
    background = (pixels == pixels[0, 0]).all(axis=2).mean()
    assert background < 0.98


def test_the_report_holds_numbers_and_images(whole):
    folder = whole.data / "08_reporting"
    page = (folder / "report.html").read_text()
    for name in set(FIGURES) - {"predictions"}:  # which the page shows person by person
        assert base64.b64encode((folder / f"{name}.png").read_bytes()).decode() in page
    student = read(whole, "08_reporting/metrics.json")["student"]
    assert f"<td>{student['PCK']:.3f}</td>" in page
    assert not re.search(r'(src|href)="(?!data:)', page)  # self-contained


def test_the_terminal_says_what_happened(whole):
    assert len(TRAINED.findall(whole.printed)) == 12
    done, tasks = re.findall(r"Completed (\d+) out of (\d+) tasks", whole.printed)[-1]
    assert done == tasks
    assert re.search(r"student .*\d\.\d{3}", whole.printed)
    choice = read(whole, "08_reporting/metrics.json")["choice"]
    assert choice["people"] < 50 and choice["doubt"]
    page = (whole.data / "08_reporting" / "report.html").read_text()
    for text in (choice["reason"], choice["doubt"]):
        assert text in " ".join(whole.printed.split()) and text in page
    assert "Traceback" not in whole.printed and "Warning" not in whole.printed


def test_nothing_is_said_of_other_code_or_other_settings(whole):
    assert "other code" not in whole.printed and "starts afresh" not in whole.printed


def test_no_unfinished_file_is_left(whole):
    names = {file.name for file in whole.data.rglob("*") if file.is_file()}
    hidden = {name for name in names if name.endswith(".part") or name.startswith(".")}
    assert hidden == {".run.lock"}


def test_the_same_command_again_trains_nothing(whole):
    stages = ("warmup", "round_1", "round_2", "comparison")
    before = {stage: checkpoint(whole.data, stage) for stage in stages}
    files = sorted((whole.data / "06_models").rglob("history.csv"))
    texts = [file.read_text() for file in files]
    drawn = {f: f.stat().st_mtime_ns for f in (whole.data / "01_raw").rglob("*") if f.is_file()}
    metrics = read(whole, "08_reporting/metrics.json")

    printed = whole.project.kedro("--params", PARAMS)
    assert not TRAINED.search(printed)
    for stage, epochs in zip(stages, (2, 4, 6, 6), strict=True):
        assert f"{stage} goes on after epoch {epochs} of {epochs}" in printed
        assert same(checkpoint(whole.data, stage), before[stage])
    assert [file.read_text() for file in files] == texts
    assert drawn == {f: f.stat().st_mtime_ns for f in drawn}
    assert read(whole, "08_reporting/metrics.json") == metrics


def test_only_missing_outputs(whole, copy):
    """Deleted results are made again, from the files that are there."""
    missing = ("predictions.png", "report.html")
    for name in missing:
        (copy.data / "08_reporting" / name).unlink()
    printed = copy.kedro("--only-missing-outputs", "--params", PARAMS)
    assert re.findall(r"Completed node: (\S+)", printed) == [
        "reporting.draw_predictions", "reporting.report",
    ]  # fmt: skip
    for name in missing:
        made = (copy.data / "08_reporting" / name).read_bytes()
        assert made == (whole.data / "08_reporting" / name).read_bytes()


def test_a_slice_of_nodes(whole, copy):
    """--from-nodes and --to-outputs: the numbers again, and nothing else."""
    reporting = copy.data / "08_reporting"
    for file in reporting.iterdir():
        file.unlink()
    only = {"from_nodes": ["evaluation.score_networks"], "to_outputs": ["metrics"]}
    (copy.data / "08_reporting" / "pseudo_labels.json").write_bytes(with_blanks(b"[]"))
    choice = json.dumps(read(whole, "08_reporting/choice.json")).encode()
    (copy.data / "08_reporting" / "choice.json").write_bytes(with_blanks(choice))
    copy.run(only=only, method={"min_score": MIN_SCORE})
    made = {file.name for file in reporting.iterdir()}
    assert made == {"choice.json", "metrics.json", "pseudo_labels.json"}
    metrics = json.loads((reporting / "metrics.json").read_text())
    whole_metrics = read(whole, "08_reporting/metrics.json")
    assert metrics == {**whole_metrics, "pseudo_labels": {}}


def test_another_method_as_the_comparison(whole, copy):
    printed = copy.kedro("--pipelines", "comparison", "--params", "comparison.kind=pose_dual")
    assert re.findall(r"Completed node: (\S+)", printed)[0] == "comparison.training"
    assert "warmup" not in printed
    said = " ".join(printed.split())
    assert "comparison has a checkpoint of another training, starts afresh: " in said
    assert 'method.kind was "supervised", is "pose_dual"' in said
    networks = {key.split(".")[1] for key in checkpoint(copy.data, "comparison")["method"]}
    assert len(networks) == 2
    assert checkpoint(copy.data, "comparison")["deployed"] in networks
    assert checkpoint(copy.data, "comparison")["kind"] == "pose_dual"
    assert checkpoint(whole.data, "comparison")["kind"] == "supervised"
    scores = json.loads((copy.data / "07_model_output" / "comparison_scores.json").read_text())
    assert list(scores) == ["pose_dual"]
    before = json.loads((whole.data / "07_model_output" / "comparison_scores.json").read_text())
    assert list(before) == ["baseline"]
    assert same(checkpoint(copy.data, "warmup"), checkpoint(whole.data, "warmup"))
