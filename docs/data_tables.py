"""Writes the tables of docs/data.md that follow from the sources: python docs/data_tables.py"""

import re
from pathlib import Path

from sspcm_kedro.downloads.published import Part, PublishedSet
from sspcm_kedro.sources import KINDS, SETS
from sspcm_kedro.sources.base import BaseSource
from sspcm_kedro.sources.project import ProjectSource

PAGE = Path(__file__).with_name("data.md")


def kinds_table() -> str:
    """A row a kind: its keypoints, and what its class says of it first."""
    rows = [f"| `{kind}` | {_keypoints(kind, source)} | {_summary(source)} |"
            for kind, source in KINDS.items()]  # fmt: skip
    return "\n".join(["| `source.kind` | keypoints | reads |", "|---|---|---|", *rows])


def sets_table() -> str:
    """A row a published set: what is fetched of it, and what nobody can fetch for the user."""
    rows = [f"| `{name}` | `{kind}` | {_fetched(published)} | {_by_hand(published)} |"
            for name, (kind, published) in SETS.items()]  # fmt: skip
    head = "| `download.source` | `source.kind` | parts that are fetched | to get by hand |"
    return "\n".join([head, "|---|---|---|---|", *rows])


def render(page: str) -> str:
    """The page with its tables as they should be."""
    for name, table in (("kinds", kinds_table()), ("sets", sets_table())):
        marked = re.compile(rf"(<!-- {name}: [^>]*-->\n).*?(\n<!-- end -->)", re.DOTALL)
        page, count = marked.subn(lambda found, table=table: found[1] + table + found[2], page)
        if count != 1:
            raise ValueError(f"{PAGE} must have one table between '<!-- {name}: ... -->' and "
                             f"'<!-- end -->', found {count}")  # fmt: skip
    return page


def _keypoints(kind: str, source: type[BaseSource]) -> str:
    own = kind == "coco" or issubclass(source, ProjectSource)
    return "its own" if own else str(source.skeleton.size)


def _summary(source: type[BaseSource]) -> str:
    return (source.__doc__ or "").splitlines()[0].rstrip(".")


def _fetched(published: PublishedSet) -> str:
    names = [_part(name, part) for name, part in published.parts.items() if part.archives]
    usual = f"; by default {', '.join(f'`{name}`' for name in published.usual)}"
    return ", ".join(names) + (usual if published.usual else "")


def _part(name: str, part: Part) -> str:
    sizes = [archive.size for archive in part.archives]
    known = sum(size for size in sizes if size is not None)
    return f"`{name}`" + ("" if None in sizes else f" ({known / 1e9:.1f} GB)")


def _by_hand(published: PublishedSet) -> str:
    items = [item for part in published.parts.values() for item in part.by_hand]
    return ", ".join(f"`{item.into}`" for item in items)


if __name__ == "__main__":
    PAGE.write_text(render(PAGE.read_text()))
