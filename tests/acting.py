"""What a worker's process is asked to do: a module of its own, which that process can import."""

import os
import time


def act(item: str) -> str:
    """Upper case; or to hang, to die, to fail or to want all memory."""
    if item == "hang":
        time.sleep(600)
    if item == "die":
        os._exit(7)
    if item == "fail":
        raise ValueError("no")
    if item == "memory":
        bytearray(100 * 2**30)
    return item.upper()
