"""What a second look found: an action's address with the command in it, forms that come back, undoing, intakes."""

import pytest

from tests.decide.test_selling import record, told
from tests.kit.house import HOSTS, D

A, CHIA, WANG = "a@example.com", "chia@example.com", "wang@acme.example"
S, L, GATEWAY = f"s00001@{D}", f"l00001@{D}", f"gateway@{D}"


@pytest.fixture
def made(offered):
    return offered


# ---- the address of an action


@pytest.mark.parametrize("line", ["/send boss@x.example", "/送出 boss@x.example"])
def test_a_command_at_its_own_address_is_carried_out_once(made, line):
    assert made.write(A, f"s00001-send@{D}", f"{line}\n您好") == ("done", "command")
    assert [len(told(made, who, "quotation.sent")) for who in (WANG, "boss@x.example")] == [1, 1]
    assert "您好" in told(made, WANG, "quotation.sent")[0].text


@pytest.mark.parametrize(
    ("action", "line", "fields"),
    [("lost", "/lost 太貴", {"reason": "太貴"}), ("stage", "/stage qualified", {"stage": "qualified"}),
     ("lost", "原因：太貴", {"reason": "太貴"}), ("set", "/設定 金額100000", {"amount": "100000"})],
)  # fmt: skip
def test_a_command_at_its_own_address_needs_its_words_once(made, action, line, fields):
    assert made.write(A, f"l00001-{action}@{D}", line) == ("done", "command")
    assert fields.items() <= record(made, "L00001").fields.items()


@pytest.mark.parametrize(
    "words",
    ["Boss <boss@x.example>, mary@x.example", "boss@x.example、mary@x.example", "boss@x.example,mary@x.example",
     "boss＠x.example mary@x.example", "Boss Lin <boss@x.example>；Mary <mary@x.example>"],
)  # fmt: skip
@pytest.mark.parametrize("to", [S, f"s00001-send@{D}"])
def test_addresses_are_read_however_they_are_listed(made, words, to):
    made.write(A, to, f"/send {words}\n\n您好" if to == S else f"{words}\n您好")
    got = {each.to: each.text for each in made.sent() if each["X-Replygate-Subtype"] == "quotation.sent"}
    assert {WANG, "boss@x.example", "mary@x.example"} <= set(got)
    assert "mary@x.example" not in got[WANG].partition("-- ")[0].partition("quotation")[0]


def test_what_is_no_address_among_some_is_a_mistake_and_goes_to_nobody(made):
    made.write(A, f"s00001-send@{D}", "boss@x.example 和 mary")
    assert told(made, WANG, "quotation.sent") == []
    assert told(made, A, "transcript")


def test_a_mail_to_an_action_and_to_the_record_is_said_once(made):
    both = (f"s00001-send@{D}", S)
    fields = f"From: {A}\r\nTo: {', '.join(both)}\r\nSubject: x\r\nMessage-ID: <both@x>\r\n\r\n您好，報價如附\r\n"
    made.take(fields.encode(), *both, peer="192.0.2.1", return_path=A)
    assert [row.subtype for row in made.messages()].count("quotation.sent") == 1
    assert [row.subtype for row in made.messages()].count("discussion") == 0
    yes = (made.tagged("S00001", WANG, "accept"), S)
    fields = f"From: {WANG}\r\nTo: {', '.join(yes)}\r\nSubject: x\r\nMessage-ID: <yes@y>\r\n\r\nyes, we accept\r\n"
    made.take(fields.encode(), *yes, peer=HOSTS["acme.example"], return_path=WANG)
    assert record(made).state == "confirmed"
    assert [row.subtype for row in made.messages()].count("discussion") == 0


# ---- what leaves, and what is taken back


def test_text_beside_a_command_that_lets_the_customer_follow_stays_inside(made):
    made.write(A, S, "/確認\n\n毛利三成，先備料")
    assert record(made).state == "confirmed"
    assert not any("毛利" in each.text for each in made.sent() if each.to == WANG)
    assert made.write(A, S, "接下來的訊息") == ("posted", "")
    assert any("接下來的訊息" in each.text for each in made.sent() if each.to == WANG)


def test_a_quote_of_a_note_beside_a_command_stays_inside_whoever_is_answered(made):
    note = "our cost is 4,200 a chair, and we go down to 5,100 if they insist on it"
    made.announce("lead.created", title="no customer", salesperson="a", actor="a", team="sales")
    to = f"l00002@{D}"
    made.write(A, to, f"/note\n{note}")
    made.write("eve@x.example", to, "how much is it?")
    made.write(A, str(made.addresses.held("release", made.held()[0].id)), "")
    asked = next(row for row in made.messages() if row.author_email == "eve@x.example")
    made.write(A, to, f"/set amount 5\n\nas I noted: {note}", head=f"In-Reply-To: <{asked.message_id}>")
    assert made.messages()[-1].author_email == A
    assert "as I noted" in made.messages()[-1].text
    assert not any("4,200" in each.text for each in made.sent() if each.to == "eve@x.example")


def test_an_answer_to_the_customer_beside_a_command_reaches_them(made):
    made.write(WANG, S, "we take it")
    asked = made.messages()[-1]
    made.write(A, S, "/confirm\n\nThank you, we deliver on Friday.", head=f"In-Reply-To: <{asked.message_id}>")
    assert any("on Friday" in each.text for each in made.sent() if each.to == WANG)


def test_the_thread_says_what_was_taken_back(made):
    made.write(A, S, "/confirm")
    made.write(A, S, "/undo")
    made.write(A, S, "/history")
    assert "在寄出前已收回" in told(made, A, "answer")[-1].text


# ---- intakes, and an order's invoice


@pytest.mark.parametrize(
    "text", ["/send\n客戶：王小明 <ming@new.example>\n\n二十張", "客戶：王小明 <ming@new.example>\n/assign b\n\n二十張"]
)
def test_commands_to_an_intake_make_nothing_and_are_answered(made, text):
    assert made.write(A, f"quotations@{D}", text) == ("done", "mistake")
    assert record(made, "S00002") is None
    assert "這項指令是針對" in told(made, A, "transcript")[-1].text


def test_the_order_names_an_invoice_that_a_record_system_made(made):
    made.write(A, S, "/confirm")
    made.announce("invoice.created", origin="S00001", title="chairs", actor="a", team="sales", salesperson="a")
    assert record(made).fields["invoice"] == "I00001"
    made.write(A, f"s00001-invoice@{D}", "")
    assert record(made, "I00002") is None


@pytest.mark.parametrize("line", ["/報價單", "/報價單 二十張桌子", "/報價給王先生"])
def test_a_longer_word_is_no_title(made, line):
    made.write(A, L, line)
    assert record(made, "S00002") is None


# ---- forms, and what stands


def form(house, to=S):
    house.write("c@example.com", to, "/prefs")
    text = told(house, "c@example.com", "answer")[-1].mail.get_body(("plain",)).get_content()
    return [line for line in text.split("\n") if line.startswith("[") or "寄出時" in line or "As it was" in line]


@pytest.mark.parametrize("mark", ["x", "v", "✓", "要", "yes"])
def test_a_mark_behind_the_name_ticks(made, mark):
    lines = [f"> {line} {mark}" if "] note " in line else f"> {line}" for line in form(made)]
    made.write("c@example.com", f"s00001-prefs@{D}", "\n".join(lines))
    assert "note" in made.choices()["c"].subtypes


@pytest.mark.parametrize(
    "line", ["[x] NOTE", "note x", "note: yes", "■ 內部備註", "X內部備註", "備註：是", "[x] quotation SENT"]
)
def test_a_line_of_ones_own_ticks(made, line):
    made.write("c@example.com", f"s00001-prefs@{D}", line)
    assert made.choices()["c"].subtypes


def test_a_form_that_comes_back_as_it_was_sent_changes_nothing(made):
    sent = form(made)
    made.write("c@example.com", S, "/follow note quotation.sent")
    before = made.choices()["c"]
    made.write("c@example.com", f"s00001-prefs@{D}", "謝謝\n\n" + "\n".join(f"> {line}" for line in sent))
    assert made.choices()["c"] == before


def test_a_second_yes_is_asked_for_what_is_chosen_for_all_records(made):
    made.edit("rules", "confirm_twice: []", "confirm_twice: [follow]")
    assert made.write(CHIA, GATEWAY, "/follow quotation.* team:sales") == ("held", "second yes")
    (asked,) = told(made, CHIA, "twice")
    assert "/follow quotation.* team:sales" in asked.text


def test_undo_without_a_record_says_what_to_do(made):
    made.write(CHIA, GATEWAY, "/undo")
    assert "/取消訂閱" in told(made, CHIA, "transcript")[-1].text


# ---- the customer's answer


@pytest.mark.parametrize("subject", ["Automatic reply: [S00001] chairs", "自動回覆: [S00001] chairs"])
@pytest.mark.parametrize("action", ["accept", "decline"])
def test_what_reads_like_a_machines_yes_asks_the_salesperson(made, subject, action):
    made.write(A, S, "/send")
    made.sent()
    to = made.tagged("S00001", WANG, action)
    fields = (
        f"From: {WANG}\r\nTo: {to}\r\nSubject: {subject}\r\nMessage-ID: <auto@y>\r\n\r\nI am out of the office.\r\n"
    )
    state = made.take(fields.encode(), to, peer=HOSTS["acme.example"], return_path=WANG)
    assert state == ("held", "machine")
    assert record(made).state == "sent"


def test_a_yes_that_was_let_through_is_confirmed_to_the_customer(made):
    made.write(A, S, "/send")
    made.sent()
    assert made.write(WANG, made.tagged("S00001", WANG, "accept"), "yes", sure=False) == ("held", "acceptance")
    kept = made.held()[0]
    made.write(A, str(made.addresses.held("release", kept.id)), "")
    assert record(made).state == "confirmed"
    assert told(made, WANG, "offer")
