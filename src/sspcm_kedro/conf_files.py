"""The files of conf/, read strictly: what Kedro would pass over or choke on is one sentence."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from kedro.config import MissingConfigException, OmegaConfigLoader
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sspcm_kedro.errors import BadInput, shown

DEEPEST, LARGEST = 50, 100_000
"""Lists in lists, and values in a file (those that aliases repeat count each time)."""

_TEXT, _MERGE = "tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"
_SUFFIXES = (".yml", ".yaml", ".json")
_logger = logging.getLogger(__name__)


class StrictConfigLoader(OmegaConfigLoader):
    """Kedro's loader, after a look at every file of the base and of the run's environment.

    Attributes:
        file_of: the file of each top-level key of parameters; of two, the environment's.

    Raises:
        BadInput: there is no such environment, or a file is not YAML with texts as keys, each once.
    """

    def __init__(self, conf_source: str | Path, env: str | None = None, **options: Any) -> None:
        self.file_of: dict[str, Path] = {}
        root = Path(conf_source)
        if root.is_dir():  # else an archive or an address, which Kedro can read too
            for name in (options.get("base_env"), env or options.get("default_run_env")):
                if name:
                    self._look_at(root, str(name))
        with explain_errors(str(conf_source)):
            super().__init__(conf_source=conf_source, env=env, **options)

    def __getitem__(self, key: str) -> Any:
        with explain_errors(f"{key} in {self.conf_source}"):
            return super().__getitem__(key)

    def _look_at(self, root: Path, name: str) -> None:
        folder = root / name
        if not folder.is_dir():
            known = sorted(path.name for path in root.iterdir() if path.is_dir())
            raise BadInput(folder, "there must be such a folder, the environment's settings",
                           f"Known are {', '.join(known)}")  # fmt: skip
        for file in sorted(folder.rglob("*")):
            hidden = any(part.startswith(".") for part in file.relative_to(root).parts)
            if file.suffix in _SUFFIXES and file.is_file() and not hidden:
                keys = check_yaml(file)
                if file.name.startswith("parameters"):
                    self.file_of.update(dict.fromkeys(keys, file))


def change(parameters: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters of the files with those of ``--params``.

    A value takes the place of one; the others of its object stay. But where an object becomes one
    of another ``kind`` (``method.kind=sspcm``, ``network.teacher.kind=hrnet``), the files' settings
    are those of a kind that it no longer is, and only what is given counts.

    Args:
        parameters: by top-level key.
        given: nested as they are; only what changes.

    Raises:
        OmegaConfBaseException: the two do not fit together.
    """
    kept = {key: _of_its_kind(key, own, given.get(key)) for key, own in parameters.items()}
    merged = OmegaConf.to_container(OmegaConf.merge(kept, given))
    assert isinstance(merged, dict)
    return merged  # pyright: ignore[reportReturnType]


def _of_its_kind(name: str, own: Any, given: Any) -> Any:
    """What stays of a parameter of the files, given what is to change in it."""
    if not isinstance(own, Mapping) or not isinstance(given, Mapping):
        return own
    if given.get("kind", own.get("kind")) == own.get("kind"):
        return {k: _of_its_kind(f"{name}.{k}", v, given.get(k)) for k, v in own.items()}
    left = sorted(set(own) - set(given))
    if left:
        _logger.info("%s.kind is %s: the files' settings of %s are left out (%s).", name,
                     given["kind"], own.get("kind"), ", ".join(left))  # fmt: skip
    return {}


def check_yaml(file: Path) -> list[str]:
    """The top-level keys of a file of settings.

    Raises:
        BadInput: it is no mapping, not UTF-8, too deep or large, or a key is no text or is there
            twice.
    """
    try:
        text = file.read_bytes().decode("utf-8-sig")
        depth = 0
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if depth > DEEPEST:
                line = event.start_mark.line + 1
                rule = f"must have at most {DEEPEST} levels, and line {line} is deeper"
                raise BadInput(file, rule, "Settings are flat: compare conf/base")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except UnicodeDecodeError as error:
        rule = f"must be text in the encoding UTF-8, but {error}"
        raise BadInput(file, rule, "Save it as UTF-8") from error
    except OSError as error:
        raise BadInput(file, f"must be readable, but {error.strerror}", "Correct it") from error
    except (yaml.YAMLError, ValueError) as error:
        raise BadInput(file, f"must be YAML, but {_said(error)}", "Correct the line") from error
    if node is None:
        return []
    if not isinstance(node, yaml.MappingNode):
        rule = f"must hold names with values (name: value), found {_kind(node)}"
        raise BadInput(file, rule, "Compare the file of the same name in conf/base")
    _count(file, node, {}, ())
    return [key.value for key, _ in node.value]


def _count(file: Path, node: Any, known: dict[int, int], above: tuple[int, ...]) -> int:
    """How many values a node stands for, after a look at its keys."""
    if id(node) in known:
        return known[id(node)]
    if id(node) in above:
        raise BadInput(f"{file}, {_line(node)}", "must not hold itself", "Remove the alias")
    if isinstance(node, yaml.MappingNode):
        _check_keys(file, node)
    parts = _parts(node)
    count = 1 + sum(_count(file, part, known, (*above, id(node))) for part in parts)
    if count > LARGEST:
        rule = f"must stand for at most {LARGEST} values, and stands for more"
        raise BadInput(f"{file}, {_line(node)}", rule, "Remove aliases, or write less")
    known[id(node)] = count
    return count


def _parts(node: Any) -> Iterator[Any]:
    if isinstance(node, yaml.MappingNode):
        for _, value in node.value:
            yield value
    elif isinstance(node, yaml.SequenceNode):
        yield from node.value


def _check_keys(file: Path, node: yaml.MappingNode) -> None:
    seen: set[str] = set()
    for key, _ in node.value:
        where = f"{file}, {_line(key)}"
        if not isinstance(key, yaml.ScalarNode):
            raise BadInput(where, f"a key must be a text, found {_kind(key)}", "Write name: value")
        if key.tag not in (_TEXT, _MERGE):
            rule = f"a key must be a text, found {shown(key.value)}"
            raise BadInput(where, rule, f'Put it in quotes: "{key.value:.40}", if it is meant')
        if key.value in seen:
            rule = f"a key must be there once, and {shown(key.value)} is there again"
            raise BadInput(where, rule, "Remove one of the two")
        seen.add(key.value)


def _line(node: Any) -> str:
    return f"line {node.start_mark.line + 1}"


def _kind(node: Any) -> str:
    kinds = {yaml.SequenceNode: "a list", yaml.MappingNode: "a mapping"}
    return kinds.get(type(node), "a single value")


def _said(error: Exception) -> str:
    """What a YAML error says, in one line."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f"line {error.problem_mark.line + 1}: {error.problem or error.context}"
    return " ".join(str(error).split())


@contextmanager
def explain_errors(where: str) -> Iterator[None]:
    """Turns what OmegaConf, PyYAML and Kedro raise about settings into ``BadInput``."""
    try:
        yield
    except (BadInput, MissingConfigException):
        raise
    except (OmegaConfBaseException, yaml.YAMLError, ValueError, RecursionError) as error:
        said = " ".join(str(error).split())[:300]
        raise BadInput(where, f"cannot be read: {said}", "Correct the file") from error
