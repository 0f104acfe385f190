"""Output that nobody can take (closed by the shell, a full disk) fails no run."""

import atexit
import os
import sys
from contextlib import suppress
from typing import Any

from kedro.framework.hooks import hook_impl


class OpenOutput:
    """Output that nobody can take (closed by the shell, a full disk) fails no run."""

    @hook_impl(tryfirst=True)
    def after_context_created(self) -> None:
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if stream is None or stream.closed:
                setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115: as long as the process
            elif stream is getattr(sys, f"__{name}__"):  # else it is a notebook's, or a test's
                setattr(sys, name, Unfailing(stream))
        atexit.register(self.after_pipeline_run)

    @hook_impl(trylast=True)
    def after_pipeline_run(self) -> None:
        """What waits in the buffers is written while a failure still can be caught."""
        for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
            if stream is not None:
                with suppress(ValueError):  # it is closed
                    Unfailing(stream).flush()


class Unfailing:
    """A stream, of which what it cannot take is lost without an error, then and from then on."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError:
            self._lose()
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError:
            self._lose()

    def _lose(self) -> None:
        with suppress(OSError, ValueError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self._stream.fileno())
            os.close(null)
            self._stream.flush()  # what still waits in the buffer
