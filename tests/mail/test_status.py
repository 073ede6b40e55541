import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mail.status import Status, parse_reply


def test_the_reply_code_and_the_enhanced_code_come_from_one_severity():
    assert str(Status(5, 50, "1.1", "no such mailbox")) == "550 5.1.1 no such mailbox"
    assert str(Status(2, 0, "0.0", "OK")) == "200 2.0.0 OK"


@pytest.mark.parametrize(
    ("code", "text", "status"),
    [
        (250, "2.0.0 OK queued", Status(2, 50, "0.0", "OK queued")),
        (250, "OK", Status(2, 50, "0.0", "OK")),
        (450, "4.2.2 mailbox full", Status(4, 50, "2.2", "mailbox full")),
        (550, "5.1.1 no such user", Status(5, 50, "1.1", "no such user")),
        (550, "5.7.509 policy", Status(5, 50, "7.509", "policy")),
        (550, "no such user", Status(5, 50, "0.0", "no such user")),
        (550, "4.2.2 full", Status(5, 50, "0.0", "full")),
        (421, "", Status(4, 21, "0.0", "")),
        (550, "5.1.1 no\nsuch\r\n user", Status(5, 50, "1.1", "no such user")),
        (550, "5.1.1", Status(5, 50, "1.1", "")),
        (354, "go on", Status(4, 54, "0.0", "go on")),  # decides nothing: it may pass
        (250, "5.1.1 odd", Status(2, 50, "0.0", "odd")),
    ],
)
def test_a_servers_reply_is_read(code, text, status):
    assert parse_reply(code, text) == status


@given(st.integers(200, 599), st.text())
def test_any_reply_is_one_line_with_one_severity(code, text):
    said = str(parse_reply(code, text))
    assert said[0] == said[4]
    assert len(said.splitlines()) == 1
    assert len(said) < 520
