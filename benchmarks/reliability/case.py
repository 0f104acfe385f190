"""What every kind of trouble is made of: cases, each right or with a list of faults."""

import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field


@dataclass
class Tried:
    """What one case did.

    Attributes:
        faults: a line each; none if all was right.
        tries: how often trouble was made (kills, flipped bits, files); one by default.
        note: what else is to be known of it.
    """

    faults: list[str] = field(default_factory=list)
    tries: int = 1
    note: str = ""


@dataclass(frozen=True)
class Case:
    """One trouble to make, and the check of what comes of it."""

    name: str
    check: Callable[[], Tried]


@dataclass(frozen=True)
class Outcome:
    """A case that was tried."""

    name: str
    tried: Tried
    seconds: float

    @property
    def right(self) -> bool:
        return not self.tried.faults


def try_all(cases: Sequence[Case], jobs: int) -> Iterator[Outcome]:
    """The outcomes as they come; an error of the harness itself is a fault, too."""
    with ThreadPoolExecutor(jobs) as pool:
        for done in as_completed([pool.submit(try_one, case) for case in cases]):
            yield done.result()


def try_one(case: Case) -> Outcome:
    """One case, whatever comes."""
    began = time.monotonic()
    try:
        tried = case.check()
    except Exception:  # the others are tried all the same
        tried = Tried(["the harness failed: " + traceback.format_exc(limit=-3)])
    return Outcome(case.name, tried, time.monotonic() - began)
