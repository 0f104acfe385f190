"""What a run costs here: counted on shapes, and a few steps timed."""

import statistics
import time
from typing import Any

from sspcm_kedro.data.views import ViewConfig
from sspcm_kedro.engine.optimizer import TrainingConfig
from sspcm_kedro.machine import MachineConfig
from sspcm_kedro.methods import MethodConfig
from sspcm_kedro.nets import NetworkConfig
from sspcm_kedro.pipelines.plan.cost import blank_batch
from sspcm_kedro.pipelines.plan.nodes import PeopleFacts, PlanConfig, count_cost
from sspcm_kedro.pipelines.plan.probe import timed_step

BUDGET = 10.0
"""Seconds after which no further step is timed."""
MOST = 5
"""Steps that are timed at most, after one that is not."""


def hours_of_run(
    typed: dict[str, Any], keypoints: int, people: dict[str, int]
) -> tuple[float, float]:
    """Hours of a run, method and baseline, and seconds of a step of a round; all from noise.

    Reading of images and choosing of frames are not in it.

    Args:
        typed: the parameters that ``count_cost`` reads, but ``plan``.
        keypoints: how many.
        people: of each part.
    """
    facts = PlanConfig(tflops=1.0, keypoints=keypoints, people=PeopleFacts(**people))
    plan = count_cost(**typed, plan=facts)
    seconds = seconds_of_step(
        typed["method"], typed["network"], typed["view"], typed["training"], typed["machine"],
        keypoints,
    )  # fmt: skip
    flops = plan["method"]["step"]["rest"]["flops"]
    total = plan["method"]["flops"]["total"] + plan["comparison"]["flops"]["total"]
    return total / flops * seconds / 3600, seconds


def seconds_of_step(
    config: MethodConfig, network: NetworkConfig, view: ViewConfig, training: TrainingConfig,
    machine: MachineConfig, keypoints: int,
) -> float:  # fmt: skip
    """The median of a few steps of a round on noise, with the batch that it will have."""
    step = timed_step(config, network, keypoints, view, training, machine)
    labeled, unlabeled = training.sizes
    batch = blank_batch(
        labeled, keypoints, view.input_hw, view.codec, unlabeled=True, stored=True,
        mirrors=view.mirrors, others=unlabeled, device=machine.pick(),
    )  # fmt: skip
    seconds, began = [], time.perf_counter()
    while len(seconds) < MOST + 1 and (len(seconds) < 2 or time.perf_counter() - began < BUDGET):
        seconds.append(step(batch))
        if seconds[-1] > BUDGET:
            break
    return statistics.median(seconds[1:] or seconds)


def which_helps(labeled: int, unlabeled: int, environment: str) -> str:
    """One sentence: whether more labels or more unlabeled images would help, by their numbers."""
    ratio = unlabeled / labeled
    if not unlabeled:
        said = "No image without labels can be used: add videos or images (source.unlabeled) first"
    elif ratio < 5:
        said = f"Only {ratio:.1f} unlabeled images a label: more of them are the cheaper gain"
    elif labeled < 100:
        said = (f"{ratio:.0f} unlabeled images a label are plenty, and {labeled} labels are few: "
                "more labels should help most (pipeline annotation_queue)")  # fmt: skip
    else:
        said = (f"{labeled} labels and {ratio:.0f} unlabeled images each are enough of both to "
                "begin with")  # fmt: skip
    return f"{said}. That is a guess by numbers; make curve ENV={environment} measures it."
