"""The four nodes of a round: a period of training whose every product can be looked at."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Generator, Tensor

from sspcm_kedro.augment.occlude import Donors
from sspcm_kedro.data.instances import Instances, evenly_spaced
from sspcm_kedro.data.loader import PseudoLabels
from sspcm_kedro.data.views import ViewConfig, crops_of, plain_view
from sspcm_kedro.engine.correction import PAIRS, correct, occluder_bank
from sspcm_kedro.engine.fingerprint import code_digests
from sspcm_kedro.engine.learner import State, networks_of
from sspcm_kedro.engine.optimizer import TrainingConfig
from sspcm_kedro.engine.predict import predict
from sspcm_kedro.engine.stage import MonitorConfig, People, StageSettings, train_stage
from sspcm_kedro.figures.pixels import to_uint8
from sspcm_kedro.figures.sheets import occlusion_sheet
from sspcm_kedro.machine import MachineConfig
from sspcm_kedro.methods import MethodConfig
from sspcm_kedro.nets import NetworkConfig
from sspcm_kedro.pose.skeleton import Skeleton
from sspcm_kedro.seeds import Seed, Stream, stream_seed


def pseudo_labels(
    checkpoint: State,
    unlabeled: Instances,
    skeleton: Skeleton,
    view: ViewConfig,
    network: NetworkConfig,
    machine: MachineConfig,
) -> dict[str, Tensor]:
    """Predictions of the method's labelers, as the last stage left them, for the unlabeled people.

    Returns:
        ids (n), keypoints (t, n, k, 2) in canonical input pixels, scores (t, n, k) of t labelers;
        flip-averaged. The scores of a union's channels that no label teaches are 0: they are noise.
    """
    networks = networks_of(checkpoint, network, skeleton.size, stride=view.stride)
    crops = crops_of(unlabeled, view, machine)
    predictions = [
        predict(
            networks[name].to(machine.pick()), crops, skeleton, view.codec, flip_test=True,
            device=machine.pick(), title=f"pseudo-labels, {name}",
        )
        for name in checkpoint["labelers"]
    ]  # fmt: skip
    keypoints, scores = (torch.stack(parts) for parts in zip(*predictions, strict=True))
    untrained = [channel for channel in range(skeleton.size) if channel not in skeleton.trained]
    scores[..., untrained] = 0
    return {"ids": torch.tensor(crops.instances.ids), "keypoints": keypoints, "scores": scores}


def correction(
    now: dict[str, Tensor], earlier: dict[str, Tensor], view: ViewConfig, method: MethodConfig
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Of the pairs of predictions, per keypoint the one that agrees best; and a report."""
    rules, pairs = method.label_rules(), PAIRS[len(now["keypoints"])]
    corrected = correct(
        (now["keypoints"], earlier["keypoints"]), (now["scores"], earlier["scores"]),
        view.input_hw, min_score=rules.min_score, max_inconsistency=rules.max_inconsistency,
    )  # fmt: skip
    kept, inconsistency = corrected["kept"].bool(), corrected["inconsistency"]
    counts = torch.bincount(corrected["pair"].flatten(), minlength=len(pairs))
    shares = counts / corrected["pair"].numel()
    report = {
        "kept": kept.float().mean().item(),
        "kept_per_keypoint": kept.float().mean(dim=0).tolist(),
        "pair_shares": dict(zip(pairs, shares.tolist(), strict=True)),
        "inconsistency_quantiles": {
            str(q): torch.quantile(inconsistency.flatten(), q).item() for q in (0.1, 0.5, 0.9)
        },
    }
    return {"ids": now["ids"], **corrected}, report


def cut_occlude(
    corrected: dict[str, Tensor],
    unlabeled: Instances,
    skeleton: Skeleton,
    view: ViewConfig,
    method: MethodConfig,
    machine: MachineConfig,
    seed: Seed,
) -> tuple[dict[str, Tensor], Figure]:
    """The bank of limbs worth pasting, all of reliable keypoints; and a sheet of samples."""
    bank = occluder_bank(corrected["keypoints"], corrected["kept"].bool(), view.input_hw)
    rows = evenly_spaced(len(unlabeled), 10)
    shown = crops_of(unlabeled.take(rows), view, machine)
    rng = Generator().manual_seed(stream_seed(seed, Stream.OCCLUSION_SHEET))
    every, cpu = torch.arange(len(rows)), torch.device("cpu")
    images = plain_view(shown, every, cpu)
    keypoints, kept = corrected["keypoints"][rows], corrected["kept"][rows].float()
    donors = Donors(images, keypoints)
    if len(bank):
        chosen = bank[torch.randint(len(bank), (len(rows),), generator=rng)]
        crops = crops_of(unlabeled.take(chosen[:, 0].long().numpy()), view, machine)
        donors = Donors(plain_view(crops, every, cpu), chosen[:, None, 1:])
    occluded = method.label_rules().occlude(images, keypoints, kept, donors, rng)
    before, after = to_uint8(images), to_uint8(occluded)
    sheet = occlusion_sheet(before, after, keypoints.numpy(), skeleton.limbs)
    return {"ids": corrected["ids"], "occluders": bank}, sheet


def round_trainer(number: int) -> Callable[..., Iterator[dict[str, Any]]]:
    """The training node of round ``number``, counted from 1."""

    def train_round(
        previous: State,
        resume: State | None,
        labeled: Instances,
        unlabeled: Instances,
        validation: Instances,
        skeleton: Skeleton,
        predictions: dict[str, Tensor],
        occluders: dict[str, Tensor],
        seed: Seed,
        view: ViewConfig,
        network: NetworkConfig,
        method: MethodConfig,
        training: TrainingConfig,
        monitor: MonitorConfig,
        machine: MachineConfig,
    ) -> Iterator[dict[str, Any]]:
        """Yield checkpoint and history after each epoch, from where the last stage ended."""
        stored = (predictions["keypoints"], predictions["scores"], occluders["occluders"])
        yield from train_stage(
            f"round_{number}",
            training.span(number),
            People(labeled, unlabeled, validation, skeleton),
            StageSettings(seed, view, network, method, training, monitor, machine),
            resume=resume,
            code=code_digests("rounds"),
            previous=previous,
            pseudo=PseudoLabels(*stored),
        )

    return train_round
