"""Records by reference: kept, read, changed, numbered."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import sqlalchemy as sa

from gateway.records.kinds import CLOSED, Kind
from gateway.records.record import Line, Party, Record
from gateway.store.content import insert_new
from gateway.store.session import Transaction
from gateway.store.tables import counter, record

_DIGITS = 5
_FIND = sa.select(record).where(record.c.ref == sa.bindparam("wanted"))
_FIND_LOCKED = _FIND.with_for_update()
_EPOCH = sa.select(record.c.tag_epoch).where(record.c.ref == sa.bindparam("wanted"))
_LOAD = sa.select(record).where(record.c.id.in_(sa.bindparam("ids", expanding=True)))


def find(tx: Transaction, ref: str, *, lock: bool = False) -> Record | None:
    """Return the record with this reference, in any case; `lock` keeps others from changing it."""
    row = tx.execute(_FIND_LOCKED if lock else _FIND, {"wanted": ref.upper()}).first()
    return _record(row) if row else None


def exists(tx: Transaction, ref: str) -> bool:
    """Whether there is a record with this reference."""
    return epoch(tx, ref) is not None


def epoch(tx: Transaction, ref: str) -> int | None:
    """Return how often the tags of the record with this reference were revoked; None if there is none."""
    found = tx.execute(_EPOCH, {"wanted": ref.upper()}).scalar()
    return None if found is None else int(found)


def revoke_tags(tx: Transaction, ref: str) -> bool:
    """Make every tag in a record's addresses nobody's; False if there is no such record."""
    values = {"tag_epoch": record.c.tag_epoch + 1}
    return tx.execute(sa.update(record).where(record.c.ref == ref.upper()).values(values)).rowcount == 1


def load(tx: Transaction, ids: Iterable[int]) -> dict[int, Record]:
    """Return records by their ids."""
    return {row.id: _record(row) for row in tx.execute(_LOAD, {"ids": list(set(ids))})}


def listed(tx: Transaction, kind: str = "", state: str = "", team: str = "", limit: int = 100) -> list[Record]:
    """Return records, newest first, narrowed by what is given."""
    query = sa.select(record).order_by(record.c.id.desc()).limit(limit)
    for column, value in ((record.c.kind, kind), (record.c.state, state), (record.c.team, team)):
        if value:
            query = query.where(column == value)
    return [_record(row) for row in tx.execute(query)]


def of_person(tx: Transaction, person: str, limit: int) -> list[Record]:
    """Return the records of a salesperson, newest first."""
    query = sa.select(record).where(record.c.salesperson == person).order_by(record.c.id.desc()).limit(limit)
    return [_record(row) for row in tx.execute(query)]


def open_by_person(tx: Transaction, kind: str, people: Iterable[str]) -> dict[str, int]:
    """Return how many records of a kind each salesperson has that have not come to an end."""
    query = (
        sa.select(record.c.salesperson, sa.func.count())
        .where(record.c.kind == kind, record.c.salesperson.in_(list(people)), record.c.state.not_in(CLOSED))
        .group_by(record.c.salesperson)
    )
    return {row[0]: row[1] for row in tx.execute(query)}


def next_turn(tx: Transaction, name: str) -> int:
    """Count one on, and return the number: 1 the first time."""
    insert_new(tx, counter, [{"name": name, "last": 0}])
    counted = sa.update(counter).where(counter.c.name == name).values(last=counter.c.last + 1)
    return int(tx.execute(counted.returning(counter.c.last)).scalar_one())


def next_ref(tx: Transaction, kind: Kind, is_taken: Callable[[str], bool]) -> str:
    """Return the next free reference of a kind: its prefix and at least five digits."""
    while True:
        ref = f"{kind.prefix}{next_turn(tx, kind.name):0{_DIGITS}d}"
        if not is_taken(ref) and not exists(tx, ref):
            return ref


def create(tx: Transaction, new: Record, now: int) -> Record:
    """Keep a new record; raise `Conflict` if its reference is taken."""
    values = {**as_values(new), "ref": new.ref.upper(), "created_at": now, "changed_at": now}
    made = tx.execute(sa.insert(record).values(values).returning(record.c.id)).scalar_one()
    return dataclasses.replace(new, id=made, ref=new.ref.upper(), created_at=now)


def create_team(tx: Transaction, team: str, name: str, now: int) -> Record:
    """Return the record that stands for a team's own thread, making it where there is none."""
    new = Record(0, "team", team.upper(), name, "open", team=team, teams=(team,))
    values = {**as_values(new), "ref": new.ref, "created_at": now, "changed_at": now}
    insert_new(tx, record, [values])
    found = find(tx, team, lock=True)
    if found is None:
        message = f"the team {team} has no record"
        raise LookupError(message)
    return found


def change(tx: Transaction, changed: Record, now: int) -> None:
    """Keep what became of a record."""
    tx.execute(sa.update(record).where(record.c.id == changed.id).values(**as_values(changed), changed_at=now))


def touch(tx: Transaction, record_id: int, now: int) -> None:
    """Let what shows a record look at it again, whether or not anything became of it."""
    tx.execute(sa.update(record).where(record.c.id == record_id).values(changed_at=now))


def as_values(each: Record) -> dict[str, object]:
    """Return what of a record may change as plain data, by the names of its columns."""
    party = each.customer
    return {
        "kind": each.kind, "title": each.title, "state": each.state, "team": each.team, "teams": list(each.teams),
        "salesperson": each.salesperson, "creator": each.creator, "origin": each.origin,
        "customer": {"name": party.name, "emails": list(party.emails), "language": party.language, "key": party.key},
        "fields": dict(each.fields),
        "lines": [[line.name, line.quantity, line.price] for line in each.lines],
    }  # fmt: skip


def _record(row: sa.Row) -> Record:  # type: ignore[type-arg]  # any row of the table
    blank = Record(row.id, row.kind, row.ref, "", "", created_at=row.created_at, tag_epoch=row.tag_epoch)
    return with_values(blank, row._asdict())


def with_values(each: Record, values: Mapping[str, Any]) -> Record:
    """Return a record with what `as_values` gave."""
    party = values["customer"]
    return dataclasses.replace(
        each, title=values["title"], state=values["state"], team=values["team"], teams=tuple(values["teams"]),
        salesperson=values["salesperson"], creator=values["creator"], origin=values["origin"],
        customer=Party(party["name"], tuple(party["emails"]), party["language"], party["key"]),
        fields=values["fields"], lines=tuple(Line(*line) for line in values["lines"]),
    )  # fmt: skip
