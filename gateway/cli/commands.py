"""do: the commands of a mail, typed by the administrator, through the same code."""

import sys
from typing import Annotated

from cyclopts import Parameter

from gateway.cli.app import NO, REFUSED, AsJson, Open, fail, opened, operator, out, say, show_json
from gateway.decide.command import EMPTY_NOTE, note_words
from gateway.decide.execute import Executed, Giver, execute
from gateway.decide.meant import Mistake
from gateway.decide.post import Desk, Text, post
from gateway.node import make_renderer
from gateway.notify.answer import Asked, Section, sections
from gateway.notify.compose import Part
from gateway.people import Person
from gateway.records.commands import BY_NAME, UNFOLLOW, Given, asks_note, split_commands
from gateway.records.kinds import NOTE
from gateway.store import records
from gateway.store.messages import Author
from gateway.store.session import Transaction
from gateway.worker import now_ms

Answered = tuple[list[Section], list[Part]]


def carry_out(
    ref: str,
    /,
    *command: Annotated[str, Parameter(allow_leading_hyphen=True)],
    who: Annotated[str, Parameter(name="--as", help="The person who does it.")],
    yes: Annotated[bool, Parameter(help="Say the second yes that `confirm_twice` asks for.")] = False,
    as_json: AsJson = False,
) -> None:
    """Carry out COMMAND… on REF as a mail of a person would: `do S00042 confirm --as a`."""
    with opened() as site, site.store.write() as tx:
        person = site.site.people.by_key.get(who)
        if person is None:
            fail(f"--as {who}: unknown person; the people are {', '.join(site.site.people.by_key)}", NO)
        record = records.find(tx, ref, lock=True)
        if record is None:
            fail(f"there is no record {ref}", NO)
        given, below = _given(command)
        if not person.entitled and any(each.command is not UNFOLLOW for each in given):
            fail(f"{who} may not give commands: it needs the right sales", REFUSED)
        twice = [each.line for each in given if each.command and each.command.name in site.site.rules.confirm_twice]
        if twice and not yes:
            fail(f"{', '.join(twice)} asks for a second yes: say --yes", REFUSED)
        author = Author(person.key, person.name, person.email[0])
        giver = Giver(author, person.key, f"the command line, {operator()}")
        desk = Desk(site.site, site.addresses)
        empty = asks_note(given) and not note_words(given, below)
        made = EMPTY_NOTE if empty else execute(tx, desk, record, given, giver, now_ms())
        if isinstance(made, Executed) and (words := note_words(given, below)):
            post(tx, desk, made.record, NOTE, author, Text("\n".join(words)), now_ms(), parent=None)
        answered = _answered(tx, site, person, made)
        site.store.wake_others(tx)
    if isinstance(made, Mistake):
        if as_json:
            nearest = list(made.instead or made.nearest)
            show_json({"given": made.given, "problem": str(made.problem), "nearest": nearest})
        say(f"nothing was done: {made.given}: {str(made.problem) or 'is no command here'}")
        if made.instead or made.nearest:
            say(f"did you mean: {', '.join(made.instead or made.nearest)}")
        sys.exit(REFUSED)
    _show(made, answered, as_json=as_json)


def _given(words: tuple[str, ...]) -> tuple[tuple[Given, ...], str]:
    """Return the commands that words on a command line are, each with a `/` but perhaps the first, and a text."""
    if not words:
        fail("name at least one command, `confirm` say", 2)
    lines: list[list[str]] = []
    for word in words:
        if word.startswith(("/", "／")) or not lines:
            lines.append([word if word.startswith(("/", "／")) else f"/{word}"])
        else:
            lines[-1].append(word)
    given, below = split_commands("\n".join(" ".join(line) for line in lines))
    if below and not asks_note(given):
        fail(f"a text goes with /note alone: {below[:80]}", 2)
    return given, below


def _answered(tx: Transaction, site: Open, person: Person, made: Executed | Mistake) -> Answered:
    """Return what the commands asked for, in the person's language, as their mail would say it."""
    if isinstance(made, Mistake):
        return [], []
    names = [name for name, _ in made.done if BY_NAME[name].asks]
    asked = Asked(names, person, site.site.language(person.language), made.record)
    return sections(tx, site.site, site.addresses, make_renderer(site.site.settings), asked)


def _show(made: Executed, answered: Answered, *, as_json: bool) -> None:
    changes = [{"name": each.name, "old": each.old, "new": each.new} for each in made.changes]
    if as_json:
        done = [{"command": name, "arguments": words} for name, words in made.done]
        shown = {"record": made.record.ref, "state": made.record.state, "done": done, "changes": changes}
        show_json(shown | {"made": list(made.made), "warning": made.warning, "answers": answered[0]})
        return
    for name, words in made.done:
        if BY_NAME[name].asks:
            continue
        out.print(f"{made.record.ref}: /{name} {words}".rstrip(), markup=False)
    for change in changes:
        out.print(f"  {change['name']}: {change['old'] or '–'} → {change['new'] or '–'}", markup=False)
    if made.warning:
        out.print(f"  {made.warning}", markup=False)
    for ref in made.made:
        out.print(f"  made {ref}", markup=False)
    for section in answered[0]:
        out.print(section["title"], markup=False)
        for row in section["rows"]:
            out.print(f"  {row['text']}", markup=False)
