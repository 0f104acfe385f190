"""Videos to tables: exact places, uneven times, damage, who is who, and boxes of each kind."""

import logging
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from formats import save_video
from sspcm_kedro.data.video import count_frames
from sspcm_kedro.data.video_stream import VideoFrame, stream_video
from sspcm_kedro.data.views import ViewConfig
from sspcm_kedro.datasets.labeled_videos import (
    DrawnVideo,
    LabeledVideosDataset,
    PredictedVideo,
    VideoTablesDataset,
)
from sspcm_kedro.engine.boxes import BoxedFrame, boxes_of_table, read_box_table, whole_frames
from sspcm_kedro.engine.evaluate import EvaluationConfig
from sspcm_kedro.engine.export import TrainedModel
from sspcm_kedro.engine.frame_table import FrameTable, mark_visibility
from sspcm_kedro.engine.video import cells_of, collect, follow, predict_boxed
from sspcm_kedro.errors import BadInput
from sspcm_kedro.figures.labeled_frames import LabeledFrames, keypoint_colors
from sspcm_kedro.machine import MachineConfig
from sspcm_kedro.nets import NetworkConfig
from sspcm_kedro.nets.detector import Detector
from sspcm_kedro.pipelines.prediction.config import PredictionConfig
from sspcm_kedro.pipelines.prediction.videos import predict_videos
from sspcm_kedro.pose.skeleton import Skeleton
from sspcm_kedro.pose.tracks import MEMORY, Tracker, box_iou

HW = (96, 128)
CPU = torch.device("cpu")
MACHINE = MachineConfig(device="cpu")
SETTINGS = {"flip_test": False, "device": CPU}
SKELETON = Skeleton(names=("red", "blue"))


class Spots(nn.Module):
    """Sees how red and how blue each cell is: two planted keypoints."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        std, mean = (torch.tensor(v)[None, :, None, None] for v in
                     ((0.229, 0.224, 0.225), (0.485, 0.456, 0.406)))  # fmt: skip
        rgb = images * std + mean
        return (rgb[:, [0, 2]] - rgb[:, 1:2])[:, :, ::4, ::4].clamp(0, 1)


@pytest.fixture(scope="module")
def model() -> TrainedModel:
    view = ViewConfig(input_hw=HW, padding=1.0, border=16)
    config = NetworkConfig.model_validate({"kind": "small_baseline"})
    return TrainedModel(Spots(), config, SKELETON, view)


def spot(image: np.ndarray, x: float, y: float, channel: int) -> None:
    rows, columns = np.ogrid[: image.shape[0], : image.shape[1]]
    bright = 255 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * 4.0**2))
    image[..., channel] = np.maximum(image[..., channel], bright.round())


def moving(count: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Frames of two spots that move, and where they are (t, 2, 2)."""
    truth = np.array([[[20 + 3 * i, 30], [60 + i, 60 - i]] for i in range(count)], float)
    frames = [np.zeros((*HW, 3), np.uint8) for _ in range(count)]
    for image, (red, blue) in zip(frames, truth, strict=True):
        spot(image, *red, 0)
        spot(image, *blue, 2)
    return frames, truth


def save_timed(file: Path, frames: list[np.ndarray], times: list[int], codec: str = "ffv1") -> None:
    """A lossless video of which frame i is shown at so many tenths of a second."""
    with av.open(str(file), "w") as container:
        stream = container.add_stream(codec, rate=10)
        stream.height, stream.width = HW
        stream.pix_fmt = "bgr0" if codec == "ffv1" else "rgb24"
        for time, pixels in zip(times, frames, strict=True):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def table_of(model: TrainedModel, file: Path, threshold: float = 0.2) -> FrameTable:
    found = predict_boxed(model, whole_frames(stream_video(file)), **SETTINGS, batch=4)
    return collect(model, found, threshold=threshold, nms_threshold=0.9)


@pytest.fixture(scope="module")
def uneven(tmp_path_factory) -> tuple[Path, np.ndarray]:
    frames, truth = moving(10)
    file = tmp_path_factory.mktemp("videos") / "a.mkv"
    save_timed(file, frames, [0, 1, 2, 5, 6, 7, 20, 21, 22, 23])
    return file, truth


def test_planted_points_come_back_with_the_stream_s_times(model, uneven):
    file, truth = uneven
    table = table_of(model, file)
    np.testing.assert_allclose(table.keypoints, truth, atol=1.0)
    assert table.seconds.tolist() == [0, 0.1, 0.2, 0.5, 0.6, 0.7, 2.0, 2.1, 2.2, 2.3]
    assert table.frames.tolist() == list(range(10)) and table.count == 10
    assert set(table.tracks.tolist()) == {0} and (table.visibility == 2).all()
    long = table.to_frame()
    assert list(long) == ["frame", "time", "track", "keypoint", "x", "y", "score", "v"]
    assert long[:3]["keypoint"].tolist() == ["red", "blue", "red"]
    assert long["x"].iloc[7] == pytest.approx(table.keypoints[3, 1, 0], abs=0.01)


def test_points_outside_or_unclear_are_marked():
    points = np.array([[[-0.5, 0], [-0.6, 0], [127.5, 95.5], [50, 95.6], [50, 50], [-9, 50]]])
    scores = np.array([[0.2, 0.9, 0.9, 0.9, 0.19, 0.1]])
    marked = mark_visibility(points, scores, np.array([HW]), 0.2)
    assert marked.tolist() == [[2, 0, 2, 0, 1, 0]]


def test_tables_and_labeled_video_are_written_and_read(model, uneven, tmp_path):
    file, truth = uneven
    table = table_of(model, file)
    tables = VideoTablesDataset(str(tmp_path / "tables"))
    tables.save(PredictedVideo("sub/a.mkv", table))
    again = tables.load()("sub/a.mkv")
    for name in ("frames", "seconds", "tracks", "keypoints", "scores", "visibility", "measured"):
        np.testing.assert_array_equal(getattr(again, name), getattr(table, name))
    assert again.names == ("red", "blue") and again.count == 10
    csv = pd.read_csv(tmp_path / "tables" / "sub" / "a.mkv.csv")
    pd.testing.assert_frame_equal(csv, table.to_frame(), check_dtype=False)
    with pytest.raises(BadInput, match=r"b\.mkv\.parquet: there must be a table"):
        tables.load()("b.mkv")
    drawn = LabeledFrames(table, ((0, 1),)).draw(stream_video(file))
    LabeledVideosDataset(str(tmp_path / "drawn")).save(DrawnVideo("a.mkv", drawn, 10.0))
    frames = list(stream_video(tmp_path / "drawn" / "a.mkv.mp4"))
    assert [f.seconds for f in frames] == table.seconds.tolist()
    red = np.array(keypoint_colors(2)[0])
    x, y = truth[9, 0].round().astype(int)
    assert np.abs(frames[9].image[y, x].astype(int) - red).max() < 80
    assert frames[9].image[80, 5].max() < 20


def test_confidence_is_the_area_and_what_is_unsure_a_ring():
    table = FrameTable(
        names=("a", "b", "c", "d"), count=1, frames=np.array([0]), seconds=np.array([0.0]),
        tracks=np.array([0]), boxes=np.array([[0, 0, 299, 299.0]]),
        image_hw=np.array([[300, 300]]),
        keypoints=np.array([[[100, 100], [200, 100], [100, 200], [200, 200.0]]]),
        scores=np.array([[1.0, 0.25, 0.1, 0.9]]), visibility=np.array([[2, 2, 1, 0]]),
        probabilities=np.full((1, 4), np.nan), measured=np.zeros((1, 4, 2)),
    )  # fmt: skip
    black = VideoFrame(0, 0.0, np.zeros((300, 300, 3), np.uint8))
    (frame,) = LabeledFrames(table).draw(iter([black]))
    lit = [int((frame.image[y - 9 : y + 10, x - 9 : x + 10].max(axis=2) > 60).sum())
           for x, y in ((100, 100), (200, 100), (100, 200), (200, 200))]  # fmt: skip
    assert lit[0] > 2 * lit[1] > 0 and lit[2] > 0 and lit[3] == 0
    assert frame.image[100, 100].max() > 200 and frame.image[200, 100].max() == 0


def test_a_truncated_video_keeps_what_decodes(model, tmp_path, caplog):
    frames, truth = moving(25)
    save_video(tmp_path / "a.mkv", frames)
    whole = (tmp_path / "a.mkv").read_bytes()
    (tmp_path / "a.mkv").write_bytes(whole[: len(whole) * 2 // 3])
    with caplog.at_level(logging.WARNING):
        table = table_of(model, tmp_path / "a.mkv")
    assert 5 < len(table) < 25
    np.testing.assert_allclose(table.keypoints, truth[: len(table)], atol=1.0)
    (line,) = [r.getMessage() for r in caplog.records]
    assert f"a.mkv: {len(table)} of about 25 frames decode; damage begins at frame" in line


def save_again(file: Path, source: Path, *, earlier: int = 0, last: int = 0) -> None:
    """The packets of a video in another file, as ``ffmpeg -c copy`` does.

    Args:
        file: the new one.
        source: the video.
        earlier: tenths of a second that all frames are shown earlier; those before 0 are not shown.
        last: tenths of a second that the last frame stays.
    """
    kept = {"avoid_negative_ts": "disabled"}
    with av.open(str(source)) as old, av.open(str(file), "w", options=kept) as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        packets = [packet for packet in old.demux(video=0) if packet.size]
        for packet in packets:
            tenth = int(0.1 / packet.time_base)
            packet.pts, packet.dts = packet.pts - earlier * tenth, packet.dts - earlier * tenth
            if last and packet is packets[-1]:
                packet.duration = last * tenth
            packet.stream = stream
            new.mux(packet)


def test_a_whole_video_is_not_called_damaged_for_what_was_cut_or_lasts(tmp_path, caplog):
    frames, _ = moving(12)
    save_video(tmp_path / "whole.mp4", frames, codec="mpeg4")
    save_again(tmp_path / "cut.mp4", tmp_path / "whole.mp4", earlier=5)
    save_again(tmp_path / "lasts.mp4", tmp_path / "whole.mp4", last=40)
    save_again(tmp_path / "lasts.mkv", tmp_path / "whole.mp4", last=40)
    whole = list(stream_video(tmp_path / "whole.mp4"))
    cut = list(stream_video(tmp_path / "cut.mp4"))
    assert [frame.seconds for frame in cut] == pytest.approx([0.1 * i for i in range(7)])
    for frame, same in zip(cut, whole[5:], strict=True):
        np.testing.assert_array_equal(frame.image, same.image)
    assert count_frames(tmp_path / "cut.mp4") == 7
    for name in ("lasts.mp4", "lasts.mkv"):
        assert len(list(stream_video(tmp_path / name))) == 12
    assert not caplog.records


def test_damage_in_the_middle_costs_its_frames_alone(tmp_path, caplog):
    """Each frame is a PNG file; the packet of one is overwritten."""
    frames, _ = moving(12)
    save_timed(tmp_path / "a.avi", frames, list(range(12)), "png")
    content = bytearray((tmp_path / "a.avi").read_bytes())
    starts = [i for i in range(len(content) - 3) if content[i : i + 4] == b"\x89PNG"]
    assert len(starts) == 12
    end = content.index(b"IEND", starts[5]) + 8
    content[starts[5] : end] = bytes(end - starts[5])
    (tmp_path / "a.avi").write_bytes(content)
    with caplog.at_level(logging.WARNING):
        read = list(stream_video(tmp_path / "a.avi"))
    assert len(read) in (10, 11)  # its neighbor may be in the same packet
    for place in (*range(5), -1):
        np.testing.assert_array_equal(read[place].image, frames[place])
    (line,) = [r.getMessage() for r in caplog.records]
    assert f"a.avi: {len(read)} of about 12 frames decode; damage begins at frame 5 (" in line
    assert all(b.seconds > a.seconds for a, b in pairwise(read))


def test_no_frame_that_decodes_is_an_error(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"no video")
    with pytest.raises(BadInput, match=r"a\.mp4: the video must decode"):
        list(stream_video(tmp_path / "a.mp4"))


def test_the_smoother_keeps_the_measured_points(model, uneven):
    table = table_of(model, uneven[0])
    noise = np.random.default_rng(0).normal(0, 3, table.measured.shape)
    noisy = FrameTable(**{**vars(table), "measured": (table.measured + noise).astype(np.float32)})
    smooth = noisy.smoothed(cells_of(noisy, model), 0.2)
    before, after = (np.abs(points - uneven[1]).mean() for points in
                     (smooth.measured, smooth.keypoints))  # fmt: skip
    assert after < before
    assert list(smooth.to_frame())[-2:] == ["x_raw", "y_raw"]
    np.testing.assert_array_equal(smooth.measured, noisy.measured)


def test_boxes_of_the_frame_before(model, uneven):
    """It begins with the whole frame, then follows the keypoints, with their margin."""
    found = list(follow(model, stream_video(uneven[0]), **SETTINGS, threshold=0.2))
    assert found[0][0].boxes.tolist() == [[0, 0, 127, 95]]
    for (_, seen), (boxed, _) in pairwise(found):
        low, high = seen.keypoints[0].min(axis=0), seen.keypoints[0].max(axis=0)
        assert (boxed.boxes[0, :2] <= low).all() and (boxed.boxes[0, 2:] >= high).all()
        assert (boxed.boxes[0, 2:] - boxed.boxes[0, :2] < (127, 95)).all()
    points = np.concatenate([k.keypoints for _, k in found])
    np.testing.assert_allclose(points, uneven[1], atol=1.5)


def test_two_boxes_of_one_person_are_one(model):
    """OKS-NMS keeps the better scored; the other person stays."""
    image = np.zeros((96, 256, 3), np.uint8)
    for x, y, channel in ((40, 40, 0), (60, 50, 2), (180, 60, 0), (200, 30, 2)):
        spot(image, x, y, channel)
    boxes = np.array([[0, 0, 120, 90], [2, 1, 122, 91], [130, 0, 250, 90]], np.float32)
    boxed = [BoxedFrame(VideoFrame(i, i / 10, image), boxes, np.array([0.6, 0.9, 0.8], np.float32))
             for i in range(2)]  # fmt: skip
    found = predict_boxed(model, boxed, **SETTINGS)
    table = collect(model, found, threshold=0.2, nms_threshold=0.9)
    assert table.frames.tolist() == [0, 0, 1, 1] and table.tracks.tolist() == [0, 1, 0, 1]
    np.testing.assert_array_equal(table.boxes[:2], boxes[1:])


def test_whose_tracks_are_given_all_stay(model):
    """Two who lie on each other: a table of boxes has told them apart."""
    image = np.zeros((*HW, 3), np.uint8)
    spot(image, 40, 40, 0)
    spot(image, 60, 50, 2)
    boxes, one = np.array([[0, 0, 120, 90], [2, 1, 122, 91]], np.float32), np.ones(2, np.float32)
    boxed = [BoxedFrame(VideoFrame(0, 0.0, image), boxes, one, np.array([7, 3]))]
    found = predict_boxed(model, boxed, **SETTINGS)
    table = collect(model, found, threshold=0.2, nms_threshold=0.9)
    assert table.tracks.tolist() == [7, 3]
    np.testing.assert_array_equal(table.boxes, boxes)


def test_people_keep_their_tracks_when_they_change_places_in_the_list():
    tracker = Tracker(np.array([0.08, 0.08]))
    boxes = np.array([[0, 0, 50, 50], [100, 0, 150, 50.0]])
    points = boxes.reshape(2, 2, 2)
    assert tracker.assign(points, boxes).tolist() == [0, 1]
    assert tracker.assign(points[::-1] + 3, boxes[::-1] + 3).tolist() == [1, 0]
    assert tracker.assign(points[1:] + 6, boxes[1:] + 6).tolist() == [1]
    assert tracker.assign(points[:1] + 900, boxes[:1] + 900).tolist() == [2]
    assert tracker.assign(points[:1] + 5, boxes[:1] + 5).tolist() == [0]
    for _ in range(MEMORY + 1):
        tracker.assign(points[:0], boxes[:0])
    assert tracker.assign(points, boxes).tolist() == [3, 4]
    iou = box_iou(boxes, np.array([[25, 0, 75, 50.0]]))
    assert iou.tolist() == [[pytest.approx(1 / 3)], [0]]


def test_boxes_of_a_table(tmp_path):
    file = tmp_path / "boxes.csv"
    file.write_text("video,frame,x0,y0,x1,y1,track\na.mp4,2,0,0,9,9,4\na.mp4,0,1,1,9,9,3\n"
                    "b.mp4,0,5,5,9,9,0\na.mp4,2,3,3,8,8,5\n")  # fmt: skip
    frames = [VideoFrame(i, i / 10, np.zeros((20, 20, 3), np.uint8)) for i in range(3)]
    found = list(boxes_of_table(frames, read_box_table(file), "a.mp4"))
    assert [b.boxes.tolist() for b in found] == [
        [[1, 1, 9, 9]], [], [[0, 0, 9, 9], [3, 3, 8, 8]]]  # fmt: skip
    assert found[2].tracks is not None and found[2].tracks.tolist() == [4, 5]


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("frame,x0,y0,x1\n0,1,2,3\n", r"must have the columns \['y1'\]"),
        ("frame,x0,y0,x1,y1\n0,1,2,3,4\n1,5,2,5,4\n", r"line 3: must be numbers with x1 > x0"),
        ("frame,x0,y0,x1,y1\n0.5,1,2,3,4\n", "line 2: must be numbers"),
        ("frame,x0,y0,x1,y1\n0,1,2,,4\n", "line 2: must be numbers"),
        ("frame,x0,y0,x1,y1,track\n0,1,2,3,4,1\n0,1,2,3,4,1\n", "line 3: .*a track once a frame"),
        ("", "must be a CSV table"),
        ("frame,x0,y0,x1,y1\n", "must have a box, and has none"),
    ],
)
def test_tables_of_boxes_that_are_refused(tmp_path, text, rule):
    (tmp_path / "b.csv").write_text(text)
    with pytest.raises(BadInput, match=rule):
        read_box_table(tmp_path / "b.csv")


def test_a_table_of_boxes_names_the_videos_that_are_predicted_on(model, tmp_path, caplog):
    """By their place below the folder. Of other videos nobody would be on any frame."""
    save_video(tmp_path / "films" / "day1" / "a.avi", moving(2)[0])
    file, head = tmp_path / "boxes.csv", "video,frame,x0,y0,x1,y1\n"

    def predicted(*names: str) -> list[int]:
        file.write_text(head + "".join(f"{name},1,0,0,120,90\n" for name in names))
        config = PredictionConfig(images=tmp_path / "films", boxes=file, runtime="torch")
        made = predict_videos(model, config, EvaluationConfig(flip_test=False), MACHINE)
        return [frame for video in made for frame in video.table.frames.tolist()]

    assert predicted("day1/a.avi") == [1] and not caplog.records
    assert predicted("day1/a.avi", "b.avi") == [1]
    (line,) = [record.getMessage() for record in caplog.records]
    assert line == f"{file}: boxes of 1 videos are not used, which are not predicted on: b.avi"
    rule = r"boxes\.csv: column video must name one of day1/a\.avi, found a\.avi\. Write names rel"
    with pytest.raises(BadInput, match=rule):
        predicted("a.avi")


def test_what_a_detector_finds_is_cut_to_the_image_and_the_wanted():
    """Torchvision's boxes are edges: one of all of an image ends at its last pixel's center."""

    class Fixed(nn.Module):
        def forward(self, images):
            boxes = torch.tensor([[0, 0, 30, 20.0], [2, 3, 9, 9], [1, 1, 5, 5], [4, 4, 9, 9]])
            scores, labels = torch.tensor([0.6, 0.9, 0.99, 0.3]), torch.tensor([1, 1, 2, 1])
            return [{"boxes": boxes, "scores": scores, "labels": labels} for _ in images]

    ((boxes, scores),) = Detector(Fixed(), (1,), 0.5, 5, CPU).detect(
        [np.zeros((20, 30, 3), np.uint8)]
    )
    assert boxes.tolist() == [[1.5, 2.5, 8.5, 8.5], [0, 0, 29, 19]]
    assert scores.tolist() == pytest.approx([0.9, 0.6])
