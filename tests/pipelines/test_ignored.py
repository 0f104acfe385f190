"""Crowds and people without labeled keypoints, from annotation files to AP.

The oracle is pycocotools on the annotation files as they are.
"""

import contextlib
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pycocotools.coco import COCO as COCO_API
from pycocotools.cocoeval import COCOeval

from formats import Picture, pictures, save_json, write_coco, write_crowdpose, write_ochuman
from sspcm_kedro.data.instances import Instances
from sspcm_kedro.data.split import SplitConfig
from sspcm_kedro.data.views import ViewConfig
from sspcm_kedro.data.whose import whose
from sspcm_kedro.datasets.instances import InstancesDataset, PartsDataset
from sspcm_kedro.engine.evaluate import EvaluationConfig, detect
from sspcm_kedro.engine.predict import to_image
from sspcm_kedro.errors import BadInput
from sspcm_kedro.pipelines.evaluation.nodes import score_networks
from sspcm_kedro.pipelines.ingestion.nodes import read_people, split_people
from sspcm_kedro.pose.coco_ap import METRICS
from sspcm_kedro.pose.geometry import crop_matrix, move_points
from sspcm_kedro.pose.skeleton import union_channels
from sspcm_kedro.sources import SourceConfig
from sspcm_kedro.sources.annotation_import import AnnotationImportConfig

VIEW, EVALUATION = ViewConfig(), EvaluationConfig()
TABLES = ("labeled", "unlabeled", "validation", "hidden_truth", "ignored")
SHOWN = [
    [*pictures(3, seed, people=4, image_hw=(110, 420)),
     *pictures(3, seed + 10, people=4, image_hw=(260, 1000))]
    for seed in range(2)
]  # fmt: skip
"""Two sets of images, of medium and of large people, four an image."""


def hide_some(file: Path) -> None:
    """Of each four people the third has no labeled keypoint, and the fourth is a crowd."""
    content = json.loads(file.read_text())
    for number, person in enumerate(content["annotations"]):
        if number % 4 >= 2:
            person.update(num_keypoints=0, keypoints=[0] * len(person["keypoints"]))
            person["iscrowd"] = int(number % 4 == 3)
    # Somebody else whom nobody labeled, on an image where nobody is to be found.
    size = {"height": 50, "width": 60}
    content["images"].append({"id": 77, "file_name": "of nobody.jpg", **size})
    content["annotations"].append({
        **content["annotations"][2], "id": 990, "image_id": 77, "bbox": [1, 1, 20, 30]
    })  # fmt: skip
    file.write_text(json.dumps(content))


def renumber(file: Path, other: Path) -> None:
    """The ids of a file are those of another from now on."""
    content, model = (json.loads(path.read_text()) for path in (file, other))
    new = {}
    for image, theirs in zip(content["images"], model["images"], strict=True):
        new[image["id"]] = image["id"] = theirs["id"]
    before = {person["image_id"] for person in content["annotations"]}
    mapping = dict(zip(sorted(before), sorted(new.values()), strict=True))
    for person, theirs in zip(content["annotations"], model["annotations"], strict=True):
        person.update(id=theirs["id"], image_id=mapping[person["image_id"]])
    file.write_text(json.dumps(content))


@dataclass
class Case:
    """A source, how it is split, the file of the validation people, and the images of them."""

    source: dict[str, Any]
    split: dict[str, Any]
    file: Path
    shown: list[Picture]


def coco(root: Path) -> tuple[dict[str, Any], list[Path]]:
    """COCO whose two annotated parts use the same ids."""
    record = write_coco(root, *SHOWN)
    files = [
        root / "annotations" / f"person_keypoints_{part}2017.json" for part in ("train", "val")
    ]
    renumber(files[1], files[0])
    for file in files:
        hide_some(file)
    return record, files


def validation_part(root: Path) -> Case:
    record, files = coco(root)
    return Case(record, {"labeled": 2}, files[1], SHOWN[1])


def first_of_it(root: Path) -> Case:
    record, files = coco(root)
    return Case(record, {"labeled": 2, "validation": 8}, files[1], SHOWN[1][:4])


def held_out(root: Path) -> Case:
    record, files = coco(root)
    del record["validation"]
    return Case(record, {"labeled": 2, "validation": 8}, files[0], SHOWN[0][-4:])


def another_set_of_a_mix(root: Path) -> Case:
    record, _ = coco(root / "coco")
    ochuman = write_ochuman(root / "ochuman", SHOWN[1])
    file = next((root / "ochuman" / "annotations").iterdir())
    hide_some(file)
    mix = {"kind": "union", "sources": {"coco": record, "ochuman": ochuman},
           "labeled": ["coco"], "validation": "ochuman"}  # fmt: skip
    split = {"labeled": "all", "unlabeled_includes_labeled": True}
    return Case(mix, split, file, SHOWN[1])


def held_out_of_a_mix(root: Path) -> Case:
    """The last people of the last of two sets with the same ids."""
    parts = {}
    for name in ("a", "b"):
        record, files = coco(root / name)
        del record["validation"]
        parts[name] = record
    mix = {"kind": "union", "sources": parts, "labeled": ["a", "b"]}
    return Case(mix, {"labeled": 4, "validation": 6}, files[0], SHOWN[0][-3:])


def crowdpose(root: Path) -> Case:
    record = write_crowdpose(root, *SHOWN)
    file = root / "annotations" / "mmpose_crowdpose_test.json"
    hide_some(file)
    return Case(record, {"labeled": 2}, file, SHOWN[1])


CASES = (
    validation_part,
    first_of_it,
    held_out,
    another_set_of_a_mix,
    held_out_of_a_mix,
    crowdpose,
)


def ingest(case: Case, folder: Path) -> dict[str, Any]:
    """All tables, read back from their files, and the skeleton."""
    instances, skeleton, _ = read_people(SourceConfig.model_validate(case.source))
    stored = PartsDataset(filepath=str(folder / "03_primary" / "instances.parquet"))
    stored.save(instances)
    config = SplitConfig.model_validate(case.split)
    parts = split_people(stored.load(), skeleton, config, AnnotationImportConfig(), 0)
    found: dict[str, Any] = {"instances": stored.load(), "skeleton": skeleton}
    for name, part in zip(TABLES, parts, strict=True):
        dataset = InstancesDataset(filepath=str(folder / "05_model_input" / f"{name}.parquet"))
        dataset.save(part)
        found[name] = dataset.load()
    return found


def seen(case: Case, tables: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Of the two people of an image the first is found more or less, the second, more surely, at
    the place of somebody whom nobody labeled."""
    rng = np.random.default_rng(5)
    people, skeleton = tables["validation"], tables["skeleton"]
    channels, n = list(skeleton.evaluated_channels), len(people)
    own = list(union_channels(skeleton.evaluated))
    points = np.zeros((n, skeleton.size, 2))
    for row in range(n):
        figures, second = case.shown[row // 2].people, row % 2
        place = figures[2 + row // 2 % 2 if second else 0].joints[own]
        tall = people.boxes[row, 3] - people.boxes[row, 1]
        off = rng.normal(0, tall * rng.uniform(0.005, 0.06), place.shape)
        points[row, channels] = place + (0 if second else off)
    matrix = torch.from_numpy(crop_matrix(people.boxes, VIEW.frame))
    scores = rng.uniform(0.3, 0.6, (n, skeleton.size)) + 0.3 * (np.arange(n) % 2)[:, None]
    return {
        "student.keypoints": move_points(torch.from_numpy(points), matrix).float(),
        "student.scores": torch.from_numpy(scores).float(),
    }


def by_hand(case: Case, tables: dict[str, Any], found: dict[str, torch.Tensor]) -> list[float]:
    """What pycocotools says of the annotation file and a file of results."""
    people, skeleton = tables["validation"], tables["skeleton"]
    channels, sigmas = list(skeleton.evaluated_channels), np.array(skeleton.evaluated.sigmas)
    places = to_image(found["student.keypoints"][:, channels], people, VIEW.frame)
    rows, detections = detect(
        places, found["student.scores"][:, channels], people, VIEW.frame, sigmas, EVALUATION
    )
    images = people.source_image_ids.astype(int)
    results = [
        {"image_id": int(images[row]), "category_id": 1, "score": float(score),
         "keypoints": np.column_stack([xy, np.ones(len(xy))]).ravel().tolist()}
        for row, xy, score in zip(rows, detections.keypoints, detections.scores, strict=True)
    ]  # fmt: skip
    content = json.loads(case.file.read_text())
    for person in content["annotations"]:
        person.setdefault("area", 0.53 * person["bbox"][2] * person["bbox"][3])
    content["info"] = {}
    annotations, answers = case.file.with_name("as.json"), case.file.with_name("results.json")
    save_json(annotations, content)
    save_json(answers, results)
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO_API(str(annotations))
        evaluation = COCOeval(truth, truth.loadRes(str(answers)), "keypoints")
        evaluation.params.kpt_oks_sigmas = sigmas
        evaluation.params.imgIds = sorted(set(images.tolist()))
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return [float("nan") if value < 0 else float(value) for value in evaluation.stats]


def score(tables: dict[str, Any], found: dict[str, torch.Tensor], ignored: Instances):
    return score_networks(
        {**found, **whose(tables["validation"])},
        tables["validation"],
        ignored,
        tables["skeleton"],
        VIEW,
        EVALUATION,
    )["student"]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case.__name__)
def ingested(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param.__name__)
    case = request.param(folder / "01_raw")
    return case, ingest(case, folder)


def test_ap_is_that_of_pycocotools_on_the_annotation_file(ingested):
    case, tables = ingested
    assert len(tables["validation"]) == 2 * len(case.shown)
    found = seen(case, tables)
    ours = score(tables, found, tables["ignored"])
    expected = by_hand(case, tables, found)
    np.testing.assert_allclose([ours[name] for name in METRICS], expected, rtol=0, atol=1e-12)
    assert 0.2 < ours["AP"] < 0.5
    without = score(tables, found, tables["ignored"].take(slice(0)))
    assert without["AP"] < ours["AP"] - 0.1


def test_the_ignored_are_on_images_of_validation_people_and_nowhere_else(ingested):
    case, tables = ingested
    ignored, validation = (tables[n] for n in ("ignored", "validation"))
    assert ignored.crowds.tolist() == [False, True] * len(case.shown)
    assert not ignored.visibility.any() and not ignored.keypoints.any()
    image_of = dict(zip(validation.paths, validation.image_ids, strict=True))
    assert [image_of[path] for path in ignored.paths] == ignored.image_ids.tolist()
    others = [tables[n] for n in TABLES[:4]]
    assert not set(ignored.ids) & {i for part in others for i in part.ids}
    unlearned = others[3].take(~np.isin(others[3].ids, others[0].ids))
    assert all(part.visibility.any(axis=1).all() for part in (others[0], validation, unlearned))
    assert not any(part.crowds.any() for part in others)
    assert not any("crowd" in tables[name].to_frame() for name in TABLES[:4])


def test_their_boxes_and_areas_are_as_annotated(ingested):
    case, tables = ingested
    ignored = tables["ignored"]
    record = {a["id"]: a for a in json.loads(case.file.read_text())["annotations"]}
    for row, number in enumerate(ignored.source_ids.astype(int)):
        x, y, w, h = record[number]["bbox"]
        assert ignored.boxes[row].tolist() == pytest.approx([x, y, x + w, y + h], rel=1e-6)
        area = record[number].get("area", 0.53 * w * h)
        assert ignored.areas[row] == pytest.approx(area, rel=1e-6)
        assert ignored.crowds[row] == record[number]["iscrowd"]


def test_a_box_that_is_none_is_refused(tmp_path):
    record, files = coco(tmp_path)
    content = json.loads(files[1].read_text())
    content["annotations"][3]["bbox"] = [1, 2, 3]
    save_json(files[1], content)
    with pytest.raises(BadInput, match=r"val2017\.json, annotation 4: 'bbox' must hold 4 finite"):
        read_people(SourceConfig.model_validate(record))


def test_a_box_without_width_is_as_good_as_any(tmp_path):
    """COCO's own files have some; nobody looks into it."""
    record, files = coco(tmp_path)
    content = json.loads(files[1].read_text())
    content["annotations"][3]["bbox"] = [1, 2, 0, 9]
    save_json(files[1], content)
    instances, *_ = read_people(SourceConfig.model_validate(record))
    counts = {part: len(people) for part, people in instances.items()}
    assert counts == {"annotated": 12, "validation": 12, "ignored": 12}
