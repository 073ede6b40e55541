import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.records.kinds import BUILT_IN, DISCUSSION, NOTE, Kind, Kinds, Subtype
from gateway.records.lifecycle import Change, Edit, Outcome, Refusal, apply, shown_party
from gateway.records.record import Line, Party, Record

# CONTRACT §4, every transition that is allowed: state, what happens, state afterwards.
ALLOWED = {
    ("quotation", "draft", "sent"): "sent",
    ("quotation", "draft", "confirmed"): "confirmed",
    ("quotation", "draft", "cancelled"): "cancelled",
    ("quotation", "sent", "sent"): "sent",
    ("quotation", "sent", "confirmed"): "confirmed",
    ("quotation", "sent", "cancelled"): "cancelled",
    ("quotation", "confirmed", "cancelled"): "cancelled",
    ("lead", "open", "stage"): "open",
    ("lead", "open", "won"): "won",
    ("lead", "open", "lost"): "lost",
    ("lead", "lost", "restored"): "open",
    ("invoice", "draft", "validated"): "posted",
    ("invoice", "posted", "paid"): "paid",
}
EVERY = [
    (kind.name, state, subtype.name.partition(".")[2])
    for kind in BUILT_IN
    for state in kind.states
    for subtype in kind.subtypes
    if not subtype.creates
]
STAGE = Edit(fields={"stage": "qualified"})


def record(kind: str = "quotation", state: str = "draft", **more) -> Record:
    return Record(1, kind, "S00042", "20 chairs", state, team="sales", teams=("sales",), **more)


def happens(kind: str, state: str, what: str) -> Outcome | Refusal:
    subtype = Kinds().subtypes[f"{kind}.{what}"]
    return apply(record(kind, state), subtype, STAGE if what == "stage" else Edit())


def changed(before: Record, edit: Edit, **how: bool) -> Outcome:
    outcome = apply(before, None, edit, **how)
    assert isinstance(outcome, Outcome)
    return outcome


@pytest.mark.parametrize(("kind", "state", "what"), [each for each in EVERY if each in ALLOWED])
def test_an_allowed_transition_happens(kind, state, what):
    outcome = happens(kind, state, what)
    assert isinstance(outcome, Outcome)
    assert outcome.record.state == ALLOWED[kind, state, what]
    assert (Change("state", state, outcome.record.state) in outcome.changes) == (state != outcome.record.state)


@pytest.mark.parametrize(("kind", "state", "what"), [each for each in EVERY if each not in ALLOWED])
def test_any_other_transition_is_refused_with_the_state_and_the_event(kind, state, what):
    refusal = happens(kind, state, what)
    assert isinstance(refusal, Refusal)
    assert refusal.field == "event"
    assert refusal.value == f"{kind}.{what}"
    assert state in str(refusal.problem)
    assert f"{kind}.{what}" in str(refusal.problem)


def test_every_allowed_transition_is_one_that_exists():
    assert set(ALLOWED) <= set(EVERY)


def test_a_stage_must_be_named_and_must_change():
    lead = record("lead", "open", fields={"stage": "new"})
    subtype = Kinds().subtypes["lead.stage"]
    for edit in (Edit(), Edit(fields={"stage": ""}), Edit(fields={"stage": None}), Edit(fields={"stage": "new"})):
        assert isinstance(apply(lead, subtype, edit), Refusal)
    outcome = apply(lead, subtype, Edit(fields={"stage": "qualified"}))
    assert isinstance(outcome, Outcome)
    assert outcome.changes == (Change("stage", "new", "qualified"),)


def test_a_further_kind_goes_from_any_state_where_it_names_none():
    done = Subtype("repair.done", {}, to="done")
    kind = Kind("repair", {}, "R", ("new", "repairing", "done"), (done,))
    for state in kind.states:
        outcome = apply(record("repair", state), done, Edit())
        assert isinstance(outcome, Outcome)
        assert outcome.record.state == "done"


@pytest.mark.parametrize("subtype", [None, DISCUSSION, NOTE])
@pytest.mark.parametrize("state", ["draft", "sent", "confirmed", "cancelled"])
def test_talk_and_edits_leave_the_state_alone(subtype, state):
    outcome = apply(record(state=state), subtype, Edit(title="30 chairs"))
    assert isinstance(outcome, Outcome)
    assert outcome.record.state == state
    assert outcome.changes == (Change("title", "20 chairs", "30 chairs"),)


def test_an_edit_that_says_nothing_changes_nothing():
    before = record(fields={"amount": "1"}, lines=(Line("Chair"),), customer=Party("Wang", ("w@acme.example",)))
    assert changed(before, Edit()) == Outcome(before, ())


def test_a_field_is_added_changed_and_taken_away():
    outcome = changed(record(fields={"a": "1", "b": "2"}), Edit(fields={"a": "3", "b": None, "c": "4", "d": None}))
    assert outcome.record.fields == {"a": "3", "c": "4"}
    assert outcome.changes == (Change("a", "1", "3"), Change("b", "2", ""), Change("c", "", "4"))


def test_other_lines_are_a_change_even_where_they_are_as_many():
    outcome = changed(record(lines=(Line("Chair"),)), Edit(lines=[Line("Table")]))
    assert outcome.record.lines == (Line("Table"),)
    assert outcome.changes == (Change("lines", "1", "1"),)


def test_a_field_that_is_called_lines_and_stays_is_no_change():
    assert changed(record(fields={"lines": "3"}), Edit(title="30 chairs")).changes == (
        Change("title", "20 chairs", "30 chairs"),
    )


def test_a_change_of_team_keeps_the_old_team_unless_told_to_replace():
    assert changed(record(), Edit(team="export")).record.teams == ("sales", "export")
    assert changed(record(), Edit(team="export"), replace_teams=True).record.teams == ("export",)
    assert changed(record(), Edit(team="sales"), replace_teams=True).record.teams == ("sales",)


def test_a_team_had_before_stands_once():
    there = changed(record(), Edit(team="export")).record
    back = changed(there, Edit(team="sales")).record
    assert (back.team, back.teams) == ("sales", ("sales", "export"))


def test_a_customer_is_shown_by_name_and_first_address():
    party = Party("王小明", ("wang@acme.example", "w@acme.example"))
    assert changed(record(), Edit(customer=party)).changes == (Change("customer", "", "王小明 <wang@acme.example>"),)
    assert shown_party(Party("", ("w@acme.example",))) == "w@acme.example"
    assert shown_party(Party("Wang")) == "Wang"


edits = st.builds(
    Edit,
    title=st.none() | st.text(max_size=5),
    team=st.none() | st.sampled_from(["", "sales", "export"]),
    salesperson=st.none() | st.sampled_from(["", "a", "b"]),
    customer=st.none() | st.builds(Party, st.text(max_size=3), st.sampled_from([(), ("w@acme.example",)])),
    fields=st.dictionaries(st.sampled_from(["amount", "stage", "x"]), st.none() | st.text(max_size=3)),
    lines=st.none() | st.lists(st.builds(Line, st.text(max_size=3)), max_size=2),
)


@given(st.sampled_from(list(Kinds().subtypes.values())), st.sampled_from(["draft", "open", "sent", "paid"]), edits)
def test_what_happens_never_raises_and_changes_the_old_record_never(subtype, state, edit):
    before = record(state=state, fields={"amount": "1"})
    kept = dataclasses.replace(before, fields=dict(before.fields))
    outcome = apply(before, subtype, edit)
    assert before == kept
    if isinstance(outcome, Outcome):
        assert all(change.old != change.new or change.name == "lines" for change in outcome.changes)
        assert None not in outcome.record.fields.values()
        assert len(set(outcome.record.teams)) == len(outcome.record.teams)


@given(edits)
def test_an_edit_made_twice_changes_nothing_the_second_time(edit):
    once = changed(record(), edit).record
    assert changed(once, edit).record == once
