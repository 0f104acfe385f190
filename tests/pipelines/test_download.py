"""``kedro run --pipelines download`` as users start it, and as machines stop it."""

import io
import json
import random
import signal
import time
import zipfile

import pytest

from fileserver import serving
from formats import pictures, write_lspet
from sspcm_kedro.errors import BadInput
from sspcm_kedro.sources.lsp import read_lspet


@pytest.fixture
def project(make_project):
    return make_project("download")


def test_killed_and_started_again(project, tmp_path, monkeypatch):
    """With the same command; and no run of it is recorded as a training."""
    monkeypatch.delenv("SSPCM_TRACKING")
    original = tmp_path / "original"
    write_lspet(original, pictures(3, seed=0))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for file in sorted(path for path in original.rglob("*") if path.is_file()):
            archive.write(file, file.relative_to(original))
        archive.writestr("README.txt", random.Random(0).randbytes(400_000))
    stop = 4 * 65536  # where the reader of the answer has passed on all it was sent
    root = tmp_path / "lspet"
    part = root / ".download" / "lspet_dataset.zip.part"
    with serving(lspet_dataset__zip=buffer.getvalue()) as site:
        given = f"download.source=lspet,download.root={root},download.mirror={site.url}"
        command = ("--pipelines", "download", "--params", given)
        site.stall = stop
        process = project.start(*command)
        deadline = time.monotonic() + 240
        while not part.exists() or part.stat().st_size < stop:
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < deadline, "nothing came"
            time.sleep(0.05)
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        assert not (root / "images").exists()
        site.stall = None
        site.go_on.set()
        printed = project.kedro(*command)
        assert site.pieces() == [None, f"bytes={stop}-"]
    assert "lspet_dataset.zip: unpacked, 4 files" in printed
    found, expected = (read_lspet(folder)[0] for folder in (root, original))
    assert found.ids.tolist() == expected.ids.tolist() == [1, 2, 3]
    assert found.keypoints.tolist() == expected.keypoints.tolist()
    report = json.loads((project.data / "08_reporting" / "download.json").read_bytes())
    assert report["source"] == {"kind": "lspet", "root": str(root)}
    assert not list(project.root.glob("mlflow.db*"))


def test_what_is_missing_is_told(project):
    with pytest.raises(
        BadInput, match=r"download\.source: must name a set: coco, lspet, lsp, mpii"
    ):
        project.run("download")
    with pytest.raises(BadInput, match="'coco', 'lspet', 'lsp', 'mpii', 'mpii_mat'"):
        project.run("download", download={"source": "imagenet"})


def test_instructions_are_a_result(project, tmp_path):
    root = tmp_path / "fisheye"
    project.run("download", download={"source": "wepdtof_pose", "root": str(root)})
    report = json.loads((project.data / "08_reporting" / "download.json").read_bytes())
    assert [item["into"] for item in report["by_hand"]] == [
        str(root / "coco" / path)
        for path in (
            "annotations/person_keypoints_train2017.json",
            "annotations/person_keypoints_val2017.json",
            "images/train2017",
            "images/val2017",
        )
    ]
    assert not any(item["there"] for item in report["by_hand"])
