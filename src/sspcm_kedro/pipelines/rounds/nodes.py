"""The four nodes of a round: a period of training whose every product can be looked at."""

import logging
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Generator

from sspcm_kedro.augment.occlude import Donors
from sspcm_kedro.data.held_out import held_out_rows
from sspcm_kedro.data.instances import Instances, evenly_spaced
from sspcm_kedro.data.loader import PseudoLabels
from sspcm_kedro.data.stored_crops import StoredCrops
from sspcm_kedro.data.views import ViewConfig, crops_of, plain_view
from sspcm_kedro.data.whose import check_people, check_unit, whose
from sspcm_kedro.engine.calibration import calibrate
from sspcm_kedro.engine.correction import PAIRS, correct, occluder_bank
from sspcm_kedro.engine.fingerprint import code_digests, fingerprint
from sspcm_kedro.engine.learner import State, networks_of
from sspcm_kedro.engine.optimizer import TrainingConfig
from sspcm_kedro.engine.predict import predict, predict_views
from sspcm_kedro.engine.record import Stage, check_network, stamp
from sspcm_kedro.engine.stage import MonitorConfig, People, StageSettings, train_stage
from sspcm_kedro.errors import BadInput
from sspcm_kedro.figures.pixels import to_uint8
from sspcm_kedro.figures.sheets import occlusion_sheet
from sspcm_kedro.machine import MachineConfig
from sspcm_kedro.methods import MethodConfig
from sspcm_kedro.nets import NetworkConfig
from sspcm_kedro.pose.skeleton import Skeleton
from sspcm_kedro.seeds import Seed, Stream, stream_seed

logger = logging.getLogger(__name__)
Rows = dict[str, Any]
"""Tensors by name, most of them with a row an unlabeled person; and texts. ``ids`` (n) and ``unit``
say whose they are, and ``checkpoint`` which one made them."""

LOOKED: tuple[str, ...] = ("keypoints", "scores", "spread")
"""What a look at people gives; the last only where they are seen in several views."""
HELD_OUT = "held_out."
"""Before the names of rows that are of the held-out labeled people."""

FEWEST_MEASURED = 100
"""Keypoints of held-out people; of fewer, probabilities are rough."""

REMEDY = "Make them again: kedro run --pipelines rounds (what is trained already stays)"


def pseudo_labels(
    checkpoint: State,
    labeled: Instances,
    unlabeled: Instances,
    skeleton: Skeleton,
    view: ViewConfig,
    network: NetworkConfig,
    method: MethodConfig,
    machine: MachineConfig,
    seed: Seed,
    resume: Rows | None = None,
    crop_cache: StoredCrops | None = None,
) -> Rows:
    """Predictions of the method's labelers, as the last stage left them, for the unlabeled people.

    Stored ones (``resume``) are kept where the same checkpoint, people, settings and code made
    them, so that a run that is started again does not look at everybody again.

    Returns:
        keypoints (t, n, k, 2) in canonical input pixels, scores (t, n, k) of t labelers; averaged
        over the method's views, and then with ``spread`` (t, n, k), or else with the mirrored view
        if training mirrors. Scores of a union's channels that no label teaches are 0: they are
        noise. A method that holds labeled people out has the same of them, named ``held_out.*``.

    Raises:
        BadInput: the people are not of this skeleton, or the checkpoint is of another network, view
            or skeleton.
    """
    check_unit(skeleton.to_dict(), labeled=labeled, unlabeled=unlabeled)
    check_network(checkpoint, skeleton, view, network)
    rules, device = method.label_rules(), machine.pick()
    held_out = labeled.take(held_out_rows(len(labeled), rules.held_out, seed))
    mark = {"checkpoint": stamp(checkpoint), "unit": unlabeled.unit, "made_by": fingerprint(
        unlabeled.ids.tobytes(), held_out.ids.tobytes(), view.model_dump(), rules.views,
        skeleton.to_dict(), None if crop_cache is None else crop_cache.kind, code_digests("rounds"),
    )}  # fmt: skip
    if resume is not None and mark.items() <= resume.items():
        logger.info("The stored pseudo-labels are of this checkpoint and these people: kept")
        return resume
    networks = networks_of(checkpoint, network, skeleton.size, stride=view.stride)
    labelers = {name: networks[name].to(device) for name in checkpoint["labelers"]}
    untrained = [channel for channel in range(skeleton.size) if channel not in skeleton.trained]

    def look(people: Instances, what: str) -> Rows:
        crops, parts = crops_of(people, view, machine, crop_cache), []
        for name, net in labelers.items():
            title = f"{what}, {name}"
            if rules.views is None:
                parts.append(predict(net, crops, skeleton, view.codec, flip_test=view.mirrors,
                                     device=device, title=title))  # fmt: skip
            else:
                parts.append(predict_views(net, crops, skeleton, view.codec, rules.views,
                                           mirrored=view.mirrors, device=device,
                                           title=title))  # fmt: skip
        found = dict(zip(LOOKED, (torch.stack(p) for p in zip(*parts, strict=True)), strict=False))
        found["scores"][..., untrained] = 0
        return found

    stored = {**whose(unlabeled), **look(unlabeled, "pseudo-labels")}
    if len(held_out):
        own = {"ids": whose(held_out)["ids"], **look(held_out, "held-out people")}
        stored |= {f"{HELD_OUT}{name}": rows for name, rows in own.items()}
    return {**stored, **mark}


def correction(
    now: Rows,
    earlier: Rows,
    labeled: Instances,
    unlabeled: Instances,
    skeleton: Skeleton,
    view: ViewConfig,
    method: MethodConfig,
) -> tuple[Rows, dict[str, Any]]:
    """Of the pairs of predictions, per keypoint the one that agrees best; and a report.

    Where labeled people were held out, each label has a ``probability`` of being right, and the
    report says under ``calibration`` how true probabilities are, each by a model that has not seen
    its person. The report is of the channels that some label teaches; ``kept_per_keypoint`` names
    them.

    Raises:
        BadInput: the predictions are not of the unlabeled people, or of the held-out people no
            keypoint's truth is known.
    """
    check_rows(
        unlabeled, {"pseudo-labels of this round": now, "those of the round before": earlier}
    )
    rules, pairs = method.label_rules(), PAIRS[len(now["keypoints"])]

    def agree(prefix: str = "") -> dict[str, torch.Tensor]:
        keypoints, scores, spread = (
            (now[prefix + key], earlier[prefix + key]) if prefix + key in now else None
            for key in LOOKED
        )
        assert keypoints is not None and scores is not None
        return correct(
            keypoints, scores, view.input_hw, min_score=rules.min_score,
            max_inconsistency=rules.max_inconsistency, spread=spread,
        )  # fmt: skip

    corrected, taught = agree(), list(skeleton.trained)
    measured = {}
    if rules.held_out:
        people = labeled.take(np.isin(labeled.ids, now[f"{HELD_OUT}ids"].numpy()))
        calibration, measured["calibration"] = calibrate(
            agree(HELD_OUT), people, skeleton, view.frame, rules.tolerance
        )
        count = measured["calibration"]["labels"]
        if count < FEWEST_MEASURED:
            logger.warning(
                "How likely pseudo-labels are right is measured on %d keypoints of %d held-out "
                "people: read it as rough (fewer than %d keypoints)", count, len(people),
                FEWEST_MEASURED,
            )  # fmt: skip
        likely = torch.from_numpy(calibration.of(corrected)).float()
        likely *= torch.isin(torch.arange(skeleton.size), torch.tensor(taught))
        kept = (likely >= rules.min_probability).to(torch.uint8)
        corrected |= {"probability": likely, "kept": kept}
    kept, inconsistency, pair = (
        corrected[key][:, taught] for key in ("kept", "inconsistency", "pair")
    )
    shares = torch.bincount(pair.flatten(), minlength=len(pairs)) / pair.numel()
    names = [skeleton.names[channel] for channel in taught]
    report = {
        **measured,
        "kept": kept.float().mean().item(),
        "kept_per_keypoint": dict(zip(names, kept.float().mean(dim=0).tolist(), strict=True)),
        "pair_shares": dict(zip(pairs, shares.tolist(), strict=True)),
        "inconsistency_quantiles": {
            str(q): torch.quantile(inconsistency.flatten(), q).item() for q in (0.1, 0.5, 0.9)
        },
    }
    return {**said(now), **corrected}, report


def cut_occlude(
    corrected: Rows,
    unlabeled: Instances,
    skeleton: Skeleton,
    view: ViewConfig,
    method: MethodConfig,
    machine: MachineConfig,
    seed: Seed,
) -> tuple[Rows, Figure]:
    """The bank of limbs worth pasting, all of reliable keypoints; and a sheet of samples.

    Raises:
        BadInput: the corrected labels are not of the unlabeled people.
    """
    check_rows(unlabeled, {"corrected labels of this round": corrected})
    bank = occluder_bank(corrected["keypoints"], corrected["kept"].bool(), view.input_hw)
    rows = evenly_spaced(len(unlabeled), 10)
    shown = crops_of(unlabeled.take(rows), view, machine)
    rng = Generator().manual_seed(stream_seed(seed, Stream.OCCLUSION_SHEET))
    every, cpu = torch.arange(len(rows)), torch.device("cpu")
    images = plain_view(shown[every], view.input_hw, cpu)
    keypoints, kept = corrected["keypoints"][rows], corrected["kept"][rows].float()
    rules, donors = method.label_rules(), Donors(images, keypoints, kept)
    if rules.donors == "bank" and len(bank):
        chosen = bank[torch.randint(len(bank), (len(rows),), generator=rng)]
        crops = crops_of(unlabeled.take(chosen[:, 0].long().numpy()), view, machine)
        donors = Donors(plain_view(crops[every], view.input_hw, cpu), chosen[:, None, 1:])
    occluded = rules.occlude(images, keypoints, kept, donors, rng)
    before, after = to_uint8(images), to_uint8(occluded)
    aimed = keypoints[:, list(skeleton.evaluated_channels)].numpy()
    sheet = occlusion_sheet(before, after, aimed, skeleton.evaluated.limbs)
    return {**said(corrected), "occluders": bank}, sheet


def round_trainer(number: int) -> Callable[..., Iterator[dict[str, Any]]]:
    """The training node of round ``number``, counted from 1."""

    def train_round(
        previous: State,
        resume: State | None,
        labeled: Instances,
        unlabeled: Instances,
        validation: Instances,
        skeleton: Skeleton,
        predictions: Rows,
        corrected: Rows,
        occluders: Rows,
        seed: Seed,
        view: ViewConfig,
        network: NetworkConfig,
        method: MethodConfig,
        training: TrainingConfig,
        monitor: MonitorConfig,
        machine: MachineConfig,
        crop_cache: StoredCrops | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Yield checkpoint and history every few minutes, from where the last stage ended.

        Raises:
            BadInput: ``previous`` is not the end of the stage before, of these settings; or what is
                stored is not of the unlabeled people, or not made with that checkpoint.
        """
        made = {
            "pseudo-labels of this round": predictions, "its corrected labels": corrected,
            "its occluders": occluders,
        }  # fmt: skip
        check_rows(unlabeled, made, checkpoint=stamp(previous))
        stored = (predictions["ids"], predictions["keypoints"], predictions["scores"])
        yield from train_stage(
            Stage.numbered(number),
            People(labeled, unlabeled, validation, skeleton, crop_cache),
            StageSettings(seed, view, network, method, training, monitor, machine),
            resume=resume,
            code=code_digests("rounds"),
            previous=previous,
            pseudo=PseudoLabels(
                *stored, occluders["occluders"], corrected["keypoints"], confidence(corrected)
            ),
        )

    return train_round


def confidence(corrected: Rows) -> torch.Tensor:
    """How likely each corrected label is right; where nobody was held out to measure that on, its
    score, and 0 of a label that is not kept."""
    if "probability" in corrected:
        return corrected["probability"]
    return corrected["score"] * corrected["kept"]


def said(rows: Rows) -> Rows:
    """What rows say of where they come from, for what is made of them."""
    return {name: rows[name] for name in ("ids", "unit", "checkpoint") if name in rows}


def check_rows(people: Instances, rows: dict[str, Rows], checkpoint: str | None = None) -> None:
    """Refuse rows, given by what an error calls them, that are of other people or another training.

    Args:
        people: whose they have to be.
        rows: predictions, corrected labels or occluders.
        checkpoint: the ``stamp`` of the one that has to have made them; None asks for none.

    Raises:
        BadInput: they are not.
    """
    for where, stored in rows.items():
        check_people(stored, people, where, REMEDY)
        made = stored.get("checkpoint", "a checkpoint that left no mark")
        if checkpoint is not None and made != checkpoint:
            rule = f"must be made with the checkpoint that the round starts from ({checkpoint}), "
            raise BadInput(where, f"{rule}and are made with {made}", REMEDY)
