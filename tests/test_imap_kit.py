"""The kit of mailboxes: a real Dovecot, a Postfix before it, and a fake that misbehaves when told to."""

import imaplib
import smtplib
import socket

import imapclient
import pytest

from tests.kit import dovecot as dovecot_kit
from tests.kit import postfix as postfix_kit
from tests.kit.dovecot import Dovecot
from tests.kit.hostile_imap import HostileImap
from tests.kit.postfix import Postfix

MAIL = b"From: chia@example.com\r\nTo: q-1@sales.example.com\r\nSubject: kit\r\nMessage-ID: <1@kit>\r\n\r\nHello.\r\n"


def test_a_mailbox_takes_keeps_and_moves_a_mail(dovecot):
    with dovecot.client("chia") as client:
        assert {b"IDLE", b"MOVE", b"UIDPLUS", b"LIST-STATUS", b"CONDSTORE", b"QUOTA"} <= set(client.capabilities())
        client.create_folder("Quotations/Q-1.2")
        client.append("INBOX", MAIL)
        client.select_folder("INBOX")
        client.move(client.search(), "Quotations/Q-1.2")
        assert client.search() == []
    assert dovecot.mails("chia", "Quotations/Q-1.2") == [MAIL]


def test_idle_says_that_a_mail_came(dovecot):
    with dovecot.client("archive") as client:
        client.select_folder("INBOX")
        client.idle()
        with dovecot.client("archive") as other:
            other.append("INBOX", MAIL)
        assert (1, b"EXISTS") in client.idle_check(timeout=30)
        client.idle_done()


def test_a_full_mailbox_refuses_by_imap_and_by_lmtp_until_it_may_hold_more(tmp_path):
    dovecot_kit.need()
    with Dovecot(tmp_path, {"tiny": "pw"}, quota={"tiny": 4000}) as server:
        with server.client("tiny") as client, pytest.raises(imaplib.IMAP4.error, match="OVERQUOTA"):
            client.append("INBOX", MAIL + b"x" * 5000)
        with smtplib.LMTP("127.0.0.1", server.lmtp_port) as lmtp, pytest.raises(smtplib.SMTPDataError) as refused:
            lmtp.sendmail("chia@example.com", ["tiny@example.com"], MAIL + b"x" * 5000)
        assert refused.value.smtp_code == 552
        server.set_quota("tiny", None)
        with server.client("tiny") as client:
            client.append("INBOX", MAIL + b"x" * 5000)


def test_a_domain_has_one_mailbox_and_it_shows_what_was_addressed(dovecot):
    with smtplib.LMTP("127.0.0.1", dovecot.lmtp_port) as lmtp:
        lmtp.sendmail("chia@example.com", ["Q-1+note@sales.example.com"], MAIL)
        lmtp.mail("chia@example.com")
        assert lmtp.rcpt("nobody@example.com")[0] == 550
    assert b"Delivered-To: Q-1+note@sales.example.com\r\n" in dovecot.mails("gateway")[-1]


def test_tls_has_a_certificate_of_its_authority(tmp_path):
    dovecot_kit.need()
    with Dovecot(tmp_path, {"chia": "pw"}, tls=True) as server, server.client("chia", tls=True) as client:
        assert client.noop()


def test_it_comes_back_with_its_mail_at_the_same_port(tmp_path):
    dovecot_kit.need()
    with Dovecot(tmp_path, {"chia": "pw"}, format="maildir") as server, server.client("chia") as client:
        client.append("INBOX", MAIL)
        for end in (server.stop, server.kill):
            end()
            with pytest.raises(OSError, match="refused"):
                imapclient.IMAPClient("127.0.0.1", server.port, ssl=False, timeout=5)
            server.start()
            assert server.mails("chia") == [MAIL]
        with pytest.raises(client.AbortError):
            client.noop()
        client.shutdown()


# ---- Postfix


@pytest.fixture
def postfix(dovecot, tmp_path):
    postfix_kit.need()
    to_dovecot = f"lmtp:inet:127.0.0.1:{dovecot.lmtp_port}"
    with Postfix(tmp_path, {"sales.example.com": to_dovecot, "example.com": to_dovecot}) as server:
        yield server


def test_postfix_hands_its_domains_on_and_nothing_else(postfix, dovecot):
    with smtplib.SMTP("127.0.0.1", postfix.port) as smtp:
        refused = smtp.sendmail(
            "li@client.example", ["Q-1+a@sales.example.com", "chia@example.com", "x@elsewhere.example"], MAIL
        )
    assert {address: code for address, (code, _) in refused.items()} == {"x@elsewhere.example": 554}
    postfix.quiet()
    assert b"Delivered-To: Q-1+a@sales.example.com\r\n" in dovecot.mails("gateway")[0]
    assert b"Delivered-To: chia@example.com\r\n" in dovecot.mails("chia")[0]


def test_postfix_keeps_a_mail_until_the_next_hop_is_back(postfix, dovecot):
    dovecot.kill()
    with smtplib.SMTP("127.0.0.1", postfix.port) as smtp:
        smtp.sendmail("li@client.example", ["q-1@sales.example.com"], MAIL)
    assert [each["sender"] for each in postfix.queue()] == ["li@client.example"]
    postfix.stop()
    postfix.start()
    dovecot.start()
    postfix.flush()
    postfix.quiet()
    assert len(dovecot.mails("gateway")) == 1


# ---- the fake


def connected(server):
    client = imapclient.IMAPClient("127.0.0.1", server.port, ssl=False, timeout=10)
    client.login("gateway", 'p"w')
    return client


def test_the_fake_server_behaves_until_it_is_told_not_to():
    big = MAIL + b"{12}\r\n" + bytes(range(32, 256)) * 4000
    with HostileImap([MAIL, big]) as server, connected(server) as client:
        assert client.select_folder("INBOX")[b"UIDNEXT"] == 3
        assert client.search() == client.search(["HEADER", "Message-ID", "<1@kit>", "UNSEEN"]) == [1, 2]
        assert client.fetch([2], ["RFC822.SIZE", "FLAGS", "INTERNALDATE"])[2][b"RFC822.SIZE"] == len(big)
        assert client.fetch([1, 2], ["BODY.PEEK[]<1000.50>", "UID"])[2][b"BODY[]<1000>"] == big[1000:1050]
        assert client.fetch([2], ["BODY.PEEK[]"])[2][b"BODY[]"] == big
        client.create_folder("Done/Q-1")
        client.add_flags([1], [b"\\Seen", b"\\Flagged"])
        client.copy([1], "Done/Q-1")
        client.move([1], "Done/Q-1")
        assert client.search("UNSEEN") == client.search() == [2]
        assert [name for _, _, name in client.list_folders()] == ["Done/Q-1", "INBOX"]
        assert client.folder_status("Done/Q-1", ["MESSAGES", "UIDNEXT"]) == {b"MESSAGES": 2, b"UIDNEXT": 3}
        assert client._raw_command_untagged(b"LIST", [b'""', b"INBOX RETURN (STATUS (MESSAGES))"], uid=False)
        assert b"[APPENDUID 1700000001 3]" in client.append("Done/Q-1", big, [b"\\Seen"])
        client.delete_messages([2])
        client.expunge([2])
        assert server.mails() == []
        assert server.mails("Done/Q-1") == [MAIL, MAIL, big]
        assert server.connections == 1
        assert server.octets_sent > len(big)


def test_the_fake_server_tells_who_idles_of_a_mail():
    with HostileImap() as server, connected(server) as client:
        client.select_folder("INBOX")
        client.idle()
        server.deliver(MAIL)
        assert client.idle_check(timeout=30) == [(1, b"EXISTS")]
        client.idle_done()
        assert client.search() == [1]


def sent(server, mode):
    """Return what it sends over a bare socket when mail 1 is fetched, until it says OK, ends, or has said much."""
    server.mode = mode
    with socket.create_connection(("127.0.0.1", server.port), 10) as to, to.makefile("rb") as said:
        to.settimeout(0.5 if mode == "silence" else 10)
        to.sendall(b"a LOGIN x y\r\nb SELECT INBOX\r\n")
        while not said.readline().startswith(b"b OK"):
            pass
        to.sendall(b"c UID FETCH 1 (UID BODY.PEEK[]<0.1000>)\r\n")
        heard = b""
        while len(heard) < 3_000_000 and not heard.endswith(b"c OK done\r\n") and (line := said.readline()):
            heard += line
        return heard


def test_the_fake_server_misbehaves_in_every_way_and_goes_on():
    body = b"* 1 FETCH (UID 1 BODY[]<0> {%d}\r\n%s)\r\n" % (len(MAIL), MAIL)
    with HostileImap([MAIL]) as server:
        assert sent(server, "") == body + b"c OK done\r\n"
        assert b"{4000000000}\r\nxxx" in sent(server, "endless literal")
        assert b"{-1}\r\n)\r\nc OK" in sent(server, "negative literal")
        assert body in sent(server, "stray data")
        with pytest.raises(TimeoutError):
            sent(server, "silence")
        assert body.startswith(cut := sent(server, "cut mid-literal"))
        assert len(cut) > body.index(b"From:")
        assert sent(server, "thousands of lines in one read").count(b"\r\n* OK") == 49_999
        assert sent(server, "says a mail twice").count(body) == 2
        assert server.misbehaved == 7


def test_the_fake_server_forgets_its_uids_and_stops_doing_so():
    with HostileImap([MAIL], "wrong UIDVALIDITY", times=2) as server, connected(server) as client:
        validities = [client.select_folder("INBOX")[b"UIDVALIDITY"] for _ in range(4)]
    assert len(set(validities[:2])) == 2
    assert len(set(validities[1:])) == 1
