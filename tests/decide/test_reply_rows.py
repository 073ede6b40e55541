"""Rows A17 and A20 of the catalogue: what strangers are told, at the door and by mail: nothing of theirs, nothing of ours."""
# ruff: noqa: N802 (rows have capital names)

import ast
import contextlib
import re

import pytest

from gateway.arrive import accept, session, smtp, submission
from gateway.mail.status import Status
from gateway.store import arrivals, records
from gateway.store.session import Away
from tests.kit.client import Client
from tests.kit.house import D
from tests.kit.node import ROOT

SECRET = "postgresql://gateway:hunter2@db.internal/x"
ARRIVE = sorted((ROOT / "gateway" / "arrive").glob("*.py"))
LEAKS = re.compile(
    r"traceback|error: \(|exception|\.py\b|sqlite|postgres|psycopg|hunter2|/work|/home|/tmp|0x[0-9a-f]{6}|line \d+, in|aiosmtpd|python",
    re.IGNORECASE,
)

# ---- A20: texts from a fixed table


@pytest.mark.parametrize("path", ARRIVE, ids=lambda path: path.name)
def test_A20_every_reply_of_the_doors_is_written_down_and_holds_nothing_of_the_moment(path):
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "Status":
            for argument in node.args:
                fixed = isinstance(argument, ast.Constant) or ast.unparse(argument) == "accept.AWAY.text"
                assert fixed, f"{path.name}:{node.lineno}: {ast.unparse(node)}"


def table() -> set[str]:
    """Return every reply that stands in the doors' own tables."""
    found = {
        str(value)
        for module in (accept, session, smtp, submission)
        for value in vars(module).values()
        if isinstance(value, Status)
    }
    return found | {smtp._GO_ON}


def test_A20_no_reply_in_the_table_tells_what_runs_here():
    assert len(table()) > 20
    for each in table():
        assert not LEAKS.search(each), each


LINES = (
    "NOOP", "RSET", "HELP", "HELP x", "VRFY a", "EXPN a", "EHLO", "HELO", "EHLO \x00", "EHLO " + "x" * 500, "MAIL", "MAIL FROM", "MAIL FROM:", "MAIL FROM:<",
    "MAIL FROM:<a@b> SIZE=x", "MAIL FROM:<a@b> FOO=BAR", "MAIL FROM:<a@b> BODY=9BITMIME", "MAIL FROM:<a@b> SIZE=99999999999999", "MAIL FROM:<" + "a" * 1500 + "@b>",
    "RCPT TO:<a@b>", "RCPT", "RCPT TO:", "DATA", "DATA x", "MAIL FROM:<a@b>", "MAIL FROM:<a@b>", "RCPT TO:<nobody@sales.example.com>", "RCPT TO:<x@other.example>",
    "RCPT TO:<\x01>", "RCPT TO:<'; DROP TABLE arrival; -->", "RCPT TO:<{{7*7}}@sales.example.com>", "RCPT TO:<%s%n@sales.example.com>", "RCPT TO:<" + "b" * 1500 + ">",
    "RCPT TO:<s00001+aaaaaaaaaaaaaaaaaaaaaaaaa@sales.example.com>", "STARTTLS", "STARTTLS x", "AUTH", "AUTH PLAIN AAAA", "AUTH FOO", "NOOP " + "x" * 100, "FOO BAR",
    "\xff\xfe", "RCPT TO:<é@sales.example.com>", "MAIL FROM:<é@x> SMTPUTF8", "QUIT x", "RSET x", "LHLO x",
)  # fmt: skip


@pytest.mark.parametrize("door", ["smtp", "lmtp"])
def test_A20_whatever_is_said_to_a_door_its_replies_tell_nothing_of_what_runs_behind_it(made, door):
    port = made.open(door)
    replies = set()
    for line in LINES:
        with Client(port, lmtp=door == "lmtp") as client:
            replies |= {client.greeting, client.hello, client.say(line)}
            with contextlib.suppress(ConnectionError):  # after some words the door hangs up
                replies.add(client.say("MAIL FROM:<c@d>"))
    for each in replies:
        assert not LEAKS.search(each), each
        assert "7*7" not in each
        assert "49" not in each
        assert "DROP TABLE" not in each
        assert "other.example" not in each


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError(f"db down: {SECRET}"),
        Away(SECRET),
        KeyError(SECRET),
        ValueError(f"Traceback: {SECRET}"),
        OSError(28, SECRET),
    ],
    ids=lambda e: type(e).__name__,
)
@pytest.mark.parametrize("where", ["RCPT", "DATA"])
def test_A20_a_fault_behind_the_door_is_temporary_and_says_nothing(made, monkeypatch, error, where):
    def fail(*_args, **_more):
        raise error

    monkeypatch.setattr(records if where == "RCPT" else arrivals, "epoch" if where == "RCPT" else "keep_many", fail)
    with Client(made.open()) as client:
        said = client.send("a@x.example", [f"s00001@{D}"], b"Subject: x\r\n\r\nx\r\n")
    assert said
    for each in said:
        assert each.startswith("4"), each
        assert SECRET not in each
        assert not LEAKS.search(each)


def test_A20_a_refusal_by_mail_says_what_the_rules_say_and_nothing_else(made):
    made.write("eve@x.example", f"quotations@{D}", "please")
    (refusal,) = (each for each in made.sent() if each.to == "eve@x.example")
    assert "please" not in refusal.text
    assert not LEAKS.search(refusal.text)
    assert "S00001" not in refusal.text


# ---- A17: nobody is flooded through us (the flood itself is tried elsewhere)


def test_A17_a_stranger_creates_a_record_and_nobody_outside_hears_of_it(made):
    cc = ", ".join(f"victim{n}@victims.example" for n in range(100))
    for sure in (True, False):
        head = f"Cc: {cc}\nReply-To: victim0@victims.example"
        assert made.write("eve@x.example", f"leads@{D}", "BUY NOW http://evil.example", sure=sure, head=head) == (
            "posted",
            "",
        )
    assert {each.to for each in made.sent() if not each.to.endswith("@example.com")} == set()


def test_A17_an_author_who_proved_nothing_is_answered_nothing(made):
    for n in range(20):
        made.write(f"victim{n}@victims.example", f"quotations@{D}", "BUY NOW", sure=False)
        made.write("a@example.com", f"quotations@{D}", "BUY NOW", sure=False)
        made.write("a@example.com", f"s00001@{D}", "/nonsense BUY NOW", sure=False)
    sent = made.sent()
    assert not [each for each in sent if not each.to.endswith("@example.com")]
    assert {each["X-Replygate-Subtype"] for each in sent} <= {"quotation.created", "held"}


def test_A17_a_refusal_goes_once_a_day_and_repeats_neither_subject_nor_text(made):
    for n in range(10):
        content = f"From: eve@x.example\r\nTo: quotations@{D}\r\nSubject: BUY NOW {n}\r\nMessage-ID: <r{n}@x>\r\n\r\nBUY NOW\r\n"
        assert made.take(content.encode(), f"quotations@{D}", peer="192.0.2.3", return_path="eve@x.example") == (
            "refused",
            "not welcome",
        )
    (refusal,) = (each for each in made.sent() if each.to == "eve@x.example")
    assert "BUY NOW" not in refusal.text + refusal["Subject"]


def test_A17_held_mail_is_told_of_in_one_mail_an_hour(made):
    for n in range(50):
        made.write("eve@x.example", f"s00001@{D}", f"hello {n}")
    told = [each for each in made.sent() if each["X-Replygate-Subtype"] == "held"]
    assert len(told) == 1
    assert told[0].text.count("held-release+") >= 50
