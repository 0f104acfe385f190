"""Every kind of broken input is refused by file, record, rule and remedy."""

import gzip
import json
import re
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sspcm_kedro.data.image_file import decode
from sspcm_kedro.datasets.files import TableDataset
from sspcm_kedro.datasets.ledger import LedgerDataset
from sspcm_kedro.errors import BadInput
from sspcm_kedro.sources import checks
from sspcm_kedro.sources.checks import check_images, verify_images
from sspcm_kedro.sources.coco_format import read_coco

Break = Callable[..., object]


def _image(key: str, value: object) -> Break:
    return lambda content: content["images"][1].update({key: value})


def _person(key: str, value: object) -> Break:
    return lambda content: content["annotations"][4].update({key: value})


def _without(kind: str, key: str) -> Break:
    return lambda content: content[kind][1].pop(key)


RECORDS: dict[str, tuple[Break, str, str, str]] = {
    # name: (how to break the file, record, rule, remedy)
    "no images": (lambda c: c.pop("images"), "", "a list called 'images'", "Export"),
    "no annotations": (lambda c: c.pop("annotations"), "", "called 'annotations'", "Export"),
    "no categories": (lambda c: c.pop("categories"), "", "called 'categories'", "Export"),
    "not objects": (lambda c: c["images"].append(3), "", "list of JSON objects", "Export"),
    "image without size": (_without("images", "width"), "image 10", "key 'width'", "Add the key"),
    "person without box": (_without("annotations", "bbox"), "annotation 2", "key 'bbox'", "Add"),
    "person without image": (
        _without("annotations", "image_id"), "annotation 2", "key 'image_id'", "Add"),
    "person without points": (
        _without("annotations", "keypoints"), "annotation 2", "key 'keypoints'", "Add"),
    "person without id": (_without("annotations", "id"), "annotation in row 1", "key 'id'", "Add"),
    "cut triple": (_person("keypoints", [1, 2, 2, 3]), "annotation 5", "multiple of 3", "List"),
    "too few points": (_person("keypoints", [1, 2, 2]), "annotation 5", "3 keypoints, found 1",
                       "List every keypoint"),
    "odd visibility": (_person("keypoints", [1, 2, 3] * 3), "annotation 5", "v must be 0",
                       "Convert the visibility"),
    "nan point": (_person("keypoints", [float("nan"), 2, 2] * 3), "annotation 5",
                  "'keypoints' must be finite, found nan", "Correct the value"),
    "infinite box": (_person("bbox", [1, 2, float("inf"), 4]), "annotation 5",
                     "'bbox' must be finite, found inf", "Correct the value"),
    "text in box": (_person("bbox", [1, 2, "3", 4]), "annotation 5", "found '3'", "Correct"),
    "endless bbox": (_person("bbox", [1, 10**400, 2, 2]), "annotation 5",
                     "'bbox' must be finite", "Correct"),
    "text area": (_person("area", "big"), "annotation 5", "'area' must hold numbers", "Correct"),
    "short box": (_person("bbox", [1, 2, 3]), "annotation 5", "[x, y, width, height]", "Write"),
    "empty box": (_person("bbox", [1, 2, 3, 0]), "annotation 5", "positive sides", "remove"),
    "negative box": (_person("bbox", [9, 9, -3, 5]), "annotation 5", "positive sides", "remove"),
    "box right of image": (_person("bbox", [60, 1, 5, 5]), "annotation 5",
                           "touch the image, (height, width) = (40, 60), found [60, 1, 5, 5]",
                           "pixels of the original image"),
    "box above image": (_person("bbox", [1, -9, 5, 9]), "annotation 5", "touch the", "Boxes are"),
    "repeated person": (_person("id", 2), "annotation 2", "must be unique", "Renumber"),
    "repeated image": (_image("id", 30), "image 30", "must be unique", "Renumber the images"),
    "text id": (_image("id", "x"), "image x", "whole number", "Number the images"),
    "unknown image": (_person("image_id", 77), "annotation 5", "image_id = 77", "Add the image"),
    "climbing name": (_image("file_name", "../10.jpg"), "image 10", "inside the image folder",
                      "relative to the image folder"),
    "absolute name": (_image("file_name", "/etc/10.jpg"), "image 10", "'/etc/10.jpg'", "Write"),
    "windows name": (_image("file_name", r"..\10.jpg"), "image 10", "inside the", "without '..'"),
    "endless name": (_image("file_name", 5000 * "a"), "image 10", "inside the", "Write file"),
    "broken letters": (_image("file_name", "\ud800.jpg"), "image 10", "inside the", "Write file"),
    "zero in name": (_image("file_name", "a\0.jpg"), "image 10", "inside the", "Write file"),
    "list as category": (_person("category_id", [1]), "annotation 5", "'category_id' must", "id"),
    "map as category": (_person("category_id", {}), "annotation 5", "'category_id' must", "id"),
    "text crowd": (_person("iscrowd", "no"), "annotation 5", "'iscrowd' must be 0 or 1", "Write 1"),
    "list as crowd": (_person("iscrowd", []), "annotation 5", "'iscrowd' must be 0", "Write 1"),
    "narrow box": (_person("bbox", [3, 3, 1, 9]), "annotation 5", "wider and higher than a pixel",
                   "Correct the box"),
    "last column": (_person("bbox", [59, 3, 9, 9]), "annotation 5", "wider and", "remove the ann"),
    "label outside": (_person("keypoints", [9, 9, 2, 9, 42, 2, 0, 0, 0]), "annotation 5",
                      "inside the stored image, (height, width) = (40, 60), found (9, 42)",
                      "orientation tag"),
    "empty name": (_image("file_name", ""), "image 10", "found ''", "Write file names"),
    "no size": (_image("height", 0), "image 10", "positive whole numbers, found (30, 0)", "Write"),
    "missing image": (_image("file_name", "11.jpg"), "image 11.jpg", "is not there", "Copy"),
    "two kinds": (lambda c: c.update(categories=[{"id": 7}, {"id": 8}]), "categories",
                  "one category must be people, found [7, 8]", "id 1"),
}  # fmt: skip


@pytest.mark.parametrize("case", RECORDS)
def test_broken_records_are_refused(coco, case):
    breaking, record, rule, remedy = RECORDS[case]
    breaking(coco.content)
    with pytest.raises(BadInput) as refusal:
        read_coco(coco.write(), coco.images)
    where, _, said = str(refusal.value).partition(": ")
    assert where == (f"{coco.file}, {record}" if record else str(coco.file))
    assert rule in said
    assert remedy in said


def test_the_others_are_counted(coco):
    for record in coco.content["annotations"][:3]:
        record["bbox"] = [1, 2, 0, 4]
    with pytest.raises(BadInput, match=r"annotation 1: .*positive sides.*\(and 1 more like it\)\."):
        read_coco(coco.write(), coco.images)  # annotation 3 is a crowd: not looked at


@pytest.mark.parametrize("text", ["{", '{"images": [', ""])
def test_files_that_are_no_json_are_refused(coco, text):
    coco.file.write_bytes(text.encode("latin-1"))
    with pytest.raises(BadInput, match=r"people\.json: must be JSON, but .*cut short"):
        read_coco(coco.file, coco.images)


ENCODED = {
    "Latin-1": (
        '{"a": "K\xe4se"}'.encode("latin-1"),
        r"must be JSON in the encoding UTF-8.*Latin-1",
    ),
    "gzip": (gzip.compress(b"{}"), r"must be JSON, and is compressed by gzip\. Unpack it"),
    "digits": (b"[" + b"9" * 5000 + b"]", r"must be JSON, but .*digits.*Correct the number"),
    "deep": (b"[" * 100_000, r"must be JSON, but .*cut short"),
}


@pytest.mark.parametrize("kind", ENCODED)
def test_how_json_is_written_is_named(coco, kind):
    content, message = ENCODED[kind]
    coco.file.write_bytes(content)
    with pytest.raises(BadInput, match=rf"people\.json: {message}"):
        read_coco(coco.file, coco.images)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_other_unicode_is_read(coco, encoding):
    text = coco.write().read_text()
    coco.file.write_bytes(text.encode(encoding))
    assert len(read_coco(coco.file, coco.images)[0]) == 3


def test_missing_file_and_folder_are_refused(coco):
    with pytest.raises(BadInput, match=r"people\.json: there must be such a file\. Correct"):
        read_coco(coco.file, coco.images)
    with pytest.raises(BadInput, match=r"nowhere: there must be such a folder\. Correct"):
        read_coco(coco.write(), coco.root / "nowhere")


def test_a_list_is_no_coco_file(coco):
    coco.file.write_text("[]")
    with pytest.raises(BadInput, match=r"people\.json: .*one JSON object, found a list\. Export"):
        read_coco(coco.file, coco.images)


DETECTIONS = {
    "not a list": ({}, r": detections must be a list.*Each needs"),
    "no score": ([{"image_id": 10, "category_id": 1, "bbox": [1, 1, 2, 2]}], r"row 0: .*'score'"),
    "unknown image": (
        [{"image_id": 9, "category_id": 1, "bbox": [1, 1, 2, 2], "score": 1}],
        r", detection 1: .*image_id = 9.*Add the image",
    ),
    "nan score": (
        [{"image_id": 10, "category_id": 1, "bbox": [1, 1, 2, 2], "score": float("nan")}],
        r", detection 1: 'score' must be finite.*remove the detection",
    ),
    "empty": (
        [{"image_id": 10, "category_id": 1, "bbox": [1, 1, 0, 2], "score": 1}],
        r", detection 1: the box must have positive sides.*remove the detection",
    ),
    "nobody": ([], r": the file must hold at least one person"),
}


@pytest.mark.parametrize("case", DETECTIONS)
def test_broken_detections_are_refused(coco, case):
    content, message = DETECTIONS[case]
    file = coco.root / "found.json"
    file.write_text(json.dumps(content))
    with pytest.raises(BadInput, match=r"found\.json" + f".*{message}"):
        read_coco(coco.write(), coco.images, detections=file)


def test_good_images_pass(coco, capsys):
    people, _ = read_coco(coco.write(), coco.images)
    capsys.readouterr()  # lines of the log, where a whole run has set it up
    verified = verify_images(people, workers=2)
    assert verified.checksums.tolist() == [zlib.crc32(Path(p).read_bytes()) for p in people.paths]
    assert capsys.readouterr().err == ""  # no progress bar where no terminal is


def test_images_that_the_ledger_knows_are_not_decoded_again(coco, monkeypatch, tmp_path, caplog):
    """One is new, one has changed, one is elsewhere; what is known of the others is said again."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (60, 40), (1, 2, 3)).save(coco.images / "30.jpg", exif=exif)
    people, _ = read_coco(coco.write(), coco.images)
    first, ledger = check_images(people, None)
    table, again = (
        kind(filepath=str(tmp_path / "images.csv"), **more)
        for kind, more in ((TableDataset, {"save_args": {"index": False}}), (LedgerDataset, {}))
    )
    assert again.load() is None
    table.save(ledger)
    decoded = []

    def watch(path, content):
        decoded.append(Path(path).name)
        return decode(path, content)

    monkeypatch.setattr(checks, "decode", watch)
    caplog.clear()
    known, same = check_images(people, again.load())
    assert not decoded and (known.checksums == first.checksums).all() and same.equals(ledger)
    assert "1 images have an orientation tag" in caplog.text
    Image.new("RGB", (30, 50), (9, 9, 9)).save(coco.images / "10.jpg")
    changed, newer = check_images(people, again.load())
    assert decoded == ["10.jpg"] and len(newer) == len(ledger)
    assert changed.checksums.tolist() == [zlib.crc32(Path(p).read_bytes()) for p in people.paths]
    wrong = replace(people, image_hw=people.image_hw[:, ::-1])
    with pytest.raises(BadInput, match="must have the annotated"):
        check_images(wrong, again.load())
    (tmp_path / "images.csv").write_text("cut")
    assert again.load() is None and "is made again" in caplog.text


@pytest.mark.parametrize("kept_bytes", [0, 20, -30])
def test_truncated_images_are_refused(coco, kept_bytes):
    noise = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(noise).save(coco.images / "30.jpg")
    whole = (coco.images / "30.jpg").read_bytes()
    (coco.images / "30.jpg").write_bytes(whole[:kept_bytes])
    people, _ = read_coco(coco.write(), coco.images)
    with pytest.raises(BadInput, match=r"30\.jpg: the image must decode, but .*Copy the file"):
        verify_images(people)


def test_deleted_images_are_refused_and_named(coco):
    people, _ = read_coco(coco.write(), coco.images)
    (coco.images / "30.jpg").unlink()
    (coco.images / "10.jpg").write_text("no image")
    with pytest.raises(BadInput, match=r"30\.jpg: .*\(and 1 more like it: 10\.jpg\)\. Copy"):
        verify_images(people)


def test_of_many_broken_images_some_are_named(make_people, tmp_path):
    people = make_people(13 * "a")
    files = [tmp_path / f"{number:02d}.jpg" for number in range(13)]
    people = replace(people, paths=np.array([str(file) for file in files], object))
    said = "00.jpg: .*and 12 more like it: 01.jpg, 02.jpg, .*10.jpg and 2 others\\)"
    with pytest.raises(BadInput, match=said):
        verify_images(people)


def test_images_of_another_size_are_refused(coco):
    coco.content["images"][0].update(height=60, width=40)
    people, _ = read_coco(coco.write(), coco.images)
    wanted = re.escape(
        "30.jpg: the image must have the annotated (height, width) (60, 40), "
        "the file has (40, 60). Annotate the size of the stored pixels"
    )
    with pytest.raises(BadInput, match=wanted):
        verify_images(people)


def test_orientation_tags_are_ignored(coco):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by a right angle when shown
    Image.new("RGB", (60, 40)).save(coco.images / "30.jpg", exif=exif)
    people, _ = read_coco(coco.write(), coco.images)
    verify_images(people)
    turned = replace(people, image_hw=people.image_hw[:, ::-1])
    with pytest.raises(BadInput, match=r"orientation tags \(EXIF\) are ignored"):
        verify_images(turned)
