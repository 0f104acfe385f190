"""Where a run happens: versions, Git, DVC, process."""

import logging
import os
import platform
import socket
from functools import cache
from importlib.metadata import version
from pathlib import Path

from sspcm_kedro.revision import git_revision

logger = logging.getLogger(__name__)

PACKAGES = ("sspcm-kedro", "kedro", "mlflow", "numpy", "torch", "torchvision")


def tags_of(root: Path) -> dict[str, str]:
    """What is written beside an experiment, and may differ between the processes that make it."""
    versions = {f"version.{name}": version(name) for name in PACKAGES}
    return {
        "mlflow.source.name": "sspcm-kedro",
        "mlflow.source.type": "PROJECT",
        "version.python": platform.python_version(),
        **versions,
        **git_tags(root),
        **dvc_tags(),
        "process": process(),
    }


@cache
def git_tags(root: Path) -> dict[str, str]:
    """Commit, branch, and whether code or settings differ from it; nothing without a repository."""
    revision = git_revision(root)
    if revision is None:
        logger.warning(
            "%s has no Git commit (or Git is not installed): the MLflow run says the hash of the "
            "code but no revision. `git init`, add and commit to have one.", root
        )  # fmt: skip
        return {}
    return {
        "mlflow.source.git.commit": revision.commit,
        "mlflow.source.git.branch": revision.branch,
        "git.dirty": str(revision.dirty).lower(),
    }


def dvc_tags() -> dict[str, str]:
    """The experiment, the commit it started from and the stage, where DVC started this process."""
    names = {"dvc.experiment": "DVC_EXP_NAME", "dvc.baseline": "DVC_EXP_BASELINE_REV"}
    tags = {tag: os.environ[name] for tag, name in names.items() if os.environ.get(name)}
    if stage := os.environ.get("DVC_STAGE"):  # each of an experiment's stages leaves its own
        tags[f"dvc.stage.{stage.replace('@', '/')}"] = process()
    return tags


def process() -> str:
    """This process, as ``is_gone`` understands it."""
    return f"{socket.gethostname()}:{os.getpid()}"


def is_gone(described: str) -> bool:
    """Whether a process of this machine no longer runs; False for other machines.

    One with this process's own number is an earlier one: this one has no run open when it asks.
    """
    host, _, number = described.rpartition(":")
    if host != socket.gethostname() or not number.isdigit():
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return int(number) == os.getpid()
