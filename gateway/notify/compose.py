"""From words to a mail: a body that readers share, and a header block for each of them.

*Failure:* a field that would be two, or a block that does not read back as exactly the fields we
meant, raises `ValueError`; the mail is not queued.

*Standards:* RFC 5322 §3.6 (fields), RFC 2046 §5.1.4 (alternatives), RFC 2919 (List-Id), RFC 2369
(List-Unsubscribe), RFC 3834 §5 (Auto-Submitted), RFC 2045 (encodings).
"""

import base64
import email.utils
import quopri
import re
import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from gateway.mail.address import Address
from gateway.mail.canonical import simple_body_hash
from gateway.mail.header import ids_field, mailbox_field, split_mail, text_field, token_field

_MEDIA_TYPE = re.compile(r"[a-z0-9][a-z0-9.+-]{0,60}/[a-z0-9][a-z0-9.+-]{0,60}")
_STRUCTURE = frozenset({"text", "message", "multipart"})
_PIECE = 60
_PIECES = re.compile(r"(?:%[0-9A-F]{2}|[^%]){1,20}")
_LINES = 57 * 4_096  # octets of an attachment that make whole lines of base64
_OCTETS = "application/octet-stream"


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
    """Put text, HTML and attachments into one MIME body.

    The structure is one of two fixed shapes; the encodings are the standard library's, whose
    message classes take thirty times as long for the same octets.
    """
    mime, octets = _multipart("alternative", [[_text_part("plain", text)], [_text_part("html", html)]])
    if parts:
        mime, octets = _multipart("mixed", [[mime, b"\r\n", octets], *(_attached(part) for part in parts)])
    return SharedBody(b"MIME-Version: 1.0\r\n" + mime, octets, simple_body_hash(octets))


def _multipart(kind: str, parts: Sequence[Iterable[bytes]]) -> tuple[bytes, bytes]:
    """Return the Content-Type field and the octets of a multipart, joined once from pieces, for they may be large.

    No line of a part can be its boundary.
    """
    boundary = f"=_{secrets.token_hex(16)}".encode("ascii")
    opened = b"--" + boundary + b"\r\n"
    pieces = (piece for part in parts for piece in (opened, *part, b"\r\n"))
    field = b'Content-Type: multipart/%s;\r\n boundary="%s"\r\n' % (kind.encode("ascii"), boundary)
    return field, b"".join((*pieces, b"--", boundary, b"--\r\n"))


def _text_part(kind: str, text: str) -> bytes:
    octets = text.replace("\r", "").encode("utf-8", "replace")
    mostly_ascii = len(octets) < len(text) * 1.3  # quoted-printable takes three octets for each that is not
    encoded = quopri.encodestring(octets) if mostly_ascii else base64.encodebytes(octets)
    name = "quoted-printable" if mostly_ascii else "base64"
    header = f"Content-Type: text/{kind}; charset=utf-8\r\nContent-Transfer-Encoding: {name}\r\n\r\n"
    return header.encode("ascii") + encoded.replace(b"\n", b"\r\n")


def _attached(part: Part) -> Iterator[bytes]:
    main = part.media_type.partition("/")[0]
    # What an outsider called it must not become structure of ours.
    media_type = part.media_type if _MEDIA_TYPE.fullmatch(part.media_type) and main not in _STRUCTURE else _OCTETS
    header = (
        f"Content-Type: {media_type}\r\nContent-Transfer-Encoding: base64\r\n"
        f"Content-Disposition: attachment{_file_name(part.name)}\r\n\r\n"
    )
    yield header.encode("ascii")
    for at in range(0, len(part.content), _LINES):
        yield base64.encodebytes(part.content[at : at + _LINES]).replace(b"\n", b"\r\n")


def _file_name(name: str) -> str:
    """Return the filename parameter, in pieces where it is long (RFC 2231 §3 and §4)."""
    encoded = email.utils.encode_rfc2231(name, "utf-8")
    if len(encoded) <= _PIECE:
        return f";\r\n filename*={encoded}"
    pieces = _PIECES.findall(encoded)
    return "".join(f";\r\n filename*{n}*={piece}" for n, piece in enumerate(pieces))


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
