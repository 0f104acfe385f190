"""What the documents name exists: files, modules, settings, pipelines, environments, targets."""

import base64
import json
import os
import pkgutil
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from parameters_schema import FILE

from sspcm_kedro.pipeline_registry import register_pipelines

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "sspcm_kedro"
HISTORY = ROOT / "CHANGELOG.md"
"""Names what there was."""
DOCUMENTS = sorted({*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *PACKAGE.rglob("README.md")})
CURRENT = [file for file in DOCUMENTS if file != HISTORY]
SETTINGS = sorted(ROOT.glob("conf/*/*.yml"))
INVENTED = {"mine", "local", "..."}
"""Environments of the reader's own."""


def named(pattern: str, files: list[Path]) -> set[tuple[str, str]]:
    """(document, what the pattern's group finds in it)."""
    return {
        (file.relative_to(ROOT).as_posix(), found)
        for file in files
        for found in re.findall(pattern, file.read_text(), re.M)
    }


def missing(pattern: str, files: list[Path], *, least: int, known: Any) -> list[tuple[str, str]]:
    """What is named and not known; that enough is named shows that the pattern finds it."""
    found = named(pattern, files)
    assert len(found) >= least, f"{pattern} finds {len(found)}"
    return sorted(pair for pair in found if not known(pair[1]))


def is_file(name: str) -> bool:
    """There is such a file or folder: in the project, its code, or a folder with a README."""
    places = [ROOT, ROOT / "src", PACKAGE, *(file.parent for file in PACKAGE.rglob("README.md"))]
    return any(any(place.glob(name.rstrip("/."))) for place in places)


def test_the_documents_were_found():
    names = {file.name for file in DOCUMENTS}
    assert {"README.md", "CONTRIBUTING.md", "CHANGELOG.md", "data.md", "results.md"} <= names


def test_every_file_that_is_named_exists():
    """Of the project, and of the code by its place in the package."""
    of_project = r"(?<![\w./-])((?:src|conf|docs|tests|benchmarks|notebooks)/[\w./*-]+)"
    files = [*CURRENT, *SETTINGS]
    invented = tuple(f"conf/{name}" for name in INVENTED)

    def known(name: str) -> bool:
        return name.startswith(invented) or is_file(name)

    assert not missing(of_project, files, least=30, known=known)
    assert not missing(r"(?<![\w./*-])([\w./*-]+\.py)\b", files, least=30, known=is_file)


def test_every_link_leads_somewhere():
    links = r"\]\((?!https?:)([^)#]+)[^)]*\)|src=\"([^\"]+)\""
    for document in DOCUMENTS:
        for pair in re.findall(links, document.read_text()):
            assert (document.parent / "".join(pair)).exists(), (document.name, pair)


def test_the_site_shows_every_page():
    site = tomllib.loads((ROOT / "zensical.toml").read_text())["project"]

    def pages(entry: Any) -> Iterator[str]:
        for part in entry if isinstance(entry, list) else entry.values():
            yield from [part] if isinstance(part, str) else pages(part)

    there = (page.relative_to(ROOT / "docs").as_posix() for page in ROOT.glob("docs/**/*.md"))
    assert sorted(pages(site["nav"])) == sorted(there)


def test_every_module_and_class_that_is_named_exists():
    def known(name: str) -> bool:
        pkgutil.resolve_name(name)
        return True

    dotted = r"(?<![\w/.])(sspcm_kedro(?:\.\w+)+)"
    notebooks = sorted(ROOT.glob("notebooks/*.ipynb"))
    assert not missing(dotted, [*CURRENT, *SETTINGS, *notebooks], least=20, known=known)


def test_every_key_of_the_settings_names_its_class():
    """``view: # data/views.py: ViewConfig`` in conf/base."""
    found = named(r"^\w+: # ([\w/]+\.py: \w+Config)\b", SETTINGS)
    assert len(found) >= 10
    for _, place in found:
        module, _, name = place.partition(".py: ")
        pkgutil.resolve_name(f"sspcm_kedro.{module.replace('/', '.')}:{name}")


def test_every_pipeline_that_is_named_is_registered(configured, monkeypatch):
    monkeypatch.chdir(ROOT)
    registered = set(register_pipelines())

    def known(names: str) -> bool:
        return set(names.split(",")) <= registered

    assert not missing(r"--pipelines (\w+(?:,\w+)*)", [*DOCUMENTS, *SETTINGS], least=8, known=known)


def test_every_environment_that_is_named_exists():
    def known(name: str) -> bool:
        return name in INVENTED or name == "ENV" or (ROOT / "conf" / name).is_dir()

    assert not missing(r"--env (\w+|\.\.\.)", [*DOCUMENTS, *SETTINGS], least=8, known=known)


def settings_of(schema: dict[str, Any], part: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Name and schema of each setting in a part of the schema, whatever the kind."""
    if "$ref" in part:
        part = schema["$defs"][part["$ref"].removeprefix("#/$defs/")]
    yield from part.get("properties", {}).items()
    for choice in [*part.get("anyOf", ()), *part.get("oneOf", ())]:
        yield from settings_of(schema, choice)


def test_every_setting_that_is_named_exists():
    schema = yaml.safe_load((ROOT / FILE).read_text())
    tops = "|".join(schema["properties"])

    def known(name: str) -> bool:
        parts = [schema]
        for key in name.split("."):
            parts = [p for part in parts for n, p in settings_of(schema, part) if n == key]
        return bool(parts)

    shown = rf"[`,: (](?<!/)((?:{tops})(?:\.(?!py\b)[a-z]\w*)+)(?=[`=,: ])"
    notebooks = sorted(ROOT.glob("notebooks/*.ipynb"))
    assert not missing(shown, [*CURRENT, *SETTINGS, *notebooks], least=25, known=known)
    given = r"--params (\w+)"
    top_level = schema["properties"].__contains__
    assert not missing(given, [*CURRENT, *SETTINGS], least=10, known=top_level)


def test_every_target_of_make_that_is_named_exists():
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.M))
    shown = r"(?:`|^)make (\w+)"
    assert not missing(shown, DOCUMENTS, least=6, known=targets.__contains__)


def test_what_changed_names_what_there_is():
    """The last column of the table of renamed things: settings and files as they are called now."""
    rows = re.findall(r"^\| ([^|]+) \| [^|]+ \| ([^|]+) \|$", HISTORY.read_text(), re.M)[2:]
    assert len(rows) >= 15
    schema = yaml.safe_load((ROOT / FILE).read_text())
    catalog = "".join(file.read_text() for file in ROOT.glob("conf/base/catalog*.yml"))
    for what, now in rows:
        names = re.findall(r"`([\w./]+?)(?:: \w+|/|\.{3})?`", now)
        for name in names:
            top = name.partition(".")[0]
            if what.startswith("setting"):
                assert top in schema["properties"], name
            elif what in {"catalog", "file"} and "comparison" not in name:
                assert name in catalog, name


@pytest.fixture
def citation() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "CITATION.cff").read_text())


def test_the_citation_is_of_this_version_and_of_the_paper(citation):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert citation["cff-version"] == "1.2.0" and citation["type"] == "software"
    assert citation["message"] and citation["authors"]
    for key, stated in (("title", "name"), ("version", "version"), ("license", "license")):
        assert citation[key] == project[stated]
    paper = citation["preferred-citation"]
    assert paper["type"] == "conference-paper" and paper["year"] == 2023
    families = [author["family-names"] for author in paper["authors"]]
    assert families == ["Huang", "Li", "Tian", "Yang", "Li", "Deng", "Ye"]
    shown = re.search(r"Huang et al\., \*(.*?)\*", (ROOT / "README.md").read_text(), re.S)
    assert shown and " ".join(shown[1].split()) == paper["title"]


def test_a_server_is_sent_a_photograph_of_any_size(tmp_path):
    """Linux takes no argument of 128 KiB; curl itself is a script that shows what it would send."""
    text = (ROOT / "docs" / "deploy.md").read_text()
    (block,) = re.findall(r"```sh\nmlflow models serve.*?\n(.*?)```", text, re.S)
    content = bytes(range(256)) * 2000
    (tmp_path / "photograph.jpg").write_bytes(content)
    (tmp_path / "curl").write_text("#!/bin/sh\ncat\n")
    (tmp_path / "curl").chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    sent = subprocess.run(["bash", "-c", block], cwd=tmp_path, env={**os.environ, "PATH": path},
                          stdin=subprocess.DEVNULL, capture_output=True, check=True)  # fmt: skip
    (record,) = json.loads(sent.stdout)["dataframe_records"]
    assert base64.b64decode(record["image"]) == content
    assert record["boxes"] == [[40, 20, 200, 400]]


def test_github_runs_what_ci_runs():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    (job,) = workflow["jobs"].values()
    assert job["runs-on"].startswith("ubuntu") and job["timeout-minutes"] <= 120
    assert [step["run"] for step in job["steps"] if "run" in step] == ["bash .ci/run"]
    used = [step for step in job["steps"] if "uses" in step]
    assert all(re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", step["uses"]) for step in used)
    (python,) = [step["with"] for step in used if "setup-python" in step["uses"]]
    assert python["cache"] == "pip" and is_file(python["cache-dependency-path"])
    oldest = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert job["strategy"]["matrix"]["python"][0] == oldest.removeprefix(">=")
