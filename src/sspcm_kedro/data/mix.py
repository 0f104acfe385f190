"""Several sources as one, in the union of their key points."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from sspcm_kedro.config import Settings
from sspcm_kedro.data.aic import AicSource
from sspcm_kedro.data.coco_source import CocoSource
from sspcm_kedro.data.crowdpose import CrowdposeSource
from sspcm_kedro.data.fisheye import FisheyeSource
from sspcm_kedro.data.instances import Instances
from sspcm_kedro.data.lsp import LspSource
from sspcm_kedro.data.lspet import LspetSource
from sspcm_kedro.data.mpii_source import MpiiMatSource, MpiiSource
from sspcm_kedro.data.ochuman import OchumanSource
from sspcm_kedro.data.source import Source, assemble, renumbered
from sspcm_kedro.pose.skeleton import UNION, Skeleton, mixed_union, union_channels

FolderSource = (
    CocoSource | LspetSource | LspSource | MpiiSource | MpiiMatSource | AicSource | FisheyeSource
    | CrowdposeSource | OchumanSource
)  # fmt: skip
"""Every source that reads a folder somebody else made."""


class MixSource(Settings):
    """Several sources in the union of 24 joints: a joint that a set lacks has visibility 0.

    Attributes:
        sources: all sources, by names of your choice.
        labelled: names of those whose labels are used, in this order. The first one's joints are
            evaluated, on its validation people, and its test people are the mix's.
        unlabelled: names of those whose annotated and unlabelled people lose their labels. Of their
            labels only joints that labelled people have are kept as the hidden truth. Unlabelled
            people of the labelled sources come before theirs.
        validation: name of the source to validate on instead, on its validation people if it has
            some, else on its annotated ones.
    """

    kind: Literal["mix"] = "mix"
    sources: dict[str, Annotated[FolderSource, Field(discriminator="kind")]]
    labelled: Annotated[tuple[str, ...], Field(min_length=1)]
    unlabelled: tuple[str, ...] = ()
    validation: str | None = None

    @model_validator(mode="after")
    def _known(self) -> "MixSource":
        named = [*self.labelled, *self.unlabelled, *([self.validation] if self.validation else [])]
        strange = sorted(set(named) ^ set(self.sources))
        if strange or len(set(named)) < len(named):
            raise ValueError(
                f"labelled, unlabelled and validation must name every source once, got {named} "
                f"and the sources {list(self.sources)}"
            )
        return self

    def read(self, drawn_folder: Path | None = None) -> Source:
        """The people of all sources."""
        read = {name: source.read() for name, source in self.sources.items()}
        labelled = [read[name] for name in self.labelled]
        judged = labelled[0]
        if self.validation:
            judged = read[self.validation]
        skeleton = mixed_union([source.skeleton for source in labelled], judged.skeleton)
        validation = judged.validation
        if self.validation and validation is None:
            validation = judged.annotated
        truths = [_wild(source) for source in labelled]
        truths += [_everyone(read[name]) for name in self.unlabelled]
        unlabelled = _joined([truth for truth in truths if truth is not None])
        annotated = _joined([_in_union(source, source.annotated) for source in labelled])
        assert annotated is not None
        beside = labelled if validation is None else [judged]
        return assemble(
            skeleton,
            annotated,
            _in_union(judged, validation),
            unlabelled.without_labels() if unlabelled else None,
            _taught(unlabelled, skeleton) if unlabelled else None,
            _in_union(labelled[0], labelled[0].test),
            _joined([_in_union(source, source.ignored) for source in beside]),
        )


def _in_union(source: Source, people: Instances | None) -> Instances | None:
    if people is None:
        return None
    return people.scatter(union_channels(source.skeleton), UNION.size)


def _wild(source: Source) -> Instances | None:
    return _in_union(source, source.hidden_truth or source.unlabelled)


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
