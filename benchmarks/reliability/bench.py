"""What all kinds share: where to work, with which seed, and a run to compare with."""

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.reliability.compare import record
from benchmarks.reliability.place import Place


@dataclass
class Bench:
    """A campaign's settings, and its uninterrupted run, which is made when it is first asked for.

    Attributes:
        folder: a scratch folder; what is below is deleted.
        seed: decides all that is drawn by chance.
        quick: a few cases of each kind instead of all.
        jobs: processes at once.
    """

    folder: Path
    seed: int = 0
    quick: bool = False
    jobs: int = 2
    reference_seconds: float = 0.0
    _reference: Place | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def size(self, whole: int, quick: int) -> int:
        """How many of something are tried."""
        return quick if self.quick else whole

    def reference(self) -> Place:
        """The run that nothing happened to.

        Raises:
            RuntimeError: not even that one ends well.
        """
        with self._lock:
            if self._reference is None:
                place, began = Place(self.folder / "reference"), time.monotonic()
                ended = place.run()
                self.reference_seconds = time.monotonic() - began
                runs = record(place.uri) if ended.code == 0 else {}
                if not runs or {run["status"] for run in runs.values()} != {"FINISHED"}:
                    raise RuntimeError(f"the uninterrupted run failed: {ended.end(2000)}")
                self._reference = place
            return self._reference
