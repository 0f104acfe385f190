"""Matlab files."""

from pathlib import Path
from typing import Any

import scipy.io

from sspcm_kedro.errors import BadInput
from sspcm_kedro.sources import checks


def read_mat(file: Path, name: str, remedy: str, **options: Any) -> Any:
    """The variable ``name`` of a Matlab 5 file; nothing else in it is parsed.

    Raises:
        BadInput: there is no such file, it is no such file, or lacks the variable.
    """
    checks.need_file(file)
    try:
        variables = scipy.io.loadmat(file, variable_names=[name], **options)
    except Exception as error:  # its parser meets broken bytes with errors of a dozen types
        raise BadInput(file, f"must be a Matlab 5 file, but {error}", remedy) from error
    if name not in variables:
        raise BadInput(file, f"must hold the variable '{name}', found none", remedy)
    return variables[name]
