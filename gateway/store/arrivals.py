"""What was taken in, and what became of it for each recipient."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import BinaryIO

import sqlalchemy as sa

from gateway.store import content, lease
from gateway.store.lease import Claim
from gateway.store.session import Transaction
from gateway.store.tables import arrival, arrival_recipient
from gateway.store.tables import content as table_content

PENDING = ("pending",)
LEASE = 120_000  # milliseconds
# The doors that are no sockets: a catch-all mailbox, a folder of a person's own account, the archive's.
IMAP, FOLDER, ARCHIVE = "imap", "folder", "archive"


_IDS: sa.BindParameter[object] = sa.bindparam("ids", expanding=True)
_KEEP = sa.insert(arrival).returning(arrival.c.id, sort_by_parameter_order=True)
_KEEP_RECIPIENT = sa.insert(arrival_recipient)
_LOAD = sa.select(arrival).where(arrival.c.id.in_(_IDS)).order_by(arrival.c.id)
_LOAD_RECIPIENTS = (
    sa.select(arrival_recipient)
    .where(arrival_recipient.c.arrival_id.in_(_IDS), arrival_recipient.c.state == "pending")
    .order_by(arrival_recipient.c.id)
)
_SIZES = (
    sa.select(arrival.c.id, table_content.c.size)
    .join(table_content, table_content.c.digest == arrival.c.content)
    .where(arrival.c.id.in_(_IDS))
)
_SETTLE = (
    sa.update(arrival_recipient)
    .where(arrival_recipient.c.id == sa.bindparam("recipient_id"))
    .values(
        {
            name: sa.bindparam(name, type_=arrival_recipient.c[name].type)
            for name in ("state", "cause", "reason", "record_id", "message_id", "settled_at", "author", "subject")
        }
    )
)


@dataclass(frozen=True, slots=True)
class Received:
    """A mail as it was received, not kept yet. `content` may be a spool file."""

    received_at: int
    door: str
    peer: str
    helo: str
    return_path: str
    trusted: bool
    recipients: tuple[str, ...]
    content: bytes | BinaryIO
    auth_who: str = ""  # the person who logged in


@dataclass(frozen=True, slots=True)
class Recipient:
    """One of our addresses in an arrival's envelope, not served yet."""

    id: int
    address: str
    released: bool
    again: bool = False  # it was held, and is looked at once more; whoever decides about it was told
    cause: str = ""  # for which it was held before


@dataclass(frozen=True, slots=True)
class Arrival:
    """A kept arrival with the recipients that are still to be served. `content` is the whole mail."""

    id: int
    received_at: int
    door: str
    peer: str
    helo: str
    return_path: str
    trusted: bool
    auth_who: str
    content: bytes
    digest: bytes
    recipients: tuple[Recipient, ...]
    claim: Claim


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of an arrival for one recipient."""

    state: str  # posted, done, held, refused, discarded, shunted
    cause: str = ""
    reason: str = ""
    record_id: int | None = None
    message_id: int | None = None


def imagined(received: Received) -> Arrival:
    """Return an arrival of a mail that is not kept: to see what would be known of it."""
    content_ = received.content if isinstance(received.content, bytes) else received.content.read()
    return Arrival(
        0, received.received_at, received.door, received.peer, received.helo, received.return_path, received.trusted,
        received.auth_who, content_, b"", (), Claim(0, 0, 0),
    )  # fmt: skip


def keep_many(tx: Transaction, received: Sequence[Received]) -> list[int]:
    """Keep mails with their envelopes and return their ids; when `tx` commits, each may be said yes to."""
    digests = content.keep_many(tx, [each.content for each in received])
    ids = tx.execute(
        _KEEP,
        [
            {
                "received_at": each.received_at, "door": each.door, "peer": each.peer, "helo": each.helo,
                "return_path": each.return_path, "trusted": each.trusted, "auth_who": each.auth_who, "content": digest,
                "state": "pending", "due_at": each.received_at,
            }
            for each, digest in zip(received, digests, strict=True)
        ],
    ).scalars().all()  # fmt: skip
    tx.execute(
        _KEEP_RECIPIENT,
        [
            {"arrival_id": arrival_id, "address": address, "state": "pending"}
            for arrival_id, each in zip(ids, received, strict=True)
            for address in each.recipients
        ],
    )
    return list(ids)


def claim(tx: Transaction, now: int, limit: int) -> list[Claim]:
    """Claim pending arrivals: many new ones, or one that failed before."""
    return lease.claim_carefully(tx, arrival, PENDING, now, LEASE, limit)


@dataclass(frozen=True, slots=True)
class Group:
    """Claims whose mails are handled together, and how many octets those hold."""

    claims: list[Claim]
    octets: int


def by_size(tx: Transaction, claims: Sequence[Claim], octets: int) -> list[Group]:
    """Split claims into groups whose mails together hold at most `octets`, or one mail that holds more."""
    rows = tx.execute(_SIZES, {"ids": [each.id for each in claims]})
    sizes = {row.id: row.size for row in rows}
    groups: list[Group] = []
    for claimed in claims:
        size = sizes.get(claimed.id, 0)
        if groups and groups[-1].octets + size <= octets:
            groups[-1] = Group([*groups[-1].claims, claimed], groups[-1].octets + size)
        else:
            groups.append(Group([claimed], size))
    return groups


def load(tx: Transaction, claims: Iterable[Claim]) -> list[Arrival]:
    """Return claimed arrivals, oldest first."""
    by_id = {claimed.id: claimed for claimed in claims}
    rows = tx.execute(_LOAD, {"ids": list(by_id)}).all()
    recipients: dict[int, list[Recipient]] = {}
    for row in tx.execute(_LOAD_RECIPIENTS, {"ids": list(by_id)}):
        recipients.setdefault(row.arrival_id, []).append(
            Recipient(row.id, row.address, row.released, bool(row.reason), row.cause)
        )
    mails = content.load_many(tx, [row.content for row in rows])
    return [
        Arrival(
            row.id, row.received_at, row.door, row.peer, row.helo, row.return_path, row.trusted, row.auth_who,
            mails[row.content], row.content, tuple(recipients.get(row.id, ())), by_id[row.id],
        )
        for row in rows
    ]  # fmt: skip


def envelope(tx: Transaction, arrival_id: int) -> list[str]:
    """Return every address of ours that an arrival came to, served or not."""
    table = arrival_recipient
    return list(tx.execute(sa.select(table.c.address).where(table.c.arrival_id == arrival_id)).scalars())


def settle_recipient(tx: Transaction, recipient_id: int, settled: Settled, now: int, author: str, subject: str) -> None:
    """Write what became of an arrival for one recipient."""
    tx.execute(
        _SETTLE,
        {
            "recipient_id": recipient_id, "state": settled.state, "cause": settled.cause, "reason": settled.reason,
            "record_id": settled.record_id, "message_id": settled.message_id, "settled_at": now,
            "author": author, "subject": subject,
        },
    )  # fmt: skip


def keep_results(tx: Transaction, arrival_id: int, results: Sequence[Sequence[str]], *, proved: bool) -> None:
    """Keep what authentication found of an arrival, and whether it proves who wrote it."""
    found = [list(each) for each in results]
    tx.execute(sa.update(arrival).where(arrival.c.id == arrival_id).values(results=found, proved=proved))


def finish(tx: Transaction, claimed: Claim) -> bool:
    """End an arrival all of whose recipients are served; False when the claim was lost."""
    return lease.settle(tx, arrival, claimed, state="handled")


def postpone(tx: Transaction, claimed: Claim, due_at: int, *, failed: bool) -> None:
    """Let a claimed arrival wait until `due_at`; `failed` counts a try."""
    attempts = claimed.attempts if failed else claimed.attempts - 1
    lease.settle(tx, arrival, claimed, due_at=due_at, attempts=attempts)


def shunt(tx: Transaction, claimed: Claim, reason: str, now: int) -> bool:
    """Put an arrival aside with its octets, for a person, by a fault."""
    if not lease.settle(tx, arrival, claimed, state="handled"):
        return False
    tx.execute(
        sa.update(arrival_recipient)
        .where(arrival_recipient.c.arrival_id == claimed.id, arrival_recipient.c.state == "pending")
        .values(state="shunted", cause="fault", reason=reason, settled_at=now)
    )
    return True
