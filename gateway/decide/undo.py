"""Take back what one's last commands did to a record, within ten minutes, as far as it can be taken back.

What has left for somebody outside cannot; nor can what somebody has changed since. Who heard of it inside
hears that it was taken back.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.decide.post import Desk, Posted, Text, post
from gateway.records.lifecycle import Change, Problem, differences
from gateway.records.record import Choice, Record
from gateway.store import carried_out, followers, messages, records
from gateway.store.carried_out import CarriedOut, Changed
from gateway.store.messages import Author, Details
from gateway.store.session import Transaction

WITHIN_MS = 10 * 60_000
_WHY = "taken back before it left"


def choices_now(tx: Transaction, record: Record) -> Mapping[tuple[str | None, str], Choice]:
    """Return every choice that a command on a record could change, by its team (None: on it) and by whose it is."""
    found = [*followers.choices_on(tx, record.id), *followers.standing_choices(tx)]
    return {(each.team, each.who): each for each in found}


@dataclass(frozen=True, slots=True)
class Deed:
    """What commands did: the record afterwards, the commands as lines, what was posted, why it is `final`."""

    after: Record
    said: Sequence[str]
    posted: Sequence[int]
    final: str = ""


def remember(
    tx: Transaction, who: str, before: Record, choices: Mapping[tuple[str | None, str], Choice], deed: Deed, now: int
) -> None:
    """Note what commands did; `choices` are those that stood before."""
    later = choices_now(tx, before)
    changed = [key for key in dict.fromkeys((*choices, *later)) if choices.get(key) != later.get(key)]
    kept = [Changed(*key, choices.get(key), later.get(key)) for key in changed]
    values = records.as_values(before), records.as_values(deed.after)
    done = CarriedOut(now, "\n".join(deed.said), deed.final, *values, kept, deed.posted)
    carried_out.keep(tx, before.id, who, done)


def take_back(
    tx: Transaction, desk: Desk, record: Record, who: str, author: Author, now: int
) -> tuple[str, Posted] | Problem:  # fmt: skip
    """Take back the last thing `who` did to a record; return what that was and the record as it stands now."""
    found = carried_out.last(tx, record.id, who, now - WITHIN_MS)
    if found is None:
        return Problem("you did nothing here in the last ten minutes that could be taken back")
    if found.final:
        return Problem("{} cannot be taken back: {}", (_in_one_line(found), found.final))
    left = carried_out.withdraw(tx, found.messages, _WHY)
    if carried_out.heard_outside(tx, left):
        return Problem("{} cannot be taken back: a mail has left for somebody outside", (_in_one_line(found),))
    back, now_chosen = _as_before(record, found), choices_now(tx, record)
    if back is None or any(now_chosen.get((each.team, each.who)) != each.after for each in found.choices):
        return Problem("{} cannot be taken back: somebody has changed it since", (_in_one_line(found),))
    for each in found.choices:
        if each.team is None:
            followers.put_back(tx, record.id, each.who, each.before)
        else:
            followers.stand_as(tx, each.who, each.team, each.before)
    changes = differences(record, back)
    if changes:
        records.change(tx, back, now)
    carried_out.taken_back(tx, found.id)
    for message in messages.load(tx, left):
        _tell(tx, desk, back, message, author, changes, now)
    return _in_one_line(found), Posted(back, changes=changes)


def _in_one_line(found: CarriedOut) -> str:
    return ", ".join(found.said.split("\n"))


def _as_before(record: Record, found: CarriedOut) -> Record | None:
    """Return a record as it was before; None if what was changed then is not as it was left."""
    values = records.as_values(record)
    restored: dict[str, Any] = dict(values)
    for name, old in found.before.items():
        new = found.after[name]
        if name == "fields":
            fields = _fields_before(values["fields"], old, new)
            if fields is None:
                return None
            restored[name] = fields
        elif old != new:
            if values[name] != new:
                return None
            restored[name] = old
    return records.with_values(record, restored)


def _fields_before(now: Any, old: Mapping[str, str], new: Mapping[str, str]) -> dict[str, str] | None:  # noqa: ANN401 (a column of JSON)
    fields = dict(now)
    for name in {*old, *new}:
        if old.get(name) == new.get(name):
            continue
        if fields.get(name) != new.get(name):
            return None
        if name in old:
            fields[name] = old[name]
        else:
            fields.pop(name, None)
    return fields


def _tell(
    tx: Transaction, desk: Desk, record: Record, message: messages.Message, author: Author,
    changes: tuple[Change, ...], now: int,
) -> None:  # fmt: skip
    """Tell those who heard of a message that it was taken back."""
    heard = tuple(each["who"] for each in message.hears)
    subtype = desk.site.rules.kinds.subtypes.get(message.subtype)
    if heard and subtype is not None:
        said = Text(details=Details(taken_back=heard))
        post(tx, desk, record, subtype, author, said, now, parent=message, changes=changes)
