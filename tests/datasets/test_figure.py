"""Figures: PNG files of the size that was asked for."""

import io

import pytest
from kedro.io import DatasetError
from matplotlib.figure import Figure
from PIL import Image

from sspcm_kedro.datasets.figure import FigureDataset


@pytest.fixture
def figure() -> Figure:
    """Half red, half white; 2 x 1 inches."""
    drawn = Figure(figsize=(2, 1))
    drawn.add_axes((0, 0, 0.5, 1), facecolor="red", xticks=[], yticks=[]).set_frame_on(True)
    return drawn


def test_a_figure_becomes_its_png(tmp_path, figure):
    file = tmp_path / "sheets" / "sheet.png"
    dataset = FigureDataset(str(file), dpi=50)
    assert not dataset.exists()
    dataset.save(figure)
    assert dataset.exists() and dataset.load() == file.read_bytes()
    with Image.open(io.BytesIO(dataset.load())) as picture:
        assert picture.format == "PNG" and picture.size == (100, 50)
        assert picture.convert("RGB").getpixel((25, 25)) == (255, 0, 0)
        assert picture.convert("RGB").getpixel((75, 25)) == (255, 255, 255)


def test_a_save_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, figure, monkeypatch):
    file = tmp_path / "sheet.png"
    dataset = FigureDataset(str(file))
    dataset.save(figure)
    before = file.read_bytes()

    def broken(path, **more):
        path.write_bytes(b"half of it")
        raise OSError("the disk is full")

    monkeypatch.setattr(figure, "savefig", broken)
    with pytest.raises(DatasetError, match="the disk is full"):
        dataset.save(figure)
    assert file.read_bytes() == before and list(tmp_path.iterdir()) == [file]
