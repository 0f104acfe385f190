"""Predictions in the formats of other tools: one file a format, pure functions of arrays.

``export_predictions("deeplabcut", predictions)`` gives the files by name, ready to be written.
"""

from collections.abc import Callable
from typing import Literal

from sspcm_kedro.exports.coco import export_coco
from sspcm_kedro.exports.deeplabcut import draft_deeplabcut, export_deeplabcut
from sspcm_kedro.exports.label_studio import export_label_studio
from sspcm_kedro.exports.lightning_pose import draft_lightning_pose, export_lightning_pose
from sspcm_kedro.exports.predictions import Predictions
from sspcm_kedro.exports.sleap import export_sleap

__all__ = ["DRAFTS", "FORMATS", "DraftFormat", "ExportFormat", "Predictions", "export_drafts",
           "export_predictions"]  # fmt: skip

ExportFormat = Literal["deeplabcut", "lightning_pose", "coco", "label_studio", "sleap"]
DraftFormat = Literal["deeplabcut", "lightning_pose", "label_studio", "sleap"]

Writer = Callable[[Predictions], dict[str, bytes]]

FORMATS: dict[ExportFormat, Writer] = {
    "deeplabcut": export_deeplabcut,
    "lightning_pose": export_lightning_pose,
    "coco": export_coco,
    "label_studio": export_label_studio,
    "sleap": export_sleap,
}
"""How predictions are written."""

DRAFTS: dict[DraftFormat, Writer] = {
    "deeplabcut": draft_deeplabcut,
    "lightning_pose": draft_lightning_pose,
    "label_studio": export_label_studio,
    "sleap": export_sleap,
}
"""How drafts are written that somebody is to correct."""


def export_predictions(kind: ExportFormat, predictions: Predictions) -> dict[str, bytes]:
    """The content of each file of a format, by name.

    Raises:
        BadInput: the format cannot have these predictions, or its library is not installed.
    """
    return FORMATS[kind](predictions)


def export_drafts(kind: DraftFormat, predictions: Predictions) -> dict[str, bytes]:
    """The same of labels on images that somebody is to correct.

    Raises:
        BadInput: as for ``export_predictions``.
    """
    return DRAFTS[kind](predictions)
