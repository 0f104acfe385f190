"""UBPL: its targets and losses by slow loops, and what it refuses."""

import pytest
import torch

from family import STILL, UNCUT, B, K, build, in_evaluation, in_training, make_batch, slow_mse, step

DISTURBED = (1.3, 0.7)


def different_averages(decay: float = 0.9, **more):
    """Averages that are not their networks, and not each other's."""
    method = build("ubpl", affine=STILL, cutout=UNCUT, decay=decay, **more)
    with torch.no_grad():
        for average, factor in zip(method.averages.values(), DISTURBED, strict=True):
            average.head[-1].weight.mul_(factor)
    return method


def test_it_is_the_slow_reference():
    """Each network towards the mean of both averages, where its own peak and the mean's suffice."""
    batch, method = make_batch(), different_averages(weight=0.5)
    images, weights = batch.unlabeled.images, batch.unlabeled.weights
    a, b = (in_evaluation(net, images) for net in method.averages.values())
    target = (a + b) / 2
    networks = [in_training(net, images) for net in method.networks.values()]
    scores = torch.stack([h.amax(dim=(2, 3)) for h in networks]).minimum(target.amax(dim=(2, 3)))
    ordered = scores[:, weights > 0].flatten().sort().values
    middle = len(ordered) // 2
    method.min_score = float(ordered[middle - 1 : middle + 1].mean())  # some count, some do not
    expected, counted, taught = 0.0, [], int(weights.sum())
    for predicted in networks:
        kept = torch.zeros(B, K)
        for n in range(B):
            for j in range(K):
                sure = max(predicted[n, j].flatten().tolist()) >= method.min_score
                sure = sure and max(target[n, j].flatten().tolist()) >= method.min_score
                kept[n, j] = float(sure) * float(weights[n, j])
        expected += slow_mse(predicted, target, kept)
        counted.append(int(kept.sum()))
    assert any(0 < count < taught for count in counted)
    labeled = batch.labeled
    supervised = sum(
        slow_mse(in_training(net, labeled.images), labeled.heatmaps, labeled.weights)
        for net in method.networks.values()
    )
    scalars = step(method, batch)
    assert scalars["loss/supervised"].item() == pytest.approx(supervised, rel=1e-4)
    assert scalars["loss/consistency"].item() == pytest.approx(0.5 * expected, rel=1e-3)
    assert scalars["kept"].item() == pytest.approx(sum(counted) / 2 / taught)


@pytest.mark.parametrize("unsure", ["networks", "averages"])
def test_a_keypoint_needs_both_peaks(unsure):
    """Faint predictions teach nothing under a bright target, nor the other way round."""
    batch, method = make_batch(), different_averages(min_score=0.5)
    with torch.no_grad():
        for net in (*method.networks.values(), *method.averages.values()):
            net.head[-1].bias.fill_(1.0)
    assert step(method, batch)["kept"] == 1
    with torch.no_grad():
        for net in getattr(method, unsure).values():
            net.head[-1].weight.mul_(1e-3)
            net.head[-1].bias.zero_()
    scalars = step(method, batch)
    assert scalars["kept"] == 0 and scalars["loss/consistency"] == 0


def test_without_averages_it_says_what_is_missing():
    with pytest.raises(ValueError, match="learns from averages"):
        step(build("ubpl"), make_batch())
