"""`script/flood`: who holds connections without a word, however many, keeps out nobody with a mail to bring.

A real node gets idle, hasty and dripping connections from a process of its own, all on loopback, while
honest mail comes at a steady rate from 127.0.0.1. It ends by itself.
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import multiprocessing
import resource
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import uvloop

from tests.kit.client import stuffed
from tests.kit.node import Node, peak_memory_mib, replygate, write_site

TO = "s00001@sales.example.com"
TRIES = 5
PAUSE_S = 0.5  # before an honest client comes again


@dataclass(frozen=True, slots=True)
class Plan:
    seconds: float = 60.0
    idle: int = 2_000
    connects: int = 500  # a second
    drips: int = 200
    mails: int = 50  # a second
    many: bool = False  # from many addresses, not from 127.0.0.1 alone


@dataclass(slots=True)
class Figures:
    plan: Plan
    mails: int = 0
    at_once: int = 0  # accepted at the first try
    accepted: int = 0
    seconds: list[float] = field(default_factory=list)  # from the first connect to 250, with every new try
    refused: list[str] = field(default_factory=list)
    connected: int = 0
    turned_away: int = 0
    fds: tuple[int, int, int] = (0, 0, 0)  # before, at most, after
    rss: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def quantile(self, share: float) -> float:
        return sorted(self.seconds)[min(len(self.seconds) - 1, int(len(self.seconds) * share))] if self.seconds else 0.0

    def show(self) -> str:
        found = {
            **asdict(self.plan), "mails": self.mails, "accepted": self.accepted, "at the first try": self.at_once,
            "p50 s": round(self.quantile(0.5), 3), "p99 s": round(self.quantile(0.99), 3),
            "most s": round(max(self.seconds, default=0.0), 3), "mean s": round(statistics.fmean(self.seconds or [0]), 3),
            "flood connections": self.connected, "turned away": self.turned_away, "sockets before/most/after": self.fds,
            "RSS MiB before/most/after": [round(each, 1) for each in self.rss], "answers": sorted(set(self.refused))[:5],
        }  # fmt: skip
        return json.dumps(found, ensure_ascii=False)


# -- those who flood


class _Guest(asyncio.Protocol):
    """A connection that waits until it is closed."""

    def __init__(self, flood: "_Flood") -> None:
        self.flood = flood

    def connection_made(self, transport) -> None:
        self.transport = transport
        self.flood.connected += 1
        self.flood.open.add(self)

    def data_received(self, data: bytes) -> None:
        if data.startswith(b"421"):
            self.flood.turned_away += 1

    def connection_lost(self, _error) -> None:
        self.flood.open.discard(self)


class _Flood:
    def __init__(self, port: int, plan: Plan) -> None:
        self.port, self.plan = port, plan
        self.open: set[_Guest] = set()
        self.connected = self.turned_away = 0
        self.sources = itertools.cycle([f"127.0.{a}.{b}" for b in range(1, 101) for a in range(1, 6)])

    def source(self) -> str:
        return next(self.sources) if self.plan.many else "127.0.0.1"

    async def connect(self) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):
            await loop.create_connection(lambda: _Guest(self), "127.0.0.1", self.port, local_addr=(self.source(), 0))

    async def hasty(self) -> None:
        """Connect at a steady rate; the oldest beyond the idle ones hang up."""
        tasks: set[asyncio.Task[None]] = set()
        began = time.monotonic()
        for n in itertools.count(1):
            task = asyncio.create_task(self.connect())
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            if len(self.open) > self.plan.idle:
                next(iter(self.open)).transport.close()
            await asyncio.sleep(max(0.0, began + n / self.plan.connects - time.monotonic()))

    async def drip(self) -> None:
        """Send a mail an octet at a time, over and over."""
        while True:
            with contextlib.suppress(OSError, EOFError):
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port, local_addr=(self.source(), 0))
                await reader.readline()
                for line in ("EHLO drip", "MAIL FROM:<drip@example.com>", f"RCPT TO:<{TO}>", "DATA"):
                    writer.write(line.encode() + b"\r\n")
                    while (await reader.readline())[3:4] == b"-":
                        pass
                while not reader.at_eof():
                    writer.write(b"x")
                    await writer.drain()
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(reader.read(100), 0.5)
                writer.close()
            await asyncio.sleep(0.5)  # a rate, as in `hasty`: how soon a dripping peer is back; nothing waits for it


def _flood(port: int, plan: Plan, tells) -> None:
    _raise_limit()

    async def run() -> None:
        flood = _Flood(port, plan)
        for start in range(0, plan.idle, 50):
            await asyncio.gather(*(flood.connect() for _ in range(start, min(start + 50, plan.idle))))
        tells.send("flooding")
        tasks = [asyncio.create_task(flood.hasty()), *(asyncio.create_task(flood.drip()) for _ in range(plan.drips))]
        await asyncio.sleep(plan.seconds)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        tells.send((flood.connected, flood.turned_away))

    uvloop.run(run())


# -- those who bring mail


async def _dialogue(port: int, n: int) -> str:
    """Bring a mail as a real client does; return the answer that decided."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def answer() -> str:
        while (line := await reader.readline())[3:4] == b"-":
            pass
        return line.decode("utf-8", "replace").rstrip()

    content = f"From: a@example.com\r\nTo: {TO}\r\nSubject: Re: honest\r\nMessage-ID: <honest.{n}@example.com>\r\n\r\nMail {n}\r\n"
    try:
        said = await answer()
        for line in ("EHLO honest", "MAIL FROM:<a@example.com>", f"RCPT TO:<{TO}>", "DATA"):
            if said[:1] not in {"2", "3"}:
                return said
            writer.write(line.encode() + b"\r\n")
            said = await answer()
        if said.startswith("354"):
            writer.write(stuffed(content.encode()))
            said = await answer()
        return said
    finally:
        writer.close()


async def _bring(port: int, n: int, figures: Figures) -> None:
    began = time.monotonic()
    for attempt in range(TRIES):
        try:
            said = await asyncio.wait_for(_dialogue(port, n), 30)
        except (OSError, TimeoutError) as error:
            said = type(error).__name__
        if said.startswith("250"):
            figures.accepted += 1
            figures.at_once += attempt == 0
            figures.seconds.append(time.monotonic() - began)
            return
        figures.refused.append(said[:40])
        await asyncio.sleep(PAUSE_S)


async def _honest(node: Node, port: int, figures: Figures) -> None:
    plan, began, tasks = figures.plan, time.monotonic(), []
    before = figures.fds[0]
    while (now := time.monotonic() - began) < plan.seconds:
        if len(tasks) % plan.mails == 0:
            figures.fds = (before, max(figures.fds[1], _fds(node.pid)), 0)
        tasks.append(asyncio.create_task(_bring(port, len(tasks), figures)))
        await asyncio.sleep(max(0.0, len(tasks) / plan.mails - now))
    await asyncio.gather(*tasks)
    figures.mails = len(tasks)


# -- all of it


def run(folder: Path, plan: Plan) -> Figures:
    """Flood a node; return what came of it."""
    _raise_limit()
    site = write_site(folder / "site")
    replygate(site, "announce", stdin=json.dumps({"event": "quotation.created", "title": "flood", "team": "sales"}))
    figures = Figures(plan)
    told, tells = multiprocessing.get_context("spawn").Pipe(duplex=False)
    with Node(site, log="error", alone=True) as node:
        node.quiet()
        asyncio.run(_bring(node.ports["smtp"], -1, Figures(plan)))  # what is opened once is open
        figures.fds, rss = (_fds(node.pid), 0, 0), _rss(node.pid)
        process = multiprocessing.get_context("spawn").Process(target=_flood, args=(node.ports["smtp"], plan, tells))
        process.start()
        _next(told)
        asyncio.run(_honest(node, node.ports["smtp"], figures))
        figures.connected, figures.turned_away = _next(told)
        process.join(30)
        until = time.monotonic() + 30
        while _fds(node.pid) > figures.fds[0] and time.monotonic() < until:
            time.sleep(0.05)  # polls
        figures.fds = (*figures.fds[:2], _fds(node.pid))
        figures.rss = (rss, peak_memory_mib(node.pid), _rss(node.pid))
    return figures


def _next(told):
    if not told.poll(60):
        raise TimeoutError("the flood says nothing")
    return told.recv()


def _fds(pid: int) -> int:
    """Return how many sockets a process has open; the files of its store come and go with its threads."""
    found = 0
    for each in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            found += str(each.readlink()).startswith("socket:")
    return found


def _rss(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0


def _raise_limit() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def main() -> None:
    parser = argparse.ArgumentParser(prog="script/flood", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--idle", type=int, default=2_000)
    parser.add_argument("--connects", type=int, default=500, help="a second")
    parser.add_argument("--drips", type=int, default=200)
    parser.add_argument("--mails", type=int, default=50, help="honest ones a second")
    parser.add_argument("--from", dest="sources", choices=["one", "many", "both"], default="both")
    given = parser.parse_args()
    good = True
    for many in {"one": [False], "many": [True], "both": [False, True]}[given.sources]:
        with tempfile.TemporaryDirectory() as folder:
            plan = Plan(given.seconds, given.idle, given.connects, given.drips, given.mails, many)
            figures = run(Path(folder), plan)
        sys.stdout.write(figures.show() + "\n")
        good = good and figures.accepted == figures.mails and figures.quantile(0.99) < 2.0
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
