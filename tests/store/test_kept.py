"""Arrivals, held mail, notices, announced events and the counts of what waits."""

import threading
from io import BytesIO
from pathlib import Path

import pytest

from gateway.store import announced, arrivals, held, notices, outbox, status
from gateway.store.arrivals import Received, Settled
from gateway.store.notices import NewNotice
from gateway.store.session import Away, Conflict, open_store
from tests.kit.stores import new_store
from tests.store.kit import NOW, add_arrivals, add_delivery, add_message, add_record, in_threads


def claim(store, now=NOW):
    with store.write() as tx:
        return arrivals.claim(tx, now, 10)


def test_an_arrival_comes_back_as_it_was_received(store):
    mail = b"Subject: \xff\x00\r\n\r\n" + b"x" * 300_000
    with store.write() as tx:
        arrivals.keep_many(
            tx,
            [
                Received(NOW, "lmtp", "192.0.2.1", "peer", "", True, ("a@d", "b@d"), BytesIO(mail)),
                Received(NOW + 1, "smtp", "::1", "x", "c@d", False, ("a@d",), b""),
            ],
        )
    claims = claim(store, NOW + 1)
    with store.read() as tx:
        first, second = arrivals.load(tx, claims)
    assert (first.content, first.door, first.peer, first.return_path, first.trusted) == (
        mail,
        "lmtp",
        "192.0.2.1",
        "",
        True,
    )
    assert [each.address for each in first.recipients] == ["a@d", "b@d"]
    assert (second.content, second.trusted, [each.address for each in second.recipients]) == (b"", False, ["a@d"])


def test_arrivals_are_split_by_their_size_and_a_large_one_is_alone(store):
    with store.write() as tx:
        arrivals.keep_many(
            tx, [Received(NOW, "smtp", "", "", "", False, ("a@d",), b"x" * n) for n in (10, 20, 500, 30, 30)]
        )  # fmt: skip
    claims = claim(store)
    with store.read() as tx:
        groups = arrivals.by_size(tx, claims, 60)
    assert [([each.id for each in group.claims], group.octets) for group in groups] == [
        ([1, 2], 30),
        ([3], 500),
        ([4, 5], 60),
    ]


def test_only_recipients_that_are_not_served_yet_are_served(store):
    with store.write() as tx:
        add_arrivals(tx, 1, recipients=("a@d", "b@d"))
        (claimed,) = arrivals.claim(tx, NOW, 1)
        arrivals.settle_recipient(tx, 1, Settled("discarded", "automatic", "a list"), NOW, "x", "y")
        (found,) = arrivals.load(tx, [claimed])
    assert [each.address for each in found.recipients] == ["b@d"]


def test_what_is_held_is_listed_shown_and_released(store):
    with store.write() as tx:
        add_arrivals(tx, 2)
        made = add_record(tx)
        for each in arrivals.claim(tx, NOW, 10):
            settled = Settled("held", "stranger", "nobody we know", made.id)
            arrivals.settle_recipient(tx, each.id, settled, NOW, "x@y.example", "hello")
            arrivals.finish(tx, each)
        found = held.listed(tx)
        assert [(h.id, h.author, h.subject, h.cause, h.record) for h in found] == [
            (2, "x@y.example", "hello", "stranger", "S00001"), (1, "x@y.example", "hello", "stranger", "S00001"),
        ]  # fmt: skip
        assert held.octets(tx, found[0]) == b"Subject: 1\r\n\r\n"
        assert held.release(tx, 1, NOW + 5)
        assert not held.release(tx, 1, NOW + 5)
        assert not held.release(tx, 999, NOW)
        assert [h.id for h in held.listed(tx)] == [2]
    (claimed,) = claim(store, NOW + 5)
    with store.read() as tx:
        (again,) = arrivals.load(tx, [claimed])
    assert [(each.id, each.released) for each in again.recipients] == [(1, True)]


def test_a_shunted_arrival_is_kept_with_its_reason_for_what_was_not_served(store):
    with store.write() as tx:
        add_arrivals(tx, 1, recipients=("a@d", "b@d"))
        (claimed,) = arrivals.claim(tx, NOW, 1)
        arrivals.settle_recipient(tx, 1, Settled("posted"), NOW, "", "")
        assert arrivals.shunt(tx, claimed, "ValueError", NOW)
        assert [(h.to, h.state, h.cause, h.reason) for h in held.listed(tx)] == [
            ("b@d", "shunted", "fault", "ValueError")
        ]


def test_a_daily_notice_is_one_a_day_for_its_kind_and_address(store):
    with store.write() as tx:
        for at, kind in ((NOW, "refused"), (NOW + 1, "refused"), (NOW + notices.DAY, "refused"), (NOW, "held")):
            notices.add(tx, NewNotice(kind, "a", "a@example.com", {}, daily=True), at)
        notices.add(tx, NewNotice("refused", "", "b@example.com", {}, daily=True), NOW)
        found = notices.claim(tx, NOW + notices.DAY, 10)
    assert sorted((each.kind, each.email) for each in found) == [
        ("held", "a@example.com"), ("refused", "a@example.com"), ("refused", "a@example.com"), ("refused", "b@example.com"),
    ]  # fmt: skip


def test_notices_that_are_bundled_wait_for_each_other_and_for_the_pause(store):
    pause = 3_600_000
    with store.write() as tx:
        for n in range(3):
            notices.bundle(tx, NewNotice("held", "a", "a@example.com", {"id": n, "subject": str(n)}), NOW + n, pause)
        (first,) = notices.claim(tx, NOW + 5, 10)
        assert [item["subject"] for item in first.data["items"]] == ["0", "1", "2"]
        notices.bundle(tx, NewNotice("held", "a", "a@example.com", {"id": 3, "subject": "3"}), NOW + 6, pause)
        assert notices.fanned_out(tx, first.claim)
        assert notices.claim(tx, NOW + pause - 1, 10) == []
        (second,) = notices.claim(tx, NOW + pause, 10)
    assert [item["subject"] for item in second.data["items"]] == ["3"]


def test_a_mail_that_is_held_again_stands_once_in_its_notice(store):
    with store.write() as tx:
        for reason in ("first", "then"):
            new = NewNotice("held", "a", "a@example.com", {"id": 7, "reason": reason})
            notices.bundle(tx, new, NOW, 3_600_000)
        (found,) = notices.claim(tx, NOW, 10)
    assert found.data["items"] == [{"id": 7, "reason": "then"}]


def test_the_author_of_a_message_is_told_or_else_the_salesperson(store):
    from gateway.people import People, Person
    from gateway.store.messages import Author

    people = People({key: Person(key=key, name=key, email=(f"{key}@example.com",)) for key in ("a", "b")})
    with store.write() as tx:
        made = add_record(tx, salesperson="b")
        mine = add_message(tx, made.id, "mine@d", subject="s")
        theirs = add_message(tx, made.id, "theirs@d", author=Author("", "王", "w@acme.example"))
        for each in (mine, theirs, None):
            notices.tell_author(tx, people, "failed", each, "x@y.example", "550 no", "other", NOW)
        told, instead = notices.claim(tx, NOW, 10)
    assert (instead.who, instead.email) == ("b", "b@example.com")
    assert (told.who, told.email, told.record_id) == ("a", "a@example.com", made.id)
    assert told.data == {"recipient": "x@y.example", "answer": "550 no", "cause": "other", "subject": "s", "at": NOW}


def test_a_notice_that_fails_three_times_is_shunted(store):
    with store.write() as tx:
        notices.add(tx, NewNotice("held", "a", "a@example.com", {}), NOW)
    tries = 0
    while tries < 9:
        with store.write() as tx:
            found = notices.claim(tx, NOW, 10)
            if not found:
                break
            notices.postpone(tx, found[0].claim, NOW)
            tries += 1
    with store.read() as tx:
        assert (tries, status.waiting(tx, NOW).shunted) == (3, 1)


def test_an_announced_event_is_remembered_once(store):
    with store.write() as tx:
        assert announced.answer_to(tx, "erp-1") is None
        announced.keep(tx, "erp-1", {"record": "S00001", "message": None}, NOW)
        assert announced.answer_to(tx, "erp-1") == {"record": "S00001", "message": None}

    def again():
        with store.write() as tx:
            announced.keep(tx, "erp-1", {}, NOW)

    with pytest.raises(Conflict):
        again()


def test_status_counts_what_waits_and_how_old_the_oldest_is(store):
    with store.read() as tx:
        assert status.waiting(tx, NOW) == status.Waiting(0, 0, 0, 0, 0, 0, 0, 0)
    with store.write() as tx:
        add_arrivals(tx, 3, now=NOW)
        made = add_record(tx)
        add_message(tx, made.id, at=NOW - 60_000)
        notices.add(tx, NewNotice("held", "a", "a@example.com", {}), NOW)
        add_delivery(tx)
        add_delivery(tx)
        (one, *_) = outbox.claim(tx, NOW, 1)
        outbox.settle(tx, [outbox.Outcome(one, "deferred", "451", due_at=NOW)], NOW)
        for each in arrivals.claim(tx, NOW, 2):
            arrivals.settle_recipient(tx, each.id, Settled("held" if each.id == 1 else "shunted"), NOW, "", "")
            arrivals.finish(tx, each)
        found = status.waiting(tx, NOW + 1_000)
    assert found == status.Waiting(1, 1, 1, 2, 1, 1, 1, 61)


def test_a_reading_transaction_sees_one_state_of_the_store(store):
    if not store.embedded:
        pytest.skip("PostgreSQL reads what is committed, statement by statement")
    with store.read() as reading:
        assert status.waiting(reading, NOW).arrivals == 0
        with store.write() as tx:
            add_arrivals(tx, 1)
        assert status.waiting(reading, NOW).arrivals == 0


def test_writers_in_many_threads_all_get_their_turn(store):
    def work(_):
        for _ in range(5):
            with store.write() as tx:
                add_arrivals(tx, 1)

    in_threads(8, work)
    with store.read() as tx:
        assert status.waiting(tx, NOW).arrivals == 40


def test_a_store_that_cannot_be_reached_is_away():
    store = open_store("postgresql://nobody@127.0.0.1:1/none", Path())
    with pytest.raises(Away), store.read():
        pass
    with pytest.raises(Away), store.write():
        pass
    assert store.wait_for_others(0.0, lambda: True) is False
    store.close()


def test_a_sqlite_file_that_another_program_writes_is_away_and_then_back(tmp_path, monkeypatch):
    monkeypatch.setattr("gateway.store.session._BUSY_S", 0.05)
    one, two = new_store(tmp_path, "gateway.db"), new_store(tmp_path, "gateway.db")
    with one.write() as tx:
        add_arrivals(tx, 1)
        with pytest.raises(Away), two.write():
            pass
    with two.write() as tx:
        assert status.waiting(tx, NOW).arrivals == 1
    one.close()
    two.close()


def test_a_change_of_another_program_is_noticed(tmp_path):
    one, two = new_store(tmp_path, "gateway.db"), new_store(tmp_path, "gateway.db")
    assert not one.wait_for_others(0.0, lambda: False)
    with two.write() as tx:
        add_arrivals(tx, 1)
    assert one.wait_for_others(5.0, lambda: False)
    one.close()
    two.close()


def test_another_node_is_woken_by_a_commit_on_postgresql(postgresql_store):
    heard = []
    listening = threading.Thread(target=lambda: heard.append(postgresql_store.wait_for_others(20.0, lambda: False)))
    listening.start()
    while listening.is_alive():  # a hint given before anybody listens is lost, so it is given until it is heard
        with postgresql_store.write() as tx:
            postgresql_store.wake_others(tx)
        listening.join(0.05)
    assert heard == [True]


def test_sqlite_is_durable_and_checks_its_references(tmp_path):
    store = new_store(tmp_path, "gateway.db")
    with store.write() as tx:
        found = {
            name: tx.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }
    assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}
    store.close()


def test_postgresql_is_durable(postgresql_store):
    with postgresql_store.write() as tx:
        assert tx.exec_driver_sql("SHOW synchronous_commit").scalar() == "on"
