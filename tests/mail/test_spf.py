import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.mail.authres import Result
from gateway.mail.spf import check_host, check_spf
from tests.kit.work import calls, yards
from tests.kit.zone import Zone

DEVIATIONS: dict[str, str] = {}  # name of a test of the suite: why we differ
HOST = "192.0.2.1"


@pytest.fixture(scope="session")
def suite(corpora):
    documents = yaml.safe_load_all((corpora / "auth" / "rfc7208-tests.yml").read_text("utf-8"))
    return [(name, test, Zone(each["zonedata"])) for each in documents for name, test in each["tests"].items()]


def test_P14_the_suite_of_rfc_7208(suite):  # noqa: N802 (named for its row)
    wrong = {}
    for name, test, zone in suite:
        wanted = test["result"] if isinstance(test["result"], list) else [test["result"]]
        result = check_host(test["host"], test["helo"], test["mailfrom"], "", zone)
        if result.verdict not in wanted:
            wrong[name] = f"{result}, not {wanted}"
    assert len(suite) == 203
    assert wrong.keys() == DEVIATIONS.keys(), wrong
    assert len(wrong) <= len(suite) / 100


def spf(record, return_path="a@example.com", ip=HOST, helo="mail.example.com", more=""):
    return check_spf(ip, helo, return_path, Zone.read(f"example.com TXT {record}\n{more}"))


@pytest.mark.parametrize(
    ("record", "verdict"),
    [
        ("v=spf1 ip4:192.0.2.0/24 -all", "pass"),
        ("v=spf1 ip4:192.0.2.0/33 -all", "permerror"),
        ("v=spf1 -all", "fail"),
        ("v=spf1 ~all", "softfail"),
        ("v=spf1 ?all", "neutral"),
        ("v=spf1", "neutral"),
        ("v=spf10 +all", "none"),
        ("no record", "none"),
        ("v=spf1 include:example.com +all", "permerror"),
        ("v=spf1 redirect=example.com", "permerror"),
        ("v=spf1 include:%{i}.%{i}.%{d} +all", "permerror"),
        ("v=spf1 a a a a a a a a a a a +all", "permerror"),
        ("v=spf1 a:b.example a:c.example a:d.example +all", "permerror"),
        ("v=spf1 exists:%{l}%{ +all", "permerror"),
        ("v=spf1 ip4:1.2.3.4/" + "1" * 5_000, "permerror"),
        ("v=spf1 a:away.example +all", "temperror"),
        ("v=spf1 +all exp=away.example", "pass"),
        (r"v=spf1 exists:a\.example ?all", "neutral"),
        ("v=spf1 ip4:192.0.2.1" + " ip4:10.0.0.1" * 800, "permerror"),
    ],
)
def test_records(record, verdict):
    result = spf(record, more="away.example TIMEOUT")
    assert result.verdict == verdict, result
    assert result.domain == "example.com"


def test_no_answer_is_no_verdict():
    assert check_spf(HOST, "h", "a@example.com", Zone({"example.com": ["TIMEOUT"]})).verdict == "temperror"
    assert check_spf(HOST, "h", "a@example.com", Zone()).verdict == "none"


def test_two_records_are_none():
    assert spf("v=spf1 +all", more="example.com TXT v=spf1 -all").verdict == "permerror"


@pytest.mark.parametrize("path", ["", "<>", "a", "@example.com", "a@", '"a@b"@example.com', "a@b@example.com", "a@[192.0.2.1]", "a@example.com\x00", "a@exa mple.com", "a" * 65 + "@example.com", "\ud800@example.com"])  # fmt: skip
def test_a_return_path_that_could_be_nobodys_proves_nothing(path):
    assert spf("v=spf1 +all", path) == Result("spf", "none", "", "no return path that could be somebody's")


def test_the_domain_that_is_asked_is_the_one_the_result_names():
    # A resolver with IDNA 2003 would ask straße.de at strasse.de, which is somebody else's.
    zone = Zone.read("xn--strae-oqa.de TXT v=spf1 -all\nstrasse.de TXT v=spf1 +all\nstraße.de TXT v=spf1 +all")
    result = check_spf(HOST, "h", "a@Straße.DE", zone)
    assert (result.verdict, result.domain) == ("fail", "xn--strae-oqa.de")
    assert {name for name, _ in zone.asked} == {"xn--strae-oqa.de"}


def test_a_strangers_explanation_is_neither_asked_for_nor_shown():
    zone = Zone.read("example.com TXT v=spf1 -all exp=why.example\nwhy.example TXT Call 555 now")
    result = check_spf(HOST, "h", "a@example.com", zone)
    assert result.verdict == "fail"
    assert "555" not in str(result)
    assert ("why.example", "TXT") not in zone.asked


@pytest.mark.parametrize("ip", ["list", "list6", "", "localhost", "1.2.3", "1.2.3.4.5", "999.1.1.1", "::g", "1" * 100_000, "192.0.2.1\n", "0x7f.1"])  # fmt: skip
def test_a_host_without_an_address_is_nobodys(ip):
    assert spf("v=spf1 +all ip4:1.2.3.4 a mx", ip=ip).verdict == "permerror"


@pytest.mark.parametrize("ip", ["2001:db8::1", "2001:db8::1%eth0", "::ffff:192.0.2.1"])
def test_addresses_of_both_kinds(ip):
    assert spf("v=spf1 ip6:2001:db8::/32 ip4:192.0.2.1 -all", ip=ip).verdict == "pass"


def test_a_mail_costs_few_lookups():
    names = "\n".join(f"example.com MX {n} m{n}.example.com" for n in range(10))
    zone = Zone.read("example.com TXT v=spf1" + " mx ptr" * 10 + " -all\n" + names)
    check_spf(HOST, "h", "a@example.com", zone)
    assert len(zone.asked) <= 30


RECORDS = {
    "terms": b"v=spf1 " + b"a " * 30_000,
    "addresses": b"v=spf1 " + b"ip4:10.0.0.1 " * 5_000,
    "macros": b"v=spf1 exists:" + b"%{d}." * 12_000 + b"example.com",
    "labels": b"v=spf1 a:" + b"a." * 30_000 + b"example.com",
    "slashes": b"v=spf1 a" + b"/1" * 30_000,
    "digits": b"v=spf1 a/" + b"1" * 60_000,
    "equals": b"v=spf1 " + b"a=" * 30_000,
    "percents": b"v=spf1 a=" + b"%" * 60_000,
    "modifiers": b"v=spf1 " + b" ".join(b"m%d=%%{l}" % n for n in range(6_000)),
    "one word": b"v=spf1 " + b"a" * 1_000_000,
    "odd octets": b"v=spf1 " + bytes(range(256)) * 200,
}


@pytest.mark.parametrize("name", RECORDS)
@pytest.mark.parametrize("size", [8_000, 1_000_000])
def test_a_hostile_record_is_soon_done_with(name, size):
    zone = Zone().add("example.com", "TXT", RECORDS[name][:size])
    assert yards(lambda: check_spf(HOST, "h" * 1_000_000, "a@example.com", zone), 50) < 50
    assert check_spf(HOST, "h" * 1_000_000, "a@example.com", zone).verdict in {"permerror", "none", "neutral"}


@pytest.mark.parametrize("name", RECORDS)
def test_four_times_the_record_is_four_times_the_work(name):
    few, many = (Zone().add("example.com", "TXT", RECORDS[name][:size]) for size in (2_000, 8_000))
    assert calls(lambda: check_spf(HOST, "h", "a@example.com", many)) <= 5 * calls(
        lambda: check_spf(HOST, "h", "a@example.com", few)
    )


def included(many: int) -> Zone:
    zone = Zone()
    macros = b"%{d}." * many
    for n in range(12):
        zone.add(f"d{n}.example.com", "TXT", b"v=spf1 x=" + macros + b" include:d%d.example.com" % (n + 1))
    return zone.add("example.com", "TXT", b"v=spf1 include:d0.example.com -all")


def test_a_hostile_record_included_ten_times_is_soon_done_with():
    few, many = included(375), included(1_500)
    assert check_spf(HOST, "h", "a@example.com", many).verdict == "permerror"
    assert yards(lambda: check_spf(HOST, "h", "a@example.com", many), 50) < 50
    assert calls(lambda: check_spf(HOST, "h", "a@example.com", many)) <= 5 * calls(
        lambda: check_spf(HOST, "h", "a@example.com", few)
    )


PIECES = ["v=spf1 ", "a", "mx", "ptr", "exists:", "include:", "redirect=", "exp=", "ip4:192.0.2.1", "ip6:::1", "/", "//", "%{", "}", "%%", "%{d}", "%{p}", "%{l1r+-}", "%{S}", ".", "example.com", "-", "~", "+", "all", " ", "\x00", "\n", "é", "0", "99999999999"]  # fmt: skip


@settings(deadline=None, max_examples=300)
@given(st.lists(st.sampled_from(PIECES), max_size=30).map("".join) | st.text(), st.text(max_size=80), st.text(max_size=80), st.sampled_from([HOST, "2001:db8::1"]))  # fmt: skip
def test_nothing_raises(record, helo, sender, ip):
    zone = Zone()
    for name in ("example.com", "d.example.com", ""):
        zone.add(name, "TXT", ("v=spf1 " + record).encode("utf-8", "surrogatepass"))
        zone.add(name, "A", "192.0.2.7").add(name, "MX", (1, record))
    zone.add("1.2.0.192.in-addr.arpa", "PTR", record).add("1.2.0.192.in-addr.arpa", "PTR", "example.com")
    check_spf(ip, helo, sender, zone)
    check_spf(ip, helo, "a@example.com", zone)
    check_host(ip, helo, sender, "", zone)
