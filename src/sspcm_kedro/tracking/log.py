"""From what a run of the pipelines saves to what its MLflow runs hold."""

import json
import logging
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from importlib.metadata import version
from numbers import Real
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from kedro.framework.context import KedroContext
from kedro.io import CatalogProtocol
from mlflow.entities import Dataset

from sspcm_kedro.data.views import crops_of, plain_pixels
from sspcm_kedro.datasets.figure import FigureDataset
from sspcm_kedro.datasets.tensors import TensorsDataset
from sspcm_kedro.engine.choice import Choice
from sspcm_kedro.engine.confidence import Confidence
from sspcm_kedro.engine.evaluate import HEADLINES
from sspcm_kedro.engine.export import TrainedModel
from sspcm_kedro.engine.fingerprint import fingerprint, people_text
from sspcm_kedro.parameters import parse
from sspcm_kedro.run_settings import typed
from sspcm_kedro.serving import DECODING, WEIGHTS, as_base64
from sspcm_kedro.tracking.identity import Trained, identify, people_of
from sspcm_kedro.tracking.run import NOTE, Point, Run
from sspcm_kedro.tracking.store import Store, TrackingConfig
from sspcm_kedro.tracking.surroundings import tags_of
from sspcm_kedro.tracking.system import SystemMonitor

logger = logging.getLogger(__name__)

PEOPLE = ("labeled", "unlabeled", "validation", "ignored")
USES = {"labeled": "training", "unlabeled": "pseudo-labels", "validation": "validation"}
"""What MLflow shows as a run's data sets, and what for."""
FIRST = "Score"
"""MLflow orders charts by name, capitals before all other letters: charts begin with these."""
COMPARING = {
    "learning_curves",
    "prediction_sheet",
    "per_keypoint_pck",
    "choice",
    "metrics",
    "report",
}
"""What shows the comparison beside the method: both runs have it."""


class Log:
    """The MLflow runs of one process: of the method, of the comparison, or of both.

    Args:
        context: of the session; its settings say where runs are recorded.
        catalog: of the run.
        trains: whether the run trains. One that does not writes into runs of the same training that
            there are, and makes none: it would have no curves.

    Raises:
        BadInput: the tracking server cannot be used.
    """

    def __init__(self, context: KedroContext, catalog: CatalogProtocol, trains: bool) -> None:
        self._catalog, self._root, self._trains = catalog, context.project_path, trains
        self._env = context.env if context.env not in (None, "local") else "base"
        self._raw = context.config_loader["parameters"]
        self._store = Store(
            parse("tracking", context.config_loader["tracking"], TrackingConfig), self._root
        )
        self._deployed: dict[str, str] = {}
        self._system = SystemMonitor()
        self._unknown: set[str] = set()

    def begin(self, outputs: list[str]) -> None:
        """A training begins that makes these outputs: its run shows in the list from now on."""
        self._write(outputs[0], "start", lambda run: run.open())
        self._write(outputs[0], "people", lambda run: run.inputs(self._tables))
        self._system.start()

    def saved(self, name: str, data: Any) -> None:
        """Record what a node has saved; most of it is not of interest."""
        if name.endswith("_checkpoint"):
            self._deployed[trained_by(name)] = data["deployed"]
        elif name.endswith("_history"):
            points = list(history_points(data, self._deployed[trained_by(name)]))
            self._write(name, name, lambda run: run.curves(points))
            if len(data):  # a checkpoint within the first epoch has none
                step = int(data["step"].iloc[-1])
                busy = [Point(key, step, value) for key, value in self._system.take().items()]
                self._write(name, "system metrics", lambda run: run.curves(busy))
        elif match := re.fullmatch(r"round_(\d+)_correction_report", name):
            self._numbers(name, correction_points(data, self._first_step(int(match[1]))))
        elif name == "pseudo_label_scores":
            self._numbers(name, pseudo_label_points(data, self._first_step))
        elif name == "network_scores":
            deployed = self._catalog.load("validation_predictions")["deployed"]
            self._numbers(name, score_points(data, deployed, self._last_step))
        elif name == "comparison_scores":
            deployed = next(iter(data))
            self._numbers(name, score_points(data, deployed, self._last_step))
        elif name in ("network_reliability", "comparison_reliability"):
            last = f"round_{self._settings['training'].rounds}_checkpoint"
            made = last if trained_by(name) == "method" else "comparison_checkpoint"
            self._write(name, "model", lambda run: self._model(run, self._deploys(made, data)))
        elif name in COMPARING or isinstance(self._catalog[name], FigureDataset):
            self._file(name)
        if name == "choice":
            self._chosen(Choice.from_dict(data))
        elif name == "trained_model":  # by now both models are there
            ships = Choice.from_dict(self._catalog.load("choice")).ships_network
            registry = self._store.name
            self._write(
                "choice" if ships else "comparison_", "registered model",
                lambda run: run.name_shipped(registry) if run.find() else None,
            )  # fmt: skip

    def close(self, status: str) -> None:
        self._system.stop()
        self._store.close(status)

    def _numbers(self, name: str, points: Iterable[Point]) -> None:
        points = list(points)
        self._write(name, name, lambda run: run.numbers(points))

    def _file(self, name: str) -> None:
        path = self._path(name)
        folder = "figures" if isinstance(self._catalog[name], FigureDataset) else None
        self._write(name, name, lambda run: run.file(path, folder))
        if name in COMPARING:
            self._write(
                "comparison_", name, lambda run: run.file(path, folder) if run.find() else None
            )

    def _chosen(self, choice: Choice) -> None:
        """Both runs are told whether their network is the one that is shipped, and why."""
        points = list(choice_points(choice, self._last_step))

        def tell(run: Run, ships: bool) -> None:
            run.set_tag("ships", str(ships).lower())
            run.set_tag(NOTE, f"{choice.reason} {choice.doubt}".strip())

        def tell_method(run: Run) -> None:
            run.numbers(points)
            tell(run, choice.ships_network)

        self._write("choice", "chosen", tell_method)
        self._write(
            "comparison_", "chosen",
            lambda run: tell(run, not choice.ships_network) if run.find() else None,
        )  # fmt: skip

    def _write(self, name: str, what: str, write: Callable[[Run], object]) -> None:
        run = self._run(trained_by(name))
        self._store.write(
            (run.identity.name, what), lambda: write(run) if self._may_write(run) else None
        )

    def _may_write(self, run: Run) -> bool:
        if self._trains or run.is_trained():
            return True
        if run.identity.key not in self._unknown:
            self._unknown.add(run.identity.key)
            logger.warning(
                "MLflow has no run of a training of these settings and today's code (%s), and "
                "nothing is recorded. Where the training had --params, give them again",
                run.identity.name,
            )  # fmt: skip
        return False

    def _run(self, trained: Trained) -> Run:
        if trained not in self._store.runs:
            identity = identify(trained, self._raw, self._env, self._people)
            self._store.runs[trained] = Run(
                self._store.client, self._store.experiment, identity, tags_of(self._root)
            )
        return self._store.runs[trained]

    @cached_property
    def _people(self) -> str:
        return people_of(
            {n: self._catalog.load(n) if self._catalog.exists(n) else None for n in PEOPLE}
        )

    @cached_property
    def _tables(self) -> list[tuple[Dataset, str]]:
        """The people of this ingestion, as MLflow's data sets, and what each table is for."""
        tables = []
        for name, use in USES.items():
            people, place = self._catalog.load(name), self._path(name).as_posix()
            profile, source = {"num_rows": len(people)}, {"uri": place}
            digest = fingerprint(people_text(people))
            tables.append((
                Dataset(name, digest, "local", json.dumps(source), profile=json.dumps(profile)), use
            ))  # fmt: skip
        return tables

    @cached_property
    def _settings(self) -> dict[str, Any]:
        return typed(self._raw)

    def _first_step(self, number: int) -> int:
        training = self._settings["training"]
        return training.span(number).start * training.steps

    @property
    def _last_step(self) -> int:
        training = self._settings["training"]
        return training.epochs * training.steps

    def _path(self, name: str) -> Path:
        return Path(self._catalog[name]._describe()["filepath"])

    def _deploys(self, checkpoint: str, measured: dict[str, Any]) -> TrainedModel:
        """The network that a training deploys, shipped or not, and how likely it is right."""
        return TrainedModel.from_checkpoint(
            self._catalog.load(checkpoint), self._catalog.load("skeleton"),
            self._settings["view"], self._settings["network"],
            confidence=Confidence.in_report(measured),
        )  # fmt: skip

    def _model(self, run: Run, model: TrainedModel) -> None:
        """The weights and how they are read, as an MLflow model; once, while they are the same."""
        network = model.to_tensors()
        evaluation = self._settings["evaluation"]
        decoding = evaluation.model_dump_json(include={"flip_test"})
        content = digest(network, decoding)
        if run.tag("model") == content:
            return
        view, machine = self._settings["view"], self._settings["machine"]
        person = crops_of(self._catalog.load("validation").take(slice(1)), view, machine)
        (pixels,) = plain_pixels(person[torch.arange(1)], view.input_hw).permute(0, 2, 3, 1).numpy()
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary) / "network"
            TensorsDataset(str(folder / WEIGHTS)).save(network)
            (folder / DECODING).write_text(decoding)
            run.model(
                folder,
                [{"image": as_base64(pixels)}],
                self._last_step,
                [f"{package}=={version(package)}" for package in ("sspcm-kedro", "torch")],
            )
        run.set_tag("model", content)


def trained_by(name: str) -> Trained:
    """Which training a dataset belongs to."""
    return "comparison" if name.startswith("comparison_") else "method"


def digest(weights: dict[str, Any], decoding: str) -> str:
    """Twelve digits that change when the network does. (Its file differs each time it is saved.)"""
    values = [weights[key] for key in sorted(weights)]
    parts = [v if isinstance(v, str) else v.cpu().numpy().tobytes() for v in values]
    return fingerprint(decoding, sorted(weights), *parts)


def history_points(history: pd.DataFrame, deployed: str) -> Iterator[Point]:
    """The numbers of each epoch at its last optimizer step.

    Those of the network that ships are there twice: under its name, and as ``deployed/...``, which
    all methods have. Its headlines stand once more where charts begin.
    """
    for row in history.drop(columns="stage").to_dict("records"):
        step = int(row.pop("step"))
        for name, value in row.items():
            yield Point(str(name), step, float(value))
            network, _, what = str(name).partition("/")
            if network == deployed:
                yield Point(f"deployed/{what}", step, float(value))
                if what in HEADLINES:
                    yield Point(f"{FIRST}/{what}", step, float(value))


def correction_points(report: dict[str, Any], step: int) -> Iterator[Point]:
    """What correction did with a round's pseudo-labels, at the step at which the round begins."""
    yield Point("correction/kept", step, report["kept"])
    for pair, share in report["pair_shares"].items():
        yield Point(f"correction/pair/{pair}", step, share)
    for quantile, value in report["inconsistency_quantiles"].items():
        yield Point(f"correction/inconsistency_q{quantile}", step, value)


def pseudo_label_points(
    rounds: list[dict[str, float]], first_step: Callable[[int], int]
) -> Iterator[Point]:
    """PCK of each round's pseudo-labels where the truth is known, at the round's first step."""
    for row in rounds:
        step = first_step(int(row["round"]))
        for name, value in row.items():
            if name != "round":
                yield Point(f"pseudo_labels/{name}", step, value)


def score_points(scores: dict[str, dict[str, Any]], deployed: str, step: int) -> Iterator[Point]:
    """Final scores: all of the deployed network as ``final/<metric>``, and where there are several
    networks the headlines of each as ``final/<network>/<metric>``."""
    for network, row in scores.items():
        for name, value in row.items():
            if isinstance(value, Real):
                if network == deployed:
                    yield Point(f"final/{name}", step, float(value))
                if len(scores) > 1 and name in HEADLINES:
                    yield Point(f"final/{network}/{name}", step, float(value))


def choice_points(choice: Choice, step: int) -> Iterator[Point]:
    """What the method's network gains over the comparison's, and how surely."""
    for name in ("gain", "low", "high", "better"):
        if (value := getattr(choice, name)) is not None:
            yield Point(f"choice/{name}", step, value)
