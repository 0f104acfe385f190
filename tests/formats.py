"""Writes people in the file layouts of the published data sets: tiny, but of the same form.

``images`` draws people with all 24 keypoints of the union; one function a format writes them into
a folder as that set's own distribution has them and returns the ``source`` that reads them.
Coordinates here count from 0 and each writer turns them into what its format has.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import scipy.io
from PIL import Image, ImageDraw

from sspcm_kedro.pose.skeleton import (
    AIC,
    COCO,
    CROWDPOSE,
    FISHEYE,
    LSP,
    MPII,
    UNION,
    Skeleton,
    union_channels,
)

Record = dict[str, Any]

_STANDING = {  # a person of height 100 whose feet stand at y = 100, facing the viewer
    "pelvis": (0, 50), "right_hip": (-8, 50), "right_knee": (-9, 74), "right_ankle": (-10, 97),
    "left_hip": (8, 50), "left_knee": (9, 74), "left_ankle": (10, 97), "belly": (0, 40),
    "thorax": (0, 24), "neck": (0, 20), "upper_neck": (0, 17), "nose": (0, 10), "head": (0, 9),
    "head_top": (0, 1), "left_shoulder": (12, 24), "left_elbow": (16, 38), "left_wrist": (18, 52),
    "right_shoulder": (-12, 24), "right_elbow": (-16, 38), "right_wrist": (-18, 52),
    "right_eye": (-3, 8), "left_eye": (3, 8), "right_ear": (-5, 9), "left_ear": (5, 9),
}  # fmt: skip
_HEAD_BOX = ((-6.0, 0.0), (6.0, 16.0))
_TRUNK = [("head_top", "neck"), ("neck", "pelvis"), ("left_shoulder", "right_shoulder")]
_ARMS_AND_LEGS = [
    (f"{side}_{a}", f"{side}_{b}")
    for side in ("left", "right")
    for a, b in (("shoulder", "elbow"), ("elbow", "wrist"), ("hip", "knee"), ("knee", "ankle"))
]


@dataclass(frozen=True)
class Person:
    """One person in image pixels, from 0.

    Attributes:
        keypoints: (24, 2) all keypoints of the union, x, y.
        visibility: (24) 0 not annotated, 1 covered, 2 visible.
        box: x0, y0, x1, y1.
        head: x0, y0, x1, y1 of the head.
        score: of a detector.
    """

    joints: np.ndarray
    visibility: np.ndarray
    box: tuple[float, float, float, float]
    head: tuple[float, float, float, float]
    score: float = 0.9

    def triples(self, skeleton: Skeleton) -> np.ndarray:
        """(k, 3) x, y, visibility of a set's keypoints; zeros where not annotated."""
        channels = list(union_channels(skeleton))
        visible = self.visibility[channels]
        points = np.where(visible[:, None] > 0, self.joints[channels], 0)
        return np.column_stack([points, visible])


@dataclass(frozen=True)
class Picture:
    """An image and its people."""

    image: Image.Image
    people: tuple[Person, ...]


def pictures(
    count: int, seed: int, people: int = 1, image_hw: tuple[int, int] = (96, 128)
) -> list[Picture]:
    """Images of stick figures side by side; some keypoints are covered, some not annotated."""
    rng = np.random.default_rng(seed)
    height, width = image_hw
    made = []
    for _ in range(count):
        image = Image.fromarray(rng.integers(0, 90, (height, width, 3), dtype=np.uint8))
        draw = ImageDraw.Draw(image)
        figures = []
        for place in range(people):
            tall = height * rng.uniform(0.6, 0.8)
            middle = width * (place + rng.uniform(0.4, 0.6)) / people
            top = rng.uniform(2, height - tall - 2)
            figures.append(_person(rng, tall, middle, top))
            _draw(draw, figures[-1], tuple(rng.integers(120, 255, 3).tolist()))
        made.append(Picture(image, tuple(figures)))
    return made


def _person(rng: np.random.Generator, tall: float, middle: float, top: float) -> Person:
    def place(points: Any) -> np.ndarray:
        return np.asarray(points, float) * tall / 100 + (middle, top)

    joints = place([_STANDING[name] for name in UNION.names])
    joints = np.round(joints + rng.normal(0, tall / 100, joints.shape), 1)
    visibility = rng.choice([0, 1, 2], UNION.size, p=[0.1, 0.2, 0.7])
    torso = [UNION.names.index(name) for name in ("left_shoulder", "right_hip")]
    visibility[torso] = 2
    low, high = joints.min(axis=0) - 2, joints.max(axis=0) + 2
    head = place(_HEAD_BOX).round(1).ravel().tolist()
    box = np.round([*np.maximum(low, 0), *high], 1).tolist()
    return Person(joints, visibility, tuple(box), tuple(head), round(rng.uniform(0.5, 1), 3))


def _draw(draw: ImageDraw.ImageDraw, person: Person, color: Any) -> None:
    at = {name: tuple(xy) for name, xy in zip(UNION.names, person.joints.tolist(), strict=True)}
    for a, b in _TRUNK + _ARMS_AND_LEGS:
        draw.line((at[a], at[b]), fill=color, width=3)


def save_images(folder: Path, shown: Sequence[Picture], names: Sequence[str]) -> None:
    """The images as JPEG files."""
    folder.mkdir(parents=True, exist_ok=True)
    for picture, name in zip(shown, names, strict=True):
        picture.image.save(folder / name, quality=90)


def save_json(file: Path, content: Any) -> None:
    """A JSON file, its folder made."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content))


# COCO --------------------------------------------------------------------------------------------


def coco_records(
    shown: Sequence[Picture],
    names: Sequence[str],
    skeleton: Skeleton = COCO,
    *,
    image_ids: Sequence[int],
    first_id: int = 1,
) -> Record:
    """A COCO keypoint file with all fields that COCO's own have."""  # fmt: skip
    images, annotations = [], []
    for picture, name, image_id in zip(shown, names, image_ids, strict=True):
        images.append({"id": image_id, "file_name": name, "height": picture.image.height,
                       "width": picture.image.width, "license": 1, "coco_url": "",
                       "date_captured": "2013-11-14 17:02:52", "flickr_url": ""})  # fmt: skip
        for person in picture.people:
            x0, y0, x1, y1 = person.box
            triples = person.triples(skeleton)
            annotations.append({
                "id": first_id + len(annotations), "image_id": image_id, "category_id": 1,
                "bbox": [x0, y0, round(x1 - x0, 2), round(y1 - y0, 2)],
                "area": round(0.6 * (x1 - x0) * (y1 - y0), 2), "iscrowd": 0,
                "segmentation": [[x0, y0, x1, y0, x1, y1, x0, y1]],
                "num_keypoints": int((triples[:, 2] > 0).sum()),
                "keypoints": triples.ravel().tolist(),
            })  # fmt: skip
    category = {"id": 1, "name": "person", "supercategory": "person",
                "keypoints": list(skeleton.names),
                "skeleton": [[a + 1, b + 1] for a, b in skeleton.limbs]}  # fmt: skip
    return {"info": {"year": 2017}, "licenses": [{"id": 1, "name": "", "url": ""}],
            "images": images, "annotations": annotations, "categories": [category]}  # fmt: skip


def detection_records(shown: Sequence[Picture], image_ids: Sequence[int]) -> list[Record]:
    """A detector's result list: people in slightly other boxes, and something that is no person."""
    found = []
    for picture, image_id in zip(shown, image_ids, strict=True):
        for person in picture.people:
            x0, y0, x1, y1 = person.box
            found.append({"image_id": image_id, "category_id": 1, "score": person.score,
                          "bbox": [x0 - 1.5, y0 - 1, x1 - x0 + 2, y1 - y0 + 2.5]})  # fmt: skip
        found.append({"image_id": image_id, "category_id": 3, "score": 0.8,
                      "bbox": [1, 1, 20, 20]})  # fmt: skip
    return found


def write_coco(
    root: Path,
    train: Sequence[Picture],
    val: Sequence[Picture],
    unlabeled: Sequence[Picture] = (),
    test: Sequence[Picture] = (),
) -> Record:
    """COCO 2017: annotations, images and detections where its users put them."""  # fmt: skip
    notes, found = root / "annotations", root / "person_detection_results"
    parts = {"train2017": train, "val2017": val, "unlabeled2017": unlabeled, "test2017": test}
    source: Record = {"kind": "coco", "root": str(root)}
    first_id = 1
    for number, (name, shown) in enumerate(parts.items(), start=1):
        if not shown:
            continue
        ids = [number * 1000 + 37 * place % 1000 for place in range(len(shown), 0, -1)]
        files = [f"{image_id:012d}.jpg" for image_id in ids]
        save_images(root / "images" / name, shown, files)
        content = coco_records(shown, files, image_ids=ids, first_id=first_id)
        first_id += len(content["annotations"])
        images = f"images/{name}"
        if name in ("train2017", "val2017"):
            save_json(notes / f"person_keypoints_{name}.json", content)
            key = {"train2017": "train", "val2017": "validation"}[name]
            source[key] = {"annotations": f"annotations/person_keypoints_{name}.json",
                           "images": images}  # fmt: skip
            continue
        list_name, detections, key = {
            "unlabeled2017": ("image_info_unlabeled2017.json",
                              "COCO_unlabeled2017_detections_person_faster_rcnn.json",
                              "unlabeled"),
            "test2017": ("image_info_test-dev2017.json",
                         "COCO_test-dev2017_detections_AP_H_609_person.json", "test"),
        }[name]  # fmt: skip
        categories = [{"id": 1, "name": "person", "supercategory": "person"},
                      {"id": 3, "name": "car", "supercategory": "vehicle"}]  # fmt: skip
        info = {**content, "categories": categories}
        del info["annotations"]
        save_json(notes / list_name, info)
        save_json(found / detections, detection_records(shown, ids))
        source[key] = {"annotations": f"annotations/{list_name}", "images": images,
                       "detections": f"person_detection_results/{detections}"}  # fmt: skip
    return source


def write_crowdpose(root: Path, trainval: Sequence[Picture], test: Sequence[Picture]) -> Record:
    """CrowdPose as mmpose has it: no areas, a crowding index, and COCO's limbs."""
    start = 100000
    for part, shown in (("trainval", trainval), ("test", test)):
        ids = range(start, start + len(shown))
        files = [f"{image_id}.jpg" for image_id in ids]
        save_images(root / "images", shown, files)
        content = coco_records(shown, files, CROWDPOSE, image_ids=ids, first_id=start)
        for image in content["images"]:
            image["crowdIndex"] = 0.3
        for person in content["annotations"]:
            del person["area"], person["segmentation"]
        names = [*CROWDPOSE.names[:12], "head", "neck"]
        limbs = [[a + 1, b + 1] for a, b in COCO.limbs]
        content["categories"][0].update(keypoints=names, skeleton=limbs)
        save_json(root / "annotations" / f"mmpose_crowdpose_{part}.json", content)
        start += len(shown)
    return {"kind": "crowdpose", "root": str(root)}


def write_ochuman(root: Path, val: Sequence[Picture]) -> Record:
    """OCHuman in COCO form."""
    files = [f"{number:06d}.jpg" for number in range(1, len(val) + 1)]
    save_images(root / "images", val, files)
    content = coco_records(val, files, image_ids=range(1, len(val) + 1))
    save_json(root / "annotations" / "ochuman_coco_format_val_range_0.00_1.00.json", content)
    return {"kind": "ochuman", "root": str(root)}


def write_fisheye(root: Path, train: Sequence[Picture], val: Sequence[Picture]) -> Record:
    """WEPDTOF-Pose or BKFisheye: COCO files numbered by place, without areas."""
    for part, shown in (("train2017", train), ("val2017", val)):
        files = [f"{part}_{place:05d}.jpg" for place in range(len(shown))]
        save_images(root / "coco" / "images" / part, shown, files)
        content = coco_records(shown, files, FISHEYE, image_ids=range(len(shown)))
        for person in content["annotations"]:
            del person["area"], person["iscrowd"], person["segmentation"]
        save_json(root / "coco" / "annotations" / f"person_keypoints_{part}.json", content)
    return {"kind": "fisheye", "root": str(root)}


# MPII --------------------------------------------------------------------------------------------


def mpii_record(person: Person, image: str, labeled: bool = True) -> Record:
    """A person of the JSON files; everything counts from 1, absent keypoints are at (-1, -1)."""
    x0, y0, x1, y1 = person.box
    record: Record = {
        "image": image,
        "scale": round((y1 - y0) / 200, 6),
        "center": [round((x0 + x1) / 2 + 1, 1), round((y0 + y1) / 2 + 1, 1)],
    }
    if labeled:
        triples = person.triples(MPII)
        annotated = triples[:, 2] > 0
        record["joints"] = np.where(annotated[:, None], triples[:, :2] + 1, -1).tolist()
        record["joints_vis"] = annotated.astype(int).tolist()
    return record  # fmt: skip


def mpii_names(start: int, count: int) -> list[str]:
    """Image names as MPII has them: nine digits."""
    return [f"{15601864 + 1000 * (start + place):09d}.jpg" for place in range(count)]


def write_mpii(
    root: Path, train: Sequence[Picture], valid: Sequence[Picture], test: Sequence[Picture] = ()
) -> Record:
    """MPII as HRNet and its relatives have it: train, valid and test, and gt_valid.mat."""
    start = 0
    for part, shown in (("train", train), ("valid", valid), ("test", test)):
        names = mpii_names(start, len(shown))
        start += len(shown)
        save_images(root / "images", shown, names)
        records = [mpii_record(person, name, labeled=part != "test")
                   for picture, name in zip(shown, names, strict=True)
                   for person in picture.people]  # fmt: skip
        if shown:
            save_json(root / "annot" / f"{part}.json", records)
    save_gt_valid(root / "annot" / "gt_valid.mat", [p for shown in valid for p in shown.people])
    source: Record = {"kind": "mpii", "root": str(root)}
    return {**source, "test": "annot/test.json"} if test else source


GT_NAMES = ("rank", "rkne", "rhip", "lhip", "lkne", "lank", "pelv", "thor", "neck", "head", "rwri",
            "relb", "rsho", "lsho", "lelb", "lwri")  # fmt: skip


def save_gt_valid(file: Path, people: Sequence[Person]) -> None:
    """gt_valid.mat: keypoints (16, 2, n), missing (16, n), head boxes (2, 2, n), all from 1."""
    triples = np.stack([person.triples(MPII) for person in people], axis=2)
    names = np.empty((1, MPII.size), object)
    names[0] = GT_NAMES
    scipy.io.savemat(file, {
        "dataset_joints": names,
        "jnt_missing": (triples[:, 2] == 0).astype(np.uint8),
        "pos_gt_src": triples[:, :2] + 1,
        "headboxes_src": np.stack([np.reshape(p.head, (2, 2)) + 1 for p in people], axis=2),
    })  # fmt: skip


def write_mpii_mat(root: Path, train: Sequence[Picture], test: Sequence[Picture] = ()) -> Record:
    """MPII's own mat: structures in structures, points in no order, half of the fields empty."""
    shown = [*train, *test]
    names = mpii_names(0, len(shown))
    save_images(root / "images", shown, names)
    images = [
        {"image": {"name": name}, "annorect": _rects(picture.people, place < len(train))}
        for place, (name, picture) in enumerate(zip(names, shown, strict=True))
    ]
    release = {
        "annolist": structs(images),
        "img_train": np.array([[1] * len(train) + [0] * len(test)], np.uint8),
        "version": "12",
    }
    scipy.io.savemat(root / "mpii_human_pose_v1_u12_1.mat", {"RELEASE": release})
    return {"kind": "mpii_mat", "root": str(root), "test": bool(test)}


def _rects(people: Sequence[Person], labeled: bool) -> Any:
    """The people of an image, and one more of whom only the head is annotated."""
    rects = []
    for person in people:
        record = mpii_record(person, "")
        x1, y1, x2, y2 = (side + 1 for side in person.head)
        rect = {"x1": x1, "y1": y1, "x2": x2, "y2": y2, "scale": record["scale"],
                "objpos": dict(zip("xy", record["center"], strict=True))}  # fmt: skip
        rects.append({**rect, "annopoints": _annopoints(person) if labeled else np.empty((0, 0))})
    empty = np.empty((0, 0))
    head = {"x1": 3, "y1": 3, "x2": 9, "y2": 9}
    rects.append({**head, "scale": empty, "objpos": empty, "annopoints": empty})
    return structs(rects)


def _annopoints(person: Person) -> Any:
    triples = person.triples(MPII)
    points = []
    for joint in reversed(range(MPII.size)):
        x, y, v = triples[joint]
        flags: tuple[Any, ...] = (v - 1, str(int(v) - 1))  # both are in the published file
        visible = np.empty((0, 0)) if joint in (8, 9) else flags[joint % 2]
        if v:
            points.append({"x": x + 1, "y": y + 1, "id": joint, "is_visible": visible})
    return {"point": structs(points)}


def structs(records: Sequence[Record]) -> np.ndarray:
    """A Matlab structure array, 1 x n."""
    array = np.empty((1, len(records)), [(key, object) for key in records[0]])
    for place, record in enumerate(records):
        array[0, place] = tuple(record.values())
    return array


# AI Challenger -----------------------------------------------------------------------------------


def write_aic(root: Path, train: Sequence[Picture], validation: Sequence[Picture] = ()) -> Record:
    """AI Challenger: people named in each image, corners of boxes, v of 1, 2 or 3."""
    source: Record = {"kind": "aic", "root": str(root)}
    for part, shown in (("train", train), ("validation", validation)):
        if not shown:
            continue
        names = [f"{(7919 * (place + 1) + len(part)):040x}" for place in range(len(shown))]
        save_images(root / part / "images", shown, [f"{name}.jpg" for name in names])
        records = []
        for picture, name in zip(shown, names, strict=True):
            humans = {f"human{n}": person for n, person in enumerate(picture.people, start=1)}
            records.append({
                "image_id": name,
                "url": "http://www.example.org/picture.jpg",
                "human_annotations": {h: [round(v) for v in p.box] for h, p in humans.items()},
                "keypoint_annotations": {h: _aic_joints(p) for h, p in humans.items()},
            })  # fmt: skip
        file = f"{part}/keypoint_{part}_annotation.json"
        save_json(root / file, records)
        if part == "validation":
            source[part] = {"annotations": file, "images": f"{part}/images"}
    return source


def _aic_joints(person: Person) -> list[int]:
    triples = person.triples(AIC).round().astype(int)
    triples[:, 2] = np.array([3, 2, 1])[triples[:, 2]]
    return triples.ravel().tolist()


# LSP ---------------------------------------------------------------------------------------------


def write_lspet(root: Path, shown: Sequence[Picture]) -> Record:
    """LSP-extended: joints.mat of (14, 3, n), third number 1 where annotated, junk elsewhere."""
    names = [f"im{number:05d}.jpg" for number in range(1, len(shown) + 1)]
    save_images(root / "images", shown, names)
    joints = np.stack([picture.people[0].triples(LSP) for picture in shown], axis=2)
    absent = joints[:, 2] == 0
    joints[:, 2] = ~absent
    joints[:, :2] = np.where(absent[:, None], -322.0, joints[:, :2])
    scipy.io.savemat(root / "joints.mat", {"joints": joints})
    return {"kind": "lspet", "root": str(root)}


def write_lsp(root: Path, train: Sequence[Picture], test: Sequence[Picture]) -> Record:
    """The original LSP: joints.mat of (3, 14, 2000), third number 1 where covered.

    Only the first images of either half are written; the matrix has all 2000 columns.
    """
    channels = list(union_channels(LSP))
    joints = np.zeros((3, LSP.size, 2000))
    for start, shown in ((1, train), (1001, test)):
        names = [f"im{number:04d}.jpg" for number in range(start, start + len(shown))]
        save_images(root / "images", shown, names)
        for place, picture in enumerate(shown):
            person = picture.people[0]
            joints[:2, :, start - 1 + place] = person.joints[channels].T
            joints[2, :, start - 1 + place] = person.visibility[channels] == 1
    scipy.io.savemat(root / "joints.mat", {"joints": joints})
    return {"kind": "lsp", "root": str(root)}


# DeepLabCut --------------------------------------------------------------------------------------

TEMPLATE = {"bodypart1": "nose", "bodypart2": "pelvis", "bodypart3": "left_knee",
            "objectA": "head_top"}  # fmt: skip
"""The body parts of a project as DeepLabCut makes it, and keypoints of the union for them."""


def write_deeplabcut(
    root: Path, shown: Sequence[Picture], bodyparts: dict[str, str] = TEMPLATE, scorer: str = "ann"
) -> Record:
    """A DeepLabCut project of one animal: its first people are labeled; no videos."""
    folder = "labeled-data/reach"
    names = [f"img{7 * place:03d}.png" for place in range(len(shown))]
    save_images(root / folder, shown, names)
    head = [["scorer"], ["bodyparts"], ["coords"]]
    for part in bodyparts:
        for axis in "xy":
            for row, cell in zip(head, (scorer, part, axis), strict=True):
                row.append(cell)
    rows = [[f"{folder}/{name}", *_cells(picture.people[0], bodyparts)]
            for picture, name in zip(shown, names, strict=True)]  # fmt: skip
    table = "".join(",".join(row) + "\n" for row in head + rows)
    (root / folder / f"CollectedData_{scorer}.csv").write_text(table)
    lines = ["Task: reach", f"scorer: {scorer}", "multianimalproject: false", "video_sets:",
             "  C:\\Users\\ann\\reach.avi:", "    crop: 0, 128, 0, 96", "skeleton:",
             "- - bodypart1", "  - bodypart2", "bodyparts:",
             *(f"- {name}" for name in bodyparts)]  # fmt: skip
    (root / "config.yaml").write_text("\n".join(lines) + "\n")
    return {"kind": "deeplabcut", "root": str(root), "frames": 0}


def _cells(person: Person, bodyparts: dict[str, str]) -> list[str]:
    """x and y of each body part, empty where it is not annotated."""
    cells: list[str] = []
    for keypoint in bodyparts.values():
        channel = UNION.names.index(keypoint)
        seen = person.visibility[channel] > 0
        cells += [str(xy) if seen else "" for xy in person.joints[channel].tolist()]
    return cells


def write_lightning_pose(
    root: Path, shown: Sequence[Picture], bodyparts: dict[str, str] = TEMPLATE
) -> Record:
    """A lightning-pose data folder, as its documents show it: one table for all videos."""
    names = [f"labeled-data/reach/img{7 * place:08d}.png" for place in range(len(shown))]
    (root / "labeled-data/reach").mkdir(parents=True)
    save_images(root, shown, names)
    parts = [part for part in bodyparts for _ in "xy"]
    rows = [["scorer", *("ann" for _ in parts)], ["bodyparts", *parts],
            ["coords", *("xy"[place % 2] for place in range(len(parts)))]]  # fmt: skip
    rows += [[name, *_cells(picture.people[0], bodyparts)]
             for picture, name in zip(shown, names, strict=True)]  # fmt: skip
    table = "".join(",".join(row) + "\n" for row in rows)
    (root / "CollectedData.csv").write_text(table)
    return {"kind": "lightning_pose", "root": str(root), "frames": 0}


KEYPOINTS = ("nose", "left_wrist", "right_wrist")


def write_yolo_pose(root: Path, train: Sequence[Picture], val: Sequence[Picture]) -> Record:
    """YOLO-pose as Ultralytics documents it; its path is one of another computer."""
    channels = [UNION.names.index(name) for name in KEYPOINTS]
    for part, shown in (("train", train), ("val", val)):
        names = [f"{part}{place}.jpg" for place in range(len(shown))]
        save_images(root / "images" / part, shown, names)
        (root / "labels" / part).mkdir(parents=True)
        for picture, name in zip(shown, names, strict=True):
            size = np.array(picture.image.size)
            lines = []
            for person in picture.people:
                x0, y0, x1, y1 = np.array(person.box) / (*size, *size)
                row = [(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0]
                for channel in channels:
                    seen = int(person.visibility[channel])
                    row += [*(person.joints[channel] / size if seen else (0, 0)), seen]
                lines.append(" ".join(map(str, [0, *row])))
            (root / "labels" / part / f"{Path(name).stem}.txt").write_text("\n".join(lines))
    (root / "data.yaml").write_text(
        "path: D:\\sets\\mine\ntrain: images/train\nval: D:\\sets\\mine\\images\\val\n"
        "kpt_shape: [3, 3]\nflip_idx: [0, 2, 1]\nnames: {0: dancer}\n"
        f"kpt_names: {{0: [{', '.join(KEYPOINTS)}]}}\n")  # fmt: skip
    return {"kind": "yolo_pose", "root": str(root)}


def write_label_studio(root: Path, shown: Sequence[Picture]) -> Record:
    """A Label Studio export of uploaded images, one box with key points each."""
    names = [f"{place}.jpg" for place in range(len(shown))]
    save_images(root / "images", shown, names)
    tasks = []
    for place, (picture, name) in enumerate(zip(shown, names, strict=True)):
        width, height = picture.image.size
        about = {"original_width": width, "original_height": height, "image_rotation": 0}
        result: list[Record] = []
        for number, person in enumerate(picture.people):
            x0, y0, x1, y1 = person.box
            box = {"x": 100 * x0 / width, "y": 100 * y0 / height, "rotation": 0,
                   "width": 100 * (x1 - x0) / width, "height": 100 * (y1 - y0) / height,
                   "rectanglelabels": ["person"]}  # fmt: skip
            result.append({**about, "id": f"b{number}", "type": "rectanglelabels", "value": box})
            for label in KEYPOINTS:
                channel = UNION.names.index(label)
                x, y = person.joints[channel].tolist()
                if person.visibility[channel]:
                    result.append({
                        **about, "id": f"{number}{label}", "parentID": f"b{number}",
                        "type": "keypointlabels",
                        "value": {"x": 100 * x / width, "y": 100 * y / height, "width": 0.5,
                                  "keypointlabels": [label]}})  # fmt: skip
        data = {"image": f"/data/upload/1/{place + 10**7:08x}-{name}"}
        tasks.append({"id": place + 1, "data": data,
                      "annotations": [{"completed_by": 1, "result": result}]})  # fmt: skip
    save_json(root / "label_studio.json", tasks)
    return {"kind": "label_studio", "root": str(root), "names": list(KEYPOINTS)}


def write_cvat(root: Path, shown: Sequence[Picture]) -> Record:
    """CVAT for images 1.1: a skeleton a person, as CVAT writes it."""
    names = [f"{place}.jpg" for place in range(len(shown))]
    save_images(root / "images", shown, names)
    labels = "".join(f"<label><name>{name}</name><type>points</type><parent>person</parent></label>"
                     for name in KEYPOINTS)  # fmt: skip
    circles = "".join(f'&lt;circle data-node-id="{place}" data-label-name="{name}"&gt;'
                      for place, name in enumerate(KEYPOINTS, start=1))  # fmt: skip
    edge = '&lt;line data-type="edge" data-node-from="2" data-node-to="1"&gt;'
    text = (f"<annotations><version>1.1</version><meta><task><labels><label><name>person</name>"
            f"<type>skeleton</type><svg>{edge}{circles}</svg></label>{labels}</labels></task>"
            "</meta>")  # fmt: skip
    for place, (picture, name) in enumerate(zip(shown, names, strict=True)):
        width, height = picture.image.size
        text += f'<image id="{place}" name="day 1\\{name}" width="{width}" height="{height}">'
        for person in picture.people:
            text += '<skeleton label="person" source="manual" z_order="0">'
            for label in KEYPOINTS:
                channel = UNION.names.index(label)
                x, y = person.joints[channel].tolist()
                seen = person.visibility[channel]
                text += (f'<points label="{label}" outside="{int(seen == 0)}" '
                         f'occluded="{int(seen == 1)}" points="{x},{y}"></points>')  # fmt: skip
            text += "</skeleton>"
        text += "</image>"
    (root / "annotations.xml").write_text(text + "</annotations>")
    return {"kind": "cvat", "root": str(root)}


def save_video(
    file: Path, frames: Sequence[np.ndarray], codec: str = "ffv1", rate: int = 10, turned: int = 0
) -> None:
    """A video of RGB frames (h, w, 3), without loss by default; players turn it so many degrees."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(file), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "bgr0" if codec == "ffv1" else "yuv420p"
        if turned:
            stream.set_display_rotation(turned)
        for pixels in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())


# Every format ------------------------------------------------------------------------------------

SHOWN = [pictures(2, seed) for seed in range(4)]
WRITERS = {
    "coco": lambda root: write_coco(root, *SHOWN),
    "mpii": lambda root: write_mpii(root, *SHOWN[:3]),
    "mpii_mat": lambda root: write_mpii_mat(root, *SHOWN[:2]),
    "aic": lambda root: write_aic(root, *SHOWN[:2]),
    "lsp": lambda root: write_lsp(root, *SHOWN[:2]),
    "lspet": lambda root: write_lspet(root, SHOWN[0]),
    "fisheye": lambda root: write_fisheye(root, *SHOWN[:2]),
    "crowdpose": lambda root: write_crowdpose(root, *SHOWN[:2]),
    "ochuman": lambda root: write_ochuman(root, SHOWN[0]),
    "deeplabcut": lambda root: write_deeplabcut(root, SHOWN[0]),
    "lightning_pose": lambda root: write_lightning_pose(root, SHOWN[0]),
    "yolo_pose": lambda root: write_yolo_pose(root, *SHOWN[:2]),
    "label_studio": lambda root: write_label_studio(root, SHOWN[0]),
    "cvat": lambda root: write_cvat(root, SHOWN[0]),
}
