"""What people ask, and choose, without a record: by mail to the gateway itself, and by commands that an intake gets."""

from gateway.decide import machine, prefs, standing
from gateway.decide.command import asks_again
from gateway.decide.execute import unknown
from gateway.decide.intake import leading_lines
from gateway.decide.meant import Mistake
from gateway.decide.place import Incoming, tell_held
from gateway.decide.post import Desk
from gateway.decide.transcript import answer, as_told, mended_lines, tell
from gateway.following import in_general
from gateway.mail.quoting import split_reply
from gateway.people import Person
from gateway.records.commands import HELP, LIST, NOTE, PREFS, UNDO, Given, split_commands
from gateway.records.lifecycle import Problem
from gateway.store import audit, messages
from gateway.store.arrivals import Settled
from gateway.store.followers import standing_choices
from gateway.store.session import Transaction

FOR_A_RECORD = Problem("it is for a record: write it to the address of the record")
STANDS = Problem("what you chose for all records stands until you choose otherwise: /follow, /unfollow or /prefs")


def without_record(tx: Transaction, incoming: Incoming) -> Settled | None:
    """Answer one of our own people whose mail to an intake begins with commands: there is no record yet. Else None."""
    identity = incoming.identity
    if identity.person is None or not identity.authenticated or incoming.automatic:
        return None
    text = split_reply(incoming.mail.text).text
    given = (*split_commands(text)[0], *split_commands(leading_lines(text)[2])[0])
    wrong = next((each for each in given if each.command not in (None, NOTE)), None)
    if wrong is None:
        return None
    tell(tx, incoming, None, "mistake", as_told(Mistake(wrong.line, problem=FOR_A_RECORD), ()))
    return Settled("done", "mistake", f"{wrong.line} is for a record; nothing was done, and nothing made")


def to_reserved(tx: Transaction, desk: Desk, local: str, incoming: Incoming) -> Settled:
    """Answer what people ask the gateway; other mail to it, postmaster or abuse is for `settings` (RFC 2142).

    Complaints are written by machines, too (RFC 5965): at postmaster and abuse they are kept like any other.
    """
    if incoming.automatic and local == "gateway":
        return Settled("done", "automatic", incoming.automatic)
    person, released = incoming.identity.person, incoming.recipient.released
    if local == "gateway" and person is not None and (incoming.identity.authenticated or released):
        return _to_gateway(tx, desk, incoming, person)
    if released:
        return Settled("done", "read", f"it was for the people with the right settings: {local}@")
    reason = f"it is for the people with the right settings: {local}@"
    tell_held(tx, desk, incoming, reason, None, [])
    return Settled("held", local, reason)


def _not_here(given: Given) -> Mistake | None:
    """Return a command that cannot be given without a record as a mistake, or None."""
    here = (LIST, HELP, PREFS, *standing.COMMANDS)
    if given.command is None:
        return unknown(given, lambda each: each in here)
    if given.command in here:
        return None
    return Mistake(given.line, (), STANDS if given.command is UNDO else FOR_A_RECORD)


def _to_gateway(tx: Transaction, desk: Desk, incoming: Incoming, person: Person) -> Settled:
    """Answer what needs no record, and carry out what a person chooses for the records of a team, or all."""
    given, _ = split_commands(split_reply(incoming.mail.text).text)
    wrong = next(filter(None, map(_not_here, given)), None)
    if wrong is not None:
        instead = ["\n".join(mended_lines([each.line for each in given], wrong.given, line)) for line in wrong.instead]
        tell(tx, incoming, None, "mistake", as_told(wrong, instead))
        return Settled("done", "mistake", f"{wrong.given} is no command here; nothing was done")
    asked = [each.command.name for each in given if each.command in (LIST, HELP, PREFS)]
    chosen = tuple(each for each in given if each.command in standing.COMMANDS)
    if not given:
        subtypes = list(desk.site.rules.kinds.subtypes.values())
        ticked, sent = prefs.read(incoming.mail.text, subtypes), prefs.as_sent(incoming.mail.text, subtypes)
        mine = in_general(person, standing_choices(tx), desk.site.people, desk.site.rules)
        chosen = prefs.as_commands(ticked, sent, mine.wants(ticked) if mine else (), "team:*")
        chosen = (*chosen, *standing.wanted_again(tx, person, chosen))
        asked = [PREFS.name] if ticked and not chosen else asked
    refused = machine.why_not(incoming, "command", named=True) if given or chosen else None
    refused = None if incoming.recipient.released else refused
    if refused is not None:
        tell_held(tx, desk, incoming, refused.reason, None, [])
        return Settled("held", refused.cause, refused.reason)
    if (kept := asks_again(tx, desk, incoming, None, chosen)) is not None:
        return kept
    if chosen and messages.claim_effect(tx, "gateway", incoming.dated_id, incoming.mail.body_digest) == "repeated":
        return Settled("done", "duplicate", "the same mail was carried out already")
    how = incoming.identity.how or "released"
    done = standing.carry_out(tx, desk, chosen, person.key, how, incoming.now)
    if isinstance(done, Mistake):
        tell(tx, incoming, None, "mistake", as_told(done, done.instead))
        return Settled("done", "mistake", f"{done.given} cannot be done; nothing was")
    if chosen:
        tell(tx, incoming, None, "done", {"done": [list(each) for each in done]})
    for each in asked:
        audit.append(tx, person.key, each, "", incoming.now, arguments=[], how=how)
    if asked or not chosen:
        answer(tx, incoming, asked or [HELP.name], None)
    return Settled("done", "command", f"answered {', '.join(asked) or HELP.name}")
