"""Carry out commands, whoever gave them: in a mail, to a command's address, or the administrator.

All of them or none: the first that cannot be carried out takes back those before it.

*Failure:* what cannot be done is a `Mistake`, a value, with the problem and the words that come nearest.
"""

import difflib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from gateway.decide import sale
from gateway.decide.post import Desk, Text, happen
from gateway.mail.address import parse_address
from gateway.mail.header import one_line
from gateway.records import commands
from gateway.records.commands import BY_NAME, Command, Given
from gateway.records.kinds import DEFAULT_SUBTYPES, TEAM, matches
from gateway.records.lifecycle import STAGE, Change, Edit, Refusal
from gateway.records.record import CUSTOMER, TITLE_MAX, Choice, Record
from gateway.store import audit, followers
from gateway.store.messages import Author
from gateway.store.session import Transaction

EVERYTHING = ("*",)
_VALUE_MAX = 500  # characters
# What people call a field in a command, beside its own name.
_FIELDS = {
    "金額": "amount", "總額": "amount", "幣別": "currency", "有效期限": "valid_until", "電話": "phone", "標題": "title",
    "主旨": "title",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Mistake:
    """A command that cannot be carried out: what was given, the problem, and what may have been meant."""

    given: str
    nearest: tuple[str, ...] = ()
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Executed:
    """What commands did: the record as it stands now, each command with its words, and what changed.

    `spoken` is the message in which the text that came along stands already.
    """

    record: Record
    done: tuple[tuple[str, str], ...] = ()
    changes: tuple[Change, ...] = ()
    spoken: int | None = None


@dataclass(frozen=True, slots=True)
class Giver:
    """Who gives commands: as the author of what happens, as a follower, what proved them, and what they say along."""

    author: Author
    follower: str
    how: str
    said: Text = Text()


def execute(
    tx: Transaction, desk: Desk, record: Record, given: Sequence[Given], giver: Giver, now: int
) -> Executed | Mistake:
    """Carry out commands on `record` in their order, and write each down; all of them or none."""
    changes: list[Change] = []
    done: list[tuple[str, str]] = []
    spoken: int | None = None
    with tx.begin_nested() as point:
        for each in given:
            outcome = _one(tx, desk, record, each, giver, now)
            if isinstance(outcome, Mistake):
                point.rollback()
                return outcome
            record = outcome.record
            changes += outcome.changes
            done += outcome.done
            spoken = outcome.spoken or spoken
    return Executed(record, tuple(done), tuple(changes), spoken)


def _one(tx: Transaction, desk: Desk, record: Record, given: Given, giver: Giver, now: int) -> Executed | Mistake:
    command = given.command
    shown = f"/{given.word}" + (f" {' '.join(given.arguments)}" if given.arguments else "")
    if command is None:
        return Mistake(f"/{given.word}", tuple(given.nearest))
    done = ((command.name, " ".join(given.arguments) if command is not commands.NOTE else ""),)
    if command is commands.NOTE or command.asks:
        return Executed(record, done)
    if command.kinds and record.kind not in command.kinds:
        return Mistake(shown, tuple(f"/{name}" for name in of_kind(record.kind)), f"not for a {record.kind}")
    if len(given.arguments) < commands.needs(command):
        return Mistake(shown, (f"/{command.name} {command.takes}",), "something is missing behind it")
    made = _do(tx, desk, record, command, given.arguments, giver, now)
    if isinstance(made, Mistake):
        return Mistake(shown, made.nearest, made.problem)
    data = {"arguments": list(given.arguments), "how": giver.how}
    audit.append(tx, giver.author.who or giver.author.email, command.name, record.ref, now, **data)
    return Executed(made.record, done, made.changes, made.spoken)


def of_kind(kind: str) -> list[str]:
    """Return the names of the commands for records of a kind; a team's thread takes those for followers only."""
    return [
        each.name
        for each in BY_NAME.values()
        if (kind in each.kinds if each.kinds else kind != TEAM or _is_social(each))
    ]


def _is_social(command: Command) -> bool:
    social = (commands.NOTE, commands.FOLLOW, commands.UNFOLLOW, commands.ADD, commands.REMOVE)
    return command in social or command.asks


def _do(
    tx: Transaction, desk: Desk, record: Record, command: Command, words: tuple[str, ...], giver: Giver, now: int
) -> Executed | Mistake:  # fmt: skip
    if command in (commands.FOLLOW, commands.UNFOLLOW):
        return _follow(tx, desk, record, giver.follower, words, without=command is commands.UNFOLLOW)
    if command in (commands.ADD, commands.REMOVE):
        who = whom(desk, words[0])
        if isinstance(who, Mistake):
            return who
        return _follow(tx, desk, record, who, words[1:], without=command is commands.REMOVE)
    if record.kind == TEAM:
        return Mistake("", tuple(f"/{name}" for name in of_kind(TEAM)), "a team's thread has no such thing")
    return _happen(tx, desk, record, command, words, giver, now)


def _happen(
    tx: Transaction, desk: Desk, record: Record, command: Command, words: tuple[str, ...], giver: Giver, now: int
) -> Executed | Mistake:  # fmt: skip
    spoken = command in (commands.SEND, commands.VALIDATE)
    if spoken:
        posted = sale.send(tx, desk, record, words, giver.author, giver.said, now)
    else:
        edit = _edit(desk, command, words)
        if isinstance(edit, Mistake):
            return edit
        subtype = desk.site.rules.kinds.subtypes[command.event] if command.event else None
        posted = happen(tx, desk, record, subtype, edit, giver.author, Text(), now)
    if isinstance(posted, Refusal):
        return Mistake("", (), posted.problem)
    return Executed(posted.record, changes=posted.changes, spoken=posted.message if spoken else None)


def _follow(
    tx: Transaction, desk: Desk, record: Record, who: str, subtypes: tuple[str, ...], *, without: bool
) -> Executed | Mistake:  # fmt: skip
    known = [subtype.name for subtype in desk.site.rules.kinds.of_record(record.kind)]
    for pattern in subtypes:
        if not any(matches([pattern], name) for name in known):
            return Mistake("", tuple(known), f"there is no subtype {pattern} here")
    if without:
        chosen = Choice(who, without=subtypes or EVERYTHING, how="added")
    else:
        chosen = Choice(who, subtypes or DEFAULT_SUBTYPES, how="added")
    followers.choose(tx, record.id, chosen)
    return Executed(record)


def whom(desk: Desk, word: str) -> str | Mistake:
    """Return whom a word names as a follower: a person by key, name or address, `group:TEAM`, customer, an address."""
    people, rules = desk.site.people, desk.site.rules
    if word == CUSTOMER or (word.startswith("group:") and word.removeprefix("group:") in rules.teams):
        return word
    named = _person(desk, word)
    if named:
        return named
    address = parse_address(word.strip("<>,"))
    if address is not None and not desk.addresses.owns(address):
        return address.key
    known = [*people.by_key, *(f"group:{team}" for team in rules.teams), CUSTOMER]
    return Mistake("", _nearest(word, known), f"nobody is known as {word}")


def _person(desk: Desk, word: str) -> str:
    people = desk.site.people
    if word in people.by_key:
        return word
    low = word.casefold()
    named = [key for key, person in people.by_key.items() if low in (key.casefold(), person.name.casefold())]
    owner = people.person(low.strip("<>,"))
    return owner.key if owner else named[0] if len(named) == 1 else ""


def _edit(desk: Desk, command: Command, words: tuple[str, ...]) -> Edit | Mistake:
    """Return what a command changes, beside the transition it is."""
    rest = one_line(" ".join(words))[:_VALUE_MAX]
    rules = desk.site.rules
    if command is commands.STAGE:
        return _known(rest, rules.lead_stages, "there is no stage {}", lambda stage: Edit(fields={STAGE: stage}))
    if command is commands.LOST:
        return Edit(fields={"reason": rest})
    if command is commands.ASSIGN:
        key = _person(desk, words[0])
        people = desk.site.people.by_key
        return Edit(salesperson=key) if key else Mistake("", _nearest(rest, people), f"nobody is known as {rest}")
    if command is commands.TEAM:
        return _known(rest, rules.teams, "there is no team {}", lambda team: Edit(team=team))
    if command is commands.SET:
        name = _FIELDS.get(words[0].rstrip(":：="), words[0].rstrip(":：=").lower())
        value = one_line(" ".join(words[1:]))[:_VALUE_MAX]
        if name == "title":
            return Edit(title=value[:TITLE_MAX])
        if name in (STAGE, "state", "salesperson", "team", "customer", "origin"):
            return Mistake("", ("/stage NAME", "/assign PERSON", "/team TEAM"), f"{name} has a command of its own")
        return Edit(fields={name: value if value != "-" else None})
    return Edit()


def _known(word: str, known: Iterable[str], problem: str, made: Callable[[str], Edit]) -> Edit | Mistake:
    names = {each.casefold(): each for each in known}
    found = names.get(word.casefold())
    return made(found) if found else Mistake("", _nearest(word, names.values()), problem.format(word))


def _nearest(word: str, known: Iterable[str]) -> tuple[str, ...]:
    names = list(known)
    return tuple(difflib.get_close_matches(word, names, 3, 0.4)) or tuple(names[:20])
