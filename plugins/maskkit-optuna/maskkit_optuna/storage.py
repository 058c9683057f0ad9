"""The database of a study: SQLite in a file of this machine, or PostgreSQL for several."""

import importlib.util
import random
import sqlite3
import time
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.trial import FrozenTrial
from sqlalchemy import event
from sqlalchemy.engine import URL, Connection, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from maskkit.errors import TuningError, UsageError

__all__ = ["explaining", "open_storage", "quietly", "retry", "shown"]

_LOCK_PATIENCE = 60  # seconds that a process waits for the others to write
_ATTEMPTS = 5  # to make the tables of a new database, which others may be making too


def open_storage(text: str, *, heartbeat: int | None = None, retries: int = 0) -> RDBStorage:
    """Open a database by its URL, and make its tables where there are none.

    heartbeat: seconds between two signs of life of a trial; after twice as many its worker is held for dead, and the
    trial begins again, at most `retries` times.

    Raises:
        UsageError: the URL is none, or of a database that is not known here.
        TuningError: the database cannot be reached, or refuses.
    """
    url = _url(text)
    options: dict[str, Any] = {"pool_pre_ping": True}
    if url.drivername == "sqlite":
        _prepare_file(Path(url.database or ""))
        options = {"connect_args": {"timeout": _LOCK_PATIENCE, "isolation_level": None}}
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            with quietly():
                storage = RDBStorage(
                    url.render_as_string(hide_password=False),
                    options,
                    heartbeat_interval=heartbeat,
                    heartbeat_stale_trial_callback=_retrying(retries),
                )
            break
        except (SQLAlchemyError, optuna.exceptions.OptunaError) as error:
            if attempt == _ATTEMPTS:
                hint = "Is the server running, and may this user log in? A password can stand in ~/.pgpass."
                raise TuningError(f"{shown(text)} cannot be opened: {_cause(error)}", hint=hint) from error
            time.sleep(random.uniform(0.1, 0.5))
    if url.drivername == "sqlite":
        event.listen(storage.engine, "begin", _begin_alone)
    return storage


@contextmanager
def explaining(text: str) -> Iterator[None]:
    """Tell in a sentence when a database that was open answers no more.

    Raises:
        TuningError: it does not.
    """
    try:
        yield
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        raise TuningError(f"{shown(text)} does not answer: {_cause(error)}") from error


def shown(text: str) -> str:
    """Return a URL without its password."""
    return make_url(text).render_as_string(hide_password=True)


@contextmanager
def quietly() -> Iterator[None]:
    """Keep to itself what Optuna says of features that it calls experimental, and of its own use."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
        warnings.filterwarnings("ignore", message="Heartbeat of storage is supposed to be used with Study.optimize")
        yield


def retry(study: optuna.Study, trial: FrozenTrial, most: int | None = None) -> None:
    """Put a trial that was interrupted into the queue again, with all that is known of it, `most` times at most."""
    with quietly():
        _retrying(most)(study, trial)


def _retrying(most: int | None) -> RetryHeartbeatStaleTrialCallback:
    return RetryHeartbeatStaleTrialCallback(most, inherit_intermediate_values=True)


def _url(text: str) -> URL:
    try:
        url = make_url(text)
    except ArgumentError:
        raise UsageError(
            "option storage of tuner optuna is no URL of a database",
            hint="Type sqlite:///FILE or postgresql://USER@HOST/DATABASE.",
        ) from None
    if url.drivername in {"postgres", "postgresql"}:
        url = url.set(drivername="postgresql+psycopg")
    if url.drivername == "postgresql+psycopg" and importlib.util.find_spec("psycopg") is None:
        raise TuningError("PostgreSQL needs psycopg", hint="Type: pip install 'maskkit-optuna[postgresql]'")
    if url.drivername not in {"sqlite", "postgresql+psycopg"} or not url.database:
        raise UsageError(
            f"option storage of tuner optuna takes SQLite in a file, or PostgreSQL; received {shown(text)}",
            hint="Type sqlite:///FILE or postgresql://USER@HOST/DATABASE.",
        )
    return url


def _cause(error: BaseException) -> str:
    text = " ".join(str(error.__cause__ or error).split())
    return text[:300] or type(error).__name__


def _prepare_file(path: Path) -> None:
    """Let others read a file while one process writes, which SQLite keeps in the file for good."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(path, timeout=_LOCK_PATIENCE)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
    except (OSError, sqlite3.Error) as error:
        raise TuningError(f"{path} cannot be opened: {error}") from error


def _begin_alone(connection: Connection) -> None:
    """Begin each transaction as one that writes: SQLite has no lock of a row, for which Optuna asks.

    Else two workers could both read that a trial waits, and both take it.
    """
    connection.exec_driver_sql("BEGIN IMMEDIATE")
