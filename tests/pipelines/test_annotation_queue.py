"""There and back: who goes out, what tools get to see, and what training makes of what returns."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.io
import torch
from kedro.io import DatasetError
from PIL import Image
from pycocotools.coco import COCO
from pydantic import ValidationError

from sspcm_kedro.augment.affine import AffineConfig
from sspcm_kedro.data.instances import Instances
from sspcm_kedro.data.split import SplitConfig
from sspcm_kedro.data.views import ViewConfig
from sspcm_kedro.data.whose import whose
from sspcm_kedro.datasets.annotation_queue import ANNOTATIONS, IMAGES, AnnotationQueueDataset
from sspcm_kedro.engine.optimizer import TrainingConfig
from sspcm_kedro.engine.stage import make_batches
from sspcm_kedro.errors import BadInput
from sspcm_kedro.machine import MachineConfig
from sspcm_kedro.pipelines.annotation_queue.nodes import QueueConfig, select_people
from sspcm_kedro.pipelines.ingestion.nodes import read_people, split_people
from sspcm_kedro.pose.skeleton import UnionTraining
from sspcm_kedro.sources import CocoSource, DrawnSource, LspetSource, SourceConfig
from sspcm_kedro.sources.annotation_import import AnnotationImportConfig
from sspcm_kedro.sources.coco_format import read_coco

HW = (64, 48)
STILL = AffineConfig(scale=0, rotation=0, rotation_probability=0, flip_probability=0)
VIEW = ViewConfig(input_hw=HW, border=0, weak=STILL)
MACHINE = MachineConfig(device="cpu", workers=1)
SPLIT = {"drawn": {}, "coco": {"validation": 1}, "lspet": {"validation": 1}}


def source_of(kind: str, drawn: Path, folder: Path):
    """A source of each kind."""
    if kind == "drawn":
        return DrawnSource(annotated=1, unlabeled=1, validation=1), drawn
    if kind == "coco":
        part = {"annotations": "annotations/person_keypoints_train.json", "images": "images/train"}
        return CocoSource.model_validate({"root": drawn, "train": part}), None
    (folder / "images").mkdir(parents=True)
    rng, joints = np.random.default_rng(0), np.ones((14, 3, 9))
    joints[:, :2] = rng.integers((20, 30), (90, 80), (9, 14, 2)).transpose(1, 2, 0)
    scipy.io.savemat(folder / "joints.mat", {"joints": joints})
    for number in range(1, 10):
        pixels = rng.integers(0, 255, (100, 120, 3), np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"im{number:05d}.jpg")
    return LspetSource(root=folder), None


class Ingested:
    """The tables of one source, before and after labels have come back."""

    def __init__(self, kind: str, drawn: Path, folder: Path) -> None:
        source, drawn_folder = source_of(kind, drawn, folder)
        self.instances, self.skeleton, _ = read_people(SourceConfig(source), drawn_folder)
        self.split = SplitConfig.model_validate({"labeled": 3, **SPLIT[kind]})
        self.labeled, self.unlabeled, *_ = self.again(AnnotationImportConfig())

    def again(self, annotation_import: AnnotationImportConfig) -> tuple[Instances, ...]:
        return split_people(self.instances, self.skeleton, self.split, annotation_import, 0)

    def corrected(self) -> dict[str, torch.Tensor]:
        """Corrected labels of a round that saw noise."""
        n, k, rng = len(self.unlabeled), self.skeleton.size, np.random.default_rng(1)
        return {
            **whose(self.unlabeled),
            "keypoints": torch.tensor(rng.uniform(5, 40, (n, k, 2)), dtype=torch.float32),
            "inconsistency": torch.tensor(rng.uniform(0, 1, (n, k)), dtype=torch.float32),
            "kept": torch.tensor(rng.integers(0, 2, (n, k)), dtype=torch.uint8),
        }

    def queue(self, people: int, **changed):
        inputs = {
            "corrected": self.corrected(), "labeled": self.labeled,
            "unlabeled": self.unlabeled, "skeleton": self.skeleton, "view": VIEW,
            "config": QueueConfig(people=people), "machine": MACHINE,
        }  # fmt: skip
        return select_people(**{**inputs, **changed})


@pytest.fixture(scope="module", params=["drawn", "coco", "lspet"])
def ingested(request, drawn_project, tmp_path_factory) -> Ingested:
    drawn = drawn_project.data / "01_raw" / "drawn"
    return Ingested(request.param, drawn, tmp_path_factory.mktemp("source") / "lspet")


def image_points(points: np.ndarray, person: pd.Series) -> np.ndarray:
    """Points of the 64 x 48 view in image pixels: the box grown to 4:3, then by a quarter."""
    width = 1.25 * max(person.x1 - person.x0, (person.y1 - person.y0) * HW[1] / HW[0])
    center = np.array([(person.x0 + person.x1) / 2, (person.y0 + person.y1) / 2])
    return (points - np.array(HW[::-1]) / 2) * width / HW[1] + center


def test_channels_that_nothing_teaches_stay_out(ingested):
    """Their noise neither ranks people nor is drafted."""
    if ingested.skeleton.size != 17:
        pytest.skip("the channels below are COCO's")
    corrected, taught = ingested.corrected(), list(range(12))
    union = UnionTraining(tuple(taught), ingested.skeleton, tuple(range(17)))
    skeleton = replace(ingested.skeleton, union=union)
    quiet = corrected["inconsistency"].clone()
    quiet[:, 12:] = 0
    written, _ = ingested.queue(4, skeleton=skeleton, corrected=corrected)
    expected, _ = ingested.queue(4, corrected={**corrected, "inconsistency": quiet})
    order = [person["id"] for person in written["annotations"]["annotations"]]
    assert order == [person["id"] for person in expected["annotations"]["annotations"]]
    means = corrected["inconsistency"][:, :12].double().mean(dim=1)
    rows = [ingested.unlabeled.ids.tolist().index(number) for number in order]
    assert means[rows].tolist() == sorted(means.tolist(), reverse=True)[:4]
    for person in written["annotations"]["annotations"]:
        drafts = np.array(person["keypoints"]).reshape(-1, 3)
        assert not drafts[12:].any() and drafts[:12, 2].all()
        assert person["num_keypoints"] == 12


def test_the_most_inconsistent_go_out_with_their_pseudo_labels(ingested):
    written, sheet = ingested.queue(4)
    corrected, unlabeled = ingested.corrected(), ingested.unlabeled
    means = [float(np.mean(row.tolist())) for row in corrected["inconsistency"]]
    worst = sorted(range(len(means)), key=lambda row: -means[row])[:4]
    people = written["annotations"]["annotations"]
    assert [person["id"] for person in people] == unlabeled.ids[worst].tolist()
    images = {image["id"]: image for image in written["annotations"]["images"]}
    for row, person in zip(worst, people, strict=True):
        known = unlabeled.to_frame().iloc[row]
        assert person["inconsistency"] == pytest.approx(means[row], abs=1e-4)
        found = np.array(person["keypoints"]).reshape(-1, 3)
        expected = image_points(corrected["keypoints"][row].double().numpy(), known)
        expected = np.clip(expected, 0, [known.width - 1, known.height - 1])
        np.testing.assert_allclose(found[:, :2], expected, atol=0.02)
        assert found[:, 2].tolist() == (corrected["kept"][row] + 1).tolist()
        np.testing.assert_allclose(
            person["bbox"],
            [known.x0, known.y0, known.x1 - known.x0, known.y1 - known.y0],
            atol=0.01,
        )
        image = images[person["image_id"]]
        assert written["images"][image["file_name"]] == known.path
        assert (image["height"], image["width"]) == (known.height, known.width)
    assert len(sheet.axes) == 4
    assert [ax.get_title()[:2] for ax in sheet.axes] == ["1 ", "2 ", "3 ", "4 "]


def test_drafts_for_deeplabcut_are_of_the_scorer_of_the_settings(ingested):
    config = QueueConfig(people=1, formats=("deeplabcut",), scorer="ann")
    written, _ = ingested.queue(1, config=config)
    (name,) = written["exports"]
    assert name == "deeplabcut/CollectedData_ann.csv"
    assert written["exports"][name].startswith(b"scorer,ann,ann")
    with pytest.raises(ValidationError, match="scorer"):
        QueueConfig(scorer="../ann")


def test_fewer_people_than_asked_for(ingested):
    written, _ = ingested.queue(1000)
    assert len(written["annotations"]["annotations"]) == len(ingested.unlabeled)


def test_tools_and_this_project_can_read_it(ingested, tmp_path):
    dataset = AnnotationQueueDataset(str(tmp_path / "queue"))
    written, _ = ingested.queue(4)
    dataset.save(written)
    assert dataset.load() == json.loads(json.dumps(written["annotations"]))
    folder, skeleton = tmp_path / "queue", ingested.skeleton
    coco = COCO(folder / ANNOTATIONS)
    (category,) = coco.loadCats(coco.getCatIds())
    assert tuple(category["keypoints"]) == skeleton.names
    assert {tuple(limb) for limb in category["skeleton"]} == {
        (a + 1, b + 1) for a, b in skeleton.limbs
    }
    assert len(coco.getAnnIds()) == 4
    for image in coco.loadImgs(coco.getImgIds()):
        with Image.open(folder / IMAGES / image["file_name"]) as picture:
            assert picture.size == (image["width"], image["height"])
    people, found = read_coco(folder / ANNOTATIONS, folder / IMAGES)
    assert len(people) == 4 and found.names == skeleton.names


def test_returned_labels_are_what_training_aims_at(ingested, tmp_path):
    """Renumbered by the tool, in another order; the targets of the batches are theirs."""
    dataset = AnnotationQueueDataset(str(tmp_path / "queue"))
    dataset.save(ingested.queue(2)[0])
    shutil.move(tmp_path / "queue", tmp_path / "handed_out")
    draft = tmp_path / "handed_out" / ANNOTATIONS
    content = json.loads(draft.read_text())
    sent = [person["id"] for person in content["annotations"]]
    rng, drawn = np.random.default_rng(2), {}
    for number, person in enumerate(content["annotations"][::-1], start=1):
        known = ingested.unlabeled.to_frame().set_index("id").loc[person["id"]]
        view_points = rng.integers(2, 10, (len(person["keypoints"]) // 3, 2)) * 4.0
        drawn[person["id"]] = view_points
        points = image_points(view_points, known)
        person["keypoints"] = np.column_stack([points, np.full(len(points), 2)]).ravel().tolist()
        person["id"] = number
    content["annotations"].reverse()
    back = tmp_path / "handed_out" / "returned.json"
    back.write_text(json.dumps(content))

    annotation_import = AnnotationImportConfig.model_validate(
        {"files": [{"file": back, "draft": draft}]}
    )
    labeled, unlabeled, validation, truth, _ = ingested.again(annotation_import)
    before = ingested.unlabeled
    order = [i for i in before.ids if i in sent]
    assert labeled.ids.tolist() == [*ingested.labeled.ids, *order]
    assert unlabeled.ids.tolist() == [i for i in before.ids if i not in sent]
    assert truth.ids.tolist() == unlabeled.ids.tolist()
    assert not set(sent) & set(validation.ids)
    assert not unlabeled.visibility.any()

    training = TrainingConfig(batch=len(labeled), steps=1, rounds=1)
    batches = make_batches(
        labeled, None, None, ingested.skeleton, view=VIEW, training=training,
        machine=MACHINE, seed=0,
    )  # fmt: skip
    (batch,) = batches.epoch(0)
    peaks = batch.labeled.heatmaps.flatten(2).argmax(dim=2)
    places = torch.stack([peaks % 12, peaks // 12], dim=2).numpy() * 4
    for view_points in drawn.values():
        hits = (places == view_points).all(axis=(1, 2))
        assert hits.sum() == 1
        assert (batch.labeled.weights[torch.from_numpy(hits)] == 1).all()


def test_nobody_with_a_label_is_asked_for(ingested):
    """As where the unlabeled people include the labeled ones."""
    corrected = ingested.corrected()
    worst = int(corrected["inconsistency"].mean(dim=1).argmax())
    written, _ = ingested.queue(3, labeled=ingested.unlabeled.take([worst]))
    asked = [person["id"] for person in written["annotations"]["annotations"]]
    assert len(asked) == 3 and ingested.unlabeled.ids[worst] not in asked
    with pytest.raises(BadInput, match=r"unlabeled people: at least one person.*Add people"):
        ingested.queue(3, labeled=ingested.unlabeled)


def test_labels_of_other_people_are_refused(ingested):
    with pytest.raises(BadInput, match=r"of other people\. Run the rounds again"):
        ingested.queue(3, unlabeled=ingested.unlabeled.take(slice(1, None)))


@pytest.fixture
def one_image(tmp_path):
    """What a queue of one image saves; its path."""
    path = tmp_path / "turned.jpg"
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:, :30] = 250
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(path, exif=exif, quality=95)
    annotations = {"images": [{"id": 1, "file_name": "turned.jpg"}], "annotations": []}
    return {"annotations": annotations, "images": {"turned.jpg": str(path)}}


def test_tools_see_an_image_as_training_does(one_image, tmp_path):
    """Nothing turns it: the orientation tag is gone, the pixels are as they were."""
    AnnotationQueueDataset(str(tmp_path / "queue")).save(one_image)
    with Image.open(tmp_path / "queue" / IMAGES / "turned.jpg") as image:
        assert image.size == (60, 40) and 0x0112 not in image.getexif()
        pixels = np.asarray(image).astype(int)
    assert pixels[:, :25].min() > 230 and pixels[:, 35:].max() < 20


def test_a_queue_that_somebody_works_in_is_not_replaced(one_image, tmp_path):
    dataset = AnnotationQueueDataset(str(tmp_path / "queue"))
    dataset.save(one_image)
    dataset.save(one_image)  # as it was written: replaced
    returned = tmp_path / "queue" / "returned.json"
    returned.write_text("hours of work")
    with pytest.raises((BadInput, DatasetError), match=r"found returned.json. Move the folder"):
        dataset.save(one_image)
    assert returned.read_text() == "hours of work"


def test_a_queue_is_written_whole_or_not_at_all(one_image, tmp_path):
    missing = {**one_image, "images": {**one_image["images"], "b.jpg": str(tmp_path / "b.jpg")}}
    with pytest.raises(DatasetError, match=r"b\.jpg: the image must decode"):
        AnnotationQueueDataset(str(tmp_path / "queue")).save(missing)
    assert not (tmp_path / "queue").exists()
    assert {f.name for f in tmp_path.iterdir()} == {"turned.jpg"}


@pytest.fixture(scope="module")
def handed_out(make_project, trained_project):
    """A project after one round whose queue was handed out, and what came back: two people."""
    project = make_project("queue")
    shutil.copytree(trained_project.data, project.data)
    short = {"steps": 2, "warmup_epochs": 1, "round_epochs": 1, "rounds": 1}
    trained = {"training": short, "method": {"min_score": 0.0}}  # as that project was
    project.run("annotation_queue", **trained, annotation_queue={"people": 3})
    with Image.open(project.data / "08_reporting" / "annotation_queue.png") as sheet:
        assert len(np.unique(np.asarray(sheet.convert("RGB")).reshape(-1, 3), axis=0)) > 20
    folder = project.root / "queue_1"
    shutil.move(project.data / "08_reporting" / "annotation_queue", folder)
    content = json.loads((folder / ANNOTATIONS).read_text())
    content["annotations"] = content["annotations"][:2]
    for person in content["annotations"]:
        person["keypoints"] = [x if i % 3 == 2 else x / 2 for i, x in
                               enumerate(person["keypoints"])]  # fmt: skip
    return project, folder, content


def come_back(folder: Path, content: dict, name: str = "returned.json") -> dict:
    """Parameters of a run into which a file has come back."""
    (folder / name).write_text(json.dumps(content))
    files = [{"file": str(folder / name), "draft": str(folder / ANNOTATIONS)}]
    training = {"steps": 2, "warmup_epochs": 1, "round_epochs": 1, "rounds": 1}
    return {"annotation_import": {"files": files}, "training": training}


def weights(project) -> torch.Tensor:
    state = torch.load(project.data / "06_models" / "warmup" / "checkpoint.pt", weights_only=True)
    return torch.cat([v.flatten().float() for v in state["method"].values()])


def test_the_next_run_learns_from_what_came_back(handed_out, one_thread):
    project, folder, content = handed_out
    tables = project.data / "05_model_input"
    before = {n: pd.read_parquet(tables / f"{n}.parquet") for n in ("labeled", "unlabeled")}
    trained, learnt = weights(project), []
    for shift in (0, 5):
        moved = json.loads(json.dumps(content))
        for person in moved["annotations"]:
            person["keypoints"][0] += shift
        project.run("ingestion", "warmup", **come_back(folder, moved))
        after = {n: pd.read_parquet(tables / f"{n}.parquet") for n in before}
        people = content["annotations"]
        assert len(after["labeled"]) == len(before["labeled"]) + 2
        assert len(after["unlabeled"]) == len(before["unlabeled"]) - 2
        rows = after["labeled"].set_index("id")
        for person in moved["annotations"]:
            triples = np.array(person["keypoints"]).reshape(-1, 3)
            found = rows.loc[person["id"], "keypoints"].reshape(-1, 2)
            np.testing.assert_allclose(found, triples[:, :2], atol=1e-4)
        assert not {person["id"] for person in people} & set(after["unlabeled"]["id"])
        learnt.append(weights(project))
    assert not torch.equal(trained, learnt[0])
    assert not torch.equal(learnt[0], learnt[1])  # one keypoint of two people was put elsewhere


def test_a_bad_file_stops_the_run_before_training(handed_out):
    project, folder, content = handed_out
    bad = json.loads(json.dumps(content))
    bad["annotations"][1]["keypoints"][0] = float("nan")
    tables, trained = project.data / "05_model_input", weights(project)
    saved = (tables / "labeled.parquet").read_bytes()
    with pytest.raises(BadInput, match=r"bad.json, annotation \d+: 'keypoints' must be finite"):
        project.run("ingestion", "warmup", **come_back(folder, bad, "bad.json"))
    assert (tables / "labeled.parquet").read_bytes() == saved
    assert torch.equal(weights(project), trained)


def test_a_draft_that_nobody_looked_at_stops_the_run(handed_out):
    project, folder, _ = handed_out
    draft = json.loads((folder / ANNOTATIONS).read_text())
    with pytest.raises(BadInput, match=r"same.json, annotation .*still the draft.*2 more like it"):
        project.run("ingestion", **come_back(folder, draft, "same.json"))


def test_the_least_likely_right_go_out_first_where_that_is_measured(ingested):
    """Against the inconsistency, which would ask for others."""
    corrected = ingested.corrected()
    probability = 1 - corrected["inconsistency"].flip(0)
    written, _ = ingested.queue(3, corrected={**corrected, "probability": probability})
    wrong = (1 - probability).double().mean(dim=1).tolist()
    worst = sorted(range(len(wrong)), key=lambda row: -wrong[row])[:3]
    people = written["annotations"]["annotations"]
    assert [person["id"] for person in people] == ingested.unlabeled.ids[worst].tolist()
    for row, person in zip(worst, people, strict=True):
        assert person["probability_of_being_wrong"] == pytest.approx(wrong[row], abs=1e-4)
        assert "inconsistency" not in person
    by_pair, _ = ingested.queue(3)
    others = [person["id"] for person in by_pair["annotations"]["annotations"]]
    assert others != [person["id"] for person in people]


def test_drafts_go_out_in_the_formats_of_other_tools(ingested, tmp_path):
    config = QueueConfig(people=1, formats=("deeplabcut", "label_studio"))
    folder, dataset = tmp_path / "queue", AnnotationQueueDataset(str(tmp_path / "queue"))
    saved, _ = ingested.queue(1, config=config)
    dataset.save(saved)
    draft = json.loads((folder / ANNOTATIONS).read_text())
    points = np.reshape(draft["annotations"][0]["keypoints"], (-1, 3))
    table = pd.read_csv(folder / "exports/deeplabcut/CollectedData_sspcm.csv", header=[0, 1, 2],
                        index_col=0)  # fmt: skip
    name = draft["images"][0]["file_name"]
    assert table.index.tolist() == [f"labeled-data/default/{name}"]
    np.testing.assert_allclose(table.to_numpy().reshape(-1, 2), points[:, :2], atol=0.006)
    (task,) = json.loads((folder / "exports/label_studio/label_studio.json").read_text())
    assert task["data"]["image"].endswith(name)
    dataset.save(saved)  # as it was written: it is replaced
    (folder / "exports/deeplabcut/CollectedData_sspcm.csv").write_text("corrected in place")
    with pytest.raises(DatasetError, match=r"CollectedData_sspcm\.csv"):
        dataset.save(saved)
