import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mail.parse import parse
from gateway.mail.report import Report, read_report


def report(fields: str) -> Report | None:
    """Read a report with these per-recipient fields, as it stands on the wire."""
    return read_report(
        parse(
            b"From: MAILER-DAEMON@mx.acme.example\r\n"
            b"Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n"
            b"--b\r\nContent-Type: text/plain\r\n\r\nSorry.\r\n"
            b"--b\r\nContent-Type: message/delivery-status\r\n\r\n"
            b"Reporting-MTA: dns; mx.acme.example\r\n\r\n"
            + fields.replace("\n", "\r\n").encode()
            + b"\r\n\r\n--b\r\nContent-Type: text/rfc822-headers\r\n\r\nSubject: x\r\n\r\n--b--\r\n"
        )
    )


@pytest.mark.parametrize(
    ("fields", "action", "status", "diagnostic"),
    [
        ("Action: failed\nStatus: 5.1.1", "failed", "5.1.1", ""),
        ("ACTION: Failed\nSTATUS: 5.1.1", "failed", "5.1.1", ""),
        ("Action:delayed\nStatus:4.4.1", "delayed", "4.4.1", ""),
        ("Action: delivered\nStatus: 2.0.0", "delivered", "2.0.0", ""),
        ("Action: relayed\nStatus: 2.0.0", "relayed", "2.0.0", ""),
        ("Action: expanded\nStatus: 2.0.0", "expanded", "2.0.0", ""),
        ("Action: failed\nStatus: 5.1.1 (no such user)", "failed", "5.1.1", ""),
        ("Action: failed (no such user)\nStatus: 5.1.1", "failed", "5.1.1", ""),
        ("Action: failed\nStatus: 5.0.0\nDiagnostic-Code: smtp; 550 no", "failed", "5.0.0", "550 no"),
        ("Action: failed\nStatus: 5.0.0\nDiagnostic-Code: smtp; 550 no\n such user", "failed", "5.0.0", "550 no such user"),
        ("Action: failed\nDiagnostic-Code: just text", "failed", "", "just text"),
        ("Action: failed\nStatus: 5.1.1\n\nAction: delivered\nStatus: 2.0.0", "failed", "5.1.1", ""),
    ],
)  # fmt: skip
def test_a_report_says_what_became_of_a_mail(fields, action, status, diagnostic):
    assert report(fields) == Report(action, status, diagnostic)


@pytest.mark.parametrize("fields", ["", "Status: 2.0.0", "Action:", "Action: exploded", "X-Action: failed"])
def test_a_report_without_an_action_says_nothing(fields):
    assert report(fields) is None


def test_a_mail_that_is_no_report_says_nothing():
    assert read_report(parse(b"From: a@b.tw\r\n\r\nAction: failed\r\nStatus: 5.1.1\r\n")) is None


def test_every_report_of_the_corpus_gives_an_action(corpora):
    expected = json.loads((corpora / "bounce" / "expected.json").read_bytes())
    said, silent = {}, []
    for path in sorted((corpora / "bounce" / "emails").glob("dsn_*.txt")):
        mail = parse(path.read_bytes())
        if mail.report is None:
            continue  # dsn_15: the report stands inside a mail inside the mail
        found = read_report(mail)
        if found is None:
            silent.append(path.name)
        elif expected[path.name]["permanent"] or expected[path.name]["temporary"]:
            said[path.name] = (found.action, "failed" if expected[path.name]["permanent"] else "delayed")
    assert silent == []
    assert {name: pair for name, pair in said.items() if pair[0] != pair[1]} == {}


@given(st.binary(max_size=500))
def test_reading_a_report_never_raises(octets):
    content = b"Content-Type: message/delivery-status\r\n\r\n" + octets
    read_report(parse(content))
