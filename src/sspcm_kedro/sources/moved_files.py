"""Images and videos that have moved since a tool noted where they are."""

import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from sspcm_kedro.errors import BadInput
from sspcm_kedro.sources import checks
from sspcm_kedro.sources.image_folder import is_image

_UPLOADED = re.compile(r"^[0-9a-f]{8}-")
"""What Label Studio puts before the names of uploaded files."""


def find_moved_images(file: Path, names: Iterable[str], folder: Path) -> dict[str, Path]:
    """The image below the folder for each name: the one whose path has the longest end in common.

    Names may be those of another computer, with either separator. One without an image's suffix
    (CVAT's frame_000000 of a video) is of the image that is called so but for the suffix.

    Raises:
        BadInput: no image has a name's last part, or several share as much with it.
    """
    checks.need_folder(folder)
    of_name: dict[str, list[Path]] = defaultdict(list)
    of_stem: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(folder.rglob("*")):
        if is_image(path.relative_to(folder)) and path.is_file():
            of_name[path.name].append(path)
            of_stem[path.stem].append(path)
    found, absent = {}, []
    for name in dict.fromkeys(names):
        parts = parts_of(name)
        last = parts[-1] if parts else ""
        candidates = of_name.get(last) or of_name.get(_UPLOADED.sub("", last)) or []
        if not candidates and not is_image(Path(last)):
            candidates = of_stem.get(last, [])
        shared = [_shared_end(path.parts[:-1], parts[:-1]) for path in candidates]
        best = [path for path, many in zip(candidates, shared, strict=True) if many == max(shared)]
        if len(best) > 1:
            rule = f"the image may be {best[0]} or {best[1]}"
            raise BadInput(f"{file}, image {name}", rule, "Rename one, or remove the other")
        if best:
            found[name] = best[0]
        else:
            absent.append(name)
    checks.refuse_absent(file, absent, folder)
    return found


def parts_of(name: str) -> list[str]:
    """The parts of a path of any system, but "." and ".."."""
    return [part for part in re.split(r"[\\/]+", name) if part not in ("", ".", "..")]


def find_moved_folder(root: Path, name: str) -> Path | None:
    """The file or folder of the root that ends as the name does; None where none does."""
    parts = parts_of(name)
    ends = (root.joinpath(*parts[start:]) for start in range(len(parts)))
    try:
        return next((path for path in ends if path.exists()), None)
    except (OSError, ValueError):  # no file system can have such a name
        return None


def _shared_end(one: Iterable[str], other: Iterable[str]) -> int:
    count = 0
    for a, b in zip(reversed([*one]), reversed([*other]), strict=False):
        if a != b:
            break
        count += 1
    return count
