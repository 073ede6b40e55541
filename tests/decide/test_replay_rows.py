"""Rows A09, A10, A14 and A16 of the catalogue: tags that are guessed or passed on, what is sent again, forged bounces."""
# ruff: noqa: N802 (rows have capital names)

import email.utils
import itertools
import os
import random
import time

import pytest
import sqlalchemy as sa

from gateway.alias import Addresses, RecordAddress
from gateway.mail.tag import Keys
from gateway.store import records, suppressed, tables
from tests.kit.house import D, decisive

DAY = 86_400_000
FULL = bool(os.environ.get("REPLYGATE_FULL"))  # a million guesses rather than a tenth of it
ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"

# ---- A09: a tag is its holder's


def test_A09_a_tag_grants_nothing_to_who_got_it_forwarded(made):
    address = made.tagged("S00001", "wang@acme.example")
    assert made.write("eve@x.example", address, "let me in") == ("held", "stranger")
    made.follow("S00001", "carol@x.example")
    assert made.write("carol@x.example", address, "mine", sure=False) == ("held", "not authenticated")
    assert made.write("a@example.com", address, "hi", sure=False) == ("held", "not authenticated")
    assert made.texts() == []


@pytest.mark.parametrize(
    "form", ["{}", "<{}>", "mailto:{}?subject=x", "{upper}", "{}.", "({})", "http://x/?to={percent}"]
)
def test_A09_a_readers_tag_in_a_text_quote_or_subject_goes_to_nobody_else(made, form):
    made.follow("S00001", "customer")
    address = made.tagged("S00001", "person:b")
    shown = form.format(address, upper=address.upper(), percent=address.replace("+", "%2B").replace("@", "%40"))
    text = f"see {shown}\r\n\r\nOn 2026-01-01 A wrote:\r\n> {shown}\r\n> Unfollow: {made.tagged('S00001', 'person:b', 'unfollow')}"
    content = (
        f"From: b@example.com\r\nTo: {address}\r\nSubject: {shown}\r\nMessage-ID: <t@x>\r\n\r\n{text}\r\n".encode()
    )
    assert made.take(content, address, peer="192.0.2.1", return_path="b@example.com") == ("posted", "")
    tag = address.partition("+")[2].partition("@")[0]
    sent = made.sent()
    assert {each.to for each in sent} > {"wang@acme.example", "chia@example.com"}
    for each in sent:
        everything = (each.octets.decode() + each.text + str(each.mail["Subject"])).lower()
        assert tag not in everything


def test_A09_every_reader_gets_a_tag_of_their_own_and_no_other(made):
    made.follow("S00001", "customer")
    made.follow("S00001", "carol@x.example")
    made.write("chia@example.com", f"s00001@{D}", "hello")
    holders: dict[str, set[str]] = {}
    for each in made.sent():
        for name in ("Reply-To", "List-Unsubscribe"):
            tag = each[name].partition("+")[2].partition("@")[0]
            if tag:
                holders.setdefault(tag, set()).add(each.to)
    assert len(holders) > 4
    assert [whose for whose in holders.values() if len(whose) > 1] == []


def test_A09_revoked_tags_are_nobodys_at_the_door_and_behind_it(made):
    address = made.tagged("S00001", "wang@acme.example")
    with made.store.write() as tx:
        records.revoke_tags(tx, "S00001")
    assert made.rcpt(address) == made.rcpt(f"nobody@{D}")
    assert made.write("wang@acme.example", address, "x") == ("held", "unknown address")
    new = made.tagged("S00001", "wang@acme.example", epoch=1)
    assert made.write("wang@acme.example", new, "x") == ("posted", "")


# ---- A10: guessing


def test_A10_no_guess_is_a_tag():
    addresses = Addresses(D, Keys(1, {1: b"k" * 32, 2: b"o" * 32}))
    made = random.Random(10)
    count = 1_000_000 if FULL else 100_000
    good = str(addresses.alias("S00001", "", 7)).partition("+")[2].partition("@")[0]
    hits = 0
    read = addresses.read
    for n in range(count):
        guess = "".join(made.choices(ALPHABET, k=16))
        # Half know the key and the reader, and guess the MAC; half guess all of it.
        tag = good[:9] + guess if n % 2 else "".join(made.choices(ALPHABET, k=9)) + guess
        address = addresses.parse(f"s00001+{tag}@{D}")
        hits += address is not None and read(address) is not None
    assert hits == 0
    assert read(addresses.parse(f"s00001+{good}@{D}")) == RecordAddress("S00001", "", 7)


def test_A10_a_tag_of_which_one_letter_differs_is_none():
    addresses = Addresses(D, Keys(1, {1: b"k" * 32}))
    good = str(addresses.alias("S00001", "", 7)).partition("+")[2].partition("@")[0]
    for at, letter in itertools.product(range(len(good)), ALPHABET):
        other = good[:at] + letter + good[at + 1 :]
        address = addresses.parse(f"s00001+{other}@{D}")
        assert (addresses.read(address) is not None) == (other == good)


def test_A10_every_address_that_is_nobodys_has_the_same_answer(made):
    good = made.tagged("S00001", "wang@acme.example")
    made.addresses.keys = Keys(2, {2: b"n" * 32})
    old = good
    fresh = made.tagged("S00001", "wang@acme.example")
    revoked_ref = made.quotation()
    revoked = made.tagged(revoked_ref, "wang@acme.example")
    with made.store.write() as tx:
        records.revoke_tags(tx, revoked_ref)
    tag = fresh.partition("+")[2].partition("@")[0]
    nobodys = [
        f"nobody@{D}", f"s99999@{D}", f"s99999+{tag}@{D}", f"s00001+{tag[:-1]}{'a' if tag[-1] != 'a' else 'b'}@{D}", f"s00001+{'a' * 25}@{D}",
        old, revoked, f"s00001+x@{D}", f"s00001+1@{D}", f"s00001+2@{D}", f"reply+1@{D}", f"reply+2@{D}", f"bounce+1@{D}", f"bounce+1.{'a' * 25}@{D}",
        f"held-release+1.{'a' * 25}@{D}", f"held-release+1@{D}", f"s00001-revoke@{D}", f"s00001-nothing+{tag}@{D}", f"bounce@{D}", f"held@{D}",
        f"S99999+{tag.upper()}@{D.upper()}", f'"s99999"@{D}',
    ]  # fmt: skip
    answers = set(made.rcpt(*nobodys))
    assert answers == {"550 5.1.1 no such address here / 沒有這個地址"}
    assert made.rcpt(fresh)[0].startswith("250")


# ---- A14: what was sent once


def command_mails(house) -> list[tuple[bytes, str, str]]:
    """Return mails that command, as (octets, recipient, sender), each of which is taken once."""

    def date(n):
        return email.utils.formatdate(time.time() - 60 * n, usegmt=True)

    bodies = [
        "/follow",
        "/unfollow note",
        "/訂閱 quotation.*",
        "/取消訂閱 discussion",
        "/note\nremember this",
        "/備註 記得",
        "/follow quotation.*\n/unfollow note\n\nand hello",
    ]
    tagged = house.tagged("S00001", "person:b")
    places = [f"s00001@{D}", tagged]
    made = [(body, to) for body in bodies for to in places]
    made += [("", f"s00001-{action}@{D}") for action in ("follow", "unfollow")]
    made += [("discussion", house.tagged("S00001", "person:b", action)) for action in ("follow", "unfollow")]
    made += [
        ("a note", f"s00001-note@{D}"),
        ("hello", f"quotations@{D}"),
        ("hello", f"leads@{D}"),
        ("hello", f"sales@{D}"),
    ]
    return [
        (f"From: b@example.com\r\nTo: {to}\r\nSubject: s\r\nDate: {date(n)}\r\nMessage-ID: <c{n}@example.com>\r\n\r\n{body}\r\n".encode(), to, "b@example.com")
        for n, (body, to) in enumerate(made)
    ]  # fmt: skip


EFFECTS = ("record", "choice", "message", "audit", "notice", "suppression", "blocked", "reader", "delivery", "effect")


def effects(house) -> dict[str, list[tuple]]:
    dump = house.dump()
    return {name: dump[name] for name in EFFECTS if name in dump}


def test_A14_no_mail_that_commanded_once_commands_again(made):
    mails = command_mails(made)
    for octets, to, sender in mails:
        became = made.take(octets, to, peer="192.0.2.1", return_path=sender)
        assert became in {("posted", ""), ("done", "command")}, (to, octets)
    before = effects(made)
    assert before["choice"]
    for octets, to, sender in mails:
        relayed = f"Received: from relay.example by x; {email.utils.formatdate()}\r\n".encode() + octets
        for again in (octets, relayed):
            assert made.take(again, to, peer="192.0.2.1", return_path=sender) == ("done", "duplicate")
            assert made.take(again, to.upper(), peer="192.0.2.1", return_path="x@example.com") == ("done", "duplicate")
    assert effects(made) == before


def test_A14_a_command_sent_to_the_alias_and_the_reply_address_of_one_record_counts_once(made):
    to = [f"s00001@{D}", made.tagged("S00001", "person:b")]
    content = f"From: b@example.com\r\nTo: {', '.join(to)}\r\nMessage-ID: <1@x>\r\n\r\n/note\nonce\r\n".encode()
    made.take(content, *to, peer="192.0.2.1", return_path="b@example.com")
    made.take(content, *reversed(to), peer="192.0.2.1", return_path="b@example.com")
    assert made.texts() == ["once"]


@pytest.mark.parametrize("action", ["unfollow", "follow"])
def test_A14_a_mail_that_somebody_got_from_its_author_commands_nothing_elsewhere(made, action):
    """Signed and true, but written to somebody else: sent on to a command's address, or to another record."""
    other = made.quotation()
    letter = b"From: a@example.com\r\nTo: wang@acme.example\r\nSubject: hello\r\nMessage-ID: <l@example.com>\r\n\r\nYour offer.\r\n"
    before = effects(made)
    for ref in ("s00001", other.lower()):
        became = made.take(letter, f"{ref}-{action}@{D}", peer="192.0.2.1", return_path="a@example.com")
        assert became == ("held", "not named")
    assert effects(made)["choice"] == before["choice"]
    command = f"From: a@example.com\r\nTo: s00001@{D}\r\nSubject: s\r\nMessage-ID: <k@example.com>\r\n\r\n/{action}\r\n".encode()
    assert made.take(command, f"s00001@{D}", peer="192.0.2.1", return_path="a@example.com") == ("done", "command")
    assert made.take(command, f"{other.lower()}@{D}", peer="192.0.2.1", return_path="a@example.com") == (
        "held",
        "not named",
    )
    assert made.choices(other) == {}


def old_mail(to: str, body: str, *, date: str = "", received: str = "", author: str = "b@example.com") -> bytes:
    fields = [f"Date: {date}"] if date else []
    fields += (
        [
            f"Received: from y by x; {email.utils.formatdate(time.time(), usegmt=True)}",
            f"Received: from z by y; {received}",
        ]
        if received
        else []
    )
    return "\r\n".join([*fields, f"From: {author}", f"To: {to}", "Message-ID: <old@x>", "", body, ""]).encode()


@pytest.mark.parametrize("to", [f"s00001@{D}", f"s00001-follow@{D}", f"s00001-unfollow@{D}"])
@pytest.mark.parametrize("which", ["date", "received"])
def test_A14_a_command_older_than_seven_days_is_held(made, to, which):
    now = time.time()
    body = "/unfollow" if to == f"s00001@{D}" else ""
    old, young = (email.utils.formatdate(now - days * 86_400, usegmt=True) for days in (8, 6))
    before = effects(made)["choice"]
    sent = {"peer": "192.0.2.1", "return_path": "b@example.com"}
    assert made.take(old_mail(to, body, **{which: old}), to, **sent) == ("held", "old")
    assert effects(made)["choice"] == before
    (told,) = [each for each in made.sent() if each["X-Replygate-Subtype"] == "kept"]
    assert told.to == "b@example.com"
    assert "而這封信更舊" in told.text
    assert made.take(old_mail(to, body, **{which: young}), to, **sent) == ("done", "command")


def test_A14_an_old_decision_about_a_held_mail_decides_nothing(made):
    made.write("eve@x.example", f"s00001@{D}", "hello")
    (release,) = decisive(made.sent(), "release")
    octets = old_mail(release, "", date=email.utils.formatdate(time.time() - 8 * 86_400), author="a@example.com")
    assert made.take(octets, release, peer="192.0.2.1", return_path="a@example.com") == ("held", "old")
    assert made.texts() == []


@pytest.mark.parametrize(
    "field", ["nonsense", "Tue, 99 Nov 2026 99:99:99 +0000", "", "x" * 5000, "Mon, 1 Jan 0001 00:00:00 -2359", "\x00"]
)
def test_A14_a_date_that_is_none_neither_raises_nor_ages(made, field):
    octets = old_mail(f"s00001@{D}", "/unfollow", date=field, received=field)
    assert made.take(octets, f"s00001@{D}", peer="192.0.2.1", return_path="b@example.com")[0] in {"done", "held"}


# ---- A16: forged bounces


def report(
    to: str, recipient: str = "wang@acme.example", status: str = "5.1.1", action: str = "failed", n: int = 0
) -> bytes:
    return f"""From: MAILER-DAEMON@mx.acme.example
To: {to}
Subject: Undelivered Mail Returned to Sender
Message-ID: <dsn{n}@mx.acme.example>
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="b"

--b
Content-Type: text/plain

Your mail could not be delivered.

--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.acme.example

Final-Recipient: rfc822; {recipient}
Action: {action}
Status: {status}
Diagnostic-Code: smtp; {"550" if status[0] == "5" else "450"} {status} no such user

--b--
""".replace("\n", "\r\n").encode()


def sent_to_customer(house, text: str) -> int:
    """Let a mail go to the customer; return its delivery, as sent."""
    house.follow("S00001", "customer")
    house.write("b@example.com", f"s00001@{D}", text)
    house.sent()
    with house.store.write() as tx:
        table = tables.delivery
        tx.execute(sa.update(table).values(state="sent"))
        query = (
            sa.select(table.c.id).where(table.c.recipient == "wang@acme.example").order_by(table.c.id.desc()).limit(1)
        )
        return int(tx.execute(query).scalar_one())


def suppressed_now(house) -> list[str]:
    with house.store.read() as tx:
        return [each.email for each in suppressed.listed_suppressed(tx)]


def test_A16_a_thousand_forged_reports_suppress_nobody(made):
    delivery = sent_to_customer(made, "hello")
    guess = random.Random(16)
    good = str(made.addresses.return_path(delivery))
    head, tag = good.partition("@")[0].split(".")
    forged = []
    for n in range(1_000):
        other = "".join(guess.choices(ALPHABET, k=25))
        forged.append(
            (
                f"s00001@{D}", made.tagged("S00001", "wang@acme.example"), f"{head}.{other}@{D}", f"{head}.{tag[:9]}{other[:16]}@{D}",
                f"bounce+{delivery + 1 + n}.{tag}@{D}", f"bounce@{D}", f"postmaster@{D}", f"leads@{D}",
            )[n % 8]
        )  # fmt: skip
    assert {each[:3] for n, each in enumerate(made.rcpt(*forged)) if n % 8 in (2, 3, 4, 5)} == {"550"}
    for n, to in enumerate(forged):
        made.take(report(to, n=n), to, peer="192.0.2.2", return_path="", at=1_790_000_000_000 + n * DAY)
    assert suppressed_now(made) == []
    with made.store.read() as tx:
        assert tx.execute(sa.select(sa.func.count()).select_from(tables.bounce)).scalar() == 0
        assert tx.execute(sa.select(tables.delivery.c.state).where(tables.delivery.c.id == delivery)).scalar() == "sent"


@pytest.fixture
def clock(monkeypatch):
    """Return what moves the days of a bounce."""
    from gateway.decide import serve

    began = 1_790_000_000_000
    days = [0]
    monkeypatch.setattr(serve, "now_ms", lambda: began + days[0] * DAY)
    return days


def test_A16_one_report_replayed_a_hundred_times_on_many_days_counts_once(made, clock):
    delivery = sent_to_customer(made, "hello")
    to = str(made.addresses.return_path(delivery))
    for n in range(100):
        clock[0] = n
        made.take(report(to, n=n), to, peer="192.0.2.2")
    assert suppressed_now(made) == []
    with made.store.read() as tx:
        assert tx.execute(sa.select(sa.func.count()).select_from(tables.bounce)).scalar() == 1


def test_A16_a_report_about_another_address_settles_and_counts_its_own_delivery_alone(made, clock):
    for day in (0, 1):
        clock[0] = day
        to = str(made.addresses.return_path(sent_to_customer(made, f"hello {day}")))
        made.take(report(to, recipient="chia@example.com", n=day), to, peer="192.0.2.2")
    assert "chia@example.com" not in suppressed_now(made)


def test_A16_two_hard_bounces_on_two_days_suppress_and_it_can_be_taken_back(made, clock):
    for day in (0, 0, 3):
        assert suppressed_now(made) == []
        clock[0] = day
        to = str(made.addresses.return_path(sent_to_customer(made, f"hello {day} {len(made.messages())}")))
        made.take(report(to, n=len(made.messages())), to, peer="192.0.2.2")
    assert suppressed_now(made) == ["wang@acme.example"]
    made.write("b@example.com", f"s00001@{D}", "not to them")
    assert not [each for each in made.sent() if each.to == "wang@acme.example" and "not to them" in each.text]
    assert ("", "suppressed", "wang@acme.example") in made.audited()
    told = [each for each in made.sent() if each.to == "b@example.com" and "wang@acme.example" in each.text]
    # The last because of what was written since, on another day: nothing of it went to the customer.
    assert [each["X-Replygate-Subtype"] for each in told] == ["failed", "failed", "failed", "suppressed", "suppressed"]
    assert all(
        word in each.text for each, word in zip(told, ["沒有這個地址"] * 3 + ["suppression remove"] * 2, strict=True)
    )
    assert not [row for row in made.messages() if "wang@acme.example" in row.text]
    with made.store.write() as tx:
        assert suppressed.send_again(tx, "wang@acme.example")
    made.write("b@example.com", f"s00001@{D}", "to them again")
    assert [each for each in made.sent() if each.to == "wang@acme.example" and "to them again" in each.text]


@pytest.mark.parametrize(("status", "action"), [("4.2.2", "delayed"), ("4.4.1", "failed"), ("5.2.2", "failed"), ("5.7.1", "failed"), ("5.3.4", "failed"), ("2.0.0", "delivered")])  # fmt: skip
def test_A16_what_is_soft_full_or_blocked_never_suppresses(made, clock, status, action):
    for day in range(5):
        clock[0] = day
        to = str(made.addresses.return_path(sent_to_customer(made, f"hello {day}")))
        octets = report(to, status=status, action=action, n=day)
        octets = octets.replace(
            b"no such user", {"5.2.2": b"mailbox full", "5.7.1": b"spam message rejected"}.get(status, b"x")
        )
        made.take(octets, to, peer="192.0.2.2")
    assert suppressed_now(made) == []


def test_A16_a_person_of_ours_is_never_suppressed(made, clock):
    for day in range(4):
        clock[0] = day
        made.write("b@example.com", f"s00001@{D}", f"hello {day}")
        made.sent()
        with made.store.write() as tx:
            table = tables.delivery
            tx.execute(sa.update(table).values(state="sent"))
            query = (
                sa.select(table.c.id)
                .where(table.c.recipient == "chia@example.com")
                .order_by(table.c.id.desc())
                .limit(1)
            )
            to = str(made.addresses.return_path(int(tx.execute(query).scalar_one())))
        made.take(report(to, recipient="chia@example.com", n=day), to)
    assert suppressed_now(made) == []
