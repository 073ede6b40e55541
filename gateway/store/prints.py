"""What notes say, and the files attached to them, as prints: which a text may quote, in whatever thread they stand."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import sqlalchemy as sa

from gateway.mail import prints
from gateway.mail.attached import texts_in
from gateway.mail.parse import Attachment
from gateway.mail.prints import Effort, Letters
from gateway.store import messages
from gateway.store.content import insert_new, load
from gateway.store.messages import Message
from gateway.store.public import Public, Whose
from gateway.store.session import Transaction
from gateway.store.tables import note_print

_ASKED = 500  # prints that are asked for at once
_ASKED_MAX = 200_000  # letters of an outsider's mail whose prints are
_ASKED_WHOLE = 600_000  # of one that is compared as a whole
_COMPARED_MAX = 2_000_000  # letters of a mail that are compared with notes
_SHARED_MAX = 200  # notes that share one piece with a text and are looked at, the newest
_FOUND_MAX = 400  # notes that one text is compared with
_KEPT_MAX = 20_000  # prints of a note, from which on no other file of it is looked at
_READ_STEP = 10  # characters of a note, or octets of its files, that are read while one letter is compared
_ANY = sa.select(note_print.c.message_id).limit(1)
_NTH = sa.func.row_number().over(partition_by=note_print.c.piece, order_by=note_print.c.message_id.desc()).label("nth")
_SHARING = sa.select(note_print, _NTH).where(note_print.c.piece.in_(sa.bindparam("pieces", expanding=True))).subquery()
_FIND = sa.select(_SHARING.c.piece, _SHARING.c.message_id).where(_SHARING.c.nth <= _SHARED_MAX)


def keep(tx: Transaction, message_id: int, text: str, attached: Sequence[Attachment] = ()) -> None:
    """Keep the prints of a note, and of the texts attached to it."""
    pieces = prints.prints(text)
    for said in _said(attached):
        if len(pieces) < _KEPT_MAX:
            pieces |= prints.prints(said)
    if pieces:
        insert_new(tx, note_print, [{"piece": piece, "message_id": message_id} for piece in pieces])


class Comparison:
    """Compares the texts of one mail with all notes: the `whole` of them, or only as much as one mail is worth."""

    def __init__(self, tx: Transaction, author: Whose, *, whole: bool) -> None:
        self._tx = tx
        self._author = author
        self._whole = whole
        self._effort = Effort(_COMPARED_MAX)
        self._asking = Effort(_ASKED_WHOLE if whole else _ASKED_MAX)
        self._public = Public(tx, author, self._effort)
        self._any = tx.execute(_ANY).first() is not None

    def quotes(self, texts: Iterable[str], *, files: bool = False, named: bool = False) -> bool:
        """Whether one of `texts` holds 40 characters or more of a note, or of the `files` attached to one, in one run.

        What is no secret of that note (store/public.py) does not count; nor does, of what is `named`, what the note
        says whole, among other words. Raises TooMuch where the whole would be more than one mail is worth.
        """
        seen: set[str] = set()
        for text in texts if self._any else ():
            if not (self._whole or self._asking.left):
                return False
            letters = prints.read(text).letters
            if letters in seen:
                continue
            seen.add(letters)
            asked = letters if self._whole else letters[: self._asking.left]
            self._asking.spend(len(asked))
            own = len(letters) - self._public.signature(letters, self._author.who)
            found = self._find(asked[: own + prints.PIECE - 1])
            if not found or self._public.is_read(asked):
                continue
            notes = {each.id: each for each in messages.load(self._tx, found)}
            if any(self._quotes(asked, notes[each], found[each], files=files, named=named) for each in found):
                return True
        return False

    def _quotes(self, letters: str, note: Message, pieces: set[int], *, files: bool, named: bool) -> bool:
        """Whether a text quotes one note, with which it shares `pieces`."""
        self._effort.spend(len(note.text) // _READ_STEP)
        said = prints.read(note.text)
        whos = {note.author.who, self._author.who}
        ending = max(self._public.signature(said.letters, who) for who in whos)
        for run in prints.passages(letters, said, self._effort, ending=ending):
            among = named and letters == run and len(said.letters) >= len(run) + prints.PIECE
            if not among and not self._public.has(note, run):
                return True
        if not files or pieces <= prints.prints(note.text):
            return False
        runs = (run for original in self._files(note) for run in prints.passages(letters, original, self._effort))
        return any(not self._public.has(note, run) for run in runs)

    def _files(self, note: Message) -> Iterator[Letters]:
        for each in messages.attachments(self._tx, [note.id]).get(note.id, []):
            self._effort.spend(each.size // _READ_STEP)
            for text in _said([Attachment(each.name, each.media_type, load(self._tx, each.digest))]):
                yield prints.read(text)

    def _find(self, letters: str) -> dict[int, set[int]]:
        """Return the notes that may hold some of a text, with the pieces that both hold.

        First those that share most of what few share with it: of what stands in many, the newest have to do.
        """
        sharing: dict[int, set[int]] = {}
        pieces = prints.every_print(letters)
        while batch := list(islice(pieces, _ASKED)):
            for row in self._tx.execute(_FIND, {"pieces": batch}):
                sharing.setdefault(row.piece, set()).add(row.message_id)
        found: dict[int, set[int]] = {}
        for piece, notes in sharing.items():
            for note in notes:
                found.setdefault(note, set()).add(piece)
        shared = {note: sum(1 / len(sharing[piece]) for piece in pieces) for note, pieces in found.items()}
        first = sorted(found, key=lambda note: (-shared[note], -note))[:_FOUND_MAX]
        return {note: found[note] for note in first}


def _said(attached: Iterable[Attachment]) -> Iterator[str]:
    for each in attached:
        yield from texts_in(each, [])
