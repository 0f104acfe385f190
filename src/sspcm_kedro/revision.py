"""Which revision of a project this is."""

import subprocess
from pathlib import Path
from typing import NamedTuple


class Revision(NamedTuple):
    """What Git says of a project.

    Attributes:
        commit: its hash.
        branch: its name; HEAD where there is none.
        dirty: whether code or settings differ from the commit.
    """

    commit: str
    branch: str
    dirty: bool


def git_revision(root: Path) -> Revision | None:
    """The revision of the project in a folder; None without Git, or before the first commit."""

    def git(*words: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(root), *words], capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    try:
        return Revision(
            git("rev-parse", "HEAD"),
            git("rev-parse", "--abbrev-ref", "HEAD"),
            bool(git("status", "--porcelain", "--", "src", "conf")),
        )
    except (subprocess.CalledProcessError, FileNotFoundError):
        return None
