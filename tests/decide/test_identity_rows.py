"""Rows A04 to A08 and A18 of the catalogue: who a mail says it is from, and what that is worth."""
# ruff: noqa: N802 (rows have capital names)

import email
import email.policy
import email.utils
import random
from pathlib import Path

import pytest
import sqlalchemy as sa

from gateway.mail.address import parse_address, parse_mailboxes
from gateway.mail.parse import parse
from gateway.store import tables
from tests.kit.golden import compare
from tests.kit.house import INSIDE, D

GOLDEN = Path(__file__).parent / "golden"
A, B, EVIL = "a@example.com", "b@example.com", "evil@x.example"

# ---- A04: what stands in From, and whose it is; None is nobody's

FROM = {
    "": None,
    "From:": None,
    "From: ": None,
    "From: <>": None,
    "From: a": None,
    "From: @example.com": None,
    "From: a@": None,
    "From: a@example.com": A,
    "From: <a@example.com>": A,
    "from: <A@EXAMPLE.COM>": A,
    "FROM:\r\n <a@example.com>": A,
    "From: A <a@example.com>": A,
    'From: "A, B" <a@example.com>': A,
    "From: a@example.com <a@example.com>": A,
    "From: a@example.com (A)": A,
    "From: (A) a@example.com": A,
    "From: =?utf-8?b?QeWQmw==?= <a@example.com>": A,
    "From: A君 <a@example.com>": A,
    "From: a@example.com\r\nFrom: a@example.com": None,
    "From: a@example.com\r\nFrom: evil@x.example": None,
    "From: a@example.com\r\nfrom: evil@x.example": None,
    "From: a@example.com, evil@x.example": None,
    "From: a@example.com, a@example.com": None,
    "From: a@example.com evil@x.example": None,
    "From: <a@example.com> <evil@x.example>": None,
    "From: <a@example.com>evil@x.example": None,
    "From: evil@x.example <a@example.com>": None,
    "From: <a@example.com": None,
    "From: a@example.com>": None,
    "From: <<a@example.com>>": None,
    "From: friends: a@example.com;": None,
    "From: friends:;": None,
    "From: a@example.com;": None,
    "From : a@example.com": None,
    "From\t: a@example.com": None,
    "From\r\n : a@example.com": None,
    "From: a@example.com@x.example": None,
    'From: "a@example.com"@x.example': None,
    'From: "a"@example.com': None,
    "From: a(b)@example.com": None,
    "From: a@(b)example.com": None,
    "From: a @example.com": None,
    "From: a@ example.com": None,
    "From: a@example.com.": None,
    "From: a@example..com": None,
    "From: .a@example.com": None,
    "From: a.@example.com": None,
    "From: a@[192.0.2.1]": None,
    "From: a@example.com\x00": A,
    "From: a\x00b@example.com": "ab@example.com",
    "From: <@x.example:a@example.com>": None,
    "From: =?utf-8?q?a=40example=2Ecom?= <evil@x.example>": EVIL,
    "From: =?utf-8?q?a=40example=2Ecom?=": None,
    "From: =?utf-8?q?a?=@example.com": None,
    "From: <=?utf-8?q?a=40example=2Ecom?=>": None,
    'From: "a@example.com" <evil@x.example>': EVIL,
    "From: a\\@example.com": None,
    "From: a@example.com\\": None,
    'From: "unfinished <a@example.com>': None,
    "From: (unfinished <a@example.com>": None,
    "Sender: a@example.com": None,
    "Resent-From: a@example.com": None,
    "X-From: a@example.com": None,
    "From: evil@x.example\r\nReply-To: a@example.com": EVIL,
    "From: evil@x.example\r\nSender: a@example.com": EVIL,
    "From: " + "." * 2000: None,
    "From: " + "(" * 500 + ")" * 500 + " a@example.com": A,
}


def rows_of_from():
    return [pytest.param(field, whose, id=repr(field[:60])) for field, whose in FROM.items()]


def test_A04_there_are_40_rows():
    assert len(FROM) >= 40


@pytest.mark.parametrize(("field", "whose"), rows_of_from())
def test_A04_one_well_formed_From_is_an_identity_and_nothing_else_is(field, whose):
    fields = f"{field}\r\n" if field else ""
    mail = parse(f"{fields}To: x@y.example\r\nSubject: s\r\n\r\nhello\r\n".encode())
    assert (mail.author.address.key if mail.author else None) == whose


def test_A04_without_exactly_one_author_a_mail_is_kept_and_commands_nothing(made):
    """Even from a host that may send for the domain, or where everybody is trusted."""
    for n, (field, whose) in enumerate(FROM.items()):
        fields = f"{field}\r\n" if field else ""
        for number, to in enumerate([f"s00001-follow@{D}", f"s00001@{D}", f"quotations@{D}", f"sales@{D}"]):
            octets = f"{fields}To: {to}\r\nMessage-ID: <{n}.{number}@x>\r\n\r\n/note x\r\n".encode()
            became = made.take(octets, to, peer=INSIDE, return_path=A, trusted=bool(number % 2))
            if whose is None:
                assert became in {("held", "no author"), ("held", "not a person")}, (field, to)
    assert {row.author_email for row in made.messages()[1:]} <= {A, ""}
    assert set(made.choices()) <= {"a"}


# ---- A05: another reader must not read another address where we read one

PIECES = (
    "a", "b", "evil", "ceo", "example.com", "x.example", "corp.com", "@", "@", "@", ".", "..", "<", ">", "<", ">", '"', "(", ")", ",", ";",
    ":", "\\", " ", "  ", "\t", "\r\n ", "=?utf-8?q?a=40b?=", "=?utf-8?b?YUBi?=", "a@example.com", "b@x.example", "[127.0.0.1]", "xn--e1aybc",
    "ｅxample.com", "例子.tw", "例", "é", "\u200b", "\u202e", "\x00", "%", "+", "!", "'", "`", "group: ", "undisclosed:;", "@a,@b:", "example。com", "|", "//",
)  # fmt: skip


def generated(count: int, seed: int = 20261124) -> list[str]:
    made = random.Random(seed)
    shapes = (
        lambda: "".join(made.choices(PIECES, k=made.randint(1, 8))),
        lambda: f"{made.choice(PIECES)} <{''.join(made.choices(PIECES, k=made.randint(1, 4)))}>",
        lambda: f'"{"".join(made.choices(PIECES, k=2))}" <a@example.com>{made.choice(PIECES)}',
        lambda: f"{made.choice(PIECES)}a@example.com{made.choice(PIECES)}",
        lambda: f"{made.choice(PIECES)}a{made.choice(PIECES)}@{made.choice(PIECES)}example.com{made.choice(PIECES)}",
    )
    return [made.choice(shapes)() for _ in range(count)]


def others(field: str) -> set[str]:
    """Return the addresses that the standard library's readers find: the old one, the strict one, the new one."""
    flat = " ".join(field.replace("\r\n", "").split())
    found = {email.utils.parseaddr(flat)[1]}
    found |= {address for _, address in email.utils.getaddresses([flat])}
    try:
        read = email.message_from_string(f"From: {flat}\n\n", policy=email.policy.default)["From"]
        found |= {each.addr_spec for each in read.addresses}
    except Exception:  # noqa: BLE001 (F9, F10: it raises what comes)
        found.add("?")
    return {each.lower() for each in found if each}


def test_A05_where_another_reads_another_address_ours_is_no_identity():
    fields = generated(5_000)
    ours = [parse_mailboxes(each.replace("\x00", "")) for each in fields]
    both = [(field, mine[0].address.key) for field, mine in zip(fields, ours, strict=True) if mine and len(mine) == 1]
    assert len(both) > 300, "the generated ones must not all be nonsense"
    odd = []
    for field, mine in both:
        readings = {_ascii(each) for each in others(field.replace("\x00", ""))} - {"", "?"}
        if not readings <= {mine}:
            odd.append((field, mine, sorted(readings)))
    assert odd == []


def _ascii(text: str) -> str:
    """Return another's reading as we write addresses: the domain in A-labels; "" for what is no address at all."""
    address = parse_address(text)
    return address.key if address else text if "@" in text else ""


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a@example.com\u200b", "unseen"), ("a@exa\u00admple.com", "soft hyphen"), ("ａ@example.com", "full width"), ("a@example.com\n", "a line break"),
        ("a@ex ample.com", "a blank"), ("=?utf-8?q?a?=@example.com", "an encoded word"), ("\u202ea@example.com", "bidi"), ("a@xn--.com", "an empty A-label"),
        ("a" * 65 + "@example.com", "too long"), ("a@" + "b" * 64 + ".com", "a label too long"), ("a@example.com\x00.x.example", "NUL"),
    ],
)  # fmt: skip
def test_A05_an_address_is_plain_or_none(text, why):
    address = parse_address(text)
    assert address is None or address.key.isascii(), why
    if address is not None:  # IDNA takes unseen characters out of a domain: then it is the plain domain itself
        assert address.key == A


# ---- A06: names

NAMES = (
    # plain, ours, and somebody else's
    "王小明", "Wang Xiaoming", "ACME Purchasing", "A君", "鄭先生", "賈小姐", "Example Trading", "銷售團隊", "A 君", "鄭 先 生", "鄭先生.", "a君", "Ａ君", "A\u200b君", "A\u00ad君",
    # an address as a name
    "ceo@corp.com", "cheng@example.com", "Cheng <cheng@example.com>", "cheng@example.com>", "chia＠example.com", "=?utf-8?q?cheng=40example=2Ecom?=",
    # encoded words with what does not belong in a name
    "=?utf-8?b?Y2VvQGNvcnAuY29tAA==?=", "=?utf-8?q?ceo=00?=", "=?utf-8?q?line=0Abreak?=", "=?utf-8?b?bGluZQ0KQmNjOiB4QHk=?=", "=?utf-8?q?=1B=5B31m?=",
    "=?utf-8?q?a=00b=07c?=", "=?utf-8?q?=E2=80=AEmoc.proc?=", "=?utf-8?q??=", "=?utf-8?q?=22=3E=3Cscript=3E?=", "=?utf-8?b?QeWQmw==?=",
    # bidi and unseen
    "\u202eeman", "\u202dname\u202c", "\u2066name\u2069", "\u200fname", "\u200ename", "\u061cname", "na\u200bme", "na\u200dme", "\ufeffname", "na\u2060me",
    # letters that look the same
    "Сheng", "Chеng", "Αcme", "ACМE", "аррӏе", "раураl", "Ϲheng", "Wаng", "Ｗａｎｇ", "𝐖𝐚𝐧𝐠", "Ⓦⓐⓝⓖ", "ﬁsher",
    # markup, templates, headers
    "<b>bold</b>", "{{ 7*7 }}", "{% for x in y %}", "%(name)s", "a, b", 'the "best"', "back\\slash", "a;b:c", "[S00001] 確認", "Re: hello",
    # long, and nothing
    "x" * 300, "長" * 300, " ", "...", "\t", "=?bad?q?x?=", "=?utf-8?z?x?=", "O'Neill", "José", "Ⅷ",
)  # fmt: skip


def test_A06_what_readers_see_of_a_name_is_the_reviewed_table(made):
    made.follow("S00001", "carol@x.example")
    lines = []
    for n, name in enumerate(NAMES):
        quoted = name if "=?" in name else '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
        content = (
            f"From: {quoted} <wang@acme.example>\r\nTo: s00001@{D}\r\nMessage-ID: <n{n}@x>\r\n\r\nhello {n} there\r\n"
        )
        became = made.take(content.encode(), f"s00001@{D}", peer="192.0.2.2", return_path="wang@acme.example")
        assert became == ("posted", ""), name
    parsed = [(each.to, each.mail) for each in made.sent() if each.to in ("chia@example.com", "carol@x.example")]
    plain = [(to, mail, mail.get_body(("plain",)).get_content()) for to, mail in parsed]
    for n, name in enumerate(NAMES):
        ours = [each for each in plain if f"hello {n} there" in each[2]]
        seen = {}
        for whose, to in (("inside", "chia@example.com"), ("outside", "carol@x.example")):
            ((mail, text),) = ((mail, text) for each, mail, text in ours if each == to)
            (shown,) = (line for line in text.splitlines() if "wang@acme.example" in line)
            author = mail["From"].addresses[0]
            assert str(author.addr_spec) == f"s00001@{D}"
            seen[whose] = f"{author.display_name[:60]!r}  {shown.strip()[-60:]!r}"
            assert not [char for char in seen[whose] if not char.isprintable()]
        assert seen["inside"].partition("  ")[0] == seen["outside"].partition("  ")[0]
        lines.append(f"{name[:40]!a}\n    inside   {seen['inside']}\n    outside  {seen['outside']}\n")
    assert len(NAMES) >= 60
    compare(GOLDEN / "names.txt", "".join(lines))


def test_A06_a_name_makes_nobody_a_person(made):
    for name in ("A君", "鄭先生", "a", "cheng", "cheng@example.com"):
        author = f'"{name}" <eve@x.example>'
        assert made.write(author, f"s00001-note@{D}", "x", head="") == ("held", "not a person")
    assert [row.author_who for row in made.messages()[1:]] == []


# ---- A07: Reply-To


def test_A07_reply_to_is_nobodys_identity(made):
    head = "Reply-To: a@example.com\nSender: a@example.com"
    assert made.write("eve@x.example", f"s00001@{D}", "x", head=head) == ("held", "stranger")
    assert made.write("eve@x.example", f"s00001-note@{D}", "x", head=head) == ("held", "not a person")
    assert made.write("eve@x.example", f"quotations@{D}", "x", head=head) == ("refused", "not welcome")
    address = made.tagged("S00001", "wang@acme.example")
    assert made.write("eve@x.example", address, "x", head="Reply-To: wang@acme.example") == ("held", "stranger")
    assert made.texts() == []


def test_A07_a_reply_to_elsewhere_neither_makes_a_record_anothers_nor_gets_mail(made):
    head = "Reply-To: victim@acme.example"
    assert made.write("eve@x.example", f"leads@{D}", "hello", head=head) == ("posted", "")
    with made.store.read() as tx:
        row = tx.execute(sa.select(tables.record).order_by(tables.record.c.id.desc()).limit(1)).one()
    assert row.customer["emails"] == ["eve@x.example"]
    reply = f"In-Reply-To: <{made.messages()[-1].message_id}>"
    assert made.write("b@example.com", f"l00001@{D}", "thanks", head=reply) == ("posted", "")
    outside = {each.to for each in made.sent() if not each.to.endswith("@example.com")}
    assert outside == {"eve@x.example"}


# ---- A08: an alias as an address to register with elsewhere

VERIFY = (
    ("no-reply@slack.example", "Slack confirmation code: ABC-123", "Confirm your email address. Your code is ABC-123."),
    ("support@saas.example", "Verify your email", "Click https://saas.example/verify?t=SECRET to verify your address."),
    ("noreply@github.example", "[GitHub] Please verify your device", "Verification code: 123456"),
    ("notifications@zendesk.example", "[Request received]", "Your request (123) has been received. SECRET"),
)  # fmt: skip


@pytest.mark.parametrize(("author", "subject", "text"), VERIFY)
def test_A08_a_mail_of_a_service_to_an_alias_reaches_no_outsider(made, author, subject, text):
    """The customer knows the alias, and registers with it: what the service sends must not come back to them."""
    made.follow("S00001", "customer")
    content = f"From: {author}\r\nTo: s00001@{D}\r\nSubject: {subject}\r\nMessage-ID: <v@s>\r\n\r\n{text}\r\n".encode()
    for sure in ("192.0.2.9", "192.0.2.99"):
        made.zone.add(author.rpartition("@")[2], "TXT", "v=spf1 ip4:192.0.2.9 -all")
        state, _ = made.take(content, f"s00001@{D}", peer=sure, return_path=author)
        assert state in {"held", "done", "posted"}
    outside = [each for each in made.sent() if not each.to.endswith("@example.com")]
    assert outside == []


@pytest.mark.parametrize(("author", "subject", "text"), VERIFY)
def test_A08_a_service_whose_name_was_borrowed_for_a_record_shows_its_mail_to_nobody_outside(
    made, author, subject, text
):
    """Zendesk's hole: a stranger writes as the service, then lets it write, then asks to be copied in."""
    spoofed = made.write(author, f"leads@{D}", "I want chairs", sure=False)
    ref = "L00001" if spoofed[0] == "posted" else "S00001"
    made.zone.add(author.rpartition("@")[2], "TXT", "v=spf1 ip4:192.0.2.9 -all")
    content = (
        f"From: {author}\r\nTo: {ref.lower()}@{D}\r\nSubject: {subject}\r\nMessage-ID: <v@s>\r\n\r\n{text}\r\n".encode()
    )
    made.take(content, f"{ref.lower()}@{D}", peer="192.0.2.9", return_path=author)
    asks = made.write(
        "eve@x.example", f"{ref.lower()}@{D}", "please copy me in", head="Cc: eve2@x.example\nReferences: <v@s>"
    )
    assert asks == ("held", "stranger")
    assert made.write("eve@x.example", f"{ref.lower()}-follow@{D}", "") == ("held", "not a person")
    outside = [
        each
        for each in made.sent()
        if each.to.endswith("@x.example") or (text in each.text and "@example.com" not in each.to)
    ]
    assert outside == []


def test_A08_cc_never_grants_access_unless_one_of_our_own_people_wrote_it(made):
    head = "Cc: eve@x.example"
    assert made.write("wang@acme.example", f"s00001@{D}", "hello", head=head) == ("posted", "")
    assert made.write("a@example.com", f"s00001@{D}", "hello", sure=False, head=head) == ("held", "not authenticated")
    address = made.tagged("S00001", "person:a")
    made.zone.records.pop("_dmarc.example.com")
    assert made.write("a@example.com", address, "by tag", sure=False, head=head) == ("posted", "")
    assert "eve@x.example" not in made.choices()
    assert made.write("eve@x.example", f"s00001@{D}", "show me") == ("held", "stranger")
    assert made.write("a@example.com", f"s00001@{D}", "welcome", head=head) == ("posted", "")
    assert "eve@x.example" in made.choices()


def test_A08_a_stranger_is_answered_nothing(made):
    for to in (f"s00001@{D}", f"leads@{D}", f"quotations@{D}", f"sales@{D}", f"gateway@{D}", f"postmaster@{D}"):
        made.write("eve@x.example", to, "tell me all")
        made.write("eve@x.example", to, "tell me all", sure=False)
    told = [each["Subject"] for each in made.sent() if each.to == "eve@x.example"]
    assert told == ["您的信未被受理"]  # the refusal of an authenticated author, once, which repeats nothing of theirs


# ---- A18: our own fields on a mail that comes in

OURS = {
    "X-Replygate-Record": "S00002", "X-Replygate-Subtype": "note", "X-Replygate-Reason": "salesperson", "X-Replygate-Author": "a",
    "X-Auto-Response-Suppress": "", "List-Id": "<sales.sales.example.com>", "X-Replygate-Internal": "no",
}  # fmt: skip


@pytest.mark.parametrize("name", [name for name in OURS if name.startswith("X-Replygate")])
def test_A18_our_own_field_on_a_mail_that_comes_in_changes_nothing_and_goes_nowhere(made, name):
    made.quotation()
    made.follow("S00001", "customer")
    head = f"{name}: {OURS[name]}\n{name.lower()}: CANARY"
    assert made.write("wang@acme.example", f"s00001@{D}", "hello", head=head) == ("posted", "")
    assert made.write("b@example.com", f"s00001@{D}", "hello back", head=head) == ("posted", "")
    rows = [
        (row.record_id, row.subtype, row.internal, row.author_who)
        for row in made.messages()
        if row.text.startswith("hello")
    ]
    assert rows == [(1, "discussion", False, ""), (1, "discussion", False, "b")]
    for sent in made.sent():
        assert b"CANARY" not in sent.octets
        fields = [field for field in sent.mail.keys() if field.lower() == name.lower()]  # noqa: SIM118 (a mail is no mapping)
        assert len(fields) <= 1
        if sent["X-Replygate-Record"] != "S00002":
            assert sent["X-Replygate-Record"] == "S00001"
