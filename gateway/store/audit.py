"""The audit log: who decided what, appended and never changed, each entry chained to the one before.

*Failure:* the database refuses to change an entry; one changed behind its back, taken out or put in
between is found by `verify`. What is cut off at the end is found by a hash noted elsewhere.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from gateway.store.session import Transaction
from gateway.store.tables import audit

_BEGINNING = b"\x00" * 32
_LOCK = 0x61756469  # an advisory lock's key on PostgreSQL: entries are chained one after the other
_LAST = sa.select(audit.c.hash).order_by(audit.c.id.desc()).limit(1)
_BATCH = 1_000
_LEAST = -(2**63)  # whoever puts an entry in may give it any number


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry: when (ms), who, what they did, about what, and what else there is to know."""

    id: int
    at: int
    who: str
    what: str
    about: str
    data: Mapping[str, Any]
    hash: bytes


def append(tx: Transaction, who: str, what: str, about: str, now: int, **data: object) -> None:
    """Write down that `who` did `what` about something, in the transaction in which it is done."""
    if tx.dialect.name == "postgresql":
        tx.execute(sa.text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
    previous = tx.execute(_LAST).scalar() or _BEGINNING
    text = json.dumps(data, ensure_ascii=False, sort_keys=True, separators=(",", ":"), default=str)
    who, what, about = who[:400], what[:40], about[:400]
    row = {
        "at": now, "who": who, "what": what, "about": about, "data": text,
        "previous": previous, "hash": _hash(previous, now, who, what, about, text),
    }  # fmt: skip
    tx.execute(sa.insert(audit).values(row))


def listed(tx: Transaction, limit: int = 100, what: str = "") -> list[Entry]:
    """Return the newest entries, oldest first; `what` narrows to one kind."""
    query = sa.select(audit).order_by(audit.c.id.desc()).limit(limit)
    rows = tx.execute(query.where(audit.c.what == what) if what else query).all()
    return [Entry(row.id, row.at, row.who, row.what, row.about, _data(row.data), row.hash) for row in reversed(rows)]


def _data(text: str) -> Mapping[str, Any]:
    """Return what else an entry says; of one that somebody changed, what stands there now."""
    try:
        data = json.loads(text)
    except ValueError:
        data = None
    return data if isinstance(data, dict) else {"unreadable": text}


@dataclass(frozen=True, slots=True)
class Verified:
    """What `verify` found: how many entries hold, the hash of the last, and the first that does not hold (or None)."""

    entries: int
    head: bytes
    broken: int | None = None


def verify(tx: Transaction, noted: bytes | None = None) -> Verified:
    """Compute the whole chain again. `noted` is a hash noted before: it must be one of the chain's."""
    previous, count, seen = _BEGINNING, 0, noted is None
    for row in _rows(tx):
        right = _hash(previous, row.at, row.who, row.what, row.about, row.data)
        if row.previous != previous or row.hash != right:
            return Verified(count, previous, row.id)
        previous, count = row.hash, count + 1
        seen = seen or row.hash == noted
    return Verified(count, previous, None if seen else 0)


def _rows(tx: Transaction) -> Iterator[Any]:
    query = sa.select(audit).order_by(audit.c.id).limit(_BATCH)
    last = _LEAST
    while rows := tx.execute(query.where(audit.c.id > last)).all():
        yield from rows
        last = rows[-1].id


def _hash(previous: bytes, at: int, who: str, what: str, about: str, data: str) -> bytes:
    said = json.dumps([at, who, what, about, data], ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(previous + said.encode("utf-8", "surrogatepass")).digest()
