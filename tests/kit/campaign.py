"""`script/campaign`: kill -9 a node again and again under load, then hold everybody's word against the ledger.

Six clients answer a few records over SMTP and LMTP; a node fans out to five followers and hands
over to a slow sink; node and sink are killed at random moments and started again on their ports.
At the end nothing that was said yes to may be missing, and nothing may be there twice, but for the
copies that were on their way when somebody died. Everything runs on loopback.
"""

import argparse
import contextlib
import dataclasses
import json
import random
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from string import ascii_lowercase

import sqlalchemy as sa

from gateway.alias import Addresses
from gateway.config import load as load_settings
from gateway.document import read as read_document
from gateway.keyring import load_keys
from gateway.node import open_site_store
from gateway.store import followers as store_followers
from gateway.store import outbox, status, tables
from gateway.store.session import Store
from tests.kit import ledger
from tests.kit.bench import people, rules
from tests.kit.ledger import Ledger, Session, find_uid, make_uid
from tests.kit.node import ENVIRONMENT, ROOT, Node, peak_memory_mib, replygate, write_site
from tests.kit.postgres import Postgres, free_port

DOMAIN = "campaign.example"
CLIENTS = 6
FOLLOWERS = 5
RECORDS = 4
PEOPLE = [f"p{n}@example.com" for n in range(FOLLOWERS + 1)]
BACKLOG = 1_500  # deliveries to come, above which clients hardly write
DRAIN_S = 600.0
_AMBIGUOUS = "connection lost"  # an answer of the sender that leaves open whether the copy was taken
_WORDS = ("and so on, as people write.", "這是一行中文，和人們寫信時寫的差不多長。")


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a campaign does. `store` is `sqlite`, `postgresql` (a server of our own) or a URL of an empty database."""

    kills: int = 200
    seed: int = 1
    store: str = "sqlite"
    slowest_ms: float = 20.0
    sink_kills: float = 0.15  # share of a node's lives in which the sink is killed too
    early_kills: float = 0.05  # share of kills that hit a node that is still starting
    life_s: tuple[float, float] = (0.05, 1.5)  # of a node, from `ready` to its kill
    aged: float = 0.3  # share of restarts before which time passes: see `_age`


@dataclasses.dataclass
class Figures:
    """What came of it. `problems` is empty if everything held."""

    git: str = ""
    store: str = ""
    seed: int = 0
    kills: int = 0
    kills_of_starting: int = 0
    kills_of_sink: int = 0
    took_s: float = 0.0
    drained_s: float = 0.0
    sent: int = 0
    acked: int = 0
    resent: int = 0
    temporary: int = 0
    refused: int = 0
    posted: int = 0
    posted_unacked: int = 0
    kept_twice: int = 0
    lost: int = 0
    dup_posts: int = 0
    ghost: int = 0
    out_expected: int = 0
    out_copies: int = 0
    out_missing: int = 0
    out_dup: int = 0
    out_dup_share: float = 0.0
    out_dup_most_by_one_kill: int = 0
    out_dup_other_id: int = 0
    out_dup_other_octets: int = 0
    out_in_flight: int = 0
    out_beyond: int = 0
    out_twice_queued: int = 0
    out_wrong: int = 0
    out_ghost: int = 0
    held: int = 0
    shunted: int = 0
    failed: int = 0
    waiting: int = 0
    faults: int = 0
    ready_p50_s: float = 0.0
    ready_p99_s: float = 0.0
    greeting_p99_s: float = 0.0
    decided_max_s: float = 0.0
    peak_rss_mib: float = 0.0
    integrity: str = ""
    problems: list[str] = dataclasses.field(default_factory=list)


# Every one of these must be 0.
_NONE = {
    "lost": "mails that were said yes to are in no thread",
    "dup_posts": "mails stand in a thread twice",
    "ghost": "messages are of no mail that was sent",
    "refused": "mails were answered with 5xx",
    "out_missing": "copies never reached the sink",
    "out_beyond": "deliveries came more often than somebody died on them",
    "out_dup_other_id": "deliveries came twice with different Message-IDs",
    "out_dup_other_octets": "deliveries came twice with different octets",
    "out_twice_queued": "copies of one message for one reader were queued twice",
    "out_wrong": "copies hold another message than they say",
    "out_ghost": "copies are of no message in a thread",
    "held": "mails are held",
    "shunted": "arrivals, messages or notices are shunted",
    "failed": "deliveries failed",
    "waiting": "things still wait",
}


# ---- the clients


class _Writer(threading.Thread):
    """A client that writes mails until it is told to stop, and most of the time sees each one through."""

    def __init__(self, number: int, campaign: "Campaign") -> None:
        super().__init__(name=f"client-{number}", daemon=True)
        self.number = number
        self.campaign = campaign
        self.lmtp = number % 2 == 1
        self.rng = random.Random(f"{campaign.plan.seed}-client-{number}")
        self.counts: Counter[str] = Counter()
        self.session: Session | None = None
        self.left = 0  # mails until the session ends
        self.known: dict[str, str] = {}  # record -> the Message-ID of a mail that was said yes to

    def run(self) -> None:
        number = 0
        try:
            while not self.campaign.stopping.is_set():
                number += 1
                self._write(number)
                self.campaign.stopping.wait(self.rng.expovariate(1.0) * self.campaign.pause_s)
        finally:
            self._hang_up()

    def _write(self, number: int) -> None:
        uid = make_uid(self.campaign.run_id, self.number, number)
        refs = self.rng.sample(self.campaign.refs, 2 if self.rng.random() < 0.1 else 1)
        author = self.rng.randrange(len(PEOPLE))
        content = self._content(uid, PEOPLE[author], refs)
        waiting = {self.campaign.address(ref, author, tagged=self.lmtp): ref for ref in refs}
        for ref in refs:
            self.campaign.ledger.write("sent", uid, ref, "lmtp" if self.lmtp else "smtp", PEOPLE[author])
            self.counts["sent"] += 1
        patient = self.rng.random() < 0.85
        until = time.monotonic() + 120
        while waiting and time.monotonic() < until and not self.campaign.over.is_set():
            try:
                self._connect().transact(PEOPLE[author], list(waiting), content, self._answered(uid, waiting))
                self.left -= 1
            except OSError:
                self._hang_up()
                if not patient and not self.campaign.stopping.is_set():
                    return
            if waiting:
                time.sleep(self.rng.uniform(0.01, 0.08))
                self.counts["resent"] += 1

    def _answered(self, uid: str, waiting: dict[str, str]) -> Callable[[str, str], None]:
        def answered(recipient: str, reply: str) -> None:
            if reply.startswith("2"):
                ref = waiting.pop(recipient)
                self.campaign.ledger.write("acked", uid, ref, f"{time.time():.6f}")
                self.counts["acked"] += 1
                self.known[ref] = f"<{uid}@example.com>"
            elif reply.startswith("5"):
                waiting.pop(recipient)
                self.campaign.ledger.write("refused", uid, recipient, reply)
                self.counts["refused"] += 1
            else:
                self.counts["temporary"] += 1
                if reply.startswith("421"):
                    raise ConnectionError(reply)

        return answered

    def _connect(self) -> Session:
        if self.left <= 0:
            self._hang_up()
        if self.session is None:
            self.session = Session(self.campaign.ports["lmtp" if self.lmtp else "smtp"], lmtp=self.lmtp, timeout=60)
            self.left = self.rng.randint(1, 30)
        return self.session

    def _hang_up(self) -> None:
        if self.session is not None:
            self.session.close()
        self.session = None

    def _line(self) -> str:
        """Return a line nobody wrote before: a machine says the same again, people do not."""
        words = " ".join("".join(self.rng.choices(ascii_lowercase, k=6)) for _ in range(8))
        return f"{words} {self.rng.choice(_WORDS)}\r\n"

    def _content(self, uid: str, author: str, refs: Sequence[str]) -> bytes:
        to = ", ".join(f"{ref}@{DOMAIN}" for ref in refs)
        answers = self.known.get(refs[0], "")
        lines = [
            f"From: {author}", f"To: {to}", f"Subject: Re: [{refs[0].upper()}] {uid}",
            f"Message-ID: <{uid}@example.com>", "Date: Mon, 23 Nov 2026 10:00:00 +0800", "MIME-Version: 1.0",
        ]  # fmt: skip
        if answers and self.rng.random() < 0.5:
            lines += [f"In-Reply-To: {answers}", f"References: {answers}"]
        said = "".join(self._line() for _ in range(self.rng.randint(1, 30)))
        text = f"{uid} is what this mail is called.\r\n{said}".encode()
        plain = b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + text
        header = ("\r\n".join(lines) + "\r\n").encode()
        if self.rng.random() > 0.02:
            return header + plain
        # Large enough for the spool, and for content in chunks.
        octets = b64encode(self.rng.randbytes(self.rng.randint(80_000, 300_000)))
        file = b"\r\n".join(octets[at : at + 76] for at in range(0, len(octets), 76))
        return (
            header + b'Content-Type: multipart/mixed; boundary="part"\r\n\r\n--part\r\n' + plain + b"\r\n--part\r\n"
            b'Content-Type: application/pdf\r\nContent-Disposition: attachment; filename="quote.pdf"\r\n'
            b"Content-Transfer-Encoding: base64\r\n\r\n" + file + b"\r\n--part--\r\n"
        )


# ---- the campaign


class Campaign:
    """One run in `folder`: `run` does it all and returns the figures."""

    def __init__(self, folder: Path, plan: Plan, say: Callable[[str], None] = lambda _: None) -> None:
        self.folder, self.plan, self.say = folder, plan, say
        self.rng = random.Random(f"{plan.seed}-kills")
        self.run_id = f"{random.Random(f'{plan.seed}-run').getrandbits(32):08x}"
        self.figures = Figures(store=plan.store.partition(":")[0], seed=plan.seed)
        self.stopping = threading.Event()  # no more mails
        self.over = threading.Event()  # not even those at hand
        self.pause_s = 0.02
        self.ports: dict[str, int] = {}
        self.refs: list[str] = []
        self.tagged: dict[tuple[str, int], str] = {}
        self.readies: list[float] = []
        self.greetings: list[float] = []
        self.deaths: list[float] = []  # when somebody was killed, seconds since 1970
        self.sink: subprocess.Popen[str] | None = None
        self.server: Postgres | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self.sink_ledger = folder / "sink.tsv"
        self.ledger = Ledger(folder / "clients.tsv")
        self.site = folder / "site"
        self.node = Node(self.site, alone=True)

    def address(self, ref: str, author: int, *, tagged: bool) -> str:
        """Return a record's address: by LMTP only the author's own reply address may write."""
        return self.tagged[ref, author] if tagged else f"{ref}@{DOMAIN}"

    def run(self) -> Figures:
        began = time.monotonic()
        writers = [_Writer(n, self) for n in range(CLIENTS)]
        try:
            self._prepare()
            for writer in writers:
                writer.start()
            self._kill_all()
            self.figures.took_s = time.monotonic() - began
            self._drain(writers)
            self.figures.drained_s = time.monotonic() - began - self.figures.took_s
            self.node.stop()
            self._judge(writers)
        finally:
            self.stopping.set()
            self.over.set()
            self._end(writers)
        return self.figures

    # -- before

    def _prepare(self) -> None:
        url = self.plan.store
        if url == "postgresql":
            self.server = Postgres()
            url = self.server.start(self.folder / "postgresql")
        elif url == "sqlite":
            url = "sqlite:///var/gateway.db"
        lowest = {"smtp": 20_000, "lmtp": 24_000, "sink": 28_000}
        self.ports = {name: free_port(low, low + 4_000) for name, low in lowest.items()}
        write_site(
            self.site,
            gateway=f"site: {{domain: {DOMAIN}, name: Campaign, language: en, timezone: UTC}}\n"
            f"smtp: {{listen: '127.0.0.1:{self.ports['smtp']}', trusted_networks: ['127.0.0.0/8']}}\n"
            f"lmtp: {{listen: '127.0.0.1:{self.ports['lmtp']}'}}\n"
            f"next_hop: {{url: 'smtp://127.0.0.1:{self.ports['sink']}'}}\n"
            "dkim: [{selector: k1, key_file: var/dkim/k1.pem}]\n"
            f"store: {{url: '{url}'}}\n",
            people=people(len(PEOPLE)),
            rules=rules(FOLLOWERS)
            + "limits: {loop: {messages: 1000000, minutes: 120}, author: {messages: 1000000, minutes: 60}}\n",
        )
        replygate(self.site, "dkim", "keygen", "k1", "--type", "ed25519")
        replygate(self.site, "migrate")
        with self._store() as store, store.read() as tx:
            if tx.execute(sa.select(sa.func.count()).select_from(tables.message)).scalar_one():
                raise RuntimeError("the database is not empty; give a campaign one of its own")
        event = json.dumps({"event": "quotation.created", "title": "campaign", "team": "sales"})
        made = replygate(self.site, "announce", stdin="\n".join([event] * RECORDS) + "\n").stdout
        self.refs = [json.loads(line)["record"].lower() for line in made.splitlines()]
        with self._store() as store, store.write() as tx:
            numbers = store_followers.reader_ids(tx, [f"person:p{n}" for n in range(len(PEOPLE))])
        addresses = Addresses(DOMAIN, load_keys(self.site / "var"))
        self.tagged = {
            (ref, n): str(addresses.alias(ref, "", numbers[f"person:p{n}"]))
            for ref in self.refs
            for n in range(len(PEOPLE))
        }
        self.figures.git = _git()
        self._start_sink()

    @contextlib.contextmanager
    def _store(self) -> Iterator[Store]:
        settings, _ = load_settings(read_document(self.site / "gateway.yaml"), self.site)
        store = open_site_store(settings)
        try:
            yield store
        finally:
            store.close()

    def _start_sink(self) -> None:
        words = ["-m", "tests.kit.ledger", str(self.sink_ledger), str(self.ports["sink"]), str(self.plan.slowest_ms)]
        self.sink = subprocess.Popen(
            [sys.executable, *words], stdout=subprocess.PIPE, text=True, cwd=ROOT, env=ENVIRONMENT
        )
        assert self.sink.stdout is not None
        if not self.sink.stdout.readline():
            raise RuntimeError("the sink did not start")

    def _kill_sink(self) -> None:
        if self.sink is not None:
            self.deaths.append(time.time())
            self.sink.kill()
            self.sink.wait(10)
            assert self.sink.stdout is not None
            self.sink.stdout.close()
        self.sink = None

    # -- the kills

    def _kill_all(self) -> None:
        f = self.figures
        for n in range(self.plan.kills):
            if n and self.rng.random() < self.plan.early_kills:
                self._kill_starting()
                f.kills_of_starting += 1
            else:
                self._start()
                self._live(self.rng.uniform(*self.plan.life_s), with_sink=self.rng.random() < self.plan.sink_kills)
                self._measure()
                self.deaths.append(time.time())
                self.node.kill()
            f.kills += 1
            if self.sink is None:
                self._start_sink()
            # Opening the file recovers it. Most of the time that is the node's to do.
            if self.rng.random() < self.plan.aged:
                self._age(nodes=False)
            if not f.kills % 20:
                self.say(f"{f.kills} kills, {f.kills_of_sink} of the sink; {self._lines()}")
        self._age(nodes=False)

    def _lines(self) -> str:
        counts = Counter(line[0] for line in ledger.read(self.folder / "clients.tsv"))
        return (
            f"{counts['acked']} acked, {len(ledger.read(self.sink_ledger))} copies, pause {self.pause_s * 1000:.0f} ms"
        )

    def _start(self) -> None:
        began = time.monotonic()
        self.node.start()
        self.readies.append(time.monotonic() - began)
        with socket.create_connection(("127.0.0.1", self.ports["smtp"]), 30) as peer:
            if not peer.recv(100).startswith(b"220"):
                raise RuntimeError("the node did not greet")
        self.greetings.append(time.monotonic() - began)

    def _kill_starting(self) -> None:
        with (self.site / "node.log").open("a") as stderr:
            process = subprocess.Popen(
                [sys.executable, "-m", "gateway", "-c", str(self.site / "gateway.yaml"), "serve", "--log", "warning"],
                stdout=subprocess.DEVNULL, stderr=stderr, cwd=ROOT, env=ENVIRONMENT,
            )  # fmt: skip
        time.sleep(self.rng.uniform(0.1, 1.5))
        self.deaths.append(time.time())
        process.kill()
        process.wait(10)

    def _live(self, life: float, *, with_sink: bool) -> None:
        """Let the node live, kill the sink meanwhile, and let the clients keep it busy but not swamped."""
        dies = time.monotonic() + life
        if self.rng.random() < 0.6:
            self._pace()
        if with_sink:
            self.figures.kills_of_sink += 1
            time.sleep(max(0.0, dies - time.monotonic()) * self.rng.random())
            self._kill_sink()
            if self.rng.random() < 0.7:  # else it comes back after the node is gone
                time.sleep(self.rng.uniform(0.0, 0.2))
                self._start_sink()
        time.sleep(max(0.0, dies - time.monotonic()))

    def _pace(self) -> None:
        with self._store() as store, store.read() as tx:
            now = status.waiting(tx, _now_ms())
        backlog = now.deliveries - now.deferred + FOLLOWERS * (now.arrivals + now.messages)
        # The doors go first: while they are busy little is sent. So it is a flood, then a calm, in turn.
        self.pause_s = self.rng.uniform(0.005, 0.05) if backlog < BACKLOG else self.rng.uniform(0.5, 2.0)

    def _measure(self) -> None:
        self.figures.peak_rss_mib = max(self.figures.peak_rss_mib, peak_memory_mib(self.node.pid))

    def _age(self, *, nodes: bool) -> None:
        """Let time pass: deferred deliveries are due; where no node runs, the leases of the dead have run out.

        On SQLite a node that starts ends all leases itself. On PostgreSQL they last for minutes, for
        another node might hold them.
        """
        with self._store() as store, store.write() as tx:
            now = _now_ms()
            later = (tables.delivery.c.state == "deferred") & (tables.delivery.c.due_at > now)
            tx.execute(sa.update(tables.delivery).where(later).values(due_at=now))
            if not nodes and not store.embedded:
                for table in (tables.arrival, tables.message, tables.notice, tables.delivery):
                    tx.execute(sa.update(table).where(table.c.lease_until > 0).values(lease_until=0))
            store.wake_others(tx)

    # -- afterwards

    def _drain(self, writers: Sequence[_Writer]) -> None:
        """Start everything once more and wait until nothing is left to do."""
        self.say(f"{self._lines()}; waiting for quiet")
        self._start()
        self.stopping.set()
        for writer in writers:
            writer.join(150)
        until = time.monotonic() + DRAIN_S
        with self._store() as store:
            while time.monotonic() < until:
                with store.read() as tx:
                    now = status.waiting(tx, _now_ms())
                if not (now.arrivals or now.messages or now.notices or now.deliveries):
                    break
                if now.deferred:
                    self._age(nodes=True)
                store.wait_for_others(0.5, lambda: False)
        with contextlib.suppress(TimeoutError):  # what still waits is counted
            self.node.quiet(5)
        self._measure()

    def _judge(self, writers: Sequence[_Writer]) -> None:
        f = self.figures
        for name in ("sent", "acked", "resent", "temporary", "refused"):
            setattr(f, name, sum(writer.counts[name] for writer in writers))
        f.ready_p50_s, f.ready_p99_s = statistics.median(self.readies), _percentile(self.readies, 0.99)
        f.greeting_p99_s = _percentile(self.greetings, 0.99)
        log = (self.site / "node.log").read_text("utf-8", "replace")
        f.faults = sum("event=fault" in line or "Traceback" in line for line in log.splitlines())
        with self._store() as store, store.read() as tx:
            expected = self._judge_threads(tx)
            self._judge_outbox(tx, expected)
            now = status.waiting(tx, _now_ms())
            f.held, f.shunted = now.held, now.shunted
            f.waiting = now.arrivals + now.messages + now.notices + now.deliveries
        f.integrity = self._integrity()
        f.problems = [f"{name}: {getattr(f, name)} {what}" for name, what in _NONE.items() if getattr(f, name)]
        if f.out_dup > f.out_in_flight:
            f.problems.append(f"out_dup: {f.out_dup} is more than the {f.out_in_flight} that were in flight")
        if f.integrity not in ("ok", "-"):
            f.problems.append(f"integrity: {f.integrity}")
        if not (f.acked and f.out_expected):
            f.problems.append("nothing was sent: this proves nothing")

    def _judge_threads(self, tx: sa.Connection) -> dict[tuple[str, str], str]:
        """Hold the threads against the clients' ledger; return the copies to expect: (Message-ID, reader) -> uid."""
        f = self.figures
        lines = ledger.read(self.folder / "clients.tsv")
        sent = {(line[1], line[2]): line[4] for line in lines if line[0] == "sent"}
        acked = {(line[1], line[2]) for line in lines if line[0] == "acked"}
        refs = {row.id: row.ref.lower() for row in tx.execute(sa.select(tables.record.c.id, tables.record.c.ref))}
        posted: Counter[tuple[str, str]] = Counter()
        expected: dict[tuple[str, str], str] = {}
        m = tables.message.c
        query = sa.select(m.record_id, m.original_id, m.message_id, m.subject, m.text, m.author_email)
        for row in tx.execute(query.where(m.subtype == "discussion")):
            uid = find_uid(row.original_id)
            posted[uid, refs[row.record_id]] += 1
            f.out_wrong += find_uid(row.subject) != uid or find_uid(row.text) != uid
            expected |= {(row.message_id, reader): uid for reader in PEOPLE if reader != row.author_email}
        f.posted = posted.total()
        f.lost = len(acked - posted.keys())
        f.dup_posts = f.posted - len(posted)
        f.ghost = len(posted.keys() - sent.keys())
        f.posted_unacked = len(posted.keys() - acked)
        r, a = tables.arrival_recipient.c, tables.arrival.c
        late = sa.select(sa.func.max(r.settled_at - a.received_at)).where(r.arrival_id == a.id)
        f.kept_twice = tx.execute(sa.select(sa.func.count()).where(r.cause == "duplicate")).scalar_one()
        f.decided_max_s = (tx.execute(late).scalar() or 0) / 1000
        return expected

    def _judge_outbox(self, tx: sa.Connection, expected: dict[tuple[str, str], str]) -> None:
        """Hold the sink's ledger against what the threads say everybody should hear, and count who came twice."""
        f, d = self.figures, tables.delivery.c
        got = ledger.copies(self.sink_ledger)
        by_key: dict[tuple[str, str], list[ledger.Copy]] = {}
        by_delivery: dict[int, list[ledger.Copy]] = {}
        for copy in got:
            by_key.setdefault((copy.message_id, copy.recipient), []).append(copy)
            by_delivery.setdefault(copy.delivery, []).append(copy)
        f.out_expected, f.out_copies = len(expected), len(got)
        f.out_missing = len(expected.keys() - by_key.keys())
        f.out_ghost = len(by_key.keys() - expected.keys())
        f.out_wrong += sum(expected.get((c.message_id, c.recipient), c.uid) != c.uid for c in got)
        f.out_dup = len(got) - len(by_key)
        f.out_dup_share = f.out_dup / max(1, len(got))
        f.out_twice_queued = sum(len({copy.delivery for copy in each}) > 1 for each in by_key.values())
        f.out_dup_other_id = sum(len({copy.message_id for copy in each}) > 1 for each in by_delivery.values())
        f.out_dup_other_octets = sum(len({copy.digest for copy in each}) > 1 for each in by_delivery.values())
        # A claim that was never settled was in flight when its node died; one whose answer was lost, when its sink did.
        lost = sa.select(tables.attempt.c.delivery_id).where(tables.attempt.c.answer.contains(_AMBIGUOUS))
        unsure = Counter(tx.execute(lost).scalars())
        for row in tx.execute(sa.select(d.id, d.state, d.fence, d.attempts)):
            died = row.fence - row.attempts + unsure[row.id]
            f.out_in_flight += died
            f.out_beyond += len(by_delivery.get(row.id, ())) > died + (row.state == "sent")
            f.failed += row.state not in ("sent", *outbox.WAITING)
        blame: Counter[float] = Counter()
        for each in by_delivery.values():
            for copy in each[:-1]:
                blame[next((at for at in self.deaths if at >= copy.at), 0.0)] += 1
        f.out_dup_most_by_one_kill = max(blame.values(), default=0)

    def _integrity(self) -> str:
        with self._store() as store:
            if store.path is None:
                return "-"
            connection = sqlite3.connect(store.path)
            try:
                found = [str(row[0]) for row in connection.execute("PRAGMA integrity_check")]
                broken = connection.execute("PRAGMA foreign_key_check").fetchall()
            finally:
                connection.close()
        return "; ".join(found[:5]) + (f"; {len(broken)} foreign keys lead nowhere" if broken else "")

    def _end(self, writers: Sequence[_Writer]) -> None:
        if self.node.process is not None and self.node.process.poll() is None:
            self.node.kill()
        self._kill_sink()
        for writer in writers:
            if writer.is_alive():
                writer.join(150)
        self.ledger.close()
        if self.server is not None:
            self.server.stop()


def run(folder: Path, plan: Plan, say: Callable[[str], None] = lambda _: None) -> Figures:
    """Run a campaign in `folder`, where ledgers, site and logs stay."""
    return Campaign(folder, plan, say).run()


def _percentile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))] if values else 0.0


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _git() -> str:
    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else ""

    changed = git("status", "--porcelain", "--", "gateway", "migrations", "templates")
    return (git("rev-parse", "--short", "HEAD") or "unknown") + ("+changed" if changed else "")


def show(figures: Figures) -> str:
    """Return the figures as lines for people."""
    lines = []
    for name, value in dataclasses.asdict(figures).items():
        if name != "problems":
            lines.append(f"{name:26}{value:.4f}" if isinstance(value, float) else f"{name:26}{value}")
    verdict = [f"PROBLEM {each}" for each in figures.problems] or ["Everything held."]
    return "\n".join([*lines, "", *verdict])


def main() -> None:
    parser = argparse.ArgumentParser(prog="script/campaign", description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument(
        "--seed", type=int, default=None, help="of what is chosen; when things happen is never the same"
    )
    parser.add_argument("--store", default="sqlite", help="sqlite, postgresql (a server of our own) or postgresql://…")
    parser.add_argument(
        "--slowest", type=float, default=20.0, help="milliseconds the sink takes for an answer, at most"
    )
    parser.add_argument("--sink-kills", type=float, default=0.15, help="share of lives in which the sink dies too")
    parser.add_argument("--life", type=float, nargs=2, default=Plan.life_s, help="seconds from ready to a kill")
    parser.add_argument("--keep", type=Path, default=None, help="a new folder in which everything stays")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    seed = chosen.seed if chosen.seed is not None else time.time_ns() % 1_000_000
    plan = Plan(chosen.kills, seed, chosen.store, chosen.slowest, chosen.sink_kills, life_s=tuple(chosen.life))
    folder = chosen.keep or Path(tempfile.mkdtemp(prefix="replygate-campaign-"))
    if folder.exists() and any(folder.iterdir()):
        parser.error(f"{folder} is not empty")

    def say(text: str) -> None:
        sys.stderr.write(text + "\n")
        sys.stderr.flush()

    say(f"seed {seed}, {plan.kills} kills, {plan.store}; evidence in {folder}")
    figures = run(folder, plan, say)
    sys.stdout.write((json.dumps(dataclasses.asdict(figures), indent=2) if chosen.json else show(figures)) + "\n")
    if figures.problems:
        sys.exit(1)
    if chosen.keep is None:
        import shutil

        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
