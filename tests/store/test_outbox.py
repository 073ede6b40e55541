"""The outbox: the database itself refuses an internal mail to somebody outside (law 5)."""

import pytest

from gateway.store import outbox
from gateway.store.outbox import Outcome
from gateway.store.session import Conflict
from gateway.store.tables import delivery
from tests.store.kit import BODY_HASH, NOW, add_delivery, add_message, add_record


@pytest.fixture
def thread(store):
    """An internal message and a public one: their ids."""
    with store.write() as tx:
        made = add_record(tx)
        return (
            add_message(tx, made.id, "note@sales.example.com", internal=True),
            add_message(tx, made.id, "said@sales.example.com"),
        )


def queue(store, message_id, **values):
    with store.write() as tx:
        add_delivery(tx, message_id, **values)


def test_an_internal_mail_to_an_outsider_is_refused(store, thread):
    with pytest.raises(Conflict):
        queue(store, thread[0], internal=True, outsider=True)


def test_a_note_cannot_pass_as_public_to_reach_an_outsider(store, thread):
    with pytest.raises(Conflict):
        queue(store, thread[0], internal=False, outsider=True)


def test_a_public_message_cannot_be_queued_as_internal(store, thread):
    with pytest.raises(Conflict):
        queue(store, thread[1], internal=True)


def test_a_message_that_is_not_there_has_no_delivery(store):
    with pytest.raises(Conflict):
        queue(store, 999)


def test_an_internal_notice_to_an_outsider_is_refused(store):
    with pytest.raises(Conflict):
        queue(store, None, internal=True, outsider=True)


def test_what_may_be_queued_is_queued(store, thread):
    queue(store, thread[0], internal=True)
    queue(store, thread[1], outsider=True)
    queue(store, None)
    with store.read() as tx:
        assert [each.state for each in outbox.listed(tx, outbox.WAITING)] == ["queued"] * 3


def test_one_refused_delivery_keeps_all_of_its_transaction_out(store, thread):
    def both():
        with store.write() as tx:
            add_delivery(tx, thread[1], outsider=True)
            add_delivery(tx, thread[0], internal=True, outsider=True)

    with pytest.raises(Conflict):
        both()
    with store.read() as tx:
        assert outbox.listed(tx, outbox.WAITING) == []


def test_a_delivery_that_was_queued_cannot_be_turned_outward(store, thread):
    queue(store, thread[0], internal=True)

    def turn():
        with store.write() as tx:
            tx.execute(delivery.update().values(outsider=True))

    with pytest.raises(Conflict):
        turn()


def test_a_body_is_shared_and_comes_back_as_it_was(store):
    with store.write() as tx:
        first = outbox.keep_body(tx, b"one\r\n", BODY_HASH)
        second = outbox.keep_body(tx, b"x" * 400_000, BODY_HASH)
        found = outbox.bodies(tx, [first, second, first])
    assert (found[first].octets, found[first].signed_hash) == (b"one\r\n", BODY_HASH)
    assert found[second].octets == b"x" * 400_000


def test_a_mail_is_its_header_an_empty_line_and_its_body(store):
    with store.write() as tx:
        add_delivery(tx)
        assert outbox.octets(tx, 1) == b"To: b\r\n\r\nhello\r\n"


def test_deliveries_are_listed_newest_first_with_record_and_message(store, thread):
    queue(store, thread[1], outsider=True)
    queue(store, None)
    with store.read() as tx:
        found = outbox.listed(tx, outbox.WAITING)
        assert [(each.id, each.record, each.message) for each in found] == [
            (2, "", ""), (1, "S00001", "said@sales.example.com"),
        ]  # fmt: skip
        assert outbox.listed(tx, ("sent",)) == []
        assert [each.id for each in outbox.listed(tx, (), only=1)] == [1]


@pytest.mark.parametrize("state", ["sent", "failed", "expired", "deferred", "suppressed"])
def test_an_outcome_is_kept_with_its_try(store, state):
    queue(store, None)
    with store.write() as tx:
        (claimed,) = outbox.claim(tx, NOW, 1)
        outbox.settle(tx, [Outcome(claimed, state, "answer", due_at=NOW + 9)], NOW + 1)
        (found,) = outbox.listed(tx, (state,))
        assert (found.attempts, found.answer) == (1, "answer")
        assert outbox.attempts(tx, 1) == [(NOW + 1, "answer")]


def test_a_report_settles_only_what_was_sent_and_only_once(store):
    queue(store, None)
    with store.write() as tx:
        assert outbox.report(tx, 1, "failed", "550 no", NOW) is None
        (claimed,) = outbox.claim(tx, NOW, 1)
        outbox.settle(tx, [Outcome(claimed, "sent", "250 ok")], NOW)
        told = outbox.report(tx, 1, "failed", "550 no", NOW + 5)
        assert told is not None
        assert told.recipient == "b@example.com"
        assert outbox.report(tx, 1, "failed", "550 no", NOW + 6) is None
        assert [answer for _, answer in outbox.attempts(tx, 1)] == ["250 ok", "550 no"]
