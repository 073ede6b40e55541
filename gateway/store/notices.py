"""Notices waiting to be worded: a mail of ours to one person about their own doing."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from gateway.people import People, Person
from gateway.store import lease
from gateway.store.content import insert_new
from gateway.store.lease import Claim
from gateway.store.session import Transaction
from gateway.store.tables import message, notice, record

PENDING = ("pending",)
LEASE = 120_000  # milliseconds
DAY = 86_400_000  # milliseconds


@dataclass(frozen=True, slots=True)
class NewNotice:
    """A notice to send. `who` is a person's key or ""; `daily` allows one of a kind a day."""

    kind: str
    who: str
    email: str
    data: Mapping[str, Any]
    record_id: int | None = None
    daily: bool = False


@dataclass(frozen=True, slots=True)
class Notice:
    """A claimed notice."""

    id: int
    kind: str
    who: str
    email: str
    record_id: int | None
    data: Mapping[str, Any]
    created_at: int
    claim: Claim


def add(tx: Transaction, new: NewNotice, now: int) -> None:
    """Keep a notice to be sent; one a day at most of its kind and address, where it is daily."""
    row: dict[str, object] = {
        "kind": new.kind, "who": new.who, "email": new.email, "record_id": new.record_id, "data": dict(new.data),
        "day": now // DAY if new.daily else None, "created_at": now, "state": "pending", "due_at": now,
    }  # fmt: skip
    insert_new(tx, notice, [row])


def was_told(tx: Transaction, kind: str, email: str, said: str, now: int, *, by: str = "reason") -> bool:
    """Whether a notice of `kind` gave this reason, or told of what `by` names, to an address within a day."""
    told = sa.select(notice.c.data).where(
        notice.c.kind == kind, notice.c.email == email, notice.c.created_at > now - DAY
    )
    return any(data.get(by) == said for data in tx.execute(told).scalars())


def copies(tx: Transaction, record_id: int, message_id: str) -> list[tuple[str, str]]:
    """Return who got a message by a notice that is a copy of it, with the address."""
    query = sa.select(notice.c.who, notice.c.email, notice.c.data).where(notice.c.record_id == record_id)
    rows = tx.execute(query.where(notice.c.kind == "offer").order_by(notice.c.id))
    return [(row.who, row.email) for row in rows if row.data.get("copy_of") == message_id]


def bundle(tx: Transaction, new: NewNotice, now: int, pause: int) -> None:
    """Keep a notice together with others of its kind to one address: one mail each `pause` ms, 0 for at once."""
    same = (notice.c.kind == new.kind, notice.c.email == new.email)
    waiting = tx.execute(
        sa.select(notice)
        .where(*same, notice.c.state == "pending", notice.c.lease_until == 0)
        .limit(1)
        .with_for_update()
    ).first()
    if waiting is not None:
        others = [item for item in waiting.data["items"] if item.get("id") != new.data.get("id")]
        data = {"items": [*others, new.data][:200]}
        due_at = waiting.due_at if pause else min(waiting.due_at, now)
        tx.execute(sa.update(notice).where(notice.c.id == waiting.id).values(data=data, due_at=due_at))
        return
    last = tx.execute(sa.select(sa.func.max(notice.c.due_at)).where(*same)).scalar()
    row = {
        "kind": new.kind, "who": new.who, "email": new.email, "record_id": new.record_id, "day": None,
        "data": {"items": [dict(new.data)]}, "created_at": now, "state": "pending",
        "due_at": now if last is None else max(now, last + pause),
    }  # fmt: skip
    tx.execute(sa.insert(notice).values(row))


def tell_author(
    tx: Transaction, people: People, kind: str, message_id: int | None, recipient: str, answer: str, cause: str,
    now: int,
) -> None:  # fmt: skip
    """Tell the author of a message what became of its mail to `recipient`, and why (`cause`).

    Where nobody inside wrote it, the record's salesperson is told.
    """
    row = _authored(tx, message_id)
    person, email = _whom(people, row) if row is not None else (None, "")
    if row is not None and person is not None and recipient not in person.email:
        data = {"recipient": recipient, "answer": answer, "cause": cause, "subject": row.subject, "at": row.at}
        add(tx, NewNotice(kind, person.key, email, data, row.record_id), now)


def tell_unreached(tx: Transaction, people: People, message_id: int, recipient: str, now: int) -> None:
    """Tell the author of a message that no mail goes to `recipient` any more: once a day of each."""
    row = _authored(tx, message_id)
    if row is not None and not was_told(tx, "suppressed", _whom(people, row)[1], recipient, now, by="recipient"):
        tell_author(tx, people, "suppressed", message_id, recipient, "", "", now)


def _authored(tx: Transaction, message_id: int | None) -> Any:  # noqa: ANN401 (a row, or None)
    return tx.execute(
        sa.select(
            message.c.author_who, message.c.author_email, message.c.record_id, message.c.subject, message.c.at,
            record.c.salesperson,
        )
        .join(record, record.c.id == message.c.record_id)
        .where(message.c.id == message_id)
    ).first()  # fmt: skip


def _whom(people: People, row: Any) -> tuple[Person | None, str]:  # noqa: ANN401 (as above)
    """Return who is told of a message, and at which of their addresses; None for nobody."""
    author = people.by_key.get(row.author_who)
    person = author or people.by_key.get(row.salesperson)
    wrote = author is not None and row.author_email in author.email
    return person, row.author_email if wrote else person.email[0] if person else ""


def claim(tx: Transaction, now: int, limit: int) -> list[Notice]:
    """Claim due notices: many new ones, or one that failed before."""
    claims = {claimed.id: claimed for claimed in lease.claim_carefully(tx, notice, PENDING, now, LEASE, limit)}
    rows = tx.execute(sa.select(notice).where(notice.c.id.in_(claims)).order_by(notice.c.id))
    return [
        Notice(row.id, row.kind, row.who, row.email, row.record_id, row.data, row.created_at, claims[row.id])
        for row in rows
    ]


def fanned_out(tx: Transaction, claimed: Claim) -> bool:
    """Note that a notice is in the outbox; False when the claim was lost."""
    return lease.settle(tx, notice, claimed, state="fanned out")


def postpone(tx: Transaction, claimed: Claim, due_at: int) -> None:
    """Let a claimed notice wait, or give it up after its last try."""
    state = "shunted" if claimed.attempts >= lease.TRIES else "pending"
    lease.settle(tx, notice, claimed, state=state, due_at=due_at)
