"""The cards of leads: mails in folders of stages, where each belongs, and where it stands."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from gateway.records.kinds import LEAD
from gateway.store.content import insert_new
from gateway.store.session import Transaction
from gateway.store.tables import card, record

_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Card:
    """A lead's card in one account: the folder it belongs into ("" for none), and as which mail; where it stands."""

    account: str
    record_id: int
    folder: str
    message_id: str
    octets: bytes
    digest: bytes
    placed_folder: str = ""
    placed_id: str = ""


def changed_leads(tx: Transaction, after: tuple[int, int], limit: int) -> list[tuple[int, int]]:
    """Return when leads were changed last (ms) and their ids, after that pair, oldest first."""
    pair = sa.tuple_(record.c.changed_at, record.c.id)
    query = (
        sa.select(record.c.changed_at, record.c.id)
        .where(record.c.kind == LEAD.name, pair > sa.tuple_(*(sa.literal(each) for each in after)))
        .order_by(record.c.changed_at, record.c.id)
        .limit(limit)
    )
    return [(row[0], row[1]) for row in tx.execute(query)]


def digests(tx: Transaction, record_ids: Sequence[int]) -> dict[tuple[str, int], bytes]:
    """Return what cards of these leads show, as digests, by account and record."""
    rows = tx.execute(
        sa.select(card.c.account, card.c.record_id, card.c.digest).where(card.c.record_id.in_(record_ids))
    )
    return {(row.account, row.record_id): bytes(row.digest) for row in rows}


def keep(tx: Transaction, new: Card) -> None:
    """Let a lead's card be this from now on; where it stands it is replaced later."""
    key: dict[str, object] = {"account": new.account, "record_id": new.record_id}
    values: dict[str, object] = {
        "folder": new.folder, "message_id": new.message_id, "octets": new.octets, "digest": new.digest,
    }  # fmt: skip
    insert_new(tx, card, [key | values])
    where = (card.c.account == new.account, card.c.record_id == new.record_id)
    tx.execute(sa.update(card).where(*where).values(values))


def to_place(tx: Transaction, account: str, after: int, limit: int) -> list[Card]:
    """Return the cards of an account that do not stand where they belong, or show what is past.

    By their records, at most `limit`, of those whose ids are greater than `after`.
    """
    wrong = sa.or_(card.c.folder != card.c.placed_folder, card.c.message_id != card.c.placed_id)
    anywhere = sa.or_(card.c.folder != "", card.c.placed_folder != "")
    where = (card.c.account == account, card.c.record_id > after, wrong, anywhere)
    query = sa.select(card).where(*where).order_by(card.c.record_id).limit(limit)
    return [
        Card(
            row.account, row.record_id, row.folder, row.message_id, bytes(row.octets), bytes(row.digest),
            row.placed_folder, row.placed_id,
        )
        for row in tx.execute(query)
    ]  # fmt: skip


def placed(tx: Transaction, account: str, record_id: int, folder: str, message_id: str) -> None:
    """Note where a card stands now, and as which mail."""
    where = (card.c.account == account, card.c.record_id == record_id)
    tx.execute(sa.update(card).where(*where).values(placed_folder=folder, placed_id=message_id))


def placed_ids(tx: Transaction, account: str) -> set[str]:
    """Return the mails as which cards of an account stand."""
    query = sa.select(card.c.placed_id).where(card.c.account == account, card.c.placed_id != "")
    return set(tx.execute(query).scalars())


def lost(tx: Transaction, account: str, message_ids: Collection[str]) -> None:
    """Note that these mails are gone: their cards stand nowhere, and are placed again."""
    where = (card.c.account == account, card.c.placed_id.in_(list(message_ids)[:_AT_ONCE]))
    tx.execute(sa.update(card).where(*where).values(placed_folder="", placed_id=""))


def moved(tx: Transaction, account: str, record_id: int, folder: str) -> None:
    """Note where somebody put a card. There it belongs until what they mean is decided; then it is drawn anew."""
    where = (card.c.account == account, card.c.record_id == record_id)
    values = {"folder": folder, "placed_folder": folder, "message_id": card.c.placed_id, "digest": b""}
    tx.execute(sa.update(card).where(*where).values(values))


def known(tx: Transaction, account: str, message_ids: Sequence[str]) -> set[str]:
    """Return which of these mails are cards of an account, as they stand or as they will."""
    found: set[str] = set()
    for at in range(0, len(message_ids), _AT_ONCE):
        some = list(message_ids[at : at + _AT_ONCE])
        either = sa.or_(card.c.message_id.in_(some), card.c.placed_id.in_(some))
        for row in tx.execute(sa.select(card.c.message_id, card.c.placed_id).where(card.c.account == account, either)):
            found |= {row.message_id, row.placed_id}
    return found


def standing(tx: Transaction, account: str, message_ids: Sequence[str]) -> list[tuple[int, str, str]]:
    """Return the record, the folder and the Message-ID of the cards that stand as these mails."""
    found: list[tuple[int, str, str]] = []
    for at in range(0, len(message_ids), _AT_ONCE):
        some = card.c.placed_id.in_(list(message_ids[at : at + _AT_ONCE]))
        query = sa.select(card).where(card.c.account == account, card.c.placed_id != "", some)
        found += [(row.record_id, row.placed_folder, row.placed_id) for row in tx.execute(query)]
    return found
