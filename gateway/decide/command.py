"""Commands by mail: carried out with the author's right, answered with one transcript.

A mistake executes nothing of its mail, and is answered with the words that come nearest.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gateway.decide import machine
from gateway.decide.authorise import Question, Wish, authorise
from gateway.decide.disposition import hold
from gateway.decide.place import Incoming, Place, keep_aside, named, tell_held
from gateway.decide.post import Desk
from gateway.mail.quoting import split_reply
from gateway.records.commands import FOLLOW, NOTE, UNFOLLOW, Given, may_mean_note
from gateway.records.kinds import DEFAULT_SUBTYPES, matches
from gateway.records.record import CUSTOMER, Choice
from gateway.store import audit, followers, messages, notices
from gateway.store.arrivals import Settled
from gateway.store.notices import NewNotice
from gateway.store.session import Transaction

EVERYTHING = ("*",)
_COMMANDS = {FOLLOW.name: FOLLOW, UNFOLLOW.name: UNFOLLOW}


@dataclass(frozen=True, slots=True)
class Mistake:
    """A command that cannot be carried out: what was given, and what may have been meant."""

    given: str
    nearest: tuple[str, ...]


def asks_note(given: Sequence[Given]) -> bool:
    """Whether one of the commands makes the text a note."""
    return any(each.command is NOTE for each in given)


def note_words(given: Sequence[Given]) -> list[str]:
    """Return what stands behind `/note` on its line: it is part of the note."""
    return [" ".join(each.arguments) for each in given if each.command is NOTE and each.arguments]


def mistake(desk: Desk, where: Place, given: Sequence[Given], text: str) -> Mistake | None:
    """Return the first command that cannot be carried out, or a note that `text` hides, or None."""
    if not asks_note(given) and where.action != NOTE.name and may_mean_note(text):
        return Mistake("/note", ("/note", "/備註"))
    known = [subtype.name for subtype in desk.site.rules.kinds.of_record(where.record.kind)]
    for each in given:
        if each.command is None:
            return Mistake(f"/{each.word}", tuple(each.nearest))
        if each.command is not NOTE:
            for pattern in each.arguments:
                if not any(matches([pattern], name) for name in known):
                    return Mistake(f"/{each.word} {pattern}", tuple(known))
    return None


def refuse(tx: Transaction, incoming: Incoming, where: Place, wrong: Mistake) -> Settled:
    """Answer a mail whose command cannot be carried out; nothing of it is."""
    data = {"given": wrong.given, "nearest": list(wrong.nearest), "subject": incoming.mail.subject}
    _answer(tx, incoming, where, "mistake", data)
    return Settled("done", "mistake", f"{wrong.given} is no command here; nothing was done", where.record.id)


def carry_out(
    tx: Transaction, incoming: Incoming, where: Place, given: Sequence[Given], outside: Sequence[str]
) -> None:  # fmt: skip
    """Do what the command lines of a mail say, write it down, and answer with one transcript.

    `outside` are outsiders that a note names beside us: the transcript says that its author's own mail
    server took it there.
    """
    for each in given:
        if each.command is not None and each.command is not NOTE:
            _write_down(tx, incoming, where, each.command.name, each.arguments)
            _follow(tx, incoming, where, each.command.name, each.arguments)
    if given:
        done = [_said(each.command.name, each.arguments) for each in given if each.command]
        _answer(tx, incoming, where, "done", {"done": done, "outside": list(outside)[:20]})


def follow(tx: Transaction, desk: Desk, incoming: Incoming, where: Place) -> Settled:
    """Carry out a mail to a follow or unfollow address, for its author."""
    if incoming.automatic:
        return Settled("done", "automatic", incoming.automatic, where.record.id)
    identity = incoming.identity
    wish: Wish = "unfollow" if where.action == "unfollow" else "command"
    question = Question(where.role, identity.authenticated, where.tag, wish, incoming.recipient.released)
    decided = authorise(question)
    if decided.name == "accept" and where.role == "stranger":
        decided = hold("stranger", "the author does not follow the record")
    if decided.name == "accept" and identity.person is not None and not incoming.recipient.released:
        addressed = any(each.action == where.action for each in named(desk, incoming, where.record))
        decided = machine.why_not(incoming, "command", named=addressed) or decided
    if decided.name != "accept":
        return keep_aside(tx, desk, incoming, where, decided)
    words = tuple(split_reply(incoming.mail.text).text.split("\n", 1)[0].split())
    given = Given(where.action, _COMMANDS[where.action], words)
    if mistake(desk, where, [given], "") is not None:
        given = Given(where.action, given.command, ())
    scope = f"record:{where.record.id}:{where.action}"
    if messages.claim_effect(tx, scope, incoming.original_id, incoming.mail.body_digest) == "repeated":
        return Settled("done", "duplicate", "the same mail was carried out already", where.record.id)
    _write_down(tx, incoming, where, where.action, given.arguments)
    _follow(tx, incoming, where, where.action, given.arguments)
    if identity.person is not None:
        _answer(tx, incoming, where, "done", {"done": [_said(where.action, given.arguments)]})
    return Settled("done", "command", "", where.record.id)


def _follow(tx: Transaction, incoming: Incoming, where: Place, action: str, subtypes: tuple[str, ...]) -> None:
    identity = incoming.identity
    who = identity.person.key if identity.person else CUSTOMER if where.role == "customer" else identity.email
    if action == "follow":
        chosen = Choice(who, subtypes or DEFAULT_SUBTYPES, how="added")
    else:
        chosen = Choice(who, without=subtypes or EVERYTHING, how="added")
    followers.choose(tx, where.record.id, chosen)


def _write_down(tx: Transaction, incoming: Incoming, where: Place, name: str, arguments: Sequence[str]) -> None:
    identity = incoming.identity
    who = identity.person.key if identity.person else identity.email
    how = identity.how or ("reply address" if where.tag == "own" else "released")
    said = {"arguments": list(arguments), "how": how, "mail": incoming.mail.message_id}
    audit.append(tx, who, name, where.record.ref, incoming.now, **said)


def _said(name: str, arguments: Sequence[str]) -> list[str]:
    return [name, " ".join(arguments) if name != NOTE.name else ""]


def _answer(tx: Transaction, incoming: Incoming, where: Place, what: str, data: Mapping[str, object]) -> None:
    """Answer an authenticated person with a transcript; nobody else, and no machine, is answered."""
    identity = incoming.identity
    if identity.person is not None and identity.authenticated and not incoming.automatic:
        told = {"what": what, "answers": incoming.mail.message_id, **data}
        new = NewNotice("transcript", identity.person.key, identity.email, told, where.record.id)
        notices.add(tx, new, incoming.now)


def to_reserved(tx: Transaction, desk: Desk, local: str, incoming: Incoming) -> Settled:
    """Keep mail to postmaster, abuse or the gateway itself for the people with `settings` (RFC 2142)."""
    if incoming.automatic:
        return Settled("done", "automatic", incoming.automatic)
    reason = f"mail to {local}@ is for the people with the right settings"
    tell_held(tx, desk, incoming, reason, None, [])
    return Settled("held", local, reason)
