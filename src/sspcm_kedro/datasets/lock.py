"""One run a data folder."""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from sspcm_kedro.datasets.whole import explain_full_disk, replace_file
from sspcm_kedro.errors import BadInput


@contextmanager
def hold_folder(root: Path) -> Iterator[None]:
    """Holds a data folder; the system lets it go when this process ends, however it ends.

    Args:
        root: the folder; it is made.

    Raises:
        BadInput: another process holds it (host, process and since when are said), or it cannot be
            written.
    """
    lock, holder = FileLock(root / ".run.lock"), root / ".run.json"
    try:
        with explain_full_disk(root):
            root.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=0)
    except Timeout:
        raise BadInput(
            root,
            f"one run at a time writes into a data folder, and this one is held by {_told(holder)}",
            "Wait for it, end it, or give this run a folder of its own: SSPCM_DATA=FOLDER",
        ) from None
    except OSError as error:
        remedy = "Make it writable, or name another: SSPCM_DATA=FOLDER"
        rule = f"must be a folder that can be written ({error.strerror})"
        raise BadInput(root, rule, remedy) from error
    try:
        since = datetime.now().astimezone().isoformat(" ", "seconds")
        with replace_file(holder) as file:
            file.write_text(
                json.dumps({"host": socket.gethostname(), "process": os.getpid(), "since": since})
            )
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def _told(holder: Path) -> str:
    try:
        told = json.loads(holder.read_bytes())
        return f"process {told['process']} of {told['host']} since {told['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"  # it has just begun, or is about to end
