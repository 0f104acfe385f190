"""A folder for annotators: drafts as a COCO file, and the images that they are on."""

import json
import shutil
from hashlib import sha256
from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset

from sspcm_kedro.data.image_file import decode, is_turned
from sspcm_kedro.datasets.whole import replace_folder
from sspcm_kedro.errors import BadInput

ANNOTATIONS = "annotations/person_keypoints_default.json"
IMAGES = "images/default"
"""The layout of CVAT's own COCO exports; ``file_name`` is relative to the image folder."""

EXPORTS = "exports"
DIGESTS = "exports.json"
"""The drafts in other tools' formats, and the SHA-256 of each of these files."""


class AnnotationQueueDataset(AbstractDataset[dict[str, Any], dict[str, Any]]):
    """Saves ``annotations`` (a COCO file's content) and ``images`` (image file by file name), and
    ``exports``, the content of further files by name, if there are some.

    Loading gives the annotations. The folder is written whole or not at all. One in which somebody
    has put files, say exported labels, is not replaced.

    Images are copies, except that one with an EXIF orientation is written anew without it:
    annotation tools turn such images, training does not.

    Args:
        filepath: the folder.
    """

    def __init__(self, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._folder = Path(filepath)
        self.metadata = metadata

    def load(self) -> dict[str, Any]:
        return json.loads((self._folder / ANNOTATIONS).read_bytes())

    def save(self, data: dict[str, Any]) -> None:
        self._refuse_others_files()
        with replace_folder(self._folder) as folder:
            for name in (ANNOTATIONS, f"{IMAGES}/x"):
                (folder / name).parent.mkdir(parents=True)
            for name, source in data["images"].items():
                _copy(Path(source), folder / IMAGES / name)
            (folder / ANNOTATIONS).write_text(json.dumps(data["annotations"]))
            exports = data.get("exports", {})
            for name, content in exports.items():
                (folder / EXPORTS / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / EXPORTS / name).write_bytes(content)
            if exports:
                digests = {name: sha256(content).hexdigest() for name, content in exports.items()}
                (folder / DIGESTS).write_text(json.dumps(digests))

    def _refuse_others_files(self) -> None:
        if not self._folder.exists():
            return
        ours = {ANNOTATIONS}
        if self._exists():
            ours |= {f"{IMAGES}/{image['file_name']}" for image in self.load()["images"]}
        ours |= self._untouched_exports()
        found = {f.relative_to(self._folder).as_posix() for f in self._folder.rglob("*")
                 if not f.is_dir()}  # fmt: skip
        if found - ours:
            rule = f"only a queue that is as it was written is replaced, found {min(found - ours)}"
            remedy = "Move the folder to where it can stay, e.g. under data/01_raw"
            raise BadInput(self._folder, rule, remedy)

    def _untouched_exports(self) -> set[str]:
        """The exports that are as they were written: tools may save into them."""
        try:
            digests = json.loads((self._folder / DIGESTS).read_bytes())
        except (OSError, ValueError):
            return set()
        same = {f"{EXPORTS}/{name}" for name, digest in digests.items()
                if (file := self._folder / EXPORTS / name).is_file()
                and sha256(file.read_bytes()).hexdigest() == digest}  # fmt: skip
        return {DIGESTS, *same}

    def _exists(self) -> bool:
        return (self._folder / ANNOTATIONS).is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._folder)}


def _copy(source: Path, target: Path) -> None:
    image = decode(source)
    if not is_turned(image):
        shutil.copyfile(source, target)
        return
    pixels = image.copy()
    pixels.info.clear()
    pixels.save(target, format=image.format, quality=95)
