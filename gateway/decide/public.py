"""What is no secret of a note: what outsiders wrote or read already, what a record says of itself, a signature."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gateway.alias import Addresses
from gateway.mail import prints
from gateway.mail.attached import texts_in
from gateway.mail.parse import parse
from gateway.mail.prints import Effort
from gateway.records.lifecycle import INNER_FIELDS
from gateway.records.record import Record
from gateway.store import messages, outside, records
from gateway.store.messages import Message
from gateway.store.session import Transaction

_READ_MAX = 400_000  # characters of the messages on a record, or of a person, that are looked at
_FILES_MAX = 2_000_000  # octets of their files
_ORIGINS_MAX = 5  # records that one was made from
# Where somebody's own words begin: below the field of a forwarded mail, or the first line of one in a folder.
_FIELD = r"^[ \t>*]{0,20}(?:from|von|de|寄件者|寄件人|发件人|發件人|差出人)[ \t*]*[:：]"
_DROPPED = r"\A(?:[^\n<]{0,200}<)?@>?: "  # the address stands in place of @
_HANDED_ON = rf"{_DROPPED}|{_FIELD}[^\n]{{0,200}}?(?<![\w.+-])@(?![\w.-])"


@dataclass(frozen=True, slots=True)
class Whose:
    """Whose text is compared with notes, and on which record it goes: a person's key, or else an outsider's address."""

    who: str = ""
    email: str = ""
    record_id: int | None = None


@dataclass(frozen=True, slots=True)
class _Said:
    """A text that outsiders read, as its letters: to whom, and in which mail."""

    firm: str
    mail: str
    letters: str


class Public:
    """Knows what is no secret of a note. Each text is read once. Raises TooMuch."""

    def __init__(self, tx: Transaction, addresses: Addresses, author: Whose, effort: Effort) -> None:
        self._tx = tx
        self._addresses = addresses
        self._author = author
        self._effort = effort
        self._threads: dict[int, list[_Said]] = {}
        self._written: dict[str, list[_Said]] = {}
        self._handed_on: dict[int, str] = {}

    def is_read(self, letters: str) -> bool:
        """Whether those outside have a text, as its letters, whole where it would go."""
        here = self._author.record_id
        return here is not None and any(self._holds(each, letters) for each in self._thread(here))

    def has(self, note: Message, passage: str) -> bool:
        """Whether a passage of a note stands whole in one text that is no secret of it.

        That is what outsiders wrote or read on its record, or on that to which it would go now; what a mail of the
        outsider says that was handed on in the note; and what its author, or who writes now, told two customers.
        """
        here = dict.fromkeys((note.record_id, *filter(None, [self._author.record_id])))
        if any(self._holds(each, passage) for record_id in here for each in self._thread(record_id)):
            return True
        if prints.holds(self._theirs(note), passage, self._effort):
            return True
        whos = {note.author.who, self._author.who}
        return _told_two([each for who in whos for each in self._by(who) if self._holds(each, passage)])

    def _theirs(self, note: Message) -> str:
        """Return the letters of what an outsider says in a mail that was handed on in a note, to that outsider.

        To others who write to them on their record, of one that lies there whole, as somebody dropped it.
        """
        if note.id not in self._handed_on:
            pattern, emails = _HANDED_ON, [self._author.email]
            if not self._author.email:
                record = records.load(self._tx, [self._author.record_id or 0]).get(self._author.record_id or 0)
                pattern, emails = _DROPPED, [*record.customer.emails] if record else []
            below = ""
            for email in map(re.escape, emails):
                if found := re.search(pattern.replace("@", email), note.text, re.IGNORECASE | re.MULTILINE):
                    below = prints.read(note.text[found.end() :]).letters
                    break
            self._effort.spend(len(below))
            self._handed_on[note.id] = below
        return self._handed_on[note.id]

    def signature(self, letters: str, who: str) -> int:
        """Return with how many letters a text ends as mails of a person to two customers do."""
        alike = [(prints.common_ending(letters, each.letters), each) for each in self._by(who)]
        self._effort.spend(len(alike))
        alike.sort(key=lambda pair: -pair[0])
        found: list[_Said] = []
        for length, each in alike:
            found.append(each)
            if _told_two(found):
                return length
        return 0

    def _holds(self, said: _Said, passage: str) -> bool:
        return prints.holds(said.letters, passage, self._effort)

    def _by(self, who: str) -> list[_Said]:
        """What outsiders read of a person."""
        if who not in self._written:
            self._written[who] = self._read(outside.read(self._tx, "author_who", who)) if who else []
        return self._written[who]

    def _thread(self, record_id: int) -> list[_Said]:
        if record_id not in self._threads:
            found: list[_Said] = []
            for each in self._with_origins(record_id):
                fields = [value for name, value in each.fields.items() if name not in INNER_FIELDS]
                named = [each.title, each.customer.name, *fields, *(line.name for line in each.lines)]
                found += [_Said("", "", prints.read(name).letters) for name in named if name]
                found += self._read(outside.read(self._tx, "record_id", each.id), files=True)
            self._threads[record_id] = found
        return self._threads[record_id]

    def _with_origins(self, record_id: int) -> Iterator[Record]:
        """Give a record, and those of the same customer that it was made from."""
        record = records.load(self._tx, [record_id]).get(record_id)
        for _ in range(_ORIGINS_MAX):
            if record is None:
                return
            yield record
            origin = records.find(self._tx, record.origin) if record.origin else None
            record = origin if origin and origin.customer.firm == record.customer.firm != "" else None

    def _read(self, read: Sequence[Message], *, files: bool = False) -> list[_Said]:
        """Return what messages say, the newest first: as much as can be looked at quickly."""
        found: list[_Said] = []
        left, files_left = _READ_MAX, _FILES_MAX
        attached = messages.attachments(self._tx, [each.id for each in read]) if files else {}
        their = records.load(self._tx, {each.record_id for each in read})
        for each in read:
            said = [each.text, each.quoted if each.author.outsider else ""]
            if files and each.details.terms:
                said += [each.details.terms, self._as_sent(each.id)]
            for file in attached.get(each.id, []):
                if file.size <= files_left:
                    files_left -= file.size
                    said += texts_in(messages.whole(self._tx, file), [])
            for text in filter(None, said):
                if len(text) <= left:
                    left -= len(text)
                    firm = their[each.record_id].customer.firm
                    found.append(_Said(firm, each.original_id or each.message_id, prints.read(text).letters))
        return found

    def _as_sent(self, message_id: int) -> str:
        """Return the text of an offer or invoice as its customer read it, with lines and total, without their tags."""
        sent = outside.as_sent(self._tx, message_id)
        return self._addresses.untagged(parse(sent).text) if sent is not None else ""


def _told_two(said: Sequence[_Said]) -> bool:
    """Whether two firms were told so, each in a mail of their own."""
    firms, mails = {each.firm for each in said} - {""}, {each.mail for each in said}
    return min(len(firms), len(mails)) > 1
