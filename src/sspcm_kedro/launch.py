"""``kedro run`` on a machine with several GPUs: a process each, by PyTorch's elastic launcher."""

import logging
import os
import signal
from collections.abc import Callable
from typing import Any

import torch
from kedro.framework.project import pipelines
from kedro.framework.session import KedroSession
from kedro.pipeline import Pipeline
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from sspcm_kedro import ranks
from sspcm_kedro.engine.optimizer import TrainingConfig
from sspcm_kedro.errors import BadInput
from sspcm_kedro.machine import MachineConfig
from sspcm_kedro.runner import SHARED

logger = logging.getLogger(__name__)
Options = dict[str, Any]
"""Of ``kedro run``, as click reads them."""


def processes_for(options: Options) -> int:
    """How many processes a run is best done by on this machine.

    As many as there are GPUs, of those numbers that the shards of a batch can be dealt out to. One
    where the run asks for one device or a runner, and where nothing of it trains or predicts.
    """
    if options["runner"] is not None:
        return 1
    session = KedroSession.create(
        env=options["env"], conf_source=options["conf_source"], runtime_params=options["params"]
    )
    known = session.load_context().params
    names = [options["pipeline"]] if options["pipeline"] else options["pipelines"]
    asked = [pipelines[name] for name in names or ["__default__"] if name in pipelines]
    gpus = torch.cuda.device_count()
    return shared_by(gpus, sum(asked, Pipeline([])), known["machine"], known["training"])


def shared_by(
    gpus: int, pipeline: Pipeline, machine: MachineConfig, training: TrainingConfig
) -> int:
    """How many of so many GPUs a pipeline uses."""
    if machine.device not in ("auto", "cuda") or not pipeline.only_nodes_with_tags(SHARED).nodes:
        return 1
    if not pipeline.only_nodes_with_tags("training").nodes:
        return gpus
    count = max(n for n in range(1, gpus + 1) if training.shards % n == 0)
    if count < gpus:
        logger.warning(
            "%d of %d GPUs are used: training.shards = %d, the parts of a batch that processes "
            "share (docs/scale.md)", count, gpus, training.shards,
        )  # fmt: skip
    return count


def launch(processes: int, run: Callable[[Options], None], options: Options) -> None:
    """Run in so many processes of this machine; the first of them is the one that people see.

    Args:
        processes: how many.
        run: what each does; a function of a module, which they import.
        options: what ``run`` is given.

    Raises:
        BadInput: a process was killed.
        SystemExit: one ended with an error, of which it has told, or a signal ended all.
    """
    logging.disable(logging.CRITICAL)  # the launcher would tell of errors in its own way, too
    config = LaunchConfig(
        min_nodes=1, max_nodes=1, nproc_per_node=processes, run_id=ranks.RUN,
        rdzv_backend="c10d", rdzv_endpoint="localhost:0", local_addr="localhost",
        max_restarts=0, logs_specs=DefaultLogsSpecs(log_dir=os.devnull),
    )  # fmt: skip
    try:
        elastic_launch(config, run)(options)
    except ChildFailedError as error:
        number, failure = error.get_first_failure()
        if failure.exitcode >= 0:
            raise SystemExit(failure.exitcode) from None
        rule = f"must live as long as the others, and {signal.Signals(-failure.exitcode).name} "
        rule += "has ended it"
        remedy = "The same command goes on from what is stored; SIGKILL often says that the "
        remedy += "computer had no memory left: lower machine.crop_memory_gib"
        raise BadInput(f"process {number + 1} of {processes}", rule, remedy) from None
    except SignalException as error:
        raise SystemExit(128 + error.sigval) from None
    finally:
        logging.disable(logging.NOTSET)
