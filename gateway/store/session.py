"""Transactions on SQLite and PostgreSQL, one schema and one way to write for both.

SQLAlchemy Core, synchronous, on threads: a transaction costs one hop to a thread, where the
asynchronous dialects take one a statement (measured: gateway/DESIGN.md, "Why threads").

*Failure:* a store that cannot be reached, is locked for more than 5 s or full raises `Away`,
and then nothing of the transaction was kept; or, on a lost connection, it is not known, and law 2
makes doing it again harmless.
"""

import hashlib
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection as Transaction
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

__all__ = ["Away", "Conflict", "Store", "Transaction", "open_store"]

Conflict = IntegrityError
_BUSY_S = 5.0
_CHANNEL = "replygate"
_LOOK_S = 0.1  # how soon who waits for others sees that the node stops


class Away(Exception):
    """The store cannot be reached or written now; trying again later may work."""


class _Turns:
    """A lock whose holders take turns in the order they came, and can see that somebody waits."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._waiting: deque[threading.Event] = deque()
        self._held = False

    @property
    def wanted(self) -> bool:
        return bool(self._waiting)

    def acquire(self, timeout: float) -> bool:
        turn = threading.Event()
        with self._guard:
            if not self._held:
                self._held = True
                return True
            self._waiting.append(turn)
        if turn.wait(timeout):
            return True
        with self._guard:
            if turn.is_set():  # it became ours at the last moment
                return True
            self._waiting.remove(turn)
            return False

    def release(self) -> None:
        with self._guard:
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self._held = False


class Store:
    """The store of one site. `write` and `read` give a transaction; both are safe in any thread."""

    def __init__(self, engine: sa.Engine, reader: sa.Engine, path: Path | None) -> None:
        """Use `open_store`."""
        self._writer = engine
        self._reader = reader
        # Whoever is the only one holds a connection for as long: of these the pool must lose none.
        self._holders = None if path else _unpooled(engine.url)
        self._lock = _Turns() if path else None
        self._watch: sqlite3.Connection | None = None
        self.path = path

    @property
    def embedded(self) -> bool:
        """Whether it is SQLite: one file, one node."""
        return self.path is not None

    @property
    def wanted(self) -> bool:
        """Whether another thread waits to write: who writes much in one transaction ends it early."""
        return self._lock is not None and self._lock.wanted

    @contextmanager
    def write(self) -> Iterator[Transaction]:
        """Give a transaction that commits at the end, durably, or not at all."""
        if self._lock is None:
            with _faults(), self._writer.begin() as tx:
                yield tx
            return
        if not self._lock.acquire(timeout=_BUSY_S):
            message = "the store is busy"
            raise Away(message)
        try:
            with _faults(), self._writer.begin() as tx:
                yield tx
        finally:
            self._lock.release()

    @contextmanager
    def read(self) -> Iterator[Transaction]:
        """Give a transaction that sees one state of the store and changes nothing."""
        with _faults(), self._reader.connect() as tx, tx.begin():
            yield tx

    def wake_others(self, tx: Transaction) -> None:
        """Tell the other nodes, once `tx` commits, that there is something to do. A hint only."""
        if not self.embedded:
            tx.execute(sa.text(f"NOTIFY {_CHANNEL}"))

    @contextmanager
    def only_one(self, name: str) -> Iterator[bool]:
        """Give True to one node at a time, for as long as it holds on to it; the others get False.

        On PostgreSQL an advisory lock on a connection of its own: it ends with the node. A SQLite file has one node.
        """
        if self._holders is None:
            yield True
            return
        key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)
        with _faults(), self._holders.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            ours = bool(connection.execute(sa.text("SELECT pg_try_advisory_lock(:key)"), {"key": key}).scalar())
            try:
                yield ours
            finally:
                if ours:
                    connection.execute(sa.text("SELECT pg_advisory_unlock(:key)"), {"key": key})

    def wait_for_others(self, seconds: float, stopped: Callable[[], bool]) -> bool:
        """Wait until another program changed the store, `seconds` passed, or `stopped()`; tell whether it did.

        On SQLite by `PRAGMA data_version`, on PostgreSQL by LISTEN. Never raises `Away`: then it waits.
        """
        try:
            return self._wait_sqlite(seconds, stopped) if self.path else self._wait_postgresql(seconds, stopped)
        except (sqlite3.Error, DBAPIError, OSError):
            time.sleep(min(seconds, 1.0))
            return False

    def _wait_sqlite(self, seconds: float, stopped: Callable[[], bool]) -> bool:
        if self._watch is None:
            self._watch = sqlite3.connect(str(self.path), check_same_thread=False, isolation_level=None)
            self._seen = self._watch.execute("PRAGMA data_version").fetchone()[0]
        until = time.monotonic() + seconds
        while time.monotonic() < until and not stopped():
            version = self._watch.execute("PRAGMA data_version").fetchone()[0]
            if version != self._seen:
                self._seen = version
                return True
            time.sleep(_LOOK_S)
        return False

    def _wait_postgresql(self, seconds: float, stopped: Callable[[], bool]) -> bool:
        with self._reader.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            driver: Any = connection.connection.driver_connection
            connection.execute(sa.text(f"LISTEN {_CHANNEL}"))
            until = time.monotonic() + seconds
            heard = False
            while not heard and time.monotonic() < until and not stopped():
                heard = any(True for _ in driver.notifies(timeout=_LOOK_S, stop_after=1))
            connection.execute(sa.text(f"UNLISTEN {_CHANNEL}"))
            return heard

    def close(self) -> None:
        """Close every connection."""
        if self._watch is not None:
            self._watch.close()
        self._writer.dispose()
        self._reader.dispose()


@contextmanager
def _faults() -> Iterator[None]:
    try:
        yield
    except (OperationalError, InterfaceError, PoolTimeout) as error:
        raise Away(_said(error)) from None
    except DBAPIError as error:
        if error.connection_invalidated:
            raise Away(_said(error)) from None
        raise


def _said(error: Exception) -> str:
    """Return what the driver said, without the statement and its values."""
    origin = getattr(error, "orig", None) or error
    return " ".join(str(origin).split())[:300]


def open_store(url: str, folder: Path) -> Store:
    """Open `sqlite:///PATH` (relative to `folder`) or `postgresql://…`. Raises `Away` if it cannot be one."""
    try:
        return _open(url, folder)
    except (OSError, ValueError, sa.exc.ArgumentError) as error:
        message = f"the store cannot be opened: {_said(error)}"
        raise Away(message) from None


def _open(url: str, folder: Path) -> Store:
    if url.startswith("sqlite:///"):
        path = (folder / url.removeprefix("sqlite:///")).resolve()
        path.parent.mkdir(parents=True, exist_ok=True)
        return Store(_sqlite(path, "BEGIN IMMEDIATE", 16_000), _sqlite(path, "BEGIN", 4_000), path)
    engine = sa.create_engine(
        url.replace("postgresql://", "postgresql+psycopg://", 1),
        hide_parameters=True,  # what a statement holds is no business of a log
        pool_size=8,
        max_overflow=4,
        pool_timeout=10,
        pool_pre_ping=True,
        connect_args={"connect_timeout": 5, "options": "-c synchronous_commit=on -c statement_timeout=60s"},
    )
    return Store(engine, engine, None)


def _unpooled(url: sa.URL) -> sa.Engine:
    return sa.create_engine(url, poolclass=sa.NullPool, connect_args={"connect_timeout": 5})


def _sqlite(path: Path, begin: str, cache_kib: int) -> sa.Engine:
    engine = sa.create_engine(
        f"sqlite:///{path}",
        hide_parameters=True,
        poolclass=sa.QueuePool,
        pool_size=8,
        max_overflow=8,
        pool_use_lifo=True,  # the same connection again: each has a cache of its own
        connect_args={"timeout": _BUSY_S, "check_same_thread": False, "cached_statements": 512},
    )

    @event.listens_for(engine, "connect")
    def _on_connect(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # transactions are begun below, not by the driver
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
            f"cache_size=-{cache_kib}",
            "temp_store=MEMORY",
        ):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _on_begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine
