"""The JSON schema of all parameters, from the types of the nodes that read them.

``python docs/parameters_schema.py`` (``make schema``) writes it beside the environments, whose
parameter files name it: editors complete keys, show what they mean and mark what is wrong.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kedro.framework.project import configure_project
from pydantic import TypeAdapter

from sspcm_kedro.parameters import parameter_types
from sspcm_kedro.pipeline_registry import register_pipelines

PROJECT = Path(__file__).parents[1]
FILE = Path("conf") / "parameters.schema.json"
PLAIN = {"seed": "of every random number of a run: equal seeds, equal results"}
"""What those parameters mean that are plain values, without a class to say it."""


def parameter_schema(types: Mapping[str, Any]) -> dict[str, Any]:
    """One JSON schema (2020-12) of files with these parameters, each of which may be missing."""
    references, parts = TypeAdapter.json_schemas(
        [(name, "validation", TypeAdapter(kind)) for name, kind in sorted(types.items())]
    )
    definitions = parts["$defs"]
    for definition in definitions.values():
        meanings = _attributes(definition)
        for name, field in definition.get("properties", {}).items():
            if name in meanings:
                field.setdefault("description", meanings[name])
        union = definition.get("discriminator", {"mapping": {}})
        for member in union["mapping"].values():  # without it several would match
            fields = definitions[member.removeprefix("#/$defs/")]
            fields["required"] = sorted({*fields.get("required", ()), union["propertyName"]})
    parameters: dict[str, Any] = {name: dict(part) for (name, _), part in references.items()}
    for name in PLAIN.keys() & parameters.keys():
        parameters[name]["description"] = PLAIN[name]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Parameters of sspcm-kedro",
        "description": "Written by make schema from the types of the nodes' inputs.",
        "type": "object",
        "properties": parameters,
        "additionalProperties": False,
        "$defs": definitions,
    }


def _attributes(definition: dict[str, Any]) -> dict[str, str]:
    """What a class's docstring says of its attributes; it is cut from the class's description."""
    text, _, section = definition.get("description", "").partition("\n\nAttributes:\n")
    if section:
        definition["description"] = text
    entries = re.findall(r"^ {4}(\w+): (.*(?:\n {5,}.*)*)", section, re.M)
    return {name: " ".join(meaning.split()) for name, meaning in entries}


def project_schema() -> str:
    """The schema of this project's parameters, as its file holds it."""
    schema = parameter_schema(parameter_types(register_pipelines()))
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    configure_project("sspcm_kedro")
    (PROJECT / FILE).write_text(project_schema(), "utf-8")
