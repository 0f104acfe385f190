"""Several sources as one, in the union of their keypoints."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from sspcm_kedro.config import Settings
from sspcm_kedro.data.instances import Instances
from sspcm_kedro.data.source import Source
from sspcm_kedro.pose.skeleton import UNION, Skeleton, trained_union, union_channels
from sspcm_kedro.sources.aic import AicSource
from sspcm_kedro.sources.base import assemble, renumbered
from sspcm_kedro.sources.coco import CocoSource
from sspcm_kedro.sources.crowdpose import CrowdposeSource
from sspcm_kedro.sources.fisheye import FisheyeSource
from sspcm_kedro.sources.lsp import LspSource
from sspcm_kedro.sources.lspet import LspetSource
from sspcm_kedro.sources.mpii import MpiiMatSource, MpiiSource
from sspcm_kedro.sources.ochuman import OchumanSource

FolderSource = (
    CocoSource | LspetSource | LspSource | MpiiSource | MpiiMatSource | AicSource | FisheyeSource
    | CrowdposeSource | OchumanSource
)  # fmt: skip
"""Every source that reads a folder somebody else made."""


class UnionSource(Settings):
    """Several sources in the union of 24 keypoints: a keypoint that a set lacks has visibility 0.

    Attributes:
        sources: all sources, by names of your choice.
        labeled: names of those whose labels are used, in this order. The first one's keypoints are
            evaluated, on its validation people, and its test people are the mix's.
        unlabeled: names of those whose annotated and unlabeled people lose their labels. Of their
            labels only keypoints that labeled people have are kept as the hidden truth. Unlabeled
            people of the labeled sources come before theirs.
        validation: name of the source to validate on instead, on its validation people if it has
            some, else on its annotated ones.
    """

    kind: Literal["union"] = "union"
    sources: dict[str, Annotated[FolderSource, Field(discriminator="kind")]]
    labeled: Annotated[tuple[str, ...], Field(min_length=1)]
    unlabeled: tuple[str, ...] = ()
    validation: str | None = None

    @model_validator(mode="after")
    def _known(self) -> "UnionSource":
        named = [*self.labeled, *self.unlabeled, *([self.validation] if self.validation else [])]
        strange = sorted(set(named) ^ set(self.sources))
        if strange or len(set(named)) < len(named):
            raise ValueError(
                f"labeled, unlabeled and validation must name every source once, got {named} "
                f"and the sources {list(self.sources)}"
            )
        return self

    def read(self, drawn_folder: Path | None = None) -> Source:
        """The people of all sources."""
        read = {name: source.read() for name, source in self.sources.items()}
        labeled = [read[name] for name in self.labeled]
        evaluated = labeled[0]
        if self.validation:
            evaluated = read[self.validation]
        skeleton = trained_union([source.skeleton for source in labeled], evaluated.skeleton)
        validation = evaluated.validation
        if self.validation and validation is None:
            validation = evaluated.annotated
        truths = [_wild(source) for source in labeled]
        truths += [_everyone(read[name]) for name in self.unlabeled]
        unlabeled = _joined([truth for truth in truths if truth is not None])
        annotated = _joined([_in_union(source, source.annotated) for source in labeled])
        assert annotated is not None
        beside = labeled if validation is None else [evaluated]
        return assemble(
            skeleton,
            annotated,
            _in_union(evaluated, validation),
            unlabeled.without_labels() if unlabeled else None,
            _taught(unlabeled, skeleton) if unlabeled else None,
            _in_union(labeled[0], labeled[0].test),
            _joined([_in_union(source, source.ignored) for source in beside]),
        )


def _in_union(source: Source, people: Instances | None) -> Instances | None:
    if people is None:
        return None
    return people.scatter(union_channels(source.skeleton), UNION.size)


def _wild(source: Source) -> Instances | None:
    return _in_union(source, source.hidden_truth or source.unlabeled)


def _everyone(source: Source) -> Instances | None:
    return _joined([p for p in (_in_union(source, source.annotated), _wild(source)) if p])


def _joined(parts: list[Instances | None]) -> Instances | None:
    """All people, later parts renumbered where their ids are taken."""
    done: list[Instances] = []
    for part in parts:
        if part is not None:
            done.append(renumbered(part, done) if done else part)
    return Instances.join(done) if done else None


def _taught(people: Instances, skeleton: Skeleton) -> Instances | None:
    """The people with labels of trained channels only; None where nothing is known."""
    taught = people.gather(skeleton.trained).scatter(skeleton.trained, UNION.size)
    return taught if taught.visibility.any() else None
