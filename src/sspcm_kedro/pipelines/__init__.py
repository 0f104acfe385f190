"""The shell: thin nodes and their wiring, one folder a pipeline."""

from kedro.pipeline import Pipeline


def boxed(stage: str, pipeline: Pipeline) -> Pipeline:
    """The nodes as ``<stage>.<node>``, which kedro-viz shows as one box; data keep their names."""
    return Pipeline(pipeline, namespace=stage, prefix_datasets_with_namespace=False)


def by_name(*names: str, **others: str) -> dict[str, str]:
    """A node's inputs by argument; ``labeled`` and ``params:view`` go to those of their names.

    Args:
        names: datasets and parameters called as the arguments that they go to.
        others: the rest, by argument.
    """
    return {name.removeprefix("params:"): name for name in names} | others


def crop_cache(cached: bool) -> tuple[str, ...]:
    """The dataset of stored crops, where ``machine.crop_cache`` stores any."""
    return ("crop_cache",) if cached else ()
