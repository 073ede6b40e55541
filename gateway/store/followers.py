"""Choices made on records, and the numbers that stand for readers in tags."""

from collections.abc import Iterable, Sequence

import sqlalchemy as sa

from gateway.records.kinds import matches
from gateway.records.record import Choice
from gateway.store.content import insert_new
from gateway.store.session import Transaction
from gateway.store.tables import choice, reader

_CHOICES = sa.select(choice).where(choice.c.record_id.in_(sa.bindparam("ids", expanding=True))).order_by(choice.c.id)
_READER = sa.select(reader.c.who).where(reader.c.id == sa.bindparam("number"))


def choices(tx: Transaction, record_ids: Iterable[int]) -> dict[int, list[Choice]]:
    """Return the choices made on records, by record id."""
    wanted = set(record_ids)
    found: dict[int, list[Choice]] = {each: [] for each in wanted}
    for row in tx.execute(_CHOICES, {"ids": list(wanted)}):
        found[row.record_id].append(Choice(row.who, tuple(row.subtypes), tuple(row.without), row.how))
    return found


def choose(tx: Transaction, record_id: int, made: Choice) -> Choice:
    """Unite a choice with what `made.who` chose before: the newer word wins. Return the union."""
    where = (choice.c.record_id == record_id, choice.c.who == made.who)
    old = tx.execute(sa.select(choice).where(*where).with_for_update()).first()
    if old is None:
        row: dict[str, object] = {"record_id": record_id, "who": made.who, "how": made.how}
        row |= {"subtypes": list(made.subtypes), "without": list(made.without)}
        insert_new(tx, choice, [row])
        return made
    kept = (each for each in old.subtypes if not matches(made.without, each))
    # Who follows again after giving everything up is back under the rules.
    given_up = (
        each for each in old.without if not (made.subtypes and each == "*") and not matches(made.subtypes, each)
    )
    subtypes = tuple(dict.fromkeys((*kept, *made.subtypes)))
    without = tuple(dict.fromkeys((*given_up, *made.without)))
    tx.execute(sa.update(choice).where(*where).values(subtypes=list(subtypes), without=list(without)))
    return Choice(made.who, subtypes, without, old.how)


def reader_ids(tx: Transaction, whos: Sequence[str]) -> dict[str, int]:
    """Return the numbers of readers (`person:KEY` or an address), making new ones."""
    found = _reader_ids(tx, whos)
    if new := [who for who in dict.fromkeys(whos) if who not in found]:
        insert_new(tx, reader, [{"who": who} for who in new])
        found.update(_reader_ids(tx, new))
    return found


def _reader_ids(tx: Transaction, whos: Sequence[str]) -> dict[str, int]:
    rows = tx.execute(sa.select(reader.c.who, reader.c.id).where(reader.c.who.in_(set(whos))))
    return {who: number for who, number in rows}  # noqa: C416 (rows are not pairs to the type checker)


def reader_who(tx: Transaction, number: int) -> str:
    """Return who a reader's number stands for, or ""."""
    return str(tx.execute(_READER, {"number": number}).scalar() or "")
