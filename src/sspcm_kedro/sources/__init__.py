"""Where people come from: one config class a kind, each beside its reader."""

from typing import Annotated

from pydantic import Field, RootModel

from sspcm_kedro.sources.coco import CocoSource
from sspcm_kedro.sources.drawn import DrawnSource
from sspcm_kedro.sources.lspet import LspetSource
from sspcm_kedro.sources.union import FolderSource, UnionSource

__all__ = ["CocoSource", "DrawnSource", "LspetSource", "SourceConfig", "UnionSource"]


class SourceConfig(RootModel[Annotated[DrawnSource | FolderSource | UnionSource,
                                       Field(discriminator="kind")]]):  # fmt: skip
    """One of the sources, chosen by ``kind``."""
