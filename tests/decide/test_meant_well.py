"""What people write beside commands, by mistake, or in other words than we would: nothing is done that was not meant."""

import pytest
import sqlalchemy as sa

from gateway.store import suppressed, tables
from tests.decide.test_selling import CHIA, WANG, A, B, S, made, record, told  # noqa: F401 (a fixture and its helpers)
from tests.kit.house import D, House
from tests.kit.node import ROOT

NOTE = f"s00001-note@{D}"
SECRET = "the lowest price is 5800 and they must never know of that at all"


def to_wang(house):
    return "\n".join(each.text for each in house.sent() if each.to == WANG)


def with_file(to, text, name, content, author=A, number="file"):
    return (
        f"From: {author}\r\nTo: {to}\r\nSubject: chairs\r\nMessage-ID: <{number}@x>\r\nMIME-Version: 1.0\r\n"
        'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n'
        f'{text}\r\n--b\r\nContent-Type: application/octet-stream; name="{name}"\r\n'
        f'Content-Disposition: attachment; filename="{name}"\r\n\r\n{content}\r\n--b--\r\n'
    ).encode()


# ---- no sentence is a command


@pytest.mark.parametrize(
    "text",
    [
        "/取消追蹤",
        "/取消通知",
        "/確認客戶收到報價了嗎？",
        "/確認一下交期",
        "/confirm the date with them",
        "/confirm /send",
    ],
)
def test_a_sentence_is_no_command(made, text):  # noqa: F811
    made.write(A, S, "/send")
    assert made.write(A, S, text) == ("done", "mistake")
    assert record(made).state == "sent"


@pytest.mark.parametrize("text", ["/取消訂閱", "/取消訂閲", "/取消订阅", "/取消 訂閱", "/unfollow"])
def test_one_word_in_other_characters_is_the_same_word(made, text):  # noqa: F811
    assert made.write(A, S, text) == ("done", "command")
    assert record(made).state == "draft"
    assert "您已取消訂閱" in told(made, A, "transcript")[0].text


@pytest.mark.parametrize(
    "text", ["/确认", "/確認！", "/ｃｏｎｆｉｒｍ", "/confirm\n\nA君\n業務部 分機 12\nExample Trading Co."]
)
def test_what_is_plainly_a_command_is_carried_out_and_nothing_else_is_said(made, text):  # noqa: F811
    made.write(A, S, "/send")
    assert made.write(A, S, text) == ("done", "command")
    assert record(made).state == "confirmed"
    assert "業務部" not in to_wang(made)


def test_a_word_without_its_space_is_the_command_where_it_takes_words(made):  # noqa: F811
    made.write(A, S, "/set金額 99000")
    assert record(made).fields["amount"] == "99000"


# ---- what is meant for those inside stays there


@pytest.mark.parametrize(
    ("to", "text"),
    [(NOTE, f"/folow note\n\n{SECRET}"), (S, f"/note\n/asign B\n\n{SECRET}"), (S, f"好的\n/备注 {SECRET}")],
)
def test_a_mistake_in_a_note_is_mended_inside(made, to, text):  # noqa: F811
    made.write(A, S, "/confirm")
    assert made.write(A, to, text) == ("done", "mistake")
    (transcript,) = told(made, A, "transcript")[-1:]
    assert "s00001-note" in transcript["Reply-To"]
    made.write(A, str(transcript["Reply-To"]), SECRET)
    assert SECRET not in to_wang(made)


def test_an_answer_to_the_mail_about_a_note_is_a_note(made):  # noqa: F811
    made.write(A, S, "/confirm")
    made.write(A, S, f"/note {SECRET}")
    (transcript,) = told(made, A, "transcript")[-1:]
    made.write(A, str(transcript["Reply-To"]), "and the partner knows")
    assert "partner" not in to_wang(made)


@pytest.mark.parametrize("to", [f"s00001-send@{D}", S])
def test_a_file_that_quotes_a_note_does_not_go_along_with_an_offer(made, to):  # noqa: F811
    made.write(A, NOTE, SECRET)
    text = "/send" if to == S else ""
    assert made.take(with_file(to, text, "offer.txt", SECRET), to, peer="192.0.2.1", return_path=A) == (
        "held",
        "quotes a note",
    )
    assert told(made, WANG, "quotation.sent") == []


def test_what_goes_to_the_note_and_to_send_is_sent_without_it(made):  # noqa: F811
    both = with_file(f"{NOTE}, s00001-send@{D}", "see it", "cost.pdf", "%PDF-1.4")
    made.take(both, NOTE, f"s00001-send@{D}", peer="192.0.2.1", return_path=A)
    (offer,) = told(made, WANG, "quotation.sent")
    assert [part.get_filename() for part in offer.mail.iter_attachments()] in ([], ["S00001.pdf"])


@pytest.mark.parametrize("text", [f"/set title {SECRET}", f"/note as agreed\n/set title {SECRET}"])
def test_a_title_that_quotes_a_note_is_asked_about(made, text):  # noqa: F811
    made.write(A, NOTE, SECRET)
    assert made.write(A, S, text) == ("held", "quotes a note")
    assert record(made).title == "chairs"


def test_a_colleagues_private_address_quotes_no_note_either(made):  # noqa: F811
    made.write(A, NOTE, SECRET)
    made.follow("S00001", "chia@gmail.example", "discussion")
    tagged = made.tagged("S00001", "chia@gmail.example")
    assert made.write("chia@gmail.example", tagged, SECRET) == ("held", "quotes a note")
    assert told(made, A, "held")


# ---- what goes to the customer


def test_the_customers_own_pdf_is_not_our_offer(made):  # noqa: F811
    made.write(A, S, "/send")
    theirs = with_file(S, "what we need", "rfq.pdf", "%PDF-1.4", author=WANG)
    made.take(theirs, made.tagged("S00001", WANG), peer="192.0.2.2", return_path=WANG)
    made.write(A, S, "/send")
    names = [
        part.get_filename() for each in told(made, WANG, "quotation.sent") for part in each.mail.iter_attachments()
    ]
    assert "rfq.pdf" not in names
    transcript = told(made, A, "transcript")[-1].text
    assert "wang@acme.example" in transcript
    assert "rfq.pdf" not in transcript


def test_what_stands_beside_the_button_is_done_sent_or_said_to_be_neither(made):  # noqa: F811
    made.write(A, f"s00001-send@{D}", "/設定 金額 114000\n\n王先生，已降價。")
    assert record(made).fields["amount"] == "114000"
    assert "王先生，已降價。" in told(made, WANG, "quotation.sent")[0].text
    made.write(A, f"s00001-confirm@{D}", "交期改為三週")
    assert "沒有張貼" in told(made, A, "transcript")[-1].text
    assert made.write(A, f"s00001-invoice@{D}", f"/note {SECRET}") == ("done", "mistake")


@pytest.mark.parametrize("text", ["討倫", "quotation.snet", "報價單送岀、備註"])
@pytest.mark.parametrize("action", ["follow", "unfollow"])
def test_a_mistyped_subtype_at_the_address_is_a_mistake_and_a_greeting_is_none(made, action, text):  # noqa: F811
    assert made.write(B, f"s00001-{action}@{D}", text) == ("done", "mistake")
    assert made.write(B, f"s00001-{action}@{D}", "您好，麻煩了") == ("done", "command")


def test_who_answers_what_tells_of_the_customers_no_answers_the_customer(made):  # noqa: F811
    made.write(A, S, "/send")
    made.write(A, S, "/unfollow quotation.cancelled quotation.confirmed")
    made.write(WANG, made.tagged("S00001", WANG, "decline"), "太貴了")
    (offer,) = told(made, A, "offer")
    assert "您的回覆也會寄給客戶" in offer.text
    made.write(A, S, "如果打九折呢？", head=f"In-Reply-To: {offer['Message-ID']}\nReferences: {offer['Message-ID']}")
    assert "如果打九折呢" in to_wang(made)


def test_a_yes_that_comes_after_the_end_is_answered(made):  # noqa: F811
    made.write(A, S, "/send")
    made.write(A, S, "/cancel")
    made.write(WANG, made.tagged("S00001", WANG, "accept"), "接受")
    assert (
        "已經不能再接受" in told(made, WANG, "offer")[0].text or "no longer open" in told(made, WANG, "offer")[0].text
    )


@pytest.mark.parametrize(
    ("words", "state"),
    [("階段 qualified", "mistake"), ("amout 5", "mistake"), ("欄位 值", "mistake"), ("顏色 紅", "command")],
)
def test_a_field_that_is_called_otherwise_is_no_new_field(made, words, state):  # noqa: F811
    assert made.write(A, S, f"/設定 {words}") == ("done", state)


# ---- words alone make nobody a machine who is proved to write

ABSENT = "您好，我目前出差中，11/30 返回，期間請聯絡林小姐。報價 118,000 我們接受，採購單號 PO-4500012345。"


def test_a_customer_who_tells_of_absence_is_read(made):  # noqa: F811
    made.write(A, S, "/send")
    assert made.write(WANG, made.tagged("S00001", WANG), ABSENT)[0] == "posted"
    assert any("PO-4500012345" in each.text for each in made.sent() if each.to == A)
    assert made.write(WANG, made.tagged("S00001", WANG, "accept"), ABSENT) == ("posted", "")
    assert record(made).state == "confirmed"


def test_what_reads_like_a_machine_is_not_passed_on_outside(made):  # noqa: F811
    made.follow("S00001", "lin@x.example", "discussion")
    made.write(A, S, "/send")
    made.write(WANG, made.tagged("S00001", WANG), ABSENT)
    assert not [each for each in made.sent() if each.to == "lin@x.example" and "PO-4500012345" in each.text]


def test_a_colleague_who_tells_of_absence_is_asked_before_it_commands(made):  # noqa: F811
    made.write(A, S, "/send")
    assert made.write(A, S, f"/confirm\n\n{ABSENT}") == ("held", "second yes")
    assert record(made).state == "sent"
    assert told(made, A, "twice")


def test_a_mail_with_fields_of_a_machine_is_one_whoever_is_proved(made):  # noqa: F811
    made.write(A, S, "/send")
    tagged = made.tagged("S00001", WANG, "accept")
    assert made.write(WANG, tagged, ABSENT, head="Auto-Submitted: auto-replied") == ("done", "automatic")


# ---- bounces


def report(house, delivery, recipient):
    to = str(house.addresses.return_path(delivery))
    content = (
        f"From: MAILER-DAEMON@acme.example\r\nTo: {to}\r\nSubject: Undelivered\r\nMIME-Version: 1.0\r\n"
        'Content-Type: multipart/report; report-type=delivery-status; boundary="b"\r\n\r\n--b\r\n\r\nno\r\n--b\r\n'
        "Content-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.acme.example\r\n\r\n"
        f"Final-Recipient: rfc822; {recipient}\r\nAction: failed\r\nStatus: 5.1.1\r\n"
        "Diagnostic-Code: smtp; 550 5.1.1 user unknown\r\n\r\n--b--\r\n"
    )
    house.take(content.encode(), to)


@pytest.mark.parametrize(("recipient", "counts"), [(WANG, True), ("lin@gmail.example", False)])
def test_what_somebody_passes_on_is_not_their_address(made, recipient, counts):  # noqa: F811
    made.write(A, S, "/send")
    made.sent()
    with made.store.write() as tx:
        (delivery,) = tx.execute(sa.select(tables.delivery.c.id).where(tables.delivery.c.recipient == WANG)).scalars()
        tx.execute(sa.update(tables.delivery).values(state="sent"))
    report(made, delivery, recipient)
    with made.store.read() as tx:
        causes = list(tx.execute(sa.select(tables.bounce.c.cause)).scalars())
    assert causes == (["address"] if counts else ["passed on"])
    assert ("轉寄" in told(made, A, "failed")[0].text) is not counts


# ---- who is meant, and who may


@pytest.mark.parametrize(
    ("words", "who"), [("客戶", "customer"), ("customer", "customer"), ("賈小姐", "chia"), ("ｂ", "b")]
)
def test_people_are_known_by_what_they_are_called(made, words, who):  # noqa: F811
    assert made.write(A, S, f"/加入 {words}") == ("done", "command")
    assert who in made.choices()


def test_what_would_have_worked_is_not_what_did_not(made):  # noqa: F811
    made.write(A, S, "/set amount=abc")
    transcript = told(made, A, "transcript")[0].text
    assert "120000" in transcript
    assert "Send it to" not in transcript  # what would work, only its author knows


def test_who_is_given_a_lead_by_command_reads_what_its_author_wrote_and_answers_them(made):  # noqa: F811
    made.write("eve@x.example", f"leads@{D}", "Need 50 desks. Please call 02-1234.", number="lead")
    made.write(CHIA, f"l00001@{D}", "/assign B")
    (given,) = told(made, B, "assigned")
    assert "Please call 02-1234." in given.text
    made.write(B, f"l00001@{D}", "We shall call you", head=f"In-Reply-To: {given['Message-ID']}")
    assert any("We shall call you" in each.text for each in made.sent() if each.to == "eve@x.example")


@pytest.mark.parametrize("text", ["/unfollow", "/help", "/取消訂閱"])
def test_without_the_right_one_may_unfollow_and_ask_for_help(made, text):  # noqa: F811
    made.edit("people", "    email: chia@example.com\n", "    email: chia@example.com\n    rights: []\n")
    assert made.write(CHIA, S, text) == ("done", "command")


@pytest.mark.parametrize(("policy", "became"), [("reject", ("held", "not authenticated")), ("none", ("posted", ""))])
def test_behind_a_trusted_server_a_tag_does_not_speak_for_a_domain_that_disowns_the_mail(tmp_path, policy, became):
    text = (ROOT / "templates" / "site" / "gateway.local.yaml").read_text("utf-8")
    house = House(tmp_path / "site", gateway=f"{text}\nauthentication: {{mode: trust, authserv_id: mx.example.com}}\n")
    house.quotation()
    head = f"Authentication-Results: mx.example.com; dmarc=fail (p={policy}) header.from=example.com"
    tagged = house.tagged("S00001", A)
    content = f"{head}\r\nFrom: {A}\r\nTo: {tagged}\r\nMessage-ID: <f@x>\r\n\r\nPlease pay to account 999\r\n"
    assert house.take(content.encode(), tagged, peer="192.0.2.9", return_path="x@evil.example") == became
    house.close()


def test_who_forges_a_customers_mail_does_not_silence_them(made):  # noqa: F811
    limit = made.site.rules.limits.author.messages
    forged = {made.write(WANG, S, f"forged {n}", sure=False)[1] for n in range(limit + 2)}
    assert "flood" in forged
    made.write(A, S, "/send")
    assert made.write(WANG, made.tagged("S00001", WANG), "it is me") == ("posted", "")


@pytest.mark.parametrize(("hours", "ends"), [(1, False), (25, True)])
def test_two_failures_within_a_day_suppress_nobody_whatever_the_calendar_says(made, hours, ends):  # noqa: F811
    before_midnight = 1_790_035_200_000 - 1_800_000  # of UTC, half an hour
    with made.store.write() as tx:
        assert not suppressed.count_bounce(tx, WANG, "address", "550", None, before_midnight)
        assert suppressed.count_bounce(tx, WANG, "address", "550", None, before_midnight + hours * 3_600_000) is ends
