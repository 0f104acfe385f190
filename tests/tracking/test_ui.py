"""MLflow's own pages in a real browser: runs of three methods, their curves on the same axes."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from importlib.util import find_spec

import pytest

from chromium import CHROMIUM, open_browser

from .conftest import SHORT

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not CHROMIUM or find_spec("playwright") is None,
        reason="needs Chromium and the extra `browser`",
    ),
]
NAMES = [
    "smoke, sspcm, 12 labels, seed 0",
    "smoke, supervised, 12 labels, seed 0",
    "smoke, pose_dual, 12 labels, seed 0",
]


@pytest.fixture(scope="module")
def compared(make_tracked):
    """A project with a run of each of three methods, and what MLflow holds of it."""
    project, book = make_tracked("compared")
    project.run("warmup", "round_1", training=SHORT["training"])
    for kind in ("supervised", "pose_dual"):
        project.run("comparison", training=SHORT["training"], comparison={"kind": kind})
    return project, book


@pytest.fixture(scope="module")
def address(compared):
    """Of a server as ``make ui`` starts it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = ["server", "--backend-store-uri", compared[1].uri, "--workers", "1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "mlflow", *command, "--port", str(port)],
        env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(f"{url}/health", process)
        yield url
    finally:
        process.terminate()
        process.communicate(timeout=60)


def wait_for(url: str, process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + 180
    while True:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        try:
            urllib.request.urlopen(url, timeout=10).close()
            return
        except OSError:
            time.sleep(0.5)


@pytest.fixture
def page(address):
    with open_browser() as browser:
        page = browser.new_page(viewport={"width": 1500, "height": 1100})
        page.set_default_timeout(120_000)
        yield page


def test_the_curves_of_all_methods_lie_on_the_same_axes(compared, address, page, tmp_path):
    _, book = compared
    runs = book.runs()
    assert sorted(run.info.run_name for run in runs) == sorted(NAMES)
    experiment = runs[0].info.experiment_id
    page.goto(f"{address}/#/experiments/{experiment}/runs?compareRunsMode=CHART")
    for name in NAMES:
        page.get_by_text(name).first.wait_for()
    page.screenshot(path=os.environ.get("SSPCM_SCREENSHOT", str(tmp_path / "ui.png")))
