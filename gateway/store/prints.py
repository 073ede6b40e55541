"""What notes say, and the files attached to them, as prints: which a text may quote, in whatever thread they stand."""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import sqlalchemy as sa

from gateway.mail import prints
from gateway.mail.attached import texts_in
from gateway.mail.parse import Attachment
from gateway.store import messages
from gateway.store.content import insert_new, load
from gateway.store.messages import Message
from gateway.store.session import Transaction
from gateway.store.tables import note_print

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
_BLANK_LINE = re.compile(r"\n\s*\n")
_SIGNED_MAX = 1_500  # characters at the end of a text that may be its author's signature


@dataclass(frozen=True, slots=True)
class Whose:
    """Whose text is compared with notes: a person's key, or "". `is_outside` says of an address whether it is."""

    who: str
    is_outside: Callable[[str], bool]


def keep(tx: Transaction, message_id: int, text: str, attached: Sequence[Attachment] = ()) -> None:
    """Keep the prints of a note, and of the texts attached to it."""
    pieces = prints.prints(text)
    for said in _said(attached):
        if len(pieces) < _KEPT_MAX:
            pieces |= prints.prints(said)
    if pieces:
        insert_new(tx, note_print, [{"piece": piece, "message_id": message_id} for piece in pieces])


def quotes_note(tx: Transaction, texts: Iterable[str], author: Whose, *, files: bool = False) -> bool:
    """Whether one of `texts` holds 40 characters or more of a note, or of the `files` attached to one, in one run.

    What somebody outside wrote, or read already, in the thread of the note is no secret of it; nor is what stands
    below every mail of its author, or of who writes now.
    """
    if tx.execute(_ANY).first() is None:
        return False
    for text in texts:
        ids: set[int] = set()
        for pieces in _batches(prints.every_print(text)):
            ids.update(tx.execute(_FIND, {"pieces": pieces}).scalars())
        if ids and prints.quotes_any(text, _originals(tx, ids, files=files)):
            notes = messages.load(tx, ids)
            public = list(_public(tx, notes, author))
            secret = (prints.without(each, public) for each in _originals(tx, ids, files=files))
            if prints.quotes_any(text, secret):
                return True
    return False


def _originals(tx: Transaction, ids: Collection[int], *, files: bool) -> Iterator[str]:
    yield from (each.text for each in messages.load(tx, ids))
    kept = [each for found in messages.attachments(tx, ids).values() for each in found] if files else []
    for each in kept:
        yield from _said([Attachment(each.name, each.media_type, load(tx, each.digest))])


def _public(tx: Transaction, notes: Sequence[Message], author: Whose) -> Iterator[str]:
    """Give what of messages is no secret of these notes: in their threads all, elsewhere what may be a signature."""
    threads = {each.record_id for each in notes}
    whos = {author.who, *(each.author.who for each in notes)} - {""}
    for each in messages.read_outside(tx, threads, whos, author.is_outside):
        if each.record_id in threads:
            yield each.text
        else:
            yield _BLANK_LINE.split(each.text, 1)[-1][-_SIGNED_MAX:] if _BLANK_LINE.search(each.text) else ""


def _said(attached: Iterable[Attachment]) -> Iterator[str]:
    for each in attached:
        yield from texts_in(each, [])


def _batches(pieces: Iterator[int]) -> Iterator[list[int]]:
    while batch := list(islice(pieces, _ASKED)):
        yield batch
