import email.message
import email.policy

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.mail.parse import PARTS_MAX, SUBJECT_MAX, TEXT_MAX, Mail, file_name, parse

MEGABYTE = 1_000_000


def check(content: bytes) -> Mail:
    """Parse, and prove what is true of every mail whatever it holds."""
    mail = parse(content)
    assert len(mail.body_digest) == 32
    assert len(mail.subject) <= SUBJECT_MAX
    assert mail.subject == " ".join(mail.subject.split())
    assert len(mail.text) <= TEXT_MAX
    assert "\r" not in mail.text
    assert "\x00" not in mail.text
    mail.text.encode("utf-8")
    mail.subject.encode("utf-8")
    for attachment in mail.attachments:
        assert attachment.name
        assert not set("/\\\r\n\x00") & set(attachment.name)
        assert not attachment.name.startswith(".")
    if mail.author is None:
        assert "not exactly one well-formed From" in mail.defects
    return mail


def mail_of(header: str = "", body: bytes = b"") -> bytes:
    return header.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body


def test_every_mail_of_the_corpora_is_read(real_mails):
    for path in real_mails:
        check(path.read_bytes())


def test_the_mails_of_the_corpora_say_who_wrote_them(corpora):
    mails = [check(path.read_bytes()) for path in sorted((corpora / "mime").rglob("*.eml"))]
    assert len(mails) > 70
    assert sum(mail.author is not None for mail in mails) / len(mails) > 0.7
    assert sum(bool(mail.text.strip() or mail.attachments) for mail in mails) / len(mails) > 0.8


@given(st.binary(max_size=4000))
def test_any_octets_are_read(content):
    check(content)


@given(st.lists(st.sampled_from([
    b"From: a@b.tw\r\n", b"From: ", b"Subject: =?utf-8?b?", b"Date: ", b"Message-ID: <a@b>\r\n", b"Content-Type: ",
    b"multipart/mixed; boundary=b\r\n", b'multipart/alternative;\r\n boundary="b"\r\n', b"multipart/report",
    b"text/html; charset=", b"message/rfc822\r\n", b"message/delivery-status\r\n", b"big5\r\n", b"utf-7\r\n",
    b"Content-Transfer-Encoding: base64\r\n", b"Content-Transfer-Encoding: quoted-printable\r\n",
    b"Content-Disposition: attachment; filename*0*=utf-8''%e5%a0", b'; filename="..\\x.exe"\r\n', b"\r\n\r\n", b"\r\n",
    b"\n", b"--b\r\n", b"--b--\r\n", b"=E5=A0", b"<html><body><p>", b"\x00", b"\xff", b"begin 644 x\r\n", b";", b"(", b'"',
])).map(b"".join))  # fmt: skip
def test_any_mail_made_of_pieces_of_mail_is_read(content):
    check(content)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)
@given(st.data())
def test_a_mutated_mail_of_the_corpora_is_read(real_mails, data):
    content = bytearray(data.draw(st.sampled_from(real_mails)).read_bytes()[:20_000])
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(content)))
        cut = data.draw(st.integers(0, 40))
        content[at : at + cut] = data.draw(st.binary(max_size=20) | st.sampled_from([b"\r\n\r\n", b"\r\n--", b"\x00", b";", b"=?"]))  # fmt: skip
    check(bytes(content))


@settings(deadline=None)
@given(
    name=st.text(max_size=60),
    subject=st.text(alphabet=st.characters(exclude_categories=["C", "Z"]) | st.just(" "), max_size=100),
    text=st.text(alphabet=st.characters(exclude_categories=["C", "Zl", "Zp"]) | st.just("\n"), max_size=300),
)
def test_what_the_standard_library_writes_is_read_as_it_was_meant(name, subject, text):
    subject = " ".join(subject.split())
    wrote = email.message.EmailMessage(email.policy.SMTP)
    wrote["From"] = "wang@acme.example"
    wrote["Subject"] = subject
    wrote.set_content(text, cte="base64")
    wrote.add_attachment(b"%PDF", maintype="application", subtype="pdf", filename=f"x{file_name(name)}.pdf")
    mail = check(wrote.as_bytes())
    assert mail.subject == subject
    assert mail.text == text.strip("\n")
    assert [a.content for a in mail.attachments] == [b"%PDF"]


@pytest.mark.parametrize(
    "header",
    [
        "",
        "From: ",
        "From: a@b.tw, c@d.tw",
        "From: a@b.tw\nFrom: a@b.tw",
        "From: a@b.tw\nFROM: c@d.tw",
        "From: Team: a@b.tw;",
        "From: boss@sales.example)<evil@x.tw>",
        "From : a@b.tw",
        "Sender: a@b.tw\nReply-To: a@b.tw",
    ],
)
def test_a_mail_without_exactly_one_well_formed_from_has_no_author(header):
    assert check(mail_of(header)).author is None


def test_what_is_missing_is_a_defect():
    defects = check(b"From: a@b.tw\r\n\r\nx").defects
    assert defects == ("no Message-ID", "no Date")


@pytest.mark.parametrize("date", ["", "yesterday", "99 Foo 99999 99:99:99 +9999", "Mon, 31 Feb 2026 10:00:00 +0800", "1 Jan 0001 00:00:00 +2359", "1 Jan 9999 23:59:59 -2359", "("])  # fmt: skip
def test_a_date_that_is_none_is_none(date):
    assert check(mail_of(f"From: a@b.tw\nDate: {date}")).date is None or "9999" in date or "0001" in date


def test_a_date_is_in_milliseconds():
    assert check(mail_of("Date: Thu, 01 Jan 1970 08:00:01 +0800")).date == 1000


def test_ids_stand_without_brackets_and_once():
    mail = check(mail_of("Message-ID: <a@b>\nReferences: <r@b> <p@b>\n <r@b>\nIn-Reply-To: <p@b> (comment)"))
    assert (mail.message_id, mail.references, mail.in_reply_to) == ("a@b", ("r@b", "p@b"), ("p@b",))


def test_a_digest_is_over_the_body_and_no_header_field():
    first, second = check(mail_of("Subject: a", b"x\r\n")), check(mail_of("Subject: b", b"x\r\n"))
    assert first.body_digest == second.body_digest
    assert first.body_digest != check(mail_of("Subject: a", b"x \r\n")).body_digest


ALTERNATIVE = (
    b"--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nplain\r\n"
    b"--b\r\nContent-Type: text/html\r\n\r\n<p>rich</p>\r\n--b--\r\n"
)


def test_plain_text_goes_before_html():
    assert check(mail_of("Content-Type: multipart/alternative; boundary=b", ALTERNATIVE)).text == "plain"


def test_html_alone_becomes_text_without_what_is_hidden():
    html = b"<html><head><title>t</title><style>p{}</style></head><body><p>Hello <b>you</b></p><script>evil()</script>"
    assert check(mail_of("Content-Type: text/html", html)).text.strip() == "Hello you"


def test_a_mail_in_the_mail_is_an_attachment_and_not_its_text():
    body = b"--b\r\n\r\nouter\r\n--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: i\r\n\r\ninner\r\n--b--\r\n"
    mail = check(mail_of("Content-Type: multipart/mixed; boundary=b", body))
    assert mail.text == "outer"
    assert [attachment.media_type for attachment in mail.attachments] == ["message/rfc822"]


def test_text_that_is_attached_is_an_attachment():
    mail = check(mail_of('Content-Type: text/plain\nContent-Disposition: attachment; filename="a.txt"', b"secret"))
    assert mail.text == ""
    assert [(a.name, a.content) for a in mail.attachments] == [("a.txt", b"secret")]


@pytest.mark.parametrize(
    ("given_name", "shown"),
    [
        ("quote.pdf", "quote.pdf"),
        ("報價單.pdf", "報價單.pdf"),
        ("../../etc/passwd", "passwd"),
        ("..\\..\\boot.ini", "boot.ini"),
        ("/etc/passwd", "passwd"),
        (".htaccess", "htaccess"),
        ("\u200b.htaccess", "htaccess"),
        ("fdp.\u202eexe", "fdp.exe"),
        ("a\r\nb.pdf", "a b.pdf"),
        ("a\x00.pdf", "a .pdf"),
        ("con:|<>*?.pdf", "con.pdf"),
        ("x" * 500 + ".pdf", "x" * 100 + "x" * 46 + ".pdf"),
        ("a\uff0f..\uff0fb", "b"),
        ("...", ""),
        ("", ""),
    ],
)
def test_the_name_of_an_attachment_is_no_path(given_name, shown):
    assert file_name(given_name) == shown


def nested(depth: int) -> bytes:
    return b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(depth))


@pytest.mark.parametrize(
    "content",
    [
        b"Content-Type: text/plain" + b";a=b" * (MEGABYTE // 4) + b"\r\n\r\nx",
        b"Content-Type: text/plain" + b";" * 60_000 + b"\r\n\r\nx",
        b"Content-Type: text/plain; charset=" + b'"' * 60_000 + b"\r\n\r\nx",
        b"Content-Disposition: attachment" + b"".join(b"; filename*%d*=a%%e4" % n for n in range(3000)) + b"\r\n\r\nx",
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\nx\r\n" * (MEGABYTE // 10),
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b" * (MEGABYTE // 3),
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"\r\n--" * (MEGABYTE // 4),
        b"Content-Type: multipart/mixed; boundary=\r\n\r\n" + b"--\r\n" * (MEGABYTE // 4),
        b"Content-Type: message/rfc822\r\n\r\n" * (MEGABYTE // 32),
        nested(20_000),
        nested(90),
        b"From: " + b"(" * MEGABYTE,
        b"From: " + b"a@b.tw," * 9_000 + b"\r\n\r\n",
        b"To: " + "a@例.tw,".encode() * 6_000 + b"\r\n\r\n",
        b"Subject: " + b"=?big5?b?pKQ=?= " * 4_000 + b"\r\n\r\n",
        b"References: " + b"<" * 60_000 + b"\r\n\r\n",
        b"References: " + (b"<" + b"a" * 901) * 70 + b"\r\n\r\n",
        b"Date: " + b"(" * 190 + b"\r\n\r\n",
        b"X: y\r\n" + b" z\r\n" * (MEGABYTE // 4),
        b":" * MEGABYTE,
        b"\r" * MEGABYTE,
        b"\x00" * MEGABYTE,
        b"A" * MEGABYTE,
        b"\r\n\r\n" + b"\xff" * MEGABYTE,
        b"Content-Transfer-Encoding: base64\r\n\r\n" + b"=" * MEGABYTE,
        b"Content-Transfer-Encoding: quoted-printable\r\n\r\n" + b"=\r\n" * (MEGABYTE // 3),
        b"Content-Type: text/html\r\n\r\n" + b"<" * MEGABYTE,
        b"Content-Type: text/html\r\n\r\n" + b"&" * MEGABYTE,
        b"Content-Type: text/html\r\n\r\n" + b"<table><tr><td>" * (MEGABYTE // 15),
        b"Content-Type: text/html\r\n\r\n" + b"<blockquote>" * (MEGABYTE // 12),
        b"Content-Type: text/html\r\n\r\n" + b"<ul><li>" * (MEGABYTE // 8),
        b"Content-Type: text/html\r\n\r\n" + b"<a href='" * (MEGABYTE // 9),
    ],
    ids=lambda content: repr(content[:60]),
)
def test_a_megabyte_of_malice_comes_back(content):
    check(content)


def test_more_parts_than_we_read_are_left_out_and_said():
    body = b"--b\r\nContent-Type: text/plain\r\n\r\nx\r\n" * (PARTS_MAX + 100) + b"--b--\r\n"
    mail = check(mail_of("Content-Type: multipart/mixed; boundary=b", body))
    assert "more parts than we read" in mail.defects
    assert mail.text.count("x") == PARTS_MAX


def test_text_beyond_what_we_keep_is_left_out_and_said():
    mail = check(mail_of("", b"x" * (TEXT_MAX + 10)))
    assert "text is longer than we keep" in mail.defects


@pytest.mark.parametrize(
    "content",
    [
        b"Content-Type: multipart/mixed; boundary=b0\r\n\r\n"
        + b"".join(
            b"--b%d\r\nContent-Type: multipart/mixed; boundary=b%d\r\n\r\n" % (n - 1, n) for n in range(1, 60_000)
        ),
        b"Content-Type: message/rfc822\r\n\r\n" * 160_000,
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\n" * 1_000_000,
    ],
    ids=["nested multiparts", "mails in mails", "a million parts"],
)
def test_a_bomb_is_opaque_and_ends_no_process(content):
    mail = parse(b"From: a@example.com\r\n" + content)
    assert mail.author is not None
    assert any("than we read" in defect for defect in mail.defects)
