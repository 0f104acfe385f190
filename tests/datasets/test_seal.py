"""Damage is seen: a file of ours that lost bytes or has other bits is refused when it is read."""

import json
import shutil
from types import SimpleNamespace

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import torch
from kedro.io import DatasetError
from matplotlib.figure import Figure
from PIL import Image

from sspcm_kedro.data.views import ViewConfig
from sspcm_kedro.datasets.checkpoint import CheckpointDataset
from sspcm_kedro.datasets.figure import FigureDataset
from sspcm_kedro.datasets.files import JsonDataset, TableDataset
from sspcm_kedro.datasets.instances import InstancesDataset, PartsDataset
from sspcm_kedro.datasets.scores import ScoresDataset
from sspcm_kedro.datasets.seal import fill_slot
from sspcm_kedro.datasets.skeleton import SkeletonDataset
from sspcm_kedro.datasets.tensors import TensorsDataset
from sspcm_kedro.datasets.trained_model import TrainedModelDataset
from sspcm_kedro.engine.export import TrainedModel
from sspcm_kedro.nets import NetworkConfig
from sspcm_kedro.pose.skeleton import COCO

mpl.use("Agg")


def model() -> TrainedModel:
    config = NetworkConfig.model_validate({"kind": "small_baseline", "width": 16})
    network = config.build(COCO.size, stride=4).eval()
    return TrainedModel(network, config, COCO, ViewConfig(input_hw=(64, 48), border=8, sigma=1))


STATE = {
    "method": {"networks.a.w": torch.arange(600.0)}, "epoch": 4, "fingerprint": "0123456789ab",
    "history": [{"stage": "warmup", "loss": 0.25}],
}  # fmt: skip
HISTORY = pd.DataFrame({"stage": ["a", "a"], "epoch": [1, 2], "loss": [0.5, 0.25]})
KINDS = {
    "checkpoint.pt": (CheckpointDataset, lambda people: STATE),
    "history.csv": (TableDataset, lambda people: HISTORY),
    "numbers.json": (JsonDataset, lambda people: {"a": [1, 2.5], "b": {"c": "näse"}}),
    "scores.json": (ScoresDataset, lambda people: [{"round": 1, "PCK": 0.125}]),
    "figure.png": (FigureDataset, lambda people: Figure(figsize=(1, 1))),
    "people.parquet": (InstancesDataset, lambda people: people),
    "parts.parquet": (PartsDataset, lambda people: {"annotated": people}),
    "skeleton.json": (SkeletonDataset, lambda people: COCO),
    "labels.safetensors": (TensorsDataset, lambda people: {"a": torch.arange(300.0), "b": "text"}),
    "model.safetensors": (TrainedModelDataset, lambda people: model()),
}


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    return tmp_path_factory.mktemp("stored")


@pytest.fixture(params=KINDS)
def kind(request, stored, make_people, tmp_path):
    """A dataset of a file of its own, as its class writes it."""
    make, content = KINDS[request.param]
    folder = stored / "data" / "layer"  # tables of people know the data folder above theirs
    dataset = make(filepath=str(folder / request.param))
    if not dataset.exists():
        dataset.save(content(make_people("ab")))
    mine = tmp_path / "data" / "layer" / request.param
    mine.parent.mkdir(parents=True)
    shutil.copy(folder / request.param, mine)
    return SimpleNamespace(dataset=make(filepath=str(mine)), file=mine, whole=mine.read_bytes())


def refuses(kind) -> bool:
    """Whether loading names the file and says what to do."""
    with pytest.raises(DatasetError) as caught:
        kind.dataset.load()
    text = str(caught.value)
    return f"{kind.file}: must be as it was written" in text and "Delete it" in text


def test_what_is_written_is_read(kind):
    assert kind.dataset.load() is not None


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.99])
def test_a_file_without_its_tail_is_refused(kind, share):
    kind.file.write_bytes(kind.whole[: int(share * len(kind.whole))])
    assert refuses(kind)


def test_a_file_without_its_last_byte_or_with_one_more_is_refused(kind):
    for content in (kind.whole[:-1], kind.whole + b"\0"):
        kind.file.write_bytes(content)
        assert refuses(kind)


def test_one_flipped_bit_anywhere_is_refused(kind):
    """At 40 places over the file, its first and last byte among them."""
    places = np.unique(np.linspace(0, len(kind.whole) - 1, 40).astype(int))
    for turn, place in enumerate(places):
        damaged = bytearray(kind.whole)
        damaged[place] ^= 1 << turn % 8
        kind.file.write_bytes(damaged)
        assert refuses(kind), place


def test_other_readers_see_what_they_saw_before(tmp_path, make_people):
    """JSON, CSV, PNG, Parquet and torch files are still what their formats say."""
    JsonDataset(filepath=str(tmp_path / "a.json")).save({"a": [1]})
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": [1]}
    TableDataset(filepath=str(tmp_path / "a.csv"), save_args={"index": False}).save(HISTORY)
    table = pd.read_csv(tmp_path / "a.csv")
    pd.testing.assert_frame_equal(table[list(HISTORY)], HISTORY)
    assert table.iloc[:, -1].isna().all() and table.shape == (2, 4)
    FigureDataset(str(tmp_path / "a.png")).save(Figure(figsize=(1, 1)))
    with Image.open(tmp_path / "a.png") as image:
        assert image.convert("RGB").getpixel((3, 3)) == (255, 255, 255)
    CheckpointDataset(str(tmp_path / "a.pt")).save(STATE)
    assert torch.load(tmp_path / "a.pt", weights_only=True)["epoch"] == 4
    InstancesDataset(str(tmp_path / "x" / "a.parquet")).save(make_people("ab"))
    assert pd.read_parquet(tmp_path / "x" / "a.parquet")["id"].tolist() == [1, 2]


def test_a_table_comes_back_without_its_digest(tmp_path):
    dataset = TableDataset(filepath=str(tmp_path / "a.csv"), save_args={"index": False})
    dataset.save(HISTORY)
    pd.testing.assert_frame_equal(dataset.load(), HISTORY)
    assert list(dataset.preview()["columns"]) == list(HISTORY)


def test_content_that_holds_a_slot_or_a_digest_is_no_matter(tmp_path):
    texts = {"first": "sha256:" + "0" * 64, "last": "sha256:" + "ab" * 32}
    dataset = TensorsDataset(str(tmp_path / "a.safetensors"))
    dataset.save({"a": torch.ones(2), **texts})
    loaded = dataset.load()
    assert {key: loaded[key] for key in texts} == texts


def test_a_file_without_a_slot_is_not_sealed(tmp_path):
    (tmp_path / "a").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="no place for its digest"):
        fill_slot(tmp_path / "a")


def test_nothing_made_has_an_empty_preview(tmp_path):
    for name, (make, _) in KINDS.items():
        assert not make(filepath=str(tmp_path / name)).preview()
