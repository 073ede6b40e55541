"""What a fourth look found: notes that machines' marks made public, text that is seen and text that is not, offers that do not work."""

import base64
from email import message_from_bytes, policy

import pytest

from gateway.decide.inspect import what_runs
from gateway.mail.parse import Attachment
from gateway.records.conditions import amount, day
from tests.decide.test_selling import pdf_mail, record, told
from tests.kit.house import CUSTOMER, HOSTS, INSIDE, D

A, B, CHIA, WANG = "a@example.com", "b@example.com", "chia@example.com", "wang@acme.example"
S = f"s00001@{D}"
NOTE = "The lowest price we can go to is eighty per cent of what we offered them, and no less than that."


def mail(who, subject, text, head="", number="n", to=S):
    return (
        f"From: {who}\r\nTo: {to}\r\nSubject: {subject}\r\nMessage-ID: <{number}@x>\r\n{head}"
        f"Content-Type: text/plain; charset=utf-8\r\n\r\n{text}\r\n"
    ).encode()


def typed(content, kind="text/html"):
    return (
        f"From: {CHIA}\r\nTo: {S}\r\nSubject: x\r\nMessage-ID: <h@x>\r\nMIME-Version: 1.0\r\n"
        f"Content-Type: {kind}; charset=utf-8\r\n\r\n{content}\r\n"
    ).encode()


def offers(house):
    text = told(house, A, "transcript")[-1].mail.get_body(("plain",)).get_content()
    return [line.strip() for line in text.split("\n") if line.startswith("    ")]


def first(house):
    return told(house, A, "transcript")[-1].mail.get_body(("plain",)).get_content()


# ---- what a person calls a note is one, whatever marks the mail

MARKED = [
    ("Holiday message: 200 cards", ""), ("離職通知：新窗口", ""), ("[Auto-reply] how to turn it off", ""),
    ("chairs", "X-Auto-Response-Suppress: All\r\n"), ("chairs", "List-Id: <team.example.com>\r\n"),
    ("chairs", "Precedence: bulk\r\n"), ("chairs", "Auto-Submitted: auto-generated\r\n"),
]  # fmt: skip


@pytest.mark.parametrize(("subject", "head"), MARKED)
def test_a_note_is_never_posted_as_a_discussion_and_whole_or_held(made, subject, head):
    made.follow("S00001", WANG)
    text = f"/note\r\n{NOTE} {NOTE} {NOTE}"
    made.take(mail(CHIA, subject, text, head), S, peer=INSIDE, return_path=CHIA)
    assert made.held() or [each.internal for each in made.messages() if NOTE in each.text] == [True]
    assert made.held() or made.messages()[-1].text.count(NOTE) == 3
    made.take(mail(A, "re", f"Just so: {NOTE}", number="q"), S, peer=INSIDE, return_path=A)
    assert not [each for each in made.sent() if each.to == WANG and NOTE[:40] in each.text]


@pytest.mark.parametrize(
    "line", ["_/note_", "• /note", "- /note", "1. /note", "「/note」", "//note", "\\/note", "*/note*"]
)
def test_a_note_that_is_marked_oddly_does_not_reach_the_customer(made, line):
    made.follow("S00001", WANG)
    made.take(mail(CHIA, "x", f"{line}\r\nsecret floor price"), S, peer=INSIDE, return_path=CHIA)
    assert not [each for each in made.sent() if each.to == WANG and "secret" in each.text]


# ---- what lists, servers and subjects mark is not lost

BULK = ["List-Id: <sales.acme.example>\r\n", "Precedence: bulk\r\n", "X-Auto-Response-Suppress: All\r\n"]


@pytest.mark.parametrize("head", BULK)
def test_a_customers_yes_is_taken_and_a_persons_command_asked_about(offered, head):
    offered.write(A, S, "/send")
    accept = f"s00001-accept@{D}"
    assert offered.take(mail(WANG, "I accept", "yes", head, to=accept), accept, peer=CUSTOMER, return_path=WANG) == (
        "posted", "",
    )  # fmt: skip
    confirm = f"l00001-won@{D}"
    assert offered.take(mail(A, "won", "", head, "c", confirm), confirm, peer=INSIDE, return_path=A)[0] == "held"
    assert told(offered, A, "twice")


@pytest.mark.parametrize("who", [WANG, B])
@pytest.mark.parametrize(
    "subject",
    ["休假通知：春節期間出貨安排", "離職通知：新窗口", "自動回覆：請問這個功能怎麼設定", "OOO: need 20 chairs",
     "Out of office: move of our furniture", "Vacation: rental cars for June", "Virus found", "chairs (auto reply)",
     "[Auto-reply] how do I turn this off?", "[S00001] Holiday message: 200 cards"],
)  # fmt: skip
def test_a_mail_that_answers_nothing_is_heard_whatever_its_subject_begins_with(made, subject, who):
    made.sent()
    text = (
        "Please move the delivery of the 20 chairs to the 14th, and send the invoice to lin@acme.example from now on."
    )
    made.take(mail(who, subject, text), S, peer=HOSTS[who.rpartition("@")[2]], return_path=who)
    heard = [each.to for each in made.sent() if "the 14th" in each.text]
    assert made.held() or heard
    assert WANG not in heard


# ---- HTML


def test_a_customers_newsletter_program_is_read(made):
    page = (
        '<table><tr><td style="direction:ltr;font-size:0px;padding:20px 0"><div style="font-size:0px;width:100%">'
        '<table><tr><td style="font-size:0px;padding:10px 25px"><div style="font-size:13px;line-height:1">VISIBLE'
        "</div></td></tr></table></div></td></tr></table>"
    )
    made.take(typed(page).replace(CHIA.encode(), WANG.encode()), S, peer=CUSTOMER, return_path=WANG)
    assert "VISIBLE" in made.messages()[-1].text


def test_what_nobody_can_lay_out_commands_nothing(made):
    page = f"<style>{'i~i~i~i~b{display:none}' * 90}</style><p>/unfollow</p>{'<i>x</i>' * 3000}{'<b>y</b>' * 3000}"
    made.take(typed(page), S, peer=INSIDE, return_path=CHIA)
    assert "chia" not in made.choices()


PDF = "--b\r\nContent-Type: application/pdf; name=x.pdf\r\nContent-Disposition: inline; filename=x.pdf\r\n\r\n%PDF\r\n"


@pytest.mark.parametrize(
    ("between", "tail"),
    [(PDF, "\r\n\r\nSent from my iPhone"), ("", "_______________\r\nStaff mailing list"), ("", "Checked for viruses.")],
)
def test_words_in_html_before_a_plain_tail_are_posted(made, between, tail):
    content = (
        f"From: {WANG}\r\nTo: {S}\r\nSubject: Re: [S00001] chairs\r\nMessage-ID: <i@x>\r\nMIME-Version: 1.0\r\n"
        'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\nContent-Type: text/html\r\n\r\n'
        f"<div>We take the offer.</div>\r\n{between}--b\r\nContent-Type: text/plain\r\n\r\n{tail}\r\n--b--\r\n"
    )
    made.take(content.encode(), S, peer=CUSTOMER, return_path=WANG)
    assert "We take the offer." in made.messages()[-1].text


# ---- notes in what is attached, and programs


def b64(text):
    return base64.encodebytes(text.encode()).decode().replace("\n", "\r\n")


PAGE = "Content-Type: text/html; name=x.html\r\nContent-Disposition: attachment\r\n\r\n"
EML = "Content-Type: message/rfc822\r\n\r\nFrom: b@example.com\r\nSubject: z\r\n"
H64 = "Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n"


@pytest.mark.parametrize(
    "part",
    [PAGE + f'<div style="font-size:0px"><p style="font-size:13px">{NOTE}</p></div>',
     PAGE + f'<p style="display:none">{NOTE}</p><p>x</p>', PAGE + f"<html><!-- {NOTE} --><p>x</p></html>",
     PAGE + f'<html><img alt="{NOTE}"><p>x</p></html>',
     EML + "Content-Type: multipart/alternative; boundary=c\r\n\r\n--c\r\nContent-Type: text/plain\r\n\r\nsee html\r\n"
     f"--c\r\n{H64}{b64(f'<p>{NOTE}</p>')}--c--\r\n",
     EML + f"Content-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\n{H64}{b64(f'<p>{NOTE}</p>')}--c\r\n"
     "Content-Type: text/plain\r\n\r\nSent from my iPhone\r\n--c--\r\n"],
)  # fmt: skip
def test_a_note_in_an_attached_page_or_mail_does_not_leave(made, part):
    made.follow("S00001", WANG)
    made.write(CHIA, f"s00001-note@{D}", NOTE)
    content = (
        f"From: {A}\r\nTo: {S}\r\nSubject: x\r\nMessage-ID: <q@x>\r\nMIME-Version: 1.0\r\n"
        f"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nhi\r\n--b\r\n{part}\r\n--b--\r\n"
    )
    made.take(content.encode(), S, peer=INSIDE, return_path=A)
    assert [each.cause for each in made.held()] == ["quotes a note"]


def test_a_program_in_an_attached_mail_is_withheld(made):
    inner = (
        "From: x@y\r\nSubject: z\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\n\r\nhi\r\n--c\r\n"
        "Content-Type: application/octet-stream\r\nContent-Disposition: attachment; filename=setup.exe\r\n\r\nMZxxxx\r\n--c--"
    )
    content = (
        f"From: {WANG}\r\nTo: {S}\r\nSubject: x\r\nMessage-ID: <h@x>\r\nMIME-Version: 1.0\r\n"
        "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nhi\r\n--b\r\nContent-Type: message/rfc822\r\n"
        f"Content-Disposition: attachment; filename=m.eml\r\n\r\n{inner}\r\n--b--\r\n"
    )
    made.take(content.encode(), S, peer=CUSTOMER, return_path=WANG)
    parts = [part for each in made.sent() for part in message_from_bytes(each.octets, policy=policy.compat32).walk()]
    assert parts
    assert not [part for part in parts if not part.is_multipart() and b"MZxxxx" in part.get_payload(decode=True)]


@pytest.mark.parametrize(
    "ending", ["ws", "application", "library-ms", "search-ms", "rdp", "py", "sh", "msixbundle", "apk"]
)
def test_what_runs_is_known_by_its_name(ending):
    assert what_runs(Attachment(f"a.{ending}", "application/octet-stream", b"xx"))


# ---- lists of people, and offers that work


@pytest.mark.parametrize(
    ("line", "who"),
    [("/add li@x.example, yu@x.example", {"li@x.example", "yu@x.example"}), ("/add b, c", {"b", "c"}),
     ("/加入 B君， C君", {"b", "c"}), ("/add B君, C君 note", {"b", "c"}), ("/add b , c", {"b", "c"}),
     ("/加入 B君 和 C君", {"b", "c"}), ("/add b and c", {"b", "c"}), ("/add b c", {"b", "c"}),
     ("/add b, Li Si <li@x.example>", {"b", "li@x.example"}), ("/add li@x.example<mailto:li@x.example>", {"li@x.example"})],
)  # fmt: skip
def test_a_list_of_people_is_understood_however_it_is_set_apart(made, line, who):
    assert made.write(A, S, line) == ("done", "command")
    assert who <= set(made.choices())


@pytest.mark.parametrize(
    "line",
    ["/follow quotation.* for team sales", "/confirm, /set amount 9", "/remind tomorrow call", "/add b discusion",
     "/assign chai", "/add b, nobody", "/stage x"],
)  # fmt: skip
def test_what_is_offered_works_when_it_is_sent_back(made, line):
    assert made.write(A, S, line) == ("done", "mistake")
    for at, offered in enumerate(offers(made)):
        assert made.write(A, S, offered, number=f"again{at}")[1] != "mistake", offered


@pytest.mark.parametrize("line", ["/add x@x.example as nothing", "/remove ACMEX", "/done"])
def test_no_offer_does_something_else(made, line):
    made.write(A, S, line)
    assert not {"/add x@x.example assigned nothing", "/remove a", "/undo"} & set(offers(made))


@pytest.mark.parametrize(("line", "who"), [("/指派 給 C君", "c"), ("/assign to c", "c"), ("/指派給C君", "c")])
def test_who_is_assigned_is_whom_the_line_names(made, line, who):
    assert made.write(A, S, line) == ("done", "command")
    assert record(made).salesperson == who
    assert made.write(A, S, "/assign b c", number="two") == ("done", "mistake")
    assert record(made).salesperson == who


def test_the_customer_is_removed_by_what_they_are_called(made):
    assert made.write(A, S, "/remove acme note") == ("done", "command")
    assert "customer" in made.choices()


@pytest.mark.parametrize(
    ("line", "word"), [("/follow sent", "sent"), ("/assign note", "note"), ("/add draft", "draft")]
)
def test_an_answer_repeats_the_word_that_was_typed(made, line, word):
    made.write(A, S, line)
    assert word in first(made).split("\n")[0].partition("：")[2].partition("：")[2]


@pytest.mark.parametrize("line", ["/confirm.", "/Confirm!", "/確認。"])  # a phone makes ". " of two blanks
def test_a_stop_behind_a_command_is_forgiven(made, line):
    assert made.write(A, S, line) == ("done", "command")
    assert "/確認\n" in first(made)


@pytest.mark.parametrize(
    "line", ["/follow Quotation.*", "/follow Quotation Sent", "/訂閱 討論 和 備註", "/follow sent"]
)
def test_subtypes_are_known_in_any_case_and_in_two_words(made, line):
    assert made.write(A, S, line)[1] == ("mistake" if line.endswith(" sent") else "command")


@pytest.mark.parametrize("line", ["/note", "/備註", "/note\r\n/show"])
def test_an_empty_note_is_not_said_to_be_kept(made, line):
    assert made.write(A, S, line) == ("done", "mistake")
    assert "已記為內部備註" not in first(made)


@pytest.mark.parametrize(
    "value", ["12,000 元整", "TWD 12000", "NTD 12,000", "新台幣12000元", "12000 TWD", "1.2万", "1.2 萬", "NT$12,000"]
)
def test_an_amount_as_offices_write_it(value):
    assert amount(value) == "12000"


@pytest.mark.parametrize(
    "value", ["US$12,000", "12000 USD", "€12", "12,5", "about 12000", "100000 120000", "20 6000", "12$5", "3NT4", "٣٠"]
)
def test_another_currency_is_no_amount(value):
    assert amount(value) == ""


@pytest.mark.parametrize(
    "value",
    ["2026/12/24（四）", "2026-12-24 (Thu)", "20261224", "24.12.2026", "Dec 24, 2026", "24th December 2026", "2026-12-24.",
     "2026年12月24日 星期四", "115/12/24", "2026-12-24T10:00:00Z", "2026-12-24 10:00"],
)  # fmt: skip
def test_a_day_as_people_write_it(value):
    assert day(value) == "2026-12-24"


@pytest.mark.parametrize(
    "value",
    ["2026-12-24 to 2027-01-31", "2026-12-24 or later", "12/24", "tomorrow", "20261324", "999-1-1", "Decoy 31, 2026"],
)
def test_what_names_no_day_or_two_is_none(value):
    assert day(value) == ""


def test_a_word_far_from_all_is_answered_with_what_there_is(made):
    made.write(A, S, "/收款")
    assert "/確認" in first(made)
    assert "/說明" in first(made)


# ---- what is beside a command


@pytest.mark.parametrize(
    ("plain", "html"),  # what Gmail writes for bold text, and for a list
    [("*/set amount 100000*\r\n\r\nfine", "<div><b>/set amount 100000</b></div><div>fine</div>"),
     ("   - /set amount 100000\r\n\r\nfine", "<ul><li>/set amount 100000</li></ul><div>fine</div>")],
)  # fmt: skip
def test_a_command_in_bold_or_in_a_list_is_answered_and_not_shown_to_the_customer(made, plain, html):
    made.write(A, S, "/send")
    made.write(WANG, S, "can you do 100000?", number="q")
    content = (
        f"From: {A}\r\nTo: {S}\r\nSubject: x\r\nMessage-ID: <g@x>\r\nIn-Reply-To: <q@x>\r\nMIME-Version: 1.0\r\n"
        f'Content-Type: multipart/alternative; boundary="b"\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\n{plain}\r\n'
        f"--b\r\nContent-Type: text/html\r\n\r\n{html}\r\n--b--\r\n"
    )
    made.take(content.encode(), S, peer=INSIDE, return_path=A)
    assert not [each for each in made.sent() if each.to == WANG and "/set" in each.text]
    assert "/set amount 100000" in offers(made)
    assert first(made).count("/set amount 100000") == 2


@pytest.mark.parametrize(
    "text", ["王先生您好，附上報價。\r\n\r\n送給客戶", "王先生您好，附上報價。送給客戶", "送給客戶\r\n\r\n王先生您好"]
)
def test_the_name_of_the_button_is_not_sent_to_the_customer(made, text):
    send = f"s00001-send@{D}"
    made.take(mail(A, "送給客戶 S00001", text, to=send), send, peer=INSIDE, return_path=A)
    (got,) = (each for each in made.sent() if each.to == WANG)
    assert "王先生您好" in got.text
    assert "送給客戶" not in got.text


def test_a_reason_above_what_was_to_be_written_over_counts(offered):
    lost = f"l00001-lost@{D}"
    offered.take(mail(A, "失去 L00001", "太貴\r\n\r\n原因", to=lost), lost, peer=INSIDE, return_path=A)
    assert record(offered, "L00001").fields["reason"] == "太貴"
    assert "沒有張貼" not in first(offered)


def test_a_mail_to_the_address_of_set_may_hold_several_fields(made):
    made.write(A, f"s00001-set@{D}", "金額：5000\r\n有效期限：2026-12-24")
    assert dict(record(made).fields) == {"amount": "5000", "valid_until": "2026-12-24"}


def test_a_yes_after_the_title_or_the_only_pdf_was_changed_asks(made):
    made.write(A, S, "/set amount 5\r\n/send")
    made.write(A, S, "/set title twenty tables", number="t")
    assert made.write(WANG, made.tagged("S00001", WANG, "accept"), "yes") == ("held", "changed")


def test_a_yes_after_a_newer_pdf_was_put_beside_the_only_one_asks(made):
    made.take(pdf_mail(S, "/send", "old.pdf", "one"), S, peer=INSIDE, return_path=A)
    made.take(pdf_mail(S, "the new price", "new.pdf", "two"), S, peer=INSIDE, return_path=A)
    assert made.write(WANG, made.tagged("S00001", WANG, "accept"), "yes") == ("held", "changed")


def test_a_customer_who_writes_no_name_is_called_what_the_record_calls_them(made):
    made.write(WANG, S, "in stock?")
    got = next(each for each in made.sent() if each.to == CHIA and "in stock?" in each.text)
    assert "ACME" in got["From"]


def test_a_team_is_called_by_its_name(made):
    made.write(A, f"sales@{D}", "/follow note")
    assert "SALES" not in first(made)


def test_the_line_of_a_customer_as_outlook_writes_it_names_them(made):
    made.write(
        A, f"quotations@{D}", "客戶：王小明 <ming@new.example<mailto:ming@new.example>>\r\n金額：12,000\r\n\r\n二十張"
    )
    assert record(made, "S00002").customer.emails == ("ming@new.example",)


def test_a_yes_and_a_no_in_one_mail_asks(offered):
    offered.write(A, S, "/send")
    both = [offered.tagged("S00001", WANG, action) for action in ("accept", "decline")]
    content = mail(WANG, "well", "Hmm.", to=", ".join(both))
    offered.take(content, *both, peer=CUSTOMER, return_path=WANG)
    assert record(offered).state == "sent"
    assert {each.cause for each in offered.held()} == {"both"}


@pytest.mark.parametrize(
    "text",
    ["Dear Wang\r\n/note floor price is 80", "* /note floor price is 80", "Dear Wang\r\n\r\n- /note floor price is 80"],
)
def test_a_note_in_a_mail_to_the_address_of_send_is_not_sent(offered, text):
    offered.write(A, f"s00001-send@{D}", text)
    assert not [each for each in offered.sent() if each.to == WANG and "floor price" in each.text]


@pytest.mark.parametrize("subject", ["chairs S00001", "Send S00001"])
def test_words_that_end_a_sentence_are_no_name_of_a_button(offered, subject):
    send = f"s00001-send@{D}"
    text = "Dear Wang,\r\nhere is our offer for twenty chairs\r\nthat we said we would Send"
    offered.take(mail(A, subject, text, to=send), send, peer=INSIDE, return_path=A)
    (got,) = (each for each in offered.sent() if each.to == WANG)
    assert "twenty chairs" in got.text
    assert "would Send" in got.text


def test_only_fields_that_are_known_follow_one_at_the_address_of_set(made):
    made.write(A, f"s00001-set@{D}", "amount 5000\r\nNote: floor price is 4000\r\n電話：02-1234")
    assert dict(record(made).fields) == {"amount": "5000"}


def test_what_a_later_part_quotes_is_not_left_out_of_the_first(made):
    content = (
        f"From: {WANG}\r\nTo: {S}\r\nSubject: Re: [S00001] chairs\r\nMessage-ID: <i@x>\r\nMIME-Version: 1.0\r\n"
        f'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\n\r\n{NOTE}\r\n{PDF}'
        f"--b\r\nContent-Type: text/plain\r\n\r\n> {NOTE}\r\n--b--\r\n"
    )
    made.take(content.encode(), S, peer=CUSTOMER, return_path=WANG)
    assert NOTE in made.messages()[-1].text
