"""Files that nobody means: settings, annotations, images and archives that break programs."""

import io
import json
import random
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

NAMES = ("left_hand", "right_hand", "head")


def hostile_files(folder: Path, seed: int) -> Iterator[tuple[Path, str]]:
    """(file, kind) pairs written into a folder; the same for the same seed.

    Kinds are ``yaml`` (settings), ``coco`` (annotations; the images folder beside them is good),
    ``detections``, ``image`` and ``archive``. After them come 60 good annotation
    files in each of which one random value is replaced.

    Args:
        folder: a new folder.
        seed: of the replaced values.
    """
    folder.mkdir(parents=True)
    good_images(folder / "images")
    makers = {"yaml": _yaml, "coco": _coco, "detections": _detections, "image": _images,
              "archive": _archives}  # fmt: skip
    suffixes = {"yaml": "yml", "coco": "json", "detections": "json", "image": "jpg",
                "archive": "zip"}  # fmt: skip
    for kind, make in makers.items():
        for number, content in enumerate(make()):
            file = folder / f"{kind}_{number}.{suffixes[kind]}"
            file.write_bytes(content)
            yield file, kind
    rng = random.Random(seed)
    for number in range(60):
        file = folder / f"bent_{number}.json"
        file.write_text(json.dumps(_bent(good_coco(), rng)), "utf-8", errors="surrogatepass")
        yield file, "coco"


def good_coco() -> dict[str, Any]:
    """What a small annotation file says: four images, a person on each."""
    return {
        "images": [
            {"id": i, "file_name": f"{i}.jpg", "height": 48, "width": 64} for i in range(1, 5)
        ],
        "annotations": [
            {"id": 10 * i, "image_id": i, "category_id": 1, "bbox": [4, 4, 40, 40], "area": 900.0,
             "iscrowd": 0, "keypoints": [10, 10, 2, 30, 10, 2, 20, 30, 1]} for i in range(1, 5)
        ],
        "categories": [{"id": 1, "name": "person", "keypoints": [*NAMES], "skeleton": [[1, 3]]}],
    }  # fmt: skip


def good_images(folder: Path) -> None:
    """The images of ``good_coco``."""
    folder.mkdir(parents=True)
    for i in range(1, 5):
        Image.new("RGB", (64, 48), (40 * i, 90, 20)).save(folder / f"{i}.jpg")


def _yaml() -> Iterator[bytes]:
    yield b"- 1\n- 2\n"
    yield b"just a text\n"
    yield b"5\n"
    yield "training: {rounds: 2} # M\u00fcller\n".encode("latin-1")
    yield "training: {rounds: 2}\n".encode("utf-16")
    yield b"5: {rounds: 2}\n"
    yield b"true: {rounds: 2}\n"
    yield b"null: 1\n"
    yield b"? [a, b]\n: 1\n"
    yield b"? {a: 1}\n: 1\n"
    yield b"training: " + b"[" * 20_000
    yield b"training: " + b"[" * 200 + b"]" * 200 + b"\n"
    yield b"".join(b" " * i + b"a:\n" for i in range(3000))
    yield b"seed: 1\nseed: 2\n"
    yield b"training:\n  rounds: 1\n  rounds: 2\n"
    yield b"trainning: {rounds: 7}\n"
    yield b"training: {rounds: 7\n"
    yield b"training:\n\trounds: 7\n"
    yield b"seed: !!python/object/apply:os.system ['touch hostile_was_here']\n"
    yield b"seed: !unknown 5\n"
    yield b"seed: ${nothing.there}\n"
    yield b"seed: ${globals:nothing}\n"
    yield b"seed: ${no_such_resolver:1}\n"
    yield b"seed: ${\n"
    yield b"seed: ${seed}\n"
    yield b"a: &a [*a]\n"
    yield b"seed: *nowhere\n"
    yield b"---\nseed: 1\n---\nseed: 2\n"
    yield b"\x00\x01\x02\x03"
    yield b"seed: \x07\n"
    levels = [b"a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"]
    levels += [b"a%d: &a%d [%s]\n" % (i, i, b", ".join([b"*a%d" % (i - 1)] * 10))
               for i in range(1, 10)]  # fmt: skip
    yield b"".join(levels)
    yield b"seed: " + b"9" * 5000 + b"\n"
    yield b"seed: 0x" + b"f" * 5000 + b"\n"
    yield b"seed: 2026-13-45\n"
    yield b"training:\n"


def _coco() -> Iterator[bytes]:
    yield b""
    yield b"\x00" * 100
    yield b"{"
    yield b"[" * 100_000
    yield b'{"a":' * 100_000
    yield b"[]"
    yield b"null"
    yield b'"text"'
    yield b"1" * 5000
    yield b"\x1f\x8b" + b"\x00" * 20
    yield b"PK\x03\x04"
    yield json.dumps(good_coco()).encode()[:-40]
    yield json.dumps(good_coco()).replace("left_hand", "l\u00e4nk").encode("latin-1")
    for key in ("images", "annotations", "categories"):
        for value in (None, {}, 5, [], [5], [None], [[]], [{}]):
            yield json.dumps({**good_coco(), key: value}).encode()
    odd: tuple[Any, ...] = (None, [], {}, "x", -1, 1e999, True, [1], 2**70, "9" * 5000)
    for place in (("images", "id"), ("images", "file_name"), ("images", "height"),
                  ("annotations", "id"), ("annotations", "image_id"), ("annotations", "bbox"),
                  ("annotations", "category_id"), ("annotations", "keypoints"),
                  ("annotations", "area"), ("annotations", "iscrowd"), ("categories", "id"),
                  ("categories", "keypoints"), ("categories", "name")):  # fmt: skip
        for value in odd:
            content = good_coco()
            content[place[0]][0][place[1]] = value
            yield json.dumps(content).encode()
    for name in ("../images/1.jpg", "/etc/passwd", "a/../../1.jpg", "", ".", "x" * 5000, "a\0b",
                 "\ud800.jpg", "C:\\1.jpg", "images", "1.jpg/"):  # fmt: skip
        content = good_coco()
        content["images"][0]["file_name"] = name
        yield json.dumps(content).encode()


def _detections() -> Iterator[bytes]:
    good = {"image_id": 1, "category_id": 1, "bbox": [4, 4, 40, 40], "score": 0.5}
    for content in ({}, [], [5], [{}], None, [[]]):
        yield json.dumps(content).encode()
    for key in good:
        for value in (None, [], {}, "x", 1e999, True, 2**70, [1, 2, 3, None], [[1]]):
            yield json.dumps([{**good, key: value}]).encode()


def _jpeg() -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (64, 48), (40, 90, 20)).save(stream, "JPEG")
    return stream.getvalue()


def _images() -> Iterator[bytes]:
    """Some of them decode, as others than they were promised to be."""
    whole = _jpeg()
    yield b""
    yield b"text"
    yield whole[:200]
    yield whole[:-20]
    yield b"\xff\xd8" + b"\xff" * 500
    yield b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 48\n(hostile_was_here) (w) file\n"
    yield b"%PDF-1.4\n"
    yield b"<svg xmlns='http://www.w3.org/2000/svg' width='64' height='48'/>"
    yield _png(2**31 - 1, 2**31 - 1)
    yield _png(30_000, 30_000)
    yield _png(0, 0)
    yield b"GIF89a" + b"\xff" * 30
    yield b"BM" + b"\xff" * 60
    yield b"RIFF\xff\xff\xff\xffWEBPVP8 " + b"\xff" * 60
    yield b"II*\x00" + b"\xff" * 60
    yield b"P6 99999999999 99999999999 255\n"
    yield b"\x00\x00\x00\x0cjP  \r\n\x87\n" + b"\xff" * 60


def _png(width: int, height: int) -> bytes:
    """A PNG whose header promises a size, and whose pixels end early."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\x00" * 1000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels)


def _archives() -> Iterator[bytes]:
    """None may write outside of its folder, or more than a disk holds; each member is 1.jpg."""
    for name in ("../1.jpg", "/1.jpg", "a/../../1.jpg", "..\\1.jpg", "C:\\1.jpg", "", "a\\1.jpg"):
        yield _zip({name: b"x"})
        yield _tar(name)
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
        yield _tar("1.jpg", kind)
    yield _zip({"1.jpg": b"x"}, link=True)
    yield _zip({"a/1.jpg": b"x", "b/1.jpg": b"y"})
    yield _zip({"1.jpg": bytes(60_000_000)})  # a thousandth of it is stored
    yield _lying_zip(2**40)
    yield b""
    yield b"PK"
    yield _zip({"1.jpg": b"x" * 1000})[:-30]
    yield b"\x1f\x8b" + b"\xff" * 40
    yield _tar("1.jpg")[:600]
    yield _zip({"2.png": b"x"})
    broken = bytearray(_zip({"1.jpg": b"x" * 1000}))
    broken[45] ^= 0xFF
    yield bytes(broken)


def _zip(members: dict[str, bytes], *, link: bool = False) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as pack:
        for name, content in members.items():
            info = zipfile.ZipInfo(name or "x")
            info.filename, info.compress_type = name, zipfile.ZIP_DEFLATED
            if link:
                info.external_attr = 0o120777 << 16
            pack.writestr(info, content)
    return stream.getvalue()


def _lying_zip(size: int) -> bytes:
    """A zip whose directory promises another size than it has."""
    content = bytearray(_zip({"1.jpg": b"x"}))
    place = content.index(b"PK\x01\x02") + 24
    content[place : place + 4] = struct.pack("<I", min(size, 2**32 - 2))
    return bytes(content)


def _tar(name: str, kind: bytes = tarfile.REGTYPE) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as pack:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, "/etc/passwd"
        info.size = 1 if kind == tarfile.REGTYPE else 0
        pack.addfile(info, io.BytesIO(b"x"))
    return stream.getvalue()


_ODD: tuple[Any, ...] = (None, True, -1, 0, 1.5, 1e999, "", "x", [], {}, [[]], 2**70, "\ud800")


def _bent(content: Any, rng: random.Random) -> Any:
    """The content with one value, at any depth, replaced or taken away."""
    table = content
    while True:
        keys = list(table) if isinstance(table, dict) else list(range(len(table)))
        key = rng.choice(keys)
        inner = table[key]
        if not isinstance(inner, dict | list) or not inner or rng.random() < 0.15:
            if rng.random() < 0.2:
                del table[key]
            else:
                table[key] = rng.choice(_ODD)
            return content
        table = inner
