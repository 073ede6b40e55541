"""What notes say, and the files attached to them, as prints: which a text may quote, in whatever thread they stand."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
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
_SIGNED_TWICE = 2  # mails from which on what stands below them is one
_PUBLIC_MAX = 400_000  # characters of messages that are looked through for what is no secret
_LONGEST = 20_000  # characters of one of them


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

    What somebody outside wrote, or read already, in the thread of that note is no secret of it, where the run lies
    whole in one such text; nor is what stands below several mails of its author, or of who writes now.
    """
    if tx.execute(_ANY).first() is None:
        return False
    for text in texts:
        ids: set[int] = set()
        for pieces in _batches(prints.every_print(text)):
            ids.update(tx.execute(_FIND, {"pieces": pieces}).scalars())
        public = _Public(tx, author)
        for note in messages.load(tx, ids):
            for original in _originals(tx, note, files=files):
                if not all(public.has(note, passage) for passage in prints.passages(text, original)):
                    return True
    return False


def _originals(tx: Transaction, note: Message, *, files: bool) -> Iterator[str]:
    yield note.text
    kept = messages.attachments(tx, [note.id]).get(note.id, []) if files else []
    for each in kept:
        yield from _said([Attachment(each.name, each.media_type, load(tx, each.digest))])


class _Public:
    """What is no secret of a note: each text is read once, and only as much of them as can be looked at quickly."""

    def __init__(self, tx: Transaction, author: Whose) -> None:
        self._tx = tx
        self._author = author
        self._texts: dict[tuple[int, str], tuple[list[str], list[str]]] = {}

    def has(self, note: Message, passage: str) -> bool:
        """Whether a passage of a note stands, whole, in its thread where outsiders read it, or is a signature."""
        key = (note.record_id, note.author.who)
        if key not in self._texts:
            self._texts[key] = self._read(note)
        thread, tails = self._texts[key]
        signed = sum(prints.holds(each, passage) for each in tails) >= _SIGNED_TWICE
        return signed or any(prints.holds(each, passage) for each in thread)

    def _read(self, note: Message) -> tuple[list[str], list[str]]:
        whos = {self._author.who, note.author.who} - {""}
        thread: list[str] = []
        tails: list[str] = []
        left = _PUBLIC_MAX
        for each in messages.read_outside(self._tx, note.record_id, whos, self._author.is_outside):
            text = each.text[:_LONGEST]
            left -= len(text)
            if left < 0:
                break
            if each.record_id == note.record_id:
                thread.append(prints.letters_of(text))
            if each.author.who:
                _, *below = _BLANK_LINE.split(text, 1)
                tails.append(prints.letters_of("".join(below)[-_SIGNED_MAX:]))
        return thread, tails


def _said(attached: Iterable[Attachment]) -> Iterator[str]:
    for each in attached:
        yield from texts_in(each, [])


def _batches(pieces: Iterator[int]) -> Iterator[list[int]]:
    while batch := list(islice(pieces, _ASKED)):
        yield batch
