import pytest

from gateway.mail.automatic import why_automatic
from gateway.mail.parse import parse

PERSON = "wang@acme.example"
# Header fields, return path, how the reason begins ("" for a person's mail).
TABLE = [
    ("", PERSON, ""),
    ("Auto-Submitted: no", PERSON, ""),
    ("Auto-Submitted: NO ; x=y", PERSON, ""),
    ("Auto-Submitted: auto-replied", PERSON, "Auto-Submitted: auto-replied"),
    ("auto-submitted: Auto-Generated; type=x", PERSON, "Auto-Submitted: auto-generated"),
    ("Auto-Submitted: auto-notified", PERSON, "Auto-Submitted: auto-notified"),
    ("Auto-Submitted: x" + "y" * 500, PERSON, "Auto-Submitted: xyyy"),
    ("", "", "null return path"),
    ("Content-Type: multipart/report; report-type=delivery-status; boundary=b", PERSON, "a report"),
    ("Content-Type: Multipart/Report; boundary=b", "", "a report"),
    ("Content-Type: multipart/mixed; boundary=b", PERSON, ""),
    ("Precedence: bulk", PERSON, "Precedence: bulk"),
    ("Precedence: JUNK", PERSON, "Precedence: junk"),
    ("Precedence: list", PERSON, "Precedence: list"),
    ("Precedence: auto_reply", PERSON, "Precedence: auto_reply"),
    ("Precedence: first-class", PERSON, ""),
    ("X-Autoreply: yes", PERSON, "x-autoreply"),
    ("X-Autorespond: Re: hello", PERSON, "x-autorespond"),
    ("X-Auto-Reply: 1", PERSON, "x-auto-reply"),
    ("X-Failed-Recipients: a@b.tw", PERSON, "x-failed-recipients"),
    ("Feedback-ID: 1:2:3", PERSON, "feedback-id"),
    ("List-Id: <l.acme.example>", PERSON, "list-id"),
    ("List-Post: <mailto:l@acme.example>", PERSON, "list-post"),
    ("Mailing-List: x", PERSON, "mailing-list"),
    # Outlook sets this on what people write: no sign of a machine.
    ("X-Auto-Response-Suppress: All", PERSON, ""),
    ("List-Unsubscribe: <mailto:u@acme.example>", PERSON, ""),
    ("Subject: Out of office", PERSON, ""),
]


@pytest.mark.parametrize(("fields", "return_path", "reason"), TABLE)
def test_what_a_machine_sent_is_told_from_what_a_person_wrote(fields, return_path, reason):
    header = f"From: {PERSON}\n{fields}".strip().replace("\n", "\r\n")
    why = why_automatic(parse(f"{header}\r\n\r\nx".encode()), return_path)
    assert why.startswith(reason)
    assert bool(why) == bool(reason)
    assert len(why) < 100


@pytest.mark.parametrize("robot", ["MAILER-DAEMON", "postmaster", "noreply", "no-reply", "DoNotReply"])
def test_a_robots_address_is_no_person(robot):
    assert why_automatic(parse(f"From: {robot}@acme.example\r\n\r\n".encode()), PERSON) == f"from {robot.lower()}"
