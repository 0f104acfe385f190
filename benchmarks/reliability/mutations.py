"""Parameters as nobody means them: single settings of a run, replaced by what breaks programs."""

import copy
import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

BASE = Path(__file__).parents[2] / "conf" / "base"

HOSTILE: tuple[Any, ...] = (
    math.nan, math.inf, -math.inf, 1e30, -1e30, 1e-320, 10**12, -(10**12), 10**400, 2**63, -1, 0,
    -0.0, 0.5, 1.5, True, False, None, "", "abc", "1e3", "0x10", "null", "nan", "../../etc",
    "a\0b", "x" * 5000, "\ud800", [], {}, [[]], [1], [math.nan, math.nan], [10**9, 10**9], [2, 1],
    [-1, -1], {"a": 1}, {"kind": "nothing"}, {1: 2}, [None], "cuda:99", "meta",
)  # fmt: skip
"""Values that some setting may take for its own."""


def parameter_mutations(
    seed: int, parameters: dict[str, Any] | None = None
) -> Iterator[tuple[str, Any]]:
    """Endless (key, another value) pairs, the key as for --params; the same for the same seed.

    Every second is a hostile value; the others are the setting's own one, scaled, negated, turned
    round, wrapped, or as a text; and now and then a key that does not exist.

    Args:
        seed: of the choices.
        parameters: the settings of a run, from which the keys come; by default conf/base's.
    """
    rng = random.Random(seed)
    places = list(places_of(base_parameters() if parameters is None else parameters))
    while True:
        key, value = rng.choice(places)
        if rng.random() < 0.1:
            yield key + rng.choice("sx_"), value
        elif rng.random() < 0.5:
            yield key, copy.deepcopy(rng.choice(HOSTILE))
        else:
            yield key, _bent(value, rng)


def base_parameters() -> dict[str, Any]:
    """The parameters of conf/base, all files together."""
    tables = [yaml.safe_load(file.read_text()) for file in sorted(BASE.glob("parameters*.yml"))]
    return {key: value for table in tables for key, value in table.items()}


def places_of(value: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    """The (key, value) of every setting in parameters, tables included."""
    for key, part in value.items():
        yield f"{above}{key}", part
        if isinstance(part, dict):
            yield from places_of(part, f"{above}{key}.")


def mutated(parameters: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    """Parameters with another value at a key, as --params would make them."""
    changed = copy.deepcopy(parameters)
    *above, last = key.split(".")
    table = changed
    for step in above:
        table = table[step]
    table[last] = value
    return changed


def _bent(value: Any, rng: random.Random) -> Any:
    if isinstance(value, bool) or value is None:
        return rng.choice([None, 1, 0, "yes", [value], -1])
    if isinstance(value, int | float):
        factor = rng.choice([-1, 0, 1e-9, 1e3, 1e6, 1e12])
        return rng.choice([value * factor, int(value * factor), str(value), [value], {"v": value}])
    if isinstance(value, list):
        nested = [[part] for part in value]
        return rng.choice([value[::-1], value * 3, value[:1], nested, [None] * len(value)])
    if isinstance(value, dict):
        return rng.choice([list(value.items()), str(value), {**value, "kind": "drawn_"}, {}])
    return rng.choice([value + "x", value * 2000, [value], 7, value.upper()])
