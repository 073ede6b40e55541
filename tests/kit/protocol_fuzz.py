"""`script/fuzz-smtp`: mangled SMTP and LMTP, session after session, several at once, against real doors.

A session is grammar (commands a client may say, in an order it may not) and mutation (octets cut, doubled,
flipped). Every reply must be a reply, nothing may hang, and nothing is kept but what a session brought by
MAIL, RCPT and DATA, in this order, and never twice.
"""

import argparse
import asyncio
import contextlib
import json
import logging
import random
import re
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy as sa
import uvloop
from structlog.testing import capture_logs

from gateway import site
from gateway.arrive.accept import Acceptor
from gateway.arrive.crowd import Shared
from gateway.arrive.doors import Doors
from gateway.arrive.smtp import Settings
from gateway.node import make_addresses
from gateway.records.record import Record
from gateway.store import content, records
from gateway.store.tables import arrival
from gateway.worker import Traffic
from tests.kit.node import write_site
from tests.kit.stores import new_store

REPLY = re.compile(rb"^[2345]\d\d[ -]")
HANGS_S = 2.0
OURS = "s00001@sales.example.com"
_MARK = re.compile(rb"X-Fuzz: (\d+)\.(\d+)\r\n")
_LINES = [
    b"EHLO x", b"HELO x", b"LHLO x", b"NOOP", b"NOOP x", b"RSET", b"VRFY x", b"EXPN x", b"HELP", b"HELP MAIL", b"ETRN x",
    b"STARTTLS", b"AUTH PLAIN AGEAYg==", b"AUTH LOGIN", b"*", b"BDAT 10 LAST", b"DATA x", b"", b"QUIT", b"TURN", b"GET / HTTP/1.1",
    b"MAIL FROM:<>", b"MAIL FROM:<a@example.com> SIZE=99999999999", b"MAIL FROM:<a@example.com> BODY=8BITMIME", b"MAIL",
    b"MAIL FROM:<a@example.com> SMTPUTF8", b"MAIL FROM:a@example.com", b"MAIL FROM:<@a,@b:c@d.example>", b'MAIL FROM:<"a b"@c.d>',
    b"RCPT TO:<>", b"RCPT TO:<x@elsewhere.example>", b"RCPT TO:<s09999@sales.example.com>", b"RCPT TO:<postmaster>", b"RCPT",
    b"RCPT TO:<s00001+aaaaaaaaaaaaaaaaaaaaaaaaaa@sales.example.com>", b"MAIL FROM:<a@example.com> SIZE=", b"\xff\xfe", b"x" * 3_000,
]  # fmt: skip
_PIECES = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b".",
    b"\r\n.\r\n",
    b"\n.\n",
    b"<",
    b">",
    b":",
    b" ",
    b"\xff",
    b"A" * 3_000,
    b"%s%n",
]
_BODIES = [
    b"text\r\n",
    b"..\r\n",
    b"a\n.\nb\r\n",
    b"a\r.\rb\r\n",
    b"\0\xff\r\n",
    b"x" * 5_000 + b"\r\n",
    b"",
    b"\n.\r\n",
    b"z" * 70_000 + b"\r\n",
]


@dataclass(slots=True)
class Figures:
    sessions: int = 0
    replies: Counter[str] = field(default_factory=Counter)
    kept: int = 0
    promised: int = 0
    seconds: float = 0.0
    lags: list[float] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def lag(self, share: float) -> float:
        return sorted(self.lags)[int((len(self.lags) - 1) * share)] if self.lags else 0.0

    def show(self) -> str:
        return json.dumps({
            "sessions": self.sessions, "a second": round(self.sessions / self.seconds), "kept": self.kept,
            "said yes to": self.promised, "loop lag p99.9 ms": round(self.lag(0.999) * 1000, 1),
            "most ms": round(self.lag(1.0) * 1000, 1), "replies": dict(self.replies.most_common()),
            "problems": self.problems[:20],
        })  # fmt: skip


def _mail(rng: random.Random, number: int, part: int, *, lmtp: bool) -> list[bytes]:
    """Return a whole mail, of which a step may be missing or in the wrong place."""
    hello = b"LHLO x" if lmtp else b"EHLO x"
    body = b"X-Fuzz: %d.%d\r\n\r\n" % (number, part) + rng.choice(_BODIES) + b".\r\n"
    lines = [
        hello,
        b"MAIL FROM:<a@example.com>",
        *[b"RCPT TO:<" + OURS.encode() + b">"] * rng.choice([1, 1, 1, 2, 0]),
        b"DATA",
    ]
    steps = [line + b"\r\n" for line in lines]
    for _ in range(rng.choice([0, 0, 0, 1, 2])):
        at = rng.randrange(len(steps))
        match rng.randrange(3):
            case 0:
                del steps[at]
            case 1:
                steps.insert(at, rng.choice(_LINES) + b"\r\n")
            case _:
                other = rng.randrange(len(steps))
                steps[at], steps[other] = steps[other], steps[at]
        if not steps:
            break
    return [*steps, body]


def script(rng: random.Random, number: int, *, lmtp: bool) -> list[bytes]:
    """Return the octets of one session, in the pieces in which they are sent."""
    steps: list[bytes] = []
    for part in range(rng.randint(1, 4)):
        if rng.random() < 0.6:
            steps += _mail(rng, number, part, lmtp=lmtp)
        else:
            steps += [
                rng.choice(_LINES) + rng.choice([b"\r\n"] * 8 + [b"\n", b"\r", b""]) for _ in range(rng.randint(1, 8))
            ]
    if rng.random() < 0.5:
        steps = [_mutated(rng, step) if rng.random() < 0.3 else step for step in steps]
    if rng.random() < 0.3:
        return [b"".join(steps)]
    return steps


def _mutated(rng: random.Random, octets: bytes) -> bytes:
    changed = bytearray(octets)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(changed) + 1)
        match rng.randrange(4):
            case 0:
                changed[at:at] = rng.choice(_PIECES)
            case 1:
                del changed[at : at + rng.randint(1, 5)]
            case 2 if changed:
                changed[at % len(changed)] ^= 1 << rng.randrange(8)
            case _:
                changed[at:at] = changed[:at][-20:]
    return bytes(changed)


class House:
    """The doors of a site of its own, in this process."""

    def __init__(self, folder: Path) -> None:
        self.site = site.load(write_site(folder) / "gateway.yaml")
        self.store = new_store(folder, "var/gateway.db")
        with self.store.write() as tx:
            records.create(tx, Record(0, "quotation", "S00001", "20 chairs", "draft", "sales", ("sales",)), 1)
        addresses = make_addresses(self.site.settings)
        self.doors = Doors(
            Shared(Acceptor(self.store, self.site, addresses, Traffic(), lambda: None), "sales.example.com")
        )

    async def open(self) -> dict[bool, int]:
        ports = {}
        for lmtp in (False, True):
            at = await self.doors.open(Settings("lmtp" if lmtp else "smtp", 100_000), "127.0.0.1", 0)
            ports[lmtp] = int(at.rpartition(":")[2])
        return ports

    def kept(self) -> Counter[bytes]:
        """Return the marks of what was kept; what has none is told by its first octets."""
        with self.store.read() as tx:
            found = [content.load(tx, digest) for digest in tx.execute(sa.select(arrival.c.content)).scalars()]
        marks = (_MARK.match(each) for each in found)
        return Counter(mark[0] if mark else each[:40] for mark, each in zip(marks, found, strict=True))


async def _speak(port: int, pieces: list[bytes], rng: random.Random) -> bytes:
    """Say a session's octets; return all that was answered."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    said = b""
    with contextlib.suppress(ConnectionError, RuntimeError):  # uvloop's word for a closed connection
        said += await reader.readline()
        for piece in pieces:
            writer.write(piece)
            if rng.random() < 0.3:
                with contextlib.suppress(TimeoutError):
                    said += await asyncio.wait_for(reader.read(65_536), 0.002)
        await writer.drain()
        if rng.random() < 0.9:
            writer.write(b"\r\n.\r\nQUIT\r\nQUIT\r\n")  # ends a DATA, whatever went before
        else:
            writer.write_eof()
        while piece := await reader.read(65_536):
            said += piece
    writer.close()
    return said


async def _one(number: int, seed: int, ports: dict[bool, int], figures: Figures) -> None:
    rng = random.Random(f"{seed}.{number}")
    lmtp = rng.random() < 0.4
    pieces = script(rng, number, lmtp=lmtp)
    try:
        async with asyncio.timeout(HANGS_S + sum(map(len, pieces)) / 100_000):
            said = await _speak(ports[lmtp], pieces, rng)
    except TimeoutError:
        figures.problems.append(f"session {number} hangs: {pieces!r:.300}")
        return
    lines = said.split(b"\r\n")
    for line in lines[:-1]:
        figures.replies[line[:3].decode("latin-1")] += 1
        if not REPLY.match(line):
            figures.problems.append(f"session {number}: no reply: {line!r:.100}")
    figures.sessions += 1
    yes = _mails(lines)
    if yes is None:
        figures.problems.append(f"session {number}: answers in an order that cannot be: {lines!r:.300}")
    figures.promised += yes or 0


def _mails(replies: list[bytes]) -> int | None:
    """Return how many mails were said yes to; None when one was without MAIL, RCPT and DATA before it."""
    mail = data = False
    recipients = answers = yes = 0
    for reply in replies:
        if reply.startswith(b"250 2.1.0"):
            mail, recipients = True, 0
        elif reply.startswith(b"250 2.1.5"):
            recipients += 1
            if not mail:
                return None
        elif reply.startswith(b"354"):
            data, answers = True, 0
            if not mail or not recipients:
                return None
        elif reply.startswith(b"250 2.0.0 kept"):
            if not data:
                return None
            answers += 1
            yes += answers == 1  # LMTP answers for each recipient
            mail = False
        else:
            data = False
    return yes


async def _measure(figures: Figures) -> None:
    """Note how much later than asked the loop comes back; the client's own work is in it."""
    while True:
        asked = time.monotonic()
        await asyncio.sleep(0.005)
        figures.lags.append(time.monotonic() - asked - 0.005)


def _judge(kept: Counter[bytes], figures: Figures) -> None:
    figures.kept = sum(kept.values())
    if figures.kept < figures.promised:
        figures.problems.append(f"{figures.promised} mails were said yes to, {figures.kept} kept")
    figures.problems += [
        f"kept {count} times: {mark!r}" for mark, count in kept.items() if count > 1 and _MARK.match(mark)
    ]


async def _run(house: House, figures: Figures, count: int, seed: int, at_once: int) -> None:
    ports = await house.open()
    numbers = iter(range(count))
    measuring = asyncio.create_task(_measure(figures))

    async def worker() -> None:
        for number in numbers:
            await _one(number, seed, ports, figures)

    await asyncio.gather(*(worker() for _ in range(at_once)))
    measuring.cancel()
    await house.doors.close()
    deadline = time.monotonic() + 10
    while house.doors.shared.sessions and time.monotonic() < deadline:  # noqa: ASYNC110 (polls)
        await asyncio.sleep(0.01)
    if house.doors.shared.sessions or house.doors.shared.in_flight:
        figures.problems.append(
            f"{len(house.doors.shared.sessions)} sessions, {house.doors.shared.in_flight} octets are left"
        )


def run(folder: Path, count: int, seed: int, at_once: int = 16) -> Figures:
    """Speak `count` sessions to doors in this process; return what came of it."""
    logging.getLogger("mail.log").setLevel(logging.ERROR)
    figures = Figures()
    house = House(folder / "site")
    began = time.monotonic()
    with capture_logs() as told:
        uvloop.run(_run(house, figures, count, seed, at_once))
    figures.seconds = time.monotonic() - began
    figures.problems += [f"fault: {each}" for each in told if each["event"] in {"fault", "away"}]
    _judge(house.kept(), figures)
    house.store.close()
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(prog="script/fuzz-smtp", description=__doc__)
    parser.add_argument("--sessions", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--at-once", type=int, default=16)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = run(Path(folder), given.sessions, given.seed, given.at_once)
    sys.stdout.write(figures.show() + "\n")
    sys.exit(1 if figures.problems else 0)


if __name__ == "__main__":
    main()
