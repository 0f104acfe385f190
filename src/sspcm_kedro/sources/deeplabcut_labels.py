"""What DeepLabCut's labeled-data/ shows: labeled animals, and images that nobody has labeled."""

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from sspcm_kedro.errors import BadInput
from sspcm_kedro.sources import checks
from sspcm_kedro.sources.deeplabcut_project import Project
from sspcm_kedro.sources.deeplabcut_table import LabelTable, read_label_table
from sspcm_kedro.sources.image_folder import SUFFIXES
from sspcm_kedro.sources.labeled import Labeled, unlabeled_images

logger = logging.getLogger(__name__)

_PREFIX = "CollectedData_"


def read_labels(
    project: Project, scorer: str | None, one_an_image: bool
) -> tuple[list[Labeled], list[Labeled]]:
    """The animals with a labeled point, by folder, row and column; and the images without a row.

    A point off its image is not labeled, as DeepLabCut has it. Images with a row and without a
    point are left out: somebody has looked, and there is nothing.

    Args:
        project: whose labeled-data is read.
        scorer: whose labels; None: those of the project's scorer, or of the only one who has
            labeled a folder.
        one_an_image: refuse images of several animals.

    Raises:
        BadInput: a table breaks a rule, or an image of it is not there.
    """
    animals: list[Labeled] = []
    rowless: list[Path] = []
    blank = outside = 0
    for folder in project.label_folders():
        images = [path for path in sorted(folder.iterdir()) if _is_image(path)]
        found = _find_table(folder, scorer, project.scorer)
        if found is None:
            rowless += images
            continue
        file, table = found[0], read_label_table(*found, project.bodyparts)
        names = {path.name for path in images}
        checks.refuse_absent(file, [name for name in table.images if name not in names], folder)
        rowless += [path for path in images if path.name not in table.images]
        for path, hw, each in _rows(folder, table):
            off = ((each < -0.5) | (each > np.array(hw[::-1]) - 0.5)).any(axis=-1)
            outside += int(off.sum())
            each[off] = np.nan
            seen = [
                Labeled(path, hw, points, name=name_of(project, path))
                for points in each
                if not np.isnan(points).all()
            ]
            if len(seen) > 1 and one_an_image:
                rule = f"one animal can have the whole image for its box, found {len(seen)}"
                raise BadInput(f"{file}, image {path.name}", rule, "Set source.box=keypoints")
            blank += not seen
            animals += seen
    if blank:
        logger.warning("%d images have a row without a labeled point: they are left out", blank)
    if outside:
        logger.warning("%d points are off their images: they count as not labeled", outside)
    logger.info("%d animals are labeled, and %d images of labeled-data have no row",
                len(animals), len(rowless))  # fmt: skip
    names = [name_of(project, path) for path in rowless]
    return animals, unlabeled_images(rowless, names, len(project.bodyparts))


def name_of(project: Project, path: Path) -> str:
    """What tables call an image: its path from the project's folder."""
    return path.relative_to(project.root).as_posix()


def _rows(folder: Path, table: LabelTable) -> Iterator[tuple[Path, tuple[int, int], np.ndarray]]:
    """Each image of a table, its (height, width) and its points (m, k, 2)."""
    paths = [folder / name for name in table.images]
    sizes = checks.stored_sizes(paths).tolist()
    for path, (height, width), points in zip(paths, sizes, table.points, strict=True):
        yield path, (height, width), points.copy()


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()


def _find_table(folder: Path, scorer: str | None, usual: str | None) -> tuple[Path, str] | None:
    """The folder's table and whose it is; None where nobody has labeled.

    Args:
        folder: of labeled-data.
        scorer: whose table it must be; None: anybody's, the usual one's first.
        usual: the project's scorer.
    """
    tables = {path.stem.removeprefix(_PREFIX): path
              for path in sorted(folder.glob(f"{_PREFIX}*.csv"))}  # fmt: skip
    twins = [] if tables else sorted(folder.glob(f"{_PREFIX}*.h5"))
    if twins:
        rule = "labels must be in a CSV file too, and only HDF5 is there, which is not read"
        csv = twins[0].with_suffix(".csv").name
        remedy = f"Write it: pandas.read_hdf({twins[0].name!r}).to_csv({csv!r})"
        raise BadInput(twins[0], rule, remedy)
    if scorer is None and len(tables) == 1:
        scorer = next(iter(tables))
        if usual not in (None, scorer):
            logger.info("%s: labels of %s, the only ones, though the project's scorer is %s",
                        folder, scorer, usual)  # fmt: skip
    scorer = scorer or usual
    if tables and scorer not in tables:
        rule = f"the table must be of the project's scorer, {scorer!r}, found {', '.join(tables)}"
        raise BadInput(next(iter(tables.values())), rule, "Say whose it is: source.scorer=NAME")
    return (tables[scorer], scorer) if scorer in tables else None
