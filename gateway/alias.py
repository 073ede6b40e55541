"""The addresses the gateway owns: how they are written, and what one that arrives means.

`REF[-ACTION][+TAG]` stands for a record, `bounce+DELIVERY.TAG` is the return path of one
delivery, every other local part is a word: a team, an intake, or reserved.

*Failure:* an address that is not ours, and one whose tag none of our keys made, are both None.

*Standards:* RFC 5321 §4.5.3.1.1 (a local part is at most 64 octets), RFC 5233 (subaddresses).
"""

import os
import re
import secrets
from dataclasses import dataclass
from pathlib import Path

from gateway.mail.address import Address
from gateway.mail.tag import TAG_LENGTH, Keys, make_tag, read_tag
from gateway.records.commands import COMMANDS

ACTIONS = frozenset(command.name for command in COMMANDS)
KEY_FILE = "tag.keys"
_BOUNCE = "bounce"
_KEY_OCTETS = 32
_RECORD = re.compile(rf"([a-z][a-z0-9]{{0,23}})(?:-([a-z]+))?(?:\+([a-z2-7]{{{TAG_LENGTH}}}))?")
_RETURN_PATH = re.compile(rf"{_BOUNCE}\+(\d{{1,13}})\.([a-z2-7]{{{TAG_LENGTH}}})")
_TAG = re.compile(rf"(?:(?<=[+.])|(?<=2[Bb]))[A-Za-z2-7]{{{TAG_LENGTH}}}(?![A-Za-z0-9])")


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
class Word:
    """A local part that is none of the others: a team, an intake, reserved, or nobody's."""

    local: str


@dataclass(frozen=True, slots=True)
class Addresses:
    """Writes and reads the addresses of one domain."""

    domain: str
    keys: Keys

    def alias(self, ref: str, action: str = "", reader: int | None = None) -> Address:
        """Return a record's address; with `reader` it holds that reader's tag."""
        local = ref.lower() + (f"-{action}" if action else "")
        if reader is not None:
            local += "+" + make_tag(self.keys, f"record:{ref.lower()}", reader)
        return Address(local, self.domain)

    def return_path(self, delivery: int) -> Address:
        """Return the envelope return path of one delivery."""
        return Address(f"{_BOUNCE}+{delivery}.{make_tag(self.keys, _BOUNCE, delivery)}", self.domain)

    def word(self, local: str) -> Address:
        """Return the address of a team, an intake or a reserved word."""
        return Address(local, self.domain)

    def untagged(self, text: str) -> str:
        """Return `text` with our tagged addresses as bare aliases: a tag is its reader's alone."""
        tagged = re.compile(
            rf"(?:\+|%2[Bb]|=2[Bb])[A-Za-z2-7]{{{TAG_LENGTH}}}(?=(?:@|%40|=40){re.escape(self.domain)})"
        )
        return tagged.sub("", text)

    def owns(self, address: Address) -> bool:
        """Whether an address is in our domain."""
        return address.domain == self.domain

    def read(self, address: Address) -> RecordAddress | ReturnPath | Word | None:
        """Return what an address means, by its form and its tag alone; None if it is not ours."""
        if not self.owns(address):
            return None
        local = address.local.lower()
        if match := _RETURN_PATH.fullmatch(local):
            delivery = read_tag(self.keys, _BOUNCE, match[2])
            return ReturnPath(delivery) if str(delivery) == match[1] and delivery is not None else None
        if "+" not in local and "-" not in local:
            return RecordAddress(local.upper()) if _RECORD.fullmatch(local) else Word(local)
        if not (match := _RECORD.fullmatch(local)):
            return None if "+" in local else Word(local)
        ref, action, tag = match.groups(default="")
        if action not in ACTIONS and action:
            return None if tag else Word(local)
        if not tag:
            return RecordAddress(ref.upper(), action)
        reader = read_tag(self.keys, f"record:{ref}", tag)
        return None if reader is None else RecordAddress(ref.upper(), action, reader)


def hide_tags(text: str) -> str:
    """Return `text` with every tag in it replaced by `…`: what may stand in a log."""
    return _TAG.sub("…", text)


def load_keys(state: Path) -> Keys:
    """Read the tag keys in `state`, making the first one where there is none.

    A line is `ID HEX`; the first signs, all are accepted. Raises ValueError on a bad file.
    """
    path = state / KEY_FILE
    state.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        _write_new(path, f"0 {secrets.token_hex(_KEY_OCTETS)}\n")
    found: dict[int, bytes] = {}
    for line in path.read_text("ascii").split("\n"):
        number, _, secret = line.strip().partition(" ")
        if not line.strip() or line.startswith("#"):
            continue
        if not number.isdigit() or int(number) > 31 or len(secret) < 2 * _KEY_OCTETS:
            message = f"{path}: a line must be a number from 0 to 31 and 64 or more hexadecimal digits"
            raise ValueError(message)
        found[int(number)] = bytes.fromhex(secret)
    if not found:
        message = f"{path}: holds no key; take the file away and a new one is made"
        raise ValueError(message)
    return Keys(next(iter(found)), found)


def _write_new(path: Path, text: str) -> None:
    """Write a secret so that two programs starting at once agree on one, and nobody else reads it."""
    new = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(new, path)
    except FileExistsError:
        pass
    finally:
        new.unlink()
