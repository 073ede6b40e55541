"""Row C20 of the catalogue, edge to edge: forwarders and lists break what proves a mail, and only a sealer that the site
names, or its own server's word, mends it. Nothing is refused for it: what is not proved is held, and the reason told.
"""
# ruff: noqa: N802 (rows have capital names)

import base64
import hashlib
import re
from email.utils import formatdate
from pathlib import Path

import pytest
import yaml
from dkim.canonicalization import Relaxed

from gateway.config import Authentication
from gateway.decide.authenticate import prove
from gateway.mail.parse import parse
from gateway.store.arrivals import Arrival
from gateway.store.lease import Claim
from tests.decide.test_proof import LOCAL
from tests.kit.house import NOBODY, D
from tests.kit.zone import Zone
from tests.mail.conftest import corpora
from tests.mail.test_signature import _rsa, fields_of, key, record, sign

__all__ = ["corpora"]

TO = f"s00001@{D}"
WANG, LIST = "wang@acme.example", "list@lists.example"
NAMED, OTHER = "lists.example", "mallory.example"
PASSED = "dmarc=pass header.from=acme.example"
HELD = ("held", "not authenticated")
ORDER = {b"arc-authentication-results": 0, b"arc-message-signature": 1, b"arc-seal": 2}


def letter(author: str = WANG, text: str = "the list says hello", number: int = 1) -> bytes:
    """Return a mail as it leaves a list: with a footer, so that the author's own signature holds no longer."""
    fields = [f"From: {author}", f"To: {TO}", "Subject: [list] chairs", f"Message-ID: <c20.{number}@x>"]
    return "\r\n".join([*fields, "", text, "", "_____", "You get this from the list.", ""]).encode()


def seal(mail: bytes, domain: str = NAMED, told: str = PASSED, i: int = 1, cv: str = "") -> bytes:
    """Return `mail` with the next set of a chain in front, by `domain`, which says that it was `told`."""
    mail = f"ARC-Authentication-Results: i={i}; mx.{domain}; {told}\r\n".encode() + mail
    mail = sign(mail, name=b"ARC-Message-Signature", first=f"i={i}; ", d=domain)
    chain = [each for each in fields_of(mail) if each[0].lower() in ORDER]
    chain.sort(key=lambda each: (int(re.search(rb"i=(\d+)", each[1])[1]), ORDER[each[0].lower()]))
    value = f" i={i}; cv={cv or ('none' if i == 1 else 'pass')}; a=rsa-sha256; d={domain}; s=s; b=".encode()
    digest = hashlib.sha256()
    for name, text in Relaxed.canonicalize_headers(chain):
        digest.update(name + b":" + text)
    digest.update(b"arc-seal:" + value.strip())
    return b"ARC-Seal:" + value + base64.b64encode(_rsa(key(), digest)) + b"\r\n" + mail


def arc_house(make, sealers: str):
    house = make(f"arc{len(sealers)}", gateway=LOCAL + f"\nauthentication: {{arc_sealers: [{sealers}]}}\n")
    house.zone.add("_dmarc.acme.example", "TXT", "v=DMARC1; p=reject")
    for domain in (NAMED, OTHER, f"sub.{NAMED}", "third.example"):
        house.zone.add(f"s._domainkey.{domain}", "TXT", record(key()))
    return house


@pytest.fixture
def naming(make):
    """A house that believes one sealer, and whose customer's domain asks to refuse what is not proved."""
    return arc_house(make, NAMED)


def take(house, content: bytes):
    return house.take(content, TO, peer=NOBODY, return_path=LIST)


BELIEVED = {
    "DMARC passed at the list": seal(letter()),
    "DKIM passed at the list": seal(letter(), told="dkim=pass header.d=acme.example; spf=fail smtp.mailfrom=x.example"),
    "SPF passed at the list": seal(letter(), told="spf=pass smtp.mailfrom=wang@acme.example"),
    "the list is the second of two": seal(seal(letter(), OTHER), i=2),
    "the list twice": seal(seal(letter()), i=2),
}
NOT_BELIEVED = {
    "no chain": letter(),
    "another sealer": seal(letter(), OTHER),
    "a subdomain of the one named": seal(letter(), f"sub.{NAMED}"),
    "another, around the one named": seal(seal(letter()), OTHER, i=2),
    "the one named, in the middle": seal(seal(seal(letter()), i=2), OTHER, i=3),
    "DMARC failed at the list": seal(letter(), told="dmarc=fail header.from=acme.example"),
    "nothing told": seal(letter(), told="none"),
    "ARC alone passed": seal(letter(), told="arc=pass header.oldest-pass=0"),
    "DMARC passed for another": seal(letter(), told="dmarc=pass header.from=x.example"),
    "DMARC passed for a subdomain": seal(letter(), told="dmarc=pass header.from=mail.acme.example"),
    "a comment says so": seal(letter(), told="dmarc=none (dmarc=pass header.from=acme.example)"),
    "only the first was told so": seal(seal(letter(), OTHER), told="dmarc=fail header.from=acme.example", i=2),
    "the first broke": seal(seal(letter(), OTHER).replace(b"hello", b"howdy"), i=2, cv="fail"),
    "it says the chain failed": seal(seal(letter(), OTHER), i=2, cv="fail"),
    "it says there was none before": seal(seal(letter(), OTHER), i=2, cv="none"),
    "a first one that passed": seal(letter(), cv="pass"),
    "a place left out": seal(letter(), i=2, cv="pass"),
    "the text changed after": seal(letter()).replace(b"hello", b"howdy"),
    "the author changed after": seal(letter("eve@acme.example")).replace(b"eve@", b"wang@"),
    "the results changed after": seal(letter(), told="dmarc=fail header.from=acme.example").replace(b"dmarc=fail", b"dmarc=pass"),
    "another author in front": b"From: wang@acme.example\r\n" + seal(letter("eve@x.example")),
    "a seal of another mail": seal(letter(text="else")).replace(b"else", b"the list says hello"),
    "our own field, from outside": f"Authentication-Results: {D}; {PASSED}\r\n".encode() + letter(),
    "the sealer's field, not sealed": f"Authentication-Results: mx.{NAMED}; {PASSED}\r\n".encode() + letter(),
    "fields that only look sealed": f"ARC-Seal: i=1; a=rsa-sha256; d={NAMED}; s=s; cv=none; b=AAAA\r\nARC-Authentication-Results: i=1; mx.{NAMED}; {PASSED}\r\n".encode() + letter(),
}  # fmt: skip


@pytest.mark.parametrize("case", BELIEVED)
def test_C20_what_the_named_sealer_was_told_is_believed(naming, case):
    assert take(naming, BELIEVED[case]) == ("posted", "")
    assert naming.held() == []


@pytest.mark.parametrize("case", NOT_BELIEVED)
def test_C20_whatever_else_comes_by_a_list_is_held_with_the_reason_and_never_refused(naming, case):
    state = take(naming, NOT_BELIEVED[case])
    assert state == (("held", "no author") if case == "another author in front" else HELD)
    (held,) = naming.held()
    assert held.reason
    told = [each for each in naming.sent() if each["X-Replygate-Subtype"] == "held"]
    assert {each.to for each in told} == {"a@example.com"}, "who sells is told; the author, who may be forged, is not"
    assert naming.texts() == []


@pytest.mark.parametrize("case", BELIEVED)
@pytest.mark.parametrize("sealers", ["", OTHER, f"sub.{NAMED}", "example.com"])
def test_C20_a_sealer_that_the_site_does_not_name_mends_nothing(make, case, sealers):
    assert take(arc_house(make, sealers), BELIEVED[case]) == HELD


@pytest.mark.parametrize(
    ("results", "state"),
    [
        (PASSED, ("posted", "")),
        ("dmarc=fail header.from=acme.example", HELD),
        ("dmarc=fail header.from=acme.example; arc=pass", HELD),
        ("arc=pass header.oldest-pass=0 smtp.remote-ip=192.0.2.9", HELD),
        ("dmarc=pass header.from=lists.example; arc=pass", HELD),
    ],
)
def test_C20_by_the_word_of_the_sites_own_server_and_no_chain_beside_it(make, results, state):
    """In `mode: trust` what the server found counts; a chain that the mail brings along is not looked at."""
    own = "mx.example.com"
    house = make(gateway=LOCAL + f"\nauthentication: {{mode: trust, authserv_id: {own}, arc_sealers: [{NAMED}]}}\n")
    head = f"Authentication-Results: {own}; {results}\r\nReceived: from x by {own}; {formatdate()}\r\n"
    content = head.encode() + seal(letter())
    assert house.take(content, TO, door="lmtp", peer="unix", return_path=LIST) == state
    assert house.zone.asked == []


def test_C20_of_the_public_suite_no_chain_that_fails_makes_an_author_sure(made, corpora: Path):
    """171 chains, with every sealer in them named: where the suite says fail or none, nothing is proved by ARC."""
    named = Authentication(arc_sealers=("example.org", "example.com", "d1.example.org", "d2.example.org"))
    counted, passed = {"pass": 0, "fail": 0, "none": 0}, 0
    for document in yaml.safe_load_all((corpora / "auth" / "arc-draft-validation-tests.yml").read_text("utf-8")):
        zone = Zone({name: [{"TXT": text}] for name, text in document["txt-records"].items()})
        for name, test in document["tests"].items():
            content = (test["message"] or "").encode().replace(b"\n", b"\r\n")
            arrival = Arrival(1, 0, "smtp", NOBODY, "host.example", LIST, False, "", content, b"", (), Claim(1, 1, 0))
            proof = prove(arrival, parse(content), made.site.people, named, zone)
            expected = (test["cv"] or "none").lower()
            counted[expected] += 1
            assert expected == "pass" or not proof.how.startswith("ARC"), name
            arc = [each.verdict for each in proof.results if each.method == "arc"]
            assert not (proof.sure and arc and arc != ["pass"]), name
            passed += arc == ["pass"]
    assert sum(counted.values()) == 171
    assert min(counted.values()) > 0
    assert passed > 20
