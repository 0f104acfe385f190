"""From a source to the tables of people that training and evaluation read."""

import logging
from pathlib import Path
from typing import Any

import pandas as pd

from sspcm_kedro.data.instances import Instances
from sspcm_kedro.data.source import Source
from sspcm_kedro.data.split import SplitConfig, split
from sspcm_kedro.errors import BadInput
from sspcm_kedro.pose.skeleton import Skeleton
from sspcm_kedro.sources import DrawnSource, SourceConfig
from sspcm_kedro.sources.annotation_import import AnnotationImportConfig, merge
from sspcm_kedro.sources.checks import verify_images
from sspcm_kedro.sources.drawn_folder import DrawnPeople

logger = logging.getLogger(__name__)

PARTS = ("annotated", "validation", "unlabeled", "hidden_truth", "test", "ignored")


def draw_people(source: SourceConfig, seed: int) -> DrawnPeople:
    """What to draw; the catalog entry that saves it does the drawing."""
    if not isinstance(source.root, DrawnSource):
        rule = f"node 'draw' needs a source of kind 'drawn', got '{source.root.kind}'"
        raise BadInput("parameter source", rule, "Build the pipeline with drawn=False")
    return source.root.people(seed)


def read_people(
    source: SourceConfig, drawn_folder: Path | None = None
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """All people in one table, told apart by the column ``part``, and their skeleton."""
    read = source.root.read(drawn_folder)
    parts = {name: getattr(read, name) for name in PARTS}
    tables = [
        people.to_frame().assign(part=name) for name, people in parts.items() if people is not None
    ]
    instances = pd.concat(tables, ignore_index=True)
    verify_images(Instances.from_frame(instances))
    return instances, read.skeleton.to_dict()


def split_people(
    instances: pd.DataFrame,
    skeleton: dict[str, Any],
    config: SplitConfig,
    annotation_import: AnnotationImportConfig,
    seed: int,
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Tables of the labeled, unlabeled and validation people, the hidden truth, the ignored.

    People whom somebody has labeled since (``returned``) are among the labeled ones.
    """
    parts = {
        str(name): Instances.from_frame(table)
        for name, table in instances.groupby("part", sort=False)
    }
    joints = Skeleton.from_dict(skeleton)
    chosen = split(Source(joints, **parts), config, seed)
    people = merge(chosen, annotation_import, joints)
    more = len(people.labeled) - len(chosen.labeled)
    if more:
        logger.info("%d people with returned labels join %d labeled ones", more, config.labeled)
    return (
        people.labeled.to_frame(),
        people.unlabeled.to_frame(),
        people.validation.to_frame(),
        people.hidden_truth.to_frame(),
        people.ignored.to_frame(),
    )
