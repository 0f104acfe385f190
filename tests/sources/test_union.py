"""Union training: several sets in one space of 24 keypoints, evaluated in their own."""

import numpy as np
import pytest
from pydantic import ValidationError

from formats import (
    pictures,
    write_aic,
    write_coco,
    write_fisheye,
    write_lspet,
    write_mpii,
    write_ochuman,
)
from sspcm_kedro.data.split import SplitConfig, split
from sspcm_kedro.errors import BadInput
from sspcm_kedro.pose.skeleton import AIC, COCO, MPII, UNION, union_channels
from sspcm_kedro.sources import SourceConfig, UnionSource


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A record of each set, all of the same size."""
    root = tmp_path_factory.mktemp("sets")
    shown = [pictures(3, seed, people=2) for seed in range(4)]
    return shown, {
        "mpii": write_mpii(root / "mpii", shown[0], shown[1], shown[2]),
        "aic": write_aic(root / "aic", shown[3]),
        "coco": write_coco(root / "coco", shown[0], shown[1], shown[2]),
        "ochuman": write_ochuman(root / "ochuman", shown[2]),
        "fisheye": write_fisheye(root / "fisheye", shown[2], shown[1]),
        "lspet": write_lspet(root / "lspet", shown[2]),
    }


def mixed(written, *names: str, **more) -> UnionSource:
    sources = {name: written[1][name] for name in names}
    source = SourceConfig.model_validate({"kind": "union", "sources": sources, **more}).root
    assert isinstance(source, UnionSource)
    return source


def test_mpii_with_unlabeled_ai_challenger(written):
    source = mixed(written, "mpii", "aic", labeled=["mpii"], unlabeled=["aic"]).read()
    assert source.skeleton.names == UNION.names
    assert source.skeleton.evaluated is MPII
    assert source.annotated.visibility.shape == (6, 24)
    taught = list(union_channels(MPII))
    others = [channel for channel in range(24) if channel not in taught]
    assert len(others) == 8
    assert not source.annotated.visibility[:, others].any()
    drawn = written[0][0][1].people[1].triples(MPII)
    np.testing.assert_allclose(source.annotated.keypoints[3][taught], drawn[:, :2], atol=1e-4)
    assert (source.annotated.visibility[3][taught] > 0).tolist() == (drawn[:, 2] > 0).tolist()
    assert len(source.validation) == len(source.test) == 6
    assert not np.isnan(source.validation.head_sizes).any()


def test_unlabeled_people_of_another_set(written):
    source = mixed(written, "mpii", "aic", labeled=["mpii"], unlabeled=["aic"]).read()
    drawn = written[0][3][0].people[0].triples(AIC)
    assert not source.unlabeled.visibility.any()
    assert source.unlabeled.source_ids.tolist() == ["human1", "human2"] * 3
    truth = source.hidden_truth.visibility[0]
    neck, *joints = union_channels(AIC)[::-1]
    assert neck == UNION.names.index("neck")
    assert truth[neck] == 0  # MPII has no such keypoint: nobody learns it
    assert truth[joints[::-1]].tolist() == drawn[:13, 2].tolist()
    people = [source.annotated, source.validation, source.unlabeled, source.test]
    ids = np.concatenate([part.ids for part in people])
    assert len(set(ids)) == len(ids) == 24
    images = {(image, path) for part in people
              for image, path in zip(part.image_ids, part.paths, strict=True)}  # fmt: skip
    assert len({image for image, _ in images}) == len({path for _, path in images}) == 12


def test_two_labeled_sets(written):
    source = mixed(written, "coco", "lspet", labeled=["coco", "lspet"]).read()
    assert source.skeleton.evaluated == COCO
    assert len(source.skeleton.trained) == 17 + 2  # LSP's upper neck and head top
    assert len(source.annotated) == 6 + 3
    eyes = [UNION.names.index(f"{side}_eye") for side in ("left", "right")]
    assert source.annotated.visibility[:6, eyes].any()
    assert not source.annotated.visibility[6:, eyes].any()  # weight 0 where the set has no keypoint
    upper_neck = UNION.names.index("upper_neck")
    assert not source.annotated.visibility[:6, upper_neck].any()
    assert len(source.unlabeled) == 6  # COCO's own
    assert source.hidden_truth is None


def test_evaluation_on_another_set(written):
    source = mixed(written, "coco", "ochuman", labeled=["coco"], validation="ochuman").read()
    assert source.skeleton.evaluated == COCO
    assert {"/ochuman/" in path for path in source.validation.paths} == {True}
    assert source.skeleton.evaluated_channels == union_channels(COCO)


def test_evaluation_on_keypoints_that_nobody_teaches_is_refused(written):
    source = mixed(written, "coco", "mpii", labeled=["coco"], validation="mpii")
    with pytest.raises(BadInput, match=r"taught by some label, 'pelvis' is not.*Evaluate on"):
        source.read()


def test_keypoints_outside_the_union_are_refused(written, coco):
    coco.content["categories"][0]["keypoints"] = ["left_wrist", "right_wrist", "tail"]
    record = {"kind": "coco", "root": coco.root,
              "train": {"annotations": coco.write().name, "images": "pictures"}}  # fmt: skip
    source = UnionSource.model_validate({"sources": {"cats": record}, "labeled": ["cats"]})
    with pytest.raises(BadInput, match=r"skeleton: union training knows.*found 'tail' too.*rename"):
        source.read()


def test_a_mix_is_split_as_any_source(written):
    source = mixed(written, "mpii", "aic", labeled=["mpii"], unlabeled=["aic"]).read()
    parts = split(source, SplitConfig(labeled="all"), seed=0)
    assert len(parts.labeled) == 6
    assert parts.unlabeled.source_ids.tolist() == ["human1", "human2"] * 3
    parts = split(source, SplitConfig(labeled=2), seed=0)
    assert len(parts.unlabeled) == 4 + 6


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"labeled": ["mpii"]}, "must name every source once"),
        ({"labeled": ["mpii"], "unlabeled": ["coco"]}, "must name every source once"),
        ({"labeled": ["mpii"], "unlabeled": ["aic", "mpii"]}, "must name every source once"),
        ({"labeled": [], "unlabeled": ["aic", "mpii"]}, "labeled"),
    ],
)
def test_names_of_sources_are_checked(written, more, message):
    with pytest.raises(ValidationError, match=message):
        mixed(written, "mpii", "aic", **more)


def test_drawn_sources_do_not_mix():
    drawn = {"kind": "drawn", "annotated": 1, "unlabeled": 1, "validation": 1}
    with pytest.raises(ValidationError, match="'coco', 'lspet'"):
        UnionSource.model_validate({"sources": {"drawn": drawn}, "labeled": ["drawn"]})
