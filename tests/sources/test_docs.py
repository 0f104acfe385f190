"""What the documents say of sources is what the sources say of themselves."""

import importlib.util
from pathlib import Path

import yaml

from sspcm_kedro.sources import KINDS, SETS

ROOT = Path(__file__).parents[2]


def test_the_tables_of_the_data_page_are_those_of_the_sources():
    spec = importlib.util.spec_from_file_location("data_tables", ROOT / "docs" / "data_tables.py")
    assert spec and spec.loader
    tables = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tables)
    page = tables.PAGE.read_text()
    assert page == tables.render(page), "write them anew: python docs/data_tables.py"
    for name in KINDS:
        assert f"\n| `{name}` |" in tables.kinds_table()
    for name in SETS:
        assert f"\n| `{name}` |" in tables.sets_table()


def test_every_kind_says_what_it_is():
    for kind, source in KINDS.items():
        assert source.model_fields["kind"].default == kind
        assert source.__doc__ and source.__doc__.splitlines()[0].endswith("."), kind
        assert source.skeleton.names, kind


def test_the_examples_of_sources_in_the_data_page_are_settings():
    page = (ROOT / "docs" / "data.md").read_text()
    blocks = [block.split("```")[0] for block in page.split("```yaml\n")[1:]]
    sources = [said["source"] for said in map(yaml.safe_load, blocks) if "source" in said]
    assert {source["kind"] for source in sources} == {
        "coco", "deeplabcut", "union", "lightning_pose", "sleap", "yolo_pose", "label_studio",
        "cvat",
    }  # fmt: skip
    for source in sources:
        KINDS[source["kind"]].model_validate(source)
