"""Row S02 of the catalogue: a PostgreSQL that is killed and comes back while mail is kept; what was said yes to is there."""
# ruff: noqa: N802 (rows have capital names)

import threading
from pathlib import Path

import sqlalchemy as sa

from gateway.store import arrivals, schema, tables
from gateway.store.arrivals import Received
from gateway.store.session import Away, Store, open_store
from tests.kit.postgres import Postgres, need

WRITERS, KILLS, BETWEEN = 3, 5, 10  # BETWEEN: yeses from one kill to the next
TO = "s00001@sales.example.com"


class Writer(threading.Thread):
    """Keeps one mail after another, each again until it is said yes to; whatever is no yes must be `Away`."""

    def __init__(self, store: Store, name: str, stop: threading.Event, said: threading.Semaphore) -> None:
        super().__init__(daemon=True)
        self.store, self.who, self.stop, self.said = store, name, stop, said
        self.yes: list[str] = []
        self.away = 0
        self.faults: list[BaseException] = []

    def run(self) -> None:
        try:
            while not self.stop.is_set():
                self.keep(f"{self.who}.{len(self.yes)}@x.example")
        except BaseException as fault:  # noqa: BLE001 (told by the test)
            self.faults.append(fault)

    def keep(self, path: str) -> None:
        content = f"From: {path}\r\nTo: {TO}\r\n\r\nhello\r\n".encode()
        try:
            with self.store.write() as tx:
                arrivals.keep_many(tx, [Received(1, "smtp", "127.0.0.1", "t", path, False, (TO,), content)])
        except Away:
            self.away += 1
            return
        self.yes.append(path)
        self.said.release()


def kill_and_start(server: Postgres) -> None:
    """Let every process of the server die where it stands, and start it anew: it recovers from its log."""
    assert server._home is not None
    data, log = str(server._home / "data"), str(server._home / "log")
    server._run("pg_ctl", "-D", data, "-w", "-m", "immediate", "-t", "60", "-l", log, "restart")


def test_S02_a_server_that_is_killed_while_mail_is_kept_loses_nothing_that_was_said_yes_to(tmp_path):
    need()
    with Postgres() as server:
        store = open_store(server.start(tmp_path / "postgres"), Path())
        schema.upgrade(store)
        stop, said = threading.Event(), threading.Semaphore(0)
        writers = [Writer(store, f"w{n}", stop, said) for n in range(WRITERS)]
        for each in writers:
            each.start()
        for _ in range(KILLS):
            for _ in range(BETWEEN):
                assert said.acquire(timeout=60), [each.faults for each in writers]
            kill_and_start(server)
        for _ in range(BETWEEN):
            assert said.acquire(timeout=60), [each.faults for each in writers]
        stop.set()
        for each in writers:
            each.join(60)
        with store.read() as tx:
            kept = set(tx.execute(sa.select(tables.arrival.c.return_path)).scalars())
        store.close()
    assert [each.faults for each in writers] == [[]] * WRITERS
    assert {path for each in writers for path in each.yes} <= kept
    assert sum(each.away for each in writers) > 0, "the kills were felt"
