"""What an IMAP server answers, and how one writes to it: folders, mails, sets of UIDs, names.

*Standards:* RFC 3501 (§5.1.3: names in modified UTF-7; §6.4.4, §7), RFC 4315 (APPENDUID), RFC 5258 (LIST), RFC 5819
(status with a list), RFC 2087 (quota).
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from imapclient import imap_utf7

from gateway.mail.header import split_mail

_SET_MAX = 7_000  # octets of a set of UIDs in a command
LITERAL = re.compile(rb"\{([+-]?\d+)\+?\}\Z")
_DIGITS = 20
# No number of a server has more digits: what has is none.
_UID = re.compile(rb"\bUID (\d{1,19})\b", re.IGNORECASE)
_SIZE = re.compile(rb"\bRFC822\.SIZE (\d{1,19})\b", re.IGNORECASE)
_FLAGS = re.compile(rb"\bFLAGS \(([^)]*)\)", re.IGNORECASE)
_DATE = re.compile(rb'\bINTERNALDATE "([^"]+)"', re.IGNORECASE)
_STATUS_ITEM = re.compile(rb"([A-Z]+) (\d{1,19})\b", re.IGNORECASE)
_LIST = re.compile(
    rb'LIST \(([^)]*)\) (?:"(?P<delimiter>(?:\\.|[^"])*)"|NIL) (?P<name>.*)\Z', re.IGNORECASE | re.DOTALL
)
_APPENDED = re.compile(rb"APPENDUID (\d{1,19}) (\d{1,19})\b", re.IGNORECASE)
_QUOTA = re.compile(rb"STORAGE (\d{1,19}) (\d{1,19})\b", re.IGNORECASE)
_OWN = re.compile(rb'NAMESPACE \(\("((?:\\.|[^"])*)"', re.IGNORECASE)
# An answer is a line, or the pieces of one with literals in it: line, literal, line, …
Answer = bytes | tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder as it was selected, or as its status says."""

    name: str
    uid_validity: int = 0
    uid_next: int = 0
    messages: int = 0


@dataclass(frozen=True, slots=True)
class Listed:
    """A mail in a folder: what was told of it; `octets` is None where its octets were not."""

    uid: int
    size: int = 0
    flags: frozenset[str] = frozenset()
    at: datetime | None = None
    octets: bytes | None = None


@dataclass(frozen=True, slots=True)
class Names:
    """How folders are called on a server: what stands between the parts of a name, and before those of one's own."""

    delimiter: str = "/"
    prefix: str = ""

    def wire(self, name: str) -> str:
        """Return a name, whose parts we divide by `/`, as the server writes it, quoted.

        One that begins with the prefix was written as the server writes it already.
        """
        if name.upper() == "INBOX" or name in ("*", "%"):
            return quoted(name)
        if self.prefix and name.startswith(self.prefix):
            return quoted(imap_utf7.encode(name).decode("ascii"))
        parts = [part.replace(self.delimiter, _wide(self.delimiter)) for part in name.split("/")]
        return quoted(imap_utf7.encode(self.prefix + self.delimiter.join(parts)).decode("ascii"))

    def read(self, wire: bytes) -> str:
        """Return a name that the server wrote."""
        text = wire.strip()
        if text.startswith(b'"') and text.endswith(b'"') and len(text) > 1:
            text = _unescaped(text[1:-1])
        try:
            name = str(imap_utf7.decode(text))
        except (ValueError, UnicodeError):
            name = text.decode("latin-1")
        parts = name.removeprefix(self.prefix).split(self.delimiter)
        return "/".join(part.replace(_wide(self.delimiter), self.delimiter) for part in parts)


def _wide(delimiter: str) -> str:
    """Return what stands for a delimiter inside a part of a name: its full-width form, `．` for `.`."""
    return delimiter if delimiter == "/" else chr(ord(delimiter) + 0xFEE0)


def quoted(text: str) -> str:
    """Return text as a quoted string."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _unescaped(text: bytes) -> bytes:
    return re.sub(rb"\\(.)", rb"\1", text)


def joined(answer: Answer) -> bytes:
    """Return an answer as one line: a literal in it stands where its size stood."""
    if isinstance(answer, bytes | bytearray):
        return bytes(answer)
    text = b""
    for piece in answer:
        text = LITERAL.sub(b"", text) + piece
    return text


def read_names(answers: Iterable[Answer], known: Names) -> Names:
    """Return what LIST and NAMESPACE tell of names, beside what is `known`."""
    delimiter, prefix = known.delimiter, known.prefix
    for answer in answers:
        text = joined(answer)
        if (found := _LIST.match(text)) is not None and found["delimiter"]:
            delimiter = _unescaped(found["delimiter"]).decode("ascii", "replace")[:1] or delimiter
        if (own := _OWN.match(text)) is not None:
            prefix = own[1].decode("ascii", "replace")
    return Names(delimiter, prefix)


def read_folders(answers: Iterable[Answer], names: Names) -> tuple[list[str], dict[str, Folder]]:
    """Return the folders that LIST names and that hold mails, and the status that came along.

    Of what is above a folder and is none itself, some servers say that it cannot be selected, some (RFC 5258 §3.4)
    that it does not exist.
    """
    listed: list[str] = []
    status: dict[str, Folder] = {}
    for answer in answers:
        text = joined(answer)
        if (found := _LIST.match(text)) is not None:
            if not {b"\\noselect", b"\\nonexistent"} & set(found[1].lower().split()):
                listed.append(names.read(found["name"]))
        elif text[:7].upper() == b"STATUS ":
            wire, _, items = text[7:].rpartition(b" (")
            name = names.read(wire)
            status[name] = _folder(name, items)
    return listed, status


def _folder(name: str, items: bytes) -> Folder:
    found = {key.upper(): int(value) for key, value in _STATUS_ITEM.findall(items)}
    return Folder(name, found.get(b"UIDVALIDITY", 0), found.get(b"UIDNEXT", 0), found.get(b"MESSAGES", 0))


def read_selected(answers: Iterable[Answer], name: str) -> Folder | None:
    """Return the state of a folder that was selected; None where it tells no UIDVALIDITY."""
    text = b"\n".join(joined(answer) for answer in answers)
    validity = re.search(rb"UIDVALIDITY (\d{1,19})\b", text)
    following = re.search(rb"UIDNEXT (\d{1,19})\b", text)
    exists = re.search(rb"\b(\d{1,19}) EXISTS", text)
    numbers = (int(found[1]) if found else 0 for found in (validity, following, exists))
    return Folder(name, *numbers) if validity else None


def read_uids(answers: Iterable[Answer]) -> list[int]:
    """Return the UIDs that SEARCH found, in their order."""
    texts = [joined(answer) for answer in answers]
    words = b" ".join(text for text in texts if text[:6].upper() == b"SEARCH").split()
    return sorted({int(word) for word in words if word.isdigit() and len(word) < _DIGITS})


def read_listed(answer: Answer) -> Listed | None:
    """Read one answer to FETCH; None where it is none, or tells no UID."""
    pieces = [answer] if isinstance(answer, bytes | bytearray) else list(answer)
    text = b" ".join(piece for n, piece in enumerate(pieces) if n % 2 == 0)
    if not re.match(rb"\d+ FETCH \(", text, re.IGNORECASE) or (uid := _UID.search(text)) is None:
        return None
    size, flags, at = _SIZE.search(text), _FLAGS.search(text), _DATE.search(text)
    octets = pieces[1] if len(pieces) > 1 else _quoted_body(text)
    names = frozenset(flag.decode("ascii", "replace") for flag in flags[1].split()) if flags else frozenset()
    return Listed(int(uid[1]), int(size[1]) if size else 0, names, _moment(at[1]) if at else None, octets)


def _quoted_body(text: bytes) -> bytes | None:
    """Return a body that the server gave as a quoted string, a short or an empty one; None where it gave none."""
    found = re.search(rb'BODY\[[^\]]*\](?:<\d+>)? "((?:\\.|[^"\\])*)"', text, re.IGNORECASE)
    return _unescaped(found[1]) if found else None


def _moment(text: bytes) -> datetime | None:
    try:
        return datetime.strptime(text.decode("ascii", "replace").strip(), "%d-%b-%Y %H:%M:%S %z")
    except ValueError:
        return None


def read_appended(said: bytes) -> tuple[int, int]:
    """Return UIDVALIDITY and UID of what was appended; 0 where the server does not tell."""
    found = _APPENDED.search(said)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def read_quota(answers: Iterable[Answer]) -> tuple[int, int] | None:
    """Return used and allowed KiB, or None."""
    found = _QUOTA.search(b" ".join(joined(answer) for answer in answers))
    return (int(found[1]), int(found[2])) if found else None


def message_id_of(header: bytes | None) -> str:
    """Return the id in the Message-ID field of a header, without its brackets, or ""."""
    return split_mail(header or b"")[0].first("message-id").strip().removeprefix("<").removesuffix(">")


def uid_set(uids: Sequence[int]) -> str:
    """Return UIDs as a set, runs of them as ranges."""
    parts: list[list[int]] = []
    for uid in sorted(set(uids)):
        if parts and uid == parts[-1][1] + 1:
            parts[-1][1] = uid
        else:
            parts.append([uid, uid])
    return ",".join(str(a) if a == b else f"{a}:{b}" for a, b in parts)


def uid_sets(uids: Sequence[int]) -> list[str]:
    """Return UIDs as sets that are short enough for a command's line (RFC 7162 §4: 8,192 octets)."""
    sets: list[str] = []
    for part in filter(None, uid_set(uids).split(",")):
        if sets and len(sets[-1]) + len(part) < _SET_MAX:
            sets[-1] += f",{part}"
        else:
            sets.append(part)
    return sets
