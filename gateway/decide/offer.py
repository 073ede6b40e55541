"""The customer's yes or no to a quotation, by the button in the mail that brought it.

A yes that is proved, in time, of a quotation that is still open confirms it, and keeps the original
octets with what proved them. Any other is kept for the salesperson, who lets it through or not.
"""

from collections.abc import Sequence
from dataclasses import replace

from gateway.decide import sale, thread
from gateway.decide.command import without_label
from gateway.decide.place import SHOWN_MAX, Incoming, Place, named, tell_held
from gateway.decide.post import Desk, Text, happen
from gateway.decide.quoted import kept_inside
from gateway.following import Grant
from gateway.mail.automatic import BY_SUBJECT
from gateway.mail.quoting import split_reply
from gateway.people import Person
from gateway.records.commands import offer_marked
from gateway.records.conditions import day, is_over
from gateway.records.kinds import QUOTATION, SENT
from gateway.records.lifecycle import VALID_UNTIL, Edit, Refusal
from gateway.store import audit, messages, notices
from gateway.store.arrivals import Settled
from gateway.store.messages import Author, Details, Message
from gateway.store.notices import NewNotice
from gateway.store.session import Transaction

ACCEPT = "accept"
NOT_PROVED = "the customer's answer to the offer is not proved; let it through if it is theirs"
LIKE_A_MACHINE = "the customer's answer to the offer reads like a machine's; let it through if a person said it"
TOO_LATE = "the customer's yes came after the last day of the offer; let it through if it still holds"
NO_DAY = (
    "until when the offer holds cannot be read from its field valid_until; let the customer's yes through if it holds"
)
NEVER_SENT = "the customer said yes to a quotation that was not sent yet; let it through if it says what you agreed on"
BOTH = "the customer's mail went to the addresses of yes and of no; let it through if it is meant so"
CHANGED = (
    "the quotation was changed since it was sent; let the customer's yes through if it is meant for what it says now"
)
_EVENTS = {ACCEPT: "quotation.confirmed", "decline": "quotation.cancelled"}
CLOCK_MS = 60_000  # by how much a customer's clock may be slow, before their yes seems older than the newest offer
_OPEN = ("draft", "sent")


def answer(tx: Transaction, desk: Desk, incoming: Incoming, where: Place) -> Settled:
    """Take the answer of a customer to a quotation; of anybody else it is a mail to the thread."""
    record = where.record
    if incoming.automatic:
        return Settled("done", "automatic", incoming.automatic, record.id)
    scope = f"record:{record.id}:{where.action}"
    digest = incoming.mail.body_digest
    if record.state not in _OPEN and messages.had_effect(tx, scope, incoming.original_id, digest):
        return Settled("done", "duplicate", "the same answer was taken already", record.id)
    if where.role != "customer" or record.kind != QUOTATION.name or record.state not in _OPEN:
        return _late(tx, desk, incoming, where)
    released = incoming.recipient.released
    if not incoming.identity.authenticated and not released:
        return _ask(tx, desk, incoming, where, "acceptance", NOT_PROVED)
    if not released and (doubt := _doubt(tx, desk, incoming, where)) is not None:
        return _ask(tx, desk, incoming, where, *doubt)
    if _was_taken(tx, incoming, scope):
        return Settled("done", "duplicate", "the same answer was taken already", record.id)
    return _take(tx, desk, incoming, where)


def _was_taken(tx: Transaction, incoming: Incoming, scope: str) -> bool:
    return messages.claim_effect(tx, scope, incoming.original_id, incoming.mail.body_digest) == "repeated"


def _ask(tx: Transaction, desk: Desk, incoming: Incoming, where: Place, cause: str, reason: str) -> Settled:
    salesperson = desk.site.people.by_key.get(where.record.salesperson)
    whos = [salesperson.key] if salesperson else []
    sent = messages.last_told(tx, where.record.id, SENT[QUOTATION.name])
    then, now = sent.details.terms if sent else "", where.record.terms
    text = _words(desk, incoming, where)[:SHOWN_MAX]
    more = {"text": text, "customer": incoming.identity.email, "sent": then if then != now else "", "now": now}
    tell_held(tx, desk, incoming, reason, where.record, whos, pause=0, more=more)
    return Settled("held", cause, reason, where.record.id)


def _words(desk: Desk, incoming: Incoming, where: Place) -> str:
    """Return what the customer wrote along with their answer: what the button wrote there is not theirs."""
    said = without_label(split_reply(incoming.mail.text).text, incoming.mail.subject.strip(), where.record.ref)
    return desk.addresses.untagged(said)


def _doubt(tx: Transaction, desk: Desk, incoming: Incoming, where: Place) -> tuple[str, str] | None:
    """Return why an answer is not plainly one to what the quotation says now, as cause and reason; None where it is.

    What stands in its text decides nothing; but programs that answer for people say so in the subject.
    """
    record = where.record
    if incoming.doubtful.startswith(BY_SUBJECT):
        return "machine", LIKE_A_MACHINE
    if {each.action for each in named(desk, incoming, record)} >= _EVENTS.keys():
        return "both", BOTH
    if where.action != ACCEPT:
        return None
    until = record.fields.get(VALID_UNTIL, "")
    if until and not day(until):
        return "no day", NO_DAY
    if is_over(until, incoming.now, desk.site.settings.site.timezone):
        return "too late", TOO_LATE
    sent = messages.last_told(tx, record.id, SENT[QUOTATION.name])
    if sent is None and record.state == "draft":
        return "not sent", NEVER_SENT
    if sent is None:
        return None
    # What went as a PDF alone has no terms that can be compared: a newer one says others, perhaps.
    newer = not sent.details.terms and sale.latest_pdf(tx, record, sent.id)
    older = [each for each in _answered(tx, incoming, where, sent) if each.id != sent.id]
    other = any(not each.details.terms or each.details.terms != record.terms for each in older)
    return ("changed", CHANGED) if newer or other or sent.details.terms not in ("", record.terms) else None


def _answered(tx: Transaction, incoming: Incoming, where: Place, newest: Message) -> Sequence[Message]:
    """Return the offer that a yes is to, as far as it says: by what it answers, its button, or when it was written.

    A button names which of several offers it is of. What says nothing is to the newest.
    """
    sent = messages.of_subtype(tx, where.record.id, SENT[QUOTATION.name])
    if where.parent is not None and where.parent.subtype == newest.subtype:
        return [where.parent]
    number, _ = offer_marked(incoming.mail.subject, where.record.ref)
    if number:
        return sent[number - 1 :][:1]
    written = newest.at if incoming.mail.date is None else incoming.mail.date + CLOCK_MS
    return [each for each in sent if written < newest.at and each.at <= written][-1:]


def _take(tx: Transaction, desk: Desk, incoming: Incoming, where: Place) -> Settled:
    identity, mail, record = incoming.identity, incoming.mail, where.record
    author = Author("", identity.name or where.customer_name(identity), identity.email)
    how = identity.how or "released"
    said = Text(
        text=_words(desk, incoming, where),
        subject=desk.addresses.untagged(mail.subject),
        attachments=incoming.attachments,
        original_id=mail.message_id,
        arrival_id=incoming.arrival.id,
        vouched=identity.authenticated,
        details=Details(
            defects=mail.defects, authenticated=how, withheld=incoming.withheld,
            results=tuple(str(each) for each in identity.results),
        ),
    )  # fmt: skip
    subtype = desk.site.rules.kinds.subtypes[_EVENTS[where.action]]
    said = kept_inside(tx, desk, incoming, where, said)
    posted = happen(tx, desk, record, subtype, Edit(), author, said, incoming.now)
    if isinstance(posted, Refusal):
        return thread.write(tx, desk, incoming, replace(where, action=""))
    proof = {"mail": mail.message_id, "sha256": incoming.arrival.digest.hex(), "how": how}
    audit.append(tx, identity.email, f"offer {where.action}", record.ref, incoming.now, **proof)
    if posted.message is not None:
        _tell(tx, desk, incoming, where, subtype.name, posted.message)
    return Settled("posted", record_id=record.id, message_id=posted.message)


def _late(tx: Transaction, desk: Desk, incoming: Incoming, where: Place) -> Settled:
    """Tell both sides that a customer answers what is open no more; what they wrote stands in the thread.

    Who says yes to a confirmed order once more hears that it is. Anybody else just writes to the thread.
    """
    email, record = incoming.identity.email, where.record
    if where.role != "customer" or record.kind != QUOTATION.name or not incoming.identity.authenticated:
        return thread.write(tx, desk, incoming, replace(where, action=""))
    if _was_taken(tx, incoming, f"record:{record.id}:{where.action}"):
        return Settled("done", "duplicate", "the same answer was taken already", record.id)
    again = where.action == ACCEPT and record.state == "confirmed"
    data = {
        "what": ACCEPT if again else "late", "answers": incoming.mail.message_id, "who": email, "text": "",
        "state": record.state.capitalize(), "said": where.action,
    }  # fmt: skip
    notices.add(tx, NewNotice("offer", "", email, data, record.id), incoming.now)
    for person in () if again else _sellers(desk, where):
        notices.add(tx, NewNotice("offer", person.key, person.email[0], data, record.id), incoming.now)
    if not _words(desk, incoming, where).strip():
        return Settled("done", "late", f"{where.action}: the quotation is {record.state}", record.id)
    return thread.write(tx, desk, incoming, replace(where, action=""))


def _sellers(desk: Desk, where: Place) -> Sequence[Person]:
    """Return who must know of a customer's answer: the salesperson, or else those with `settings`."""
    salesperson = desk.site.people.by_key.get(where.record.salesperson)
    return [salesperson] if salesperson else desk.site.people.with_right("settings")


def _tell(tx: Transaction, desk: Desk, incoming: Incoming, where: Place, event: str, message: int) -> None:
    """Confirm the answer to both sides: the customer, and the salesperson who would not hear of the event.

    What the salesperson gets is a copy of the `message`: who answers it answers the customer. Where nobody sells it,
    and nobody inside hears, those with the right `settings` do.
    """
    record = where.record
    data = {"what": where.action, "answers": incoming.mail.message_id, "who": incoming.identity.email, "text": ""}
    if incoming.identity.authenticated or incoming.recipient.released:
        notices.add(tx, NewNotice("offer", "", incoming.identity.email, data, record.id), incoming.now)
    inside = [each for each in where.followers if not each.outsider]
    hear = {each.who for each in inside if isinstance(each.heard(event, record), Grant)}
    if record.salesperson in hear or (hear and record.salesperson not in desk.site.people.by_key):
        return
    copied = messages.load(tx, [message])[0].message_id
    data |= {"text": _words(desk, incoming, where)[:SHOWN_MAX], "copy_of": copied}
    for person in _sellers(desk, where):
        notices.add(tx, NewNotice("offer", person.key, person.email[0], data, record.id), incoming.now)
