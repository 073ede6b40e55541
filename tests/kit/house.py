"""A site without a node: what arrives is decided and worded by hand, with a DNS from a text and a door where wanted."""

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from email import message_from_bytes, policy
from pathlib import Path

import sqlalchemy as sa

from gateway.alias import Addresses
from gateway.arrive.accept import Acceptor
from gateway.arrive.crowd import Shared
from gateway.arrive.doors import Doors
from gateway.arrive.smtp import Settings
from gateway.decide.announce import Event, announce
from gateway.decide.post import Desk
from gateway.decide.read import Reader
from gateway.decide.receive import Receiver
from gateway.decide.resolver import Resolver
from gateway.mail.tag import Keys
from gateway.node import make_renderer
from gateway.notify.fanout import FanOut
from gateway.records.record import Choice
from gateway.site import load
from gateway.store import arrivals, followers, held, outbox, tables
from gateway.store.arrivals import Received
from gateway.store.session import Store
from gateway.worker import Traffic, now_ms
from tests.kit.node import ROOT, write_site
from tests.kit.stores import new_store
from tests.kit.zone import Zone

D = "sales.example.com"
# Who may send for whom: the hosts of our own people, of the customer ACME, of another, and one nobody vouches for.
INSIDE, CUSTOMER, OUTSIDE, NOBODY = "192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.99"
ZONE = f"""
example.com         TXT  v=spf1 ip4:{INSIDE} -all
_dmarc.example.com  TXT  v=DMARC1; p=reject
acme.example        TXT  v=spf1 ip4:{CUSTOMER} -all
x.example           TXT  v=spf1 ip4:{OUTSIDE} -all
"""
HOSTS = {"example.com": INSIDE, "acme.example": CUSTOMER, "x.example": OUTSIDE}


def calm_rules(**changes: str) -> str:
    """Return the example's rules with limits that no test meets, and `changes` of texts in it."""
    text = (ROOT / "templates" / "site" / "rules.yaml").read_text("utf-8")
    text = text.replace("loop: {messages: 20,", "loop: {messages: 100000,")
    text = text.replace("author: {messages: 200,", "author: {messages: 1000000,")
    text = text.replace("node: {messages: 20000,", "node: {messages: 1000000,")
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    return text


class ZoneResolver(Resolver):
    """A resolver that asks a zone."""

    def __init__(self, zone: Zone) -> None:
        super().__init__("127.0.0.1:9")
        self.zone = zone

    def lookup(self, _budget_s: float = 0.0):
        return self.zone


@dataclass(frozen=True, slots=True)
class Sent:
    """A mail of ours: who it is for, its fields as text, its text."""

    to: str
    octets: bytes

    @property
    def mail(self):
        return message_from_bytes(self.octets, policy=policy.default)

    def __getitem__(self, field: str) -> str:
        return str(self.mail[field] or "")

    @property
    def text(self) -> str:
        """The text and the HTML, decoded."""
        parts = [part for part in self.mail.walk() if part.get_content_maintype() == "text"]
        return "\n".join(part.get_content() for part in parts)


class House:
    """A site with a quotation of ACME's that A君 sells, and everything that decides and words."""

    def __init__(self, folder: Path, zone: Zone | None = None, store: Store | None = None, **files: str) -> None:
        self.folder = write_site(folder, **files)
        self.zone = Zone() if zone is None else zone
        self.site = load(self.folder / "gateway.yaml")
        self.store = store or new_store(folder)
        self.desk = Desk(self.site, Addresses(D, Keys(1, {1: b"k" * 32})))
        self.reader = Reader(self.site, ZoneResolver(self.zone))
        self.receiver = Receiver(self.store, self.desk, self.reader, Traffic(), lambda: None)
        self._fan_out: FanOut | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._doors: Doors | None = None
        self._numbers = 0

    def close(self) -> None:
        if self._loop is not None:
            self.on_loop(self._shut())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(30)
            self._loop.close()
        self.reader.close()
        self.store.close()

    # ---- what there is

    @property
    def addresses(self) -> Addresses:
        return self.desk.addresses

    def announce(self, event: str = "quotation.created", **fields) -> str:
        """Let an event happen; return the record's reference."""
        with self.store.write() as tx:
            answer = announce(tx, self.desk, Event.model_validate({"event": event, **fields}), self.folder, now_ms())
        assert isinstance(answer, dict), answer
        return answer["record"]

    def quotation(self, **fields) -> str:
        customer = {"name": "ACME", "email": "wang@acme.example"}
        given = {"title": "chairs", "salesperson": "a", "actor": "a", "team": "sales", "customer": customer, **fields}
        return self.announce(**given)

    def follow(self, ref: str, who: str, *subtypes: str) -> None:
        with self.store.write() as tx:
            record = tx.execute(sa.select(tables.record.c.id).where(tables.record.c.ref == ref)).scalar_one()
            followers.choose(tx, record, Choice(who, subtypes or ("discussion",)))

    def reader_number(self, who: str) -> int:
        """Return the number that stands for a reader (`person:KEY`, or an address) in tags."""
        with self.store.write() as tx:
            return followers.reader_ids(tx, [who])[who]

    def tagged(self, ref: str, who: str, action: str = "", epoch: int = 0) -> str:
        return str(self.addresses.alias(ref, action, self.reader_number(who), epoch))

    def edit(self, name: str, old: str, new: str) -> None:
        """Change people.yaml or rules.yaml and put it in force."""
        file = self.folder / f"{name}.yaml"
        text = file.read_text("utf-8")
        assert old in text
        file.write_text(text.replace(old, new), "utf-8")
        assert list(self.site.reload()) == []

    # ---- what comes in

    def arrive(self, text, to=f"s00001@{D}", author="chia@example.com", number=1, head="", trusted=True):
        content = (
            f"From: {author}\r\nTo: {to}\r\nSubject: s\r\nMessage-ID: <{number}@example.com>\r\n{head}\r\n{text}\r\n"
        )
        received = Received(now_ms(), "smtp", "127.0.0.1", "t", author, trusted, (to,), content.encode())
        with self.store.write() as tx:
            arrivals.keep_many(tx, [received])

    def write(
        self, author: str, to: str, text: str, *, sure: bool = True, head: str = "", number: str = "", envelope: str = "",
        **more,
    ) -> tuple[str, str]:  # fmt: skip
        """Let `author` write to an address of ours, from their own host or from nobody's; return what became of it.

        `envelope` is the address where To holds more than that.
        """
        self._numbers += 1
        ours = number or f"m{self._numbers}"
        fields = [f"From: {author}", f"To: {to}", "Subject: chairs", f"Message-ID: <{ours}@x>", *head.splitlines()]
        content = "\r\n".join([*fields, "", text, ""]).encode("utf-8", "surrogateescape")
        host = HOSTS.get(author.rpartition("@")[2].strip("> "), NOBODY) if sure else NOBODY
        return self.take(content, envelope or to, peer=host, return_path=author, **more)

    def take(
        self, content: bytes, *recipients: str, peer: str = NOBODY, return_path: str = "", helo: str = "host.example",
        door: str = "smtp", trusted: bool = False, auth_who: str = "", at: int = 0,
    ) -> tuple[str, str]:  # fmt: skip
        """Keep a mail, decide whatever waits, and return what became of it at its first recipient."""
        received = Received(at or now_ms(), door, peer, helo, return_path, trusted, recipients, content, auth_who)
        with self.store.write() as tx:
            (made,) = arrivals.keep_many(tx, [received])
        self.run()
        return self.became(made)[0]

    def run(self) -> None:
        """Decide whatever waits."""
        while self.receiver.step():
            pass

    def due_now(self) -> None:
        with self.store.write() as tx:
            tx.execute(sa.update(tables.arrival).values(due_at=0, lease_until=0))

    # ---- what became of it

    def became(self, arrival: int) -> list[tuple[str, str]]:
        table = tables.arrival_recipient
        query = sa.select(table.c.state, table.c.cause).where(table.c.arrival_id == arrival).order_by(table.c.id)
        with self.store.read() as tx:
            return [tuple(row) for row in tx.execute(query)]

    def states(self):
        table = tables.arrival_recipient
        with self.store.read() as tx:
            return [tuple(row) for row in tx.execute(sa.select(table.c.state, table.c.cause).order_by(table.c.id))]

    def held(self) -> list[held.Held]:
        with self.store.read() as tx:
            return held.listed(tx)

    def messages(self) -> list:
        """Return the rows of all messages, oldest first."""
        with self.store.read() as tx:
            return list(tx.execute(sa.select(tables.message).order_by(tables.message.c.id)))

    def texts(self):
        return [row.text for row in self.messages()][1:]

    def choices(self, ref: str = "S00001") -> dict[str, Choice]:
        with self.store.read() as tx:
            record = tx.execute(sa.select(tables.record.c.id).where(tables.record.c.ref == ref)).scalar_one()
            return {each.who: each for each in followers.choices(tx, [record])[record]}

    def notices(self):
        with self.store.read() as tx:
            return [tuple(row) for row in tx.execute(sa.select(tables.notice.c.kind, tables.notice.c.email))]

    def audited(self) -> list[tuple[str, str, str]]:
        with self.store.read() as tx:
            table = tables.audit
            return [tuple(row) for row in tx.execute(sa.select(table.c.who, table.c.what, table.c.about))]

    def dump(self) -> dict[str, list[tuple]]:
        """Return every row of every table."""
        with self.store.read() as tx:
            return {
                table.name: sorted((tuple(row) for row in tx.execute(sa.select(table))), key=repr)
                for table in tables.metadata.sorted_tables
            }

    def sent(self) -> list[Sent]:
        """Word whatever waits, and return every mail that was queued, oldest first."""
        if self._fan_out is None:
            renderer = make_renderer(self.site.settings)
            self._fan_out = FanOut(self.store, self.site, self.addresses, renderer, Traffic(), lambda: None)
        with self.store.write() as tx:
            tx.execute(sa.update(tables.notice).values(due_at=0))
        while self._fan_out.step():
            pass
        with self.store.read() as tx:
            rows = tx.execute(sa.select(tables.delivery.c.id, tables.delivery.c.recipient).order_by("id")).all()
            return [Sent(row.recipient, outbox.octets(tx, row.id)) for row in rows]

    # ---- doors

    def open(self, name: str = "smtp", **more) -> int:
        """Open a door; return its port."""
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=self._loop.run_forever)
            self._thread.start()
        if self._doors is None:
            self._doors = Doors(Shared(self.acceptor(), D))
        settings = Settings(name, **{"max_size": 5_000_000, **more})
        return int(self.on_loop(self._doors.open(settings, "127.0.0.1", 0)).rpartition(":")[2])

    def acceptor(self) -> Acceptor:
        return Acceptor(self.store, self.site, self.addresses, Traffic(), lambda: None)

    def rcpt(self, *recipients: str) -> list[str]:
        """Return what a new acceptor answers to recipients."""
        acceptor = self.acceptor()

        async def ask() -> list[str]:
            return [str(await acceptor.recipient(each)) for each in recipients]

        return asyncio.run(ask())

    def on_loop(self, coroutine):
        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(60)

    async def _shut(self) -> None:
        assert self._doors is not None
        await self._doors.close()
        while self._doors.shared.sessions:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.gather(*left, return_exceptions=True)


def decisive(sent: Sequence[Sent], action: str) -> list[str]:
    """Return the addresses in mails of ours that decide about held mails, one for each mail and text."""
    found: list[str] = []
    for each in sent:
        for word in each.text.replace("<", " ").replace(">", " ").replace('"', " ").split():
            if word.startswith(f"held-{action}+") and word.endswith("@" + D) and word not in found:
                found.append(word)
    return found
