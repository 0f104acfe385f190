"""Trained models from an MLflow server to this machine."""

from pathlib import Path

from mlflow.artifacts import download_artifacts
from mlflow.exceptions import MlflowException

from sspcm_kedro.errors import BadInput
from sspcm_kedro.tracking.database import mask


def fetch_model(uri: str) -> Path:
    """The folder into which a logged model was copied.

    Args:
        uri: ``runs:/...``, ``models:/...``, as MLflow's loaders take it; of the server of
            MLFLOW_TRACKING_URI.

    Raises:
        BadInput: there is no such model there.
    """
    try:
        return Path(download_artifacts(uri))
    except (MlflowException, OSError) as error:
        rule = f"must be a model that MLflow has ({mask(str(error))})"
        remedy = "Set MLFLOW_TRACKING_URI to its server, e.g. sqlite:///mlflow.db"
        raise BadInput(uri, rule, remedy) from None
