"""One experiment as an MLflow run: found by its key, or made; written so that twice is as once."""

import math
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import mlflow
from mlflow import MlflowClient
from mlflow.entities import (
    Dataset,
    DatasetInput,
    InputTag,
    LoggedModelStatus,
    Metric,
    Param,
    RunTag,
)
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, DataType, Schema
from mlflow.types.schema import AnyType, Array, Object, Property

from sspcm_kedro.tracking.identity import Identity

T = TypeVar("T")
EVALUATED = ("final/", "pseudo_labels/", "choice/")
"""Metrics that evaluation makes; all others are curves of training."""

NOTE = "mlflow.note.content"
"""MLflow's description of a run."""
SHIPPED = "shipped"
"""The alias of the registered model's version that the newest evaluation ships."""


class Point(NamedTuple):
    """A number at an optimizer step."""

    name: str
    step: int
    value: float


class Run:
    """The run of an experiment; MLflow is first asked when there is something to write.

    Args:
        client: of the server.
        experiment: the MLflow experiment's id.
        identity: what the run is found by, called and described with.
        tags: of the process.
    """

    def __init__(
        self, client: MlflowClient, experiment: str, identity: Identity, tags: dict[str, str]
    ) -> None:
        self.client, self.experiment, self.identity, self.tags = client, experiment, identity, tags
        self._id: str | None = None
        self._seen: dict[str, dict[int, float]] = {}

    def open(self) -> str:
        """The id of the run, which then is RUNNING."""
        if self._id is None:
            run_id = self.find() or self._create()
            self.client.update_run(run_id, status="RUNNING")
            self._describe(run_id)
            self._id = run_id
            sister = self._newest(f"tags.training = '{self.identity.training}'", but=run_id)
            if sister and not any(is_curve(name) for name in self._metrics(run_id)):
                self._take_over(sister)
        return self._id

    def find(self) -> str | None:
        """The id of the run if there is one."""
        return self._newest(f"tags.key = '{self.identity.key}'")

    def is_trained(self) -> bool:
        """Whether there is the run, or another of the same training."""
        of_training = f"tags.training = '{self.identity.training}'"
        return self._id is not None or bool(self.find() or self._newest(of_training))

    def _newest(self, where: str, but: str | None = None) -> str | None:
        found = self.client.search_runs([self.experiment], where)  # newest first
        kept = [r for r in found if r.info.run_id != but and "superseded_by" not in r.data.tags]
        return kept[0].info.run_id if kept else None

    def _create(self) -> str:
        tags = {"key": self.identity.key, "training": self.identity.training}
        run = self.client.create_run(self.experiment, run_name=self.identity.name, tags=tags)
        return run.info.run_id

    def _describe(self, run_id: str) -> None:
        """Settings (again the same, or MLflow refuses) and the process's tags."""
        params = [Param(k, str(v)[:6000]) for k, v in self.identity.params.items()]
        tags = [RunTag(k, v) for k, v in self.tags.items()]
        for part in parts(params, 100):
            self.client.log_batch(run_id, params=part)
        self.client.log_batch(run_id, tags=tags)

    def curves(self, points: Iterable[Point]) -> None:
        """Write the part of the curves that the run does not have yet.

        Where a loss differs from the one at the same step, this is another training of the same
        settings (its checkpoint was deleted, and the device is not exact): it gets a run of its
        own, which shares the curves up to there.
        """
        points = list(points)
        self.open()
        apart = [p.step for p in points if "loss" in p.name and self._differs(p)]
        if apart:
            self._renew(min(apart))
        self._send([p for p in points if p.step not in self._known(p.name)])

    def numbers(self, points: Iterable[Point]) -> None:
        """Write numbers of which the last one counts."""
        self.open()
        self._send([p for p in points if self._known(p.name).get(p.step) != p.value])

    def inputs(self, tables: Iterable[tuple[Dataset, str]]) -> None:
        """Say from which tables of people the run learns; again the same adds nothing.

        Args:
            tables: each with what it is for.
        """
        context = "mlflow.data.context"
        given = [DatasetInput(table, [InputTag(context, use)]) for table, use in tables]
        self.client.log_inputs(self.open(), datasets=given)

    def file(self, path: Path, folder: str | None = None) -> None:
        """Write a file, over the one of that name."""
        self.client.log_artifact(self.open(), str(path), folder)

    def model(
        self, folder: Path, example: list[dict[str, Any]], step: int, requirements: list[str]
    ) -> None:
        """Write the trained network as an MLflow model named ``model``.

        Nothing of it is code or pickled: ``sspcm_kedro.serving`` of the installed package reads it.

        Args:
            folder: what ``sspcm_kedro.serving`` reads.
            example: what it may be asked, an image a record.
            step: optimizer steps it was trained.
            requirements: packages that serving needs.
        """
        run_id = self.open()
        params = {name: str(value) for name, value in self.identity.params.items()}
        drop_pending_models(self.client, self.experiment, run_id)  # of a process that was killed
        made = self.client.create_logged_model(self.experiment, "model", run_id, params=params)
        try:
            with use_tracking_uri(self.client.tracking_uri):
                Model.log(
                    None,
                    mlflow.pyfunc,
                    name="model",
                    run_id=run_id,
                    model_id=made.model_id,
                    step=step,
                    loader_module="sspcm_kedro.serving",
                    data_path=str(folder),
                    pip_requirements=requirements,
                    input_example=example,
                    signature=signature(),
                )
        except BaseException:  # a signal too
            with suppress(Exception):  # the server may be what failed
                self.client.delete_logged_model(made.model_id)
            raise

    def name_shipped(self, registry: str) -> None:
        """Make the run's model the version of a registered model that has the alias ``shipped``;
        it is described by why it ships.

        Args:
            registry: the registered model's name; it is made if there is none.
        """
        where = f"source_run_id = '{self.open()}'"
        found = self.client.search_logged_models([self.experiment], where)  # newest first
        models = [model for model in found if model.status == LoggedModelStatus.READY]
        if not models:
            return
        if not self.client.search_registered_models(f"name = '{registry}'"):
            self.client.create_registered_model(registry)
        model, versions = models[0], self.client.search_model_versions(f"name = '{registry}'")
        version = next((v for v in versions if v.run_id == self.open()
                        and v.source == model.model_uri), None)  # fmt: skip
        if version is None:
            with use_tracking_uri(self.client.tracking_uri):  # which it looks the model up in
                version = self.client.create_model_version(
                    registry, model.model_uri, self.open(), model_id=model.model_id
                )
        self.client.set_registered_model_alias(registry, SHIPPED, version.version)
        self.client.update_model_version(registry, version.version, self.tag(NOTE) or "")

    def tag(self, name: str) -> str | None:
        """The value of a tag."""
        return self.client.get_run(self.open()).data.tags.get(name)

    def set_tag(self, name: str, value: str) -> None:
        self.client.set_tag(self.open(), name, value)

    def end(self, status: str) -> None:
        """Close the run if it was opened."""
        if self._id is not None:
            self.client.set_terminated(self._id, status)
            self._id = None

    def _metrics(self, run_id: str) -> dict[str, float]:
        return self.client.get_run(run_id).data.metrics

    def _known(self, name: str) -> dict[int, float]:
        """Steps and values of a metric that the run has."""
        if name not in self._seen:
            history = self.client.get_metric_history(self.open(), name)
            self._seen[name] = {metric.step: metric.value for metric in history}
        return self._seen[name]

    def _differs(self, point: Point) -> bool:
        known = self._known(point.name).get(point.step)
        return known is not None and not math.isclose(known, point.value, rel_tol=1e-9)

    def _send(self, points: Sequence[Point]) -> None:
        now = int(time.time() * 1000)
        points = [point for point in points if math.isfinite(point.value)]
        try:
            for part in parts(points, 1000):
                metrics = [Metric(p.name, p.value, now, p.step) for p in part]
                self.client.log_batch(self.open(), metrics=metrics)
            for point in points:
                self._known(point.name)[point.step] = point.value
        except BaseException:  # what has arrived of it is asked for before the next attempt
            self._seen.clear()
            raise

    def _renew(self, step: int) -> None:
        """Go on in a new run, with the curves of this one before ``step``."""
        old, new = self.open(), self._create()
        self.client.set_tag(old, "superseded_by", new)
        self.client.set_terminated(old, "KILLED")
        self._id = new
        self._describe(new)
        self._take_over(old, before=step)

    def _take_over(self, other: str, before: float = math.inf) -> None:
        """Curves and tables of people of another run of the same training: only the process that
        trains tells them."""
        inputs = self.client.get_run(other).inputs
        if inputs and inputs.dataset_inputs:
            self.client.log_inputs(self.open(), datasets=inputs.dataset_inputs)
        self._seen.clear()
        names = [name for name in self._metrics(other) if is_curve(name)]
        metrics = [m for name in names for m in self.client.get_metric_history(other, name)]
        self._send([Point(m.key, m.step, m.value) for m in metrics if m.step < before])


def signature() -> ModelSignature:
    """What ``sspcm_kedro.serving`` takes and gives."""
    number, text = DataType.double, DataType.string
    values = [Property("name", text), *(Property(n, number) for n in ("x", "y", "score")),
              Property("probability", number, required=False)]  # fmt: skip
    person = [Property("box", Array(number)), Property("keypoints", Array(Object(values)))]
    return ModelSignature(
        Schema([ColSpec(AnyType(), "image"), ColSpec(AnyType(), "boxes", required=False)]),
        Schema([ColSpec(Array(Object(person)), "people")]),
    )


def drop_pending_models(client: MlflowClient, experiment: str, run_id: str) -> None:
    """Delete a run's models whose upload was broken off."""
    for model in client.search_logged_models([experiment], f"source_run_id = '{run_id}'"):
        if model.status == LoggedModelStatus.PENDING:  # MLflow does not find by status
            client.delete_logged_model(model.model_id)


@contextmanager
def use_tracking_uri(uri: str) -> Iterator[None]:
    """Models are logged to the server that global state and environment name; both are restored."""
    before = os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(None)  # pyright: ignore[reportArgumentType]: forgets it
        if before is not None:
            os.environ["MLFLOW_TRACKING_URI"] = before


def parts(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """The items, ``size`` at a time: a request of MLflow holds so many."""
    return (items[start : start + size] for start in range(0, len(items), size))


def is_curve(name: str) -> bool:
    return not name.startswith(EVALUATED)
