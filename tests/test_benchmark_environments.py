"""Every published benchmark's environment, run whole on a miniature of its data sets.

The miniatures have the sets' own file layouts. Only sizes differ from the environments that users
run: numbers of people, epochs and steps, and the smallest network of the same class, which starts
from a local file in place of a download.
"""

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import torchvision
import yaml
from safetensors.torch import save_file
from scipy.io import loadmat

from formats import pictures, write_aic, write_coco, write_fisheye, write_mpii, write_mpii_mat
from sspcm_kedro.datasets.submission import CocoSubmissionDataset
from sspcm_kedro.nets import ROLES, NetworkConfig
from sspcm_kedro.run_settings import flat
from sspcm_kedro.sources import SETS

CONF = Path(__file__).parents[1] / "conf"
BENCHMARKS = sorted(
    folder.name
    for folder in CONF.iterdir()
    if (folder / "parameters.yml").is_file()
    and "\npublished:" in (folder / "parameters.yml").read_text()
)
HEADLINE = {"mpii_aic": "PCKh"}
"""The published number's name, where it is not AP."""

SIZES = {
    "split.labeled", "training.batch", "training.shards", "training.steps",
    "training.warmup_epochs", "training.round_epochs", "training.rounds", "monitor.people",
}  # fmt: skip
"""Settings that a miniature may have otherwise; and where files lie, and the network's size."""

MACHINE = {"device": "cpu", "workers": 1}
TINY_BASELINE = {"kind": "simple_baseline", "backbone": "test_resnet", "head_width": 16}
TINY_HRNET = {"kind": "hrnet", "width": 8, "modules": [1, 1, 1], "blocks": 1}
AS_PUBLISHED = "coco_1k"
"""The environment whose miniature has the published network, ResNet-18."""


@pytest.fixture(scope="module")
def raw(tmp_path_factory) -> Path:
    """All data sets, tiny, where the environments look for them below one folder."""
    root = tmp_path_factory.mktemp("raw")
    train, val, wild, test = (pictures(n, seed, people=2) for seed, n in enumerate((5, 2, 3, 2)))
    write_coco(root / "coco", train, val, wild, test)
    write_mpii(root / "mpii", train, val)
    write_mpii_mat(root / "mpii", [*train, *val], test)
    write_aic(root / "ai_challenger", wild)
    write_fisheye(root / "wepdtof_pose", train, val)
    write_fisheye(root / "bkfisheye", wild, val)
    return root


@pytest.fixture(scope="module")
def starts(tmp_path_factory) -> dict[str, str]:
    """ImageNet weights as if they had been downloaded: random ones."""
    folder = tmp_path_factory.mktemp("weights")
    save_file(torchvision.models.resnet18().state_dict(), folder / "resnet18.safetensors")
    hrnet = NetworkConfig.model_validate(TINY_HRNET).build(17)
    save_file(hrnet.backbone.state_dict(), folder / "hrnet.safetensors")
    return {file.stem: str(file) for file in folder.iterdir()}


def settings_of(env: str) -> dict[str, Any]:
    """The environment's own settings, as users have them."""
    return yaml.safe_load((CONF / env / "parameters.yml").read_text())


def small(network: dict[str, Any], starts: dict[str, str], whole: bool) -> dict[str, Any]:
    """The smallest network of the same class; or the whole one, from a local file."""
    if network["kind"] == "teacher_student":
        parts = {role: part for role, part in network.items() if role != "kind"}
        return {"kind": "teacher_student"} | {
            role: small(part, starts, whole) for role, part in parts.items()
        }
    if network["kind"] == "hrnet":
        return {**TINY_HRNET, "weights": starts["hrnet"]}
    return {**network, "weights": starts["resnet18"]} if whole else TINY_BASELINE


def moved(value: Any, raw: Path) -> Any:
    """Settings with every path below data/01_raw moved below ``raw``."""
    if isinstance(value, dict):
        return {key: moved(inner, raw) for key, inner in value.items()}
    if isinstance(value, str) and value.startswith("data/01_raw"):
        return value.replace("data/01_raw", str(raw), 1)
    return value


def miniature(env: str, raw: Path, starts: dict[str, str]) -> dict[str, Any]:
    """The environment's settings, made small."""
    settings = moved(settings_of(env), raw)
    settings["network"] = small(settings["network"], starts, whole=env == AS_PUBLISHED)
    if settings["split"]["labeled"] != "all":
        settings["split"]["labeled"] = 4
    training = settings["training"]
    training |= {"batch": 2, "steps": 1, "warmup_epochs": 1, "round_epochs": 1, "rounds": 1}
    if "shards" in training:
        training |= {"batch": 4, "shards": 2}
    settings["monitor"]["people"] = 2
    return settings


def write_miniature(project, env: str, settings: dict[str, Any]) -> None:
    file = project.root / "conf" / env / "parameters.yml"
    machine = {**settings.get("machine", {}), **MACHINE}  # stored crops as the environment has them
    file.write_text(yaml.safe_dump({**settings, "machine": machine}, sort_keys=False))


def effective(project, env: str) -> dict[str, Any]:
    """The typed settings of a run, defaults filled in, but for the machine's."""
    with project.session(env) as session:
        params = dict(session.load_context().params)
    del params["machine"]
    return params


@pytest.fixture(params=BENCHMARKS)
def env(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def shell(make_project):
    """A project nobody runs: for what settings alone decide."""
    return make_project("benchmarks")


def test_the_six_published_benchmarks_are_there():
    assert BENCHMARKS == [
        "bkfisheye", "coco_10k", "coco_1k", "coco_1k_large_to_small", "coco_5k", "coco_testdev",
        "coco_wild", "coco_wild_r101", "coco_wild_w48", "mpii_aic", "wepdtof_pose",
    ]  # fmt: skip


def test_a_miniature_differs_in_size_alone(make_project, shell, env, raw, starts):
    tiny_shell = make_project("tiny")
    write_miniature(tiny_shell, env, miniature(env, raw, starts))
    whole, tiny = effective(shell, env), effective(tiny_shell, env)
    for name in ROLES:  # the class that the networks are of
        built = []
        for network in (whole["network"], tiny["network"]):
            with torch.device("meta"):
                built.append(network.bare().build(17, name))
        assert type(built[0]) is type(built[1]), name
    del whole["network"], tiny["network"]
    whole, tiny = flat(whole), flat(tiny)
    assert set(whole) == set(tiny)
    differing = {name for name in whole if whole[name] != tiny[name]}
    assert {"training.steps", "training.batch"} <= differing
    for name in differing - SIZES:  # the same file below another folder
        old, new = str(whole[name]), str(tiny[name])
        assert old.startswith("data/01_raw"), name
        assert new == old.replace("data/01_raw", str(raw), 1), name


def folders(value: Any) -> set[str]:
    """The folders below data/01_raw that settings name."""
    if isinstance(value, dict):
        return set().union(*map(folders, value.values()))
    return {value.split("/")[2]} if str(value).startswith("data/01_raw/") else set()


def test_what_download_proposes_is_where_the_environments_look(env):
    proposed = {published.folder or name for name, (_, published) in SETS.items()}
    source = settings_of(env)["source"]
    if source["kind"] == "fisheye":  # its root is the folder of both sets
        assert {part["images"].split("/")[0] for part in source.values() if "images" in part} == {
            "wepdtof_pose", "bkfisheye"
        } <= proposed  # fmt: skip
    else:
        assert folders(source) <= proposed and folders(source)


def test_plans_have_the_sizes_of_the_archives():
    known = {a.name: a.size for part in SETS["coco"][1].parts.values() for a in part.archives}
    files = [file for env in BENCHMARKS for file in (CONF / env).glob("parameters_plan.yml")]
    planned = {name: gb for file in files
               for name, gb in yaml.safe_load(file.read_text())["plan"].get("data_gb", {}).items()
               if name in known}  # fmt: skip
    assert set(planned) == set(known)
    assert planned == {name: round(size / 1e9, 3) for name, size in known.items()}


@pytest.fixture(scope="module")
def run_whole(make_project, raw, starts):
    """``kedro run`` of an environment's miniature, once; and the submission where there is one."""
    done: dict[str, SimpleNamespace] = {}

    def run(env: str) -> SimpleNamespace:
        if env not in done:
            project, settings = make_project(env), miniature(env, raw, starts)
            write_miniature(project, env, settings)
            project.run(env=env)
            if "submission" in settings:
                project.run("submission", env=env)
            done[env] = SimpleNamespace(
                project=project, data=project.root / "data" / env, submits="submission" in settings
            )
        return done[env]

    return run


def scores(file: Path) -> dict[str, Any]:
    return json.loads(file.read_text())


def test_the_environment_runs_to_its_metric(run_whole, env):
    whole = run_whole(env)
    metrics = scores(whole.data / "08_reporting" / "metrics.json")
    for network in ("baseline", "teacher_a", "teacher_b", "student"):
        assert 0 <= metrics[network][HEADLINE.get(env, "AP")] <= 1
    published = settings_of(env)["published"]
    page = (whole.data / "08_reporting" / "report.html").read_text()
    for name, row in published["scores"].items():
        assert f"{name} (published)" in page
        assert f"{row[HEADLINE.get(env, 'AP')]:.3f}" in page


@pytest.mark.parametrize("env", ["coco_1k", "coco_testdev", "mpii_aic"], indirect=True)
def test_the_environment_runs_with_snapshots(run_whole, env):
    """SSPCM in one training, its earlier period frozen copies, as the command in the docs says.

    One of each kind: of rounds alone, with a file to hand in, of two data sets.
    """
    whole = run_whole(env)
    changes: dict[str, Any] = {"comparison": {"kind": "sspcm", "snapshot_every": 1,
                               "min_score": 0.1, "max_inconsistency": 1.0}}  # fmt: skip
    pipelines = ["comparison"]
    if whole.submits:
        pipelines, changes["submission"] = ["comparison", "submission"], {"network": "comparison"}
    whole.project.run(*pipelines, env=env, **changes)
    found = scores(whole.data / "07_model_output" / "comparison_scores.json")["sspcm"]
    assert 0 <= found[HEADLINE.get(env, "AP")] <= 1
    history = pd.read_csv(whole.data / "06_models" / "comparison" / "history.csv")
    assert history["inconsistency"].notna().tolist() == [False, True]  # labels first, as always


def test_coco_gets_a_zip_of_the_test_people(run_whole):
    data = run_whole("coco_testdev").data
    file = data / "08_reporting" / "person_keypoints_test-dev2017_sspcm_results.zip"
    found = CocoSubmissionDataset(str(file)).load()
    images = {4000 + 37 * place for place in (1, 2)}  # as write_coco numbers them
    assert {record["image_id"] for record in found} == images
    assert 2 <= len(found) <= 4  # boxes of two people an image, less those that NMS takes for one
    for record in found:
        assert set(record) == {"image_id", "category_id", "keypoints", "score"}
        assert record["category_id"] == 1 and len(record["keypoints"]) == 51
        assert math.isfinite(record["score"])


def test_mpii_gets_a_mat_with_everybody_in_his_place(run_whole, raw):
    file = run_whole("mpii_aic").data / "08_reporting" / "pred_keypoints_mpii.mat"
    pred = loadmat(file, squeeze_me=True, struct_as_record=False)["pred"]
    release = loadmat(
        raw / "mpii" / "mpii_human_pose_v1_u12_1.mat", squeeze_me=True, struct_as_record=False
    )["RELEASE"]
    tested = [image for image, trains in zip(release.annolist, release.img_train, strict=True)
              if not trains]  # fmt: skip
    assert [image.image.name for image in pred] == [image.image.name for image in tested]
    for mine, theirs in zip(pred, tested, strict=True):
        assert len(mine.annorect) == len(theirs.annorect) == 3
        for person, rect in zip(mine.annorect, theirs.annorect, strict=True):
            if np.size(rect.scale) == 0:  # the one of whom only the head is annotated
                assert np.size(person.annopoints) == 0
                continue
            points = person.annopoints.point
            assert [point.id for point in points] == list(range(16))
            x, y = np.mean([[point.x, point.y] for point in points], axis=0)
            side = 1.25 * 200 * rect.scale  # all are inside the square crop around the person
            assert abs(x - rect.objpos.x) <= side / 2 + 1
            assert abs(y - rect.objpos.y) <= side / 2 + 16 * rect.scale + 1
