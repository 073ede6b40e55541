"""Threads: every entry is a message, and stays as it was posted."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import sqlalchemy as sa

from gateway.mail.parse import Attachment
from gateway.records.kinds import NOTE
from gateway.records.lifecycle import Change
from gateway.store import content, lease
from gateway.store.lease import Claim
from gateway.store.session import Transaction
from gateway.store.tables import arrival, attachment, delivery, effect, message

PENDING = ("pending",)
LEASE = 120_000  # milliseconds
ANCESTORS = 20
OWN_FOLDER = "own folder"  # what proves the author of a mail that was dropped into a folder
_WINDOW = 200  # ids of one mail that are looked for
_IDS: sa.BindParameter[object] = sa.bindparam("ids", expanding=True)
_THREAD: sa.BindParameter[object] = sa.bindparam("thread")
_POST = sa.insert(message).returning(message.c.id)
_LOAD = sa.select(message).where(message.c.id.in_(_IDS)).order_by(message.c.id)
_ROOT = (
    sa.select(message.c.original_id, message.c.message_id)
    .where(message.c.record_id == _THREAD, message.c.subtype != NOTE.name)  # nothing of a note is shown outside
    .order_by(message.c.id)
    .limit(1)
)
_BY_MESSAGE_ID = sa.select(message).where(message.c.message_id.in_(_IDS), message.c.record_id == _THREAD)
_BY_ORIGINAL_ID = sa.select(message).where(message.c.original_id.in_(_IDS), message.c.record_id == _THREAD)
_ATTACHMENTS = sa.select(attachment).where(attachment.c.message_id.in_(_IDS)).order_by(attachment.c.id)
_EFFECTS = sa.select(effect.c.body_digest).where(
    effect.c.scope == sa.bindparam("in_scope"), effect.c.original_id == sa.bindparam("of_id")
)
_KEEP_EFFECT = sa.insert(effect)


@dataclass(frozen=True, slots=True)
class Author:
    """Who wrote a message: a person's key or "", the name shown, the address (lower case)."""

    who: str = ""
    name: str = ""
    email: str = ""

    @property
    def outsider(self) -> bool:
        """Whether somebody outside wrote it, rather than a person or the record system."""
        return not self.who and bool(self.email)


@dataclass(frozen=True, slots=True)
class Details:
    """What else stands with a message; every key may be missing."""

    automatic: str = ""
    defects: tuple[str, ...] = ()
    added: tuple[str, ...] = ()  # outside addresses that follow since this message
    mailed: bool = False  # somebody else told the customer
    pdf: bool = False  # there was none to send along: one is made
    also: tuple[str, ...] = ()  # the customer's other addresses that it goes to
    authenticated: str = ""
    announced: str = ""  # the id of the event
    answered: str = ""  # the outside address whose message this answers
    quiet: bool = False  # the record stood in Bcc: filed, and nobody told
    outside: bool = False  # its author's own mail server took it to somebody outside
    inside: str = ""  # why no outsider hears of it, though its subtype is public
    unheard: tuple[str, ...] = ()  # outsiders who follow only by a command beside it
    results: tuple[str, ...] = ()  # what authentication said
    taken_back: tuple[str, ...] = ()  # who heard of what this takes back: they hear of this
    withheld: tuple[str, ...] = ()  # attachments not passed on: name, why, what, between tabulators
    terms: str = ""  # what went to the customer with it, as Record.terms says it
    again: bool = False  # it went to the customer once more: no transition, and nothing changed


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message to post. `references` are the ids to thread by: the root first, the parent last."""

    record_id: int
    subtype: str
    internal: bool
    at: int
    author: Author
    subject: str
    text: str
    message_id: str
    original_id: str = ""
    quoted: str = ""
    parent_id: int | None = None
    ancestors: tuple[str, ...] = ()
    addressed: tuple[str, ...] = ()
    changes: tuple[Change, ...] = ()
    details: Details = field(default_factory=Details)
    arrival_id: int | None = None
    attachments: tuple[Attachment, ...] = ()
    vouched: bool = True


@dataclass(frozen=True, slots=True)
class Kept:
    """An attachment of a message: its octets are in the store's content."""

    name: str
    media_type: str
    size: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class Message:
    """An entry in a thread."""

    id: int
    record_id: int
    subtype: str
    internal: bool
    at: int
    author: Author
    subject: str
    text: str
    quoted: str
    message_id: str
    original_id: str
    parent_id: int | None
    ancestors: tuple[str, ...]
    addressed: tuple[str, ...]
    changes: tuple[Change, ...]
    details: Details
    hears: Sequence[Mapping[str, str]]
    not_hears: Sequence[Mapping[str, str]]
    state: str


def post(tx: Transaction, new: NewMessage) -> int:
    """Put a message in its thread, to be fanned out, and return its id."""
    details = {name: getattr(new.details, name) for name in new.details.__slots__ if getattr(new.details, name)}
    made = tx.execute(
        _POST,
        {
            "record_id": new.record_id, "subtype": new.subtype, "internal": new.internal, "at": new.at,
            "author_who": new.author.who, "author_name": new.author.name, "author_email": new.author.email,
            "subject": new.subject, "text": new.text, "quoted": new.quoted, "message_id": new.message_id,
            "original_id": new.original_id[:1000], "parent_id": new.parent_id, "ancestors": list(new.ancestors),
            "addressed": list(new.addressed), "changes": [[c.name, c.old, c.new] for c in new.changes],
            "details": details, "arrival_id": new.arrival_id, "state": "pending", "due_at": new.at,
            "vouched": new.vouched,
        },
    ).scalar_one()  # fmt: skip
    attach(tx, made, new.attachments)
    return int(made)


def attach(tx: Transaction, message_id: int, attached: Sequence[Attachment]) -> None:
    """Keep attachments with a message."""
    if attached:
        digests = content.keep_many(tx, [each.content for each in attached])
        rows = [
            {"message_id": message_id, "name": a.name, "media_type": a.media_type, "size": len(a.content), "content": d}
            for a, d in zip(attached, digests, strict=True)
        ]
        tx.execute(sa.insert(attachment), rows)


def claim(tx: Transaction, now: int, limit: int) -> list[Claim]:
    """Claim messages to fan out: many new ones, or one that failed before."""
    return lease.claim_carefully(tx, message, PENDING, now, LEASE, limit)


def load(tx: Transaction, ids: Iterable[int]) -> list[Message]:
    """Return messages by their ids, oldest first."""
    return [_message(row) for row in tx.execute(_LOAD, {"ids": list(set(ids))})]


def thread(tx: Transaction, record_id: int, last: int | None = None) -> list[Message]:
    """Return a record's messages, oldest first; `last` narrows to so many of the newest."""
    query = sa.select(message).where(message.c.record_id == record_id).order_by(message.c.id.desc())
    return [_message(row) for row in tx.execute(query if last is None else query.limit(last))][::-1]


def root_ids(tx: Transaction, record_id: int) -> tuple[str, ...]:
    """Return the ids of the first message of a thread, the author's own and ours; () for an empty thread."""
    row = tx.execute(_ROOT, {"thread": record_id}).first()
    return tuple(filter(None, row)) if row else ()


def find_parent(tx: Transaction, record_id: int, ids: Sequence[str]) -> Message | None:
    """Return the message of this thread that one of `ids` names, ours or the author's; earlier ids win."""
    wanted = list(dict.fromkeys(ids))[:_WINDOW]
    if not wanted:
        return None
    values = {"thread": record_id, "ids": wanted}
    rows = [*tx.execute(_BY_MESSAGE_ID, values), *tx.execute(_BY_ORIGINAL_ID, values)]
    ranked = sorted(rows, key=lambda row: min(_rank(wanted, row.message_id), _rank(wanted, row.original_id)))
    return _message(ranked[0]) if ranked else None


def any_note(tx: Transaction, ids: Sequence[str]) -> bool:
    """Whether one of `ids`, ours or an author's, is that of a note, in any thread."""
    wanted = list(dict.fromkeys(ids))[:_WINDOW]
    if not wanted:
        return False
    either = sa.or_(message.c.message_id.in_(_IDS), message.c.original_id.in_(_IDS))
    query = sa.select(message.c.id).where(message.c.subtype == NOTE.name, either).limit(1)
    return tx.execute(query, {"ids": wanted}).first() is not None


def records_answered(tx: Transaction, ids: Sequence[str]) -> list[int]:
    """Return the records in whose threads stand the messages with these ids, ours or the authors'; earlier ids win."""
    wanted = list(dict.fromkeys(ids))[:_WINDOW]
    if not wanted:
        return []
    either = sa.or_(message.c.message_id.in_(_IDS), message.c.original_id.in_(_IDS))
    query = sa.select(message.c.record_id, message.c.message_id, message.c.original_id).where(either)
    rows = sorted(
        tx.execute(query, {"ids": wanted}),
        key=lambda row: min(_rank(wanted, row.message_id), _rank(wanted, row.original_id)),
    )
    return list(dict.fromkeys(int(row.record_id) for row in rows))


def _rank(ids: Sequence[str], each: str) -> int:
    return ids.index(each) if each in ids else len(ids)


def fanned_out(tx: Transaction, claimed: Claim, hears: list[dict[str, str]], not_hears: list[dict[str, str]]) -> bool:
    """Write who heard of a message and who did not; False when the claim was lost."""
    return lease.settle(tx, message, claimed, state="fanned out", hears=hears, not_hears=not_hears)


def postpone(tx: Transaction, claimed: Claim, due_at: int, *, failed: bool) -> None:
    """Let a claimed message wait until `due_at`; `failed` counts a try."""
    attempts = claimed.attempts if failed else claimed.attempts - 1
    lease.settle(tx, message, claimed, due_at=due_at, attempts=attempts)


def shunt(tx: Transaction, claimed: Claim, reason: str) -> None:
    """Give up fanning a message out; it stays in its thread, and status counts it."""
    lease.settle(tx, message, claimed, state="shunted", not_hears=[{"who": "everybody", "reason": reason}])


def attachments(tx: Transaction, message_ids: Iterable[int]) -> dict[int, list[Kept]]:
    """Return the attachments of messages, by message id."""
    found: dict[int, list[Kept]] = {}
    for row in tx.execute(_ATTACHMENTS, {"ids": list(set(message_ids))}):
        found.setdefault(row.message_id, []).append(Kept(row.name, row.media_type, row.size, row.content))
    return found


def whole(tx: Transaction, kept: Kept) -> Attachment:
    """Return an attachment with its content."""
    return Attachment(kept.name, kept.media_type, content.load(tx, kept.digest))


def original(tx: Transaction, message_id: int) -> bytes | None:
    """Return the mail that a message was, as it was received; None for an event."""
    query = (
        sa.select(arrival.c.content)
        .join(message, message.c.arrival_id == arrival.c.id)
        .where(message.c.id == message_id)
    )
    digest = tx.execute(query).scalar()
    return content.load(tx, digest) if digest is not None else None


def last_told(tx: Transaction, record_id: int, subtype: str) -> Message | None:
    """Return the newest message of a subtype on a record that somebody heard of, or will; or None."""
    told = (each for each in of_subtype(tx, record_id, subtype)[::-1] if each.hears or each.state in PENDING)
    return next((each for each in told if not each.details.taken_back), None)


def of_subtype(tx: Transaction, record_id: int, subtype: str) -> list[Message]:
    """Return the messages of a subtype on a record, oldest first."""
    query = sa.select(message).where(message.c.record_id == record_id, message.c.subtype == subtype)
    return [_message(row) for row in tx.execute(query.order_by(message.c.id))]


def newest_from_outside(tx: Transaction, record_id: int) -> Message | None:
    """Return what somebody outside, and no machine, wrote last on a record; or None."""
    query = sa.select(message).where(
        message.c.record_id == record_id, message.c.author_who == "", message.c.author_email != ""
    )
    rows = tx.execute(query.order_by(message.c.id.desc()).limit(_WINDOW))
    return next((each for each in map(_message, rows) if not each.details.automatic), None)


def shown_attachments(tx: Transaction, record_id: int, after: int = 0) -> list[Kept]:
    """Return what those inside attached in a thread, newest first, but for notes, and PDFs that we made ourselves.

    `after` narrows to those of messages that came after that one.
    """
    query = (
        sa.select(attachment, message.c.details)
        .join(message, message.c.id == attachment.c.message_id)
        .where(message.c.record_id == record_id, message.c.subtype != NOTE.name, message.c.id > after)
        .where(sa.or_(message.c.author_who != "", message.c.author_email == ""))
        .order_by(attachment.c.id.desc())
    )
    return [
        Kept(row.name, row.media_type, row.size, row.content)
        for row in tx.execute(query)
        if not (row.details.get("pdf") and row.media_type == "application/pdf")
    ]


def claim_effect(
    tx: Transaction, scope: str, original_id: str, body_digest: bytes
) -> Literal["new", "repeated", "other body"]:
    """Note that a mail has its effect in `scope` (law 2), unless it had it before: then it is `repeated`.

    `other body` is new too: another mail had this Message-ID, and said something else.
    """
    row = {"scope": scope, "original_id": original_id[:1000], "body_digest": body_digest}
    digests = tx.execute(_EFFECTS, {"in_scope": scope, "of_id": original_id[:1000]}).scalars().all()
    if body_digest in digests:
        return "repeated"
    tx.execute(_KEEP_EFFECT, row)
    return "other body" if digests else "new"


def had_effect(tx: Transaction, scope: str, original_id: str, body_digest: bytes) -> bool:
    """Whether a mail had its effect in `scope`; nothing is noted."""
    return body_digest in tx.execute(_EFFECTS, {"in_scope": scope, "of_id": original_id[:1000]}).scalars().all()


def effect_made(tx: Transaction, scope: str, original_id: str, body_digest: bytes, record_id: int) -> None:
    """Note which record the effect of a mail made."""
    where = (effect.c.scope == scope, effect.c.original_id == original_id[:1000], effect.c.body_digest == body_digest)
    tx.execute(sa.update(effect).where(*where).values(record_id=record_id))


def records_made(tx: Transaction, scope: str, ids: Sequence[str]) -> list[int]:
    """Return the records that mails with these original ids made in `scope`."""
    query = sa.select(effect.c.record_id).where(
        effect.c.scope == scope, effect.c.original_id.in_(list(ids)[:_WINDOW]), effect.c.record_id.is_not(None)
    )
    return [int(each) for each in tx.execute(query).scalars()]


@dataclass(frozen=True, slots=True)
class Said:
    """What somebody said on a record: the message's id, its text, and the message it answered."""

    id: int
    text: str
    parent_id: int | None


def said_since(tx: Transaction, record_id: int, author_email: str, since: int, limit: int = 20) -> list[Said]:
    """Return what an author said on a record since then, newest first."""
    query = (
        sa.select(message.c.id, message.c.text, message.c.parent_id)
        .where(message.c.record_id == record_id, message.c.author_email == author_email, message.c.at >= since)
        .order_by(message.c.id.desc())
        .limit(limit)
    )
    return [Said(row.id, row.text, row.parent_id) for row in tx.execute(query)]


def heard_since(tx: Transaction, record_id: int, email: str, since: int, limit: int = 20) -> list[int]:
    """Return when messages of a record were posted that went to an address since then (ms), the newest first."""
    query = (
        sa.select(message.c.at)
        .join(delivery, delivery.c.message_id == message.c.id)
        .where(message.c.record_id == record_id, message.c.at >= since, delivery.c.recipient == email)
        .order_by(message.c.id.desc())
        .limit(limit)
    )
    return list(tx.execute(query).scalars())


def count_since(tx: Transaction, record_id: int, author_email: str, since: int) -> int:
    """Return how many messages that nobody vouches for an author wrote to a record since then."""
    query = sa.select(sa.func.count()).where(
        message.c.record_id == record_id,
        message.c.author_email == author_email,
        message.c.at >= since,
        message.c.vouched.is_(False),
    )
    return int(tx.execute(query).scalar_one())


def _message(row: Any) -> Message:  # noqa: ANN401 (a row of the table)
    details: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in row.details.items()
    }
    return Message(
        id=row.id, record_id=row.record_id, subtype=row.subtype, internal=row.internal, at=row.at,
        author=Author(row.author_who, row.author_name, row.author_email), subject=row.subject, text=row.text,
        quoted=row.quoted, message_id=row.message_id, original_id=row.original_id, parent_id=row.parent_id,
        ancestors=tuple(row.ancestors), addressed=tuple(row.addressed),
        changes=tuple(Change(*change) for change in row.changes), details=Details(**details),
        hears=row.hears or [], not_hears=row.not_hears or [], state=row.state,
    )  # fmt: skip
