"""``sspcm-kedro run`` (also ``python -m sspcm_kedro``), ``kedro run`` for an installed package, and
``sspcm-kedro start``."""

import copy
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from kedro.framework.cli.utils import find_run_command
from kedro.framework.project import configure_project
from kedro.utils import find_kedro_project

from sspcm_kedro.cli import start
from sspcm_kedro.errors import BadInput

EXAMPLES = """\b
Examples, in a folder with the project's settings (conf/):
  sspcm-kedro start FOLDER                           settings for your own project
  sspcm-kedro run --env smoke                        does it run here? under a minute
  sspcm-kedro run --params training.rounds=2,seed=1  the whole run, with other values
  sspcm-kedro run --pipelines prediction --params prediction.images=FOLDER
  sspcm-kedro run --conf-source SETTINGS --env lspet settings that lie elsewhere
"""


def main(args: Sequence[str] | None = None, **kwargs: Any) -> Any:
    """Run the pipelines of this package, in the project of the working folder.

    Args:
        args: as on the command line, from where they come by default; a first ``run`` says nothing,
            a first ``start`` is the command for a project of one's own.
        kwargs: of click's commands.
    """
    package = Path(__file__).parent.name
    configure_project(package)
    kwargs.setdefault("standalone_mode", not hasattr(sys, "ps1"))
    arguments = list(sys.argv[1:] if args is None else args)
    if arguments[:1] == ["start"]:
        return start(arguments[1:], prog_name=f"{Path(sys.argv[0]).name} start", **kwargs)
    if arguments[:1] == ["run"]:
        del arguments[0]
    run = find_run_command(package)
    command: Any = copy.copy(run)
    command.epilog, command.callback = EXAMPLES, _in_a_project(run)
    return command(arguments, **kwargs)


def _in_a_project(run: Any) -> Any:
    """What ``run`` does, where there are settings to run with."""

    def checked(**options: Any) -> Any:
        folder = find_kedro_project(Path.cwd()) or Path.cwd()
        if not options["conf_source"] and not (folder / "conf" / "base").is_dir():
            rule = "must hold the settings of a project (conf/base), and does not"
            remedy = "Go to the project's folder, or name its settings: --conf-source FOLDER"
            raise click.ClickException(str(BadInput(folder, rule, remedy)))
        return run.callback(**options)

    return checked


if __name__ == "__main__":
    main()
