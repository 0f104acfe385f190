"""What Kedro tells, handed on to the log; MLflow (seconds to import) only where there is one."""

import atexit
import os
from typing import TYPE_CHECKING, Any

from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from sspcm_kedro import ranks
from sspcm_kedro.errors import BadInput

if TYPE_CHECKING:
    from sspcm_kedro.tracking.log import Log

UNTRACKED = {
    "drawn_folder", "instances", "skeleton", "labeled", "unlabeled", "validation", "hidden_truth",
    "ignored", "images", "video_frames", "crop_cache", "download_report", "plan",
    "prediction_instances", "prediction_keypoints", "predicted_keypoints",
    "prediction_overlays", "test_predictions", "coco_submission",
    "mpii_submission", "comparison_network", "student_network", "trained_model",
    "onnx_model",
}  # fmt: skip
"""What download and ingestion make, the people of many experiments and of none alone; plans; and
what a trained network is used for."""


class Tracking:
    """Records each training as one MLflow run, however many processes make it.

    ``SSPCM_TRACKING=off`` turns it off.
    """

    def __init__(self) -> None:
        self._context: KedroContext | None = None
        self._log: Log | None = None
        self._at_exit = False

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        self._context = context

    @hook_impl
    def before_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol
    ) -> None:
        self._close("KILLED")  # of a run in this process that was interrupted
        if os.environ.get("SSPCM_TRACKING") == "off" or not pipeline.all_outputs() - UNTRACKED:
            return
        if ranks.rank() > 0:  # the first process saves, and tells
            return
        if "ParallelRunner" in str(run_params.get("runner")):
            raise BadInput(
                "--runner ParallelRunner",
                "cannot be tracked: its processes do not know of each other",
                "Use the default runner, or set SSPCM_TRACKING=off.",
            )
        from sspcm_kedro.tracking.log import Log  # noqa: PLC0415

        assert self._context is not None
        trains = any(name.endswith("_checkpoint") for name in pipeline.all_outputs())
        self._log = Log(self._context, catalog, trains=trains)
        if not self._at_exit:
            # Kedro's error hook hears of no KeyboardInterrupt and no Terminated.
            atexit.register(self._close, "KILLED")
            self._at_exit = True

    @hook_impl
    def before_node_run(self, node: Node) -> None:
        if self._log is not None and any(name.endswith("_checkpoint") for name in node.outputs):
            self._log.begin(node.outputs)

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any) -> None:
        if self._log is not None:
            self._log.saved(dataset_name, data)

    @hook_impl
    def after_pipeline_run(self) -> None:
        self._close("FINISHED")

    @hook_impl
    def on_pipeline_error(self) -> None:
        self._close("FAILED")

    def _close(self, status: str) -> None:
        log, self._log = self._log, None
        if log is not None:
            log.close(status)
