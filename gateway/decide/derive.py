"""A record made from another: a quotation from a lead, the invoice from an order; each names the other."""

from collections.abc import Mapping
from dataclasses import replace

from gateway.decide.intake import complete
from gateway.decide.post import Desk, Posted, Text, create, happen
from gateway.records.kinds import INVOICE, LEAD, QUOTATION, Kind, matches
from gateway.records.lifecycle import STAGE, Edit, Refusal
from gateway.records.record import Choice, Record
from gateway.store import followers, records
from gateway.store.messages import Author
from gateway.store.session import Transaction

_NOT_COPIED = frozenset({STAGE, "reason", "valid_until", QUOTATION.name, INVOICE.name})


def derive(
    tx: Transaction, desk: Desk, origin: Record, kind_name: str, title: str, actor: Author, now: int
) -> tuple[Record, Posted]:  # fmt: skip
    """Make a record of `kind_name` from `origin`; return the origin as it stands now, and what was made.

    It has the origin's customer, team, salesperson, lines and amounts, and its followers, as far as what they
    chose exists on its kind.
    """
    kind = desk.site.rules.kinds.by_name[kind_name]
    edit = Edit(
        title=title or origin.title, team=origin.team or None, salesperson=origin.salesperson or None,
        customer=origin.customer, origin=origin.ref, lines=origin.lines, fields=_copied(origin),
    )  # fmt: skip
    made = create(
        tx, desk, kind, "", complete(desk, edit, salesperson=actor.who, team=""), actor, Text(), now
    )  # fmt: skip
    for choice in followers.choices_on(tx, origin.id):
        if (kept := _kept(desk, kind, choice)) is not None:
            followers.choose(tx, made.record.id, kept)
    return name_in_origin(tx, desk, origin, made.record, actor, now), made


def is_open(tx: Transaction, refs: str) -> bool:
    """Whether one of the records that were made, as `name_in_origin` names them, was not cancelled."""
    made = (records.find(tx, ref) for ref in refs.split(", "))
    return any(each is not None and each.state != "cancelled" for each in made)


def name_in_origin(tx: Transaction, desk: Desk, origin: Record, made: Record, actor: Author, now: int) -> Record:
    """Let the record from which another was made name it; return it as it stands now."""
    if (origin.kind, made.kind) not in ((LEAD.name, QUOTATION.name), (QUOTATION.name, INVOICE.name)):
        return origin
    named = ", ".join(filter(None, (origin.fields.get(made.kind, ""), made.ref)))
    back = happen(tx, desk, origin, None, Edit(fields={made.kind: named}), actor, Text(), now)
    if isinstance(back, Refusal):
        raise TypeError(str(back.problem))
    return back.record


def _copied(origin: Record) -> Mapping[str, str]:
    return {name: value for name, value in origin.fields.items() if name not in _NOT_COPIED}


def _kept(desk: Desk, kind: Kind, choice: Choice) -> Choice | None:
    """Return a choice as far as it means something on a record of `kind`, or None."""
    known = [subtype.name for subtype in desk.site.rules.kinds.of_record(kind.name)]

    def fitting(patterns: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(each for each in patterns if any(matches([each], name) for name in known))

    kept = replace(choice, subtypes=fitting(choice.subtypes), without=fitting(choice.without))
    return kept if kept.subtypes or kept.without else None
