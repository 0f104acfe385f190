"""What any input must satisfy. A refusal names the file, the record, the rule and the remedy."""

import json
import logging
import os
import unicodedata
import zlib
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import yaml
from joblib import cpu_count

from sspcm_kedro.data.image_file import (
    COPY,
    DEEP_MODES,
    UnreadableImage,
    decode,
    is_shown_turned,
    is_turned,
    stored_hw,
)
from sspcm_kedro.data.instances import Instances
from sspcm_kedro.data.progress import show_progress
from sspcm_kedro.errors import BadInput, shown

Record = dict[str, Any]

ELSEWHERE = (
    "Correct the path in the parameters (source, or of a prediction prediction.images and "
    "prediction.boxes), or get a published set first: "
    "kedro run --pipelines download fetches it or says how (docs/data.md)"
)

logger = logging.getLogger(__name__)


def refuse(file: Path, broken: Sequence[tuple[str, str]], remedy: str) -> None:
    """Raise ``BadInput`` for the first of the broken (record, rule) pairs and count the others."""
    if not broken:
        return
    record, rule = broken[0]
    others = f" (and {len(broken) - 1} more like it)" if len(broken) > 1 else ""
    raise BadInput(f"{file}, {record}" if record else file, rule + others, remedy)


def read_yaml(file: Path, remedy: str) -> dict[Any, Any]:
    """The settings of a YAML file, read without executing anything.

    Raises:
        BadInput: there is no such file, or it holds something else.
    """
    need_file(file)
    try:
        config = yaml.safe_load(file.read_bytes())
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise BadInput(file, f"must be YAML, but {error}", remedy) from error
    if not isinstance(config, dict):
        raise BadInput(file, f"must be a mapping of settings, found {shown(config)}", remedy)
    return config


def need_file(file: Path) -> None:
    """Refuse a file that is not there."""
    if not file.is_file():
        raise BadInput(file, "there must be such a file", ELSEWHERE)


def need_folder(folder: Path) -> None:
    """Refuse a folder that is not there."""
    if not folder.is_dir():
        raise BadInput(folder, "there must be such a folder", ELSEWHERE)


def read_json(file: Path, without: str | None = None) -> Any:
    """What a JSON file says; objects lose the key ``without`` as they are read."""

    def strip(record: Record) -> Record:
        return {key: value for key, value in record.items() if key != without}

    need_file(file)
    content = file.read_bytes()
    if content[:2] == b"\x1f\x8b":
        raise BadInput(file, "must be JSON, and is compressed by gzip", f"Unpack it: gunzip {file}")
    try:
        return json.loads(content, object_hook=strip if without else None)
    except UnicodeDecodeError as error:
        rule = f"must be JSON in the encoding UTF-8 (or 16, 32), but {error}"
        remedy = "Save it as UTF-8; it may be Latin-1: iconv -f latin1 -t utf-8"
    except (json.JSONDecodeError, RecursionError) as error:
        rule, remedy = (
            f"must be JSON, but {error}",
            "The file may be cut short: copy or export it again",
        )
    except ValueError as error:  # Python reads no integers of thousands of digits
        rule, remedy = f"must be JSON, but {error}", "Correct the number"
    raise BadInput(file, rule, remedy)


def read_records(file: Path, what: str, remedy: str) -> list[Record]:
    """The objects of a JSON file that is a list of them."""
    records = read_json(file)
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise BadInput(file, f"{what} must be a list of JSON objects", remedy)
    return records


def need_keys(file: Path, kind: str, records: Sequence[Record], keys: Iterable[str]) -> None:
    """Refuse records without one of the keys."""
    broken = [
        (name_of(kind, row, record), f"must have the key '{key}'")
        for row, record in enumerate(records)
        for key in keys
        if key not in record
    ]
    refuse(file, broken, f"Add the key to every such {kind}")


def name_of(kind: str, row: int, record: Record) -> str:
    """What to call a record: its id, or its row in the file."""
    return f"{kind} {record['id']}" if "id" in record else f"{kind} in row {row}"


def need_names_inside(file: Path, names: Iterable[tuple[str, Any]]) -> None:
    """Refuse a (record, image name) whose name leads out of the image folder."""
    broken = [
        (record, f"the image's name must be a path inside the image folder, found {name!r:.200}")
        for record, name in names
        if not isinstance(name, str) or not _stays_inside(name) or not _can_be(name)
    ]
    refuse(file, broken, "Write file names relative to the image folder, without '..'")


def _stays_inside(name: str) -> bool:
    windows = PureWindowsPath(name)  # "t:01.jpg" leads elsewhere on Windows only
    away = windows.root or (windows.drive if os.name == "nt" else "")
    parts = (*PurePosixPath(name).parts, *windows.parts)
    return bool(name) and not away and not PurePosixPath(name).anchor and ".." not in parts


def _can_be(name: str) -> bool:
    """Whether a file system can have it: real letters, no part of more than 255 bytes."""
    try:
        parts = [len(part.encode()) for part in name.split("/")]
    except UnicodeEncodeError:
        return False
    return "\0" not in name and max(parts) <= 255 and sum(parts) <= 4000


def parse_numbers(
    file: Path, key: str, values: Sequence[tuple[str, Any]], shape: tuple[int, ...]
) -> np.ndarray:
    """The value of each (record, value) as finite numbers: (n, *shape), float64."""
    found = _numbers([value for _, value in values])
    if found is not None and found.shape == (len(values), *shape):
        return found
    broken = []
    for record, value in values:
        numbers = _numbers(value)
        if numbers is None or numbers.shape != shape:
            wanted = " x ".join(map(str, shape)) + " finite numbers" if shape else "a finite number"
            broken.append((record, f"'{key}' must hold {wanted}, found {str(value)[:60]}"))
    refuse(file, broken, "Correct the value, or remove the record")
    return np.zeros((0, *shape))


def _numbers(value: Any) -> np.ndarray | None:
    """Finite numbers as an array, or None if it holds anything else."""
    try:
        found = np.asarray(value)
    except ValueError:  # ragged
        return None
    if found.dtype.kind not in "iuf" or not np.isfinite(found).all():
        return None
    return found.astype(np.float64)


def need_images(file: Path, names: Iterable[str], folder: Path) -> None:
    """Refuse names of images that are not in the folder."""
    need_folder(folder)
    refuse_absent(file, [name for name in names if not (folder / name).is_file()], folder)


def refuse_absent(file: Path, names: Sequence[str], folder: Path) -> None:
    """Refuse these names of images: nothing in the folder is called so."""
    rule = f"the image must be in {folder}, and is not there"
    remedy = "Copy the missing images, or correct the images folder in the parameters"
    refuse(file, [(f"image {name}", rule) for name in names], remedy)


def find_images(file: Path, names: Iterable[str], folder: Path) -> dict[str, str]:
    """What each image is called in the folder: its name, or what other systems make of it.

    These are the other Unicode form of the same letters, and backslashes between folders.
    """
    need_folder(folder)
    found = {}
    for name in names:
        slashes = name.replace("\\", "/")
        forms = (unicodedata.normalize(form, slashes) for form in ("NFC", "NFD"))
        spelled = (name, slashes, *forms)
        found[name] = next((other for other in spelled if (folder / other).is_file()), None)
    refuse_absent(file, [name for name, there in found.items() if there is None], folder)
    return {name: there for name, there in found.items() if there is not None}


def verify_images(instances: Instances, workers: int | None = None) -> Instances:
    """``check_images`` without a ledger: the people with the checksums of their images."""
    return check_images(instances, None, workers)[0]


LEDGER = ("crc32", "bytes", "height", "width", "turned", "deep")
"""Of each image that has decoded: its file's CRC32 and size, and what was found."""


def check_images(
    instances: Instances, ledger: pd.DataFrame | None, workers: int | None = None
) -> tuple[Instances, pd.DataFrame]:
    """The same people with the checksums of their images, each of which is decoded once, and the
    ledger of these images.

    One that is broken or not of its promised size is refused. Files whose content the ledger of
    before knows are read, and not decoded again.

    Sizes are those of the stored pixels: EXIF orientation is ignored, as in training. How many
    images have such a tag, or more than 8 bits, is logged.
    """
    rows = () if ledger is None else ledger[list(LEDGER)].itertuples(index=False)
    known = {(seen.crc32, seen.bytes): seen for seen in map(_Seen._make, rows)}
    promised = dict(zip(instances.paths.tolist(), map(tuple, instances.image_hw.tolist()),
                        strict=True))  # fmt: skip
    with ThreadPoolExecutor(workers or cpu_count()) as pool:
        looked = pool.map(partial(_look, known=known), promised)
        found = dict(zip(promised, show_progress(looked, len(promised), "checking images"),
                         strict=True))  # fmt: skip
    broken = [(path, seen) for path, seen in found.items() if isinstance(seen, UnreadableImage)]
    if broken:
        fault = broken[0][1]
        _refuse_images([path for path, _ in broken], fault.rule, fault.remedy)
    seen = {path: one for path, one in found.items() if isinstance(one, _Seen)}
    resized = [path for path, one in seen.items() if (one.height, one.width) != promised[path]]
    if resized:
        wanted, one = promised[resized[0]], seen[resized[0]]
        rule = f"the image must have the annotated (height, width) {wanted}, the file has "
        rule += f"{(one.height, one.width)}"
        remedy = "Annotate the size of the stored pixels; orientation tags (EXIF) are ignored"
        _refuse_images(resized, rule, remedy)
    for trait in _TRAITS:
        warn_of(trait, [path for path, one in seen.items() if getattr(one, trait)])
    checksums = np.array([seen[path].crc32 for path in instances.paths], np.int64)
    table = pd.DataFrame(sorted(set(seen.values())), columns=list(LEDGER))
    return replace(instances, checksums=checksums), table


NAMED = 10
"""How many further images an error names."""


def _refuse_images(paths: Sequence[str], rule: str, remedy: str) -> None:
    """Raise ``BadInput`` for the first image, and name others, so that all are mended at once."""
    names, more = [Path(path).name for path in paths[1:]], len(paths) - 1 - NAMED
    if names:
        rest = f" and {more} others" if more > 0 else ""
        rule += f" (and {len(names)} more like it: {', '.join(names[:NAMED])}{rest})"
    raise BadInput(Path(paths[0]), rule, remedy)


_UPRIGHT = (
    "Write them as they are shown: exiftran -ai FILE, or Pillow's ImageOps.exif_transpose. Labels "
    "that were placed on them as they are shown fit then; place others again"
)


def refuse_turned(paths: Iterable[Path]) -> None:
    """Refuse labeled images that are shown turned, of tools that label them as they are shown.

    Raises:
        BadInput: images have an orientation tag (EXIF).
    """
    distinct = [str(path) for path in dict.fromkeys(paths)]
    with ThreadPoolExecutor(cpu_count()) as pool:
        turned = [path for path, is_so in zip(distinct, pool.map(_is_turned, distinct), strict=True)
                  if is_so]  # fmt: skip
    if turned:
        rule = "the image must lie in its file as the tool shows it, and an orientation tag (EXIF) "
        _refuse_images(turned, f"{rule}turns it: labels are of other pixels", _UPRIGHT)


def _is_turned(path: str) -> bool:
    try:
        return is_shown_turned(path)
    except UnreadableImage:  # that it is broken is said of all such images, as they are decoded
        return False


def warn_of(trait: str, paths: Sequence[str]) -> None:
    """Log that these images are "turned" (EXIF) or "deep", and what that means."""
    if paths:
        logger.warning("%d images %s (the first: %s)", len(paths), _TRAITS[trait], paths[0])


_TRAITS = {
    "turned": "have an orientation tag (EXIF), which is ignored: labels and predictions are of the "
    "stored pixels, on which people may lie on their side",
    "deep": "have more than 8 bits: each is stretched from its lowest to its highest value",
}


class _Seen(NamedTuple):
    """A row of the ledger."""

    crc32: int
    bytes: int
    height: int
    width: int
    turned: bool
    deep: bool


def _look(path: str, known: Mapping[tuple[int, int], _Seen]) -> _Seen | UnreadableImage:
    """What an image is that decodes to its last row; else the fault."""
    try:
        content = Path(path).read_bytes()
        name = zlib.crc32(content), len(content)
        if name in known:
            return known[name]
        image = decode(path, content)
    except UnreadableImage as fault:
        return fault
    except OSError as error:
        rule = f"the image must decode, but {error.strerror or error}"
        return UnreadableImage(path, rule, COPY)
    turned, deep = is_turned(image), image.mode in DEEP_MODES
    return _Seen(*name, image.height, image.width, turned, deep)


def stored_sizes(paths: Sequence[Path], workers: int | None = None) -> np.ndarray:
    """The (height, width) (n, 2) of stored images, from their headers, whatever EXIF says."""
    distinct = dict.fromkeys(paths)
    with ThreadPoolExecutor(workers or cpu_count()) as pool:
        found = pool.map(stored_hw, distinct)
        sizes = dict(zip(distinct, show_progress(found, len(distinct), "image sizes"), strict=True))
    return np.array([sizes[path] for path in paths], np.int64).reshape(-1, 2)
