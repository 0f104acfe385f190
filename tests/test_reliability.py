"""The harness of the campaign sees faults where there are some; what it measures is real."""

import json
import multiprocessing
import os
import random
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from benchmarks.reliability import __main__ as campaign
from benchmarks.reliability.bench import Bench
from benchmarks.reliability.case import Case, Tried, try_all
from benchmarks.reliability.compare import data_differences, files_of, leftovers
from benchmarks.reliability.damage import damages, digest, load_fault
from benchmarks.reliability.memory import least_squares
from benchmarks.reliability.place import Ended, start, wait_for
from benchmarks.reliability.worker import Answer, Worker

from acting import act


def write_run(data: Path, loss: str = "0.5", pace: str = "10.0", weight: float = 1.0) -> Path:
    """A data folder with one stage, scores and predictions."""
    stage = data / "06_models" / "warmup"
    stage.mkdir(parents=True)
    torch.save({"epoch": 1, "method": {"w": torch.tensor(weight)}}, stage / "checkpoint.pt")
    (stage / "history.csv").write_text(
        f"epoch,loss,people_per_second,sha256:{pace}\n1,{loss},{pace},\n"
    )
    (data / "08_reporting").mkdir()
    (data / "08_reporting" / "metrics.json").write_text('{"AP": 0.5}')
    (data / ".run.lock").touch()
    return data


def test_a_run_of_another_pace_is_the_same(tmp_path):
    reference, other = write_run(tmp_path / "a"), write_run(tmp_path / "b", pace="99.0")
    assert data_differences(reference, other) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda d: (d / "06_models/warmup/history.csv").write_text("epoch,loss\n1,0.25\n"),
         "06_models/warmup/history.csv: has other bytes"),
        (lambda d: torch.save({"epoch": 1, "method": {"w": torch.tensor(1.0000001)}},
                              d / "06_models/warmup/checkpoint.pt"),
         "06_models/warmup/checkpoint.pt.method.w: 1 of 1 values differ"),
        (lambda d: (d / "08_reporting/metrics.json").write_text('{"AP": 0.5 }'),
         "08_reporting/metrics.json: has other bytes"),
        (lambda d: (d / "06_models/warmup/history.csv").unlink(),
         "06_models/warmup/history.csv: is missing"),
        (lambda d: (d / ".predictions.part").touch(), ".predictions.part: is left over"),
    ],
)  # fmt: skip
def test_every_difference_is_told(tmp_path, change, told):
    reference, other = write_run(tmp_path / "a"), write_run(tmp_path / "b")
    change(other)
    found = data_differences(reference, other)
    assert len(found) == 1 and found[0].startswith(told), found


def test_leftovers_are_found_wherever_they_lie(tmp_path):
    data = write_run(tmp_path / "data")
    assert leftovers(tmp_path) == []
    (data / ".drawn.new").mkdir()
    (tmp_path / ".mlflow.db.part").touch()
    assert leftovers(tmp_path) == [
        ".mlflow.db.part: is left over", "data/.drawn.new: is left over",
    ]  # fmt: skip
    assert ".run.lock" not in files_of(data)


def test_damages_are_what_they_are_called():
    content = bytes(range(200))
    found = dict(damages(content, random.Random(0), 40))
    assert found["cut to half"] == content[:100] and found["cut by a byte"] == content[:199]
    assert found["emptied"] == b""
    flips = {how: bytes_ for how, bytes_ in found.items() if "flipped" in how}
    assert len(flips) > 30
    for bytes_ in flips.values():
        bits = np.unpackbits(np.frombuffer(bytes_, np.uint8) ^ np.frombuffer(content, np.uint8))
        assert bits.sum() == 1


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (Answer("value", "other"), "SILENT"),
        (Answer("error", "bad magic", ("OSError",)), "a raw error: OSError"),
        (Answer("error", "somewhere: is damaged", ("BadInput",)), "does not name the file"),
        (Answer("hang", "no answer within 1 s"), "no answer"),
        (Answer("error", "/d/table.parquet: is damaged", ("BadInput",)), None),
        (Answer("error", "Failed: /d/table.parquet: is", ("DatasetError", "BadInput")), None),
    ],
)
def test_what_counts_as_told(answer, fault):
    found = load_fault(answer, Path("/d/table.parquet"))
    assert found is None if fault is None else found is not None and fault in found


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": torch.zeros(2)}, {"a": torch.zeros(2).neg()}),
        (torch.zeros(2, 3), torch.zeros(3, 2)),
        (np.zeros(2, np.float32), np.zeros(2, np.float64)),
        (pd.DataFrame({"a": [1, 2]}), pd.DataFrame({"a": [2, 1]})),
        (np.array(["a", "b"], object), np.array(["a", "c"], object)),
        ([[1], 2], [[1, 2]]),
        (1, True),
    ],
)
def test_other_values_have_other_digests(one, other):
    assert digest(one) == digest(one) != digest(other)


def test_a_worker_outlives_hangs_deaths_and_memory():
    with Worker(act, limit=2, first=60) as ask:
        assert ask("a") == Answer("value", "A")
        assert ask("hang").kind == "hang"
        assert ask("b") == Answer("value", "B")
        assert ask("die") == Answer("death", "the process ended with 7")
        failed = ask("fail")
        assert (failed.kind, failed.value, failed.error[0]) == ("error", "no", "ValueError")
        assert ask("memory").error[0] == "MemoryError"
        assert ask("c") == Answer("value", "C")
    assert not multiprocessing.active_children()


def test_a_process_that_hangs_ends_with_all_that_it_started(tmp_path):
    script = "sleep 600 & echo $!; wait"
    running = start(["sh", "-c", script], tmp_path, tmp_path / "log.txt", os.environ)
    assert wait_for(lambda: running.printed().endswith("\n"), running)
    child = int(running.printed())
    ended = running.wait(0.1)
    assert ended.code == -9 and "hung" in ended.printed
    deadline = time.monotonic() + 10
    while Path(f"/proc/{child}/cmdline").exists() and _is_sleep(child):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _is_sleep(pid: int) -> bool:
    """A process that has ended and that nobody asked for has an empty command line."""
    try:
        return b"sleep" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def test_endings():
    ended = Ended(1, "Traceback (most recent call last)\nthe disk is full")
    assert ended.faults(1, "the disk is full") == ["prints a traceback"]
    assert Ended(0, "fine").faults(0) == []
    code, text = Ended(-9, "half").faults(0, "whole")
    assert code.startswith("ended with -9, not 0") and text.startswith("does not say 'whole'")


def test_the_slope_is_that_of_the_line():
    assert least_squares([1, 2, 3, 4], [10.0, 10.5, 11.0, 11.5]) == pytest.approx(0.5)
    assert least_squares([1, 2, 3], [5.0, 4.0, 5.0]) == pytest.approx(0)


def test_faults_and_failures_of_the_harness_are_counted_and_shown(tmp_path, monkeypatch, capsys):
    def fail() -> Tried:
        raise OSError("no room")

    cases = [
        Case("good", lambda: Tried([], 5)), Case("bad", lambda: Tried(["lost", "late"])),
        Case("broken", fail),
    ]  # fmt: skip
    outcomes = list(try_all(cases, 2))
    row = campaign.figures("kills", outcomes, 3, Bench(tmp_path), 60.0)
    assert (row["cases"], row["right"], row["tries"], row["minutes"]) == (3, 1, 7, 1.0)
    lines = campaign.table([row]).splitlines()
    assert lines[2] == "| kills | 7 | 3 | 1 | 1.0 |"
    assert "* kills, bad: lost (and 1 more)" in lines
    assert any(line.startswith("* kills, broken: ") and "no room" in line for line in lines)

    monkeypatch.setattr(campaign, "FIGURES", tmp_path)
    (tmp_path / "kills.json").write_text(json.dumps(row))
    with pytest.raises(SystemExit) as ended:
        campaign.main(["kills", "--show"])
    assert ended.value.code == 1
    assert "| kills | 7 | 3 | 1 | 1.0 |" in capsys.readouterr().out
    (tmp_path / "kills.json").write_text(json.dumps({**row, "right": 3, "failed": {}}))
    with pytest.raises(SystemExit) as ended:
        campaign.main(["kills", "--show"])
    assert ended.value.code == 0


def test_an_unknown_kind_is_refused():
    with pytest.raises(SystemExit) as ended:
        campaign.main(["explosions"])
    assert ended.value.code == 2
