"""Did trouble change the result? Data folders and MLflow's records of them, against each other."""

import csv
import os
from collections import Counter
from pathlib import Path

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

from benchmarks import same
from mlflow import MlflowClient
from mlflow.entities import LoggedModelStatus

PACE = ("seconds", "people_per_second", "memory_gib")
"""What no two runs share; the last parts of a column's or a curve's name."""
DRAWN_FROM_PACE = ("report.html", "run.json")
"""Files that show it, or the time."""
KEPT = {".run.lock"}
"""What a run that has ended leaves beside its data."""


def data_differences(reference: Path, data: Path) -> list[str]:
    """What of a data folder is not as in the uninterrupted run's, file by file.

    Checkpoints tensor by tensor, bit by bit; histories without pace; all other files byte by byte.
    """
    _, lines = same.differences(reference, data, {})
    left, right = files_of(reference), files_of(data)
    lines += [f"{name}: is missing" for name in sorted(left - right)]
    lines += [f"{name}: is left over" for name in sorted(right - left)]
    for name in sorted(left & right):
        if name.endswith("checkpoint.pt") or Path(name).name in DRAWN_FROM_PACE:
            continue
        if name.endswith("history.csv"):
            equal = history(reference / name) == history(data / name)
        else:
            equal = (reference / name).read_bytes() == (data / name).read_bytes()
        lines += [] if equal else [f"{name}: has other bytes"]
    return lines


def files_of(data: Path) -> set[str]:
    """All files below a folder but the lock."""
    found = (file for file in data.rglob("*") if file.is_file())
    return {file.relative_to(data).as_posix() for file in found} - KEPT


def history(file: Path) -> list[dict[str, str]]:
    """A stage's epochs without their pace, and without the digest, which is of the pace, too."""
    with file.open() as rows:
        return [
            {k: v for k, v in row.items() if k not in PACE and not k.startswith("sha256:")}
            for row in csv.DictReader(rows)
        ]


def leftovers(root: Path) -> list[str]:
    """Unfinished files and folders anywhere below a project."""
    endings = (".part", ".new", ".old", ".probe", "-journal", "-wal", "-shm", ".run.json")
    found = sorted(path for path in root.rglob("*") if path.name.endswith(endings))
    return [f"{path.relative_to(root)}: is left over" for path in found]


def record(uri: str) -> dict[str, dict[str, object]]:
    """What MLflow has of each run, by name: status, points of all curves and results, models."""
    client, found = MlflowClient(uri), {}
    experiment = client.get_experiment_by_name("sspcm")
    if experiment is None:
        return {}
    for run in client.search_runs([experiment.experiment_id]):
        number, name = run.info.run_id, run.info.run_name or ""
        points = Counter(
            (key, metric.step, metric.value)
            for key in run.data.metrics
            if not key.endswith((*PACE, "memory_rss_gib"))
            for metric in client.get_metric_history(number, key)
        )
        models = client.search_logged_models(
            [experiment.experiment_id], f"source_run_id = '{number}'"
        )
        while name in found:  # a second run of one name shows as one too many
            name += "+"
        found[name] = {
            "status": run.info.status,
            "points": dict(points),
            "models": sorted(LoggedModelStatus(model.status).value for model in models),
            "files": sorted(artifacts(client, number)),
        }
    return found


def artifacts(client: MlflowClient, run: str, folder: str | None = None) -> list[str]:
    """Names of all files of a run."""
    found: list[str] = []
    for entry in client.list_artifacts(run, folder):
        found += artifacts(client, run, entry.path) if entry.is_dir else [entry.path]
    return found


def record_differences(reference: str, uri: str) -> list[str]:
    """In what MLflow's records of two places differ; runs that are not FINISHED."""
    before, after = record(reference), record(uri)
    lines = [f"MLflow lacks run {name}" for name in before if name not in after]
    lines += [f"MLflow has run {name} too many" for name in after if name not in before]
    for name in before.keys() & after.keys():
        if after[name]["status"] != "FINISHED":
            lines.append(f"MLflow's run {name} is {after[name]['status']}")
        lines += [
            f"MLflow's run {name} has other {key}: {changes(before[name][key], after[name][key])}"
            for key in ("points", "models", "files")
            if before[name][key] != after[name][key]
        ]
    return lines


def changes(before: object, after: object) -> str:
    """The first of what differs in two tables or lists."""
    old = set(before.items()) if isinstance(before, dict) else set(before)  # type: ignore
    new = set(after.items()) if isinstance(after, dict) else set(after)  # type: ignore
    return f"{sorted(old - new)[:2]} became {sorted(new - old)[:2]}"
