"""`script/fuzz-mail`: mangled mails through the whole path from a kept arrival to its place in a thread.

Every seed is a real mail; its octets are flipped, its lines doubled, taken away and moved, its boundaries,
charsets and header fields mixed with another's. Each comes to an address of ours with a meaning of its own. Every
arrival must come to an end, in one state for each recipient, and by no exception.
"""

import argparse
import json
import logging
import random
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy as sa
import structlog
from structlog.testing import capture_logs

from gateway.decide import read as reading
from gateway.decide import receive
from gateway.store import arrivals, tables
from gateway.store.arrivals import Received
from gateway.worker import now_ms
from tests.kit.house import CUSTOMER, INSIDE, NOBODY, OUTSIDE, ZONE, D, House, calm_rules
from tests.kit.node import ROOT
from tests.kit.zone import Zone

CORPORA = ROOT.parent / "shared" / "corpora"
ENDS = frozenset({"posted", "done", "held", "refused", "discarded", "shunted"})
BATCH = 200
HOUSE = 5_000  # mails of one store: a thread of 100,000 posts is another test's
SLOW_S = 2.0
_WRITERS = (
    ("chia@example.com", INSIDE), ("a@example.com", INSIDE), ("wang@acme.example", CUSTOMER),
    ("stranger@x.example", OUTSIDE), ("chia@example.com", NOBODY), ("", NOBODY), (f"s00001@{D}", INSIDE),
)  # fmt: skip
_CHARSETS = (b"utf-8", b"us-ascii", b"utf-7", b"utf-16", b"big5", b"gb18030", b"iso-2022-jp", b"hz", b"x-unknown", b"idna",
             b"unicode_escape", b"rot13", b"zlib", b"undefined", b"\xff", b"")  # fmt: skip
_FIELDS = (
    b"From: a@example.com, b@example.com\r\n", b"From: =?utf-8?q?a=40example.com?= <b@x.example>\r\n", b"From:\r\n",
    b"Subject: =?utf-8?q?caf=C3=A9_=3D=3FUTF-8=3FQ=3F=3D0A=3F=3DBcc:_attacker=40evil.example?=\r\n",
    b"Subject: =?utf-16?b?2AA=?=\r\n", b"Date: Mon, 99 Foo 99999 99:99:99 +9999\r\n", b"In-Reply-To: <<>><a@b>\r\n",
    b"References: " + b"<a@b> " * 300 + b"\r\n", b"Content-Type: multipart/mixed\r\n", b"Message-ID: <>\r\n",
    b'Content-Type: multipart/mixed; boundary=""\r\n', b"Content-Type: message/rfc822\r\n", b"Auto-Submitted: auto-replied\r\n",
    b"Content-Type: multipart/report; report-type=delivery-status; boundary=x\r\n", b"DKIM-Signature: v=1; b=; d=\r\n",
    b"Content-Transfer-Encoding: base64\r\n", b"Content-Transfer-Encoding: quoted-printable\r\n", b"Received: x\r\n" * 60,
    b"Authentication-Results: mx; dkim=pass header.d=example.com\r\n", b"Content-Disposition: attachment; filename*=utf-8''%FF%00\r\n",
    b"DKIM-Signature: v=1; a=rsa-sha256; d=example.com; s=s; h=from; bh=AAAA; b=AAAA; l=-1\r\n", b"\xff\xfe: \0\r\n", b"To: :;\r\n",
)  # fmt: skip
_LINES = (
    b"/won\r\n", b"/follow discussion\r\n", b"/note\r\n", "/備註 x\r\n".encode(), b"/list\r\n", b"/help me\r\n", b"/assign nobody\r\n",
    b"> quoted\r\n", b"On x, y wrote:\r\n", b"-- \r\n", b"Status: 5.1.1\r\n", b"Final-Recipient: rfc822;wang@acme.example\r\n", b"\0\r\n",
    b"--\r\n", b"----\r\n", b"begin 644 x\r\n", b"\xff\xfe\xfd\r\n", b"<table><tr><td>\r\n" * 50, b"=\r\n", b"=ZZ\r\n", b"\r", b"\n",
    b"Action: failed\r\n", "Ａ\u202e\u200b\ud7ff\U0010ffff\r\n".encode(), b"x" * 5_000 + b"\r\n",
)  # fmt: skip
_BOUNDARY = re.compile(rb"boundary\s*=\s*\"?([^\"\s;]{1,70})", re.IGNORECASE)
_CHARSET = re.compile(rb"charset\s*=\s*\"?[^\"\s;]*\"?", re.IGNORECASE)


def seeds() -> list[bytes]:
    """Return every mail of the corpora, as a line ending in CRLF brings it."""
    found: list[bytes] = []
    for kind in ("mime", "bounce", "reply"):
        for file in sorted((CORPORA / kind).rglob("*")):
            if file.is_file() and file.name not in {"LICENSE", "expected.json"} and file.stat().st_size < 300_000:
                found.append(re.sub(rb"\r?\n", b"\r\n", file.read_bytes()))
    return found


def mangled(rng: random.Random, corpus: list[bytes]) -> bytes:
    """Return a mail of the corpus with one to six things wrong with it; now and then none."""
    octets = rng.choice(corpus)
    for _ in range(rng.choice((0, 1, 1, 2, 2, 3, 4, 6))):
        octets = rng.choice(_WAYS)(rng, octets, corpus)
    return octets[:400_000]


def _flip(rng: random.Random, octets: bytes, _corpus: list[bytes]) -> bytes:
    changed = bytearray(octets)
    for _ in range(rng.randint(1, 12) if changed else 0):
        changed[rng.randrange(len(changed))] = rng.choice((rng.randrange(256), 0, 13, 10, 0x3D, 0x3F, 0x2D, 0x80))
    return bytes(changed)


def _lines(rng: random.Random, octets: bytes, _corpus: list[bytes]) -> bytes:
    lines = octets.splitlines(keepends=True)
    for _ in range(rng.randint(1, 5)):
        if not lines:
            break
        at, other = rng.randrange(len(lines)), rng.randrange(len(lines))
        match rng.randrange(4):
            case 0:
                lines[at:at] = [lines[at]] * rng.choice((1, 2, 40))
            case 1:
                del lines[at : at + rng.randint(1, 6)]
            case 2:
                lines[at], lines[other] = lines[other], lines[at]
            case _:
                lines.insert(at, rng.choice(_LINES))
    return b"".join(lines)


def _splice(rng: random.Random, octets: bytes, corpus: list[bytes]) -> bytes:
    """Mix the header with a field of ours, or with another mail's."""
    head, gap, body = octets.partition(b"\r\n\r\n")
    fields = head.splitlines(keepends=True)
    match rng.randrange(4):
        case 0:
            fields.insert(rng.randrange(len(fields) + 1), rng.choice(_FIELDS))
        case 1:
            fields = rng.choice(corpus).partition(b"\r\n\r\n")[0].splitlines(keepends=True)
        case 2:
            fields[: rng.randrange(4)] = rng.choice(corpus).partition(b"\r\n\r\n")[0].splitlines(keepends=True)[:4]
        case _:
            return head + rng.choice((b"\r\n", b"\n\n", b"\r\r", b" \r\n\r\n", b"")) + body
    return b"".join(fields) + gap + body


def _boundary(rng: random.Random, octets: bytes, _corpus: list[bytes]) -> bytes:
    names = _BOUNDARY.findall(octets)
    name = rng.choice(names) if names else b"x"
    match rng.randrange(5):
        case 0:
            return octets.replace(b"--" + name + b"--", b"--" + name)
        case 1:
            return octets.replace(b"--" + name, b"--" + name + b"--", rng.randint(1, 2))
        case 2:
            return octets.replace(
                name, rng.choice((b"", b"--", name[:-1], name * 3, b"\xff", b"a b")), rng.randint(1, 3)
            )
        case 3:
            at = rng.randrange(len(octets) + 1)
            return octets[:at] + b"\r\n--" + name + rng.choice((b"\r\n", b"--\r\n", b" \t\r\n")) * 3 + octets[at:]
        case _:
            inner = b'Content-Type: multipart/mixed; boundary="' + name + b'"\r\n\r\n--' + name + b"\r\n"
            at = octets.find(b"\r\n\r\n") + 4
            return octets[:at] + inner * rng.choice((1, 5, 60, 120)) + octets[at:]


def _cut(rng: random.Random, octets: bytes, _corpus: list[bytes]) -> bytes:
    at = rng.randrange(len(octets) + 1)
    return rng.choice((octets[:at], octets[at:], octets[: at // 20], octets + octets[at:]))


def _charset(rng: random.Random, octets: bytes, _corpus: list[bytes]) -> bytes:
    name = rng.choice(_CHARSETS)
    if rng.random() < 0.3:
        return re.sub(rb"=\?[^?\r\n]{1,40}\?", lambda _: b"=?" + name + b"?", octets, count=rng.randint(1, 3))
    if rng.random() < 0.2:
        return octets.replace(b"\r\n\r\n", b"\r\nContent-Type: text/plain; charset=" + name + b"\r\n\r\n", 1)
    return _CHARSET.sub(lambda _: b'charset="' + name + b'"', octets, count=rng.randint(1, 3))


_WAYS: tuple[Callable[[random.Random, bytes, list[bytes]], bytes], ...] = (
    _flip, _flip, _lines, _lines, _splice, _splice, _boundary, _cut, _charset,
)  # fmt: skip


@dataclass(slots=True)
class Figures:
    mails: int = 0
    seconds: float = 0.0
    states: Counter[str] = field(default_factory=Counter)
    causes: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    unended: int = 0
    worded: int = 0
    slowest: float = 0.0
    slowest_mail: str = ""
    problems: list[str] = field(default_factory=list)

    def show(self) -> str:
        return json.dumps({
            "mails": self.mails, "a second": round(self.mails / max(self.seconds, 0.001)), "states": dict(self.states.most_common()),
            "causes": dict(self.causes.most_common(25)), "to": dict(self.kinds.most_common()), "mails of ours worded": self.worded,
            "slowest CPU s": round(self.slowest, 3), "slowest": self.slowest_mail, "problems": self.problems[:20],
        }, ensure_ascii=False)  # fmt: skip


class _Clock:
    """The CPU time that each arrival takes: to read it and to decide it."""

    def __init__(self) -> None:
        self.spent: Counter[int] = Counter()
        self.unread: dict[bytes, float] = {}
        self._real = (receive.decide, reading.parse, reading.Reader._examine)

    def __enter__(self) -> "_Clock":
        decide, parse, examine = self._real

        def timed_decide(tx, desk, read):
            began = time.thread_time()
            try:
                return decide(tx, desk, read)
            finally:
                self.spent[read.arrival.id] += time.thread_time() - began + self.unread.pop(read.arrival.content, 0.0)

        def timed_parse(octets):
            began = time.thread_time()
            try:
                return parse(octets)
            finally:
                self.unread[octets] = time.thread_time() - began

        def timed_examine(reader, arrival, mail):
            began = time.thread_time()
            try:
                return examine(reader, arrival, mail)
            finally:
                self.spent[arrival.id] += time.thread_time() - began

        receive.decide, reading.parse, reading.Reader._examine = timed_decide, timed_parse, timed_examine
        return self

    def __exit__(self, *_: object) -> None:
        receive.decide, reading.parse, reading.Reader._examine = self._real


class Run:
    """Brings mails to one house after another."""

    def __init__(self, folder: Path, seed: int, *, words: bool) -> None:
        self.folder, self.seed, self.words = folder, seed, words
        self.figures = Figures()
        self.corpus = seeds()
        self._houses = 0

    def all(self, count: int) -> Figures:
        assert len(self.corpus) > 200, f"the corpora are not at {CORPORA}"
        for first in range(0, count, HOUSE):
            self._house(range(first, min(first + HOUSE, count)))
        return self.figures

    def _house(self, numbers: range) -> None:
        self._houses += 1
        house = House(self.folder / f"site{self._houses}", Zone.read(ZONE), rules=calm_rules())
        try:
            addresses = _addresses(house)
            began = time.monotonic()
            for first in range(numbers.start, numbers.stop, BATCH):
                self._batch(house, addresses, range(first, min(first + BATCH, numbers.stop)))
            if self.words:
                self._word(house)
            self.figures.seconds += time.monotonic() - began
        finally:
            house.close()

    def _batch(self, house: House, addresses: dict[str, list[str]], numbers: range) -> None:
        received = [self._received(addresses, number) for number in numbers]
        with house.store.write() as tx:
            ids = arrivals.keep_many(tx, received)
        with _Clock() as clock:
            for _ in range(6):
                house.run()
                if not _pending(house, ids):
                    break
                house.due_now()
        number_of = dict(zip(ids, numbers, strict=True))
        for arrival, spent in clock.spent.items():
            if spent > self.figures.slowest:
                self.figures.slowest = spent
                self.figures.slowest_mail = f"number {number_of.get(arrival)} of seed {self.seed}"
            if spent > SLOW_S:
                self.figures.problems.append(f"mail {number_of.get(arrival)}: {spent:.1f} s of CPU")
        self._judge(house, number_of)

    def _received(self, addresses: dict[str, list[str]], number: int) -> Received:
        rng = random.Random(f"{self.seed}.{number}")
        octets = mangled(rng, self.corpus)
        author, peer = rng.choice(_WRITERS)
        kind = rng.choice(list(addresses))
        self.figures.kinds[kind] += 1
        if author and rng.random() < 0.6:
            octets = re.sub(rb"(?im)^from:.*(?:\r\n[ \t].*)*\r\n", b"", octets, count=1)
            octets = b"From: %s\r\nMessage-ID: <%d.%d@x>\r\n" % (author.encode(), self.seed, number) + octets
        return_path = rng.choice((author, author, author, "", "mailer-daemon@x.example"))
        return Received(
            now_ms(), rng.choice(("smtp", "lmtp")), peer, "host.example", return_path, rng.random() < 0.5,
            (rng.choice(addresses[kind]),), octets,
        )  # fmt: skip

    def _judge(self, house: House, number_of: dict[int, int]) -> None:
        table = tables.arrival_recipient
        query = sa.select(table).where(table.c.arrival_id.in_(list(number_of)))
        with house.store.read() as tx:
            rows = list(tx.execute(query))
        self.figures.mails += len(number_of)
        self.figures.states.update(row.state for row in rows)
        self.figures.causes.update(f"{row.state}: {row.cause}" for row in rows)
        for row in rows:
            number = number_of[row.arrival_id]
            if row.state not in ENDS:
                self.figures.unended += 1
                self.figures.problems.append(f"mail {number} to {row.address}: {row.state}")
            if row.state == "shunted":
                self.figures.problems.append(f"mail {number} to {row.address}: shunted: {row.reason}")
        if len({row.arrival_id for row in rows}) != len(number_of):
            self.figures.problems.append("an arrival is lost")

    def _word(self, house: House) -> None:
        """Word what waits, all of it: what we send must be whole again."""
        for each in house.sent():
            self.figures.worded += 1
            if any(part.defects for part in each.mail.walk()) or each["From"] == "" or "Bcc" in each.mail:
                self.figures.problems.append(f"a mail of ours to {each.to} is broken: {each['Subject']}")
        with house.store.read() as tx:
            if shunted := list(tx.execute(sa.select(tables.notice).where(tables.notice.c.state == "shunted"))):
                self.figures.problems.append(f"{len(shunted)} notices were shunted: {shunted[0]}"[:400])


def _addresses(house: House) -> dict[str, list[str]]:
    """Return, by kind, addresses of ours that mean something."""
    ref = house.quotation()
    house.follow(ref, "customer")
    house.write("wang@acme.example", f"{ref.lower()}@{D}", "hello")
    for n in range(3):
        house.write("stranger@x.example", f"{ref.lower()}@{D}", f"may I? {n}")
    house.sent()
    with house.store.read() as tx:
        deliveries = list(tx.execute(sa.select(tables.delivery.c.id)).scalars())
    assert deliveries
    assert house.held()
    return {
        "record": [f"{ref.lower()}@{D}"],
        "note": [f"{ref.lower()}-note@{D}"],
        "tagged": [house.tagged(ref, who) for who in ("customer", "person:chia", "person:a")],
        "command": [f"{ref.lower()}-follow@{D}", f"{ref.lower()}-won@{D}", house.tagged(ref, "customer", "accept")],
        "intake": [f"{word}@{D}" for word in ("quotations", "leads", "invoices")],
        "team": [f"sales@{D}"],
        "return path": [str(house.addresses.return_path(each)) for each in deliveries],
        "held": [
            str(house.addresses.held(action, each.id))
            for each in house.held()
            for action in ("release", "drop", "block")
        ],
        "reserved": [f"{word}@{D}" for word in ("postmaster", "abuse", "gateway")],
        "nowhere": [f"nobody@{D}"],
    }


def _pending(house: House, ids: list[int]) -> bool:
    table = tables.arrival
    with house.store.read() as tx:
        query = sa.select(table.c.id).where(table.c.id.in_(ids), table.c.state == "pending").limit(1)
        return tx.execute(query).first() is not None


def run(folder: Path, count: int, seed: int, *, words: bool = False) -> Figures:
    """Bring `count` mangled mails to houses in this process; return what came of it."""
    logging.getLogger().setLevel(logging.CRITICAL)
    faults: Counter[str] = Counter()
    with capture_logs() as told:
        made = Run(folder, seed, words=words)
        try:
            made.all(count)
        finally:
            structlog.reset_defaults()
    for each in told:
        if each["event"] in {"fault", "failed"} or each.get("log_level") in {"error", "critical"}:
            faults[str({key: value for key, value in each.items() if key not in {"row", "arrival"}})[:300]] += 1
    made.figures.problems += [f"{times} × {said}" for said, times in faults.most_common(20)]
    return made.figures


def main() -> None:
    parser = argparse.ArgumentParser(prog="script/fuzz-mail", description=__doc__)
    parser.add_argument("--mails", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--words", action="store_true", help="word what we send of it, too")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = run(Path(folder), given.mails, given.seed, words=given.words)
    sys.stdout.write(figures.show() + "\n")
    sys.exit(1 if figures.problems else 0)


if __name__ == "__main__":
    main()
