"""Whose a row is: tables that belong together, and stored tensors with a row a person."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from sspcm_kedro.data.instances import Instances
from sspcm_kedro.errors import BadInput


def as_unit(tables: Sequence[Instances], skeleton: Mapping[str, Any]) -> list[Instances]:
    """The tables, marked as parts of one ingestion: digests of all people and of their skeleton.

    Equal people make an equal unit, wherever their images lie; so the same ingestion again, killed
    or not, changes nothing.
    """
    digest = hashlib.sha256()
    for table in tables:
        frame = table.to_frame().drop(columns="path")
        digest.update(str(frame.to_json(orient="split", double_precision=6)).encode())
    unit = f"{digest.hexdigest()[:12]}-{_digest_of(skeleton)}"
    return [replace(table, unit=unit) for table in tables]


def check_unit(skeleton: Mapping[str, Any] | None = None, **tables: Instances | None) -> None:
    """Refuse tables of several ingestions, such as a run that was killed in the middle leaves.

    Args:
        skeleton: of the people, if it is read with them.
        tables: by name.

    Raises:
        BadInput: names two tables that do not belong together.
    """
    remedy = "Run ingestion to its end: kedro run --pipelines ingestion (with the same --params)"
    units = {name: table.unit for name, table in tables.items() if table is not None}
    first, *others = units
    for name in others:
        if units[name] != units[first]:
            rule = f"must be of the same ingestion as the {first} people ({_said(units[first])}), "
            raise BadInput(f"{name} people", f"{rule}and are of {_said(units[name])}", remedy)
    unit = units[first]
    if skeleton is not None and unit and not unit.endswith(f"-{_digest_of(skeleton)}"):
        rule = f"must be of the same ingestion as the {first} people, and is another"
        raise BadInput("skeleton", rule, remedy)


def _digest_of(value: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]


def _said(unit: str) -> str:
    return f"ingestion {unit}" if unit else "one that left no mark"


def whose(people: Instances) -> dict[str, Any]:
    """What stored tensors with a row a person carry to say whose they are: ``ids`` (n), an int64
    tensor, and ``unit``. ``check_people`` reads it."""
    return {"ids": torch.tensor(people.ids), "unit": people.unit}


def check_people(stored: Mapping[str, Any], people: Instances, where: str, remedy: str) -> None:
    """Refuse stored rows (predictions, corrected labels) that are not of these people, in order.

    Args:
        stored: tensors with a row a person, with all that ``whose`` gave.
        people: with whom they are to be used.
        where: what an error calls them.
        remedy: how to make them again.

    Raises:
        BadInput: they are of others, of the same in another order or of another ingestion, or do
            not say of whom.
    """
    if "ids" not in stored:
        rule = "must say of which people they are (ids), as this version of the project stores them"
        raise BadInput(where, rule, remedy)
    ids = np.asarray(stored["ids"])
    if not np.array_equal(ids, people.ids):
        if len(ids) == len(people):
            found = f"{int((ids != people.ids).sum())} of {len(ids)} rows are of others"
        else:
            strange = int((~np.isin(ids, people.ids)).sum())
            found = f"found {len(ids)} rows for {len(people)} people, {strange} of other people"
        rule = f"must have a row for each person of the table as it is now, and {found}"
        raise BadInput(where, rule, remedy)
    unit = stored.get("unit", "")
    if unit != people.unit:
        rule = f"must be of the people's ingestion ({_said(people.unit)}), and are of {_said(unit)}"
        raise BadInput(where, rule, remedy)
