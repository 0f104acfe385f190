"""``start``: what it recognizes, what it decides by which numbers, and what it writes."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from click import ClickException
from click.testing import CliRunner

import formats
from formats import pictures, save_video
from sspcm_kedro.__main__ import main
from sspcm_kedro.cli import cli
from sspcm_kedro.data.held_out import held_out_rows
from sspcm_kedro.data.split import SplitConfig, split
from sspcm_kedro.errors import BadInput
from sspcm_kedro.machine import MachineConfig
from sspcm_kedro.parameters import parse
from sspcm_kedro.sources import SourceConfig
from sspcm_kedro.start.cost import hours_of_run, seconds_of_step, which_helps
from sspcm_kedro.start.decide import decide, input_size
from sspcm_kedro.start.environment import (
    load_parameters,
    name_for,
    need_new_environment,
    parameter_kinds,
)
from sspcm_kedro.start.find import find_project
from sspcm_kedro.start.read import read_project

ROOT = Path(__file__).parents[2]
TWELVE, SIX = pictures(12, seed=1), pictures(6, seed=2)
WRITERS = {
    "coco": lambda root: formats.write_coco(root, TWELVE, SIX),
    "deeplabcut": lambda root: formats.write_deeplabcut(root, TWELVE),
    "lightning_pose": lambda root: formats.write_lightning_pose(root, TWELVE),
    "yolo_pose": lambda root: formats.write_yolo_pose(root, TWELVE, SIX),
    "label_studio": lambda root: formats.write_label_studio(root, TWELVE),
    "cvat": lambda root: formats.write_cvat(root, TWELVE),
    "lspet": lambda root: formats.write_lspet(root, TWELVE),
}


@pytest.fixture
def conf(tmp_path, monkeypatch, configured) -> Path:
    """The settings of a project that is the working folder, its base only."""
    folder = tmp_path / "here" / "conf"
    shutil.copytree(ROOT / "conf" / "base", folder / "base")
    monkeypatch.chdir(folder.parent)
    return folder


def start(*arguments: str):
    return CliRunner().invoke(cli, ["start", *arguments, "--no-probe"])


@pytest.mark.parametrize("kind", WRITERS)
def test_a_project_becomes_settings_that_a_run_takes(kind, conf, tmp_path):
    written = WRITERS[kind](tmp_path / "project")
    done = start(str(tmp_path / "project"), "--name", "mine")
    assert done.exit_code == 0, done.output
    assert "Now type:    sspcm-kedro run --env mine" in done.output
    if kind in ("cvat", "label_studio", "lightning_pose"):
        assert re.search(r"source\.labels\W+\w+\.(xml|json|csv)", done.output)
    text = (conf / "mine" / "parameters.yml").read_text()
    settings = yaml.safe_load(text)  # and typed: the command has loaded them as a run does
    assert settings["source"]["kind"] == kind == written["kind"]
    assert settings.keys() <= parameter_kinds().keys()
    for line in text.splitlines():
        if line.startswith("  "):
            assert re.fullmatch(r"  \w+: .+ # .{3,}", line), line
    held_out = 6 if kind in ("coco", "yolo_pose", "lspet") else 10
    assert settings["split"]["validation"] <= held_out
    where = yaml.safe_load((conf / "mine" / "globals.yml").read_text())
    assert where == {"data_root": "${env:SSPCM_DATA,data/mine}"}


def decided(folder: Path, device: str = "cpu", **given):
    return decide(read_project(folder, find_project(folder), given), device)


def values(decisions, parameter: str) -> dict:
    return {key: value for key, (value, _) in decisions[parameter].items()}


def test_numbers_decide(tmp_path):
    formats.write_deeplabcut(tmp_path, TWELVE)  # whole images of 96 x 128
    small = decided(tmp_path)
    assert values(small, "split")["labeled"] + values(small, "split")["validation"] == 12
    assert values(small, "split")["validation"] == 6  # half: a fifth would be 2, ten too many
    assert values(small, "view")["input_hw"] == [96, 128]
    assert values(small, "view")["padding"] == 1.0
    cuda = values(decided(tmp_path, "cuda"), "view")
    assert cuda["input_hw"] == [96, 128]  # no larger than the images, whatever the device


@pytest.mark.parametrize(
    ("aspect", "area", "hw"),
    [(4 / 3, 96 * 128, (96, 128)), (0.75, 256 * 192, (256, 192)), (1.0, 110**2, (112, 112)),
     (1.0, 10, (48, 48)), (1.0, 1e9, (384, 384))],
)  # fmt: skip
def test_input_has_the_boxes_aspect_and_bounds(aspect, area, hw):
    assert input_size(aspect, area) == hw


def test_mirrors_only_with_flip_pairs(tmp_path):
    formats.write_deeplabcut(tmp_path, TWELVE)
    free = decided(tmp_path)  # bodypart1, bodypart2, ...
    assert values(free, "source")["flip_pairs"] == []
    paired = decided(tmp_path, flip_pairs=[[0, 1]])
    assert values(free, "view")["weak"]["flip_probability"] == 0
    assert values(free, "evaluation")["flip_test"] is False
    assert values(free, "method")["views"] == {"scales": [0.94, 1.08]}  # a second look
    assert "views" not in values(paired, "method")
    assert values(paired, "view")["weak"]["flip_probability"] == 0.5
    assert values(paired, "evaluation")["flip_test"] is True


def test_pck_unit_is_the_longest_distance_where_names_tell_no_torso(tmp_path):
    formats.write_deeplabcut(tmp_path, TWELVE, {"a": "head_top", "b": "neck", "c": "left_ankle"})
    decisions = decided(tmp_path)
    assert values(decisions, "source")["torso"] == [0, 2]
    assert values(decisions, "evaluation")["pck_threshold"] == 0.1


def test_frames_of_videos_are_counted(tmp_path):
    formats.write_lightning_pose(tmp_path, TWELVE)
    frames = [np.full((16, 16, 3), 20 * place, np.uint8) for place in range(9)]
    save_video(tmp_path / "videos" / "other.avi", frames)
    decisions = decided(tmp_path)
    assert values(decisions, "source")["frames"] == 9
    assert "unlabeled_includes_labeled" not in values(decisions, "split")
    boxed = decided(tmp_path, box="keypoints")  # of which frames have none
    assert values(boxed, "source")["frames"] == 0
    assert values(boxed, "split")["unlabeled_includes_labeled"] is True


@pytest.mark.parametrize("seed", range(5))
def test_people_who_share_images_can_be_split_as_decided(tmp_path, seed):
    formats.write_label_studio(tmp_path, pictures(9, seed=3, people=3))
    project = read_project(tmp_path, find_project(tmp_path), {})
    chosen = SplitConfig.model_validate(values(decide(project, "cpu"), "split"))
    parts = split(project.people, chosen, seed)
    assert len(parts.labeled) >= 27 - 10 - 2 and len(parts.validation) >= 10
    assert not set(parts.labeled.paths) & set(parts.validation.paths)


@pytest.mark.parametrize(("images", "people"), [(5, 1), (6, 1), (7, 1), (8, 1), (3, 3), (9, 1)])
def test_few_labels_leave_enough_to_learn_from(images, people, tmp_path):
    """Of fewer than four labeled people the default method can hold out nobody."""
    formats.write_label_studio(tmp_path, pictures(images, seed=3, people=people))
    project = read_project(tmp_path, find_project(tmp_path), {})
    chosen = SplitConfig.model_validate(values(decide(project, "cpu"), "split"))
    for seed in range(5):
        parts = split(project.people, chosen, seed)
        assert len(parts.validation) >= 1
        assert len(held_out_rows(len(parts.labeled), 0.15, seed)) >= 2


@pytest.mark.parametrize(("images", "people"), [(4, 1), (2, 3)])
def test_labels_that_a_split_would_use_up_are_refused(images, people, tmp_path):
    formats.write_label_studio(tmp_path, pictures(images, seed=3, people=people))
    project = read_project(tmp_path, find_project(tmp_path), {})
    with pytest.raises(BadInput, match=f"and {images * people} are there"):
        decide(project, "cpu")


def only_videos(folder: Path) -> str:
    save_video(folder / "a.avi", [np.zeros((16, 16, 3), np.uint8)])
    return r"labels are needed, and it holds only 1 videos and 0 images\. Label 20 to 100"


def nothing(folder: Path) -> str:
    return r"must hold labeled images of a known form, and does not\. Known are DeepLabCut"


def one_above(folder: Path) -> str:
    formats.write_deeplabcut(folder / "inside", TWELVE)
    return r"but inside in it does\. Start there: sspcm-kedro start .*inside"


def few_labels(folder: Path) -> str:
    formats.write_deeplabcut(folder, TWELVE[:2])
    return r"at least 4 labeled people are needed beside those to validate on, and 2 are there"


def lost_images(folder: Path) -> str:
    formats.write_coco(folder, TWELVE, SIX)
    shutil.rmtree(folder / "images")
    return r"its first image, \S+, must lie in"


@pytest.mark.parametrize("break_it", [only_videos, nothing, one_above, few_labels, lost_images])
def test_a_bad_folder_is_one_sentence(break_it, conf, tmp_path):
    folder = tmp_path / "project"
    folder.mkdir()
    said = break_it(folder)
    done = start(str(folder))
    assert done.exit_code == 1
    errors = [line for line in done.output.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1 and re.search(said, errors[0])
    assert "Traceback" not in done.output
    assert not (conf / "project").exists()


def coco_beside(folder: Path, others: dict[str, int], *, whole: bool) -> dict:
    """COCO people of 12 and 6 images, further images beside them, and what start says of source."""
    formats.write_coco(folder, TWELVE, SIX)
    for number, (place, many) in enumerate(others.items()):
        shown = pictures(many, seed=10 + number)
        formats.save_images(folder / place, shown, [f"more_{one}.jpg" for one in range(many)])
    if whole:
        for file in (folder / "annotations").glob("*.json"):
            content = json.loads(file.read_text())
            sizes = {image["id"]: (image["width"], image["height"]) for image in content["images"]}
            for person in content["annotations"]:
                person["bbox"] = [0, 0, *sizes[person["image_id"]]]
            file.write_text(json.dumps(content))
    return {key: value for key, (value, _) in read_project(folder, find_project(folder), {})
            .source.items()}  # fmt: skip


def test_images_beside_labeled_ones_are_learned_from(tmp_path, caplog):
    folder = tmp_path / "p"
    source = coco_beside(folder, {"images/train2017": 4, "images/new": 3, "extra": 2}, whole=True)
    assert source["unlabeled"] == {"images": "images"}
    people = parse("source", source, SourceConfig).root.read()
    assert len(people.unlabeled) == 4 + 3
    assert {Path(path).name[:5] for path in people.unlabeled.paths} == {"more_"}
    assert "are not learned from (2 in extra)" in caplog.text
    decisions = decide(read_project(folder, find_project(folder), {}), "cpu")
    assert "unlabeled_includes_labeled" not in decisions["split"]


def test_lists_that_lie_beside_their_images_are_found(tmp_path):
    """As Roboflow writes them: a folder a part, with its list and its images."""
    folder = tmp_path / "p"
    formats.write_coco(folder, TWELVE, SIX)
    for part, old in (("train", "train2017"), ("valid", "val2017")):
        shutil.move(folder / "images" / old, folder / part)
        old_list = folder / "annotations" / f"person_keypoints_{old}.json"
        shutil.move(old_list, folder / part / "_annotations.coco.json")
    (folder / "each").mkdir()
    for number in range(30):  # no lists: one of an image each, as labelme has them
        (folder / "each" / f"{number}.json").write_text('{"shapes": []}')
    found = find_project(folder)
    assert found.kind == "coco"
    assert {name: part for name, (part, _) in found.settings.items()} == {
        "train": {"annotations": "train/_annotations.coco.json", "images": "train"},
        "validation": {"annotations": "valid/_annotations.coco.json", "images": "valid"},
    }
    people = read_project(folder, found, {}).people
    assert (len(people.annotated), len(people.validation)) == (12, 6)


def of_windows(folder: Path, file: Path, content: dict) -> str:
    for image in content["images"]:
        image["file_name"] = "images\\train2017\\" + image["file_name"]
    return "."


def of_macos(folder: Path, file: Path, content: dict) -> str:
    """Its files have the one form of an umlaut, and its list the other."""
    for image in content["images"]:
        old = folder / "images/train2017" / image["file_name"]
        old.rename(old.with_name(f"m\u00e4use{old.name}"))
        image["file_name"] = f"ma\u0308use{old.name}"
    return "images/train2017"


def without_the_first(folder: Path, file: Path, content: dict) -> str:
    """Nobody is on it, and it has been deleted."""
    content["images"].insert(0, {**content["images"][0], "id": 77_777, "file_name": "gone.jpg"})
    return "images/train2017"


@pytest.mark.parametrize("write", [of_windows, of_macos, without_the_first])
def test_images_are_found_by_the_names_that_ingestion_takes(write, tmp_path):
    formats.write_coco(tmp_path, TWELVE, SIX)
    file = tmp_path / "annotations/person_keypoints_train2017.json"
    content = json.loads(file.read_text())
    place = write(tmp_path, file, content)
    file.write_text(json.dumps(content))
    found = find_project(tmp_path)
    assert found.settings["train"][0]["images"] == place
    assert len(read_project(tmp_path, found, {}).people.annotated) == 12


@pytest.mark.parametrize(
    ("tables", "labels", "validation"),
    [
        (["", "_new"], "", "_new"),
        (["_ann", "_new"], "_ann", "_new"),
        (["_bot", "_top", "_top_new"], "_bot", None),
        (["_bot", "_top", "_bot_new", "_top_new"], "_bot", "_bot_new"),
    ],
)
def test_a_view_is_validated_on_its_own_table(tables, labels, validation, tmp_path):
    for name in tables:
        (tmp_path / f"CollectedData{name}.csv").touch()
    named = {key: value for key, (value, _) in find_project(tmp_path).settings.items()}
    assert named["labels"] == f"CollectedData{labels}.csv"
    assert named.get("validation") == (validation and f"CollectedData{validation}.csv")


def test_all_files_of_annotations_are_looked_into(tmp_path):
    formats.write_coco(tmp_path, TWELVE, SIX)
    for number in range(30):
        (tmp_path / "annotations" / f"captions_{number}.json").write_text("{}")
    assert set(find_project(tmp_path).settings) == {"train", "validation"}


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("annotations/person_keypoints_val2017.json", "validation"),
        ("valid/_annotations.coco.json", "validation"),
        ("poses-Val.json", "validation"),
        ("test/_annotations.coco.json", "test"),
        ("latest/train.json", "train"),
        ("trainval.json", "train"),
        ("intervals.json", "train"),
    ],
)
def test_a_list_is_of_the_part_that_its_name_says(name, part, tmp_path):
    formats.write_coco(tmp_path, TWELVE, SIX)
    content = (tmp_path / "annotations" / "person_keypoints_train2017.json").read_text()
    shutil.rmtree(tmp_path / "annotations")
    for file in ("other.json", name):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        if file != "other.json" or part != "train":
            (tmp_path / file).write_text(content)
    named = {
        key: value["annotations"] for key, (value, _) in find_project(tmp_path).settings.items()
    }
    assert (named.get(part) == name) == (part != "test")
    assert named["train"] == (name if part == "train" else "other.json")


def test_what_is_learned_from_is_shown(conf, tmp_path):
    coco_beside(tmp_path / "p", {"extra": 2}, whole=True)
    done = start(str(tmp_path / "p"), "--name", "mine")
    assert re.search(r"source\.unlabeled\W+\{'images': 'extra'\}\W+2 images in it", done.output)


def test_images_beside_people_in_boxes_are_said_to_need_boxes(tmp_path, caplog):
    source = coco_beside(tmp_path / "p", {"extra": 2}, whole=False)
    assert "unlabeled" not in source
    assert re.search(r"2 images of .* have no labels and are not learned from: labeled people "
                     r"have \d+ % of their images", caplog.text)  # fmt: skip


def test_what_the_user_says_of_unlabeled_images_comes_first(tmp_path):
    coco_beside(tmp_path / "p", {"extra": 2, "new": 1}, whole=True)
    given = {"unlabeled": "new"}  # --source unlabeled=new
    project = read_project(tmp_path / "p", find_project(tmp_path / "p"), given)
    assert project.source["unlabeled"] == ("new", "you said so")
    assert project.unlabeled == 1


def test_an_environment_is_written_over_with_force_only(conf, tmp_path):
    formats.write_deeplabcut(tmp_path / "project", TWELVE)
    (conf / "project").mkdir()
    refused = start(str(tmp_path / "project"))
    assert refused.exit_code == 1 and "is not written over" in refused.output
    assert not list((conf / "project").iterdir())
    assert start(str(tmp_path / "project"), "--force").exit_code == 0
    assert (conf / "project" / "parameters.yml").is_file()


def test_the_installed_command_has_it_too(tmp_path, monkeypatch, configured):
    monkeypatch.setattr("sspcm_kedro.__main__.configure_project", lambda name: None)  # it is
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ClickException, match=r"must hold the settings of a project \(conf/base\)"):
        main(["start", str(tmp_path)], standalone_mode=False)


@pytest.mark.parametrize("name", ["a/b", "..", "base", "local", "", "a b", "-x"])
def test_a_name_is_one_of_a_folder(name, tmp_path):
    with pytest.raises(BadInput, match="the name of an environment must be"):
        need_new_environment(tmp_path, name, force=True)


def test_a_folders_name_becomes_one():
    assert name_for(Path("/x/My mouse-2018 (a)")) == "my_mouse_2018_a"
    assert name_for(Path("/x/é")) == "mine"


def test_a_run_costs_its_steps(configured, monkeypatch):
    typed = load_parameters(ROOT / "conf", "smoke")
    training = typed["training"].model_copy(update={"steps": 300})
    monkeypatch.setattr("sspcm_kedro.start.cost.seconds_of_step", lambda *_: 2.0)
    people = {"labeled": 12, "unlabeled": 16, "validation": 8}
    hours, seconds = hours_of_run({**typed, "training": training}, 17, people)
    in_rounds = 300 * (training.epochs - training.warmup_epochs) * seconds / 3600
    assert in_rounds < hours < 4 * in_rounds  # with warm-up, and the baseline's steps
    assert seconds_of_step(
        typed["method"], typed["network"], typed["view"], training, MachineConfig(device="cpu"), 17
    ) > 0  # fmt: skip


@pytest.mark.parametrize(
    ("labeled", "unlabeled", "said"),
    [(50, 0, "No image without labels"), (100, 200, "Only 2.0 unlabeled images a label"),
     (20, 2000, "20 labels are few"), (500, 5000, "enough of both")],
)  # fmt: skip
def test_what_would_help_is_a_guess_by_numbers(labeled, unlabeled, said):
    sentence = which_helps(labeled, unlabeled, "mine")
    assert said in sentence and sentence.endswith("make curve ENV=mine measures it.")


def test_a_sleap_project_is_read_with_the_frames_of_its_video(tmp_path):
    sio = pytest.importorskip("sleap_io")
    frames = [np.full((48, 64, 3), 20 * place, np.uint8) for place in range(8)]
    save_video(tmp_path / "run.avi", frames)
    skeleton = sio.Skeleton([sio.Node("nose"), sio.Node("tail")])
    about = {"type": "MediaVideo", "shape": [8, 48, 64, 3], "filename": "run.avi",
             "grayscale": False, "bgr": True, "dataset": "", "input_format": ""}  # fmt: skip
    video = sio.Video("run.avi", open_backend=False, backend_metadata=about)
    points = np.array([[10.0, 10.0], [40.0, 20.0]])
    labels = [sio.LabeledFrame(video, place, [sio.Instance.from_numpy(points + place, skeleton)])
              for place in range(6)]  # fmt: skip
    sio.Labels(labels, skeletons=[skeleton]).save(str(tmp_path / "mouse.slp"), verbose=False)
    decisions = decided(tmp_path)
    source = values(decisions, "source")
    assert (source["kind"], source["labels"], source["frames"]) == ("sleap", "mouse.slp", 2)
    assert values(decisions, "split")["validation"] == 2
