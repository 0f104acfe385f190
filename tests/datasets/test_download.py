"""A set's folder: fetched and unpacked for its reader, once, whatever happened in between."""

import dataclasses
import hashlib
import io
import logging
import tarfile
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from filelock import FileLock
from kedro.io import DatasetError

from fileserver import serving
from formats import pictures, write_coco, write_lsp, write_lspet, write_mpii, write_mpii_mat
from sspcm_kedro.datasets import download as module
from sspcm_kedro.datasets.download import DownloadDataset
from sspcm_kedro.datasets.seal import with_blanks
from sspcm_kedro.datasets.whole import replace_file
from sspcm_kedro.downloads.published import Download
from sspcm_kedro.pipelines.download.nodes import DownloadConfig, choose_parts
from sspcm_kedro.sources import SourceConfig


@pytest.fixture
def site():
    with serving() as running:
        yield running


@pytest.fixture
def dataset(tmp_path):
    return DownloadDataset(str(tmp_path / "reports" / "download.json"), attempts=2, wait=0)


def zipped(root: Path, *prefixes: str, top: str = "") -> bytes:
    """The files of a folder that start so, in a zip."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for file in sorted(root.rglob("*")):
            name = file.relative_to(root).as_posix()
            if file.is_file() and name.startswith(prefixes or ("",)):
                archive.write(file, top + name)
    return buffer.getvalue()


def tarred(names: dict[str, Path], mode: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for name, file in names.items():
            archive.add(file, name)
    return buffer.getvalue()


def as_served(download: Download, files: dict[str, bytes]) -> Download:
    """The sizes and checksums of the miniatures instead of the published ones."""

    def change(archive):
        content = files[archive.name]
        kind = archive.checksum.split(":")[0]
        digest = hashlib.new(kind, content).hexdigest()
        return dataclasses.replace(archive, size=len(content), checksum=f"{kind}:{digest}")

    parts = tuple(
        dataclasses.replace(part, archives=tuple(change(archive) for archive in part.archives))
        for part in download.parts
    )
    return dataclasses.replace(download, parts=parts)


def people_of(source: dict) -> dict:
    """Everything that a reader finds, but the folder's name."""
    read = SourceConfig.model_validate(source).root.read()
    found = {}
    for part in ("annotated", "validation", "unlabeled", "test"):
        people = getattr(read, part)
        if people is not None:
            found[part] = (
                [Path(path).name for path in people.paths], people.boxes.tolist(),
                people.keypoints.tolist(), people.visibility.tolist(), people.ids.tolist(),
                [hashlib.md5(Path(path).read_bytes()).hexdigest() for path in people.paths],
            )  # fmt: skip
    return found


def lsp_set(site, tmp_path, **given) -> tuple[Download, dict]:
    """A miniature of LSP on the site, what to fetch, and the source that reads the original."""
    original = write_lsp(tmp_path / "original", pictures(3, 1), pictures(2, 2))
    site.files["lsp_dataset.zip"] = zipped(tmp_path / "original", top="lsp_dataset/")
    config = DownloadConfig(source="lsp", root=tmp_path / "lsp", mirror=site.url, **given)
    return choose_parts(config), original


def coco_set(site, tmp_path, parts: str) -> tuple[Download, dict]:
    original = tmp_path / "original"
    source = write_coco(original, *(pictures(n, n, people=2) for n in (4, 2, 3, 5)))
    for name in ("train2017", "val2017", "unlabeled2017", "test2017"):
        site.files[f"{name}.zip"] = zipped(original / "images", name)
    for name, files in {
        "annotations_trainval2017": "person", "image_info_unlabeled2017": "image_info_unlabeled",
        "image_info_test2017": "image_info_test-dev",
    }.items():  # fmt: skip
        content = zipped(original, f"annotations/{files}")
        site.files[f"{name}.zip"] = content
    config = DownloadConfig(source="coco", root=tmp_path / "coco", parts=parts, mirror=site.url)
    return as_served(choose_parts(config), site.files), source


def test_coco_for_few_labels(site, dataset, tmp_path):
    download, source = coco_set(site, tmp_path, "train2017+val2017+annotations")
    dataset.save(download)
    report = dataset.load()
    assert report["source"] == {
        "kind": "coco", "root": str(tmp_path / "coco"),
        "train": source["train"], "validation": source["validation"],
    }  # fmt: skip
    assert report["by_hand"] == []
    expected = {key: source[key] for key in ("kind", "root", "train", "validation")}
    assert people_of(report["source"]) == people_of(expected)
    folders = {path.name for path in (tmp_path / "coco").iterdir()}
    assert folders == {"annotations", "images", ".download"}
    fetched = [name for method, name, *_ in site.asked if method == "GET"]
    assert fetched == ["train2017.zip", "val2017.zip", "annotations_trainval2017.zip"]


def test_the_other_parts_of_coco_join_later(site, dataset, tmp_path, caplog):
    download, source = coco_set(site, tmp_path, "train2017+annotations")
    dataset.save(download)
    site.asked.clear()
    every = "annotations+train2017+val2017+unlabeled2017+test2017"
    config = DownloadConfig(source="coco", root=tmp_path / "coco", parts=every, mirror=site.url)
    whole = as_served(choose_parts(config), site.files)
    with caplog.at_level(logging.INFO):
        dataset.save(whole)
    assert "train2017.zip: is there already" in caplog.text
    fetched = {name for method, name, *_ in site.asked if method == "GET"}
    assert not fetched & {"train2017.zip", "annotations_trainval2017.zip"}
    first, second = dataset.load()["by_hand"]
    detected = "person_detection_results/COCO_unlabeled2017_detections_person_faster_rcnn.json"
    assert first["into"] == str(tmp_path / "coco" / detected) and not first["there"]
    assert f"into {first['into']}" in caplog.text and first["where"] in caplog.text
    assert "unlabeled" not in dataset.load()["source"]
    for item in (first, second):
        name = Path(item["into"]).relative_to(tmp_path / "coco")
        Path(item["into"]).parent.mkdir(exist_ok=True)
        Path(item["into"]).write_bytes((tmp_path / "original" / name).read_bytes())
    site.asked.clear()
    dataset.save(whole)
    assert site.asked == []
    assert [item["there"] for item in dataset.load()["by_hand"]] == [True, True]
    assert people_of(dataset.load()["source"]) == people_of(source)


def serve_mpii_json(site, original, *pictures_of) -> Any:
    """MPII's images and JSON files, served; the source that reads the originals."""
    source = write_mpii(original, *pictures_of)
    names = {"train": "train", "valid": "val", "test": "test"}
    notes = {f"mpii_{to}.json": original / "annot" / f"{of}.json" for of, to in names.items()}
    notes |= {"mpii_gt_val.mat": original / "annot" / "gt_valid.mat"}
    files = {f"annotations/{name}": file for name, file in notes.items()}
    site.files["mpii_annotations.tar"] = tarred(files, "w")
    images = {"images": original / "images"}
    site.files["mpii_human_pose_v1.tar.gz"] = tarred(images, "w:gz")
    return source


def test_mpii_as_json(site, dataset, tmp_path):
    shown = pictures(4, 1), pictures(3, 2), pictures(2, 3)
    source = serve_mpii_json(site, tmp_path / "original", *shown)
    config = DownloadConfig(source="mpii", root=tmp_path / "mpii", mirror=site.url)
    dataset.save(choose_parts(config))
    found = {**dataset.load()["source"], "test": source["test"]}
    assert people_of(found) == people_of(source)


def test_the_mat_joins_the_json_in_one_folder(site, dataset, tmp_path):
    """As the environment mpii_aic needs them."""
    shown = pictures(4, 1), pictures(3, 2), pictures(2, 3)
    serve_mpii_json(site, tmp_path / "original", *shown)
    write_mpii_mat(tmp_path / "original", [*shown[0], *shown[1]], shown[2])
    mat = "mpii_human_pose_v1_u12_1.mat"
    archive = zipped(tmp_path / "original", mat, top="mpii_human_pose_v1_u12_2/")
    site.files["mpii_human_pose_v1_u12_2.zip"] = archive
    shared = {"root": tmp_path / "mpii", "mirror": site.url}
    dataset.save(choose_parts(DownloadConfig(source="mpii", **shared)))
    dataset.save(choose_parts(DownloadConfig(source="mpii_mat", parts=("annotations",), **shared)))
    found = {"kind": "mpii", "root": str(tmp_path / "mpii"), "test": mat}
    assert people_of(found) == people_of({**found, "root": str(tmp_path / "original")})


def test_mpii_as_mat(site, dataset, tmp_path):
    source = write_mpii_mat(tmp_path / "original", pictures(3, 1))
    mat = "mpii_human_pose_v1_u12_1.mat"
    top = "mpii_human_pose_v1_u12_2/"
    site.files["mpii_human_pose_v1_u12_2.zip"] = zipped(tmp_path / "original", mat, top=top)
    images = {"images": tmp_path / "original" / "images"}
    site.files["mpii_human_pose_v1.tar.gz"] = tarred(images, "w:gz")
    config = DownloadConfig(source="mpii_mat", root=tmp_path / "mpii", mirror=site.url)
    dataset.save(choose_parts(config))
    assert people_of(dataset.load()["source"]) == people_of({**source, "test": False})


def test_both_lsp(site, dataset, tmp_path):
    download, source = lsp_set(site, tmp_path)
    dataset.save(download)
    assert people_of(dataset.load()["source"]) == people_of(source)
    source = write_lspet(tmp_path / "more", pictures(4, 3))
    site.files["lspet_dataset.zip"] = zipped(tmp_path / "more")
    config = DownloadConfig(source="lspet", root=tmp_path / "lspet", mirror=site.url)
    dataset.save(choose_parts(config))
    assert people_of(dataset.load()["source"]) == people_of(source)


def test_what_needs_an_account_is_told(dataset, tmp_path, caplog):
    config = DownloadConfig(source="ochuman", root=tmp_path / "ochuman")
    dataset.save(choose_parts(config))
    images, annotations = dataset.load()["by_hand"]
    assert images["into"] == str(tmp_path / "ochuman" / "images")
    assert annotations["where"].startswith("https://cg.cs.tsinghua.edu.cn/")
    assert "2 things are missing" in caplog.text
    (tmp_path / "ochuman" / "images").mkdir()
    dataset.save(choose_parts(config))
    assert [item["there"] for item in dataset.load()["by_hand"]] == [True, False]


def test_archives_are_removed_or_kept(site, dataset, tmp_path):
    work = tmp_path / "lsp" / ".download"
    dataset.save(lsp_set(site, tmp_path)[0])
    assert sorted(p.name for p in work.iterdir()) == ["lock", "lsp_dataset.zip.json"]
    (tmp_path / "lsp" / "joints.mat").unlink()  # lost: it is fetched again, and kept
    dataset.save(lsp_set(site, tmp_path, keep_archives=True)[0])
    assert (work / "lsp_dataset.zip").read_bytes() == site.files["lsp_dataset.zip"]
    (tmp_path / "lsp" / "images" / "im0001.jpg").unlink()
    site.asked.clear()
    dataset.save(lsp_set(site, tmp_path, keep_archives=True)[0])
    assert (tmp_path / "lsp" / "images" / "im0001.jpg").exists() and site.asked == []


def test_an_archive_from_elsewhere_is_taken_and_checked(site, dataset, tmp_path):
    download, _ = coco_set(site, tmp_path, "val2017")
    archive = tmp_path / "coco" / ".download" / "val2017.zip"
    archive.parent.mkdir(parents=True)
    archive.write_bytes(site.files["test2017.zip"])
    with pytest.raises(DatasetError, match=r"val2017\.zip: must have the sha256 .*Remove it"):
        dataset.save(download)
    archive.write_bytes(site.files["val2017.zip"])
    dataset.save(download)
    assert len(list((tmp_path / "coco" / "images" / "val2017").iterdir())) == 2
    assert site.asked == []


def test_a_part_that_has_become_the_archive_goes(site, dataset, tmp_path):
    """Killed when the archive had its name, and the part was still there."""
    download, source = lsp_set(site, tmp_path)
    work = tmp_path / "lsp" / ".download"
    work.mkdir(parents=True)
    (work / "lsp_dataset.zip").write_bytes(site.files["lsp_dataset.zip"])
    (work / "lsp_dataset.zip.part").hardlink_to(work / "lsp_dataset.zip")
    (work / "lsp_dataset.zip.part.json").write_text("{}")
    dataset.save(download)
    assert sorted(p.name for p in work.iterdir()) == ["lock", "lsp_dataset.zip.json"]
    assert people_of(dataset.load()["source"]) == people_of(source)


def test_files_of_others_are_never_replaced(site, dataset, tmp_path):
    download, _ = lsp_set(site, tmp_path)
    own = tmp_path / "lsp" / "joints.mat"
    own.parent.mkdir()
    own.write_bytes(b"mine")
    with pytest.raises(DatasetError, match=r"joints\.mat: is there already, and did not come with"):
        dataset.save(download)
    assert own.read_bytes() == b"mine" and site.asked == []


def test_a_missing_archive_is_told_before_anything_is_fetched(site, dataset, tmp_path):
    download, _ = coco_set(site, tmp_path, "annotations+train2017+val2017")
    del site.files["val2017.zip"]
    with pytest.raises(DatasetError, match=r"val2017\.zip: the server answers 404.*mirror"):
        dataset.save(download)
    assert site.pieces() == []


def full(monkeypatch, free: int) -> None:
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: SimpleNamespace(free=free))


def test_a_full_disk_is_told_before_anything_is_fetched(site, dataset, tmp_path, monkeypatch):
    download, _ = coco_set(site, tmp_path, "val2017+train2017")
    small, large = len(site.files["val2017.zip"]), len(site.files["train2017.zip"])
    need = int(1.1 * small) + large + int(1.1 * large)  # unpacked, and the last archive beside it
    full(monkeypatch, need - 1)
    with pytest.raises(DatasetError, match=rf"coco: .*needs .*\({need} bytes\), and {need - 1} b"):
        dataset.save(download)
    assert site.pieces() == []
    full(monkeypatch, need)
    dataset.save(download)


def test_the_disk_must_also_hold_what_the_archive_says(site, dataset, tmp_path, monkeypatch):
    """A zip of zeros grows more than images do."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images/im0001.jpg", bytes(5_000_000))
        archive.writestr("joints.mat", b"")
    site.files["lsp_dataset.zip"] = buffer.getvalue()
    full(monkeypatch, 4_999_999)
    config = DownloadConfig(source="lsp", root=tmp_path / "lsp", mirror=site.url)
    with pytest.raises(DatasetError, match=r"unpacking lsp_dataset\.zip needs .*5000000 bytes"):
        dataset.save(choose_parts(config))
    assert not (tmp_path / "lsp" / "images").exists()


@pytest.mark.parametrize("moment", ["unpack", "_note", "os.replace", "shutil.rmtree"])
def test_killed_while_unpacking(site, dataset, tmp_path, monkeypatch, moment):
    """Wherever it stopped, the next run ends with the whole set."""
    download, source = lsp_set(site, tmp_path)
    calls = {"_note": 2, "os.replace": 3, "shutil.rmtree": 2}.get(moment, 1)

    class Killed(BaseException):
        pass

    *owner, name = moment.split(".")
    place = getattr(module, owner[0]) if owner else module
    real, left = getattr(place, name), [calls]

    def killed(*args, **kwargs):
        left[0] -= 1
        if not left[0]:
            raise Killed
        return real(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(place, name, killed)
        with pytest.raises(Killed):
            dataset.save(download)
    assert left == [0]
    assert not (tmp_path / "reports").exists()
    dataset.save(download)
    assert people_of(dataset.load()["source"]) == people_of(source)
    assert len(site.pieces()) == 1


def test_one_at_a_time(site, dataset, tmp_path):
    download, _ = lsp_set(site, tmp_path)
    work = tmp_path / "lsp" / ".download"
    work.mkdir(parents=True)
    with FileLock(work / "lock"):
        with pytest.raises(DatasetError, match=r"lsp: one command fetches into a folder at a time"):
            dataset.save(download)
    dataset.save(download)


def test_what_it_says_of_itself(dataset, tmp_path):
    assert not dataset.exists()
    file = tmp_path / "reports" / "download.json"
    assert dataset._describe() == {"filepath": str(file)}
    with replace_file(file) as beside:
        beside.write_bytes(with_blanks(b'{"set": "coco"}'))
    assert dataset.exists() and dataset.load() == {"set": "coco"}
