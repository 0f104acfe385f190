"""Rounds: pseudo-labels, correction, Cut-Occlude and training, R times."""

from sspcm_kedro.pipelines.rounds.pipeline import create_pipeline

__all__ = ["create_pipeline"]
