"""SLEAP projects, written by sleap-io."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sleap_io as sio
from PIL import Image

from formats import save_video
from sspcm_kedro.datasets.video_frames import VideoFramesDataset
from sspcm_kedro.errors import BadInput
from sspcm_kedro.sources import KINDS

POINTS = np.array([[[10.5, 20.25], [30, 40], [np.nan, np.nan]], [[1, 2], [3, 4], [5, 6.0]]])


def frames() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 255, (48, 64, 3), dtype=np.uint8) for _ in range(6)]


def write(root: Path, package: bool = False, several: bool = False, images: bool = False) -> None:
    """Frames 1 and 4 are labeled, frame 2 is predicted; the video has moved since."""
    names = []
    save_video(root / "run.avi", frames())
    for number, pixels in enumerate(frames() if images or package else []):
        names.append(str(root / f"{number}.png"))
        Image.fromarray(pixels).save(names[-1])
    nodes = [sio.Node(name) for name in ("nose", "earA", "earB")]
    skeleton = sio.Skeleton(nodes, [sio.Edge(nodes[0], nodes[1])], [sio.Symmetry(nodes[1:])])
    video = sio.Video.from_filename(names) if names else sio.Video(
        "D:\\videos\\run.avi", open_backend=False, backend_metadata={
            "type": "MediaVideo", "shape": [6, 48, 64, 3], "filename": "D:\\videos\\run.avi",
            "grayscale": False, "bgr": True, "dataset": "", "input_format": ""})  # fmt: skip
    user = [sio.Instance.from_numpy(points, skeleton) for points in POINTS]
    guess = sio.PredictedInstance.from_numpy(POINTS[1], skeleton)
    labels = sio.Labels([
        sio.LabeledFrame(video, 1, [user[0], *([user[1]] if several else [])]),
        sio.LabeledFrame(video, 4, [user[1], guess]), sio.LabeledFrame(video, 2, [guess]),
    ], skeletons=[skeleton])  # fmt: skip
    name = "labels.pkg.slp" if package else "labels.slp"
    labels.save(str(root / name), embed="user" if package else False, verbose=False)


def source(root: Path, **settings: Any) -> Any:
    return KINDS["sleap"].model_validate({"kind": "sleap", "root": root, **settings})


def made(source: Any, folder: Path) -> Path:
    dataset = VideoFramesDataset(str(folder))
    dataset.save(source.video_frames())
    return dataset.load()


@pytest.mark.parametrize("form", ["video", "package", "images"])
def test_labels_on_frames(tmp_path, form):
    write(tmp_path, package=form == "package", images=form == "images")
    label_file = "labels.pkg.slp" if form == "package" else "labels.slp"
    project = source(tmp_path, labels=label_file, frames=2 if form == "video" else 0)
    folder = made(project, tmp_path / "made")
    read = project.read(folder)
    people = read.annotated
    np.testing.assert_allclose(people.keypoints, np.nan_to_num(POINTS), rtol=1e-6)
    assert people.visibility.tolist() == [[2, 2, 0], [2, 2, 2]]
    assert people.boxes.tolist() == [[0, 0, 63, 47]] * 2
    assert read.skeleton.names == ("nose", "earA", "earB")
    assert (read.skeleton.flip_pairs, read.skeleton.limbs) == (((1, 2),), ((0, 1),))
    for path, frame in zip(people.paths, (1, 4), strict=True):
        seen = np.asarray(Image.open(path).convert("RGB"), np.float64)
        error = [np.abs(seen - pixels).mean() for pixels in frames()]
        assert int(np.argmin(error)) == frame
        assert form == "video" or min(error) == 0
    if form == "video":
        assert read.unlabeled is not None and len(read.unlabeled) == 2
        assert not {"run.avi/000001.jpg", "run.avi/000004.jpg"} & {
            *read.unlabeled.source_image_ids}  # fmt: skip
    else:
        assert read.unlabeled is None


def test_several_on_a_frame_have_boxes_of_their_keypoints(tmp_path):
    write(tmp_path, several=True)
    with pytest.raises(BadInput, match=r"source\.frames: frames of videos have no labels.*=0\)"):
        source(tmp_path).video_frames()
    project = source(tmp_path, frames=0, margin=0.5)
    people = project.read(made(project, tmp_path / "made")).annotated
    assert people.image_ids.tolist() == [1, 1, 2]
    assert people.boxes[1].tolist() == [0, 0, 7, 8]  # spans 4 x 4, and 2 around


def test_what_breaks_a_rule_is_refused(tmp_path):
    write(tmp_path)
    project = source(tmp_path, frames=0)
    with pytest.raises(BadInput, match=r"labels\.slp: must be read after node 'choose_frames'"):
        project.read()
    save_video(tmp_path / "run.avi", [pixels[:40] for pixels in frames()])
    folder = made(project, tmp_path / "made")
    with pytest.raises(BadInput, match=r"labeled \(height, width\) \(48, 64\), found \(40, 64\)"):
        project.read(folder)
    (tmp_path / "run.avi").unlink()
    with pytest.raises(BadInput, match=r"the video .*run\.avi must be in .*source\.videos"):
        project.video_frames()
    for content in (b"", b"x" * 99, (tmp_path / "labels.slp").read_bytes()[:3000]):
        (tmp_path / "labels.slp").write_bytes(content)
        with pytest.raises(BadInput, match=r"labels\.slp: must be a project of SLEAP"):
            project.video_frames()
