"""A process that does one small thing after another, and may hang or die of one of them."""

import multiprocessing
import os
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from benchmarks.reliability.place import clean_environ

MEMORY = 12 * 2**30
"""Bytes of address space: a bomb of memory ends as an error here, not with the machine."""


@dataclass(frozen=True)
class Answer:
    """What came of one item.

    Attributes:
        kind: "value", "error", "hang" or "death" (of the process).
        value: what the function returned; of an error its message.
        error: the names of the error's class, and of those of the errors that it came from.
    """

    kind: str
    value: Any = None
    error: tuple[str, ...] = ()


class Worker:
    """Calls a function in a process of its own; of a hang or death a new one takes over.

    Args:
        function: of a module, for the process imports it.
        limit: seconds for an item.
        first: seconds more for the first item, which imports what is needed.
    """

    def __init__(self, function: Callable[[Any], Any], limit: float, first: float = 180) -> None:
        self._function, self._limit, self._first = function, limit, first
        self._process: BaseProcess | None = None
        self._pipe: Connection | None = None

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def __call__(self, item: Any) -> Answer:
        limit = self._limit
        if self._process is None:
            limit += self._first
            context = multiprocessing.get_context("spawn")
            self._pipe, theirs = context.Pipe()
            self._process = context.Process(
                target=serve, args=(self._function, theirs, clean_environ()), daemon=True
            )
            self._process.start()
            theirs.close()
        assert self._pipe is not None
        self._pipe.send(item)
        try:
            if self._pipe.poll(limit):
                return self._pipe.recv()
        except EOFError:
            self._process.join(10)
            code = self._process.exitcode
            self._end()
            return Answer("death", f"the process ended with {code}")
        self._end()
        return Answer("hang", f"no answer within {limit:.0f} s")

    def _end(self) -> None:
        if self._process is not None and self._process.pid is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)  # with what it has started
            self._process.kill()
            self._process.join()
        self._process = None


def serve(function: Callable[[Any], Any], pipe: Connection, environ: dict[str, str]) -> None:
    """The process's own part: items in, answers out."""
    os.setsid()
    os.environ.clear()
    os.environ.update(environ)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    while True:
        try:
            item = pipe.recv()
        except EOFError:
            return
        try:
            answer = Answer("value", function(item))
        except BaseException as error:  # whatever it is, it is what is measured
            answer = Answer("error", str(error)[:4000], tuple(names_of(error)))
        pipe.send(answer)


def names_of(error: BaseException | None) -> Iterator[str]:
    """The classes that an error and its causes are of, its own one first."""
    while error is not None:
        yield from (kind.__name__ for kind in type(error).__mro__)
        error = error.__cause__
