"""Whole nodes over mailboxes: two that share an account, many accounts, and the chain from a border MTA to a client."""

import smtplib
from email import message_from_bytes, policy

import pytest

from tests.kit import dovecot as dovecot_kit
from tests.kit import postfix as postfix_kit
from tests.kit.client import Client
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
        until(lambda: len(office.mails("chia", f"Replygate/Quotations/{ref}")) == MAILS + 1, "her folder")
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
        places = ("archive", f"Quotations/{ref}"), ("chia", f"Replygate/Quotations/{ref}")

        def starves():
            return "QueuePool" in office.node.stderr.read_text("utf-8")

        until(lambda: starves() or all(office.mails(*place) for place in places), "the folders")
        known = 2 * (len(PEOPLE) + 1) + 1  # filed into and watched, the archive too; and the catch-all
        until(lambda: starves() or len(office.node.json("status")["mailboxes"]) == known, "every account")
        assert not starves()


def test_a_mail_goes_through_postfix_and_dovecot_and_comes_back_into_peoples_mailboxes(tmp_path, server):
    postfix_kit.need()
    to_dovecot = f"lmtp:inet:127.0.0.1:{server.lmtp_port}"
    with Postfix(tmp_path / "postfix", {D: to_dovecot, "example.com": to_dovecot}) as postfix:
        office = Office(tmp_path / "office", server)
        file = office.node.site / "gateway.yaml"
        text = file.read_text("utf-8").replace("url: maildir:var/mail", f"url: smtp://127.0.0.1:{postfix.port}")
        file.write_text(text, "utf-8")

        def answers(who, words, heard):
            """Let somebody answer the last mail in their inbox, the way it came."""
            read = message_from_bytes(heard[-1], policy=policy.default)
            head = f"In-Reply-To: {read['Message-ID']}\r\n"
            said = mail(f"{who}@example.com", read["Reply-To"], words, number=who, head=head)
            with smtplib.SMTP("127.0.0.1", postfix.port) as smtp:
                smtp.sendmail(f"{who}@example.com", [str(read["Reply-To"])], said)
            return read

        with office.node:
            ref = office.quotation()
            answers("chia", "二十張椅子", until(lambda: server.mails("chia"), "the first notification"))
            read = answers("b", "好的", until(lambda: server.mails("b"), "the second"))
            assert f"[{ref}]" in read["Subject"]
            assert "二十張椅子" in read.get_body().get_content()
            until(lambda: [each[2] for each in office.thread(ref)[1:]] == ["二十張椅子", "好的"], "the thread")
            until(lambda: len(office.mails("archive", f"Quotations/{ref}")) == 3, "the archive")
            until(lambda: not server.mails("gateway"), "an empty catch-all")
            with office.client("chia") as client:
                until(lambda: len(office.mails("chia", f"Replygate/Quotations/{ref}")) == 3, "her folder")
                client.select_folder(f"Replygate/Quotations/{ref}")
                assert len(client.search("SEEN")) == 1
        postfix.quiet()


def test_what_the_border_found_of_an_author_counts_in_a_catch_all_too(tmp_path, server):
    office = Office(tmp_path / "office", server)
    trusting(office)
    hop = (
        "Received: from b.example.com (b.example.com [192.0.2.1])\r\n\tby mx.example.com (Postfix) with ESMTP id 1\r\n"
    )
    with office.node:
        ref = office.quotation()
        said = hop.encode() + VOUCHED.encode() + mail("b@example.com", f"{ref}@{D}", "二十張椅子")
        with Client(server.lmtp_port, lmtp=True) as client:
            client.send("b@example.com", [f"{ref}@{D}"], said)
        until(lambda: office.node.json("held", "list") or len(office.thread(ref)) == 2, "an outcome")
        assert [each[2] for each in office.thread(ref)[1:]] == ["二十張椅子"]
