"""Output that nobody takes, runs side by side, and a tracking server that dies."""

import shutil
import socket
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from benchmarks.reliability.bench import Bench
from benchmarks.reliability.case import Case, Tried
from benchmarks.reliability.compare import (
    data_differences,
    leftovers,
    record,
    record_differences,
)
from benchmarks.reliability.place import (
    LIMIT,
    Place,
    Running,
    clean_environ,
    ended_group,
    start,
    wait_for,
)

REDIRECTIONS = {
    "closed stdout": ">&-",
    "closed stderr": "2>&-",
    "closed stdout and stderr": ">&- 2>&-",
    "full stdout": ">/dev/full",
    "full stderr": "2>/dev/full",
    "full stdout and stderr": ">/dev/full 2>&1",
    "a reader that goes away": "2>&1 | head -n 3 >/dev/null",
}


def cases(bench: Bench) -> list[Case]:
    """All endings; two of them where it has to be quick."""
    found = [
        Case(name, lambda name=name: unread_run(bench, name)) for name in REDIRECTIONS
    ] + [
        Case("two runs at once in one folder", lambda: one_folder(bench)),
        Case("two first runs with one new database", lambda: one_database(bench)),
        Case("a server that dies in training", lambda: dying_server(bench)),
        Case("a server that was never there", lambda: no_server(bench)),
    ]  # fmt: skip
    return found[5:8:2] if bench.quick else found


def unread_run(bench: Bench, name: str) -> Tried:
    """A run whose output goes nowhere ends well, with the same results."""
    reference, place = bench.reference(), Place(bench.folder / f"output_{slug(name)}")
    shell = REDIRECTIONS[name]
    if "|" in shell:  # the code is that of the run, not of the reader
        shell = f'{{ "$0" "$@"; echo $? >code; }} {shell}'
        running = start_piped(place, shell)
        running.wait()
        code = (place.root / "code").read_text().strip() if (place.root / "code").exists() else ""
        faults = [] if code == "0" else [f"ended with {code or 'a hang'}, not 0"]
    else:
        ended = place.run(shell=shell)
        faults = ended.faults(0)
    faults += compared(reference, place)
    return finished(place, faults)


def start_piped(place: Place, script: str) -> Running:
    """The run within a script of the shell, of which ``"$0" "$@"`` is the command."""
    command = [sys.executable, "-m", "kedro", "run", "--env", "smoke", "--params", place.params]
    log = place.root / "log_piped.txt"
    return start(["sh", "-c", script, *command], place.root, log, place.environ)


def one_folder(bench: Bench) -> Tried:
    """The second run says who holds the folder; the first one is not disturbed."""
    reference, place = bench.reference(), Place(bench.folder / "output_one_folder")
    with ended_group(place.start()) as first:
        wait_for((place.data / ".run.json").exists, first)
        second = place.run()
        faults = second.faults(1, "one run at a time", f"process {first.process.pid}")
        faults += first.wait().faults(0)
    return finished(place, faults + compared(reference, place))


def one_database(bench: Bench) -> Tried:
    """Both are recorded, in one experiment."""
    reference, place = bench.reference(), Place(bench.folder / "output_one_database")
    place.data = place.root / "data" / "first"
    other = place.root / "data" / "second"
    both = [place.start(environ={"SSPCM_DATA": str(data)}) for data in (place.data, other)]
    with ended_group(both[0]), ended_group(both[1]):
        faults = [fault for running in both for fault in running.wait().faults(0)]
    faults += data_differences(reference.data, place.data) + data_differences(place.data, other)
    faults += leftovers(place.root)
    runs, whole = record(place.uri), record(reference.uri)
    states = sorted(str(run["status"]) for run in runs.values())
    # Of one training in two folders there may be one record: the same settings, data and numbers.
    if len(runs) not in (len(whole), 2 * len(whole)) or set(states) != {"FINISHED"}:
        faults.append(f"MLflow has runs that are {', '.join(states)}")
    return finished(place, faults)


def no_server(bench: Bench) -> Tried:
    """One sentence before anything is trained."""
    place = Place(bench.folder / "output_no_server")
    address = f"http://127.0.0.1:{free_port()}"
    ended = place.run(environ={"MLFLOW_TRACKING_URI": address})
    faults = ended.faults(1, address, "Start the server")
    if list(place.data.glob("06_models/*/checkpoint.pt")):
        faults.append("something was trained")
    return finished(place, faults)


def dying_server(bench: Bench) -> Tried:
    """Training goes on without it; the same command brings its record to the end."""
    reference, place = bench.reference(), Place(bench.folder / "output_server")
    port = free_port()
    place.environ["MLFLOW_TRACKING_URI"] = address = f"http://127.0.0.1:{port}"
    with server(place.root, port) as first, ended_group(place.start()) as running:
        trained = place.data / "06_models" / "warmup" / "checkpoint.pt"
        faults = [] if wait_for(trained.exists, running) else ["the run ended before the server"]
        first.end_group()
        faults += running.wait().faults(0, address, "the same command again")
    faults += data_differences(reference.data, place.data)
    with server(place.root, port):
        faults += place.run().faults(0)
        faults += data_differences(reference.data, place.data) + leftovers(place.root)
        faults += record_differences(reference.uri, address)
    return finished(place, faults)


@contextmanager
def server(root: Path, port: int) -> Iterator[Running]:
    """A real ``mlflow server`` that answers.

    Raises:
        TimeoutError: it does not.
    """
    command = [
        sys.executable, "-m", "mlflow", "server", "--workers", "1", "--port", str(port),
        "--backend-store-uri", f"sqlite:///{root / 'server.db'}",
        "--artifacts-destination", str(root / "served"),
    ]  # fmt: skip
    with ended_group(start(command, root, root / "server.txt", clean_environ())) as running:
        if not wait_for(lambda: answers(port), running, LIMIT):
            raise TimeoutError(f"mlflow server does not answer: {running.printed()[-500:]}")
        yield running


def answers(port: int) -> bool:
    try:
        with closing(socket.create_connection(("127.0.0.1", port), 1)):
            return True
    except OSError:
        return False


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        return int(listening.getsockname()[1])


def compared(reference: Place, place: Place) -> list[str]:
    """All that may differ from the uninterrupted run, in data and in MLflow."""
    faults = data_differences(reference.data, place.data) + leftovers(place.root)
    return faults + record_differences(reference.uri, place.uri)


def finished(place: Place, faults: list[str], tries: int = 1) -> Tried:
    """The outcome; a place where all was right is deleted."""
    if not faults:
        shutil.rmtree(place.root, ignore_errors=True)
    return Tried(faults, tries)


def slug(name: str) -> str:
    return name.replace(" ", "_")
