"""Decisions about held mails: release, route, drop, block; by mail or by the administrator, each written down."""

from gateway.decide import machine
from gateway.decide.place import Incoming, tell_held
from gateway.decide.post import Desk
from gateway.people import Person
from gateway.records.record import Record
from gateway.store import audit, held, notices, records, suppressed
from gateway.store.arrivals import Settled
from gateway.store.held import Held
from gateway.store.notices import NewNotice
from gateway.store.session import Transaction

# Causes of held mails about which their author may decide; about the second, nobody else.
QUOTES_NOTE = "quotes a note"
SECOND_YES = "second yes"


def by_mail(tx: Transaction, desk: Desk, incoming: Incoming, action: str, held_id: int) -> Settled:
    """Carry out a mail to one of the addresses that stand in a notice of held mail."""
    if incoming.automatic:
        return Settled("done", "automatic", incoming.automatic)
    found = held.find(tx, held_id)
    person, identity = incoming.identity.person, incoming.identity
    if person is None or not identity.authenticated:
        reason = "who decides about held mail must be one of your own people, and authenticated"
        tell_held(tx, desk, incoming, reason, None, [])
        return Settled("held", "not authenticated", reason)
    if (refused := machine.why_not(incoming, "command", named=True)) is not None:
        tell_held(tx, desk, incoming, refused.reason, None, [])
        return Settled("held", refused.cause, refused.reason)
    if found is None or (found.cause == SECOND_YES and incoming.now - found.at > machine.OLD_MS):
        _answer(tx, incoming, person, "gone", "", held_id)
        return Settled("done", "gone", f"{held_id} is not held any more")
    if not may_decide(tx, person, found):
        _answer(tx, incoming, person, "may not", found.subject, held_id)
        return Settled("refused", "no right", f"{person.key} has no right to decide about {held_id}")
    if not decide(tx, action, found, person.key, incoming.now):
        _answer(tx, incoming, person, "gone", found.subject, held_id)
        return Settled("done", "gone", f"{held_id} is not held any more")
    _answer(tx, incoming, person, action, found.subject, held_id)
    return Settled("done", "command", f"{action} {held_id}")


def may_decide(tx: Transaction, person: Person, found: Held) -> bool:
    """Whether a person may decide: with the right `settings`, as the record's salesperson, or as its careful author."""
    if found.cause == SECOND_YES:
        return found.author in person.email
    if "settings" in person.rights:
        return True
    record: Record | None = records.find(tx, found.record) if found.record else None
    if record is not None and record.salesperson == person.key:
        return True
    return found.cause == QUOTES_NOTE and found.author in person.email


def decide(tx: Transaction, action: str, found: Held, who: str, now: int, address: str = "") -> bool:
    """Release, route (to `address`), drop or block, and write down who did; False if somebody else has just decided."""
    match action:
        case "release" | "route":
            done = held.release(tx, found.id, now, who, address)
        case "drop" | "block":
            done = held.drop(tx, found.id, now, who)
        case _:
            raise ValueError(action)
    if not done:
        return False
    if action == "block" and "@" in found.author:
        # What a forger wrote in a customer's name must not silence the customer.
        suppressed.block(tx, found.author, who, now, proved=found.proved)
    audit.append(tx, who, f"held {action}", str(found.id), now, author=found.author, to=address or found.to)
    return True


def _answer(
    tx: Transaction, incoming: Incoming, person: Person, what: str, subject: str, held_id: int
) -> None:  # fmt: skip
    data = {"what": f"held {what}", "answers": incoming.mail.message_id, "subject": subject, "id": str(held_id)}
    refused = what == "may not"  # which is said once a day
    new = NewNotice("decision", person.key, incoming.identity.email, data, daily=refused)
    notices.add(tx, new, incoming.now)
