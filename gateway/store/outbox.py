"""The outbox: one delivery for one recipient, a header of its own and a body shared."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from gateway.store import content, lease
from gateway.store.lease import Claim
from gateway.store.session import Transaction
from gateway.store.tables import attempt, body, delivery, in_state, message, record
from gateway.store.tables import content as table_content

WAITING = ("queued", "deferred")
LEASE = 600_000  # milliseconds: longer than the longest final dot
_IDS: sa.BindParameter[object] = sa.bindparam("ids", expanding=True)
_KEEP_BODY = sa.insert(body).returning(body.c.id)
_QUEUE = sa.insert(delivery)
_LOAD = sa.select(delivery).where(delivery.c.id.in_(_IDS)).order_by(delivery.c.id)
_BODIES = (
    sa.select(body, table_content.c.size)
    .join(table_content, table_content.c.digest == body.c.content)
    .where(body.c.id.in_(_IDS))
)
_TRY = sa.insert(attempt)
_FENCES = sa.select(delivery.c.id, delivery.c.fence).where(delivery.c.id.in_(_IDS)).with_for_update()
_SETTLE = (
    sa.update(delivery)
    .where(delivery.c.id == sa.bindparam("row_id"))
    .values(
        lease_until=0,
        **{
            name: sa.bindparam(name, type_=delivery.c[name].type)
            for name in ("state", "answer", "told", "attempts", "due_at", "settled_at")
        },
    )
)


@dataclass(frozen=True, slots=True)
class NewDelivery:
    """A mail for one recipient: its header block (no empty line) and the body it shares.

    `return_path` False means the null one: a bounce of it goes nowhere.
    """

    message_id: int | None
    internal: bool
    outsider: bool
    who: str
    recipient: str
    header: bytes
    body_id: int
    return_path: bool = True


@dataclass(frozen=True, slots=True)
class Delivery:
    """A claimed delivery, ready to hand over."""

    id: int
    message_id: int | None
    internal: bool
    outsider: bool
    who: str
    recipient: str
    return_path: bool
    header: bytes
    body_id: int
    created_at: int
    attempts: int
    told: bool
    claim: Claim


@dataclass(frozen=True, slots=True)
class Body:
    """A body that deliveries share: its octets, and their hash as DKIM's simple form sees them."""

    octets: bytes
    signed_hash: bytes


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a claimed delivery. `due_at` is when to try again, for `deferred`."""

    delivery: Delivery
    state: str
    answer: str
    due_at: int = 0
    told: bool = False


@dataclass(frozen=True, slots=True)
class Listed:
    """A delivery as a person looks at it."""

    id: int
    to: str
    record: str
    message: str
    state: str
    attempts: int
    next: int
    answer: str
    created_at: int


def keep_body(tx: Transaction, octets: bytes, signed_hash: bytes) -> int:
    """Keep a body for deliveries to share and return its id."""
    digest = content.keep(tx, octets)
    made = tx.execute(_KEEP_BODY, {"content": digest, "signed_hash": signed_hash})
    return int(made.scalar_one())


def queue(tx: Transaction, new: Sequence[NewDelivery], now: int) -> None:
    """Queue deliveries. What is internal has no recipient outside: the database refuses it."""
    if new:
        tx.execute(
            _QUEUE,
            [
                {
                    "message_id": d.message_id, "internal": d.internal, "outsider": d.outsider, "who": d.who,
                    "recipient": d.recipient, "header": d.header, "body_id": d.body_id, "return_path": d.return_path,
                    "state": "queued", "created_at": now, "due_at": now,
                }
                for d in new
            ],
        )  # fmt: skip


def claim(tx: Transaction, now: int, limit: int) -> list[Delivery]:
    """Claim due deliveries, oldest first, each with the try it is about to be."""
    claims = {claimed.id: claimed for claimed in lease.claim(tx, delivery, WAITING, now, LEASE, limit)}
    rows = tx.execute(_LOAD, {"ids": list(claims)})
    return [_delivery(row, claims[row.id]) for row in rows]


def _delivery(row: Any, claimed: Claim) -> Delivery:  # noqa: ANN401 (a row of the table)
    return Delivery(
        row.id, row.message_id, row.internal, row.outsider, row.who, row.recipient, row.return_path,
        row.header, row.body_id, row.created_at, row.attempts, row.told, claimed,
    )  # fmt: skip


def bodies(tx: Transaction, ids: Iterable[int], largest: int | None = None) -> dict[int, Body]:
    """Return shared bodies by id; with `largest` only those of at most so many octets."""
    rows = tx.execute(_BODIES, {"ids": list(set(ids))}).all()
    rows = [row for row in rows if largest is None or row.size <= largest]
    octets = content.load_many(tx, [row.content for row in rows])
    return {row.id: Body(octets[row.content], row.signed_hash) for row in rows}


def settle(tx: Transaction, outcomes: Sequence[Outcome], now: int) -> list[Outcome]:
    """Write what became of claimed deliveries; return those whose claim was still ours."""
    fences = {row.id: row.fence for row in tx.execute(_FENCES, {"ids": [o.delivery.id for o in outcomes]})}
    ours = [o for o in outcomes if fences.get(o.delivery.id) == o.delivery.claim.fence]
    if ours:
        tx.execute(_SETTLE, [_settled(outcome, now) for outcome in ours])
        tx.execute(_TRY, [{"delivery_id": o.delivery.id, "at": now, "answer": o.answer} for o in ours])
    return ours


def _settled(outcome: Outcome, now: int) -> dict[str, object]:
    waits = outcome.state in WAITING
    return {
        "row_id": outcome.delivery.id, "state": outcome.state, "answer": outcome.answer, "told": outcome.told,
        "attempts": outcome.delivery.attempts + 1, "due_at": outcome.due_at if waits else now,
        "settled_at": None if waits else now,
    }  # fmt: skip


def hand_back(tx: Transaction, claimed: Sequence[Delivery]) -> None:
    """End leases without a try: a node that stops hands its claims back."""
    for each in claimed:
        lease.settle(tx, delivery, each.claim)


def report(tx: Transaction, delivery_id: int, state: str, answer: str, now: int) -> Delivery | None:
    """Settle a delivery by what a report says of it later; None if there is no such delivery sent."""
    row = tx.execute(
        sa.update(delivery)
        .where(delivery.c.id == delivery_id, delivery.c.state == "sent")
        .values(state=state, answer=answer, settled_at=now)
        .returning(delivery)
    ).first()
    if row is None:
        return None
    tx.execute(sa.insert(attempt).values(delivery_id=delivery_id, at=now, answer=answer))
    return _delivery(row, Claim(row.id, row.fence, row.attempts))


def tell_delay(tx: Transaction, delivery_id: int) -> Delivery | None:
    """Note that the author of a sent delivery is told of a delay further on; None if they were, or it was not sent."""
    row = tx.execute(
        sa.update(delivery)
        .where(delivery.c.id == delivery_id, delivery.c.state == "sent", delivery.c.told.is_(False))
        .values(told=True)
        .returning(delivery)
    ).first()
    return _delivery(row, Claim(row.id, row.fence, row.attempts)) if row else None


def message_of(tx: Transaction, delivery_id: int) -> int | None:
    """Return the message that a delivery carries, or None."""
    return tx.execute(sa.select(delivery.c.message_id).where(delivery.c.id == delivery_id)).scalar()


def next_due(tx: Transaction) -> int | None:
    """Return when the next delivery is due, or None if none waits."""
    return lease.next_due(tx, delivery, WAITING)


def listed(tx: Transaction, states: Sequence[str], limit: int = 1000, only: int | None = None) -> list[Listed]:
    """Return deliveries in one of `states`, newest first; `only` narrows to one id."""
    d = delivery
    query = (
        sa.select(
            d.c.id, d.c.recipient, sa.func.coalesce(record.c.ref, ""), sa.func.coalesce(message.c.message_id, ""),
            d.c.state, d.c.attempts, d.c.due_at, d.c.answer, d.c.created_at,
        )
        .outerjoin(message, message.c.id == d.c.message_id)
        .outerjoin(record, record.c.id == message.c.record_id)
        .order_by(d.c.id.desc())
        .limit(limit)
    )  # fmt: skip
    query = query.where(in_state(d, states)) if only is None else query.where(d.c.id == only)
    return [Listed(*row) for row in tx.execute(query)]


def attempts(tx: Transaction, delivery_id: int) -> list[tuple[int, str]]:
    """Return the tries of a delivery, oldest first: when, and the answer."""
    rows = tx.execute(
        sa.select(attempt.c.at, attempt.c.answer).where(attempt.c.delivery_id == delivery_id).order_by(attempt.c.id)
    )
    return [(row.at, row.answer) for row in rows]


def octets(tx: Transaction, delivery_id: int) -> bytes:
    """Return the mail of a delivery as it was queued, unsigned."""
    row = tx.execute(sa.select(delivery.c.header, delivery.c.body_id).where(delivery.c.id == delivery_id)).one()
    return bytes(row.header) + b"\r\n" + bodies(tx, [row.body_id])[row.body_id].octets


def retry(tx: Transaction, delivery_id: int, now: int) -> bool:
    """Let a delivery be tried again now, as if it were new; False for one that is sent, dropped or none."""
    return lease.begin_again(tx, delivery, delivery_id, ("queued", "deferred", "failed", "expired"), now)


def drop(tx: Transaction, delivery_id: int, now: int) -> bool:
    """Give a delivery up that waits; False for one that does not wait."""
    return lease.give_up(tx, delivery, delivery_id, WAITING, "failed", now)
