"""A mail to the return path of one delivery: a report settles that delivery, and no other.

What an answering machine sends there becomes a line on the record, nothing more. The author of a
message that did not arrive is told at once, and never in the thread.

*Standards:* RFC 3464 (delivery status), RFC 3834 §4 (automatic answers go to the return path).
"""

from gateway.decide import machine
from gateway.decide.place import Incoming, keep_challenge, tell_held
from gateway.decide.post import Desk, Text, post
from gateway.mail.quoting import split_reply
from gateway.mail.report import Report, read_report
from gateway.records.kinds import DISCUSSION
from gateway.records.record import Record
from gateway.store import audit, messages, notices, outbox, records, suppressed
from gateway.store.arrivals import Settled
from gateway.store.messages import Author, Details, Message
from gateway.store.session import Transaction


def take(tx: Transaction, desk: Desk, delivery: int, incoming: Incoming) -> Settled:
    """Settle `delivery` by the report an arrival holds; keep what a person wrote there."""
    report = read_report(incoming.mail, incoming.arrival.content)
    if report is None:
        if incoming.automatic:
            return _line(tx, desk, delivery, incoming)
        reason = "a person wrote to a return path"
        tell_held(tx, desk, incoming, reason, None, [])
        return Settled("held", "return path", reason)
    answer = f"{report.status} {report.diagnostic}".strip()
    match report.action:
        case "failed":
            _failed(tx, desk, delivery, report, answer, incoming.now)
        case "delayed":
            _delayed(tx, desk, delivery, answer, incoming.now)
        case "delivered" | "relayed" | "expanded":
            pass
    return Settled("done", "report", f"{report.action} {answer}".strip())


def _failed(tx: Transaction, desk: Desk, delivery: int, report: Report, answer: str, now: int) -> None:
    failed = outbox.report(tx, delivery, "failed", answer, now)
    if failed is None:
        return
    people = desk.site.people
    # Who passes their mail on is told of an address that is not theirs: theirs is good.
    passed_on = report.cause == "address" and report.recipient not in ("", failed.recipient.lower())
    cause = "passed on" if passed_on else report.cause
    notices.tell_author(tx, people, "failed", failed.message_id, failed.recipient, answer, cause, now)
    if failed.outsider and suppressed.count_bounce(tx, failed.recipient, cause, answer, delivery, now):
        audit.append(tx, "", "suppressed", failed.recipient, now, answer=answer)
        notices.tell_author(tx, people, "suppressed", failed.message_id, failed.recipient, answer, cause, now)


def _delayed(tx: Transaction, desk: Desk, delivery: int, answer: str, now: int) -> None:
    late = outbox.tell_delay(tx, delivery)
    if late is not None:
        notices.tell_author(
            tx, desk.site.people, "delayed", late.message_id, late.recipient, answer, "temporary", now
        )  # fmt: skip


def delivered(tx: Transaction, delivery: int) -> tuple[Message, Record] | None:
    """Return the message that a delivery was, and its record; None for a notice."""
    message = outbox.message_of(tx, delivery)
    found = messages.load(tx, [message]) if message else []
    return next(((each, records.load(tx, [each.record_id])[each.record_id]) for each in found), None)


def _line(tx: Transaction, desk: Desk, delivery: int, incoming: Incoming) -> Settled:
    """File an out-of-office on the record whose mail it answers; it goes to nobody."""
    found = delivered(tx, delivery)
    if found is None:
        return Settled("done", "automatic", incoming.automatic)
    _, record = found
    if incoming.challenge:
        return keep_challenge(tx, desk, incoming, record)
    scope = f"record:{record.id}"
    if messages.claim_effect(tx, scope, incoming.original_id, incoming.mail.body_digest) == "repeated":
        return Settled("done", "duplicate", "the same mail stands there already", record.id)
    identity, mail = incoming.identity, incoming.mail
    said = Text(
        text=machine.line(desk.addresses.untagged(split_reply(mail.text).text)),
        subject=desk.addresses.untagged(mail.subject),
        original_id=mail.message_id,
        arrival_id=incoming.arrival.id,
        vouched=False,
        details=Details(automatic=incoming.automatic, defects=mail.defects),
    )
    who = identity.person.key if identity.person and identity.authenticated else ""
    author = Author(who, identity.name if who or not identity.person else "", identity.email)
    posted = post(tx, desk, record, DISCUSSION, author, said, incoming.now, parent=None)
    return Settled("posted", "automatic", incoming.automatic, record.id, posted.message)
