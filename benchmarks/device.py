"""What this machine's GPU makes of the published environments' steps, as a table and as JSON.

    python benchmarks/device.py [--minutes 8] [--json FILE] [--env coco_1k ...] [--tiny]

Needs torch, torchvision, timm (and the PyYAML it brings), numpy, scipy, pandas, pillow,
safetensors, rich and pydantic, and no installation of this project. For every distinct step
(network, input, batch) of the published environments: images a second in fp32, tf32 and bf16,
as they are, recorded as graphs and with compiled networks, their share of the rate of the network
passes alone, and peak memory; in bf16 also the training loop itself, fed from stored crops, and the
share of its time
in which the host makes batches. The launches and stops of the method's own part of a step (passes
forward and losses; not the backward pass, the optimizer or the loader) are counted without a
device. A small step is compared with the CPU's, and with itself where ``deterministic``. What
there is no time or GPU for says "not measured", what fails says why. The JSON file is written anew
after each number.
"""

import argparse
import io
import json
import os
import platform
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

PROJECT = Path(__file__).parents[1]
sys.path[:0] = [str(PROJECT / "src"), str(PROJECT)]
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
try:
    import jaxtyping  # noqa: F401  # pyright: ignore[reportUnusedImport]
except ModuleNotFoundError:  # shapes in annotations, which nothing here reads

    class _Shape:
        def __class_getitem__(cls, _: object) -> object:
            return object

    stand_in: Any = ModuleType("jaxtyping")
    for name in ("Bool", "Float", "Int", "Real", "Shaped", "UInt8"):
        setattr(stand_in, name, _Shape)
    sys.modules["jaxtyping"] = stand_in
try:
    import psutil  # noqa: F401  # pyright: ignore[reportUnusedImport]
except ModuleNotFoundError:  # the memory of a CPU's training, which nothing here asks for
    sys.modules["psutil"] = ModuleType("psutil")
try:
    import joblib  # noqa: F401  # pyright: ignore[reportUnusedImport]
except ModuleNotFoundError:  # how many cores this process may use
    stand_in = ModuleType("joblib")
    stand_in.cpu_count = lambda: len(os.sched_getaffinity(0))
    sys.modules["joblib"] = stand_in

import numpy as np  # noqa: E402
import torch  # noqa: E402
import yaml  # noqa: E402
from benchmarks.fed_loop import feed  # noqa: E402
from benchmarks.stops import count_stops, on_device  # noqa: E402
from PIL import Image  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from sspcm_kedro.augment.draws import Undrawn  # noqa: E402
from sspcm_kedro.augment.occlude import Donors  # noqa: E402
from sspcm_kedro.batch import Batch, Labeled, Unlabeled  # noqa: E402
from sspcm_kedro.data.crops import cut_people  # noqa: E402
from sspcm_kedro.data.views import ViewConfig  # noqa: E402
from sspcm_kedro.engine.compiled import learning_step  # noqa: E402
from sspcm_kedro.engine.optimizer import TrainingConfig, adam  # noqa: E402
from sspcm_kedro.engine.precision import Precision, allow_tf32, set_precision  # noqa: E402
from sspcm_kedro.machine import Compile  # noqa: E402
from sspcm_kedro.methods import MethodConfig  # noqa: E402
from sspcm_kedro.methods.base import Method, total_loss  # noqa: E402
from sspcm_kedro.nets import ROLES, NetworkConfig  # noqa: E402
from sspcm_kedro.pose.geometry import CropFrame  # noqa: E402
from sspcm_kedro.pose.skeleton import COCO  # noqa: E402

NONE = "not measured"
KEYPOINTS = COCO.size
PRECISIONS: tuple[Precision, ...] = ("bf16", "tf32", "fp32")
HOW: dict[str, Compile | None] = {"": None, ", graph": "graph", ", compiled": "networks"}
ORDER: tuple[tuple[tuple[Precision, ...], str], ...] = (
    (("bf16", "tf32"), ""), (("bf16", "tf32"), ", graph"), (("fp32",), ""),
    (PRECISIONS, ", compiled"),
)  # fmt: skip
MEASURED = tuple(precision + how for precisions, how in ORDER for precision in precisions)
FED = "bf16, fed from stored crops"
FED_SHARDS = {"": "bf16, fed, in shards", ", graph": "bf16, fed, in shards, graph"}
CPU, META, CUDA = (torch.device(kind) for kind in ("cpu", "meta", "cuda"))


class Step:
    """A round's step of some settings, on noise."""

    def __init__(self, settings: dict[str, Any], tiny: bool) -> None:
        self.view = ViewConfig.model_validate(settings["view"])
        self.network = NetworkConfig.model_validate(settings["network"]).bare()
        self.method = MethodConfig.model_validate(settings["method"])
        self.training = TrainingConfig.model_validate(settings["training"])
        if tiny:
            small = {"kind": "small_baseline", "width": 16}
            self.network = NetworkConfig.model_validate(small)
            self.view, self.training = ViewConfig(), TrainingConfig(batch=2)
        self.sizes = self.training.sizes

    def key(self) -> str:
        """The same for settings of which a step costs the same."""
        parts = (
            self.network.model_dump(), self.view.input_hw, self.sizes, self.training.shards,
            self.method.kind,
        )  # fmt: skip
        return json.dumps(parts, sort_keys=True)

    def build(self, device: torch.device) -> Method:
        """The method with networks at random, the same on every device but meta."""
        torch.manual_seed(0)
        with META if device == META else CPU:
            built = self.method.build(
                lambda i: self.network.build(KEYPOINTS, ROLES[i], stride=self.view.stride),
                self.view.codec,
            )
        return built.to(device, memory_format=torch.channels_last).train()  # pyright: ignore[reportCallIssue]

    def batch(self, device: torch.device) -> Batch:
        """Noise, the same on every device."""
        rng = torch.Generator().manual_seed(0)
        hw, cells = self.view.input_hw, self.view.codec.heatmap_hw(self.view.input_hw)

        def noise(*shape: int) -> torch.Tensor:
            return torch.rand(shape, generator=rng).to(device)

        first, others = self.sizes
        maps = [noise(n, KEYPOINTS, *cells) for n in (first, others, others, others)]
        ones = [torch.ones(n, KEYPOINTS, device=device) for n in self.sizes]
        donors = Donors(noise(others, 3, *hw), noise(others, 1, 2) * hw[1])
        unlabeled = Unlabeled(
            noise(others, 3, *hw), ones[1], (maps[1], maps[2]), donors, None, maps[3]
        )
        return Batch(Labeled(noise(first, 3, *hw), maps[0], ones[0]), unlabeled)

    def asked(self) -> dict[str, Any]:
        """Launches and stops of losses and averages, counted on shapes."""
        with torch.no_grad(), count_stops() as stops:
            method = self.build(META)
            stops.found.clear()
            stops.launches = 0
            method.training_step(on_device(self.batch(CPU)), Undrawn())
        return {"launches": stops.launches, "stops": stops.found.total()}


def rate(work: Callable[[], object], images: int, seconds: float = 1.0) -> float:
    """Images a second of a work on the GPU, over five times or more, after three to settle."""
    for _ in range(3):
        work()
    torch.cuda.synchronize()
    done, began = 0, time.perf_counter()
    while done < 5 or time.perf_counter() - began < seconds:
        for _ in range(5):
            work()
        torch.cuda.synchronize()  # now and then: else the host is far ahead of the clock
        done += 5
    return images * done / (time.perf_counter() - began)


def measure(step: Step, precision: Precision, how: Compile | None) -> dict[str, float]:
    """A step's rate on the GPU, that of its network passes alone, and its peak memory."""
    torch.compiler.reset()
    torch.cuda.empty_cache()
    method, batch = step.build(CUDA), step.batch(CUDA)
    assert batch.unlabeled is not None
    set_precision(method, precision)
    learn = learning_step(method, how)
    optimizer, rng = adam(method, 1e-4), torch.Generator(CUDA).manual_seed(0)
    nets, unlabeled = list(method.networks.values()), batch.unlabeled.images

    def whole_step() -> None:
        optimizer.zero_grad()
        learn(batch, rng, 1)
        optimizer.step()

    def passes() -> None:  # SSPCM's: teachers look, everyone learns from both parts
        with torch.no_grad():
            for net in nets[:2]:
                net(unlabeled)
        both = (batch.labeled.images, unlabeled)
        optimizer.zero_grad()
        torch.stack([net(i).square().mean() for net in nets for i in both]).sum().backward()
        optimizer.step()

    with allow_tf32(precision == "tf32"):
        torch.cuda.reset_peak_memory_stats()
        whole = rate(whole_step, batch.size)
        memory = torch.cuda.max_memory_allocated() / 2**30
        networks = rate(passes, batch.size)
    return {
        "images_per_second": whole,
        "share_of_networks": whole / networks,
        "memory_gib": memory,
    }


def losses(step: Step, device: torch.device, steps: int = 3) -> list[float]:
    """Of some steps on a device, in fp32; the numbers drawn are the CPU's."""
    method, batch = step.build(device), step.batch(device)
    optimizer, rng, found = adam(method, 1e-4), torch.Generator().manual_seed(0), []

    class Moved:
        def take(self, request: Any) -> torch.Tensor:
            return request.draw(rng).to(device)

    with allow_tf32(False):
        for _ in range(steps):
            loss = total_loss(method.training_step(batch, Moved()))  # pyright: ignore[reportArgumentType]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            found.append(loss.item())
    return found


def agreement(step: Step) -> dict[str, Any]:
    """How far CPU and GPU lie apart after three steps, and whether two GPU runs are equal."""
    torch.use_deterministic_algorithms(True)
    try:
        first, second = losses(step, CUDA), losses(step, CUDA)
    finally:
        torch.use_deterministic_algorithms(False)
    apart = max(abs(a / b - 1) for a, b in zip(first, losses(step, CPU), strict=True))
    return {"cpu_cuda_apart": apart, "within_1e-3": apart < 1e-3, "deterministic": first == second}


def crops_per_second(hw: tuple[int, int], border: int, seconds: float, workers: int) -> float:
    """People of 640x480 JPEGs, decoded and cut as training does."""
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).resize((640, 480), Image.Resampling.BICUBIC).save(file, "jpeg")
    box, frame = np.array([[150.0, 50, 400, 450]]), CropFrame(hw)

    def crop(_: int) -> None:
        with Image.open(io.BytesIO(file.getvalue())) as image:
            cut_people(image.convert("RGB"), box, frame, border)

    done, began = 0, time.perf_counter()
    with ThreadPoolExecutor(workers) as pool:
        while time.perf_counter() - began < seconds:
            done += len(list(pool.map(crop, range(4 * workers))))
    return done / (time.perf_counter() - began)


def steps_of(names: list[str], tiny: bool) -> dict[str, Step]:
    """The distinct steps of the published environments, by the names of these."""
    named: dict[str, tuple[list[str], Step]] = {}
    for file in sorted((PROJECT / "conf").glob("*/parameters.yml")):
        settings = yaml.safe_load(file.read_text("utf-8"))
        if "published" in settings and file.parent.name != "base":
            if not names or file.parent.name in names:
                step = Step(settings, tiny)
                named.setdefault(step.key(), ([], step))[0].append(file.parent.name)
    largest_first = sorted(named.values(), key=lambda one: -sum(one[1].sizes))
    return {", ".join(envs): step for envs, step in largest_first}


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description="the published steps on this GPU")
    parser.add_argument("--minutes", type=float, default=8.0, help="after which it ends")
    parser.add_argument("--json", type=Path, help="where the numbers go as well")
    parser.add_argument("--env", nargs="*", default=[], help="environments; all published ones")
    parser.add_argument("--tiny", action="store_true", help="small networks and batches, to try it")
    options = parser.parse_args()
    ends = time.monotonic() + 60 * options.minutes
    there, workers = torch.cuda.is_available(), len(os.sched_getaffinity(0))
    steps = steps_of(options.env, options.tiny)
    rows: dict[str, dict[str, Any]] = {}
    for name, step in steps.items():
        rows[name] = {"images": sum(step.sizes), **step.asked()}
        rows[name] |= {key: NONE for key in (*MEASURED, FED)}
        if step.training.shards > 1:
            rows[name] |= dict.fromkeys(FED_SHARDS.values(), NONE)
    some = next(iter(steps.values()))
    result: dict[str, Any] = {
        "device": torch.cuda.get_device_name() if there else "no GPU",
        "torch": torch.__version__, "python": platform.python_version(), "cores": workers,
        "crops_per_second": crops_per_second(
            some.view.input_hw, some.view.border, 0.2 if options.tiny else 5.0, workers
        ),
        "agreement": attempt(lambda: agreement(Step(settings_of_small(), True))) if there else NONE,
        "steps": rows,
    }  # fmt: skip
    work: list[tuple[str, str, Callable[[], object]]] = []
    for precisions, how in ORDER:
        for name, step in steps.items():
            for own in precisions:
                work.append((name, own + how, partial(measure, step, own, HOW[how])))
            if "bf16" not in precisions or how not in FED_SHARDS:
                continue
            if how == "":
                work.append((name, FED, partial(feed, step, "bf16", 1, CUDA)))
            if (shards := step.training.shards) > 1:
                fed = partial(feed, step, "bf16", shards, CUDA, HOW[how])
                work.append((name, FED_SHARDS[how], fed))

    def tell() -> str:
        text = json.dumps(result, indent=2)
        if options.json:
            options.json.write_text(text + "\n")
        return text

    def end() -> None:  # in the midst of a number that takes too long
        try:
            show(result)
            print(tell(), flush=True)  # noqa: T201
        finally:
            os._exit(0)

    limit = threading.Timer(ends - time.monotonic(), end)
    limit.daemon = True
    limit.start()
    for name, key, action in work if there else []:  # what takes long comes last: compiling does
        if time.monotonic() < ends - 60 * ("compiled" in key):
            rows[name][key] = attempt(action)
            tell()
    limit.cancel()
    show(result)
    print(tell())  # noqa: T201


def attempt(action: Callable[[], Any]) -> Any:
    """What it gives, or in a few words why it fails: the numbers before and after it count."""
    try:
        return action()
    except torch.cuda.OutOfMemoryError:
        return "not enough memory"
    except Exception as error:
        return f"failed: {type(error).__name__}: {str(error).partition(chr(10))[0][:200]}"


def settings_of_small() -> dict[str, Any]:
    """A step that a CPU does in a moment."""
    return {"view": {}, "training": {}, "method": {"kind": "sspcm", "min_score": 0.0},
            "network": {"kind": "small_baseline"}}  # fmt: skip


def show(result: dict[str, Any]) -> None:
    """A table: images a second, share of the networks' rate, memory."""
    crops = f"{result['crops_per_second']:.0f} crops/s on {result['cores']} cores"
    table = Table(title=f"{result['device']}, torch {result['torch']}; {crops}")
    for column in ("step", "launches, forward", "stops", "precision", "images/s", "share", "GiB"):
        table.add_column(column)
    for name, row in result["steps"].items():
        for key in (k for k in (*MEASURED, FED, *FED_SHARDS.values()) if k in row):
            found, told = row[key], (name, str(row["launches"]), str(row["stops"]), key)
            if isinstance(found, str):
                table.add_row(*told, found)
                continue
            pace = f"{found['images_per_second']:.0f}"
            if "making_batches" in found:
                table.add_row(*told, pace, f"batches {found['making_batches']:.0%}")
            else:
                share = f"{found['share_of_networks']:.0%}"
                table.add_row(*told, pace, share, f"{found['memory_gib']:.1f}")
    console = Console()
    console.print(table)
    console.print(f"CPU against GPU, and GPU twice: {result['agreement']}")


if __name__ == "__main__":
    main()
