"""Parameters, typed: what the nodes that read them say they are, and nothing else."""

import difflib
import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_type_hints

from kedro.framework.context import KedroContext
from kedro.framework.project import pipelines
from kedro.pipeline import Pipeline
from pydantic import TypeAdapter, ValidationError

from sspcm_kedro.errors import BadInput, shown

PREFIX = "params:"


def parameter_types(pipelines: Mapping[str, Pipeline]) -> dict[str, Any]:
    """The type of each parameter, by name: the annotation that nodes have for their input.

    Raises:
        TypeError: a node does not annotate a parameter, or two nodes differ.
    """
    found: dict[str, Any] = {}
    for node in {node for pipeline in pipelines.values() for node in pipeline.nodes}:
        hints = get_type_hints(node.func, include_extras=True)
        arguments = list(inspect.signature(node.func).parameters)
        for argument, name in zip(arguments, node.inputs, strict=False):  # defaults may be left
            if name.startswith(PREFIX):
                key, hint = name.removeprefix(PREFIX), hints.get(argument)
                if hint is None or found.setdefault(key, hint) != hint:
                    raise TypeError(f"node {node.name} takes {key} as {hint}, not {found.get(key)}")
    return found


class TypedContext(KedroContext):
    """Kedro's context, whose parameters are typed objects or one sentence.

    Kedro types them too, but none that are plain values (seed), and tells of errors in its own way.
    """

    @property
    def params(self) -> dict[str, Any]:
        """The parameters; those that the wanted pipelines read (else all) are typed objects.

        Raises:
            BadInput: a key is of no parameter, or a value breaks a rule.
        """
        raw = self.config_loader["parameters"]
        everything = dict(pipelines)
        known = parameter_types(everything)
        refuse_unknown(raw, known, getattr(self.config_loader, "file_of", {}))
        wanted = self._pipelines_to_validate
        types = known if wanted is None else parameter_types({n: everything[n] for n in wanted})
        typed = {key: parse(key, raw[key], kind) for key, kind in types.items() if key in raw}
        return {**raw, **typed}


def refuse_unknown(
    raw: Mapping[str, Any], known: Mapping[str, Any], file_of: Mapping[str, Any]
) -> None:
    """Refuse keys of no parameter; those that begin with ``_`` may hold what YAML anchors repeat.

    Args:
        raw: the parameters.
        known: what has the names of all that there are.
        file_of: the file of a key, for the message.
    """
    for key in raw:
        if key not in known and not str(key).startswith("_"):
            where = f"{file_of[key]}, {key}" if key in file_of else f"parameter {key}"
            raise BadInput(where, "is not a parameter of this project", near(key, known))


def near(key: str, known: Mapping[str, Any]) -> str:
    """What a wrong key may have been meant to be."""
    close = difflib.get_close_matches(str(key), known, 1)
    return f"Did you mean {close[0]}?" if close else f"Known are {', '.join(sorted(known))}."


def parse(key: str, value: Any, kind: Any) -> Any:
    """A parameter as an object of its type.

    Raises:
        BadInput: says which setting in it breaks which rule.
    """
    adapter: TypeAdapter[Any] = TypeAdapter(kind)
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False)
    except (RecursionError, OverflowError) as error:
        raise BadInput(f"parameter {key}", f"cannot be read ({error})", _REMEDY) from error
    rules: dict[tuple[str, ...], list[str]] = {}
    for fault in faults:
        rules.setdefault(tuple(_place(fault["loc"], value)), []).append(fault["msg"])
    place, messages = next(iter(rules.items()))
    rule = " or ".join(dict.fromkeys(map(_rule, messages))) + _found(value, place)
    if len(rules) > 1:
        rule += f" (and {len(rules) - 1} more of {key} are wrong)"
    remedy = _REMEDY
    if faults[0]["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        remedy = _instead(place[-1], list(_objects(adapter.json_schema())))
    raise BadInput(f"parameter {'.'.join([key, *place])}", rule, remedy)


_REMEDY = "Correct it; conf/parameters.schema.json has what each setting may be"


def _rule(message: str) -> str:
    """Pydantic's words as the end of a sentence about a setting."""
    for theirs, ours in _WORDS.items():
        message = message.replace(theirs, ours)
    return message


_WORDS = {
    "Extra inputs are not permitted": "is not a setting",
    "Unexpected keyword argument": "is not a setting",
    "Value error, ": "",
    "Assertion failed, ": "",
    "Input should": "must",
    "Field required": "must be given",
}


def _place(loc: tuple[int | str, ...], value: Any) -> Iterator[str]:
    """The keys of an error's place, without pydantic's names for members of unions."""
    for number, step in enumerate(loc):
        last = number == len(loc) - 1
        if isinstance(value, dict):
            if step in value:
                value = value[step]
                yield str(step)
            elif last and step != value.get("kind"):  # a key that is missing
                yield str(step)
        elif isinstance(value, list | tuple) and isinstance(step, int) and step < len(value):
            value = value[step]
            yield str(step)


def _found(value: Any, place: tuple[str, ...]) -> str:
    for step in place:
        if isinstance(value, dict) and step in value:
            value = value[step]
        elif isinstance(value, list | tuple) and step.isdecimal():
            value = value[int(step)]
        else:
            return ""
    return f", found {shown(value)}"


def _instead(key: str, objects: Sequence[Mapping[str, Any]]) -> str:
    """Of which other kinds a wrong key is a setting, or what it may have been meant to be."""
    kinds = sorted({names["kind"]["const"] for names in objects
                    if key in names and "const" in names.get("kind", {})})  # fmt: skip
    if kinds:
        return f"It is one where kind is {' or '.join(kinds)}"
    others = (name for names in objects for name in names if name != key)
    return near(key, dict.fromkeys(others))


def _objects(schema: Any) -> Iterator[Mapping[str, Any]]:
    """The settings of each object anywhere in a type's JSON schema, by name."""
    if isinstance(schema, dict):
        if "properties" in schema:
            yield schema["properties"]
        for part in schema.values():
            yield from _objects(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from _objects(part)
