"""Freed memory is used again, where the C library can be told so."""

import platform
import subprocess
import sys

import pytest

PROBE = """
import resource, sys, torch
from sspcm_kedro.engine.determinism import configured_torch
from sspcm_kedro.machine import MachineConfig

values = torch.ones(12, 2**20, requires_grad=True)  # 48 MiB, and so is each tensor made of it

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(3):
        ((values + 1) * 2).square().sum().backward()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

if sys.argv[1] == "kept":
    with configured_torch(MachineConfig(device="cpu")):
        pass
faults()
print(faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have no setting")
def test_steps_take_the_pages_that_those_before_have_freed():
    found = {
        how: int(subprocess.check_output([sys.executable, "-c", PROBE, how]))
        for how in ("as it is", "kept")
    }
    assert found["kept"] < found["as it is"] / 2
