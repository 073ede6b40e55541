"""Replies as mail programs write them: their author's own first lines command, nothing else in them does.

`replies/NN-name.eml` is a mail to S00001 by one of our people or the customer; the `.yaml` beside it says the program
(`client`), the commands it must be taken to give (`takes`, in their order, with their words), and what must be posted
(`posts`, exactly; null where nothing is), perhaps `as` a note. `why` explains what looks odd.
"""

import re
from email.utils import formatdate
from pathlib import Path

import pytest
import sqlalchemy as sa
import yaml

from gateway.mail.parse import parse
from gateway.store import tables
from tests.decide.conftest import acme
from tests.kit.house import HOSTS, D

FOLDER = Path(__file__).parent / "replies"
MAILS = sorted(FOLDER.glob("*.eml"))
SPOKEN = ("discussion", "note")


def expected(path: Path) -> tuple[list[str], list[tuple[str, str]]]:
    """Return the commands a mail must be taken to give, and what must be posted, with its subtype."""
    given = yaml.load(path.with_suffix(".yaml").read_text("utf-8"), yaml.CSafeLoader)
    assert given.keys() <= {"client", "takes", "posts", "as", "why"}
    posts = [] if given["posts"] is None else [(given.get("as", "discussion"), given["posts"])]
    return given["takes"], posts


def taken(house) -> list[str]:
    """Return the commands that were carried out, with their words, as their author was told of them."""
    with house.store.read() as tx:
        told = [row.data for row in tx.execute(sa.select(tables.notice).order_by(tables.notice.c.id))]
    done = [" ".join(filter(None, each)) for data in told for each in data.get("done", ())]
    wrong = [f"mistake: {data['given']}" for data in told if data.get("what") == "mistake"]
    return done + [name for data in told for name in data.get("asked", ())] + wrong


def brought(house, path: Path) -> tuple[list[str], list[tuple[str, str]]]:
    """Bring a mail all the way, as if it were written now; return the commands taken, and what was posted."""
    octets = path.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    octets = re.sub(rb"^Date: [^\r]*", b"Date: " + formatdate().encode(), octets, count=1, flags=re.MULTILINE)
    mail = parse(octets)
    assert mail.author is not None
    domain, key = mail.author.address.domain, mail.author.address.key
    state, cause = house.take(octets, f"s00001@{D}", peer=HOSTS[domain], return_path=key)
    assert state in {"posted", "done"} or cause == "second yes", (state, cause)
    commands = taken(house)
    audited = [what for _, what, _ in house.audited()]
    assert [each for each in audited if each not in {word.split()[0] for word in commands}] == []
    return commands, [(row.subtype, row.text) for row in house.messages()[1:] if row.subtype in SPOKEN]


@pytest.fixture
def house(tmp_path):
    made = acme(tmp_path / "site")
    yield made
    made.close()


def test_there_are_sixty_replies_each_with_what_must_become_of_it():
    assert len(MAILS) >= 60
    assert [path.stem for path in MAILS] == sorted(path.stem for path in FOLDER.glob("*.yaml"))


@pytest.mark.parametrize("path", MAILS, ids=lambda path: path.stem)
def test_a_reply_commands_and_says_what_its_author_wrote(house, path):
    assert brought(house, path) == expected(path)
