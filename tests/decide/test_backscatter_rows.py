"""P12, P13, A17: where bounces of our mail go, and that forged mail of every kind makes us write to nobody."""
# ruff: noqa: N802 (rows have capital names)

import asyncio
import os
import random

import pytest
import sqlalchemy as sa

from gateway.decide import held as decide_held
from gateway.mail.status import Status
from gateway.notify import compose
from gateway.send.deliver import Hop, Sender
from gateway.store import held, outbox, tables
from gateway.worker import now_ms
from tests.decide.conftest import acme
from tests.kit import golden
from tests.kit.decoded import everything
from tests.kit.house import D, House
from tests.kit.node import ROOT

MAILS = int(os.environ.get("REPLYGATE_FORGED", "500"))  # 10,000 for a release
VICTIMS = [f"victim{n}@v{n}.example" for n in range(100)]
MARK = "BUY-CHEAP-WATCHES"


def forged(dice: random.Random, house: House, n: int) -> tuple[bytes, tuple[str, ...], str]:
    """Return a mail that somebody sends in a victim's name: octets, recipients, return path."""
    victim, others = dice.choice(VICTIMS), dice.sample(VICTIMS, dice.randint(0, 5))
    ref = f"s{dice.choice((1, 1, 2, 99999)):05d}"
    word = dice.choice(("", "-note", "-follow", "-unfollow", "-accept"))
    to = dice.choice((
        f"{ref}{word}@{D}", f"{ref}@{D}", f"leads@{D}", f"leads@{D}", f"quotations@{D}", f"invoices@{D}", f"sales@{D}",
        f"gateway@{D}", f"postmaster@{D}", f"nobody{n}@{D}", house.tagged("S00001", "wang@acme.example"),
        str(house.addresses.return_path(dice.randint(1, 30))), f"bounce+{n}.{'a' * 25}@{D}",
        str(house.addresses.held(dice.choice(("release", "drop")), dice.randint(1, 40))),
    ))  # fmt: skip
    author = dice.choice(
        (
            victim,
            victim,
            victim,
            f'"{MARK}" <{victim}>',
            "a@example.com",
            "wang@acme.example",
            f"{victim}, {others[:1]}",
        )
    )
    head = dice.choice(("", "", "Auto-Submitted: auto-replied\r\n", "Precedence: bulk\r\n", f"Reply-To: {victim}\r\n", f"Disposition-Notification-To: {victim}\r\n", f"Return-Receipt-To: {victim}\r\n", "X-Auto-Response-Suppress: None\r\n"))  # fmt: skip
    text = dice.choice((MARK, f"/help\n{MARK}", f"/follow\n{MARK}", f"/note {MARK}", f"/nonsense {MARK}", f"Customer: {victim}\n{MARK}", f"I am on vacation. {MARK}"))  # fmt: skip
    body = f"\r\n{text}\r\n"
    if dice.random() < 0.15:
        body = (
            'MIME-Version: 1.0\r\nContent-Type: multipart/report; report-type=delivery-status; boundary="r"\r\n\r\n--r\r\n\r\n'
            f"{MARK}\r\n--r\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; x\r\n\r\n"
            f"Final-Recipient: rfc822; {victim}\r\nAction: failed\r\nStatus: 5.1.1\r\nDiagnostic-Code: smtp; 550 {MARK}\r\n\r\n--r--\r\n"
        )
    octets = f"From: {author}\r\nTo: {to}\r\nCc: {', '.join(others)}\r\nSubject: {MARK} {n}\r\nMessage-ID: <{n}@v.example>\r\n{head}{body}"
    return octets.encode(), (to,), dice.choice((victim, "", victim))


def test_P13_A17_forged_mail_of_every_kind_makes_us_write_to_nobody_outside(tmp_path):
    house = acme(tmp_path / "site")
    house.quotation()
    house.follow("S00001", "wang@acme.example")
    house.write("a@example.com", f"s00001@{D}", "Here is our offer.")
    before = len(house.sent())
    dice = random.Random(20261124)
    for n in range(MAILS):
        octets, recipients, path = forged(dice, house, n)
        house.take(octets, *recipients, return_path=path)
        if n % 100 == 99:
            look(house, before)
    new = look(house, before)
    assert {each.to for each in new} <= {
        "a@example.com",
        "cheng@example.com",
        "chia@example.com",
        "b@example.com",
        "c@example.com",
        "d@example.com",
    }
    states = house.states()
    assert len(states) >= MAILS
    assert {"held", "refused", "done"} <= {state for state, _ in states}
    house.close()


def look(house: House, before: int):
    """Nothing goes to a victim, and nobody outside is sent a word of the attacker's."""
    new = house.sent()[before:]
    victims = [each.to for each in new if each.to in VICTIMS]
    assert victims == []
    assert not [
        each.to for each in new if not each.to.endswith("@example.com") and MARK.encode() in everything(each.octets)
    ]
    return new


def test_A17_unknown_addresses_and_forged_tags_are_refused_before_a_mail_is_taken(made):
    asked = [
        f"s99999@{D}",
        f"nobody@{D}",
        f"bounce+1.{'a' * 25}@{D}",
        f"s00001+{'a' * 25}@{D}",
        f"held-release+1.{'a' * 25}@{D}",
    ]
    assert {answer[:9] for answer in made.rcpt(*asked)} == {"550 5.1.1"}


def test_P12_messages_bounce_to_their_own_path_and_notices_to_none(made):
    made.follow("S00001", "wang@acme.example")
    made.write("a@example.com", f"s00001@{D}", "Here is our offer.")  # a message
    made.write("a@example.com", f"s00001-note@{D}", "the floor is 5800")  # a note
    made.announce("quotation.sent", ref="S00001", actor="a")  # an event
    made.write("b@example.com", f"s00001-follow@{D}", "")  # answered with a transcript
    made.write("c@example.com", f"s00001@{D}", "/nonsense")  # a mistake
    made.write("wang@acme.example", f"quotations@{D}", "I want chairs")  # refused, and told
    made.write("mallory@x.example", f"s00001@{D}", "let me in", sure=False)  # held, the salesperson told
    made.sent()
    found = sorted({f"{subtype:24}{paths}" for subtype, paths in handed_over(made)})
    golden.compare(ROOT / "tests" / "decide" / "golden" / "return_paths.txt", "\n".join(found) + "\n")


def handed_over(house: House) -> list[tuple[str, str]]:
    """Hand everything over as the sender does; return of each mail its subtype and what its return path is."""
    taken: list[tuple[str, str]] = []

    class Hand:
        async def hand_over(self, return_path, _recipient, mail, _in_time):
            subtype = mail.partition(b"X-Replygate-Subtype: ")[2].partition(b"\r\n")[0].decode()
            taken.append((subtype, return_path))
            return Status(2, 50, "0.0", "kept")

    async def deliver():
        sender = Sender(
            house.store, Hop(house.site.settings, house.addresses, ()), lambda: house.site.people, lambda: None
        )
        for delivery in claimed:
            await sender._hand_over(delivery, Hand(), 0.0)

    with house.store.write() as tx:
        claimed = outbox.claim(tx, now_ms(), 1000)
    asyncio.run(deliver())
    own = {str(house.addresses.return_path(each.id)): each for each in claimed}
    assert len(taken) == len(claimed)
    paths = [path for _, path in taken if path]
    assert len(set(paths)) == len(paths), "every delivery has a path of its own"
    return [(subtype, "null" if not path else "its own (VERP)" if path in own else path) for subtype, path in taken]


def test_P12_nothing_is_ever_sent_because_of_a_mail_with_the_null_path(made):
    made.follow("S00001", "wang@acme.example")
    before = len(made.sent())
    for n, to in enumerate((f"s00001@{D}", f"quotations@{D}", f"gateway@{D}", f"s00001-follow@{D}")):
        octets = f"From: wang@acme.example\r\nTo: {to}\r\nSubject: x\r\nMessage-ID: <n{n}@x>\r\n\r\n/help\r\n".encode()
        made.take(octets, to, return_path="", trusted=True)
    assert [each.to for each in made.sent()[before:] if each.to == "wang@acme.example"] == []
    with made.store.read() as tx:
        assert (
            tx.execute(
                sa.select(sa.func.count())
                .select_from(tables.notice)
                .where(tables.notice.c.email == "wang@acme.example")
            ).scalar()
            == 0
        )


def test_P13_who_releases_a_forged_command_makes_us_write_to_nobody(made):
    """A person said that it may be carried out, not that the From is true."""
    assert made.write("a@example.com", f"s00001@{D}", "/follow note", sure=False) == ("held", "not authenticated")
    with made.store.write() as tx:
        decide_held.decide(tx, "release", held.listed(tx)[0], "cheng", now_ms())
    made.run()
    assert made.states()[-1][0] == "done"
    assert ("transcript", "a@example.com") not in made.notices()


@pytest.mark.parametrize("more", [b"Bcc: x@evil.example\r\n", b"Subject: again\r\n", b"\r\nbody", b"no field\r\n"])
def test_P06_a_header_block_that_is_not_what_we_meant_is_never_queued(more):
    good = b"From: a@b.example\r\nTo: c@d.example\r\nSubject: x\r\n"
    assert compose._as_meant(good) == good
    with pytest.raises(ValueError, match="does not read back"):
        compose._as_meant(good + more)
