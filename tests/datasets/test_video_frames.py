"""The folder of chosen frames: written whole, and not twice."""

import json
import os

import numpy as np
import pytest
from kedro.io import DatasetError
from PIL import Image

from formats import save_video
from sspcm_kedro.datasets.video_frames import VideoFramesDataset
from sspcm_kedro.sources import video_frames
from sspcm_kedro.sources.video_frames import VideoFrames, listed_frames


@pytest.fixture
def two_videos(tmp_path):
    """Frames in which a white column moves on; in a.mkv it waits from frame 2 to frame 5."""
    places = {"a.mkv": [0, 1, 2, 2, 2, 2, 3], "b.avi": [4, 5, 6]}
    videos = {}
    for name, columns in places.items():
        frames = []
        for column in columns:
            pixels = np.zeros((48, 64, 3), np.uint8)
            pixels[:, 8 * column : 8 * column + 8] = (255, 128, 0)
            frames.append(pixels)
        save_video(tmp_path / "videos" / name, frames)
        videos[tmp_path / "videos" / name] = ()
    return videos


@pytest.fixture
def choices(monkeypatch):
    """How often frames have been chosen."""
    count: list[int] = []
    choose = video_frames.choose_frames

    def counted(*args):
        count.append(1)
        return choose(*args)

    monkeypatch.setattr(video_frames, "choose_frames", counted)
    return count


def test_files_of_the_folder(tmp_path, two_videos):
    dataset = VideoFramesDataset(str(tmp_path / "frames"))
    dataset.save(VideoFrames(two_videos, 20))
    root = dataset.load()
    frames = listed_frames(root)
    assert [frame["file"] for frame in frames] == [
        "a.mkv/000000.jpg", "a.mkv/000001.jpg", "a.mkv/000002.jpg", "a.mkv/000006.jpg",
        "b.avi/000000.jpg", "b.avi/000001.jpg", "b.avi/000002.jpg"]  # fmt: skip
    assert frames[3] == {"file": "a.mkv/000006.jpg", "video": "a.mkv", "frame": 6, "seconds": 0.6,
                         "height": 48, "width": 64}  # fmt: skip
    files = {file.relative_to(root).as_posix() for file in root.rglob("*") if file.is_file()}
    assert files == {*(frame["file"] for frame in frames), "frames.json", "fingerprint.json"}
    with Image.open(root / "a.mkv/000006.jpg") as image:
        pixels = np.asarray(image).astype(int)
    assert pixels.shape == (48, 64, 3)
    np.testing.assert_allclose(pixels[8:40, 27:29], np.full((32, 2, 3), (255, 128, 0)), atol=12)
    assert pixels[:, 40:].max() < 12


def test_the_same_frames_are_chosen_once(tmp_path, two_videos, choices):
    dataset = VideoFramesDataset(str(tmp_path / "frames"))
    for _ in range(2):
        dataset.save(VideoFrames(two_videos, 20))
    assert len(choices) == 1
    dataset.save(VideoFrames(two_videos, 3))
    assert len(choices) == 2 and len(listed_frames(dataset.load())) == 3
    first = next(iter(two_videos))
    dataset.save(VideoFrames({**two_videos, first: (6,)}, 3))
    assert len(choices) == 3
    os.utime(first, (1, 1))  # another video under the same name
    dataset.save(VideoFrames({**two_videos, first: (6,)}, 3))
    assert len(choices) == 4


def test_no_videos_make_an_empty_folder(tmp_path):
    dataset = VideoFramesDataset(str(tmp_path / "frames"))
    dataset.save(VideoFrames({}, 20))
    assert listed_frames(dataset.load()) == []
    assert dataset.preview()


def test_a_broken_video_leaves_the_old_folder(tmp_path, two_videos):
    dataset = VideoFramesDataset(str(tmp_path / "frames"))
    dataset.save(VideoFrames(two_videos, 3))
    before = listed_frames(dataset.load())
    (tmp_path / "videos/b.avi").write_bytes(b"no video")
    with pytest.raises(DatasetError, match=r"b\.avi: the video must decode"):
        dataset.save(VideoFrames(two_videos, 3))
    assert listed_frames(dataset.load()) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["frames", "videos"]


def test_a_damaged_frame_is_seen(tmp_path, two_videos, choices):
    dataset = VideoFramesDataset(str(tmp_path / "frames"))
    dataset.save(VideoFrames(two_videos, 3))
    (dataset.load() / listed_frames(dataset.load())[0]["file"]).write_bytes(b"")
    with pytest.raises(DatasetError, match=r"\.jpg: must be as it was written.*'choose_frames'"):
        dataset.load()
    (tmp_path / "frames" / "fingerprint.json").write_text(json.dumps({}))
    dataset.save(VideoFrames(two_videos, 3))
    assert len(choices) == 2
    dataset.load()


def test_a_folder_of_somebody_else_is_not_replaced(tmp_path, two_videos):
    (tmp_path / "frames").mkdir()
    (tmp_path / "frames" / "thesis.txt").write_text("mine")
    dataset = VideoFramesDataset(str(tmp_path / "frames"))
    with pytest.raises(DatasetError, match=r"only an empty folder.*Give video_frames another"):
        dataset.save(VideoFrames(two_videos, 3))
    assert (tmp_path / "frames" / "thesis.txt").read_text() == "mine"
