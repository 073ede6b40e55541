"""`script/bench`: figures of a real node on loopback, each beside something to compare it with.

Everything runs on this machine: the client, the node and the sink are three processes.
"""

import argparse
import asyncio
import json
import multiprocessing
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import uvloop
from aiosmtpd.smtp import SMTP

from tests.kit import bench_mailboxes
from tests.kit.client import load, stuffed
from tests.kit.node import ENVIRONMENT, ROOT, Node, peak_memory_mib, replygate, write_site

BODY = b"".join(b"Line %04d of a mail that is about as long as people write them.\r\n" % n for n in range(60))


class _Bare:
    async def handle_DATA(self, _server, _session, _envelope):  # noqa: N802 (aiosmtpd's name)
        return "250 ok"


def _serve_bare(port) -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            lambda: SMTP(_Bare(), hostname="bare", ident="bare", loop=loop), "127.0.0.1", 0
        )
        port.put(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    uvloop.run(run())


def people(count: int) -> str:
    entries = [
        f"  p{n}: {{name: Person {n}, email: p{n}@example.com, language: {'zh-TW' if n % 2 else 'en'}}}"
        for n in range(count)
    ]
    return "people:\n" + "\n".join(entries) + "\n"


def rules(followers: int) -> str:
    members = ", ".join(f"p{n}" for n in range(followers + 1))
    return (
        f"teams:\n  sales: {{name: Sales, members: [{members}]}}\n"
        "follow:\n  - {team: sales, who: group:sales, subtypes: [discussion]}\n"
    )


def settings(sink: int, domain: str = "bench.example") -> str:
    return (
        f"site: {{domain: {domain}, name: Bench, language: en, timezone: UTC}}\n"
        'smtp: {listen: "127.0.0.1:0", trusted_networks: ["127.0.0.0/8"]}\n'
        f"next_hop: {{url: 'smtp://127.0.0.1:{sink}'}}\n"
    )


def reply(n: int, record: str, author: str = "p0@example.com") -> tuple[str, list[str], bytes]:
    content = (
        (
            f"From: {author}\r\nTo: {record}@bench.example\r\nSubject: Re: [{record.upper()}] bench\r\n"
            f"Message-ID: <bench.{n}.{time.time_ns()}@example.com>\r\nDate: Mon, 23 Nov 2026 10:00:00 +0800\r\n"
            "Content-Type: text/plain; charset=utf-8\r\n\r\n"
        ).encode()
        + b"Mail %d\r\n" % n
        + BODY
    )
    return author, [f"{record}@bench.example"], stuffed(content)


class Setup:
    """A node, a sink, and a record or many."""

    def __init__(self, folder: Path, followers: int, records: int = 1, thread: int = 0) -> None:
        self.folder = folder
        self.ledger = folder / "sink.tsv"
        folder.mkdir(parents=True)
        self.sink = subprocess.Popen(
            [sys.executable, "-m", "tests.kit.sink", str(self.ledger)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=ENVIRONMENT,
        )
        port = int(self.sink.stdout.readline())
        self.site = write_site(
            folder / "site", gateway=settings(port), people=people(followers + 1), rules=rules(followers)
        )
        if records > 1:
            seed(self.site, records, thread)
        else:
            event = {"event": "quotation.created", "title": "bench", "team": "sales"}
            replygate(self.site, "announce", stdin=json.dumps(event))
        self.node = Node(self.site, log="error", alone=True).start()
        self.node.quiet(600)

    def copies(self) -> int:
        return self.ledger.read_bytes().count(b"\n") if self.ledger.exists() else 0

    def wait(self, copies: int, timeout: float) -> float:
        until = time.monotonic() + timeout
        while self.copies() < copies:
            if time.monotonic() > until:
                raise TimeoutError(f"{self.copies()} of {copies} copies")
            time.sleep(0.005)
        return float(self.ledger.read_text().splitlines()[copies - 1].split("\t")[2])

    def close(self) -> None:
        self.node.stop()
        self.sink.terminate()
        self.sink.wait(10)
        self.sink.stdout.close()


def seed(site: Path, records: int, thread: int) -> None:
    """Fill a store with records that have stood there for long, and one long thread."""
    import sqlalchemy as sa

    from gateway.cli.app import Open  # noqa: F401
    from gateway.config import load as load_settings
    from gateway.document import read
    from gateway.node import open_site_store
    from gateway.store import schema, tables

    found, _ = load_settings(read(site / "gateway.yaml"), site)
    store = open_site_store(found)
    schema.upgrade(store)
    common = {
        "kind": "quotation", "title": "bench", "state": "draft", "team": "sales", "teams": ["sales"], "salesperson": "",
        "creator": "", "customer": {"name": "", "emails": [], "language": "", "key": ""}, "fields": {}, "lines": [],
        "origin": "", "created_at": 1, "changed_at": 1,
    }  # fmt: skip
    done = {
        "subtype": "discussion", "internal": False, "at": 1, "author_who": "p0", "author_name": "Person 0",
        "author_email": "p0@example.com", "subject": "bench", "text": "text " * 40, "quoted": "", "original_id": "",
        "parent_id": None, "ancestors": [], "addressed": [], "changes": [], "details": {}, "arrival_id": None,
        "hears": [], "not_hears": [], "state": "fanned out", "due_at": 1, "vouched": True,
    }  # fmt: skip
    with store.write() as tx:
        for start in range(1, records + 1, 5000):
            rows = [{**common, "id": n, "ref": f"S{n:05d}"} for n in range(start, min(start + 5000, records + 1))]
            tx.execute(sa.insert(tables.record), rows)
            tx.execute(
                sa.insert(tables.message),
                [{**done, "record_id": row["id"], "message_id": f"seed.{row['id']}@bench.example"} for row in rows],
            )
        more = [{**done, "record_id": 1, "message_id": f"long.{n}@bench.example"} for n in range(thread)]
        if more:
            tx.execute(sa.insert(tables.message), more)
        tx.execute(sa.insert(tables.counter).values(name="quotation", last=records))
    store.close()


def accept(folder: Path, count: int, connections: int) -> dict[str, float]:
    """Mails a second, sent over kept connections, of a bare handler and of a node, in turn."""
    port = multiprocessing.Queue()
    bare = multiprocessing.Process(target=_serve_bare, args=(port,))
    bare.start()
    bare_port = port.get(timeout=20)
    setup = Setup(folder, 5)
    rates: dict[str, list[float]] = {"bare": [], "node": []}
    try:
        for turn in range(4):
            for name, at in (("bare", bare_port), ("node", setup.node.ports["smtp"])):
                mails = [reply(turn * count + n, "s00001") for n in range(count)]
                began = time.perf_counter()
                uvloop.run(load(at, mails, connections))
                if turn:  # the first turn warms up
                    rates[name].append(count / (time.perf_counter() - began))
            setup.node.quiet(600)
    finally:
        setup.close()
        bare.terminate()
        bare.join()
    bare_rate, node_rate = statistics.median(rates["bare"]), statistics.median(rates["node"])
    return {"bare_per_s": bare_rate, "node_per_s": node_rate, "ratio": node_rate / bare_rate}


def throughput(folder: Path, followers: int, count: int, records: int = 1, thread: int = 0) -> dict[str, float]:
    """Replies a second from the first MAIL to the last follower's copy, and latency when idle."""
    setup = Setup(folder, followers, records, thread)
    step = max(1, records // 50)
    refs = [f"s{1 + n * step % records:05d}" for n in range(count)] if records > 1 else ["s00001"] * count
    if thread:
        refs = [ref if n % 2 else "s00001" for n, ref in enumerate(refs)]
    try:
        port = setup.node.ports["smtp"]
        uvloop.run(load(port, [reply(n, refs[n]) for n in range(20)], 4))
        before = 20 * followers
        setup.wait(before, 120)
        began = time.time()
        uvloop.run(load(port, [reply(1000 + n, refs[n]) for n in range(count)], 8))
        accepted = time.time()
        last = setup.wait(before + count * followers, 600)
        late = _latency(setup, followers, before + count * followers, refs)
        memory = peak_memory_mib(setup.node.pid)
    finally:
        setup.close()
    return {
        "replies_per_s": count / (last - began), "copies_per_s": count * followers / (last - began),
        "accepted_per_s": count / (accepted - began), "p50_ms": late[0], "p99_ms": late[1], "peak_mib": memory,
    }  # fmt: skip


def _latency(setup: Setup, followers: int, before: int, refs: list[str]) -> tuple[float, float]:
    """Milliseconds from a reply's 250 to its last copy, one at a time on an idle node."""
    took = []
    for n in range(60):
        began = time.monotonic()
        done = asyncio.run(load(setup.node.ports["smtp"], [reply(5000 + n, refs[n % len(refs)])], 1))
        accepted = time.time() - (time.monotonic() - max(done[0], began))
        last = setup.wait(before + (n + 1) * followers, 60)
        took.append((last - accepted) * 1000)
    took.sort()
    return statistics.median(took), took[int(len(took) * 0.99)]


def main() -> None:
    parser = argparse.ArgumentParser(prog="script/bench", description=__doc__)
    parser.add_argument(
        "what",
        nargs="*",
        default=["accept", "five", "fifty", "large"],
        help="accept, five, fifty, large; of mailboxes fetch, filing, look, looks",
    )
    parser.add_argument("--mailbox-mails", type=int, default=10_000)
    parser.add_argument("--mails", type=int, default=600)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    count = chosen.mails
    results: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        runs = {
            "accept": lambda: accept(folder / "accept", count, 8),
            "five": lambda: throughput(folder / "five", 5, count),
            "fifty": lambda: throughput(folder / "fifty", 50, count // 4),
            "hundred": lambda: throughput(folder / "hundred", 5, count, 100, 1000),
            "large": lambda: throughput(folder / "large", 5, count, 100_000, 1000),
            "fetch": lambda: bench_mailboxes.fetch(folder / "fetch", chosen.mailbox_mails),
            "filing": lambda: bench_mailboxes.filing(folder / "filing", chosen.mailbox_mails // 5),
            "look": lambda: bench_mailboxes.looks(folder / "look", 10, chosen.mailbox_mails),
            "looks": lambda: bench_mailboxes.looks(folder / "looks", 2_000, 10),
        }
        for what in chosen.what:
            results[what] = runs[what]()
            if not chosen.json:
                figures = "  ".join(
                    f"{key} {value:.1f}" if value > 2 else f"{key} {value:.2f}" for key, value in results[what].items()
                )
                sys.stdout.write(f"{what:8} {figures}\n")
                sys.stdout.flush()
    if chosen.json:
        sys.stdout.write(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
