"""Digests that tell one training from another: settings, people, code."""

import hashlib
import json
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parents[1]
CODE = (
    "augment", "batch.py", "config.py", "data/crops.py", "data/instances.py", "data/loader.py",
    "engine", "methods", "nets", "engine/stage.py", "pipelines/people.py", "pose",
)  # fmt: skip
"""What every training is made of. How people are read and split shows in their tables."""


def fingerprint(*parts: Any) -> str:
    """Twelve hex digits that change when any of the parts (JSON-able, or frames' bytes) does."""
    digest = hashlib.sha256()
    for part in parts:
        data = (
            part
            if isinstance(part, bytes)
            else json.dumps(part, sort_keys=True, default=str).encode()
        )
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()[:12]


def code_digests(pipeline: str) -> dict[str, str]:
    """Digests of the source files that decide what a pipeline trains, by their place in here.

    Part of a checkpoint's fingerprint: networks that older code trained are not the networks that
    this code trains, however equal settings and data are.
    """
    places = [PACKAGE / name for name in (*CODE, f"pipelines/{pipeline}")]
    files = [file for at in places for file in ([at] if at.is_file() else at.rglob("*.py"))]
    return {
        file.relative_to(PACKAGE).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(files)
    }
