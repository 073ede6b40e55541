"""Carry out commands, whoever gave them: in a mail, to a command's address, or the administrator.

All of them or none: the first that cannot be carried out takes back those before it.

*Failure:* what cannot be done is a `Mistake`, a value, with the problem and the words that come nearest.
"""

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from gateway.decide import derive, sale, standing, undo
from gateway.decide.meant import Mistake, all_named, apart, edit, subtypes
from gateway.decide.post import Desk, Posted, Text, happen
from gateway.decide.standing import EVERYTHING
from gateway.records import commands
from gateway.records.commands import BY_NAME, Command, Given
from gateway.records.kinds import DEFAULT_SUBTYPES
from gateway.records.lifecycle import Change, Problem, Refusal
from gateway.records.record import CUSTOMER, Choice, Record
from gateway.store import audit, followers, records
from gateway.store.messages import Author, Details
from gateway.store.session import Transaction

_NOTE_TOLD = "a note was told to those inside"
_MADE = "another record was made of it"
_OF_PEOPLE = (commands.ASSIGN, commands.ADD, commands.REMOVE)
_ONESELF = frozenset({"me", "myself", "我", "自己", "我自己"})
UNHEARD = "Nobody outside hears of what is internal: they will get no mail by this choice."


@dataclass(frozen=True, slots=True)
class Executed:
    """What commands did: the record as it stands now, each command with its words, and what changed.

    `spoken` is the message in which the text that came along stands already, `posted` are all messages,
    `made` the references of records that were made, `final` is why it cannot be taken back, `warning` what its giver
    should know.
    """

    record: Record
    done: tuple[tuple[str, str], ...] = ()
    changes: tuple[Change, ...] = ()
    spoken: int | None = None
    posted: tuple[int, ...] = ()
    made: tuple[str, ...] = ()
    final: str = ""
    warning: str = ""


@dataclass(frozen=True, slots=True)
class Giver:
    """Who gives commands: as the author of what happens, as a follower, what proved them, and what they say along.

    `results` are what authentication said of their mail.
    """

    author: Author
    follower: str
    how: str
    said: Text = field(default_factory=Text)
    results: tuple[str, ...] = ()


def execute(
    tx: Transaction, desk: Desk, record: Record, given: Sequence[Given], giver: Giver, now: int
) -> Executed | Mistake:
    """Carry out commands on `record` in their order, and write each down; all of them or none."""
    if not given:
        return Executed(record)
    before, choices = record, undo.choices_now(tx, record)
    every: list[Executed] = []
    with tx.begin_nested() as point:
        for each in given:
            outcome = _one(tx, desk, record, each, giver, now)
            if isinstance(outcome, Mistake):
                point.rollback()
                return outcome
            record = outcome.record
            every.append(outcome)
    made = _united(record, every)
    said = [each.line for each in given if each.command and each.command is not commands.UNDO and not each.command.asks]
    if any(each.command in standing.COMMANDS for each in given):
        records.touch(tx, record.id, now)  # in whose account its card stands is another matter now
    if said:
        who = giver.author.who or giver.author.email
        undo.remember(tx, who, before, choices, undo.Deed(record, said, made.posted, made.final), now)
    return made


def _united(record: Record, every: Sequence[Executed]) -> Executed:
    return Executed(
        record,
        tuple(each for made in every for each in made.done),
        tuple(each for made in every for each in made.changes),
        next((made.spoken for made in reversed(every) if made.spoken), None),
        tuple(each for made in every for each in made.posted),
        tuple(each for made in every for each in made.made),
        next((made.final for made in every if made.final), ""),
        next((made.warning for made in every if made.warning), ""),
    )


def _one(tx: Transaction, desk: Desk, record: Record, given: Given, giver: Giver, now: int) -> Executed | Mistake:
    command = given.command
    if command is None:
        return unknown(given, lambda each: commands.fits(each, record, desk.site.rules.kinds))
    done = ((command.name, " ".join(given.arguments) if command is not commands.NOTE else ""),)
    if command is commands.NOTE or command.asks:
        _keep_word(tx, record, command, () if command is commands.NOTE else given.arguments, giver, now)
        return Executed(record, done, final=_NOTE_TOLD if command is commands.NOTE else "")
    possible = _possible(desk, record)
    if not commands.is_for(command, record.kind):
        return Mistake(given.line, possible, Problem("not for a {}", (record.kind,)))
    line = given.line
    if command is commands.SET:
        given = replace(given, arguments=apart(given.arguments))
    if command in _OF_PEOPLE and giver.author.who and given.arguments[:1] and given.arguments[0].lower() in _ONESELF:
        given = replace(given, arguments=(giver.author.who, *given.arguments[1:]))
    if commands.too_much(given):
        line, more = f"/{given.word}", any(commands.named(word) for word in given.arguments if word[:1] in "/／")
        if more:  # `/confirm /set amount 5`
            return Mistake(given.line, problem=Problem("each command stands in a line of its own"))
        return Mistake(given.line, problem=Problem("{} takes nothing behind it", (line,)), instead=(line,))
    if len(given.arguments) < commands.needs(command):
        return Mistake(given.line, (f"/{command.name} {command.takes}",), Problem("something is missing behind it"))
    made = _do(tx, desk, record, command, given.arguments, giver, now)
    if isinstance(made, Mistake):
        return replace(made.on(line), nearest=made.nearest or (possible if command.event else ()))
    _keep_word(tx, record, command, given.arguments, giver, now)
    return replace(made, done=made.done or done)


def _keep_word(
    tx: Transaction, record: Record, command: commands.Command, arguments: Sequence[str], giver: Giver, now: int
) -> None:  # fmt: skip
    """Write a command into the audit log."""
    who = giver.author.who or giver.author.email
    audit.append(tx, who, command.name, record.ref, now, arguments=list(arguments), how=giver.how)


def _possible(desk: Desk, record: Record) -> tuple[str, ...]:
    """Return what may happen to a record now, as commands: the transitions, not what one may always do."""
    kinds = desk.site.rules.kinds
    return tuple(f"/{each.name}" for each in BY_NAME.values() if each.kinds and commands.fits(each, record, kinds))


def unknown(given: Given, fits: Callable[[Command], bool]) -> Mistake:
    """Return a word that is no command as a mistake, with the lines that may have been meant; `fits` says what may."""
    near_ones = [(near, commands.named(near)) for near in given.nearest]
    meant = [(near, command) for near, command in near_ones if command is not None and fits(command)]
    ready = [near for near, command in meant if len(given.arguments) >= commands.needs(command)]
    instead = tuple(" ".join((near, *given.arguments)) for near in ready)
    possible = tuple(f"/{each.name}" for each in BY_NAME.values() if each.kinds and fits(each))
    near = tuple(near for near, _ in meant) or (*possible, f"/{commands.HELP.name}")
    return Mistake(f"/{given.word}", near, instead=instead)


def _do(
    tx: Transaction, desk: Desk, record: Record, command: Command, words: tuple[str, ...], giver: Giver, now: int
) -> Executed | Mistake:  # fmt: skip
    if command in standing.COMMANDS and standing.is_standing(words):
        return standing.choose(tx, desk, command, words, giver.follower) or Executed(record)
    match command:
        case commands.FOLLOW | commands.UNFOLLOW:
            return _follow(tx, desk, record, giver.follower, words, without=command is commands.UNFOLLOW)
        case commands.ADD | commands.REMOVE:
            return _let_follow(tx, desk, record, words, without=command is commands.REMOVE)
        case commands.UNDO:
            return _take_back(tx, desk, record, giver, now)
        case commands.QUOTE | commands.INVOICE:
            return _derive(tx, desk, record, command, words, giver, now)
        case commands.SEND | commands.VALIDATE:
            again = command is commands.SEND
            posted = sale.send(tx, desk, record, words, giver.author, giver.said, now, again=again)
            meant = record.customer.emails and not any("@" in unicodedata.normalize("NFKC", word) for word in words)
            if isinstance(posted, Refusal) and posted.field == "to" and words and meant:  # `/送出報價單`
                return Mistake("", (), posted.problem, instead=(f"/{command.name}",))
        case _:
            return _change(tx, desk, record, command, words, giver, now)
    return _happened(posted, spoken=True)


def _change(
    tx: Transaction, desk: Desk, record: Record, command: Command, words: tuple[str, ...], giver: Giver, now: int
) -> Executed | Mistake:  # fmt: skip
    changed = edit(desk, command, words)
    if isinstance(changed, Mistake):
        return changed
    subtype = desk.site.rules.kinds.subtypes[command.event] if command.event else None
    proof = Text(details=Details(authenticated=giver.how, results=giver.results))
    return _happened(happen(tx, desk, record, subtype, changed, giver.author, proof, now), spoken=False)


def _happened(posted: Posted | Refusal, *, spoken: bool) -> Executed | Mistake:
    """Return what an event did; `spoken` tells that the text that came along stands in its message."""
    if isinstance(posted, Refusal):
        return Mistake("", (), posted.problem)
    said = posted.message if spoken else None
    return Executed(posted.record, (), posted.changes, said, posted.all_messages, warning=posted.warning)


def _take_back(tx: Transaction, desk: Desk, record: Record, giver: Giver, now: int) -> Executed | Mistake:
    who = giver.author.who or giver.author.email
    outcome = undo.take_back(tx, desk, record, who, giver.author, now)
    if isinstance(outcome, Problem):
        return Mistake("", (), outcome)
    said, posted = outcome
    return Executed(posted.record, ((commands.UNDO.name, said),), posted.changes)


def _derive(
    tx: Transaction, desk: Desk, record: Record, command: Command, words: tuple[str, ...], giver: Giver, now: int
) -> Executed | Mistake:  # fmt: skip
    """Make a quotation from a lead, or the invoice of an order."""
    if not commands.fits(command, record, desk.site.rules.kinds):
        about = (record.ref, record.state, f"/{command.name}")
        return Mistake("", (), Problem("{} is {}: {} is not possible", about))
    there = record.fields.get(command.makes, "")
    if there and not words and derive.is_open(tx, there):
        problem = Problem("{} has {} already; name what another is for", (record.ref, there))
        return Mistake("", (), problem, instead=(f"/{command.name} {record.title} (2)",))
    back, made = derive.derive(tx, desk, record, command.makes, " ".join(words), giver.author, now)
    return Executed(back, made=(made.record.ref,), final=_MADE)


def _let_follow(
    tx: Transaction, desk: Desk, record: Record, words: tuple[str, ...], *, without: bool
) -> Executed | Mistake:  # fmt: skip
    name, said = record.customer.name, " ".join(words)
    if name and f"{said} ".casefold().startswith(f"{name} ".casefold()):
        words = (CUSTOMER, *said[len(name) :].split())
    found = all_named(desk, words)
    if isinstance(found, Mistake):
        return found
    whos, others = found
    made: Executed | Mistake = Executed(record)
    for who in whos:
        if isinstance(made, Executed):
            made = _follow(tx, desk, record, record.party(who), others, without=without)
    return made


def _follow(
    tx: Transaction, desk: Desk, record: Record, who: str, words: tuple[str, ...], *, without: bool
) -> Executed | Mistake:  # fmt: skip
    kinds = desk.site.rules.kinds
    chosen = subtypes(words, kinds.of_record(record.kind), kinds)
    if isinstance(chosen, Mistake):
        return chosen
    if without:
        followers.choose(tx, record.id, Choice(who, without=chosen or EVERYTHING))
        return Executed(record)
    followers.choose(tx, record.id, Choice(who, chosen or DEFAULT_SUBTYPES))
    internal = [each.name for each in kinds.of_record(record.kind) if each.internal]
    outside = who not in desk.site.people.by_key and not who.startswith("group:")
    unheard = outside and bool(chosen) and set(chosen) <= set(internal)
    return Executed(record, warning=UNHEARD if unheard else "")
