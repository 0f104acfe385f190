"""Kedro's settings: hooks and how configuration is read."""

import os

from sspcm_kedro.hooks import GracefulStop, KnownParameters, PipelineShape
from sspcm_kedro.tracking import Tracking

HOOKS = (PipelineShape(), KnownParameters(), GracefulStop(), Tracking())
# It would make a run a process, in a store that MLflow no longer has (docs/tracking.md).
DISABLE_HOOKS_FOR_PLUGINS = ("kedro_mlflow",)
CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "local",
    "config_patterns": {"tracking": ["tracking*"]},
    "custom_resolvers": {"env": os.environ.get},
    "merge_strategy": {"globals": "soft", "parameters": "destructive"},
}
