"""A site for the model, and random sequences of mails and events for one record of it."""

import random
import string
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import yaml

from tests.kit.model import CUSTOMER, FIRST_STATE, STAGES, TRANSITIONS, Human, Rule, Site, Thing, subtypes_of
from tests.kit.model_given import ASKS, EVENTS, Event, Mail

SLOTS = 25  # records that are played at the same time, each with teams of its own
PEOPLE = {
    "a": Human(("a@example.com",), ("A君",)),
    "b": Human(("b@example.com",), ("B君",), ("sales", "sales-admin")),
    "c": Human(("c@example.com",), ("C君",), delivery="none"),
    "d": Human(("d@example.com",), ("D君",), ("settings",)),
    "e": Human(("e@example.com",), ("E君",), delivery="inbox"),
    "chia": Human(("chia@example.com",), ("賈小姐",)),
    "cheng": Human(("cheng@example.com", "boss@example.com"), ("鄭先生",), ("sales", "sales-admin", "settings")),
}
ACME = ("wang@acme.example", "li@acme.example")
AUDIT, BUYER, OTHER, NEW, COPIED, STRANGER = (
    f"{e}@x.example" for e in ("audit", "buyer", "other", "new", "copied", "stranger")
)
CHINESE = {
    "note": "備註", "send": "送出", "follow": "訂閱", "unfollow": "取消訂閱", "confirm": "確認", "cancel": "取消",
    "stage": "階段", "won": "贏得", "lost": "失去", "restore": "恢復", "validate": "過帳", "paid": "已付款", "set": "設定",
    "assign": "指派", "team": "團隊", "add": "加入", "remove": "移除", "undo": "復原", "prefs": "偏好", "show": "查看",
    "history": "歷史", "followers": "訂閱者", "why": "原因", "list": "列表", "help": "說明",
}  # fmt: skip


def site() -> Site:
    norths, souths = [f"north{n}" for n in range(SLOTS)], [f"south{n}" for n in range(SLOTS)]
    members = dict.fromkeys(norths, ("a", "b", "chia", "cheng")) | dict.fromkeys(souths, ("c", "d", "e", "b"))
    north, south = tuple(norths), tuple(souths)
    rules = [
        Rule(north, "chia", ("discussion", "note", "quotation.created", "quotation.sent", "lead.*", "invoice.*")),
        Rule(north, "leader", ("quotation.confirmed", "lead.won", "lead.lost", "invoice.validated")),
        Rule(north, "cheng", ("quotation.sent", "lead.stage"), ("amount", ">=", ("100000",)), "mail"),
        Rule(south, "salesperson", ("quotation.*", "note")),
        Rule(south, "c", ("lead.won", "invoice.paid"), None, "mail"),
        Rule(south, "creator", ("quotation.confirmed", "lead.restored")),
        Rule((*north, *south), AUDIT, ("discussion", "note", "lead.won", "invoice.paid")),
        Rule((*north, *south), "e", ("invoice.*",), ("currency", "in", ("TWD", "USD")), "mail"),
        *(Rule((team,), f"group:{team}", ("discussion",)) for team in norths),
    ]
    return Site(PEOPLE, members, dict.fromkeys(norths, "cheng") | dict.fromkeys(souths, "b"), rules)


def as_files(made: Site) -> dict[str, str]:
    """Return a site as its two files."""
    people = {
        key: {"name": e.names[0], "email": list(e.emails), "rights": list(e.rights), "delivery": e.delivery,
              "language": "en" if key in "bd" else "zh-TW"} for key, e in made.people.items()
    }  # fmt: skip
    teams = {
        key: {"name": key.upper(), "leader": made.leaders[key], "members": [e for e in who if e != made.leaders[key]]}
        for key, who in made.members.items()
    }
    follow = []
    for rule in made.rules:
        entry: dict[str, object] = {"team": list(rule.teams), "who": rule.who, "subtypes": list(rule.subtypes)}
        if rule.when:
            entry["when"] = f"{rule.when[0]} {rule.when[1]} {', '.join(rule.when[2])}"
        follow.append(entry | ({"delivery": rule.delivery} if rule.delivery else {}))
    limits = {"loop": {"messages": 1_000_000, "minutes": 120}, "person": {"messages": 1_000_000, "minutes": 10}}
    limits |= {name: {"messages": 10_000_000, "minutes": 60} for name in ("author", "node")}
    customers = {"acme": {"name": "ACME", "email": list(ACME), "language": "en"}}
    rules = {"teams": teams, "follow": follow, "limits": limits, "lead_stages": list(STAGES)}
    shown = [
        yaml.safe_dump(e, allow_unicode=True, sort_keys=False)
        for e in ({"people": people, "customers": customers}, rules)
    ]
    return {"people": shown[0], "rules": shown[1]}


@dataclass(frozen=True)
class Step:
    """One thing that happens; `fan` tells that afterwards whatever waits is told."""

    what: Mail | Event | str  # "later": ten minutes pass
    fan: bool = True


@dataclass(frozen=True)
class Play:
    """A record as it begins, and what happens to it."""

    slot: int
    kind: str
    actor: str
    salesperson: str
    team: str
    customer: tuple[str, ...]
    fields: dict[str, str]
    steps: tuple[Step, ...] = field(default=())

    def thing(self) -> Thing:
        stage = {"stage": "new"} if self.kind == "lead" else {}
        team = (self.team,)
        return Thing(
            self.kind, FIRST_STATE[self.kind], self.team, team, self.salesperson, self.actor, self.customer, "chairs",
            {**self.fields, **stage},
        )  # fmt: skip


class Words:
    """Random mails and events for one record, from one seed."""

    def __init__(self, rng: random.Random, slot: int, first: int, *, alone: bool) -> None:
        """`first` is the number of the first mail; `alone` allows choices for every team."""
        self.rng, self.slot, self.number, self.alone = rng, slot, first, alone

    def sequence(self, fans: Sequence[bool]) -> Play:
        rng = self.rng
        self.kind = rng.choice(("quotation", "lead", "invoice"))
        self.team = f"{rng.choice(('north', 'north', 'south'))}{self.slot}"
        self.customer = rng.choice((ACME, ACME, (BUYER,), ()))
        # Few people and few things, so that one meets what another did.
        self.cast = rng.sample(list(PEOPLE), rng.choice((1, 2, 2, 3, 7)))
        named = [
            *PEOPLE,
            "賈小姐",
            "boss@example.com",
            OTHER,
            AUDIT,
            f"group:{self.team}",
            *self.customer,
            *[CUSTOMER] * bool(self.customer),
        ]
        self.named = rng.sample(named, rng.choice((1, 2, 8)))
        self.narrow = rng.random() < 0.3
        fields = {name: rng.choice(values) for name, values in VALUES.items() if rng.random() < 0.3}
        fields = {name: value for name, value in fields.items() if value != "-"}
        people = list(PEOPLE)
        made = Play(
            self.slot, self.kind, rng.choice(["", *people]), rng.choice(people), self.team, self.customer, fields
        )
        steps: list[Step] = []
        left = rng.randint(1, 8)  # commands
        while left > 0 and len(steps) < len(fans):
            what, took = self.step([s.what for s in steps if not isinstance(s.what, str)])
            steps.append(Step(what, fans[len(steps)]))
            left -= took
        return replace(made, steps=tuple(steps))

    def step(self, before: Sequence[Mail | Event]) -> tuple[Mail | Event | str, int]:
        """Return the next thing that happens, and how many commands it is."""
        rng = self.rng
        roll = rng.random()
        if roll < 0.08 and before:
            return before[-1], 1
        if roll < 0.1:
            return "later", 0
        self.number += 1
        if roll < 0.58:
            return self.simple(roll)
        if roll < (0.78 if self.narrow else 0.68):
            return self.mail(self.person(), [("undo",)]), 1
        count = rng.choice((1, 1, 1, 2, 2, 3))
        given = [self.command() for _ in range(count)]
        text = self.text() if rng.random() < 0.3 else ""
        return self.mail(self.person(), given, text=text, to=rng.choice(("", "", "", "", "note"))), count

    def simple(self, roll: float) -> tuple[Mail | Event, int]:
        """Return an event, or a mail that is no list of commands."""
        for made, below in ((self.event, 0.22), (self.outsiders, 0.34), (self.by_address, 0.42), (self.talk, 0.55)):
            if roll < below:
                return made(), 1
        given = [self.standing() for _ in range(self.rng.randint(1, 2))]
        return self.mail(self.person(), given, to="gateway"), len(given)

    # ---- mails

    def mail(
        self, author: str, given: Sequence[tuple[str, ...]], *, to: str = "", text: str = "", **more: object
    ) -> Mail:
        lines = tuple(map(self.line, given))
        sure = self.rng.random() < 0.93
        made = Mail(self.number, author, sure, to, commands=tuple(given), lines=lines, text=text, **more)  # type: ignore[arg-type]
        roll = self.rng.random()
        if to != "gateway" and roll < 0.06 and not _tagless(made):
            return replace(made, tag=self.rng.choice(("person:a", "person:chia", *self.customer[:1], OTHER)))
        return replace(made, hidden=True) if roll > 0.95 and to in ("", "note") else made

    def line(self, given: tuple[str, ...]) -> str:
        rng = self.rng
        name, *words = given
        if name == "?":
            return " ".join(("/" + words[0], *words[1:]))
        shown = rng.choice((name, name.upper(), CHINESE[name], CHINESE[name]))
        return rng.choice(("/", "/", "／")) + " ".join((shown, *words))

    def person(self) -> str:
        who = self.rng.choice(self.cast)
        return self.rng.choice(PEOPLE[who].emails)

    def text(self) -> str:
        return " ".join("".join(self.rng.choices(string.ascii_lowercase, k=9)) for _ in range(4))

    def talk(self) -> Mail:
        """Return what a person says: a discussion or a note, perhaps in answer, perhaps with others in Cc."""
        rng = self.rng
        given = [("note",)] if rng.random() < 0.25 else []
        known = (COPIED, OTHER, *self.customer, "chia@example.com", "boss@example.com", "e@example.com")
        cc = tuple(dict.fromkeys(rng.sample(known, rng.choice((0, 0, 1, 2)))))
        more = {"answers": rng.randrange(2) if rng.random() < 0.4 else None, "cc": cc}
        made = self.mail(self.person(), given, text=self.text(), to=rng.choice(("", "", "", "note", "accept")), **more)
        return replace(made, tag="person:a") if made.to == "accept" else made

    def outsiders(self) -> Mail:
        rng = self.rng
        author = rng.choice((*(self.customer or ACME), *(self.customer or ACME), OTHER, AUDIT, NEW, COPIED, STRANGER))
        given = rng.choice(([], [], [], [self.command()], [("note",)]))
        to = rng.choice(
            ("", "", "", "note", "unfollow", "unfollow", "accept", "accept", "decline", "follow", "confirm")
        )
        made = self.mail(author, given if to in ("", "note") else [], to=to, text=self.text())
        holder = author if rng.random() < 0.4 else rng.choice((*(self.customer[:1] or (OTHER,)), "person:a"))
        tagged = to in ("accept", "decline") or (to in ("", "unfollow") and rng.random() < 0.4)
        return replace(made, sure=rng.random() < 0.7, tag=holder if tagged else "", hidden=False)

    def by_address(self) -> Mail:
        """Return a command given by its own address, its words in the text."""
        given = ("?",)
        while given[0] in ("?", "note", "prefs"):
            given = self.command()
        name, *words = given
        takes = name in ("follow", "unfollow", "add", "remove", "set", "assign", "team", "stage", "lost", "send")
        words = words if takes else []
        made = self.mail(self.person(), [(name, *words)], to=name, text=" ".join(words))
        return replace(made, lines=())

    # ---- commands

    def command(self) -> tuple[str, ...]:
        """Return a command with its words, right or wrong."""
        rng = self.rng
        if self.narrow and rng.random() < 0.8:
            money = ("set", rng.choice(("amount", "金額")), rng.choice(("5", "120000", "-")))
            return rng.choice((money, self.following(), self.fitting()))
        ways = {
            self.fitting: 36, self.any_transition: 4, self.setting: 8, self.handing: 11, self.standing: 6, self.following: 23,
            lambda: ("?", rng.choice(("confrim", "foo", "確人", "sned")), *rng.choice(((), ("x",)))): 4,
            lambda: (rng.choice(("set", "assign", "team", "add", "remove", "lost", "stage")),): 2,
            lambda: (rng.choice(ASKS[:-1]),): 4,
            lambda: ("note",): 2,
        }  # fmt: skip
        (way,) = rng.choices(list(ways), list(ways.values()))
        return way()

    def setting(self) -> tuple[str, ...]:
        name = self.rng.choice((*VALUES, "金額", "標題", "title", "state", "stage"))
        return ("set", name, *self.rng.choice(VALUES.get(name, ("5", "7000000"))).split())

    def handing(self) -> tuple[str, ...]:
        """Return a command that gives the record to somebody, or to a team."""
        if self.rng.random() < 0.6:
            return ("assign", self.rng.choice((*PEOPLE, "B君", "賈小姐", "boss@example.com", "nobody", OTHER)))
        return ("team", self.rng.choice((f"north{self.slot}", f"south{self.slot}", "nowhere")))

    def fitting(self) -> tuple[str, ...]:
        return self.transition(self.rng.choice([name for name, kinds in EVENTS.items() if self.kind in kinds]))

    def any_transition(self) -> tuple[str, ...]:
        return self.transition(self.rng.choice(list(EVENTS)))

    def transition(self, name: str) -> tuple[str, ...]:
        rng = self.rng
        match name:
            case "stage":
                return ("stage", rng.choice((*STAGES, "bogus")))
            case "lost":
                return ("lost", *rng.choice((("too", "dear"), ("太貴",))))
            case "send":
                return (
                    "send",
                    *rng.choice(((), (), (), (NEW,), ("b@example.com",), ("nobody",), (NEW, "two@x.example"))),
                )
            case _:
                return (name,)

    def patterns(self) -> tuple[str, ...]:
        rng = self.rng
        known = (*subtypes_of(self.kind), f"{self.kind}.*", f"{self.kind}.*", "*")
        wrong = ("nothing", "lead.nothing", "invoice.paid", "lead.won")
        return tuple(
            rng.choice(wrong) if rng.random() < 0.06 else rng.choice(known) for _ in range(rng.choice((0, 0, 1, 1, 2)))
        )

    def following(self) -> tuple[str, ...]:
        rng = self.rng
        name = rng.choice(("follow", "follow", "unfollow", "unfollow", "add", "add", "remove"))
        if name in ("follow", "unfollow"):
            return (name, *self.patterns())
        who = rng.choice(("nobody", "group:nowhere")) if rng.random() < 0.06 else rng.choice(self.named)
        return (name, who, *self.patterns())

    def standing(self) -> tuple[str, ...]:
        """Return a choice for the records of a team."""
        rng = self.rng
        teams = (f"north{self.slot}", f"south{self.slot}", self.team, "nowhere", *(("*",) if self.alone else ()))
        team = rng.choice(("team:", "團隊:")) + rng.choice(teams)
        name = rng.choice(("follow", "follow", "unfollow", "unfollow", "add", "remove"))
        who = (rng.choice((*self.cast, *self.cast, "賈小姐", OTHER)),) if name in ("add", "remove") else ()
        return (name, *who, *self.patterns(), team)

    # ---- events

    def event(self) -> Event:
        rng = self.rng
        fitting = [each for each in TRANSITIONS if each.startswith(f"{self.kind}.")]
        name = rng.choice((*fitting, *fitting, "changed", "message", rng.choice(list(TRANSITIONS))))
        made = Event(self.number, name, rng.choice(["", *PEOPLE]))
        if name == "message":
            return replace(made, body=self.text())
        fields = {each: rng.choice(values) for each, values in VALUES.items() if rng.random() < 0.15}
        fields = {each: None if value == "-" else value for each, value in fields.items()}
        if name == "lead.stage":
            fields["stage"] = rng.choice(STAGES)
        if name == "lead.lost":
            fields["reason"] = "too dear"
        salesperson = rng.choice(list(PEOPLE)) if rng.random() < 0.15 else ""
        team = rng.choice((f"north{self.slot}", f"south{self.slot}")) if rng.random() < 0.15 else ""
        mailed = name in ("quotation.sent", "invoice.validated") and rng.random() < 0.3
        return replace(made, fields=fields, salesperson=salesperson, team=team, mailed=mailed)


VALUES = {
    "amount": ("5", "99999.99", "100000", "120000", "lots", "-"), "currency": ("TWD", "USD", "EUR", "-"),
    "valid_until": ("2099-12-31", "2020-01-01"), "phone": ("02 1234", "-"),
}  # fmt: skip


def _tagless(mail: Mail) -> bool:
    """Whether there is no address with a tag for what a mail goes to."""
    return mail.to not in ("", "note", "unfollow")
