"""Kills at random moments of the whole default pipeline; the same command goes on each time."""

import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.reliability.bench import Bench
from benchmarks.reliability.case import Case, Tried
from benchmarks.reliability.compare import data_differences, leftovers, record_differences
from benchmarks.reliability.place import LIMIT, Place, Running, ended_group, wait_for

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
PATIENCE = 60.0
"""Seconds that a run may take to stop when it is asked to."""


def cases(bench: Bench) -> list[Case]:
    """Runs that are killed; every third is killed first while MLflow's database is made."""
    kills = 5
    return [
        Case(f"run {number}", lambda number=number: killed_run(bench, number, kills))
        for number in range(bench.size(12, 1))
    ]


def killed_run(bench: Bench, number: int, kills: int) -> Tried:
    """One run with its kills, to its end, against the uninterrupted one."""
    reference, chance = bench.reference(), random.Random(f"{bench.seed} {number}")
    place, faults, done = Place(bench.folder / f"kills_{number}"), [], []
    longest = bench.reference_seconds
    for attempt in range(4 * kills):
        if len(done) == kills:
            break
        name = chance.choice(SIGNALS)
        moment = choose_moment(place, chance, longest, number % 3 == 0 and attempt == 0)
        with ended_group(place.start()) as running:
            moment(running)
            if running.ended():  # it was faster: what is left to do takes less time now
                faults += running.wait().faults(0)
                longest = max(longest * 0.7, 2.0)
                continue
            held = place.holder() == running.process.pid
            running.process.send_signal(name)
            faults += [f"{name.name}: {line}" for line in stop_faults(running, name, held)]
            done.append(name)
    faults += place.run().faults(0)
    faults += data_differences(reference.data, place.data) + leftovers(place.root)
    faults += record_differences(reference.uri, place.uri)
    if not faults:
        place.remove()
    return Tried(faults, len(done), ", ".join(name.name for name in done))


def choose_moment(
    place: Place, chance: random.Random, longest: float, at_database: bool
) -> Callable[[Running], object]:
    """When to kill: while the database is made, after the n-th file event, or at any time."""
    if at_database:
        more = chance.uniform(0, 1.5)

        def making(running: Running) -> None:
            wait_for(lambda: any(place.root.glob(".mlflow.db.part*")), running)
            time.sleep(more)

        return making
    if chance.random() < 0.4:
        wanted = chance.randint(1, 60)
        return lambda running: wait_for_events(place.data, wanted, running)
    deadline = chance.uniform(0.1 * longest, longest)
    return lambda running: wait_for(lambda: False, running, deadline)


def wait_for_events(data: Path, wanted: int, running: Running) -> None:
    """Until so many files were made, renamed or written again below the data folder.

    Images are not counted: there are more of them than of all else.
    """
    before, seen, deadline = state(data), 0, time.monotonic() + LIMIT
    while seen < wanted and not running.ended() and time.monotonic() < deadline:
        now = state(data)
        seen += len(now ^ before)
        before = now
        time.sleep(0.005)


def state(data: Path) -> set[tuple[str, int]]:
    """Files and when they were written."""
    found = set()
    for path in data.glob("0[3-9]*/**/*"):
        try:
            found.add((str(path), path.stat().st_mtime_ns))
        except OSError:
            continue  # it is gone already
    return found


def stop_faults(running: Running, name: signal.Signals, held: bool) -> list[str]:
    """A run that is asked to stop does so, in one sentence where it had begun to work.

    Before that (imports, settings) signals do what they do to any Python program.
    """
    ended = running.wait(PATIENCE)
    if name == signal.SIGKILL:
        return []
    found = [] if "(hung" not in ended.printed else [f"did not stop within {PATIENCE:.0f} s"]
    if held and "Traceback" in ended.printed:
        found.append(f"prints a traceback: {ended.end()}")
    aborted = name == signal.SIGINT and ended.code == 1 and "Aborted!" in ended.printed  # by click
    if held and ended.code not in (0, 128 + name, -name) and not aborted:  # 0: at its very end
        found.append(f"ended with {ended.code}: {ended.end()}")
    return found
