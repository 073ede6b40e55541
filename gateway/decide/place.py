"""A mail at one of its recipients: what it says, where it stands, who its author is there."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gateway.alias import RecordAddress
from gateway.decide.authenticate import Identity
from gateway.decide.authorise import Role, Tag
from gateway.decide.disposition import Disposition
from gateway.decide.inspect import Inspection
from gateway.decide.post import Desk
from gateway.following import Follower, followers
from gateway.mail.address import Mailbox, clean_name
from gateway.mail.parse import Attachment, Mail
from gateway.records.record import Record
from gateway.store import followers as store_followers
from gateway.store import messages, notices, records
from gateway.store.arrivals import Arrival, Recipient, Settled
from gateway.store.held import Held
from gateway.store.messages import Message
from gateway.store.notices import NewNotice
from gateway.store.session import Transaction

HELD_PAUSE_MS = 3_600_000
SHUNTED = "put aside by a fault of the gateway itself; the mail is kept whole"
CHALLENGE = "a machine asks for a confirmation that only a person can give"
_FROM_MAX = 200  # characters
SHOWN_MAX = 1_000  # characters of a held mail that its notice shows to those who decide


@dataclass(frozen=True, slots=True)
class Incoming:
    """An arrival for one of its recipients, with what is known before its place is."""

    arrival: Arrival
    recipient: Recipient
    mail: Mail
    identity: Identity
    automatic: str
    now: int
    note: bool = False  # one of our people answers a note, wherever it stands, or writes to a note address
    inspection: Inspection = Inspection()
    doubtful: str = ""  # why it reads like a machine's, though its author is proved
    challenge: bool = False  # a machine asks for a confirmation that only a person can give
    tells: bool = False  # a machine, but none that answers: a form, or a list, which may bring an enquiry

    @property
    def attachments(self) -> tuple[Attachment, ...]:
        """The attachments that are passed on."""
        withheld = {each.number for each in self.inspection.withheld}
        return tuple(each for n, each in enumerate(self.mail.attachments) if n not in withheld)

    @property
    def withheld(self) -> tuple[str, ...]:
        """What is not passed on: name, why and what exactly, between tabulators."""
        return tuple(f"{each.name}\t{each.why}\t{each.detail}" for each in self.inspection.withheld)

    @property
    def original_id(self) -> str:
        """The mail's own Message-ID; without one, what From, Date and Subject make of it."""
        if self.mail.message_id:
            return self.mail.message_id
        header = self.mail.header
        known = "\n".join(header.first(name) for name in ("from", "date", "subject"))
        return "none:" + hashlib.sha256(known.encode("utf-8", "replace")).hexdigest()

    @property
    def author_name(self) -> str:
        """What the author is called; where From names nobody, or several, all that stands there."""
        return self.identity.name if self.identity.email else clean_name(self.mail.header.first("from"), _FROM_MAX)

    @property
    def dated_id(self) -> str:
        """What a command counts once by, whatever Message-ID it is given anew: its author, and when they wrote."""
        return f"{self.identity.email} {self.mail.date}" if self.mail.date is not None else self.original_id

    @property
    def refers_to(self) -> tuple[str, ...]:
        """The ids the mail answers, the likeliest parent first."""
        return (*self.mail.in_reply_to, *reversed(self.mail.references))


@dataclass(frozen=True, slots=True)
class Place:
    """Where a mail stands: the record, its followers, the message it answers, its author's role there."""

    record: Record
    action: str
    followers: Sequence[Follower]
    parent: Message | None
    role: Role
    tag: Tag

    def customer_name(self, identity: Identity) -> str:
        """Return what the record calls its customer, where they are proved to be the author; "" for anybody else."""
        return self.record.customer.name if self.role == "customer" and identity.authenticated else ""


def find_place(
    tx: Transaction, desk: Desk, incoming: Incoming, ref: str, action: str, reader: int | None
) -> Place | None:
    """Gather what deciding needs to know of a record; None if there is no such record."""
    record = records.find(tx, ref, lock=True)
    if record is None:
        return None
    choices = store_followers.choices(tx, [record.id])[record.id]
    their = followers(record, choices, desk.site.people, desk.site.rules)
    parent = messages.find_parent(tx, record.id, incoming.refers_to)
    identity = incoming.identity
    if parent is not None and parent.internal and identity.person is None:
        parent = None  # an outsider cannot answer what no outsider was shown
    return Place(
        record, action, their, parent, _role(identity, record, their), _tag(tx, desk, identity, record, reader)
    )


def named(desk: Desk, incoming: Incoming, record: Record) -> list[RecordAddress]:
    """Return the addresses of a record in To and Cc, where these are proved to be their author's.

    An address in the envelope alone is in Bcc, or a replay; so is one in a field that no signature covers.
    """
    mail, unproved = incoming.mail, incoming.identity.unproved
    shown = (*(mail.to if "to" not in unproved else ()), *(mail.cc if "cc" not in unproved else ()))
    return addressed(desk, shown, record)


def means(desk: Desk, incoming: Incoming, record: Record) -> bool:
    """Whether what is proved of a mail names a record: To or Cc, or else its reference in brackets in Subject.

    Some of the largest hosts sign Subject, and neither To nor Cc.
    """
    if named(desk, incoming, record):
        return True
    mail, unproved = incoming.mail, incoming.identity.unproved
    titled = "subject" not in unproved and f"[{record.ref}]".lower() in mail.subject.lower()
    return titled and bool(addressed(desk, (*mail.to, *mail.cc), record))


def addressed(desk: Desk, shown: Sequence[Mailbox], record: Record) -> list[RecordAddress]:
    """Return the addresses of a record among `shown`."""

    def epoch(_ref: str) -> int:
        return record.tag_epoch

    read = [desk.addresses.read(mailbox.address, epoch) for mailbox in shown]
    return [each for each in read if isinstance(each, RecordAddress) and each.ref == record.ref]


def _role(identity: Identity, record: Record, their: Sequence[Follower]) -> Role:
    if not identity.email:
        return "unknown"
    if identity.person is not None:
        return "person"
    if record.customer.owns(identity.email):
        return "customer"
    follows = any(identity.email in follower.emails and follower.follows for follower in their)
    return "follower" if follows else "stranger"


def _tag(tx: Transaction, desk: Desk, identity: Identity, record: Record, reader: int | None) -> Tag:
    if reader is None:
        return "none"
    who = store_followers.reader_who(tx, reader)
    people = desk.site.people
    kind, _, key = who.partition(":")
    if kind == "person":
        owned = people.by_key[key].email if key in people.by_key else ()
    elif record.customer.owns(who):
        owned = record.customer.emails
    else:
        file = people.customer(who)
        owned = file[1].email if file else (who,)
    return "own" if identity.email in owned else "other"


def keep_challenge(tx: Transaction, desk: Desk, incoming: Incoming, record: Record) -> Settled:
    """Hold a machine's question that only a person can answer, and tell the salesperson; never answer it."""
    salesperson = desk.site.people.by_key.get(record.salesperson)
    tell_held(tx, desk, incoming, CHALLENGE, record, [salesperson.key] if salesperson else [])
    return Settled("held", "challenge", CHALLENGE, record.id)


def keep_aside(tx: Transaction, desk: Desk, incoming: Incoming, where: Place, decided: Disposition) -> Settled:
    """Hold a mail and tell the salesperson, bundled; what a machine answers is held without a word."""
    record = where.record
    if not incoming.automatic or incoming.tells:
        salesperson = desk.site.people.by_key.get(record.salesperson)
        tell_held(tx, desk, incoming, decided.reason, record, [salesperson.key] if salesperson else [])
    return Settled("held", decided.cause, decided.reason, record.id)


def tell_shunted(tx: Transaction, desk: Desk, shunted: Sequence[Held], now: int) -> None:
    """Tell the people with `settings` of mail put aside by a fault: one mail an hour, with the held ones."""
    for person in desk.site.people.with_right("settings"):
        for each in shunted:
            data = {
                "id": each.id,
                "from": "",
                "to": each.to,
                "subject": "",
                "record": "",
                "reason": SHUNTED,
                "text": "",
            }
            notices.bundle(tx, NewNotice("held", person.key, person.email[0], data), now, HELD_PAUSE_MS)


def tell_held(
    tx: Transaction, desk: Desk, incoming: Incoming, reason: str, record: Record | None, whos: Sequence[str],
    *, pause: int = HELD_PAUSE_MS, more: Mapping[str, object] | None = None,
) -> None:  # fmt: skip
    """Tell people, or those with `settings` where none is named, that a mail is held: one mail each `pause` ms.

    Of a mail that is for no record its text is shown to them; `more` is what else they must know to decide.
    They are told of a mail once, however often it is looked at again while the DNS is away. So is its author, if
    that is one of our own people.
    """
    if incoming.recipient.again:
        return
    people = desk.site.people
    deciding = [people.by_key[who] for who in whos] or people.with_right("settings")
    for person in deciding:
        data = {
            "id": incoming.recipient.id,
            "from": incoming.identity.email,
            "inside": incoming.identity.person is not None,
            "to": incoming.recipient.address,
            "subject": desk.addresses.untagged(incoming.mail.subject),
            "record": record.ref if record else "",
            "reason": reason,
            "text": "" if record else desk.addresses.untagged(incoming.mail.text)[:SHOWN_MAX],
            **(more or {}),
        }
        new = NewNotice("held", person.key, person.email[0], data, record.id if record else None)
        notices.bundle(tx, new, incoming.now, pause)
    if incoming.identity.person not in deciding:
        _tell_author(tx, desk, incoming, reason, record, [person.name for person in deciding])


def _tell_author(
    tx: Transaction, desk: Desk, incoming: Incoming, reason: str, record: Record | None, deciding: Sequence[str]
) -> None:  # fmt: skip
    """Tell one of our own people, who is proved, that their mail is held: for each reason once a day."""
    identity, mail = incoming.identity, incoming.mail
    person = identity.person
    if person is None or not identity.authenticated or incoming.automatic:
        return
    if notices.was_told(tx, "kept", identity.email, reason, incoming.now):
        return
    data = {
        "answers": mail.message_id,
        "subject": desk.addresses.untagged(mail.subject),
        "to": record.ref if record else desk.addresses.untagged(incoming.recipient.address),
        "reason": reason,
        "deciding": list(deciding),
    }
    new = NewNotice("kept", person.key, identity.email, data, record.id if record else None)
    notices.add(tx, new, incoming.now)
