"""What notes say, as prints: which notes a text may quote, in whatever thread they stand."""

from collections.abc import Iterable, Iterator
from itertools import islice

import sqlalchemy as sa

from gateway.mail import prints
from gateway.store.content import insert_new
from gateway.store.session import Transaction
from gateway.store.tables import message, note_print

_ASKED = 500  # prints that are asked for at once
_FOUND_MAX = 50  # notes that are compared
_ANY = sa.select(note_print.c.message_id).limit(1)
_FIND = (
    sa.select(note_print.c.message_id)
    .distinct()
    .where(note_print.c.piece.in_(sa.bindparam("pieces", expanding=True)))
    .limit(_FOUND_MAX)
)
_TEXTS = sa.select(message.c.text).where(message.c.id.in_(sa.bindparam("ids", expanding=True)))


def keep(tx: Transaction, message_id: int, text: str) -> None:
    """Keep the prints of a note."""
    if pieces := prints.prints(text):
        insert_new(tx, note_print, [{"piece": piece, "message_id": message_id} for piece in pieces])


def quotes_note(tx: Transaction, texts: Iterable[str]) -> bool:
    """Whether one of `texts` holds 40 characters or more of a note, in one run."""
    if tx.execute(_ANY).first() is None:
        return False
    for text in texts:
        ids: set[int] = set()
        for pieces in _batches(prints.every_print(text)):
            ids.update(tx.execute(_FIND, {"pieces": pieces}).scalars())
        if ids and prints.quotes_any(text, tx.execute(_TEXTS, {"ids": list(ids)}).scalars()):
            return True
    return False


def _batches(pieces: Iterator[int]) -> Iterator[list[int]]:
    while batch := list(islice(pieces, _ASKED)):
        yield batch
