"""Mails kept for a person: by policy (held), by a fault (shunted), or because a rule refused them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from gateway.store import content
from gateway.store.session import Transaction
from gateway.store.tables import arrival, arrival_recipient, in_state, record

KEPT = ("held", "shunted")
REFUSED = ("refused",)
_DECIDED = (*KEPT, *REFUSED)  # what somebody may still let through, or drop


@dataclass(frozen=True, slots=True)
class Held:
    """One kept mail, for one recipient. `id` names it to a person; `results` is what authentication said."""

    id: int
    at: int
    author: str
    to: str
    subject: str
    state: str
    cause: str
    reason: str
    record: str
    digest: bytes
    results: Sequence[Sequence[str]] | None = None
    proved: bool = False  # its author wrote it


def listed(tx: Transaction, limit: int = 1000, states: Sequence[str] = KEPT) -> list[Held]:
    """Return what is kept, newest first."""
    return [Held(*tuple(row)) for row in tx.execute(_query(states).limit(limit))]


def find(tx: Transaction, held_id: int) -> Held | None:
    """Return what is kept, or was refused, under an id."""
    row = tx.execute(_query(_DECIDED).where(arrival_recipient.c.id == held_id)).first()
    return Held(*tuple(row)) if row else None


def _query(states: Sequence[str] = KEPT) -> sa.Select[Any]:
    table = arrival_recipient
    return (
        sa.select(
            table.c.id, arrival.c.received_at, table.c.author, table.c.address, table.c.subject, table.c.state,
            table.c.cause, table.c.reason, sa.func.coalesce(record.c.ref, ""), arrival.c.content, arrival.c.results,
            arrival.c.proved,
        )
        .join(arrival, arrival.c.id == table.c.arrival_id)
        .outerjoin(record, record.c.id == table.c.record_id)
        .where(in_state(table, states))
        .order_by(table.c.id.desc())
    )  # fmt: skip


def shunted_of(tx: Transaction, arrival_id: int) -> list[Held]:
    """Return what of an arrival was put aside by a fault."""
    return [Held(*tuple(row)) for row in tx.execute(_query().where(arrival.c.id == arrival_id))]


def octets(tx: Transaction, held: Held) -> bytes:
    """Return the kept mail as it was received."""
    return content.load(tx, held.digest)


def release(tx: Transaction, held_id: int, now: int, who: str = "", address: str = "") -> bool:
    """Let a kept mail be decided again, as one that `who` vouches for; False if not kept. Its cause stays.

    `address` routes it: another of our addresses takes the place of the one it came to.
    """
    table = arrival_recipient
    values: dict[str, object] = {"state": "pending", "released": True, "reason": "", "settled_at": None}
    values |= {"decided_by": who, "decided_at": now} | ({"address": address} if address else {})
    row = tx.execute(
        sa.update(table)
        .where(table.c.id == held_id, table.c.state.in_(_DECIDED))
        .values(values)
        .returning(table.c.arrival_id)
    ).first()
    if row is None:
        return False
    _due(tx, [row.arrival_id], now)
    return True


def drop(tx: Transaction, held_id: int, now: int, who: str) -> bool:
    """Give a kept mail up: its octets stay, nobody hears of it; False if not kept."""
    table = arrival_recipient
    values = {"state": "discarded", "cause": "dropped", "settled_at": now, "decided_by": who, "decided_at": now}
    return (
        tx.execute(sa.update(table).where(table.c.id == held_id, table.c.state.in_(_DECIDED)).values(values)).rowcount
        == 1
    )


def look_again(tx: Transaction, cause: str, since: int, now: int) -> None:
    """Decide again what is held for `cause`, came after `since` (ms), and only the DNS was missing to prove."""
    table = arrival_recipient
    query = (
        sa.select(table.c.id, table.c.arrival_id, arrival.c.results)
        .join(arrival, arrival.c.id == table.c.arrival_id)
        .where(in_state(table, ("held",)), table.c.cause == cause, arrival.c.received_at >= since)
    )
    away = [row for row in tx.execute(query) if any(each[1] == "temperror" for each in row.results or ())]
    if away:
        pending = {"state": "pending", "settled_at": None}
        tx.execute(sa.update(table).where(table.c.id.in_([row.id for row in away])).values(pending))
        _due(tx, [row.arrival_id for row in away], now)


def _due(tx: Transaction, arrival_ids: Sequence[int], now: int) -> None:
    """Let arrivals be claimed again; the fence grows, so that a late claimant settles nothing."""
    values = {"state": "pending", "due_at": now, "lease_until": 0, "fence": arrival.c.fence + 1, "attempts": 0}
    tx.execute(sa.update(arrival).where(arrival.c.id.in_(arrival_ids)).values(values))
