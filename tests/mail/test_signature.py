import base64
import hashlib
import re
import time
from functools import cache

import dkim
import pytest
import yaml
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from dkim.canonicalization import Relaxed, Simple
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.mail.authres import Result
from gateway.mail.canonical import relaxed_body, simple_body_hash
from gateway.mail.header import split_mail
from gateway.mail.lookup import Unreachable
from gateway.mail.signature import Chain, verify_arc, verify_dkim
from gateway.send.sign import Key
from gateway.send.sign import sign as sign_ours
from tests.kit.work import calls, yards
from tests.kit.zone import Zone

# The deliberate differences from the public suite, and why.
DEVIATIONS = {"ams_fields_h_empty": "a message signature that does not sign From proves nothing to us"}

MAIL = b"From: Ann <ann@example.com>\r\nTo: bob@example.net\r\nSubject:  An \t offer\r\n\tfolded\r\n\r\nHello \t you \r\n\r\n  there\r\n\r\n\r\n"  # fmt: skip
H = "from:to:subject"


@cache
def key(kind="rsa", bits=2048):
    return rsa.generate_private_key(65537, bits) if kind == "rsa" else ed25519.Ed25519PrivateKey.generate()


def record(private, tags=""):
    return Key("s", "example.com", private).dns()[1] + tags


def zone(private=None, tags="", name="s._domainkey.example.com"):
    return Zone().add(name, "TXT", record(private or key(), tags))


def fields_of(mail):
    head = mail.partition(b"\r\n\r\n")[0] + b"\r\n"
    return [[n, v] for n, v in re.findall(rb"([^:\r\n]+):((?:[^\r\n]*\r\n)(?:[ \t][^\r\n]*\r\n)*)", head)]


def sign(mail=MAIL, private=None, name=b"DKIM-Signature", h=H, c="relaxed/relaxed", more="", first="v=1; ", **tags):
    """Return `mail` with a signature in front, made by the letter of RFC 6376, with whatever tags a test wants."""
    private = private or key()
    header, body = ({"relaxed": Relaxed, "simple": Simple}[each] for each in (c + "/simple").split("/")[:2])
    text = mail.partition(b"\r\n\r\n")[2]  # dkimpy takes minutes over a long line of blanks, which is what we test
    made_canonical = body.canonicalize_body(text) if len(text) < 10_000 or body is Simple else relaxed_body(text)
    hashed = base64.b64encode(hashlib.sha256(made_canonical).digest()).decode()
    algorithm = "rsa-sha256" if isinstance(private, rsa.RSAPrivateKey) else "ed25519-sha256"
    given = {"a": algorithm, "d": "example.com", "s": "s", "c": c, "h": h, "bh": hashed} | tags
    written = first + "".join(f"{tag}={value}; " for tag, value in given.items() if value is not None) + more + "b="
    value = b" " + written.encode("utf-8", "surrogateescape")
    digest = hashlib.sha256()
    names = [each.strip().lower().encode() for each in (given["h"] or "").split(":")]
    dkim.hash_headers(digest, header, header.canonicalize_headers(fields_of(mail)), names, (name, value), {})
    made = private.sign(digest.digest()) if algorithm[0] == "e" else _rsa(private, digest)
    return name + b":" + value + base64.b64encode(made) + b"\r\n" + mail


def _rsa(private, digest):
    return private.sign(digest.digest(), padding.PKCS1v15(), Prehashed(hashes.SHA256()))


def verdicts(mail, lookup=None):
    return [each.verdict for each in verify_dkim(mail, lookup or zone())]


def only(mail, lookup=None):
    (result,) = verify_dkim(mail, lookup or zone())
    return result


# The public suite of ARC


@pytest.fixture(scope="session")
def suite(corpora):
    documents = yaml.safe_load_all((corpora / "auth" / "arc-draft-validation-tests.yml").read_text("utf-8"))
    found = []
    for document in documents:
        records = Zone({name: [{"TXT": text}] for name, text in document["txt-records"].items()})
        found += [(name, test, records) for name, test in document["tests"].items()]
    return found


@pytest.mark.parametrize("ends", [b"\n", b"\r\n"])
def test_the_suite_of_arc(suite, ends):
    wrong = {}
    for name, test, records in suite:
        chain = verify_arc((test["message"] or "").encode().replace(b"\n", ends), records)
        if chain.result.verdict != (test["cv"] or "none").lower():
            wrong[name] = str(chain.result)
    assert len(suite) == 171
    assert wrong.keys() == DEVIATIONS.keys(), wrong


def test_a_chain_tells_its_sealers_and_what_the_newest_was_told(suite):
    message, records = next((test["message"], records) for name, test, records in suite if name == "cv_pass_i2_1")
    chain = verify_arc(message.encode(), records)
    assert chain.result.domain == "example.org"
    assert chain.sealers == ("example.org", "example.org")
    assert chain.said.startswith("i=2; ")
    assert "\r" not in chain.said


def test_of_a_chain_only_what_counts_is_asked_for(suite):
    message, records = next((test["message"], records) for name, test, records in suite if name == "cv_pass_i2_1")
    asked = []

    def away(name, kind):
        asked.append((name, kind))
        raise Unreachable

    assert verify_arc(message.encode(), away).result.verdict == "temperror"
    assert len(asked) == 1
    asked.clear()
    verify_arc(message.encode(), lambda name, kind: asked.append(name) or records(name, kind))
    assert asked == ["dummy._domainkey.example.org"]
    twice = seal(seal(MAIL, "list.example"), "second.example", "pass", 2)
    asked.clear()
    verify_arc(twice, lambda name, kind: asked.append(name) or keys_of("list.example", "second.example")(name, kind))
    assert asked == ["s._domainkey.second.example", "s._domainkey.list.example"]


def seal(mail, domain="example.com", cv="none", i=1, **ams):
    """Return `mail` with a set of a chain in front."""
    told = f"ARC-Authentication-Results: i={i}; {domain}; spf=pass\r\n".encode()
    mail = told + sign(mail, name=b"ARC-Message-Signature", first=f"i={i}; ", **({"d": domain} | ams))
    head = fields_of(mail)
    # A seal signs the fields of the chain alone, in the order of their places.
    order = {b"arc-authentication-results": 0, b"arc-message-signature": 1, b"arc-seal": 2}
    chain = [each for each in head if each[0].lower() in order]
    chain.sort(key=lambda each: (int(re.search(rb"i=(\d+)", each[1])[1]), order[each[0].lower()]))
    value = f" i={i}; cv={cv}; a=rsa-sha256; d={domain}; s=s; b=".encode()
    digest = hashlib.sha256()
    for name, text in Relaxed.canonicalize_headers(chain):
        digest.update(name + b":" + text)
    digest.update(b"arc-seal:" + value.strip())
    return b"ARC-Seal:" + value + base64.b64encode(_rsa(key(), digest)) + b"\r\n" + mail


def keys_of(*domains):
    found = Zone()
    for domain in domains:
        found.add(f"s._domainkey.{domain}", "TXT", record(key(), "; t=s"))
    return found


def test_a_chain_of_our_making_holds_and_breaks():
    once = seal(MAIL, "list.example")
    assert verify_arc(once, keys_of("list.example")) == Chain(Result("arc", "pass", "list.example"), ("list.example",), "i=1; list.example; spf=pass")  # fmt: skip
    twice = seal(once, "second.example", "pass", 2)
    lookup = keys_of("list.example", "second.example")
    assert verify_arc(twice, lookup).sealers == ("second.example", "list.example")
    assert verify_arc(twice, lookup).result.verdict == "pass"
    for changed in (twice.replace(b"Ann", b"Eve"), twice.replace(b"Hello", b"Howdy"), twice.replace(b"spf=pass", b"spf=fail"), b"From: eve@evil.example\r\n" + twice, b"Subject: other\r\n" + twice, b"Content-Type: text/html\r\nContent-Type: text/html\r\n" + twice):  # fmt: skip
        assert verify_arc(changed, lookup).result.verdict == "fail"
    assert verify_arc(twice, keys_of("second.example")).result.verdict == "fail"
    assert verify_arc(seal(once, "second.example", "fail", 2), lookup).result.verdict == "none"
    assert verify_arc(seal(once, "second.example", "none", 2), lookup).result.verdict == "fail"


@pytest.mark.parametrize("ams", [{"more": "l=5; "}, {"h": "to:subject"}, {"a": "rsa-sha1"}, {"d": "example.com(.evil.example"}, {"more": "n= i=2; "}, {"more": "xi=2; "}, {"s": "a b"}])  # fmt: skip
def test_a_chain_is_as_strict_as_a_signature(ams):
    chain = verify_arc(seal(MAIL, "list.example", **ams), keys_of("list.example"))
    assert chain.result.verdict == ("pass" if ams.get("more") in {"n= i=2; ", "xi=2; "} else "fail")


@pytest.mark.parametrize("first", ["xi=2; i=1; ", "n=i=2; i=1; ", "i=1; i=1; ", "i=01; ", "i=1234; ", "i=; ", "i=a; ", "i=0; ", ""])  # fmt: skip
def test_a_place_in_the_chain_has_one_reading(first):
    mail = seal(MAIL, "list.example").replace(b"ARC-Message-Signature: i=1; ", b"ARC-Message-Signature: " + first.encode())  # fmt: skip
    assert verify_arc(mail, keys_of("list.example")).result.verdict == "fail"


# DKIM: what holds


@pytest.mark.parametrize("c", ["relaxed/relaxed", "relaxed/simple", "simple/relaxed", "simple/simple", "relaxed", "simple"])  # fmt: skip
@pytest.mark.parametrize("made", [("rsa", 1024), ("rsa", 2048), ("ed25519", 0)])
def test_what_is_signed_holds(made, c):
    private = key(*made)
    result = only(sign(MAIL, private, c=c), zone(private))
    assert (result.verdict, result.domain) == ("pass", "example.com"), result
    assert verdicts(sign(MAIL, private, c=c).replace(b"\r\n", b"\n"), zone(private)) == ["pass"]
    for changed in (b"Ann", b"folded", b"there", b"bob"):
        assert verdicts(sign(MAIL, private, c=c).replace(changed, b"other"), zone(private)) == ["fail"]


@pytest.mark.parametrize("c", [(b"relaxed", b"relaxed"), (b"relaxed", b"simple"), (b"simple", b"relaxed"), (b"simple", b"simple")])  # fmt: skip
def test_what_dkimpy_signs_holds(monkeypatch, c):
    monkeypatch.setattr(dkim, "parse_pem_private_key", lambda private: private)  # sign.py took over the arithmetic
    signed = dkim.DKIM(MAIL).sign(b"s", b"example.com", key(), canonicalize=c) + MAIL
    assert verdicts(signed) == ["pass"]


@pytest.mark.parametrize("made", [("rsa", 2048), ("ed25519", 0)])
def test_what_we_sign_holds(made):
    head, _, body = MAIL.partition(b"\r\n\r\n")
    signed = sign_ours([Key("s", "example.com", key(*made))], head + b"\r\n", simple_body_hash(body), time.time_ns() // 10**6)  # fmt: skip
    assert verdicts(signed + b"\r\n" + body, zone(key(*made))) == ["pass"]
    assert verdicts(b"Reply-To: eve@evil.example\r\n" + signed + b"\r\n" + body, zone(key(*made))) != ["pass"]


@pytest.mark.parametrize("mail", [b"From: a@example.com\r\n\r\n", b"From: a@example.com\r\n\r\nx", b"From: a@example.com\r\n\r\n\r\n\r\n", b"From: a@example.com\r\n\r\n \t\r\n", b"From: a@example.com\r\n\r\na\rb\x00c\xff\r\n"])  # fmt: skip
@pytest.mark.parametrize("c", ["relaxed/relaxed", "simple/simple"])
def test_odd_bodies_hold(mail, c):
    assert verdicts(sign(mail, c=c, h="from")) == ["pass"]


def test_a_header_without_a_body_holds():
    signed = sign(b"From: a@example.com\r\n\r\n", h="from")
    assert verdicts(signed[:-2]) == ["pass"]
    assert verdicts(signed[:-4]) == ["pass"]


@pytest.mark.parametrize(
    "tags",
    [{"h": "From : To:\r\n\tSubject"}, {"h": "from:from:to:to:subject:subject:reply-to"}, {"d": "EXAMPLE.com"}, {"i": "@mail.example.com"}, {"i": "ann@example.com"}, {"more": "x=99999999999; "}, {"more": "t=1; "}, {"q": "dns/txt"}, {"more": "z=From:x|To:y; "}, {"more": "unknown=1; "}, {"s": "s", "more": "\r\n\t"}],
)  # fmt: skip
def test_ways_to_sign(tags):
    result = only(sign(**tags))
    assert (result.verdict, result.domain) == ("pass", "example.com"), result


@pytest.mark.parametrize("tags", ["; t=y", "; t=y:s", "; s=email", "; s=*", "; s=other : email", "; h=sha256", "; h=sha1 : sha256", "; n=a note;", " ; junk ; "])  # fmt: skip
def test_keys_that_count(tags):
    assert verdicts(sign(), zone(tags=tags)) == ["pass"]


def test_a_key_may_be_written_in_strings_and_without_a_version():
    text = record(key()).removeprefix("v=DKIM1; k=rsa; ")
    assert verdicts(sign(), Zone({"S._domainkey.example.com.": [{"TXT": [text[:90], text[90:]]}]})) == ["pass"]


# DKIM: what does not


@pytest.mark.parametrize(
    ("tags", "verdict"),
    [
        ({"a": "rsa-sha1"}, "policy"),
        ({"a": "ed25519-sha256"}, "permerror"),
        ({"a": "none"}, "fail"),
        ({"more": "l=5; "}, "policy"),
        ({"more": "l=999999; "}, "policy"),
        ({"h": "to:subject"}, "permerror"),
        ({"h": ""}, "permerror"),
        ({"h": "fromage:xfrom"}, "permerror"),
        ({"h": None}, "fail"),
        ({"i": "@example.org"}, "fail"),
        ({"i": "@evilexample.com"}, "fail"),
        ({"i": "@com"}, "fail"),
        ({"i": "example.com"}, "permerror"),
        ({"more": "x=1; "}, "fail"),
        ({"more": "t=99999999999; "}, "fail"),
        ({"more": "t=2000000; x=1000000; "}, "fail"),
        ({"more": "t=" + "9" * 5_000 + "; "}, "permerror"),
        ({"first": "v=2; "}, "fail"),
        ({"first": ""}, "fail"),
        ({"more": "d=example.com; "}, "permerror"),
        ({"more": "d=evil.example; "}, "permerror"),
        ({"more": "junk; "}, "permerror"),
        ({"more": "q=dns/other; "}, "fail"),
        ({"more": "c=x/y; "}, "permerror"),
        ({"bh": "AAAA"}, "fail"),
        ({"bh": "A"}, "fail"),
        ({"bh": "!!"}, "permerror"),
        ({"h": ":".join(["from"] * 201)}, "permerror"),
    ],
)
def test_signatures_that_do_not_count(tags, verdict):
    result = only(sign(**tags))
    assert result.verdict == verdict, result


@pytest.mark.parametrize(
    "domain",
    ["", "example", "com", "example.com.", ".example.com", "example..com", "legitimate.com(.attacker.com", "example.com\x00.evil.com", '"example.com"', "'example.com'", "exam ple.com", "example.com .", "example.\r\n\tcom", "<example.com>", "a@example.com", "example.com,evil.com", "example.com\\.evil.com", "exa_mple.com", "münchen.de", "example.com/", "*.com", "-a.com", "a" * 64 + ".com", ".".join(["a" * 60] * 5)],
)  # fmt: skip
def test_a_domain_that_is_none(domain):
    """Whatever the DNS would say: the zone answers every question with our key."""
    results = verify_dkim(sign(d=domain), lambda _name, _kind: [record(key())])
    if domain in {"example", "com"}:  # names, though nobody's; DMARC asks whether they speak for the author
        assert [each.domain for each in results] == [domain]
    elif "\x00" in domain:
        assert results == []
    else:
        assert [(each.verdict, each.domain) for each in results] == [("permerror", "")]


@pytest.mark.parametrize("selector", ["", ".", "a..b", "a b", "a\\", "a\x00b", "s._domainkey.evil.example.", 'a"', "*", "é", "a" * 64, ".".join("a" * 30), "a\r\n\tb", "(a)"])  # fmt: skip
def test_a_selector_that_is_none(selector):
    assert "pass" not in verdicts(sign(s=selector), lambda _name, _kind: [record(key())])


def test_a_selector_cannot_leave_its_domain():
    asked = []
    only(sign(s="s._domainkey.evil.example"), lambda name, _kind: asked.append(name) or [])
    assert asked == ["s._domainkey.evil.example._domainkey.example.com"]


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("v=DKIM1; k=rsa; p=", "permerror"),
        ("v=DKIM1; k=rsa", "permerror"),
        ("", "permerror"),
        ("v=spf1 -all", "permerror"),
        ("v=DKIM1; p=AAAA", "permerror"),
        ("v=DKIM1; p=!!!!", "permerror"),
        ("v=DKIM1; p=é", "permerror"),
        ("v=DKIM2; {p}", "permerror"),
        ("k=ed25519; {p}", "permerror"),
        ("k=dsa; {p}", "permerror"),
        ("h=sha1; {p}", "permerror"),
        ("s=tlsrpt; {p}", "permerror"),
        ("x" * 1_000_000, "permerror"),
        (";" * 1_000_000 + "{p}", "permerror"),
    ],
)
def test_keys_that_do_not_count(text, verdict):
    text = text.replace("{p}", record(key()).partition("k=rsa; ")[2])
    assert verdicts(sign(), Zone().add("s._domainkey.example.com", "TXT", text)) == [verdict]


def test_no_key_is_no_pass():
    assert verdicts(sign(), Zone()) == ["permerror"]


@pytest.mark.parametrize(("bits", "verdict"), [(512, "policy"), (768, "policy"), (1023, "policy"), (16384, "policy")])
def test_a_key_too_short_or_too_long(bits, verdict):
    public = rsa.RSAPublicNumbers(65537, (1 << (bits - 1)) | 1).public_key()
    octets = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    text = f"v=DKIM1; p={base64.b64encode(octets).decode()}"
    assert verdicts(sign(), Zone().add("s._domainkey.example.com", "TXT", text)) == [verdict]


def test_another_key_fails():
    assert verdicts(sign(), zone(key("rsa", 1024))) == ["fail"]


def test_a_key_for_the_domain_alone_signs_for_no_subdomain():
    assert verdicts(sign(i="@mail.example.com"), zone(tags="; t=s")) == ["permerror"]
    assert verdicts(sign(i="@EXAMPLE.com"), zone(tags="; t=y:s")) == ["pass"]
    assert verdicts(sign(), zone(tags="; t=s")) == ["pass"]


def test_a_dns_that_is_away_is_told():
    lookup = Zone.read("s._domainkey.example.com TIMEOUT")
    result = only(sign(), lookup)
    assert (result.verdict, result.domain) == ("temperror", "example.com")
    assert verdicts(sign(sign(), d="example.org"), Zone.read("s._domainkey.example.org TIMEOUT").add("s._domainkey.example.com", "TXT", record(key()))) == ["temperror", "pass"]  # fmt: skip


def test_ten_signatures_are_looked_at():
    mail = MAIL
    for n in range(12):
        mail = sign(mail, d=f"d{n}.example.com")
    asked = []
    results = verify_dkim(mail, lambda name, _kind: asked.append(name) or [record(key())])
    assert [each.verdict for each in results] == ["pass"] * 10 + ["policy"]
    assert [each.domain for each in results][:2] == ["d11.example.com", "d10.example.com"]
    assert len(asked) == 10


# What is read is what is signed


@pytest.mark.parametrize(
    "front",
    ["From: eve@evil.example", "FROM: eve@evil.example", "From : eve@evil.example", "From\t: eve@evil.example", "From:\r\n eve@evil.example", "Subject: other", "Reply-To: a@b.example\r\nReply-To: c@d.example", "Content-Type: text/html\r\nContent-Type: text/plain", "To: other@example.org", "X: a\r\nFrom junk\r\nFrom: eve@evil.example", "From junk\r\nFrom: eve@evil.example", ">From junk: x\r\n y", "X\x00: y", "X: \x00", "X: a\rFrom: eve@evil.example", "\rX: y", " X: y", "no colon", ": no name", "X" * 77 + ": y", "X: " + "y" * 70_000, "Fröm: x"],
)  # fmt: skip
def test_nothing_can_be_put_in_front(front):
    signed = front.encode() + b"\r\n" + sign()
    assert "pass" not in verdicts(signed)
    assert verify_arc(front.encode() + b"\r\n" + seal(MAIL), keys_of("example.com")).result.verdict != "pass"


@pytest.mark.parametrize("front", ["X-Other: y", "Received: from x", "From MAILER-DAEMON Thu Jan  1 00:00:00 2024", ">From ann Thu Jan  1 00:00:00 2024", "X-8bit: é", "Dkim-Signature: junk", "X: a\r\n \r\n\tb"])  # fmt: skip
def test_what_may_be_put_in_front(front):
    assert "pass" in verdicts(front.encode() + b"\r\n" + sign())


@pytest.mark.parametrize("line", ["From: eve@evil.example", "From junk", "", " ", "\r", "\n", "\x00", "X: y\r"])
def test_nothing_can_be_put_between(line):
    signed = sign()
    at = signed.index(b"From: Ann")
    changed = signed[:at] + line.encode() + b"\r\n" + signed[at:]
    assert "pass" not in verdicts(changed) or split_mail(changed)[0].all("from") == ["Ann <ann@example.com>"]


PUT = [b"From: eve@evil.example\r\n", b"From : eve@evil.example\r\n", b"From eve\r\n", b">From eve\r\n", b"\r\n", b"\n", b"\r", b"\r\r\n", b" ", b"\t\r\n", b"\x00", b":", b"Subject: other\r\n", b"X: y\r\n", b"X", b"\xe9", b"\x0b", b"\x0c", b"\x85", b"From\x00: eve@evil.example\r\n"]  # fmt: skip


@settings(deadline=None, max_examples=600)
@given(st.lists(st.tuples(st.integers(0, len(MAIL) + 500), st.sampled_from(PUT)), min_size=1, max_size=4), st.sampled_from(["relaxed/relaxed", "simple/simple"]), st.booleans())  # fmt: skip
def test_what_passes_is_what_was_signed(puts, c, bare):
    changed = sign(c=c)
    for at, octets in puts:
        changed = changed[:at] + octets + changed[at:]
    if bare:
        changed = changed.replace(b"\r\n", b"\n")
    if "pass" in verdicts(changed):
        header, body = split_mail(changed)
        for name, value in [("from", "Ann <ann@example.com>"), ("to", "bob@example.net")]:
            # The relaxed form counts a run of blanks as one (RFC 6376 §3.4.2).
            assert [" ".join(each.split()) for each in header.all(name)] == [value]
        assert " ".join(header.first("subject").split()) == "An offer folded"
        assert Relaxed.canonicalize_body(re.sub(rb"\r?\n", b"\r\n", body)) == Relaxed.canonicalize_body(MAIL.partition(b"\r\n\r\n")[2])  # fmt: skip


# What is hostile is soon done with


def hostile():
    small = sign()
    yield "blanks in the body", sign(MAIL + b" " * 1_000_000)
    yield "blanks and an end", sign(MAIL + (b" " * 99_999 + b"x") * 10)
    yield "empty lines", sign(MAIL + b"\r\n" * 500_000)
    yield "carriage returns", sign(MAIL + b"\r" * 1_000_000)
    yield "bare line feeds", sign(MAIL) + b"\n" * 1_000_000
    yield "no line end", b"a" * 1_000_000
    yield "only line ends", b"\r\n" * 500_000
    yield "only colons", b":" * 1_000_000
    yield "short fields", b"a:\r\n" * 250_000
    yield "folds", b"DKIM-Signature: a\r\n" + b" \r\n" * 80_000 + small
    for filling in (b" ", b";", b"\r\n ", b"b =", b"\t", b"=", b"b=A ", b" ;b", b"h=a:", b"a", b"A A\r\n ", b"i=1;"):
        for size in (8_000, 64 * 1024, 250 * 1024):
            filled = (filling * size)[:size].rstrip() or b"x"
            for name in (b"DKIM-Signature", b"ARC-Message-Signature", b"ARC-Seal", b"ARC-Authentication-Results"):
                yield f"{name!r} of {size} {filling!r}", name + b": " + filled + b"\r\n" + small
            yield f"a signature with {size} {filling!r}", small.replace(b"; b=", b"; n=" + filled + b"; b=", 1)
            yield f"a signature that begins with {size} {filling!r}", small.replace(b"v=1", filled + b"; v=1", 1)
            yield f"h= with {size} {filling!r}", small.replace(b"h=from", b"h=from:" + filled, 1)
            yield f"b= with {size} {filling!r}", small.replace(b"; b=", b"; b=" + filled, 1)
            yield f"d= with {size} {filling!r}", small.replace(b"d=", b"d=" + filled, 1)


def test_hostile_mails_are_soon_done_with():
    lookup = zone()
    for name, mail in hostile():
        assert yards(lambda mail=mail: (verify_dkim(mail, lookup), verify_arc(mail, lookup)), 60) < 60, name


def widely_signed(fields: int) -> bytes:
    mail = b"".join(b"X%d: y\r\n" % n for n in range(fields)) + MAIL
    wide = H + ":" + ":".join(f"n{n}" for n in range(190))
    for n in range(10):
        mail = sign(mail, h=wide, d=f"d{n}.example.com")
    return mail


def test_ten_wide_signatures_over_a_thousand_fields_are_soon_done_with():
    few, many = widely_signed(225), widely_signed(900)

    def lookup(_name, _kind):
        return [record(key())]

    assert verdicts(many, lookup) == ["pass"] * 10
    assert yards(lambda: verdicts(many, lookup), 50) < 50
    assert calls(lambda: verdicts(many, lookup)) <= 5 * calls(lambda: verdicts(few, lookup))


def test_a_chain_of_fifty_is_soon_done_with():
    mail, sealed = MAIL, {}
    for n in range(1, 52):
        mail = seal(mail, f"d{n}.example", "pass" if n > 1 else "none", n)
        sealed[n] = mail

    def verify(count):
        return verify_arc(sealed[count], lambda _name, _kind: [record(key())])

    chain = verify(50)
    assert (chain.result.verdict, len(chain.sealers)) == ("pass", 50)
    assert verify(51).result.verdict == "fail"
    assert yards(lambda: verify(50), 50) < 50
    assert calls(lambda: verify(48)) <= 8 * calls(lambda: verify(12))  # each seal signs those before it


@pytest.mark.parametrize("mail", [b"", b"\r\n", b"\r\n\r\n", b"\n", b"x", b"From", b"\x00", b"DKIM-Signature:", b"DKIM-Signature:\r\n", b" DKIM-Signature: x\r\n\r\n", b"\r\nDKIM-Signature: x\r\n\r\n", b"From x\r\n\r\n", b"ARC-Seal:", b"ARC-Seal: i=1\r\nARC-Message-Signature: i=1\r\nARC-Authentication-Results: i=1;\r\n\r\n"])  # fmt: skip
def test_stumps_prove_nothing(mail):
    assert "pass" not in verdicts(mail)
    assert verify_arc(mail, zone()).result.verdict != "pass"


TAGS = st.sampled_from([b"v=1", b"a=rsa-sha256", b"b=AAAA", b"bh=AAAA", b"d=example.com", b"h=from", b"s=s", b"i=1", b"cv=none", b"cv=pass", b"i=@example.com", b"x=1", b"t=a", b"c=/", b"=", b"q", b"l=0"])  # fmt: skip
NAMES = st.sampled_from([b"DKIM-Signature", b"ARC-Seal", b"ARC-Message-Signature", b"ARC-Authentication-Results", b"From", b"X"])  # fmt: skip
FIELDS = st.builds(lambda name, tags, octets: name + b": " + b"; ".join(tags) + octets + b"\r\n", NAMES, st.lists(TAGS, max_size=9), st.binary(max_size=9))  # fmt: skip


@settings(deadline=None, max_examples=600)
@given(st.lists(FIELDS, max_size=8).map(b"".join) | st.binary(), st.binary(max_size=20))
def test_nothing_raises_and_nothing_passes(head, body):
    for mail in (head + b"\r\n" + body, head + body, head + MAIL):
        assert "pass" not in verdicts(mail)
        assert verify_arc(mail, zone()).result.verdict != "pass"
        verdicts(mail, Zone.read("s._domainkey.example.com TIMEOUT"))
