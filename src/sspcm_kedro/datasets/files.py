"""Kedro's own file datasets, written whole or not at all."""

from kedro_datasets import json, pandas, text

from sspcm_kedro.datasets.whole import WholeFile


class TableDataset(WholeFile, pandas.CSVDataset):
    """A pandas table as CSV."""


class JsonDataset(WholeFile, json.JSONDataset):
    """Plain values as JSON."""


class TextDataset(WholeFile, text.TextDataset):
    """Text."""
