"""The four nodes of a round: a period of SSPCM whose every product can be looked at."""

from collections.abc import Iterator
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Generator, Tensor

from sspcm_kedro.augment.occlude import Donors
from sspcm_kedro.data.instances import Instances, evenly_spaced
from sspcm_kedro.data.loader import PseudoLabels
from sspcm_kedro.data.views import ViewConfig, crops_of, plain_view
from sspcm_kedro.engine.correction import correct, occluder_bank
from sspcm_kedro.engine.fingerprint import code_digests, fingerprint, people_content
from sspcm_kedro.engine.learner import (
    Learner,
    State,
    network_maker,
    networks_of,
)
from sspcm_kedro.engine.optimizer import TrainingConfig
from sspcm_kedro.engine.predict import predict
from sspcm_kedro.engine.stage import MonitorConfig, make_batches, make_monitor, train
from sspcm_kedro.errors import BadInput
from sspcm_kedro.figures.pixels import to_uint8
from sspcm_kedro.figures.sheets import occlusion_sheet
from sspcm_kedro.machine import MachineConfig
from sspcm_kedro.methods import MethodConfig
from sspcm_kedro.methods.sspcm import SSPCMConfig
from sspcm_kedro.nets import NetworkConfig
from sspcm_kedro.pose.skeleton import Skeleton
from sspcm_kedro.seeds import Stream, stream_seed


def pseudo_labels(
    checkpoint: State,
    unlabeled: Instances,
    skeleton: Skeleton,
    view: ViewConfig,
    network: NetworkConfig,
    machine: MachineConfig,
) -> dict[str, Tensor]:
    """What both teachers, as the last stage left them, see in every unlabeled person.

    Returns:
        ids (n), keypoints (2, n, k, 2) in canonical input pixels, scores (2, n, k); flip-averaged.
        The scores of a union's channels that no label teaches are 0: what they show is noise.
    """
    networks = networks_of(checkpoint, network, skeleton.size, stride=view.stride)
    crops = crops_of(unlabeled, view, machine)
    seen = [
        predict(
            networks[name].to(machine.pick()), crops, skeleton, view.codec, flip_test=True,
            device=machine.pick(), title=f"pseudo-labels, {name}",
        )
        for name in ("teacher_a", "teacher_b")
    ]  # fmt: skip
    keypoints, scores = (torch.stack(parts) for parts in zip(*seen, strict=True))
    untrained = [channel for channel in range(skeleton.size) if channel not in skeleton.trained]
    scores[..., untrained] = 0
    return {"ids": torch.tensor(crops.instances.ids), "keypoints": keypoints, "scores": scores}


def correction(
    now: dict[str, Tensor], earlier: dict[str, Tensor], view: ViewConfig, method: SSPCMConfig
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Of the four pairs of predictions, per keypoint the one that agrees best; and a report."""
    corrected = correct(
        (now["keypoints"], earlier["keypoints"]),
        (now["scores"], earlier["scores"]),
        view.input_hw,
        min_score=method.min_score,
        max_inconsistency=method.max_inconsistency,
    )
    kept, inconsistency = corrected["kept"].bool(), corrected["inconsistency"]
    shares = torch.bincount(corrected["pair"].flatten(), minlength=4) / corrected["pair"].numel()
    report = {
        "kept": kept.float().mean().item(),
        "kept_per_keypoint": kept.float().mean(dim=0).tolist(),
        "pair_shares": dict(zip(("now_now", "earlier_now", "now_earlier", "earlier_earlier"),
                                shares.tolist(), strict=True)),
        "inconsistency_quantiles": {
            str(q): torch.quantile(inconsistency.flatten(), q).item() for q in (0.1, 0.5, 0.9)
        },
    }  # fmt: skip
    return {"ids": now["ids"], **corrected}, report


def cut_occlude(
    corrected: dict[str, Tensor],
    unlabeled: Instances,
    skeleton: Skeleton,
    view: ViewConfig,
    method: SSPCMConfig,
    machine: MachineConfig,
    seed: int,
) -> tuple[dict[str, Tensor], Figure]:
    """The bank of limbs worth pasting, all of reliable keypoints; and a sheet of samples."""
    bank = occluder_bank(corrected["keypoints"], corrected["kept"].bool(), view.input_hw)
    rows = evenly_spaced(len(unlabeled), 10)
    shown = crops_of(unlabeled.take(rows), view, machine)
    rng = Generator().manual_seed(stream_seed(seed, Stream.OCCLUSION_SHEET))
    every, cpu = torch.arange(len(rows)), torch.device("cpu")
    images = plain_view(shown, every, cpu)
    keypoints, kept = corrected["keypoints"][rows], corrected["kept"][rows]
    donors = Donors(images, keypoints)
    if len(bank):
        chosen = bank[torch.randint(len(bank), (len(rows),), generator=rng)]
        donor_crops = crops_of(unlabeled.take(chosen[:, 0].long().numpy()), view, machine)
        pixels = plain_view(donor_crops, every, cpu)
        donors = Donors(pixels, chosen[:, None, 1:])
    occluded = method.occlude.occlude()(images, keypoints, kept, donors, rng)
    limbs = skeleton.limbs
    sheet = occlusion_sheet(to_uint8(images), to_uint8(occluded), keypoints.numpy(), limbs)
    return {"ids": corrected["ids"], "occluders": bank}, sheet


def train_round(
    previous: State,
    resume: State | None,
    labeled: Instances,
    unlabeled: Instances,
    validation: Instances,
    skeleton: Skeleton,
    predictions: dict[str, Tensor],
    occluders: dict[str, Tensor],
    seed: int,
    view: ViewConfig,
    network: NetworkConfig,
    method: SSPCMConfig,
    training: TrainingConfig,
    monitor: MonitorConfig,
    machine: MachineConfig,
) -> Iterator[dict[str, Any]]:
    """Yield checkpoint and history after each epoch of SSPCM, from where the last stage ended."""
    done, rest = divmod(previous["epoch"] - training.warmup_epochs, training.round_epochs)
    if rest or done < 0:
        raise BadInput(
            "checkpoint of the stage before this round",
            f"must stand at the end of its stage, found it after epoch {previous['epoch']}",
            "Run that stage to its end first (the same command goes on with it)",
        )
    number = done + 1
    maker = network_maker(network, skeleton.size, seed, stride=view.stride)
    learner = Learner(MethodConfig(method), maker, view.codec, training, machine.pick())
    learner.restore(previous)
    learner.history = []
    pseudo = PseudoLabels(predictions["keypoints"], predictions["scores"], occluders["occluders"])
    batches = make_batches(
        labeled, unlabeled, pseudo, skeleton, view=view, training=training, machine=machine,
        seed=seed,
    )  # fmt: skip
    yield from train(
        learner,
        batches.epoch,
        make_monitor(validation, skeleton, view, monitor, machine),
        stage=f"round_{number}",
        span=training.span(number),
        training=training,
        seed=seed,
        fingerprint=fingerprint(
            number,
            previous["fingerprint"],
            people_content(unlabeled),
            *pseudo.to_bytes(),
            code_digests("rounds"),
        ),
        resume=resume,
    )
