"""Stored crops: the pixels of the images, made once, whatever happens meanwhile."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from kedro.io import DatasetError
from PIL import Image

from sspcm_kedro.data import crops as crops_module
from sspcm_kedro.data.crops import Crops
from sspcm_kedro.data.image_file import checksum_of, read_rgb
from sspcm_kedro.data.instances import Instances
from sspcm_kedro.data.stored_crops import CropsToStore
from sspcm_kedro.datasets import crop_cache
from sspcm_kedro.datasets.crop_cache import CropCacheDataset
from sspcm_kedro.errors import BadInput
from sspcm_kedro.pose.geometry import CropFrame

FRAME, BORDER = CropFrame((32, 24)), 4
SIZE = 40 * 32 * 3
"""Bytes of a crop."""
EVERYONE = torch.arange(6)


@pytest.fixture
def people(tmp_path) -> Instances:
    """Six people, two of them in one image, on noise."""
    rng = np.random.default_rng(0)
    paths = [str(tmp_path / f"{i}.png") for i in range(5)]
    for path in paths:
        Image.fromarray(rng.integers(0, 256, (60, 90, 3), dtype=np.uint8)).save(path)
    paths = [paths[i] for i in (0, 1, 2, 1, 3, 4)]
    corner = rng.uniform(0, 30, (6, 2)).astype(np.float32)
    return Instances(
        ids=np.arange(6), image_ids=np.arange(6), paths=np.array(paths, object),
        image_hw=np.full((6, 2), (60, 90)), boxes=np.concatenate([corner, corner + 25], axis=1),
        areas=np.full(6, 9, np.float32), box_scores=np.ones(6, np.float32),
        keypoints=np.zeros((6, 1, 2), np.float32), visibility=np.zeros((6, 1), np.int64),
        checksums=np.array([checksum_of(path) for path in paths], np.int64),
    )  # fmt: skip


@pytest.fixture
def opened(monkeypatch) -> list[str]:
    """The names of the images that are decoded."""
    names = []

    def read(path, checksum):
        names.append(path[-5:])
        return read_rgb(path, checksum)

    monkeypatch.setattr(crops_module, "read_rgb", read)
    return names


def store(folder, people, kind="uint8", frame=FRAME) -> CropCacheDataset:
    dataset = CropCacheDataset(str(folder / "crops"))
    dataset.save(CropsToStore(people, frame, BORDER, kind, 2))
    return dataset


def read(people, stored=None, **more) -> torch.Tensor:
    return Crops(people, FRAME, border=BORDER, stored=stored, **more)[torch.arange(len(people))]


@pytest.mark.parametrize("memory", [0, 2**30])
def test_stored_crops_are_those_of_the_images_and_no_image_is_read(
    tmp_path, people, opened, memory
):
    stored = store(tmp_path, people).load()
    assert (tmp_path / "crops" / "crops.bin").stat().st_size == 6 * SIZE
    assert sorted(opened) == ["0.png", "1.png", "2.png", "3.png", "4.png"], "each once"
    opened.clear()
    found = read(people, stored, memory=memory)
    assert not opened
    assert found.equal(read(people))


def test_jpeg_crops_are_nearly_those_and_say_so(tmp_path, people):
    smooth = Image.linear_gradient("L").resize((90, 60)).convert("RGB")
    for path in people.paths:
        smooth.save(path)
    people = replace(people, checksums=np.array([checksum_of(path) for path in people.paths]))
    stored = store(tmp_path, people, "jpeg").load()
    apart = (read(people, stored).int() - read(people).int()).abs()
    assert stored.kind == "jpeg" and 0 < apart.max() <= 8
    assert (tmp_path / "crops" / "crops.bin").stat().st_size < 6 * SIZE / 2


def test_only_what_changed_is_made(tmp_path, people, opened):
    """A box, an image, and one person more; those who are gone leave their bytes behind."""
    store(tmp_path, people.take([0, 1, 2, 4, 5]))
    before = (tmp_path / "crops" / "crops.bin").read_bytes()
    Image.new("RGB", (90, 60), (9, 90, 200)).save(people.paths[4])
    people.checksums[4] = checksum_of(people.paths[4])
    people.boxes[0] += 3
    opened.clear()
    dataset = store(tmp_path, people)
    assert sorted(opened) == ["0.png", "1.png", "3.png"]
    after = (tmp_path / "crops" / "crops.bin").read_bytes()
    assert after.startswith(before) and len(after) == 8 * SIZE
    opened.clear()
    store(tmp_path, people)
    assert not opened
    assert read(people, dataset.load()).equal(read(people))


def test_a_run_of_few_people_keeps_the_crops_of_all(tmp_path, people, opened):
    """A trial with a small split does not throw away what a long ingestion stored."""
    store(tmp_path, people)
    before = (tmp_path / "crops" / "crops.bin").read_bytes()
    opened.clear()
    few = people.take([3])
    assert read(few, store(tmp_path, few).load()).equal(read(few))
    assert (tmp_path / "crops" / "crops.bin").read_bytes() == before
    opened.clear()
    store(tmp_path, people)
    assert not opened


def test_another_view_or_kind_starts_anew(tmp_path, people):
    store(tmp_path, people)
    wider = CropFrame((32, 24), padding=1.5)
    stored = store(tmp_path, people, frame=wider).load()
    assert (tmp_path / "crops" / "crops.bin").stat().st_size == 6 * SIZE
    assert (Crops(people, FRAME, border=BORDER, stored=stored)[EVERYONE]).equal(read(people))
    assert store(tmp_path, people, "jpeg").load().kind == "jpeg"
    assert (tmp_path / "crops" / "index.bin").stat().st_size == 6 * 32


def test_crops_that_do_not_fit_are_refused_before_any_is_cut(tmp_path, people, opened, monkeypatch):
    """What is thrown away makes room; what is there already needs none."""
    few = people.take([0, 1])
    store(tmp_path, few)
    before = {file.name: file.read_bytes() for file in (tmp_path / "crops").iterdir()}
    opened.clear()

    def leave(free: int) -> None:
        usage = SimpleNamespace(free=free)
        monkeypatch.setattr("shutil.disk_usage", lambda folder: usage)

    leave(4 * SIZE - 1)
    with pytest.raises(
        DatasetError, match=rf"\({4 * SIZE} bytes\), and {4 * SIZE - 1} bytes are free"
    ):
        store(tmp_path, people)
    with pytest.raises(DatasetError, match=r"Make room, store JPEG"):
        store(tmp_path, people, frame=CropFrame((64, 48), padding=1.5))
    assert {f.name: f.read_bytes() for f in (tmp_path / "crops").iterdir()} == before
    assert not opened
    leave(0)
    store(tmp_path, few)
    store(tmp_path, few, "jpeg")  # in the room of what it replaces
    leave(6 * SIZE)
    assert read(people, store(tmp_path, people).load()).equal(read(people))


def test_what_a_kill_leaves_is_gone_on_from(tmp_path, people, opened, monkeypatch):
    """After one batch of two; the next one's pixels are there in part, and so is its entry."""
    monkeypatch.setattr(crop_cache, "BATCH", 2)
    store(tmp_path / "whole", people)
    count = 0

    def killed(crop, kind):
        nonlocal count
        count += 1
        if count > 3:
            raise KeyboardInterrupt
        return crop.tobytes()

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(crop_cache, "encode", killed)
        store(tmp_path, people)
    folder = tmp_path / "crops"
    assert (folder / "index.bin").stat().st_size == 2 * 32
    with (folder / "index.bin").open("ab") as file:
        file.write(b"torn")
    opened.clear()
    stored = store(tmp_path, people).load()
    assert sorted(opened) == ["1.png", "2.png", "3.png", "4.png"]
    for name in ("crops.bin", "index.bin"):
        assert (folder / name).read_bytes() == (tmp_path / "whole/crops" / name).read_bytes()
    assert read(people, stored).equal(read(people))


def test_a_damaged_file_is_refused(tmp_path, people):
    stored = store(tmp_path, people).load()
    file = tmp_path / "crops" / "crops.bin"
    content = bytearray(file.read_bytes())
    content[2 * SIZE + 7] ^= 1
    file.write_bytes(content)
    with pytest.raises(BadInput, match=r"crops\.bin: the crops must be as they were.*Delete"):
        read(people, stored)
    file.write_bytes(content[: 5 * SIZE])
    with pytest.raises(BadInput, match="must be as they were"):
        read(people.take([5]), stored)
    file.unlink()
    with pytest.raises(BadInput, match=r"cannot be read.*--pipelines ingestion"):
        read(people.take([5]), stored)


def test_people_who_are_not_stored_are_cut_from_images_but_not_beside_jpeg(
    tmp_path, people, caplog
):
    some = people.take([0, 1, 5])
    stored = store(tmp_path, some).load()
    assert read(some, stored).equal(read(some)) and not caplog.records
    assert read(people, stored).equal(read(people))
    assert "3 of 6 people have no stored crop of this view" in caplog.text
    with pytest.raises(BadInput, match=r"jpeg.*each of 6 people.*3 have none"):
        read(people, store(tmp_path, some, "jpeg").load())


def test_nothing_stored_says_how_to_store_it(tmp_path):
    dataset = CropCacheDataset(str(tmp_path / "crops"))
    assert not dataset.exists()
    with pytest.raises(Exception, match=r"machine\.crop_cache.*--pipelines ingestion"):
        dataset.load()
