"""Commands edge to edge: in both languages, in a line, by an address, by the command line; all of them or none."""

import email.utils

import pytest

from gateway.store import records
from tests.kit.house import ZONE, D, House
from tests.kit.zone import Zone

A, CHIA, WANG = "a@example.com", "chia@example.com", "wang@acme.example"
S, L, I = f"s00001@{D}", f"l00001@{D}", f"i00001@{D}"  # noqa: E741 (what their references begin with)


@pytest.fixture
def made(tmp_path):
    house = House(tmp_path / "site", Zone.read(ZONE))
    house.quotation(lines=[{"name": "Chair", "quantity": 20, "price": "6000"}], fields={"amount": "120000"})
    house.announce("lead.created", title="desks", salesperson="a", actor="a", team="sales")
    house.announce(
        "invoice.created", title="chairs", actor="chia", salesperson="a", team="sales", customer={"email": WANG}
    )
    yield house
    house.close()


def record(house, ref):
    with house.store.read() as tx:
        return records.find(tx, ref)


CASES = [
    (S, "/confirm", "/確認", lambda r: r.state == "confirmed"),
    (S, "/cancel", "/取消", lambda r: r.state == "cancelled"),
    (S, "/send", "/送出", lambda r: r.state == "sent"),
    (S, "/set amount 99", "/設定 金額 99", lambda r: r.fields["amount"] == "99"),
    (S, "/set title twenty chairs", "/設定 標題 二十張椅子", lambda r: r.title in ("twenty chairs", "二十張椅子")),
    (S, "/set amount -", "/設定 amount -", lambda r: "amount" not in r.fields),
    (S, "/assign b", "/指派 B君", lambda r: r.salesperson == "b"),
    (S, "/assign b@example.com", "/指派B君", lambda r: r.salesperson == "b"),
    (S, "/team sales", "/團隊 sales", lambda r: r.team == "sales"),
    (L, "/stage qualified", "/階段 qualified", lambda r: r.fields["stage"] == "qualified"),
    (L, "/won", "/贏得", lambda r: r.state == "won"),
    (L, "/lost too dear", "/失去 太貴", lambda r: r.state == "lost" and r.fields["reason"] in ("too dear", "太貴")),
    (I, "/validate", "/過帳", lambda r: r.state == "posted"),
]


@pytest.mark.parametrize("chinese", [False, True])
@pytest.mark.parametrize(("to", "english", "zh", "holds"), CASES, ids=[case[1] for case in CASES])
def test_a_command_in_a_line_is_carried_out_and_answered_with_one_transcript(made, to, english, zh, holds, chinese):
    before = len(made.notices())
    assert made.write(CHIA, to, zh if chinese else english)[0] in ("done", "posted")
    assert holds(record(made, to.partition("@")[0].upper()))
    assert made.notices()[before:] == [("transcript", CHIA)]


@pytest.mark.parametrize(
    ("action", "text", "state"),
    [("s00001-confirm", "", "confirmed"), ("s00001-cancel", "確認", "cancelled"), ("s00001-send", "", "sent"),
     ("l00001-won", "", "won"), ("l00001-lost", "too dear", "lost"), ("i00001-validate", "", "posted")],
)  # fmt: skip
def test_the_address_of_a_command_is_a_button(made, action, text, state):
    made.write(CHIA, f"{action}@{D}", text)
    assert record(made, action.partition("-")[0].upper()).state == state


@pytest.mark.parametrize(
    ("to", "text", "says"),
    [
        (S, "/confrim", "/confirm"), (S, "/won", "不適用於"), (L, "/stage nowhere", "沒有階段"),
        (S, "/assign nobody", "沒有人叫做"), (S, "/set amount", "後面還缺少內容"),
        (L, "/lost", "後面還缺少內容"), (S, "/set state confirmed", "有自己的指令"),
        (S, "/add nobody", "沒有人叫做"), (S, "/follow lead.*", "沒有 lead.*"),
        (I, "/paid", "無法再"), (S, "/set amount 5\n/nothing", "/nothing"), (S, "/confirm\n/confirm", "無法再"),
    ],
)  # fmt: skip
def test_a_mistake_executes_nothing_of_its_mail_and_says_what_may_be_meant(made, to, text, says):
    ref = to.partition("@")[0].upper()
    before, messages, audited = record(made, ref), len(made.messages()), made.audited()
    assert made.write(CHIA, to, f"{text}\nHello") == ("done", "mistake")
    assert (record(made, ref), len(made.messages()), made.audited()) == (before, messages, audited)
    told = [each for each in made.sent() if each.to == CHIA][-1]
    assert says in told.text


def test_a_text_is_posted_and_the_commands_are_not_shown(made):
    made.write(CHIA, S, "/assign b\n/set amount 5\n\nplease look at it")
    assert made.texts()[-1] == "please look at it"
    assert record(made, "S00001").fields["amount"] == "5"


def test_one_transition_makes_one_message_and_the_same_mail_again_none(made):
    made.write(CHIA, S, "/confirm", number="once")
    before = len(made.messages())
    assert made.write(CHIA, S, "/confirm", number="once") == ("done", "duplicate")
    assert [row.subtype for row in made.messages()].count("quotation.confirmed") == 1
    assert len(made.messages()) == before


@pytest.mark.parametrize("author", [WANG, "eve@x.example"])
def test_an_outsider_commands_nothing(made, author):
    made.write(author, S, "/confirm")
    made.write(author, f"s00001-confirm@{D}", "")
    assert record(made, "S00001").state == "draft"


def test_an_unproved_person_commands_nothing(made):
    assert made.write(CHIA, S, "/confirm", sure=False) == ("held", "not authenticated")
    assert record(made, "S00001").state == "draft"


@pytest.mark.parametrize("text", ["/confirm", "/note\nx", "/follow"])
def test_a_person_without_the_right_sales_writes_but_neither_commands_nor_notes(made, text):
    made.edit("people", "name: D君", "name: D君\n    rights: [settings]")
    assert made.write("d@example.com", S, text) == ("held", "no right")
    assert record(made, "S00001").state == "draft"
    assert made.write("d@example.com", S, "hello") == ("posted", "")


def test_who_is_proved_is_told_once_a_day_why_their_mail_is_held_and_nobody_else_is(made):
    made.edit("people", "name: D君", "name: D君\n    rights: [settings]")
    for text in ("/confirm", "/cancel", "/confirm"):
        assert made.write("d@example.com", S, text) == ("held", "no right")
    for author, sure in (("d@example.com", False), (WANG, True), ("eve@x.example", True)):
        made.write(author, f"s00001-confirm@{D}", "", sure=sure)
    assert made.write("d@example.com", S, "/note\nx") == ("held", "no right")
    kept = [each for each in made.sent() if each["X-Replygate-Subtype"] == "kept"]
    assert [each.to for each in kept] == ["d@example.com", "d@example.com"]
    first, second = (each.text for each in kept)
    assert "您寄到 S00001 的信被保留" in first
    assert "業務" in first or "sales" in first
    assert "A君" in first
    assert first != second


def test_who_has_a_name_of_several_words_is_added_by_it(made):
    made.edit("people", "name: D君", "name: Dan van Dyk")
    assert made.write(CHIA, S, "/add Dan van Dyk quotation.sent") == ("done", "command")
    assert made.choices()["d"].subtypes == ("quotation.sent",)
    made.write(CHIA, S, "/add Dan von Dyk")
    made.write(CHIA, S, "/add chai discussion")
    made.write(CHIA, S, "/set amount")
    texts = [each.text for each in made.sent() if each["X-Replygate-Subtype"] == "transcript"][-3:]
    assert "/add d\n" in texts[0]
    assert "/add chia discussion" in texts[1]
    assert "/set 欄位 值" in texts[2]


def test_others_are_added_and_removed(made):
    made.write(CHIA, S, "/add cheng quotation.*\n/add buyer@x.example")
    assert made.choices()["cheng"].subtypes == ("quotation.*",)
    assert made.choices()["buyer@x.example"].subtypes == ("discussion",)
    made.write(CHIA, S, "/remove buyer@x.example")
    assert made.choices()["buyer@x.example"].without == ("*",)


def pdf_mail(to, text, name="quote.pdf"):
    return (
        f"From: {CHIA}\r\nTo: {to}\r\nSubject: q\r\nMessage-ID: <{name}@x>\r\nMIME-Version: 1.0\r\n"
        f"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n{text}\r\n--b\r\n"
        f'Content-Type: application/pdf\r\nContent-Disposition: attachment; filename="{name}"\r\n\r\n'
        "%PDF-1.4 quote\r\n--b--\r\n"
    ).encode()


def test_send_takes_the_pdf_and_the_text_of_the_mail_to_the_customer(made):
    assert made.take(pdf_mail(S, "/send\r\nHere you are."), S, peer="192.0.2.1", return_path=CHIA)[0] == "posted"
    (got,) = [each for each in made.sent() if each.to == WANG]
    assert "Here you are." in got.text
    assert [part.get_filename() for part in got.mail.iter_attachments()] == ["quote.pdf"]
    assert "s00001-accept+" in got.text
    assert "s00001-decline+" in got.text
    assert "/send" not in got.text
    assert [row.subtype for row in made.messages()].count("discussion") == 0


def test_send_takes_the_newest_pdf_on_the_record_but_none_of_a_note(made):
    made.take(pdf_mail(S, "old", "old.pdf"), S, peer="192.0.2.1", return_path=CHIA)
    made.take(pdf_mail(S, "new", "new.pdf"), S, peer="192.0.2.1", return_path=CHIA)
    note = f"s00001-note@{D}"
    made.take(pdf_mail(note, "inside", "secret.pdf"), note, peer="192.0.2.1", return_path=CHIA)
    made.write(A, S, "/send")
    got = [each for each in made.sent() if each.to == WANG][-1]
    assert [part.get_filename() for part in got.mail.iter_attachments()] == ["new.pdf"]


def test_a_note_goes_along_with_nothing(made):
    made.write(A, S, "/note\n/send\nCANARY eight percent")
    got = [each for each in made.sent() if each.to == WANG]
    assert record(made, "S00001").state == "sent"
    assert all("CANARY" not in each.text for each in got)
    assert made.messages()[-1].subtype == "note"


def test_send_needs_a_customer_and_takes_one_from_the_command(made):
    made.announce("quotation.created", title="empty", salesperson="a", actor="a", team="sales")
    to = f"s00002@{D}"
    assert made.write(A, to, "/send") == ("done", "mistake")
    made.write(A, to, "/set 金額 12萬元\n/send new@buyer.example")
    assert record(made, "S00002").fields["amount"] == "120000"
    assert record(made, "S00002").customer.emails == ("new@buyer.example",)
    assert [each.to for each in made.sent() if "new@buyer.example" in each.to] == ["new@buyer.example"]


# -- the customer's yes


def offer(made, action="accept"):
    made.write(A, S, "/send")
    return made.tagged("S00001", WANG, action)


@pytest.mark.parametrize(("action", "state"), [("accept", "confirmed"), ("decline", "cancelled")])
def test_a_proved_answer_is_taken_kept_as_proof_and_confirmed_to_both_sides(made, action, state):
    to = offer(made, action)
    assert made.write(WANG, to, "好的，謝謝") == ("posted", "")
    assert record(made, "S00001").state == state
    posted = made.messages()[-1]
    assert (posted.text, posted.author_email, posted.details["authenticated"]) == (
        "好的，謝謝",
        WANG,
        "SPF acme.example",
    )
    assert posted.arrival_id is not None
    assert (WANG, f"offer {action}", "S00001") in made.audited()
    made.sent()
    told = [email for kind, email in made.notices() if kind == "offer"]
    assert WANG in told
    assert A in told or A in [each.to for each in made.sent()]


def test_an_answer_that_is_not_proved_asks_the_salesperson_who_lets_it_through(made):
    to = offer(made)
    assert made.write(WANG, to, "yes", sure=False) == ("held", "acceptance")
    assert record(made, "S00001").state == "sent"
    (kept,) = made.held()
    assert made.write(A, str(made.addresses.held("release", kept.id)), "") == ("done", "command")
    made.run()
    assert record(made, "S00001").state == "confirmed"


def test_a_yes_after_the_last_day_asks_the_salesperson(made):
    made.write(A, S, "/set valid_until 2020-01-01")
    assert made.write(WANG, offer(made), "yes") == ("held", "too late")
    assert record(made, "S00001").state == "sent"


@pytest.mark.parametrize("author", ["eve@x.example", CHIA])
def test_nobody_else_answers_for_the_customer(made, author):
    to = offer(made)
    made.write(author, to, "yes")
    assert record(made, "S00001").state == "sent"


def test_a_second_yes_changes_nothing(made):
    to = offer(made)
    made.write(WANG, to, "yes")
    made.write(WANG, to, "yes again")
    assert [row.subtype for row in made.messages()].count("quotation.confirmed") == 1


# -- what is asked


@pytest.mark.parametrize(
    ("text", "has"),
    [
        ("/show", ["120,000", "ACME <wang@acme.example>"]), ("/查看", ["120,000"]), ("/followers", ["建立者", "rules.yaml:"]),
        ("/訂閱者", ["賈小姐"]), ("/why", ["是本人的動作"]), ("/list", ["S00001", "chairs"]), ("/列表", ["S00001"]),
        ("/help", ["/confirm", "/確認"]), ("/說明", ["/note"]), ("/history", ["報價單建立"]),
    ],
)  # fmt: skip
def test_what_a_person_asks_is_answered_by_mail_and_changes_nothing(made, text, has):
    before = record(made, "S00001")
    assert made.write(A, S, text) == ("done", "command")
    assert record(made, "S00001") == before
    (told,) = [each for each in made.sent() if each["X-Replygate-Subtype"] == "answer"]
    assert told.to == A
    assert all(word in told.text for word in has), told.text


def test_the_history_holds_the_thread_as_an_mbox_with_the_mails_as_they_came(made):
    made.write(CHIA, S, "first\nFrom here on", number="first")
    made.write(A, S, "/history")
    (told,) = [each for each in made.sent() if each["X-Replygate-Subtype"] == "answer"]
    (part,) = told.mail.iter_attachments()
    assert part.get_filename() == "S00001.mbox"
    content = part.get_payload(decode=True).decode()
    assert "Message-ID: <first@x>" in content
    assert ">From here on" in content


def test_the_gateway_itself_helps_people_and_nobody_else(made):
    assert made.write(A, f"gateway@{D}", "/list") == ("done", "command")
    assert made.write("eve@x.example", f"gateway@{D}", "/help")[0] == "held"
    assert [each.to for each in made.sent() if each["X-Replygate-Subtype"] == "answer"] == [A]


# -- buttons


def test_a_mail_offers_what_makes_sense_in_the_state_to_who_may(made):
    made.write(WANG, S, "hello")
    mails = {each.to: each.text for each in made.sent() if "hello" in each.text}
    assert f"s00001-confirm@{D}" in mails[CHIA]
    assert f"s00001-validate@{D}" not in mails[CHIA]
    made.write(A, S, "/confirm")
    made.write(WANG, S, "thanks")
    later = {each.to: each.text for each in made.sent() if "thanks" in each.text}
    assert f"s00001-confirm@{D}" not in later[CHIA]
    assert f"s00001-cancel@{D}" in later[CHIA]


@pytest.mark.parametrize("who", [WANG, CHIA])
def test_a_button_is_a_mailto_link_that_holds_its_subject_and_body(made, who):
    made.write(A, S, "/send")
    made.write(WANG, S, "a question")
    html = [
        part
        for each in made.sent()
        if each.to == who
        for part in each.mail.walk()
        if part.get_content_subtype() == "html"
    ]
    links = [word for part in html for word in part.get_content().split('"') if word.startswith("mailto:s00001-")]
    assert links
    assert all("?subject=" in link and len(link) < 500 and link.isascii() for link in links)


def test_A14_a_command_with_another_message_id_is_the_same_command(made):  # noqa: N802 (named for its row)
    head = "Date: " + email.utils.formatdate()
    assert made.write(CHIA, S, "/set amount 7", head=head) == ("done", "command")
    made.write(CHIA, S, "/set amount 8")
    assert made.write(CHIA, S, "/set amount 7", head=head) == ("done", "duplicate")
    assert record(made, "S00001").fields["amount"] == "8"
