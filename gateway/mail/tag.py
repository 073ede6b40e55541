"""The tag in an address: a keyed signature that only we can make and that needs no look-up.

25 characters of base32, lower case: 1 of key id, 8 of number (40 bits), 16 of MAC (80 bits).

*Standards:* RFC 4648 §6 (base32), RFC 2104 with SHA-256 (HMAC), truncated to 80 bits.
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field

TAG_LENGTH = 25
NUMBER_MAX = 2**40 - 1
_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"
_VALUE = {char: value for value, char in enumerate(_ALPHABET)}
_NUMBER_CHARS = 8
_MAC_CHARS = 16


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys in force: `current` signs, every one of them is accepted. Ids are 0 to 31."""

    current: int
    secrets: Mapping[int, bytes] = field(repr=False)


def make_tag(keys: Keys, subject: str, number: int) -> str:
    """Return the tag over `subject` (what it speaks of) and `number` (whose it is, under 2**40)."""
    mac = _mac(keys.secrets[keys.current], subject, number)
    return _ALPHABET[keys.current] + _encode(number, _NUMBER_CHARS) + _encode(mac, _MAC_CHARS)


def read_tag(keys: Keys, subject: str, tag: str) -> int | None:
    """Return the number `tag` holds if one of our keys made it over `subject`, else None.

    Case does not matter. The comparison takes the same time whatever the tag holds.
    """
    values = [_VALUE.get(char) for char in (tag.lower() if tag.isascii() else "")]
    if len(values) != TAG_LENGTH or None in values:
        return None
    digits = [value for value in values if value is not None]
    number = _decode(digits[1 : 1 + _NUMBER_CHARS])
    secret = keys.secrets.get(digits[0], b"")
    same = hmac.compare_digest(
        _mac(secret, subject, number).to_bytes(10), _decode(digits[1 + _NUMBER_CHARS :]).to_bytes(10)
    )
    return number if same and secret else None


def _mac(secret: bytes, subject: str, number: int) -> int:
    signed = subject.lower().encode() + b"\x00" + number.to_bytes(5)
    return int.from_bytes(hmac.digest(secret, signed, hashlib.sha256)[:10])


def _encode(number: int, length: int) -> str:
    return "".join(_ALPHABET[number >> 5 * place & 31] for place in reversed(range(length)))


def _decode(digits: list[int]) -> int:
    number = 0
    for digit in digits:
        number = number << 5 | digit
    return number
