"""Frames out of videos: the right ones, exactly, and few that differ."""

import itertools
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from formats import save_video
from sspcm_kedro.data import video
from sspcm_kedro.data.video import (
    CANDIDATES,
    LEVELS,
    NEAR,
    choose_different,
    choose_frames,
    count_frames,
    read_frames,
    seconds_of,
    to_image,
)
from sspcm_kedro.errors import BadInput


def patterns(count: int, seed: int = 0, hw: tuple[int, int] = (48, 64)) -> list[np.ndarray]:
    """Frames of blocks in random grays, none like another."""
    blocks = np.random.default_rng(seed).integers(0, 256, (count, hw[0] // 8, hw[1] // 8))
    gray = blocks.repeat(8, axis=1).repeat(8, axis=2).astype(np.uint8)
    return list(np.stack([gray] * 3, axis=-1))


def test_frames_are_counted_and_read_exactly(tmp_path):
    frames = patterns(12)
    save_video(tmp_path / "a.mkv", frames)
    assert count_frames(tmp_path / "a.mkv") == 12
    read = [(i, np.asarray(to_image(frame))) for i, frame in
            read_frames(tmp_path / "a.mkv", [11, 0, 5])]  # fmt: skip
    assert [index for index, _ in read] == [0, 5, 11]
    for index, pixels in read:
        np.testing.assert_array_equal(pixels, frames[index])


def test_frames_of_uneven_times_are_counted_as_they_are_shown(tmp_path):
    frames, times = patterns(5), [0, 1, 7, 8, 30]
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "bgr0"
        for time, pixels in zip(times, frames, strict=True):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    read = list(read_frames(tmp_path / "a.mkv", range(5)))
    assert [seconds_of(frame) for _, frame in read] == [0, 0.1, 0.7, 0.8, 3]
    np.testing.assert_array_equal(np.asarray(to_image(read[4][1])), frames[4])


def test_a_phone_that_lay_on_its_side(tmp_path):
    """Turned by 90 degrees against the clock, the upper right corner is the upper left one."""
    pixels = np.zeros((48, 64, 3), np.uint8)
    pixels[:16, 48:] = 255
    save_video(tmp_path / "a.mp4", [pixels] * 2, codec="mpeg4", turned=90)
    (_, frame), *_ = read_frames(tmp_path / "a.mp4", [0])
    image = np.asarray(to_image(frame))
    assert image.shape == (64, 48, 3)
    corners = {(y, x): int(image[y, x, 0]) > 128 for y in (4, -4) for x in (4, -4)}
    assert corners == {(4, 4): True, (4, -4): False, (-4, 4): False, (-4, -4): False}


def test_chosen_frames_are_always_the_same_and_never_alike(tmp_path):
    frames = patterns(30)
    frames[10:20] = [frames[9]] * 10  # it stands still
    save_video(tmp_path / "a.mkv", frames)
    a = tmp_path / "a.mkv"
    assert choose_frames({a: ()}, 30) == {a: [*range(10), *range(20, 30)]}
    five = choose_frames({a: ()}, 5)
    assert five == choose_frames({a: ()}, 5)
    assert len(five[a]) == 5 and five[a] == sorted(set(five[a]))
    candidates = np.linspace(0, 29, 5 * CANDIDATES).round().astype(int)
    assert set(five[a]) <= set(candidates.tolist())


def test_frames_are_spread_over_all_videos(tmp_path):
    a, b = tmp_path / "a.mkv", tmp_path / "b.avi"
    save_video(a, patterns(40, seed=1))
    save_video(b, patterns(10, seed=2))
    chosen = choose_frames({a: (), b: ()}, 25)
    assert sum(map(len, chosen.values())) == 25
    assert chosen[a] and chosen[b]
    assert max(chosen[a]) < 40 and max(chosen[b]) < 10
    few = choose_frames({a: (), b: ()}, 5)
    places = np.linspace(0, 49, 5 * CANDIDATES).round().astype(int).tolist()
    assert {*few[a], *(40 + index for index in few[b])} <= set(places)


def test_what_is_known_is_not_chosen_nor_what_is_like_it(tmp_path):
    frames = patterns(6)
    frames[4] = frames[1]
    save_video(tmp_path / "a.mkv", frames)
    a = tmp_path / "a.mkv"
    assert choose_frames({a: (1,)}, 6) == {a: [0, 2, 3, 5]}


def test_noise_makes_no_other_frame(tmp_path):
    frames = patterns(2)
    noise = np.random.default_rng(0).integers(0, 3, frames[0].shape)
    noisy = np.clip(frames[0].astype(int) // 4 * 4 + noise, 0, 255).astype(np.uint8)
    save_video(tmp_path / "a.mkv", [frames[0] // 4 * 4, noisy, frames[1]])
    assert choose_frames({tmp_path / "a.mkv": ()}, 3) == {tmp_path / "a.mkv": [0, 2]}


@pytest.mark.parametrize("most", [1, 4, 9, 40])
def test_the_choice_is_farthest_point_sampling(most):
    rng = np.random.default_rng(3)
    thumbnails = rng.integers(0, LEVELS, (20, 9))
    thumbnails[7] = thumbnails[2]
    known = np.zeros(20, bool)
    known[5] = True

    def apart(a: int, b: int) -> int:
        return int(((thumbnails[a] - thumbnails[b]) ** 2).sum())

    taken, chosen = [5], []
    while len(chosen) < most:
        nearest = [min(apart(row, other) for other in taken) for row in range(20)]
        best = max(range(20), key=lambda row: (nearest[row], -row))
        if nearest[best] <= NEAR:
            break
        taken.append(best)
        chosen.append(best)
    assert choose_different(thumbnails, known, most).tolist() == sorted(chosen)
    assert all(apart(a, b) > NEAR for a, b in itertools.combinations(chosen, 2))


def test_no_videos_no_frames():
    assert choose_frames({}, 10) == {}


@pytest.mark.parametrize("content", [b"", b"no video", b"\0" * 5000])
def test_a_file_that_is_no_video(tmp_path, content):
    file = tmp_path / "a.mp4"
    file.write_bytes(content)
    with pytest.raises(BadInput, match=r"a\.mp4: the video must decode, but .*\. Copy the video"):
        choose_frames({file: ()}, 10)


def test_a_video_that_is_cut_short(tmp_path):
    file = tmp_path / "a.mp4"
    save_video(file, patterns(20), codec="mpeg4")
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])  # its table of contents stood at the end
    with pytest.raises(BadInput, match=r"a\.mp4: the video must decode"):
        count_frames(file)
    with pytest.raises(BadInput, match=r"b\.mp4: there must be such a file"):
        count_frames(tmp_path / "b.mp4")


@pytest.mark.parametrize("name", ["2026-05-01T12:30:05.mkv", "file:a.mkv", "a%03d.mkv"])
def test_a_name_is_a_name_whatever_is_in_it(tmp_path, monkeypatch, name):
    """FFmpeg would ask a protocol 2026-05-01T12 for it."""
    save_video(tmp_path / "a.mkv", patterns(3))
    (tmp_path / "a.mkv").rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert count_frames(Path(name)) == 3


def test_sound_alone_is_no_video(tmp_path):
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        silence = np.zeros((1, 800), np.int16)
        frame = av.AudioFrame.from_ndarray(silence, format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
    with pytest.raises(BadInput, match=r"a\.mkv: must be a video, and has no pictures"):
        count_frames(tmp_path / "a.mkv")


@pytest.mark.parametrize("seed", range(8))
def test_damage_is_refused_or_its_frames_left_out(tmp_path, seed):
    """Whatever a decoder makes of damaged bytes: no other error than BadInput comes out."""
    file, rng = tmp_path / "a.mp4", np.random.default_rng(seed)
    save_video(file, patterns(20), codec="mpeg4")
    content = bytearray(file.read_bytes())
    for place in rng.integers(0, len(content), 40):
        content[place] = int(rng.integers(256))
    file.write_bytes(content)
    try:
        chosen = choose_frames({file: ()}, 20)
        assert set(chosen[file]) <= set(range(video.count_frames(file)))
    except BadInput as error:
        assert "a.mp4" in str(error)
