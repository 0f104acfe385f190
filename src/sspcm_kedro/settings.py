"""Kedro's settings: hooks and how configuration is read."""

import os

from sspcm_kedro.conf_files import StrictConfigLoader
from sspcm_kedro.hooks import (
    GracefulStop,
    KnownParameters,
    OneRun,
    PipelineShape,
    PreparedMachine,
)
from sspcm_kedro.ingestion_check import IngestionCheck
from sspcm_kedro.open_output import OpenOutput
from sspcm_kedro.parameters import TypedContext
from sspcm_kedro.run_settings import RunSettings
from sspcm_kedro.signpost import Signpost
from sspcm_kedro.tracking import Tracking

HOOKS = (
    PipelineShape(), KnownParameters(), PreparedMachine(), Tracking(), RunSettings(),
    GracefulStop(), OneRun(), OpenOutput(), Signpost(), IngestionCheck(),
)  # fmt: skip
"""Of those that come first, pluggy calls the last one first: the lock before all others."""
CONTEXT_CLASS = TypedContext
CONFIG_LOADER_CLASS = StrictConfigLoader
CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "local",
    "config_patterns": {"tracking": ["tracking*"]},
    "custom_resolvers": {"env": os.environ.get},
    "merge_strategy": {"globals": "soft", "parameters": "destructive"},
}
