"""Mail addresses: one strict type, and a reader for the fields that hold them.

*Failure:* what is not well formed is no address and no identity; nothing here raises on
bytes from outside.

*Standards:* RFC 5321 §4.1.2 (dot-string local part, 64 octets; domain, 255 octets),
RFC 5322 §3.4 (mailbox lists, groups, comments, quoted strings), RFC 5891 (domains in A-label form).
"""

import re
import unicodedata
from dataclasses import dataclass

import idna

from gateway.mail.charset import decode_words

_ATEXT = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]"
_LOCAL = re.compile(rf"{_ATEXT}+(?:\.{_ATEXT}+)*", re.ASCII)
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_WORD = re.compile(r"=\?.*\?=", re.ASCII)
_LOCAL_MAX = 64
_DOMAIN_MAX = 255
_FIELD_MAX = 64 * 1024  # characters of a header field that are looked at
_NAME_MAX = 200  # characters of a display name that are kept
_SPECIALS = '<>,;:"('

_LOOK_ALIKE = frozenset({"LATIN", "CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE", "COPTIC"})
# Characters that change how their neighbours are shown, or are not shown: bidi controls, zero-width marks, joiners and
# fillers (Hangul's too), marks of annotation, tags.
_UNSEEN = re.compile(
    "[\u200b-\u200f\u202a-\u202e\u2060-\u206f\u061c\ufeff\u00ad\u034f\u115f\u1160\u180e\u3164\uffa0\ufff9-\ufffb"
    "\U000e0001\U000e0020-\U000e007f]"
)


@dataclass(frozen=True, slots=True)
class Address:
    """An addr-spec we would accept as an identity or write into an envelope.

    `domain` is lower case and in A-label form; `local` keeps the case it came in. Two addresses
    are the same mailbox to us when their `key` is the same.
    """

    local: str
    domain: str

    def __str__(self) -> str:
        return f"{self.local}@{self.domain}"

    @property
    def key(self) -> str:
        """The address in lower case: what identities are compared by."""
        return f"{self.local}@{self.domain}".lower()


@dataclass(frozen=True, slots=True)
class Mailbox:
    """A display name (cleaned, perhaps empty, never an identity) and its address."""

    name: str
    address: Address


def parse_address(text: str) -> Address | None:
    """Return the address that `text` is, or None: no comments, quotes, brackets or folding."""
    local, at, domain = text.rpartition("@")
    # An encoded word is a local part to us and another address to whoever decodes it: nobody's.
    if not at or len(local) > _LOCAL_MAX or _WORD.search(local) or not _LOCAL.fullmatch(local):
        return None
    ascii_domain = _domain(domain)
    return Address(local, ascii_domain) if ascii_domain else None


def _domain(text: str) -> str | None:
    if not text or len(text) > _DOMAIN_MAX:
        return None
    domain = text.lower()
    if not domain.isascii():
        try:
            domain = idna.encode(text, uts46=True).decode("ascii").lower()
        except (idna.IDNAError, UnicodeError):
            return None
    if all(_LABEL.fullmatch(label) for label in domain.split(".")):
        return domain
    return None


def without_unseen(text: str) -> str:
    """Return `text` without bidi controls and zero-width marks: what looks the same is the same."""
    return _UNSEEN.sub("", text)


def clean_name(text: str, longest: int = _NAME_MAX) -> str:
    """Return a name fit to show: one line, no controls, no bidi or zero-width marks, at most `longest`."""
    text = unicodedata.normalize("NFKC", without_unseen(text[: longest * 4]))
    shown = "".join(c if unicodedata.category(c)[0] != "C" else " " for c in text)
    return " ".join(shown.split())[:longest].strip()


def mixes_scripts(text: str) -> bool:
    """Whether letters that look alike but are not mix in `text`: Latin beside Cyrillic or Greek, say."""
    found = {unicodedata.name(char, "").partition(" ")[0] for char in text if char.isalpha()}
    return len(found & _LOOK_ALIKE) > 1


def parse_mailboxes(field: str) -> tuple[Mailbox, ...] | None:
    """Return the mailboxes of a From, To, Cc or Reply-To field body, or None if it is not well formed.

    Stricter than RFC 5322: group syntax and source routes are not well formed, and a bare
    address before an angle address must be that same address. Runs in linear time.
    """
    if len(field) > _FIELD_MAX:
        return None
    found: list[Mailbox] = []
    item: list[tuple[str, str]] = []
    for kind, text in [*_tokens(field), ("special", ",")]:
        if kind == "bad" or (kind == "special" and text != ","):
            return None
        if kind != "special":
            item.append((kind, text))
            continue
        if item:
            mailbox = _mailbox(item)
            if mailbox is None:
                return None
            found.append(mailbox)
        item = []
    return tuple(found)


def find_mailboxes(field: str) -> tuple[Mailbox, ...]:
    """Return the well-formed mailboxes of a To or Cc field, whatever stands beside them; no names of groups."""
    found: list[Mailbox] = []
    item: list[tuple[str, str]] = []
    for kind, text in [*_tokens(field[:_FIELD_MAX]), ("special", ",")]:
        if kind != "special" or text == ">":
            item.append((kind, text))
            continue
        mailbox = _mailbox(item) if item and text != ":" else None
        if mailbox is not None:
            found.append(mailbox)
        item = []
    return tuple(found)


def _mailbox(item: list[tuple[str, str]]) -> Mailbox | None:
    *words, (kind, text) = item
    if any(word_kind == "angle" for word_kind, _ in words):
        return None
    address = parse_address(text)
    if address is None or (kind != "angle" and (words or kind == "quoted")):
        return None
    for word_kind, word in words:
        if word_kind == "atom" and "@" in word:
            shown = parse_address(word)
            if shown is None or shown.key != address.key:
                return None
    return Mailbox(clean_name(decode_words(" ".join(word for _, word in words))), address)


def _tokens(field: str) -> list[tuple[str, str]]:
    tokens: list[tuple[str, str]] = []
    at, end = 0, len(field)
    while at < end:
        char = field[at]
        if char.isspace():
            at += 1
        elif char == '"':
            text, at = _quoted(field, at + 1)
            tokens.append(("quoted", text) if at > 0 else ("bad", ""))
        elif char == "(":
            at = _past_comment(field, at)
            if at < 0:
                tokens.append(("bad", ""))
        elif char == "<":
            close = field.find(">", at)
            tokens.append(("angle", field[at + 1 : close].strip()) if close > 0 else ("bad", ""))
            at = close + 1 if close > 0 else -1
        elif char in ",;:>":
            tokens.append(("special", char))
            at += 1
        else:
            start = at
            while at < end and not field[at].isspace() and field[at] not in _SPECIALS:
                at += 1
            tokens.append(("atom", field[start:at]))
        if at < 0:
            break
    return tokens


def _quoted(field: str, at: int) -> tuple[str, int]:
    """Return the text of the quoted string that begins at `at`, and where it ends, or -1."""
    text: list[str] = []
    while at < len(field):
        if field[at] == '"':
            return "".join(text), at + 1
        if field[at] == "\\" and at + 1 < len(field):
            at += 1
        text.append(field[at])
        at += 1
    return "", -1


def _past_comment(field: str, at: int) -> int:
    """Return where the comment that opens at `at` ends, or -1 if it never does."""
    depth = 0
    while at < len(field):
        char = field[at]
        if char == "\\":
            at += 1
        elif char == "(":
            depth += 1
        elif char == ")":
            depth -= 1
            if depth == 0:
                return at + 1
        at += 1
    return -1
