"""Rows P07 and P08 of SECURITY.md: a session is bounded, who is silent makes room, nothing grows."""

import socket
import threading
import tracemalloc

import pytest

from gateway.arrive import crowd, session
from gateway.arrive import smtp as arrive
from tests.arrive.test_protocol_rows import begin, heard, told
from tests.arrive.test_smtp import met
from tests.kit.client import Client

# ruff: noqa: N802 (rows have capital names)

TO = "s00001@sales.example.com"
MAIL = b"From: a@example.com\r\nSubject: hello\r\n\r\ntext\r\n"
KIB = 1024


# -- P07: a session is bounded


def test_P07_twenty_errors_end_a_session(smtp):
    answers = [smtp.say("XYZZY")[:3] for _ in range(session.ERRORS_MAX)]
    assert answers == ["500"] * session.ERRORS_MAX
    assert [line[:9] for line in smtp.rest()] == ["421 4.7.0"]


@pytest.mark.parametrize(
    "line", ["RCPT TO:<x@nowhere.example>", "MAIL FROM:<", "DATA", "EXPN sales", "ETRN x", "AUTH PLAIN x", "", "NOOP é"]
)
def test_P07_errors_of_every_kind_are_counted(smtp, line):
    smtp.say("MAIL FROM:<a@example.com>")
    smtp.socket.sendall((line + "\r\n").encode() * 60)
    answers = smtp.rest()
    assert len(answers) <= session.ERRORS_MAX + 1
    assert (
        answers == [] or answers[-1].startswith("421") or len(answers) < session.ERRORS_MAX + 1
    )  # a reset may overtake


def test_P07_a_kept_mail_forgives_what_was_wrong_before(smtp):
    for _ in range(5):
        for _ in range(session.ERRORS_MAX - 1):
            assert smtp.say("XYZZY").startswith("500")
        assert smtp.send("a@example.com", [TO], MAIL) == ["250 2.0.0 kept"]


def test_P07_a_border_mta_passes_on_the_errors_of_strangers(lmtp):
    for n in range(100):
        assert lmtp.send("a@example.com", [f"nobody{n}@sales.example.com"], MAIL)[0].startswith("550")
    assert lmtp.send("a@example.com", [TO], MAIL) == ["250 2.0.0 kept"]


@pytest.mark.parametrize("line", ["NOOP", "RSET", "EHLO x", "HELP", "VRFY x"])
def test_P07_a_hundred_idle_words_end_a_session(smtp, line):
    before = 1  # the greeting counted
    for _ in range(session.JUNK_MAX - before):
        assert smtp.say(line)[:1] == "2"
    smtp.socket.sendall(line.encode() + b"\r\n")
    assert [each[:9] for each in smtp.rest()] == ["421 4.7.0"]


def test_P07_a_peer_that_reads_nothing_is_let_go(house, monkeypatch):
    monkeypatch.setattr(session, "IDLE_S", 0.2)
    monkeypatch.setattr(session, "LINGER_S", 0.05)
    with met(house.open()) as sock:
        door = next(iter(house.doors.shared.sessions))
        house.loop.call_soon_threadsafe(door.transport.write, b"x" * 50_000_000)  # more than any buffer holds
        house.until(lambda: not house.doors.shared.sessions)
        sock.close()


def test_P07_a_peer_that_closed_its_half_is_let_go(house):
    with met(house.open()) as sock:
        sock.shutdown(socket.SHUT_WR)
        house.until(lambda: not house.doors.shared.sessions)


def test_P07_a_peer_that_closed_its_half_before_we_greeted_is_let_go(house):
    """The loop is held until the peer's half is closed, so that no command was ever waited for."""
    port = house.open()
    hold = threading.Event()
    house.loop.call_soon_threadsafe(hold.wait, 30)
    with socket.create_connection(("127.0.0.1", port), 30) as sock:
        sock.shutdown(socket.SHUT_WR)
        house.until(lambda: True)
        hold.set()
        heard(sock)
        house.until(lambda: not house.doors.shared.sessions)


def test_P07_no_command_behind_a_hang_up_is_obeyed(house):
    behind = f"EHLO x\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<{TO}>\r\nDATA\r\nevil\r\n.\r\n".encode()
    for last in (
        b"XYZZY\r\n" * session.ERRORS_MAX,
        b"NOOP\r\n" * (session.JUNK_MAX + 1),
        b"QUIT\r\n",
        b"GET / HTTP/1.1\r\n",
    ):
        told(house.open(), last + behind)
    house.until(lambda: not house.doors.shared.sessions)
    assert house.kept() == []


def test_P07_a_mail_being_kept_is_answered_before_its_session_ends(house, monkeypatch):
    go_on = threading.Event()
    commit = house.acceptor._commit
    monkeypatch.setattr(house.acceptor, "_commit", lambda group: (go_on.wait(60), commit(group))[1])
    with Client(house.open()) as client:
        begin(client)
        client.socket.sendall(MAIL + b".\r\n")
        door = next(iter(house.doors.shared.sessions))
        house.until(lambda: door.keeping)
        house.loop.call_soon_threadsafe(door.end, session.SLOW)
        house.loop.call_soon_threadsafe(go_on.set)
        assert client.rest() == ["250 2.0.0 kept", str(session.SLOW)]
    assert len(house.kept()) == 1


# -- P07: who says nothing makes room


def full(monkeypatch, per_peer=3, most=1_000, silent=0.0):
    monkeypatch.setattr(crowd, "CONNECTIONS_PER_PEER", per_peer)
    monkeypatch.setattr(crowd, "CONNECTIONS_MAX", most)
    monkeypatch.setattr(crowd, "SILENT_S", silent)


def test_P07_the_session_that_was_silent_longest_makes_room(house, monkeypatch):
    full(monkeypatch)
    port = house.open()
    with Client(port) as first, Client(port) as second, Client(port) as third:
        assert first.say("NOOP").startswith("250")
        with Client(port) as fourth:
            assert second.rest() == [str(session.BUSY)]
            for each in (first, third, fourth):
                assert each.say("NOOP").startswith("250")


def test_P07_a_session_that_spoke_a_moment_ago_does_not_make_room(house, monkeypatch):
    full(monkeypatch, silent=3600.0)
    port = house.open()
    with Client(port) as one, Client(port), Client(port):
        with socket.create_connection(("127.0.0.1", port), 30) as sock:
            assert heard(sock).endswith(str(session.BUSY).encode() + b"\r\n")
        assert one.say("NOOP").startswith("250")


def test_P07_a_mail_on_its_way_in_does_not_make_room(house, monkeypatch):
    full(monkeypatch, per_peer=2)
    port = house.open()
    with Client(port) as busy, Client(port) as idle:
        begin(busy)
        house.until(lambda: any(door.receiving for door in house.doors.shared.sessions))
        assert idle.say("NOOP").startswith("250")  # so the mail was silent longer
        with Client(port) as newest:
            assert idle.rest() == [str(session.BUSY)]
            busy.socket.sendall(MAIL + b".\r\n")
            assert busy.answer() == "250 2.0.0 kept"
            assert newest.say("NOOP").startswith("250")


@pytest.mark.parametrize("drips", [False, True])
def test_P07_a_mail_that_drips_or_stalls_makes_room(house, monkeypatch, drips):
    full(monkeypatch, per_peer=2)
    monkeypatch.setattr(crowd, "STALLED_S", 0.0 if not drips else -1.0)
    monkeypatch.setattr(crowd, "SLOWEST", 0 if not drips else 10**12)
    port = house.open()
    with Client(port) as slow, Client(port) as other:
        begin(slow)
        house.until(lambda: any(door.receiving for door in house.doors.shared.sessions))
        if drips:
            slow.socket.sendall(b"x")
        assert other.say("NOOP").startswith("250")
        with Client(port) as newest:
            assert slow.rest() == [str(session.BUSY)]
            assert newest.send("a@example.com", [TO], MAIL) == ["250 2.0.0 kept"]
    house.until(lambda: not house.doors.shared.sessions)
    assert len(house.kept()) == 1
    assert house.doors.shared.in_flight == 0


def test_P07_a_mail_being_kept_never_makes_room(house, monkeypatch):
    full(monkeypatch, per_peer=1)
    monkeypatch.setattr(crowd, "STALLED_S", -1.0)
    go_on = threading.Event()
    commit = house.acceptor._commit
    monkeypatch.setattr(house.acceptor, "_commit", lambda group: (go_on.wait(60), commit(group))[1])
    port = house.open()
    with Client(port) as client:
        begin(client)
        client.socket.sendall(MAIL + b".\r\n")
        door = next(iter(house.doors.shared.sessions))
        house.until(lambda: door.keeping)
        with socket.create_connection(("127.0.0.1", port), 30) as sock:
            assert heard(sock).endswith(str(session.BUSY).encode() + b"\r\n")
        go_on.set()
        assert client.answer() == "250 2.0.0 kept"


def test_P07_one_peer_too_many_does_not_cost_another_its_session(house, monkeypatch):
    full(monkeypatch, per_peer=2)
    port = house.open()
    with socket.socket() as other:
        other.bind(("127.0.0.2", 0))
        other.connect(("127.0.0.1", port))
        assert other.recv(100).startswith(b"220")
        with Client(port) as first, Client(port), Client(port):
            assert first.rest() == [str(session.BUSY)]
            other.sendall(b"EHLO x\r\n")
            assert other.recv(1_000).startswith(b"250")


def test_P07_idle_sessions_of_many_peers_make_room_for_one_that_speaks(house, monkeypatch):
    full(monkeypatch, per_peer=200, most=20)
    port = house.open()
    idle = []
    for n in range(60):
        sock = socket.socket()
        sock.settimeout(30)
        sock.bind((f"127.0.1.{n + 1}", 0))
        sock.connect(("127.0.0.1", port))
        idle.append(sock)
    with Client(port) as client:
        assert client.send("a@example.com", [TO], MAIL) == ["250 2.0.0 kept"]
    house.until(lambda: len(house.doors.shared.sessions) <= 20)
    for sock in idle:
        sock.close()
    house.until(lambda: not house.doors.shared.sessions)
    assert house.doors.shared.peers == {}


@pytest.mark.parametrize(
    ("peer", "group"),
    [("192.0.2.1", "192.0.2.1"), ("2001:db8::1", "2001:db8::/64"), ("2001:db8::ffff:1", "2001:db8::/64"),
     ("::ffff:192.0.2.1", "192.0.2.1"), ("unix", "unix"), ("fe80::1%eth0", "fe80::/64")],
)  # fmt: skip
def test_P07_one_peer_is_an_ipv4_address_or_a_64_of_ipv6(peer, group):
    assert crowd.group_of(peer) == group


# -- P08: nothing grows with what a stranger sends


@pytest.mark.parametrize("octets", [2_049, 20_000, 200_000])
def test_P08_a_long_command_is_500_and_the_session_goes_on(smtp, octets):
    assert smtp.say("NOOP " + "x" * octets).startswith("500 5.5.6")
    assert smtp.say("NOOP").startswith("250")


def test_P08_a_line_without_end_is_hung_up_on(house):
    with met(house.open()) as sock:
        try:
            for _ in range(40):
                sock.sendall(b"N" * 65_536)
        except ConnectionError:
            pass
        assert heard(sock)[:3] in {b"554", b""}
    house.until(lambda: not house.doors.shared.sessions)


def test_P08_memory_stays_the_same_whatever_is_sent(house):
    """Sessions that each send a lot: what is held afterwards, and at most, is a few hundred KiB."""
    port = house.open()
    octets = [
        b"N" * 900_000 + b"\r\n",
        b"NOOP " + b"x" * 600_000 + b"\r\n",
        b"\r\n" * 200_000,
        b"RCPT TO:<a@b.c>\r\n" * 20_000,
    ]
    told(port, b"NOOP\r\n")
    tracemalloc.start()
    try:
        for each in octets * 3:
            told(port, each)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * KIB * KIB


def test_P08_a_hundred_recipients_and_then_452_until_it_is_enough(house):
    with Client(house.open()) as client:
        client.say("MAIL FROM:<a@example.com>")
        answers = [client.say(f"RCPT TO:<{TO}>")[:3] for _ in range(arrive.RECIPIENTS_MAX + 500)]
        assert answers == ["250"] * arrive.RECIPIENTS_MAX + ["452"] * 500
        client.say("DATA")
        client.socket.sendall(MAIL + b".\r\n")
        assert client.answer() == "250 2.0.0 kept"
        client.say("MAIL FROM:<a@example.com>")
        client.socket.sendall(f"RCPT TO:<{TO}>\r\n".encode() * 2_000)
        answers = [line[:3] for line in client.rest()]
    assert answers.count("452") <= 1_000
    house.until(lambda: not house.doors.shared.sessions)
    assert [recipients for _, recipients, _ in house.kept()] == [[TO]]


@pytest.mark.parametrize("size", ["0", "1", "00000000000001", "99999", "-1", "x", "9" * 30, "", "1 SIZE=2"])
def test_P08_a_size_that_lies_changes_nothing_but_the_answer(house, size):
    with Client(house.open(max_size=100_000)) as client:
        answer = client.say(f"MAIL FROM:<a@example.com> SIZE={size}")
        assert answer[:3] in {"250", "501", "552", "555"}
        if answer.startswith("250"):
            client.say(f"RCPT TO:<{TO}>")
            client.say("DATA")
            client.socket.sendall(b"x" * 100_001 + b"\r\n.\r\n")
            assert client.answer() == str(arrive.accept.TOO_LARGE)
        assert client.say("NOOP").startswith("250")
    assert house.kept() == []
    assert house.doors.shared.in_flight == 0


def test_P08_chunks_nobody_was_offered_are_hung_up_on(house):
    chunk = f"MAIL FROM:<evil@example.com>\r\nRCPT TO:<{TO}>\r\nDATA\r\nevil\r\n.\r\n".encode()
    answered = told(house.open(), b"EHLO x\r\nMAIL FROM:<a@example.com>\r\nBDAT %d LAST\r\n" % len(chunk) + chunk)
    assert b"CHUNKING" not in answered
    assert answered.endswith(b"554 5.5.1 " + session.FOREIGN.text.encode() + b"\r\n") or b"554" not in answered
    house.until(lambda: not house.doors.shared.sessions)
    assert house.kept() == []


@pytest.mark.parametrize(
    "verb", ["VRFY x", "EXPN x", "ETRN x", "AUTH PLAIN AAAA", "HELP", "TURN", "SAML FROM:<a@b.c>", "BDAT 0"]
)
def test_P08_a_flood_of_a_word_is_bounded_and_harms_nobody_else(house, verb):
    port = house.open()
    answered = told(port, (verb + "\r\n").encode() * 20_000).split(b"\r\n")
    assert len(answered) <= 3 * session.JUNK_MAX
    with Client(port) as client:
        assert client.send("a@example.com", [TO], MAIL) == ["250 2.0.0 kept"]
    house.until(lambda: not house.doors.shared.sessions)


def test_P08_vrfy_repeats_nothing_of_what_was_asked(smtp):
    assert smtp.say("VRFY <secret-word") == smtp.say("VRFY x@sales.example.com")


@pytest.mark.parametrize("line", [b"NOOP\n", b"EHLO x\n", b"MAIL FROM:<a@example.com>\n", b"NOOP\r\r\n"])
def test_P08_commands_end_with_crlf_and_with_nothing_else(house, line):
    answered = told(house.open(), b"EHLO x\r\n" + line + b"QUIT\r\n")
    assert b"500 5.5.2" in answered or answered == b"" or line.endswith(b"\r\r\n")
    assert b"2.1.0" not in answered
