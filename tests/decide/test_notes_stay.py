"""A01 and A09 edge to edge: what a note says, and a reader's tag, however somebody carries it out of the house."""
# ruff: noqa: N802 (rows have capital names)

import base64
import quopri

import pytest

from gateway.decide import held as decide_held
from gateway.store.held import Held
from gateway.worker import now_ms
from tests.kit.decoded import everything
from tests.kit.house import INSIDE, D

SECRET = "our floor is 5800 and the partner would walk away below it kanari0000001z"
WANG = "wang@acme.example"


@pytest.fixture
def house(made):
    """ACME's quotation, on which ACME hears and A君 left a note."""
    made.follow("S00001", WANG, "discussion")
    assert made.write("a@example.com", f"s00001-note@{D}", SECRET) == ("posted", "")
    return made


def heard_outside(house) -> bytes:
    return b"\n".join(everything(each.octets) for each in house.sent() if not each.to.endswith("@example.com"))


def attached(media: str, octets: bytes, name: str = "x.eml", encoding: str = "base64") -> tuple[str, str]:
    """Return the head and the body of a mail with one attachment."""
    coded = {"base64": base64.encodebytes, "8bit": bytes, "quoted-printable": quopri.encodestring}[encoding](octets)
    head = 'MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary="b"'
    parts = (
        f'--b\r\n\r\nsee it\r\n--b\r\nContent-Type: {media}\r\nContent-Disposition: attachment; filename="{name}"\r\n'
    )
    body = f"{parts}Content-Transfer-Encoding: {encoding}\r\n\r\n{coded.decode('utf-8', 'surrogateescape')}\r\n--b--"
    return head, body


MAIL = f"From: a@example.com\r\nSubject: x\r\nMIME-Version: 1.0\r\n\r\n{SECRET}\r\n".encode()
IN_MAIL = b'Subject: y\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="i"\r\n\r\n--i\r\nContent-Type: message/rfc822\r\n\r\n'
CARRIED = {
    "a mail": ("message/rfc822", MAIL, "x.eml", "8bit"),
    "a mail that is called octets": ("application/octet-stream", MAIL, "x.eml", "base64"),
    "a mailbox": ("application/mbox", b"From a Mon Nov 23\r\n" + MAIL, "x.mbox", "base64"),
    "a mail in a mail": ("message/rfc822", IN_MAIL + MAIL + b"\r\n--i--\r\n", "x.eml", "8bit"),
    "a text": ("text/plain", SECRET.encode(), "x.txt", "base64"),
    "a text in UTF-16": ("text/plain", SECRET.encode("utf-16"), "x.txt", "base64"),
    "a text in UTF-16 that is mostly Chinese": ("text/plain", f"內部備註：只有內部同事看得到。\n{SECRET}\n我告事限".encode("utf-16"), "x.txt", "base64"),
    "a page": ("text/html", f"<html><p>{SECRET.replace(' ', '<br> ')}</p>".encode(), "x.html", "quoted-printable"),
    "a text that is called octets": ("application/octet-stream", SECRET.encode(), "x.dat", "base64"),
}  # fmt: skip


@pytest.mark.parametrize("case", CARRIED)
def test_A01_a_note_carried_in_an_attachment_is_held_for_its_author(house, case):
    media, octets, name, encoding = CARRIED[case]
    head, body = attached(media, octets, name, encoding)
    assert house.write("a@example.com", f"s00001@{D}", body, head=head) == ("held", "quotes a note")
    assert b"kanari" not in heard_outside(house)


def test_A01_released_because_its_author_is_sure_a_mail_that_quotes_a_note_is_still_asked_about(house):
    """Who released it was told that nothing proves its author, not that it quotes a note."""
    assert house.write("a@example.com", f"s00001@{D}", f"FYI {SECRET}", sure=False) == ("held", "not authenticated")
    release(house, house.held()[0])
    assert [each.cause for each in house.held()] == ["quotes a note"]
    assert b"kanari" not in heard_outside(house)
    release(house, house.held()[0])
    assert house.held() == []
    assert b"kanari" in heard_outside(house), "who knew that it quotes a note has decided"


def release(house, kept: Held) -> None:
    with house.store.write() as tx:
        decide_held.decide(tx, "release", kept, "cheng", now_ms())
    house.run()


@pytest.mark.parametrize("other", [f"s00002@{D}", f"sales@{D}"])
def test_A01_a_note_whose_server_hands_it_over_once_for_each_recipient_is_a_note_everywhere(house, other):
    house.quotation()
    content = (
        f"From: a@example.com\r\nTo: s00001-note@{D}\r\nCc: {other}\r\nMessage-ID: <n1@x>\r\n\r\nkanari, the floor\r\n"
    )
    for to in (other, f"s00001-note@{D}"):
        assert house.take(content.encode(), to, peer=INSIDE, return_path="a@example.com") == ("posted", "")
    assert [row.subtype for row in house.messages()[-2:]] == ["note", "note"]
    assert b"kanari" not in heard_outside(house)


def test_A01_what_an_outsider_writes_as_a_note_is_no_discussion(house):
    """A colleague at a private address, it may be: they mean it for those inside."""
    house.follow("S00001", "a.home@x.example")
    assert house.write("a.home@x.example", f"s00001@{D}", "/note\nkanari") == ("held", "not a person")
    assert b"kanari" not in heard_outside(house)


@pytest.mark.parametrize("encoding", ["8bit", "base64", "quoted-printable"])
def test_A09_an_attached_mail_of_ours_goes_without_its_readers_tag(house, encoding):
    tag = house.tagged("S00001", WANG)
    mail = (
        f"From: s00001@{D}\r\nReply-To: {tag}\r\n\r\nUnfollow: {house.tagged('S00001', WANG, 'unfollow')}\r\n".encode()
    )
    inner = b"Subject: fw\r\nContent-Transfer-Encoding: base64\r\n\r\n" + base64.encodebytes(mail)
    for octets in (mail, inner):
        head, body = attached("application/octet-stream", octets, "x.eml", encoding)
        assert house.write("a@example.com", f"s00001@{D}", body, head=head) == ("posted", "")
    to_others = [everything(each.octets) for each in house.sent() if each.to != WANG]
    assert to_others
    assert not [each for each in to_others if tag.partition("+")[2].partition("@")[0].encode() in each]


def test_A09_a_notice_of_a_held_mail_shows_no_readers_tag(house):
    tag = house.tagged("S00001", WANG)
    assert house.write("x@x.example", f"gateway@{D}", f"> {tag}\nwhat is this?")[0] == "held"
    assert not [each for each in house.sent() if each.to != WANG and tag in each.text]


def test_A09_a_tag_that_a_program_wrapped_is_no_less_a_tag(house):
    tag = house.tagged("S00001", WANG)
    quoted = f"{tag[:20]}\n> {tag[20:40]}\n> {tag[40:]}"
    assert house.write("a@example.com", f"s00001@{D}", f"yes\n> {quoted}\nno") == ("posted", "")
    text = house.messages()[-1].text.replace("\n> ", "")
    assert tag not in text
    assert f"s00001@{D}" in text


def test_A01_a_note_by_bcc_that_is_released_at_another_recipient_stays_a_note(house):
    """The note's address stands in the envelope alone, and whoever releases decides about one recipient."""
    house.quotation()
    content = f"From: a@example.com\r\nTo: s00002@{D}\r\nMessage-ID: <n2@x>\r\n\r\nkanari, the floor\r\n"
    house.take(content.encode(), f"s00002@{D}", f"s00001-note@{D}", return_path="a@example.com")
    release(house, next(each for each in house.held() if each.to.startswith("s00002")))
    assert house.messages()[-1].subtype == "note"
    assert b"kanari" not in heard_outside(house)


def test_A01_the_root_of_a_thread_is_no_note(made):
    """A note's own Message-ID is not shown in References to those outside."""
    made.write("a@example.com", f"sales-note@{D}", SECRET, number="kanari-in-the-id")
    made.follow("SALES", WANG, "discussion")
    made.write("b@example.com", f"sales@{D}", "the fair is in May")
    assert any(each.to == WANG for each in made.sent())
    assert b"kanari" not in heard_outside(made)


def test_A01_a_quote_posted_where_nobody_outside_hears_stays_inside_whoever_follows_later(made):
    """Somebody may come to follow between the posting and the fan-out."""
    ref = made.announce(title="inner", salesperson="a", actor="a", team="sales")
    made.write("a@example.com", f"{ref.lower()}-note@{D}", SECRET)
    assert made.write("b@example.com", f"{ref.lower()}@{D}", f"FYI {SECRET}") == ("posted", "")
    made.follow(ref, "carol@x.example", "*")
    assert any("kanari" in each.text for each in made.sent() if each["X-Replygate-Subtype"] == "discussion")
    assert b"kanari" not in heard_outside(made)


def test_A01_a_quote_on_a_record_whose_customer_does_not_follow_is_asked_about(made):
    """An answer or an event may let them hear without another word of its author."""
    made.write("a@example.com", f"s00001-note@{D}", SECRET)
    assert made.write("b@example.com", f"s00001@{D}", f"FYI {SECRET}") == ("held", "quotes a note")


@pytest.mark.parametrize("other", ["", "s00002", "sales"])
def test_A01_the_answer_to_a_note_is_a_note_wherever_it_goes(house, other):
    house.quotation()
    note = next(each for each in house.sent() if each["X-Replygate-Subtype"] == "note")
    to = f"{other or 's00001'}@{D}"
    assert house.write(note.to, to, "kanari, yes", head=f"In-Reply-To: {note['Message-ID']}") == ("posted", "")
    assert house.messages()[-1].subtype == "note"
    assert b"kanari" not in heard_outside(house)


def test_A01_an_answer_to_a_note_creates_no_record(house):
    note = next(each for each in house.sent() if each["X-Replygate-Subtype"] == "note")
    head = f"In-Reply-To: {note['Message-ID']}"
    assert house.write(note.to, f"quotations@{D}", "kanari", head=head) == ("held", "note")


def test_A09_followers_outside_get_a_tag_each_and_no_rule(house):
    house.follow("S00001", "carol@x.example", "discussion")
    house.write("b@example.com", f"s00001@{D}", "here is our offer")
    outside = [each for each in house.sent() if each.to in (WANG, "carol@x.example")]
    assert len(outside) == 2
    for each in outside:
        other = "carol@x.example" if each.to == WANG else WANG
        theirs = house.tagged("S00001", other, "unfollow").partition("+")[2].partition("@")[0].encode()
        assert theirs not in everything(each.octets)
        assert each["X-Replygate-Reason"] == ""


def test_A01_whom_a_note_names_in_cc_follows_nothing(house):
    """Their author's own mail server took it there; nothing of ours follows it."""
    octets = (
        f"From: a@example.com\r\nTo: s00001-note@{D}\r\nCc: eve@other.example\r\nMessage-ID: <cc@x>\r\n\r\nkanari\r\n"
    )
    assert house.take(octets.encode(), f"s00001-note@{D}", peer=INSIDE, return_path="a@example.com") == ("posted", "")
    assert "eve@other.example" not in house.choices()


def test_A02_an_outsider_answers_nothing_that_no_outsider_was_shown(house):
    inner = [row for row in house.messages() if row.internal]
    assert {row.subtype for row in inner} >= {"quotation.created", "note"}
    for number, row in enumerate(inner):
        head = f"In-Reply-To: <{row.message_id}>"
        assert house.write(WANG, f"s00001@{D}", f"answer {number}", head=head) == ("posted", "")
        assert house.messages()[-1].parent_id is None


def test_A01_the_mail_of_a_note_is_asked_about_however_short_the_note_is(house):
    assert house.write("a@example.com", f"s00001-note@{D}", "kanari") == ("posted", "")
    note = next(each for each in house.sent() if each["X-Replygate-Subtype"] == "note" and SECRET not in each.text)
    head, body = attached("message/rfc822", note.octets, encoding="8bit")
    assert house.write("b@example.com", f"s00001@{D}", body, head=head) == ("held", "quotes a note")


@pytest.mark.parametrize("text", ["/note kanari", "/備註\nkanari"])
def test_A01_what_is_written_as_a_note_creates_no_record(house, text):
    """Its subject would be the record's title, which the customer reads."""
    assert house.write("a@example.com", f"quotations@{D}", text) == ("held", "note")


def test_A01_a_subject_that_quotes_a_note_is_no_title(house):
    content = f"From: a@example.com\r\nTo: quotations@{D}\r\nSubject: {SECRET}\r\nMessage-ID: <t@x>\r\n\r\nchairs\r\n"
    became = house.take(content.encode(), f"quotations@{D}", peer=INSIDE, return_path="a@example.com")
    assert became == ("held", "note")
