"""How Kedro runs nodes in each of several processes (``sspcm_kedro.ranks``)."""

from typing import Any

from kedro.framework.hooks.manager import _NullPluginManager
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline
from kedro.runner import SequentialRunner
from kedro.runner.task import Task
from pluggy import PluginManager

from sspcm_kedro import ranks

SHARED = "gpu"
"""The tag of nodes that train or predict: all processes run them, each its part."""


class ReadOnly:
    """A catalog whose data another process saves."""

    def __init__(self, catalog: CatalogProtocol) -> None:
        self._catalog = catalog

    def __getattr__(self, name: str) -> Any:
        return getattr(self._catalog, name)

    def save(self, name: str, data: Any) -> None:
        """Saves nothing."""


class RankedRunner(SequentialRunner):
    """Nodes that train or predict run in every process, all others in the first, which alone saves
    and is the only one that hooks hear of. After each node all wait for each other."""

    def _filter_pipeline_for_missing_outputs(
        self, pipeline: Pipeline, catalog: CatalogProtocol
    ) -> Pipeline:
        """What the first process finds missing: it may save a node's outputs before another has
        looked, which would then run other nodes."""
        names: list[str] = []
        if ranks.rank() == 0:
            missing = super()._filter_pipeline_for_missing_outputs(pipeline, catalog)
            names = [node.name for node in missing.nodes]
        names, *_ = ranks.exchange(names)
        return pipeline.only_nodes(*names) if names else Pipeline([])

    def _run(
        self, pipeline: Pipeline, catalog: CatalogProtocol,
        hook_manager: PluginManager | None = None, run_id: str | None = None,
    ) -> None:  # fmt: skip
        first, done = ranks.rank() == 0, 0
        mine: Any = catalog if first else ReadOnly(catalog)
        hooks: Any = hook_manager if first else _NullPluginManager()
        self._logger.info("%d processes share the nodes that train or predict", ranks.world())
        for node in pipeline.nodes:
            if first or SHARED in node.tags:
                Task(node, mine, self._is_async, hooks, run_id).execute()
            ranks.wait()
            done += 1
            self._logger.info("Completed node: %s", node.name)
            self._logger.info("Completed %d out of %d tasks", done, len(pipeline.nodes))
