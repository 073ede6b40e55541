"""The users file: who may submit mail by SMTP AUTH, as scrypt hashes of their passwords.

A line is `PERSON:scrypt:N:R:P:SALT:HASH`, the last two in base64. It is read again when it changed.

*Failure:* a file that is not there lets nobody in; a line that cannot be read is nobody's.

*Standards:* RFC 7914 (scrypt), RFC 8265 §4.2 (how passwords are prepared, here by NFKC alone).
"""

import base64
import binascii
import hashlib
import hmac
import os
import secrets
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gateway.people import People

_N, _R, _P = 2**15, 8, 1  # 32 MiB and about 60 ms a try
_SALT_OCTETS = 16
_HASH_OCTETS = 32
_MEMORY = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Hash:
    n: int
    r: int
    p: int
    salt: bytes
    hash: bytes = field(repr=False)

    def is_sound(self) -> bool:
        """Whether a password can be tried against it without a fault."""
        power = self.n >= 2 and self.n & (self.n - 1) == 0
        memory = 128 * self.r * (self.n + self.p + 2)
        return power and 0 < self.r <= 32 and 0 < self.p <= 16 and memory <= _MEMORY and 32 <= len(self.hash) <= 1024

    def fits(self, password: bytes) -> bool:
        made = hashlib.scrypt(
            password, salt=self.salt, n=self.n, r=self.r, p=self.p, maxmem=_MEMORY, dklen=len(self.hash)
        )
        return hmac.compare_digest(made, self.hash)


_NOBODY = _Hash(_N, _R, _P, b"\x00" * _SALT_OCTETS, b"\x00" * _HASH_OCTETS)


class Users:
    """The users file of a site. `person` is asked in any thread."""

    def __init__(self, path: Path) -> None:
        """Read nothing yet: the file may come later."""
        self.path = path
        self._seen: tuple[int, ...] | None = None
        self._hashes: Mapping[str, _Hash] = {}

    def person(self, login: str, password: bytes, people: People) -> str:
        """Return the key of the person who logs in, or ""; it takes the same time for one nobody knows.

        `login` is a person's key or one of their addresses.
        """
        self._read_if_changed()
        found = people.by_key.get(login) or people.person(login.lower())
        known = self._hashes.get(found.key, _NOBODY) if found else _NOBODY
        fits = known.fits(_prepared(password))
        return found.key if found and fits and password and known is not _NOBODY else ""

    def _read_if_changed(self) -> None:
        try:
            state = self.path.stat()
            seen = (state.st_mtime_ns, state.st_ctime_ns, state.st_size, state.st_ino)
            if seen != self._seen:
                self._hashes = read_users(self.path)
                self._seen = seen
        except OSError:
            self._hashes, self._seen = {}, None


def read_users(path: Path) -> dict[str, _Hash]:
    """Return the hashes in a users file by person. Raises OSError; what cannot be read is left out."""
    found: dict[str, _Hash] = {}
    for line in path.read_text("utf-8", "replace").split("\n"):
        name, *fields = line.strip().split(":")
        if len(fields) != 6 or fields[0] != "scrypt" or name.startswith("#"):
            continue
        try:
            n, r, p = (int(each) for each in fields[1:4])
            salt, made = (base64.b64decode(each, validate=True) for each in fields[4:])
        except (ValueError, binascii.Error):
            continue
        read = _Hash(n, r, p, salt, made)
        if read.is_sound():
            found[name] = read
    return found


def _prepared(password: bytes) -> bytes:
    """Return a password as it is hashed: the same whether its letters were typed full or half width."""
    try:
        return unicodedata.normalize("NFKC", password.decode("utf-8")).encode("utf-8")
    except UnicodeDecodeError:
        return password


def set_user(path: Path, person: str, password: str) -> None:
    """Write a person's password into the users file, in place of the one before. An empty one fits nobody."""
    salt = secrets.token_bytes(_SALT_OCTETS)
    octets = _prepared(password.encode("utf-8"))
    made = hashlib.scrypt(octets, salt=salt, n=_N, r=_R, p=_P, maxmem=_MEMORY, dklen=_HASH_OCTETS)
    shown = ":".join(base64.b64encode(each).decode("ascii") for each in (salt, made))
    _rewrite(path, person, f"{person}:scrypt:{_N}:{_R}:{_P}:{shown}")


def remove_user(path: Path, person: str) -> bool:
    """Take a person out of the users file; False if they were not in it."""
    if not path.exists() or person not in read_users(path):
        return False
    _rewrite(path, person, "")
    return True


def _rewrite(path: Path, person: str, line: str) -> None:
    """Replace a person's line; comments and everybody else's stay. Nobody else may read the file."""
    lines = path.read_text("utf-8", "surrogateescape").split("\n") if path.exists() else []
    kept = [each for each in lines if each and each.partition(":")[0].strip() != person]
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write("".join(f"{each}\n" for each in [*kept, *filter(None, [line])]))
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
