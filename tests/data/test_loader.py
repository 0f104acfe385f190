"""Batches: the same (seed, epoch) gives the same, hidden labels are never read, labels move."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from sspcm_kedro.augment.affine import RandomAffine
from sspcm_kedro.data.crops import Crops
from sspcm_kedro.data.instances import Instances
from sspcm_kedro.data.loader import (
    Batches,
    InstancePool,
    PseudoLabels,
    shuffled_rows,
)
from sspcm_kedro.data.views import normalize, plain_view, weak_view
from sspcm_kedro.pose.geometry import CropFrame, move_points
from sspcm_kedro.pose.heatmap import HeatmapCodec, decode_heatmaps
from sspcm_kedro.pose.skeleton import Skeleton
from sspcm_kedro.seeds import Stream, stream_seed

INPUT, BORDER = (128, 96), 12
FRAME = CropFrame(INPUT)
SKELETON = Skeleton(names=("left_hand", "right_hand", "nose"), flip_pairs=((0, 1),))
CPU = torch.device("cpu")
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""ImageNet's statistics, from torchvision's documentation and not from the code."""


def picture(path, points, hw=(150, 130)) -> None:
    """A red, a green and a blue spot on black: one for each keypoint."""
    columns, rows = np.meshgrid(np.arange(hw[1]), np.arange(hw[0]))
    planes = [
        255 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * 3.0**2)) for x, y in points
    ]
    Image.fromarray(np.stack(planes, axis=2).round().astype(np.uint8)).save(path)


def make_people(folder, n: int, seed: int) -> Instances:
    rng = np.random.default_rng(seed)
    keypoints = rng.uniform((40, 45), (90, 105), (n, 3, 2)).astype(np.float32)
    paths = [folder / f"{seed}-{i}.png" for i in range(n)]
    for path, points in zip(paths, keypoints, strict=True):
        picture(path, points)
    return Instances(
        ids=np.arange(n),
        image_ids=np.arange(n),
        paths=np.array([str(path) for path in paths], object),
        image_hw=np.full((n, 2), (150, 130)),
        boxes=np.tile(np.array([30, 30, 100, 120], np.float32), (n, 1)),
        areas=np.full(n, 6300, np.float32),
        box_scores=np.ones(n, np.float32),
        keypoints=keypoints,
        visibility=np.full((n, 3), 2),
    )


@pytest.fixture(scope="module")
def pools(tmp_path_factory) -> tuple[InstancePool, InstancePool]:
    """Five labeled and seven unlabeled people; the latter's labels are there to be ignored."""
    folder = tmp_path_factory.mktemp("pictures")
    return tuple(
        InstancePool.from_crops(Crops(make_people(folder, n, seed), FRAME, border=BORDER))
        for n, seed in ((5, 1), (7, 2))
    )


def make_batches(pools, *, pseudo: PseudoLabels | None = None, affine=None, **more) -> Batches:
    settings = {
        "labeled": pools[0], "unlabeled": pools[1], "pseudo": pseudo, "skeleton": SKELETON,
        "codec": HeatmapCodec(), "affine": affine or RandomAffine(), "size": (3, 3), "steps": 2,
        "seed": 11, "device": CPU,
    }  # fmt: skip
    return Batches(**{**settings, **more})


def stored(pools, *, scores=(0.8, 0.5), occluders=None) -> PseudoLabels:
    """What teachers saw: A the truth, B the truth moved by (8, 4) pixels of the input."""
    truth = pools[1].keypoints
    return PseudoLabels(
        torch.arange(len(truth)),
        torch.stack([truth, truth + torch.tensor([8.0, 4.0])]),
        torch.stack([torch.full(truth.shape[:2], score) for score in scores]),
        torch.empty(0, 3) if occluders is None else occluders,
        truth,
        torch.linspace(0, 1, truth.shape[0] * truth.shape[1]).reshape(truth.shape[:2]),
    )


def tensors(batch) -> list[torch.Tensor]:
    """All tensors of a batch."""
    out = [batch.labeled.images, batch.labeled.heatmaps, batch.labeled.weights]
    if batch.unlabeled is not None:
        out += [batch.unlabeled.images, batch.unlabeled.weights, *(batch.unlabeled.earlier or ())]
        out += [] if batch.unlabeled.corrected is None else [batch.unlabeled.corrected]
        if batch.unlabeled.donors is not None:
            out += [batch.unlabeled.donors.images, batch.unlabeled.donors.keypoints]
    return out


def equal(one, other) -> bool:
    """Whether two epochs of batches are the same, bit by bit."""
    pairs = list(zip(one, other, strict=True))
    assert pairs
    return all(
        len(tensors(a)) == len(tensors(b))
        and all(x.equal(y) for x, y in zip(tensors(a), tensors(b), strict=True))
        for a, b in pairs
    )


class TestShuffledRows:
    def test_each_pass_is_a_permutation_of_its_own(self):
        rows = shuffled_rows(7, 3, 0, 28).reshape(4, 7)
        assert all(sorted(part) == list(range(7)) for part in rows.tolist())
        assert len({tuple(part) for part in rows.tolist()}) == 4

    @pytest.mark.parametrize("n", [1, 2, 7, 50])
    def test_any_part_is_that_part_of_the_whole(self, n):
        whole = shuffled_rows(n, 5, 0, 60)
        for start in (0, 1, 6, 7, 8, 20, 49):
            for count in (1, 3, 7, 11):
                assert shuffled_rows(n, 5, start, count).equal(whole[start : start + count])

    def test_seeds_give_other_orders(self):
        assert not shuffled_rows(50, 1, 0, 50).equal(shuffled_rows(50, 2, 0, 50))


def test_the_same_seed_and_epoch_give_the_same_batches(pools):
    """Bit by bit, in new objects, whatever was drawn before; other epochs and seeds differ."""
    pseudo = stored(pools, occluders=torch.tensor([[0.0, 30, 40], [3, 50, 60]]))
    first = list(make_batches(pools, pseudo=pseudo).epoch(3))
    torch.manual_seed(99)
    again = make_batches(pools, pseudo=pseudo)
    list(again.epoch(0))
    assert equal(first, again.epoch(3))
    assert not equal(first, again.epoch(4))
    assert not equal(first, make_batches(pools, pseudo=pseudo, seed=12).epoch(3))


def test_shards_are_the_parts_of_a_batch(pools):
    """The same people in the same order; the first shard's views are drawn as a batch's are."""
    bank = stored(pools, occluders=torch.tensor([[0.0, 10, 10], [3, 20, 14], [5, 12, 30]]))
    still = {"affine": RandomAffine(0, 0, 0, 0), "size": (2, 4), "pseudo": bank}
    whole = list(make_batches(pools, **still).epoch(1))
    cut = make_batches(pools, **still, shards=2)
    for batch, parts in zip(whole, zip(cut.epoch(1), cut.epoch(1, 1), strict=True), strict=True):
        assert batch.unlabeled.donors is not None
        for own, *shares in zip(tensors(batch), *map(tensors, parts), strict=True):
            assert torch.cat(shares).equal(own)
    moved = [make_batches((pools[0], pools[0]), size=(2, 2), shards=n) for n in (1, 2)]
    assert not equal(moved[1].epoch(0), moved[1].epoch(0, 1))
    assert equal(moved[0].epoch(0), make_batches((pools[0], pools[0]), size=(2, 2)).epoch(0))


@pytest.mark.parametrize("known", ["labels alone", "nothing stored", "no limbs", "limbs"])
@pytest.mark.parametrize("color", [0.0, 0.4])
def test_batches_from_the_middle_of_an_epoch_are_those_of_the_whole(pools, known, color):
    more = {"steps": 4, "size": (4, 2), "color": color}
    if known == "labels alone":
        more["unlabeled"] = None
    elif known != "nothing stored":
        limbs = (
            torch.tensor([[0.0, 10, 10], [3, 20, 14], [5, 12, 30]]) if known == "limbs" else None
        )
        more["pseudo"] = stored(pools, occluders=limbs)
    for shards, shard in ((1, 0), (2, 1)):
        batches = make_batches(pools, **more, shards=shards)
        whole = list(batches.epoch(2, shard))
        for start in (1, 3):
            assert equal(whole[start:], batches.epoch(2, shard, start))


def test_batches_before_the_first_one_wanted_are_not_decoded(pools, monkeypatch):
    batches = make_batches(pools, pseudo=stored(pools), steps=50)
    read, asked = Crops.read, []
    monkeypatch.setattr(Crops, "read", lambda self, *rows: asked.append(self) or read(self, *rows))
    assert len(list(batches.epoch(0, start=48))) == 2
    assert asked.count(pools[0].crops) == 2


def test_each_epoch_has_views_of_its_own(pools):
    """One person of each kind: nothing but the views can differ."""
    one = tuple(
        InstancePool.from_crops(Crops(pool.crops.instances.take([0]), FRAME, border=BORDER))
        for pool in pools
    )
    epochs = [next(make_batches(one, size=(1, 1), steps=1).epoch(epoch)) for epoch in range(4)]
    for kind in ("labeled", "unlabeled"):
        views = [getattr(batch, kind).images for batch in epochs]
        assert not any(a.equal(b) for i, a in enumerate(views) for b in views[:i]), kind


def test_labeled_and_unlabeled_people_are_shuffled_apart(pools):
    """Were it one stream, pools of one size would always show the same rows together."""
    same = make_batches((pools[1], pools[1]), affine=RandomAffine(0, 0, 0, 0), size=(7, 7), steps=1)
    for epoch in range(3):
        batch = next(same.epoch(epoch))
        together = (batch.labeled.images == batch.unlabeled.images).flatten(1).all(dim=1)
        assert not together.all(), "both pools in one order"


def test_batches_do_not_depend_on_whether_crops_are_kept(pools):
    slow = tuple(
        replace(pool, crops=Crops(pool.crops.instances, FRAME, border=BORDER, memory=0))
        for pool in pools
    )
    assert equal(make_batches(pools).epoch(1), make_batches(slow).epoch(1))


def test_shapes_and_counts(pools):
    batches = list(make_batches(pools, pseudo=stored(pools)).epoch(0))
    assert len(batches) == 2
    for batch in batches:
        assert batch.labeled.images.shape == batch.unlabeled.images.shape == (3, 3, 128, 96)
        assert batch.labeled.heatmaps.shape == (3, 3, 32, 24)
        assert batch.labeled.weights.shape == batch.unlabeled.weights.shape == (3, 3)
        assert all(e.shape == (3, 3, 32, 24) for e in batch.unlabeled.earlier)


def test_without_unlabeled_people_or_predictions_there_are_none(pools):
    assert next(make_batches(pools, unlabeled=None).epoch(0)).unlabeled is None
    unlabeled = next(make_batches(pools).epoch(0)).unlabeled
    assert unlabeled.earlier is None and unlabeled.donors is None


def test_every_person_comes_once_before_any_comes_twice(pools):
    """Across epochs too, and labeled and unlabeled people each at their own pace."""
    batches = list(make_batches(pools, affine=RandomAffine(0, 0, 0, 0), steps=1).epoch(0))
    for epoch in range(1, 7):
        batches += make_batches(pools, affine=RandomAffine(0, 0, 0, 0), steps=1).epoch(epoch)
    for pool, views in (
        (pools[0], [batch.labeled.images for batch in batches]),
        (pools[1], [batch.unlabeled.images for batch in batches]),
    ):
        n = len(pool.crops)
        plain = weak_view(pool.crops[torch.arange(n)], INPUT, torch.eye(2, 3).expand(n, 2, 3), CPU)
        seen = [int((plain - view).abs().amax(dim=(1, 2, 3)).argmin()) for view in torch.cat(views)]
        passes = [seen[i : i + n] for i in range(0, 21 - n + 1, n)]
        assert all(sorted(people) == list(range(n)) for people in passes)


def test_labels_of_unlabeled_people_are_never_read(pools):
    """Poison them: the batches stay the same, bit by bit."""
    poisoned = replace(
        pools[1],
        keypoints=torch.full_like(pools[1].keypoints, torch.nan),
        visibility=torch.full_like(pools[1].visibility, -1),
    )
    instances = pools[1].crops.instances
    assert (instances.visibility == 2).all(), "there is something to hide"
    pseudo = stored(pools, occluders=torch.tensor([[0.0, 30, 40]]))
    for given in (None, pseudo):
        clean = make_batches(pools, pseudo=given).epoch(0)
        assert equal(clean, make_batches((pools[0], poisoned), pseudo=given).epoch(0))


def spots(images: torch.Tensor) -> torch.Tensor:
    """(b, 3, 2) where the red, green and blue spots lie, by center of mass."""
    mean, std = (torch.tensor(v)[None, :, None, None] for v in (MEAN, STD))
    colors = ((images * std + mean) * 255).clamp_min(0)
    colors = colors * (colors > 30)
    total = colors.sum(dim=(2, 3))
    x = (colors.sum(dim=2) * torch.arange(images.shape[3])).sum(dim=2) / total
    y = (colors.sum(dim=3) * torch.arange(images.shape[2])).sum(dim=2) / total
    return torch.stack([x, y], dim=2)


def mirrored(found: torch.Tensor, heatmaps: torch.Tensor) -> list[bool]:
    """Whether the first keypoint's heatmap lies at the second's color, person by person."""
    at, _ = decode_heatmaps(heatmaps, stride=4)
    near = (at[:, 0] - found[:, 0]).norm(dim=1), (at[:, 0] - found[:, 1]).norm(dim=1)
    return (near[1] < near[0]).tolist()


MILD = RandomAffine(0.15, 15, 0.8, 0.5)
"""Keeps the spots inside of the view."""


def check_labels_on_spots(images, heatmaps, shift=0.0) -> set[bool]:
    """Each keypoint's heatmap peaks on its spot; where mirrored, left and right have changed."""
    found = spots(images)
    flips = mirrored(found, heatmaps)
    for n, flip in enumerate(flips):
        order = [1, 0, 2] if flip else [0, 1, 2]
        at, _ = decode_heatmaps(heatmaps[n : n + 1], stride=4)
        apart = (at[0] - found[n, order]).norm(dim=1)
        assert apart.max() < 3.5 + shift, "no more than half a cell in x and in y"
    return set(flips)


def test_labels_move_with_the_image(pools):
    """Also when mirrored: then a color belongs to the keypoint of the other side."""
    flips = set()
    for epoch in range(3):
        for batch in make_batches(pools, affine=MILD).epoch(epoch):
            flips |= check_labels_on_spots(batch.labeled.images, batch.labeled.heatmaps)
            assert (batch.labeled.weights == 1).all()
    assert flips == {True, False}


def test_stored_predictions_move_with_the_image(pools):
    """As Gaussians of the stored score; A's where it saw them, B's apart from them as stored."""
    flips = set()
    for epoch in range(3):
        for batch in make_batches(pools, pseudo=stored(pools), affine=MILD).epoch(epoch):
            first, second = batch.unlabeled.earlier
            flips |= check_labels_on_spots(batch.unlabeled.images, first)
            assert first.amax(dim=(2, 3)).flatten().tolist() == pytest.approx([0.8] * 9)
            assert second.amax(dim=(2, 3)).flatten().tolist() == pytest.approx([0.5] * 9)
            at = [decode_heatmaps(h, stride=4, refinement="none")[0] for h in (first, second)]
            distance = (at[0] - at[1]).norm(dim=2)
            assert ((distance > 2) & (distance < 16)).all(), "about 9 pixels, rounded to cells"
    assert flips == {True, False}


def test_scores_are_mirrored_with_their_keypoints(pools):
    pseudo = stored(pools)
    scores = torch.tensor([0.9, 0.3, 0.6]).expand(2, 7, 3)
    batches = make_batches(
        pools, pseudo=replace(pseudo, scores=scores), affine=RandomAffine(0, 0, 0, 1)
    )
    heights = next(batches.epoch(0)).unlabeled.earlier[0].amax(dim=(2, 3))
    assert heights[0].tolist() == pytest.approx([0.3, 0.9, 0.6])


def test_visibility_is_mirrored_with_its_keypoints(pools):
    hidden = replace(pools[0], visibility=torch.tensor([[2, 0, 1]]).expand(5, 3))
    for share, expected in ((0, [1, 0, 1]), (1, [0, 1, 1])):
        batches = make_batches((hidden, pools[1]), affine=RandomAffine(0, 0, 0, share))
        batch = next(batches.epoch(0))
        assert batch.labeled.weights.tolist() == [expected] * 3


def test_unlabeled_weights_are_those_of_keypoints_that_anyone_has(pools):
    visibility = torch.tensor([[0, 0, 0], [0, 0, 0], [1, 0, 0], [0, 0, 2], [0, 0, 0]])
    labeled = replace(pools[0], visibility=visibility)
    batch = next(make_batches((labeled, pools[1])).epoch(0))
    assert batch.unlabeled.weights.tolist() == [[1, 0, 1]] * 3


@pytest.mark.parametrize(("probability", "order"), [(0.5, (1, 0, 2)), (0.0, None)])
def test_unlabeled_people_say_how_keypoints_mirror_where_training_mirrors(
    pools, probability, order
):
    batches = make_batches(pools, affine=RandomAffine(flip_probability=probability))
    assert next(iter(batches.epoch(0))).unlabeled.flip_order == order


def test_donors_come_from_the_bank(pools):
    """Unturned crops of the listed people, at the listed points."""
    bank = torch.tensor([[5.0, 31, 42], [2, 53, 64]])
    pseudo = stored(pools, occluders=bank)
    crops = pools[1].crops
    identity = torch.eye(2, 3).expand(7, 2, 3)
    plain = weak_view(crops[torch.arange(7)], INPUT, identity, CPU)
    used = set()
    for batch in make_batches(pools, pseudo=pseudo, steps=6).epoch(0):
        donors = batch.unlabeled.donors
        assert donors.images.shape == (3, 3, 128, 96) and donors.keypoints.shape == (3, 1, 2)
        for image, point in zip(donors.images, donors.keypoints[:, 0].tolist(), strict=True):
            row = {31: 5, 53: 2}[int(point[0])]
            assert point == bank[0 if row == 5 else 1, 1:].tolist()
            torch.testing.assert_close(image, plain[row], atol=1e-5, rtol=0)
            used.add(row)
    assert used == {2, 5}


def test_some_of_the_people_keep_their_labels_and_the_limbs_they_lend(pools):
    limbs = torch.tensor([[0.0, 1.0, 2.0], [2.0, 3.0, 4.0], [1.0, 5.0, 6.0], [2.0, 7.0, 8.0]])
    everyone = stored(pools, occluders=limbs)
    some = everyone.take(np.array([2, 1]))
    assert some.ids.tolist() == [2, 1]
    assert some.occluders.tolist() == [[0, 3, 4], [1, 5, 6], [0, 7, 8]]
    for name in ("corrected", "confidence"):
        own, before = getattr(some, name), getattr(everyone, name)
        assert torch.equal(own, torch.stack([before[2], before[1]]))
    for name in ("keypoints", "scores"):
        own, before = getattr(some, name), getattr(everyone, name)
        assert torch.equal(own, torch.stack([before[:, 2], before[:, 1]], dim=1))


def test_an_empty_bank_leaves_the_donors_to_the_batch(pools):
    assert next(make_batches(pools, pseudo=stored(pools)).epoch(0)).unlabeled.donors is None


def test_the_border_is_context_and_moves_nothing(pools):
    """Unturned views show the crop without its border; turned ones look into it."""
    crops = pools[0].crops
    rows = torch.tensor([3, 1])
    view = weak_view(crops[rows], INPUT, torch.eye(2, 3).expand(2, 2, 3), CPU)
    inner = crops[rows].float()[:, :, BORDER:-BORDER, BORDER:-BORDER] / 255
    torch.testing.assert_close(view, normalize(inner), atol=2e-3, rtol=0)
    shifted = torch.eye(2, 3).repeat(2, 1, 1)
    shifted[:, :, 2] = torch.tensor([BORDER, BORDER / 2])
    view = weak_view(crops[rows], INPUT, shifted, CPU)
    context = crops[rows].float()[:, :, BORDER // 2 : -BORDER - BORDER // 2, : -2 * BORDER] / 255
    torch.testing.assert_close(view, normalize(context), atol=2e-3, rtol=0)


def test_images_are_standardized_by_imagenets_statistics():
    """The mean color is 0, one standard deviation more is 1, channel by channel."""
    mean, std = (torch.tensor(v).reshape(1, 3, 1, 1).expand(1, 3, 4, 5) for v in (MEAN, STD))
    torch.testing.assert_close(normalize(mean), torch.zeros(1, 3, 4, 5))
    torch.testing.assert_close(normalize(mean + std), torch.ones(1, 3, 4, 5))


def test_beyond_the_border_is_black_before_normalization(pools):
    far = torch.eye(2, 3)[None].clone()
    far[:, 0, 2] = 500
    view = weak_view(pools[0].crops[torch.tensor([0])], INPUT, far, CPU)
    black = -torch.tensor(MEAN) / torch.tensor(STD)
    torch.testing.assert_close(view, black[None, :, None, None].expand_as(view))


def test_a_pool_has_its_keypoints_in_input_pixels(pools):
    instances = pools[0].crops.instances
    # The box 70 x 90 grows to 70 x 93.33 and by 1.25: 96 pixels show 87.5.
    factor, center = 96 / 87.5, np.array([65, 75])
    expected = (instances.keypoints - center) * factor + np.array([48, 64])
    assert pools[0].keypoints.numpy() == pytest.approx(expected, abs=1e-3)
    identity = torch.eye(2, 3).expand(5, 2, 3)
    view = weak_view(pools[0].crops[torch.arange(5)], INPUT, identity, CPU)
    assert (spots(view) - move_points(pools[0].keypoints, identity)).abs().max() < 0.6


def test_channels_are_red_green_blue_in_training_and_in_prediction(tmp_path):
    """The order that the statistics of ImageNet, and networks trained on it, have."""
    people = make_people(tmp_path, 1, seed=0)
    Image.new("RGB", (130, 150), (255, 102, 0)).save(people.paths[0])
    crops = Crops(people, FRAME, border=BORDER)
    expected = [(c - m) / s for c, m, s in zip((1, 0.4, 0), MEAN, STD, strict=True)]
    rows = torch.arange(1)
    weak = weak_view(crops[rows], INPUT, torch.eye(2, 3)[None], CPU)
    for images in (plain_view(crops[rows], INPUT, CPU), weak):
        center = images[0, :, INPUT[0] // 2, INPUT[1] // 2]
        assert center.tolist() == pytest.approx(expected, abs=1e-3)


def test_color_changes_the_views_and_nothing_else(pools):
    """The same people, places and targets as without; pixels as ``jitter_color`` gives them."""
    plain, colored = (
        next(make_batches(pools, affine=RandomAffine(0, 0, 0, 0), color=share).epoch(0))
        for share in (0.0, 0.5)
    )
    for part in ("labeled", "unlabeled"):
        before, after = getattr(plain, part).images, getattr(colored, part).images
        assert not before.equal(after)
        black = normalize(torch.zeros(1, 3, 1, 1))
        assert (after >= black - 1e-6).all()
    assert plain.labeled.heatmaps.equal(colored.labeled.heatmaps)
    assert plain.labeled.weights.equal(colored.labeled.weights)


def test_weak_views_are_recolored_before_they_are_normalized(pools):
    crops, rows = pools[0].crops, torch.arange(2)
    still = torch.eye(2, 3).expand(2, 2, 3)
    views = weak_view(crops[rows], INPUT, still, CPU, lambda pixels: pixels / 2)
    as_they_are = plain_view(crops[rows], INPUT, CPU)
    mean, std = (torch.tensor(v)[:, None, None] for v in (MEAN, STD))
    pixels = as_they_are * std + mean
    torch.testing.assert_close(views, (pixels / 2 - mean) / std, atol=1e-5, rtol=0)


def test_labeled_and_unlabeled_people_may_be_of_different_numbers(pools):
    batches = list(make_batches(pools, size=(1, 4), steps=7).epoch(0))
    for batch in batches:
        assert len(batch.labeled.images) == 1 and len(batch.unlabeled.images) == 4
        assert batch.size == 5
    assert next(make_batches(pools, unlabeled=None, size=(2, 4)).epoch(0)).size == 2


def test_the_corrected_label_is_a_gaussian_as_high_as_it_is_likely_right(pools):
    """Moved with its person, like the earlier labels; the truth here, of known heights."""
    still, known = RandomAffine(0, 0, 0, 0), stored(pools)
    (batch,) = make_batches(pools, pseudo=known, affine=still, steps=1).epoch(0)
    rows = shuffled_rows(7, stream_seed(11, Stream.UNLABELED_ORDER), 0, 3)
    heights = batch.unlabeled.corrected.amax(dim=(2, 3))
    wanted, weights = HeatmapCodec().encode(
        known.corrected[rows], torch.ones(3, known.confidence.shape[1]), INPUT
    )
    wanted = wanted * known.confidence[rows][..., None, None]
    torch.testing.assert_close(batch.unlabeled.corrected, wanted)
    assert (heights <= known.confidence[rows] + 1e-6).all() and weights.any()
