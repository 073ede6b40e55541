"""Row A03 of the catalogue: the ways of espoofer and its kin to pass for another, through the real door.

The attacker owns attack.example and its DNS, and the host that connects; A君 of example.com is the victim.
"""
# ruff: noqa: N802 (rows have capital names)

from dataclasses import dataclass, field

import pytest
import sqlalchemy as sa

from gateway.mail.parse import parse
from gateway.store import arrivals, content, lease, tables
from tests.kit.client import Client
from tests.kit.house import INSIDE, D
from tests.kit.zone import Zone
from tests.mail.test_signature import key, record, sign

VICTIM, ATTACKER = "a@example.com", "mallory@attack.example"
HERE = "v=spf1 ip4:127.0.0.1 -all"
TO = f"s00001-follow@{D}"
ZONE = {
    "example.com": [{"TXT": f"v=spf1 ip4:{INSIDE} -all"}],
    "_dmarc.example.com": [{"TXT": "v=DMARC1; p=none"}],
    "attack.example": [{"TXT": HERE}],
    "_dmarc.attack.example": [{"TXT": "v=DMARC1; p=none"}],
}
# Names that only the attacker's own DNS answers for, however odd: a stub resolver may ask for any of them.
ODD = (
    "example.com(.attack.example", "example.com(a.attack.example", "example.com'a.attack.example",
    "example.com'@any.attack.example", "any.attack.example", 'example.com"=(.attack.example', "33.attack.example",
    "example.com\x00.attack.example", "example.com.attack.example", "example.com,attack.example",
    "example.com;.attack.example", "example.com\\.attack.example", "mail.attack.example", "xn--xample-9uf.com",
)  # fmt: skip


def zone() -> Zone:
    made = Zone(ZONE)
    for name in ODD:
        made.add(name, "TXT", HERE)
        for selector in ("s", "selector"):
            made.add(f"{selector}._domainkey.{name}", "TXT", record(key()))
    for name in ("s._domainkey.attack.example", "selector._domainkey.attack.example", "selector._domainkey.attack.example.\x00.any",
                 "selector._domainkey.attack.example.\x00.any._domainkey.example.com"):  # fmt: skip
        made.add(name, "TXT", record(key()))
    made.add("s._domainkey.example.com", "TXT", record(key("ed25519")))
    return made


@dataclass(frozen=True)
class Attack:
    """An envelope, the fields in front, and whether and how it is signed by the attacker's own key."""

    fields: str = f"From: <{VICTIM}>"
    mail_from: str = ATTACKER
    helo: str = "attack.example"
    signed: dict[str, str] | None = None
    more: str = ""
    tags: tuple[str, ...] = field(default=())


ATTACKS = {
    # the 19 cases of a server, as the paper numbers them
    "a1 a subdomain that is not there": Attack(mail_from="any@mailfrom.notexist.example.com"),
    "a2 an empty MAIL FROM in disguise": Attack(mail_from="(any@example.com"),
    "a3 NUL in a selector": Attack(signed={"d": "example.com", "s": "selector._domainkey.attack.example.\x00.any"}),
    "a4 a quote in d=": Attack(signed={"d": "example.com'a.attack.example", "s": "selector"}),
    "a5 a parenthesis in MAIL FROM": Attack(mail_from="any@example.com(a.attack.example"),
    "a6 a quote in MAIL FROM": Attack(mail_from="any@example.com'@any.attack.example"),
    "a7 a route in MAIL FROM": Attack(mail_from="@example.com,@any.com:'any@attack.example"),
    "a8 two From": Attack(f"From: <first@attack.example>\r\nFrom: <{VICTIM}>"),
    "a8 two From, the victim first": Attack(f"From: <{VICTIM}>\r\nFrom: <first@attack.example>"),
    "a9 a space before a field": Attack(f" From: <first@attack.example>\r\nFrom: <{VICTIM}>"),
    "a10 a space before a colon": Attack(f"From: <first@attack.example>\r\nFrom : <{VICTIM}>"),
    "a10 and the other way round": Attack(f"From : <first@attack.example>\r\nFrom: <{VICTIM}>"),
    "a11 a folded name": Attack(f"From\r\n : <first@attack.example>\r\nFrom: <{VICTIM}>"),
    "a12 Sender": Attack(f"From\r\n : <first@attack.example>\r\nSender: <{VICTIM}>"),
    "a12 Sender beside From": Attack(f"From: <first@attack.example>\r\nSender: <{VICTIM}>"),
    "a13 Resent-From": Attack(f"From: <first@attack.example>\r\nResent-From: <{VICTIM}>"),
    "a14 two addresses": Attack(f"From: <first@attack.example>, <{VICTIM}>"),
    "a14 two addresses, the victim first": Attack(f"From: <{VICTIM}>, <first@attack.example>", signed={"d": "attack.example"}),
    "a15 an encoded address": Attack("From:=?utf-8?B?PGFAZXhhbXBsZS5jb20+?=,<second@attack.example>"),
    "a16 a route": Attack(f"From: <@attack.example,@any.com:{VICTIM}>"),
    "a17 a quoted pair": Attack(f"From: <{VICTIM}>\\,<second@attack.example>"),
    "a18 which special character first": Attack(f"From: {VICTIM},<second@attack.example>"),
    "a19 a name and an address": Attack(f"From: <any@attack.example>{VICTIM}"),
    # a client that logged in elsewhere
    "client a3 another's From": Attack(mail_from="attacker@attack.example", signed={"d": "attack.example"}),
    # and what else is known
    "d= with a parenthesis": Attack(signed={"d": "example.com(.attack.example"}),
    "d= with NUL": Attack(signed={"d": "example.com\x00.attack.example"}),
    "d= with a quote and a comment": Attack(signed={"d": 'example.com"=(.attack.example'}),
    "d= with a semicolon quoted": Attack(signed={"d": "example.com\\.attack.example"}),
    "d= of the victim, not their key": Attack(signed={"d": "example.com"}),
    "d= of a parent that is a suffix": Attack(signed={"d": "com"}),
    "i= of the victim": Attack(signed={"d": "attack.example", "i": "a@example.com"}),
    "i= of the victim within d=": Attack(signed={"d": "attack.example", "i": "@example.com.attack.example"}),
    "HELO of the victim": Attack(mail_from="", helo="example.com"),
    "HELO with a parenthesis": Attack(mail_from="", helo="example.com(.attack.example"),
    "NUL in MAIL FROM": Attack(mail_from="any@example.com\x00@attack.example"),
    "two at signs in MAIL FROM": Attack(mail_from="any@example.com@attack.example"),
    "a quoted victim in MAIL FROM": Attack(mail_from='"any@example.com"@attack.example'),
    "a bracket in MAIL FROM": Attack(mail_from="any@example.com>@attack.example"),
    "per cent in MAIL FROM": Attack(mail_from="any%example.com@attack.example"),
    "a comma in MAIL FROM": Attack(mail_from="any@example.com,attack.example"),
    "the victim in MAIL FROM": Attack(mail_from=VICTIM),
    "a letter that looks the same": Attack("From: <a@еxample.com>", mail_from="a@xn--xample-9uf.com"),
    "a full-width domain": Attack("From: <a@ｅxample.com>", mail_from=ATTACKER),
    "an encoded local part": Attack("From: =?utf-8?q?a=40example=2Ecom=3E?= <x@attack.example>"),
    "a group": Attack(f"From: friends: <{VICTIM}>, <x@attack.example>;"),
    "a group of one": Attack(f"From: friends: <{VICTIM}>;", signed={"d": "attack.example"}),
    "a comment with the attacker": Attack(f"From: ({ATTACKER}) <{VICTIM}>"),
    "Authentication-Results of the attacker": Attack(more="Authentication-Results: mx.example.com; dmarc=pass header.from=example.com; spf=pass smtp.mailfrom=example.com"),
    "Received-SPF of the attacker": Attack(more="Received-SPF: pass (mx: domain of a@example.com designates 127.0.0.1)"),
    "ARC of the attacker": Attack(more="ARC-Authentication-Results: i=1; mx.example.com; dmarc=pass header.from=example.com"),
    "our own fields": Attack(more="X-Replygate-Record: S00001\r\nX-Replygate-Author: a\r\nX-Authenticated-User: a"),
}  # fmt: skip


@pytest.fixture(scope="module")
def attacked(tmp_path_factory):
    from tests.decide.conftest import acme

    made = acme(tmp_path_factory.mktemp("attacked") / "site")
    made.zone.records.clear()
    made.zone.records.update(zone().records)
    port = made.open()
    yield made, port
    made.close()


def mail_of(attack: Attack, number: int) -> bytes:
    fields = [attack.fields, f"To: {TO}", "Subject: hello", f"Message-ID: <{number}@attack.example>", attack.more]
    octets = ("\r\n".join(filter(None, fields)) + "\r\n\r\n/note\r\nsend money\r\n").encode()
    if attack.signed is None:
        return octets
    return sign(octets, key(), **attack.signed)


def identities(house) -> list[tuple[str, bool]]:
    """Return who is believed to have written each arrival, and whether that is sure."""
    with house.store.read() as tx:
        rows = tx.execute(sa.select(tables.arrival.c.id).order_by(tables.arrival.c.id)).scalars().all()
        loaded = arrivals.load(tx, [lease.Claim(each, 0, 1) for each in rows])
    read = [house.reader.read_one(each) for each in loaded]
    return [(each.identity.email, each.identity.authenticated) for each in read]


@pytest.mark.parametrize("to", [TO, f"s00001@{D}", f"s00001-note@{D}"], ids=["command", "alias", "note"])
@pytest.mark.parametrize("name", ATTACKS)
def test_A03_nobody_passes_for_another(attacked, name, to):
    house, port = attacked
    attack = ATTACKS[name]
    before = len(house.messages())
    with Client(port) as client:
        client.say(f"EHLO {attack.helo}")
        answers = client.send(
            attack.mail_from, [to], mail_of(attack, len(ATTACKS) * len(to) + list(ATTACKS).index(name))
        )
    assert all(each[:3].isdigit() for each in answers)
    house.run()
    assert not [each for each in identities(house) if each[1] and each[0].endswith("@example.com")]
    assert len(house.messages()) == before
    assert house.choices() == {}
    assert house.audited() == []
    assert ("transcript", VICTIM) not in house.notices()


def test_A03_the_attacker_is_believed_to_be_themselves(attacked):
    """The same door, host and DNS do prove what is true: otherwise the rows above would prove nothing."""
    house, port = attacked
    for n, attack in enumerate(
        [Attack(f"From: <{ATTACKER}>"), Attack(f"From: <{ATTACKER}>", "", signed={"d": "attack.example"})]
    ):
        with Client(port) as client:
            assert client.send(attack.mail_from, [f"s00001@{D}"], mail_of(attack, 9000 + n))[-1].startswith("250")
    house.run()
    assert identities(house)[-2:] == [(ATTACKER, True)] * 2


def test_A03_a_signed_mail_replayed_with_other_fields_in_front_speaks_for_nobody(attacked):
    """F12: a signature that does not cover a field says nothing of one added in front of it."""
    house, port = attacked
    private = key("ed25519")
    whole = mail_of(Attack(), 9100)
    for h, added in (
        ("from:to:subject:message-id", f"From: <{VICTIM}>\r\n"),
        ("from:to", f"From: x <{VICTIM}>\r\n"),
        ("from", "Content-Type: text/html\r\nFrom: <b@example.com>\r\n"),
    ):
        signed = added.encode() + sign(whole, private, h=h)
        with Client(port) as client:
            assert client.send(ATTACKER, [f"s00001-note@{D}"], signed)[-1].startswith("250")
        house.run()
        assert house.states()[-1] == ("held", "not authenticated" if parse(signed).author else "no author") or (
            house.states()[-1] == ("held", "not a person")
        )


def test_A03_only_part_of_a_mail_that_is_signed_speaks_for_nobody(attacked):
    house, port = attacked
    signed = sign(mail_of(Attack(), 9200), key("ed25519"), l="0")
    with Client(port) as client:
        assert client.send(ATTACKER, [f"s00001@{D}"], signed + b"more\r\n")[-1].startswith("250")
    house.run()
    assert identities(house)[-1] == (VICTIM, False)


def test_A03_a_mail_the_victim_signed_is_theirs(attacked):
    house, port = attacked
    signed = sign(mail_of(Attack(), 9300), key("ed25519"), h="from:to:subject:message-id")
    with Client(port) as client:
        assert client.send(ATTACKER, [f"s00001@{D}"], signed)[-1].startswith("250")
    house.run()
    assert identities(house)[-1] == (VICTIM, True)
    with house.store.read() as tx:
        digest = tx.execute(
            sa.select(tables.arrival.c.content).order_by(tables.arrival.c.id.desc()).limit(1)
        ).scalar_one()
        assert content.load(tx, digest) == signed
