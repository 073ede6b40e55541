"""What a sixth look found: a secret among many notes that look alike, and what a company's group hands on."""

import base64
import time
from unicodedata import normalize

import pytest
import sqlalchemy as sa

from gateway.decide import held as held_by_hand
from gateway.decide.announce import Event, Refused, announce
from gateway.store import records, suppressed, tables
from gateway.worker import now_ms
from tests.decide.test_fifth_look import CHENG, CHIA, SECRET, SIGNATURE, WANG, A, B, S, mail, release
from tests.kit.house import CUSTOMER, HOSTS, INSIDE, NOBODY, D

N = f"s00001-note@{D}"
HELD = ("held", "quotes a note")


# ---- one note among many


def test_a_secret_is_found_though_a_hundred_notes_end_as_it_does(made):
    made.follow("S00001", WANG)
    for number in range(2):
        made.write(A, S, f"Dear Mr Wang, this is mail {number}.\r\n\r\n{SIGNATURE}")
        made.sent()
    for number in range(100):
        made.write(A, f"s00001-note@{D}", f"{'x' * (number % 13)} called them, nobody was in.\r\n\r\n{SIGNATURE}")
    made.write(A, f"s00001-note@{D}", f"{SECRET}\r\n\r\n{SIGNATURE}")
    for number in range(100):
        made.write(A, f"s00001-note@{D}", f"{'y' * (number % 13)} called them again.\r\n\r\n{SIGNATURE}")
    started = time.process_time()
    assert made.write(A, S, f"Dear Mr Wang, no.\r\n\r\n{SIGNATURE}") == ("posted", "")
    assert made.write(A, S, f"Dear Mr Wang,\r\n\r\n{SECRET}\r\n\r\n{SIGNATURE}") == ("held", "quotes a note")
    assert time.process_time() - started < 2  # seconds for both


# ---- what a company's group hands on

GROUP = "List-Id: <purchasing.acme.example>\r\nPrecedence: list\r\nList-Post: <mailto:purchasing@acme.example>\r\n"
ORDER = "We take the 20 chairs at the price of your mail of Monday.\r\nPlease deliver them to Kaohsiung."


def test_an_answer_that_came_through_a_customers_group_is_posted_whole_and_heard_inside(made):
    made.follow("S00001", "li@beta.example")
    made.write(A, S, "Would the chairs do?", number="ask")
    before = len(made.sent())
    answer = mail(WANG, "Re: chairs", ORDER, f"In-Reply-To: <ask@x>\r\n{GROUP}")
    assert made.take(answer, S, peer=CUSTOMER, return_path=WANG) == ("posted", "")
    posted = made.messages()[-1]
    assert "Kaohsiung" in posted.text
    assert not posted.details.get("automatic")
    heard = [each.to for each in made.sent()[before:]]
    assert A in heard
    assert all(each.endswith("@example.com") for each in heard)


@pytest.mark.parametrize(
    ("head", "peer"),
    [
        (GROUP, CUSTOMER),  # it answers nothing
        (f"In-Reply-To: <other@x>\r\n{GROUP}", CUSTOMER),  # or nothing of ours
        (f"In-Reply-To: <ask@x>\r\n{GROUP}", NOBODY),  # or whose it is nobody knows
        ("In-Reply-To: <ask@x>\r\nPrecedence: bulk\r\n", CUSTOMER),
        ("In-Reply-To: <ask@x>\r\nX-Auto-Response-Suppress: All\r\n", CUSTOMER),
        (f"In-Reply-To: <ask@x>\r\nAuto-Submitted: auto-replied\r\n{GROUP}", CUSTOMER),
    ],
)
def test_what_else_lists_and_servers_send_is_heard_by_nobody(made, head, peer):
    made.write(A, S, "Would the chairs do?", number="ask")
    before = len(made.sent())
    made.take(mail(WANG, "Re: chairs", ORDER, head), S, peer=peer, return_path=WANG)
    assert made.held() or made.messages()[-1].details.get("automatic")
    assert made.held() or len(made.sent()) == before


# ---- what is a secret of a note

OFFER = "we offer you the oak chairs at 95,000 with ninety days of credit, our very best price"
LI = "li@x.example"


def li_buys(made, *titles):
    """Return the addresses of quotations to Ms Li."""
    refs = [made.quotation(title=title, customer={"name": "Li", "email": LI}) for title in titles]
    for ref in refs:
        made.follow(ref, LI)
    return [f"{ref.lower()}@{D}" for ref in refs]


def li_reads(made, *texts, titles=("desks",)):
    """Let A write to Ms Li, once to each of her quotations, and her get it; return the address of the first."""
    addresses = li_buys(made, *titles)
    for text in texts:
        for to in addresses:
            made.write(A, to, text)
    made.sent()
    return addresses[0]


@pytest.mark.parametrize("reminded", [True, False])
def test_what_another_customer_was_told_twice_or_on_two_records_at_once_is_a_secret_of_a_note(made, reminded):
    made.follow("S00001", WANG)
    if reminded:
        said = ("Dear Ms Li,", "Dear Ms Li, may I remind you:")
        li_reads(made, *(f"{each}\r\n\r\n{OFFER}.\r\n\r\nA" for each in said))
    else:
        both = li_buys(made, "desks", "tables")
        made.take(
            mail(A, "x", f"Dear Ms Li,\r\n\r\n{OFFER}.\r\n\r\nA", to=", ".join(both)), *both, peer=INSIDE, return_path=A
        )
    made.sent()
    made.write(A, N, f"What Li got: {OFFER}.")
    assert made.write(CHIA, S, f"By the way, {OFFER}.") == HELD


def test_what_bounced_was_not_read_and_who_moves_away_makes_nothing_public(made):
    made.follow("S00001", WANG)
    made.write(A, S, f"Dear Mr Wang, {SECRET}")
    made.sent()
    with made.store.write() as tx:
        tx.execute(sa.update(tables.delivery).where(tables.delivery.c.recipient == WANG).values(state="failed"))
    made.write(A, N, f"It bounced, and better so: {SECRET}")
    assert made.write(B, S, f"Dear Mr Wang, {SECRET}") == HELD
    inner = made.announce("quotation.created", title="inner", salesperson="a", actor="a", team="sales").lower()
    other = SECRET.replace("ninety-five", "eighty-one")
    made.take(mail(A, "x", other, f"Cc: {B}\r\n", to=f"{inner}@{D}"), f"{inner}@{D}", peer=INSIDE, return_path=A)
    made.write(A, f"{inner}-note@{D}", f"Again: {other}")
    made.edit("people", f"email: {B}", "email: b2@example.com")
    assert made.write(CHIA, S, other) == HELD


def attached(kind, content, name="x.txt"):
    """Return the head and the body of a mail that attaches a file."""
    shape = f'Content-Type: {kind}\r\nContent-Disposition: attachment; filename="{name}"\r\n'
    coded = base64.encodebytes(content).decode().replace("\n", "\r\n")
    return (
        'MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary="b"',
        f"--b\r\n\r\nsee it\r\n--b\r\n{shape}Content-Transfer-Encoding: base64\r\n\r\n{coded}--b--",
    )


LINES = (
    "底價五千八百元，不可再低",
    "合夥人低於此價會退出合作",
    "請勿告訴客戶本案的成本結構",
    "總經理簽字才可再降三個百分點",
)
CARD = "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nDESCRIPTION:{}\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
LONG = "".join(f"row {n} of the price list has value {n * 7}\r\n" for n in range(3000))
FRENCH = "Le prix plancher négocié à Liège est réservé aux évêques fêtés, décidé à Genève où l'équipe"
SHOWN = [
    ("\r\n".join(LINES), attached("text/calendar; charset=utf-8", CARD.format("\\n".join(LINES)).encode(), "i.ics")),
    (
        SECRET,
        attached(
            "image/svg+xml",
            b"<svg><text>" + b"".join(b"<tspan x='9'>%s </tspan>" % word.encode() for word in SECRET.split()),
            "x.svg",
        ),
    ),
    (SECRET, attached("text/plain", (LONG + SECRET).encode())),
    (SECRET, ("", LONG + SECRET)),
    (FRENCH, ("Content-Type: text/plain; charset=utf-8", normalize("NFD", FRENCH))),
]


@pytest.mark.parametrize(("note", "shown"), SHOWN, ids=["calendar", "picture", "long file", "long text", "marks apart"])
def test_a_note_is_found_in_whatever_it_is_shown(made, note, shown):
    made.follow("S00001", WANG)
    made.write(A, N, note, head="Content-Type: text/plain; charset=utf-8")
    head, text = shown
    assert made.write(A, S, text, head=head) == HELD


SAID = SECRET.partition(", whatever")[0]
EVENTS = [
    ("fields.valid_until", {"fields": {"valid_until": SAID}}), ("fields.amount", {"fields": {"amount": SAID}}),
    ("lines.0.name", {"lines": [{"name": SAID, "price": "5"}]}), ("lines.0.price", {"lines": [{"name": "x", "price": SAID}]}),
    ("customer.name", {"customer": {"name": SAID, "email": WANG}}), ("title", {"title": SAID}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "given"), EVENTS, ids=[name for name, _ in EVENTS])
def test_the_record_system_tells_nobody_a_note(made, name, given):
    made.write(A, N, SAID)
    assert refused(made, event="changed", ref="S00001", **given) == [name]


def test_a_file_of_the_record_system_tells_nobody_a_note(made):
    made.write(A, N, SAID)
    (made.folder / "f.txt").write_text(SAID)
    (made.folder / f"{SAID}.txt").write_text("x")
    for file in ("f.txt", f"{SAID}.txt"):
        assert refused(made, event="message", ref="S00001", body="see", attachments=[file]) == ["attachments"]


def refused(house, **event):
    with house.store.write() as tx:
        answer = announce(tx, house.desk, Event.model_validate(event), house.folder, now_ms())
    return [each.field for each in answer.problems] if isinstance(answer, Refused) else []


@pytest.mark.parametrize("line", [f"Valid until: {SAID}", f"Customer: {SAID} <li@x.example>"])
def test_what_a_mail_says_of_the_record_it_makes_quotes_no_note(made, line):
    made.write(A, N, SAID)
    to = f"quotations@{D}"
    assert made.take(mail(A, "desks", f"{line}\r\n\r\nHello", to=to), to, peer=INSIDE, return_path=A) == (
        "held",
        "note",
    )


def test_what_a_customer_says_along_with_their_yes_quotes_a_note_to_nobody_outside(made):
    made.announce("changed", ref="S00001", fields={"amount": "5"})
    made.follow("S00001", LI, "discussion", "quotation.confirmed", "quotation.sent")
    made.write(A, S, "/send")
    made.sent()
    made.write(A, N, SECRET)
    accept = made.tagged("S00001", WANG, "accept")
    assert made.write(WANG, accept, f"yes, as you wrote to me: {SECRET}") == ("posted", "")
    assert not [each for each in made.sent() if each.to == LI and "ninety-five" in each.text]
    assert [each for each in made.sent() if each.to == A and "ninety-five" in each.text]


# ---- what is none

CHAIR = "Oak office chair with armrests and black leather, model OC-2000"
TITLE = "Chairs and tables for the new Kaohsiung office of ACME"
CUSTOMERS = (
    "Wang Xiaoming | Purchasing Manager | ACME Industries Ltd. | 88 Harbour Road, Kaohsiung 806 | +886-7-123-4567"
)
LATER = f"Dear Alex, we take 20.\r\n\r\nKind regards\r\n{CUSTOMERS}"


def test_what_a_record_says_of_itself_is_no_secret_of_a_note(made):
    given = {"lines": [{"name": CHAIR, "quantity": "20", "price": "6000"}], "title": TITLE}
    made.announce("lead.created", title="chairs", salesperson="a", actor="a", team="sales")
    made.write(A, f"l00001-note@{D}", f"They ask for 20 of the {CHAIR}, can we?")
    assert refused(made, event="changed", ref="S00001", **given) == []
    made.write(B, N, f"Is there stock of: {CHAIR}? For: {TITLE}")
    assert refused(made, event="changed", ref="S00001", **given) == []
    new = {**given, "title": "more", "team": "sales", "salesperson": "a"}
    assert refused(made, event="quotation.created", customer={"email": LI}, **new) == []
    assert refused(made, event="invoice.created", origin="S00001", customer={"email": WANG}, **given) == []
    assert made.write(A, S, f"Dear Mr Wang, we have the {CHAIR} in stock.") == ("posted", "")


@pytest.mark.parametrize("dropped", [True, False])
def test_what_a_customer_says_of_themselves_is_no_secret_to_them(made, dropped):
    made.follow("S00001", WANG)
    asked = f"How fast are you?\r\n\r\nKind regards\r\n{CUSTOMERS}"
    if dropped:
        made.take(mail(f"Wang <{WANG}>", "chairs", asked, to=A), N, door="folder", auth_who="a")
    else:
        block = f"-----Original Message-----\r\nFrom: Wang <{WANG}>\r\nTo: {A}\r\nSubject: chairs\r\n\r\n{asked}"
        made.take(mail(A, "FW: chairs", f"B, he wrote to me:\r\n\r\n{block}", to=N), N, peer=INSIDE, return_path=A)
    assert made.write(WANG, S, LATER) == ("posted", "")


ASKED = "Could you please deliver the chairs to our warehouse in Kaohsiung before the tenth of December?"


def test_what_a_customer_wrote_to_a_lead_is_no_secret_of_its_quotation(made):
    to = f"leads@{D}"
    made.take(mail(WANG, "chairs wanted", f"Dear all,\r\n{ASKED}\r\nWang", to=to), to, peer=CUSTOMER, return_path=WANG)
    assert made.write(A, f"l00001@{D}", "/quote") == ("done", "command")
    made.follow("S00002", WANG)
    made.write(A, f"s00002-note@{D}", f"B, can we? {ASKED}")
    assert made.write(A, f"s00002@{D}", f"> {ASKED}\r\n\r\nYes, we can.") == ("posted", "")


@pytest.mark.parametrize("above", ["\r\n", "\r\n\r\n", "\r\n-- \r\n"])
@pytest.mark.parametrize("closing", ["", "Thank you very much,\r\n"])
def test_a_signature_is_known_from_mails_to_two_customers_whatever_stands_above_it(made, above, closing):
    made.follow("S00001", WANG)
    ref = made.quotation(title="tables", customer={"name": "Lin", "email": "lin@y.example"})
    made.follow(ref, "lin@y.example")
    for number, to in enumerate([*li_buys(made, "desks"), f"{ref.lower()}@{D}"]):
        made.write(A, to, f"Dear all, number {number} is fine.{above}{SIGNATURE * 3}")
    made.sent()
    made.write(A, N, f"the floor is 95.{above}{closing}{SIGNATURE * 3}")
    assert made.write(A, S, f"Dear Mr Wang, all is well.{above}{closing}{SIGNATURE * 3}") == ("posted", "")


def test_a_signature_that_one_customer_knows_is_asked_about_once(made):
    made.follow("S00001", WANG)
    desks = li_reads(made, *(f"Dear Ms Li, number {n} is fine.\r\n\r\n{SIGNATURE}" for n in range(3)))
    made.write(A, N, f"the floor is 95.\r\n\r\n{SIGNATURE}")
    assert made.write(A, S, f"Dear Mr Wang, all is well.\r\n\r\n{SIGNATURE}") == HELD
    assert release(made) == []
    made.sent()
    made.write(A, f"{desks.partition('@')[0]}-note@{D}", f"the floor is 80.\r\n\r\n{SIGNATURE}")
    assert made.write(A, S, f"Dear Mr Wang, and they are grey.\r\n\r\n{SIGNATURE}") == ("posted", "")


def test_what_a_customer_attached_or_quoted_is_no_secret(made):
    made.follow("S00001", WANG)
    spec = "We need 40 desks, each 160 cm wide, in light oak with white legs, delivered to the third floor."
    head, body = attached("text/plain", spec.encode(), "spec.txt")
    made.write(WANG, S, body, head=head)
    boss = spec.replace("desks", "cupboards")
    made.write(WANG, S, f"See below.\r\n\r\n-----Original Message-----\r\nFrom: Boss\r\nSubject: x\r\n\r\n{boss}")
    made.write(A, N, f"B, can we do this? {spec} And this? {boss}")
    assert made.write(A, S, f"Dear Mr Wang, we understood: {spec} We can.") == ("posted", "")
    assert made.write(A, S, f"Dear Mr Wang, we understood: {boss} We can.") == ("posted", "")


def test_what_repeats_itself_takes_no_time(made):
    made.follow("S00001", WANG)
    zeros = "\r\n".join(["0 " * 40] * 200)
    made.write(WANG, S, f"see:\r\n\r\n{zeros}")
    made.write(A, N, f"FW: see:\r\n\r\n{zeros}")
    started = time.process_time()
    assert made.write(WANG, S, f"see:\r\n\r\n{zeros}") == ("posted", "")
    made.write(B, N, f"other numbers:\r\n\r\n1{zeros}{zeros}1")
    letters = "".join(chr(97 + n * n * 7 % 26) for n in range(190_000))
    for each in range(5):
        head, body = attached("text/plain", (str(each) + letters[each:]).encode())
        assert made.write(WANG, S, body, head=head) == ("posted", "")
    assert time.process_time() - started < 20  # seconds for all seven; one of them took 24


# ---- machines


@pytest.mark.parametrize("other", ["chia@example.com", WANG])
def test_C15_answering_machines_that_do_not_say_what_they_answer_fall_silent(made, other):  # noqa: N802
    made.follow("S00001", WANG)
    texts = {
        A: "I am out of the office until Monday, and shall answer then. Yours, A",
        other: "Thank you for your mail, I shall read it when I am back from the fair. Yours",
    }
    made.write(CHENG, S, "Here is our offer.")
    seen = 0
    for _ in range(12):
        sent = made.sent()
        new, seen = sent[seen:], len(sent)
        for each in [each for each in new if each.to in texts and each["Message-ID"].startswith("<s00001.")]:
            made.write(each.to, each["Reply-To"], texts[each.to])
    assert made.sent()[seen:] == []
    said = [row for row in made.messages() if row.subtype == "discussion" and not row.details.get("automatic")]
    assert len(said) - 1 <= 3


def test_what_a_machine_says_is_compared_in_time_that_grows_with_it(made):
    made.follow("S00001", WANG)
    started = time.process_time()
    for _ in range(3):
        made.write(A, S, "Is it done?")
        made.sent()
        made.write(WANG, S, "x" * 20_000)
    assert time.process_time() - started < 5  # seconds; it took 4 for each comparison


def test_a_block_of_what_a_forger_wrote_does_not_silence_the_customer(made):
    made.follow("S00001", WANG)
    assert made.write(WANG, S, "forged", sure=False) == ("held", "not authenticated")
    (kept,) = made.held()
    with made.store.write() as tx:
        assert held_by_hand.decide(tx, "block", kept, "cheng", now_ms())
    assert made.write(WANG, S, "forged again", sure=False) == ("refused", "blocked")
    assert made.write(WANG, S, "We take them.") == ("posted", "")
    made.write("mallory@evil.example", S, "buy this")
    (kept,) = made.held()
    with made.store.write() as tx:
        assert held_by_hand.decide(tx, "block", kept, "cheng", now_ms())
    assert made.write("mallory@evil.example", S, "buy that") == ("refused", "blocked")


@pytest.mark.parametrize("local", ["bounce", "cron", "notifications", "no-reply", "nagios", "purchasing-bounce"])
def test_a_customer_is_heard_whatever_their_address_is_called(made, local):
    email = f"{local}@acme.example"
    ref = made.quotation(title="desks", customer={"name": "ACME", "email": email})
    before = len(made.sent())
    assert made.write(email, f"{ref.lower()}@{D}", "We accept, please ship 20.") == ("posted", "")
    assert A in [each.to for each in made.sent()[before:]]


@pytest.mark.parametrize(
    "text", ["這是一封自動回覆郵件，我目前休假中。", "This is an automatic reply. I am back on Monday.",
             "这是一封自动回复邮件。您的来信我已收到。"],
)  # fmt: skip
@pytest.mark.parametrize("who", [A, WANG])
def test_a_mail_that_says_of_itself_that_it_is_automatic_is(made, who, text):
    made.follow("S00001", WANG)
    made.write(WANG if who == A else A, S, "Is it done?", number="ask")
    before = len(made.sent())
    answer = mail(who, "Re: [S00001] chairs", text, "In-Reply-To: <ask@x>\r\n")
    assert made.take(answer, S, peer=HOSTS[who.rpartition("@")[2]], return_path=who) == ("posted", "automatic")
    assert len(made.sent()) == before


# ---- what did not happen


def test_an_offer_that_no_mail_could_take_to_the_customer_is_not_said_to_be_sent(made):
    made.announce("changed", ref="S00001", fields={"amount": "5"})
    with made.store.write() as tx:
        suppressed.suppress(tx, WANG, "bounced", now_ms())
    made.write(A, S, "/send")
    (told,) = [each.text for each in made.sent() if each.to == CHIA and "客戶沒有收到" in each.text]
    assert "已將報價單" not in told


# ---- excuses that were too wide


def test_what_the_customer_of_an_origin_was_told_is_a_secret_to_another(made):
    made.follow("S00001", WANG)
    made.write(A, S, f"Dear Mr Wang, {OFFER}.")
    made.sent()
    bought = made.quotation(title="a purchase", customer={"name": "Li", "email": LI}, origin="S00001").lower()
    made.write(A, f"{bought}-note@{D}", f"never tell Li: {OFFER}, so the margin is forty percent")
    made.follow(bought.upper(), LI)
    assert made.write(B, f"{bought}@{D}", f"By the way, {OFFER}.") == HELD


@pytest.mark.parametrize("titles", [["desks"], ["desks", "tables"]])
def test_what_one_customer_was_told_often_is_a_secret_to_another(made, titles):
    made.follow("S00001", WANG)
    li_reads(made, *(f"Reminder {n}.\r\n\r\n{SECRET}" for n in range(3)), titles=titles)
    made.write(A, N, f"As I told Li: {SECRET}")
    assert made.write(B, S, f"Dear Mr Wang, {SECRET}") == HELD


def test_of_notes_that_say_nearly_the_same_the_one_that_is_quoted_is_found(made):
    made.follow("S00001", WANG)
    addresses = li_buys(made, *(f"desk {n}" for n in range(6)))
    assert made.write(A, addresses[-1], f"Dear Ms Li, {SECRET}") == ("posted", "")
    made.sent()
    made.write(A, N, "The lowest price that we can give is 72000")
    made.write(A, N, f"We may say it to nobody: {SECRET}")
    for n, to in enumerate(addresses):
        note = to.replace("@", "-note@")
        made.write(A, note, f"The lowest price that we can give is 6{n}500")
        made.write(A, note, f"We may say it to nobody: {SECRET}")
    assert made.write(B, S, "Dear Mr Wang. The lowest price that we can give is 72000") == HELD
    assert made.write(B, S, f"Dear Mr Wang, {SECRET}") == HELD


PRICE = "the lowest price at which we sell the oak chair is"
NUMBERS = [
    (f"{PRICE} NT$ 88000", f"{PRICE} NT$ 72000"),
    (
        "the discount that we grant on oak is at most three percent",
        "the discount that we grant on oak is at most thirty",
    ),
]


@pytest.mark.parametrize(("told", "secret"), NUMBERS)
def test_a_number_is_nothing_that_agrees_by_chance(made, told, secret):
    made.follow("S00001", WANG)
    made.write(A, S, f"Dear Mr Wang, {told}")
    made.sent()
    made.write(A, N, f"Between us, {secret}")
    assert made.write(B, S, f"Dear Mr Wang, {secret}") == HELD


def test_who_is_named_in_a_note_has_not_written_it(made):
    made.follow("S00001", WANG)
    made.follow("S00001", LI)
    made.write(A, N, f"B writes from {LI} while he is abroad. {SECRET}")
    assert made.write(LI, S, f"Dear all, {SECRET}") == HELD


def test_nothing_stands_behind_what_is_too_long(made):
    made.write(A, N, SAID)
    long = {f"field{n}": LONG[:90_000] for n in range(7)}
    assert refused(made, event="quotation.sent", ref="S00001", fields=long, body=SAID)[0] == "body"
    (made.folder / "list.csv").write_text("".join(f"{n};chair model {n};{n * 7}\n" for n in range(40_000)))
    (made.folder / "b.txt").write_text(SAID)
    files = ["list.csv", "b.txt"]
    assert refused(made, event="message", ref="S00001", body="see", attachments=files) == ["attachments"]
    assert refused(made, event="changed", ref="S00001", lines=[{"name": SAID, "price": "0"}]) == ["lines.0.name"]


def test_a_long_price_list_is_compared_and_posted_and_a_longer_one_asked_about(made):
    made.follow("S00001", WANG)
    made.write(A, N, SECRET)
    rows = [f"{n};chair model {n};{n * 7}\r\n" for n in range(40_000)]
    for count, outcome in ((14_000, ("posted", "")), (40_000, HELD)):
        head, body = attached("text/csv", "".join(rows[:count]).encode(), "prices.csv")
        assert made.write(A, S, body, head=head) == outcome
    assert "too long" in made.held()[0].reason


LARGE = "Taiwan Semiconductor Manufacturing Company, Limited"
TERMS = "30 percent with the order, the balance ninety days after delivery"


def test_what_the_record_system_says_again_is_taken(made):
    same = {"customer": {"name": LARGE, "email": WANG}, "fields": {"payment_terms": TERMS}}
    assert refused(made, event="changed", ref="S00001", **same) == []
    made.write(A, N, f"Call {LARGE} tomorrow. We said {TERMS}, but sixty would do.")
    assert refused(made, event="changed", ref="S00001", **same) == []
    assert made.write(A, S, f"Dear Mr Wang, the invoice goes to {LARGE}.") == ("posted", "")


FOOTER = "此郵件由系統自動發送，請勿直接回覆。"
ORDER_BELOW = [
    f"We take the 20 chairs.\r\n\r\nBest regards\r\nW\r\n\r\n{FOOTER}",
    "Your shop sent me this:\r\n\r\nThis is an automatically generated message.\r\n\r\nWhat is it? We want 20 chairs.",
]


@pytest.mark.parametrize("text", ORDER_BELOW)
def test_a_footer_does_not_make_a_persons_mail_a_machines(made, text):
    before = len(made.sent())
    assert made.write(WANG, S, text) == ("posted", "")
    assert A in [each.to for each in made.sent()[before:]]
    made.announce("changed", ref="S00001", fields={"amount": "5"})
    assert made.write(A, S, f"/send\r\n\r\n{FOOTER}") == ("held", "second yes")


def test_who_sends_one_photo_after_the_other_is_no_machine(made):
    made.follow("S00001", WANG)
    made.write(A, S, "Please send photos of the damaged chairs, each in a mail of its own.")
    made.sent()
    for number in range(3):
        assert made.write(WANG, S, f"Photo {number} of the damaged chairs follows in a moment.") == ("posted", "")


# ---- a busy house


def test_a_mail_that_names_a_frequent_customer_is_posted_however_much_was_written(made):
    made.follow("S00001", WANG)
    texts = (f"Dear Ms Li, {' '.join(ASKED.split()[n % 9 :])} {n}\r\n\r\n{SIGNATURE}" for n in range(60))
    li_reads(made, *texts)
    for number in range(120):
        made.write(A, N, f"{'x' * (number % 13)} called Kaohsiung Harbour Furniture Company: nobody there {number}")
    text = "Dear all, the Kaohsiung Harbour Furniture Company asked as well. It will be delivered in May."
    started = time.process_time()
    assert made.write(A, S, text) == ("posted", "")
    assert time.process_time() - started < 2  # seconds


@pytest.mark.parametrize("first", [True, False])
def test_one_note_is_found_among_those_that_name_each_a_product_of_a_list(made, first):
    made.follow("S00001", WANG)
    words = [f"{each}{n}" for n in range(30) for each in ("oak", "ash", "elm", "fir", "teak", "pine", "beech", "birch")]
    products = [f"OC-{n} {words[n]} office chair model {words[n]}" for n in range(230)]
    for product in products:
        made.write(B, N, f"In stock: {product}?")
    made.write(A, N, "Our purchase price is 3,100 each; never go below 4,800 for anybody.")
    rows = [f"{product};{n}" for n, product in enumerate(products)]
    rows.insert(0 if first else len(rows), "Our purchase price is 3,100 each; never go below 4,800 for anybody.")
    head, body = attached("text/csv", "\r\n".join(rows).encode(), "prices.csv")
    assert made.write(B, S, body, head=head) == HELD


def test_the_record_system_may_announce_whom_and_what_a_note_names(made):
    made.announce("lead.created", title="chairs", salesperson="a", actor="a", team="sales")
    made.write(A, f"l00001-note@{D}", f"Call {LARGE} tomorrow. We said {TERMS}. Title: {TITLE}")
    given = {"title": TITLE, "customer": {"name": LARGE, "email": LI}, "fields": {"payment_terms": TERMS}}
    assert refused(made, event="quotation.created", team="sales", salesperson="a", **given) == []
    to = f"quotations@{D}"
    text = f"Customer: {LARGE} <lin@y.example>\r\n\r\nHello"
    assert made.take(mail(A, "desks", text, to=to), to, peer=INSIDE, return_path=A) == ("posted", "")
    with made.store.read() as tx:
        party = records.find(tx, made.messages()[-1].message_id[:6]).customer
    assert (party.name, party.emails) == (LARGE, ("lin@y.example",))


def test_the_offer_as_its_customer_read_it_is_no_secret(made):
    lines = [{"name": "Oak office chair with armrests", "quantity": "20", "price": "6000"}]
    made.announce("changed", ref="S00001", lines=lines, fields={"amount": "120000", "valid_until": "2099-01-31"})
    made.write(A, S, "/send")
    offer = [each.mail for each in made.sent() if each.to == WANG][-1].get_body(("plain",)).get_content()
    assert made.write(A, N, f"B, this is what he got:\r\n\r\n{offer}") == ("posted", "")
    shown = [line for line in offer.split("\n") if line.startswith(("*", "Total"))][:2]
    quoted = "\r\n".join(f"> {line}" for line in shown)
    assert made.write(WANG, S, f"{quoted}\r\nToo dear, please 5,500.") == ("posted", "")
    assert made.write(A, S, f"Dear Mr Wang, again:\r\n\r\n{offer}") == ("posted", "")


def test_colleagues_of_one_firm_and_who_follows_without_being_the_customer_are_no_two_customers(made):
    made.follow("S00001", WANG)
    for name in ("li", "chen"):
        email = f"{name}@beta-works.example"
        ref = made.quotation(title="desks", customer={"name": name, "email": email})
        made.follow(ref, email)
        made.write(A, f"{ref.lower()}@{D}", f"Dear all, {OFFER}.")
    for _ in range(2):
        ref = made.announce("lead.created", title="chairs", salesperson="a", actor="a", team="sales")
        made.follow(ref, LI)
        made.write(A, f"{ref.lower()}@{D}", f"Dear Ms Li, {SECRET}")
    made.sent()
    made.write(A, N, f"What they got: {OFFER}. And Li: {SECRET}")
    assert made.write(CHIA, S, f"By the way, {OFFER}.") == HELD
    assert made.write(CHIA, S, f"By the way, {SECRET}") == HELD


def test_a_customers_mail_that_was_dropped_into_the_record_can_be_answered(made):
    made.follow("S00001", WANG)
    made.take(mail(f"Wang <{WANG}>", "chairs", ASKED, to=A), N, door="folder", auth_who="a")
    assert made.write(A, S, f"Dear Mr Wang,\r\n\r\n> {ASKED}\r\n\r\nYes, we can.") == ("posted", "")


@pytest.mark.parametrize("short", ["收到，謝謝。", "OK, thanks."])
def test_a_signature_makes_no_machine_of_who_answers_shortly(made, short):
    made.follow("S00001", WANG)
    for number in range(2):
        made.write(A, S, f"Part {number} of the offer is on its way to you.", number=f"part{number}")
        made.sent()
        text = f"{short}\r\n\r\nWang Xiaoming\r\nACME Industries Ltd., Kaohsiung"
        assert made.write(WANG, S, text, head=f"In-Reply-To: <part{number}@x>") == ("posted", "")
