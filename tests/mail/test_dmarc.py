from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.mail.authres import Result
from gateway.mail.dmarc import evaluate, organizational_domain, read_tags
from gateway.mail.lookup import Unreachable
from tests.kit.work import yards
from tests.kit.zone import Zone

TABLES = {each.stem: yaml.safe_load(each.read_text("utf-8")) for each in sorted((Path(__file__).parent / "dmarc").glob("*.yaml"))}  # fmt: skip


def rows(table, field="why"):
    return pytest.mark.parametrize("row", [pytest.param(row, id=str(row.get(field))) for row in TABLES[table]])


def zone_of(row):
    if "zone" in row:
        return Zone.read(row["zone"])
    zone = Zone.read("\n".join(row.get("exists", [])))
    for name, record in row["records"].items():
        zone.add(f"_dmarc.{name}", "TXT", record)
    return zone


def proof(text):
    said, _, domain = text.partition(" ")
    method, _, verdict = said.partition("=")
    return Result(method, verdict, domain)


def test_there_are_enough_rows():
    assert sum(map(len, TABLES.values())) >= 150
    assert all(len({str(row) for row in table}) == len(table) for table in TABLES.values())


@rows("records", "record")
def test_records(row):
    zone = Zone().add("example.com", "A", "192.0.2.1")
    for record in row["record"] if isinstance(row["record"], list) else [row["record"]]:
        zone.add("_dmarc.example.com", "TXT", record)
    said = evaluate("example.com", [], zone)
    wanted = ("none", "") if row["asks"] == "nothing" else ("fail", row["asks"])
    assert (said.result.verdict, said.policy) == wanted, row.get("why")


@rows("walk", "of")
def test_the_organizational_domain(row):
    zone = zone_of(row)
    assert organizational_domain(row["of"], zone) == row["is"], row.get("why")
    assert len(zone.asked) == row.get("asked", len(zone.asked)) <= 8


@rows("alignment")
def test_alignment(row):
    said = evaluate(row["author"], [proof(each) for each in row["proofs"]], zone_of(row))
    assert (said.result.verdict, [each.domain for each in said.aligned]) == (row["says"], row["aligned"])
    assert said.result.domain == row["author"]


@rows("policy")
def test_policy(row):
    said = evaluate(row["author"], [], zone_of(row))
    wanted = ("none", "") if row["asks"] == "nothing" else ("fail", row["asks"])
    assert (said.result.verdict, said.policy) == wanted


@rows("faults")
def test_faults(row):
    said = evaluate(row["author"], [proof(each) for each in row["proofs"]], zone_of(row))
    assert (said.result.verdict, [each.domain for each in said.aligned]) == (row["says"], row["aligned"])


def test_the_organizational_domain_of_a_dns_that_is_away():
    with pytest.raises(Unreachable):
        organizational_domain("example.com", Zone.read("_dmarc.com TIMEOUT"))


def test_strangers_and_twins_cost_no_lookup():
    zone = Zone.read("_dmarc.example.com TXT v=DMARC1; p=reject")
    strangers = [Result("dkim", "pass", f"s{n}.evil.org") for n in range(10)]
    assert evaluate("example.com", strangers, zone).result.verdict == "fail"
    assert zone.asked == [("_dmarc.example.com", "TXT")]


def test_what_did_not_answer_is_not_asked_again():
    zone = Zone.read("_dmarc.example.com TXT v=DMARC1; p=reject\n_dmarc.com TIMEOUT")
    said = evaluate("example.com", [Result("dkim", "pass", f"s{n}.example.com") for n in range(10)], zone)
    assert said.result.verdict == "temperror"
    assert zone.asked == [("_dmarc.example.com", "TXT"), ("_dmarc.com", "TXT")]


def test_ten_long_names_cost_few_lookups():
    zone = Zone.read("_dmarc.example.com TXT v=DMARC1; p=reject")
    tail = ".".join("abcdefghijklm") + ".example.com"
    evaluate("b." + tail, [Result("dkim", "pass", f"s{n}.{tail}") for n in range(10)], zone)
    assert len(zone.asked) <= 8 + 10
    assert len(set(zone.asked)) == len(zone.asked)


@pytest.mark.parametrize("record", [b"v=DMARC1;" + b";" * 1_000_000, b"v=DMARC1; p=reject; rua=" + b"mailto:a@b," * 100_000, b"v=" + b" " * 1_000_000 + b"DMARC1", b"v=DMARC1; " + b"a=b;" * 250_000, b"v=DMARC1; p=x; rua=" + b"a" * 1_000_000])  # fmt: skip
def test_a_hostile_record_is_soon_done_with(record):
    zone = Zone().add("_dmarc.example.com", "TXT", record)
    assert yards(lambda: evaluate("example.com", [], zone), 25) < 25
    assert yards(lambda: evaluate("a" * 1_000_000, [], zone), 25) < 25
    assert yards(lambda: evaluate("a." * 500_000, [Result("dkim", "pass", "a." * 500_000)], zone), 25) < 25


def test_tags_of_any_octets():
    assert read_tags(b"v=DMARC1; a=\xff; \xff=b;;=") == {"a": "\ufffd", "\ufffd": "b", "": ""}
    assert read_tags(b"\xff") is None


NAMES = st.lists(st.sampled_from(["a", "b", "example", "com", "", "é", "\x00", "_dmarc"]), max_size=14).map(".".join)
TEXTS = st.lists(st.sampled_from(["v=DMARC1", ";", "p=reject", "sp=", "np=none", "psd=y", "psd=n", "t=y", "adkim=s", "rua=mailto:a@b", " "]), max_size=8).map("".join)  # fmt: skip
PROOFS = st.builds(Result, st.sampled_from(["spf", "dkim"]), st.sampled_from(["pass", "fail", "temperror"]), NAMES)


@settings(deadline=None, max_examples=500)
@given(NAMES, st.lists(PROOFS, max_size=4), st.dictionaries(NAMES, TEXTS | st.just("TIMEOUT"), max_size=6))
def test_nothing_raises_and_only_who_passed_speaks(author, proofs, records):
    zone = Zone()
    for name, record in records.items():
        zone.add(f"_dmarc.{name}", "TXT", "v=DMARC1;" + record if record != "TIMEOUT" else record)
    said = evaluate(author, proofs, zone)
    assert all(each in proofs and each.verdict == "pass" for each in said.aligned)
    assert said.result.verdict != "pass" or said.aligned
    for each in said.aligned:
        kin = each.domain.endswith("." + author) or author.endswith("." + each.domain) or each.domain.split(".")[-1:] == author.split(".")[-1:]  # fmt: skip
        assert each.domain == author or kin
