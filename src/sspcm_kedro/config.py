"""The base of every typed parameter, and the types that several of them share."""

import os
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

T = TypeVar("T", bound=tuple[float, ...])

LONGEST_NAME, LONGEST_PATH = 255, 4000
"""Bytes that file systems take in one part of a path, and in all of it."""


class Settings(BaseModel):
    """Frozen, finite, and an unknown key is an error that names it."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _no_truth_for_a_number(cls, values: Any) -> Any:
        """Pydantic takes true for 1: a slip of the pen would become a number."""
        for name, value in values.items() if isinstance(values, dict) else ():
            field = cls.model_fields.get(name)
            parts = value if isinstance(value, list | tuple) else [value]
            if field and any(isinstance(part, bool) for part in parts):
                if "bool" not in str(field.annotation):
                    raise ValueError(f"{name} must not be true or false")
        return values

    @field_validator("*")
    @classmethod
    def _possible_path(cls, value: Any) -> Any:
        if isinstance(value, Path):
            parts = [len(part.encode(errors="replace")) for part in value.parts]
            if max(parts, default=0) > LONGEST_NAME or sum(parts) > LONGEST_PATH:
                raise ValueError("is too long for the name of a file")
            if "\0" in str(value):
                raise ValueError("must not have the character 0 in it")
            return Path(os.path.expanduser(value))  # shells leave --params source.root=~/data
        if isinstance(value, str) and value.startswith("~/"):  # a name or a file, as of weights
            return os.path.expanduser(value)
        return value


def _ascending(values: T) -> T:
    if list(values) != sorted(values):
        raise ValueError(f"must not descend, got {list(values)}")
    return values


def _distinct(values: T) -> T:
    if len(set(values)) < len(values):
        raise ValueError(f"must not repeat a value, got {list(values)}")
    return values


Ascending = AfterValidator(_ascending)
"""Of a tuple of numbers: each is at least the one before. Of two, a range (smallest, largest)."""
Distinct = AfterValidator(_distinct)
"""Of a tuple of numbers: none occurs twice."""

Share = Annotated[float, Field(ge=0, le=1)]
"""A share or a probability."""
Count = Annotated[int, Field(ge=1, le=10**9)]
"""A number of things that the data must have; no memory depends on it."""
