"""What may happen to a record in its state, and what changes when it does: pure.

*Failure:* a transition that the state does not allow is a `Refusal`, a value; nothing raises.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gateway.records.conditions import amount, day
from gateway.records.kinds import Subtype
from gateway.records.record import Line, Party, Record

STAGE = "stage"
INNER_FIELDS = (STAGE, "reason")  # a lead's, of which nobody outside reads
VALID_UNTIL = "valid_until"
AMOUNT = "amount"


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that became another: a field's name, or state, title, team, salesperson."""

    name: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong, in English with places (`{}`) for what it is about: so it can be said in any language."""

    pattern: str = ""
    about: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.pattern.format(*self.about)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an event cannot happen: the field at fault, its value, and what is wrong with it."""

    field: str
    value: str
    problem: Problem


@dataclass(frozen=True, slots=True)
class Edit:
    """What an event says about a record, beside the transition itself. None: says nothing."""

    title: str | None = None
    team: str | None = None
    salesperson: str | None = None
    customer: Party | None = None
    origin: str | None = None
    fields: Mapping[str, str | None] = dataclasses.field(default_factory=dict)
    lines: Sequence[Line] | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """The record as it stands afterwards, and what changed, in the order people read it."""

    record: Record
    changes: tuple[Change, ...]


def apply(record: Record, subtype: Subtype | None, edit: Edit, *, replace_teams: bool = False) -> Outcome | Refusal:
    """Let `subtype` (None: only an edit) happen to `record`.

    A stage that does not change is refused, for there would be nothing to tell. `replace_teams`
    forgets the teams the record has had.
    """
    state = record.state
    if subtype is not None and subtype.transition and not subtype.creates:
        if subtype.origins and record.state not in subtype.origins:
            about = (record.ref, record.state, subtype.name)
            return Refusal("event", subtype.name, Problem("{} is {}: {} cannot happen", about))
        if subtype.name == "lead.stage":
            stage = edit.fields.get(STAGE) or ""
            if not stage:
                return Refusal("fields.stage", "", Problem("lead.stage needs fields.stage"))
            if stage == record.fields.get(STAGE):
                return Refusal("fields.stage", stage, Problem("{} is already in stage {}", (record.ref, stage)))
        state = subtype.to or state
    if subtype is not None and subtype.name == "lead.restored" and "reason" not in edit.fields:
        edit = dataclasses.replace(edit, fields={**edit.fields, "reason": None})  # why it was lost is past
    changed = dataclasses.replace(
        record,
        state=state,
        title=record.title if edit.title is None else edit.title,
        team=record.team if edit.team is None else edit.team,
        salesperson=record.salesperson if edit.salesperson is None else edit.salesperson,
        customer=record.customer if edit.customer is None else edit.customer,
        origin=record.origin if edit.origin is None else edit.origin,
        fields=_merged(record.fields, edit.fields),
        lines=record.lines if edit.lines is None else tuple(edit.lines),
    )
    if changed.team != record.team:
        had = () if replace_teams else record.teams
        changed = dataclasses.replace(changed, teams=tuple(dict.fromkeys((*had, changed.team))))
    return Outcome(changed, differences(record, changed))


def _merged(fields: Mapping[str, str], edit: Mapping[str, str | None]) -> dict[str, str]:
    given = {name: _written(name, value) for name, value in edit.items() if value is not None}
    merged = {**fields, **given}
    return {name: value for name, value in merged.items() if edit.get(name, value) is not None}


def _written(name: str, value: str) -> str:
    """Return a value as it is kept: a day and an amount in one form, whatever form they were given in."""
    read = {VALID_UNTIL: day, AMOUNT: amount}.get(name)
    return (read(value) if read else "") or value


def differences(old: Record, new: Record) -> tuple[Change, ...]:
    """Return what is different in two states of a record, in the order people read it."""
    pairs = [
        (name, str(getattr(old, name)), str(getattr(new, name)))
        for name in ("state", "title", "team", "salesperson", "origin")
    ]
    pairs.append(("customer", shown_party(old.customer), shown_party(new.customer)))
    for name in dict.fromkeys((*old.fields, *new.fields)):
        pairs.append((name, old.fields.get(name, ""), new.fields.get(name, "")))
    changes = [Change(*pair) for pair in pairs if pair[1] != pair[2]]
    if old.lines != new.lines:
        changes.append(Change("lines", str(len(old.lines)), str(len(new.lines))))
    return tuple(changes)


def shown_party(party: Party) -> str:
    """Return a customer as people read it: the name, and the address mail goes to."""
    email = party.emails[0] if party.emails else ""
    return f"{party.name} <{email}>" if party.name and email else party.name or email
