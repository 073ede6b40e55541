"""What notes say, and the files attached to them, as prints: which a text may quote, in whatever thread they stand."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import islice

import sqlalchemy as sa

from gateway.mail import prints
from gateway.mail.attached import texts_in
from gateway.mail.parse import Attachment
from gateway.store import messages
from gateway.store.content import insert_new, load
from gateway.store.session import Transaction
from gateway.store.tables import message, note_print

_ASKED = 500  # prints that are asked for at once
_FOUND_MAX = 50  # notes that are compared
_KEPT_MAX = 20_000  # prints of a note, from which on no other file of it is looked at
_ANY = sa.select(note_print.c.message_id).limit(1)
_FIND = (
    sa.select(note_print.c.message_id)
    .distinct()
    .where(note_print.c.piece.in_(sa.bindparam("pieces", expanding=True)))
    .limit(_FOUND_MAX)
)
_TEXTS = sa.select(message.c.text).where(message.c.id.in_(sa.bindparam("ids", expanding=True)))


def keep(tx: Transaction, message_id: int, text: str, attached: Sequence[Attachment] = ()) -> None:
    """Keep the prints of a note, and of the texts attached to it."""
    pieces = prints.prints(text)
    for said in _said(attached):
        if len(pieces) < _KEPT_MAX:
            pieces |= prints.prints(said)
    if pieces:
        insert_new(tx, note_print, [{"piece": piece, "message_id": message_id} for piece in pieces])


def quotes_note(tx: Transaction, texts: Iterable[str], *, files: bool = False) -> bool:
    """Whether one of `texts` holds 40 characters or more of a note, or of the `files` attached to one, in one run."""
    if tx.execute(_ANY).first() is None:
        return False
    for text in texts:
        ids: set[int] = set()
        for pieces in _batches(prints.every_print(text)):
            ids.update(tx.execute(_FIND, {"pieces": pieces}).scalars())
        if ids and prints.quotes_any(text, _originals(tx, ids, files=files)):
            return True
    return False


def _originals(tx: Transaction, ids: Collection[int], *, files: bool) -> Iterator[str]:
    yield from tx.execute(_TEXTS, {"ids": list(ids)}).scalars()
    kept = [each for found in messages.attachments(tx, ids).values() for each in found] if files else []
    for each in kept:
        yield from _said([Attachment(each.name, each.media_type, load(tx, each.digest))])


def _said(attached: Iterable[Attachment]) -> Iterator[str]:
    for each in attached:
        yield from texts_in(each, [])


def _batches(pieces: Iterator[int]) -> Iterator[list[int]]:
    while batch := list(islice(pieces, _ASKED)):
        yield batch
