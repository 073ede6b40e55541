import re
import stat
from datetime import date, timedelta

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gateway.alias import (
    ACTIONS,
    HELD_ACTIONS,
    Addresses,
    HeldAddress,
    RecordAddress,
    ReturnPath,
    Word,
    hide_tags,
    named_in_chinese,
)
from gateway.keyring import KEPT_DAYS, load_keys, read_keys, rotate
from gateway.mail.address import Address
from gateway.mail.tag import NUMBER_MAX, Keys
from gateway.records.commands import BY_NAME

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


@given(record_addresses.filter(lambda address: address.action in BY_NAME))
def test_a_command_is_named_in_either_language(address):
    written = minted(address)
    local = written.local.replace(f"-{address.action}", f"-{BY_NAME[address.action].chinese}", 1)
    assert OURS.parse(f"{local}@{D}") == written
    (named,) = named_in_chinese([f"b@example.com, 王 <{local}@{D}>, wang@acme.example"], D)
    assert named.address == written


@pytest.mark.parametrize("local", ["s00001-亂", "確認", "s00001-確認x", "王", "s00001-確認+x", "s00001確認"])
def test_what_names_no_command_in_chinese_is_no_address(local):
    assert OURS.parse(f"{local}@{D}") is None
    assert named_in_chinese([f"{local}@{D}"], D) == ()


def test_only_ours_are_named_in_chinese():
    assert OURS.parse("s00001-確認@acme.example") is None
    assert named_in_chinese(["s00001-確認@acme.example"], D) == ()


def plain(local: str) -> str:
    """Return what is left of a local part whose plus sign some system rewrote or lost."""
    return re.sub(r"[-+=#_.]|%2b", "", local.lower())


def writes_back(read, local: str) -> bool:
    match read:
        case RecordAddress():
            return plain(minted(read).local) == plain(local)
        case ReturnPath():
            return plain(OURS.return_path(read.delivery).local) == plain(local)
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


TAGGED = OURS.alias("S00042", "", 7).local
NOTED = OURS.alias("S00042", "note", 7).local
TAG = TAGGED[-25:]
PATH = OURS.return_path(7).local
MANGLED = {
    "upper case": TAGGED.upper(), "the reference alone in upper case": TAGGED.replace("s", "S", 1), "quoted": f'"{TAGGED}"',
    "plus as equals": TAGGED.replace("+", "="), "plus as hash": TAGGED.replace("+", "#"), "plus as dash": TAGGED.replace("+", "-"),
    "plus as underline": TAGGED.replace("+", "_"), "plus percent-encoded": TAGGED.replace("+", "%2B"),
    "plus percent-encoded, lower": TAGGED.replace("+", "%2b"), "plus lost": TAGGED.replace("+", ""),
    "plus lost, upper case": TAGGED.replace("+", "").upper(), "BATV": f"prvs=1234abcdef={TAGGED}", "BATV, upper case": f"PRVS=1234ABCDEF={TAGGED.upper()}",
    "BATV, the key behind": f"prvs={TAGGED}/1234abcdef", "BATV, older": "btv1==123==" + TAGGED, "BATV of Microsoft": f"msprvs1=18jKm={TAGGED}",
    "SRS": f"SRS0=4kT+=JD={D}={TAGGED}", "SRS with a plus": f"SRS0+4kT9=JD={D}={TAGGED}", "SRS with a dash": f"srs0-4kT9=JD={D}={TAGGED}",
    "SRS twice": f"SRS1=x9=relay.example==4kT9=JD={D}={TAGGED}", "BATV, its plus as equals": f"prvs=1234abcdef={TAGGED.replace('+', '=')}",
    "quoted and BATV": f'"prvs=1234abcdef={TAGGED}"', "note": NOTED, "note, plus lost": NOTED.replace("+", ""),
    "note, plus as dash": NOTED.replace("+", "-"), "note, upper case": NOTED.upper(), "return path, upper case": PATH.upper(),
    "return path, plus as equals": PATH.replace("+", "="), "return path, plus lost": PATH.replace("+", ""),
    "return path, BATV": f"prvs=1234abcdef={PATH}", "return path, SRS": f"SRS0=4kT9=JD={D}={PATH}",
    "return path, dot as equals": PATH.replace(".", "="), "plus and tag lost": "s00042", "domain in upper case": TAGGED,
}  # fmt: skip


@pytest.mark.parametrize("how", MANGLED)
def test_A11_an_address_is_known_whatever_mail_systems_did_to_it(how):  # noqa: N802
    domain = D.upper() + "." if how == "domain in upper case" else D
    meant = RecordAddress("S00042", "note" if how.startswith("note") else "", None if "tag lost" in how else 7)
    address = OURS.parse(f"{MANGLED[how]}@{domain}")
    assert OURS.read(address) == (ReturnPath(7) if how.startswith("return path") else meant)


@pytest.mark.parametrize("how", MANGLED)
def test_A11_a_strangers_tag_is_none_however_it_is_mangled(how):  # noqa: N802
    read = STRANGERS.read(STRANGERS.parse(f"{MANGLED[how]}@{D}"))
    assert getattr(read, "reader", None) is None
    assert not isinstance(read, ReturnPath)


def test_a_wrapper_of_another_domains_address_is_not_ours():
    address = OURS.parse(f"SRS0=4kT9=JD=other.example={TAGGED}@{D}")
    assert not isinstance(OURS.read(address), RecordAddress)


@pytest.mark.parametrize("action", HELD_ACTIONS)
def test_an_address_that_decides_about_a_held_mail_is_of_that_mail_and_that_action_only(action):
    address = OURS.held(action, 42)
    assert OURS.read(address) == HeldAddress(action, 42)
    assert STRANGERS.read(address) is None
    others = [each for each in HELD_ACTIONS if each != action]
    assert all(OURS.read(Address(address.local.replace(action, other), D)) is None for other in others)
    assert OURS.read(Address(address.local.replace("+42.", "+43."), D)) is None


def test_revoked_tags_are_nobodys_and_new_ones_are_of_the_new_epoch():
    old, new = OURS.alias("S1", "", 7), OURS.alias("S1", "", 7, 1)
    assert OURS.read(old, lambda _: 1) is None
    assert OURS.read(new, lambda _: 1) == RecordAddress("S1", "", 7)
    assert OURS.read(new) is None
    assert OURS.read(OURS.alias("S1"), lambda _: 1) == RecordAddress("S1")


def test_rotated_keys_sign_anew_and_accept_the_old_for_a_while(tmp_path):
    before = load_keys(tmp_path)
    old = Addresses(D, before).alias("S1", "", 9)
    today = date(2026, 11, 24)
    rotate(tmp_path, today)
    keys = load_keys(tmp_path, today + timedelta(days=KEPT_DAYS))
    assert keys.current != before.current
    assert Addresses(D, keys).read(old) == RecordAddress("S1", "", 9)
    assert Addresses(D, keys).alias("S1", "", 9) != old
    later = load_keys(tmp_path, today + timedelta(days=KEPT_DAYS + 1))
    assert Addresses(D, later).read(old) is None


def test_keys_can_be_rotated_for_ever(tmp_path):
    load_keys(tmp_path)
    for day in range(100):
        rotate(tmp_path, date(2026, 1, 1) + timedelta(days=day))
        ids = [each.id for each in read_keys(tmp_path)]
        assert len(ids) == len(set(ids)) <= 32
    assert stat.S_IMODE((tmp_path / "tag.keys").stat().st_mode) == 0o600


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
