"""Whole nodes over mailboxes: two that share an account, many accounts, and the chain from a border MTA to a client."""

import smtplib
from email import message_from_bytes, policy

import pytest

from tests.kit import dovecot as dovecot_kit
from tests.kit import postfix as postfix_kit
from tests.kit.dovecot import Dovecot
from tests.kit.house import D
from tests.kit.mailbox_campaign import VOUCHED
from tests.kit.node import Node
from tests.kit.postfix import Postfix
from tests.test_mailboxes import Office, mail, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
PEOPLE = ("a", "b", "c", "d", "chia", "cheng")
MAILS = 40


@pytest.fixture
def server(tmp_path):
    dovecot_kit.need()
    users = {name: f"pw-{name}" for name in ("gateway", "archive", *PEOPLE)}
    with Dovecot(tmp_path / "dovecot", users, catch_all=(D, "gateway")) as running:
        yield running


def trusting(office):
    """Let a site believe what its own border wrote of who sent a mail."""
    file = office.node.site / "gateway.yaml"
    file.write_text(file.read_text("utf-8") + "authentication: {mode: trust, authserv_id: mx.example.com}\n", "utf-8")


def test_P11_two_nodes_share_an_account_and_every_mail_arrives_once(tmp_path, server, postgresql_url):  # noqa: N802
    office = Office(tmp_path / "office", server, url=postgresql_url)
    trusting(office)
    office.node.replygate("migrate")
    rules = office.node.site / "rules.yaml"
    rules.write_text(rules.read_text("utf-8").replace("loop: {messages: 20,", "loop: {messages: 10000,"), "utf-8")
    other = Node(office.node.site)
    with office.node, other:
        ref = office.quotation()
        with server.client("gateway") as client:
            for n in range(MAILS):
                head = f"Delivered-To: {ref}@{D}\r\n{VOUCHED}"
                text = mail("b@example.com", f"{ref}@{D}", f"answer number {n}", number=f"m{n}", head="")
                client.append("INBOX", head.encode() + text)
                if n == MAILS // 2:
                    office.node.kill()
        until(lambda: not server.mails("gateway"), "an empty inbox")
        until(lambda: len(office.thread(ref)) == MAILS + 1, "the thread")
        until(lambda: len(office.mails("archive", f"Quotations/{ref}")) == MAILS + 1, "the archive")
    texts = [text for _, _, text in office.thread(ref)[1:]]
    assert sorted(texts) == sorted(f"answer number {n}" for n in range(MAILS))
    assert len(server.mails("gateway", "Processed")) == MAILS
    assert len(office.mails("archive", f"Quotations/{ref}")) == MAILS + 1
    assert len(office.mails("chia", f"Replygate/Quotations/{ref}")) == MAILS + 1


def test_a_node_on_postgresql_attends_to_many_accounts(tmp_path, server, postgresql_url):
    office = Office(tmp_path / "office", server, url=postgresql_url, people=PEOPLE)
    office.node.replygate("migrate")
    with office.node:
        ref = office.quotation()
        until(lambda: office.mails("archive", f"Quotations/{ref}"), "the archive")
        until(lambda: office.mails("chia", f"Replygate/Quotations/{ref}"), "the assistant's folder")


def test_a_mail_goes_through_postfix_and_dovecot_and_comes_back_into_peoples_mailboxes(tmp_path, server):
    postfix_kit.need()
    to_dovecot = f"lmtp:inet:127.0.0.1:{server.lmtp_port}"
    with Postfix(tmp_path / "postfix", {D: to_dovecot, "example.com": to_dovecot}) as postfix:
        office = Office(tmp_path / "office", server)
        trusting(office)
        file = office.node.site / "gateway.yaml"
        text = file.read_text("utf-8").replace("url: maildir:var/mail", f"url: smtp://127.0.0.1:{postfix.port}")
        file.write_text(text, "utf-8")
        with office.node:
            ref = office.quotation()
            until(lambda: server.mails("chia"), "the first notification")
            with smtplib.SMTP("127.0.0.1", postfix.port) as smtp:
                smtp.sendmail(
                    "b@example.com",
                    [f"{ref}@{D}"],
                    VOUCHED.encode() + mail("b@example.com", f"{ref}@{D}", "二十張椅子"),
                )
            heard = until(lambda: len(found := server.mails("chia")) == 2 and found, "the notification")
            read = message_from_bytes(heard[-1], policy=policy.default)
            assert "二十張椅子" in read.get_body().get_content()
            assert read["Subject"].startswith(f"Re: [{ref}]") or f"[{ref}]" in read["Subject"]
            # She answers from her own account, the way it came.
            answer = mail(
                "chia@example.com",
                read["Reply-To"],
                "好的",
                number="back",
                head=f"In-Reply-To: {read['Message-ID']}\r\n",
            )
            with smtplib.SMTP("127.0.0.1", postfix.port) as smtp:
                smtp.sendmail("chia@example.com", [str(read["Reply-To"])], VOUCHED.encode() + answer)
            until(lambda: [each[2] for each in office.thread(ref)[1:]] == ["二十張椅子", "好的"], "the thread")
            until(lambda: len(office.mails("archive", f"Quotations/{ref}")) == 3, "the archive")
            until(lambda: not server.mails("gateway"), "an empty catch-all")
            with office.client("chia") as client:
                until(lambda: len(office.mails("chia", f"Replygate/Quotations/{ref}")) == 3, "her folder")
                client.select_folder(f"Replygate/Quotations/{ref}")
                assert len(client.search("SEEN")) == 1
        postfix.quiet()
