"""Threads keep what was posted, and a mail has its effect once (law 2)."""

import pytest
import sqlalchemy as sa

from gateway.mail.parse import Attachment
from gateway.records.lifecycle import Change
from gateway.store import content, lease, messages
from gateway.store.messages import Author, Details
from gateway.store.session import Conflict
from gateway.store.tables import effect
from tests.store.kit import NOW, add_message, add_record, in_threads


@pytest.fixture
def record(store):
    with store.write() as tx:
        return add_record(tx)


def test_a_message_comes_back_as_it_was_posted(store, record):
    details = Details(defects=("no Date",), added=("x@acme.example",), mailed=True, authenticated="tag")
    given = {
        "author": Author("", "王小明", "wang@acme.example"), "subject": "Re: 椅子", "text": "一\n二", "quoted": "> 三",
        "original_id": "orig@acme.example", "ancestors": ("a@x", "b@x"), "addressed": ("b@example.com",),
        "changes": (Change("state", "draft", "sent"),), "details": details,
        "attachments": (Attachment("報價.pdf", "application/pdf", b"%PDF"), Attachment("b", "image/png", b"")),
    }  # fmt: skip
    with store.write() as tx:
        made = add_message(tx, record.id, **given)
    with store.read() as tx:
        (found,) = messages.thread(tx, record.id)
        kept = messages.attachments(tx, [made])[made]
        octets = [content.load(tx, each.digest) for each in kept]
    for name, value in given.items():
        if name != "attachments":
            assert getattr(found, name) == value, name
    assert (found.id, found.state, found.hears, found.not_hears) == (made, "pending", [], [])
    assert [(each.name, each.media_type, each.size) for each in kept] == [
        ("報價.pdf", "application/pdf", 4), ("b", "image/png", 0),
    ]  # fmt: skip
    assert octets == [b"%PDF", b""]


def test_a_thread_is_oldest_first_and_last_narrows_to_the_newest(store, record):
    with store.write() as tx:
        other = add_record(tx, "S00002")
        ids = [add_message(tx, record.id, f"{n}@d") for n in range(4)]
        add_message(tx, other.id, "other@d")
        assert [each.id for each in messages.thread(tx, record.id)] == ids
        assert [each.id for each in messages.thread(tx, record.id, 2)] == ids[2:]
        assert messages.root_ids(tx, record.id) == ("0@d",)
        assert messages.root_ids(tx, 999) == ()


def test_a_message_id_of_ours_stands_once(store, record):
    def twice():
        with store.write() as tx:
            add_message(tx, record.id, "same@d")
            add_message(tx, record.id, "same@d")

    with pytest.raises(Conflict):
        twice()


def test_the_parent_is_found_by_our_id_or_the_authors_in_this_thread_only(store, record):
    with store.write() as tx:
        other = add_record(tx, "S00002")
        first = add_message(tx, record.id, "ours1@d", original_id="theirs1@x")
        second = add_message(tx, record.id, "ours2@d", original_id="theirs2@x")
        add_message(tx, other.id, "ours3@d", original_id="theirs3@x")
        found = {ids: messages.find_parent(tx, record.id, ids) for ids in (
            ("ours2@d", "ours1@d"), ("theirs1@x",), ("nobody@x", "theirs2@x"), ("ours3@d", "theirs3@x"), (), ("",),
        )}  # fmt: skip
    assert [each.id if each else None for each in found.values()] == [second, first, second, None, None, None]


def test_more_ids_than_a_statement_takes_are_looked_for_without_a_fault(store, record):
    with store.write() as tx:
        assert messages.find_parent(tx, record.id, [f"{n}@x" for n in range(50_000)]) is None
        assert messages.records_made(tx, "intake:leads", [f"{n}@x" for n in range(50_000)]) == []


def test_a_message_is_fanned_out_once(store, record):
    with store.write() as tx:
        made = add_message(tx, record.id)
    with store.write() as tx:
        (claimed,) = messages.claim(tx, NOW, 10)
    with store.write() as tx:
        (other,) = messages.claim(tx, NOW + messages.LEASE, 10)
    heard = [{"who": "b", "email": "b@example.com", "reason": "rule rules.yaml:3", "delivery": "mail"}]
    with store.write() as tx:
        assert not messages.fanned_out(tx, claimed, [], [])
        assert messages.fanned_out(tx, other, heard, [{"who": "a", "reason": "wrote it"}])
        assert messages.claim(tx, NOW + 10**9, 10) == []
        (found,) = messages.load(tx, [made])
    assert (found.state, found.hears, found.not_hears) == ("fanned out", heard, [{"who": "a", "reason": "wrote it"}])


def test_a_shunted_message_stays_in_its_thread_and_waits_no_more(store, record):
    with store.write() as tx:
        made = add_message(tx, record.id)
        (claimed,) = messages.claim(tx, NOW, 10)
        messages.shunt(tx, claimed, "a fault")
        assert lease.next_due(tx, messages.message, messages.PENDING) is None
        assert [(each.id, each.state) for each in messages.thread(tx, record.id)] == [(made, "shunted")]


def test_an_effect_happens_once_for_a_scope_an_id_and_a_body(store):
    one, two = b"1" * 32, b"2" * 32
    with store.write() as tx:
        answers = [
            messages.claim_effect(tx, "record:1", "id@x", one),
            messages.claim_effect(tx, "record:1", "id@x", one),
            messages.claim_effect(tx, "record:1", "id@x", two),
            messages.claim_effect(tx, "record:1", "id@x", two),
            messages.claim_effect(tx, "record:2", "id@x", one),
            messages.claim_effect(tx, "record:1", "", one),
            messages.claim_effect(tx, "record:1", "", one),
        ]
    assert answers == ["new", "repeated", "other body", "repeated", "new", "new", "repeated"]


def test_an_effect_of_a_transaction_that_failed_did_not_happen(store):
    def fail():
        with store.write() as tx:
            messages.claim_effect(tx, "record:1", "id@x", b"1" * 32)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with store.write() as tx:
        assert messages.claim_effect(tx, "record:1", "id@x", b"1" * 32) == "new"


def test_ids_that_differ_beyond_a_thousand_characters_are_told_apart_by_their_body(store):
    with store.write() as tx:
        assert messages.claim_effect(tx, "s", "x" * 1000 + "a", b"1" * 32) == "new"
        assert messages.claim_effect(tx, "s", "x" * 1000 + "b", b"2" * 32) == "other body"
        assert messages.claim_effect(tx, "s", "x" * 1000 + "b", b"2" * 32) == "repeated"


def test_the_same_mail_in_four_threads_at_once_has_one_effect(store):
    def work(_):
        try:
            with store.write() as tx:
                return messages.claim_effect(tx, "record:1", "id@x", b"1" * 32)
        except Conflict:
            return "conflict"

    answers = in_threads(4, work)
    assert answers.count("new") == 1
    assert set(answers) <= {"new", "repeated", "conflict"}
    with store.read() as tx:
        assert tx.execute(sa.select(sa.func.count()).select_from(effect)).scalar_one() == 1


def test_the_record_a_mail_made_is_found_by_its_id_and_intake(store, record):
    with store.write() as tx:
        messages.claim_effect(tx, "intake:leads", "id@x", b"1" * 32)
        assert messages.records_made(tx, "intake:leads", ["id@x"]) == []
        messages.effect_made(tx, "intake:leads", "id@x", b"1" * 32, record.id)
        assert messages.records_made(tx, "intake:leads", ["no@x", "id@x"]) == [record.id]
        assert messages.records_made(tx, "intake:quotations", ["id@x"]) == []


def test_messages_of_an_author_are_counted_since_a_time(store, record):
    with store.write() as tx:
        for n in range(3):
            add_message(tx, record.id, f"{n}@d", at=NOW + n, author=Author("", "", "wang@acme.example"), vouched=False)
        add_message(tx, record.id, "vouched@d", at=NOW + 8, author=Author("", "", "wang@acme.example"))
        add_message(tx, record.id, "other@d", at=NOW + 9)
        assert messages.count_since(tx, record.id, "wang@acme.example", NOW + 1) == 2
