"""Mails kept for a person: by policy (held) or by a fault (shunted)."""

from dataclasses import dataclass

import sqlalchemy as sa

from gateway.store import content
from gateway.store.session import Transaction
from gateway.store.tables import arrival, arrival_recipient, in_state, record

KEPT = ("held", "shunted")


@dataclass(frozen=True, slots=True)
class Held:
    """One kept mail, for one recipient. `id` names it to a person."""

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


def listed(tx: Transaction, limit: int = 1000, only: int | None = None) -> list[Held]:
    """Return what is kept, newest first; `only` narrows to one id."""
    table = arrival_recipient
    query = (
        sa.select(
            table.c.id, arrival.c.received_at, table.c.author, table.c.address, table.c.subject, table.c.state,
            table.c.cause, table.c.reason, sa.func.coalesce(record.c.ref, ""), arrival.c.content,
        )
        .join(arrival, arrival.c.id == table.c.arrival_id)
        .outerjoin(record, record.c.id == table.c.record_id)
        .where(in_state(table, KEPT))
        .order_by(table.c.id.desc())
        .limit(limit)
    )  # fmt: skip
    rows = tx.execute(query if only is None else query.where(table.c.id == only))
    return [Held(*tuple(row)) for row in rows]


def octets(tx: Transaction, held: Held) -> bytes:
    """Return the kept mail as it was received."""
    return content.load(tx, held.digest)


def release(tx: Transaction, held_id: int, now: int) -> bool:
    """Let a kept mail be decided again, as one an administrator vouches for; False if not kept."""
    table = arrival_recipient
    row = tx.execute(
        sa.update(table)
        .where(table.c.id == held_id, table.c.state.in_(KEPT))
        .values(state="pending", released=True, cause="", reason="", settled_at=None)
        .returning(table.c.arrival_id)
    ).first()
    if row is None:
        return False
    tx.execute(
        sa.update(arrival)
        .where(arrival.c.id == row.arrival_id)
        .values(state="pending", due_at=now, lease_until=0, fence=arrival.c.fence + 1, attempts=0)
    )
    return True
