import stat

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gateway.alias import ACTIONS, Addresses, RecordAddress, ReturnPath, Word, hide_tags, load_keys
from gateway.mail.address import Address
from gateway.mail.tag import NUMBER_MAX, Keys

D = "sales.example.com"
OURS = Addresses(D, Keys(1, {1: b"a" * 32}))
STRANGERS = Addresses(D, Keys(1, {1: b"b" * 32}))
refs = st.from_regex(r"[A-Z][A-Z0-9]{0,23}", fullmatch=True).filter(str.isascii)
actions = st.sampled_from(["", *sorted(ACTIONS)])
readers = st.none() | st.integers(0, NUMBER_MAX)
record_addresses = st.builds(RecordAddress, refs, actions, readers)
CHARS = "abcdefghijklmnopqrstuvwxyz0123456789+-._"


def minted(address: RecordAddress) -> Address:
    return OURS.alias(address.ref, address.action, address.reader)


@given(record_addresses)
def test_an_alias_we_mint_we_recognise(address):
    assert OURS.read(minted(address)) == address
    assert len(minted(address).local) <= 64


@given(record_addresses)
def test_case_does_not_matter(address):
    written = minted(address)
    assert OURS.read(Address(written.local.upper(), D)) == address
    assert OURS.alias(address.ref.lower(), address.action, address.reader) == written


@given(st.integers(0, 10**12))
def test_a_return_path_we_mint_we_recognise(delivery):
    address = OURS.return_path(delivery)
    assert OURS.read(address) == ReturnPath(delivery)
    assert OURS.read(Address(address.local.upper(), D)) == ReturnPath(delivery)
    assert len(address.local) <= 64


def writes_back(read, local: str) -> bool:
    match read:
        case RecordAddress():
            return minted(read).local == local.lower()
        case ReturnPath():
            return OURS.return_path(read.delivery).local == local.lower()
        case Word():
            return read.local == local.lower() and "+" not in local
        case _:
            return True


@given(st.text(alphabet=CHARS, min_size=1, max_size=64))
def test_what_is_made_up_holds_no_tag_of_ours(local):
    read = OURS.read(Address(local, D))
    assert not isinstance(read, ReturnPath)
    assert not isinstance(read, RecordAddress) or read.reader is None
    assert writes_back(read, local)


@given(record_addresses | st.integers(0, 10**12), st.integers(0, 64), st.text(alphabet=CHARS, max_size=2))
def test_an_address_with_something_changed_is_read_as_nothing_we_did_not_mint(subject, at, char):
    local = (OURS.return_path(subject) if isinstance(subject, int) else minted(subject)).local
    changed = local[:at] + char + local[at + 1 :]
    assert writes_back(OURS.read(Address(changed, D)), changed)


def test_a_return_path_with_zeros_before_its_number_is_not_one_we_minted():
    local = OURS.return_path(42).local.replace("+42.", "+0042.")
    assert OURS.read(Address(local, D)) is None


@given(record_addresses.filter(lambda address: address.reader is not None), st.integers(0, 10**12))
def test_what_a_stranger_minted_is_not_ours(address, delivery):
    assert OURS.read(STRANGERS.alias(address.ref, address.action, address.reader)) is None
    assert OURS.read(STRANGERS.return_path(delivery)) is None


@given(refs, refs, st.integers(0, NUMBER_MAX))
def test_the_tag_of_one_record_is_none_of_another(ref, other, reader):
    assume(ref != other)
    tag = OURS.alias(ref, "", reader).local.partition("+")[2]
    assert OURS.read(Address(f"{other.lower()}+{tag}", D)) is None
    assert OURS.read(Address(f"bounce+{reader}.{tag}", D)) is None


@pytest.mark.parametrize(
    ("local", "read"),
    [
        ("s00042", RecordAddress("S00042")),
        ("S00042", RecordAddress("S00042")),
        ("s00042-note", RecordAddress("S00042", "note")),
        ("S00042-Note", RecordAddress("S00042", "note")),
        ("s00042-nothing", Word("s00042-nothing")),
        ("s00042-", Word("s00042-")),
        ("s00042-note-note", Word("s00042-note-note")),
        ("sales-north", Word("sales-north")),
        ("first.last", Word("first.last")),
        ("12", Word("12")),
        ("a" * 25, Word("a" * 25)),
        ("s00042+", None),
        ("s00042+x", None),
        ("s00042+" + "a" * 25, None),
        ("s00042+" + "a" * 24, None),
        ("s00042+" + "a" * 26, None),
        ("s00042-nothing+" + "a" * 25, None),
        ("bounce+1." + "a" * 25, None),
        ("bounce+1", None),
        ("sales+news", None),
    ],
)
def test_a_local_part_is_read_by_its_form(local, read):
    assert OURS.read(Address(local, D)) == read


@pytest.mark.parametrize("domain", ["example.com", "x.sales.example.com", "sales.example.com.evil.example"])
def test_an_address_of_another_domain_is_not_ours(domain):
    assert OURS.read(Address("s00042", domain)) is None
    assert not OURS.owns(Address("s00042", domain))


@given(record_addresses.filter(lambda address: address.reader is not None), st.sampled_from(["{}", "to <{}>, x", "RCPT TO:<{}>\r\n", "mailto:{}?subject=x", '"{}"']), st.booleans())  # fmt: skip
def test_no_tag_stands_in_a_log(address, line, upper):
    for written in (minted(address), OURS.return_path(7)):
        tag = written.local[-25:]
        shown = hide_tags(line.format(str(written).upper() if upper else written))
        assert tag not in shown.lower()
        assert "…" in shown


def test_the_first_key_is_made_once_and_for_us_alone(tmp_path):
    state = tmp_path / "var"
    keys = load_keys(state)
    assert load_keys(state) == keys
    assert [path.name for path in state.iterdir()] == ["tag.keys"]
    assert stat.S_IMODE((state / "tag.keys").stat().st_mode) == 0o600


def test_the_first_line_signs_and_every_line_is_accepted(tmp_path):
    (tmp_path / "tag.keys").write_text(f"# new\n5 {'ab' * 32}\n\n4 {'cd' * 32}\n", "ascii")
    keys = load_keys(tmp_path)
    assert keys.current == 5
    old = Addresses(D, Keys(4, keys.secrets)).alias("S1", "", 9)
    assert Addresses(D, keys).read(old) == RecordAddress("S1", "", 9)


@pytest.mark.parametrize(
    "text", ["", "\n", "# none\n", "x " + "ab" * 32, "32 " + "ab" * 32, "0 abcd", "0 " + "zz" * 32, "0", "é"]
)
def test_a_bad_key_file_is_an_error_and_never_a_new_key(tmp_path, text):
    (tmp_path / "tag.keys").write_text(text, "utf-8")
    with pytest.raises(ValueError, match=r"."):
        load_keys(tmp_path)
    assert (tmp_path / "tag.keys").read_text("utf-8") == text
