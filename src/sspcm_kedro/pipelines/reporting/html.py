"""The page as text: what its template shows, in plain words. The template escapes all of it."""

import json
from base64 import b64encode
from collections.abc import Mapping
from importlib.metadata import version
from importlib.resources import files
from pathlib import PurePath
from typing import Any, NamedTuple

from jinja2 import Environment, FunctionLoader, StrictUndefined

from sspcm_kedro.engine.evaluate import METRICS
from sspcm_kedro.figures.style import readable
from sspcm_kedro.pipelines.reporting.tables import Metrics, number

WEB = files("sspcm_kedro.pipelines.reporting") / "web"

FIGURES = {
    "learning_curves": (
        "Learning curves",
        "Scores on some of the validation people (monitor.people) after each epoch of training, "
        "without the mirrored view unless monitor.flip_test says so; what training minimizes "
        "(loss, without a unit, less is better), and the share of pseudo-labels that were kept. "
        "Across: optimizer steps. Solid lines are the method's networks, dashed ones the "
        "comparison. A gray line marks the first epoch of a stage.",
    ),
    "per_keypoint_pck": (
        "Found keypoints of every network",
        "The share of validation keypoints that a network finds {pck}. 1 is all of them.",
    ),
    "pseudo_label_quality": (
        "How right the pseudo-labels were",
        "The share of the unlabeled people's keypoints that were found {pck}, round by round, "
        "measured with labels that training never saw; gray bars: the share of them that was kept "
        "(many_view: that may be covered by pasted limbs; it learns from the others, too).",
    ),
    "pseudo_label_sheet": (
        "Pseudo-labels before and after correction",
        "Some unlabeled people of the last round, evenly taken. Before: what the labeling networks "
        "see. After: the one label made of it. Green dots are kept, red crosses are not: most "
        "methods that learn from stored labels learn from kept ones alone; many_view learns from "
        "each, as high as it is likely to be right, and pastes limbs over kept ones, or over any "
        "of a person who has none. White lines are the truth, where it is known; training never "
        "saw it.",
    ),
    "reliability_diagram": (
        "Do the probabilities hold?",
        "Left: the share of keypoints that are right, by how likely they were said to be; on the "
        "dotted line it is as said. Right: how far off they are in the median. Pseudo-labels are "
        "measured on labeled people who are held out and teach nobody, the shipped network on "
        "the validation people; every probability is by a curve that has not seen its person.",
    ),
}
"""Title and caption of each figure, by its name in the catalog, in the order of the page."""


class Numbers(NamedTuple):
    """The scores of a run.

    Attributes:
        choice: which network is shipped, and why.
        scores: of networks, by metric; None or nan where there is none.
        labels: of metrics that are called more than their name.
        per_keypoint: PCK (0 to 1) by network, then by keypoint's name.
        notes: on them, sentences.
    """

    choice: Mapping[str, Any]
    scores: Metrics
    labels: Mapping[str, str]
    per_keypoint: Mapping[str, Mapping[str, float]]
    notes: list[str]


def page_html(
    numbers: Numbers,
    record: Mapping[str, Any],
    cases: Mapping[str, Any],
    figures: Mapping[str, bytes],
) -> str:
    """The page, one file that needs no network.

    Args:
        numbers: the scores.
        record: what the run was, as the catalog's ``run_record``.
        cases: of validation people, as ``collect_cases`` gives them.
        figures: PNG files by their names in the catalog.
    """
    settings = record.get("settings", {})
    environment = Environment(
        loader=FunctionLoader(lambda name: (WEB / name).read_text("utf-8")),
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {"readable": readable, "number": number}
    pck = pck_words(settings.get("evaluation.pck_threshold"), numbers.scores, numbers.labels)
    shown = {
        name: (title, caption.format(pck=pck), data_uri(figures[name]))
        for name, (title, caption) in FIGURES.items()
        if name in figures
    }
    return environment.get_template("page.html").render(
        title=title_of(record, settings),
        facts=facts(record, settings),
        changed=record.get("changed", {}),
        choice=numbers.choice,
        interval=interval(numbers.choice),
        scores=score_rows(numbers),
        networks=list(numbers.scores),
        notes=numbers.notes,
        keypoints=keypoint_rows(cases, numbers.per_keypoint),
        cases=cases,
        figures=shown,
        pck=pck,
        version=version("sspcm-kedro"),
        data=as_script(cases),
        style=(WEB / "page.css").read_text("utf-8"),
        script=(WEB / "page.js").read_text("utf-8"),
    )


def title_of(record: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    """Such as ``sspcm against supervised, 100 labels``."""
    kinds = [readable(str(settings[f"{name}.kind"])) for name in ("method", "comparison")
             if f"{name}.kind" in settings]  # fmt: skip
    people = record.get("people", {}).get("labeled")
    labels = [] if people is None else [f"{people} labeled people"]
    return ", ".join([" against ".join(kinds), *labels] if kinds else ["Report"])


def facts(record: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, str]:
    """What, when, which data, which code, how long: a line each of what is known."""
    found: dict[str, str] = {}
    if "made" in record:
        found["When"] = f"{record['made']} UTC"
    if "environment" in record:
        found["What"] = f"Kedro environment {record['environment']}, seed {settings.get('seed')}"
    if people := record.get("people"):
        root = settings.get("source.root")
        where = f", folder {PurePath(str(root)).name}" if root else ""
        counts = ", ".join(
            f"{count} {name} people on {record['images'][name]} images"
            for name, count in people.items()
        )
        found["Data"] = (
            f"{settings.get('source.kind', 'people')}{where}: {counts}; {record['keypoints']} "
            f"keypoints (digest {record['data']})"
        )
    if "network.kind" in settings:
        found["Networks"] = network_words(settings)
    if revision := record.get("revision"):
        changes = ", with changes that are not committed" if revision["dirty"] else ""
        found["Code"] = f"commit {revision['commit'][:12]} on {revision['branch']}{changes}"
    elif "revision" in record:
        found["Code"] = "no Git commit"
    trained = record.get("seconds", {})
    for name, seconds in trained.items():
        if seconds is not None:
            which = "Training of the method" if name == "method" else "Training of the comparison"
            found[which] = f"{duration(seconds)} (optimizer steps alone)"
    if trained.get("method") and trained.get("comparison"):
        share = trained["method"] / trained["comparison"]
        found["Training of the method"] += f", {share:.1f} times the comparison's"
    return found


def network_words(settings: Mapping[str, Any]) -> str:
    """Such as ``simple baseline on resnet18``, or the same of each role where they differ."""

    def called(where: str) -> str:
        kind, backbone = readable(settings[f"{where}.kind"]), settings.get(f"{where}.backbone")
        return f"{kind} on {backbone}" if backbone else kind

    if settings["network.kind"] != "teacher_student":
        return called("network")
    parts = {"teachers": "teacher", "student": "student"}
    if "network.teacher_b.kind" in settings:
        parts = {"teacher a": "teacher", "teacher b": "teacher_b", "student": "student"}
    return ", ".join(f"{role}: {called(f'network.{part}')}" for role, part in parts.items())


def duration(seconds: float) -> str:
    """Such as ``42 s``, ``12 min`` or ``3 h 20 min``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


def pck_words(threshold: Any, scores: Metrics, labels: Mapping[str, str]) -> str:
    """What counts as found: ``within 20 % of the torso's length``."""
    unit = "torso's length" if "torso" in labels.get("PCK", "") else "longer side of the box"
    return f"within {100 * threshold:g} % of the {unit}" if threshold else f"near the {unit}"


def interval(choice: Mapping[str, Any]) -> dict[str, float] | None:
    """Where in percent of a bar that ends at twice the farther end the gain, its interval and zero
    stand."""
    low, high, gain = (choice.get(name) for name in ("low", "high", "gain"))
    if low is None or high is None or gain is None:
        return None
    reach = 1.25 * max(abs(low), abs(high), 1e-9)
    return {name: round(50 + 50 * value / reach, 2)
            for name, value in (("low", low), ("high", high), ("gain", gain))}  # fmt: skip


def score_rows(numbers: Numbers) -> list[dict[str, Any]]:
    """A row a metric that some network has: those of ``METRICS`` in its order, then others."""
    names = dict.fromkeys(name for row in numbers.scores.values() for name in row)
    notes = {metric.name: metric.description for metric in METRICS if metric.name in names}
    return [
        {
            "label": numbers.labels.get(name, readable(name)),
            "note": notes.get(name, ""),
            "values": [number(row.get(name)) for row in numbers.scores.values()],
        }
        for name in {**notes, **names}
    ]


def keypoint_rows(
    cases: Mapping[str, Any], found: Mapping[str, Mapping[str, float]]
) -> list[dict[str, Any]]:
    """A row a keypoint: its name, how many labels, and of each network of ``cases`` mean and median
    error in image pixels, and PCK."""
    return [
        {
            "name": name,
            "labels": cases["labels"][place],
            "networks": [
                {"mean": own["mean"][place], "median": own["median"][place],
                 "pck": found.get(network, {}).get(name)}
                for network, own in cases["networks"].items()
            ],
        }
        for place, name in enumerate(cases["keypoints"])
    ]  # fmt: skip


def as_script(values: Any) -> str:
    """Values as JSON that ends no element of HTML, whatever texts are in it."""
    text = json.dumps(values, separators=(",", ":"), allow_nan=False)
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def data_uri(png: bytes) -> str:
    """A PNG file as an address that holds it."""
    return f"data:image/png;base64,{b64encode(png).decode('ascii')}"
