"""What a fifth look found: text that is no secret, release that releases, an old offer's yes, offers that mean another thing."""

import time
from email.utils import formatdate

import pytest
import sqlalchemy as sa

from gateway.decide import held as held_by_hand
from gateway.people import FILE as PEOPLE
from gateway.store import tables
from gateway.worker import now_ms
from tests.decide.test_selling import pdf_mail, record, told
from tests.kit.house import CUSTOMER, INSIDE, NOBODY, OUTSIDE, D

A, B, CHIA, CHENG, WANG = "a@example.com", "b@example.com", "chia@example.com", "cheng@example.com", "wang@acme.example"
S, L, I = f"s00001@{D}", f"l00001@{D}", f"i00001@{D}"  # noqa: E741 (as references begin)


def mail(who, subject, text, head="", number="n", to=S, kind="text/plain; charset=utf-8"):
    return (
        f"From: {who}\r\nTo: {to}\r\nSubject: {subject}\r\nMessage-ID: <{number}@x>\r\n{head}MIME-Version: 1.0\r\n"
        f"Content-Type: {kind}\r\n\r\n{text}\r\n"
    ).encode()


def html(text):
    return (
        "<html><body>"
        + "".join(f"<p class=MsoNormal>{line or '&nbsp;'}</p>" for line in text.split("\n"))
        + "</body></html>"
    )


def first(house, who=A, what="transcript"):
    return told(house, who, what)[-1].mail.get_body(("plain",)).get_content()


def offers(house):
    return [line.strip() for line in first(house).split("\n") if line.startswith("    ")]


def release(house):
    """Release all that is held, as the administrator does, and let it be decided."""
    for each in house.held():
        with house.store.write() as tx:
            assert held_by_hand.decide(tx, "release", each, "cheng", now_ms())
    house.run()
    return [(each.cause, each.reason) for each in house.held()]


# ---- what is no secret of a note

SIGNATURE = (
    "陳大文 Alex Chen | 業務經理 Sales Manager\nExample Trading Co., Ltd. 範例貿易股份有限公司\n"
    "110 台北市信義區信義路五段七號三十樓 Tel: +886-2-2345-6789 ext 123\n\n"
    "This e-mail and any attachments are confidential and intended solely for the addressee."
)
SECRET = "We can go down to ninety-five thousand for them, but no further, whatever they say."


def test_a_signature_below_a_note_is_no_secret(made):
    made.follow("S00001", WANG)
    for number, (who, text) in enumerate((
        (A, "Dear Mr Wang, the chairs can be delivered in May."), (A, f"/note\n{SECRET}"),
        (A, "Dear Mr Wang, I called but could not reach you."),
    )):  # fmt: skip
        content = mail(
            who, "Re: [S00001] chairs", html(f"{text}\n\n{SIGNATURE}"), number=number, kind="text/html; charset=utf-8"
        )
        assert made.take(content, S, peer=INSIDE, return_path=who) == ("posted", "")
        made.sent()
    other = made.quotation(title="desks")
    made.follow(other, WANG)
    content = mail(
        A,
        "x",
        html(f"Dear Mr Wang, the desks can be had in oak.\n\n{SIGNATURE}"),
        number="o",
        kind="text/html; charset=utf-8",
    )
    assert made.take(content, f"{other.lower()}@{D}", peer=INSIDE, return_path=A) == ("posted", "")
    said = mail(A, "x", html(f"Dear Mr Wang, {SECRET}\n\n{SIGNATURE}"), number="s", kind="text/html; charset=utf-8")
    assert made.take(said, S, peer=INSIDE, return_path=A) == ("held", "quotes a note")


def test_a_disclaimer_of_the_company_is_learnt_by_one_release(made):
    made.follow("S00001", WANG)
    made.write(A, S, f"/note\r\n{SECRET}\r\n\r\n{SIGNATURE}")
    assert made.write(B, S, f"I stand in for Alex today.\r\n\r\n{SIGNATURE}") == ("held", "quotes a note")
    assert release(made) == []
    made.sent()
    assert made.write(B, S, f"One more thing: they are grey.\r\n\r\n{SIGNATURE}") == ("posted", "")


def test_what_the_customer_wrote_is_no_secret_though_a_note_holds_it(made):
    asked = "Could you please deliver the chairs to our warehouse in Kaohsiung before the tenth of December?"
    made.follow("S00001", WANG)
    made.write(WANG, S, asked)
    made.write(A, f"s00001-note@{D}", f"B, can we?\r\n\r\n{asked}\r\n\r\n{SECRET}")
    assert made.write(A, S, f"> {asked}\r\n\r\nYes, we can.") == ("posted", "")
    assert made.write(WANG, S, f"You did not answer: {asked}") == ("posted", "")
    assert made.write(A, S, f"> {asked}\r\n\r\nYes. {SECRET}") == ("held", "quotes a note")


ASKED = (
    "Could you deliver the chairs to Kaohsiung before the tenth of December?",
    "Would there be a discount if we took twenty chairs more than that?",
    "And could we pay ninety days after the delivery of the last chair?",
)


def test_short_secrets_between_what_the_customer_wrote_are_secrets(made):
    made.follow("S00001", WANG)
    made.write(WANG, S, "\r\n".join(ASKED))
    note = "\r\n".join(
        f"{q}\r\n{a}" for q, a in zip(ASKED, ("Only for 150k.", "Down to 95,000.", "Never."), strict=True)
    )
    made.write(A, f"s00001-note@{D}", note)
    made.sent()
    assert made.write(B, S, f"Dear Mr Wang, see below.\r\n\r\n{note}") == ("held", "quotes a note")
    assert made.write(B, S, f"> {ASKED[1]}\r\n\r\nYes.") == ("posted", "")


def test_what_another_customer_was_written_is_a_secret_of_a_note(made):
    offer = "we offer you the oak chairs at 95,000 with ninety days of credit, our very best price"
    other = made.quotation(title="desks", customer={"name": "Li", "email": "li@x.example"})
    made.follow(other, "li@x.example")
    made.write(A, f"{other.lower()}@{D}", f"Dear Ms Li,\r\n\r\n{offer}.\r\n\r\nA")
    made.write(B, f"{other.lower()}-note@{D}", f"So we said: {offer}.")
    made.sent()
    made.follow("S00001", WANG)
    made.write(A, f"s00001-note@{D}", f"What Li got: {offer}.")
    assert made.write(CHIA, S, f"By the way, {offer}.") == ("held", "quotes a note")


def test_what_came_back_from_a_note_stays_inside_when_it_is_released(made):
    made.follow("S00001", WANG)
    made.follow("S00001", "b", "note")
    made.write(A, f"s00001-note@{D}", "our floor is near")
    made.sent()
    with made.store.read() as tx:
        ids = tx.execute(sa.select(tables.delivery.c.id).where(tables.delivery.c.internal)).scalars().all()
    back = str(made.addresses.return_path(ids[-1]))
    assert made.take(mail(B, "Re", "the floor is 95000", to=back), back, peer=INSIDE, return_path=B) == (
        "held",
        "return path",
    )
    assert release(made) == []
    assert made.messages()[-1].internal
    assert not [each for each in made.sent() if each.to == WANG and "95000" in each.text]


@pytest.mark.parametrize("to", [f"s00001-note+old@{D}", f"s00001-notes@{D}", f"s00001-confirm+old@{D}"])
def test_what_came_to_a_past_address_by_a_mailbox_is_told_and_stays_inside_when_it_is_released(made, to):
    made.follow("S00001", WANG)
    content = mail(A, "x", "for those inside", to=to)
    assert made.take(content, to, door="imap", peer=INSIDE, return_path=A)[:1] == ("held",)
    assert told(made, A, "held")
    assert release(made) == []
    assert made.messages()[-1].text == "for those inside"
    assert not [each for each in made.sent() if each.to == WANG and "for those inside" in each.text]


def test_what_those_inside_alone_discussed_stays_a_secret(made):
    made.edit("people", "email: [wang@acme.example]", "email: [wang2@acme.example]")
    inner = made.announce("quotation.created", title="inner", salesperson="a", actor="a", team="sales")
    made.write(A, f"{inner.lower()}@{D}", SECRET)  # nobody outside hears
    made.write(A, f"{inner.lower()}-note@{D}", f"/note {SECRET}")
    made.sent()
    made.follow("S00001", WANG)
    assert made.write(A, S, SECRET) == ("held", "quotes a note")


@pytest.mark.parametrize("said", [{"title": SECRET}, {"lines": [{"name": SECRET, "quantity": 1, "price": "5"}]}])
def test_the_record_system_shows_no_note_in_a_title_or_a_line(made, said):
    made.write(A, f"s00001-note@{D}", SECRET)
    with pytest.raises(AssertionError, match="quotes an internal note"):
        made.announce("changed", ref="S00001", **said)


# ---- release releases


@pytest.mark.parametrize(("head", "text"), [
    ("Auto-Submitted: auto-generated\r\n", "We want 30 desks"), ("List-Id: <all.x.example>\r\nPrecedence: list\r\n", "We want 30 desks"),
])  # fmt: skip
def test_a_form_s_enquiry_is_told_of_and_makes_a_lead_when_it_is_released(made, head, text):
    content = mail("noreply@x.example", "enquiry", text, head, to=f"leads@{D}")
    assert made.take(content, f"leads@{D}", peer=OUTSIDE, return_path="noreply@x.example") == ("held", "automatic")
    assert len(told(made, CHENG, "held")) == 1
    assert release(made) == []
    assert record(made, "L00001").title == "enquiry"


@pytest.mark.parametrize("author", ["Wang; ACME <wang@acme.example>", "Wang, Xiaoming <wang@acme.example>", "nobody"])
def test_a_mail_of_nobody_we_can_name_is_posted_inside_when_it_is_released(made, author):
    made.follow("S00001", "li@x.example")
    for to, content in (
        (S, mail(author, "Re", "we want 20 more")),
        (f"leads@{D}", mail(author, "enquiry", "20 desks", number="m")),
    ):
        assert made.take(content, to, peer=CUSTOMER, return_path=WANG) == ("held", "no author")
    assert release(made) == []
    (said,) = (each for each in made.messages() if "20 more" in each.text)
    assert said.author_email == ""
    assert said.author_name == author
    assert record(made, "L00001").customer.name == author
    assert not [each for each in made.sent() if each.to == "li@x.example" and "20 more" in each.text]
    assert [each for each in made.sent() if each.to == A and "20 more" in each.text]


def test_what_a_person_wrote_to_a_return_path_comes_to_the_thread_when_it_is_released(made):
    made.follow("S00001", WANG)
    made.write(A, S, "Dear Mr Wang")
    made.sent()
    with made.store.read() as tx:
        back = str(made.addresses.return_path(tx.execute(sa.select(tables.delivery.c.id)).scalars().first()))
    assert made.take(mail(WANG, "Re", "we take them", to=back), back, peer=CUSTOMER, return_path=WANG) == (
        "held",
        "return path",
    )
    assert release(made) == []
    assert made.messages()[-1].text == "we take them"


def test_what_the_postmaster_got_is_done_when_it_is_released(made):
    to = f"postmaster@{D}"
    assert (
        made.take(mail("x@x.example", "spam", "you sent me spam", to=to), to, peer=OUTSIDE, return_path="x@x.example")[
            0
        ]
        == "held"
    )
    assert release(made) == []


def test_an_outsider_s_mail_to_the_address_of_notes_is_posted_inside_when_it_is_released(made):
    made.follow("S00001", "li@x.example")
    to = f"s00001-note@{D}"
    assert made.take(mail(WANG, "Re", "for you alone", to=to), to, peer=CUSTOMER, return_path=WANG) == (
        "held",
        "not a person",
    )
    assert release(made) == []
    said = made.messages()[-1]
    assert (said.subtype, said.text) == ("discussion", "for you alone")
    heard = {each.to for each in made.sent() if "for you alone" in each.text}
    assert A in heard
    assert "li@x.example" not in heard


# ---- what cannot be read, and what is written where nobody looks

SEALED = [
    "application/pkcs7-mime; name=smime.p7m",
    "application/ms-tnef; name=winmail.dat",
    "application/octet-stream; name=smime.p7m",
    "application/octet-stream; name=winmail.dat",
]


@pytest.mark.parametrize("kind", SEALED)
def test_what_cannot_be_read_of_our_own_people_goes_to_nobody_before_somebody_looked(made, kind):
    made.follow("S00001", WANG)
    sealed = "MIAGCSqGSIb3DQEHAqCAMIACAQExADCABgkqhkiG9w0BBwGggA=="
    content = mail(A, "Re: [S00001] chairs", sealed, "Content-Transfer-Encoding: base64\r\n", kind=kind)
    assert made.take(content, S, peer=INSIDE, return_path=A) == ("held", "unreadable")
    assert len(told(made, A, "held")) == 1
    assert not [each for each in made.sent() if each.to == WANG]
    assert release(made) == []
    assert made.messages()[-1].subtype == "discussion"


def test_a_note_that_is_a_file_alone_or_is_said_in_the_subject_is_not_public(made):
    made.follow("S00001", WANG)
    content = mail(A, "x", "/note not for them", "Content-Disposition: attachment; filename=t.txt\r\n")
    assert made.take(content, S, peer=INSIDE, return_path=A) == ("done", "mistake")
    assert made.take(mail(A, "/備註", "not for them", number="g"), S, peer=INSIDE, return_path=A) == ("done", "mistake")
    assert not [each for each in made.sent() if each.to == WANG]


def test_an_empty_mail_to_the_address_of_notes_is_no_note(made):
    assert made.write(A, f"s00001-note@{D}", "") == ("done", "mistake")


# ---- who vouches, and what a calendar answers


def test_forgers_use_up_nothing_of_who_is_proved(make):
    rules = (
        (make().folder / "rules.yaml").read_text("utf-8").replace("node: {messages: 1000000,", "node: {messages: 3,")
    )
    house = make("other", rules=rules)
    for number in range(5):
        forged = mail(f"f{number}@far.example", "x", "x", number=number)
        house.take(forged, S, peer=NOBODY, return_path=f"f{number}@far.example")
    assert [each.cause for each in house.held()].count("flood") == 2
    assert house.write(WANG, S, "a question of mine") == ("posted", "")


def test_what_a_customer_wrote_into_the_answer_of_a_calendar_is_heard_inside(made):
    made.follow("S00001", WANG)
    body = (
        "--q\r\nContent-Type: text/plain\r\n\r\nMonday does not work, please come on Tuesday.\r\n--q\r\n"
        "Content-Type: text/calendar; method=REPLY\r\n\r\nBEGIN:VCALENDAR\r\nMETHOD:REPLY\r\nBEGIN:VEVENT\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n--q--"
    )
    content = mail(WANG, "Declined: Visit", body, kind='multipart/alternative; boundary="q"')
    assert made.take(content, S, peer=CUSTOMER, return_path=WANG) == ("posted", "")
    assert [each for each in made.sent() if each.to == A and "come on Tuesday" in each.text]


def test_nobody_of_ours_lives_in_the_gateway_s_domain(made):
    file = made.folder / PEOPLE
    file.write_text(file.read_text("utf-8").replace("email: b@example.com", f"email: b@{D}"), "utf-8")
    (problem,) = made.site.reload()
    assert f"b@{D} is an address of the gateway's" in str(problem)


# ---- an old offer's yes


@pytest.mark.parametrize("how", ["its button", "its answer", "its day"])
def test_a_yes_to_an_offer_that_a_later_one_changed_asks_the_salesperson(made, how):
    made.write(A, S, "/set amount 120000\r\n/send")
    (old,) = told(made, WANG, "quotation.sent")
    then = now_ms() / 1000 - 3600
    with made.store.write() as tx:
        tx.execute(sa.update(tables.message).values(at=tables.message.c.at - 7_200_000))
    made.write(A, S, "/set amount 150000\r\n/send")
    assert "S00001%20%282%29" in told(made, WANG, "quotation.sent")[-1].text
    to = made.tagged("S00001", WANG, "accept")
    head = {"its answer": f"In-Reply-To: {old['Message-ID']}\r\n", "its day": f"Date: {formatdate(then)}\r\n"}.get(
        how, ""
    )
    subject = "Accept the offer S00001 (1) [External]" if how == "its button" else "yes"
    content = mail(WANG, subject, "Accept the offer", head or f"Date: {formatdate(time.time())}\r\n", to=to)
    assert made.take(content, to, peer=CUSTOMER, return_path=WANG) == ("held", "changed")
    again = mail(WANG, "Accept the offer S00001 (2)", "Accept the offer", number="two", to=to)
    assert made.take(again, to, peer=CUSTOMER, return_path=WANG) == ("posted", "")
    assert record(made).state == "confirmed"


def test_an_old_yes_to_an_offer_that_was_a_file_alone_asks_too(make):
    house = make("bare")
    house.announce(
        "quotation.created", title="bare", salesperson="a", actor="a", team="sales", customer={"email": WANG}
    )
    for number in ("one", "two"):
        content = pdf_mail(f"s00002@{D}", "/send", f"{number}.pdf", number)
        assert house.take(content, f"s00002@{D}", peer=INSIDE, return_path=A) == ("posted", "")
        house.sent()
    to = house.tagged("S00002", WANG, "accept")
    content = mail(WANG, "Accept the offer S00002 (1)", "Accept the offer", to=to)
    assert house.take(content, to, peer=CUSTOMER, return_path=WANG) == ("held", "changed")


def test_what_a_button_wrote_is_not_the_customer_s(offered):
    offered.write(A, S, "/send")
    to = offered.tagged("S00001", WANG, "decline")
    offered.take(
        mail(WANG, "Decline the offer S00001", "Decline the offer", to=to), to, peer=CUSTOMER, return_path=WANG
    )
    assert offered.messages()[-1].text == ""
    late = offered.tagged("S00001", WANG, "accept")
    before = len(offered.messages())
    offered.take(
        mail(WANG, "Accept the offer S00001", "Accept the offer", number="l", to=late),
        late,
        peer=CUSTOMER,
        return_path=WANG,
    )
    assert len(offered.messages()) == before


def test_the_customer_has_the_offer_in_the_salesperson_s_name(made):
    made.write(CHIA, S, "/送出")
    assert told(made, WANG, "quotation.sent")[-1]["From"].startswith("A君 <")


# ---- who hears, and what is offered


def test_a_mail_names_whom_its_author_wrote_to_as_well(made):
    content = mail(CHIA, "x", "We can do 95,000.", f"Cc: {B}, Wang <{WANG}>\r\n")
    made.take(content, S, peer=INSIDE, return_path=CHIA)
    (copy,) = (each for each in made.sent() if each.to == A and "95,000" in each.text)
    line = next(
        line for line in copy.mail.get_body(("plain",)).get_content().split("\n") if line.startswith("收到此訊息的人")
    )
    assert "B君" in line
    assert "ACME" in line
    assert "賈小姐" not in line


@pytest.mark.parametrize(
    "below", ["\r\n\r\nA君\r\n業務部", "\r\n\r\nBest regards,\r\nA君", "\r\n\r\nThis e-mail is confidential.", ""]
)
def test_a_reason_that_nobody_wrote_is_asked_for_whatever_stands_below(offered, below):
    to = f"l00001-lost@{D}"
    content = mail(A, "失去 L00001", f"原因{below}", to=to)
    assert offered.take(content, to, peer=INSIDE, return_path=A) == ("done", "mistake")
    assert record(offered, "L00001").state == "open"


@pytest.mark.parametrize("text", ["太貴了\r\n原因\r\n\r\nA君", "原因\r\n太貴了\r\n\r\nA君"])
def test_a_reason_beside_the_word_for_it_is_one(offered, text):
    to = f"l00001-lost@{D}"
    offered.take(mail(A, "失去 L00001", text, to=to), to, peer=INSIDE, return_path=A)
    assert record(offered, "L00001").fields["reason"] == "太貴了"


@pytest.mark.parametrize(
    "line",
    ["/remind tomorrow call", "/FYI", "/cc b", "/mail", "/close", "/see attached", "/info", "/confirm /set amount 5"],
)
def test_nothing_is_offered_that_does_another_thing_than_was_written(offered, line):
    assert offered.write(A, S, line) == ("done", "mistake")
    assert not {"/send", "/confirm", "/cancel", "/unfollow", "/remove chia"} & set(offers(offered))


@pytest.mark.parametrize(
    ("line", "works"), [("/confrim", "/confirm"), ("/cancle", "/cancel"), ("/sned", "/send"), ("/確任", "/確認")]
)
def test_a_slip_of_the_fingers_is_mended(offered, line, works):
    assert offered.write(A, S, line) == ("done", "mistake")
    assert works in offers(offered)


@pytest.mark.parametrize(("line", "name", "value"), [
    ("/設定金額１２００００", "amount", "120000"), ("/設定金額12萬", "amount", "120000"), ("/設定 金額＝120000", "amount", "120000"),
    ("/設定有效期限115年12月31日", "valid_until", "2026-12-31"),
])  # fmt: skip
def test_a_field_and_its_value_may_be_glued_whatever_their_width(made, line, name, value):
    assert made.write(A, S, line) == ("done", "command")
    assert record(made).fields[name] == value


def test_an_invoice_is_validated_to_an_address_behind_the_command(made):
    made.announce("invoice.created", title="x", salesperson="a", actor="a", team="sales", fields={"amount": "5"})
    assert made.write(A, I, "/過帳") == ("done", "mistake")
    assert made.write(A, I, "/過帳 new@acme.example") == ("posted", "")
    assert record(made, "I00001").state == "posted"


def test_why_something_cannot_be_taken_back_is_said_in_the_reader_s_language(offered):
    offered.write(A, L, "/報價")
    offered.write(A, L, "/復原")
    said = first(offered)
    assert "another record" not in said
    assert "/報價" in said


def test_a_team_s_name_may_have_several_words(made):
    made.edit("rules", "name: 銷售團隊", "name: 東區 業務")
    assert made.write(A, f"gateway@{D}", "/訂閱 quotation.* 團隊:東區 業務") == ("done", "command")


def test_a_history_is_an_mbox_that_old_programs_read(made):
    made.write(A, S, "/history")
    mbox = next(part for part in told(made, A, "answer")[-1].mail.iter_attachments()).get_content()
    assert mbox.split(b"\n")[0].decode().endswith(str(time.gmtime().tm_year))
