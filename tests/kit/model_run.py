"""Play random sequences to a house and to the model, and tell every difference."""

import email.utils
import logging
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import sqlalchemy as sa
import structlog

from gateway.decide.announce import Event as Announced
from gateway.decide.announce import Refused, announce
from gateway.following import followers
from gateway.node import make_renderer
from gateway.notify.fanout import FanOut
from gateway.notify.recipients import choose
from gateway.store import arrivals, records, tables
from gateway.store import followers as stored
from gateway.store.arrivals import Received
from gateway.store.messages import Author, Details, Message
from gateway.worker import Traffic, now_ms
from tests.kit import model
from tests.kit.house import NOBODY, ZONE, D, House
from tests.kit.model import Standing, Thing
from tests.kit.model_given import Event, Mail
from tests.kit.model_mail import Office
from tests.kit.model_words import Play, as_files, site
from tests.kit.zone import Zone

NEVER = 2**53


class _Plain:
    """Words nothing: how mails read is tested elsewhere."""

    def __init__(self, renderer: object) -> None:
        self._renderer = renderer

    def __getattr__(self, name: str) -> object:
        return getattr(self._renderer, name)

    def body(self, *_given: object, **_more: object) -> tuple[str, str]:
        return "said\n", "<p>said</p>\n"


class _FanOut(FanOut):
    def _pdf(self, told: object) -> None:
        """Make no PDF: it takes a tenth of a second."""


class _NoFlood:
    def too_much(self, *_given: object, **_more: object) -> str:
        return ""


@dataclass
class Played:
    """A sequence that is being played: the record in the store, and the model's."""

    sequence: Play
    thing: Thing
    office: Office
    ref: str
    record: int
    wrong: list[str] = field(default_factory=list)


class Stage:
    """A house with the model's site, in which sequences are played."""

    def __init__(self, folder: Path) -> None:
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
        self.site = site()
        files = as_files(self.site)
        self.house = House(folder, Zone.read(ZONE), people=files["people"], rules=files["rules"])
        self.house.desk = replace(self.house.desk, flood=_NoFlood())
        self.house.receiver._desk = self.house.desk
        self.fan_out = _FanOut(
            self.house.store, self.house.site, self.house.addresses, _Plain(make_renderer(self.house.site.settings)),
            Traffic(), lambda: None,
        )  # fmt: skip
        self.readers: dict[str, int] = {}
        self.began = time.time() - 2 * 86_400
        self.mails = self.events = 0
        self.seen: Counter[str] = Counter()

    def close(self) -> None:
        self.house.close()
        structlog.reset_defaults()

    # ---- one batch

    def play(self, sequences: Sequence[Play]) -> list[Played]:
        """Play sequences side by side, each on a record of its own; return them with what differs."""
        standing = Standing()
        with self.house.store.write() as tx:
            tx.execute(sa.delete(tables.standing))
        played = [self._begin(each, standing) for each in sequences]
        self._tell(played, standing)
        for number in range(max(len(each.steps) for each in sequences)):
            due = [each for each in played if number < len(each.sequence.steps)]
            self._round(due, number)
            if any(each.sequence.steps[number].fan for each in due):
                self._tell(played, standing)
            for each in due:
                self._compare_record(each, number)
        self._tell(played, standing)
        self._compare_threads(played)
        self._compare_answers(played)
        self._compare_probes(played, standing)
        return played

    def _begin(self, sequence: Play, standing: Standing) -> Played:
        thing = sequence.thing()
        customer = {"name": "Buyer", "email": sequence.customer[0]} if sequence.customer else None
        given = {
            "title": "chairs", "salesperson": sequence.salesperson, "actor": sequence.actor or None, "team": sequence.team,
            "customer": customer, "fields": sequence.fields,
        }  # fmt: skip
        ref = self.house.announce(f"{sequence.kind}.created", **given)
        thing.thread.append(model.Said(f"{sequence.kind}.created", sequence.actor))
        if sequence.salesperson != sequence.actor:
            thing.thread.append(model.Said("assigned", sequence.actor, assigned=sequence.salesperson))
        with self.house.store.read() as tx:
            record = tx.execute(sa.select(tables.record.c.id).where(tables.record.c.ref == ref)).scalar_one()
        return Played(sequence, thing, Office(self.site, thing, standing), ref, record)

    def _round(self, due: Sequence[Played], number: int) -> None:
        mails: list[tuple[Played, Mail]] = []
        for each in due:
            what = each.sequence.steps[number].what
            if isinstance(what, Mail):
                mails.append((each, what))
            elif isinstance(what, Event):
                self._event(each, what, number)
            else:
                self._later(each)
        received = [self._received(each, mail) for each, mail in mails]
        if not received:
            return
        with self.house.store.write() as tx:
            ids = arrivals.keep_many(tx, received)
        self.house.run()
        for made, (each, mail) in zip(ids, mails, strict=True):
            self.mails += 1
            expected, became = each.office.mail(mail), self._outcome(made)
            self.seen[expected] += 1
            if mail.to == "gateway" and became == "mistake":
                became = "done"
            if became != expected:
                each.wrong.append(f"step {number + 1}: became {became}, expected {expected}")

    def _later(self, each: Played) -> None:
        """Let ten minutes pass on a record."""
        table = tables.carried_out
        with self.house.store.write() as tx:
            query = sa.update(table).where(table.c.record_id == each.record)
            tx.execute(query.values(at=table.c.at - 600_001))
        each.thing.deeds.clear()

    def _event(self, each: Played, what: Event, number: int) -> None:
        given = {"id": f"{each.ref}-{what.number}", "event": what.name, "ref": each.ref, "fields": dict(what.fields)}
        given |= {name: getattr(what, name) for name in ("actor", "salesperson", "team", "body") if getattr(what, name)}
        given |= {"mailed": True} if what.mailed else {}
        with self.house.store.write() as tx:
            answer = announce(tx, self.house.desk, Announced.model_validate(given), self.house.folder, now_ms())
        self.events += 1
        again = ("event", what.number) in each.thing.taken
        expected = "repeated" if again else "taken" if each.office.event(what) else "refused"
        if expected == "taken":
            each.thing.taken.add(("event", what.number))
        became = "refused" if isinstance(answer, Refused) else "repeated" if answer["repeated"] else "taken"
        self.seen[expected] += 1
        if became != expected:
            each.wrong.append(f"step {number + 1}: event {became}, expected {expected}")

    def _outcome(self, arrival: int) -> str:
        ((state, cause),) = self.house.became(arrival)
        return cause if cause in ("duplicate", "mistake") else state

    def _received(self, each: Played, mail: Mail) -> Received:
        to = self._address(each, mail)
        shown = ", ".join(("d@example.com", *mail.cc) if mail.hidden else (to, *mail.cc))
        head = [f"From: {mail.author}", f"To: {shown}", "Subject: chairs", f"Message-ID: <{mail.number}@x.example>"]
        head.append(f"Date: {email.utils.formatdate(self.began - mail.number % 500_000)}")
        if mail.answers is not None:
            head.append(f"In-Reply-To: <{self._message_id(each, mail.answers)}>")
        body = [*mail.lines, *([""] if mail.lines else []), mail.text]
        content = "\r\n".join([*head, "Content-Type: text/plain; charset=utf-8", "", *body, ""]).encode()
        peer = "192.0.2.1" if mail.sure else NOBODY
        return Received(now_ms(), "smtp", peer, "host.example", mail.author, mail.sure, (to,), content)

    def _address(self, each: Played, mail: Mail) -> str:
        if mail.to == "gateway":
            return f"gateway@{D}"
        number = self._reader(mail.tag) if mail.tag else None
        return str(self.house.addresses.alias(each.ref, mail.to, number, 0))

    def _reader(self, who: str) -> int:
        if who not in self.readers:
            self.readers[who] = self.house.reader_number(who)
        return self.readers[who]

    def _message_id(self, each: Played, back: int) -> str:
        table = tables.message
        query = sa.select(table.c.message_id).where(table.c.record_id == each.record).order_by(table.c.id)
        with self.house.store.read() as tx:
            ids = list(tx.execute(query).scalars())
        return str(ids[max(-1 - back, -len(ids))])

    def _tell(self, played: Sequence[Played], standing: Standing) -> None:
        """Let both tell those who hear of whatever waits."""
        with self.house.store.write() as tx:
            tx.execute(sa.update(tables.notice).where(tables.notice.c.due_at < NEVER).values(due_at=NEVER))
        while self.fan_out.step():
            pass
        model.fan_out(self.site, [each.thing for each in played], standing)

    # ---- what differs

    def _compare_record(self, each: Played, number: int) -> None:
        with self.house.store.read() as tx:
            have = records.find(tx, each.ref)
        assert have is not None
        is_now = {
            "state": have.state, "team": have.team, "teams": have.teams, "salesperson": have.salesperson,
            "customer": have.customer.emails, "title": have.title, **{f"fields.{k}": v for k, v in have.fields.items()},
        }  # fmt: skip
        expected = each.thing.values()
        if is_now != expected and not each.wrong:
            each.wrong += [
                f"step {number + 1}: {name} is {is_now.get(name)!r}, expected {expected.get(name)!r}"
                for name in {**is_now, **expected} if is_now.get(name) != expected.get(name)
            ]  # fmt: skip

    def _compare_threads(self, played: Sequence[Played]) -> None:
        table = tables.message
        ids = {each.record: each for each in played}
        found: dict[int, list[tuple[str, str, dict[str, str]]]] = {each: [] for each in ids}
        query = sa.select(table).where(table.c.record_id.in_(ids)).order_by(table.c.id)
        with self.house.store.read() as tx:
            for row in tx.execute(query):
                hears = {each["who"]: each["delivery"] for each in row.hears or ()}
                found[row.record_id].append((row.subtype, row.author_who or row.author_email, hears))
        for record, each in ids.items():
            expected = [(said.subtype, said.author, said.hears) for said in each.thing.thread]
            for n, (is_now, should) in enumerate(zip(found[record], expected, strict=False)):
                if is_now != should:
                    each.wrong.append(f"message {n}: {is_now}, expected {should}")
            if len(found[record]) != len(expected):
                each.wrong.append(
                    f"{len(found[record])} messages, expected {len(expected)}: {found[record][len(expected) :]}"
                )

    def _compare_answers(self, played: Sequence[Played]) -> None:
        table = tables.notice
        have: Counter[tuple[str, str]] = Counter()
        with self.house.store.write() as tx:
            query = sa.select(table.c.kind, table.c.data).where(table.c.kind.in_(("transcript", "answer")))
            for row in tx.execute(query):
                have[row.data["answers"].strip("<>").partition("@")[0], row.data.get("what", "answer")] += 1
            tx.execute(sa.delete(table))
        for each in played:
            numbers = {str(step.what.number) for step in each.sequence.steps if isinstance(step.what, Mail)}
            is_now = {key: count for key, count in have.items() if key[0] in numbers}
            if is_now != dict(each.thing.answers):
                each.wrong.append(f"answered {is_now}, expected {dict(each.thing.answers)}")

    def _compare_probes(self, played: Sequence[Played], standing: Standing) -> None:
        with self.house.store.read() as tx:
            found = records.load(tx, [each.record for each in played])
            choices = stored.choices(tx, list(found))
        rules, people = self.house.site.rules, self.house.site.people
        for each in played:
            record = found[each.record]
            their = followers(record, choices[record.id], people, rules)
            expected = model.probe(self.site, each.thing, standing)
            for name, should in expected.items():
                subtype = rules.kinds.subtypes[name]
                made = choose(_blank(record.id, name, internal=subtype.internal), subtype, record, their, people)
                is_now = {heard.who: heard.delivery for heard in made.hears}
                if name != "assigned" and is_now != should:
                    each.wrong.append(f"at the end {name} reaches {is_now}, expected {should}")


def _blank(record: int, subtype: str, *, internal: bool) -> Message:
    values: dict[str, object] = dict.fromkeys(Message.__dataclass_fields__, "")
    values |= {"id": 0, "record_id": record, "subtype": subtype, "internal": internal, "at": 0, "parent_id": None}
    values |= {"author": Author(), "addressed": (), "ancestors": (), "changes": (), "details": Details(mailed=True)}
    return Message(**values)  # type: ignore[arg-type]
