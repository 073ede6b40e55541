"""DATA: what is kept is what was sent, and nothing but CRLF.CRLF ends it."""

import asyncio
import contextlib
import itertools
import socket

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gateway.arrive import smtp as arrive
from gateway.store import content as store_content
from gateway.store.tables import arrival
from tests.kit.client import Client

TO = "s00001@sales.example.com"
HARD = st.sampled_from(
    [b"\r\n", b".", b"..", b"\r", b"\n", b"\r\n.", b"\r\n..", b"\r\n.\n", b"\n.\r\n", b"\0", b"\xff"]
)
OCTETS = st.lists(HARD | st.binary(max_size=40), max_size=30).map(b"".join)
CUTS = st.lists(st.integers(0, 4_000), max_size=40)


def wire(mail: bytes) -> bytes:
    """Return a mail whose octets end with CRLF as DATA carries it."""
    return (b"\r\n" + mail).replace(b"\r\n.", b"\r\n..")[2:] + b".\r\n"


def pieces(octets: bytes, cuts: list[int]) -> list[bytes]:
    at = sorted({0, len(octets), *(cut % (len(octets) + 1) for cut in cuts)})
    return [octets[a:b] for a, b in itertools.pairwise(at)]


def last_kept(house) -> bytes:
    with house.store.read() as tx:
        digest = tx.execute(sa.select(arrival.c.content).order_by(arrival.c.id.desc()).limit(1)).scalar_one()
        return store_content.load(tx, digest)


class FakeTransport(asyncio.Transport):
    """A transport whose reads are cut where a test says."""

    def __init__(self):
        super().__init__({"peername": ("192.0.2.1", 1)})
        self.said = b""
        self.closing = False

    def write(self, data):
        self.said += data

    def is_closing(self):
        return self.closing

    def close(self):
        self.closing = True

    def pause_reading(self):
        pass

    def resume_reading(self):
        pass


async def converse(house, chunks, limit):
    """Feed a session its DATA in exactly these chunks; return its answers."""
    loop = asyncio.get_running_loop()
    door = arrive.Door(house.doors.shared, arrive.Settings("smtp", 1_000_000), loop)
    transport = FakeTransport()
    door.connection_made(transport)
    await said(transport, b"220")
    door.data_received(b"EHLO x\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<" + TO.encode() + b">\r\nDATA\r\n")
    await said(transport, b"354")
    door._reader._limit = limit
    for chunk in chunks:
        door.data_received(chunk)
        await asyncio.sleep(0)
    await said(transport, b"250 2.0.0")
    door.connection_lost(None)
    await asyncio.gather(door._handler_coroutine, return_exceptions=True)
    return transport.said


async def said(transport, what):
    async with asyncio.timeout(60):
        while what not in transport.said:  # noqa: ASYNC110
            await asyncio.sleep(0)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(OCTETS, CUTS, st.sampled_from([8, 13, 64, 65536]))
@example(b"", [], 8)
@example(b".", [], 8)
@example(b"..\r\n.\r\n...", list(range(40)), 8)
@example(b"x" * 200 + b"\r\n." * 50, list(range(400)), 16)
def test_any_octets_in_any_chunks_are_kept_exactly(shared_house, octets, cuts, limit):
    mail = octets + b"\r\n"
    shared_house.run(converse(shared_house, pieces(wire(mail), cuts), limit))
    assert last_kept(shared_house) == mail


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(OCTETS, st.sampled_from([8, 9, 10, 11, 12, 65536]))
def test_one_octet_at_a_time_is_kept_exactly(shared_house, octets, limit):
    mail = octets + b"\r\n"
    shared_house.run(converse(shared_house, [bytes([octet]) for octet in wire(mail)], limit))
    assert last_kept(shared_house) == mail


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(OCTETS, min_size=1, max_size=4), st.integers(65_000, 66_000), st.integers(1, 4))
def test_mails_beyond_64_kib_are_kept_exactly(shared_house, shared_port, parts, filler, times):
    mail = b"".join(part + b"\r\n" + b"." * filler + b"\r\n." for part in parts) * times + b"\r\n"
    with Client(shared_port) as client:
        send_exactly(client, mail)
    assert last_kept(shared_house) == mail


def send_exactly(client, mail):
    client.say("MAIL FROM:<a@example.com>")
    client.say(f"RCPT TO:<{TO}>")
    assert client.say("DATA").startswith("354")
    client.socket.sendall(wire(mail))
    assert client.answer() == "250 2.0.0 kept"


@pytest.mark.parametrize("shift", range(-8, 9))
def test_a_stuffed_dot_at_the_edge_of_the_buffer_is_unstuffed(shared_house, shift):
    mail = b"y" * (arrive.READ_LIMIT + shift) + b"\r\n..\r\n.\r\n" + b"z" * arrive.READ_LIMIT + b"\r\n.\r\n"
    shared_house.run(converse(shared_house, [wire(mail)], arrive.READ_LIMIT))
    assert last_kept(shared_house) == mail


def test_a_large_mail_stands_in_the_spool_while_it_arrives(house, smtp):
    smtp.say("MAIL FROM:<a@example.com>")
    smtp.say(f"RCPT TO:<{TO}>")
    smtp.say("DATA")
    smtp.socket.sendall(b"x" * 70 + b"\r\n" + (b"y" * 98 + b"\r\n") * 3_000)
    house.until(
        lambda: any(door.receiving for door in house.doors.shared.sessions) and house.doors.shared.in_flight > 200_000
    )
    smtp.socket.sendall(b".\r\n")
    assert smtp.answer() == "250 2.0.0 kept"
    assert len(last_kept(house)) == 300_072
    assert list(house.acceptor.spool.iterdir()) == []


def test_octets_in_flight_are_counted_back(house, smtp):
    send_exactly(smtp, b"x" * 300_000 + b"\r\n")
    assert house.doors.shared.in_flight == 0


SMUGGLING = [
    b"\n.\n", b"\n.\r\n", b"\r.\r", b"\r.\r\n", b"\r\n.\r", b"\r\n.\n", b"\r\n\0.\r\n", b"\r.\n", b"\n.\r",
]  # fmt: skip


@pytest.mark.parametrize("name", ["smtp", "lmtp"])
@pytest.mark.parametrize("end", SMUGGLING, ids=repr)
def test_only_crlf_dot_crlf_ends_data(house, name, end):
    smuggled = b"MAIL FROM:<evil@example.com>\r\nRCPT TO:<" + TO.encode() + b">\r\nDATA\r\nevil"
    with Client(house.open(name), lmtp=name == "lmtp") as client:
        client.say("MAIL FROM:<good@example.com>")
        client.say(f"RCPT TO:<{TO}>")
        client.say("DATA")
        client.socket.sendall(b"Subject: one\r\n\r\ntext" + end + smuggled + b"\r\n.\r\n")
        assert client.answer() == "250 2.0.0 kept"
        assert client.say("NOOP").startswith("250")
    kept = house.kept()
    assert [path for path, _, _ in kept] == ["good@example.com"]
    assert kept[0][2] == b"Subject: one\r\n\r\ntext" + end + smuggled + b"\r\n"


def test_a_mail_too_large_in_data_is_552_and_nothing_is_kept(house):
    with Client(house.open(max_size=10_000)) as client:
        assert client.send("a@example.com", [TO], b"x" * 10_001) == [str(arrive.accept.TOO_LARGE)]
        assert client.say("NOOP").startswith("250")
    assert house.kept() == []
    assert list(house.acceptor.spool.iterdir()) == []


def test_a_mail_of_exactly_the_limit_is_taken(house):
    with Client(house.open(max_size=10_000)) as client:
        send_exactly(client, b"x" * 9_998 + b"\r\n")
    assert len(last_kept(house)) == 10_000


def test_stuffed_dots_do_not_count_as_size(house):
    mail = b".\r\n" * 3_333
    with Client(house.open(max_size=10_000)) as client:
        send_exactly(client, mail)
    assert last_kept(house) == mail


def test_a_mail_far_beyond_the_limit_is_cut_off(house, everything):
    with Client(house.open(max_size=10_000)) as client:
        client.say("MAIL FROM:<a@example.com>")
        client.say(f"RCPT TO:<{TO}>")
        client.say("DATA")
        with contextlib.suppress(ConnectionError):
            client.socket.sendall(b"x" * 1_000_000)
        answered = everything(client.socket)
        assert answered.startswith(b"552 5.3.4") or answered == b""  # a reset may overtake the answer
    house.until(lambda: not house.doors.shared.sessions)
    assert house.kept() == []
    assert house.doors.shared.in_flight == 0


def test_a_mail_to_two_of_the_same_address_is_kept_once_for_it(house, smtp):
    smtp.send("a@example.com", [TO, TO], b"x")
    assert [recipients for _, recipients, _ in house.kept()] == [[TO]]


def test_a_half_sent_mail_is_not_kept(house, everything):
    with Client(house.open()) as client:
        client.say("MAIL FROM:<a@example.com>")
        client.say(f"RCPT TO:<{TO}>")
        client.say("DATA")
        client.socket.sendall(b"Subject: half\r\n\r\nhalf\r\n")
        client.socket.shutdown(socket.SHUT_WR)
        assert b"250" not in everything(client.socket)
    house.until(lambda: not house.doors.shared.sessions)
    assert house.kept() == []
