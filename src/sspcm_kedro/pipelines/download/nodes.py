"""From a set's name to what has to be fetched."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import field_validator

from sspcm_kedro.config import Settings
from sspcm_kedro.downloads.published import Download
from sspcm_kedro.errors import BadInput
from sspcm_kedro.sources import SETS

if TYPE_CHECKING:
    SetName = str
else:
    SetName = Literal[tuple(SETS)]


class DownloadConfig(Settings):
    """What to fetch.

    Attributes:
        source: the set.
        root: the folder it becomes; the ``source.root`` of its reader.
        parts: names joined by "+", or a list; ``None``: the usual ones.
        mirror: the address of a folder that has the archives under their own names; ``None``: their
            owners' addresses.
        keep_archives: whether to keep them once they are unpacked.
    """

    source: SetName | None = None
    root: Path | None = None
    parts: tuple[str, ...] | None = None
    mirror: str | None = None
    keep_archives: bool = False

    @field_validator("parts", mode="before")
    @classmethod
    def _split(cls, parts: Any) -> Any:
        """``--params`` takes every comma for the end of a parameter."""
        return parts.split("+") if isinstance(parts, str) else parts

    @field_validator("mirror")
    @classmethod
    def _on_the_web(cls, mirror: str | None) -> str | None:
        if mirror is not None and not mirror.startswith(("http://", "https://")):
            raise ValueError(f"must start with http:// or https://, found {mirror!r}")
        return mirror


def choose_parts(download: DownloadConfig) -> Download:
    """What to fetch; the catalog entry that saves it does the fetching.

    Raises:
        BadInput: no set or folder is named, or the set has no such part.
    """
    if download.source is None:
        remedy = "kedro run --pipelines download --params download.source=NAME,download.root=DIR"
        rule = f"must name a set: {', '.join(SETS)}"
        raise BadInput("parameter download.source", rule, remedy)
    kind, chosen = SETS[download.source]
    if download.root is None:
        folder = chosen.folder or download.source
        remedy = f"Add download.root=data/01_raw/{folder}, where the environments look"
        raise BadInput("parameter download.root", "must name the folder to fill", remedy)
    names = dict.fromkeys(download.parts or chosen.usual or chosen.parts)
    for name in names:
        if name not in chosen.parts:
            rule = f"{download.source} has no part {name!r}"
            remedy = f"Choose among {', '.join(chosen.parts)}, joined by '+'"
            raise BadInput("parameter download.parts", rule, remedy)
    parts = tuple(chosen.parts[name] for name in names)
    return Download(download.source, kind, download.root, parts, download.mirror,
                    download.keep_archives)  # fmt: skip
