"""The kit of mailboxes: a real Dovecot does what mailboxes do."""

import imaplib
import smtplib

import imapclient
import pytest

from tests.kit import dovecot as dovecot_kit
from tests.kit import postfix as postfix_kit
from tests.kit.dovecot import Dovecot
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
