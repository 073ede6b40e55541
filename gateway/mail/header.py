"""Header fields: reading a block of them, and writing one so that nothing can be smuggled in.

*Failure:* reading never raises and is capped; writing raises `ValueError` rather than write a
field that would be two.

*Standards:* RFC 5322 §2.2 (fields, folding, 998 octets a line), RFC 2047 (non-ASCII text).
"""

import email.header
import email.utils
import re
from collections.abc import Iterable
from dataclasses import dataclass

from gateway.mail.address import Address, clean_name, without_unseen

HEADER_OCTETS_MAX = 256 * 1024
FIELDS_MAX = 1_000
FIELD_OCTETS_MAX = 64 * 1024
_NAME = re.compile(rb"([!-9;-~]{1,76})[ \t]*:")
_FIELD_NAME = re.compile(r"[A-Za-z0-9-]{1,76}", re.ASCII)
_CONTROL = re.compile("[\x00-\x1f\x7f]")
_SHOWN_AS_BLANK = re.compile("[\x00-\x1f\x7f-\x9f]")  # a terminal obeys the upper ones, too
_LINE = 78
_WORD_MAX = 900


@dataclass(frozen=True, slots=True)
class Header:
    """The fields of a mail, in order: names in lower case, bodies unfolded, undecoded octets as text."""

    fields: tuple[tuple[str, str], ...]
    defects: tuple[str, ...] = ()

    def all(self, name: str) -> list[str]:
        """Return the bodies of every field called `name` (lower case), in order."""
        return [body for field, body in self.fields if field == name]

    def first(self, name: str) -> str:
        """Return the body of the first field called `name`, or ""."""
        return next((body for field, body in self.fields if field == name), "")


def split_mail(content: bytes) -> tuple[Header, bytes]:
    """Split a mail into its header and the octets of its body."""
    header, at = read_header(content)
    return header, content[at:]


def read_header(content: bytes) -> tuple[Header, int]:
    """Return the header of a mail, and where its body begins.

    The header ends at the first empty line, or before the first line that cannot be a field.
    What is beyond 256 KiB or 1,000 fields is left out, and a defect says so.
    """
    fields: list[tuple[str, str]] = []
    defects: list[str] = []
    lines: list[bytes] = []
    at = 0
    while at < len(content):
        end = content.find(b"\n", at)
        end = len(content) if end < 0 else end + 1
        line = content[at:end].rstrip(b"\r\n")
        if not line:
            at = end
            break
        if line[:1] in b" \t" and not fields and not lines:
            defects.append("header begins with a folded line")
        elif line[:1] not in b" \t" and not _NAME.match(line):
            if line.startswith((b"From ", b">From ")) and not lines:
                at = end
                continue
            defects.append("header does not end with an empty line")
            break
        elif line[:1] in b" \t":
            if lines:
                lines.append(line)
        else:
            _finish(lines, fields, defects)
            lines = [line]
        at = end
        if at > HEADER_OCTETS_MAX or len(fields) >= FIELDS_MAX:
            defects.append("header is longer than we read")
            lines = []
            at = _body_start(content, at)
            break
    _finish(lines, fields, defects)
    return Header(tuple(fields), tuple(dict.fromkeys(defects))), at


def _body_start(content: bytes, at: int) -> int:
    gaps = (b"\r\n\r\n", b"\n\n", b"\n\r\n")
    ends = [found + len(gap) for gap in gaps if (found := content.find(gap, at)) >= 0]
    return min(ends, default=len(content))


def _finish(lines: list[bytes], fields: list[tuple[str, str]], defects: list[str]) -> None:
    if not lines:
        return
    name, _, body = b"".join(lines).partition(b":")
    if name.endswith((b" ", b"\t")):
        defects.append("space before a colon in the header")
        return
    if not body.isascii():
        defects.append("8-bit header")
    if b"\r" in body or b"\x00" in body:
        defects.append("bare CR or NUL in the header")
    text = _octets_to_text(body[:FIELD_OCTETS_MAX])
    fields.append((name.decode("ascii").lower(), text.replace("\x00", "").replace("\r", " ").strip()))


def _octets_to_text(body: bytes) -> str:
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError:
        # A bare 8-bit header most often stands in the national charset; Big5 and GBK both fail
        # on most text of the other, so the first that fits is the likelier one.
        for charset in ("cp950", "gb18030", "cp1252"):
            try:
                return body.decode(charset)
            except UnicodeDecodeError:
                continue
        return body.decode("utf-8", "replace")


def one_line(text: str) -> str:
    """Return `text` as one line without control characters: fit for a header, a log, a subject.

    Bidi controls and zero-width marks go too: what is shown is what stands there.
    """
    return " ".join(_SHOWN_AS_BLANK.sub(" ", without_unseen(text)).split())


def text_field(name: str, text: str) -> bytes:
    """Write an unstructured field (Subject, say) with its final CRLF."""
    text = _guard(name, text)
    if _plain(text):
        return _fold(name, text.split(" "))
    return _checked(name, email.header.Header(text, "utf-8", _LINE, name).encode(linesep="\r\n"))


def ids_field(name: str, ids: Iterable[str]) -> bytes:
    """Write a field of message ids (References, In-Reply-To): one a line, never encoded.

    The standard library encodes long ones as RFC 2047 words, which breaks threading.
    """
    return _fold(name, [_guard(name, each) for each in ids], line=1)


def mailbox_field(name: str, display: str, address: Address) -> bytes:
    """Write a field with one mailbox (From, To, Reply-To)."""
    display = clean_name(display)
    shown = email.utils.formataddr((display, str(address))) if display and _plain(display) else str(address)
    if not _plain(display):
        encoded = email.header.Header(display, "utf-8", _LINE, name).encode(linesep="\r\n")
        shown = f"{encoded}\r\n <{address}>" if len(encoded) > _LINE // 2 else f"{encoded} <{address}>"
    return _checked(name, shown)


def token_field(name: str, value: str) -> bytes:
    """Write a field whose body is ASCII and must not be changed (Date, List-Id, X-…)."""
    value = _guard(name, value)
    if not value.isascii():
        message = f"{name}: not ASCII"
        raise ValueError(message)
    return _fold(name, value.split(" "))


def _plain(text: str) -> bool:
    """Whether `text` may stand as it is: ASCII, nothing a reader would decode, no word longer than a line."""
    return text.isascii() and "=?" not in text and max(map(len, text.split(" "))) <= _WORD_MAX


def _guard(name: str, value: str) -> str:
    if _CONTROL.search(value) or not _FIELD_NAME.fullmatch(name):
        message = f"{name}: control characters do not belong in a header field"
        raise ValueError(message)
    return value


def _fold(name: str, words: list[str], line: int = _LINE) -> bytes:
    lines = [f"{name}:"]
    for word in words:
        if len(lines[-1]) + 1 + len(word) <= line or len(lines[-1]) == len(name) + 1:
            lines[-1] += " " + word
        elif word:
            lines.append(" " + word)
    return ("\r\n".join(lines) + "\r\n").encode("ascii")


def _checked(name: str, body: str) -> bytes:
    """Refuse a body in which a line break is not a fold (CVE-2026-1299, CVE-2024-6923)."""
    if not _FIELD_NAME.fullmatch(name) or re.search(
        r"\r\n(?![ \t])|\r(?!\n)|(?<!\r)\n|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", body
    ):
        message = f"{name}: a line break in the body that is not a fold"
        raise ValueError(message)
    return f"{name}: {body}\r\n".encode("ascii")
