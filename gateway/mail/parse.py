"""Read a mail: any octets in, a `Mail` out, with what is wrong with it listed.

*Failure:* total: nothing raises. What cannot be read is left out of the result and named in
`defects`; the octets themselves are kept by whoever called.

*Standards:* RFC 5322 (header, identification fields), RFC 2045–2047 and 2231 (MIME),
RFC 2183 (disposition), RFC 3676 §4.1–4.5 (flowed text), RFC 7103 (handling malformed mail).
"""

import binascii
import email.utils
import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import fast_mail_parser
from fast_mail_parser import PyLazyMimePart

from gateway.mail import ambiguous
from gateway.mail.address import Mailbox, clean_name, find_mailboxes, parse_mailboxes, without_unseen
from gateway.mail.charset import decode_text, decode_words
from gateway.mail.header import Header, one_line, read_header
from gateway.mail.html import HTML_MAX, html_to_text

PARTS_MAX = 1_000
NESTED_MAX = 100  # multiparts and mails inside a mail
BOUNDARIES_MAX = 5_000  # lines that may begin a part
TEXT_MAX = 1_000_000  # characters of text that are kept
_PICTURE_MAX = 64 * 1024  # octets of a picture in a signature
_PROOFS = frozenset({"application/pkcs7-signature", "application/x-pkcs7-signature", "application/pgp-signature"})
SUBJECT_MAX = 500
_FILE_NAME_MAX = 1_000  # characters of an attachment's name that are looked at
_IDS_MAX = 100
_ID = re.compile(r"<([!-;=?-~]{1,900})>")
_CHARSET = re.compile(r"charset\s*=\s*(\"[^\"]{0,80}\"|[^;\s]{1,80})", re.IGNORECASE)
_TWICE = re.compile(r"<mailto:([^<>\s]{3,320})>")  # what Outlook writes behind an address in plain text
_COMPARED_MAX = 4  # texts of a mail
_SAID_MIN = 40  # letters of a text that another one holds
_TEXTS = frozenset({"text/plain", "text/html", "text/markdown", "text/enriched"})  # that a mail may be as a whole
_FLOWED = re.compile(r";\s*format\s*=\s*\"?flowed", re.IGNORECASE)
_DELSP = re.compile(r";\s*delsp\s*=\s*\"?yes", re.IGNORECASE)
AMBIGUOUS = "its structure can be read in more than one way"
_NESTS = re.compile(rb"boundary=|message/rfc822", re.IGNORECASE)
_OPAQUE = ("more nested parts than we read", "more parts than we read", "structure cannot be read")
_BASE64 = re.compile(rb"^(content-transfer-encoding[ \t]*:[ \t]*)base64", re.IGNORECASE | re.MULTILINE)
_FIRST = 1_000_000  # octets in which texts in base64 are looked at as they stand


@dataclass(frozen=True, slots=True)
class Attachment:
    """A part that is not the text: its cleaned name (perhaps empty), media type and octets."""

    name: str
    media_type: str
    content: bytes
    content_id: str = ""

    @property
    def decorates(self) -> bool:
        """Whether a program adds it to every mail: a small picture in a signature, or what proves it (RFC 8551)."""
        picture = self.media_type.startswith("image/") and bool(self.content_id) and len(self.content) <= _PICTURE_MAX
        return picture or self.media_type in _PROOFS


@dataclass(frozen=True, slots=True)
class Mail:
    """What a mail says. Text from outside: data, never authority."""

    header: Header
    author: Mailbox | None
    to: tuple[Mailbox, ...]
    cc: tuple[Mailbox, ...]
    subject: str
    date: int | None
    message_id: str
    in_reply_to: tuple[str, ...]
    references: tuple[str, ...]
    text: str
    attachments: tuple[Attachment, ...]
    report: bytes | None
    body_digest: bytes
    defects: tuple[str, ...]


def parse(content: bytes) -> Mail:
    """Read `content`, a mail in RFC 5322 form with CRLF or LF lines, of any length.

    `author` is None unless there is exactly one From field with exactly one well-formed mailbox.
    `date` is in milliseconds since 1970. Message ids stand without angle brackets. `text` is the
    readable text, made from HTML where there is none. `report` is the machine-readable part of a
    multipart/report. `body_digest` is the SHA-256 of the body's octets, no header field (law 2).
    """
    header, at = read_header(content)
    defects = list(header.defects)
    leaves = _leaves(header, content, at, defects)
    text, attachments, report = _sort(leaves, defects)
    defects += [AMBIGUOUS] * (ambiguous.header_is(header) or any(each.startswith(_OPAQUE) for each in defects))
    message_id = next(iter(_ids(header.first("message-id"))), "")
    date = _date(header.first("date"))
    defects += ["no Message-ID"] * (not message_id) + ["no Date"] * (date is None)
    return Mail(
        header=header,
        author=_author(header, defects),
        to=_mailboxes(header, "to"),
        cc=_mailboxes(header, "cc"),
        subject=one_line(decode_words(header.first("subject")))[:SUBJECT_MAX],
        date=date,
        message_id=message_id,
        in_reply_to=_ids(header.first("in-reply-to")),
        references=_ids(header.first("references")),
        text=text,
        attachments=tuple(attachments),
        report=report,
        body_digest=hashlib.sha256(memoryview(content)[at:]).digest(),
        defects=tuple(dict.fromkeys(defects)),
    )


def _author(header: Header, defects: list[str]) -> Mailbox | None:
    fields = header.all("from")
    mailboxes = parse_mailboxes(fields[0]) if len(fields) == 1 else None
    if mailboxes is None or len(mailboxes) != 1:
        defects.append("not exactly one well-formed From")
        return None
    return mailboxes[0]


def _mailboxes(header: Header, name: str) -> tuple[Mailbox, ...]:
    return tuple(mailbox for field in header.all(name) for mailbox in find_mailboxes(field))


def _ids(field: str) -> tuple[str, ...]:
    found = _ID.findall(field)
    if not found and field and "@" in field and re.fullmatch(r"[!-;=?-~]{1,900}", field):
        found = [field]
    return tuple(dict.fromkeys(found[-_IDS_MAX:]))


def _date(field: str) -> int | None:
    if not field or len(field) > 200:
        return None
    try:
        return int(email.utils.parsedate_to_datetime(field).timestamp() * 1000)
    except (ValueError, TypeError, OverflowError, IndexError, AttributeError):
        return None


def _bomb(header: Header, content: bytes, at: int) -> str:
    """Return why the structure of a mail is not even looked at, or "": the parser recurses, and builds it all first."""
    nested = sum(1 for _ in islice(_NESTS.finditer(content, at), NESTED_MAX + 1))
    if nested > NESTED_MAX:
        return "more nested parts than we read"
    if "multipart" in header.first("content-type").lower() and content.count(b"\n--", at) > BOUNDARIES_MAX:
        return "more parts than we read"
    return ""


@dataclass(frozen=True, slots=True)
class _Leaf:
    media_type: str
    charset: str
    name: str
    content: bytes
    content_id: str
    attached: bool  # it says so, or has a name
    set_apart: bool  # it says so
    alternative: int  # which multipart/alternative it is a choice of, 0 for none
    kind: str = ""  # the whole field, with its parameters


def _leaves(header: Header, content: bytes, at: int, defects: list[str]) -> list[_Leaf]:
    """Give the parser a header of our own making, so that no header can stop it."""
    start = content[at : at + TEXT_MAX]
    whole = _Leaf("text/plain", "", "", start, "", attached=False, set_apart=False, alternative=0)
    if why := _bomb(header, content, at):
        defects.append(why)
        return [whole]
    lines = [f"{name}: {header.first(name)}\r\n" for name in ambiguous.STRUCTURE if header.first(name)]
    # One copy of the octets, and no more: a mail may hold 25 MB.
    payload = b"".join(("".join(lines).encode("utf-8", "replace"), b"\r\n", memoryview(content)[at:]))
    try:
        tree = fast_mail_parser.parse_email_tree(payload, mode="lazy")
    except fast_mail_parser.ParseError as error:
        defects.append(f"structure cannot be read ({type(error).__name__})")
        return [whole]
    parts = list(islice(_walk(tree), PARTS_MAX + 1))
    defects += ["more parts than we read"] * (len(parts) > PARTS_MAX)
    defects += [AMBIGUOUS] * _is_ambiguous(tree, parts, payload, content[at : at + _FIRST])
    found: list[_Leaf] = []
    undecoded: list[bytes] | None = None
    for number, (part, alternative) in enumerate(parts[:PARTS_MAX]):
        try:
            octets = part.content or b""
        except fast_mail_parser.ParseError:
            defects.append("a part cannot be decoded cleanly")
            undecoded = _undecoded(payload) if undecoded is None else undecoded
            octets = _decoded_anyway(undecoded, number)
        found.append(_leaf(part, octets, alternative=alternative))
    return found


def _is_ambiguous(
    tree: PyLazyMimePart, parts: Sequence[tuple[PyLazyMimePart, int]], payload: bytes, body: bytes
) -> bool:  # fmt: skip
    """Whether another program may find another text in the parts of a mail."""
    holding = list(_holding(tree))
    if any(ambiguous.part_is(part.headers) for part in (*holding, *(part for part, _ in parts))):
        return True
    boundaries = [ambiguous.boundary_of(_field(part, "content-type")) for part in holding]
    if ambiguous.boundaries_are(boundaries, body):
        return True
    texts = [each for each in parts if each[0].content_type.lower() == "text/plain" and not each[0].filename]
    if sum(1 for _, alternative in texts if alternative) > 1:
        return True
    in_base64 = [
        number
        for number, (part, _) in enumerate(parts)
        if part.content_type.lower().startswith("text/")
        and _field(part, "content-transfer-encoding").strip().lower() == "base64"
    ]
    if not in_base64:
        return False
    undecoded = _undecoded(payload[:_FIRST])
    return any(number >= len(undecoded) or ambiguous.base64_is(undecoded[number]) for number in in_base64[:1])


def _undecoded(payload: bytes) -> list[bytes]:
    """Return the octets of the leaves as they stand, those in base64 not decoded."""
    try:
        tree = fast_mail_parser.parse_email_tree(_BASE64.sub(rb"\1binary", payload), mode="lazy")
        return [part.content or b"" for part, _ in islice(_walk(tree), PARTS_MAX)]
    except fast_mail_parser.ParseError:
        return []


def _decoded_anyway(undecoded: Sequence[bytes], number: int) -> bytes:
    """Decode a leaf in which something stands that is no base64 (RFC 2045 §6.8: it is ignored), a list's footer say."""
    if number >= len(undecoded):
        return b""
    letters = re.sub(rb"[^A-Za-z0-9+/=]", b"", undecoded[number]).partition(b"=")[0]
    letters = letters[: len(letters) - (len(letters) % 4 == 1)]
    return binascii.a2b_base64(letters + b"=" * (-len(letters) % 4))


def _holding(tree: PyLazyMimePart) -> Iterator[PyLazyMimePart]:
    """Give the parts that hold parts."""
    waiting = [tree]
    while waiting:
        part = waiting.pop()
        if not part.is_message and (part.children or part.content_type.lower().startswith("multipart/")):
            yield part
            waiting += part.children


def _field(part: PyLazyMimePart, name: str) -> str:
    return next((values[0] for key, values in part.headers.items() if key.lower() == name and values), "")


def _walk(tree: PyLazyMimePart) -> Iterator[tuple[PyLazyMimePart, int]]:
    """Give the leaves in order, each with the multipart/alternative it is in; a mail inside the mail is one leaf."""
    waiting = [(tree, 0)]
    seen = 0
    while waiting:
        part, alternative = waiting.pop()
        seen += 1
        kind = part.content_type.lower()
        if part.children and not part.is_message:
            inside = alternative or (seen if kind == "multipart/alternative" else 0)
            waiting += [(child, inside) for child in reversed(part.children)]
        else:
            yield part, alternative


def _leaf(part: PyLazyMimePart, content: bytes, *, alternative: int) -> _Leaf:
    field = _field(part, "content-type")[:2000]
    apart = (part.disposition or "").lower() == "attachment"
    charset = _CHARSET.search(field)
    kind = part.content_type.lower().strip()
    if "/" not in kind or len(kind) > 127 or not re.fullmatch(r"[!-~]+", kind):
        kind = "application/octet-stream" if kind not in ("", "text") else "text/plain"
    return _Leaf(
        media_type=kind,
        charset=charset[1].strip('"') if charset else "",
        name=file_name(part.filename),
        content=content,
        content_id=one_line(part.content_id or "")[:200],
        attached=apart or bool(part.filename),
        set_apart=apart,
        alternative=alternative,
        kind=field,
    )


def _sort(leaves: list[_Leaf], defects: list[str]) -> tuple[str, list[Attachment], bytes | None]:
    texts: list[_Leaf] = []
    attachments: list[Attachment] = []
    report: bytes | None = None
    for leaf in leaves:
        alone = len(leaves) == 1 and leaf.media_type in _TEXTS and not leaf.set_apart
        if leaf.media_type in {"message/delivery-status", "message/disposition-notification"}:
            report = report or leaf.content
        elif alone or (leaf.media_type in {"text/plain", "text/html"} and not leaf.attached):
            texts.append(leaf)
        elif leaf.content or leaf.name or leaf.attached:
            attachments.append(Attachment(leaf.name or "unnamed", leaf.media_type, leaf.content, leaf.content_id))
    text = "\n".join(_chosen(texts, defects)).replace("\r\n", "\n").replace("\r", "\n")
    text = _TWICE.sub(lambda found: "" if text.endswith(found[1], 0, found.start()) else found[0], text)
    if len(text) > TEXT_MAX:
        defects.append("text is longer than we keep")
    return text[:TEXT_MAX].strip("\n"), attachments, report


def _chosen(leaves: Sequence[_Leaf], defects: list[str]) -> list[str]:
    """Return the texts of a mail in their order: of alternatives the plain one, if it says anything.

    One of several that says nothing which another does not is left out: some send both, and do not say so.
    """
    read = [(leaf, *decode_text(leaf.content, leaf.charset)) for leaf in leaves]
    defects += [defect for _, _, defect in read if defect]
    plain = {
        leaf.alternative for leaf, text, _ in read if leaf.media_type != "text/html" and without_unseen(text).strip()
    }
    found: list[str] = []
    left = HTML_MAX
    for leaf, text, _ in read:
        if leaf.media_type != "text/html":
            flowed = _FLOWED.search(leaf.kind)
            found.append(_unflowed(text, without_space=bool(_DELSP.search(leaf.kind))) if flowed else text)
        elif not leaf.alternative or leaf.alternative not in plain:
            found.append(html_to_text(text[:left]))
            left -= min(left, len(text))
    if 1 < len(found) <= _COMPARED_MAX:
        kinds = {leaf.media_type for leaf, _, _ in read}
        own = ["\n".join(line for line in text.split("\n") if not line.startswith(">")) for text in found]
        letters = ["".join(filter(str.isalnum, text)) for text in own]
        kept = [at for at, said in enumerate(letters) if len(kinds) == 1 or not _is_said(at, said, letters)]
        found = [found[at] for at in kept] or found[:1]
    return found


def _is_said(at: int, said: str, letters: Sequence[str]) -> bool:
    """Whether another text says all that this one does: the same, or more around it."""
    others = [each for each in enumerate(letters) if each[0] != at]
    return any(
        (said == other and number < at) or (len(said) >= _SAID_MIN and len(said) < len(other) and said in other)
        for number, other in others
    )


def read_texts(content: bytes) -> Iterator[str]:
    """Give every text of a mail as it was written, those that nobody is shown too, and HTML with its marks."""
    header, at = read_header(content)
    for leaf in _leaves(header, content, at, []):
        if leaf.media_type.startswith("text/"):
            yield decode_text(leaf.content, leaf.charset)[0]


def _unflowed(text: str, *, without_space: bool) -> str:
    """Join the lines that a program broke softly, and take away the spaces it stuffed (RFC 3676 §4.1, §4.2, §4.4)."""
    joined: list[list[str]] = []
    flows, above = False, 0
    for line in text.replace("\r\n", "\n").split("\n"):
        bare = line.lstrip(">")
        depth = len(line) - len(bare)
        bare = bare.removeprefix(" ")
        signature = bare == "-- "
        soft = bare.endswith(" ") and not signature and not bare.isspace()
        said = bare[:-1] if soft and without_space else bare
        if flows and depth == above and bare and not signature:
            joined[-1].append(said)
        else:
            # What the author began with ">" was stuffed, and stays so: it is no quote (RFC 3676 §4.4).
            stuffed = depth or bare.startswith(">")
            joined.append([">" * depth, " " if stuffed and bare else "", said])
        flows, above = soft, depth
    return "\n".join("".join(pieces) for pieces in joined)


def file_name(text: str) -> str:
    """Return an attachment's name fit to show: one line, no path, no reserved or leading characters.

    Attachments are never stored under this name; it is what a reader's program is told.
    """
    # Unseen characters go first, then the path: U+200B before ".htaccess" hides it otherwise.
    shown = re.sub(r"[^\w .()+,=@~#%&'\[\]{}-]", "", re.split(r"[/\\]", clean_name(text, _FILE_NAME_MAX))[-1])
    stem = shown.strip(" .")
    return stem if len(stem) <= 150 else stem[:100] + stem[-50:]
