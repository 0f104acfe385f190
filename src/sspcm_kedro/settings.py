"""Kedro's settings: hooks and how configuration is read."""

import os

from sspcm_kedro.hooks import GracefulStop, KnownParameters, PipelineShape, PreparedMachine

HOOKS = (PipelineShape(), KnownParameters(), GracefulStop(), PreparedMachine())
CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "local",
    "custom_resolvers": {"env": os.environ.get},
    "merge_strategy": {"globals": "soft", "parameters": "destructive"},
}
# kedro-mlflow's own hooks start a run in MLflow's retired file store before anything is configured.
DISABLE_HOOKS_FOR_PLUGINS = ("kedro_mlflow",)
