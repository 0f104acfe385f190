"""The JSON schema of the parameters: as the types are now, and every parameter file obeys it."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from kedro.pipeline import Pipeline, node
from parameters_schema import FILE, parameter_schema, parameter_types, project_schema

from sspcm_kedro.data.views import ViewConfig

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "conf").glob("*/parameters*.yml"))
NAMED = "# yaml-language-server: $schema=../parameters.schema.json"


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return json.loads((ROOT / FILE).read_text())


@pytest.fixture(scope="module")
def parameters() -> dict[str, Any]:
    """Those of conf/base, all keys together."""
    tables = [yaml.safe_load(f.read_text()) for f in FILES if f.parent.name == "base"]
    return {key: value for table in tables for key, value in table.items()}


def errors(schema: dict[str, Any], parameters: dict[str, Any]) -> list[str]:
    """The messages, of the alternatives too, each after the place that it is about."""
    found, left = [], list(Draft202012Validator(schema).iter_errors(parameters))
    while left:
        error = left.pop()
        left += error.context or []
        found.append(".".join(map(str, error.absolute_path)) + ": " + error.message)
    return found


def test_the_stored_schema_is_that_of_the_types(configured, schema, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert schema == json.loads(project_schema()), f"{FILE} is out of date: run make schema"


def test_it_has_every_parameter_of_base_and_says_what_each_is(schema, parameters):
    Draft202012Validator.check_schema(schema)
    assert set(schema["properties"]) == set(parameters)
    for name, part in schema["properties"].items():
        place = part.get("$ref", "").removeprefix("#/$defs/")
        assert part.get("description") or schema["$defs"][place].get("description"), name
    closed = [part for part in schema["$defs"].values() if part.get("type") == "object"]
    assert len(closed) > 20 and not any(part["additionalProperties"] for part in closed)
    assert schema["additionalProperties"] is False


def test_meanings_come_from_fields_and_from_docstrings(schema):
    view, split = schema["$defs"]["ViewConfig"], schema["$defs"]["SplitConfig"]
    assert view["properties"]["stride"]["description"] == "input pixels a heatmap cell"
    labeled = split["properties"]["labeled"]["description"]
    assert labeled == 'people whose labels are used; "all" uses those of every annotated person.'
    assert "Attributes" not in split["description"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_a_parameter_file_names_the_schema_and_obeys_it(file, schema):
    lines = file.read_text().splitlines()
    assert lines[0] == NAMED
    assert (file.parent / NAMED.partition("$schema=")[2]).samefile(ROOT / FILE)
    assert not errors(schema, yaml.safe_load(file.read_text()))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"trainin": {}}, "'trainin' was unexpected"),
        ({"training": {"bach": 16}}, "'bach' was unexpected"),
        ({"view": {"stride": 0}}, "view.stride: 0 is less than the minimum of 1"),
        ({"seed": "one"}, "seed: 'one' is not of type 'integer'"),
        ({"source": {"kind": "coco17"}}, "source.kind: 'coco' was expected"),
        ({"source": {"kind": "coco", "roots": "x"}}, "'roots' was unexpected"),
    ],
)
def test_what_is_wrong_is_named(schema, parameters, change, message):
    assert not errors(schema, parameters)
    assert any(message in error for error in errors(schema, {**parameters, **change}))


def _typed(view: ViewConfig, table: int) -> int: ...
def _otherwise(view: int) -> int: ...
def _untyped(view) -> int: ...


def test_types_come_from_the_nodes(schema):
    typed = Pipeline([node(_typed, ["params:view", "table"], "a")])
    assert parameter_types({"one": typed}) == {"view": ViewConfig}
    for other in (_otherwise, _untyped):
        both = {"one": typed, "two": Pipeline([node(other, "params:view", "b")])}
        with pytest.raises(TypeError, match="takes view as"):
            parameter_types(both)
    alone = parameter_schema({"view": ViewConfig})
    assert alone["properties"] == {"view": {"$ref": "#/$defs/ViewConfig"}}
