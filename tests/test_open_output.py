"""Output that nobody takes."""

import os
import subprocess
import sys

import pytest

PRINTS = """
import logging, sys
from sspcm_kedro.open_output import OpenOutput
output = OpenOutput()
output.after_context_created()
print("a line")
print("a table", flush=True)  # as rich does
logging.getLogger().warning("another")  # on stderr, as all that a run says
print("progress", file=sys.stderr, flush=True)
sys.stderr.isatty()
output.after_pipeline_run()
print("the end")
"""


@pytest.mark.parametrize(
    "shell",
    [">&-", "2>&-", ">/dev/full", "2>/dev/full", ">&- 2>&-", ">/dev/full 2>&1", "> >(exit)"],
)
def test_output_that_nobody_takes_fails_no_run(shell):
    command = f'"$0" -c "$1" {shell}'
    done = subprocess.run(
        ["bash", "-c", command, sys.executable, PRINTS], check=False, capture_output=True,
        env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
