"""What sales rest on: what a customer says yes to, what they wrote, who answers a stranger, what is refused and how."""

import pytest

from gateway.store import followers, records
from tests.kit.house import ZONE, D, House
from tests.kit.zone import Zone

A, B, CHIA, WANG, EVE = "a@example.com", "b@example.com", "chia@example.com", "wang@acme.example", "eve@x.example"
S, GATEWAY = f"s00001@{D}", f"gateway@{D}"


@pytest.fixture
def made(tmp_path):
    house = House(tmp_path / "site", Zone.read(ZONE))
    house.quotation(lines=[{"name": "Chair", "quantity": 20, "price": "6000"}], fields={"amount": "120000"})
    yield house
    house.close()


def record(house, ref="S00001"):
    with house.store.read() as tx:
        return records.find(tx, ref)


def told(house, who, subtype):
    return [each for each in house.sent() if each.to == who and each["X-Replygate-Subtype"] == subtype]


def accept(house):
    return house.tagged("S00001", WANG, "accept")


# ---- what a customer says yes to


def test_a_yes_to_what_was_changed_since_it_was_sent_asks_the_salesperson(made):
    made.write(A, S, "/send")
    made.write(A, S, "/set amount 150000")
    assert made.write(WANG, accept(made), "yes, to the back door") == ("held", "changed")
    assert record(made).state == "sent"
    (asked,) = told(made, A, "held")
    assert "to the back door" in asked.text
    assert "已有更動" in asked.text
    assert asked.text.index("120,000") < asked.text.index("150,000")
    assert f"mailto:{S}?cc={WANG}&amp;subject=" in asked.text
    made.write(A, S, "/send")
    assert made.write(WANG, accept(made), "yes to that") == ("posted", "")
    assert record(made).state == "confirmed"
    (confirmed,) = told(made, WANG, "offer")
    assert "150,000" in confirmed.text


@pytest.mark.parametrize("until", ["2020/01/31", "2020年1月31日", "109/1/31", "民國109年1月31日", "2020.1.31"])
def test_a_last_day_counts_however_it_was_written(made, until):
    made.announce("quotation.created", title="desks", salesperson="a", actor="a", team="sales",
                  customer={"email": WANG}, fields={"amount": "5", "valid_until": until})  # fmt: skip
    assert record(made, "S00002").fields["valid_until"] == "2020-01-31"
    made.write(A, f"s00002@{D}", "/send")
    assert "此報價的有效期限已過" in told(made, A, "transcript")[-1].text
    assert made.write(WANG, made.tagged("S00002", WANG, "accept"), "yes") == ("held", "too late")


def test_a_last_day_that_nobody_can_read_asks_the_salesperson(made):
    made.announce("quotation.created", title="desks", salesperson="a", actor="a", team="sales",
                  customer={"email": WANG}, fields={"amount": "5", "valid_until": "by the end of next week"})  # fmt: skip
    made.write(A, f"s00002@{D}", "/send")
    assert made.write(WANG, made.tagged("S00002", WANG, "accept"), "yes") == ("held", "no day")


def test_what_the_customer_writes_with_a_yes_reaches_the_salesperson(made):
    made.write(A, S, "/send")
    made.write(A, S, "/unfollow quotation.confirmed")
    made.write(WANG, accept(made), "yes, to the back door")
    assert any("to the back door" in each.text for each in made.sent() if each.to == A)
    confirmed = next(row for row in made.messages() if row.subtype == "quotation.confirmed")
    made.write(A, S, "/why", head=f"In-Reply-To: <{confirmed.message_id}>")
    why = made.sent()[-1].text
    assert "A君 &lt;a@example.com&gt;: 是負責業務，已獲知客戶的答覆" in why
    assert "– A君" not in why


def test_later_mails_of_an_open_offer_hold_both_answers(made):
    made.write(A, S, "/send")
    made.write(WANG, S, "are they in stock?", number="asked")
    made.write(CHIA, S, "they are in stock", head="In-Reply-To: <asked@x>")
    assert "s00001-accept" in next(each.text for each in made.sent() if each.to == WANG and "in stock" in each.text)
    made.write(A, S, "/confirm")
    made.write(CHIA, S, "they are packed", head="In-Reply-To: <asked@x>")
    assert "-accept" not in next(each.text for each in made.sent() if each.to == WANG and "are packed" in each.text)


# ---- what is sent


def pdf_mail(to, text, name, number):
    return (
        f"From: {A}\r\nTo: {to}\r\nSubject: chairs\r\nMessage-ID: <{number}@x>\r\nMIME-Version: 1.0\r\n"
        'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\n'
        f'{text}\r\n--b\r\nContent-Type: application/pdf; name="{name}"\r\n'
        f'Content-Disposition: attachment; filename="{name}"\r\n\r\n%PDF-1.4 {name}\r\n--b--\r\n'
    ).encode()


def offered(house):
    return [
        [part.get_filename() for part in each.mail.iter_attachments()] for each in told(house, WANG, "quotation.sent")
    ]


def test_a_pdf_that_was_sent_with_another_amount_is_not_sent_again(made):
    made.take(pdf_mail(S, "/send", "offer.pdf", "one"), S, peer="192.0.2.1", return_path=A)
    made.write(A, S, "/set amount 150000")
    made.write(A, S, "/send")
    assert offered(made) == [["offer.pdf"], ["S00001.pdf"]]
    assert "offer.pdf → S00001.pdf" in told(made, A, "transcript")[-1].text
    made.take(pdf_mail(S, "the new one", "better.pdf", "two"), S, peer="192.0.2.1", return_path=A)
    made.write(A, S, "/send")
    assert offered(made)[-1] == ["better.pdf"]


def test_who_sends_nothing_is_warned(made):
    made.announce(title="desks", salesperson="a", actor="a", team="sales", customer={"email": WANG})
    made.write(A, f"s00002@{D}", "/send\n\nhere it is")
    assert record(made, "S00002").state == "sent"
    assert "客戶只收到文字" in told(made, A, "transcript")[-1].text
    made.write(A, S, "/send")
    assert "客戶只收到文字" not in told(made, A, "transcript")[-1].text


def test_an_extra_address_is_written_to_in_the_customers_language(made):
    made.write(A, S, "/send eve@x.example")
    assert "Here is our quotation" in told(made, EVE, "quotation.sent")[0].text


def test_an_order_has_one_invoice_unless_another_is_named(made):
    made.write(A, S, "/confirm")
    made.write(A, S, "/invoice")
    assert made.write(A, S, "/invoice") == ("done", "mistake")
    assert made.write(A, f"s00001-invoice@{D}", "") == ("done", "mistake")
    assert record(made, "I00002") is None
    assert made.write(A, S, "/invoice the rest") == ("done", "command")
    assert record(made).fields["invoice"] == "I00001, I00002"


# ---- a stranger's lead


def test_whom_a_strangers_lead_is_given_to_reads_it_and_answers_the_stranger(made):
    made.edit(
        "rules",
        "creates: lead\n    team: sales\n    from: everyone",
        "creates: lead\n    team: sales\n    from: everyone\n    assign: leader",
    )
    made.write(EVE, f"leads@{D}", "Phone: 02 1234 5678\n\nI want forty desks", sure=True)
    lead = record(made, "L00001")
    given = [each for each in made.sent() if each["X-Replygate-Subtype"] == "assigned" and "L00001" in each["Subject"]]
    assert [each.to for each in given] == [f"{lead.salesperson}@example.com"]
    assert "I want forty desks" in given[0].text
    assert EVE in given[0].text
    assert "/備註" in given[0].text  # an answer goes to the customer
    answer = f"In-Reply-To: {given[0]['Message-ID']}"
    assert made.write(given[0].to, given[0]["Reply-To"], "we have them", head=answer)[0] == "posted"
    assert "we have them" in [each.text for each in made.sent() if each.to == EVE][-1]


# ---- what is refused, and how


@pytest.mark.parametrize(
    ("text", "mended"),
    [("/lisst", "/list"), ("/confirm", ""), ("/help\n/nothing-such", ""), ("/follow *\n/set amount 5", "")],
)
def test_what_the_gateway_itself_cannot_do_is_answered_and_nothing_of_it_is_done(made, text, mended):
    assert made.write(A, GATEWAY, text) == ("done", "mistake")
    (answer,) = told(made, A, "transcript")
    assert mended in answer.text
    with made.store.read() as tx:
        assert followers.standing_choices(tx) == []


def test_a_standing_choice_needs_the_right(made):
    made.edit("people", "name: 賈小姐", "name: 賈小姐\n    rights: []")
    assert made.write(CHIA, GATEWAY, "/follow * team:sales") == ("done", "mistake")
    assert made.write(CHIA, GATEWAY, "/unfollow * team:sales") == ("done", "command")


@pytest.mark.parametrize(
    ("text", "mended"),
    [
        ("/設定 業務 chai", "/指派 chia"), ("/add 賈小姊", "/add chia"),
        ("/follow 報價單送岀", "/follow quotation.sent"), ("/follow * 團隊：sale", "/follow * team:sales"),
        ("/confrim", "/confirm"),
    ],
)  # fmt: skip
def test_a_mistake_comes_back_with_the_line_that_works_and_the_text(made, text, mended):
    assert made.write(A, S, f"{text}\n\nplease look") == ("done", "mistake")
    (answer,) = told(made, A, "transcript")
    assert f"{mended}\n" in answer.text
    assert "please%20look" in answer.text


def test_what_is_not_possible_now_is_no_remedy(made):
    made.write(A, S, "/confirm")
    made.write(A, S, "/confrim")
    assert "/confirm" not in told(made, A, "transcript")[-1].text.replace("/confrim", "")


@pytest.mark.parametrize("text", ["/訂閱 報價單送出", "/follow 報價單送出，"])
def test_a_subtype_is_known_by_what_it_is_called(made, text):
    made.write(CHIA, S, text)
    assert made.choices()["chia"].subtypes == ("quotation.sent",)


def test_a_reason_left_as_the_button_wrote_it_is_none(made):
    made.announce("lead.created", title="desks", salesperson="a", actor="a", team="sales")
    assert made.write(A, f"l00001-lost@{D}", "原因") == ("done", "mistake")
    assert record(made, "L00001").state == "open"


def test_a_transcript_holds_what_may_be_done_next(made):
    made.write(A, S, "/set amount 5")
    assert f"s00001-send@{D}" in told(made, A, "transcript")[-1].text


# ---- what comes of a choice for somebody outside


@pytest.mark.parametrize(("words", "warned"), [("note", True), ("note discussion", False), ("", False)])
def test_who_adds_a_customer_to_what_is_internal_reads_that_nothing_comes_of_it(made, words, warned):
    assert made.write(A, S, f"/add {EVE} {words}".strip()) == ("done", "command")
    (transcript,) = told(made, A, "transcript")
    assert ("內部事項不會通知外部人員" in transcript.text) is warned


# ---- an invoice that the customer lost


def test_an_invoice_goes_to_the_customer_once_more_and_nothing_changes(made):
    made.announce("invoice.created", title="chairs", salesperson="a", actor="a", team="sales",
                  customer={"email": WANG}, fields={"amount": "5"})  # fmt: skip
    invoice = f"i00001@{D}"
    made.write(A, invoice, "/過帳")
    made.write(A, invoice, "/送出\n\n再寄一次給您。")
    _, second = told(made, WANG, "invoice.validated")
    assert "Here is our invoice I00001" in second.text
    assert "再寄一次給您。" in second.text
    assert "application/pdf" in second.octets.decode("ascii", "replace")
    assert record(made, "I00001").state == "posted"
    made.write(A, invoice, "/paid")
    made.write(CHIA, invoice, "/send")
    assert len(told(made, WANG, "invoice.validated")) == 3
    assert record(made, "I00001").state == "paid"
    assert any("再次送給" in each.text for each in made.sent() if each["X-Replygate-Subtype"] == "invoice.validated")
    made.write(A, invoice, "/validate")  # which is a transition, and was
    assert "I00001" in told(made, A, "transcript")[-1].text
    assert len(told(made, WANG, "invoice.validated")) == 3


def test_a_pattern_begins_with_what_a_kind_is_called(made):
    made.write(B, S, "/訂閱 報價單.*")
    assert "quotation.*" in next(each for each in choices(made) if each.who == "b").subtypes
    made.write(B, GATEWAY, "/訂閱 報價單.* 團隊:sales")
    assert "quotation.*" in next(each for each in choices(made, standing=True) if each.who == "b").subtypes


def choices(house, *, standing=False):
    with house.store.read() as tx:
        return followers.standing_choices(tx) if standing else followers.choices_on(tx, records.find(tx, "S00001").id)
