"""Who follows a record: the choices made on it, and what the rules now in force give its teams.

Computed anew each time, never stored: an edit of the rules counts at once, for old records too.
Pure; the one place that knows how choices and rules unite.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from gateway.people import DELIVERIES, Delivery, People, Person
from gateway.records.conditions import Condition
from gateway.records.kinds import DEFAULT_SUBTYPES, TEAM, matches
from gateway.records.record import CUSTOMER, Choice, Record
from gateway.rules import FollowRule, Rules


@dataclass(frozen=True, slots=True)
class Reason:
    """Why somebody hears of something: a word that templates know, and the place or name of it."""

    code: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.code} {self.detail}".strip()


@dataclass(frozen=True, slots=True)
class Grant:
    """Subtypes that one source gives a follower, for that reason, by that way of delivery."""

    subtypes: tuple[str, ...]
    reason: Reason
    delivery: Delivery = "mail"
    when: Condition = Condition()
    chosen: bool = False  # on this record, rather than given by a rule or a role


@dataclass(frozen=True, slots=True)
class Follower:
    """Somebody who follows a record, with everything they were given and what they gave up.

    `taken_off` is what a group they belong to was taken off: it beats what others gave them, not what they chose.
    `standing` is what they gave up for the records of a team, each with the team as they said it.
    """

    who: str
    name: str
    emails: tuple[str, ...]
    outsider: bool
    language: str
    grants: tuple[Grant, ...]
    without: tuple[str, ...] = ()
    taken_off: tuple[str, ...] = ()
    standing: tuple[tuple[str, str], ...] = ()

    @property
    def follows(self) -> bool:
        """Whether they follow at all: who gave up everything does by what they chose themselves alone."""
        everything = "*" in self.without or "*" in self.taken_off
        return any(grant.chosen or not everything for grant in self.grants)

    def wants(self, known: Iterable[str]) -> list[str]:
        """Return which of the `known` subtypes they hear, whatever the conditions of rules say of one record."""
        return [name for name in known if self._granted(name)]

    def _granted(self, subtype: str) -> list[Grant]:
        given = [grant for grant in self.grants if matches(grant.subtypes, subtype)]
        if matches(self.taken_off, subtype):
            given = [grant for grant in given if grant.chosen]
        given_up = exactest(self.without, subtype)
        if not given_up:
            return given
        least = _exactness(given_up)
        return [g for g in given if g.chosen and _exactness(exactest(g.subtypes, subtype)) > least]

    def heard(self, subtype: str, record: Record) -> Grant | str:
        """Return the most immediate grant of `subtype`, or why there is none.

        What one gave up beats every rule and role; only a choice that says more exactly what is
        wanted beats it (`quotation.sent` wanted, `quotation.*` given up).
        """
        if not self.grants:
            return "does not follow this record"
        given = self._granted(subtype)
        if not given:
            given_up = exactest((*self.without, *self.taken_off), subtype)
            place = dict(self.standing).get(given_up, "")
            return f"unfollowed {given_up} {place}".strip() if given_up else f"follows, but not {subtype}"
        fitting = [grant for grant in given if grant.when.failing(record.fields) is None]
        if not fitting:
            clause = given[0].when.failing(record.fields)
            said = f"{clause.field} {clause.operator} {', '.join(clause.values)}" if clause else ""
            return f"the condition of the rule does not hold: {given[0].reason.detail}: {said}"
        return min(fitting, key=lambda grant: DELIVERIES.index(grant.delivery))


def exactest(patterns: Iterable[str], subtype: str) -> str:
    """Return the pattern that fits `subtype` most exactly, or ""."""
    return max((each for each in patterns if matches([each], subtype)), key=_exactness, default="")


def _exactness(pattern: str) -> tuple[bool, int]:
    return "*" not in pattern and bool(pattern), len(pattern)


def followers(record: Record, choices: Iterable[Choice], people: People, rules: Rules) -> list[Follower]:
    """Return everybody who follows `record`, each once, people before outsiders."""
    table = _Table(record, people)
    for key, code in ((record.creator, "creator"), (record.salesperson, "salesperson")):
        if key in people.by_key:
            table.give(key, DEFAULT_SUBTYPES, Reason(code))
    if record.kind == TEAM and record.ref.lower() in rules.teams:
        for key in rules.teams[record.ref.lower()].everybody:
            table.give(key, ("discussion", "note"), Reason("member", record.ref.lower()))
    else:
        for rule in rules.follow:
            if rule.applies(record.teams):
                _apply(table, rule, rules)
    given = list(choices)
    for choice in given:
        if not _counts(choice, record):
            continue
        subtypes, without = (choice.subtypes, choice.without) if choice.team is None else _left(choice, given)
        for who in _expand(choice.who, rules):
            detail = f"team:{choice.team or '*'}" if choice.team is not None else ""
            if subtypes:
                table.give(who, subtypes, Reason(choice.how, detail), chosen=who == choice.who)
            table.take(who, without, detail, themselves=who == choice.who)
    return table.result()


def _counts(choice: Choice, record: Record) -> bool:
    """Whether a choice counts on a record: one that stands does where its team has, or had, the record."""
    if choice.team is None:
        return True
    return record.kind != TEAM and (not choice.team or choice.team in record.teams)


def _left(standing: Choice, given: Iterable[Choice]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return what is left of a standing choice beside what the same one chose on the record itself, which beats it."""
    own = [made for made in given if made.team is None and made.who == standing.who]
    wanted = [each for made in own for each in made.subtypes]
    given_up = [each for made in own for each in made.without]
    subtypes = tuple(each for each in standing.subtypes if not matches(given_up, each))
    without = tuple(each for each in standing.without if not (each == "*" and wanted) and not matches(wanted, each))
    return subtypes, without


def _apply(table: "_Table", rule: FollowRule, rules: Rules) -> None:
    for who in _named(rule, table.record, rules):
        table.give(who, rule.subtypes, Reason("rule", rule.place), rule.delivery, rule.when)


def _named(rule: FollowRule, record: Record, rules: Rules) -> Iterable[str]:
    match rule.who:
        case "leader":
            teams = [team for team in record.teams if not rule.teams or team in rule.teams]
            return [rules.teams[team].leader for team in teams if team in rules.teams and rules.teams[team].leader]
        case "salesperson":
            return [record.salesperson] if record.salesperson else []
        case "creator":
            return [record.creator] if record.creator else []
        case _:
            return _expand(rule.who, rules)


def _expand(who: str, rules: Rules) -> Sequence[str]:
    if who.startswith("group:"):
        team = rules.teams.get(who.removeprefix("group:"))
        return team.everybody if team else ()
    return (who,)


class _Table:
    """Gathers grants by follower, whatever name the source knew them by."""

    def __init__(self, record: Record, people: People) -> None:
        self.record = record
        self._people = people
        self._grants: dict[str, list[Grant]] = {}
        self._without: dict[tuple[str, bool], list[str]] = {}
        self._standing: dict[str, list[tuple[str, str]]] = {}

    def give(
        self,
        who: str,
        subtypes: tuple[str, ...],
        reason: Reason,
        delivery: Delivery | None = None,
        when: Condition = Condition(),
        *,
        chosen: bool = False,
    ) -> None:
        key = self._key(who)
        if not key:
            return
        person = self._people.by_key.get(key)
        way: Delivery = delivery or (person.delivery if person else "mail")
        self._grants.setdefault(key, []).append(Grant(subtypes, reason, way, when, chosen))

    def take(self, who: str, subtypes: tuple[str, ...], detail: str, *, themselves: bool) -> None:
        if subtypes and (key := self._key(who)):
            self._without.setdefault((key, themselves), []).extend(subtypes)
            self._standing.setdefault(key, []).extend((each, detail) for each in subtypes if detail)

    def _key(self, who: str) -> str:
        """Return a person's key, `customer`, or an outside address; "" for nobody we know."""
        if who in self._people.by_key:
            return who
        if who == CUSTOMER:
            return CUSTOMER if self.record.customer.emails else ""
        if "@" not in who:
            return ""
        person = self._people.person(who)
        if person:
            return person.key
        return self.record.party(who)

    def result(self) -> list[Follower]:
        made = list(self._make())
        return sorted(made, key=lambda follower: follower.outsider)

    def _make(self) -> Iterator[Follower]:
        for key, grants in self._grants.items():
            without = tuple(self._without.get((key, True), ()))
            if key in self._people.by_key:
                taken_off = tuple(self._without.get((key, False), ()))
                found = insider(self._people.by_key[key], tuple(grants), without)
                yield replace(found, taken_off=taken_off, standing=tuple(self._standing.get(key, ())))
            elif key == CUSTOMER:
                yield customer(self.record, tuple(grants), without)
            else:
                file = self._people.customer(key)
                language = (file[1].language if file else "") or self.record.customer.language
                yield outsider(key, tuple(grants), without, language)


def insider(person: Person, grants: tuple[Grant, ...] = (), without: tuple[str, ...] = ()) -> Follower:
    """Return a person as a follower."""
    return Follower(
        person.key, person.name, person.email, outsider=False, language=person.language or "", grants=grants,
        without=without,
    )  # fmt: skip


def outsider(
    email: str, grants: tuple[Grant, ...] = (), without: tuple[str, ...] = (), language: str = ""
) -> Follower:  # fmt: skip
    """Return somebody outside, known by an address alone, as a follower."""
    return Follower(email, "", (email,), outsider=True, language=language, grants=grants, without=without)


def in_general(person: Person, standing: Iterable[Choice], people: People, rules: Rules) -> Follower | None:
    """Return how a person follows a new record of all their teams, by rules and standing choices; None if not."""
    teams = rules.teams_of(person.key)
    blank = Record(0, "", "", "", "", team=next(iter(teams), ""), teams=teams)
    return next((each for each in followers(blank, standing, people, rules) if each.who == person.key), None)


def customer(record: Record, grants: tuple[Grant, ...] = (), without: tuple[str, ...] = ()) -> Follower:
    """Return a record's customer as a follower."""
    party = record.customer
    who = party.emails[0] if party.emails else CUSTOMER
    return Follower(
        who, party.name, party.emails, outsider=True, language=party.language, grants=grants, without=without
    )
