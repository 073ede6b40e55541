"""Rows C04 to C23 of the catalogue, edge to edge: what a mail holds does nothing but be shown."""
# ruff: noqa: N802 (rows have capital names)

import base64
import itertools
import socket
from email.utils import formatdate

import lxml.html
import pytest

from gateway.mail.parse import parse
from tests.kit.house import CUSTOMER, INSIDE, D

TO = f"s00001@{D}"
WANG = "wang@acme.example"


def mail(rest: bytes | str, author: str = WANG, number: str = "1", subject: str = "chairs") -> bytes:
    octets = rest if isinstance(rest, bytes) else rest.replace("\n", "\r\n").encode("utf-8", "surrogateescape")
    return f"From: {author}\r\nTo: {TO}\r\nSubject: {subject}\r\nMessage-ID: <{number}@x>\r\n".encode() + octets


def take(house, content: bytes, author: str = WANG):
    peer = INSIDE if author.endswith("@example.com") else CUSTOMER
    return house.take(content, TO, peer=peer, return_path=author)


def attached(house) -> list[tuple[str, str, bytes]]:
    """Return what hangs on the last mail we sent: name, type, octets."""
    return [
        (part.get_filename(), part.get_content_type(), part.get_payload(decode=True))
        for part in house.sent()[-1].mail.iter_attachments()
    ]


# ---- C04

FAR = "http://far.example/x"
ELEMENTS = [
    f"<img src='{FAR}'>", f"<img srcset='{FAR} 2x'>", f"<body background='{FAR}'>", f"<table background={FAR}>",
    f"<style>@import '{FAR}';</style>", f"<div style='background:url({FAR})'>x</div>", f"<link rel=stylesheet href={FAR}>",
    f"<script src={FAR}></script>", "<script>alert(1)</script>", f"<iframe src={FAR}></iframe>", f"<object data={FAR}></object>",
    f"<embed src={FAR}>", f"<svg onload=alert(1)><image href={FAR} /></svg>", f"<video poster={FAR}></video>", f"<audio src={FAR}></audio>",
    "<a href='javascript:alert(1)'>x</a>", "<a href='data:text/html,<script>alert(1)</script>'>x</a>", f"<form action={FAR}><input name=q></form>",
    f"<meta http-equiv=refresh content='0;url={FAR}'>", f"<base href='{FAR}'>", "<img src=x onerror=alert(1)>", "<details open ontoggle=alert(1)>",
    "<math><mtext><table><mglyph><style><!--</style><img title='--&gt;&lt;img src=1 onerror=alert(1)&gt;'>",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>", f"<input type=image src={FAR}>", "<marquee onstart=alert(1)>x</marquee>",
    f"<!DOCTYPE x [<!ENTITY e SYSTEM '{FAR}'>]><p>&e;</p>", f"<!ENTITY % p SYSTEM '{FAR}'>%p;",
]  # fmt: skip
WRAPPERS = [
    "{}",
    "<p>{}</p>",
    "<!-- --!>{}<!-- -->",
    "<title>{}</title>",
    "<textarea></textarea>{}",
    "&lt;p&gt;{}",
    "<b",
    "</td></tr></table>{}",
]
PAYLOADS = [
    wrapper.format(element) if "{}" in wrapper else wrapper + element
    for element, wrapper in itertools.product(ELEMENTS, WRAPPERS)
]
OURS = {"html", "head", "meta", "title", "body", "table", "tbody", "tr", "td", "p", "br", "b", "a"}


def no_more_than_ours(html: str) -> None:
    """Prove that HTML of ours holds no element and no attribute but ours: nothing to load, nothing to run."""
    for element in lxml.html.fromstring(html).iter():
        if isinstance(element.tag, str):
            assert element.tag in OURS, element.tag
            for name, value in element.attrib.items():
                assert not name.startswith("on"), name
                assert name not in {"src", "srcset", "background", "data", "action", "poster"}, name
                assert name != "href" or value.startswith("mailto:"), value
                assert "url(" not in value
                assert name != "http-equiv"


def test_C04_two_hundred_hostile_texts_fetch_nothing_and_reach_no_html_of_ours(made, monkeypatch):
    def asked(*_args, **_more):
        raise AssertionError("something was asked of the network")

    assert len(PAYLOADS) >= 200
    made.sent()
    monkeypatch.setattr(socket.socket, "connect", asked)
    monkeypatch.setattr(socket, "getaddrinfo", asked)
    for n, payload in enumerate(PAYLOADS):
        kind = "text/plain" if n % 2 else "text/html"
        content = mail(
            f"Content-Type: {kind}; charset=utf-8\n\n{payload}\n<p>said</p>\n", number=f"h{n}", subject=payload[:60]
        )
        assert take(made, content) == ("posted", ""), payload
    wrote = [each for each in made.sent() if each["X-Replygate-Subtype"] == "discussion"]
    assert len(wrote) >= len(PAYLOADS)
    for each in wrote:
        no_more_than_ours(each.mail.get_body(("html",)).get_content())


# ---- C05, C12, C09, C10, C11

PGP = b"-----BEGIN PGP MESSAGE-----\r\n\r\nhQEMA0\r\n-----END PGP MESSAGE-----\r\n"
ENCRYPTED = (
    b'Content-Type: multipart/encrypted; protocol="application/pgp-encrypted"; boundary=b\r\n\r\n--b\r\n'
    b"Content-Type: application/pgp-encrypted\r\n\r\nVersion: 1\r\n--b\r\nContent-Type: application/octet-stream; name=encrypted.asc\r\n\r\n"
    + PGP + b"--b--\r\n"
)  # fmt: skip


def test_C05_an_encrypted_part_between_html_is_never_part_of_it(made):
    rest = (
        b'Content-Type: multipart/mixed; boundary=m\r\n\r\n--m\r\nContent-Type: text/html\r\n\r\n<img src="http://far.example/\r\n--m\r\n'
        + ENCRYPTED
        + b'--m\r\nContent-Type: text/html\r\n\r\n">\r\n--m--\r\n'
    )
    assert take(made, mail(rest)) == ("posted", "")
    assert "BEGIN PGP" not in made.texts()[-1]
    assert PGP.strip() in [octets.strip() for _, _, octets in attached(made)]


@pytest.mark.parametrize("rest", [
    ENCRYPTED,
    (b"Content-Type: application/pkcs7-mime; smime-type=enveloped-data; name=smime.p7m\r\nContent-Transfer-Encoding: base64\r\n"
    b"Content-Disposition: attachment; filename=smime.p7m\r\n\r\nMIIBHgYJKoZIhvcNAQcDoIIBDzCCAQsCAQ==\r\n"),
], ids=["PGP", "S/MIME"])  # fmt: skip
def test_C12_an_encrypted_mail_is_posted_with_what_it_holds(made, rest):
    assert take(made, mail(rest)) == ("posted", "")
    assert [octets for _, _, octets in attached(made)] == [each.content for each in parse(mail(rest)).attachments]
    assert made.became(1) == [("posted", "")], "and nobody was answered that it cannot be read"
    assert [kind for kind, _ in made.notices()] == []


def test_C09_a_winmail_dat_is_kept_as_it_is(made):
    octets = b'x\x9f>"\x12\x34' + bytes(range(256))
    part = b"Content-Type: application/ms-tnef; name=winmail.dat\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    rest = (
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nhello\r\n--b\r\n"
        + part
        + base64.encodebytes(octets)
        + b"--b--\r\n"
    )
    assert take(made, mail(rest)) == ("posted", "")
    assert attached(made) == [("winmail.dat", "application/ms-tnef", octets)]


@pytest.mark.parametrize("method", ["REQUEST", "REPLY", "CANCEL"])
def test_C10_a_calendar_is_shown_as_an_attachment_and_commands_nothing(made, method):
    calendar = f"BEGIN:VCALENDAR\r\nMETHOD:{method}\r\nBEGIN:VEVENT\r\nDESCRIPTION:/note SECRET\r\nSUMMARY:/unfollow\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
    before = made.audited()
    rest = (
        "Content-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nlet us meet\r\n--b\r\n"
        f"Content-Type: text/calendar; method={method}; charset=utf-8\r\n\r\n{calendar}--b--\r\n"
    )
    take(made, mail(rest.encode(), "b@example.com"), "b@example.com")
    alone = mail(f"Content-Type: text/calendar; method={method}\r\n\r\n{calendar}".encode(), "b@example.com", "2")
    take(made, alone, "b@example.com")
    assert made.audited() == before
    assert all(row.subtype != "note" and "/" not in row.text for row in made.messages()[1:])
    assert [each.content.strip() for each in parse(mail(rest.encode())).attachments] == [calendar.strip().encode()]


@pytest.mark.parametrize("kind", ["pgp-signature", "pkcs7-signature"])
def test_C11_of_a_signed_mail_the_text_is_shown_and_every_octet_kept(made, kind):
    content = mail(
        (
            f'Content-Type: multipart/signed; protocol="application/{kind}"; micalg=sha-256; boundary=b\r\n\r\nThis is signed.\r\n--b\r\n'
            "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nyes, =\r\n  all \r\n"
            f"--b\r\nContent-Type: application/{kind}; name=sig\r\n\r\n-----BEGIN-----\r\nAA==\r\n-----END-----\r\n--b--\r\n"
        ).encode()
    )
    assert take(made, content) == ("posted", "")
    assert made.texts() == ["yes,   all"]
    assert [(name, octets.strip()) for name, _, octets in attached(made)] == [
        ("sig", b"-----BEGIN-----\r\nAA==\r\n-----END-----")
    ]
    with made.store.read() as tx:
        import sqlalchemy as sa

        from gateway.store import content as kept
        from gateway.store import tables

        digests = tx.execute(sa.select(tables.arrival.c.content)).scalars().all()
        assert [kept.load(tx, each) for each in digests] == [content]


# ---- C13

REPORTS = {
    "read": "multipart/report; report-type=disposition-notification; boundary=b\n\n--b\n\nIt was read.\n--b\n"
    "Content-Type: message/disposition-notification\n\nFinal-Recipient: rfc822;wang@acme.example\nDisposition: manual-action/MDN-sent-manually; displayed\n--b--\n",
    "delivered": "multipart/report; report-type=delivery-status; boundary=b\n\n--b\n\nDelivered.\n--b\n"
    "Content-Type: message/delivery-status\n\nReporting-MTA: dns;mx.x\n\nFinal-Recipient: rfc822;wang@acme.example\nAction: delivered\nStatus: 2.0.0\n--b--\n",
    "abuse": "multipart/report; report-type=feedback-report; boundary=b\n\n--b\n\nSpam report.\n--b\n"
    "Content-Type: message/feedback-report\n\nFeedback-Type: abuse\nUser-Agent: x/1\nVersion: 1\n--b--\n",
}  # fmt: skip


@pytest.mark.parametrize("kind", REPORTS)
def test_C13_a_receipt_or_a_complaint_is_nothing_a_customer_said(made, kind):
    before = len(made.sent())
    take(made, mail(f"Content-Type: {REPORTS[kind]}"))
    posted = made.messages()[1:]
    assert all(row.details.get("automatic") for row in posted), "on the record as a machine's line at most"
    assert len(made.sent()) == before, "nobody hears of it"
    assert made.notices() == []


# ---- C16, C17, C18

CHARSETS = [
    (b"utf-7", b"+AC8-note +ADw-script+AD4-"), (b"iso-2022-jp", b"\x1b$B$3$s\x1b(B \x1b$B"), (b"iso-2022-kr", b"\x1b$)C\x0e!!"), (b"hz-gb-2312", b"~{<:Ky~}~"),
    (b"utf-8", b"over\xc0\xaf\xe0\x80\xaf long"), (b"utf-8", b"half \xed\xa0\x80 \xed\xbf\xbf"), (b"utf-8", b"nul \x00 nul"), (b"utf-16", b"\xff\xfe/\x00n\x00"),
    (b"x-nobody-knows", b"caf\xe9"), (b"utf-32", b"\x00\x00\x00"), (b"idna", b"xn--"), (b"punycode", b"a-b"), (b"unicode_escape", b"\\ud800\\x00"), (b"raw_unicode_escape", b"\\ud800"),
    (b"base64", b"AAAA"), (b"rot13", b"abc"), (b"zlib", b"x\x9c"), (b"\xff\xfe", b"x"), (b"../../etc", b"x"), (b"", b"\xa4\xa4\xa4\xe5"), (b"big5", b"\xa4"), (b"cp65001", b"x"), (b"mbcs", b"\xe9"),
]  # fmt: skip


def test_C16_whatever_charset_it_says_the_text_can_be_stored_and_sent(both_made):
    for n, (charset, octets) in enumerate(CHARSETS):
        for m, field in enumerate([b'; charset="' + charset + b'"', b""]):
            state = take(
                both_made,
                mail(b"Content-Type: text/plain" + field + b"\r\n\r\nsaid " + octets + b"\r\n", number=f"c{n}.{m}"),
            )
            assert state == ("posted", ""), charset
    for row in both_made.messages():
        assert "\x00" not in row.text
        row.text.encode("utf-8")
    assert all(each.mail.get_body(("plain",)).get_content() for each in both_made.sent())


SUBJECTS = [
    "=?utf-8?q?a?= " * 20_000, "=?utf-8?b?5aC?= =?utf-8?b?seW1?=", "=?utf-8?q?=0D=0ABcc:_x@evil.example?=", "=?utf-8?q?caf=C3=A9_=3D=3FUTF-8=3FQ=3F=3D0A=3F=3DBcc:_a=40evil.example?=",
    "=?x-none?q?a?=", "=?utf-8?x?a?=", "=?utf-8?b?" + "A" * 10_001, "=?utf-8?q?=00=01=7f?=", "=?utf-7?q?+AAoADQ-Bcc: x@evil.example?=", "=?utf-16?b?AAoADQ==?=", "=?" * 5_000, "=?utf-8*en?q?a?=",
    "=?utf-8?q?=E2=80=AEgpj.exe?=", "=?utf-8?q?=ED=A0=80?=", "=?idna?q?a?=", "=?unicode_escape?q?=5Cn?=",
]  # fmt: skip


@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda each: each[:30])
def test_C17_encoded_words_are_decoded_once_and_make_no_field(made, subject):
    assert made.take(
        mail("\nsaid\n", "b@example.com", subject=subject), f"quotations@{D}", peer=INSIDE, return_path="b@example.com"
    ) == ("posted", "")
    allowed = {"from", "to", "subject", "date", "message-id", "reply-to", "list-id", "list-unsubscribe", "auto-submitted", "references", "in-reply-to", "mime-version", "content-type", "x-auto-response-suppress"}  # fmt: skip
    for each in made.sent():
        names = [name.lower() for name in each.mail]
        assert {name for name in names if not name.startswith("x-replygate")} <= allowed
        assert len(names) == len(set(names))


def test_C17_an_encoded_word_is_no_address():
    for author in (
        "=?utf-8?q?wang=40acme.example?=",
        "=?utf-8?q?wang?=@acme.example",
        "<=?utf-8?q?wang=40acme=2Eexample?=>",
    ):
        assert parse(mail("\nx\n", author)).author is None


@pytest.mark.parametrize("mark", [chr(c) for c in (*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200B, 0x200C, 0x200D, 0x200E, 0x200F, 0x061C, 0xFEFF, 0xAD, 0x2060)], ids=lambda c: f"U+{ord(c):04X}")  # fmt: skip
def test_C18_what_hides_or_turns_text_around_stands_in_no_subject_and_no_name(made, mark):
    subject, name = f"pay{mark} now", f"W{mark}ang"
    content = mail("\nsaid\n", f'"{name}" <{WANG}>', subject=subject)
    assert take(made, content) == ("posted", "")
    made.take(
        mail("\nsaid\n", "b@example.com", "2", subject), f"quotations@{D}", peer=INSIDE, return_path="b@example.com"
    )
    for each in made.sent():
        assert mark not in each["Subject"] + each["From"] + each["To"]


def test_C18_a_domain_in_another_script_is_shown_as_it_is_in_the_dns():
    for domain, shown in (("аcme.example", "xn--cme-5cd.example"), ("例.tw", "xn--fsq.tw")):
        author = parse(mail("\nx\n", f"wang@{domain}")).author
        assert author is not None
        assert author.address.domain == shown


# ---- C19, C20, C22, C23


def test_C19_a_mail_that_is_sent_again_has_one_effect_and_none_elsewhere(made):
    made.quotation()
    content = mail("\nI agree\n")
    assert take(made, content) == ("posted", "")
    for n in range(10):
        again = f"Received: from x by y ({n}); {formatdate()}\r\n".encode() + content
        assert take(made, again) == ("done", "duplicate")
    assert made.texts().count("I agree") == 1


@pytest.mark.parametrize("to", [f"s00001-follow@{D}", f"s00001-note@{D}"])
def test_C19_a_field_put_before_a_signed_one_commands_nothing(made, to):
    """A signature covers the last field of a name; who replays a mail puts another before it."""
    signed = b"From: b@example.com\r\nTo: friend@x.example\r\nSubject: x\r\nMessage-ID: <r@x>\r\n\r\ndiscussion\r\n"
    before = made.audited()
    assert made.take(f"To: {to}\r\n".encode() + signed, to, return_path="b@example.com", trusted=True)[0] == "held"
    assert made.audited() == before
    assert made.texts() == []


def test_C20_a_mail_that_fails_dmarc_is_held_with_the_reason_and_never_refused(make):
    house = make()
    house.zone.add("_dmarc.acme.example", "TXT", "v=DMARC1; p=reject")
    state = house.take(mail("\nforwarded\n"), TO, peer="192.0.2.99", return_path="forwarder@x.example")
    assert state == ("held", "not authenticated")
    (held,) = house.held()
    assert "nothing proves" in held.reason
    field = "ARC-Seal: i=1; a=rsa-sha256; d=evil.example; s=x; cv=none; b=AAAA\nARC-Authentication-Results: i=1; evil.example; dmarc=pass header.from=acme.example\n"
    assert house.take(mail(field + "\nsealed\n", number="2"), TO, peer="192.0.2.99", return_path="f@x.example") == (
        "held",
        "not authenticated",
    )


def test_C21_no_mail_of_ours_holds_a_link_that_a_scanner_could_follow(made):
    take(made, mail("\nsaid\n"))
    take(made, mail("\n/note inside\n", "b@example.com", "2"), "b@example.com")
    take(made, mail("\n/unknowncommand\n", "b@example.com", "3"), "b@example.com")
    made.take(mail("\nlet me in\n", "eve@x.example", "4"), TO, return_path="eve@x.example")
    made.take(mail("\nfor you\n", "b@example.com", "5"), f"leads@{D}", peer=INSIDE, return_path="b@example.com")
    sent = made.sent()
    assert len(sent) > 5
    for each in sent:
        assert "http" not in each.text.lower()
        assert not each["List-Unsubscribe"] or each["List-Unsubscribe"].startswith("<mailto:")
        assert each["List-Unsubscribe-Post"] == ""


def test_C22_an_id_that_was_used_before_hides_no_mail(made):
    made.announce("quotation.confirmed", ref="S00001", actor="a")
    ours = made.messages()[-1].message_id
    for number, text in (("same", "the forger's"), ("same", "the real one")):
        assert take(made, mail(f"\n{text}\n", number=number)) == ("posted", "")
    assert made.texts()[-2:] == ["the forger's", "the real one"]
    other = made.quotation()
    reply = mail(f"In-Reply-To: <{ours}>\nReferences: <{ours}>\n\nstays here\n", number="cross").replace(
        TO.encode(), f"{other.lower()}@{D}".encode()
    )
    assert made.take(reply, f"{other.lower()}@{D}", peer=CUSTOMER, return_path=WANG) == ("posted", "")
    row = made.messages()[-1]
    assert row.parent_id is None, "an id of another record makes no parent"
    assert ours not in row.ancestors


@pytest.mark.parametrize("author", ["a@example.com", "b@example.com", "chia@example.com", "cheng@example.com", WANG])
@pytest.mark.parametrize("cc", ["", "chia@example.com", "wang@acme.example, b@example.com"])
def test_C23_nobody_gets_their_own_mail_nor_one_mail_twice(made, author, cc):
    made.announce("quotation.confirmed", ref="S00001", actor="a")
    before = len(made.sent())
    head = f"Cc: {cc}\n" if cc else ""
    assert take(made, mail(f"{head}\nsaid\n", author), author) == ("posted", "")
    heard = [each.to for each in made.sent()[before:]]
    assert len(heard) == len(set(heard))
    assert not {author, *cc.replace(" ", "").split(",")} & set(heard)
