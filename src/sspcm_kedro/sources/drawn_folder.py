"""The drawn people as a COCO folder: which images it holds and what its files say. Pure."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from sspcm_kedro.drawn import DrawnPerson, DrawnSettings, draw_many
from sspcm_kedro.pose.coco_ap import PERSON
from sspcm_kedro.pose.skeleton import COCO
from sspcm_kedro.sources.checks import Record
from sspcm_kedro.sources.coco_category import person_category

Part = Literal["train", "val", "unlabeled"]

PARTS: tuple[Part, ...] = ("train", "val", "unlabeled")
PART_SPAN = 1_000_000
"""Indices a part may use: the parts never share an image, and each may grow by itself."""

_PEOPLE_SPAN = 100 * PART_SPAN

LAYOUT = 1
"""Raise it when the files of the folder change, so that old folders are written anew."""

BOXES_FILE = "annotations/boxes_unlabeled.json"
TRUTH_FILE = "annotations/hidden_truth_unlabeled.json"


@dataclass(frozen=True)
class DrawnImage:
    """One image: its part, its index in the part, the JPEG file and its people."""

    part: Part
    index: int
    jpeg: bytes
    people: tuple[DrawnPerson, ...]

    @property
    def file(self) -> str:
        """The image file, relative to the folder."""
        return f"{images_folder(self.part)}/{self.index:06d}.jpg"


@dataclass(frozen=True)
class DrawnPeople:
    """What to draw. Nothing is drawn before ``images`` is walked.

    Attributes:
        settings: how the images look.
        seed: the seed of all images.
        counts: the number of images (not people) of each part.
        processes: how many processes draw; the images do not depend on it.
    """

    settings: DrawnSettings
    seed: int
    counts: dict[Part, int]
    processes: int = 1

    def __len__(self) -> int:
        return sum(self.counts.values())

    def images(self) -> Iterator[DrawnImage]:
        """All images, part by part."""
        places: list[tuple[Part, int]] = [
            (part, index) for part in PARTS for index in range(self.counts.get(part, 0))
        ]
        indices = [PARTS.index(part) * PART_SPAN + index for part, index in places]
        drawn = draw_many(self.seed, indices, self.settings, self.processes)
        for (part, index), (jpeg, people) in zip(places, drawn, strict=True):
            yield DrawnImage(part, index, jpeg, tuple(people))

    def fingerprint(self) -> Record:
        """All that decides the files: equal fingerprints, equal folders."""
        decides = {"settings": asdict(self.settings), "seed": self.seed, "counts": self.counts}
        return json.loads(json.dumps({**decides, "layout": LAYOUT, "renderer": _renderer()}))


def images_folder(part: Part) -> str:
    """The folder of a part's images, relative to the root."""
    return f"images/{part}"


def keypoints_file(part: Part) -> str:
    """The annotations of a labeled part, relative to the root."""
    return f"annotations/person_keypoints_{part}.json"


class CocoRecords:
    """The COCO records of one part, collected image by image."""

    def __init__(self, part: Part, image_hw: tuple[int, int]) -> None:
        # ids start at 1: COCO's tools take annotation 0 for none
        self._first_image = PARTS.index(part) * PART_SPAN + 1
        self._first_person = PARTS.index(part) * _PEOPLE_SPAN + 1
        self._hw = image_hw
        self._images: list[Record] = []
        self._people: list[Record] = []

    def add(self, image: DrawnImage) -> None:
        """Append the records of an image and its people."""
        image_id = self._first_image + image.index
        height, width = self._hw
        name = Path(image.file).name
        self._images.append({"id": image_id, "file_name": name, "height": height, "width": width})
        for person in image.people:
            record = {"id": self._first_person + len(self._people), "image_id": image_id}
            self._people.append({**record, **_person(person)})

    def labeled(self) -> Record:
        """The part as a COCO file with keypoints."""
        category = person_category(COCO)
        return {"images": self._images, "annotations": self._people, "categories": [category]}

    def boxes(self) -> Record:
        """The part as a COCO file without any trace of keypoints."""
        hidden = ("keypoints", "num_keypoints")
        people = [{k: v for k, v in p.items() if k not in hidden} for p in self._people]
        category = {"id": PERSON, "name": "person", "supercategory": "person"}
        return {"images": self._images, "annotations": people, "categories": [category]}


def _person(person: DrawnPerson) -> Record:
    keypoints: list[float] = []
    for (x, y), v in zip(person.keypoints.tolist(), person.visibility.tolist(), strict=True):
        keypoints += [round(x, 2), round(y, 2), v] if v else [0, 0, 0]
    return {
        "category_id": PERSON,
        "bbox": [round(side, 2) for side in person.box.tolist()],
        "area": round(float(person.area), 2),
        "iscrowd": 0,
        "num_keypoints": int((person.visibility > 0).sum()),
        "keypoints": keypoints,
    }


def _renderer() -> str:
    """A digest of the renderer's own source: an image of older code is not this image."""
    folder = Path(__file__).parents[1] / "drawn"
    code = b"".join(path.read_bytes() for path in sorted(folder.glob("*.py")))
    return hashlib.sha256(code).hexdigest()[:16]
