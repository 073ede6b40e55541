"""Does a text quote a note? The texts of one mail are compared with all notes, as far as one mail is worth it."""

from collections.abc import Iterable, Iterator

from gateway.alias import Addresses
from gateway.decide.public import Public, Whose
from gateway.mail import prints
from gateway.mail.attached import texts_in
from gateway.mail.prints import Effort, Letters
from gateway.store import messages
from gateway.store import prints as note_prints
from gateway.store.messages import Message
from gateway.store.session import Transaction

_ASKED_MAX = 200_000  # letters of an outsider's mail whose prints are
_ASKED_WHOLE = 600_000  # of one that is compared as a whole
_COMPARED_MAX = 2_000_000  # letters of a mail that are compared with notes
_FOUND_MAX = 400  # notes that one text is compared with
_READ_STEP = 10  # characters of a note, or octets of its files, that are read while one letter is compared


class Comparison:
    """Compares the texts of one mail with all notes: the `whole` of them, or only as much as one mail is worth."""

    def __init__(self, tx: Transaction, addresses: Addresses, author: Whose, *, whole: bool) -> None:
        self._tx = tx
        self._author = author
        self._whole = whole
        self._effort = Effort(_COMPARED_MAX)
        self._asking = Effort(_ASKED_WHOLE if whole else _ASKED_MAX)
        self._public = Public(tx, addresses, author, self._effort)
        self._any = note_prints.are_any(tx)

    def quotes(self, texts: Iterable[str], *, files: bool = False, named: bool = False) -> bool:
        """Whether one of `texts` holds 40 characters or more of a note, or of the `files` attached to one, in one run.

        What is no secret of that note (decide/public.py) does not count; nor does, of what is `named`, what the note
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
            for text in texts_in(messages.whole(self._tx, each), []):
                yield prints.read(text)

    def _find(self, letters: str) -> dict[int, set[int]]:
        """Return the notes that may hold some of a text, with the pieces that both hold.

        First those that share most of what few share with it: of what stands in many, the newest have to do.
        """
        sharing = note_prints.sharing(self._tx, prints.every_print(letters))
        found: dict[int, set[int]] = {}
        for piece, notes in sharing.items():
            for note in notes:
                found.setdefault(note, set()).add(piece)
        shared = {note: sum(1 / len(sharing[piece]) for piece in pieces) for note, pieces in found.items()}
        first = sorted(found, key=lambda note: (-shared[note], -note))[:_FOUND_MAX]
        return {note: found[note] for note in first}
