"""A plan for people: a table in the terminal, and a row of a document's table."""

from collections.abc import Mapping
from typing import Any

from rich.table import Table

UNKNOWN = "unknown"
Plan = Mapping[str, Any]

_SUMMED = ("flops", "stored_bytes")

COLUMNS = (
    "environment", "images a step", "passes a step, forward / backward", "TFLOP a step", "steps",
    "PFLOP, method", "PFLOP, comparison", "memory, GiB", "stored, GB", "data, GB",
    "hours x TFLOP/s, method", "comparison",
)  # fmt: skip


def plan_table(plan: Plan) -> Table:
    """All numbers, method and comparison side by side; the caption says how far they go."""
    height, width = plan["input_hw"]
    title = f"Plan: {height}x{width}, {plan['keypoints']} keypoints, batch {plan['batch']}"
    table = Table(title=title, caption="\n".join(_remarks(plan)), caption_justify="left")
    table.add_column("")
    both = [plan["method"], plan["comparison"]]
    for name in ("method", "comparison"):
        table.add_column(f"{name}: {plan[name]['kind']}", justify="right")

    def row(name: str, of: Any) -> None:
        table.add_row(name, *(of(entry) for entry in both))

    for stage, name in (("warmup", "warm-up"), ("rest", "after it")):
        row(f"{name}: optimizer steps", lambda e, s=stage: f"{e['steps'][s]:,}")
        row("  labeled images a step", lambda e, s=stage: _images(e["step"][s], "labeled"))
        row("  unlabeled images a step", lambda e, s=stage: _images(e["step"][s], "unlabeled"))
        row("  forward passes a step", lambda e, s=stage: str(e["step"][s]["forwards"]))
        row("  backward passes a step", lambda e, s=stage: str(e["step"][s]["backwards"]))
        row("  GFLOP a step, forward + backward",
            lambda e, s=stage: " + ".join(
                f"{e['step'][s][f'{way}_flops'] / 1e9:,.1f}" for way in ("forward", "backward")
            ))  # fmt: skip
        table.add_section()
    for part, name in (("warmup", "warm-up"), ("rest", "after it"), ("pseudo_labels", "labeling"),
                       ("monitor", "monitor"), ("evaluation", "evaluation"),
                       ("total", "whole run")):  # fmt: skip
        row(f"PFLOP, {name}", lambda e, p=part: _number(e["flops"].get(p, 0), 1e15))
    table.add_section()
    for part in ("parameters", "gradients", "optimizer", "activations", "total"):
        row(f"memory, {part}, GiB", lambda e, p=part: _number(e["memory"][p], 2**30))
    table.add_section()
    for part in ("checkpoints", "predictions", "corrected", "occluders", "total"):
        row(f"stored, {part}, GB", lambda e, p=part: _number(e["stored_bytes"].get(p, 0), 1e9))
    table.add_section()
    row("hours at 1 TFLOP/s", lambda e: f"{e['hours_per_tflops']:,.1f}")
    row("hours", lambda e: UNKNOWN if e["hours"] is None else f"{e['hours']:,.1f}")
    return table


def markdown_row(environment: str, plan: Plan) -> str:
    """The environment's line of a table with ``COLUMNS``."""
    method, comparison = plan["method"], plan["comparison"]
    step = method["step"]["rest"]
    cells = (
        environment,
        f"{step['labeled']} + {step['unlabeled']}",
        f"{step['forwards']} / {step['backwards']}",
        f"{step['flops'] / 1e12:.2f}",
        f"{sum(method['steps'].values()):,}",
        f"{method['flops']['total'] / 1e15:,.0f}{_more(method['flops'])}",
        f"{comparison['flops']['total'] / 1e15:,.0f}{_more(comparison['flops'])}",
        f"{method['memory']['total'] / 2**30:.1f}",
        f"{(method['stored_bytes']['total'] + comparison['stored_bytes']['total']) / 1e9:.1f}"
        f"{_more(method['stored_bytes'])}",
        _data(plan),
        f"{method['hours_per_tflops']:,.0f}{_more(method['flops'])}",
        f"{comparison['hours_per_tflops']:,.0f}{_more(comparison['flops'])}",
    )
    return f"| {' | '.join(cells)} |"


def markdown_table(plans: Mapping[str, Plan]) -> str:
    """Environments and their plans; "+" marks what is without an unknown part."""
    lines = [f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|"]
    return "\n".join([*lines, *(markdown_row(name, plan) for name, plan in plans.items())]) + "\n"


def _lacking(parts: Mapping[str, float | None]) -> list[str]:
    """What a total is without."""
    return [part for part, value in parts.items() if value is None]


def _more(parts: Mapping[str, float | None]) -> str:
    return "+" if _lacking(parts) else ""


def _data(plan: Plan) -> str:
    """GB of archives, of those whose size is known."""
    parts = plan["data_gb"]
    return f"{parts['total']:g}{_more(parts)}" if parts["total"] else UNKNOWN


def _images(step: Mapping[str, int], kind: str) -> str:
    """E.g. ``32 through 3``."""
    return f"{step[kind]:,} through {step[f'{kind}_networks']}" if step[kind] else "0"


def _number(value: int | None, unit: float) -> str:
    return UNKNOWN if value is None else f"{value / unit:,.3f}"


def _remarks(plan: Plan) -> list[str]:
    seen = plan["throughput"]
    if seen["measured"]:
        pace = f"Measured: {seen['tflops']:.3g} TFLOP/s on {seen['device']}, in steps of "
        pace += f"{seen['batch']} people of each kind, on noise; reading images is not in it."
    elif seen["tflops"] is not None:
        pace = f"Hours are for {seen['tflops']:g} TFLOP/s, as given (plan.tflops)."
    else:
        pace = "Nothing was measured: no GPU here, and plan.probe is off. Give plan.tflops, or "
        pace += "divide the hours at 1 TFLOP/s by what a device really does, not by its peak."
    people = ", ".join(f"{part} {UNKNOWN if count is None else f'{count:,}'}"
                       for part, count in plan["people"].items())  # fmt: skip
    sizes = ", ".join(f"{name} {count / 1e6:.1f} M" for name, count in plan["parameters"].items())
    remarks = [
        f"Parameters: {sizes}.",
        f"People: {people}.",
        f"Data to download, GB: {_data(plan)}.",
        pace,
        "Memory and disk are lower bounds: no workspace or fragmentation, no figures and tables.",
    ]
    entries = [plan[name][key] for name in ("method", "comparison") for key in _SUMMED]
    if lacking := sorted({part for parts in entries for part in _lacking(parts)}):
        remarks.append(
            f"Totals are without {', '.join(lacking)}, for lack of {', '.join(plan['unknown'])}."
        )
    return remarks
