"""How far accounts were read, how they are, and what stands where in the folders in which people act."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from gateway.store.arrivals import ARCHIVE, IMAP
from gateway.store.content import insert_new
from gateway.store.session import Transaction
from gateway.store.tables import arrival, arrival_recipient, folder, mailbox

_BAD_MAX = 1_000  # mails of one folder


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a folder was read: UIDs up to `uid` were taken in, but the `bad`, while `uid_validity` is the same."""

    uid_validity: int = 0
    uid: int = 0
    bad: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Health:
    """How an account is: when it last went well (ms), what is wrong, how many mails wait, its quota in KiB."""

    name: str
    purpose: str
    ok_at: int
    error: str
    error_at: int | None
    waiting: int
    quota_used: int | None
    quota_limit: int | None
    told: bool


def begin(tx: Transaction, name: str, purpose: str, now: int) -> None:
    """Know an account from now on."""
    insert_new(tx, mailbox, [{"name": name, "purpose": purpose, "ok_at": now}])


def progress(tx: Transaction, name: str) -> Progress:
    """Return how far an account was read."""
    query = sa.select(mailbox.c.uid_validity, mailbox.c.uid, mailbox.c.bad).where(mailbox.c.name == name)
    row = tx.execute(query).first()
    return Progress(row.uid_validity, row.uid, tuple(row.bad)) if row else Progress()


def advance(tx: Transaction, name: str, reached: Progress) -> None:
    """Note how far an account was read, in the transaction in which its mails are kept."""
    values = {"uid_validity": reached.uid_validity, "uid": reached.uid, "bad": list(reached.bad[-_BAD_MAX:])}
    tx.execute(sa.update(mailbox).where(mailbox.c.name == name).values(values))


def known(tx: Transaction, digests: Sequence[bytes], peer: str) -> set[bytes]:
    """Return which of these mails, by digest, were fetched from this account before."""
    query = sa.select(arrival.c.content).where(
        arrival.c.content.in_(list(digests)), arrival.c.door == IMAP, arrival.c.peer == peer[:64]
    )
    return {bytes(each) for each in tx.execute(query).scalars()}


def was_dropped(tx: Transaction, digest: bytes, peer: str, address: str) -> bool:
    """Whether this mail, by digest, came from this folder of the archive before."""
    query = (
        sa.select(arrival.c.id)
        .join(arrival_recipient, arrival_recipient.c.arrival_id == arrival.c.id)
        .where(arrival.c.content == digest, arrival.c.door == ARCHIVE, arrival.c.peer == peer[:64])
        .where(arrival_recipient.c.address == address)
    )
    return tx.execute(query.limit(1)).first() is not None


def waits(tx: Transaction, name: str, waiting: int) -> None:
    """Note how many mails wait in an account."""
    tx.execute(sa.update(mailbox).where(mailbox.c.name == name).values(waiting=waiting))


def has_room(tx: Transaction, name: str, quota: tuple[int, int]) -> None:
    """Note how much of an account is used, and allowed (KiB)."""
    used, limit = quota
    tx.execute(sa.update(mailbox).where(mailbox.c.name == name).values(quota_used=used, quota_limit=limit))


def went_well(tx: Transaction, name: str, now: int, waiting: int) -> bool:
    """Note that an account was read, or written, to its end; True if somebody was told that it stood still."""
    was_told = tx.execute(sa.select(mailbox.c.told).where(mailbox.c.name == name)).scalar()
    values = {"ok_at": now, "error": "", "waiting": waiting, "told": False}
    tx.execute(sa.update(mailbox).where(mailbox.c.name == name).values(values))
    return bool(was_told)


def went_wrong(tx: Transaction, name: str, error: str, now: int, patience: int, beside: str = "") -> bool:
    """Note what is wrong with an account; True if it stands still for `patience` ms, once, and `beside` does not."""
    tx.execute(sa.update(mailbox).where(mailbox.c.name == name).values(error=error[:500], error_at=now))
    other = mailbox.alias()
    ails = sa.exists().where(other.c.name == beside, other.c.error != "")
    still = sa.and_(mailbox.c.name == name, mailbox.c.ok_at <= now - patience, mailbox.c.told.is_(False), ~ails)
    return tx.execute(sa.update(mailbox).where(still).values(told=True)).rowcount == 1


def health(tx: Transaction) -> list[Health]:
    """Return how every account is."""
    rows = tx.execute(sa.select(mailbox).order_by(mailbox.c.name))
    return [
        Health(
            row.name, row.purpose, row.ok_at, row.error, row.error_at, row.waiting, row.quota_used, row.quota_limit,
            row.told,
        )
        for row in rows
    ]  # fmt: skip


# ---- folders in which people act


def seen(tx: Transaction, account: str) -> Mapping[str, tuple[int, int]]:
    """Return UIDVALIDITY and the next UID of each folder of an account, as it was looked at last."""
    rows = tx.execute(sa.select(folder).where(folder.c.account == account))
    return {row.name: (row.uid_validity, row.uid_next) for row in rows}


def looked_at(tx: Transaction, account: str, name: str, uid_validity: int, uid_next: int) -> None:
    """Note how far a folder was looked at."""
    where = (folder.c.account == account, folder.c.name == name)
    tx.execute(sa.delete(folder).where(*where))
    row: dict[str, object] = {"account": account, "name": name, "uid_validity": uid_validity, "uid_next": uid_next}
    insert_new(tx, folder, [row])
