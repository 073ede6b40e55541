"""Addresses we no longer send to, what they bounced, and outsiders whose mail nobody wants to see."""

from collections.abc import Iterable
from dataclasses import dataclass

import sqlalchemy as sa

from gateway.store.content import insert_new
from gateway.store.session import Transaction
from gateway.store.tables import blocked, bounce, suppression

DAY = 86_400_000  # milliseconds
FORGOTTEN_DAYS = 90  # after so many a bounce no longer counts
_SUPPRESSED = sa.select(suppression.c.email).where(suppression.c.email.in_(sa.bindparam("emails", expanding=True)))
_BLOCKED = sa.select(blocked.c.proved).where(blocked.c.email == sa.bindparam("wanted"))


@dataclass(frozen=True, slots=True)
class Entry:
    """An address on a list: why or by whom, and since when (ms)."""

    email: str
    reason: str
    at: int


def suppressed(tx: Transaction, emails: Iterable[str]) -> frozenset[str]:
    """Return which of `emails` we no longer send to."""
    return frozenset(tx.execute(_SUPPRESSED, {"emails": list(set(emails))}).scalars())


def count_bounce(tx: Transaction, email: str, cause: str, answer: str, delivery: int | None, now: int) -> bool:
    """Note that mail to `email` failed; True when it is suppressed from now on.

    Only a second failure of the address itself, on another day, suppresses: one may be a mistake of theirs. A day is 24
    hours after the first, whatever the calendar says where people are.
    """
    row = {"email": email, "at": now, "cause": cause, "answer": answer, "delivery_id": delivery}
    tx.execute(sa.insert(bounce).values(row))
    if cause != "address":
        return False
    since = now - FORGOTTEN_DAYS * DAY
    query = sa.select(bounce.c.at).where(bounce.c.email == email, bounce.c.cause == "address", bounce.c.at >= since)
    failures = list(tx.execute(query).scalars())
    if max(failures) - min(failures) < DAY:
        return False
    days = (max(failures) - min(failures)) // DAY + 1
    return suppress(tx, email, f"failed on {days} days: {answer}"[:500], now)


def suppress(tx: Transaction, email: str, reason: str, now: int) -> bool:
    """Send no more to `email`; False if that was so already."""
    if suppressed(tx, [email]):
        return False
    insert_new(tx, suppression, [{"email": email, "reason": reason, "at": now}])
    return True


def send_again(tx: Transaction, email: str) -> bool:
    """Send to `email` again, and forget what it bounced; False if it was not suppressed."""
    tx.execute(sa.delete(bounce).where(bounce.c.email == email))
    return tx.execute(sa.delete(suppression).where(suppression.c.email == email)).rowcount == 1


def listed_suppressed(tx: Transaction) -> list[Entry]:
    """Return the addresses we no longer send to, newest first."""
    rows = tx.execute(sa.select(suppression).order_by(suppression.c.at.desc(), suppression.c.email))
    return [Entry(row.email, row.reason, row.at) for row in rows]


def is_blocked(tx: Transaction, email: str, *, proved: bool) -> bool:
    """Whether mail from `email` is refused, quietly: any, or only such as nobody proved that they wrote."""
    found = tx.execute(_BLOCKED, {"wanted": email}).first()
    return found is not None and (found.proved or not proved)


def block(tx: Transaction, email: str, by: str, now: int, *, proved: bool = True) -> bool:
    """Refuse mail from `email` from now on; False if that was so already. Not `proved`: only what nobody proved."""
    if is_blocked(tx, email, proved=proved):
        return False
    tx.execute(sa.delete(blocked).where(blocked.c.email == email))
    insert_new(tx, blocked, [{"email": email, "by": by, "at": now, "proved": proved}])
    return True


def unblock(tx: Transaction, email: str) -> bool:
    """Take mail from `email` again; False if it was not blocked."""
    return tx.execute(sa.delete(blocked).where(blocked.c.email == email)).rowcount == 1


def listed_blocked(tx: Transaction) -> list[Entry]:
    """Return the blocked addresses, newest first."""
    rows = tx.execute(sa.select(blocked).order_by(blocked.c.at.desc(), blocked.c.email))
    return [
        Entry(row.email, f"blocked by {row.by}{'' if row.proved else ', where nobody proved who wrote'}", row.at)
        for row in rows
    ]
