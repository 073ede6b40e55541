"""What CONTRACT says of records, followers and commands, said once more and as simply as can be.

Written from CONTRACT §3 to §7 alone: it knows nothing of the code it is compared with, keeps everything in
lists and dictionaries, and computes everything anew. Who is wrong where the two differ, a person decides.
"""

import copy
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any

CUSTOMER = "customer"
EVERYWHERE = ("discussion", "note", "assigned")
CREATED = ("quotation.created", "lead.created", "invoice.created")
# event: from which states, to which
TRANSITIONS = {
    "quotation.sent": (("draft", "sent"), "sent"),
    "quotation.confirmed": (("draft", "sent"), "confirmed"),
    "quotation.cancelled": (("draft", "sent", "confirmed"), "cancelled"),
    "lead.stage": (("open",), "open"),
    "lead.won": (("open",), "won"),
    "lead.lost": (("open",), "lost"),
    "lead.restored": (("lost",), "open"),
    "invoice.validated": (("draft",), "posted"),
    "invoice.paid": (("posted",), "paid"),
}
FIRST_STATE = {"quotation": "draft", "lead": "open", "invoice": "draft"}
PUBLIC = (
    "discussion",
    "quotation.sent",
    "quotation.confirmed",
    "quotation.cancelled",
    "invoice.validated",
    "invoice.paid",
)
TO_CUSTOMER = ("quotation.sent", "invoice.validated")
STAGES = ("new", "qualified", "proposition")
AT_ONCE = ("mail", "inbox", "digest", "none")  # ways of delivery, the most immediate first


def subtypes_of(kind: str) -> tuple[str, ...]:
    return (*EVERYWHERE, *(each for each in (*CREATED, *TRANSITIONS) if each.startswith(f"{kind}.")))


ALL_SUBTYPES = (*EVERYWHERE, *CREATED, *TRANSITIONS)


def covers(pattern: str, other: str) -> bool:
    """Whether a subtype or wildcard takes in another."""
    return pattern in ("*", other) or (pattern.endswith(".*") and other.startswith(pattern[:-1]))


def exactness(pattern: str) -> int:
    return 0 if pattern == "*" else 1 if pattern.endswith(".*") else 2


@dataclass(frozen=True)
class Bag:
    """What somebody wants and what they gave up, in one place: the newer word wins over all it covers."""

    wants: tuple[str, ...] = ()
    gives_up: tuple[str, ...] = ()

    def with_wanted(self, patterns: Sequence[str]) -> "Bag":
        # Who follows again after giving everything up is back under the rules.
        left = tuple(e for e in self.gives_up if e != "*" and not any(covers(p, e) for p in patterns))
        return Bag(tuple(dict.fromkeys((*self.wants, *patterns))), left)

    def with_given_up(self, patterns: Sequence[str]) -> "Bag":
        left = tuple(e for e in self.wants if not any(covers(p, e) for p in patterns))
        return Bag(left, tuple(dict.fromkeys((*self.gives_up, *patterns))))

    def says(self, subtype: str) -> tuple[bool | None, bool]:
        """Return whether the subtype is wanted (None: nothing is said of it), and whether that beats something."""
        want = max((exactness(e) for e in self.wants if covers(e, subtype)), default=-1)
        give = max((exactness(e) for e in self.gives_up if covers(e, subtype)), default=-1)
        return (None, False) if want == give == -1 else (want > give, give >= 0)


NOTHING = Bag()


@dataclass(frozen=True)
class Human:
    emails: tuple[str, ...]
    names: tuple[str, ...]
    rights: tuple[str, ...] = ("sales",)
    delivery: str = "mail"


@dataclass(frozen=True)
class Rule:
    teams: tuple[str, ...]
    who: str
    subtypes: tuple[str, ...]
    when: tuple[str, str, tuple[str, ...]] | None = None  # field, >= or in, values
    delivery: str = ""

    def holds(self, fields: Mapping[str, str]) -> bool:
        if self.when is None:
            return True
        name, operator, values = self.when
        have = fields.get(name, "")
        if not have:
            return False
        if operator == "in":
            return have in values
        try:
            return Decimal(have) >= Decimal(values[0])
        except InvalidOperation:
            return have >= values[0]


@dataclass(frozen=True)
class Site:
    people: Mapping[str, Human]
    members: Mapping[str, tuple[str, ...]]  # of each team, the leader among them
    leaders: Mapping[str, str]
    rules: Sequence[Rule]

    def person(self, word: str) -> str:
        """Return whom a key, a name or an address names; "" for nobody inside."""
        return next((k for k, e in self.people.items() if word == k or word in e.names or word in e.emails), "")


@dataclass
class Said:
    """A message in a thread. `hears` is None until it is fanned out."""

    subtype: str
    author: str  # a person's key, an outsider's address, "" for the record system
    hears: dict[str, str] | None = None
    assigned: str = ""
    asked: str = ""  # who outside asked for what is assigned
    inside: bool = False  # whoever outside follows does not hear of it
    unheard: frozenset[str] = frozenset()  # outsiders who follow only by a command beside it
    answered: str = ""
    addressed: tuple[str, ...] = ()
    mailed: bool = False
    quiet: bool = False
    taken_back: tuple[str, ...] | None = None
    terms: tuple[str, str] | None = None  # what it offered the customer

    @property
    def outside(self) -> bool:
        return "@" in self.author


@dataclass
class Deed:
    """What one mail's commands did: every value and every bag that changed, before and after."""

    changed: dict[Any, tuple[Any, Any]]
    messages: list[Said]
    final: bool


@dataclass
class Thing:
    """A record with its followers' choices and its thread."""

    kind: str
    state: str
    team: str
    teams: tuple[str, ...]
    salesperson: str
    creator: str
    customer: tuple[str, ...]
    title: str
    fields: dict[str, str]
    bags: dict[str, Bag] = field(default_factory=dict)
    thread: list[Said] = field(default_factory=list)
    deeds: dict[str, list[Deed]] = field(default_factory=dict)
    answers: Counter[tuple[str, str]] = field(default_factory=Counter)  # (person, transcript done | mistake | answer)
    taken: set[tuple[str, int]] = field(default_factory=set)  # which mails were taken, by the address they came to

    @property
    def terms(self) -> tuple[str, str] | None:
        """What a customer says yes to; None where nothing is offered."""
        return (self.fields["amount"], self.fields.get("currency", "")) if self.fields.get("amount") else None

    def values(self) -> dict[str, Any]:
        """Return what a command may change, each by its name."""
        named = {"state": self.state, "team": self.team, "teams": self.teams, "salesperson": self.salesperson}
        named |= {"customer": self.customer, "title": self.title}
        return {**named, **{f"fields.{name}": value for name, value in self.fields.items()}}

    def put(self, name: str, value: Any) -> None:
        if not name.startswith("fields."):
            setattr(self, name, value)
        elif value is None:
            self.fields.pop(name[7:], None)
        else:
            self.fields[name[7:]] = value


class Standing(dict[tuple[str, str], Bag]):
    """What people chose for the records of a team ("": every team), by person and team."""


# ---- who hears


class Followers:
    """Who follows one record, as everything stands now."""

    def __init__(self, site: Site, thing: Thing, standing: Standing) -> None:
        self.site, self.thing, self.standing = site, thing, standing

    def whole(self, who: str) -> str:
        """Return one name for one party: the customer has several addresses."""
        return CUSTOMER if who in self.thing.customer else who

    def given(self, who: str) -> list[tuple[tuple[str, ...], str]]:
        """Return what roles, rules and groups give somebody: subtypes, and a way of delivery."""
        thing, site = self.thing, self.site
        human = site.people.get(who)
        own = human.delivery if human else "mail"
        found = [(("discussion",), own)] * (human is not None and who in (thing.creator, thing.salesperson))
        for rule in site.rules:
            teams = [team for team in thing.teams if team in rule.teams]
            if teams and who in self._named(rule.who, teams) and rule.holds(thing.fields):
                found.append((rule.subtypes, rule.delivery or own))
        for group, bag in thing.bags.items():
            if group.startswith("group:") and who in site.members[group[6:]]:
                found.append((bag.wants, own))
        return found

    def _named(self, word: str, teams: Sequence[str]) -> tuple[str, ...]:
        thing, site = self.thing, self.site
        roles = {"salesperson": (thing.salesperson,), "creator": (thing.creator,)}
        if word == "leader":
            return tuple(site.leaders[team] for team in teams)
        if word.startswith("group:"):
            return site.members[word[6:]]
        return roles.get(word, (self.whole(word),))

    def ways(self, who: str, subtype: str) -> list[str]:
        """Return by which ways somebody would be told of a subtype; none if they do not follow it."""
        own = self.site.people[who].delivery if who in self.site.people else "mail"
        groups = [e for g, e in self.thing.bags.items() if g.startswith("group:") and who in self.site.members[g[6:]]]
        removed = any(covers(p, subtype) for bag in groups for p in bag.gives_up)
        given = [] if removed else self.given(who)
        ruled = [way for patterns, way in given if any(covers(e, subtype) for e in patterns)]
        mine = self.thing.bags.get(who, NOTHING)
        for bag in (mine, self._standing(who, mine)):
            wanted, beats = bag.says(subtype)
            if wanted is not None:
                return [own, *([] if beats else ruled)] if wanted else []
        return ruled

    def _standing(self, who: str, mine: Bag) -> Bag:
        bags = [self.standing.get((who, team), NOTHING) for team in ("", *self.thing.teams)]
        wants = tuple(e for bag in bags for e in bag.wants)
        gives_up = tuple(e for bag in bags for e in bag.gives_up if e != "*" or not mine.wants)
        return Bag(wants, gives_up)

    def outsiders(self) -> list[str]:
        """Return every outsider the record knows of, each once."""
        named = [rule.who for rule in self.site.rules if "@" in rule.who]
        known = [CUSTOMER] * bool(self.thing.customer) + [*self.thing.bags, *named]
        return [e for e in dict.fromkeys(map(self.whole, known)) if "@" in e or (e == CUSTOMER and self.thing.customer)]

    def outside(self) -> set[str]:
        """Return who outside hears of a discussion."""
        return {each for each in self.outsiders() if self.ways(each, "discussion")}

    def follows(self, outsider: str) -> bool:
        bag = self.thing.bags.get(outsider, NOTHING)
        return bool(bag.wants) or (bool(self.given(outsider)) and "*" not in bag.gives_up)

    def hear(self, said: Said) -> dict[str, str]:
        """Return who hears of a message, each with the way of delivery."""
        found = {} if said.quiet else {who: way for who in self.site.people if (way := self._inside(who, said))}
        if not (said.quiet or said.inside) and said.subtype in PUBLIC and said.taken_back is None:
            for who in self.outsiders() + [said.answered] * bool(said.answered):
                if self._outside(self.whole(who), said):
                    found[self.thing.customer[0] if self.whole(who) == CUSTOMER else who] = "mail"
        return found

    def _inside(self, who: str, said: Said) -> str:
        human = self.site.people[who]
        if who == said.author or any(each in said.addressed for each in human.emails):
            return ""
        if said.taken_back is not None:
            ways = [human.delivery] * (who in said.taken_back)
        elif who == said.assigned:
            ways = [human.delivery]
        else:
            ways = self.ways(who, said.subtype)
        way = min(ways, key=AT_ONCE.index, default="none")
        return "" if way == "none" else way

    def _outside(self, who: str, said: Said) -> bool:
        emails = self.thing.customer if who == CUSTOMER else (who,)
        if said.author in emails or any(each in said.addressed for each in emails):
            return False
        if who == CUSTOMER and said.subtype in TO_CUSTOMER:
            return not said.mailed
        if who in said.unheard:
            return False
        return self.whole(said.answered) == who or bool(self.ways(who, said.subtype))


def happen(thing: Thing, event: str, actor: str, **more: Any) -> Said:
    """Let a transition that may happen happen."""
    thing.state = TRANSITIONS[event][1]
    if event == "lead.restored":
        thing.fields.pop("reason", None)
    if event == "quotation.confirmed":
        thing.bags[CUSTOMER] = thing.bags.get(CUSTOMER, NOTHING).with_wanted(("discussion",))
    said = Said(event, actor, terms=thing.terms, **more)
    thing.thread.append(said)
    return said


def assign(thing: Thing, person: str, actor: str) -> list[Said]:
    before, thing.salesperson = thing.salesperson, person
    if person in (before, actor):
        return []
    asked = next((each.author for each in reversed(thing.thread) if each.outside), "")
    thing.thread.append(Said("assigned", actor, assigned=person, asked=asked))
    return thing.thread[-1:]


def change_team(thing: Thing, team: str) -> None:
    thing.team = team
    thing.teams = tuple(dict.fromkeys((*thing.teams, team)))


def fan_out(site: Site, things: Iterable[Thing], standing: Standing) -> None:
    for thing in things:
        followers = Followers(site, thing, standing)
        for said in thing.thread:
            if said.hears is None:
                said.hears = followers.hear(said)


def probe(site: Site, thing: Thing, standing: Standing) -> dict[str, dict[str, str]]:
    """Return who would hear of each subtype if the record system said it now."""
    followers = Followers(site, thing, standing)
    return {each: followers.hear(Said(each, "", mailed=True)) for each in subtypes_of(thing.kind)}


def copied(thing: Thing) -> Thing:
    """Return a copy that shares the messages, so that a mail that fails leaves nothing behind."""
    other = copy.copy(thing)
    other.fields, other.bags, other.thread = dict(thing.fields), dict(thing.bags), list(thing.thread)
    other.deeds = {who: list(deeds) for who, deeds in thing.deeds.items()}
    return other
