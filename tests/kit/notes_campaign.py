"""Law 5 by trial: random people write, answer, quote and forward, and no note ever leaves the house.

Every note holds a canary. After each batch of operations everything that was handed to the next hop is
decoded, and it must hold: no canary goes to an address that is not of somebody inside now; no reader's
tag goes to anybody but its holder; nobody gets one message twice, and nobody their own. Who releases a
held mail that quotes a note has decided, and so has who wrote a note to outsiders beside us: these are
counted apart. `script/campaign-notes --help` tells how to run it.
"""

import argparse
import asyncio
import dataclasses
import gc
import json
import multiprocessing
import re
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy as sa
import structlog

from gateway.config import load as load_settings
from gateway.decide import held as decide_held
from gateway.decide.announce import Event, announce
from gateway.document import read
from gateway.mail.status import Status
from gateway.node import make_renderer
from gateway.notify.fanout import FanOut
from gateway.records.record import Choice
from gateway.send.deliver import Hop, Sender
from gateway.send.sign import load_key, make_key
from gateway.site import InForce, Site
from gateway.store import arrivals, followers, held, outbox, tables
from gateway.store.arrivals import Received
from gateway.worker import Traffic, now_ms
from tests.kit.decoded import everything, header_text, split
from tests.kit.house import House
from tests.kit.notes_world import CUSTOMERS, INSIDE, INTAKES, OUTSIDE, D, Got, Mail, World
from tests.kit.stores import new_store

BATCH = 48
WORLD = 1_200  # operations after which another company begins
_CANARY = re.compile(rb"kanari(\d{7})z", re.IGNORECASE)
# Key id 1, and a number small enough to begin with many a's: our tags here, however they were mangled.
_TAG = re.compile(rb"baaaa[a-z2-7]{20}(?![a-z2-7])", re.IGNORECASE)
_BEFORE = re.compile(rb"(bounce|held-[a-z]+).{0,3}?\d+[.=]\Z", re.IGNORECASE)
_FIELD = re.compile(rb"^(message-id|references|reply-to|subject|x-replygate-record|x-replygate-subtype|x-replygate-reason): ?(.*)$", re.IGNORECASE | re.MULTILINE)  # fmt: skip
_FOLD = re.compile(rb"\r\n(?=[ \t])")
_BROKEN = re.compile(rb"=?\r?\n[ \t>|]*")
_PLAIN = re.compile(r"<[^<>]*>")
_DONE = Status(2, 50, "2.0.0", "kept")
_GONE = Status(5, 50, "5.1.1", "no such user")
_LATER = Status(4, 51, "4.3.0", "not now")

PEOPLE = """
people:
  a: {{name: A君, email: a@example.com, rights: [sales], language: zh-TW}}
  b: {{name: B君, email: [b@example.com, b.private@home.example], language: en}}
  c: {{name: C君, email: c@example.com, delivery: {delivery}}}
  chia: {{name: 賈小姐, email: chia@example.com}}
  cheng: {{name: 鄭先生, email: cheng@example.com, rights: [sales, sales-admin, settings], language: en}}
{more}
customers:
  acme: {{name: ACME, email: [wang@acme.example, w2@acme.example], salesperson: a, team: sales, language: en}}
  beta: {{name: Beta, email: li@beta.example, salesperson: b, team: service}}
"""
_GIL = "  gil: {name: Gil, email: gil@example.com, language: en}\n"
_CAROL = "  carol: {name: Carol, email: carol@x.example, language: en}\n"
RULES = """
teams:
  sales: {{name: 銷售團隊, leader: cheng, members: [a, b, chia]}}
  service: {{name: 服務, leader: c, members: [c, chia]}}
follow:
{follow}
intake:
  - {{address: quotations, creates: quotation, team: sales, from: people}}
  - {{address: leads, creates: lead, team: sales, from: everyone}}
  - {{address: invoices, creates: invoice, team: service, from: customers}}
customer_follows: {{quotation.sent: {sent}, quotation.confirmed: true, invoice.validated: false}}
on_team_change: {change}
limits:
  loop: {{messages: 100000, minutes: 120}}
  author: {{messages: 1000000, minutes: 60}}
  person: {{messages: 1000000, minutes: 60}}
  node: {{messages: 1000000, minutes: 60}}
kinds:
  repair:
    prefix: R
    name: {{zh-TW: 維修單, en: Repair}}
    states: [new, repairing, done]
    subtypes:
      started: {{name: {{zh-TW: 開始維修, en: Repair started}}, from: new, to: repairing}}
      finished: {{name: {{zh-TW: 維修完成, en: Repair done}}, to: done, internal: false}}
"""
_FOLLOW = (
    ("chia", "[discussion, note, quotation.*, lead.*]"), ("cheng", "['*']"), ("leader", "[note, discussion]"),
    ("group:sales", "[discussion]"), ("group:service", "['*']"), ("salesperson", "[note]"), ("creator", "['*']"),
    ("carol@x.example", "[note]"), ("dave@partner.example", "['*']"), ("carol@x.example", "['*', note, discussion]"),
    ("mallory@evil.example", "[note, quotation.created, assigned]"), ("li@beta.example", "[note, discussion, '*']"),
    ("gil@example.com", "[note, discussion]"), ("b.private@home.example", "[note, discussion]"), ("c", "[note]"),
)  # fmt: skip
GATEWAY = """
site: {domain: sales.example.com, name: Example Trading, language: zh-TW, timezone: Asia/Taipei, state: var}
store: {url: "sqlite:///x.db"}
smtp: {listen: "127.0.0.1:0"}
authentication: {mode: trust, authserv_id: mx.example.com}
next_hop: {url: "smtp://127.0.0.1:25"}
"""
EVENTS = {
    "quotation": ("quotation.sent", "quotation.confirmed", "quotation.cancelled"),
    "lead": ("lead.stage", "lead.won", "lead.lost", "lead.restored"),
    "invoice": ("invoice.validated", "invoice.paid"),
    "repair": ("repair.started", "repair.finished"),
}
OUT_OF_OFFICE = (
    "I am out of the office until Monday.", "Thank you for your message. I am on vacation until 30 November.",
    "我目前不在辦公室，將於週一回覆。", "自動回覆：休假中",
)  # fmt: skip


@dataclass
class Figures:
    """What a campaign did, and what went wrong."""

    seed: int
    operations: int = 0
    mails: int = 0
    events: int = 0
    messages: int = 0
    deliveries: int = 0
    to_outsiders: int = 0
    canaries: int = 0
    canaries_inside: int = 0
    canaries_public: int = 0  # whose quotes somebody released, or that their author told outsiders
    tags: int = 0
    worlds: int = 0
    shunted: int = 0
    seconds: float = 0.0
    what: Counter[str] = field(default_factory=Counter)
    became: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)


class Ground:
    """What every company of a campaign shares: a migrated store, and sets of people and rules."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        key = folder / "key.pem"
        key.write_bytes(make_key("ed25519"))
        key.chmod(0o600)
        self.key = load_key(key, "gw1", D)
        self._in_force: dict[tuple[str, str], InForce] = {}

    def in_force(self, site: Site, dice) -> InForce:
        """Return people and rules at random: who is inside, and who follows what."""
        more = _GIL * (dice.random() < 0.7) + _CAROL * (dice.random() < 0.2)
        people = PEOPLE.format(more=more, delivery=dice.choice(("mail", "none", "inbox")))
        number = dice.randrange(24)  # so many sets of rules; reading one takes its time
        return self._read(site, people, _rules(number))

    def _read(self, site: Site, people: str, rules: str) -> InForce:
        if (people, rules) not in self._in_force:
            (site.settings.folder / "people.yaml").write_text(people, "utf-8")
            (site.settings.folder / "rules.yaml").write_text(rules, "utf-8")
            problems = site.reload()
            assert not problems, problems
            self._in_force[people, rules] = site.now
        return self._in_force[people, rules]


def _rules(number: int) -> str:
    import random

    dice = random.Random(number)
    chosen = dice.sample(_FOLLOW, dice.randint(3, 8))
    teams = ("", "team: sales, ", "team: service, ", "team: [sales, service], ")
    follow = "\n".join(f"  - {{{dice.choice(teams)}who: '{who}', subtypes: {subtypes}}}" for who, subtypes in chosen)
    return RULES.format(follow=follow, sent=dice.choice(("true", "false")), change=dice.choice(("add", "replace")))


class _Hand:
    """Stands where the connection to the next hop does, and keeps what it is given."""

    def __init__(self, dice) -> None:
        self.dice = dice
        self.taken: list[tuple[str, str, bytes]] = []

    async def hand_over(self, return_path: str, recipient, mail: bytes, _in_time: Callable[[], bool]) -> Status:
        self.taken.append((return_path, str(recipient), mail))
        chance = self.dice.random()
        return _DONE if chance < 0.985 else _GONE if chance < 0.99 else _LATER


class Company:
    """One world with its house: batches of operations in, everything that left looked at."""

    def __init__(self, ground: Ground, folder: Path, seed: int, figures: Figures) -> None:
        self.ground, self.figures = ground, figures
        self.world = World(seed)
        self.dice = self.world.dice
        folder.mkdir(parents=True)
        rules = _rules(self.dice.randrange(24))
        people = PEOPLE.format(more=_GIL, delivery="mail")
        store = new_store(folder, "x.db")
        self.house = House(folder, None, store, gateway=GATEWAY, people=people, rules=rules)
        settings, _ = load_settings(read(folder / "gateway.yaml"), folder)
        site = self.house.site
        self.fan_out = FanOut(store, site, self.house.addresses, make_renderer(settings), Traffic(), lambda: None)
        self.runner = asyncio.Runner()
        hop = Hop(settings, self.house.addresses, (ground.key,) if self.dice.random() < 0.15 else ())
        self.sender = self.runner.run(_make_sender(store, hop, lambda: site.people))
        self.hand = _Hand(self.dice)
        self.public: set[int] = set()
        self.readers: dict[int, str] = {}
        self.bodies: dict[int, tuple[set[int], set[tuple[str, bytes]], str]] = {}
        self.heard: set[tuple[str, str]] = set()
        self.authors: dict[int, tuple[str, str]] = {}
        self.kinds: dict[str, str] = {}
        self.waiting: list[tuple[Mail, str]] = []
        self.touched = 0
        self._see_inside()
        for kind in ("quotation", "quotation", "lead", "invoice", "repair"):
            self.create(kind)

    def close(self) -> None:
        self.runner.close()
        self.house.reader.close()
        self.house.store.close()

    def _see_inside(self) -> None:
        self.inside = self.house.site.people
        self.world.inside = frozenset(email for each in self.inside.by_key.values() for email in each.email)

    # ---- operations

    def create(self, kind: str = "") -> None:
        kind = kind or self.dice.choice(tuple(EVENTS))
        customer = self.dice.choice((*CUSTOMERS, "w2@acme.example", "carol@x.example"))
        given = {"event": f"{kind}.created", "title": self.world.talk(), "team": self.dice.choice(("sales", "service"))}
        if self.dice.random() < 0.9 and customer not in self.world.inside:
            given["customer"] = {"name": customer.partition("@")[0], "email": customer}
        self.announce(given | {"salesperson": self.dice.choice(("a", "b", "c", "chia"))})

    def event(self) -> None:
        ref = self.world.ref()
        kind = self.kinds.get(ref, "quotation")
        name = self.dice.choice((*EVENTS.get(kind, ()), "message", "changed"))
        given: dict = {"event": name, "ref": ref}
        if name == "changed":
            given["fields"] = {"amount": str(self.dice.randrange(10_000))}
            given |= self.dice.choice(
                (
                    {},
                    {"team": self.dice.choice(("sales", "service"))},
                    {"salesperson": self.dice.choice(("a", "b", "c"))},
                )
            )
        else:
            given["body"] = self.world.talk()
            got = self.world.got_by(self.world.somebody_inside())
            if got is not None and self.dice.random() < 0.2:
                given["body"] = self.world.quoting(got)[0] or got.text
        if name == "lead.stage":
            given["fields"] = {"stage": self.dice.choice(("new", "qualified", "proposition"))}
        if name == "lead.lost":
            given["fields"] = {"reason": self.world.talk()}
        self.announce(given)

    def announce(self, given: dict) -> None:
        if self.dice.random() < 0.4:
            given["actor"] = self.dice.choice(("a", "b", "c", "chia", "cheng"))
        if self.dice.random() < 0.35:
            given["note"], _ = self.world.note_text()
        house = self.house
        with house.store.write() as tx:
            answer = announce(tx, house.desk, Event.model_validate(given), house.folder, now_ms())
        self.figures.events += 1
        if isinstance(answer, dict):
            if answer["record"] not in self.kinds:
                self.kinds[answer["record"]] = given["event"].partition(".")[0]
                self.world.refs.append(answer["record"])
        else:
            self.figures.became["event refused"] += 1

    def send(self, mail: Mail, what: str) -> None:
        """Let a mail arrive; now and then a server on its way hands it over once for each recipient."""
        if len(mail.recipients) > 1 and not mail.hidden and self.dice.random() < 0.3:
            self.waiting += [(dataclasses.replace(mail, recipients=(each,)), what) for each in mail.recipients]
        elif mail.recipients:
            self.waiting.append((mail, what))

    def write(self) -> None:
        """A new mail to a record, a team or an intake."""
        world, dice = self.world, self.dice
        author = world.somebody()
        to = [world.of_ours()] + [world.of_ours()] * (dice.random() < 0.12)
        cc = [dice.choice(OUTSIDE)] * (dice.random() < 0.15) + [world.of_ours()] * (dice.random() < 0.08)
        bcc = [world.of_ours()] * (dice.random() < 0.06)
        self.send(self._said(author, to, world.talk(), cc=cc, bcc=bcc), "write")

    def _said(self, author: str, to: Sequence[str], text: str, **more) -> Mail:
        """Return a mail; what one of our people writes to a note address holds a canary of its own."""
        everywhere = [*to, *more.get("cc", ()), *more.get("bcc", ())]
        made: tuple[int, ...] = ()
        if author in self.world.inside and any("-note" in each for each in everywhere):
            note, number = self.world.note_text()
            text, made = f"{note}\n{text}", (number,)
        sure = self.dice.random() < 0.9
        return self.world.mail(author, to, text, made=made, sure=sure, note_id=self.dice.random() < 0.3, **more)

    def note(self) -> None:
        """A note by its address or by its command, now and then to outsiders as well."""
        world, dice = self.world, self.dice
        author, ref = world.somebody_inside(), world.ref()
        text, number = world.note_text(ref)
        cc = [dice.choice(OUTSIDE)] * (dice.random() < 0.08) + [world.somebody_inside()] * (dice.random() < 0.1)
        cc += [f"{world.ref().lower()}@{D}"] * (dice.random() < 0.1)
        bcc = [world.of_ours()] * (dice.random() < 0.08)
        if dice.random() < 0.5:
            to = [f"{ref.lower()}-note@{D}"]
        else:
            to = [f"{ref.lower()}@{D}" if dice.random() < 0.9 else f"sales@{D}"]
            text = dice.choice(("/note\n", "/備註 ", "/note ", "\n／備註\n", "/Note\n\n")) + text
        subject = f"kanari{number:07d}z" if dice.random() < 0.2 else "internal"
        attached = []
        if dice.random() < 0.15:
            attached = [(f"kanari{number:07d}z.txt", "text/plain", world.note_text()[0].encode())]
        self.send(world.mail(author, to, text, cc=cc, bcc=bcc, subject=subject, attached=attached, made=(number,), sure=dice.random() < 0.93, note_id=dice.random() < 0.3), "note")  # fmt: skip

    def reply(self) -> None:
        """An answer to anything somebody got, as their program quotes it."""
        world, dice = self.world, self.dice
        author = world.somebody()
        got = world.got_by(author)
        if got is None:
            return self.write()
        to = [got.reply_to or world.of_ours(got.ref)]
        if dice.random() < 0.12:
            to = [world.of_ours(got.ref)]
        cc = [dice.choice(OUTSIDE) for _ in range(dice.randint(1, 2))] if dice.random() < 0.2 else []
        cc += [world.of_ours()] * (dice.random() < 0.05)
        bcc = [world.of_ours()] * (dice.random() < 0.04)
        text, markup = world.quoting(got)
        attached = world.attaching(got) if dice.random() < 0.08 else []
        return self.send(
            world.mail(author, to, text, markup=markup, cc=cc, bcc=bcc, answers=got, attached=attached,
                       subject=f"Re: {got.subject}", sure=dice.random() < 0.9, carries=got.canaries if attached else ()),
            "reply",
        )  # fmt: skip

    def forward(self) -> None:
        """A mail one got, sent on to another record, an intake or a team: as a new mail, or in the old thread."""
        world, dice = self.world, self.dice
        author = world.somebody_inside() if dice.random() < 0.8 else world.somebody()
        got = world.got_by(author)
        if got is None:
            return self.write()
        to = (
            [world.of_ours(world.ref())]
            if dice.random() < 0.7
            else [f"{dice.choice((*INTAKES, 'sales', 'service'))}@{D}"]
        )
        cc = [dice.choice(OUTSIDE)] * (dice.random() < 0.2)
        text, markup = world.quoting(got)
        attached = world.attaching(got) if dice.random() < 0.4 else []
        answers = got if dice.random() < 0.4 else None
        return self.send(
            world.mail(author, to, text, markup=markup, cc=cc, attached=attached, answers=answers,
                       subject=f"Fwd: {got.subject}", sure=dice.random() < 0.9, carries=got.canaries if attached else ()),
            "forward",
        )  # fmt: skip

    def follow(self) -> None:
        """Following and unfollowing, by mail and by the administrator's hand."""
        world, dice = self.world, self.dice
        ref = world.ref()
        if dice.random() < 0.5:
            author = world.somebody()
            got = world.got_by(author)
            action = dice.choice(("follow", "unfollow"))
            local = f"{ref.lower()}-{action}"
            if got is not None and "+" in got.reply_to and action == "unfollow":
                local = re.sub(r"(-note)?\+", "-unfollow+", got.reply_to.partition("@")[0])
            words = dice.choice(("", "note", "discussion note", "*", "quotation.*"))
            return self.send(world.mail(author, [f"{local}@{D}"], words, sure=dice.random() < 0.8), "follow")
        who = dice.choice((*OUTSIDE, *INSIDE, "customer", "group:sales", "gil@example.com"))
        subtypes = dice.choice((("discussion",), ("note",), ("*",), ("note", "discussion", "assigned"), ("*.created",)))
        without = dice.choice(((), (), (), ("note",), ("*",)))
        with self.house.store.write() as tx:
            if dice.random() < 0.1:
                ref = "SALES"
            row = tx.execute(sa.select(tables.record.c.id).where(tables.record.c.ref == ref)).scalar()
            if row is not None:
                followers.choose(tx, row, Choice(who, subtypes if not without else (), without))
        return None

    def machine(self) -> None:
        """An out-of-office, with or without fields, or a bounce, of what somebody got."""
        world, dice = self.world, self.dice
        author = world.somebody()
        got = world.got_by(author)
        if got is None:
            return self.write()
        text = dice.choice(OUT_OF_OFFICE) + "\n\n" + "\n".join(f"> {line}" for line in got.text.split("\n"))
        if dice.random() < 0.4 and got.return_path:
            return self.send(_bounce(world, author, got), "bounce")
        to = [got.return_path] if dice.random() < 0.5 and got.return_path else [got.reply_to or world.of_ours(got.ref)]
        head = dice.choice(("Auto-Submitted: auto-replied\n", "", "Precedence: bulk\n", "X-Autoreply: yes\n"))
        path = "" if dice.random() < 0.5 else author
        return self.send(
            world.mail(author, to, text, answers=got, head=head, return_path=path, subject=f"Automatic reply: {got.subject}"),
            "out of office",
        )  # fmt: skip

    def again(self) -> None:
        """A mail that comes a second time, somewhere else perhaps, or with another body under its Message-ID."""
        if not self.world.sent:
            return
        old = self.dice.choice(self.world.sent)
        octets, recipients = old.octets, old.recipients
        if self.dice.random() < 0.3:
            octets = octets + b"\r\nmore\r\n"
        if self.dice.random() < 0.3 and not old.hidden:
            recipients = (self.world.of_ours(),)
        self.send(dataclasses.replace(old, octets=octets, recipients=recipients), "again")

    def decide_held(self) -> None:
        """Somebody who may decides about a held mail, by its address; now and then somebody who may not."""
        with self.house.store.read() as tx:
            kept = held.listed(tx, limit=25)
        if not kept:
            return
        chosen = self.dice.choice(kept)
        action = self.dice.choice(("release", "release", "release", "drop"))
        author = self.dice.choice(("cheng@example.com", "a@example.com", chosen.author, self.world.somebody()))
        to = str(self.house.addresses.held(action, chosen.id))
        self.send(self.world.mail(author, [to], "", sure=self.dice.random() < 0.95), "held")

    OPERATIONS = (
        (write, 15), (note, 16), (reply, 34), (forward, 9), (follow, 6), (machine, 5), (again, 3), (event, 7),
        (create, 1), (decide_held, 4),
    )  # fmt: skip

    # ---- a batch

    def batch(self, operations: int) -> None:
        does, weights = zip(*self.OPERATIONS, strict=True)
        if self.dice.random() < 0.25:
            self._reload()
        for chosen in self.dice.choices(does, weights, k=operations):
            chosen(self)
            self.figures.what[chosen.__name__] += 1
        self.figures.operations += operations
        self._take_in()
        self.check()

    def _reload(self) -> None:
        self.house.site.now = self.ground.in_force(self.house.site, self.dice)
        self._see_inside()

    def _take_in(self) -> None:
        waiting, self.waiting = self.waiting, []
        if not waiting:
            return
        now = now_ms()
        received = [
            Received(now, "smtp", "127.0.0.1", "t", mail.return_path, mail.sure, mail.recipients, mail.octets)
            for mail, _ in waiting
        ]
        self.figures.mails += len(received)
        self._watch_decisions()
        with self.house.store.write() as tx:
            made = arrivals.keep_many(tx, received)
        while self.house.receiver.step():
            pass
        table = tables.arrival_recipient
        query = sa.select(table.c.arrival_id, table.c.state, table.c.cause, table.c.reason).where(
            table.c.arrival_id.in_(made)
        )
        with self.house.store.read() as tx:
            rows = tx.execute(query).all()
        for row in rows:
            self.figures.became[f"{row.state} {row.cause}".strip()] += 1
            if row.state in ("shunted", "pending"):
                self.problem(f"{row.state}: {row.reason}")
        posted = {row.arrival_id for row in rows if row.state == "posted"}
        for arrival, (mail, _) in zip(made, waiting, strict=True):
            self._told_outside(mail, posted=arrival in posted)

    def _told_outside(self, mail: Mail, *, posted: bool) -> None:
        """What an author's own mail server takes to outsiders, and what outsiders say, is out of our hands."""
        if mail.outside and mail.canaries:
            self._publish(mail.canaries, "canaries their authors mailed to outsiders")
            text = mail.text if "<" not in mail.text else _PLAIN.sub("\n", mail.text)
            for who in mail.outside:
                self.world.keep(
                    who,
                    Got(_id_of(mail.octets), "", next(iter(mail.recipients)), "chairs", "", text, lambda: mail.octets),
                )
        if posted and mail.author not in self.world.inside and (said := _canaries(everything(mail.octets))):
            self._publish(said, "canaries outsiders wrote themselves")

    def _publish(self, canaries: set[int], why: str) -> None:
        new = canaries - self.public
        self.public |= new
        self.figures.canaries_public += len(new)
        self.figures.became[why] += len(new)

    def _watch_decisions(self) -> None:
        """See which held mails are released, and for what cause they were held."""
        if getattr(decide_held.decide, "watched", None) is self:
            return
        real = getattr(decide_held.decide, "real", decide_held.decide)

        def decide(tx, action, found, who, now, address=""):
            if action == "release":
                if found.cause == decide_held.QUOTES_NOTE:
                    octets = everything(held.octets(tx, found))
                    self._publish({int(each) for each in _CANARY.findall(octets)}, "canaries somebody released")
                elif found.author not in self.world.inside:
                    octets = everything(held.octets(tx, found))
                    self._publish(
                        {int(each) for each in _CANARY.findall(octets)}, "canaries outsiders wrote themselves"
                    )
                self.figures.became[f"released: {found.cause}"] += 1
            return real(tx, action, found, who, now, address)

        decide.watched, decide.real = self, real
        decide_held.decide = decide

    # ---- what left

    def check(self) -> None:
        """Word and hand over whatever waits, and look at all of it."""
        house = self.house
        with house.store.write() as tx:
            tx.execute(sa.update(tables.notice).where(tables.notice.c.state == "pending").values(due_at=0))
        while self.fan_out.step():
            pass
        if self.dice.random() < 0.08:
            self._reload()  # somebody leaves, or comes, between the outbox and the next hop
        with house.store.read() as tx:
            # What will not be tried again by itself is no reason to wait, but a message that was shunted is a fault.
            table = tables.message
            for row in tx.execute(
                sa.select(table.c.id, table.c.not_hears).where(table.c.state == "shunted", table.c.id > self.touched)
            ):
                self.problem(f"message {row.id} shunted: {row.not_hears}")
            fresh = tx.execute(
                sa.select(table.c.id, table.c.author_who, table.c.author_email).where(table.c.id > self.touched)
            ).all()
            for row in fresh:
                self.authors[row.id] = (row.author_who, row.author_email)
                self.touched = max(self.touched, row.id)
            self.figures.messages += len(fresh)
        while self._hand_over():
            pass

    def _hand_over(self) -> int:
        sender, store = self.sender, self.house.store
        with store.write() as tx:
            claimed = outbox.claim(tx, now_ms(), 400)
        if not claimed:
            return 0
        with store.read() as tx:
            bodies = outbox.bodies(tx, [each.body_id for each in claimed])
        sender._bodies = dict(bodies)
        self.hand.taken.clear()
        outcomes = self.runner.run(self._deliver(claimed))
        sender._settle(outcomes)
        return len(claimed)

    async def _deliver(self, claimed):
        outcomes = []
        for delivery in claimed:
            before = len(self.hand.taken)
            status = await self.sender._hand_over(delivery, self.hand, time.monotonic())
            outcomes.append(self.sender._outcome(delivery, status))
            for return_path, recipient, mail in self.hand.taken[before:]:
                self._look(delivery, return_path, recipient, mail)
        return outcomes

    def _look(self, delivery, return_path: str, recipient: str, mail: bytes) -> None:
        figures = self.figures
        figures.deliveries += 1
        head, body = split(mail)
        flat = _FOLD.sub(b"", head)
        fields = {name.lower(): value.strip() for name, value in _FIELD.findall(flat)}
        if delivery.body_id not in self.bodies:
            mime = flat[flat.lower().rfind(b"\ncontent-type:") + 1 :]
            whole = everything(mime + b"\r\n\r\n" + body)
            text = everything_text(mime, body)
            self.bodies[delivery.body_id] = (_canaries(whole), _tags(whole), text)
        canaries, tags, text = self.bodies[delivery.body_id]
        shown = header_text(head)
        canaries = canaries | _canaries(shown)
        tags = tags | _tags(shown)
        person = self.house.site.people.person(recipient)
        subtype = fields.get(b"x-replygate-subtype", b"").decode()
        where = f"{recipient}, {subtype} {fields.get(b'message-id', b'').decode()}"
        if person is None:
            figures.to_outsiders += 1
            if leaked := canaries - self.public:
                self.problem(f"a note left the house: canaries {sorted(leaked)} to {where}")
            known = self.house.site.rules.kinds.subtypes.get(subtype)
            if known is not None and known.internal:
                self.problem(f"an internal subtype left the house: {where}")
            if b"x-replygate-reason" in fields:
                self.problem(f"a rule left the house: {where}")
        else:
            figures.canaries_inside += len(canaries)
        for why, tag in tags:
            self._whose(why, tag, recipient, where)
        self._once(delivery, recipient, fields, where)
        if delivery.message_id is not None:
            octets = mail
            self.world.keep(
                recipient,
                Got(
                    fields[b"message-id"].decode().strip("<>"), fields.get(b"references", b"").decode(),
                    fields.get(b"reply-to", b"").decode(), fields.get(b"subject", b"").decode("ascii", "replace"),
                    fields.get(b"x-replygate-record", b"").decode(), text, lambda: octets, delivery.id, return_path,
                ),
            )  # fmt: skip

    def _whose(self, why: str, tag: bytes, recipient: str, where: str) -> None:
        self.figures.tags += 1
        person = self.house.site.people.person(recipient)
        if why == "bounce":
            self.problem(f"a return path stands in a mail to {where}")
        elif why == "held":
            if person is None:
                self.problem(f"an address that decides about held mail went to {where}")
        else:
            number = _number(tag)
            if number not in self.readers:
                with self.house.store.read() as tx:
                    self.readers[number] = followers.reader_who(tx, number)
            who = self.readers[number]
            if who.startswith("person:"):
                holders = INSIDE.get(who.removeprefix("person:"), ("carol@x.example",))
            else:
                holders = ("wang@acme.example", "w2@acme.example") if who.endswith("@acme.example") else (who,)
            if recipient not in holders:
                self.problem(f"the tag of {who or number} went to {where}")

    def _once(self, delivery, recipient: str, fields, where: str) -> None:
        person = self.house.site.people.person(recipient)
        reader = person.key if person else recipient
        key = (fields[b"message-id"].decode(), reader)
        if key in self.heard and delivery.attempts == 0:
            self.problem(f"twice: {where}")
        self.heard.add(key)
        who, email = self.authors.get(delivery.message_id or 0, ("", ""))
        if delivery.message_id is not None and ((who and who == reader) or email == recipient):
            self.problem(f"their own message went back to {where}")

    def problem(self, text: str) -> None:
        self.figures.problems.append(f"world {self.figures.worlds}, operation {self.figures.operations}: {text}")


async def _make_sender(store, hop: Hop, people) -> Sender:
    return Sender(store, hop, people, lambda: None)


def everything_text(mime: bytes, body: bytes) -> str:
    """Return the plain text of one of our bodies."""
    whole = everything(mime + b"\r\n\r\n" + body)
    begins = whole.lower().find(b"content-type: text/plain")
    encoding = whole.lower().find(b"content-transfer-encoding:", begins)
    text = whole[encoding:].partition(b"\n")[2]
    end = text.lower().find(b"content-type: text/html")
    return text[: end if end >= 0 else None].decode("utf-8", "replace").replace("\r", "")


def _canaries(octets: bytes) -> set[int]:
    return {int(each) for form in _forms(octets) for each in _CANARY.findall(form)}


def _forms(octets: bytes) -> tuple[bytes, ...]:
    """Return text as it stands, and as it was before somebody wrapped or widened it."""
    return octets, _BROKEN.sub(b"", octets.replace(b"\x00", b""))


def _tags(octets: bytes) -> set[tuple[str, bytes]]:
    found = set()
    for form in _forms(octets):
        for tag in _TAG.finditer(form):
            before = _BEFORE.search(form[max(0, tag.start() - 40) : tag.start()])
            found.add((before[1].lower().partition(b"-")[0].decode() if before else "", tag[0].lower()))
    return found


def _number(tag: bytes) -> int:
    number = 0
    for char in tag.decode()[1:9]:
        number = number << 5 | "abcdefghijklmnopqrstuvwxyz234567".index(char)
    return number


def _id_of(octets: bytes) -> str:
    return octets.partition(b"Message-ID: <")[2].partition(b">")[0].decode()


def _bounce(world: World, author: str, got: Got) -> Mail:
    """Return a report that a mail could not be delivered, with the whole mail in it."""
    report = (
        f"From: MAILER-DAEMON@mx.example\r\nTo: {got.return_path}\r\nSubject: Undelivered Mail\r\n"
        f"Message-ID: <{world.number()}.dsn@mx.example>\r\nMIME-Version: 1.0\r\nAuto-Submitted: auto-replied\r\n"
        'Content-Type: multipart/report; report-type=delivery-status; boundary="r"\r\n\r\n'
        "--r\r\nContent-Type: text/plain\r\n\r\nIt did not arrive.\r\n"
        "--r\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.example\r\n\r\n"
        f"Final-Recipient: rfc822; {author}\r\nAction: {world.dice.choice(('failed', 'delayed'))}\r\nStatus: 4.4.1\r\n"
        "Diagnostic-Code: smtp; 450 4.4.1 later\r\n\r\n--r\r\nContent-Type: message/rfc822\r\n\r\n"
    ).encode() + got.octets() + b"\r\n--r--\r\n"  # fmt: skip
    return Mail("MAILER-DAEMON@mx.example", (got.return_path,), report, False, "", set())


def run(operations: int, seed: int, say: Callable[[str], None] = lambda _text: None, *, stop_at: int = 20) -> Figures:
    """Run a campaign of so many operations; it ends early after `stop_at` problems."""
    figures = Figures(seed)
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="replygate-notes-", dir=memory if memory.is_dir() else None))
    began = time.monotonic()
    told = began
    shown = 0
    structlog.configure(processors=[_drop])
    gc.set_threshold(50_000, 20, 50)
    try:
        ground = Ground(folder)
        while figures.operations < operations and len(figures.problems) < stop_at:
            figures.worlds += 1
            place = folder / f"w{figures.worlds}"
            company = Company(ground, place, seed * 100_003 + figures.worlds, figures)
            try:
                until = min(operations, figures.operations + WORLD)
                while figures.operations < until and len(figures.problems) < stop_at:
                    company.batch(min(BATCH, until - figures.operations))
                    for text in figures.problems[shown:]:
                        say(f"PROBLEM {text}")
                    shown = len(figures.problems)
                    if time.monotonic() - told > 20:
                        told = time.monotonic()
                        say(f"{figures.operations} operations, {figures.deliveries} deliveries, {told - began:.0f} s")
                figures.canaries += company.world.canaries
            finally:
                company.close()
                shutil.rmtree(place)
    finally:
        decide_held.decide = getattr(decide_held.decide, "real", decide_held.decide)
        structlog.reset_defaults()
        shutil.rmtree(folder, ignore_errors=True)
    figures.seconds = time.monotonic() - began
    for what in ("to_outsiders", "canaries_inside", "tags"):
        if operations >= 500 and not getattr(figures, what):
            figures.problems.append(f"the campaign proves nothing: {what} is 0")
    return figures


def run_all(operations: int, seed: int, jobs: int, say: Callable[[str], None], *, stop_at: int = 20) -> Figures:
    """Run a campaign in so many processes, each with companies of its own; return the sums."""
    if jobs <= 1:
        return run(operations, seed, say, stop_at=stop_at)
    began = time.monotonic()
    each = operations // jobs
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        parts = [pool.submit(_part, operations - each * (jobs - 1), seed, stop_at)]
        parts += [pool.submit(_part, each, seed + 1_000 * n, stop_at) for n in range(1, jobs)]
        done = [part.result() for part in parts]
    total = Figures(seed)
    for name, value in vars(total).items():
        if name not in ("seed", "seconds"):
            start = type(value)()
            setattr(total, name, sum((getattr(part, name) for part in done), start))
    total.seconds = time.monotonic() - began
    return total


def _part(operations: int, seed: int, stop_at: int) -> Figures:
    def say(text: str) -> None:
        sys.stderr.write(f"seed {seed}: {text}\n")
        sys.stderr.flush()

    return run(operations, seed, say, stop_at=stop_at)


def _drop(_logger, _name, _event):
    raise structlog.DropEvent


def show(figures: Figures) -> str:
    """Return the figures as lines for people."""
    lines = []
    for name, value in vars(figures).items():
        if isinstance(value, Counter):
            lines += [f"  {each:44}{count}" for each, count in sorted(value.items())]
        elif name != "problems":
            lines.append(f"{name:46}{value:.1f}" if isinstance(value, float) else f"{name:46}{value}")
    lines.append(f"{'operations a second':46}{figures.operations / max(figures.seconds, 0.001):.0f}")
    verdict = [f"PROBLEM {each}" for each in figures.problems] or ["No note left the house."]
    return "\n".join([*lines, "", *verdict])


def main() -> None:
    parser = argparse.ArgumentParser(prog="script/campaign-notes", description=__doc__)
    parser.add_argument("--ops", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=None, help="the same seed does the same")
    parser.add_argument("--jobs", type=int, default=2, help="processes that share the operations")
    parser.add_argument("--stop-at", type=int, default=20, help="problems after which it ends")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    seed = chosen.seed if chosen.seed is not None else time.time_ns() % 1_000_000

    def say(text: str) -> None:
        sys.stderr.write(text + "\n")
        sys.stderr.flush()

    say(f"seed {seed}, {chosen.ops} operations")
    figures = run_all(chosen.ops, seed, chosen.jobs, say, stop_at=chosen.stop_at)
    sys.stdout.write((json.dumps(vars(figures), indent=2) if chosen.json else show(figures)) + "\n")
    sys.exit(1 if figures.problems else 0)


if __name__ == "__main__":
    main()
