"""One run a data folder: the second is told who holds it, and the dead hold nothing."""

import os
import signal
import socket
import subprocess
import sys

import pytest

from sspcm_kedro.datasets.lock import hold_folder
from sspcm_kedro.errors import BadInput

HOLD = """
import sys, time
from pathlib import Path
from sspcm_kedro.datasets.lock import hold_folder
with hold_folder(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_the_second_run_is_told_who_holds_the_folder_and_a_killed_one_holds_nothing(tmp_path):
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None and other.stdout.readline() == "held\n"
    told = rf"process {other.pid} of {socket.gethostname()} since \d{{4}}-.*SSPCM_DATA=FOLDER"
    with pytest.raises(BadInput, match=told), hold_folder(tmp_path):
        pass
    other.send_signal(signal.SIGKILL)
    other.communicate()
    with hold_folder(tmp_path):
        assert f'"process": {os.getpid()}' in (tmp_path / ".run.json").read_text()
    assert not (tmp_path / ".run.json").exists()


def test_a_run_that_has_ended_lets_the_folder_go(tmp_path):
    root = tmp_path / "made" / "for it"
    with pytest.raises(ZeroDivisionError), hold_folder(root):
        raise ZeroDivisionError
    with hold_folder(root):
        with pytest.raises(BadInput, match=f"process {os.getpid()} of"), hold_folder(root):
            pass
        (root / ".run.json").write_text("{")
        with pytest.raises(BadInput, match="held by another process"), hold_folder(root):
            pass


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(BadInput, match="must be a folder that can be written"):
        with hold_folder(tmp_path / "file" / "below"):
            pass
