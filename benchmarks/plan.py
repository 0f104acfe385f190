"""What a full run of each environment costs, as the table of docs/benchmarks.md.

    python benchmarks/plan.py [--env coco_1k coco_wild ...]

Runs the pipeline ``plan`` of every environment (by default those that name published scores), a
process each, and prints a markdown table. No data are needed and none are touched.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from sspcm_kedro.pipelines.plan.tables import markdown_table

PROJECT = Path(__file__).parents[1]


def benchmarks() -> list[str]:
    """Environments that stand beside published scores."""
    files = sorted(PROJECT.glob("conf/*/parameters.yml"))
    return [
        file.parent.name
        for file in files
        if file.parent.name != "base" and "published" in yaml.safe_load(file.read_text())
    ]


def plan_of(env: str) -> dict[str, Any]:
    """What pipeline ``plan`` writes for an environment."""
    command = [sys.executable, "-m", "kedro", "run", "--env", env, "--pipelines", "plan"]
    with tempfile.TemporaryDirectory() as folder:
        environ = {**os.environ, "SSPCM_DATA": folder}
        done = subprocess.run(
            [*command, "--params", "machine.device=cpu"], cwd=PROJECT, env=environ,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise SystemExit(f"{env}: failed\n{done.stdout}{done.stderr}")
        return json.loads((Path(folder) / "08_reporting" / "plan.json").read_text())


def main() -> None:
    """Plan, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--env", nargs="+", default=benchmarks())
    plans = {env: plan_of(env) for env in parser.parse_args().env}
    Console(width=1000).print(markdown_table(plans), highlight=False, markup=False)


if __name__ == "__main__":
    main()
