"""Everything that can be read in a mail, decoded by hand: header, text, HTML, attachments, mails in mails.

It shares no code with the gateway's own reading, so that what one overlooks the other finds.
"""

import binascii
import email.header
import quopri
import re
from collections.abc import Iterator
from urllib.parse import unquote_to_bytes

_DEPTH_MAX = 8
_BOUNDARY = re.compile(rb"boundary\s*=\s*\"?([^\";\r\n]{1,200})", re.IGNORECASE)
_ENCODING = re.compile(rb"^content-transfer-encoding:\s*([a-z0-9-]+)", re.IGNORECASE | re.MULTILINE)
_TYPE = re.compile(rb"^content-type:\s*([^;\s]+)", re.IGNORECASE | re.MULTILINE)
_CONTINUED = re.compile(rb";\s*filename\*\d+\*?=")
_FOLD = re.compile(rb"\r?\n(?=[ \t])")
_MAIL = re.compile(rb"^(?:from|subject|message-id|content-type|mime-version|received):", re.IGNORECASE | re.MULTILINE)
_MARKUP = re.compile(rb"<[^<>]{0,2000}>")


def everything(content: bytes) -> bytes:
    """Return all that a reader, or a program, could read in `content`, one piece after the other."""
    return b"\n".join(_pieces(content, 0))


def split(content: bytes) -> tuple[bytes, bytes]:
    """Return header and body of a mail or a part."""
    if content[:2] == b"\r\n" or content[:1] == b"\n":
        return b"", content.lstrip(b"\r\n")
    for end in (b"\r\n\r\n", b"\n\n"):
        head, found, body = content.partition(end)
        if found:
            return head, body
    return content, b""


def header_text(head: bytes) -> bytes:
    """Return a header with its folds, encoded words and pieces of parameters undone, and as it stands."""
    flat = _FOLD.sub(b"", head)
    if b"=?" not in flat and b"%" not in flat and b"*0" not in flat:
        return flat
    words = b""
    if b"=?" in flat:
        parts = email.header.decode_header(flat.decode("ascii", "replace"))
        words = b"".join(part if isinstance(part, bytes) else part.encode("utf-8", "replace") for part, _ in parts)
    return b"\n".join((flat, words, unquote_to_bytes(_CONTINUED.sub(b"", flat))))


def _pieces(content: bytes, depth: int) -> Iterator[bytes]:
    head, body = split(content)
    head = _FOLD.sub(b"", head)
    yield header_text(head)
    kind = found[1].lower() if (found := _TYPE.search(head)) else b"text/plain"
    if kind.startswith(b"multipart/") and (mark := _BOUNDARY.search(head)):
        for part in body.split(b"--" + mark[1].strip())[1:]:
            if not part.startswith(b"--"):
                yield from _pieces(part.removeprefix(b"\r\n").removeprefix(b"\n"), depth)
        return
    payload = _payload(head, body)
    yield payload
    if kind == b"text/html" or b"</" in payload:
        yield unquote_to_bytes(_MARKUP.sub(b"", payload))
    if depth < _DEPTH_MAX and (kind == b"message/rfc822" or _MAIL.search(payload[:4000])):
        yield from _pieces(payload, depth + 1)


def _payload(head: bytes, body: bytes) -> bytes:
    encoding = found[1].lower() if (found := _ENCODING.search(head)) else b""
    if encoding == b"base64":
        try:
            return binascii.a2b_base64(body)
        except binascii.Error:
            return body
    return quopri.decodestring(body) if encoding == b"quoted-printable" else body
