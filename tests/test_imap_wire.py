"""Row P10: an IMAP server out of its mind costs an error and a bounded time, never memory, never a mail."""

import asyncio
import base64
import time
from pathlib import Path

import pytest

from gateway import imap
from gateway.imap import Broken, Refused
from tests.kit.hostile_imap import HostileImap
from tests.kit.imap_child import SECONDS, account, at_once, client, in_parts

MOST_MIB = 64
FETCHES = pytest.mark.parametrize("fetch", [at_once, in_parts])


def mail(number, octets=300):
    head = (
        f"From: a@example.com\r\nTo: s00001@sales.example.com\r\nSubject: {number}\r\nMessage-ID: <{number}@x>\r\n\r\n"
    )
    return head.encode() + (b"* 1 FETCH (UID 1 {5}\r\n)\r\nA1 OK no\r\n" * (octets // 34 + 1))[:octets]


MAILS = [mail(1), mail(2, 200_000), mail(3, 900_000)]
LARGE = [*MAILS, mail(4, 3_000_000)]  # the last is never asked for at once
# What an error says. Of stray data a line is no answer, so nothing that comes with it is believed.
BREAKS = {
    "endless literal": "announces 4000000000 octets",
    "negative literal": "announces -1 octets",
    "stray data": "no answer",
    "silence": "",
    "cut mid-literal": "the connection is lost",
}


@FETCHES
@pytest.mark.parametrize("mode", BREAKS)
def test_P10_what_cannot_be_trusted_is_an_error_and_the_next_connection_works(tmp_path, mode, fetch):  # noqa: N802
    mails = LARGE if fetch is in_parts else MAILS
    with HostileImap(mails, mode, times=1) as server:
        found = client(server.port, tmp_path, fetch)
    assert found.ended.startswith("Broken: ")
    assert BREAKS[mode] in found.ended
    assert found.mails == []
    assert found.after == mails
    assert found.mib < MOST_MIB
    assert found.seconds < SECONDS + 10


@FETCHES
@pytest.mark.parametrize("mode", ["", "thousands of lines in one read", "wrong UIDVALIDITY", "says a mail twice"])
def test_P10_what_is_only_strange_brings_the_right_mails(tmp_path, mode, fetch):  # noqa: N802
    mails = LARGE if fetch is in_parts else MAILS
    with HostileImap(mails, mode, times=2) as server:
        found = client(server.port, tmp_path, fetch)
    assert found.ended == ""
    assert found.mails == found.after == mails
    assert found.mib < MOST_MIB


def test_P10_many_short_lines_cost_no_more_than_their_octets(tmp_path):  # noqa: N802
    with HostileImap(MAILS, "millions of short lines", times=1) as server:
        found = client(server.port, tmp_path, at_once, 60.0)
    assert found.after == MAILS
    assert found.mib < MOST_MIB


@pytest.mark.parametrize(
    ("mode", "fetch"),
    [
        ("flags before it", at_once),
        pytest.param("flags after it", at_once),
        pytest.param("flags before it", in_parts),
        ("flags after it", in_parts),
    ],
)
def test_P10_a_mail_that_is_marked_meanwhile_keeps_its_octets(tmp_path, mode, fetch):  # noqa: N802
    with HostileImap(MAILS, mode) as server:
        found = client(server.port, tmp_path, fetch)
    assert found.ended == ""
    assert found.mails == MAILS


def test_P10_a_refusal_is_one_and_the_connection_goes_on(tmp_path):  # noqa: N802
    async def ask(port):
        box = await imap.connect(account(port, tmp_path))
        await box.select("INBOX")
        for what in (box.select("nowhere"), box.move([1], "nowhere"), box.append("nowhere", MAILS[0], "x", 0)):
            with pytest.raises(Refused):
                await what
        found = await box.listed([1], "UID")
        await box.close()
        return found

    with HostileImap(MAILS) as server:
        assert asyncio.run(ask(server.port))[0].uid == 1


@pytest.mark.parametrize(
    "greeting",
    [
        b"* BYE busy\r\n",
        b"220 mx ESMTP\r\n",
        b"* " + b"x" * 300_000,
        b"HTTP/1.1 400 Bad\r\n\r\n",
        b"",
        b"* OK {99999999}\r\n",
    ],
    ids=["BYE", "SMTP", "a line without end", "HTTP", "nothing", "a literal"],
)
def test_P10_what_is_no_server_is_an_error(tmp_path, greeting, monkeypatch):  # noqa: N802
    monkeypatch.setattr(imap, "CONNECT_S", 1.0)

    async def greet(_, writer):
        writer.write(greeting)
        try:
            await asyncio.sleep(0 if greeting else 30)
        finally:
            writer.transport.abort()

    async def ask():
        async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
            with pytest.raises(Broken):
                await imap.connect(account(server.sockets[0].getsockname()[1], tmp_path))
            left = asyncio.all_tasks() - {asyncio.current_task()}
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    asyncio.run(ask())


def test_P10_a_password_that_cannot_be_read_and_one_that_is_refused_are_errors(tmp_path, dovecot):  # noqa: N802
    async def ask(asked):
        with pytest.raises(Broken, match=r"password|login"):
            await imap.connect(asked)

    wrong = account(dovecot.port, tmp_path)
    asyncio.run(ask(wrong))
    asyncio.run(ask(imap.Account("127.0.0.1", dovecot.port, "x", tls=False, password_file=tmp_path / "nowhere")))
    asyncio.run(ask(imap.Account("127.0.0.1", dovecot.port, "x", tls=False, token_command="exit 3")))


@pytest.mark.parametrize("printed", ["", "錯誤", "\\377\\376"])
def test_a_command_that_prints_no_token_is_an_error(dovecot, printed):
    account = imap.Account("127.0.0.1", dovecot.port, "x", tls=False, token_command=f"printf '{printed}'")
    with pytest.raises(Broken, match="printed no token"):
        asyncio.run(imap.connect(account))


def test_a_command_for_a_token_that_hangs_is_ended_with_all_it_started(tmp_path, monkeypatch):
    monkeypatch.setattr(imap, "_TOKEN_S", 0.5)
    started = tmp_path / "started"
    account = imap.Account("127.0.0.1", 9, "x", tls=False, token_command=f"sleep 600 & echo $! > {started}; wait")
    with pytest.raises(imap.Broken, match="takes longer"):
        asyncio.run(imap.connect(account))
    until = time.monotonic() + 10
    while Path(f"/proc/{started.read_text().strip()}/cmdline").exists() and time.monotonic() < until:
        time.sleep(0.02)  # polls: whose child it was has gone, and somebody else must take note of its end
    assert not Path(f"/proc/{started.read_text().strip()}/cmdline").exists()


def test_a_token_is_what_its_command_prints_and_is_shown_as_xoauth2_says():
    """As Gmail and Microsoft 365 have it: user, and the token as a bearer's, in base64."""

    async def log_in(port):
        box = await imap.connect(
            imap.Account("127.0.0.1", port, "gw@example.com", tls=False, token_command="echo ya29.token")
        )
        await box.folders()
        await box.close()

    with HostileImap([]) as server:
        asyncio.run(log_in(server.port))
        mechanism, proof = server.proofs[0].split()
    assert mechanism == "XOAUTH2"
    assert base64.b64decode(proof) == b"user=gw@example.com\1auth=Bearer ya29.token\1\1"
