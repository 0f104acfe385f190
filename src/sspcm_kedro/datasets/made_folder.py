"""A folder of images that a node makes: written whole or not at all, and not twice."""

import hashlib
import io
import json
from abc import abstractmethod
from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from kedro.io import AbstractDataset
from kedro_datasets._typing import ImagePreview
from PIL import Image

from sspcm_kedro.data.image_file import read_rgb
from sspcm_kedro.datasets.whole import replace_folder
from sspcm_kedro.errors import BadInput

FINGERPRINT = "fingerprint.json"
"""Written last: a folder that has it is complete."""


class Makeable(Protocol):
    """What a folder is made of. Nothing is made before it is saved."""

    def fingerprint(self) -> Any:
        """All that decides the files, as JSON has it: equal fingerprints, equal folders."""
        ...


Content = TypeVar("Content", bound=Makeable)


class MadeFolderDataset(AbstractDataset[Content, Path], Generic[Content]):
    """A folder of files that follow from a fingerprint.

    Saving makes them, unless the folder already holds exactly these; a run that is resumed
    therefore does not make them again. Loading gives the folder's path.

    Args:
        filepath: the folder. It must be absent, empty, or one that this dataset wrote.

    Attributes:
        entry: its name in the catalog.
        node: the node that makes it.
        key: of the fingerprint in the note.
        what: is in it.
        made: what has been done to its files.
        again: what the node will do.
    """

    entry: ClassVar[str]
    node: ClassVar[str]
    key: ClassVar[str]
    what: ClassVar[str]
    made: ClassVar[str]
    again: ClassVar[str]

    def __init__(self, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._folder = Path(filepath)
        self.metadata = metadata

    @abstractmethod
    def _write(self, folder: Path, data: Content) -> None:
        """Make the files in an empty folder."""

    @abstractmethod
    def _shown(self, folder: Path, images: int) -> Sequence[Path]:
        """Up to so many image files to show."""

    def save(self, data: Content) -> None:
        """Make the files in the folder."""
        content, digests = self._noted()
        wanted = data.fingerprint()
        if content == wanted and digests:
            return
        self._refuse_foreign()
        with replace_folder(self._folder) as folder:
            self._write(folder, data)
            note = {self.key: wanted, "sha256": _digests_of(folder)}
            (folder / FINGERPRINT).write_text(json.dumps(note))

    def load(self) -> Path:
        """The folder."""
        if not self._exists():
            rule = f"a folder of {self.what} must have {FINGERPRINT}, found none"
            raise BadInput(self._folder, rule, f"Run node '{self.node}'")
        _, noted = self._noted()
        there = _digests_of(self._folder)
        if noted != there:
            noted = noted or {}
            names = sorted(n for n in noted.keys() | there.keys() if noted.get(n) != there.get(n))
            rule = f"must be as it was {self.made}, and its SHA-256 is another, or it is not there"
            if len(names) > 1:
                rule += f" (and {len(names) - 1} more files)"
            remedy = f"Delete {self._folder}: node '{self.node}' {self.again} again"
            raise BadInput(self._folder / (names[0] if names else FINGERPRINT), rule, remedy)
        return self._folder

    def preview(self, images: int = 8, side: int = 128) -> ImagePreview:
        """A few of the images in rows of four, for kedro-viz."""
        files = self._shown(self.load(), images)
        sheet = Image.new("RGB", (4 * side, max(-(-len(files) // 4), 1) * side))
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

    def _noted(self) -> tuple[Any, dict[str, str] | None]:
        """What the folder says it holds, and its files' digests; None if it says nothing."""
        try:
            note = json.loads((self._folder / FINGERPRINT).read_bytes())
            return note[self.key], dict(note["sha256"])
        except (OSError, ValueError, KeyError, TypeError):
            return None, None

    def _refuse_foreign(self) -> None:
        """Never replace files that this dataset did not write."""
        folder, ours = self._folder, self._exists()
        if folder.exists() and not ours and not (folder.is_dir() and not any(folder.iterdir())):
            rule = f"only an empty folder or one with {FINGERPRINT} is replaced, found other files"
            raise BadInput(folder, rule, f"Give {self.entry} another filepath in the catalog")


def _digests_of(folder: Path) -> dict[str, str]:
    """The SHA-256 of each file but the note, by its place in the folder."""
    return {
        file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.name != FINGERPRINT
    }
