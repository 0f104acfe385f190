"""MLflow's SQLite file: where it lies, and that it is made whole or not at all."""

import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from filelock import FileLock
from sqlalchemy import URL, make_url

from sspcm_kedro.errors import BadInput

OFF = "or run without a log: SSPCM_TRACKING=off"
MADE = ("", "-journal", "-wal", "-shm")
"""What SQLite may leave of a file, by its ending."""


def mask(text: str) -> str:
    """The text without the names and passwords in its addresses."""
    text = re.sub(r"(?<=://)(?!/)[^\s'\"]*@", "***@", text)
    return re.sub(r"(?i)\b(\w*(?:passw(?:or)?d|pwd|token|secret)=)[^&\s'\"]+", r"\1***", text)


def sqlite_file(uri: str) -> Path | None:
    """The file of an SQLite address; None for other servers."""
    name = make_url(uri).database if uri.startswith("sqlite") else None
    return Path(name) if name else None


def sqlite_uri(file: Path, like: str = "sqlite://") -> str:
    """The address of a file, whatever signs its folders have in their names.

    MLflow makes the folder that it takes from an address without decoding it, but only of
    addresses that name no driver: such a folder would lie beside the project.
    """
    url: URL = make_url(like).set(database=str(file))
    text = url.render_as_string(hide_password=False)
    return text if f"///{file}" in text else re.sub("^sqlite:", "sqlite+pysqlite:", text)


def absolute(uri: str, root: Path) -> str:
    """The address with a relative SQLite file put into the project."""
    file = sqlite_file(uri)
    return uri if file is None else sqlite_uri(root / file, like=uri)


@contextmanager
def lock_creation(uri: str) -> Iterator[None]:
    """Two processes that create MLflow's tables at once leave a database that is broken."""
    file = sqlite_file(uri)
    if file is None:
        yield
        return
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(f"{file}.lock")
        lock.acquire()
    except OSError as error:
        raise unusable(file, error) from error
    try:
        yield
    finally:
        lock.release()


def make_database(file: Path) -> None:
    """MLflow's tables in a new file, unless it is there. Only under the lock.

    A kill in the middle leaves no database that MLflow can neither use nor mend.
    """
    if file.exists() and (file.is_dir() or file.stat().st_size):
        return
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore  # noqa: PLC0415

    beside = file.with_name(f".{file.name}.part")
    for ending in MADE:
        Path(f"{beside}{ending}").unlink(missing_ok=True)
    try:
        store = SqlAlchemyStore(sqlite_uri(beside), str(file.parent / "mlartifacts"))
        store.engine.dispose()
        os.replace(beside, file)
    finally:
        for ending in MADE:
            Path(f"{beside}{ending}").unlink(missing_ok=True)


def refuse_half_made(file: Path) -> None:
    """Of a database that MLflow does not take, say if it is one whose making was killed.

    Raises:
        BadInput: it holds no run.
    """
    try:
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as database:
            tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master")}
            runs = "runs" in tables and database.execute("SELECT 1 FROM runs").fetchone()
    except sqlite3.Error:
        return
    if not runs:
        rule = "is a database that MLflow did not make to its end (it was killed), without a run"
        raise BadInput(file, rule, "Delete it: the next run makes it anew")


def refuse_unusable(file: Path) -> None:
    """An SQLite file that is locked, damaged, or cannot be written.

    Raises:
        BadInput: it is.
    """
    try:
        with closing(sqlite3.connect(file, timeout=3)) as database:
            database.execute("BEGIN IMMEDIATE")
            database.execute("SELECT name FROM sqlite_master").fetchall()
            database.rollback()
    except (sqlite3.Error, OSError) as error:
        raise unusable(file, error) from error


def unusable(file: Path, error: Exception) -> BadInput:
    """What to say of a file that SQLite does not take."""
    remedy = "Make it writable, make room, or set MLFLOW_TRACKING_URI to another"
    if "locked" in str(error):
        remedy = "To go on, end the process that holds it (fuser shows which)"
    elif type(error) is sqlite3.DatabaseError:  # its subclasses are of other causes
        remedy = "It is damaged or no database: move it away, and the next run makes a new one"
    rule = f"must be an SQLite database that can be written, for MLflow ({error})"
    return BadInput(file, rule, f"{remedy}, {OFF}")
