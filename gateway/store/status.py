"""What waits, how much of it and for how long: for `status`, readiness and metrics."""

from dataclasses import dataclass

import sqlalchemy as sa

from gateway.store import arrivals, held, messages, notices, outbox
from gateway.store.lease import free_all
from gateway.store.session import Transaction
from gateway.store.tables import arrival, arrival_recipient, delivery, filing, in_state, message, notice


@dataclass(frozen=True, slots=True)
class Waiting:
    """Counts of what waits; `oldest_s` is the age of the oldest that is on its way, in seconds."""

    arrivals: int
    messages: int
    notices: int
    deliveries: int
    deferred: int
    held: int
    shunted: int
    oldest_s: int
    filings: int = 0


def waiting(tx: Transaction, now: int) -> Waiting:
    """Count what waits at `now`."""
    # In the order of the walk: what moves on between two counts is counted twice rather than never.
    counted = _count(tx, arrival, arrivals.PENDING), _count(tx, message, messages.PENDING)
    due = sa.select(sa.func.count()).where(in_state(notice, notices.PENDING), notice.c.due_at <= now)
    notices_due = int(tx.execute(due).scalar_one())
    deliveries = _count(tx, delivery, outbox.WAITING)
    oldest = [each for each in (
        tx.execute(sa.select(sa.func.min(arrival.c.received_at)).where(in_state(arrival, arrivals.PENDING))).scalar(),
        tx.execute(sa.select(sa.func.min(message.c.at)).where(in_state(message, messages.PENDING))).scalar(),
        tx.execute(sa.select(sa.func.min(delivery.c.created_at)).where(in_state(delivery, outbox.WAITING))).scalar(),
        tx.execute(sa.select(sa.func.min(filing.c.created_at)).where(in_state(filing, outbox.WAITING))).scalar(),
    ) if each is not None]  # fmt: skip
    by_state = (
        sa.select(arrival_recipient.c.state, sa.func.count())
        .where(in_state(arrival_recipient, held.KEPT))
        .group_by(arrival_recipient.c.state)
    )
    kept = {str(row[0]): int(row[1]) for row in tx.execute(by_state)}
    return Waiting(
        arrivals=counted[0],
        messages=counted[1],
        notices=notices_due,
        deliveries=deliveries,
        deferred=_count(tx, delivery, ("deferred",)),
        held=kept.get("held", 0),
        shunted=kept.get("shunted", 0) + _count(tx, message, ("shunted",)) + _count(tx, notice, ("shunted",)),
        oldest_s=max(0, now - min(oldest)) // 1000 if oldest else 0,
        filings=_count(tx, filing, outbox.WAITING),
    )


def free_leases(tx: Transaction) -> None:
    """End every lease: for the one node of a SQLite file, when it starts."""
    free_all(tx, [arrival, message, notice, delivery, filing])


def _count(tx: Transaction, table: sa.Table, states: tuple[str, ...]) -> int:
    return int(tx.execute(sa.select(sa.func.count()).select_from(table).where(in_state(table, states))).scalar_one())
