"""What a stage learns from, as a nested record: kept in its checkpoint, compared key by key."""

import json
import logging
from dataclasses import dataclass
from typing import Any

from sspcm_kedro.data.views import ViewConfig
from sspcm_kedro.engine.fingerprint import PACKAGE, fingerprint
from sspcm_kedro.engine.optimizer import TrainingConfig
from sspcm_kedro.errors import BadInput
from sspcm_kedro.nets import NetworkConfig
from sspcm_kedro.pose.geometry import BOX_PADDING
from sspcm_kedro.pose.skeleton import Skeleton

Record = dict[str, Any]
"""Nested tables of numbers, text and lists, as JSON has them."""

USUAL: Record = {
    "view": {"padding": BOX_PADDING}, "training": {"precision": "fp32", "shards": 1},
}  # fmt: skip
"""Settings that a record leaves out where they have these values, which they had in every training
before they could be set: its record and fingerprint stay what they were."""

SHOWN = 5
"""Differences that a message names; it counts the others."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Stage:
    """A part of the training; its place among them comes from the pipeline.

    Attributes:
        name: in the catalog, the history and the log; a pipeline is called like it.
        number: 0 of the warm-up, n of round n; None of the comparison, which is a whole training.
    """

    name: str
    number: int | None

    @classmethod
    def numbered(cls, number: int) -> "Stage":
        """The warm-up (0), or round ``number``."""
        return cls(f"round_{number}" if number else "warmup", number)

    @property
    def before(self) -> "Stage":
        """The stage at whose end this one starts; a round has one."""
        assert self.number
        return Stage.numbered(self.number - 1)

    def span(self, training: TrainingConfig) -> range:
        """Its epochs, of the whole training."""
        return range(training.epochs) if self.number is None else training.span(self.number)

    def read_training(self, training: TrainingConfig, *, labels_only: bool) -> Record:
        """What it reads of a training's settings: not how many rounds follow, but at which rates
        its own steps learn, by the step from which each holds; and how large batches of both kinds
        of people are where it has such."""
        span, mixed = self.span(training), None if labels_only else training.round_batch
        schedule, ends = training.schedule(), training.last_round_epochs
        rates = schedule.rates(range(span.start * training.steps, span.stop * training.steps))
        return {
            "version": training.version,
            "batch": training.batch,
            "shards": training.shards,
            "steps": training.steps,
            "warmup_epochs": training.warmup_epochs,
            **({} if self.number == 0 else {"round_epochs": training.round_epochs}),
            **({"last_round_epochs": ends} if ends and self.is_last(training) else {}),
            **({"round_batch": mixed.model_dump()} if mixed else {}),
            **({"rounds": training.rounds} if self.number is None else {}),
            "learning_rate": {f"from_step_{step}": rate for step, rate in rates.items()},
            **({"linear_start": training.linear_start} if self._rises(training) else {}),
            "backbone_rate": training.backbone_rate,
            "average_decay": training.average_decay,
            "precision": training.precision,
        }

    def is_last(self, training: TrainingConfig) -> bool:
        """Whether the training ends with it."""
        return self.span(training).stop == training.epochs

    def _rises(self, training: TrainingConfig) -> bool:
        """Whether the linear start of a training reaches into this stage."""
        return self.span(training).start * training.steps < training.linear_start


COMPARISON = Stage("comparison", None)


def as_record(values: dict[str, Any]) -> Record:
    """The values as a checkpoint keeps them: tuples become lists. Those that are None are left
    out at the top, since that stage does not read them, and settings that are as ``USUAL``."""
    kept = {key: value for key, value in values.items() if value is not None}
    record = json.loads(json.dumps(kept, default=str))
    for table in USUAL.keys() & record:
        for key, usual in USUAL[table].items():
            if record[table].get(key) == usual:
                del record[table][key]
    return record


def in_full(record: Record) -> Record:
    """A record, or settings of a checkpoint, with those of ``USUAL`` that it leaves out."""
    full = {table: {**USUAL[table], **record[table]} for table in USUAL.keys() & record}
    return {**record, **full}


def differences(was: Record, now: Record, *, without: tuple[str, ...] = ()) -> list[str]:
    """A text for each value that differs: ``method.min_score was 0.3, is 0.1``.

    Args:
        was: one record.
        now: another.
        without: keys of the top that are not compared.
    """
    before, after = (
        flat({k: v for k, v in in_full(r).items() if k not in without}) for r in (was, now)
    )
    return [
        f"{key} was {_shown(before, key)}, is {_shown(after, key)}"
        for key in {**before, **after}
        if key not in before or key not in after or before[key] != after[key]
    ]


def summary(found: list[str]) -> str:
    """Differences as one line; the first few, and how many more there are."""
    more = len(found) - SHOWN
    return "; ".join(found[:SHOWN]) + (f"; and {more} more" if more > 0 else "")


def differences_of(state: dict[str, Any], now: Record, *, without: tuple[str, ...] = ()) -> str:
    """In what a checkpoint's record differs from one, in one line; empty if in nothing."""
    if "record" not in state:
        return "an older version of this project made it, and kept no record of what it learned"
    return summary(differences(state["record"], now, without=without))


def check_previous(previous: dict[str, Any], stage: Stage, expected: Record, end: int) -> None:
    """Refuse a checkpoint that is not the end of a stage of these settings and people.

    Args:
        previous: the checkpoint.
        stage: whose it has to be.
        expected: what that stage's record is by the settings and people of today; not compared are
            the pseudo-labels and the stage before of which it was made.
        end: the number of epochs after which the stage ends.

    Raises:
        BadInput: names the settings that differ, with both values.
    """
    where = f"checkpoint of {stage.name}, where the next stage starts"
    found = differences_of(previous, expected, without=("pseudo_labels", "previous"))
    if found:
        rule = f"must be of the settings and people of this run: {found}"
        remedy = "Give the settings of that training (--env, --params), or train it again with "
        raise BadInput(where, rule, f"{remedy}these: kedro run --pipelines {stage.name}")
    if previous["epoch"] != end or previous.get("part"):
        rule = f"must stand at the end of its stage, found it after {place(previous)}"
        remedy = "Run that stage to its end first (the same command goes on with it): "
        raise BadInput(where, rule, f"{remedy}kedro run --pipelines {stage.name}")


def check_network(
    state: dict[str, Any], skeleton: Skeleton, view: ViewConfig, network: NetworkConfig
) -> None:
    """Refuse to predict with a checkpoint that was trained with another network, view or skeleton.

    What acts on training or on decoding alone may differ: ``view.color``, ``view.refinement``,
    ``view.blur``, and what networks started from.

    Raises:
        BadInput: names the settings that differ, with both values.
    """
    unread = {"refinement", "blur", "color"}
    now = as_record({
        "network": network.bare().model_dump(mode="json"),
        "view": view.model_dump(mode="json", exclude=unread),
        "skeleton": skeleton.to_dict(),
    })  # fmt: skip
    was = dict(state.get("record", {}))
    if was:
        bare = NetworkConfig.model_validate(was["network"]).bare()
        kept = {k: v for k, v in was["view"].items() if k not in unread}
        was = {**was, "network": bare.model_dump(mode="json"), "view": kept}
        state = {**state, "record": {key: was[key] for key in now}}
    found = differences_of(state, now)
    if found:
        rule = f"must be of the network, view and keypoints of this run: {found}"
        remedy = "Give the settings of that training (--env, --params), or train again"
        raise BadInput(f"checkpoint of {was.get('stage', 'a stage')}", rule, remedy)


def origin(record: Record, code: dict[str, str], unit: str) -> dict[str, Any]:
    """What a checkpoint keeps of what it came from.

    Args:
        record: what decides what is learned; its digest is the fingerprint.
        code: digests of the source files that decide it too.
        unit: the ingestion of the people.
    """
    return {"record": record, "fingerprint": fingerprint(record), "code": code, "unit": unit}


def is_same(state: dict[str, Any] | None, comes_from: dict[str, Any]) -> bool:
    """Whether there is a checkpoint of the training that ``origin`` says, to be gone on from."""
    if state is None or "record" not in state:
        return False
    return state["fingerprint"] == comes_from["fingerprint"]


def stamp(state: dict[str, Any]) -> str:
    """Which training a checkpoint is of and where it stands, for what is made with it."""
    return f"{state['fingerprint']} after {place(state)}"


def place(state: dict[str, Any]) -> str:
    """Where a checkpoint stands: how many epochs are done, and of the next one how many steps."""
    part = state.get("part")
    return f"epoch {state['epoch']}" + (f" and {part['steps']} steps" if part else "")


def warn_of_other_code(what: str, state: dict[str, Any], code: dict[str, str]) -> None:
    """Warn where files have changed since the training of a checkpoint began; it stays valid.

    New files are no change: they act through an old one that imports them. Neither are those that
    this stage does not have, of the pipeline of the stage before; files that are gone are.
    """
    changed = sorted(
        name
        for name, digest in state["code"].items()
        if (code[name] != digest if name in code else not (PACKAGE / name).is_file())
    )
    if changed:
        logger.warning(
            "%s from a checkpoint that other code trained: %s changed since. Nothing is trained "
            "again for that; raise training.version to train again",
            what, summary(changed),
        )  # fmt: skip


def flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """The values of nested tables by their dotted names; lists stay whole."""
    if not isinstance(value, dict):
        return {prefix: value}
    parts = (flat(v, f"{prefix}.{k}" if prefix else str(k)) for k, v in value.items())
    return {name: leaf for part in parts for name, leaf in part.items()}


def _shown(values: dict[str, Any], key: str) -> str:
    if key not in values:
        return "absent"
    text = json.dumps(values[key])
    return text if len(text) <= 60 else f"{text[:57]}..."
