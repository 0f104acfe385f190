"""The original LSP: another shape than LSP-extended, and a flag that means the opposite."""

import numpy as np
import pytest
import scipy.io

from formats import pictures, write_lsp, write_lspet
from sspcm_kedro.errors import BadInput
from sspcm_kedro.pose.skeleton import LSP, union_channels
from sspcm_kedro.sources.lsp import LspetSource, LspSource, read_lsp, read_lspet


def test_the_flag_says_covered(tmp_path):
    train, test = pictures(2, 1), pictures(1, 2)
    source = LspSource.model_validate(write_lsp(tmp_path, train, test)).read()
    assert source.skeleton is LSP
    assert source.annotated.ids.tolist() == [1, 2]
    assert source.validation.ids.tolist() == [1001]
    drawn, channels = test[0].people[0], list(union_channels(LSP))
    np.testing.assert_allclose(
        source.validation.keypoints[0], drawn.joints[channels], rtol=1e-6
    )  # no shift
    covered = drawn.visibility[channels] == 1
    assert source.validation.visibility[0].tolist() == np.where(covered, 1, 2).tolist()


def test_a_part_of_the_images_is_a_subset(tmp_path):
    write_lsp(tmp_path, pictures(2, 1), [])
    assert LspSource(root=tmp_path).read().validation is None
    write_lsp(tmp_path / "test", [], pictures(2, 1))
    with pytest.raises(BadInput, match=r"images: .*training images \(1 to 1000\).*Unpack"):
        LspSource(root=tmp_path / "test").read()


def test_box_by_hand(tmp_path):
    write_lsp(tmp_path, pictures(1, 1), [])
    joints = np.zeros((3, 14, 1))
    joints[:2, :, 0] = [[20], [30]]
    joints[:2, 13, 0] = (40, 70)
    scipy.io.savemat(tmp_path / "joints.mat", {"joints": joints})
    people, _ = read_lsp(tmp_path)
    np.testing.assert_allclose(people.boxes, [[18, 28, 42, 72]], rtol=1e-6)
    np.testing.assert_allclose(people.areas, [24 * 44], rtol=1e-6)


def test_the_two_sets_do_not_take_each_others_file(tmp_path):
    write_lsp(tmp_path / "lsp", pictures(1, 1), [])
    write_lspet(tmp_path / "lspet", pictures(1, 1))
    with pytest.raises(BadInput, match=r"joints: .*\(14, 3, n\), found \(3, 14, 2000\).*kind lsp"):
        read_lspet(tmp_path / "lsp")
    with pytest.raises(BadInput, match=r"joints: .*\(3, 14, n\), found \(14, 3, 1\).*kind lspet"):
        read_lsp(tmp_path / "lspet")


def test_the_two_flags_are_opposites(tmp_path):
    """The same person in both files: what is 1 in one set is 0 in the other."""
    shown = pictures(1, 3)
    old = LspSource.model_validate(write_lsp(tmp_path / "lsp", shown, [])).read().annotated
    new = LspetSource.model_validate(write_lspet(tmp_path / "lspet", shown)).read().annotated
    truth = shown[0].people[0].visibility[list(union_channels(LSP))]
    assert old.visibility[0].tolist() == np.where(truth == 1, 1, 2).tolist()
    assert new.visibility[0].tolist() == np.where(truth > 0, 2, 0).tolist()


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ((0, 0, 1), np.inf, r"joints\.mat, column 1: .*finite.*Correct"),
        ((2, 0, 1), 2, r"joints\.mat, column 1: .*1 \(occluded\) or 0.*original LSP"),
        ((0, slice(None), 1), 7, r"joints\.mat, column 1: .*span a box.*Remove"),
        (
            (0, slice(None), 1),
            np.arange(14) + 900,
            r"column 1: the keypoints must lie in the image",
        ),
    ],
)
def test_broken_keypoints_are_refused(tmp_path, place, value, message):
    write_lsp(tmp_path, pictures(2, 1), [])
    joints = scipy.io.loadmat(tmp_path / "joints.mat")["joints"]
    joints[place] = value
    scipy.io.savemat(tmp_path / "joints.mat", {"joints": joints})
    with pytest.raises(BadInput, match=message):
        read_lsp(tmp_path)
