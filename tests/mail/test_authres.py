import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.mail.authres import FIELD_MAX, Result, is_by, read_arc_results, trusted_results
from gateway.mail.header import split_mail
from tests.kit.work import calls, yards

US = "mx.example.net"
FOREIGN = "a foreign Authentication-Results field bears the name of our server"
RECEIVED = "Received: from a by b; Mon, 1 Jan 2024 00:00:00 +0000"


def said(*lines):
    header, _ = split_mail(("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "surrogatepass"))
    return trusted_results(header, US)


def ar(results, by=US):
    return f"Authentication-Results: {by}; {results}"


PASS = "dmarc=pass header.from=example.com"


def test_what_our_server_found_is_read():
    results, defects = said(
        RECEIVED,
        ar(
            'spf=pass (ok) smtp.mailfrom=bounce@news.example.com; dkim=fail reason="bad; dkim=pass" header.d=Example.COM\r\n header.s=s1; dmarc=pass (p=reject) header.from=example.com'
        ),
        "From: a@example.com",
    )
    assert not defects
    assert [(each.method, each.verdict, each.domain) for each in results] == [
        ("spf", "pass", "news.example.com"),
        ("dkim", "fail", "example.com"),
        ("dmarc", "pass", "example.com"),
    ]


@pytest.mark.parametrize(
    ("written", "method", "verdict", "domain"),
    [
        ("spf=pass smtp.mailfrom=example.com", "spf", "pass", "example.com"),
        ("spf=pass smtp.mailfrom=@example.com", "spf", "pass", "example.com"),
        ("spf=pass smtp.mailfrom=a@example.com", "spf", "pass", "example.com"),
        ('spf=pass smtp.mailfrom="<a@example.com>"', "spf", "pass", "example.com"),
        ('spf=pass smtp.mailfrom="a@victim.example"@example.com', "spf", "pass", "example.com"),
        ('spf=pass smtp.mailfrom="x; dkim=pass header.d=victim.example"@example.com', "spf", "pass", "example.com"),
        ("spf=pass smtp.helo=example.com", "spf", "pass", ""),
        ("spf=pass smtp.mailfrom=", "spf", "pass", ""),
        ("spf=pass smtp.mailfrom=(example.com)", "spf", "pass", ""),
        ("spf=softfail smtp.mailfrom=example.com", "spf", "softfail", "example.com"),
        ("spf=hardfail smtp.mailfrom=example.com", "spf", "fail", "example.com"),
        ("spf=TempError smtp.mailfrom=example.com", "spf", "temperror", "example.com"),
        ("SPF=PASS SMTP.MailFrom=EXAMPLE.com", "spf", "pass", "example.com"),
        ("spf/1=pass smtp.mailfrom=example.com", "spf", "pass", "example.com"),
        ("dkim=pass header.d=example.com", "dkim", "pass", "example.com"),
        ("dkim=pass header.i=@sub.example.com", "dkim", "pass", "sub.example.com"),
        ("dkim=pass header.i=who@example.com", "dkim", "pass", "example.com"),
        ("dkim=pass header.i=@sub.example.com header.d=example.com", "dkim", "pass", "example.com"),
        ("dkim=pass header.s=example.com", "dkim", "pass", ""),
        ("dkim=pass header.from=example.com", "dkim", "pass", ""),
        ("dkim=pass policy.d=example.com", "dkim", "pass", ""),
        ("dkim=pass header.d=exa_mple.com", "dkim", "pass", ""),
        ("dkim=pass header.d=example.com.", "dkim", "pass", ""),
        ('dkim=pass header.d="example.com\\(.evil.example"', "dkim", "pass", ""),
        ("dmarc=pass header.from=example.com", "dmarc", "pass", "example.com"),
        ("dmarc=pass action=none header.from=example.com", "dmarc", "pass", "example.com"),
        ("dmarc=bestguesspass header.from=example.com; dmarc=none header.from=example.com", "dmarc", "none", "example.com"),
        ("iprev=pass; auth=pass smtp.auth=x; x=y; dkim=policy header.d=example.com", "dkim", "policy", "example.com"),
    ],
)  # fmt: skip
def test_methods_and_their_domains(written, method, verdict, domain):
    assert said(ar(written)) == ([Result(method, verdict, domain, "said by the trusted server")], [])


@pytest.mark.parametrize("by", [US, US.upper(), f"{US} 1", f"{US} (our own) 1", f"{US} ", f"\t{US}"])
def test_ways_to_write_our_name(by):
    assert said(ar(PASS, by))[0]


@pytest.mark.parametrize(
    "by",
    ["", "mx.example.org", f"x{US}", f"{US}.evil.example", f"{US}x", f"evil.example {US}", f"(c) {US}", f"(evil) {US} 1", f'"{US}"', f"{US}(c)", f"{US}\u200b", f"{US} 2", f"{US} 1 2", f"evil.example;{US}"],
)  # fmt: skip
def test_ways_not_to_be_us(by):
    assert said(ar(PASS, by))[0] == []


def test_only_the_topmost_field_counts():
    fail = ar("dmarc=fail header.from=example.com")
    for lines in ([fail, ar(PASS)], [fail, RECEIVED, ar(PASS)], [fail, fail, ar(PASS)]):
        results, defects = said(*lines)
        assert [each.verdict for each in results] == ["fail"]
        assert defects == [FOREIGN]


def test_a_field_of_ours_under_a_foreign_one_is_foreign():
    assert said(ar(PASS, "evil.example"), ar(PASS)) == ([], [FOREIGN])


def test_a_foreign_field_under_ours_is_only_that():
    results, defects = said(ar("spf=none"), ar(PASS, "evil.example"))
    assert [each.verdict for each in results] == ["none"]
    assert defects == []


def test_what_stands_below_the_second_received_was_there_before():
    assert said(RECEIVED, ar(PASS))[0]
    assert said(RECEIVED, RECEIVED, ar(PASS)) == ([], [FOREIGN])


@pytest.mark.parametrize(
    "body",
    [
        "", ";", "none", "; none", PASS + "; none", "none; " + PASS, "dmarc", "dmarc=", "=pass", "dmarc=pass header.from=example.com é",
        "dmarc=pass header.from=example.com )", "(", "(" * 4_000, "((((;))) dmarc=pass", '"', "\x01dmarc=pass",
        "dmarc=pass header.from=" + "a" * FIELD_MAX, PASS + "; x=y" * FIELD_MAX, PASS + " (" + "c" * FIELD_MAX + ")",
    ],
)  # fmt: skip
def test_what_cannot_be_read_says_nothing(body):
    assert said(ar(body)) == ([], [])


@pytest.mark.parametrize("comment", ["(helo x; dkim=pass header.d=victim.example)", "(a \\) ; dkim=pass header.d=victim.example)", "((a) ; dkim=pass header.d=victim.example)"])  # fmt: skip
def test_a_comment_says_nothing(comment):
    results, _ = said(ar(f"spf=fail {comment} smtp.mailfrom=evil.example"))
    assert [(each.method, each.verdict) for each in results] == [("spf", "fail")]


@pytest.mark.parametrize("octet", ["é", "\\", "\x01", '"'])
def test_nothing_gets_out_of_a_broken_comment(octet):
    results, _ = said(ar(f"spf=fail (helo {octet} ; dkim=pass header.d=victim.example) smtp.mailfrom=evil.example"))
    assert "victim.example" not in {each.domain for each in results}


def test_no_name_is_nobodys():
    header, _ = split_mail(f"{ar(PASS, '')}\r\n{ar(PASS)}\r\n\r\n".encode())
    assert trusted_results(header, "") == ([], [])
    assert not is_by("; dmarc=pass", "")


def test_a_result_is_one_line_to_read():
    assert str(Result("spf", "pass", "example.com")) == "spf=pass (example.com)"
    assert str(Result("arc", "none", "", "why")) == "arc=none: why"


@pytest.mark.parametrize(
    ("body", "domains"),
    [
        ("i=1; list.example; dkim=pass header.d=example.com", ["example.com"]),
        (
            " I = 2 ; list.example; spf=pass smtp.mailfrom=a@example.com; dkim=fail header.d=b.example",
            ["example.com", "b.example"],
        ),
        ("i=1; list.example; none", []),
        ("list.example; dkim=pass header.d=example.com", []),
        ("i=1", []),
        ("", []),
        ("i=1; " + "x" * FIELD_MAX, []),
    ],
)
def test_what_a_sealer_was_told(body, domains):
    assert [each.domain for each in read_arc_results(body)] == domains


HOSTILE = {
    "results": "; a=b" * 1_600, "signatures": "; dkim=pass header.d=a.b" * 340, "open": "; " + "(" * 8_000, "nested": "; " + "(" * 900 + ")" * 900,
    "comments": "; spf=pass " + "(a)" * 2_600, "properties": "; spf=pass " + "smtp.a=b " * 880, "quoted": '; spf=pass reason="' + "\\a " * 2_600 + '"',
    "dots": "; spf=pass smtp.a=" + "a." * 4_000, "unknown": "; spf=pass " + "x.y=z " * 1_300, "equals": "; spf=pass " + "= " * 4_000,
    "unclosed": "; spf=pass " + "x.y=( " * 1_300, "quotes": "; spf=pass " + 'smtp.a="x" ' * 700, "long": "; a=b" * 250_000, "blanks": " " * 1_000_000,
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_field_is_soon_done_with(name):
    hostile = HOSTILE[name]
    few, many = (
        split_mail(f"Authentication-Results: {US}{each}\r\n\r\n".encode())[0]
        for each in (hostile[: len(hostile) // 4], hostile)
    )
    assert yards(lambda: trusted_results(many, US), 50) < 50
    assert calls(lambda: trusted_results(many, US)) <= 5 * calls(lambda: trusted_results(few, US)) + 100


def test_a_thousand_fields_are_soon_done_with():
    few, many = (split_mail((f"Authentication-Results: {US}; a=b\r\n" * count).encode())[0] for count in (275, 1_100))
    assert calls(lambda: trusted_results(many, US)) <= 5 * calls(lambda: trusted_results(few, US))
    assert yards(lambda: trusted_results(many, US), 50) < 50


PIECES = [US, ";", "=", "/", "1", " ", "(", ")", '"', "\\", "none", "spf", "dkim", "dmarc", "pass", "fail", "smtp", "header", ".", "mailfrom", "d", "i", "from", "@", "example.com", "reason", "é", "\x00"]  # fmt: skip


@settings(deadline=None, max_examples=500)
@given(st.lists(st.sampled_from(PIECES), max_size=60).map("".join) | st.text())
def test_nothing_raises(body):
    for line in (body, f"{US}; {body}", f"{US}; spf=pass {body}"):
        results, _ = said(f"Authentication-Results: {line}")
        read_arc_results(f"i=1; {line}")
        assert all("@" not in each.domain and " " not in each.domain for each in results)


@pytest.mark.parametrize(
    ("written", "asks"),
    [("dmarc=fail (p=reject dis=none)", "reject"), ("dmarc=fail (p=NONE sp=NONE dis=NONE)", "none"), ("dmarc=fail action=none", "none"),
     ("dmarc=fail", "reject"), ("dmarc=fail policy.dmarc=quarantine", "quarantine")],
)  # fmt: skip
def test_what_the_domain_asks_is_told_of_what_fails(written, asks):
    (result,), _ = said(RECEIVED, ar(f"{written} header.from=example.com"))
    assert result.detail == f"said by the trusted server; it asks: {asks}"
