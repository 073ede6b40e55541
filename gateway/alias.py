"""The addresses the gateway owns: how they are written, and what one that arrives means.

`REF[-ACTION][+TAG]` stands for a record, `bounce+DELIVERY.TAG` is the return path of one delivery,
`held-ACTION+ID.TAG` decides about one held mail, every other local part is a word: a team, an
intake, or reserved. What mail systems do to an address on its way is undone: the tag proves it.

*Failure:* an address that is not ours, and one whose tag none of our keys made, are both None.

*Standards:* RFC 5321 (§4.5.3.1.1: a local part is at most 64 octets; §4.1.2: quoting that is not
needed changes nothing), RFC 5233 (subaddresses), RFC 6531 §3.3 (local parts in UTF-8). BATV and SRS
are custom, not standard.
"""

import base64
import binascii
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gateway.mail.address import Address, Mailbox, parse_address
from gateway.mail.charset import is_utf_16
from gateway.mail.tag import TAG_LENGTH, Keys, make_tag, read_tag
from gateway.records.commands import COMMANDS, named

OFFERS = ("accept", "decline")  # the customer's answers to a quotation
ACTIONS = frozenset(command.name for command in COMMANDS) | frozenset(OFFERS)
HELD_ACTIONS = ("release", "drop", "block")
_BOUNCE = "bounce"
_REF = r"[a-z][a-z0-9]{0,23}"
_TAGGED = rf"([a-z2-7]{{{TAG_LENGTH}}})"
# What stands before a tag once some system has rewritten, or lost, the plus sign.
_PLUS = r"(?:[+=#_-]|%2b)?"
_RECORD = re.compile(rf"({_REF})(?:-([a-z]+))?(?:\+{_TAGGED})?")
_MANGLED = re.compile(rf"({_REF}?)(?:-({'|'.join(sorted(ACTIONS))}))?{_PLUS}{_TAGGED}")
_RETURN_PATH = re.compile(rf"{_BOUNCE}{_PLUS}(\d{{1,13}})[.=]{_TAGGED}")
_HELD = re.compile(rf"held-({'|'.join(HELD_ACTIONS)}){_PLUS}(\d{{1,13}})[.=]{_TAGGED}")
# A command's address with its Chinese word; in a field it stands among others.
_CHINESE = re.compile(rf"({_REF}-)([^\x00-\x7f]{{1,8}})(\+{_TAGGED})?", re.IGNORECASE)
_CHINESE_IN_FIELD = re.compile(
    rf"(?<![^\s<,;:])({_REF}-[^\x00-\x7f]{{1,8}}(?:\+{_TAGGED})?)@(?P<domain>[^\s<>,;]{{1,255}})", re.IGNORECASE
)
# BATV (prvs=KEY=LOCAL, prvs=LOCAL/KEY, btv1==KEY==LOCAL) and SRS (SRS0=HASH=DAY=DOMAIN=LOCAL).
_WRAPPED = (
    re.compile(r"(?:ms)?prvs1?=[0-9a-z]{1,16}=(?P<inner>.+)"),
    re.compile(r"prvs=(?P<inner>[^/=]+)/[0-9a-z]{1,16}"),
    re.compile(r"btv1==[^=]{1,16}==(?P<inner>.+)"),
    re.compile(r"srs0[=+-][^=]{1,12}=[^=]{1,4}=(?P<domain>[^=]{1,200})=(?P<inner>.+)"),
    re.compile(r"srs1[=+-][^=]{1,12}=[^=]{1,200}==[^=]{1,12}=[^=]{1,4}=(?P<domain>[^=]{1,200})=(?P<inner>.+)"),
)
# Where a program that quotes, or quoted-printable, breaks a line, and a tag that it may have broken.
_BREAK = re.compile(r"=?\r?\n[ \t>|]{0,20}")
_TAGGED_TEXT = re.compile(
    rf"(?:\+|%2b|=2b)(?:{_BREAK.pattern})?(?:\d{{1,13}}\.)?(?:[a-z2-7](?:{_BREAK.pattern})?){{{TAG_LENGTH}}}",
    re.IGNORECASE,
)
_BASE64 = re.compile(r"(?<![A-Za-z0-9+/])[A-Za-z0-9+/]{40,}+(?:\r?\n[A-Za-z0-9+/]++)*+={0,2}")
_DEPTH_MAX = 4  # attachments in attachments that are looked into
_PATH_MAX = 998  # characters of a path that are looked at
_FIELD_MAX = 64 * 1024  # characters of a field that are looked at
_TAG = re.compile(rf"(?:(?<=[+.])|(?<=2[Bb]))[A-Za-z2-7]{{{TAG_LENGTH}}}(?![A-Za-z0-9])")


def named_in_chinese(fields: Sequence[str], domain: str) -> tuple[Mailbox, ...]:
    """Return the addresses in To or Cc that name a command in Chinese, as if in English: `Address` has none such."""
    local_parts = [
        match[1]
        for field in fields
        for match in _CHINESE_IN_FIELD.finditer(field[:_FIELD_MAX])
        if match["domain"].rstrip(".").lower() == domain
    ]
    found = (parse_address(f"{_in_english(local)}@{domain}") for local in local_parts)
    return tuple(Mailbox("", address) for address in found if address is not None)


@dataclass(frozen=True, slots=True)
class RecordAddress:
    """A record's address: its reference (upper case), what it commands, whose tag it holds."""

    ref: str
    action: str = ""
    reader: int | None = None


@dataclass(frozen=True, slots=True)
class ReturnPath:
    """The return path of one delivery."""

    delivery: int


@dataclass(frozen=True, slots=True)
class HeldAddress:
    """The address that decides about one held mail: release, drop, or block its author."""

    action: str
    held: int


@dataclass(frozen=True, slots=True)
class Word:
    """A local part that is none of the others: a team, an intake, reserved, or nobody's."""

    local: str


Meaning = RecordAddress | ReturnPath | HeldAddress | Word
Epoch = Callable[[str], int]


def _first_epoch(_ref: str) -> int:
    return 0


@dataclass(slots=True)
class Addresses:
    """Writes and reads the addresses of one domain. `keys` are replaced when they were rotated."""

    domain: str
    keys: Keys

    def alias(self, ref: str, action: str = "", reader: int | None = None, epoch: int = 0) -> Address:
        """Return a record's address; with `reader` it holds that reader's tag, of the record's `epoch`."""
        local = ref.lower() + (f"-{action}" if action else "")
        if reader is not None:
            local += "+" + make_tag(self.keys, _subject(ref, epoch), reader)
        return Address(local, self.domain)

    def return_path(self, delivery: int) -> Address:
        """Return the envelope return path of one delivery."""
        return Address(f"{_BOUNCE}+{delivery}.{make_tag(self.keys, _BOUNCE, delivery)}", self.domain)

    def held(self, action: str, held: int) -> Address:
        """Return the address that decides about one held mail."""
        return Address(f"held-{action}+{held}.{make_tag(self.keys, f'held:{action}', held)}", self.domain)

    def word(self, local: str) -> Address:
        """Return the address of a team, an intake or a reserved word."""
        return Address(local, self.domain)

    def untagged(self, text: str) -> str:
        """Return `text` with our tagged addresses as bare aliases, wrapped or not: a tag is its reader's alone."""
        domain = self.domain.replace(".", r"\.")

        def bare(match: re.Match[str]) -> str:
            after = _BREAK.sub("", match.string[match.end() : match.end() + 4 * len(domain)])
            return "" if re.match(rf"(?:@|%40|=40){domain}", after, re.IGNORECASE) else match[0]

        return _TAGGED_TEXT.sub(bare, text)

    def untagged_file(self, content: bytes, depth: int = 0) -> bytes:
        """Return an attached text or mail with our tagged addresses as bare aliases, in its base64 as well.

        What holds a NUL, and is not UTF-16, is no text, and stays as it is.
        """
        if is_utf_16(content):
            wide = content.decode("utf-16", "replace")
            bare = self.untagged(wide)
            return content if bare == wide else bare.encode("utf-16")
        if b"\0" in content:
            return content

        def inside(match: re.Match[str]) -> str:
            try:
                octets = binascii.a2b_base64(match[0])
            except binascii.Error:
                return match[0]
            changed = self.untagged_file(octets, depth + 1)
            return (
                match[0] if changed == octets else base64.encodebytes(changed).decode().replace("\n", "\r\n").rstrip()
            )

        text = self.untagged(content.decode("latin-1"))
        return (_BASE64.sub(inside, text) if depth < _DEPTH_MAX else text).encode("latin-1")

    def owns(self, address: Address) -> bool:
        """Whether an address is in our domain."""
        return address.domain == self.domain

    def parse(self, text: str) -> Address | None:
        """Return the address that RCPT gave, as it was before systems on its way wrapped or quoted it."""
        local, _, domain = text[:_PATH_MAX].strip().rpartition("@")
        if local.startswith('"') and local.endswith('"') and len(local) > 1:
            local = local[1:-1]
        domain = domain.rstrip(".")
        if domain.lower() == self.domain:
            for wrapper in _WRAPPED:
                match = wrapper.fullmatch(local.lower())
                if match and match.groupdict().get("domain") in (None, self.domain):
                    local = match["inner"]
                    break
            local = _in_english(local)
        return parse_address(f"{local}@{domain}")

    def ref(self, address: Address) -> str:
        """Return the reference (upper case) that an address seems to name, or ""; its tag is not looked at."""
        match = _form(address.local.lower())
        return match[0].upper() if match else ""

    def action(self, address: Address) -> str:
        """Return the action that an address of ours seems to name, or ""; its tag is not looked at."""
        match = _form(address.local.lower()) if self.owns(address) else None
        return match[1] if match else ""

    def read(self, address: Address, epoch: Epoch = _first_epoch) -> Meaning | None:
        """Return what an address means, by its form and its tag; None if it is not ours.

        `epoch` tells how often the tags of a record were revoked.
        """
        if not self.owns(address):
            return None
        local = address.local.lower()
        if match := _RETURN_PATH.fullmatch(local):
            delivery = self._number(_BOUNCE, match[1], match[2])
            return ReturnPath(delivery) if delivery is not None else None
        if match := _HELD.fullmatch(local):
            held = self._number(f"held:{match[1]}", match[2], match[3])
            return HeldAddress(match[1], held) if held is not None else None
        if "+" not in local and "-" not in local and len(local) <= TAG_LENGTH:
            return RecordAddress(local.upper()) if _RECORD.fullmatch(local) else Word(local)
        form = _form(local)
        if form is None:
            return None if "+" in local else Word(local)
        ref, action, tag = form
        if not tag:
            return RecordAddress(ref.upper(), action)
        reader = read_tag(self.keys, _subject(ref, epoch(ref.upper())), tag)
        if reader is None:
            # Without the plus sign it may as well be a word that only looks like it.
            return None if "+" in local else Word(local)
        return RecordAddress(ref.upper(), action, reader)

    def _number(self, subject: str, shown: str, tag: str) -> int | None:
        number = read_tag(self.keys, subject, tag)
        return number if number is not None and str(number) == shown else None


def _subject(ref: str, epoch: int) -> str:
    return f"record:{ref.lower()}" + (f":{epoch}" if epoch else "")


def _in_english(local: str) -> str:
    """Return a local part with the English name of the command that it names in Chinese."""
    match = _CHINESE.fullmatch(unicodedata.normalize("NFKC", local))
    command = named(match[2]) if match else None
    return f"{match[1]}{command.name}{match[3] or ''}" if match and command else local


def _form(local: str) -> tuple[str, str, str] | None:
    """Return reference, action and tag of a local part in lower case, as its form alone tells them."""
    if match := _RECORD.fullmatch(local):
        ref, action, tag = match.groups(default="")
        if not action or action in ACTIONS:
            return ref, action, tag
    if match := _MANGLED.fullmatch(local):
        ref, action, tag = match.groups(default="")
        return ref, action, tag
    return None


def hide_tags(text: str) -> str:
    """Return `text` with every tag in it replaced by `…`: what may stand in a log."""
    return _TAG.sub("…", text)
