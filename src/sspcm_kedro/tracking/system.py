"""How busy the machine is while a training runs: sampled by MLflow's own monitors.

MLflow's thread writes what it samples to the server by itself, which here may be away or about to
be stopped. This one only samples: the numbers go out with the curves, at the end of an epoch.
"""

import threading
from contextlib import suppress
from typing import Any

from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor
from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor

PREFIX = "system/"
"""What MLflow shows as system metrics."""

SECONDS = 10.0
"""Between samples, as MLflow's own."""


class SystemMonitor:
    """Samples the machine in a thread from ``start`` to ``stop``; on NVIDIA GPUs where ``pynvml``
    is installed."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self._seconds, self._lock, self._over = seconds, threading.Lock(), threading.Event()
        self._thread: threading.Thread | None = None
        self._monitors: list[Any] = []

    def start(self) -> None:
        """Begin to sample; again does nothing."""
        if self._thread is None:
            self._monitors = [CPUMonitor(), DiskMonitor(), NetworkMonitor()]
            with suppress(Exception):  # of pynvml, or it is not installed: no GPU that it knows
                self._monitors.append(GPUMonitor())
            self._over.clear()
            self._thread = threading.Thread(target=self._sample, daemon=True, name="system metrics")
            self._thread.start()

    def take(self) -> dict[str, float]:
        """The means since the last time, by name; nothing before ``start``."""
        with self._lock:
            means: dict[str, float] = {}
            for monitor in self._monitors:
                monitor.collect_metrics()
                means |= monitor.aggregate_metrics()
                monitor.clear_metrics()
        return {f"{PREFIX}{name}": float(value) for name, value in means.items()}

    def stop(self) -> None:
        """End the thread."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()
            self._thread, self._monitors = None, []

    def _sample(self) -> None:
        while not self._over.wait(self._seconds):
            with self._lock:
                for monitor in self._monitors:
                    monitor.collect_metrics()
