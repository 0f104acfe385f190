"""Log lines and progress bars on one console."""

import sys


class CurrentStderr:
    """A stream that writes to what ``sys.stderr`` is at the moment, not to what it was at first.

    While rich draws a bar it is rich's own, which prints lines above the bar.
    """

    def write(self, text: str) -> int:
        """Write; how many letters were written."""
        return sys.stderr.write(text)

    def flush(self) -> None:
        """Write what waits in a buffer."""
        sys.stderr.flush()


STDERR = CurrentStderr()
"""Of the log, as conf/logging.yml names it."""
