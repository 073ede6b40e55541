"""Row C08: what programs read in two ways commands nothing and is no note; it is kept, and read in one way."""
# ruff: noqa: N802 (rows have capital names)

import pytest

from gateway.mail.parse import AMBIGUOUS, parse
from tests.kit.house import D

TO = f"s00001@{D}"
NOTE = b"/note SECRET\r\n"
PLAIN = b"Content-Type: text/plain\r\n\r\n" + NOTE


def mixed(
    *parts: bytes, head: bytes = b'Content-Type: multipart/mixed; boundary="b"\r\n', end: bytes = b"--b--\r\n"
) -> bytes:
    return head + b"\r\n" + b"".join(b"--b\r\n" + part + b"\r\n" for part in parts) + end


# Each of them says /note to one program, and something else, or nothing, to another.
CASES = {
    "two content types": b"Content-Type: text/plain\r\nContent-Type: text/html\r\n\r\n" + NOTE,
    "two encodings": b"Content-Transfer-Encoding: 7bit\r\nContent-Transfer-Encoding: base64\r\n\r\n" + NOTE,
    "two dispositions": b"Content-Disposition: inline\r\nContent-Disposition: attachment\r\n\r\n" + NOTE,
    "two content types in a part": mixed(b"Content-Type: text/plain\r\n" + b"Content-Type: text/html\r\n\r\n" + NOTE),
    "two encodings in a part": mixed(b"Content-Transfer-Encoding: 7bit\r\nContent-Transfer-Encoding: base64\r\n\r\n" + NOTE),
    "two dispositions in a part": mixed(b"Content-Disposition: inline\r\nContent-Disposition: inline; x=y\r\n\r\n" + NOTE),
    "two boundaries": mixed(PLAIN, head=b"Content-Type: multipart/mixed; boundary=a; boundary=b\r\n"),
    "two boundaries, the other first": mixed(PLAIN, head=b"Content-Type: multipart/mixed; boundary=b; boundary=a\r\n")
    + b"--a\r\n\r\n/note SECRET\r\n--a--\r\n",
    "a boundary in a comment": mixed(PLAIN, head=b"Content-Type: multipart/mixed (; boundary=c); boundary=b\r\n"),
    "a comment behind the boundary": mixed(PLAIN, head=b"Content-Type: multipart/mixed; boundary=b (c)\r\n"),
    "a boundary in pieces": mixed(PLAIN, head=b"Content-Type: multipart/mixed; boundary*0=b\r\n"),
    "a boundary in a charset": mixed(PLAIN, head=b"Content-Type: multipart/mixed; boundary*=us-ascii''b\r\n"),
    "a boundary with a quoted pair": mixed(PLAIN, head=b'Content-Type: multipart/mixed; boundary="\\b"\r\n'),
    "a boundary as an encoded word": mixed(PLAIN, head=b'Content-Type: multipart/mixed; boundary="=?us-ascii?q?b?="\r\n'),
    "a boundary that ends in a blank": mixed(PLAIN, head=b'Content-Type: multipart/mixed; boundary="b "\r\n'),
    "no boundary": mixed(PLAIN, head=b"Content-Type: multipart/mixed\r\n"),
    "an empty boundary": b'Content-Type: multipart/mixed; boundary=""\r\n\r\n--\r\n\r\n/note SECRET\r\n----\r\n',
    "a boundary that begins a longer line": mixed(PLAIN, end=b"--bc\r\n\r\nx\r\n--b--\r\n"),
    "parts behind the end": mixed(b"\r\nhello", end=b"--b--\r\n--b\r\n\r\n/note SECRET\r\n--b--\r\n"),
    "a nested boundary that is the same": mixed(mixed(PLAIN)),
    "a nested boundary that begins with another": mixed(
        b"Content-Type: multipart/mixed; boundary=bb\r\n\r\n--bb\r\n" + PLAIN + b"--bb--\r\n"
    ),
    "a multipart in base64": mixed(PLAIN, head=b"Content-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: base64\r\n"),
    "an encoding nobody knows": b"Content-Transfer-Encoding: base65\r\n\r\n" + NOTE,
    "an encoding with a comment": b"Content-Transfer-Encoding: 7bit (base64)\r\n\r\n" + NOTE,
    "an encoding nobody knows in a part": mixed(b"Content-Transfer-Encoding: x-mine\r\n\r\n" + NOTE),
    "base64 behind its end": b"Content-Transfer-Encoding: base64\r\n\r\nL25vdGUgU0VDUkVUIHg=aGVsbG8=\r\n",
    "base64 with other octets": b"Content-Transfer-Encoding: base64\r\n\r\nL25v!dGUgU@0VDUkVU\r\n",
    "base64 in a part behind its end": mixed(b"Content-Transfer-Encoding: base64\r\n\r\nL25vdGUgU0VDUkVUIHg=\r\naGVsbG8=\r\n"),
    "two types in one": b"Content-Type: text/plain, text/html\r\n\r\n" + NOTE,
    "half a type": b"Content-Type: multipart; boundary=b\r\n\r\n" + NOTE,
    "two charsets": b"Content-Type: text/plain; charset=utf-8; charset=utf-7\r\n\r\n" + NOTE,
    "a charset in pieces": b"Content-Type: text/plain; charset*0=utf-7\r\n\r\n" + NOTE,
    "a blank before a colon": b"Content-Type : text/html\r\n\r\n" + NOTE,
    "a blank before a colon in a part": mixed(b"Content-Type : text/html\r\n\r\n" + NOTE),
    "a line that is no field": b"X-One: 1\r\nno field at all\r\n\r\n" + NOTE,
    "a bare CR in the header": b"X-One: 1\rContent-Type: text/html\r\n\r\n" + NOTE,
    "a NUL in the header": b"Content-Type: text/\0plain\r\n\r\n" + NOTE,
    "two subjects": b"Subject: another\r\n\r\n" + NOTE,
    "two dates": b"Date: Tue, 24 Nov 2026 10:00:00 +0000\r\nDate: Tue, 1 Sep 2026 10:00:00 +0000\r\n\r\n" + NOTE,
    "two To": f"To: {TO}\r\n\r\n".encode() + NOTE,
    "two Message-IDs": b"Message-ID: <another@x>\r\n\r\n" + NOTE,
    "two plain alternatives": mixed(PLAIN, b"Content-Type: text/plain\r\n\r\nhello", head=b"Content-Type: multipart/alternative; boundary=b\r\n"),
    "a bomb": b"Content-Type: multipart/mixed; boundary=b\r\n\r\n/note SECRET\r\n" + b"--b\r\nContent-Type: message/rfc822\r\n\r\n" * 200,
    "more parts than we read": mixed(PLAIN, *[b"\r\nx"] * 1_100),
}  # fmt: skip


def whole(rest: bytes) -> bytes:
    return f"From: b@example.com\r\nTo: {TO}\r\nSubject: chairs\r\nMessage-ID: <c08@example.com>\r\n".encode() + rest


def test_C08_there_are_thirty_ways():
    assert len(CASES) >= 30


@pytest.mark.parametrize("case", CASES)
def test_C08_what_can_be_read_in_two_ways_is_said_so(case):
    assert AMBIGUOUS in parse(whole(CASES[case])).defects


def test_C08_what_can_be_read_in_two_ways_commands_nothing_and_is_no_note(made):
    before = made.audited()
    for n, (case, rest) in enumerate(CASES.items()):
        for action in ("", "-note", "-unfollow"):
            content = (
                whole(rest)
                .replace(b"<c08@", f"<c08{n}{action}@".encode())
                .replace(TO.encode(), f"s00001{action}@{D}".encode())
            )
            # Trusted: even a mail whose author is certain.
            state, cause = made.take(content, f"s00001{action}@{D}", return_path="b@example.com", trusted=True)
            posted = [row.subtype for row in made.messages()[1:]]
            assert "note" not in posted, case
            # What reads without a command in our way of reading it may be posted as what it is.
            assert (state, cause) in {("held", "ambiguous"), ("posted", ""), ("done", "mistake")}, (case, action)
            assert (state, cause) == ("held", "ambiguous") or not action, (case, action)
    assert made.audited() == before


def test_C08_a_discussion_that_can_be_read_in_two_ways_is_posted_with_what_hangs_on_it(made):
    rest = mixed(
        b"Content-Type: text/plain\r\nContent-Type: text/html\r\n\r\nhello",
        b"Content-Type: application/pdf; name=a.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\nJVBE!Rg==\r\n-- list footer --\r\n",
    )
    assert made.take(whole(rest), TO, return_path="b@example.com", trusted=True) == ("posted", "")
    assert made.texts() == ["hello"]
    (attached,) = parse(whole(rest)).attachments
    assert (attached.name, attached.content) == ("a.pdf", b"%PDF")


@pytest.mark.parametrize(
    "rest",
    [
        b"Content-Type: text/plain; charset=us-ascii (plain text)\r\n\r\n" + NOTE,
        b'Content-Type: TEXT/PLAIN; charset="utf-8"; format=flowed; delsp=yes\r\nContent-Transfer-Encoding: 8BIT\r\n\r\n' + NOTE,
        b"Content-Transfer-Encoding: base64\r\n\r\nL25vdGUgU0VDUkVU\r\n\r\n",
        b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\nL25vdGUgU0VDUkVUIHg=\r\n",
        mixed(PLAIN, b"Content-Type: application/pdf; name=a.pdf\r\nContent-Disposition: attachment; filename=a.pdf; filename*=utf-8''a.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\nJVBERg==\r\n"),
        mixed(PLAIN, b"Content-Type: text/html\r\n\r\n<p>/note SECRET</p>", head=b'Content-Type: multipart/alternative;\r\n\tboundary="b"\r\n'),
        b'This-Is: a field\r\nContent-Type: multipart/mixed; boundary="----=_NextPart_000_0000_01D0.AB"\r\n\r\nThis is a multi-part message in MIME format.\r\n\r\n------=_NextPart_000_0000_01D0.AB\r\n' + PLAIN + b"------=_NextPart_000_0000_01D0.AB--\r\n",
        b"\r\n" + NOTE,
    ],
)  # fmt: skip
def test_C08_what_mail_programs_write_is_not_taken_for_it(made, rest):
    assert AMBIGUOUS not in parse(whole(rest)).defects
    assert made.take(whole(rest), TO, return_path="b@example.com", trusted=True) == ("posted", "")
    assert made.messages()[-1].subtype == "note"
