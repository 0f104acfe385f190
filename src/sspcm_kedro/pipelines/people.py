"""Tables of the catalog to the objects of the library."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sspcm_kedro.data.crops import Crops
from sspcm_kedro.data.instances import Instances
from sspcm_kedro.data.views import ViewConfig
from sspcm_kedro.machine import MachineConfig


def crops_of(people: pd.DataFrame | Instances, view: ViewConfig, machine: MachineConfig) -> Crops:
    """The pixels of people, read once and kept if the machine's limit allows."""
    if isinstance(people, pd.DataFrame):
        people = Instances.from_frame(people)
    return Crops(
        people, view.input_hw, border=view.border, workers=machine.workers,
        memory=int(machine.crop_memory_gib * 2**30),
    )  # fmt: skip


def content(people: pd.DataFrame) -> Any:
    """What a table says and the sizes of its files, for ``fingerprint``.

    Not where on this machine the files lie, nor when they came here. Sizes tell one JPEG or PNG
    from another without reading it.
    """
    sizes = {path: Path(path).stat().st_size for path in people["path"].unique()}
    table = people.assign(path=[sizes[path] for path in people["path"]])
    return table.to_json(orient="values", double_precision=6)


def spread(count: int, most: int) -> np.ndarray:
    """Up to ``most`` rows, evenly over ``count``, always the same."""
    return np.unique(np.linspace(0, count - 1, most).round().astype(int))


def head_sizes_of(people: pd.DataFrame) -> np.ndarray | None:
    """MPII's head sizes (n) in pixels; None where the source has none."""
    return people["head_size"].to_numpy(np.float64) if "head_size" in people else None
