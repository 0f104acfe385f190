"""Crops: what is at a point of the image lies where the crop's matrix says."""

import zlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from sspcm_kedro.data.crops import Crops, cut
from sspcm_kedro.data.instances import Instances
from sspcm_kedro.errors import BadInput
from sspcm_kedro.pose.geometry import CropFrame, crop_matrix

INPUT = (64, 48)
FRAME = CropFrame(INPUT)


def people(paths, boxes) -> Instances:
    n = len(paths)
    return Instances(
        ids=np.arange(n),
        image_ids=np.arange(n),
        paths=np.array([str(path) for path in paths], object),
        image_hw=np.full((n, 2), 100),
        boxes=np.array(boxes, np.float32),
        areas=np.ones(n, np.float32),
        box_scores=np.ones(n, np.float32),
        keypoints=np.zeros((n, 1, 2), np.float32),
        visibility=np.zeros((n, 1), np.int64),
    )


def blob(x: float, y: float, hw: tuple[int, int], sigma: float) -> Image.Image:
    """A bright Gaussian about a point of a black image."""
    columns, rows = np.meshgrid(np.arange(hw[1]), np.arange(hw[0]))
    plane = 255 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * sigma**2))
    return Image.fromarray(np.repeat(plane.round().astype(np.uint8)[..., None], 3, axis=2))


def cropped(image: Image.Image, box, border: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """The crop (H, W) of one channel, and the matrix to crop pixels, its border included."""
    matrix = crop_matrix(np.array([box]), FRAME)[0]
    out_hw = (INPUT[0] + 2 * border, INPUT[1] + 2 * border)
    pixels = cut(image, matrix, out_hw, border)
    assert pixels.shape == (*out_hw, 3) and pixels.dtype == np.uint8
    return pixels[..., 0].astype(float), crop_matrix(np.array([box]), FRAME, border=border)[0]


def center_of_mass(plane: np.ndarray) -> np.ndarray:
    rows, columns = np.indices(plane.shape)
    return np.array([(plane * columns).sum(), (plane * rows).sum()]) / plane.sum()


@pytest.mark.parametrize("border", [0, 10])
@pytest.mark.parametrize(
    ("box", "point", "sigma"),
    [
        ((40, 20, 140, 220), (77.0, 160.0), 6),  # shrunk about four times
        ((30.3, 41.7, 64.9, 90.2), (52.0, 61.0), 2),  # about as large
        ((80, 100, 90, 112), (84.0, 108.0), 1),  # enlarged about four times
        ((-60, -30, 60, 90), (20.0, 31.0), 5),  # beyond the upper left corner
        ((120, 200, 260, 330), (170.0, 270.0), 5),  # beyond the lower right corner
    ],
)
def test_a_bright_spot_lands_where_the_matrix_says(box, point, sigma, border):
    """Within half a pixel, for shrunk and enlarged people, inside and across the border."""
    plane, matrix = cropped(blob(*point, (300, 200), sigma), box, border)
    expected = matrix[:, :2] @ point + matrix[:, 2]
    assert (0 < expected).all() and (expected < plane.shape[::-1]).all()
    assert plane.max() > 150
    assert np.abs(center_of_mass(plane) - expected).max() < 0.5


def test_a_window_of_too_many_pixels_is_cut_from_the_image_shrunk(monkeypatch):
    """Points stay where they are; what is seen is as good as the same."""
    image, box = blob(77.0, 160.0, (260, 200), 12), (7, 20, 187, 240)
    whole, matrix = cropped(image, box)
    monkeypatch.setattr("sspcm_kedro.data.crops.MOST_PIXELS", 260 * 200 / 2)
    shrunk, _ = cropped(image, box)
    assert not np.array_equal(whole, shrunk)
    np.testing.assert_allclose(whole, shrunk, atol=12)
    expected = matrix @ [77.0, 160.0, 1]
    np.testing.assert_allclose(center_of_mass(shrunk), expected, atol=0.05)


def test_a_panorama_is_cut_though_its_window_has_more_pixels_than_pillow_opens():
    image = Image.new("RGB", (13000, 100), (90, 90, 90))
    seen, matrix = cropped(image, (0, 0, 12999, 99))
    assert seen.sum() == pytest.approx(90 * 13000 * 100 * matrix[0, 0] ** 2, rel=0.1)
    assert not seen[:30].any() and not seen[34:].any()  # a thin line in the middle


def test_outside_of_the_image_is_black_and_inside_is_untouched():
    """Every pixel whose source lies more than the filter's width from the edge."""
    white = Image.new("RGB", (50, 40), (255, 255, 255))
    plane, matrix = cropped(white, (-20, 5, 70, 95), border=4)
    factor = matrix[0, 0]
    rows, columns = np.indices(plane.shape)
    x, y = (columns - matrix[0, 2]) / factor, (rows - matrix[1, 2]) / factor
    reach = 1 / factor + 0.5
    inside = (x > reach) & (x < 49 - reach) & (y > reach) & (y < 39 - reach)
    outside = (x < -reach - 0.5) | (x > 49.5 + reach) | (y < -reach - 0.5) | (y > 39.5 + reach)
    assert inside.sum() > 100 and outside.sum() > 1000
    assert (plane[inside] == 255).all()
    assert (plane[outside] == 0).all()


def test_a_box_that_misses_the_image_is_black():
    plane, _ = cropped(Image.new("RGB", (50, 40), (255, 255, 255)), (200, 200, 230, 260))
    assert not plane.any()


def test_shrinking_is_antialiased():
    """A fine pattern becomes grey; sampling every eighth pixel would make it white or black."""
    pattern = np.indices((640, 480)).sum(axis=0) % 2 * 255
    image = Image.fromarray(np.repeat(pattern.astype(np.uint8)[..., None], 3, axis=2))
    plane, matrix = cropped(image, (48, 64, 432, 576))
    assert matrix[0, 0] == pytest.approx(0.1)
    # Pixel indices are centers, so the first row and column look half a pixel beyond the image.
    assert np.abs(plane[1:, 1:] - 127.5).max() < 8


@pytest.fixture
def folder(tmp_path):
    """Six people, two of them in one image, on noise of different sizes."""
    rng = np.random.default_rng(0)
    for i in range(5):
        pixels = rng.integers(0, 256, (60 + 7 * i, 90 - 8 * i, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
    corner = rng.uniform(-5, 30, (6, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(8, 50, (6, 2))], axis=1)
    return people([tmp_path / f"{i}.png" for i in (0, 1, 2, 1, 3, 4)], boxes)


def test_crops_are_the_cuts_in_order(folder):
    crops = Crops(folder, FRAME, border=5)
    rows = torch.tensor([4, 0, 3, 3, 1])
    assert len(crops) == 6
    assert crops[rows].shape == (5, 3, 74, 58) and crops[rows].dtype == torch.uint8
    for crop, row in zip(crops[rows], rows.tolist(), strict=True):
        image = Image.open(folder.paths[row]).convert("RGB")
        expected = cut(image, crop_matrix(folder.boxes, FRAME)[row], (74, 58), 5)
        assert (crop.permute(1, 2, 0).numpy() == expected).all()


@pytest.mark.parametrize(
    ("padding", "box"),
    [
        (0.5, (-14, -12, 82, 116)),
        (1.0, (10, 20, 58, 84)),
        (1.2, (14, 27, 54, 77)),  # wide: 40 x 50 grows in height
        (1.5, (18, 32, 50, 72)),
        (2.0, (22, 36, 46, 68)),
    ],
)
@pytest.mark.parametrize("border", [0, 3])
def test_the_padding_decides_which_pixels_are_cut(tmp_path, padding, box, border):
    """Boxes about (34, 52) whose crop is 48 x 64 pixels of the image, so that none is resampled."""
    pixels = np.random.default_rng(6).integers(0, 256, (100, 90, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    crops = Crops(people([tmp_path / "a.png"], [box]), CropFrame(INPUT, padding), border=border)
    expected = pixels[20 - border : 84 + border, 10 - border : 58 + border]
    assert (crops[torch.tensor([0])][0].permute(1, 2, 0).numpy() == expected).all()
    assert crops.input_hw == INPUT and crops.frame.padding == padding


@pytest.mark.parametrize("workers", [1, 3])
def test_crops_read_anew_are_those_kept_in_memory(folder, workers):
    kept = Crops(folder, FRAME, border=5)
    read = Crops(folder, FRAME, border=5, workers=workers, memory=0)
    rows = torch.tensor([5, 1, 1, 0, 3])
    assert kept[rows].equal(read[rows])
    assert kept.matrix == pytest.approx(read.matrix)


def test_kept_crops_do_not_need_the_files_again(folder):
    kept, read = Crops(folder, FRAME, border=0), Crops(folder, FRAME, border=0, memory=0)
    Image.new("RGB", (90, 60)).save(folder.paths[0])
    assert kept[torch.tensor([0])].any()
    assert not read[torch.tensor([0])].any()


def test_batches_are_all_people_in_order(folder):
    crops = Crops(folder, FRAME, border=2)
    parts = torch.arange(len(crops)).split(4)
    assert [len(crops[rows]) for rows in parts] == [4, 2]
    assert torch.cat([crops[rows] for rows in parts]).equal(crops[torch.arange(6)])


def test_exif_orientation_is_ignored(tmp_path):
    """Annotations are in the pixels of the file as stored."""
    pixels = np.zeros((60, 90, 3), np.uint8)
    pixels[:30, :45] = 255
    image, exif = Image.fromarray(pixels), Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees to show
    image.save(tmp_path / "turned.jpg", exif=exif)
    image.save(tmp_path / "plain.jpg")
    with Image.open(tmp_path / "turned.jpg") as file:
        assert ImageOps.exif_transpose(file).size == (60, 90)
    both = people([tmp_path / "turned.jpg", tmp_path / "plain.jpg"], [[10, 10, 60, 55]] * 2)
    turned, plain = Crops(both, FRAME, border=0)[torch.arange(2)]
    assert turned.equal(plain) and turned.any()


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK"])
def test_every_image_becomes_rgb(mode, tmp_path):
    path = tmp_path / ("image.tif" if mode == "CMYK" else "image.png")
    Image.new("RGB", (40, 40), (200, 200, 200)).convert(mode).save(path)
    (crop,) = Crops(people([path], [[5, 5, 25, 25]]), FRAME, border=0)[torch.tensor([0])]
    assert crop.shape == (3, 64, 48)
    assert (crop[:, 32, 24].int() - 200).abs().max() <= 6, "a palette has few greys"


def test_an_empty_box_is_refused(folder):
    broken = folder.take([0, 1])
    broken.boxes[1] = 7
    with pytest.raises(ValueError, match="box 1"):
        Crops(broken, FRAME, border=0)


def test_a_broken_image_is_named_by_the_crops(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"cut")
    with pytest.raises(BadInput, match=r"a\.jpg: the image must decode"):
        Crops(people([tmp_path / "a.jpg"], [[5, 5, 25, 25]]), FRAME, border=0)[torch.tensor([0])]


@pytest.mark.parametrize("memory", [0, 2**30])
def test_an_image_that_is_not_the_verified_one_is_refused(tmp_path, memory):
    """A bit that the decoder does not notice, another image, and none."""
    file = tmp_path / "a.png"
    Image.new("RGB", (100, 100), (9, 9, 9)).save(file)
    whole = file.read_bytes()
    known = replace(people([file], [(0, 0, 50, 50)]), checksums=np.array([zlib.crc32(whole)]))

    def read():
        return Crops(known, FRAME, border=0, memory=memory)[torch.tensor([0])]

    assert int(read().max()) == 9
    file.write_bytes(whole + b"\0")
    with pytest.raises(BadInput, match=r"a\.png: .*its CRC32 is another.*Bring the file back"):
        read()
    Image.new("RGB", (100, 100), (8, 9, 9)).save(file)
    with pytest.raises(BadInput, match="its CRC32 is another"):
        read()
    file.unlink()
    with pytest.raises(BadInput, match="cannot be read"):
        read()
