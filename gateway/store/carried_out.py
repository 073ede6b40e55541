"""What commands did to a record, and what stood there before: so that it can be taken back for a while."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from gateway.records.record import Choice
from gateway.store.session import Transaction
from gateway.store.tables import carried_out, delivery, message


@dataclass(frozen=True, slots=True)
class Changed:
    """A choice that was changed, on the record (`team` None) or standing, as it was before and after; None: none."""

    team: str | None
    who: str
    before: Choice | None
    after: Choice | None


@dataclass(frozen=True, slots=True)
class CarriedOut:
    """What the commands of one mail did: `before` and `after` are the record's values by column.

    `said` are the commands as people write them, a line each; `final` is why they cannot be taken back, or "".
    """

    at: int
    said: str
    final: str
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    choices: Sequence[Changed]
    messages: Sequence[int]
    id: int = 0


def keep(tx: Transaction, record_id: int, who: str, done: CarriedOut) -> None:
    """Note what `who` did to a record."""
    row = {
        "record_id": record_id, "who": who, "at": done.at, "said": done.said, "final": done.final,
        "before": dict(done.before), "after": dict(done.after), "messages": list(done.messages),
        "choices": [[each.team, each.who, _stored(each.before), _stored(each.after)] for each in done.choices],
    }  # fmt: skip
    tx.execute(sa.insert(carried_out).values(row))


def last(tx: Transaction, record_id: int, who: str, since: int) -> CarriedOut | None:
    """Return the newest thing that `who` did to a record since then (ms) and that still stands, or None."""
    query = (
        sa.select(carried_out)
        .where(carried_out.c.record_id == record_id, carried_out.c.who == who, carried_out.c.at >= since)
        .where(carried_out.c.taken_back.is_(False))
        .order_by(carried_out.c.id.desc())
        .limit(1)
    )
    row = tx.execute(query).first()
    if row is None:
        return None
    choices = [
        Changed(team, whose, _choice(team, whose, before), _choice(team, whose, after))
        for team, whose, before, after in row.choices
    ]
    return CarriedOut(row.at, row.said, row.final, row.before, row.after, choices, row.messages, row.id)


def taken_back(tx: Transaction, carried_id: int) -> None:
    """Note that something was taken back."""
    tx.execute(sa.update(carried_out).where(carried_out.c.id == carried_id).values(taken_back=True))


def withdraw(tx: Transaction, message_ids: Sequence[int], why: str) -> list[int]:
    """Let messages that nobody was told of yet be told to nobody; return the others, which have left."""
    nobody = {"hears": [], "not_hears": [{"who": "everybody", "reason": why}]}
    values = {"state": "fanned out", "fence": message.c.fence + 1, **nobody}
    query = sa.update(message).where(message.c.id.in_(message_ids), message.c.state == "pending").values(values)
    held_back = set(tx.execute(query.returning(message.c.id)).scalars())
    return [each for each in message_ids if each not in held_back]


def heard_outside(tx: Transaction, message_ids: Sequence[int]) -> bool:
    """Whether one of these messages goes, or went, to somebody outside."""
    query = sa.select(delivery.c.id).where(delivery.c.message_id.in_(message_ids), delivery.c.outsider).limit(1)
    return tx.execute(query).first() is not None


def _stored(made: Choice | None) -> list[Any] | None:
    return None if made is None else [list(made.subtypes), list(made.without), made.how]


def _choice(team: str | None, who: str, kept: Sequence[Any] | None) -> Choice | None:
    return None if kept is None else Choice(who, tuple(kept[0]), tuple(kept[1]), kept[2], team)
