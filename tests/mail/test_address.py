import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mail.address import Address, clean_name, find_mailboxes, parse_address, parse_mailboxes

# What stands in a From field, and who that is: (name, address) for each.
WELL_FORMED = [
    ("wang@acme.example", [("", "wang@acme.example")]),
    ("<wang@acme.example>", [("", "wang@acme.example")]),
    ("< wang@acme.example >", [("", "wang@acme.example")]),
    ("Wang <wang@acme.example>", [("Wang", "wang@acme.example")]),
    ("王小明 <wang@acme.example>", [("王小明", "wang@acme.example")]),
    ('"Wang, Ming" <wang@acme.example>', [("Wang, Ming", "wang@acme.example")]),
    ('"W \\"Big\\" M" <wang@acme.example>', [('W "Big" M', "wang@acme.example")]),
    ('"boss@sales.example" <wang@acme.example>', [("boss@sales.example", "wang@acme.example")]),
    ("wang@acme.example <wang@acme.example>", [("wang@acme.example", "wang@acme.example")]),
    ("WANG@acme.example <wang@ACME.example>", [("WANG@acme.example", "wang@acme.example")]),
    ("=?utf-8?q?caf=C3=A9?= <c@acme.example>", [("café", "c@acme.example")]),
    ("=?big5?b?pKQ=?= <c@acme.example>", [("中", "c@acme.example")]),
    ("=?utf-8?q?boss=40sales=2Eexample?= <c@acme.example>", [("boss@sales.example", "c@acme.example")]),
    ("=?utf-8?q?Wang=2C_Ming?= <c@acme.example>", [("Wang, Ming", "c@acme.example")]),
    ("=?utf-8?q?a=0D=0ABcc=3A_x?= <c@acme.example>", [("a Bcc: x", "c@acme.example")]),
    ("\u202eelgoog <c@acme.example>", [("elgoog", "c@acme.example")]),
    ("Wa\u200bng\u2066 <c@acme.example>", [("Wang", "c@acme.example")]),
    ("=?utf-8?q?=E2=80=AEgnaW?= <c@acme.example>", [("gnaW", "c@acme.example")]),
    ("Wang (of ACME (Taipei)) <c@acme.example>", [("Wang", "c@acme.example")]),
    ("(sales) c@acme.example (Wang)", [("", "c@acme.example")]),
    ("a@acme.example, B <b@acme.example>", [("", "a@acme.example"), ("B", "b@acme.example")]),
    (",a@acme.example,,", [("", "a@acme.example")]),
    ("a+b@acme.example", [("", "a+b@acme.example")]),
    ("o'brien!#$%&*/=?^_`{|}~-@acme.example", [("", "o'brien!#$%&*/=?^_`{|}~-@acme.example")]),
    ("a@例子.tw", [("", "a@xn--fsqu00a.tw")]),
    ("a@localhost", [("", "a@localhost")]),
    (f"{'a' * 64}@acme.example", [("", f"{'a' * 64}@acme.example")]),
    ("", []),
]

NOT_WELL_FORMED = [
    # CVE-2023-27043: the address that is checked is not the one that mail goes to.
    "alice@example.org)bob@evil.example",
    "alice@example.org]<bob@evil.example>",
    "alice@example.org><bob@evil.example",
    "alice@example.org><bob@evil.example>",
    'alice@example.org"<bob@evil.example>',
    "alice@example.org(<bob@evil.example>",
    "alice@example.org;<bob@evil.example>",
    "alice@example.org:<bob@evil.example>",
    "alice@example.org.<bob@evil.example>",
    "alice@example.org@<bob@evil.example>",
    "alice@example.org<bob@evil.example>",
    "alice@example.org <bob@evil.example>",
    "<alice@example.org> <bob@evil.example>",
    "alice@example.org bob@evil.example",
    "bob@evil.example <alice@example.org",
    "<bob@evil.example> alice@example.org",
    # Groups, source routes, literals, quoted local parts.
    "Team: a@acme.example, b@acme.example;",
    "undisclosed-recipients:;",
    "<@relay.example:a@acme.example>",
    "a@[192.0.2.1]",
    '"a b"@acme.example',
    '"ab"@acme.example',
    # Dots, labels, lengths, what is missing.
    ".a@acme.example",
    "a.@acme.example",
    "a..b@acme.example",
    "a@acme..example",
    "a@acme.example.",
    "a@.acme.example",
    "a@-acme.example",
    "a@acme-.example",
    "a@ac_me.example",
    "a@",
    "@acme.example",
    "a",
    "<>",
    f"{'a' * 65}@acme.example",
    f"a@{'b' * 64}.example",
    f"a@{'.'.join(['b' * 60] * 5)}",
    "a@b@acme.example",
    # Spaces, controls, what never ends.
    "a @acme.example",
    "<a b@acme.example>",
    "a(x)b@acme.example",
    "a@acme.example(x)evil",
    "a\x00@acme.example",
    "<a@acme.example\x00>",
    "<a@acme.example",
    "a@acme.example>",
    "a@acme.example(",
    '"Wang <a@acme.example>',
    "Wang, Ming <a@acme.example>",
    "Wang\r\nBcc: <a@acme.example>",
    "王@acme.example",
]


@pytest.mark.parametrize(("field", "expected"), WELL_FORMED)
def test_a_well_formed_field_is_read(field, expected):
    mailboxes = parse_mailboxes(field)
    assert mailboxes is not None
    assert [(mailbox.name, str(mailbox.address)) for mailbox in mailboxes] == expected


@pytest.mark.parametrize("field", NOT_WELL_FORMED)
def test_a_field_that_is_not_well_formed_is_nobody(field):
    assert parse_mailboxes(field) is None


@pytest.mark.parametrize("text", [*NOT_WELL_FORMED, "", " a@b.tw", "a@b.tw ", "a@b.tw\n", "<a@b.tw>", "a@b.tw,c@d.tw"])
def test_an_address_alone_takes_nothing_else_with_it(text):
    assert parse_address(text) is None


def test_one_bad_mailbox_makes_the_whole_field_bad():
    assert parse_mailboxes("a@acme.example, b@acme..example") is None


def test_two_addresses_are_the_same_mailbox_whatever_their_case():
    first, second = parse_address("Wang@ACME.Example"), parse_address("wang@acme.example")
    assert first is not None
    assert second is not None
    assert first.key == second.key
    assert str(first) == "Wang@acme.example"


def test_a_name_is_cut_where_it_is_too_long_to_show():
    assert len(clean_name("王" * 5000)) <= 200


@pytest.mark.parametrize("hidden", "\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\u2066\u2067\u2068\u2069\u061c\ufeff\u00ad")  # fmt: skip
def test_marks_nobody_sees_are_taken_out_of_a_name(hidden):
    assert clean_name(f"a{hidden}b") == "ab"


@given(st.text())
def test_a_clean_name_is_one_line_of_visible_text(text):
    name = clean_name(text)
    assert not [char for char in name if unicodedata.category(char)[0] == "C"]
    assert name == " ".join(name.split())
    assert len(name) <= 200


@given(st.text(alphabet=st.characters() | st.sampled_from('<>@,;:"()\\. \r\n\t=?')))
def test_reading_a_field_never_raises_and_gives_addresses_that_read_as_themselves(field):
    for mailbox in parse_mailboxes(field) or ():
        assert parse_address(str(mailbox.address)) == mailbox.address


@given(st.text())
def test_what_is_an_address_alone_is_one_in_a_field(text):
    address = parse_address(text)
    if address is not None:
        mailboxes = parse_mailboxes(text)
        assert mailboxes is not None
        assert [mailbox.address for mailbox in mailboxes] == [address]


@pytest.mark.parametrize("piece", ["(", "<", '"', "\\", ",", ";", "@", "<a@b.tw>", "a@b.tw,", "(a)", '"a"', "=?utf-8?q?a?= ", "例.", "a@例.例,"])  # fmt: skip
def test_a_field_without_end_comes_back(piece):
    parse_mailboxes(piece * (1_000_000 // len(piece)))
    parse_mailboxes(piece * (64_000 // len(piece)))


@pytest.mark.parametrize(
    ("field", "found"),
    [
        ("銷售: a@example.com, b@example.com;, wang@acme.example", "a@example.com b@example.com wang@acme.example"),
        ("undisclosed-recipients:;", ""),
        ("王@例子.example, b@example.com", "b@example.com"),
        ("s00001-確認@sales.example.com, <b@example.com>", "b@example.com"),
        ("a@example.com>, b@example.com", "b@example.com"),
        ('"a@example.com, b@example.com', ""),
        ("a@example.com; b@example.com", "a@example.com b@example.com"),
        ("b@example.com,, (a) , chia <chia@example.com>", "b@example.com chia@example.com"),
    ],
)
def test_who_is_named_is_found_whatever_stands_beside_them(field, found):
    assert [str(each.address) for each in find_mailboxes(field)] == found.split()


@given(st.text(st.sampled_from('ab@.,;:<>"() \\王'), max_size=40))
def test_what_is_well_formed_is_found_as_it_is_parsed(field):
    strict = parse_mailboxes(field)
    assert strict is None or find_mailboxes(field) == strict


def test_an_address_is_written_as_it_came_with_its_domain_in_ascii():
    assert str(Address("Wang", "acme.example")) == "Wang@acme.example"
