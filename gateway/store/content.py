"""Octets by their SHA-256, kept once: whole up to 64 KiB, above in chunks of 256 KiB."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import BinaryIO

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from gateway.store.session import Transaction
from gateway.store.tables import content, content_chunk

WHOLE = 64 * 1024  # octets
CHUNK = 256 * 1024  # octets
_LOAD = sa.select(content.c.digest, content.c.data).where(content.c.digest.in_(sa.bindparam("digests", expanding=True)))


def keep_many(tx: Transaction, octets: Sequence[bytes | BinaryIO]) -> list[bytes]:
    """Keep each of `octets` (a file is read from its beginning) and return their digests, in order."""
    digests = [_digest(each) for each in octets]
    whole = {
        digest: {"digest": digest, "size": len(each), "data": each}
        for digest, each in zip(digests, octets, strict=True)
        if isinstance(each, bytes) and len(each) <= WHOLE
    }
    if whole:
        insert_new(tx, content, list(whole.values()))
    for digest, each in zip(digests, octets, strict=True):
        if digest not in whole:
            _keep_chunks(tx, digest, each)
    return digests


def keep(tx: Transaction, octets: bytes | BinaryIO) -> bytes:
    """Keep `octets` and return their digest."""
    return keep_many(tx, [octets])[0]


def load(tx: Transaction, digest: bytes) -> bytes:
    """Return the octets whose digest this is; raise LookupError if they are not kept."""
    return load_many(tx, [digest])[digest]


def load_many(tx: Transaction, digests: Iterable[bytes]) -> dict[bytes, bytes]:
    """Return the octets of each digest; raise LookupError if one is not kept."""
    wanted = set(digests)
    rows = tx.execute(_LOAD, {"digests": list(wanted)}).all()
    found = {digest: data if data is not None else b"".join(_chunks(tx, digest)) for digest, data in rows}
    if missing := wanted - found.keys():
        message = f"content {next(iter(missing)).hex()} is not kept"
        raise LookupError(message)
    return found


def insert_new(tx: Transaction, table: sa.Table, rows: list[dict[str, object]]) -> None:
    """Insert the rows that are not there yet; those that are stay as they are."""
    tx.execute(_insert_new(table, tx.dialect.name), rows)


@cache
def _insert_new(table: sa.Table, dialect: str) -> sa.Insert:
    if dialect == "sqlite":
        return sqlite_insert(table).on_conflict_do_nothing()
    return postgresql_insert(table).on_conflict_do_nothing()


def _keep_chunks(tx: Transaction, digest: bytes, octets: bytes | BinaryIO) -> None:
    if tx.execute(sa.select(content.c.size).where(content.c.digest == digest)).first():
        return
    size = 0
    insert_new(tx, content, [{"digest": digest, "size": 0, "data": None}])
    for n, chunk in enumerate(_pieces(octets)):
        insert_new(tx, content_chunk, [{"digest": digest, "n": n, "data": chunk}])
        size += len(chunk)
    tx.execute(sa.update(content).where(content.c.digest == digest).values(size=size))


def _chunks(tx: Transaction, digest: bytes) -> Iterator[bytes]:
    rows = tx.execute(
        sa.select(content_chunk.c.data).where(content_chunk.c.digest == digest).order_by(content_chunk.c.n)
    )
    yield from rows.scalars()


def _pieces(octets: bytes | BinaryIO) -> Iterator[bytes]:
    if isinstance(octets, bytes):
        yield from (octets[at : at + CHUNK] for at in range(0, len(octets), CHUNK))
        return
    octets.seek(0)
    while piece := octets.read(CHUNK):
        yield piece


def _digest(octets: bytes | BinaryIO) -> bytes:
    if isinstance(octets, bytes):
        return hashlib.sha256(octets).digest()
    octets.seek(0)
    sum_ = hashlib.sha256()
    while piece := octets.read(CHUNK):
        sum_.update(piece)
    return sum_.digest()
