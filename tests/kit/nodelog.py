"""What may never stand in a node's log: a tag, a secret of the site, a word that only those inside may read."""

import base64
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import sqlalchemy as sa

from gateway.alias import hide_tags
from gateway.keyring import KEY_FILE, read_keys
from gateway.store import tables
from gateway.store.session import Store

# No word of a log is as long: whatever stands around it, or was lost there, 25 such letters in a row are a tag.
_TAG = re.compile(r"[a-z2-7]{25}", re.IGNORECASE)
_SECRET_MIN = 12  # letters: what is shorter, in a file that only its owner reads, is no secret by itself
_LINE_MIN = 8
_FILE_MAX = 256 * 1024


def secrets_of(site: Path) -> set[str]:
    """Return what is secret in a site: what its files hold that only their owner may read, and its keys in any dress."""
    found: set[str] = set()
    for path in site.rglob("*"):
        if path.is_file() and not path.stat().st_mode & 0o077 and path.stat().st_size < _FILE_MAX:
            text = path.read_bytes().decode("utf-8", "replace")
            found |= {each for each in re.split(r"[\s:]+", text) if len(each) >= _SECRET_MIN}
    for path in site.rglob(KEY_FILE):
        for key in read_keys(path.parent):
            found |= {key.secret.hex(), repr(key.secret)[2:-1], base64.b64encode(key.secret).decode("ascii")}
    return found


def said_in(store: Store) -> set[str]:
    """Return every line of every message of a store that is long enough to be known again."""
    with store.read() as tx:
        texts = tx.execute(sa.select(tables.message.c.text)).scalars().all()
    return {line.strip() for text in texts for line in text.splitlines() if len(line.strip()) >= _LINE_MIN}


def nowhere_words(story: Path) -> set[str]:
    """Return the words that a story says no outsider ever reads."""
    files = sorted(story.glob("*-nowhere.txt"))
    return {line for path in files for line in path.read_text("utf-8").splitlines() if line}


def leaks(log: str, secrets: Iterable[str] = (), said: Iterable[str] = ()) -> Iterator[str]:
    """Yield the lines of a log that hold a tag, a secret or something that was said, each with what it holds."""
    secret, text = sorted(secrets), sorted(said)
    for line in log.splitlines():
        if _TAG.search(line) or hide_tags(line) != line:
            yield f"a tag: {line}"
        if any(each in line for each in secret):
            yield f"a secret: {line}"
        yield from (f"{each!r}, that was said: {line}" for each in text if each.lower() in line.lower())
