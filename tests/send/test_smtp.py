"""The next hops over TLS and LMTP, and what a connection does with what it is answered."""

import asyncio
import base64
import ssl

import pytest
import trustme

from gateway.config import parse_hop
from gateway.mail.address import Address
from gateway.mail.status import Status, parse_reply
from gateway.send import smtp
from gateway.send.smtp import Connection
from tests.kit import sink

TO = Address("x", "example.com")
MAIL = b"Subject: hello\r\n\r\n.text\r\n"


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def tls(authority):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    return context


@pytest.fixture
def trusted(authority, tmp_path, monkeypatch):
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(path)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))


class Server(sink.Sink):
    """A sink that takes AUTH PLAIN and STARTTLS."""

    def __init__(self, mails, behaviour, secrets, offers=""):
        super().__init__(mails, None, behaviour)
        self.secrets, self.offers = secrets, offers

    def command(self, line):
        verb, _, argument = line.partition(" ")
        if verb.upper() == "EHLO" and self.offers:
            self.reply("EHLO", argument, f"250-sink\r\n250-{self.offers}\r\n250 8BITMIME")
        elif verb.upper() == "AUTH":
            self.secrets.append(base64.b64decode(argument.rpartition(" ")[2]))
            self.reply("AUTH", argument, "235 2.7.0 welcome")
        else:
            super().command(line)


async def hand_over(url, serve=None, *, password="", times=1, behaviour=None, offers="", tls=None, still=lambda: True):
    """Hand mails over to a server; return the answers, the mails and the secrets it was told."""
    mails, secrets = [], []
    server = await (serve or asyncio.get_running_loop().create_server)(
        lambda: Server(mails, behaviour, secrets, offers), *(() if serve else ("127.0.0.1", 0)), ssl=tls
    )
    port = "" if serve else server.sockets[0].getsockname()[1]
    connection = Connection(parse_hop(url.format(port=port)), password, "sales.example.com")
    answers = [await connection.hand_over("b@sales.example.com", TO, MAIL, still) for _ in range(times)]
    await connection.quit()
    server.close()
    await server.wait_closed()
    return answers, mails, secrets


def run(*args, **more):
    return asyncio.run(hand_over(*args, **more))


def test_smtps_with_a_password_proves_the_server_and_logs_in(tls, trusted):  # noqa: ARG001
    answers, mails, secrets = run(
        "smtps://gw%40x@localhost:{port}", password="s3cret", offers="AUTH PLAIN", tls=tls, times=2
    )
    assert [str(each) for each in answers] == ["250 2.0.0 kept"] * 2
    assert [mail.content for mail in mails] == [MAIL] * 2
    assert secrets == [b"\0gw@x\0s3cret"]


def test_P04_smtps_with_a_certificate_nobody_vouches_for_defers_and_says_no_password(tls):  # noqa: N802 (named for its row)
    answers, mails, secrets = run("smtps://gw@localhost:{port}", password="s3cret", offers="AUTH PLAIN", tls=tls)
    assert answers[0].severity == 4
    assert (mails, secrets) == ([], [])


def test_smtps_of_another_name_defers(tls, authority, trusted):  # noqa: ARG001
    other = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("elsewhere.example").configure_cert(other)
    answers, mails, secrets = run("smtps://gw@localhost:{port}", password="s3cret", offers="AUTH PLAIN", tls=other)
    assert answers[0].severity == 4
    assert (mails, secrets) == ([], [])


def test_P04_a_password_is_never_said_without_tls(trusted):  # noqa: ARG001, N802 (named for its row)
    answers, mails, secrets = run("smtp://gw@localhost:{port}", password="s3cret", offers="AUTH PLAIN")
    assert answers[0].severity == 4
    assert (mails, secrets) == ([], [])


def test_a_refused_password_defers_without_saying_it(tls, trusted):  # noqa: ARG001
    def refuses(verb, _argument):
        return "535 5.7.8 wrong" if verb == "AUTH" else None

    answers, mails, _ = run(
        "smtps://gw@localhost:{port}", password="s3cret", offers="AUTH PLAIN", tls=tls, behaviour=refuses
    )
    assert (answers[0].severity, mails) == (4, [])
    assert "s3cret" not in str(answers[0])


def test_lmtp_greets_with_lhlo_over_tcp():
    verbs = []
    answers, mails, _ = run("lmtp://127.0.0.1:{port}", behaviour=lambda verb, _: verbs.append(verb))
    assert str(answers[0]) == "250 2.0.0 kept"
    assert [mail.content for mail in mails] == [MAIL]
    assert "LHLO" in verbs
    assert not {"EHLO", "HELO"} & set(verbs)


def test_lmtp_goes_over_a_unix_socket(tmp_path):
    async def both():
        loop = asyncio.get_running_loop()

        async def serve(factory, ssl=None):
            return await loop.create_unix_server(factory, str(tmp_path / "lmtp"), ssl=ssl)

        return await hand_over(f"lmtp://{tmp_path / 'lmtp'}", serve)

    answers, mails, _ = asyncio.run(both())
    assert str(answers[0]) == "250 2.0.0 kept"
    assert len(mails) == 1


def test_a_lost_lease_is_asked_for_right_before_data():
    verbs = []
    answers, mails, _ = run(
        "smtp://127.0.0.1:{port}", behaviour=lambda verb, _: verbs.append(verb), still=lambda: "RCPT" not in verbs
    )
    assert answers == [Status(4, 51, "4.4", "the lease ran out before the mail was sent")]
    assert mails == []
    assert "DATA" not in verbs


def test_a_connection_too_long_idle_is_opened_anew(monkeypatch):
    connects = []
    monkeypatch.setattr(smtp, "IDLE_S", -1.0)
    run(
        "smtp://127.0.0.1:{port}",
        times=3,
        behaviour=lambda verb, _: connects.append(verb) if verb == "CONNECT" else None,
    )
    assert len(connects) == 3


def test_a_connection_is_opened_anew_after_so_many_mails(monkeypatch):
    connects = []
    monkeypatch.setattr(smtp, "MAILS_PER_CONNECTION", 2)
    run(
        "smtp://127.0.0.1:{port}",
        times=5,
        behaviour=lambda verb, _: connects.append(verb) if verb == "CONNECT" else None,
    )
    assert len(connects) == 3


def test_a_server_that_never_greets_is_given_up(monkeypatch):
    monkeypatch.setattr(smtp, "CONNECT_S", 0.1)

    async def silent():
        server = await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        connection = Connection(parse_hop(f"smtp://127.0.0.1:{port}"), "", "sales.example.com")
        answer = await connection.hand_over("", TO, MAIL, lambda: True)
        server.close()
        return answer

    assert str(asyncio.run(silent())).startswith("451 4.4.1 cannot connect")


@pytest.mark.parametrize("verb", ["MAIL", "DATA"])
def test_a_server_that_falls_silent_is_given_up(monkeypatch, verb):
    monkeypatch.setattr(smtp, "COMMAND_S", 0.1)
    monkeypatch.setattr(smtp, "FINAL_DOT_S", 0.1)

    class Silent(sink.Sink):
        def reply(self, said, argument, usual):
            return "" if said == verb else super().reply(said, argument, usual)

    async def silent():
        server = await asyncio.get_running_loop().create_server(lambda: Silent([], None, None), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        connection = Connection(parse_hop(f"smtp://127.0.0.1:{port}"), "", "sales.example.com")
        answer = await connection.hand_over("", TO, MAIL, lambda: True)
        server.close()
        return answer

    assert str(asyncio.run(silent())).startswith("451 4.4.2 connection lost")


def test_the_size_is_declared_where_it_is_offered():
    declared = []

    class Keen(sink.Sink):
        def command(self, line):
            declared.append(line)
            super().command(line)

    async def keen():
        server = await asyncio.get_running_loop().create_server(lambda: Keen([], None, None), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        connection = Connection(parse_hop(f"smtp://127.0.0.1:{port}"), "", "sales.example.com")
        await connection.hand_over("", TO, MAIL, lambda: True)
        await connection.quit()
        server.close()
        await server.wait_closed()

    asyncio.run(keen())
    assert f"MAIL FROM:<> SIZE={len(MAIL)}" in declared
    assert declared[0] == "EHLO sales.example.com"


@pytest.mark.parametrize(
    ("code", "text", "read"),
    [
        (250, "2.0.0 kept", "250 2.0.0 kept"),
        (550, "5.1.1 nobody\n5.1.1 here", "550 5.1.1 nobody 5.1.1 here"),
        (550, "nobody", "550 5.0.0 nobody"),
        (550, "2.1.1 lies", "550 5.0.0 lies"),
        (450, "4.2.1", "450 4.2.1 "),
    ],
)
def test_a_reply_is_read_with_its_enhanced_code(code, text, read):
    assert str(parse_reply(code, text)) == read


def test_a_reply_of_any_length_is_cut():
    assert len(str(parse_reply(550, "x" * 1_000_000))) < 600
