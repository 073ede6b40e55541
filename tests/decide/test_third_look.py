"""What a third look found: one mail to two addresses, offers nobody made, values that were made up, hidden leaks."""

import pytest

from gateway.store import audit, held, records, suppressed
from tests.decide.test_selling import record, told
from tests.kit.house import HOSTS, ROOT, D

A, B, CHIA, WANG, BOSS = "a@example.com", "b@example.com", "chia@example.com", "wang@acme.example", "boss@acme.example"
S, L, GATEWAY = f"s00001@{D}", f"l00001@{D}", f"gateway@{D}"
NOTE = "The lowest price we can go to is eighty per cent of what we offered them, and no less than that."


@pytest.fixture
def made(offered):
    return offered


def attached(text, name="terms.txt", kind="text/plain"):
    return (
        f"From: {A}\r\nTo: {S}\r\nSubject: terms\r\nMessage-ID: <terms@x>\r\nMIME-Version: 1.0\r\n"
        f'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\n\r\nHere they are.\r\n--b\r\n'
        f'Content-Type: {kind}; charset=utf-8; name="{name}"\r\n'
        f'Content-Disposition: attachment; filename="{name}"\r\n\r\n{text}\r\n--b--\r\n'
    ).encode()


# ---- one mail to the record's address and to a command's


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("first", ["l00001", "l00001-quote"])
def test_a_mail_to_both_addresses_makes_one_quotation(made, first, apart):
    both = [f"{first}@{D}", *({L, f"l00001-quote@{D}"} - {f"{first}@{D}"})]
    content = f"From: {A}\r\nTo: {', '.join(both)}\r\nSubject: q\r\nMessage-ID: <q@x>\r\n\r\n/quote\r\n".encode()
    for to in [[each] for each in both] if apart else [both]:
        made.take(content, *to, peer="192.0.2.1", return_path=A)
    with made.store.read() as tx:
        assert len(records.listed(tx, "quotation")) == 2
    assert len(told(made, A, "transcript")) <= 1
    assert [each.subject for each in made.held()] == []


def test_a_mail_to_both_addresses_does_what_each_says_and_posts_its_text_once(made):
    content = f"From: {A}\r\nTo: {S}, s00001-confirm@{D}\r\nSubject: q\r\nMessage-ID: <q@x>\r\n\r\n/set amount 5\r\n\r\n好的\r\n"
    made.take(content.encode(), S, f"s00001-confirm@{D}", peer="192.0.2.1", return_path=A)
    assert record(made, "S00001").state == "confirmed"
    assert record(made, "S00001").fields["amount"] == "5"
    assert [row.text for row in made.messages()].count("好的") == 1


def test_a_mistake_in_a_mail_to_both_addresses_is_answered_once(made):
    content = (
        f"From: {A}\r\nTo: {S}, s00001-confirm@{D}\r\nSubject: q\r\nMessage-ID: <q@x>\r\n\r\n/confrim\r\n".encode()
    )
    made.take(content, S, f"s00001-confirm@{D}", peer="192.0.2.1", return_path=A)
    assert len([each for each in made.sent() if each["Subject"].startswith("Re: q") or "confrim" in each.text]) == 1


def test_a_command_that_asks_twice_asks_once_of_a_mail_to_both_addresses(made):
    made.edit("rules", "confirm_twice: []", "confirm_twice: [confirm]")
    content = (
        f"From: {A}\r\nTo: {S}, s00001-confirm@{D}\r\nSubject: q\r\nMessage-ID: <q@x>\r\n\r\n/confirm\r\n".encode()
    )
    made.take(content, S, f"s00001-confirm@{D}", peer="192.0.2.1", return_path=A)
    assert len(made.held()) == 1
    assert record(made, "S00001").state == "draft"


# ---- what would have worked


@pytest.mark.parametrize(
    ("to", "line", "mended"),
    [(L, "/stage qualifie", "/stage qualified"), (L, "/階段 ualified", "/階段 qualified"), (S, "/add ad", "/add a"), (S, "/follow not", "/follow note")],
)  # fmt: skip
def test_what_was_wrong_is_mended_behind_the_command_and_not_in_it(made, to, line, mended):
    made.write(A, to, line)
    (answer,) = told(made, A, "transcript")
    assert f"{mended}\n" in answer.text
    offered = [each.strip() for each in answer.text.split("\n") if each.strip().startswith("/")]
    assert {each.split()[0] for each in offered} == {line.split()[0]}


@pytest.mark.parametrize("line", ["/set amount abc", "/set valid_until tomorrow"])
def test_no_value_is_made_up_for_who_wrote_a_wrong_one(made, line):
    made.write(A, S, line)
    (answer,) = told(made, A, "transcript")
    assert "mailto:s00001@" not in answer.text.replace("%40", "@") or "120000" not in answer.text.split("mailto:", 1)[1]
    assert record(made, "S00001").fields == {"amount": "120000"}


@pytest.mark.parametrize(
    ("line", "fields"),
    [("/設定 總計 100000", {"amount": "100000"}), ("/set Total: 100000", {"amount": "100000"}),
     ("/set valid until 2026-12-31", {"amount": "120000", "valid_until": "2026-12-31"}),
     ("/set Valid until: 2026-12-31", {"amount": "120000", "valid_until": "2026-12-31"}),
     ("/set validity 2026-12-31", {"amount": "120000", "valid_until": "2026-12-31"})],
)  # fmt: skip
def test_a_field_is_called_what_our_own_mails_call_it(made, line, fields):
    assert made.write(A, S, line) == ("done", "command")
    assert record(made, "S00001").fields == fields


# ---- people


@pytest.mark.parametrize(
    ("line", "who"),
    [("/add Li Si <li@x.example>", ["li@x.example"]), ("/add li@x.example,yu@x.example", ["li@x.example", "yu@x.example"]),
     ("/加入 b、c", ["b", "c"]), ("/add Li <li@x.example> note", ["li@x.example"]), ("/add me note", ["a"])],
)  # fmt: skip
def test_whom_to_add_is_read_as_mail_programs_write_it(made, line, who):
    assert made.write(A, S, line) == ("done", "command")
    assert set(who) <= set(made.choices())


def test_one_of_a_list_who_is_nobody_adds_none_of_them(made):
    assert made.write(A, S, "/add li@x.example,nobody") == ("done", "mistake")
    assert "li@x.example" not in made.choices()


def test_me_is_who_writes(made):
    assert made.write(B, S, "/assign me") == ("done", "command")
    assert record(made, "S00001").salesperson == "b"


def test_a_bare_unfollow_without_a_record_gives_nothing_up(made):
    assert made.write(CHIA, GATEWAY, "/unfollow") == ("done", "mistake")
    made.write(A, S, "/note\ninside")
    assert CHIA in [each.to for each in made.sent() if "inside" in each.text]


# ---- what only decorates a mail


@pytest.mark.parametrize(
    ("kind", "size", "posted"),
    [("image/png", 900, False), ("application/pkcs7-signature", 2000, False), ("image/png", 90_000, True), ("application/pdf", 900, True)],
)  # fmt: skip
def test_a_picture_in_a_signature_is_nothing_to_post(made, kind, size, posted):
    content = (
        f"From: {A}\r\nTo: {S}\r\nSubject: x\r\nMessage-ID: <x@x>\r\nMIME-Version: 1.0\r\n"
        f'Content-Type: multipart/related; boundary="b"\r\n\r\n--b\r\n\r\n/confirm\r\n--b\r\n'
        f'Content-Type: {kind}; name="file"\r\nContent-ID: <image001@x>\r\nContent-Disposition: inline; filename="file"\r\n\r\n'
        f"{'x' * size}\r\n--b--\r\n"
    ).encode()
    made.take(content, S, peer="192.0.2.1", return_path=A)
    assert record(made, "S00001").state == "confirmed"
    assert ([row.subtype for row in made.messages()][-1] == "discussion") is posted


# ---- offers


def test_a_yes_to_what_was_never_sent_asks_the_salesperson(made):
    assert made.write(WANG, f"s00001-accept@{D}", "yes") == ("held", "not sent")
    assert record(made, "S00001").state == "draft"
    assert told(made, A, "held") or [each for each in made.sent() if each.to == A]


def test_a_no_to_what_is_confirmed_is_told_and_no_empty_message_is_posted(made):
    made.write(A, S, "/send")
    made.write(A, S, "/confirm")
    before = len(made.messages())
    made.sent()
    assert made.write(WANG, f"s00001-decline@{D}", "") == ("done", "late")
    assert len(made.messages()) == before
    texts = {each.to: each.text for each in made.sent()}
    assert WANG in texts[A]
    assert "您的回覆也會寄給客戶" not in texts[A]  # it answers nothing that stands in the thread
    assert "no longer open" in texts[WANG] or "已經不能" in texts[WANG]


def test_the_same_late_answer_again_tells_nobody_twice(made):
    made.write(A, S, "/send")
    made.write(A, S, "/cancel")
    content = f"From: {WANG}\r\nTo: s00001-accept@{D}\r\nSubject: yes\r\nMessage-ID: <late@x>\r\n\r\nyes\r\n".encode()
    became = [made.take(content, f"s00001-accept@{D}", peer=HOSTS["acme.example"], return_path=WANG) for _ in range(2)]
    assert became == [("posted", ""), ("done", "duplicate")]
    assert len([each for each in made.sent() if each.to == WANG and "late@x" in each["In-Reply-To"]]) == 1


def test_a_second_yes_hears_that_it_is_confirmed(made):
    made.write(A, S, "/send")
    made.write(WANG, f"s00001-accept@{D}", "yes", number="one")
    made.sent()
    assert made.write(WANG, f"s00001-accept@{D}", "", number="two") == ("done", "late")
    answers = [each for each in made.sent() if each.to == WANG][-2:]
    assert answers[0].text == answers[1].text
    assert "no longer open" not in answers[1].text
    assert "已經不能" not in answers[1].text


def test_a_yes_where_nobody_sells_is_told_to_who_looks_after_the_site(made):
    made.announce(
        "quotation.created", title="lamps", customer={"name": "Li", "email": "li@x.example"}, fields={"amount": "5"}
    )
    made.write(A, f"s00002@{D}", "/send")
    made.sent()
    made.write("li@x.example", f"s00002-accept@{D}", "yes")
    assert record(made, "S00002").state == "confirmed"
    assert [each.to for each in made.sent() if each.to.endswith("@example.com")]


def test_an_offer_goes_to_the_other_address_of_its_customer_too(made):
    made.edit("people", "email: [wang@acme.example]", f"email: [wang@acme.example, {BOSS}]")
    made.announce("quotation.created", title="lamps", salesperson="a", customer={"email": WANG}, fields={"amount": "5"})
    made.write(A, f"s00002@{D}", f"/send {BOSS}")
    mails = [each for each in made.sent() if each.to in (WANG, BOSS) and "S00002" in each["Subject"]]
    assert sorted(each.to for each in mails) == [BOSS, WANG]
    assert all("accept" in each.text for each in mails)


def test_who_sends_to_a_suppressed_customer_is_told_that_nothing_went(made):
    with made.store.write() as tx:
        suppressed.suppress(tx, WANG, "by hand", 1)
    made.write(A, S, "/send")
    (answer,) = told(made, A, "transcript")
    assert "suppressed" in answer.text or "停止寄送" in answer.text


# ---- notes, machines, what is kept


@pytest.mark.parametrize(
    ("text", "name", "kind"),
    [(f"Customer: ACME\r\nPrice: 120000\r\nRemark: {NOTE}", "terms.txt", "text/plain"),
     (f"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nDESCRIPTION:{NOTE}\r\nEND:VCALENDAR", "a.ics", "text/calendar"),
     (f"BEGIN:VCARD\r\nVERSION:3.0\r\nNOTE:{NOTE}\r\nEND:VCARD", "v.vcf", "text/vcard"),
     (f"From: a@x.example\r\nSubject: {NOTE}\r\n\r\nhello", "m.eml", "message/rfc822"),
     (f"From: a@x.example\r\nComments: {NOTE}\r\n\r\nhello", "m.eml", "application/octet-stream")],
)  # fmt: skip
def test_a_note_in_a_field_of_what_is_attached_does_not_leave(made, text, name, kind):
    made.write(A, f"s00001-note@{D}", NOTE)
    made.take(attached(text, name, kind), S, peer="192.0.2.1", return_path=A)
    assert [each.cause for each in made.held()] == ["quotes a note"]
    assert not [each for each in made.sent() if each.to == WANG]


@pytest.mark.parametrize("name", ["prices.csv", "prices.txt", "prices.html", "mail.eml"])
def test_what_is_pasted_from_a_file_of_a_note_is_held_and_the_file_attached_anew_is_not(made, name):
    text = {"prices.html": f"<html><body><p>{NOTE}</p></body></html>", "mail.eml": f"Subject: a\r\n\r\n{NOTE}"}
    file = attached(text.get(name, NOTE), name, "message/rfc822" if name.endswith("eml") else "text/plain")
    made.take(file.replace(f"To: {S}".encode(), f"To: s00001-note@{D}".encode()), f"s00001-note@{D}", peer="192.0.2.1",
              return_path=A)  # fmt: skip
    made.write(A, S, f"Dear Mr. Wang,\r\n{NOTE}\r\nRegards")
    assert [each.cause for each in made.held()] == ["quotes a note"]
    made.write(WANG, S, f"We read: {NOTE}")
    made.take(file.replace(b"terms@x", b"anew@x"), S, peer="192.0.2.1", return_path=A)
    assert len(made.held()) == 1


@pytest.mark.parametrize("who", [B, WANG])
@pytest.mark.parametrize(
    "subject", ["Automatic reply: [S00001] chairs", "自動回覆：[S00001] chairs", "Out of Office: chairs"]
)
def test_what_its_subject_calls_an_automatic_answer_is_one_whoever_is_proved(made, who, subject):
    made.write(WANG, S, "hello")
    made.sent()
    content = (
        f"From: {who}\r\nTo: {S}\r\nSubject: {subject}\r\nMessage-ID: <auto@x>\r\n\r\nI am on holiday until Monday.\r\n"
    )
    made.take(content.encode(), S, peer=HOSTS[who.rpartition("@")[2]], return_path=who)
    assert not [each for each in made.sent() if "on holiday" in each.text]


@pytest.mark.parametrize("to", ["abuse", "postmaster"])
def test_a_complaint_that_a_machine_wrote_is_kept_for_who_looks_after_the_site(made, to):
    head = "Auto-Submitted: auto-generated"
    assert made.write("noreply@isp.example", f"{to}@{D}", "your server is listed", head=head) == ("held", to)


def test_what_a_rule_refused_is_found_and_let_through(made):
    assert made.write("li@x.example", f"quotations@{D}", "please quote")[0] == "refused"
    assert made.held() == []
    with made.store.write() as tx:
        (refused,) = held.listed(tx, states=held.REFUSED)
        assert held.release(tx, refused.id, 1, "cheng")
    made.run()
    with made.store.read() as tx:
        assert len(records.listed(tx, "quotation")) == 2


def test_a_command_from_the_future_waits_for_a_person(made):
    assert made.write(A, S, "/confirm", head="Date: Tue, 29 Nov 2033 10:00:00 +0800") == ("held", "ahead")


def test_what_happens_by_command_says_what_proved_its_author(made):
    made.write(A, S, "/confirm")
    made.write(A, f"s00001-cancel@{D}", "")
    events = [row for row in made.messages() if row.subtype in ("quotation.confirmed", "quotation.cancelled")]
    assert [bool(row.details.get("results")) for row in events] == [True, True]


def test_a_forwarded_mail_stands_in_the_note_that_passes_it_on(made):
    text = "FYI\n\n---------- Forwarded message ---------\nFrom: Li <li@x.example>\nSubject: price\n\nSix thousand."
    content = f"From: {A}\r\nTo: s00001-note@{D}\r\nSubject: Fwd: price\r\nMessage-ID: <fwd@x>\r\n\r\n{text}\r\n"
    made.take(content.encode(), f"s00001-note@{D}", peer="192.0.2.1", return_path=A)
    assert "Six thousand." in made.messages()[-1].text


@pytest.mark.parametrize(
    ("to", "line", "meant"),
    [(S, "/退訂", "/取消訂閱"), (S, "/unsubscribe", "/unfollow"), (S, "/accept", "/confirm"), (L, "/成交", "/贏得"), (S, "/幫助", "/說明"),
     (S, "/送出報價單x", "/送出")],
)  # fmt: skip
def test_what_people_call_a_command_finds_it(made, to, line, meant):
    assert made.write(A, to, line) == ("done", "mistake")
    (answer,) = told(made, A, "transcript")
    assert f"{meant}\n" in answer.text


@pytest.mark.parametrize(("word", "command"), [("won", "/won"), ("失去", "/lost")])
def test_a_lead_ends_by_a_command_and_not_as_a_stage(made, word, command):
    assert made.write(A, L, f"/stage {word}") == ("done", "mistake")
    (answer,) = told(made, A, "transcript")
    assert command in answer.text


def test_who_writes_to_a_suppressed_customer_hears_once_a_day_that_nothing_went(made):
    made.write(A, S, "/add customer")
    with made.store.write() as tx:
        suppressed.suppress(tx, WANG, "by hand", 1)
    for text in ("hello", "hello again"):
        made.write(A, S, text)
        made.sent()
    assert (
        len([each for each in made.sent() if each.to == A and WANG in each.text and "suppression remove" in each.text])
        == 1
    )


def test_the_mail_by_which_gmail_unsubscribes_does_so(made):
    made.write(B, S, "/follow")
    said = "This message was automatically generated by Gmail."
    assert made.write(B, f"s00001-unfollow@{D}", said) == ("done", "command")
    assert "*" in made.choices()["b"].without


@pytest.mark.parametrize(("more", "hears"), [("", False), ("\n/add customer", True), ("", True)])
def test_a_text_beside_a_command_goes_to_who_followed_and_not_to_who_follows_by_it(made, more, hears):
    made.write(A, S, "/add li@x.example")
    cc = f"Cc: {WANG}" if hears and not more else ""
    made.write(A, S, f"/confirm{more}\n\nsee you all", head=cc)
    texts = [each.to for each in made.sent() if "see you all" in each.text]
    assert "li@x.example" in texts
    assert (WANG in texts) is (hears and not cc)  # who stands in Cc has it already
    if not cc:
        made.write(A, S, "and later")
        assert WANG in [each.to for each in made.sent() if "and later" in each.text]


@pytest.mark.parametrize(
    ("line", "right", "other"),
    [("/階段 qualifyed", "/階段 qualified", "/stage"), ("/stage qualifyed", "/stage qualified", "/階段"),
     ("/確忍", "/確認", "/confirm"), ("/confrim", "/confirm", "/確認")],
)  # fmt: skip
def test_what_is_offered_is_in_the_language_the_command_was_written_in(made, line, right, other):
    made.write(A, L if "q" in line else S, line)
    (answer,) = told(made, A, "transcript")
    assert right in answer.text
    assert other not in answer.text


def test_a_transcript_says_in_its_readers_language_what_was_done(make):
    people = (ROOT / "templates" / "site" / "people.yaml").read_text("utf-8")
    house = make(people=people.replace("email: b@example.com", "email: b@example.com\n    language: en"))
    for who, line, said in ((A, "/set total 12000", "/設定 total 12000"), (B, "/設定 總計 13000", "/set 總計 13000")):
        house.write(who, S, line)
        (answer,) = told(house, who, "transcript")
        assert said in answer.text


@pytest.mark.parametrize(
    ("to", "text", "what"),
    [(S, f"/note\r\n{NOTE}", "note"), (S, "/history", "history"), (S, "/why", "why"),
     (f"s00001-show@{D}", "", "show"), (GATEWAY, "/list", "list"), (GATEWAY, "/help", "help")],
)  # fmt: skip
def test_what_changes_nothing_is_in_the_audit_log_too_without_its_text(made, to, text, what):
    made.write(A, to, text)
    assert [each for _, each, _ in made.audited()] == [what]
    with made.store.read() as tx:
        assert all(NOTE not in str(each) for each in audit.listed(tx))
