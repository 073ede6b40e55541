"""Octets come back as they were kept, whole or in chunks, and are kept once."""

import hashlib
from io import BytesIO

import pytest
import sqlalchemy as sa

from gateway.store import content
from gateway.store.tables import content as content_table
from gateway.store.tables import content_chunk

SIZES = [0, 1, content.WHOLE, content.WHOLE + 1, content.CHUNK, content.CHUNK + 1, 3 * content.CHUNK + 7]


def octets(size: int) -> bytes:
    return (b"\x00\xff\r\n.\r\n" + str(size).encode() + b"-") * (size // 8 + 1)


def count(tx, table) -> int:
    return tx.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("as_file", [False, True])
def test_octets_come_back_as_they_were_kept(store, size, as_file):
    given = octets(size)[:size]
    with store.write() as tx:
        digest = content.keep(tx, BytesIO(given) if as_file else given)
    assert digest == hashlib.sha256(given).digest()
    with store.read() as tx:
        assert content.load(tx, digest) == given
        assert tx.execute(sa.select(content_table.c.size)).scalar_one() == size


def test_a_large_one_is_kept_in_chunks_and_a_small_one_in_its_row(store):
    with store.write() as tx:
        content.keep_many(tx, [octets(content.WHOLE)[: content.WHOLE], octets(content.CHUNK * 2)[: content.CHUNK * 2]])
    with store.read() as tx:
        sizes = tx.execute(sa.select(sa.func.length(content_chunk.c.data))).scalars().all()
        rows = tx.execute(sa.select(content_table.c.data.is_(None)).order_by(content_table.c.size)).scalars().all()
    assert sizes == [content.CHUNK, content.CHUNK]
    assert [bool(each) for each in rows] == [False, True]


@pytest.mark.parametrize("size", [10, content.CHUNK + 10])
def test_the_same_octets_are_kept_once(store, size):
    given = octets(size)[:size]
    for _ in range(2):
        with store.write() as tx:
            first, second = content.keep_many(tx, [given, BytesIO(given)])
            assert first == second
    with store.read() as tx:
        assert count(tx, content_table) == 1
        assert content.load(tx, first) == given


def test_a_file_that_was_read_is_read_again_from_its_beginning(store):
    file = BytesIO(b"abc" * 100)
    file.read()
    with store.write() as tx:
        assert content.load(tx, content.keep(tx, file)) == b"abc" * 100


def test_many_are_loaded_at_once_and_one_that_is_not_kept_is_a_lookup_error(store):
    with store.write() as tx:
        digests = content.keep_many(tx, [b"one", b"two", b"x" * (content.WHOLE + 1)])
        found = content.load_many(tx, digests)
        assert [len(found[digest]) for digest in digests] == [3, 3, content.WHOLE + 1]
        with pytest.raises(LookupError):
            content.load_many(tx, [*digests, b"\0" * 32])
        assert content.load_many(tx, []) == {}


def test_what_a_transaction_kept_is_gone_when_it_fails(store):
    def fail():
        with store.write() as tx:
            content.keep(tx, b"x" * (content.CHUNK * 2))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with store.read() as tx:
        assert count(tx, content_table) == count(tx, content_chunk) == 0
