"""What is composed reads back as what was meant, whatever names, subjects and files are called."""

import email
import email.policy
import re

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from gateway.mail.address import Address, clean_name, parse_address, without_unseen
from gateway.mail.header import one_line
from gateway.mail.parse import parse
from gateway.notify.compose import Envelope, Part, header, shared_body, shared_fields

MEANT = {
    "from", "date", "message-id", "subject", "references", "in-reply-to", "list-id", "auto-submitted",
    "x-auto-response-suppress", "x-replygate-record", "x-replygate-subtype", "to", "reply-to", "list-unsubscribe",
    "x-replygate-reason", "mime-version", "content-type",
}  # fmt: skip
HOSTILE = ["\r\nBcc: x@example.com", "\nX: y", "\r", "\n\n", "\0", "=?utf-8?q?=0d=0aBcc:?=", "，", "王小明", "\u202e", "\u2028",
           "\x85", "\x1c", "\U0001f600", "\ud800", '"', "\\", "<a@b.example>", ",", ";", ":", "(", ")", "%0d%0a", " ", "\t",
           "x" * 100, "é", "\x7f"]  # fmt: skip
TEXT = st.lists(st.sampled_from(HOSTILE) | st.text(max_size=12), max_size=12).map("".join)
SUBJECT = TEXT.map(one_line).map(lambda text: "".join(c for c in text if not "\ud800" <= c <= "\udfff"))
BODY = st.lists(
    st.sampled_from(["\n", "\r\n", ".", "From ", "--", "中文", " ", "\t", "x" * 1_200]) | TEXT, max_size=12
).map("".join)
TO = Address("wang", "acme.example")
ALIAS = Address("s00001", "sales.example.com")
TAGGED = Address("s00001+" + "a" * 25, "sales.example.com")
ID = st.text(st.sampled_from("abcXYZ019.-_+=!#$%&'*/?^`{|}~"), min_size=1, max_size=150).map(
    lambda left: f"{left}@x.example"
)
IDS = st.lists(ID, max_size=20, unique=True)


def envelope(**more):
    values = {
        "author": "A君", "sender": ALIAS, "date": 1_764_000_000_000, "message_id": "1@sales.example.com",
        "subject": "[S00001] 20 chairs", "ancestors": (), "list_id": "sales.sales.example.com", "automatic": "",
        "record": "S00001", "subtype": "discussion", **more,
    }  # fmt: skip
    return Envelope(**values)


def composed(text="hello", html="<p>hello</p>", parts=(), name="Wang", reason="follows sales", **more):
    body = shared_body(text, html, parts)
    return header(shared_fields(envelope(**more)), body, name, TO, TAGGED, TAGGED, reason) + b"\r\n" + body.octets


def is_fit(mail):
    """A mail's octets hold no bare CR or LF and no line beyond 998, and its header is ASCII."""
    lines = mail.split(b"\r\n")
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n", mail)
    assert max(map(len, lines)) <= 998
    assert mail.partition(b"\r\n\r\n")[0].isascii()
    assert b"\0" not in mail
    return mail


def field_names(mail):
    return [name.lower() for name, _ in email.message_from_bytes(mail, policy=email.policy.compat32).items()]


def lf(text):
    return text.replace("\r", "")


many = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@many
@given(TEXT, SUBJECT, TEXT, SUBJECT)
def test_P06_no_name_or_subject_makes_another_field(author, subject, name, reason):  # noqa: N802 (named for its row)
    mail = is_fit(composed(author=author, subject=subject, name=name, reason=reason))
    names = field_names(mail)
    assert len(names) == len(set(names))
    assert set(names) <= MEANT
    assert [field for field, _ in parse(mail).header.fields] == names


@many
@given(SUBJECT)
def test_the_subject_reads_back(subject):
    mail = composed(subject=subject)
    assert parse(mail).subject == one_line(subject)[:500]
    read = email.message_from_bytes(mail, policy=email.policy.default)
    assert read["Subject"].split() == subject.split() or "=?" in subject or not subject.isprintable()


@many
@given(TEXT)
def test_the_author_reads_back_as_a_name_and_never_as_an_address(name):
    assume(not any("\ud800" <= c <= "\udfff" for c in name))
    read = parse(composed(author=name))
    assert read.author is not None
    assert read.author.address == ALIAS
    assert read.author.name.split() == clean_name(name).split()


@many
@given(TEXT)
def test_the_reader_is_the_only_one_in_to(name):
    mail = composed(name=name)
    assert [mailbox.address for mailbox in parse(mail).to] == [TO]
    assert [each.addr_spec for each in email.message_from_bytes(mail, policy=email.policy.default)["To"].addresses] == [
        str(TO)
    ]


@many
@given(IDS)
def test_ids_read_back_in_order_and_are_never_encoded(ids):
    assume(not any("=?" in each for each in ids))
    mail = is_fit(composed(ancestors=ids))
    read = parse(mail)
    assert read.references == tuple(ids)
    assert read.in_reply_to == tuple(ids[-1:])
    assert b"=?" not in b"".join(line for line in mail.split(b"\r\n") if line.startswith((b"References", b"In-Reply")))


@many
@given(BODY, BODY)
def test_P02_text_and_html_read_back_and_the_octets_are_fit_for_the_wire(text, html):  # noqa: N802 (named for its row)
    assume("\ud800" not in text + html)
    mail = is_fit(composed(text, html))
    read = email.message_from_bytes(mail, policy=email.policy.default)
    assert lf(read.get_body(("plain",)).get_content()).rstrip("\n") == lf(text).rstrip("\n")
    assert lf(read.get_body(("html",)).get_content()).rstrip("\n") == lf(html).rstrip("\n")
    assert read.defects == []
    assert [part.get_content_type() for part in read.walk()] == ["multipart/alternative", "text/plain", "text/html"]


@many
@given(BODY)
def test_our_own_parser_reads_the_text_back(text):
    # What shows nothing is no text: then the HTML beside it is read.
    assume(without_unseen(text).strip() and "\ud800" not in text and "\0" not in text)
    read = parse(composed(text))
    assert "".join(read.text.split()) == "".join(text.split())
    assert read.defects == ()


@many
@given(TEXT, TEXT, st.binary(min_size=1, max_size=300))
def test_files_read_back_and_their_names_make_no_field(name, media_type, content):
    name = clean_name(name)[:80]  # as mail/parse.py cleans it
    mail = is_fit(composed(parts=[Part(name, media_type, content)]))
    read = email.message_from_bytes(mail, policy=email.policy.default)
    (attached,) = read.iter_attachments()
    assert attached.get_payload(decode=True) == content
    assert {each.lower() for each in attached.keys()} == {  # noqa: SIM118 (a mail, not a dict)
        "content-type", "content-transfer-encoding", "content-disposition",
    }  # fmt: skip
    assert attached.get_content_type() == (
        media_type if re.fullmatch(r"[a-z0-9.+-]+/[a-z0-9.+-]+", media_type) else attached.get_content_type()
    )
    (ours,) = parse(mail).attachments
    assert ours.content == content


@pytest.mark.parametrize("name", ["報價單.pdf", "a b.pdf", 'a"b.pdf', "a;b=c.pdf", "a%b'c.pdf", "x" * 200, "é" * 60])
def test_a_file_keeps_its_name(name):
    mail = is_fit(composed(parts=[Part(name, "application/pdf", b"%PDF")]))
    (attached,) = email.message_from_bytes(mail, policy=email.policy.default).iter_attachments()
    assert attached.get_filename() == name


@pytest.mark.parametrize("name", ["報" * 200, "é" * 200, "x" * 990])
def test_a_long_file_name_makes_no_line_beyond_998(name):
    is_fit(composed(parts=[Part(name, "application/pdf", b"%PDF")]))


@pytest.mark.parametrize(
    "media_type", ["text/html", "message/rfc822", "multipart/mixed", "x", "", "a/b\r\nX: y", "Text/HTML", "a/b; c=d"]
)
def test_what_a_file_says_it_is_never_becomes_structure(media_type):
    mail = composed(parts=[Part("x", media_type, b"--=_1\r\n\r\nX")])
    (attached,) = email.message_from_bytes(mail, policy=email.policy.default).iter_attachments()
    assert attached.get_content_type() == "application/octet-stream"


def test_a_text_that_holds_a_boundary_of_an_older_mail_stays_text():
    old = composed("first")
    boundary = re.search(rb'boundary="([^"]+)"', old)[1].decode()
    read = email.message_from_bytes(composed(f"--{boundary}--\n\n--{boundary}\nX: y\n"), policy=email.policy.default)
    assert f"--{boundary}--" in read.get_body(("plain",)).get_content()


@pytest.mark.parametrize("field", ["subject", "message_id", "list_id", "automatic", "record", "subtype"])
@pytest.mark.parametrize("evil", ["x\r\nBcc: y@example.com", "x\ny", "x\ry", "x\0y"])
def test_a_line_break_in_a_field_raises(field, evil):
    with pytest.raises(ValueError, match="control characters"):
        composed(**{field: evil})


def test_a_line_break_in_an_ancestor_raises():
    with pytest.raises(ValueError, match="control characters"):
        composed(ancestors=["x@example.com>\r\nBcc: y@example.com"])


def test_a_reason_with_a_line_break_raises():
    with pytest.raises(ValueError, match="control characters"):
        composed(reason="x\r\nBcc: y@example.com")


def test_what_the_contract_names_stands_in_a_mail():
    mail = composed(ancestors=["root@x.example", "parent@x.example"], automatic="auto-generated")
    read = email.message_from_bytes(mail, policy=email.policy.default)
    assert read["From"] == "A君 <s00001@sales.example.com>"
    assert read["Reply-To"] == str(TAGGED)
    assert read["To"] == "Wang <wang@acme.example>"
    assert read["Message-ID"] == "<1@sales.example.com>"
    assert read["References"] == "<root@x.example> <parent@x.example>"
    assert read["In-Reply-To"] == "<parent@x.example>"
    assert read["List-Id"] == "<sales.sales.example.com>"
    assert read["List-Unsubscribe"] == f"<mailto:{TAGGED}>"
    assert read["Auto-Submitted"] == "auto-generated"
    assert read["X-Auto-Response-Suppress"] == "All"
    assert read["X-Replygate-Record"] == "S00001"
    assert read["X-Replygate-Subtype"] == "discussion"
    assert read["X-Replygate-Reason"] == "follows sales"


def test_what_is_not_given_does_not_stand_there():
    body = shared_body("x", "x", [])
    block = header(shared_fields(envelope(list_id="", record="")), body, "", TO, None, None, "")
    names = field_names(block + b"\r\n" + body.octets)
    assert not {"reply-to", "list-unsubscribe", "x-replygate-reason", "list-id", "auto-submitted", "references",
                "x-replygate-record"} & set(names)  # fmt: skip


def test_a_long_name_outside_ascii_is_folded():
    mail = is_fit(composed(author="王" * 200, name="é" * 200, subject="報" * 400))
    assert max(len(line) for line in mail.partition(b"\r\n\r\n")[0].split(b"\r\n")) <= 998
    assert parse(mail).author.name == "王" * 200


@pytest.mark.parametrize("local", ["x" * 64, "o'brien", "a+b", "a=b", "a%b", "a|b", "#a", "{a}"])
def test_any_address_we_take_reads_back(local):
    to = parse_address(f"{local}@acme.example")
    body = shared_body("x", "x", [])
    mail = header(shared_fields(envelope()), body, "王 Wang", to, None, None, "") + b"\r\n" + body.octets
    assert parse(mail).to[0].address == to
