"""Working by mail: what is made of a record, taken back, chosen standing, ticked in a form, and asked for twice."""

import re
from urllib.parse import unquote

import pytest
import sqlalchemy as sa

from gateway.records import commands
from gateway.store import followers, records, tables
from tests.kit.house import ZONE, D, House, decisive
from tests.kit.zone import Zone

A, B, CHIA, CHENG, WANG = "a@example.com", "b@example.com", "chia@example.com", "cheng@example.com", "wang@acme.example"
S, L = f"s00001@{D}", f"l00001@{D}"
GATEWAY = f"gateway@{D}"


@pytest.fixture
def made(tmp_path):
    house = House(tmp_path / "site", Zone.read(ZONE))
    lines = [{"name": "Chair", "quantity": 20, "price": "6000"}]
    house.quotation(lines=lines, fields={"amount": "120000", "currency": "TWD", "valid_until": "2099-12-31"})
    customer = {"name": "Buyer", "email": "buyer@x.example"}
    fields = {"amount": "5000", "stage": "qualified"}
    house.announce(
        "lead.created", title="desks", salesperson="a", actor="a", team="sales", customer=customer, fields=fields
    )
    yield house
    house.close()


def record(house, ref):
    with house.store.read() as tx:
        return records.find(tx, ref)


def told(house, who):
    return [each for each in house.sent() if each.to == who][-1]


def heard(house, subtype):
    house.sent()
    return {each["who"] for row in house.messages() if row.subtype == subtype for each in row.hears}


# -- what is made of a record


@pytest.mark.parametrize("word", ["/quote", "/報價", "/報價 二十張桌子"])
def test_a_quotation_of_a_lead_has_its_customer_its_followers_and_its_name(made, word):
    made.write(A, L, "/follow lead.*\n/add other@x.example\n/add cheng discussion lead.won")
    assert made.write(A, L, word) == ("done", "command")
    lead, quotation = record(made, "L00001"), record(made, "S00002")
    assert (quotation.origin, lead.fields["quotation"]) == ("L00001", "S00002")
    assert quotation.customer == lead.customer
    assert quotation.title == ("二十張桌子" if " " in word else "desks")
    assert (quotation.fields, quotation.state) == ({"amount": "5000"}, "draft")
    assert (quotation.salesperson, quotation.team, quotation.creator) == ("a", "sales", "a")
    followed = made.choices("S00002")
    assert followed["other@x.example"].subtypes == ("discussion",)
    assert followed["cheng"].subtypes == ("discussion",)
    assert "a" not in followed  # lead.* is nothing that a quotation has
    assert f"s00002@{D}" in told(made, A).text
    assert "chia" in heard(made, "quotation.created")


def test_a_second_quotation_of_a_lead_needs_a_name(made):
    made.write(A, L, "/quote")
    assert made.write(A, L, "/報價") == ("done", "mistake")  # a button pressed twice
    assert record(made, "S00003") is None
    assert "S00002" in told(made, A).text
    assert "/quote desks (2)" in told(made, A).text or "/報價 desks (2)" in told(made, A).text
    assert made.write(A, L, "/報價 desks (2)") == ("done", "command")
    assert record(made, "L00001").fields["quotation"] == "S00002, S00003"


def test_what_was_cancelled_is_quoted_anew(made):
    made.write(A, L, "/quote")
    made.write(A, f"s00002@{D}", "/cancel")
    assert made.write(A, L, "/quote") == ("done", "command")
    assert record(made, "S00003").origin == "L00001"


@pytest.mark.parametrize("word", ["/invoice", "/開發票"])
def test_the_invoice_of_an_order_has_its_lines_and_each_names_the_other(made, word):
    assert made.write(A, S, word) == ("done", "mistake")
    made.write(A, S, "/confirm")
    assert made.write(A, S, word) == ("done", "command")
    order, invoice = record(made, "S00001"), record(made, "I00001")
    assert (invoice.origin, order.fields["invoice"]) == ("S00001", "I00001")
    assert (invoice.lines, invoice.customer, invoice.state) == (order.lines, order.customer, "draft")
    assert invoice.fields == {"amount": "120000", "currency": "TWD"}


def test_a_quotation_made_by_the_button_once_is_made_once(made):
    button = f"l00001-quote@{D}"
    assert made.write(A, button, "Make a quotation", number="once") == ("done", "command")
    assert made.write(A, button, "Make a quotation", number="once") == ("done", "duplicate")
    assert record(made, "S00003") is None


# -- taken back


UNDONE = [
    (S, "/set amount 5", "/undo"), (S, "/assign b", "/復原"), (S, "/set title x\n/set amount -", "/undo"), (L, "/won", "/undo"),
    (L, "/lost too dear", "/復原"), (L, "/stage proposition", "/undo"), (S, "/confirm", "/undo"), (S, "/follow quotation.*", "/undo"),
    (S, "/unfollow", "/undo"), (S, "/add cheng note\n/remove chia", "/undo"), (S, "/follow note team:sales", "/undo"), (S, "/cancel", "/undo"),
]  # fmt: skip


@pytest.mark.parametrize(("to", "text", "undo"), UNDONE, ids=[case[1] for case in UNDONE])
def test_what_was_done_is_taken_back_and_those_who_heard_of_it_hear(made, to, text, undo):
    ref = to.partition("@")[0].upper()
    made.sent()
    before = record(made, ref), made.choices(ref)
    assert made.write(CHIA, to, text) == ("done", "command")
    made.sent()
    after = record(made, ref), made.choices(ref)
    assert after != before
    count = len(made.messages())
    assert made.write(CHIA, to, undo) == ("done", "command")
    assert (record(made, ref), made.choices(ref)) == before
    assert (CHIA.partition("@")[0], "undo", ref) in made.audited()
    made.sent()
    told_before = [row for row in made.messages()[:count] if row.at and row.subtype != "discussion"][-1]
    for row in made.messages()[count:]:
        original = next(each for each in made.messages() if each.id == row.parent_id)
        assert {each["who"] for each in row.hears} == {each["who"] for each in original.hears}
    assert told_before is not None


def test_what_was_not_told_yet_is_told_to_nobody(made):
    made.sent()
    made.write(CHIA, S, "/send")
    made.write(CHIA, S, "/undo")
    assert record(made, "S00001").state == "draft"
    assert [each.to for each in made.sent() if each["X-Replygate-Subtype"] == "quotation.sent"] == []


@pytest.mark.parametrize(
    ("text", "since", "says"),
    [
        ("/send", "", "已有信件寄給外部人員"), ("/set amount 5", "/set amount 6", "之後有人又改過了"),
        ("/note secret", "", "無法復原 /備註"), ("/show", "", "沒有可以復原的操作"),
    ],
)  # fmt: skip
def test_what_cannot_be_taken_back_is_said(made, text, since, says):
    made.write(CHIA, S, text)
    made.sent()
    if since:
        made.write(A, S, since)
    before = record(made, "S00001")
    assert made.write(CHIA, S, "/undo") == ("done", "mistake")
    assert record(made, "S00001") == before
    assert says in told(made, CHIA).text


def test_only_ones_own_is_taken_back_and_only_for_ten_minutes(made):
    made.write(CHIA, S, "/set amount 5")
    assert made.write(A, S, "/undo") == ("done", "mistake")
    with made.store.write() as tx:
        tx.execute(sa.update(tables.carried_out).values(at=tables.carried_out.c.at - 10 * 60_000 - 1))
    assert made.write(CHIA, S, "/undo") == ("done", "mistake")
    assert record(made, "S00001").fields["amount"] == "5"


def test_undo_again_takes_back_what_was_done_before(made):
    made.write(CHIA, S, "/set amount 5")
    made.write(CHIA, S, "/set amount 6")
    made.write(CHIA, S, "/undo")
    assert record(made, "S00001").fields["amount"] == "5"
    made.write(CHIA, S, "/undo")
    assert record(made, "S00001").fields["amount"] == "120000"


# -- standing


def standing(house):
    with house.store.read() as tx:
        return {(each.who, each.team): (each.subtypes, each.without) for each in followers.standing_choices(tx)}


@pytest.mark.parametrize("to", [S, GATEWAY])
def test_a_standing_choice_counts_on_every_record_of_the_team_new_and_old(made, to):
    made.write("b@example.com", to, "/follow quotation.cancelled team:sales")
    assert standing(made) == {("b", "sales"): (("quotation.cancelled",), ())}
    made.write(A, S, "/cancel")
    assert "b" in heard(made, "quotation.cancelled")
    row = [row for row in made.messages() if row.subtype == "quotation.cancelled"][-1]
    assert next(each["reason"] for each in row.hears if each["who"] == "b") == "standing team:sales"


def test_what_is_given_up_standing_beats_the_rules_and_a_choice_on_the_record_beats_both(made):
    made.write(CHIA, GATEWAY, "/取消訂閱 quotation.* team:sales")
    made.write(A, S, "/confirm")
    assert "chia" not in heard(made, "quotation.confirmed")
    made.quotation()
    made.write(CHIA, f"s00002@{D}", "/follow quotation.confirmed")
    made.write(A, f"s00002@{D}", "/confirm")
    assert "chia" in heard(made, "quotation.confirmed")


def test_standing_choices_for_others_need_the_right(made):
    assert made.write(CHIA, S, "/add b note team:sales") == ("done", "mistake")
    made.edit("people", "name: 賈小姐", "name: 賈小姐\n    rights: [sales-admin]")
    assert made.write(CHIA, S, "/add b note team:sales") == ("done", "command")
    assert standing(made) == {("b", "sales"): (("note",), ())}


@pytest.mark.parametrize(
    "text", ["/follow quotation.nothing team:sales", "/follow note team:nobody", "/add chai note team:sales"]
)
def test_a_mistake_in_a_standing_choice_is_answered_with_what_would_have_worked(made, text):
    made.write(CHIA, GATEWAY, text)
    assert standing(made) == {}
    assert "mailto:gateway@" in told(made, CHIA).text


def test_a_teams_own_thread_is_no_record_of_the_team(made):
    made.write(CHIA, GATEWAY, "/unfollow team:sales")
    made.write(A, f"sales@{D}", "hello all")
    assert "chia" in heard(made, "discussion")


# -- the form


TICKS = [
    ("[x] {}", True), ("[X] {}", True), ("[ x ] {}", True), ("[v] {}", True), ("[✓] {}", True), ("［ｘ］ {}", True),
    ("> [x] {}", True), ("> * [x] {}  x", True), ("☑ {}", True), ("✅ {}", True), ("x {}", True), ("[是] {}", True), ("[yes] {}", True),
    ("{} [x]", True), ("[ ]x {}", True), ("x[ ] {}", True), ("(x) {}", True), ("【x】{}", True), ("[ ] {}", False), ("[] {}", False),
    ("> [ ] {}", False), ("[-] {}", False), ("[no] {}", False), ("[否] {}", False), ("☐ {}", False), ("[_] {}", False), ("> > [ ]\u00a0{}", False),
]  # fmt: skip


@pytest.mark.parametrize(("shape", "ticked"), TICKS, ids=[shape for shape, _ in TICKS])
@pytest.mark.parametrize("name", ["quotation.cancelled", "報價單取消"])
def test_any_sane_way_of_ticking_a_box_is_understood(made, shape, ticked, name):
    made.write(CHIA, S, "/unfollow quotation.cancelled" if ticked else "/follow quotation.cancelled")
    made.write(CHIA, f"s00001-prefs@{D}", f"OK\n\nOn Monday X wrote:\n{shape.format(name)}\n")
    choice = made.choices()["chia"]
    assert ("quotation.cancelled" in choice.subtypes) is ticked


def test_the_form_comes_ticked_as_it_is_and_its_answer_changes_only_what_differs(made):
    made.write(CHIA, S, "/prefs")
    form = told(made, CHIA)
    assert form["Reply-To"].startswith("s00001-prefs+")
    assert "[x] quotation.created" in form.text
    assert "[ ] quotation.cancelled" in form.text
    plain = form.mail.get_body(("plain",)).get_content()
    quoted = "\n".join(f"> {line}" for line in plain.split("\n"))
    reply = quoted.replace("[ ] quotation.cancelled", "[x] quotation.cancelled").replace("[x] note", "[ ] note")
    made.write(CHIA, form["Reply-To"], reply)
    choice = made.choices()["chia"]
    assert (choice.subtypes, choice.without) == (("quotation.cancelled",), ("note",))
    transcripts = made.notices().count(("transcript", CHIA))
    made.write(CHIA, form["Reply-To"], reply)
    assert made.notices().count(("transcript", CHIA)) == transcripts
    assert "[x] quotation.cancelled" in told(made, CHIA).text  # nothing differs: the form as it stands now
    assert made.choices()["chia"] == choice


def test_the_form_without_a_record_chooses_for_every_record(made):
    made.write(CHIA, GATEWAY, "/偏好")
    plain = told(made, CHIA).mail.get_body(("plain",)).get_content()
    assert "[x] quotation.created" in plain
    made.write(
        CHIA,
        GATEWAY,
        plain.replace("[x] quotation.created", "[ ] quotation.created").replace(
            "[ ] quotation.cancelled", "[v] quotation.cancelled"
        ),
    )
    assert standing(made) == {("chia", ""): (("quotation.cancelled",), ("quotation.created",))}


# -- asked for twice


@pytest.fixture
def twice(made):
    made.edit("rules", "confirm_twice: []", "confirm_twice: [confirm, 失去]")
    return made


@pytest.mark.parametrize("to", [S, f"s00001-confirm@{D}"])
def test_a15_a_command_that_asks_twice_is_done_when_its_author_said_yes_again(twice, to):
    assert twice.write(CHIA, to, "/confirm" if to == S else "") == ("held", "second yes")
    assert record(twice, "S00001").state == "draft"
    (yes,) = decisive([told(twice, CHIA)], "release")
    assert "/confirm" in told(twice, CHIA).text
    for other in (A, CHENG):  # the salesperson, and who has the right settings
        twice.write(other, yes, "")
        assert record(twice, "S00001").state == "draft"
    twice.write(CHIA, yes, "", sure=False)
    assert record(twice, "S00001").state == "draft"
    twice.write(CHIA, yes, "")
    assert record(twice, "S00001").state == "confirmed"


def test_a15_the_same_mail_again_is_no_second_yes_and_a_no_drops_it(twice):
    assert twice.write(CHIA, L, "/lost too dear", number="once") == ("held", "second yes")
    assert twice.write(CHIA, L, "/lost too dear", number="once") == ("done", "duplicate")
    (no,) = decisive([told(twice, CHIA)], "drop")
    twice.write(CHIA, no, "")
    assert record(twice, "L00001").state == "open"
    assert twice.held() == []


def test_a15_a_second_yes_counts_for_seven_days(twice):
    twice.write(CHIA, S, "/confirm")
    (yes,) = decisive([told(twice, CHIA)], "release")
    with twice.store.write() as tx:
        tx.execute(sa.update(tables.arrival).values(received_at=tables.arrival.c.received_at - 8 * 86_400_000))
    twice.write(CHIA, yes, "")
    assert record(twice, "S00001").state == "draft"


# -- whose turn it is


def leads(house, count, start=0):
    for n in range(start, start + count):
        house.write(f"stranger{n}@x.example", f"leads@{D}", "I want desks")
    with house.store.read() as tx:
        return [each.salesperson for each in reversed(records.listed(tx, "lead"))][1:]


def assigning(house, how):
    house.edit(
        "rules",
        "creates: lead\n    team: sales\n    from: everyone",
        f"creates: lead\n    team: sales\n    from: everyone\n    assign: {how}",
    )


def test_a_strangers_leads_go_to_the_leader(made):
    assigning(made, "leader")
    assert leads(made, 2) == ["cheng", "cheng"]
    assert "cheng" in heard(made, "assigned")


def test_a_strangers_leads_go_round(made):
    assigning(made, "round-robin")
    made.edit("people", "name: D君", "name: D君\n    rights: [settings]")
    assert leads(made, 5) == ["a", "b", "c", "chia", "a"]


def test_a_strangers_leads_go_to_who_has_the_fewest_open(made):
    assigning(made, "fewest-open")
    assert leads(made, 4) == ["b", "c", "d", "chia"]  # A has one already
    made.write(A, f"l00003@{D}", "/won")
    assert leads(made, 1, 9)[-1] == "c"


def test_a_customers_own_salesperson_comes_before_the_rule(made):
    assigning(made, "leader")
    made.write(WANG, f"leads@{D}", "more chairs")
    assert record(made, "L00002").salesperson == "a"


# -- a mistake, mended


@pytest.mark.parametrize(
    ("to", "text", "mended"),
    [
        (S, "/confrim\n\nThank you.", "/confirm\n\nThank you."), (S, "/set amount 5\n/asign b", "/set amount 5\n/assign b"),
        (S, "/assign chai", "/assign chia"), (L, "/stage propositon", "/stage proposition"), (S, "/follow quotation.sendt", "/follow quotation.sent"),
        (S, "hello\n/note secret", "/note\n\nhello\n/note secret"), (S, "/確人", "/確認"),
    ],
)  # fmt: skip
def test_a_mistake_is_answered_with_the_mail_that_would_have_worked(made, to, text, mended):
    assert made.write(CHIA, to, text) == ("done", "mistake")
    html = told(made, CHIA).mail.get_body(("html",)).get_content()
    links = [unquote(link).replace("&amp;", "&") for link in re.findall(r'href="(mailto:[^"]+)"', html)]
    bodies = [link.partition("&body=")[2].replace("\r\n", "\n") for link in links]
    assert mended in bodies
    assert all(len(link) <= 1_900 for link in re.findall(r'href="(mailto:[^"]+)"', html))


# -- the PDF that is made


def test_a_quotation_without_a_pdf_goes_out_with_one_that_is_made_and_keeps_it(made):
    made.write(A, S, "/send")
    (got,) = [each for each in made.sent() if each.to == WANG]
    (attached,) = list(got.mail.iter_attachments())
    assert (attached.get_filename(), attached.get_content()[:5]) == ("S00001.pdf", b"%PDF-")
    made.write(A, S, "/send")
    again = [each for each in made.sent() if each.to == WANG][-1]
    assert next(iter(again.mail.iter_attachments())).get_content() == attached.get_content()


# -- help, and what one may do


def test_help_shows_what_this_reader_may_do_here_and_every_command_has_a_description(made):
    made.write(CHIA, S, "/help")
    text = told(made, CHIA).text
    assert "/confirm" in text
    assert "/won" not in text
    assert "/invoice" not in text  # not before the order is confirmed
    made.write(A, S, "/confirm")
    made.write(CHIA, S, "/說明")
    text = told(made, CHIA).text
    assert "/invoice" in text
    assert "/send" not in text
    made.edit("people", "name: D君", "name: D君\n    rights: [settings]")
    made.write("d@example.com", GATEWAY, "/help")
    assert "/follow" not in told(made, "d@example.com").text


def test_the_list_holds_what_is_open_with_buttons(made):
    made.write(A, GATEWAY, "/list")
    text = told(made, A).text
    assert f"s00001-confirm@{D}" in text
    assert f"l00001-won@{D}" in text
    made.write(A, L, "/won")
    made.write(A, GATEWAY, "/列表")
    assert "L00001" not in told(made, A).text


def test_every_command_is_for_something():
    assert all(each.kinds or each.asks or each in (*commands.SOCIAL, commands.SET, commands.ASSIGN, commands.TEAM)
               for each in commands.COMMANDS)  # fmt: skip


def test_why_is_about_the_message_that_was_answered_with_it(made):
    made.write(A, S, "/note only for those inside")
    note = next(row for row in made.messages() if row.subtype == "note")
    made.write(A, S, "hello")
    made.write(CHIA, S, "/why", head=f"In-Reply-To: <{note.message_id}>")
    text = told(made, CHIA).text
    assert "[備註]" in text
    assert "rules.yaml:" in text
    made.write(CHIA, S, "/原因")
    assert "[討論]" in told(made, CHIA).text


def test_who_stands_in_cc_of_the_mail_that_sends_gets_no_second_copy_but_the_customer_gets_the_offer(made):
    made.sent()
    made.write(A, S, "/send", head=f"Cc: {CHIA}, {WANG}")
    got = [each.to for each in made.sent() if each["X-Replygate-Subtype"] == "quotation.sent"]
    assert WANG in got
    assert CHIA not in got
    assert CHENG in got


@pytest.mark.parametrize("text", ["送給客戶", "Send to the customer", "Dear all,", ""])
def test_what_a_button_writes_is_no_address_and_no_title(made, text):
    assert made.write(A, f"s00001-send@{D}", text)[0] in ("done", "posted")
    assert record(made, "S00001").state == "sent"
    made.write(A, f"l00001-quote@{D}", text)
    assert record(made, "S00002").title == "desks"


def test_another_offer_after_a_change_has_another_pdf(made):
    made.write(A, S, "/send")
    made.sent()
    made.write(A, S, "/set amount 110000\n/send")
    first, second = (
        next(iter(each.mail.iter_attachments())).get_content()
        for each in made.sent()
        if each["X-Replygate-Subtype"] == "quotation.sent" and each.to == WANG
    )
    assert first != second


def test_whoever_may_answer_a_customer_unknowingly_is_warned(made):
    made.write("stranger@x.example", f"leads@{D}", "I want desks")
    created = [each for each in made.sent() if each["X-Replygate-Subtype"] == "lead.created" and each.to == CHIA][-1]
    assert "您的回覆也會寄給客戶" in created.text


def test_a_rule_assigns_and_not_the_stranger_who_wrote(made):
    assigning(made, "leader")
    made.write("stranger@x.example", f"leads@{D}", "I want desks")
    (assigned,) = [row for row in made.messages() if row.subtype == "assigned"]
    assert assigned.author_email == ""


def test_the_same_yes_again_is_posted_no_second_time(made):
    made.write(A, S, "/send")
    to = made.tagged("S00001", WANG, "accept")
    made.write(WANG, to, "yes", number="yes")
    count = len(made.messages())
    assert made.write(WANG, to, "yes", number="yes") == ("done", "duplicate")
    assert len(made.messages()) == count


def test_only_the_customer_gets_buttons_that_only_the_customer_may_press(made):
    made.write(A, S, "/send other@acme.example")
    sent = [each for each in made.sent() if each["X-Replygate-Subtype"] == "quotation.sent"]
    offers = {each.to: "s00001-accept+" in each.text for each in sent}
    assert offers[WANG]
    assert not offers["other@acme.example"]


def test_a_tick_for_every_record_takes_back_what_was_given_up_for_one_team(made):
    made.write(CHIA, GATEWAY, "/unfollow quotation.sent team:sales")
    made.write(CHIA, GATEWAY, "[x] quotation.sent")
    made.write(CHIA, GATEWAY, "/prefs")
    assert "[x] quotation.sent" in told(made, CHIA).text


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [("/設定 金額：9", "amount", "9"), ("/set amount=9", "amount", "9"), ("/設定 有效期限 2027年1月5日", "valid_until", "2027-01-05"),
     ("/set amount 1,200.50", "amount", "1200.50")],
)  # fmt: skip
def test_a_field_is_set_as_people_write_it(made, text, field, value):
    made.write(CHIA, S, text)
    assert record(made, "S00001").fields[field] == value


@pytest.mark.parametrize("text", ["/set amount much", "/set valid_until soon"])
def test_what_is_no_value_of_a_field_is_refused(made, text):
    assert made.write(CHIA, S, text) == ("done", "mistake")


def test_a_team_is_known_by_its_name(made):
    made.write(CHIA, S, "/assign b\n/team 銷售團隊")
    assert record(made, "S00001").team == "sales"


@pytest.mark.parametrize(
    ("to", "head", "cause"),
    [("friend@elsewhere.example", "", "not named"), (S, "Date: Mon, 05 Oct 2020 10:00:00 +0800", "old")],
)
def test_a14_a_note_that_commands_is_guarded_like_any_command(made, to, head, cause):
    mail = f"From: {CHIA}\r\nTo: {to}\r\nSubject: x\r\nMessage-ID: <g@x>\r\n{head}{chr(13) + chr(10) if head else ''}\r\n/note\r\n/confirm\r\ninside\r\n"
    assert made.take(mail.encode(), S, peer="192.0.2.1", return_path=CHIA) == ("held", cause)
    assert record(made, "S00001").state == "draft"


def test_who_gets_a_mail_with_the_record_in_bcc_does_not_follow(made):
    mail = f"From: {A}\r\nTo: friend@elsewhere.example\r\nSubject: x\r\nMessage-ID: <b@x>\r\n\r\nhello\r\n"
    assert made.take(mail.encode(), S, peer="192.0.2.1", return_path=A) == ("posted", "")
    assert "friend@elsewhere.example" not in made.choices()


def test_who_unfollowed_does_not_come_back_by_a_cc(made):
    made.write(A, S, "/add other@x.example")
    made.write("other@x.example", made.tagged("S00001", "other@x.example", "unfollow"), "")
    made.write(A, S, "hello", head="Cc: other@x.example, new@x.example")
    assert made.choices()["other@x.example"].without == ("*",)
    assert made.choices()["new@x.example"].subtypes == ("discussion",)


def test_what_somebody_chose_since_is_not_overwritten_by_taking_back(made):
    made.write(A, S, "/add cheng note")
    made.write(CHENG, S, "/unfollow")
    assert made.write(A, S, "/undo") == ("done", "mistake")
    assert made.choices()["cheng"].without == ("*",)


def test_a_text_too_long_for_a_link_is_said_to_be_left_out(made):
    made.write(CHIA, S, "/confrim\n\n" + "長" * 2_000)
    got = told(made, CHIA)
    assert "您的文字太長" in got.text
    assert all(len(link) <= 1_900 for link in re.findall(r'href="(mailto:[^"]+)"', got.text))


# -- a command's address in Chinese


def test_a_command_is_an_address_in_either_language(made):
    made.write(A, f"s00001-送出@{D}", "")
    assert record(made, "S00001").state == "sent"
    assert made.write(A, f"王 <s00001-確認@{D}>", "", envelope=f"s00001-確認@{D}") == ("done", "command")
    assert record(made, "S00001").state == "confirmed"
    assert made.write(A, f"l00001-階段@{D}", "new") == ("done", "command")
    assert record(made, "L00001").fields["stage"] == "new"
    assert made.write(WANG, f"s00001-取消@{D}", "") != ("done", "command")
    assert record(made, "S00001").state == "confirmed"


def test_a_note_to_its_address_in_chinese_stays_inside_though_it_names_the_customer(made):
    made.write(WANG, S, "hello")
    to = f"s00001-備註@{D}"
    assert made.write(A, f"{to}, {WANG}", "內部：最低八折", envelope=to) == ("posted", "")
    assert [row.subtype for row in made.messages()][-1] == "note"
    assert not [each for each in made.sent() if each.to == WANG and "最低八折" in each.text]
    assert made.write(A, f"{S}, {to}", "內部：再談", envelope=S) == ("posted", "")
    assert [row.subtype for row in made.messages()][-1] == "note"


def test_who_is_named_beside_an_address_in_utf_8_has_no_second_copy(made):
    made.write(B, S, "/follow")
    made.write(A, f"{S}, 王@例子.example, {B}", "二十張", envelope=S)
    assert B not in heard(made, "discussion")
