"""The library sleap-io, which is installed on demand."""

from typing import Any

from sspcm_kedro.errors import BadInput


def import_sleap_io() -> Any:
    """The module ``sleap_io``.

    Raises:
        BadInput: it is not installed.
    """
    try:
        import sleap_io  # noqa: PLC0415 - it takes seconds, and few need it
    except ImportError as error:
        rule = f"SLEAP's files are read and written by the library sleap-io, but {error}"
        raise BadInput("SLEAP", rule, 'Install it: pip install "sspcm-kedro[sleap]"') from error
    return sleap_io
