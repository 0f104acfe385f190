"""A metric is named in the one table of ``engine.evaluate``; everything that shows it follows."""

import html
import io
import re
import threading

import pandas as pd
import pytest
from rich.console import Console

from sspcm_kedro.engine.evaluate import HEADLINES, METRICS, Metric
from sspcm_kedro.errors import BadInput
from sspcm_kedro.figures.charts import learning_curves
from sspcm_kedro.pipelines.reporting import tables
from sspcm_kedro.pipelines.reporting.html import page_html
from sspcm_kedro.pipelines.reporting.page import PublishedConfig, tell_scores
from sspcm_kedro.pipelines.reporting.tables import comparison_table
from sspcm_kedro.tracking.log import history_points, score_points
from sspcm_kedro.tracking.system import SystemMonitor

NETWORKS = ("teacher_a", "student")
NOBODY = {"keypoints": [], "labels": [], "people": 0, "rows": [], "networks": {}, "images": {}}


@pytest.mark.parametrize("name", HEADLINES)
def test_a_headline_has_a_learning_curve(name):
    columns = {f"{network}/{name}": [0.25, 0.5] for network in NETWORKS}
    figure = learning_curves({"SSPCM": pd.DataFrame({"step": [1, 2], **columns})})
    (panel,) = figure.axes
    assert panel.get_ylabel() == f"validation {name}"
    assert [line.get_label() for line in panel.get_lines()] == ["teacher a", "student"]
    assert panel.get_lines()[1].get_ydata().tolist() == [0.25, 0.5]


@pytest.mark.parametrize("name", HEADLINES)
def test_a_headline_of_each_network_is_tracked(name):
    scores = {"teacher_a": {name: 0.25}, "student": {name: 0.5, "APM": 0.125}}
    points = [(p.name, p.step, p.value) for p in score_points(scores, "student", 9)]
    assert points == [
        (f"final/teacher_a/{name}", 9, 0.25), (f"final/{name}", 9, 0.5),
        (f"final/student/{name}", 9, 0.5), ("final/APM", 9, 0.125),
    ]  # fmt: skip
    (alone,) = score_points({"pose_dual": {name: 0.5}}, "pose_dual", 9)
    assert (alone.name, alone.step, alone.value) == (f"final/{name}", 9, 0.5)


def test_charts_begin_with_the_network_that_ships():
    """MLflow sorts sections, which names have before their last slash, by code units."""
    row = {"step": 7, "stage": "round_1", "student/PCK": 0.5, "student/loss/a": 2.0, "kept": 0.75}
    points = [(p.name, p.step, p.value) for p in history_points(pd.DataFrame([row]), "student")]
    assert points == [
        ("student/PCK", 7, 0.5), ("deployed/PCK", 7, 0.5), ("Score/PCK", 7, 0.5),
        ("student/loss/a", 7, 2.0), ("deployed/loss/a", 7, 2.0), ("kept", 7, 0.75),
    ]  # fmt: skip
    assert min(name for name, *_ in [*points, ("choice/gain",), ("final/AP",)]) == "Score/PCK"


def test_the_machine_is_sampled_while_a_training_runs():
    monitor = SystemMonitor(seconds=0.01)
    assert monitor.take() == {}
    monitor.start()
    monitor.start()
    first = monitor.take()
    assert {"system/cpu_utilization_percentage", "system/system_memory_usage_megabytes"} <= set(
        first
    )
    assert first["system/system_memory_usage_megabytes"] > 1
    running = {thread.name for thread in threading.enumerate()}
    monitor.stop()
    left = {thread.name for thread in threading.enumerate()}
    assert "system metrics" in running and "system metrics" not in left and monitor.take() == {}


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_a_metric_is_in_the_table_if_it_says_so_and_in_the_report_always(metric, capsys):
    rows = {"pose_dual": {metric.name: 0.25}, "student": {metric.name: 0.375}}
    choice = {"ships": "student", "reason": "", "doubt": ""}
    numbers = tell_scores(
        {**rows, "choice": choice, "pseudo_labels": {}},
        {"pose_dual": rows["pose_dual"]},
        PublishedConfig(),
    )
    page = page_html(numbers, {}, NOBODY, {})
    assert html.escape(metric.description) in page.replace("&#39;", "&#x27;")
    assert f">{metric.name.replace('_', ' ')}</th>" in page
    assert "<td>0.250</td>" in page and "<td>0.375</td>" in page
    printed = capsys.readouterr().out
    assert ("+0.125" in printed) == (metric.shown != "report")
    table = comparison_table(rows, reference="pose_dual")
    headers = [str(column.header).replace("\n", " ") for column in table.columns]
    if metric.shown == "report":
        assert metric.name not in headers
    else:
        name = metric.name.replace("_", " ")
        assert headers == ["network", name, f"{metric.name} vs pose dual"]


@pytest.mark.parametrize(("higher", "style"), [(True, "32m"), (False, "31m")])
def test_a_gain_is_green_where_it_is_better(monkeypatch, higher, style):
    """An error that grows is red."""
    metric = Metric("NME", None, "an error", "headline", higher_is_better=higher)
    monkeypatch.setattr(tables, "METRICS", (*METRICS, metric))
    rows = {"baseline": {"NME": 0.25}, "student": {"NME": 0.375}}
    console = Console(file=io.StringIO(), force_terminal=True, color_system="standard", width=80)
    console.print(comparison_table(rows, reference="baseline"))
    printed = console.file.getvalue()  # pyright: ignore
    assert re.search(rf"\x1b\[{style} *\+0\.125", printed)


def test_numbers_that_do_not_say_what_is_shipped_are_refused(capsys):
    scores = {"baseline": {"AP": 0.25}}
    with pytest.raises(BadInput, match="kedro run --pipelines evaluation"):
        tell_scores({**scores, "pseudo_labels": {}}, scores, PublishedConfig())
    assert capsys.readouterr().out == ""
