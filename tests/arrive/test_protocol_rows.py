"""The rows of SECURITY.md that the doors answer for; each test bears the name of its row."""

import contextlib
import socket
import ssl
import threading

import pytest
import trustme
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gateway.arrive import session
from gateway.arrive import smtp as arrive
from gateway.mail.address import parse_address
from tests.arrive.test_smtp import met
from tests.kit.client import Client

# ruff: noqa: N802 (rows have capital names)

TO = "s00001@sales.example.com"
HOST = "sales.example.com"
MAIL = b"From: a@example.com\r\nSubject: hello\r\n\r\ntext\r\n"
SMUGGLING = [
    b"\n.\n", b"\n.\r\n", b"\r.\r", b"\r.\r\n", b"\r\n.\r", b"\r\n.\n", b"\r\n\0.\r\n", b"\r.\n", b"\n.\r",
]  # fmt: skip
KIB = 1024


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def server_tls(authority):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(HOST).configure_cert(context)
    return context


@pytest.fixture
def trusting(authority):
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def begin(client, path="a@example.com"):
    assert client.say(f"MAIL FROM:<{path}>").startswith("250")
    assert client.say(f"RCPT TO:<{TO}>").startswith("250")
    assert client.say("DATA").startswith("354")


def told(port, octets):
    """Return all that is answered to octets sent after the greeting."""
    with met(port) as sock:
        with contextlib.suppress(OSError):  # it may hang up while we speak
            sock.sendall(octets)
            sock.shutdown(socket.SHUT_WR)
        return heard(sock)


def heard(sock):
    said = b""
    try:
        while piece := sock.recv(65_536):
            said += piece
    except ConnectionError:
        pass
    return said


# -- P01, P02: nothing is smuggled in, and what was received is kept as it was


@pytest.mark.parametrize("way", ["smtp", "lmtp", "tls"])
@pytest.mark.parametrize("end", SMUGGLING, ids=repr)
def test_P01_only_crlf_dot_crlf_ends_data(house, server_tls, trusting, way, end):
    evil = b"MAIL FROM:<evil@example.com>\r\nRCPT TO:<" + TO.encode() + b">\r\nDATA\r\nevil"
    port = house.open("lmtp" if way == "lmtp" else "smtp", tls=server_tls if way == "tls" else None)
    with Client(port, lmtp=way == "lmtp") as client:
        if way == "tls":
            client.starttls(trusting, HOST)
        begin(client, "good@example.com")
        client.socket.sendall(b"Subject: one\r\n\r\ntext" + end + evil + b"\r\n.\r\n")
        assert client.answer() == "250 2.0.0 kept"
        assert client.say("NOOP").startswith("250")
    assert [(path, content) for path, _, content in house.kept()] == [
        ("good@example.com", b"Subject: one\r\n\r\ntext" + end + evil + b"\r\n")
    ]


@pytest.mark.parametrize("end", SMUGGLING, ids=repr)
def test_P01_the_end_of_data_is_found_however_it_is_cut(house, smtp, end):
    begin(smtp)
    for octet in b"text" + end + b"more\r\n.\r\n":
        smtp.socket.sendall(bytes([octet]))
    assert smtp.answer() == "250 2.0.0 kept"
    assert [content for _, _, content in house.kept()] == [b"text" + end + b"more\r\n"]


def test_P02_bare_cr_lf_and_nul_are_kept_as_they_were_received(house, smtp):
    begin(smtp)
    odd = b"Subject: x\ry\nz\0\r\n\r\n\ra\nb\r\r\n\n\n\0\r\n"
    smtp.socket.sendall(odd + b".\r\n")
    assert smtp.answer() == "250 2.0.0 kept"
    assert [content for _, _, content in house.kept()] == [odd]


# -- P03 stands in test_submission.py and test_smtp.py too


def test_P03_six_commands_behind_starttls_are_not_obeyed(house, server_tls, trusting):
    behind = f"EHLO e\r\nMAIL FROM:<e@evil.example>\r\nRCPT TO:<{TO}>\r\nDATA\r\nevil\r\n.\r\nQUIT\r\n".encode()
    with Client(house.open(tls=server_tls)) as client:
        client.socket.sendall(b"STARTTLS\r\n" + behind)
        assert client.answer().startswith("220")
        client.file.close()
        try:
            client.socket = trusting.wrap_socket(client.socket, server_hostname=HOST)
            client.file = client.socket.makefile("rb")
            assert client.say("RCPT TO:<x@y.example>")[:3] in {"503", ""}
        except (ssl.SSLError, ConnectionError):
            pass  # what stood behind is no handshake: hanging up is as good
    assert house.kept() == []


def test_P03_tls_within_tls_is_503(house, server_tls, trusting):
    with Client(house.open(tls=server_tls)) as client:
        client.starttls(trusting, HOST)
        assert client.say("STARTTLS").startswith("503")
        assert client.send("a@example.com", [TO], MAIL) == ["250 2.0.0 kept"]


# -- P05: an address never becomes a command


LOCAL = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=80)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    LOCAL, st.sampled_from(["<{}@example.com>", "<{}>", "{}", '<"{}"@example.com>', "<@{}:a@example.com>", "<a@{}>"])
)
@example('a\r\nRCPT TO:<e@z>"@z.q', "<{}>")
@example("a\nRSET", '<"{}"@example.com>')
@example("a\0b", '<"{}"@example.com>')
@example(">\r\n.\r\nMAIL FROM:<evil", "<{}@example.com>")
def test_P05_what_is_kept_of_an_envelope_is_one_clean_word(shared_house, shared_port, local, form):
    with Client(shared_port) as client:
        lines = form.format(local)
        client.socket.sendall(b"MAIL FROM:" + lines.encode() + b"\r\nRCPT TO:" + lines.encode() + b"\r\n")
        client.socket.sendall(f"RCPT TO:<{TO}>\r\nNOOP\r\nQUIT\r\n".encode())
        answers = client.rest()
    assert all(line[:1] in "245" and line[3:4] in " -" for line in answers)
    kept = [
        (door.envelope.mail_from or "", *door.envelope.rcpt_tos) for door in list(shared_house.doors.shared.sessions)
    ]
    assert all(word.isprintable() and " " not in word for words in kept for word in words)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=60) | LOCAL.map(lambda local: f"{local}@sales.example.com"))
@example("s00001@sales.example.com\r\n")
@example("s00001%evil.example@sales.example.com")
@example("@sales.example.com:x@evil.example")
@example('"s00001"@sales.example.com')
def test_P05_only_what_our_strict_address_type_reads_is_ever_ours(shared_house, text):
    status = shared_house.run(shared_house.acceptor.recipient(text))
    assert str(status)[:3] in {"250", "550"}
    if status.severity == 2 and text.lower() != "postmaster":
        read = shared_house.addresses.parse(text)
        assert read is not None
        assert parse_address(str(read)) == read


@pytest.mark.parametrize(
    "line",
    ["NOOP é", "EHLO é", "MAIL FROM:<a@example.com>\u202e", "RCPT TO:<s00001-確\x85認@sales.example.com>",
     "RCPT TO:<s00001-\udce7@sales.example.com>"],
)  # fmt: skip
def test_P05_commands_of_8_bits_that_are_no_address_in_utf_8_are_500(smtp, line):
    smtp.socket.sendall(line.encode("utf-8", "surrogateescape") + b"\r\n")
    assert smtp.answer().startswith("500 5.5.2")
    assert smtp.say("NOOP").startswith("250")


def test_an_address_in_utf_8_is_ours_where_it_names_a_command(house):
    with Client(house.open()) as client:
        assert "250-SMTPUTF8" in client.hello
        assert client.say("MAIL FROM:<王@例子.example> BODY=8BITMIME SMTPUTF8").startswith("250")
        for word in ("確認", "备注", "取消訂閱"):
            assert client.say(f"RCPT TO:<{TO.replace('@', f'-{word}@')}>").startswith("250")
        for local in ("確認", "s00001-亂", "王", "s99999-確認"):
            assert client.say(f"RCPT TO:<{local}@sales.example.com>").startswith("550 5.1.1")


@pytest.mark.parametrize("octet", [b"\0", b"\r", b"\x1b", b"\x7f", b"\xff"])
def test_P05_a_control_character_in_a_command_is_500(house, octet):
    answered = told(house.open(), b'EHLO x\r\nMAIL FROM:<"a' + octet + b'b"@example.com>\r\nQUIT\r\n')
    assert b"\r\n500 5.5.2" in answered or b"500 5.5.2" in answered
    assert b"2.1.0" not in answered


# -- P09: who does not speak SMTP


@pytest.mark.parametrize(
    "first",
    [b"GET / HTTP/1.1\r\n", b"POST / HTTP/1.1\r\n", b"CONNECT a:25 HTTP/1.1\r\n", b"OPTIONS * HTTP/1.1\r\n",
     b"get / http/1.0\n", b"PRI * HTTP/2.0\r\n", b"Host: x\r\n", b"User-Agent: x\r\n", b"\x16\x03\x01\x02\0\n", b" EHLO x\r\n",
     b"\0\r\n", b'{"a": 1}\r\n', b"<xml/>\r\n", b"\xff\xfe\r\n"],
)  # fmt: skip
def test_P09_another_protocol_is_hung_up_on(house, first):
    mail = f"EHLO x\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<{TO}>\r\nDATA\r\nevil\r\n.\r\n".encode()
    answered = told(house.open(), first + b"Content-Type: text/plain\r\n\r\n" + mail)
    assert b"250" not in answered
    house.until(lambda: not house.doors.shared.sessions)
    assert house.kept() == []


@pytest.mark.parametrize("either", ["smtp", "lmtp"])
def test_P09_who_speaks_before_the_greeting_is_hung_up_on(either_house, either):
    """The loop is held until the octets are there: so they came before we greeted."""
    port = either_house.open(either)
    hold = threading.Event()
    either_house.loop.call_soon_threadsafe(hold.wait, 30)
    with socket.create_connection(("127.0.0.1", port), 30) as sock:
        sock.sendall(f"EHLO x\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<{TO}>\r\nDATA\r\n".encode() + MAIL + b".\r\n")
        hold.set()
        answered = heard(sock)
    assert answered in {str(session.EARLY).encode() + b"\r\n", b""}  # a reset may overtake the answer
    either_house.until(lambda: not either_house.doors.shared.sessions)
    assert either_house.kept() == []


def test_P09_octets_between_connecting_and_greeting_are_too_early(shared_house):
    from tests.arrive.test_data import FakeTransport

    async def speak():
        door = arrive.Door(shared_house.doors.shared, arrive.Settings("smtp", 1_000), shared_house.loop)
        transport = FakeTransport()
        door.connection_made(transport)
        door.data_received(b"EHLO x\r\n")
        door.connection_lost(None)
        await arrive.asyncio.gather(door._handler_coroutine, return_exceptions=True)
        return transport

    transport = shared_house.run(speak())
    assert transport.said == str(session.EARLY).encode() + b"\r\n"
    assert transport.closing
