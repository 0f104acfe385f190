"""How jaxtyping's hook checks annotations in the tests (pyproject.toml, ``--jaxtyping-packages``).

A file of its own, because the option takes a checker with arguments for one package only.
"""

import inspect
from collections.abc import Callable
from typing import Any

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))  # 30 is a float


def unchecked(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function as production has it: its own checks of shapes alone."""
    return inspect.unwrap(function)
