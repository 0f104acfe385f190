"""Semi-supervised 2D human pose estimation as a dataflow: SSPCM and its relatives, on Kedro.

``sspcm_kedro.load(path).predict(images)`` uses a trained model (``sspcm_kedro.library``).
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sspcm_kedro.library import load

__all__ = ["load"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """What the library gives, once it is asked for: torch takes seconds to import."""
    if name == "load":
        from sspcm_kedro.library import load  # noqa: PLC0415

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
