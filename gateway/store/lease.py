"""Claim what is due: a lease until when, and a fencing number that tells a late claimant apart.

A row that was claimed before and is back (its claimant died, or failed) is claimed alone and
counts a try, so that one that kills its handler is found without dragging its batch with it.

*Failure:* a claim is lost with its claimant; once the lease has run out the row is due again.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from gateway.store.session import Transaction
from gateway.store.tables import in_state

TRIES = 3


@dataclass(frozen=True, slots=True)
class Claim:
    """A row that is ours until its lease ends. `fence` must still be the row's when we settle."""

    id: int
    fence: int
    attempts: int


def claim(tx: Transaction, table: sa.Table, states: Sequence[str], now: int, lease: int, limit: int) -> list[Claim]:
    """Claim up to `limit` due rows in one of `states`, oldest first, for `lease` milliseconds."""
    return _claim(tx, table, states, now, lease, limit)


def claim_carefully(
    tx: Transaction, table: sa.Table, states: Sequence[str], now: int, lease: int, limit: int
) -> list[Claim]:
    """Claim up to `limit` rows never claimed before, or else one that was, counting a try."""
    return _claim(tx, table, states, now, lease, limit, table.c.fence == 0) or _claim(
        tx, table, states, now, lease, 1, table.c.fence > 0, tried=1
    )


def _claim(
    tx: Transaction,
    table: sa.Table,
    states: Sequence[str],
    now: int,
    lease: int,
    limit: int,
    condition: sa.ColumnElement[bool] | None = None,
    *,
    tried: int = 0,
) -> list[Claim]:
    due = [in_state(table, states), table.c.due_at <= now, table.c.lease_until <= now]
    wanted = (
        sa.select(table.c.id)
        .where(*due, *([] if condition is None else [condition]))
        .order_by(table.c.due_at, table.c.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    rows = tx.execute(
        sa.update(table)
        .where(table.c.id.in_(wanted.scalar_subquery()))
        .values(lease_until=now + lease, fence=table.c.fence + 1, attempts=table.c.attempts + tried)
        .returning(table.c.id, table.c.fence, table.c.attempts)
    ).all()
    return sorted((Claim(*row) for row in rows), key=lambda claimed: claimed.id)


def settle(tx: Transaction, table: sa.Table, claimed: Claim, **values: object) -> bool:
    """Write a claimed row's outcome and end the lease; False when the claim is no longer ours."""
    done = tx.execute(
        sa.update(table).where(table.c.id == claimed.id, table.c.fence == claimed.fence).values(lease_until=0, **values)
    )
    return done.rowcount == 1


def free_all(tx: Transaction, tables: Sequence[sa.Table]) -> None:
    """End every lease: for the one node of a SQLite file, when it starts."""
    for table in tables:
        tx.execute(sa.update(table).where(table.c.lease_until > 0).values(lease_until=0))


def next_due(tx: Transaction, table: sa.Table, states: Sequence[str]) -> int | None:
    """Return when the next row in one of `states` is due, or None if none waits."""
    later = sa.case((table.c.lease_until > table.c.due_at, table.c.lease_until), else_=table.c.due_at)
    return tx.execute(sa.select(sa.func.min(later)).where(in_state(table, states))).scalar()
