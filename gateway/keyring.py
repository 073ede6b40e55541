"""The keys of tags, in a file of `state`: the newest signs, those before it are accepted for a while.

A line is `ID HEX`, and the day it was retired where it was: `1 9f… 2026-11-24`. The first line signs.

*Failure:* a file that cannot be read whole raises ValueError with the mend; no key is ever made in
its place, for that would make every address that is out there nobody's.
"""

import os
import secrets
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from gateway.mail.tag import Keys

KEY_FILE = "tag.keys"
KEPT_DAYS = 180  # that a retired key is still accepted
_KEY_OCTETS = 32
_IDS = 32


@dataclass(frozen=True, slots=True)
class TagKey:
    """A key: its id (0 to 31), its octets, and when it was retired, if it was."""

    id: int
    secret: bytes = field(repr=False)
    retired: date | None = None


def load_keys(state: Path, today: date | None = None) -> Keys:
    """Return the keys in force, making the first one where there is none. Raises ValueError on a bad file."""
    path = state / KEY_FILE
    state.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        _write(path, [TagKey(0, secrets.token_bytes(_KEY_OCTETS))], new=True)
    found = read_keys(state)
    oldest = (today or datetime.now(UTC).date()) - timedelta(days=KEPT_DAYS)
    kept = {each.id: each.secret for each in found if each.retired is None or each.retired >= oldest}
    return Keys(found[0].id, {found[0].id: found[0].secret, **kept})


def read_keys(state: Path) -> list[TagKey]:
    """Return every key in the file, the one that signs first. Raises ValueError on a bad file."""
    path = state / KEY_FILE
    found: list[TagKey] = []
    for line in path.read_text("ascii").split("\n"):
        if line.strip() and not line.startswith("#"):
            found.append(_read_line(path, line))
    if not found:
        message = f"{path}: holds no key; take the file away and a new one is made"
        raise ValueError(message)
    return found


def _read_line(path: Path, line: str) -> TagKey:
    number, secret, *more = line.split()[:3] if len(line.split()) > 1 else (line, "")
    try:
        retired = date.fromisoformat(more[0]) if more else None
        octets = bytes.fromhex(secret)
    except ValueError:
        octets, retired = b"", None
    if not number.isdigit() or int(number) >= _IDS or len(octets) < _KEY_OCTETS:
        message = f"{path}: a line must be a number from 0 to 31 and 64 or more hexadecimal digits"
        raise ValueError(message)
    return TagKey(int(number), octets, retired)


def rotate(state: Path, today: date) -> TagKey:
    """Put a new key in front, which signs from now on, and retire the one that did. Raises ValueError."""
    load_keys(state)
    before = read_keys(state)
    oldest = today - timedelta(days=KEPT_DAYS)
    kept = [TagKey(each.id, each.secret, each.retired or today) for each in before]
    kept = [each for each in kept if each.retired is not None and each.retired >= oldest][: _IDS - 1]
    taken = {each.id for each in kept}
    number = next(n % _IDS for n in range(before[0].id + 1, before[0].id + 1 + _IDS) if n % _IDS not in taken)
    new = TagKey(number, secrets.token_bytes(_KEY_OCTETS))
    _write(state / KEY_FILE, [new, *kept], new=False)
    return new


def _write(path: Path, keys: list[TagKey], *, new: bool) -> None:
    """Write a secret so that two programs starting at once agree on one, and nobody else reads it."""
    text = "".join(f"{each.id} {each.secret.hex()}{f' {each.retired}' if each.retired else ''}\n" for each in keys)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    try:
        if new:
            os.link(temporary, path)
            temporary.unlink()
        else:
            temporary.replace(path)
    except FileExistsError:
        temporary.unlink()
