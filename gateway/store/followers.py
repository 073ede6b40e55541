"""Choices made on records, those that stand for a team's records, and the numbers that stand for readers in tags."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import sqlalchemy as sa

from gateway.records.kinds import matches
from gateway.records.record import Choice
from gateway.store.content import insert_new
from gateway.store.session import Transaction
from gateway.store.tables import choice, reader, standing

_CHOICES = sa.select(choice).where(choice.c.record_id.in_(sa.bindparam("ids", expanding=True))).order_by(choice.c.id)
_STANDING = sa.select(standing).order_by(standing.c.id)
_STANDING_OF = _STANDING.where(standing.c.who == sa.bindparam("whose"))
STANDING = "standing"
_READER = sa.select(reader.c.who).where(reader.c.id == sa.bindparam("number"))


def choices(tx: Transaction, record_ids: Iterable[int]) -> dict[int, list[Choice]]:
    """Return the choices that may count on records, by record id: those that stand first, then those made on it."""
    wanted = set(record_ids)
    always = standing_choices(tx)
    found: dict[int, list[Choice]] = {each: list(always) for each in wanted}
    for row in tx.execute(_CHOICES, {"ids": list(wanted)}):
        found[row.record_id].append(_choice(row))
    return found


def choices_on(tx: Transaction, record_id: int) -> list[Choice]:
    """Return the choices made on one record."""
    return [_choice(row) for row in tx.execute(_CHOICES, {"ids": [record_id]})]


def _choice(row: sa.Row) -> Choice:  # type: ignore[type-arg]  # any row of the table
    return Choice(row.who, tuple(row.subtypes), tuple(row.without), row.how)


def choose(tx: Transaction, record_id: int, made: Choice) -> Choice:
    """Unite a choice with what `made.who` chose before: the newer word wins. Return the union."""
    where = (choice.c.record_id == record_id, choice.c.who == made.who)
    old = tx.execute(sa.select(choice).where(*where).with_for_update()).first()
    if old is None:
        row: dict[str, object] = {"record_id": record_id, "who": made.who, "how": made.how}
        row |= {"subtypes": list(made.subtypes), "without": list(made.without)}
        insert_new(tx, choice, [row])
        return made
    united = unite(_choice(old), made)
    values = {"subtypes": list(united.subtypes), "without": list(united.without)}
    tx.execute(sa.update(choice).where(*where).values(values))
    return united


def unite(old: Choice, made: Choice) -> Choice:
    """Return both choices as one: the newer word wins."""
    kept = (each for each in old.subtypes if not matches(made.without, each))
    # Who follows again after giving everything up is back under the rules.
    given_up = (
        each for each in old.without if not (made.subtypes and each == "*") and not matches(made.subtypes, each)
    )
    subtypes = tuple(dict.fromkeys((*kept, *made.subtypes)))
    return replace(old, subtypes=subtypes, without=tuple(dict.fromkeys((*given_up, *made.without))))


def put_back(tx: Transaction, record_id: int, who: str, before: Choice | None) -> None:
    """Let a choice be as it was before; None: there was none."""
    where = (choice.c.record_id == record_id, choice.c.who == who)
    tx.execute(sa.delete(choice).where(*where))
    if before is not None:
        row: dict[str, object] = {"record_id": record_id, "who": who, "how": before.how}
        insert_new(tx, choice, [row | {"subtypes": list(before.subtypes), "without": list(before.without)}])


def standing_choices(tx: Transaction, who: str = "") -> list[Choice]:
    """Return the choices that stand for a team's records, or every record; of everybody or of `who`."""
    query = _STANDING_OF if who else _STANDING
    rows = tx.execute(query, {"whose": who} if who else {})
    return [Choice(row.who, tuple(row.subtypes), tuple(row.without), STANDING, row.team) for row in rows]


def stand(tx: Transaction, made: Choice) -> Choice:
    """Unite a standing choice with the one `made.who` has for that team: the newer word wins. Return the union."""
    old = next((each for each in standing_choices(tx, made.who) if each.team == made.team), None)
    united = unite(old, made) if old else replace(made, how=STANDING)
    stand_as(tx, made.who, made.team or "", united)
    return united


def stand_as(tx: Transaction, who: str, team: str, made: Choice | None) -> None:
    """Let a standing choice be this; None, or one that says nothing: let there be none."""
    tx.execute(sa.delete(standing).where(standing.c.who == who, standing.c.team == team))
    if made is not None and (made.subtypes or made.without):
        row: dict[str, object] = {"who": who, "team": team}
        insert_new(tx, standing, [row | {"subtypes": list(made.subtypes), "without": list(made.without)}])


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
