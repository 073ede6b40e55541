"""Rows S01 and S02 of the catalogue, as far as they cost little: writers that crowd one file, a lock that is not let go,
and a PostgreSQL that was told to forget. The campaign does the rest: servers killed under load, with a ledger outside.
"""
# ruff: noqa: N802 (rows have capital names)

import sqlite3
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa

from gateway.store import arrivals, session, tables
from gateway.store.arrivals import Received
from gateway.store.session import Away, open_store
from tests.arrive.conftest import House, house, smtp
from tests.kit.stores import new_store
from tests.store.conftest import new_database

__all__ = ["house", "smtp"]

WRITERS, EACH = 8, 30
TO = "s00001@sales.example.com"
MAIL = b"From: a@example.com\r\nTo: s00001@sales.example.com\r\nMessage-ID: <1@x>\r\n\r\nhello\r\n"
AWAY = "451 4.3.0 cannot take mail just now, try again later / 暫時無法收信，請稍後再試"


def received(writer: int, number: int) -> Received:
    content = MAIL.replace(b"<1@x>", b"<%d.%d@x>" % (writer, number))
    return Received(1, "smtp", "127.0.0.1", "t", f"w{writer}@x.example", False, (TO,), content)


def test_S01_eight_writers_on_one_store_lose_nothing_and_none_is_told_no(store, monkeypatch):
    """Half of them as a command does beside a node, with a store of its own; each looks before it writes."""
    monkeypatch.setattr(session, "_BUSY_S", 90.0)  # a slow disk is no fault here
    two = [open_store(f"sqlite:///{store.path}", Path()) if store.path else store for _ in range(2)]
    faults: list[BaseException] = []
    begin = threading.Barrier(WRITERS)

    def write(writer: int) -> None:
        begin.wait()
        try:
            for number in range(EACH):
                with two[writer % 2].write() as tx:
                    tx.execute(sa.select(sa.func.count()).select_from(tables.arrival)).scalar_one()
                    arrivals.keep_many(tx, [received(writer, number)])
        except BaseException as fault:  # noqa: BLE001 (told by the test)
            faults.append(fault)

    writing = [threading.Thread(target=write, args=[n]) for n in range(WRITERS)]
    for each in writing:
        each.start()
    for each in writing:
        each.join()
    assert faults == []
    for each in two:
        if each is not store:
            each.close()
    with store.read() as tx:
        kept = tx.execute(sa.select(tables.arrival.c.return_path)).scalars().all()
    assert sorted(kept) == sorted(f"w{n}@x.example" for n in range(WRITERS) for _ in range(EACH))


def test_S01_a_file_that_somebody_else_has_locked_is_a_store_that_is_away(tmp_path, monkeypatch):
    monkeypatch.setattr(session, "_BUSY_S", 0.05)
    ours = new_store(tmp_path, "gateway.db")
    other = sqlite3.connect(tmp_path / "gateway.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Away), ours.write() as tx:
        arrivals.keep_many(tx, [received(1, 1)])
    with ours.read() as tx:
        assert tx.execute(sa.select(tables.arrival)).all() == [], "who only reads need not wait"
    other.execute("ROLLBACK")
    with ours.write() as tx:
        arrivals.keep_many(tx, [received(1, 1)])
    other.close()
    ours.close()


def test_S01_while_the_store_is_locked_a_peer_is_asked_to_come_again(house: House, smtp, monkeypatch):
    monkeypatch.setattr(session, "_BUSY_S", 0.05)
    with house.store.write():
        assert smtp.send("a@example.com", [TO], MAIL) == [AWAY]
    assert house.kept() == []
    assert smtp.send("a@example.com", [TO], MAIL) == ["250 2.0.0 kept"]
    assert len(house.kept()) == 1


def test_S02_a_database_that_was_told_to_forget_is_written_durably_all_the_same(postgresql):
    """Whatever the server, the database or the role is set to, our own sessions wait for the disk."""
    url = new_database(postgresql)
    name = url.rpartition("/")[2]
    with postgresql.connect() as connection:
        connection.exec_driver_sql(f"ALTER DATABASE {name} SET synchronous_commit = off")
    plain = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with plain.connect() as connection:
        assert connection.exec_driver_sql("SHOW synchronous_commit").scalar() == "off", "it was told so"
    plain.dispose()
    ours = open_store(url, Path())
    for begin in (ours.write, ours.read):
        with begin() as tx:
            assert tx.exec_driver_sql("SHOW synchronous_commit").scalar() == "on"
    ours.close()


def test_S02_a_commit_whose_answer_is_lost_is_no_yes_and_the_mail_sent_again_is_taken_once(house: House, smtp):
    """The commit went through and the connection broke: the peer is told 451, sends again, and law 2 does the rest."""

    @sa.event.listens_for(house.store._writer, "commit")
    def committed_and_lost(connection) -> None:
        connection.connection.dbapi_connection.execute("COMMIT")
        connection.connection.dbapi_connection.execute("BEGIN")
        raise sa.exc.OperationalError("COMMIT", {}, Exception("server closed the connection unexpectedly"))

    assert smtp.send("a@example.com", [TO], MAIL) == [AWAY]
    sa.event.remove(house.store._writer, "commit", committed_and_lost)
    assert smtp.send("a@example.com", [TO], MAIL) == ["250 2.0.0 kept"]
    assert [content for _, _, content in house.kept()] == [MAIL, MAIL], "kept twice, and decided as one: see A14, C19"


def test_C24_a_fault_of_the_store_says_nothing_of_what_a_statement_held(store):
    table = tables.suppression
    said = sa.insert(table).values(email="x@y.example", reason="CANARY eight percent", at=1)
    with store.write() as tx:
        tx.execute(said)
    with pytest.raises(sa.exc.IntegrityError) as caught, store.write() as tx:
        tx.execute(said)
    assert "CANARY" not in str(caught.value)
