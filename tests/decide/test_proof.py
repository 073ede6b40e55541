"""How an author is made sure of, edge to edge: by login, by a trusted server, by a sealer; and while the DNS is away."""

import base64
import hashlib
import re
from email.utils import formatdate

import pytest
import sqlalchemy as sa
from dkim.canonicalization import Relaxed

from gateway.decide.authenticate import _speaks_for
from gateway.decide.read import PATIENCE_MS
from gateway.decide.receive import LOOK_AGAIN_MS
from gateway.mail.authres import trusted_results
from gateway.mail.header import read_header
from gateway.store import tables
from gateway.worker import now_ms
from tests.kit.house import INSIDE, NOBODY, D
from tests.kit.node import ROOT
from tests.kit.zone import TIMEOUT
from tests.mail.test_signature import _rsa, fields_of, key, record, sign

LOCAL = (ROOT / "templates" / "site" / "gateway.local.yaml").read_text("utf-8")
MX = "mx.example.com"
RECEIVED = "Received: from x by mx.example.com; {now}"  # when `letter` writes it


def letter(author="a@example.com", to=f"s00001@{D}", head="", text="/follow quotation.*", number=1) -> bytes:
    fields = [*head.splitlines(), f"From: {author}", f"To: {to}", "Subject: s", f"Message-ID: <p{number}@example.com>"]
    return "\r\n".join([*fields, "", text, ""]).replace("{now}", formatdate()).encode()


def followed(house) -> bool:
    return "quotation.*" in house.choices()["a"].subtypes if "a" in house.choices() else False


# ---- mode: trust


@pytest.fixture
def trusting(make):
    return make("trusting", gateway=LOCAL + f"\nauthentication: {{mode: trust, authserv_id: {MX}}}\n")


def said(results: str, by=MX) -> str:
    return f"Authentication-Results: {by}; {results}"


@pytest.mark.parametrize(
    "results",
    ["dmarc=pass header.from=example.com", "spf=pass smtp.mailfrom=a@example.com", "dkim=pass header.d=example.com", "dkim=pass header.i=@example.com",
     "spf=fail smtp.mailfrom=x.example; dkim=pass header.d=example.com"],
)  # fmt: skip
def test_what_the_trusted_server_says_is_believed(trusting, results):
    became = trusting.take(
        letter(head=f"{said(results)}\n{RECEIVED}"),
        f"s00001@{D}",
        door="lmtp",
        peer="unix",
        return_path="a@example.com",
    )
    assert became == ("done", "command")
    assert followed(trusting)
    assert trusting.zone.asked == []


@pytest.mark.parametrize(
    "head",
    [
        "", RECEIVED, said("dmarc=fail header.from=example.com"), said("dmarc=pass header.from=x.example"), said("spf=pass smtp.mailfrom=a@sub.example.com"),
        said("spf=pass smtp.helo=example.com"), said("dmarc=pass header.from=example.com", "mx.attacker.example"), said("dmarc=pass", "mx.example.com.attacker.example"),
        f"{RECEIVED}\n{RECEIVED}\n" + said("dmarc=pass header.from=example.com"), said("dmarc=none") + "\n" + said("dmarc=pass header.from=example.com"),
        said("dmarc=pass", "other.example") + "\n" + said("dmarc=pass header.from=example.com"), said("auth=pass smtp.auth=a@example.com"),
        said("dmarc=pass (header.from=example.com)"), said('dmarc=pass reason="header.from=example.com" header.from=x.example'), said("dkim=pass header.d=example.com.x.example"),
        said('dkim=pass header.d="example.com\\" x"'), "X-" + said("dmarc=pass header.from=example.com"), "ARC-" + said("dmarc=pass header.from=example.com"),
        "Authentication-Results : mx.example.com; dmarc=pass header.from=example.com", "Received-SPF: pass", said("dmarc=pass header.from=example.com " + "x" * 9000),
    ],
)  # fmt: skip
def test_what_is_not_the_trusted_servers_word_about_this_author_proves_nothing(trusting, head):
    became = trusting.take(letter(head=head), f"s00001@{D}", door="lmtp", peer="unix", return_path="a@example.com")
    assert became == ("held", "not authenticated")
    assert not followed(trusting)


@pytest.mark.parametrize(
    ("results", "speaks"),
    [
        ("dkim=pass header.d=example.com", True), ("spf=pass smtp.mailfrom=a@example.com", True), ("dkim=pass header.d=com", False),
        ("dkim=pass header.d=other.example.com", False), ("dmarc=fail header.from=mail.example.com; dkim=pass header.d=example.com", False),
    ],
)  # fmt: skip
def test_a_domain_speaks_for_those_below_it(results, speaks):
    found, _ = trusted_results(read_header(said(results).encode())[0], MX)
    assert bool(_speaks_for(found, "mail.example.com")) is speaks


def test_a_trusting_house_asks_no_dns_even_where_it_would_prove_it(trusting):
    assert trusting.take(letter(), f"s00001@{D}", peer=INSIDE, return_path="a@example.com") == (
        "held",
        "not authenticated",
    )


# ---- login


@pytest.mark.parametrize(
    ("who", "author", "became"),
    [
        ("a", "a@example.com", ("done", "command")),
        ("a", "A君 <A@EXAMPLE.COM>", ("done", "command")),
        ("b", "a@example.com", ("held", "not authenticated")),
        ("nobody", "a@example.com", ("held", "not authenticated")),
        ("a", "eve@x.example", ("held", "stranger")),
        ("a", "a@example.com, b@example.com", ("held", "no author")),
    ],
)
@pytest.mark.parametrize("trusted", [False, True])
def test_who_logged_in_is_the_author_whose_address_is_theirs_and_no_other(made, who, author, became, trusted):
    """Neither a trusted network nor a DNS that says yes makes a login another's."""
    octets = letter(author=author)
    assert (
        made.take(octets, f"s00001@{D}", peer=INSIDE, return_path="a@example.com", auth_who=who, trusted=trusted)
        == became
    )
    assert followed(made) == (became == ("done", "command"))


def test_a_login_as_another_is_told_in_words(made):
    made.take(letter(), f"s00001@{D}", auth_who="b", return_path="a@example.com")
    (kept,) = made.held()
    assert kept.results == [["auth", "fail", "", "logged in as b, whose address the From is not"]]


# ---- a sealer


def seal(mail: bytes, told: str, domain="forwarder.example") -> bytes:
    """Return `mail` with the first set of a chain in front, that says `told`."""
    front = f"ARC-Authentication-Results: i=1; mx.{domain}; {told}\r\n".encode()
    mail = front + sign(mail, name=b"ARC-Message-Signature", first="i=1; ", d=domain)
    order = {b"arc-authentication-results": 0, b"arc-message-signature": 1}
    chain = sorted(
        (each for each in fields_of(mail) if each[0].lower() in order), key=lambda each: order[each[0].lower()]
    )
    value = f" i=1; cv=none; a=rsa-sha256; d={domain}; s=s; b=".encode()
    digest = hashlib.sha256()
    for name, text in Relaxed.canonicalize_headers(chain):
        digest.update(name + b":" + text)
    digest.update(b"arc-seal:" + value.strip())
    return b"ARC-Seal:" + value + base64.b64encode(_rsa(key(), digest)) + b"\r\n" + mail


@pytest.fixture
def sealed(make):
    house = make("sealed", gateway=LOCAL + "\nauthentication: {arc_sealers: [forwarder.example]}\n")
    for domain in ("forwarder.example", "mallory.example"):
        house.zone.add(f"s._domainkey.{domain}", "TXT", record(key()))
    return house


PASSED = "dmarc=pass header.from=example.com"


@pytest.mark.parametrize(
    ("told", "domain", "tampered", "became"),
    [
        (PASSED, "forwarder.example", False, ("done", "command")),
        (PASSED, "mallory.example", False, ("held", "not authenticated")),
        (PASSED, "forwarder.example", True, ("held", "not authenticated")),
        ("dmarc=fail header.from=example.com", "forwarder.example", False, ("held", "not authenticated")),
        ("dmarc=pass header.from=x.example", "forwarder.example", False, ("held", "not authenticated")),
        ("spf=pass smtp.mailfrom=a@sub.example.com", "forwarder.example", False, ("held", "not authenticated")),
        ("dkim=pass header.d=example.com", "forwarder.example", False, ("done", "command")),
    ],
)  # fmt: skip
def test_a_sealer_that_the_site_names_is_believed_and_no_other(sealed, told, domain, tampered, became):
    octets = seal(letter(), told, domain)
    octets = octets.replace(b"/follow", b"/FOLLOW") if tampered else octets
    assert sealed.take(octets, f"s00001@{D}", peer=NOBODY, return_path="list@forwarder.example") == became
    assert followed(sealed) == (became == ("done", "command"))


def test_without_a_sealer_named_no_chain_counts(made):
    made.zone.add("s._domainkey.forwarder.example", "TXT", record(key()))
    assert made.take(seal(letter(), PASSED), f"s00001@{D}", return_path="a@example.com") == (
        "held",
        "not authenticated",
    )


def test_a_chain_put_around_the_named_sealers_proves_nothing(sealed):
    """Whoever sealed last must be believed: mallory repeats a true chain in front of another text."""
    octets = seal(letter(), PASSED)
    wrapped = re.sub(rb"/follow quotation.\*", b"/follow lead.*", octets)
    assert sealed.take(wrapped, f"s00001@{D}", return_path="a@example.com") == ("held", "not authenticated")


# ---- while the DNS is away


def away(house, *, now: bool) -> None:
    for name in ("example.com", "_dmarc.example.com"):
        house.zone.records.pop(name, None)
        if now:
            house.zone.add(name, "TXT", TIMEOUT)
    if not now:
        house.zone.add("example.com", "TXT", f"v=spf1 ip4:{INSIDE} -all")


def look_again(house, *, later_ms: int = 0) -> None:
    """Let the minute pass after which the receiver looks again."""
    house.receiver._next_look = 0
    with house.store.write() as tx:
        tx.execute(sa.update(tables.arrival).values(received_at=tables.arrival.c.received_at - later_ms))
    house.run()


@pytest.fixture
def patient(both_made):
    away(both_made, now=True)
    return both_made


def told(house) -> list[str]:
    return [each.to for each in house.sent() if each["X-Replygate-Subtype"] == "held"]


def test_what_the_dns_could_not_prove_is_held_at_once_and_decided_when_it_is_back(patient):
    assert patient.write("a@example.com", f"s00001@{D}", "/follow quotation.*") == ("held", "not authenticated")
    (kept,) = patient.held()
    assert "temperror" in {each[1] for each in kept.results}
    look_again(patient)
    assert patient.states() == [("held", "not authenticated")]
    away(patient, now=False)
    look_again(patient)
    assert patient.states() == [("done", "command")]
    assert followed(patient)


def test_nobody_is_told_twice_of_a_mail_that_is_looked_at_again(patient):
    patient.write("a@example.com", f"s00001@{D}", "hello")
    assert told(patient) == ["a@example.com"]
    for _ in range(5):
        look_again(patient)
        assert told(patient) == ["a@example.com"]
    away(patient, now=False)
    look_again(patient)
    assert patient.states() == [("posted", "")]
    assert told(patient) == ["a@example.com"]


def test_what_turns_out_to_be_forged_stays_held_and_is_told_of_once(patient):
    patient.write("a@example.com", f"s00001@{D}", "forged", sure=False)
    away(patient, now=False)
    patient.zone.add("_dmarc.example.com", "TXT", "v=DMARC1; p=reject")
    look_again(patient)
    look_again(patient)
    assert patient.states() == [("held", "not authenticated")]
    assert told(patient) == ["a@example.com"]
    (kept,) = patient.held()
    assert "temperror" not in {each[1] for each in kept.results}


def test_after_a_quarter_of_an_hour_a_person_decides(patient):
    patient.write("a@example.com", f"s00001@{D}", "hello")
    away(patient, now=False)
    look_again(patient, later_ms=PATIENCE_MS + 1)
    assert patient.states() == [("held", "not authenticated")]


def test_what_was_held_for_another_reason_is_not_looked_at_again(made):
    made.write("eve@x.example", f"s00001@{D}", "hello")
    made.write("a@example.com", f"s00001@{D}", "forged", sure=False)
    asked = len(made.zone.asked)
    look_again(made)
    assert made.states() == [("held", "stranger"), ("held", "not authenticated")]
    assert len(made.zone.asked) == asked


def test_what_a_person_dropped_or_released_meanwhile_stays_so(patient):
    patient.write("a@example.com", f"s00001@{D}", "one")
    patient.write("a@example.com", f"s00001@{D}", "two")
    from gateway.store import held

    with patient.store.write() as tx:
        ids = sorted(each.id for each in held.listed(tx))
        assert held.drop(tx, ids[0], now_ms(), "cheng")
        assert held.release(tx, ids[1], now_ms(), "cheng")
    patient.run()
    away(patient, now=False)
    look_again(patient)
    assert patient.states() == [("discarded", "dropped"), ("posted", "")]
    assert patient.texts() == ["two"]


def test_a_mail_for_two_records_is_decided_again_only_where_it_is_held(patient):
    other = patient.quotation()
    first, second = f"s00001@{D}", patient.tagged(other, "person:a")
    octets = letter(text="hello", to=f"{first}, {second}")
    patient.take(octets, first, second, peer=INSIDE, return_path="a@example.com")
    assert patient.states() == [("held", "not authenticated"), ("posted", "")]
    away(patient, now=False)
    look_again(patient)
    assert patient.states() == [("posted", ""), ("posted", "")]
    assert patient.texts().count("hello") == 2
    assert LOOK_AGAIN_MS == 60_000


# ---- a signature that leaves out whom a mail is to


@pytest.fixture
def signing(made):
    made.zone.add("s._domainkey.example.com", "TXT", record(key()))
    return made


def signed(to: str, cc: str, h: str, subject="s", text="/follow quotation.*") -> bytes:
    head = f"Subject: {subject}\nTo: {to}" + (f"\nCc: {cc}" if cc else "")
    fields = "\r\n".join(["From: a@example.com", *head.splitlines(), "Message-ID: <h@example.com>", "", text, ""])
    return sign(fields.encode(), h=h)


OURS, ELSE = f"s00001@{D}", "wang@acme.example"


@pytest.mark.parametrize(
    ("to", "cc", "h", "subject", "became"),
    [
        (OURS, "", "from:to:cc:subject", "s", ("done", "command")),
        (ELSE, OURS, "from:to:cc:subject", "s", ("done", "command")),
        (OURS, ELSE, "from:to:subject", "s", ("done", "command")),
        (ELSE, OURS, "from:to:subject", "s", ("held", "not named")),
        (OURS, "", "from:subject", "s", ("held", "not named")),
        (OURS, "", "from:date", "Re: [S00001] chairs", ("held", "not named")),
        # The largest host of all signs Subject and no recipient.
        (OURS, "", "from:date:subject:message-id", "Re: [S00001] chairs", ("done", "command")),
        (OURS, "", "from:date:subject:message-id", "Re: [S00002] chairs", ("held", "not named")),
        (ELSE, "", "from:date:subject:message-id", "Re: [S00001] chairs", ("held", "not named")),
    ],
)
def test_A14_who_a_mail_is_to_counts_where_its_signature_says_so(signing, to, cc, h, subject, became):  # noqa: N802
    mail = signed(to, cc, h, subject)
    assert signing.take(mail, OURS, peer=NOBODY, return_path="x@elsewhere.example") == became
    assert followed(signing) == (became == ("done", "command"))


@pytest.mark.parametrize("field", ["Cc", "To"])
def test_A14_a_signed_command_sent_on_with_another_record_written_into_it_does_nothing_there(signing, field):  # noqa: N802
    other = signing.quotation()
    mail = signed(OURS if field == "Cc" else "", "", "from:subject:message-id" + (":to" if field == "Cc" else ""))
    mail = mail.replace(b"To: \r\n", b"")
    forged = f"{field}: {other.lower()}@{D}\r\n".encode() + mail
    became = signing.take(forged, f"{other.lower()}@{D}", peer=NOBODY, return_path="x@elsewhere.example")
    assert became == ("held", "not named")
    assert signing.choices(other) == {}


def test_A14_an_action_address_that_no_signature_covers_is_no_button(signing):  # noqa: N802
    mail = signed(f"s00001-follow@{D}", "", "from:subject", "Re: [S00001] chairs", "quotation.*")
    became = signing.take(mail, f"s00001-follow@{D}", peer=NOBODY, return_path="x@elsewhere.example")
    assert became == ("held", "not named")


def test_A14_by_spf_the_authors_own_host_sent_all_of_it(signing):  # noqa: N802
    mail = signed(OURS, "", "from:subject")
    assert signing.take(mail, OURS, peer=INSIDE, return_path="a@example.com") == ("done", "command")
