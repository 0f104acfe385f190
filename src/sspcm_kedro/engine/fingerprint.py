"""Digests that tell one training from another: settings, people, code."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sspcm_kedro.data.instances import Instances

PACKAGE = Path(__file__).parents[1]
CODE = (
    "augment", "batch.py", "config.py", "data/ahead.py", "data/crops.py", "data/held_out.py",
    "data/image_file.py", "data/instances.py", "data/loader.py", "data/stored_crops.py",
    "data/views.py", "engine",
    "machine.py", "methods", "nets",
    "pose", "ranks.py", "seeds.py",
)  # fmt: skip
"""What every training is made of. How people are read and split shows in their tables."""


def fingerprint(*parts: Any) -> str:
    """Twelve hex digits that change when any of the parts (JSON-able, or frames' bytes) does."""
    digest = hashlib.sha256()
    for part in parts:
        data = part
        if not isinstance(part, bytes):
            data = json.dumps(part, sort_keys=True, default=str).encode()
        digest.update(len(data).to_bytes(8, "big"))
        digest.update(data)  # apart: of a million people it is half a GiB
    return digest.hexdigest()[:12]


def code_digests(pipeline: str) -> dict[str, str]:
    """Digests of the source files that decide what a pipeline trains, by their place in here.

    A checkpoint keeps them. They are no part of its fingerprint: a comment would discard days of
    training. Where they differ a stage warns and names the files.
    """
    places = [PACKAGE / name for name in (*CODE, f"pipelines/{pipeline}")]
    files = [file for at in places for file in ([at] if at.is_file() else at.rglob("*.py"))]
    return {
        file.relative_to(PACKAGE).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(files)
    }


def file_digests(files: Iterable[str]) -> dict[str, str]:
    """Digests of files' content, by name; of those that are there."""
    return {
        name: hashlib.sha256(Path(name).read_bytes()).hexdigest()[:12]
        for name in files
        if Path(name).is_file()
    }


def people_text(people: Instances) -> str:
    """What people's rows say and the checksums of their image files, to be fingerprinted.

    Not where on this machine the files lie, nor when they came here.
    """
    table = people.to_frame().drop(columns="path")
    return str(table.to_json(orient="values", double_precision=6))
