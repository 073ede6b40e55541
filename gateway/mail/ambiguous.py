"""What in a mail's structure other programs read in another way: what can be read twice commands nothing.

Nothing is refused for it: the mail is read in one way, its text and attachments are kept.

*Standards:* RFC 5322 §3.6 (fields that stand once), RFC 2045 §5.1 and §6 (parameters, encodings), RFC 2046 §5.1.1
(boundaries), RFC 7103 §7 (malformed mail).
"""

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from gateway.mail.header import Header

STRUCTURE = ("content-type", "content-transfer-encoding", "content-disposition")
_ONCE = (
    *STRUCTURE, "mime-version", "date", "from", "sender", "reply-to", "to", "cc", "message-id", "in-reply-to",
    "references", "subject",
)  # fmt: skip
ODD_HEADERS = frozenset({
    "header begins with a folded line", "space before a colon in the header", "header is longer than we read",
    "header does not end with an empty line", "bare CR or NUL in the header",
})  # fmt: skip
_ENCODINGS = frozenset({"", "7bit", "8bit", "binary", "quoted-printable", "base64"})
_WHOLE = frozenset({"", "7bit", "8bit", "binary"})  # what a part that holds parts may be encoded in
_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+-]{1,127}/[A-Za-z0-9!#$&^_.+-]{1,127}")
_VALUE_MAX = 4_000  # characters of a field that are looked at
_PARAMETER = re.compile(r'\s*([^\s=;"()]{1,80})\s*=\s*("(?:[^"\\]|\\.)*"|[^;\s]*)\s*', re.DOTALL)
_SCANNED = 1_000_000  # octets of a body in which boundaries are looked for
_BOUNDARIES = 20
_BOUNDARY_MAX = 200  # characters; RFC 2046 has 70


def header_is(header: Header) -> bool:
    """Whether a mail's header says something twice, or holds lines that others read as other fields."""
    names = [name for name, _ in header.fields if name in _ONCE]
    if len(names) != len(set(names)) or not ODD_HEADERS.isdisjoint(header.defects):
        return True
    return part_is({name: header.all(name) for name in STRUCTURE})


def part_is(fields: Mapping[str, Sequence[str]]) -> bool:
    """Whether the header of a part can be read in more than one way."""
    odd = any(name != name.strip() or not name.isascii() for name in fields)
    found = {
        name: [value for key, given in fields.items() if key.lower() == name for value in given] for name in STRUCTURE
    }
    if odd or any(len(values) > 1 for values in found.values()):
        return True
    kind, encoding, shown = ("".join(found[name])[:_VALUE_MAX] for name in STRUCTURE)
    holds_parts = kind.strip().lower().startswith("multipart/")
    if encoding.strip().lower() not in (_WHOLE if holds_parts else _ENCODINGS):
        return True
    if max(map(len, (kind, shown))) == _VALUE_MAX or (
        kind.strip() and not _TYPE.fullmatch(kind.partition(";")[0].strip())
    ):
        return True
    return _twice(kind) or _twice(shown) or (holds_parts and _odd_boundary(kind))


def _twice(value: str) -> bool:
    """Whether a field names a parameter twice, or in pieces what is too short for it."""
    names = [name for name, _ in _parameters(value)]
    return len(names) != len(set(names)) or any(name.startswith(("boundary*", "charset*")) for name in names)


def _odd_boundary(value: str) -> bool:
    boundary = boundary_of(value)
    odd = not boundary or boundary != boundary.strip() or len(boundary) > _BOUNDARY_MAX
    return odd or "\\" in boundary or "=?" in boundary or "(" in value.replace(boundary, "")


def _parameters(value: str) -> Iterator[tuple[str, str]]:
    _, _, text = value[:_VALUE_MAX].partition(";")
    at = 0
    while at < len(text):
        match = _PARAMETER.match(text, at)
        if match:
            yield match[1].lower(), match[2][1:-1] if match[2].startswith('"') else match[2]
            at = match.end()
        at = text.find(";", at) + 1
        if at == 0:
            return


def boundary_of(content_type: str) -> str:
    """Return the boundary a Content-Type names, or ""."""
    return dict(_parameters(content_type)).get("boundary", "")


def boundaries_are(boundaries: Iterable[str], body: bytes) -> bool:
    """Whether a boundary begins with another, stands as part of a longer line, or opens parts behind its end."""
    known = sorted(boundaries)
    if any(later.startswith(one) for one, later in itertools.pairwise(known)):
        return True
    scanned = body[:_SCANNED]
    return len(known) > _BOUNDARIES or any(_stands_oddly(each.encode("utf-8", "replace"), scanned) for each in known)


def _stands_oddly(boundary: bytes, body: bytes) -> bool:
    ended = False
    at = 0
    line = b"--" + boundary
    while (at := body.find(line, at)) >= 0:
        begins = at == 0 or body[at - 1 : at] == b"\n"
        at += len(line)
        if not begins:
            continue
        end = body.find(b"\n", at)
        rest = body[at : end if end >= 0 else len(body)].strip(b" \t\r")
        if ended or rest not in (b"", b"--"):
            return True
        ended = rest == b"--"
    return False


def base64_is(octets: bytes) -> bool:
    """Whether base64 goes on behind its end, or holds what is none of its letters: some stop there, some go on."""
    letters = b"".join(octets.split())
    return bool(re.search(rb"=[^=]|[^A-Za-z0-9+/=]", letters))
