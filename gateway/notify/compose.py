"""From words to a mail: a body that readers share, and a header block for each of them.

*Failure:* a field that would be two, or a block that does not read back as exactly the fields we
meant, raises `ValueError`; the mail is not queued.

*Standards:* RFC 5322 §3.6 (fields), RFC 2046 §5.1.4 (alternatives), RFC 2919 (List-Id), RFC 2369
(List-Unsubscribe), RFC 3834 §5 (Auto-Submitted), RFC 2045 (encodings).
"""

import email.policy
import email.utils
from collections.abc import Sequence
from dataclasses import dataclass
from email.message import EmailMessage

from gateway.mail.address import Address
from gateway.mail.canonical import simple_body_hash
from gateway.mail.header import ids_field, mailbox_field, split_mail, text_field, token_field

_POLICY = email.policy.SMTP.clone(max_line_length=998, cte_type="7bit")


@dataclass(frozen=True, slots=True)
class Part:
    """An attachment of a mail we send."""

    name: str
    media_type: str
    content: bytes


@dataclass(frozen=True, slots=True)
class SharedBody:
    """A body: its octets, their hash as DKIM sees them, and the MIME fields that belong in the header."""

    mime: bytes
    octets: bytes
    signed_hash: bytes


@dataclass(frozen=True, slots=True)
class Envelope:
    """The header fields that every copy of a mail shares, as values."""

    author: str
    sender: Address
    date: int
    message_id: str
    subject: str
    ancestors: Sequence[str]
    list_id: str
    automatic: str
    record: str
    subtype: str


def shared_body(text: str, html: str, parts: Sequence[Part]) -> SharedBody:
    """Put text, HTML and attachments into one MIME body."""
    mail = EmailMessage(policy=_POLICY)
    mail.set_content(text, cte=_encoding(text))
    mail.add_alternative(html, subtype="html", cte=_encoding(html))
    for part in parts:
        main, _, sub = part.media_type.partition("/")
        if main in ("text", "message", "multipart") or not sub:
            main, sub = "application", "octet-stream"  # our own structure must not be theirs
        mail.add_attachment(part.content, maintype=main, subtype=sub, filename=part.name)
    header, _, octets = mail.as_bytes().partition(b"\r\n\r\n")
    return SharedBody(header + b"\r\n", octets, simple_body_hash(octets))


def _encoding(text: str) -> str:
    return "base64" if sum(not char.isascii() for char in text) * 6 > len(text) else "quoted-printable"


def shared_fields(envelope: Envelope) -> bytes:
    """Return the header fields that every copy of a mail shares."""
    fields = [
        mailbox_field("From", envelope.author, envelope.sender),
        token_field("Date", email.utils.formatdate(envelope.date / 1000, usegmt=True)),
        token_field("Message-ID", f"<{envelope.message_id}>"),
        text_field("Subject", envelope.subject),
    ]
    if envelope.ancestors:
        fields.append(ids_field("References", [f"<{each}>" for each in envelope.ancestors]))
        fields.append(ids_field("In-Reply-To", [f"<{envelope.ancestors[-1]}>"]))
    if envelope.list_id:
        fields.append(token_field("List-Id", f"<{envelope.list_id}>"))
    if envelope.automatic:
        fields.append(token_field("Auto-Submitted", envelope.automatic))
    fields.append(token_field("X-Auto-Response-Suppress", "All"))
    if envelope.record:
        fields.append(token_field("X-Replygate-Record", envelope.record))
    fields.append(token_field("X-Replygate-Subtype", envelope.subtype))
    return b"".join(fields)


def header(
    shared: bytes,
    body: SharedBody,
    name: str,
    to: Address,
    reply_to: Address | None,
    unsubscribe: Address | None,
    reason: str,
) -> bytes:
    """Return the header block of one copy, without the empty line; raise ValueError if it is not what we meant."""
    block = shared + mailbox_field("To", name, to)
    if reply_to is not None:
        block += mailbox_field("Reply-To", "", reply_to)
    if unsubscribe is not None:
        block += token_field("List-Unsubscribe", f"<mailto:{unsubscribe}>")
    if reason:
        block += text_field("X-Replygate-Reason", reason)
    return _as_meant(block + body.mime)


_ONCE = frozenset(
    {"from", "to", "date", "message-id", "subject", "reply-to", "references", "in-reply-to", "content-type"}
)
_MEANT = _ONCE | {
    "list-id", "list-unsubscribe", "auto-submitted", "x-auto-response-suppress", "x-replygate-record",
    "x-replygate-subtype", "x-replygate-reason", "mime-version", "content-transfer-encoding",
}  # fmt: skip


def _as_meant(block: bytes) -> bytes:
    """Read a block again: no field but those we write, none twice, no line that is no field."""
    read, rest = split_mail(block + b"\r\n")
    names = [name for name, _ in read.fields]
    if rest or read.defects or len(set(names)) != len(names) or not _MEANT.issuperset(names):
        message = "a header block does not read back as the fields that were meant"
        raise ValueError(message)
    return block
