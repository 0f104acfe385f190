"""What is known of a published set, and what is chosen of it to fetch. Plain data."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Archive:
    """A zip or tar and what of it goes where.

    Attributes:
        url: where its owners have it.
        places: (pattern, target): members whose path ends as the pattern says go to the target, a
            folder of nothing else if it ends in "/", or else one file. Other members are left out.
        size: bytes, if published.
        checksum: "sha256:..." or "md5:...", if published; without it an archive is held to the
            length that its server announces and to the checksums inside it.
        growth: unpacked bytes for each packed one, rather too many than too few; only the check of
            the free disk before fetching needs it. Images hardly shrink when packed, JSON does.
    """

    url: str
    places: tuple[tuple[str, str], ...]
    size: int | None = None
    checksum: str | None = None
    growth: float = 1.1

    @property
    def name(self) -> str:
        """Its file name."""
        return self.url.rsplit("/", 1)[1]

    @property
    def targets(self) -> tuple[str, ...]:
        """The files and folders it becomes, without a final "/"."""
        return tuple(dict.fromkeys(target.rstrip("/") for _, target in self.places))


@dataclass(frozen=True)
class ByHand:
    """Something that needs a request, an account or a browser.

    Attributes:
        what: its name.
        where: the place that has it.
        into: the file or folder, relative to the set's root, that the reader expects.
        note: what else must be done to it.
    """

    what: str
    where: str
    into: str
    note: str = ""


@dataclass(frozen=True)
class Part:
    """A piece of a set that can be left out, and the keys of ``source`` that it fills."""

    archives: tuple[Archive, ...] = ()
    by_hand: tuple[ByHand, ...] = ()
    source: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class PublishedSet:
    """A set that somebody publishes.

    Attributes:
        name: that ``download.source`` takes.
        parts: by name.
        usual: names of the parts to fetch without further words; none named means all.
        folder: below data/01_raw, where it is not called as the set is.
    """

    name: str
    parts: dict[str, Part]
    usual: tuple[str, ...] = ()
    folder: str | None = None


@dataclass(frozen=True)
class Download:
    """Chosen parts of a set and the folder they go to.

    Attributes:
        name: of the set.
        kind: the ``source.kind`` that reads it.
        root: the folder.
        parts: what is chosen.
        mirror: the address of a folder that has the archives under their own names; ``None``: their
            owners' addresses.
        keep_archives: whether to keep them once they are unpacked.
    """

    name: str
    kind: str
    root: Path
    parts: tuple[Part, ...]
    mirror: str | None = None
    keep_archives: bool = False

    @property
    def archives(self) -> tuple[Archive, ...]:
        """All of them, each once."""
        return tuple(dict.fromkeys(archive for part in self.parts for archive in part.archives))

    @property
    def by_hand(self) -> tuple[ByHand, ...]:
        """What nobody can fetch for the user."""
        return tuple(item for part in self.parts for item in part.by_hand)

    def url(self, archive: Archive) -> str:
        """The address to fetch an archive from."""
        return f"{self.mirror.rstrip('/')}/{archive.name}" if self.mirror else archive.url

    def source(self) -> dict[str, Any]:
        """The parameter ``source`` that reads those parts which are there."""
        keys = {key: value for part in self.parts for key, value in part.source.items()}
        there = {
            key: value
            for key, value in keys.items()
            if all((self.root / path).exists() for path in value.values())
        }
        return {"kind": self.kind, "root": str(self.root), **there}
