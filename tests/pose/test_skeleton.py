"""Skeletons: flip order, names that mirror each other, and what is refused."""

import json

import pytest
from pycocotools.cocoeval import Params

from sspcm_kedro.pose.skeleton import COCO, LSP, Skeleton, flip_pairs_from_names


def test_flip_order_swaps_the_pairs_and_keeps_the_rest():
    skeleton = Skeleton(names=("nose", "l", "r", "hat", "a", "b"), flip_pairs=((1, 2), (5, 4)))
    assert skeleton.size == 6
    assert skeleton.flip_order == (0, 2, 1, 3, 5, 4)


@pytest.mark.parametrize("skeleton", [COCO, LSP], ids=["coco", "lsp"])
def test_mirroring_twice_is_the_identity(skeleton):
    order = skeleton.flip_order
    assert tuple(order[i] for i in order) == tuple(range(skeleton.size))
    for i, j in enumerate(order):
        swapped = skeleton.names[i].replace("left", "?").replace("right", "left")
        assert skeleton.names[j] == swapped.replace("?", "right")


def test_the_published_conventions():
    """COCO has 17 joints, 8 pairs and sigmas; LSP 14 joints, 6 pairs and none."""
    assert COCO.size == 17
    assert COCO.flip_pairs == tuple((i, i + 1) for i in range(1, 17, 2))
    assert COCO.sigmas == pytest.approx(Params(iouType="keypoints").kpt_oks_sigmas)
    assert (COCO.names[5], COCO.names[12]) == ("left_shoulder", "right_hip")
    assert LSP.size == 14 and not LSP.sigmas
    assert LSP.flip_order == (5, 4, 3, 2, 1, 0, 11, 10, 9, 8, 7, 6, 12, 13)
    assert tuple(LSP.names[i] for i in LSP.torso) == ("left_shoulder", "right_hip")


@pytest.mark.parametrize(
    ("names", "pairs"),
    [
        (["left_hip", "right_hip", "neck"], ((0, 1),)),
        (["r_hand", "neck", "l_hand"], ((2, 0),)),
        (["hand_l", "hand_r"], ((0, 1),)),
        (["Left_Ear", "right_ear"], ((0, 1),)),
        (["left_hip", "neck"], ()),
        (["collar", "color", "heel"], ()),
        (["bright_spot", "bleft_spot"], ()),
    ],
)
def test_pairs_are_read_from_names(names, pairs):
    assert flip_pairs_from_names(names) == pairs


def test_a_skeleton_survives_json():
    for skeleton in (COCO, LSP, Skeleton(names=("a",))):
        assert Skeleton.from_dict(json.loads(json.dumps(skeleton.to_dict()))) == skeleton


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        ({"flip_pairs": ((0, 3),)}, "index 3 keypoints"),
        ({"limbs": ((-1, 0),)}, "index 3 keypoints"),
        ({"torso": (0, 5)}, "index 3 keypoints"),
        ({"flip_pairs": ((0, 1), (1, 2))}, "two flip pairs"),
        ({"sigmas": (0.1, 0.2)}, "3 keypoints need 3 sigmas, got 2"),
    ],
)
def test_inconsistent_skeletons_are_refused(broken, says):
    with pytest.raises(ValueError, match=says):
        Skeleton(names=("a", "b", "c"), **broken)
