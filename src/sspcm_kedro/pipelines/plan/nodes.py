"""From an environment's settings to what its run costs."""

from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from typing import Annotated, Any

import torch
from pydantic import Field
from rich.console import Console

from sspcm_kedro.config import Count, Settings
from sspcm_kedro.data.split import SplitConfig
from sspcm_kedro.data.stored_crops import stored_bytes
from sspcm_kedro.data.views import ViewConfig
from sspcm_kedro.engine.evaluate import EvaluationConfig
from sspcm_kedro.engine.optimizer import TrainingConfig
from sspcm_kedro.engine.stage import MonitorConfig
from sspcm_kedro.errors import BadInput
from sspcm_kedro.machine import MachineConfig
from sspcm_kedro.methods import ComparisonConfig, MethodConfig
from sspcm_kedro.methods.base import LabelRules, Method
from sspcm_kedro.nets import ROLES, NetworkConfig, OneNetwork, parameter_count
from sspcm_kedro.pipelines.plan.cost import (
    blank_batch,
    blank_method,
    checkpoint_bytes,
    hours,
    label_bytes,
    memory_of,
    prediction_flops,
    step_cost,
)
from sspcm_kedro.pipelines.plan.probe import measure
from sspcm_kedro.pipelines.plan.tables import plan_table
from sspcm_kedro.sources import SourceConfig
from sspcm_kedro.sources.project import ProjectSource

CPU_BATCH = 2
"""The fewer of both kinds of people in a step that is timed on a CPU: a whole batch could take
minutes."""


class PeopleFacts(Settings):
    """How many people the parts of an environment have, where ``split`` does not say."""

    labeled: Count | None = None
    unlabeled: Count | None = None
    validation: Count | None = None


class PlanConfig(Settings):
    """What is known about a run before its data are read.

    Attributes:
        tflops: what the device does, 10^12 FLOPs a second of whole steps, to plan for a device that
            is not here; null measures it, where there is a GPU.
        probe: measure also on a CPU.
        keypoints: keypoints; null takes those of the source's kind, for a COCO file COCO's 17.
        people: how many there are, by part; what is null stays unknown, and what depends on it.
        data_gb: sizes of the archives to download, by name; null, and none at all, are unknown.
    """

    tflops: float | None = Field(default=None, gt=0, le=10**6)
    probe: bool = False
    keypoints: int | None = Field(default=None, ge=1, le=1000)
    people: PeopleFacts = PeopleFacts()
    data_gb: dict[str, Annotated[float, Field(gt=0, le=10**9)] | None] = Field(default_factory=dict)


def count_cost(
    source: SourceConfig,
    split: SplitConfig,
    view: ViewConfig,
    network: NetworkConfig,
    method: MethodConfig,
    comparison: ComparisonConfig,
    training: TrainingConfig,
    evaluation: EvaluationConfig,
    monitor: MonitorConfig,
    machine: MachineConfig,
    plan: PlanConfig,
) -> dict[str, Any]:
    """Images, passes, FLOPs, steps, memory, disk and hours of method and comparison.

    A part that depends on an unknown number of people is None, and totals are without it.

    Raises:
        BadInput: a project names its own keypoints, and ``plan.keypoints`` does not say how many.
    """
    view.check(network)
    if plan.keypoints is None and isinstance(source.root, ProjectSource):
        rule = f"must be given for a source {source.root.kind}, which names its own keypoints"
        raise BadInput("plan.keypoints", rule, "Count them: --params plan.keypoints=N")
    keypoints = plan.keypoints or source.root.skeleton.size
    people = people_of(split, plan.people)
    # Equal networks are counted once: large ones take a while, even without numbers.
    chosen = {name: network.bare().of(name) for name in ROLES}
    counted = {config: _counted(config, keypoints, view) for config in set(chosen.values())}
    sizes = {name: counted[config] for name, config in chosen.items()}
    per_image = {name: flops for name, (_, flops) in sizes.items()}
    trainings: dict[str, dict[str, Any]] = {
        name: {"kind": config.kind} | _training(
            blank_method(
                config, network, keypoints, view.codec, average_decay=training.average_decay
            ),
            keypoints, view, training, monitor, evaluation, people, per_image,
            rules=config.label_rules() if name == "method" else None,
            whole=machine.compile in ("step", "graph"),
        )
        for name, config in (("method", method), ("comparison", comparison))
    }  # fmt: skip
    throughput = _throughput(plan, method, network, keypoints, view, training, machine)
    for entry in trainings.values():
        total, tflops = entry["flops"]["total"], throughput["tflops"]
        entry["hours_per_tflops"] = hours(total, 1)
        entry["hours"] = hours(total, tflops) if tflops else None
    return {
        "keypoints": keypoints,
        "input_hw": list(view.input_hw),
        "batch": training.batch,
        "parameters": {name: count for name, (count, _) in sizes.items()},
        "people": people,
        **trainings,
        "crop_cache": {
            "kind": machine.crop_cache,
            "bytes": _crop_bytes(machine, view, split, people),
        },
        "data_gb": {**plan.data_gb, "total": _total(plan.data_gb)},
        "throughput": throughput,
        "unknown": [f"plan.people.{part}" for part, count in people.items() if count is None],
    }


def show_plan(plan: dict[str, Any]) -> None:
    """Print it."""
    Console().print(plan_table(plan))


def people_of(split: SplitConfig, facts: PeopleFacts) -> dict[str, int | None]:
    """People of each part: those that ``split`` asks for, else those that are known of."""
    asked = {
        "labeled": None if split.labeled == "all" else split.labeled,
        "unlabeled": split.unlabeled,
        "validation": split.validation,
    }
    return {part: count or getattr(facts, part) for part, count in asked.items()}


def _training(
    learner: Method, keypoints: int, view: ViewConfig, training: TrainingConfig,
    monitor: MonitorConfig, evaluation: EvaluationConfig, people: Mapping[str, int | None],
    per_image: Mapping[str, int], *, rules: LabelRules | None, whole: bool,
) -> dict[str, Any]:  # fmt: skip
    """All about one training: with ``rules`` one in rounds, which labels before it learns;
    ``whole`` has one backward pass through all networks."""
    cost = partial(step_cost, learner, whole=whole)
    stored = rules is not None
    labeled, unlabeled = training.sizes
    sizes = (keypoints, view.input_hw, view.codec)
    labels = blank_batch(training.batch, *sizes, unlabeled=False, stored=False)
    first = last = later = finish = cost(labels)
    if learner.needs_unlabeled:
        mixed = blank_batch(labeled, *sizes, unlabeled=True, stored=stored, mirrors=view.mirrors,
                            others=unlabeled)  # fmt: skip
        later = cost(mixed)
        learner.begin(last=True)
        last, finish = cost(mixed), cost(labels)
    step = {"warmup": first, "rest": later}
    memory = memory_of(learner, (first, later, last), training.shards)
    ends = training.ends if stored else 0  # of the last stage, which may train other nets
    finishes = training.finish_epochs(learner.finish) if stored else 0
    epochs = {"warmup": training.warmup_epochs, "rest": training.epochs - training.warmup_epochs}
    steps = {stage: count * training.steps for stage, count in epochs.items()}
    inference = sum(per_image[net] for net in learner.networks)
    watched = sum(
        count * sum(per_image[net] for net in learner.learners(last=is_last))
        for is_last, count in ((False, training.epochs - ends), (True, ends))
    )
    per_network = min(monitor.people, people["validation"] or monitor.people)
    flops: dict[str, int | None] = {
        "warmup": steps["warmup"] * first.flops,
        "rest": (steps["rest"] - ends * training.steps) * later.flops
        + training.steps * ((ends - finishes) * last.flops + finishes * finish.flops),
        "monitor": watched * _views(monitor) * per_network,
        "evaluation": _known(inference * _views(evaluation), people["validation"]),
    }
    files: dict[str, int | None] = {"checkpoints": checkpoint_bytes(learner)}
    if rules:  # the labelers look at every unlabeled person, and at its mirror image if trained
        views = 2 if view.mirrors else 1
        if rules.views is not None:
            views = rules.views.count(mirrors=view.mirrors)
        labelers = sum(per_image[net] for net in learner.labelers)
        flops["pseudo_labels"] = _known(training.rounds * views * labelers, people["unlabeled"])
        files["checkpoints"] = (training.rounds + 1) * checkpoint_bytes(learner)
        several = rules.views is not None
        stores = label_bytes(1, keypoints, len(learner.labelers), views=several)
        for name, size in stores.items():
            files[name] = _known(training.rounds * size, people["unlabeled"])
    return {
        "networks": len(learner.networks),
        "steps": steps,
        "step": {stage: {**asdict(cost), "flops": cost.flops} for stage, cost in step.items()},
        "flops": {**flops, "total": _total(flops)},
        "memory": {**asdict(memory), "total": memory.total},
        "stored_bytes": {**files, "total": _total(files)},
    }


def _crop_bytes(
    machine: MachineConfig, view: ViewConfig, split: SplitConfig, people: Mapping[str, int | None]
) -> int | None:
    """What ``machine.crop_cache`` stores of the people that training reads, each once."""
    if machine.crop_cache == "none":
        return 0
    parts = ("unlabeled",) if split.unlabeled_includes_labeled else ("labeled", "unlabeled")
    counts = [people[part] for part in parts]
    each = stored_bytes(machine.crop_cache, view.frame, view.border)
    return None if None in counts else each * sum(count for count in counts if count)


def _counted(config: OneNetwork, keypoints: int, view: ViewConfig) -> tuple[int, int]:
    """A network's parameters, and the FLOPs of one image through it."""
    with torch.device("meta"):
        net = config.build(keypoints, stride=view.stride)
    return parameter_count(net), prediction_flops(net, view.input_hw)


def _views(config: EvaluationConfig) -> int:
    """Passes an image: itself, and its mirror image."""
    return 2 if config.flip_test else 1


def _known(each: int, people: int | None) -> int | None:
    return None if people is None else each * people


def _total(parts: Mapping[str, float | None]) -> float:
    return sum(part for part in parts.values() if part is not None)


def _throughput(
    plan: PlanConfig, method: MethodConfig, network: NetworkConfig, keypoints: int,
    view: ViewConfig, training: TrainingConfig, machine: MachineConfig,
) -> dict[str, Any]:  # fmt: skip
    """What is given, or measured on the machine's device, or nothing."""
    if plan.tflops is not None:
        return {"tflops": plan.tflops, "measured": False}
    device = machine.pick()
    if device.type == "cpu" and not plan.probe:
        return {"tflops": None, "measured": False}
    labeled, unlabeled = (size // training.shards for size in training.sizes)
    if device.type == "cpu":
        share = CPU_BATCH / min(labeled, unlabeled)
        labeled, unlabeled = round(share * labeled), round(share * unlabeled)
    try:
        measured = measure(
            method, network, keypoints, view, training, machine,
            labeled=labeled, unlabeled=unlabeled,
        )  # fmt: skip
    except torch.OutOfMemoryError as error:
        rule = f"a step must fit into the memory of {device}, and does not"
        remedy = "Lower it, or set plan.tflops to plan for another device"
        raise BadInput(f"training.batch = {training.batch}", rule, remedy) from error
    return {**asdict(measured), "measured": True}
