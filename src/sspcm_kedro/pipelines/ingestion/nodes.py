"""From a source to the tables of people that training and evaluation read."""

import logging
from dataclasses import fields
from pathlib import Path

from sspcm_kedro.data.instances import Instances
from sspcm_kedro.data.source import Source
from sspcm_kedro.data.split import SplitConfig, split
from sspcm_kedro.errors import BadInput
from sspcm_kedro.pose.skeleton import Skeleton
from sspcm_kedro.seeds import Seed
from sspcm_kedro.sources import DrawnSource, SourceConfig
from sspcm_kedro.sources.annotation_import import AnnotationImportConfig, merge
from sspcm_kedro.sources.checks import verify_images
from sspcm_kedro.sources.drawn_folder import DrawnPeople

logger = logging.getLogger(__name__)

PARTS = tuple(field.name for field in fields(Source) if field.name != "skeleton")


def draw_people(source: SourceConfig, seed: Seed) -> DrawnPeople:
    """What to draw; the catalog entry that saves it does the drawing."""
    if not isinstance(source.root, DrawnSource):
        rule = f"node 'draw' needs a source of kind 'drawn', got '{source.root.kind}'"
        raise BadInput("parameter source", rule, "Build the pipeline with drawn=False")
    return source.root.people(seed)


def read_people(
    source: SourceConfig, drawn_folder: Path | None = None
) -> tuple[dict[str, Instances], Skeleton]:
    """The people of a source by part, and their skeleton."""
    read = source.root.read(drawn_folder)
    parts = {name: getattr(read, name) for name in PARTS}
    known = {name: people for name, people in parts.items() if people is not None}
    verify_images(Instances.join(list(known.values())))
    return known, read.skeleton


def split_people(
    instances: dict[str, Instances],
    skeleton: Skeleton,
    config: SplitConfig,
    annotation_import: AnnotationImportConfig,
    seed: Seed,
) -> tuple[Instances, Instances, Instances, Instances, Instances]:
    """The labeled, unlabeled and validation people, the hidden truth, the ignored.

    People whom somebody has labeled since (``annotation_import``) are among the labeled ones.
    """
    chosen = split(Source(skeleton, **instances), config, seed)
    people = merge(chosen, annotation_import, skeleton)
    more = len(people.labeled) - len(chosen.labeled)
    if more:
        logger.info("%d imported people join %d labeled ones", more, len(chosen.labeled))
    return (
        people.labeled, people.unlabeled, people.validation, people.hidden_truth, people.ignored,
    )  # fmt: skip
