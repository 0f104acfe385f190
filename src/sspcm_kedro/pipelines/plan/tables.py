"""A plan for people: a table in the terminal."""

from collections.abc import Mapping
from typing import Any

from rich.table import Table

UNKNOWN = "unknown"
Plan = Mapping[str, Any]


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
        for kind in ("labeled", "unlabeled"):
            row(f"  {kind} images a step", lambda e, s=stage, k=kind: _images(e["step"][s], k))
        for way in ("forward", "backward"):
            row(f"  {way} passes a step", lambda e, s=stage, w=way: str(e["step"][s][f"{w}s"]))
        row("  GFLOP a step, forward + backward", lambda e, s=stage: " + ".join(
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


def _lacking(parts: Mapping[str, float | None]) -> list[str]:
    """What a total is without."""
    return [part for part, value in parts.items() if value is None]


def mark_partial(parts: Mapping[str, float | None]) -> str:
    """A plus sign where a total is without a part."""
    return "+" if _lacking(parts) else ""


def known_gb(plan: Plan) -> str:
    """GB of archives, of those whose size is known."""
    parts = plan["data_gb"]
    return f"{parts['total']:g}{mark_partial(parts)}" if parts["total"] else UNKNOWN


def _images(step: Mapping[str, int], kind: str) -> str:
    """E.g. ``32 through 3``."""
    return f"{step[kind]:,} through {step[f'{kind}_networks']}" if step[kind] else "0"


def _number(value: int | None, unit: float) -> str:
    return UNKNOWN if value is None else f"{value / unit:,.3f}"


def _crops(cache: Mapping[str, Any]) -> str:
    if cache["kind"] == "none":
        return "Crops are not stored (machine.crop_cache)."
    return f"Stored crops ({cache['kind']}), GB: {_number(cache['bytes'], 1e9)}."


def _remarks(plan: Plan) -> list[str]:
    speed = plan["throughput"]
    if speed["measured"]:
        pace = f"Measured: {speed['tflops']:.3g} TFLOP/s on {speed['device']}, in steps of "
        pace += f"{speed['labeled']} people with labels and {speed['unlabeled']} without, "
        pace += "on noise; reading images is not in it."
    elif speed["tflops"] is not None:
        pace = f"Hours are for {speed['tflops']:g} TFLOP/s, as given (plan.tflops)."
    else:
        pace = "Nothing was measured: no GPU here, and plan.probe is off. Give plan.tflops, or "
        pace += "divide the hours at 1 TFLOP/s by what a device really does, not by its peak."
    people = ", ".join(f"{part} {UNKNOWN if count is None else f'{count:,}'}"
                       for part, count in plan["people"].items())  # fmt: skip
    sizes = ", ".join(f"{name} {count / 1e6:.1f} M" for name, count in plan["parameters"].items())
    remarks = [
        f"Parameters: {sizes}.",
        f"People: {people}.",
        f"Data to download, GB: {known_gb(plan)}.",
        _crops(plan["crop_cache"]),
        pace,
        "Memory and disk are lower bounds: no workspace or fragmentation, no figures and tables.",
    ]
    entries = [
        plan[name][key] for name in ("method", "comparison") for key in ("flops", "stored_bytes")
    ]
    if lacking := sorted({part for parts in entries for part in _lacking(parts)}):
        remarks.append(
            f"Totals are without {', '.join(lacking)}, for lack of {', '.join(plan['unknown'])}."
        )
    return remarks
