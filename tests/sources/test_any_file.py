"""Whatever stands in a file: a reader reads it or refuses it as BadInput that names the file."""

import copy
import json
import random
import re
from collections.abc import Iterator
from typing import Any

import pytest

from formats import WRITERS
from sspcm_kedro.errors import BadInput
from sspcm_kedro.sources import SourceConfig

ODD = [None, True, "", "x", "../x", [], [[]], {}, {"a": 1}, -1, 0.5, 10**400, float("nan"), 1e999]


def places(value: Any, path: tuple = ()) -> Iterator[tuple]:
    """Where something stands in a JSON value."""
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in items:
        if isinstance(item, dict | list):
            yield from places(item, (*path, key))
        else:
            yield (*path, key)


def replaced(content: Any, path: tuple, odd: Any) -> Any:
    changed = copy.deepcopy(content)
    holder = changed
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = odd
    return changed


def read(record: dict) -> None:
    """Read; a refusal names a file: this one, or one of another part that does not go with it."""
    try:
        SourceConfig.model_validate(record).root.read()
    except BadInput as error:
        assert re.search(r"\.(json|mat|jpg)", str(error)), str(error)


@pytest.mark.parametrize("kind", WRITERS)
def test_files_that_are_something_else(tmp_path, kind):
    record = WRITERS[kind](tmp_path)
    source = SourceConfig.model_validate(record).root
    source.read()
    files = [
        file for file in tmp_path.rglob("*") if file.suffix in (".json", ".mat", ".yaml", ".xml")
    ]
    for file in files:
        whole = file.read_bytes()
        broken = [b"", b"{}", b"[]", b"null", b"3", b"[3]", b"\xff\xfe", whole[: len(whole) // 2]]
        for content in broken:
            file.write_bytes(content)
            with pytest.raises(BadInput, match=file.name):
                source.read()
        file.unlink()
        with pytest.raises(BadInput, match=f"{file.name}: there must be such a file"):
            source.read()
        file.write_bytes(whole)
    source.read()


@pytest.mark.parametrize("kind", ["coco", "mpii", "aic", "fisheye", "crowdpose", "ochuman",
                                  "label_studio"])  # fmt: skip
def test_files_with_an_odd_value(tmp_path, kind):
    """Any value anywhere: no other error than BadInput comes out."""
    record = WRITERS[kind](tmp_path)
    draw = random.Random(kind)
    for file in sorted(tmp_path.rglob("*.json")):
        content = json.loads(file.read_text())
        where = sorted(places(content), key=str)
        for path in draw.sample(where, min(len(where), 60)):
            file.write_text(json.dumps(replaced(content, path, draw.choice(ODD))))
            read(record)
        file.write_text(json.dumps(content))
