"""Which people are labeled, unlabeled and held out."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from sspcm_kedro.config import Count, Settings
from sspcm_kedro.data.instances import Instances
from sspcm_kedro.data.source import Source
from sspcm_kedro.errors import BadInput


class SplitConfig(Settings):
    """How many people each part has.

    Attributes:
        labeled: people whose labels are used; "all" uses those of every annotated person.
        unlabeled: people whose labels are not, at most all that remain; all by default.
        validation: people to validate on. By default the source's own validation part; a source
            without one must say how many to hold out, and gives a few more when the last image
            has several.
        order: "first" labels the first people of the file (the published protocol) and holds out
            its last images; "seeded" does the same after shuffling the images.
        unlabeled_includes_labeled: the released protocol, which also learns from the labeled
            people as if they were not.
    """

    labeled: Count | Literal["all"]
    unlabeled: Count | None = None
    validation: Count | None = None
    order: Literal["first", "seeded"] = "first"
    unlabeled_includes_labeled: bool = False


@dataclass(frozen=True)
class Split:
    """The people of one experiment.

    Attributes:
        labeled: people with labels.
        unlabeled: people without any (visibility 0).
        validation: people with labels, on images of no other part.
        hidden_truth: ``unlabeled``, same order, with labels where known. Never trained on: those of
            labeled people who are among them are left out.
        ignored: on the images of ``validation``, those whom evaluation ignores. Maybe nobody.
    """

    labeled: Instances
    unlabeled: Instances
    validation: Instances
    hidden_truth: Instances
    ignored: Instances


def split(source: Source, config: SplitConfig, seed: int) -> Split:
    """The people of a source, split. More labels mean the same people and some more."""
    rows = _image_order(source.annotated, config.order, seed)
    count = len(rows) if config.labeled == "all" else config.labeled
    held = (config.validation or 0) if source.validation is None else 0
    beside = f" beside the {held} to validate on" if held else ""
    _refuse_fewer("labeled", count, max(0, len(rows) - held), f"annotated people{beside}")
    labeled, rest = rows[:count], rows[count:]
    if source.validation is None:
        held_out = _last_images(source.annotated, rows, count, config.validation)
        rest = rest[~np.isin(rest, held_out)]
        validation = source.annotated.take(held_out)
    else:
        validation = _some("validation", source.validation, config.validation, config.order, seed)

    again = labeled if config.unlabeled_includes_labeled else labeled[:0]
    pool = np.concatenate([again, rest])
    learned = slice(len(again))  # their labels measure nothing
    truth = [source.annotated.take(pool).without_labels(learned)] if len(pool) else []
    if source.unlabeled is not None:
        known = source.hidden_truth or source.unlabeled
        apart = ~pd.Series(known.paths).isin(validation.paths).to_numpy(bool)
        further = known.take(apart)
        if config.unlabeled is not None:
            room = max(0, min(config.unlabeled - len(pool), len(further)))
            further = _some("unlabeled", further, room, config.order, seed)
        truth += [further] if len(further) else []
    if not truth:
        rule = "at least one person must remain unlabeled, and none does"
        remedy = "Ask for fewer labeled or validation people, give images without labels "
        remedy += "(source.unlabeled), or set split.unlabeled_includes_labeled=true"
        raise BadInput("split", rule, remedy)
    hidden_truth = _some("unlabeled", Instances.join(truth), config.unlabeled, "first", seed)
    ignored = validation.take(slice(0)).without_labels()
    if source.ignored is not None:
        ignored = source.ignored.take(np.isin(source.ignored.image_ids, validation.image_ids))
    return Split(
        labeled=source.annotated.take(labeled),
        unlabeled=hidden_truth.without_labels(),
        validation=validation,
        hidden_truth=hidden_truth,
        ignored=ignored,
    )


def _image_order(people: Instances, order: str, seed: int) -> np.ndarray:
    """Rows (n) in file order, or image by image in seeded order."""
    if order == "first":
        return np.arange(len(people))
    image = _image_numbers(people)
    place = np.random.default_rng(seed).permutation(image.max() + 1)
    return np.argsort(place[image], kind="stable")


def _image_numbers(people: Instances) -> np.ndarray:
    """(n) the number of each person's image file, whatever its id."""
    return pd.factorize(people.paths, sort=True)[0]


def _last_images(
    people: Instances, rows: np.ndarray, labeled: int, count: int | None
) -> np.ndarray:
    """Rows of whole images, from the end, on which no labeled person is."""
    if count is None:
        rule = "the source has no validation part, so 'validation' must be a number, found none"
        raise BadInput("split", rule, "Say how many annotated people to hold out")
    image = _image_numbers(people)
    free = rows[~np.isin(image[rows], image[rows[:labeled]])]
    _refuse_fewer("validation", count, len(free), "people on unlabeled images")
    last = image[free[-count:]]
    return free[np.isin(image[free], last)]


def _some(name: str, people: Instances, count: int | None, order: str, seed: int) -> Instances:
    """So many people, by images in this order: the first of a file are often one video's."""
    if count is None or not len(people):
        return people
    _refuse_fewer(name, count, len(people), "people for it")
    return people.take(np.sort(_image_order(people, order, seed)[:count]))


def _refuse_fewer(name: str, wanted: int, there: int, what: str) -> None:
    if wanted > there:
        rule = f"{wanted} people were asked for, and the source has {there} {what}"
        remedy = f"Ask for at most {there}" if there else "Ask for fewer of the other part"
        raise BadInput(f"split, {name}", rule, f"{remedy}, or add people")
