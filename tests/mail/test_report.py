import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mail.parse import parse
from gateway.mail.report import Report, read_answer, read_report
from tests.kit.work import yards

DAEMON = b"From: Mail Delivery System <MAILER-DAEMON@mx.acme.example>\r\nSubject: failure notice\r\n"
TEXT = b"Content-Type: text/plain; charset=utf-8\r\n\r\n"


def read(content: bytes) -> Report | None:
    return read_report(parse(content), content)


def report(fields: str, words: str = "Sorry.", kind: str = "delivery-status") -> Report | None:
    """Read a report with these per-recipient fields, as it stands on the wire."""
    return read(
        b"From: MAILER-DAEMON@mx.acme.example\r\n"
        b"Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n"
        b"--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n" + words.replace("\n", "\r\n").encode() + b"\r\n"
        b"--b\r\nContent-Type: message/" + kind.encode() + b"\r\n\r\n"
        b"Reporting-MTA: dns; mx.acme.example\r\n\r\n"
        + fields.replace("\n", "\r\n").encode()
        + b"\r\n\r\n--b\r\nContent-Type: text/rfc822-headers\r\n\r\nSubject: x\r\n\r\n--b--\r\n"
    )


def prose(words: str, author: str = "MAILER-DAEMON@mx.acme.example", subject: str = "failure notice") -> Report | None:
    """Read a mail that holds only words."""
    head = f"From: {author}\nSubject: {subject}\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n\n"
    return read(f"{head}{words}\n".replace("\n", "\r\n").encode())


# ---- fields


@pytest.mark.parametrize(
    ("fields", "action", "status", "diagnostic"),
    [
        ("Action: failed\nStatus: 5.1.1", "failed", "5.1.1", ""),
        ("ACTION: Failed\nSTATUS: 5.1.1", "failed", "5.1.1", ""),
        ("Action:delayed\nStatus:4.4.1", "delayed", "4.4.1", ""),
        ("Action: delivered\nStatus: 2.0.0", "delivered", "2.0.0", ""),
        ("Action: relayed\nStatus: 2.0.0", "relayed", "2.0.0", ""),
        ("Action: expanded\nStatus: 2.0.0", "expanded", "2.0.0", ""),
        ("Action: failed\nStatus: 5.1.1 (no such user)", "failed", "5.1.1", ""),
        ("Action: failed (no such user)\nStatus: 5.1.1", "failed", "5.1.1", ""),
        ("Action: failed\nStatus: 5.7.0\nDiagnostic-Code: smtp; 550 no", "failed", "5.7.0", "550 no"),
        ("Action: failed\nStatus: 5.0.0\nDiagnostic-Code: smtp; 550 no\n such user", "failed", "5.0.0", "550 no such user"),
        ("Action: failed\nDiagnostic-Code: just text", "failed", "", "just text"),
        ("Action: failed\nStatus: 5.1.1\n\nAction: delivered\nStatus: 2.0.0", "failed", "5.1.1", ""),
        ("Action: failed\nDiagnostic-Code: smtp; 550 5.1.1 unknown", "failed", "5.1.1", "550 5.1.1 unknown"),
        ("Action: failed\n\nStatus: 5.1.1\nDiagnostic-Code: smtp; 550 no", "failed", "5.1.1", "550 no"),
        ("Action: failure\nStatus: 5.1.1", "failed", "5.1.1", ""),
        ("Action: error\nStatus: 5.1.1", "failed", "5.1.1", ""),
        ("Final-Recipient: rfc822; a@b.tw\nStatus: 5.1.1", "failed", "5.1.1", ""),
        ("Final-Recipient: rfc822; a@b.tw\nStatus: 4.4.1", "delayed", "4.4.1", ""),
    ],
)  # fmt: skip
def test_a_report_says_what_became_of_a_mail(fields, action, status, diagnostic):
    found = report(fields)
    assert found is not None
    assert (found.action, found.status) == (action, status)
    assert found.diagnostic == (diagnostic or ("Sorry." if found.cause == "other" and action == "failed" else ""))


@pytest.mark.parametrize("fields", ["", "Status: 2.0.0", "Action:", "Action: exploded", "X-Action: failed"])
def test_a_report_without_an_action_says_nothing(fields):
    assert report(fields) is None


@pytest.mark.parametrize(
    ("field", "recipient"),
    [
        ("Final-Recipient: rfc822; Anna@Acme.TW", "anna@acme.tw"),
        ("Final-Recipient: rfc822;<anna@acme.tw>", "anna@acme.tw"),
        ("Final-Recipient: <anna@acme.tw> (Anna)", "anna@acme.tw"),
        ("Original-Recipient: rfc822; anna@acme.tw\nFinal-Recipient: rfc822; a1@mx.acme.tw", "anna@acme.tw"),
        ("Original-Recipient: x400; c=tw\nFinal-Recipient: rfc822; anna@acme.tw", "anna@acme.tw"),
        ("Final-Recipient: rfc822; anna", ""),
        ("Final-Recipient: rfc822; anna@acme.tw\x00@x", ""),
        ("X-Recipient: anna@acme.tw", ""),
    ],
)
def test_a_report_names_a_well_formed_address_or_none(field, recipient):
    found = report(f"{field}\nAction: failed\nStatus: 5.1.1")
    assert found is not None
    assert found.recipient == recipient


def block(name: str, action: str, status: str) -> str:
    return f"Original-Recipient: rfc822; {name}@acme.tw\nFinal-Recipient: rfc822; {name}@mx.tw\nAction: {action}\nStatus: {status}"


@pytest.mark.parametrize("between", ["\n\n", "\n", "\n \n", "\n\n\n\n"])
@pytest.mark.parametrize(
    ("blocks", "named"),
    [
        ([("a", "delivered", "2.0.0"), ("b", "failed", "5.1.1"), ("c", "failed", "5.2.2")], "b"),
        ([("a", "relayed", "2.0.0"), ("b", "delayed", "4.4.1"), ("c", "failed", "5.2.2")], "c"),
        ([("a", "relayed", "2.0.0"), ("b", "delayed", "4.4.1")], "b"),
        ([("a", "relayed", "2.0.0"), ("b", "expanded", "2.0.0")], "a"),
    ],
)
def test_the_worst_of_several_recipients_counts(blocks, named, between):
    _, action, status = next(each for each in blocks if each[0] == named)
    found = report(between.join(block(*each) for each in blocks))
    assert found is not None
    assert (found.action, found.status, found.recipient) == (action, status, f"{named}@acme.tw")


def test_where_the_fields_say_nothing_the_words_for_people_say_why():
    found = report("Final-Recipient: rfc822; a@b.tw\nAction: failed\nStatus: 5.0.0", "很抱歉。\n\na@b.tw\n信箱已滿")
    assert found == Report("failed", "5.0.0", "a@b.tw 信箱已滿", "full", "a@b.tw")


def test_an_internationalised_report_is_a_report():
    fields = "Final-Recipient: rfc822; a@b.tw\nAction: failed\nStatus: 5.1.1"
    assert report(fields, kind="global-delivery-status") == Report("failed", "5.1.1", "", "address", "a@b.tw")


def test_fields_in_the_text_and_in_a_structure_that_cannot_be_read_are_fields():
    fields = b"Reporting-MTA: dns; x\r\n\r\nFinal-Recipient: rfc822; a@b.tw\r\nAction: failed\r\nStatus: 5.2.2\r\n"
    expected = Report("failed", "5.2.2", "", "full", "a@b.tw")
    assert read(DAEMON + TEXT + b"It failed.\r\n\r\n" + fields) == expected
    assert read(DAEMON + b"Content-Type: multipart/report; boundary=lost\r\n\r\n--other\r\n\r\n" + fields) == expected


# ---- what it means


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        ("550 5.1.1 no such user", "address"),
        (
            "550-5.1.1 The email account that you tried to reach does not exist. Please try 550-5.1.1 double-checking the recipient's email address for typos or 550 5.1.1 unnecessary spaces. https://support.google.com/mail/?p=NoSuchUser a1-2002 - gsmtp",
            "address",
        ),
        (
            "552-5.2.2 The email account that you tried to reach is over quota. Please direct 552 5.2.2 the recipient to https://support.google.com/mail/?p=OverQuotaPerm",
            "full",
        ),
        ("550-5.2.1 The email account that you tried to reach is disabled. gsmtp", "address"),
        (
            "450-4.2.1 The user you are trying to contact is receiving mail at a rate that prevents additional messages",
            "temporary",
        ),
        ("550-5.7.1 Our system has detected that this message is likely unsolicited mail. gsmtp", "blocked"),
        (
            "550-5.7.26 This mail has been blocked because the sender is unauthenticated. Gmail requires all senders to authenticate with either SPF or DKIM.",
            "blocked",
        ),
        ("552-5.7.0 This message was blocked because its content presents a potential security issue.", "blocked"),
        ("552-5.3.4 Your message exceeded Google's message size limits.", "size"),
        ("550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient acme.com not found by SMTP address lookup", "address"),
        ("550 5.1.1 RESOLVER.ADR.RecipNotFound; not found", "address"),
        (
            "550 5.4.1 Recipient address rejected: Access denied. AS(201806281) [x.prod.protection.outlook.com]",
            "address",
        ),
        ("550 5.2.2 STOREDRV.Deliver; mailbox full", "full"),
        (
            "554 5.2.2 mailbox full; STOREDRV.Deliver.Exception:QuotaExceededException.MapiExceptionShutoffQuotaExceeded",
            "full",
        ),
        ("550 5.2.3 RESOLVER.RST.RecipSizeLimit; message too large for this recipient", "size"),
        ("550 5.7.1 RESOLVER.RST.NotAuthorized; not authorized", "blocked"),
        (
            "550 5.7.1 Unfortunately, messages from [1.2.3.4] weren't sent. Please contact your Internet service provider since part of their network is on our block list (S3140).",
            "blocked",
        ),
        (
            "550 5.7.509 Access denied, sending domain acme.tw does not pass DMARC verification and has a DMARC policy of reject.",
            "blocked",
        ),
        ("550 5.5.0 Requested action not taken: mailbox unavailable (S2017062302).", "address"),
        ("550 Requested action not taken: mailbox unavailable", "address"),
        ("550 5.4.310 DNS domain nowhere.example does not exist [Message=InfoDomainNonexistent]", "address"),
        ("451 4.7.500 Server busy. Please try again later from [1.2.3.4].", "temporary"),
        ("554 delivery error: dd This user doesn't have a yahoo.com account (x@yahoo.com) [0]", "address"),
        (
            "554 delivery error: dd Sorry, your message to x@yahoo.com cannot be delivered. This mailbox is disabled (554.30).",
            "address",
        ),
        ("552 1 Requested mail action aborted, mailbox not found", "address"),
        (
            "421 4.7.0 [TSS04] Messages from 1.2.3.4 temporarily deferred due to unexpected volume or user complaints",
            "temporary",
        ),
        ("553 5.7.2 [TSS09] All messages from 1.2.3.4 will be permanently deferred", "blocked"),
        ("554 Message not allowed - [PH01] Email not accepted for policy reasons.", "blocked"),
        ("550 Mailbox not found. http://service.mail.qq.com/cgi-bin/help?subtype=1&&id=20022&&no=1000728", "address"),
        ("550 Mailbox unavailable or access denied [x IP: 1.2.3.4]", "address"),
        ("550 Mail content denied. http://service.mail.qq.com/cgi-bin/help?subtype=1", "blocked"),
        ("550 Ip frequency limited [x IP: 1.2.3.4]. http://service.mail.qq.com", "temporary"),
        ("550 Domain may not exist or DNS check failed", "address"),
        ("550 收件人邮件地址（x@qq.com）不存在，邮件无法送达。", "address"),
        ("552 对方邮箱空间已满", "full"),
        ("550 User not found: someone@163.com", "address"),
        ("550 User suspended", "address"),
        ("554 DT:SPM 163 smtp1,D9GowACn0,1530 http://mail.163.com/help/help_spam_16.htm", "blocked"),
        ("550 MI:NHD 163 smtp10", "blocked"),
        ("552 Requested mail action aborted: exceeded mailsize limit", "size"),
        ("552 Quota exceeded or service disabled.", "full"),
        ("550 Invalid User: x@126.com", "address"),
        ("550 用户不存在", "address"),
        ("550 該使用者不存在", "address"),
        ("550 5.1.1 <x@hinet.net>... User unknown", "address"),
        ("550 5.7.1 Blocked by HiNet antispam system", "blocked"),
        ("552 5.2.2 信箱已滿", "full"),
        ("550 邮箱已满", "full"),
        ("550 收件者不存在", "address"),
        ("550 查無此帳號", "address"),
        ("554 拒絕接收此郵件", "blocked"),
        ("550 您的郵件被判定為垃圾郵件", "blocked"),
        ("552 郵件過大，超過限制", "size"),
        ("550 邮件大小超过限制", "size"),
        ("450 系統忙碌，請稍後再試", "temporary"),
        ("550 5.1.1 <x@acme.tw>: Recipient address rejected: User unknown in virtual mailbox table", "address"),
        ("554 RCPT (wang@corp.example) dosn't exist", "address"),
        (
            "550 5.1.1 <x@acme.tw>: Recipient address rejected: User unknown in local recipient table (in reply to RCPT TO command)",
            "address",
        ),
        (
            "554 5.7.1 Service unavailable; Client host [1.2.3.4] blocked using zen.spamhaus.org; https://www.spamhaus.org/query/ip/1.2.3.4",
            "blocked",
        ),
        ("554 5.7.1 <x@acme.tw>: Relay access denied", "blocked"),
        (
            "450 4.2.0 <x@acme.tw>: Recipient address rejected: Greylisted, see http://postgrey.schweikert.ch/",
            "temporary",
        ),
        ("552 5.3.4 Message size exceeds fixed limit", "size"),
        ("452 4.3.1 Insufficient system storage", "full"),
        ("452 4.2.2 Mailbox full", "full"),
        ("550 Unrouteable address", "address"),
        ("550 Unknown user", "address"),
        ("550 Administrative prohibition", "blocked"),
        ("550 Sender verify failed", "blocked"),
        ("550 Verification failed for <a@b.tw> Unrouteable address Sender verify failed", "blocked"),
        ("550 5.1.8 Access denied, bad outbound sender", "blocked"),
        ("550 5.1.1 message identified as spam", "blocked"),
        ("550 5.1.1 host mx.antispamcloud.example[1.2.3.4] said: 550 user unknown", "address"),
        ("550 5.7.1 <x@acme.tw>: Recipient address rejected: User unknown", "address"),
        ("550 5.7.1 Helo command rejected: Host not found", "blocked"),
        ("Sorry, no mailbox here by that name. (#5.1.1)", "address"),
        ("Sorry, I couldn't find any host named nowhere.example. (#5.1.2)", "address"),
        ("Sorry, that message size exceeds my databytes limit (#5.3.4)", "size"),
        ("553 5.3.0 <x@acme.tw>... No such user here", "address"),
        ("550 5.1.2 <x@acme.tw>... Host unknown (Name server: acme.tw: host not found)", "address"),
        ("550 5.1.6 recipient no longer on server", "address"),
        ("556 5.1.10 Recipient address has null MX", "address"),
        ("554 5.4.6 Too many hops", "other"),
        ("554 5.4.14 Hop count exceeded - possible mail loop", "other"),
        ("554 5.6.0 Message content is not acceptable", "blocked"),
        ("550 5.0.0 no", "other"),
        ("550", "other"),
        ("", "other"),
        ("no answer", "temporary"),
        ("554 5.0.0 remote host closed connection", "other"),
        ("550 5.4.7 message expired in the queue", "other"),
        ("550 5.0.0 Your IP address is invalid", "other"),
        ("421 Too many connections", "temporary"),
        ("550 5.3.1 storage full", "full"),
        ("450 too busy", "temporary"),
        ("550 account suspended", "address"),
        ("Connection timed out", "temporary"),
        ("550 5.2.1 The user you are trying to contact is receiving mail too quickly", "temporary"),
    ],
)
def test_an_answer_says_what_to_tell_who_sent_the_mail(answer, cause):
    assert read_answer(answer) == cause


@pytest.mark.parametrize(
    ("status", "diagnostic", "cause"),
    [
        ("5.1.1", "", "address"),
        ("5.1.2", "", "address"),
        ("5.1.3", "", "address"),
        ("5.1.6", "", "address"),
        ("5.1.10", "", "address"),
        ("5.2.1", "", "address"),
        ("5.4.4", "", "address"),
        ("5.2.2", "", "full"),
        ("4.2.2", "", "full"),
        ("5.2.3", "", "size"),
        ("5.3.4", "", "size"),
        ("5.7.1", "", "blocked"),
        ("5.7.26", "", "blocked"),
        ("4.4.7", "", "temporary"),
        ("4.7.1", "450 4.7.1 blocked for now", "temporary"),
        ("4.0.0", "452 mailbox full", "full"),
        ("5.1.1", "550 5.1.1 rejected as spam", "blocked"),
        ("5.1.1", "550 5.1.1 over quota", "full"),
        ("5.0.0", "550 5.1.1 nobody", "address"),
        ("5.5.0", "550 5.2.2 no", "full"),
        ("5.0.0", "550 User unknown", "address"),
        ("5.5.0", "550 blacklisted", "blocked"),
        ("5.4.6", "loop", "other"),
        ("5.6.0", "", "other"),
    ],
)
def test_the_status_is_believed_before_the_words_where_it_is_exact(status, diagnostic, cause):
    found = report(f"Action: failed\nStatus: {status}\nDiagnostic-Code: smtp; {diagnostic}")
    assert found is not None
    assert (found.cause, found.hard) == (cause, cause == "address")


@pytest.mark.parametrize("action", ["delayed", "delivered", "relayed", "expanded"])
def test_only_a_failure_of_the_address_itself_is_hard(action):
    found = report(f"Action: {action}\nStatus: 5.1.1")
    assert found is not None
    assert (found.hard, found.cause) == (False, "temporary" if action == "delayed" else "other")
    for cause in ("full", "blocked", "size", "temporary", "other"):
        assert not Report("failed", "5.1.1", "", cause).hard
    assert Report("failed", "5.1.1", "", "address").hard


def test_a_full_mailbox_that_delays_is_told_as_full():
    assert report("Action: delayed\nStatus: 4.2.2") == Report("delayed", "4.2.2", "", "full", "")


# ---- prose


@pytest.mark.parametrize(
    ("author", "subject", "words", "expected"),
    [
        ("PostMaster@qq.com", "系统退信/Systems bounce",
         "很抱歉，您的邮件被退回来了……\n\n收件人：anna@acme.tw\n\n退信原因：收件人邮件地址（anna@acme.tw）不存在，邮件无法送达。",
         ("failed", "", "address", "anna@acme.tw")),
        ("Postmaster@163.com", "系统退信",
         "抱歉，您的邮件被退回来了……\n\n收件人：anna@163.com\n\n退信原因：550 5.2.2 邮箱已满\n",
         ("failed", "5.2.2", "full", "anna@163.com")),
        ("Mail Delivery Subsystem <MAILER-DAEMON@ms1.hinet.net>", "信件無法傳遞通知",
         "您的信件無法送達下列收件人：\n\nanna@acme.tw\n\n原因：收件者不存在\n",
         ("failed", "", "address", "anna@acme.tw")),
        ("mailer-daemon@googlemail.com", "Delivery Status Notification (Failure)",
         "Message blocked\n\nYour message to anna@acme.tw has been blocked. It was not delivered.",
         ("failed", "", "blocked", "anna@acme.tw")),
        ("postmaster@acme.tw", "Undeliverable: 報價單",
         "Delivery has failed to these recipients or groups:\n\nanna@acme.tw\nThe recipient's mailbox is full.",
         ("failed", "", "full", "anna@acme.tw")),
        ("postmaster@acme.tw", "Delivery delayed: Quotation",
         "Delivery is delayed to these recipients:\n\nanna@acme.tw\n\nThe server will keep trying to deliver.",
         ("delayed", "", "temporary", "anna@acme.tw")),
        ("Microsoft Outlook <MicrosoftExchange329e71ec88ae4615bbc36ab6ce41109e@acme.tw>", "Undeliverable: S00012",
         "Your message to anna@acme.tw couldn't be delivered.\n\nanna wasn't found at acme.tw.",
         ("failed", "", "address", "anna@acme.tw")),
        ("MAILER-DAEMON@acme.tw", "郵件延遲通知", "您的郵件尚未送達 anna@acme.tw，系統將繼續嘗試。",
         ("delayed", "", "temporary", "anna@acme.tw")),
        ("=?utf-8?B?57O757uf566h55CG5ZGY?= <admin@acme.tw>", "=?utf-8?B?6YCA5L+h6YCa55+l?=", "收件人 anna@acme.tw 邮箱已满",
         ("failed", "", "full", "anna@acme.tw")),
        ("MAILER-DAEMON@mx.acme.tw", "failure notice",
         ("Hi. This is the qmail-send program at mx.acme.tw.\nI'm afraid I wasn't able to deliver your message.\n\n"
         "<anna@acme.tw>:\nSorry, no mailbox here by that name. (#5.1.1)\n\n--- Below this line is a copy of the message.\n\n"
         "Subject: spam\n\nbob@acme.tw said 552 5.2.2 mailbox full"),
         ("failed", "5.1.1", "address", "anna@acme.tw")),
        ("Mail Delivery System <Mailer-Daemon@acme.tw>", "Mail delivery failed: returning message to sender",
         ("A message that you sent could not be delivered to one or more of its recipients.\n\n  anna@acme.tw\n"
         "    SMTP error from remote mail server: 550-no such\n    550 user"),
         ("failed", "", "address", "anna@acme.tw")),
    ],
)  # fmt: skip
def test_a_bounce_in_prose_is_read(author, subject, words, expected):
    found = prose(words, author, subject)
    assert found is not None
    assert (found.action, found.status, found.cause, found.recipient) == expected
    assert found.diagnostic
    assert "\n" not in found.diagnostic


@pytest.mark.parametrize(
    ("author", "subject", "words"),
    [
        (
            "Anna <anna@acme.tw>",
            "Automatic reply: Quotation",
            "I am out of the office. Write to Bob, bob@acme.tw, please.",
        ),
        ("Anna <anna@acme.tw>", "自動回覆：報價單", "我目前休假，無法收信。急件請洽 bob@acme.tw，謝謝。"),
        (
            "Anna <anna@acme.tw>",
            "Out of office",
            "Your message could not be delivered to\nme, as I am away until Monday.",
        ),
        (
            "Anna <anna@acme.tw>",
            "Re: Undelivered Mail Returned to Sender",
            "<bob@acme.tw>: user unknown\nWhy does it say so?",
        ),
        ("Anna <anna@acme.tw>", "轉寄: 退信", "您的郵件無法送達 bob@acme.tw，為什麼？"),
        (
            "Anna <anna@acme.tw>",
            "Order",
            "The goods were not delivered. Delivery failed twice. Ask Bob, bob@acme.tw, please.",
        ),
        ("Anna <anna@acme.tw>", "報價", "請寄給 bob@acme.tw，謝謝。"),
        ("Postmaster <postmaster@acme.tw>", "Hello", "Please write to Bob, bob@acme.tw, from now on."),
        ("Anna <anna@acme.tw>", "Delivery problem", "The goods were not delivered. Ask Bob, bob@acme.tw, please."),
        ("Anna <anna@acme.tw>", "退件", "貨物無法送達，請洽 bob@acme.tw，謝謝。"),
        ("Postmaster <postmaster@acme.tw>", "Order", "The goods were not delivered; please ask bob@acme.tw."),
        ("Postmaster <postmaster@acme.tw>", "Re: Order", "The goods were not delivered; please ask bob@acme.tw."),
        ("Bounce House <info@bounce-house.example>", "Castle", "The castle was not delivered. Ask bob@acme.tw."),
    ],
)
def test_what_a_person_or_a_vacation_says_is_no_report(author, subject, words):
    assert prose(words, author, subject) is None


def test_who_answers_a_bounce_quotes_it():
    head = b"From: Anna <anna@acme.tw>\r\nSubject: Mail delivery failed\r\nIn-Reply-To: <1@acme.tw>\r\n" + TEXT
    assert read(head + b"A message that you sent could not be delivered:\r\n<bob@acme.tw>: user unknown\r\n") is None


def test_a_mail_that_is_no_report_says_nothing():
    assert read(b"From: a@b.tw\r\n\r\nAction: failed\r\nStatus: 5.1.1\r\n") is None


@pytest.mark.parametrize(
    "disposition", ["manual-action/MDN-sent-manually; displayed", "automatic-action/MDN-sent-automatically; deleted"]
)
def test_a_receipt_is_no_delivery_report(disposition):
    fields = f"Final-Recipient: rfc822; a@b.tw\nDisposition: {disposition}"
    assert report(fields, "Your message to <a@b.tw> was automatically rejected", "disposition-notification") is None


def test_a_complaint_is_no_delivery_report():
    content = (
        b"From: MAILER-DAEMON@acme.tw\r\nContent-Type: multipart/report; report-type=feedback-report; boundary=b\r\n\r\n"
        b"--b\r\n\r\nThis mail could not be delivered: it is spam.\r\n--b\r\nContent-Type: message/feedback-report\r\n\r\n"
        b"Feedback-Type: abuse\r\n\r\n--b--\r\n"
    )
    assert read(content) is None


# ---- the corpora

# What is read otherwise than flufl.bounce expects, and why that is right here.
OTHERWISE = {
    "simple_38.txt": None,  # a disposition notification (Dovecot): never a delivery report here
    "simple_42.txt": "",  # david...@gmail.com is a mask and no address: failed, but nobody is named
}
# No address stands in these, so nobody is expected; they say all the same that the mail failed.
NAMELESS = {"bounce_01.txt": "full", "simple_43.txt": "address"}


def test_the_bounces_of_the_corpus_are_read(corpora):
    expected = json.loads((corpora / "bounce" / "expected.json").read_bytes())
    wrong = {}
    for path in sorted((corpora / "bounce" / "emails").glob("*.txt")):
        found = read(path.read_bytes())
        permanent, temporary = (
            [each.lower() for each in expected[path.name][key]] for key in ("permanent", "temporary")
        )
        if path.name in OTHERWISE:
            assert (found and found.recipient) == OTHERWISE[path.name]
        elif path.name in NAMELESS:
            assert found is not None
            assert (found.action, found.cause, found.recipient) == ("failed", NAMELESS[path.name], "")
        elif not permanent and not temporary:
            if found is not None:
                wrong[path.name] = found
        elif found is None or (found.action, found.recipient in (permanent or temporary)) != (
            "failed" if permanent else "delayed",
            True,
        ):
            wrong[path.name] = found
    assert wrong == {}
    assert len(expected) == 117
    assert len(OTHERWISE) <= len(expected) * 0.02


def test_a_corpus_of_other_mails_holds_only_the_reports_it_holds(corpora):
    found = {path.name for path in (corpora / "mime").rglob("*.eml") if read(path.read_bytes())}
    found |= {path.name for path in (corpora / "reply").rglob("*") if path.is_file() and read(path.read_bytes())}
    assert found == {
        "multi_address_bounce1.eml",
        "multi_address_bounce2.eml",
        "multipart_report_multiple_status.eml",
        "raw_email_with_mimepart_without_content_type.eml",
        "report_422.eml",
        "report_530.eml",
    }


# ---- hostile

TRIGGERS = (
    b"Hi. This is the\r\nThe postfix\r\nYour message\r\nYour message to:\r\nnot yet been delivered\r\n"
    b"Your message could not be delivered to\r\nA message that you sent could not be delivered\r\n"
    b"this is the email server at\r\n- no such user here\r\nfailed addresses follow:\r\nDid not reach the following recipient\r\n"
    b"Message not delivered to the following addresses\r\nThis is a delivery failure notification message\r\n"
    b"A message that you sent was rejected\r\nThis Message was undeliverable due to the following reason:\r\n\r\n"
)
UNITS = [b"a", b"a@", b"<", b"<a", b",@", b",a@b", b" ", b"\t", b";", b"(", b".", b"mailbox ", b"sender ", b"user ", b"> ", b"#5.1.1 ",
         b"550 550-", b"SMTP=", b"unknown user", b"deliver ", "收件".encode(), "無此".encode(), b"\x00", b"\xff"]  # fmt: skip
PLACES = {
    "text": DAEMON + TEXT + TRIGGERS,
    "part": DAEMON + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n" + TEXT + TRIGGERS,
    "fields": DAEMON + b"Content-Type: message/delivery-status\r\n\r\nAction: failed\r\nDiagnostic-Code: smtp; ",
    "recipient": DAEMON + b"Content-Type: message/delivery-status\r\n\r\nAction: failed\r\nFinal-Recipient: ",
    "author": b"Subject: failure notice\r\nFrom: MAILER-DAEMON",
    "failed": DAEMON + b"X-Failed-Recipients: ",
    "kind": DAEMON + b"Content-Type: multipart/mixed",
    "title": b"From: MAILER-DAEMON@a.tw\r\nSubject: ",
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("unit", UNITS)
def test_no_mail_is_much_work_to_read(place, unit):
    whole = unit * (260_000 // len(unit))
    line = (unit * 249)[:249]
    for many in (whole, (line + b"\r\n ") * 1_000, (line + b"\r\n") * 1_000, (unit * 3 + b"\r\n\r\n") * 20_000):
        content = PLACES[place] + many + b"\r\n\r\nIt could not be delivered: user unknown\r\n"
        mail = parse(content)
        assert yards(lambda mail=mail, content=content: read_report(mail, content), 40) < 40
        assert yards(lambda text=content.decode("latin-1"): read_answer(text), 40) < 40


@pytest.mark.parametrize(
    "content",
    [
        DAEMON
        + b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (at, at) for at in range(1_000)),
        DAEMON + b"Content-Type: message/rfc822\r\n\r\n" * 1_000,
        DAEMON
        + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
        + b"--b\r\nContent-Type: message/rfc822\r\n\r\n\r\n" * 900,
        DAEMON + b"Content-Type: message/delivery-status\r\n\r\n" + b"Action: failed\r\n\r\n" * 20_000,
        DAEMON + b"Content-Type: message/delivery-status\r\n\r\nAction: failed\r\nStatus: 5" + b"\r\n " * 100_000,
    ],
    ids=["nested", "mails in mails", "many mails", "many recipients", "folds"],
)
def test_no_structure_is_much_work_to_read(content):
    mail = parse(content)
    assert yards(lambda: read_report(mail, content), 50) < 50


PIECES = st.sampled_from(
    [DAEMON, TEXT, TRIGGERS, b"Content-Type: message/delivery-status\r\n\r\n", b"Action: failed\r\n", b"Status: 5.1.1\r\n", b"\r\n",
     b"Final-Recipient: rfc822; a@b.tw\r\n", b"Content-Type: multipart/mixed; boundary=b\r\n\r\n", b"--b\r\n", b"<a@b.tw>:\r\n",
     b"Content-Type: message/rfc822\r\n\r\n", b"X-Mailer: <SMTP32 v1>\r\n", b"From: MAILER-DAEMON@yale.edu\r\n", b"Disposition: x\r\n"]
)  # fmt: skip


@given(st.lists(PIECES | st.binary(max_size=40), max_size=12).map(b"".join))
def test_reading_a_report_never_raises(content):
    found = read(content)
    if found is not None:
        assert found.diagnostic.isprintable()
        assert found.recipient == found.recipient.lower()
        assert replace(found) == found


@given(st.text(max_size=300))
def test_reading_an_answer_never_raises(answer):
    read_answer(answer)
