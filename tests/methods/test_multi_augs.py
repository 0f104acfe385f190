"""MultiAugs: the sum over its paths by slow loops, and what each path is made of."""

import pytest
import torch

from family import STILL, STRIDE, B, K, build, in_training, make_batch, peak, rand, slow_mse, step
from sspcm_kedro.batch import Unlabeled

DIMMED = {"joco": 0.5, "jccm": 0.7, "jo": 1.2, "jc": 0.9}
"""What stands for the hard view of each path: the image, darker or brighter."""


def simplified(asked: list | None = None, **more):
    method = build("multi_augs", affine=STILL, **more)

    def harden(path, unlabeled, keypoints, rng):
        if asked is not None:
            asked.append((path, keypoints))
        return unlabeled.images * DIMMED[path]

    method.harden = harden
    return method


@pytest.mark.parametrize("paths", [["joco"], ["jccm", "jo"], ["joco", "jccm", "jc", "jo"]])
@pytest.mark.parametrize("dual", [False, True], ids=["single", "dual"])
def test_it_is_the_slow_reference(dual, paths):
    """The sum over paths and networks, each towards what it saw, or of two what the other saw."""
    batch, method = make_batch(), simplified(dual=dual, paths=paths, weight=0.5)
    images, weights = batch.unlabeled.images, batch.unlabeled.weights
    nets, labeled = list(method.networks.values()), batch.labeled
    seen = [in_training(net, images) for net in nets]
    expected = 0.0
    for i, net in enumerate(nets):
        target = seen[1 - i] if dual else seen[0]
        for path in paths:
            expected += slow_mse(in_training(net, images * DIMMED[path]), target, weights)
    supervised = sum(
        slow_mse(in_training(net, labeled.images), labeled.heatmaps, labeled.weights)
        for net in nets
    )
    scalars = step(method, batch)
    assert scalars["loss/consistency"].item() == pytest.approx(0.5 * expected, rel=1e-3)
    share = 0.5 if dual else 1.0
    assert scalars["loss/supervised"].item() == pytest.approx(share * supervised, rel=1e-4)


@pytest.mark.parametrize("dual", [False, True], ids=["single", "dual"])
def test_views_are_hard_where_the_teaching_network_sees_keypoints(dual):
    asked: list = []
    batch, method = make_batch(), simplified(asked, dual=dual, paths=["jc", "jo"])
    seen = [in_training(net, batch.unlabeled.images) for net in method.networks.values()]
    step(method, batch)
    assert [path for path, _ in asked] == ["jc", "jo"] * len(seen)
    for index, (_, keypoints) in enumerate(asked):
        teacher = seen[1 - index // 2] if dual else seen[0]
        for n in range(B):
            for j in range(K):
                x, y = peak(teacher[n, j])
                assert keypoints[n, j].tolist() == [STRIDE * x, STRIDE * y]


def test_all_views_of_a_step_are_warped_alike():
    drawn = []
    method = build("multi_augs", dual=True)
    affine = method.affine

    class Watched:
        def sample(self, *arguments):
            drawn.append(affine.sample(*arguments))
            return drawn[-1]

    method.affine = Watched()
    step(method, make_batch())
    assert len(drawn) == 1


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("jo", lambda x: x + 10),
        ("jc", lambda x: x + 1),
        ("joco", lambda x: (x + 10) * 2),
        ("jccm", lambda x: (x + 1) * 3),
    ],
)
def test_each_path_is_made_of_its_parts_in_order(path, expected):
    method, keypoints, weights = build("multi_augs"), rand(1, B, K, 2), rand(2, B, K)
    images, rng = rand(3, B, 3, 8, 8), torch.Generator()

    def check(pixels, points, given, generator):
        assert pixels is images and points is keypoints and given is weights and generator is rng

    def joint_cutout(pixels, points, given, generator):
        check(pixels, points, given, generator)
        return pixels + 1

    def cut_occlude(pixels, points, given, donors, generator):
        check(pixels, points, given, generator)
        assert donors.images is images and donors.keypoints is keypoints
        assert donors.weights is weights
        return pixels + 10

    method.joint_cutout, method.cut_occlude = joint_cutout, cut_occlude
    method.cutout, method.cutmix = lambda x, g: x * 2, lambda x, g: x * 3
    found = method.harden(path, Unlabeled(images, weights), keypoints, rng)
    assert found.equal(expected(images))


def test_its_patches_are_the_published_numbers_and_its_paths_those_of_few_labels():
    method = build("multi_augs")
    assert (method.joint_cutout.patches, method.cut_occlude.patches) == (5, 2)
    assert (method.cutout.patches, method.cutmix.patches) == (5, 2)
    assert method.paths == ("joco", "jccm", "jc", "jo")
    assert method.labelers == ("student",) and method.deployed == "student"
    dual = build("multi_augs", dual=True)
    assert dual.labelers == ("teacher_a", "teacher_b") and dual.deployed == "teacher_a"
