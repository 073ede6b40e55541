"""Claim what is due: a lease until when, and a fencing number that tells a late claimant apart.

Claiming counts a try. A row that was tried before and is back (its claimant died, or failed) is
claimed alone, so that one that kills its handler is found without dragging its batch with it. One
that was handed back untried, to wait for something, is claimed among the fresh ones.

*Failure:* a claim is lost with its claimant; once the lease has run out the row is due again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import sqlalchemy as sa

from gateway.store.session import Transaction
from gateway.store.tables import in_state

TRIES = 3  # times that handling a row may fail
DEADLY = 8  # times that a node may end while it handles a row: it can end of something else, too


@dataclass(frozen=True, slots=True)
class Claim:
    """A row that is ours until its lease ends. `fence` must still be the row's when we settle."""

    id: int
    fence: int
    attempts: int


def claim(tx: Transaction, table: sa.Table, states: tuple[str, ...], now: int, lease: int, limit: int) -> list[Claim]:
    """Claim up to `limit` due rows in one of `states`, oldest first, for `lease` milliseconds; who settles counts."""
    return _claim(tx, _claiming(table, states, "any"), now, lease, limit)


def claim_carefully(
    tx: Transaction, table: sa.Table, states: tuple[str, ...], now: int, lease: int, limit: int
) -> list[Claim]:
    """Claim up to `limit` rows never tried before, or else the least tried that was; each counts a try."""
    fresh = _claim(tx, _claiming(table, states, "fresh"), now, lease, limit)
    return fresh or _claim(tx, _claiming(table, states, "again"), now, lease, 1)


def _claim(tx: Transaction, statement: sa.Executable, now: int, lease: int, limit: int) -> list[Claim]:
    rows = tx.execute(statement, {"now": now, "until": now + lease, "most": limit}).all()
    return sorted((Claim(*row) for row in rows), key=lambda claimed: claimed.id)


def is_deadly(claimed: Claim) -> bool:
    """Whether a row was claimed so often without an outcome that it must be what ends the node."""
    return claimed.attempts > DEADLY


# Statements are made once: SQLAlchemy finds what it compiled by the statement's own key.
@cache
def _claiming(table: sa.Table, states: tuple[str, ...], which: Literal["any", "fresh", "again"]) -> sa.Executable:
    now = sa.bindparam("now", type_=sa.BigInteger)
    due = [in_state(table, states), table.c.due_at <= now, table.c.lease_until <= now]
    if which != "any":
        due.append(table.c.attempts == 0 if which == "fresh" else table.c.attempts > 0)
    wanted = (
        sa.select(table.c.id)
        .where(*due)
        .order_by(*((table.c.attempts,) if which == "again" else ()), table.c.due_at, table.c.id)
        .limit(sa.bindparam("most", type_=sa.Integer))
        .with_for_update(skip_locked=True)
    )
    return (
        sa.update(table)
        .where(table.c.id.in_(wanted.scalar_subquery()))
        .values(
            lease_until=sa.bindparam("until", type_=sa.BigInteger),
            fence=table.c.fence + 1,
            attempts=table.c.attempts + (0 if which == "any" else 1),
        )
        .returning(table.c.id, table.c.fence, table.c.attempts)
    )


def settle(tx: Transaction, table: sa.Table, claimed: Claim, **values: object) -> bool:
    """Write a claimed row's outcome and end the lease; False when the claim is no longer ours."""
    statement = _settling(table, tuple(values))
    done = tx.execute(statement, {"row_id": claimed.id, "row_fence": claimed.fence, **values})
    return done.rowcount == 1


@cache
def _settling(table: sa.Table, names: tuple[str, ...]) -> sa.Update:
    return (
        sa.update(table)
        .where(table.c.id == sa.bindparam("row_id"), table.c.fence == sa.bindparam("row_fence"))
        .values(lease_until=0, **{name: sa.bindparam(name, type_=table.c[name].type) for name in names})
    )


def begin_again(tx: Transaction, table: sa.Table, row: int, states: Sequence[str], now: int) -> bool:
    """Let a row in one of `states` be tried now, as if it were new; False where it is in none."""
    values = {"state": "queued", "due_at": now, "created_at": now, "attempts": 0, "lease_until": 0, "settled_at": None}
    query = sa.update(table).where(table.c.id == row, in_state(table, states))
    return tx.execute(query.values(fence=table.c.fence + 1, **values)).rowcount == 1


def give_up(tx: Transaction, table: sa.Table, row: int, states: Sequence[str], state: str, now: int) -> bool:
    """Let a row in one of `states` be in `state`, as an administrator wants it; False where it is in none."""
    values = {"state": state, "answer": "dropped by the administrator", "settled_at": now, "lease_until": 0}
    query = sa.update(table).where(table.c.id == row, in_state(table, states))
    return tx.execute(query.values(fence=table.c.fence + 1, **values)).rowcount == 1


def free_all(tx: Transaction, tables: Sequence[sa.Table]) -> None:
    """End every lease: for the one node of a SQLite file, when it starts."""
    for table in tables:
        tx.execute(sa.update(table).where(table.c.lease_until > 0).values(lease_until=0))


def next_due(tx: Transaction, table: sa.Table, states: Sequence[str]) -> int | None:
    """Return when the next row in one of `states` is due, or None if none waits."""
    later = sa.case((table.c.lease_until > table.c.due_at, table.c.lease_until), else_=table.c.due_at)
    return tx.execute(sa.select(sa.func.min(later)).where(in_state(table, states))).scalar()
