"""Messages on their way into folders, and where they stand there: deliveries of another way."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from gateway.folder import INBOX
from gateway.store import lease
from gateway.store.content import insert_new
from gateway.store.lease import Claim
from gateway.store.session import Transaction
from gateway.store.tables import body, filing, in_state, message

WAITING = ("queued", "deferred")
LEASE = 30_000  # milliseconds: one node files into an account at a time, so this counts only once it is gone
_IDS_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class NewFiling:
    """A message for one folder of one account: its header block, and the body it shares."""

    message_id: int
    account: str
    folder: str
    seen: bool
    header: bytes
    body_id: int


@dataclass(frozen=True, slots=True)
class Filing:
    """A claimed filing. `again` tells that it was claimed before: the mail may stand there already."""

    id: int
    folder: str
    seen: bool
    header: bytes
    body_id: int
    message_id: str
    subtype: str
    at: int
    created_at: int
    again: bool
    claim: Claim


@dataclass(frozen=True, slots=True)
class Filed:
    """What became of a filing: `uid` where the server told it; `due_at` when it is tried again."""

    filing: Filing
    state: str
    answer: str
    uid: int | None = None
    due_at: int = 0


def queue(tx: Transaction, new: Sequence[NewFiling], now: int) -> None:
    """Queue filings; what is queued for a folder already stays as it is."""
    rows: list[dict[str, object]] = [
        {
            "message_id": each.message_id, "account": each.account, "folder": each.folder, "seen": each.seen,
            "header": each.header, "body_id": each.body_id, "state": "queued", "created_at": now, "due_at": now,
        }
        for each in new
    ]  # fmt: skip
    if rows:
        insert_new(tx, filing, rows)


def claim(tx: Transaction, account: str, now: int, limit: int) -> list[Filing]:
    """Claim what is due for one account, oldest first."""
    wanted = (
        sa.select(filing.c.id)
        .where(filing.c.account == account, in_state(filing, WAITING))
        .where(filing.c.due_at <= now, filing.c.lease_until <= now)
        .order_by(filing.c.due_at, filing.c.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    values = {"lease_until": now + LEASE, "fence": filing.c.fence + 1}
    claimed = sa.update(filing).where(filing.c.id.in_(wanted.scalar_subquery())).values(values)
    fences = {row[0]: row[1] for row in tx.execute(claimed.returning(filing.c.id, filing.c.fence))}
    query = (
        sa.select(filing, message.c.message_id.label("ours"), message.c.subtype, message.c.at)
        .join(message, message.c.id == filing.c.message_id)
        .where(filing.c.id.in_(list(fences)))
        .order_by(filing.c.id)
    )
    return [
        Filing(
            row.id, row.folder, row.seen, bytes(row.header), row.body_id, row.ours, row.subtype, row.at, row.created_at,
            fences[row.id] > 1, Claim(row.id, fences[row.id], row.attempts),
        )
        for row in tx.execute(query)
    ]  # fmt: skip


def settle(tx: Transaction, outcomes: Iterable[Filed], now: int) -> None:
    """Write what became of filings; a claim that was lost settles nothing."""
    for each in outcomes:
        values: dict[str, object] = {
            "state": each.state,
            "answer": each.answer[:500],
            "lease_until": 0,
            "uid": each.uid,
        }
        if each.state in WAITING:
            values |= {"due_at": each.due_at, "attempts": filing.c.attempts + 1}
        else:
            values |= {"settled_at": now}
        ours = sa.and_(filing.c.id == each.filing.id, filing.c.fence == each.filing.claim.fence)
        tx.execute(sa.update(filing).where(ours).values(values))


def hand_back(tx: Transaction, claimed: Sequence[Filing]) -> None:
    """Let others have what was claimed and not begun."""
    for each in claimed:
        ours = sa.and_(filing.c.id == each.id, filing.c.fence == each.claim.fence)
        tx.execute(sa.update(filing).where(ours).values(lease_until=0))


def known_in(tx: Transaction, account: str, folder: str, message_ids: Sequence[str]) -> set[str]:
    """Return which of these Message-IDs are of messages that we file, or filed, into this folder."""
    query = (
        sa.select(message.c.message_id)
        .join(filing, filing.c.message_id == message.c.id)
        .where(filing.c.account == account, filing.c.folder == folder, message.c.message_id.in_(list(message_ids)))
    )
    return set(tx.execute(query).scalars())


def note_read(tx: Transaction, account: str, read: Sequence[str], now: int) -> None:
    """Note which messages of an inbox, by Message-ID, are read and not starred; for those that are new, since now."""
    inbox = sa.and_(filing.c.account == account, filing.c.folder == INBOX)
    ids: set[int] = set()
    for at in range(0, len(read), _IDS_AT_ONCE):
        query = sa.select(message.c.id).where(message.c.message_id.in_(list(read[at : at + _IDS_AT_ONCE])))
        ids |= set(tx.execute(query).scalars())
    before = set(tx.execute(sa.select(filing.c.message_id).where(inbox, filing.c.read_at.is_not(None))).scalars())
    for changed, value in ((ids - before, now), (before - ids, None)):
        if changed:
            tx.execute(sa.update(filing).where(inbox, filing.c.message_id.in_(changed)).values(read_at=value))


def read_long_ago(tx: Transaction, account: str, before: int) -> set[str]:
    """Return the Message-IDs of an inbox that were read before then (ms), and not starred."""
    query = (
        sa.select(message.c.message_id)
        .join(filing, filing.c.message_id == message.c.id)
        .where(filing.c.account == account, filing.c.folder == INBOX, filing.c.read_at <= before)
    )
    return set(tx.execute(query).scalars())


def give_up_others(tx: Transaction, accounts: Collection[str], now: int) -> None:
    """Give up what waits for accounts that are no more: nobody would ever file it."""
    gone = (filing.c.account.not_in(list(accounts)), in_state(filing, WAITING))
    values = {"state": "expired", "answer": "no such account is in gateway.yaml any more", "settled_at": now}
    tx.execute(sa.update(filing).where(*gone).values(values))


def waiting(tx: Transaction, account: str) -> int:
    """Count what waits to be filed into an account."""
    query = sa.select(sa.func.count()).where(filing.c.account == account, in_state(filing, WAITING))
    return int(tx.execute(query).scalar_one())


def retry(tx: Transaction, filing_id: int, now: int) -> bool:
    """Let a filing be tried again now, as if it were new; False for one that is sent, dropped or none."""
    return lease.begin_again(tx, filing, filing_id, (*WAITING, "expired"), now)


def drop(tx: Transaction, filing_id: int, now: int) -> bool:
    """Give a filing up that waits; False for one that does not wait."""
    return lease.give_up(tx, filing, filing_id, WAITING, "expired", now)


def octets(tx: Transaction, filing_id: int) -> bytes:
    """Return a mail as it is filed."""
    query = sa.select(filing.c.header, body.c.octets).join(body, body.c.id == filing.c.body_id)
    row = tx.execute(query.where(filing.c.id == filing_id)).one()
    return bytes(row.header) + b"\r\n" + bytes(row.octets)


@dataclass(frozen=True, slots=True)
class Listed:
    """A filing as people look at it."""

    id: int
    account: str
    folder: str
    message: str
    state: str
    attempts: int
    answer: str


def listed(tx: Transaction, state: str = "", limit: int = 1000, only: int | None = None) -> list[Listed]:
    """Return filings, newest first; `state` narrows to one, `only` to the one of that id."""
    query = (
        sa.select(filing, message.c.message_id.label("ours"))
        .join(message, message.c.id == filing.c.message_id)
        .order_by(filing.c.id.desc())
        .limit(limit)
    )
    if only is not None:
        query = query.where(filing.c.id == only)
    rows = tx.execute(query.where(filing.c.state == state) if state else query)
    return [Listed(row.id, row.account, row.folder, row.ours, row.state, row.attempts, row.answer) for row in rows]
