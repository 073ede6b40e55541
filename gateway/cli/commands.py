"""do: the commands of a mail, typed by the administrator, through the same code."""

import sys
from typing import Annotated

from cyclopts import Parameter

from gateway.cli.app import NO, REFUSED, AsJson, app, fail, opened, out, say, show_json
from gateway.decide.execute import Executed, Giver, Mistake, execute
from gateway.records.commands import Given, split_commands
from gateway.store import records
from gateway.store.messages import Author
from gateway.worker import now_ms


@app.command(name="do")
def carry_out(
    ref: str,
    /,
    *command: Annotated[str, Parameter(allow_leading_hyphen=True)],
    who: Annotated[str, Parameter(name="--as", help="The person who does it.")],
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
        giver = Giver(Author(person.key, person.name, person.email[0]), person.key, "the command line")
        made = execute(tx, site.desk, record, _given(command), giver, now_ms())
        site.store.wake_others(tx)
    if isinstance(made, Mistake):
        if as_json:
            show_json({"given": made.given, "problem": made.problem, "nearest": list(made.nearest)})
        say(f"nothing was done: {made.given}: {made.problem or 'is no command here'}")
        if made.nearest:
            say(f"did you mean: {', '.join(made.nearest)}")
        sys.exit(REFUSED)
    _show(made, as_json=as_json)


def _given(words: tuple[str, ...]) -> tuple[Given, ...]:
    """Return the commands that words on a command line are: each begins with `/`, or the first word does without."""
    if not words:
        fail("name at least one command, `confirm` say", 2)
    lines: list[list[str]] = []
    for word in words:
        if word.startswith(("/", "／")) or not lines:
            lines.append([word if word.startswith(("/", "／")) else f"/{word}"])
        else:
            lines[-1].append(word)
    given, _ = split_commands("\n".join(" ".join(line) for line in lines))
    return given


def _show(made: Executed, *, as_json: bool) -> None:
    changes = [{"name": each.name, "old": each.old, "new": each.new} for each in made.changes]
    if as_json:
        done = [{"command": name, "arguments": words} for name, words in made.done]
        show_json({"record": made.record.ref, "state": made.record.state, "done": done, "changes": changes})
        return
    for name, words in made.done:
        out.print(f"{made.record.ref}: /{name} {words}".rstrip(), markup=False)
    for change in changes:
        out.print(f"  {change['name']}: {change['old'] or '–'} → {change['new'] or '–'}", markup=False)
