"""The catalog of sets, and what is chosen of it."""

import re
from pathlib import Path, PurePosixPath

import pytest
from pydantic import ValidationError

from sspcm_kedro.errors import BadInput
from sspcm_kedro.pipelines.download.nodes import DownloadConfig, choose_parts
from sspcm_kedro.sources import KINDS, SETS, SourceConfig


def choose(source, **given):
    return choose_parts(DownloadConfig(source=source, root=Path("there"), **given))


def test_every_set_has_a_name_of_its_own():
    names = [published.name for kind in KINDS.values() for published in kind.published]
    assert sorted(names) == sorted(SETS) == sorted([
        "aic", "bkfisheye", "coco", "crowdpose", "lsp", "lspet", "mpii", "mpii_mat", "ochuman",
        "wepdtof_pose",
    ])  # fmt: skip


@pytest.mark.parametrize("name", SETS)
def test_facts_are_well_formed(name):
    every = choose(name, parts=tuple(SETS[name][1].parts))
    for archive in every.archives:
        assert re.fullmatch(r"https?://[\w.-]+/\S+\.(zip|tar|tar\.gz)", archive.url)
        assert archive.size is None or archive.size > 1_000_000
        assert archive.checksum is None or re.fullmatch(
            r"sha256:[0-9a-f]{64}|md5:[0-9a-f]{32}", archive.checksum
        )
    assert len({archive.name for archive in every.archives}) == len(every.archives)
    places = [*(t for a in every.archives for t in a.targets), *(i.into for i in every.by_hand)]
    assert len(set(places)) == len(places)
    assert not any(PurePosixPath(place).is_absolute() or ".." in place for place in places)


@pytest.mark.parametrize("name", SETS)
def test_what_is_got_is_what_the_reader_reads(name):
    """Every file and folder that the set's reader opens has somebody who brings it."""
    every = choose(name, parts=tuple(SETS[name][1].parts))
    keys = {key: value for part in every.parts for key, value in part.source.items()}
    source = SourceConfig.model_validate({"kind": every.kind, "root": "there", **keys}).root
    wanted = set()
    for key, value in source.model_dump().items():
        values = value.values() if isinstance(value, dict) else [value]
        wanted |= {v.as_posix() for v in values if isinstance(v, Path) and key != "root"}
    if every.kind in ("lsp", "lspet"):
        wanted = {"images", "joints.mat"}
    got = {t for archive in every.archives for t in archive.targets}
    got |= {item.into for item in every.by_hand}
    assert wanted and wanted <= got
    assert got - wanted <= {"annot/test.json"}  # read only where source.test names it


def test_usual_parts_of_coco_are_a_third_of_it():
    usual, whole = choose("coco"), choose("coco", parts=tuple(SETS["coco"][1].parts))
    names = ["annotations_trainval2017.zip", "train2017.zip", "val2017.zip"]
    assert [archive.name for archive in usual.archives] == names
    assert sum(archive.size for archive in usual.archives) == 20_405_354_669
    assert sum(archive.size for archive in whole.archives) == 47_184_984_534
    assert usual.by_hand == () and len(whole.by_hand) == 2


@pytest.mark.parametrize("parts", ["val2017+annotations", ["val2017", "annotations"]])
def test_parts_are_chosen(parts):
    found = choose("coco", parts=parts).archives
    assert [archive.name for archive in found] == ["val2017.zip", "annotations_trainval2017.zip"]


def test_a_mirror_has_archives_by_their_names():
    download = choose("mpii", mirror="https://example.org/sets")
    urls = [download.url(archive) for archive in download.archives]
    assert urls == ["https://example.org/sets/mpii_annotations.tar",
                    "https://example.org/sets/mpii_human_pose_v1.tar.gz"]  # fmt: skip


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, r"download\.source: must name a set: coco, lspet, .*kedro run --pipelines download"),
        ({"source": "coco"}, r"download\.root: must name the folder.*data/01_raw/coco"),
        ({"source": "coco", "root": "x", "parts": "val2017+test"},
         r"download\.parts: coco has no part 'test'. Choose among annotations, train2017, val2017"),
    ],
)  # fmt: skip
def test_what_is_missing_is_named(given, message):
    with pytest.raises(BadInput, match=message):
        choose_parts(DownloadConfig(**given))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"source": "cocoa"}, r"Input should be 'coco', 'lspet', 'lsp', 'mpii', .*'ochuman'"),
        ({"mirror": "file:///tmp"}, r"must start with http:// or https://, found 'file:///tmp'"),
        ({"part": "val2017"}, r"part\n.*not permitted"),
    ],
)
def test_wrong_settings_are_refused(given, message):
    with pytest.raises(ValidationError, match=message):
        DownloadConfig(**given)
