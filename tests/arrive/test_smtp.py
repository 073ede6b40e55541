"""The SMTP door: its caps, its deadlines, its verbs, its leave-taking."""

import smtplib
import socket
import ssl
import threading

import pytest
import trustme

from gateway.arrive import accept, crowd, doors, session
from gateway.arrive import smtp as arrive
from tests.kit import postfix as postfix_kit
from tests.kit.client import Client
from tests.kit.postfix import Postfix

TO = "s00001@sales.example.com"
MAIL = b"From: a@example.com\r\nSubject: hello\r\n\r\ntext\r\n"
SLOW = str(session.SLOW).encode()
BUSY = str(session.BUSY).encode()
STOPPING = str(arrive.STOPPING).encode()


def raw(port) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), 60)


def met(port) -> socket.socket:
    """Return a session whose greeting was read, and nothing else."""
    sock = raw(port)
    heard = b""
    while not heard.endswith(b"\r\n"):
        heard += sock.recv(1)
    assert heard.startswith(b"220")
    return sock


def begin_data(client):
    client.say("MAIL FROM:<a@example.com>")
    client.say(f"RCPT TO:<{TO}>")
    assert client.say("DATA").startswith("354")


# -- what is said


def test_the_greeting_names_us_and_ehlo_offers_what_we_do(smtp):
    assert smtp.greeting == "220 sales.example.com Replygate SMTP"
    offered = {line[4:].split(" ")[0] for line in smtp.hello.split("\n")[1:]}
    assert {"SIZE", "8BITMIME", "PIPELINING", "ENHANCEDSTATUSCODES"} <= offered
    assert not offered & {"AUTH", "STARTTLS", "CHUNKING"}


def test_size_is_announced(house):
    with Client(house.open(max_size=12_345)) as client:
        assert "SIZE 12345" in client.hello


def test_a_declared_size_beyond_the_limit_is_552_at_mail(house):
    with Client(house.open(max_size=10_000)) as client:
        assert client.say("MAIL FROM:<a@example.com> SIZE=10001") == str(accept.TOO_LARGE)
        assert client.say("MAIL FROM:<a@example.com> SIZE=10000") == str(arrive._OK)
    assert str(accept.TOO_LARGE).startswith("552 5.3.4")


def test_no_room_is_452_at_mail(smtp, monkeypatch):
    monkeypatch.setattr(accept.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 100_000})())
    assert smtp.say("MAIL FROM:<a@example.com> SIZE=900000").startswith("452 4.3.1")
    assert smtp.say("MAIL FROM:<a@example.com> SIZE=60000").startswith("250")


def test_no_room_left_is_452_at_data(smtp, monkeypatch):
    smtp.say("MAIL FROM:<a@example.com>")
    smtp.say(f"RCPT TO:<{TO}>")
    monkeypatch.setattr(accept.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 10})())
    assert smtp.say("DATA").startswith("452 4.3.1")
    assert smtp.say("NOOP").startswith("250")


def test_a_spool_that_cannot_be_seen_is_451(smtp, monkeypatch):
    def away(_):
        raise OSError("gone: /secret/path")

    monkeypatch.setattr(accept.shutil, "disk_usage", away)
    assert smtp.say("MAIL FROM:<a@example.com>") == str(accept.AWAY)


def test_too_much_in_flight_is_421_at_mail_and_at_data(smtp, monkeypatch):
    smtp.say("MAIL FROM:<a@example.com>")
    smtp.say(f"RCPT TO:<{TO}>")
    monkeypatch.setattr(arrive, "IN_FLIGHT_MAX", -1)
    assert smtp.say("DATA").startswith("421 4.3.2")
    smtp.say("RSET")
    assert smtp.say("MAIL FROM:<a@example.com>").startswith("421 4.3.2")


def test_the_null_return_path_is_taken(house, smtp):
    assert smtp.send("", [TO], MAIL) == ["250 2.0.0 kept"]
    assert house.kept()[0][0] == ""


def test_the_postmaster_needs_no_domain(smtp):
    assert smtp.send("a@example.com", ["Postmaster"], MAIL) == ["250 2.0.0 kept"]


@pytest.mark.parametrize(
    "path", ["a b@example.com", "a@example.com>\rRCPT TO:<x", "<a@example.com", '"a@example.com', "a\0b@example.com"]
)
def test_a_return_path_is_never_more_than_one_word(house, smtp, path):
    answer = smtp.say(f"MAIL FROM:<{path}>")
    if answer.startswith("250"):
        assert smtp.send("a@example.com", [TO], MAIL)[-1].startswith(("250", "503"))
    assert all("\r" not in kept[0] and " " not in kept[0] for kept in house.kept())


def test_a_source_route_is_left_out(smtp):
    assert smtp.say("MAIL FROM:<@one.example,@two.example:a@example.com>").startswith("250")
    assert smtp.say(f"RCPT TO:<@one.example:{TO}>").startswith("250")


def test_data_before_a_recipient_is_503_and_before_a_greeting_too(house):
    with raw(house.open()) as sock, sock.makefile("rb") as file:
        file.readline()
        sock.sendall(b"DATA\r\n")
        assert file.readline().startswith(b"503")
        sock.sendall(b"MAIL FROM:<a@example.com>\r\n")
        assert file.readline().startswith(b"503")


def test_data_takes_no_argument(smtp):
    smtp.say("MAIL FROM:<a@example.com>")
    smtp.say(f"RCPT TO:<{TO}>")
    assert smtp.say("DATA now").startswith("501")


def test_after_a_mail_the_next_begins_afresh(house, smtp):
    assert smtp.send("a@example.com", [TO], MAIL) == ["250 2.0.0 kept"]
    assert smtp.say("DATA").startswith("503")
    assert smtp.send("b@example.com", [TO], MAIL) == ["250 2.0.0 kept"]
    assert [path for path, _, _ in house.kept()] == ["a@example.com", "b@example.com"]


def test_many_mails_go_through_one_session(house, smtp):
    for n in range(50):
        assert smtp.send("a@example.com", [TO], MAIL + b"%d" % n) == ["250 2.0.0 kept"]
    assert len(house.kept()) == 50


def test_a_hundred_recipients_and_no_more(house, smtp):
    smtp.say("MAIL FROM:<a@example.com>")
    answers = [smtp.say(f"RCPT TO:<s00001-{word}@sales.example.com>") for word in ["note", "follow"] * 50]
    assert {answer[:3] for answer in answers} == {"250"}
    assert smtp.say(f"RCPT TO:<{TO}>").startswith("452 4.5.3")
    smtp.say("DATA")
    smtp.socket.sendall(MAIL + b".\r\n")
    assert smtp.answer() == "250 2.0.0 kept"
    assert len(house.kept()[0][1]) == 2


def test_vrfy_and_expn_tell_nothing(smtp):
    known, unknown = smtp.say("VRFY s00001@sales.example.com"), smtp.say("VRFY s09999@sales.example.com")
    assert known.replace("s00001", "") == unknown.replace("s09999", "")
    assert smtp.say("EXPN sales")[:1] == "5"


def test_auth_is_not_offered_and_not_taken(smtp):
    assert smtp.say("AUTH PLAIN AGEAYg==")[:1] == "5"
    assert smtp.say("AUTH LOGIN")[:1] == "5"


@pytest.mark.parametrize("verb", ["GET / HTTP/1.1", "POST / HTTP/1.1", "CONNECT x:25 HTTP/1.1", "PUT / HTTP/1.1"])
def test_an_http_client_is_hung_up_on(house, everything, verb):
    smuggled = f"EHLO x\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<{TO}>\r\nDATA\r\nevil\r\n.\r\n".encode()
    with met(house.open()) as sock:
        sock.sendall(verb.encode() + b"\r\nHost: x\r\nContent-Length: 300\r\n\r\n" + smuggled)
        answered = everything(sock)
    assert b"250" not in answered
    house.until(lambda: not house.doors.shared.sessions)
    assert house.kept() == []


def test_a_line_of_64_kib_is_refused_and_the_session_goes_on(smtp):
    assert smtp.say("NOOP " + "x" * 200_000).startswith("500")
    assert smtp.say("NOOP").startswith("250")


# -- pipelining


def test_a_whole_mail_in_one_packet_is_taken(house, everything):
    with met(house.open()) as sock:
        sock.sendall(
            f"EHLO x\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<{TO}>\r\nRCPT TO:<s9@nowhere.example>\r\n"
            "RCPT TO:<s00002@sales.example.com>\r\n".encode()
        )
        sock.sendall(b"DATA\r\n" + MAIL + b".\r\nRSET\r\nQUIT\r\n")
        answered = everything(sock).split(b"\r\n")
    codes = [line[:3] for line in answered if line[3:4] != b"-"]
    assert codes == [b"250", b"250", b"250", b"550", b"250", b"354", b"250", b"250", b"221", b""]
    assert house.kept() == [("a@example.com", [TO, "s00002@sales.example.com"], MAIL)]


def test_two_mails_in_one_packet_are_both_taken(house, everything):
    each = f"MAIL FROM:<a@example.com>\r\nRCPT TO:<{TO}>\r\nDATA\r\n".encode() + MAIL + b".\r\n"
    with met(house.open()) as sock:
        sock.sendall(b"EHLO x\r\n" + each + each + b"QUIT\r\n")
        assert everything(sock).count(b"250 2.0.0 kept") == 2
    assert [content for _, _, content in house.kept()] == [MAIL, MAIL]


# -- deadlines and caps


def test_a_silent_session_is_ended_with_421(house, everything, monkeypatch):
    monkeypatch.setattr(session, "IDLE_S", 0.1)
    with raw(house.open()) as sock:
        assert everything(sock).endswith(SLOW + b"\r\n")
    house.until(lambda: not house.doors.shared.sessions)


def test_silence_in_data_is_ended_with_421(house, everything):
    with Client(house.open()) as client:
        begin_data(client)
        for door in house.doors.shared.sessions:
            house.loop.call_soon_threadsafe(door._reset_timeout, 0.05)
        client.socket.sendall(b"Subject: never ends\r\n")
        assert everything(client.socket) == SLOW + b"\r\n"
    assert house.kept() == []


def test_a_session_that_lasts_too_long_is_ended_with_421(house, everything, monkeypatch):
    monkeypatch.setattr(session, "SESSION_S", 0.1)
    with raw(house.open()) as sock:
        assert everything(sock).endswith(SLOW + b"\r\n")


def test_a_mail_that_drips_is_ended_with_421(house, everything, monkeypatch):
    monkeypatch.setattr(arrive, "SLOW_AFTER_S", -1.0)
    monkeypatch.setattr(crowd, "SLOWEST", 10**15)
    with Client(house.open()) as client:
        begin_data(client)
        client.socket.sendall(b"x" * 70_000)
        assert SLOW in everything(client.socket)
    house.until(lambda: not house.doors.shared.sessions)
    assert house.kept() == []
    assert house.doors.shared.in_flight == 0


def test_more_connections_than_we_hold_are_421(house, everything, monkeypatch):
    monkeypatch.setattr(crowd, "CONNECTIONS_MAX", 2)
    monkeypatch.setattr(crowd, "SILENT_S", 3600.0)
    port = house.open()
    with Client(port), Client(port), raw(port) as third:
        assert everything(third) == BUSY + b"\r\n"
        house.until(lambda: len(house.doors.shared.sessions) == 2)


def test_more_connections_than_a_peer_may_have_are_421(house, everything, monkeypatch):
    monkeypatch.setattr(crowd, "CONNECTIONS_PER_PEER", 1)
    monkeypatch.setattr(crowd, "SILENT_S", 3600.0)
    port = house.open()
    with Client(port):
        with raw(port) as second:
            assert everything(second) == BUSY + b"\r\n"
        with socket.socket() as other:
            other.bind(("127.0.0.2", 0))
            other.connect(("127.0.0.1", port))
            assert other.recv(100).startswith(b"220")


def test_a_peer_that_left_may_come_again(house, monkeypatch):
    monkeypatch.setattr(crowd, "CONNECTIONS_PER_PEER", 1)
    port = house.open()
    for _ in range(5):
        with Client(port) as client:
            assert client.greeting.startswith("220")
        house.until(lambda: not house.doors.shared.peers)


# -- STARTTLS


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def tls(authority):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("sales.example.com").configure_cert(context)
    return context


def wrapped(authority, sock):
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context.wrap_socket(sock, server_hostname="sales.example.com", suppress_ragged_eofs=True)


def greeted(port):
    """Return a session after its EHLO; nothing more than that was read."""
    sock = met(port)
    sock.sendall(b"EHLO x\r\n")
    heard = b""
    while b"250 " not in heard or not heard.endswith(b"\r\n"):
        heard += sock.recv(1_000)
    assert b"STARTTLS" in heard
    return sock


def secured(authority, port):
    sock = greeted(port)
    sock.sendall(b"STARTTLS\r\n")
    assert sock.recv(100).startswith(b"220")
    return wrapped(authority, sock)


def test_mail_goes_through_starttls(either_house, authority, tls):
    with secured(authority, either_house.open(tls=tls)) as sock, sock.makefile("rb") as file:
        for line, code in (
            (b"EHLO x", b"250"), (b"MAIL FROM:<a@example.com>", b"250"), (b"RCPT TO:<" + TO.encode() + b">", b"250"),
            (b"DATA", b"354"), (MAIL + b".", b"250"), (b"QUIT", b"221"),
        ):  # fmt: skip
            sock.sendall(line + b"\r\n")
            while (answer := file.readline())[3:4] == b"-":
                pass
            assert answer.startswith(code)
    assert [content for _, _, content in either_house.kept()] == [MAIL]


def test_a_large_mail_goes_through_starttls(either_house, authority, tls):
    mail = (b"x" * 70 + b"\r\n") * 10_000
    with secured(authority, either_house.open(tls=tls)) as sock, sock.makefile("rb") as file:
        sock.sendall(f"EHLO x\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<{TO}>\r\nDATA\r\n".encode() + mail + b".\r\n")
        sock.sendall(b"QUIT\r\n")
        assert b"250 2.0.0 kept\r\n" in file.read()
    assert either_house.kept()[0][2] == mail


def test_what_was_sent_in_the_clear_behind_starttls_is_dropped(house, authority, tls):
    behind = f"EHLO evil\r\nMAIL FROM:<evil@example.com>\r\nRCPT TO:<{TO}>\r\nNOOP\r\n".encode()
    port = house.open(tls=tls)
    with greeted(port) as sock:
        sock.sendall(b"STARTTLS\r\n" + behind)
        assert sock.recv(100).startswith(b"220")
        try:
            with wrapped(authority, sock) as secure, secure.makefile("rb") as file:
                secure.sendall(b"DATA\r\n")
                assert file.readline()[:3] in {b"503", b""}
        except (ssl.SSLError, ConnectionError):
            pass  # what stood behind is no handshake: hanging up is as good
    assert house.kept() == []


def test_the_greeting_before_starttls_is_forgotten(house, authority, tls):
    with secured(authority, house.open(tls=tls)) as sock:
        sock.sendall(b"MAIL FROM:<a@example.com>\r\n")
        assert sock.recv(100).startswith(b"503")


def test_where_tls_is_required_nothing_goes_without(house, tls):
    with Client(house.open(tls=tls, require_tls=True)) as client:
        assert client.say("MAIL FROM:<a@example.com>").startswith("530")


def test_a_failed_handshake_harms_nobody_else(house, authority, tls, everything):
    port = house.open(tls=tls)
    with greeted(port) as sock:
        sock.sendall(b"STARTTLS\r\n")
        sock.recv(100)
        sock.sendall(b"this is no handshake at all, not by far\r\n" * 10)
        everything(sock)
    with secured(authority, port) as sock:
        sock.sendall(b"EHLO x\r\n")
        assert sock.recv(4_000).startswith(b"250")
    house.until(lambda: not house.doors.shared.peers)


# -- leave-taking


def test_a_graceful_stop_keeps_the_mail_that_is_in_data(house, everything):
    port = house.open()
    with Client(port) as busy, Client(port) as idle:
        begin_data(busy)
        busy.socket.sendall(MAIL)
        house.until(lambda: any(door.receiving for door in house.doors.shared.sessions))
        closing = house.begin(house.doors.close())
        assert everything(idle.socket) == STOPPING + b"\r\n"
        busy.socket.sendall(b"the rest\r\n.\r\n")
        assert everything(busy.socket) == b"250 2.0.0 kept\r\n" + STOPPING + b"\r\n"
        closing.result(60)
    assert [content for _, _, content in house.kept()] == [MAIL + b"the rest\r\n"]


def test_a_stop_does_not_wait_for_ever_for_a_mail_in_data(house, everything, monkeypatch):
    monkeypatch.setattr(doors, "STOPPING_S", 0.0)
    with Client(house.open()) as client:
        begin_data(client)
        house.until(lambda: any(door.receiving for door in house.doors.shared.sessions))
        house.run(house.doors.close())
        assert everything(client.socket) == STOPPING + b"\r\n"
    assert house.kept() == []


def test_a_door_can_be_a_unix_socket(house, tmp_path):
    at = house.run(house.doors.open(arrive.Settings("lmtp", 10_000), str(tmp_path / "lmtp.sock"), -1))
    assert at == f"unix:{tmp_path / 'lmtp.sock'}"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(tmp_path / "lmtp.sock"))
        assert sock.recv(100).startswith(b"220")


def test_peers_of_trusted_networks_are_marked(house):
    for trusted in ((), ("127.0.0.0/8",), ("192.0.2.0/24",)):
        with Client(house.open(trusted=trusted)) as client:
            client.send("a@example.com", [TO], MAIL)
    import sqlalchemy as sa

    from gateway.store.tables import arrival

    with house.store.read() as tx:
        marks = tx.execute(sa.select(arrival.c.trusted).order_by(arrival.c.id)).scalars().all()
    assert marks == [False, True, False]


def test_a_hundred_sessions_at_once_are_served(house):
    port = house.open()
    answers = []

    def talk():
        with Client(port) as client:
            answers.append(client.send("a@example.com", [TO], MAIL))

    threads = [threading.Thread(target=talk) for _ in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert answers == [["250 2.0.0 kept"]] * 100


def test_postfix_hands_on_what_came_for_an_address_in_utf_8(house, tmp_path):
    postfix_kit.need()
    to = "s00001-確認@sales.example.com"
    with Postfix(tmp_path / "postfix", {"sales.example.com": f"lmtp:inet:127.0.0.1:{house.open('lmtp')}"}) as postfix:
        with smtplib.SMTP("127.0.0.1", postfix.port) as smtp:
            smtp.sendmail("a@example.com", [to], b"To: " + to.encode() + b"\r\n" + MAIL, ["SMTPUTF8", "BODY=8BITMIME"])
        house.until(house.kept)
        postfix.quiet()
    assert [(path, recipients) for path, recipients, _ in house.kept()] == [("a@example.com", [to])]
