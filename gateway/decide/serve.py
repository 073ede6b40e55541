"""Serve every recipient of a mail: what it means there, in the transaction that writes it down.

What is dropped or kept before it is looked at closer: our own mail that came back, mail that went
round in circles, mail of blocked authors, floods, and what a checker would not take.
"""

import re
from collections.abc import Sequence
from unicodedata import normalize

from gateway.alias import OFFERS, HeldAddress, ReturnPath
from gateway.decide import bounce, command, held, intake, offer, reserved, thread
from gateway.decide.place import Incoming, find_place, tell_held
from gateway.decide.post import Desk
from gateway.decide.read import Read
from gateway.decide.route import Nowhere, Target, ToIntake, ToRecord, ToReserved, ToTeam, Unnamed, route
from gateway.mail.automatic import BY_ADDRESS, BY_SUBJECT, CALENDAR, SAYS, Automatic, read_automatic
from gateway.mail.quoting import split_reply
from gateway.records.commands import SEND, UNFOLLOW
from gateway.records.kinds import NOTE
from gateway.store import arrivals, messages, records, suppressed
from gateway.store.arrivals import ARCHIVE, FOLDER, IMAP, Settled
from gateway.store.session import Transaction
from gateway.worker import now_ms

HOPS_MAX = 50  # Received fields (RFC 5321 §6.3)
_IN_SUBJECT = re.compile(r"\[([A-Za-z][A-Za-z0-9]{0,23})\]", re.ASCII)
_ANSWERED = re.compile(r"[:\])]\s*(?:re|aw|sv|回覆|回复|答覆)\s*:")  # behind a name: `Automatic reply: Re: chairs`
_REFS_MAX = 5
_OUR_ID = re.compile(r"[a-z0-9]+\.[0-9a-f]{24}@[a-z0-9.-]+")


def decide(tx: Transaction, desk: Desk, read: Read) -> list[Settled]:
    """Serve every recipient of an arrival and write what became of it."""
    now = now_ms()
    rules = desk.site.rules
    routed = [
        (recipient, route(recipient.address, desk.addresses, rules, lambda ref: records.epoch(tx, ref)))
        for recipient in read.arrival.recipients
    ]
    if read.identity.results:
        found = [(each.method, each.verdict, each.domain, each.detail) for each in read.identity.results]
        arrivals.keep_results(tx, read.arrival.id, found, proved=read.identity.authenticated)
    author = read.identity.email or "(no single well-formed From)"
    note = _is_note(tx, desk, read, [target for _, target in routed])
    # What a person puts into a folder says what they mean, whoever wrote it.
    automatic = None if read.arrival.door == FOLDER else read_automatic(read.mail, read.arrival.return_path)
    outcomes: list[Settled] = []
    served = _said_with_an_action(read, [target for _, target in routed])
    for recipient, target in sorted(routed, key=lambda pair: _precedence(pair[1])):
        name = _name(target)
        if name in served and name:
            outcome = Settled("done", "same record", "another recipient of this mail is the same record")
        else:
            why, doubtful = _machines(tx, read, target, automatic)
            incoming = Incoming(
                read.arrival, recipient, read.mail, read.identity, why, now, note, read.inspection, doubtful,
                challenge=bool(why) and automatic is not None and automatic.kind == "challenge",
                tells=automatic is not None and automatic.kind in ("notification", "list"),
            )  # fmt: skip
            outcome = _turned_away(tx, desk, incoming, target) or _serve(tx, desk, incoming, target)
            served.add(name)
        arrivals.settle_recipient(tx, recipient.id, outcome, now, author, read.mail.subject)
        if read.arrival.door == FOLDER and outcome.record_id is not None:
            records.touch(tx, outcome.record_id, now)  # the card that was moved shows again how the lead stands
        outcomes.append(outcome)
    return outcomes


def _said_with_an_action(read: Read, targets: Sequence[Target]) -> set[str]:
    """Return the records to which a mail says at the address of an action all that it says to their own address.

    The text of an answer to an offer stands with it in the thread, and so does what goes along with `/send`.
    """
    sends = read.identity.person is not None and read.identity.authenticated
    actions = {*OFFERS, *([SEND.name] if sends else [])}
    return {each.ref.lower() for each in targets if isinstance(each, ToRecord) and each.action in actions}


def _machines(tx: Transaction, read: Read, target: Target, automatic: Automatic | None) -> tuple[str, str]:
    """Return why a mail counts as a machine's, and why it only reads like one; "" where it does not.

    Words in its text alone take nobody's mail who is proved to have written it: people write of absence, and of mail
    that came back. It is posted, what others wrote to those inside alone; before it commands, our own people are
    asked. So is what lists and servers mark of our own people, what a customer writes whose address is called as a
    machine's, an answer to us that came through a list, and what anybody wrote into the answer of a calendar. What is
    called an automatic answer in its subject, and answers something, is one; no answer to an offer is, of which we ask.
    """
    if automatic is None:
        return "", ""
    person = read.identity.person
    told = automatic.why == CALENDAR and bool(split_reply(read.mail.text).text.strip())
    worded = automatic.worded and not automatic.why.startswith(SAYS)
    soft = worded or automatic.bulk or told
    if soft and isinstance(target, ToIntake):
        return automatic.why, automatic.why
    leaves = isinstance(target, ToRecord) and target.action == UNFOLLOW.name  # Gmail says that it wrote this itself
    if (leaves and (soft or automatic.worded)) or (soft and isinstance(target, HeldAddress | ToReserved)):
        return "", ""  # no text for a thread: a decision, or for an administrator
    offer = isinstance(target, ToRecord) and target.action in OFFERS
    proved = read.identity.authenticated and (person is not None or _is_a_persons(tx, read, target, automatic))
    called = automatic.why.startswith(BY_SUBJECT) and not offer and _answers(tx, read, target)
    if not soft or called or isinstance(target, ReturnPath) or not (proved or offer):
        return automatic.why, ""
    return "", automatic.why


def _is_a_persons(tx: Transaction, read: Read, target: Target, automatic: Automatic) -> bool:
    """Whether what only reads like a machine's is an outsider's own: a newsletter answers nothing of ours.

    A customer is one whatever their address is called, and what they answer through a list is theirs.
    """
    if not automatic.bulk:
        return True
    named = automatic.why.startswith(BY_ADDRESS)
    record = records.find(tx, target.ref) if named and isinstance(target, ToRecord) else None
    if record is not None and record.customer.owns(read.identity.email):
        return True
    answers = messages.records_answered(tx, (*read.mail.in_reply_to, *read.mail.references))
    return bool(answers) and (named or automatic.kind == "list")


def _answers(tx: Transaction, read: Read, target: Target) -> bool:
    """Whether a mail answers another one, by its fields, or by the subject behind the name it gives itself."""
    mail = read.mail
    if mail.in_reply_to or mail.references or not isinstance(target, ToRecord | ToTeam):
        return True
    subject = normalize("NFKC", mail.subject).casefold()
    record = records.find(tx, target.ref) if isinstance(target, ToRecord) else None
    title = normalize("NFKC", record.title).casefold() if record is not None else ""
    about = bool(title) and subject.endswith(title) and subject.removesuffix(title).rstrip().endswith((":", "]", ")"))
    return about or bool(_ANSWERED.search(subject))


def _is_note(tx: Transaction, desk: Desk, read: Read, targets: list[Target]) -> bool:
    """Whether all a person says in this mail is a note: one address makes it so for all, and so does its parent.

    Servers hand a mail over once for each recipient: a note address in To or Cc counts as one in the envelope.
    What was held and is decided alone, later, came to the others no less.
    """
    if read.identity.person is None:
        return False
    mail = read.mail
    asked = any(isinstance(each, ToRecord | ToTeam) and each.action == NOTE.name for each in targets)
    shown = any(desk.addresses.action(mailbox.address) == NOTE.name for mailbox in (*mail.to, *mail.cc))
    asked = asked or _came_to_note(tx, desk, read)
    return asked or shown or messages.any_note(tx, (*mail.in_reply_to, *mail.references))


def _came_to_note(tx: Transaction, desk: Desk, read: Read) -> bool:
    """Whether a recipient that was served before, apart from those looked at now, was a note's address."""
    if not any(each.released or each.again for each in read.arrival.recipients):
        return False
    addresses = (desk.addresses.parse(each) for each in arrivals.envelope(tx, read.arrival.id))
    return any(address is not None and desk.addresses.action(address) == NOTE.name for address in addresses)


def _precedence(target: Target) -> int:
    """Records before teams and intakes; of several addresses of one record, the note's first, a command's last."""
    match target:
        case ToRecord(action="note") | ToTeam(action="note"):
            return 0
        case ToRecord(action=""):
            return 1
        case ToRecord():
            return 2
        case ToTeam():
            return 3
        case _:
            return 4


def _name(target: Target) -> str:
    """Return what one mail is posted to once: a record, whether or not it is a note there."""
    match target:
        case ToRecord(ref, action) | ToTeam(ref, action):
            return ref.lower() if action in ("", "note") else f"{ref.lower()}-{action}"
        case ToIntake(found):
            return f"intake:{found.address}"
        case _:
            return ""


def _turned_away(tx: Transaction, desk: Desk, incoming: Incoming, target: Target) -> Settled | None:
    """Return what becomes of a mail that is not looked at closer, or None. A released one always is."""
    door, released = incoming.arrival.door, incoming.recipient.released
    if isinstance(target, ReturnPath):
        return None
    if door == ARCHIVE and not released:
        reason = "somebody put it into the archive, which is for all to read"
        tell_held(tx, desk, incoming, reason, None, [])
        return Settled("held", "archive", reason)
    if door != FOLDER and is_own(desk, incoming):
        return Settled("discarded", "own mail", "a mail of ours came back to us")
    return None if released else _unwanted(tx, desk, incoming, target)


def _unwanted(tx: Transaction, desk: Desk, incoming: Incoming, target: Target) -> Settled | None:
    """Return what becomes of what goes in circles, is blocked, too much, or not taken by a checker; or None."""
    if incoming.arrival.door != FOLDER and len(incoming.mail.header.all("received")) > HOPS_MAX:
        reason = f"it went through more than {HOPS_MAX} hosts: it goes round in circles"
        tell_held(tx, desk, incoming, reason, None, [])
        return Settled("held", "hops", reason)
    identity = incoming.identity
    sure = identity.person is not None and identity.authenticated
    proved = identity.authenticated
    # One of our own people cannot be blocked: what a forger wrote in their name would silence them.
    if identity.person is None and identity.email and suppressed.is_blocked(tx, identity.email, proved=proved):
        return Settled("refused", "blocked", "mail from this author is blocked")
    too_much = desk.flood.too_much(desk.site.rules.limits, identity.email, _name(target), sure=sure, proved=proved)
    if too_much:
        if proved:  # of the others there may be any number
            tell_held(tx, desk, incoming, too_much, None, [])
        return Settled("held", "flood", too_much)
    if incoming.inspection.hold and not (sure and incoming.inspection.hold.startswith("spam")):
        cause = "spam" if incoming.inspection.hold.startswith("spam") else "attachment"
        tell_held(tx, desk, incoming, incoming.inspection.hold, None, [])
        return Settled("held", cause, incoming.inspection.hold)
    return None


def is_own(desk: Desk, incoming: Incoming) -> bool:
    """Whether a mail is one of ours that came back: by its Message-ID, or by who wrote it."""
    mail = incoming.mail
    ours = _OUR_ID.fullmatch(mail.message_id) and mail.message_id.endswith("@" + desk.addresses.domain)
    return bool(ours) or (mail.author is not None and desk.addresses.owns(mail.author.address))


def _serve(tx: Transaction, desk: Desk, incoming: Incoming, target: Target) -> Settled:
    match target:
        case ReturnPath(delivery):
            return _to_return_path(tx, desk, incoming, delivery)
        case HeldAddress(action, held_id):
            return held.by_mail(tx, desk, incoming, action, held_id)
        case ToRecord(ref, action, reader):
            return _record(tx, desk, incoming, ref, action, reader)
        case ToTeam(team, action, reader):
            records.create_team(tx, team, desk.site.rules.teams[team].name, incoming.now)
            return _record(tx, desk, incoming, team, action, reader)
        case ToIntake(found):
            belongs = intake.record_answered(tx, found, incoming)
            if belongs:
                return _record(tx, desk, incoming, belongs, "", None)
            return reserved.without_record(tx, incoming) or intake.create(tx, desk, found, incoming)
        case ToReserved(local):
            return reserved.to_reserved(tx, desk, local, incoming)
        case Unnamed() | Nowhere():
            return _lost(tx, desk, incoming, target)


def _to_return_path(tx: Transaction, desk: Desk, incoming: Incoming, delivery: int) -> Settled:
    """Settle a delivery by a report; what a person wrote there, and somebody released, is for the record's thread.

    What came back from a mail that those inside had alone stays inside.
    """
    found = bounce.delivered(tx, delivery) if incoming.recipient.released else None
    if found is not None:
        message, record = found
        return _record(tx, desk, incoming, record.ref, NOTE.name if message.internal else "", None)
    return bounce.take(tx, desk, delivery, incoming)


def _lost(tx: Transaction, desk: Desk, incoming: Incoming, target: Unnamed | Nowhere) -> Settled:
    """Place a mail without an envelope: by what it answers, then by a reference in its subject, or hold it.

    The reference is a hint: it counts only where its author may write, and is proved.
    """
    if isinstance(target, Nowhere):
        return _past(tx, desk, incoming)
    answered = records.load(tx, messages.records_answered(tx, incoming.refers_to)[:1])
    for record in answered.values():
        return _record(tx, desk, incoming, record.ref, "", None)
    for match in list(_IN_SUBJECT.finditer(incoming.mail.subject[:400]))[:_REFS_MAX]:
        place = find_place(tx, desk, incoming, match[1], "", None)
        if place is not None and place.role in ("person", "follower", "customer") and incoming.identity.authenticated:
            return thread.write(tx, desk, incoming, place)
    reason = "it names no address of ours, and answers nothing that stands here"
    tell_held(tx, desk, incoming, reason, None, [])
    return Settled("held", "no envelope", reason)


def _past(tx: Transaction, desk: Desk, incoming: Incoming) -> Settled:
    """Hold what came, by a mailbox for all, to an address that is none any more; of a record's its salesperson is told.

    By SMTP its author would have been told at once.
    """
    reason = "the address is not ours any more"
    address = desk.addresses.parse(incoming.recipient.address)
    local = address.local.partition("+")[0] if address is not None else ""
    name, dash, _ = local.partition("-")
    record = records.find(tx, name) if incoming.arrival.door == IMAP else None
    if record is None:
        return _nowhere(tx, desk, incoming, reason)
    if incoming.recipient.released:
        return _record(tx, desk, incoming, record.ref, NOTE.name if dash else "", None)  # it may have been `-note`
    salesperson = desk.site.people.by_key.get(record.salesperson)
    tell_held(tx, desk, incoming, reason, record, [salesperson.key] if salesperson else [])
    return Settled("held", "unknown address", reason, record.id)


def _nowhere(tx: Transaction, desk: Desk, incoming: Incoming, reason: str) -> Settled:
    """Hold what came to an address of ours that is none any more; of our own people's those who decide are told."""
    if incoming.identity.person is not None and incoming.identity.authenticated:
        tell_held(tx, desk, incoming, reason, None, [])
    return Settled("held", "unknown address", reason)


def _record(tx: Transaction, desk: Desk, incoming: Incoming, ref: str, action: str, reader: int | None) -> Settled:
    place = find_place(tx, desk, incoming, ref, action, reader)
    if place is None:
        return _nowhere(tx, desk, incoming, f"there is no such record: {ref}")
    if action in OFFERS:
        return offer.answer(tx, desk, incoming, place)
    if action and action != NOTE.name:
        return command.by_address(tx, desk, incoming, place)
    return thread.write(tx, desk, incoming, place)
