"""The folder of drawn people: written whole or not at all, and not twice."""

import hashlib
import io
import json
from base64 import b64encode
from itertools import islice
from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset
from kedro_datasets._typing import ImagePreview
from PIL import Image

from sspcm_kedro.data.image_file import read_rgb
from sspcm_kedro.data.progress import show_progress
from sspcm_kedro.datasets.whole import replace_folder
from sspcm_kedro.errors import BadInput
from sspcm_kedro.sources.drawn_folder import (
    BOXES_FILE,
    PARTS,
    TRUTH_FILE,
    CocoRecords,
    DrawnPeople,
    images_folder,
    keypoints_file,
)

FINGERPRINT = "fingerprint.json"
"""Written last: a folder that has it is complete."""


class DrawnFolderDataset(AbstractDataset[DrawnPeople, Path]):
    """A COCO folder of drawn people.

    Saving draws them, unless the folder already holds exactly these; a run that is resumed
    therefore does not draw again. Loading gives the folder's path.

    Args:
        filepath: the folder. It must be absent, empty, or one that this dataset wrote.
    """

    def __init__(self, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._folder = Path(filepath)
        self.metadata = metadata

    def save(self, data: DrawnPeople) -> None:
        """Draw the people into the folder."""
        people, digests = _noted(self._folder)
        if people == data.fingerprint() and digests:
            return
        _refuse_foreign(self._folder)
        with replace_folder(self._folder) as folder:
            _write(folder, data)

    def load(self) -> Path:
        """The folder."""
        if not self._exists():
            rule = f"a folder of drawn people must have {FINGERPRINT}, found none"
            raise BadInput(self._folder, rule, "Run node 'draw'")
        _, noted = _noted(self._folder)
        there = _digests_of(self._folder)
        if noted != there:
            noted = noted or {}
            names = sorted(n for n in noted.keys() | there.keys() if noted.get(n) != there.get(n))
            rule = "must be as it was drawn, and its SHA-256 is another, or it is not there"
            if len(names) > 1:
                rule += f" (and {len(names) - 1} more files)"
            remedy = f"Delete {self._folder}: node 'draw' makes the same people again"
            raise BadInput(self._folder / (names[0] if names else FINGERPRINT), rule, remedy)
        return self._folder

    def preview(self, images: int = 8, side: int = 128) -> ImagePreview:
        """The first annotated images in rows of four, for kedro-viz."""
        folder = self.load() / images_folder("train")
        files = list(islice(sorted(folder.iterdir()), images))
        sheet = Image.new("RGB", (4 * side, -(-len(files) // 4) * side))
        for place, file in enumerate(files):
            tile = read_rgb(file).resize((side, side))
            sheet.paste(tile, (place % 4 * side, place // 4 * side))
        png = io.BytesIO()
        sheet.save(png, format="PNG")
        return ImagePreview(b64encode(png.getvalue()).decode())

    def _exists(self) -> bool:
        return (self._folder / FINGERPRINT).is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._folder)}


def _write(folder: Path, people: DrawnPeople) -> None:
    records = {part: CocoRecords(part, people.settings.image_hw) for part in PARTS}
    for part in PARTS:
        (folder / images_folder(part)).mkdir(parents=True)
    (folder / "annotations").mkdir()
    for image in show_progress(people.images(), len(people), "drawing people"):
        (folder / image.file).write_bytes(image.jpeg)
        records[image.part].add(image)
    files = {
        keypoints_file("train"): records["train"].labeled(),
        keypoints_file("val"): records["val"].labeled(),
        BOXES_FILE: records["unlabeled"].boxes(),
        TRUTH_FILE: records["unlabeled"].labeled(),
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))
    note = {"people": people.fingerprint(), "sha256": _digests_of(folder)}
    (folder / FINGERPRINT).write_text(json.dumps(note))


def _noted(folder: Path) -> tuple[Any, dict[str, str] | None]:
    """What the folder says it holds, and the digests of its files; None if it says nothing."""
    try:
        note = json.loads((folder / FINGERPRINT).read_bytes())
        return note["people"], dict(note["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        return None, None


def _digests_of(folder: Path) -> dict[str, str]:
    """The SHA-256 of each file but the note, by its place in the folder."""
    return {
        file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.name != FINGERPRINT
    }


def _refuse_foreign(folder: Path) -> None:
    """Never replace files that this dataset did not write."""
    ours = (folder / FINGERPRINT).is_file()
    if folder.exists() and not ours and not (folder.is_dir() and not any(folder.iterdir())):
        rule = f"only an empty folder or one with {FINGERPRINT} is replaced, found other files"
        raise BadInput(folder, rule, "Give drawn_folder another filepath in the catalog")
