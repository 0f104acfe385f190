"""Skeletons: flip order, names that mirror each other, and what is refused."""

import json

import pytest
from pycocotools.cocoeval import Params

from sspcm_kedro.errors import BadInput
from sspcm_kedro.pose.sides import coco_name, flip_pairs_from_names, lone_sides
from sspcm_kedro.pose.skeleton import (
    AIC,
    COCO,
    CROWDPOSE,
    FISHEYE,
    LSP,
    MPII,
    UNION,
    Skeleton,
    published,
    trained_union,
    union_channels,
)

SETS = {"coco": COCO, "mpii": MPII, "aic": AIC, "fisheye": FISHEYE, "lsp": LSP,
        "crowdpose": CROWDPOSE}  # fmt: skip
_ = None
PUBLISHED_MAPS = {  # row: union keypoint; value: the keypoint's place in the set
    "coco": [_, 12, 14, 16, 11, 13, 15, _, _, _, _, 0, _, _, 5, 7, 9, 6, 8, 10, 2, 1, 4, 3],
    "mpii": [6, 2, 1, 0, 3, 4, 5, _, 7, _, 8, _, _, 9, 13, 14, 15, 12, 11, 10, _, _, _, _],
    "aic": [_, 6, 7, 8, 9, 10, 11, _, _, 13, _, _, _, 12, 3, 4, 5, 0, 1, 2, _, _, _, _],
    "fisheye": [_, 6, 7, 8, 9, 10, 11, _, _, 13, _, _, _, 12, 3, 4, 5, 0, 1, 2, _, _, _, _],
    "lsp": [_, 2, 1, 0, 3, 4, 5, _, _, _, 12, _, _, 13, 9, 10, 11, 8, 7, 6, _, _, _, _],
    "crowdpose": [_, 7, 9, 11, 6, 8, 10, _, _, 13, _, _, _, 12, 0, 2, 4, 1, 3, 5, _, _, _, _],
}


def test_flip_order_swaps_the_pairs_and_keeps_the_rest():
    skeleton = Skeleton(names=("nose", "l", "r", "hat", "a", "b"), flip_pairs=((1, 2), (5, 4)))
    assert skeleton.size == 6
    assert skeleton.flip_order == (0, 2, 1, 3, 5, 4)


@pytest.mark.parametrize("skeleton", [*SETS.values(), UNION], ids=[*SETS, "union"])
def test_mirroring_twice_is_the_identity(skeleton):
    order = skeleton.flip_order
    assert tuple(order[i] for i in order) == tuple(range(skeleton.size))
    for i, j in enumerate(order):
        swapped = skeleton.names[i].replace("left", "?").replace("right", "left")
        assert skeleton.names[j] == swapped.replace("?", "right")


def test_the_published_conventions():
    """COCO has 17 keypoints, 8 pairs and sigmas; LSP 14 keypoints, 6 pairs and none."""
    assert COCO.size == 17
    assert COCO.flip_pairs == tuple((i, i + 1) for i in range(1, 17, 2))
    assert COCO.sigmas == pytest.approx(Params(iouType="keypoints").kpt_oks_sigmas)
    assert (COCO.names[5], COCO.names[12]) == ("left_shoulder", "right_hip")
    assert LSP.size == 14 and not LSP.sigmas
    assert LSP.flip_order == (5, 4, 3, 2, 1, 0, 11, 10, 9, 8, 7, 6, 12, 13)
    assert tuple(LSP.names[i] for i in LSP.torso) == ("left_shoulder", "right_hip")


@pytest.mark.parametrize(
    ("skeleton", "pairs"),
    [
        (MPII, {(0, 5), (1, 4), (2, 3), (10, 15), (11, 14), (12, 13)}),
        (AIC, {(0, 3), (1, 4), (2, 5), (6, 9), (7, 10), (8, 11)}),
        (CROWDPOSE, {(0, 1), (2, 3), (4, 5), (6, 7), (8, 9), (10, 11)}),
        (UNION, {(1, 4), (2, 5), (3, 6), (14, 17), (15, 18), (16, 19), (20, 21), (22, 23)}),
    ],
)
def test_published_flip_pairs(skeleton, pairs):
    assert {tuple(sorted(pair)) for pair in skeleton.flip_pairs} == pairs


@pytest.mark.parametrize("name", SETS)
def test_maps_into_the_union(name):
    channels = union_channels(SETS[name])
    for joint, channel in enumerate(channels):
        assert PUBLISHED_MAPS[name][channel] == joint
    assert sum(joint is not None for joint in PUBLISHED_MAPS[name]) == len(channels)


def test_the_fisheye_sets_have_cocos_sigmas():
    """Each keypoint that both have; the head's two are COCO's nose."""
    coco = dict(zip(COCO.names, COCO.sigmas, strict=True))
    for name, sigma in zip(FISHEYE.names, FISHEYE.sigmas, strict=True):
        assert sigma == coco.get(name, coco["nose"])
    for name, sigma in zip(CROWDPOSE.names, CROWDPOSE.sigmas, strict=True):
        assert sigma == coco.get(name, coco["left_shoulder"])
    assert AIC.sigmas[0] == 0.01388152 and len(AIC.sigmas) == 14


@pytest.mark.parametrize("skeleton", SETS.values(), ids=SETS)
def test_the_torso_is_left_shoulder_to_right_hip(skeleton):
    assert [skeleton.names[i] for i in skeleton.torso] == ["left_shoulder", "right_hip"]


def test_names_of_a_published_set_however_they_are_spelt():
    assert published([name.replace("_", " ").title() for name in AIC.names]) is AIC
    assert published(COCO.names) is COCO
    assert published([*COCO.names[1:], COCO.names[0]]) is None


def test_a_mixed_union_knows_what_is_taught_and_judged():
    mixed = trained_union([MPII], MPII)
    assert (mixed.names, mixed.flip_pairs, mixed.size) == (UNION.names, UNION.flip_pairs, 24)
    assert mixed.trained == tuple(sorted(union_channels(MPII)))
    assert mixed.evaluated is MPII
    assert [mixed.names[channel] for channel in mixed.evaluated_channels] == list(MPII.names)
    assert [mixed.names[joint] for joint in mixed.torso] == ["left_shoulder", "right_hip"]
    assert [tuple(mixed.names[j] for j in limb) for limb in mixed.limbs] == [
        tuple(MPII.names[j] for j in limb) for limb in MPII.limbs
    ]
    assert len(trained_union([COCO, LSP], LSP).trained) == 19


def test_a_plain_skeleton_is_taught_and_judged_whole():
    assert COCO.evaluated is COCO
    assert COCO.trained == COCO.evaluated_channels == tuple(range(17))


def test_judging_keypoints_that_nobody_teaches_is_refused():
    with pytest.raises(BadInput, match=r"'pelvis' is not.*Evaluate on a set"):
        trained_union([COCO, AIC], MPII)
    with pytest.raises(BadInput, match=r"found 'tail' too.*rename"):
        union_channels(Skeleton(names=("nose", "tail")))


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
        (["nose", "neck", "Rsho", "Relb", "Lsho", "Lelb"], ((4, 2), (5, 3))),
        (["lshoulder", "rshoulder", "neck"], ((0, 1),)),
        (["nose", "leftShoulder", "rightShoulder"], ((1, 2),)),
        (["eyeL", "eyeR", "wingL", "wingR"], ((0, 1), (2, 3))),
        (["snout", "leftear", "rightear", "leftforepaw", "rightforepaw"], ((1, 2), (3, 4))),
        (["Head", "Shoulder.L", "Shoulder.R"], ((1, 2),)),
        (["paw_front_left", "paw_front_right", "earleft", "earright"], ((0, 1), (2, 3))),
        (["Left Shoulder", "Right Shoulder", "LHip", "RHip"], ((0, 1), (2, 3))),
        (["L1", "R1", "left2", "right2"], ((0, 1), (2, 3))),
        (["left_left_toe", "right_left_toe"], ((0, 1),)),
        (["leg", "rump", "", "_"], ()),
    ],
)
def test_pairs_are_read_from_names(names, pairs):
    assert flip_pairs_from_names(names) == pairs


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("left_hip", "left_hip"), ("Left Hip", "left_hip"), ("l_shoulder", "left_shoulder"),
        ("Rkne", "right_knee"), ("eyeL", "left_eye"), ("rightear", "right_ear"), ("ear", "ear"),
        ("leftWrist", "left_wrist"), ("Head top", "head_top"), ("Nose", "nose"), ("lip", "lip"),
        ("front_left_knee", "front_left_knee"), ("", ""),
    ],
)  # fmt: skip
def test_names_as_coco_spells_them(name, plain):
    assert coco_name(name) == plain


def test_a_skeleton_survives_json():
    for skeleton in (COCO, LSP, Skeleton(names=("a",)), trained_union([COCO, LSP], LSP)):
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


def test_published_conventions_have_published_sigmas_and_others_say_which_are_not():
    for skeleton in SETS.values():
        assert skeleton.unpublished_sigmas == ()
    mouse = Skeleton(("snout", "left_hip", "Lsho", "tail"), sigmas=(0.08, 0.107, 0.08, 0.026))
    assert mouse.unpublished_sigmas == ("snout", "Lsho", "tail")
    assert Skeleton(("snout", "tail")).unpublished_sigmas == ()


def test_the_unit_of_pck_is_the_torso_where_there_is_one():
    assert [s.pck_unit for s in (COCO, LSP, MPII)] == ["torso"] * 3
    assert Skeleton(("snout", "tail")).pck_unit == "box"
    assert Skeleton(("snout", "tail"), torso=(0, 1)).pck_unit == "torso"


def test_a_side_without_its_other_is_told():
    """Words only: leg begins with an l, and says nothing."""
    names = ("left_ear", "right_ear", "left_paw", "tail", "leg", "R wing", "rump", "paw_right2")
    assert lone_sides(names) == ("left_paw", "R wing", "paw_right2")
    assert lone_sides(COCO.names) == lone_sides(("snout", "tail")) == ()
