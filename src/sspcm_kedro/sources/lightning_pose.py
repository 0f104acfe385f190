"""lightning-pose data folders: CollectedData.csv, labeled-data/ and the frames of videos/."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from sspcm_kedro.data.source import Source
from sspcm_kedro.errors import BadInput
from sspcm_kedro.sources import checks
from sspcm_kedro.sources.coco_records import find_listed
from sspcm_kedro.sources.deeplabcut_project import extracted_frames
from sspcm_kedro.sources.deeplabcut_table import PlainTable, read_plain_table
from sspcm_kedro.sources.image_folder import SUFFIXES
from sspcm_kedro.sources.labeled import Labeled, unlabeled_images
from sspcm_kedro.sources.project import VideoProjectSource
from sspcm_kedro.sources.video_frames import VideoFrames

logger = logging.getLogger(__name__)

LABELED = "labeled-data"
TABLE = "CollectedData"
NEW = "_new"
"""With what the table of further videos ends."""


class LightningPoseSource(VideoProjectSource):
    """A lightning-pose data folder: labels of `CollectedData.csv`, and frames of `videos/`.

    Images of labeled-data without a row (lightning-pose's context frames) are unlabeled too. Other
    tables (CollectedData_top.csv) are those of other views, whose images and videos are left out.

    Attributes:
        labels: the table of labels, relative to the root; of several views, that of one.
        validation: a table of labels to validate on (CollectedData_new.csv), same keypoints.
        scorer: whose labels, where several have labeled.
    """

    kind: Literal["lightning_pose"] = "lightning_pose"
    labels: Path = Path("CollectedData.csv")
    validation: Path | None = None
    scorer: str | None = None

    def video_frames(self) -> VideoFrames:
        """What frames to choose of; those in labeled-data are known already.

        Raises:
            BadInput: there are videos, and their frames would have no boxes.
        """
        found = self.find_videos() if self.frames else []
        videos = self._of_view({video: video.stem for video in found}, "video")
        labeled = self.root / LABELED
        return self.frames_of({v: extracted_frames(labeled / v.stem) for v in videos})

    def read(self, made_folder: Path | None = None) -> Source:
        self.need_frames(made_folder)
        file = self.root / self.labels
        table = read_plain_table(file, self.scorer)
        skeleton = self.own_skeleton(file, table.names)
        labeled, validation = self._labeled(file, table), []
        rows = {person.path for person in labeled}
        if self.validation is not None:
            other = self.root / self.validation
            held_out = read_plain_table(other, self.scorer)
            if held_out.names != table.names:
                rule = f"the keypoints must be {', '.join(table.names)}, as in {self.labels}, "
                rule += f"found {', '.join(held_out.names)}"
                raise BadInput(f"{other}, row bodyparts", rule, "Name them the same in both files")
            validation = self._labeled(other, held_out)
            rows |= {person.path for person in validation}
        rows |= self._images_of_other_tables()
        found = self._of_view({path: path.parent.name for path in self._images()}, "folder")
        others = [path for path in found if path not in rows]
        names = [path.relative_to(self.root).as_posix() for path in others]
        pool = unlabeled_images(others, names, skeleton.size)
        pool += self.chosen_frames(made_folder, skeleton.size)
        return self.source_of(file, skeleton, labeled, pool, validation, box="frame")

    def _labeled(self, file: Path, table: PlainTable) -> list[Labeled]:
        """The animal of each row."""
        names = [_from_labeled_data(name) for name in table.images]
        found = checks.find_images(file, names, self.root)
        paths = [self.root / found[name] for name in names]
        twice = [(f"image {name}", f"must have one row, found {names.count(name)}")
                 for name in dict.fromkeys(names) if names.count(name) > 1]  # fmt: skip
        checks.refuse(file, twice, "Remove all rows but the right one")
        sizes = checks.stored_sizes(paths).tolist()
        return [
            Labeled(path, (height, width), points, name=name)
            for path, name, (height, width), points
            in zip(paths, names, sizes, table.points, strict=True)
        ]  # fmt: skip

    def _other_tables(self) -> list[Path]:
        tables = sorted((self.root / self.labels).parent.glob(f"{TABLE}*.csv"))
        own = [self.root / name for name in (self.labels, self.validation) if name is not None]
        return [table for table in tables if table not in own]

    def _images_of_other_tables(self) -> set[Path]:
        """These are labeled, if not here: they are a further test set's or another camera's."""
        found: set[Path] = set()
        for table in self._other_tables():
            try:
                names = read_plain_table(table, self.scorer).images
            except BadInput as error:
                logger.warning("images that it names may count as unlabeled: %s", error)
                continue
            images = [{"file_name": _from_labeled_data(name)} for name in names]
            found |= find_listed(table, images, self.root)
        return found

    def _of_view(self, names: Mapping[Path, str], what: str) -> list[Path]:
        """Those of the table's view (_bot of CollectedData_bot.csv), by the ends of their names.

        Where none has this end, those without another view's, and a warning.
        """
        own, others = _view_of(self.labels), set(map(_view_of, self._other_tables()))
        if others <= {own}:
            return list(names)
        views = sorted({own, *others}, key=len, reverse=True)
        of = {path: next((view for view in views if name.endswith(view)), None)
              for path, name in names.items()}  # fmt: skip
        mine = [path for path, view in of.items() if view == own]
        if not mine:
            mine = [path for path, view in of.items() if view is None]
            if mine:
                logger.warning("no %s ends in %s, the view of %s: others' may be among "
                               "the unlabeled ones", what, own, self.labels)  # fmt: skip
        return mine

    def _images(self) -> list[Path]:
        """The images of labeled-data, by folder and name."""
        folder = self.root / LABELED
        return [
            path for path in sorted(folder.glob("*/*"))
            if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
        ]  # fmt: skip


def _view_of(table: Path) -> str:
    """What the names of a view's folders and videos end in; nothing where the table names none."""
    return table.stem.removeprefix(TABLE).removesuffix(NEW) if table.stem.startswith(TABLE) else ""


def _from_labeled_data(name: str) -> str:
    """The part of a row's name that lies in the project, whatever disk it had before."""
    start = f"/{name}".rfind(f"/{LABELED}/")
    return name if start < 0 else name[start:]
