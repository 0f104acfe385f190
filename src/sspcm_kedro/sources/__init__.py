"""Where people come from: one file a kind, with its settings, its reader and the facts about it.

A new kind is such a file, and its class in ``FolderSource``; see README.md.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, RootModel, model_validator

from sspcm_kedro.data.source import Source
from sspcm_kedro.downloads.published import PublishedSet
from sspcm_kedro.pose.skeleton import UNION
from sspcm_kedro.sources.aic import AicSource
from sspcm_kedro.sources.base import BaseSource
from sspcm_kedro.sources.coco import CocoSource
from sspcm_kedro.sources.crowdpose import CrowdposeSource
from sspcm_kedro.sources.cvat import CvatSource
from sspcm_kedro.sources.deeplabcut import DeepLabCutSource
from sspcm_kedro.sources.drawn import DrawnSource
from sspcm_kedro.sources.fisheye import FisheyeSource
from sspcm_kedro.sources.label_studio import LabelStudioSource
from sspcm_kedro.sources.lightning_pose import LightningPoseSource
from sspcm_kedro.sources.lsp import LspetSource, LspSource
from sspcm_kedro.sources.mpii import MpiiMatSource, MpiiSource
from sspcm_kedro.sources.ochuman import OchumanSource
from sspcm_kedro.sources.sleap import SleapSource
from sspcm_kedro.sources.union import unite
from sspcm_kedro.sources.yolo_pose import YoloPoseSource

__all__ = [
    "KINDS",
    "SETS",
    "WITH_VIDEOS",
    "CocoSource",
    "DeepLabCutSource",
    "DrawnSource",
    "LspetSource",
    "SourceConfig",
    "UnionSource",
    "has_videos",
]  # fmt: skip

FolderSource = (
    CocoSource | LspetSource | LspSource | MpiiSource | MpiiMatSource | AicSource | FisheyeSource
    | CrowdposeSource | OchumanSource | DeepLabCutSource | LightningPoseSource
    | YoloPoseSource | LabelStudioSource | CvatSource | SleapSource
)  # fmt: skip
"""Every source that reads a folder somebody else made."""


class UnionSource(BaseSource):
    """Several of the others in a union of 24 keypoints; one that a set lacks has visibility 0.

    Attributes:
        sources: all sources, by names of your choice.
        labeled: names of those whose labels are used, in this order. The first one's keypoints are
            evaluated, on its validation people, and its test people are the union's.
        unlabeled: names of those whose annotated and unlabeled people lose their labels. Of their
            labels only keypoints that labeled people have are kept as the hidden truth. Unlabeled
            people of the labeled sources come before theirs.
        validation: name of the source to validate on instead, on its validation people if it has
            some, else on its annotated ones.
    """

    skeleton = UNION

    kind: Literal["union"] = "union"
    sources: dict[str, Annotated[FolderSource, Field(discriminator="kind")]]
    labeled: Annotated[tuple[str, ...], Field(min_length=1)]
    unlabeled: tuple[str, ...] = ()
    validation: str | None = None

    @model_validator(mode="after")
    def _every_source_has_a_use(self) -> "UnionSource":
        named = [*self.labeled, *self.unlabeled, *([self.validation] if self.validation else [])]
        if set(named) != set(self.sources) or len(set(named)) < len(named):
            raise ValueError(
                f"labeled, unlabeled and validation must name every source once, got {named} "
                f"and the sources {list(self.sources)}"
            )
        return self

    def read(self, made_folder: Path | None = None) -> Source:
        read = {name: source.read() for name, source in self.sources.items()}
        return unite(read, self.labeled, self.unlabeled, self.validation)


class SourceConfig(RootModel[Annotated[DrawnSource | FolderSource | UnionSource,
                                       Field(discriminator="kind")]]):  # fmt: skip
    """One of the sources, chosen by ``kind``."""


KINDS: dict[str, type[BaseSource]] = {
    source.model_fields["kind"].default: source
    for source in (DrawnSource, *get_args(FolderSource), UnionSource)
}
"""Every kind of source."""

WITH_VIDEOS = frozenset(kind for kind, source in KINDS.items() if source.has_videos)
"""The kinds of whose videos ingestion always makes images."""


def has_videos(source: Mapping[str, Any]) -> bool:
    """Whether ingestion makes images of videos of a source, which is not yet typed."""
    kind, pool = source.get("kind"), source.get("unlabeled")
    of_coco = kind == "coco" and isinstance(pool, Mapping) and pool.get("videos") is not None
    return kind in WITH_VIDEOS or of_coco


SETS: dict[str, tuple[str, PublishedSet]] = {
    published.name: (kind, published)
    for kind, source in KINDS.items()
    for published in source.published
}
"""The kind that reads it, and the facts, of every published set."""
