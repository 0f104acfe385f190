"""From a source to the tables of people that training and evaluation read."""

import logging
from dataclasses import fields
from pathlib import Path

import numpy as np
import pandas as pd

from sspcm_kedro.data.instances import Instances
from sspcm_kedro.data.source import Source
from sspcm_kedro.data.split import SplitConfig, split
from sspcm_kedro.data.stored_crops import CropsToStore
from sspcm_kedro.data.views import ViewConfig
from sspcm_kedro.data.whose import as_unit
from sspcm_kedro.errors import BadInput
from sspcm_kedro.machine import MachineConfig
from sspcm_kedro.pose.skeleton import Skeleton
from sspcm_kedro.seeds import Seed
from sspcm_kedro.sources import DrawnSource, SourceConfig
from sspcm_kedro.sources.annotation_import import AnnotationImportConfig, merge
from sspcm_kedro.sources.checks import check_images
from sspcm_kedro.sources.drawn_folder import DrawnPeople
from sspcm_kedro.sources.video_frames import VideoFrames

logger = logging.getLogger(__name__)

PARTS = tuple(field.name for field in fields(Source) if field.name != "skeleton")


def draw_people(source: SourceConfig, seed: Seed) -> DrawnPeople:
    """What to draw; the catalog entry that saves it does the drawing."""
    if not isinstance(source.root, DrawnSource):
        rule = f"node 'draw' needs a source of kind 'drawn', got '{source.root.kind}'"
        raise BadInput("parameter source", rule, "Build the pipeline with drawn=False")
    return source.root.people(seed)


def choose_frames(source: SourceConfig) -> VideoFrames:
    """Of which videos frames are to be chosen; the catalog entry that saves it chooses them."""
    return source.root.video_frames()


def read_people(
    source: SourceConfig, made_folder: Path | None = None, known: pd.DataFrame | None = None
) -> tuple[dict[str, Instances], Skeleton, pd.DataFrame]:
    """The people of a source by part, their skeleton, and the ledger of their images; those that
    ``known``, the ledger of before, has are not decoded again."""
    read = source.root.read(made_folder)
    parts = {name: getattr(read, name) for name in PARTS}
    there = {name: people for name, people in parts.items() if people is not None}
    verified, ledger = check_images(Instances.join(list(there.values())), known)
    ends = np.cumsum([len(people) for people in there.values()])
    parts = np.split(np.arange(len(verified)), ends[:-1])
    there = {name: verified.take(rows) for name, rows in zip(there, parts, strict=True)}
    return there, read.skeleton, ledger


def crops_to_store(
    labeled: Instances, unlabeled: Instances, view: ViewConfig, machine: MachineConfig
) -> CropsToStore:
    """The crops that training reads; the catalog entry that saves them cuts them."""
    assert machine.crop_cache != "none"
    people = Instances.join([labeled, unlabeled])
    return CropsToStore(people, view.frame, view.border, machine.crop_cache, machine.workers)


def split_people(
    instances: dict[str, Instances],
    skeleton: Skeleton,
    config: SplitConfig,
    annotation_import: AnnotationImportConfig,
    seed: Seed,
) -> tuple[Instances, Instances, Instances, Instances, Instances]:
    """The labeled, unlabeled and validation people, the hidden truth, the ignored.

    People whom somebody has labeled since (``annotation_import``) are among the labeled ones. The
    tables are marked as one unit: a run that is killed between two of them leaves tables that no
    later one uses together.
    """
    chosen = split(Source(skeleton, **instances), config, seed)
    people = merge(chosen, annotation_import, skeleton)
    more = len(people.labeled) - len(chosen.labeled)
    if more:
        logger.info("%d imported people join %d labeled ones", more, len(chosen.labeled))
    labeled, unlabeled, validation, hidden_truth, ignored = as_unit(
        [people.labeled, people.unlabeled, people.validation, people.hidden_truth, people.ignored],
        skeleton.to_dict(),
    )
    return labeled, unlabeled, validation, hidden_truth, ignored
