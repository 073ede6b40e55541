"""Choices unite, the newer word wins; a reader has one number for ever."""

import pytest

from gateway.following import followers as all_followers
from gateway.people import People, Person
from gateway.records.record import Choice
from gateway.rules import Rules
from gateway.store import followers, suppressed
from gateway.store.tables import suppression
from tests.store.kit import NOW, add_record, in_threads


@pytest.fixture
def record(store):
    with store.write() as tx:
        return add_record(tx)


def choose(store, record, *made):
    with store.write() as tx:
        for each in made:
            answer = followers.choose(tx, record.id, each)
    with store.read() as tx:
        (kept,) = followers.choices(tx, [record.id])[record.id]
    assert kept == answer
    return kept


@pytest.mark.parametrize(
    ("made", "subtypes", "without"),
    [
        ([Choice("b", ("discussion",))], ("discussion",), ()),
        ([Choice("b", ("discussion",)), Choice("b", ("note", "discussion"))], ("discussion", "note"), ()),
        ([Choice("b", ("discussion", "note")), Choice("b", without=("note",))], ("discussion",), ("note",)),
        ([Choice("b", without=("note",)), Choice("b", ("note",))], ("note",), ()),
        ([Choice("b", ("note", "discussion")), Choice("b", without=("*",))], (), ("*",)),
        ([Choice("b", without=("*",)), Choice("b", ("discussion",))], ("discussion",), ()),
        ([Choice("b", without=("note",)), Choice("b", without=("note", "assigned"))], (), ("note", "assigned")),
    ],
)
def test_a_choice_unites_with_what_was_chosen_before(store, record, made, subtypes, without):
    kept = choose(store, record, *made)
    assert (kept.subtypes, kept.without) == (subtypes, without)


@pytest.mark.parametrize(
    ("before", "now", "heard", "not_heard"),
    [
        (Choice("b", without=("quotation.*",)), Choice("b", ("quotation.sent",)), "quotation.sent", ""),
        (Choice("b", without=("quotation.sent",)), Choice("b", ("quotation.*",)), "quotation.sent", ""),
        (Choice("b", without=("note",)), Choice("b", ("*",)), "note", ""),
        (Choice("b", ("quotation.*",)), Choice("b", without=("quotation.sent",)), "quotation.confirmed", "quotation.sent"),
        (Choice("b", ("quotation.sent",)), Choice("b", without=("quotation.*",)), "", "quotation.sent"),
        (Choice("b", without=("*",)), Choice("b", ("discussion",)), "discussion", "note"),
    ],
)  # fmt: skip
def test_the_newer_word_wins_whatever_wildcard_the_older_used(store, record, before, now, heard, not_heard):
    kept = choose(store, record, before, now)
    people = People({"b": Person(key="b", name="B", email=("b@example.com",))})
    found = all_followers(record, [kept], people, Rules())
    grants = {name: found[0].heard(name, record) for name in (heard, not_heard) if name and found}
    if heard:
        assert not isinstance(grants[heard], str), grants[heard]
    if not_heard and found:
        assert isinstance(grants[not_heard], str)


def test_how_somebody_came_to_follow_is_what_it_was_first(store, record):
    assert (
        choose(store, record, Choice("x@y.example", ("discussion",), how="cc"), Choice("x@y.example", ("note",))).how
        == "cc"
    )


def test_choices_are_of_a_record_and_a_person(store, record):
    with store.write() as tx:
        other = add_record(tx, "S00002")
        followers.choose(tx, record.id, Choice("a", ("note",)))
        followers.choose(tx, record.id, Choice("b", ("note",)))
        followers.choose(tx, other.id, Choice("a", ("discussion",)))
        found = followers.choices(tx, [record.id, other.id, 999])
    assert {key: [(each.who, each.subtypes) for each in value] for key, value in found.items()} == {
        record.id: [("a", ("note",)), ("b", ("note",))], other.id: [("a", ("discussion",))], 999: [],
    }  # fmt: skip


def test_a_reader_has_one_number_for_ever(store):
    with store.write() as tx:
        first = followers.reader_ids(tx, ["person:a", "wang@acme.example", "person:a"])
    with store.write() as tx:
        second = followers.reader_ids(tx, ["customer:acme", "person:a", "wang@acme.example"])
        assert {who: second[who] for who in first} == first
        assert len(set(second.values())) == 3
        assert [followers.reader_who(tx, number) for number in first.values()] == list(first)
        assert followers.reader_who(tx, 999) == ""
        assert followers.reader_ids(tx, []) == {}


def test_four_threads_agree_on_the_numbers_of_new_readers(store):
    whos = [f"person:{n}" for n in range(20)]

    def work(_):
        with store.write() as tx:
            return followers.reader_ids(tx, whos)

    first, *others = in_threads(4, work)
    assert sorted(first) == sorted(whos)
    assert all(each == first for each in others)


def test_an_address_we_no_longer_send_to_is_told(store):
    with store.write() as tx:
        tx.execute(suppression.insert().values(email="x@y.example", reason="bounced", at=NOW))
        assert suppressed.suppressed(tx, ["x@y.example", "a@example.com"]) == {"x@y.example"}
        assert suppressed.suppressed(tx, []) == frozenset()
