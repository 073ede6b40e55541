"""Events that were announced, by their id: one said again changes nothing."""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from gateway.store.session import Transaction
from gateway.store.tables import announced


def answer_to(tx: Transaction, event_id: str) -> Mapping[str, Any] | None:
    """Return what was answered when this event was announced first, or None."""
    found: Mapping[str, Any] | None = tx.execute(
        sa.select(announced.c.answer).where(announced.c.id == event_id)
    ).scalar()
    return found


def keep(tx: Transaction, event_id: str, answer: Mapping[str, Any], now: int) -> None:
    """Note that an event was announced, and the answer; raise `Conflict` if it was before."""
    tx.execute(sa.insert(announced).values(id=event_id, answer=dict(answer), at=now))
