"""What an IMAP server answers: read whatever it writes, and write nothing it could misread."""

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mail.imap import (
    Folder,
    Names,
    joined,
    message_id_of,
    quoted,
    read_appended,
    read_folders,
    read_listed,
    read_names,
    read_quota,
    read_selected,
    read_uids,
    uid_set,
)

# What stands in a name: letters of every script, and what IMAP writes in its own way.
TEXT = st.text(
    st.one_of(st.sampled_from(' &-"\\()*%{}~中文é😀+,'), st.characters(codec="utf-8", exclude_characters="\0\r\n/"))
)
PARTS = st.lists(TEXT.filter(bool), min_size=1, max_size=4)
UIDS = st.lists(st.integers(1, 2**32 - 1), max_size=40)


def wired(names, name):
    return names.wire(name).encode("ascii")


# ---- names


@given(PARTS, st.sampled_from(["/", ".", "\\", "^"]), st.sampled_from(["", "INBOX", "#mh"]))
def test_a_name_comes_back_as_it_was_written(parts, delimiter, root):
    names = Names(delimiter, f"{root}{delimiter}" if root else "")
    parts = [part.replace(chr(ord(delimiter) + 0xFEE0), "x") for part in parts]  # it stands for a delimiter
    name = "/".join(parts)
    if name.upper() != "INBOX":
        assert names.read(wired(names, name)) == name


@given(PARTS)
def test_a_name_on_the_wire_is_one_quoted_string_of_printable_ascii(parts):
    wire = wired(Names(), "/".join(parts))
    assert re.fullmatch(rb'"(?:[^"\\]|\\["\\])*"', wire)
    assert all(32 <= octet < 127 or octet == 0x7F for octet in wire)


@pytest.mark.parametrize(
    ("names", "name", "wire"),
    [
        (Names(".", "INBOX."), "Stages/v1.5 談判", '"INBOX.Stages.v1&,w4-5 &isdSJA-"'),
        (Names("^"), "a/b^c", '"a^b&,z4-c"'),
    ],
)
def test_a_name_that_holds_the_delimiter_is_one_part_all_the_same(names, name, wire):
    assert names.wire(name) == wire
    assert names.read(wire.encode()) == name


@pytest.mark.parametrize(
    ("name", "wire"),
    [
        ("Quotations/S00042", '"Quotations/S00042"'),
        ("報價/S00042", '"&WDFQ+Q-/S00042"'),
        ("a&b", '"a&-b"'),
        ('say "x" \\ y', '"say \\"x\\" \\\\ y"'),
        ("inbox", '"inbox"'),
    ],
)
def test_a_name_is_written_as_the_standard_says(name, wire):
    assert Names().wire(name) == wire
    assert Names().read(wire.encode()) == name


def test_the_inbox_and_patterns_have_no_prefix():
    names = Names(".", "INBOX.")
    assert names.wire("INBOX") == '"INBOX"'
    assert names.wire("*") == '"*"'
    assert names.wire("Replygate/*") == '"INBOX.Replygate.*"'
    assert names.wire("INBOX.Support.EU") == '"INBOX.Support.EU"', "what somebody wrote as the server does"
    assert names.read(b"INBOX") == "INBOX"
    assert names.read(b"INBOX.Replygate.Inbox") == "Replygate/Inbox"


@given(st.binary(max_size=60))
def test_whatever_a_server_calls_a_folder_is_some_name(wire):
    assert isinstance(Names(".", "x.").read(wire), str)


@pytest.mark.parametrize(
    ("lines", "delimiter", "prefix"),
    [
        ([rb'LIST (\Noselect) "/" ""'], "/", ""),
        ([rb'LIST (\Noselect) "." ""', b'NAMESPACE (("INBOX." ".")) NIL NIL'], ".", "INBOX."),
        pytest.param(
            [rb'LIST (\Noselect) "\\" ""'], "\\", "",
        ),
        ([rb'list (\noselect) NIL ""'], "/", ""),
        ([b"NAMESPACE NIL NIL NIL"], "/", ""),
        ([b"LIST", b"NAMESPACE", b"", b"OK done"], "/", ""),
    ],
)  # fmt: skip
def test_a_server_tells_how_it_calls_folders(lines, delimiter, prefix):
    assert read_names(lines, Names()) == Names(delimiter, prefix)


# ---- answers


def test_folders_are_listed_with_their_status_and_those_that_hold_no_mail_are_not():
    lines = [
        rb'LIST (\HasNoChildren) "." "INBOX.Quotations.S00001"',
        b'STATUS "INBOX.Quotations.S00001" (MESSAGES 3 UIDNEXT 9 UIDVALIDITY 77)',
        rb'LIST (\Noselect \HasChildren) "." INBOX.Quotations',
        (rb'LIST (\HasNoChildren) "." {17}', b"INBOX.&WDFQ+Q-.x y", b""),
        (b"STATUS {17}", b"INBOX.&WDFQ+Q-.x y", b" (UIDVALIDITY 78 UIDNEXT 1)"),
        b"OK still here",
    ]
    listed, status = read_folders(lines, Names(".", "INBOX."))
    assert listed == ["Quotations/S00001", "報價/x y"]
    assert status == {"Quotations/S00001": Folder("Quotations/S00001", 77, 9, 3), "報價/x y": Folder("報價/x y", 78, 1)}


def test_a_folder_may_be_called_as_strangely_as_a_literal_allows():
    (name,), _ = read_folders([(rb'LIST () "/" {3}', b'a"b', b"")], Names())
    assert name == 'a"b'


def test_a_selected_folder_tells_its_state_or_is_none():
    lines = [b"3 EXISTS", b"0 RECENT", b"OK [UIDVALIDITY 77] valid", b"OK [UIDNEXT 9] next"]
    assert read_selected(lines, "INBOX") == Folder("INBOX", 77, 9, 3)
    assert read_selected(lines[:2], "INBOX") is None


@pytest.mark.parametrize(
    ("lines", "uids"),
    [
        ([b"SEARCH 3 1 2"], [1, 2, 3]),
        ([b"SEARCH"], []),
        ([], []),
        ([b"SEARCH x -1 7", b"9 EXISTS"], [7]),
        ([b"search 5", b"SEARCH 5 6"], [5, 6]),
    ],
)
def test_uids_are_read_once_and_in_order(lines, uids):
    assert read_uids(lines) == uids


def test_a_mail_is_read_with_what_was_asked_of_it():
    line = rb'7 FETCH (UID 9 FLAGS (\Seen $x) RFC822.SIZE 1234 INTERNALDATE " 1-Jan-2026 12:00:00 +0800")'
    read = read_listed(line)
    assert (read.uid, read.size, read.flags) == (9, 1234, {"\\Seen", "$x"})
    assert read.at.astimezone(UTC) == datetime(2026, 1, 1, 4, tzinfo=UTC)


@given(st.binary(max_size=200))
def test_the_octets_of_a_mail_are_those_of_the_literal_whatever_they_say(octets):
    answer = (b"7 FETCH (UID 9 BODY[] {%d}" % len(octets), octets, b" FLAGS ())")
    assert read_listed(answer).octets == octets
    assert read_listed(answer).uid == 9


@pytest.mark.parametrize("octets", [b"UID 8 {5}\r\n* 1 FETCH (UID 8)\r\n", b")\r\nA1 OK done\r\n", b"* BYE\r\n"])
def test_what_a_mail_says_is_no_answer(octets):
    assert read_listed((b"7 FETCH (BODY[] {%d}" % len(octets), octets, b" UID 9)")).uid == 9


@pytest.mark.parametrize(
    ("line", "octets"),
    [
        (b'1 FETCH (UID 9 BODY[] "")', b""),
        (b'1 FETCH (UID 9 BODY[]<0> "a\\"b\\\\c")', b'a"b\\c'),
        (b"1 FETCH (UID 9 BODY[] NIL)", None),
        (b"1 FETCH (UID 9 FLAGS ())", None),
    ],
)
def test_a_short_mail_may_be_a_quoted_string(line, octets):
    assert read_listed(line).octets == octets


@pytest.mark.parametrize("line", [b"1 FETCH (FLAGS (x))", b"1 EXPUNGE", b"FETCH (UID 1)", b"", b"OK [UID 1]"])
def test_what_is_no_mail_is_none(line):
    assert read_listed(line) is None


@pytest.mark.parametrize("date", [b"31-Feb-2026 12:00:00 +0000", b"yesterday", b"01-Jan-2026 12:00:00", b"\xff"])
def test_a_bad_date_is_no_date(date):
    assert read_listed(b'1 FETCH (UID 9 INTERNALDATE "' + date + b'")').at is None


@given(st.binary(max_size=120))
def test_nothing_a_server_says_breaks_a_reader(line):
    answer = (b"LIST " + line, line, b"")
    for one in (line, b"1 FETCH (UID 1 " + line, b"LIST () " + line, b"STATUS " + line, b"SEARCH " + line, answer):
        read_listed(one)
        read_folders([one], Names())
        read_names([one], Names())
        read_uids([one])
        read_quota([one])
        read_selected([one], "x")
        assert isinstance(joined(one), bytes)
    assert isinstance(message_id_of(line), str)


@pytest.mark.parametrize(
    "line", [b"1 FETCH (UID %s)", b"SEARCH %s", b'STATUS "x" (UIDNEXT %s)', b"OK [UIDVALIDITY %s]"]
)
def test_a_number_without_end_breaks_no_reader(line):
    line %= b"9" * 5000
    read_listed(line)
    read_uids([line])
    read_folders([line], Names())
    read_selected([line], "x")


def test_what_was_appended_and_the_quota_are_read():
    assert read_appended(b"[APPENDUID 77 9] done") == (77, 9)
    assert read_appended(b"done") == (0, 0)
    assert read_quota([b'QUOTAROOT INBOX "User quota"', b'QUOTA "User quota" (STORAGE 10 512)']) == (10, 512)
    assert read_quota([b'QUOTAROOT INBOX ""', b'QUOTA "" ()']) is None


@pytest.mark.parametrize(
    ("header", "name"),
    [
        (b"Message-ID: <a@b>\r\n\r\n", "a@b"),
        (b"message-id:\r\n <a@b>\r\n\r\n", "a@b"),
        (b"\r\n", ""),
        (b"", ""),
    ],
)
def test_the_message_id_of_a_header(header, name):
    assert message_id_of(header) == name


# ---- what is written


@given(UIDS)
def test_a_set_of_uids_is_these_and_no_others(uids):
    made = uid_set(uids)
    found = [part.partition(":") for part in made.split(",")] if made else []
    assert {uid for a, _, b in found for uid in (range(int(a), int(b) + 1) if b else [int(a)])} == set(uids)
    assert made == "" or re.fullmatch(r"\d+(?::\d+)?(?:,\d+(?::\d+)?)*", made)


def test_runs_of_uids_are_ranges():
    assert uid_set([9, 1, 2, 3, 7, 8, 9]) == "1:3,7:9"
    assert uid_set(range(1, 100_001)) == "1:100000"
    assert uid_set([]) == ""


@given(TEXT)
def test_a_quoted_string_ends_where_it_should(text):
    wire = quoted(text)
    assert re.fullmatch(r'"(?:[^"\\]|\\["\\])*"', wire, re.DOTALL)
    assert re.sub(r"\\(.)", r"\1", wire[1:-1], flags=re.DOTALL) == text
