"""What a step asks of a GPU, and where it would wait for it: counted on shapes, without one.

A stop is whatever makes the host wait until the device has done all it was given: a number read
(``.item()``, ``.cpu()``), a copy to or from the device that is not asynchronous or not from pinned
memory, an index or numbers that lie on the host, a result whose size depends on values, an error
check of ``torch.linalg``. The device is torch's meta device, on which tensors have a shape and no
numbers. (Fake CUDA tensors, in torch 2.14 and without a driver, end in a broken memory.)
"""

import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from sspcm_kedro.batch import map_tensors

DEVICE = torch.device("meta")
HERE = "/sspcm_kedro/"
READS = {
    "_local_scalar_dense", "_linalg_check_errors", "nonzero", "masked_select", "multinomial",
    "_unique2", "unique_dim", "unique_consecutive", "equal", "bincount", "repeat_interleave",
}  # fmt: skip
INDEXED = {"index", "index_put", "index_put_"}
WRITES = {Tensor.new_tensor, torch.tensor, torch.as_tensor, torch.asarray}


class Stops(TorchDispatchMode):
    """Counts, inside of it, operations on the device, and those among them that stop the host.

    Attributes:
        found: how often each stop happened, by what it is and the line of the project.
        launches: operations that compute something on the device; views do not.
    """

    def __init__(self) -> None:
        super().__init__()
        self.found, self.launches = Counter[str](), 0
        self.pinned: list[Tensor] = []  # kept alive: an id is that of one tensor

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs, name = kwargs or {}, func.overloadpacket.__name__
        given = [t for t in pytree.tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        inside = any(t.is_meta for t in given)
        if name in ("_to_copy", "copy_"):
            copied = self._copy(name, args, kwargs)
            if copied is not None:
                return copied
        elif inside:
            on_host = any(not t.is_meta and (t.ndim > 0 or name in INDEXED) for t in given)
            by_mask = name in INDEXED and any(t.dtype == torch.bool for t in given[1:])
            if name in READS or on_host or by_mask:
                self.note(name + " with numbers of the host" * on_host + " by a mask" * by_mask)
            if name == "_local_scalar_dense":
                return 1  # any number: the step goes on
        result = func(*args, **kwargs)
        made = [t for t in pytree.tree_leaves(result) if isinstance(t, Tensor)]
        self.launches += any(t.is_meta for t in made) and not func.is_view
        return result

    def _copy(self, name: str, args: Sequence[Any], kwargs: dict[str, Any]) -> Tensor | None:
        """Look at a copy; of one from the device the result, since there are no numbers."""
        source = args[1] if name == "copy_" else args[0]
        target = (
            args[0].device
            if name == "copy_"
            else torch.device(kwargs.get("device") or source.device)
        )
        if target == source.device:
            return None
        asynchronous = kwargs.get("non_blocking") or args[2:] == (True,)
        if not asynchronous:
            self.note(f"blocking copy from {source.device}")
        elif not source.is_meta and not any(source is one for one in self.pinned):
            self.note("copy from memory that is not pinned")
        return torch.zeros(source.shape, dtype=source.dtype) if source.is_meta else None

    def note(self, what: str) -> None:
        """Count a stop."""
        lines = [f for f in traceback.extract_stack() if HERE in f.filename]
        where = f" {lines[-1].filename.split(HERE)[-1]}:{lines[-1].lineno}" if lines else ""
        self.found[what + where] += 1


def _is_list(value: object) -> bool:
    return isinstance(value, list)


class _Written(TorchFunctionMode):
    """Numbers written on the host and copied to the device; operations do not show them."""

    def __init__(self, stops: Stops) -> None:
        super().__init__()
        self.stops = stops

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        listed = func is Tensor.__getitem__ and any(
            isinstance(part, list) for part in pytree.tree_leaves(args[1], is_leaf=_is_list)
        )
        if (func in WRITES or listed) and result.is_meta:
            self.stops.note("numbers of the host")
        return result


@contextmanager
def count_stops() -> Iterator[Stops]:
    """Inside of it ``DEVICE`` is a GPU that is only asked, and stops are counted."""
    stops = Stops()

    def pin(tensor: Tensor, *_: object) -> Tensor:
        stops.pinned.append(tensor.detach())  # another tensor, as pinning makes one
        return stops.pinned[-1]

    with patch.object(Tensor, "pin_memory", pin), stops, _Written(stops):
        yield stops


def on_device(value: Any) -> Any:
    """A batch, or any part of it, with tensors of ``DEVICE`` in place of its own."""
    return map_tensors(value, lambda tensor: torch.empty_like(tensor, device=DEVICE))
