import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.mail.address import Address, clean_name, parse_mailboxes
from gateway.mail.charset import decode_words
from gateway.mail.header import (
    FIELD_OCTETS_MAX,
    FIELDS_MAX,
    HEADER_OCTETS_MAX,
    ids_field,
    mailbox_field,
    one_line,
    split_mail,
    text_field,
    token_field,
)

HERE = Address("s00042", "sales.example.com")
SMUGGLED = "=?utf-8?q?caf=C3=A9_=3D=3FUTF-8=3FQ=3F=3D0A=3F=3DBcc:_attacker=40evil.example?="
HOSTILE = [
    SMUGGLED,
    decode_words(SMUGGLED),
    "a\r\nBcc: attacker@evil.example",
    "a\nBcc: attacker@evil.example",
    "a\rBcc: attacker@evil.example",
    "a\r\n\r\nbody",
    "a\r\n Bcc: attacker@evil.example",
    "é\r\nBcc: attacker@evil.example",
    "é\n\nbody",
    "a\x00\r\nBcc: x",
    "a\x0bBcc: x",
    "a\x0cBcc: x",
    "a\x1cBcc: x",
    "a\x85Bcc: x",
    "a\u2028Bcc: x",
    "a\u2029Bcc: x",
    "報價\x85Bcc: x",
    "=?utf-8?q?=0D=0ABcc:_x?=",
    '"\r\nBcc: x',
    '" <attacker@evil.example>, "',
    "<attacker@evil.example>",
    "attacker@evil.example,",
    "\\",
    '\\"',
    "(",
    "x" * 5000,
    "單" * 5000,
    "\u202e\u200b",
    "",
    " ",
]
texts = st.text(alphabet=st.characters() | st.sampled_from('\r\n\t\x00\x0b\x0c\x85\u2028 =?_:;,<>"\\()@'))


def only_field(field: bytes) -> tuple[str, str]:
    """Read one field back as a stranger would: exactly one, and not a line of it loose."""
    assert field.endswith(b"\r\n")
    lines = field[:-2].split(b"\r\n")
    assert all(line[:1] in {b" ", b"\t"} and line.strip() for line in lines[1:])
    assert b"\r" not in b"".join(lines)
    assert b"\n" not in b"".join(lines)
    header, body = split_mail(field + b"\r\nbody")
    assert body == b"body"
    assert header.defects == ()
    assert len(header.fields) == 1
    return header.fields[0]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_subject_makes_no_second_field(text):
    try:
        field = text_field("Subject", text)
    except ValueError:
        field = text_field("Subject", one_line(text))
    assert only_field(field)[0] == "subject"


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_makes_no_second_field_and_no_second_mailbox(name):
    read = parse_mailboxes(only_field(mailbox_field("From", name, HERE))[1])
    assert read is not None
    assert [mailbox.address for mailbox in read] == [HERE]


@given(texts)
def test_whatever_a_name_says_the_field_is_one_and_reads_back_the_same(name):
    read = parse_mailboxes(only_field(mailbox_field("Reply-To", name, HERE))[1])
    assert read is not None
    assert [(mailbox.name, mailbox.address) for mailbox in read] == [(clean_name(name), HERE)]


@given(texts)
def test_whatever_a_subject_says_the_field_is_one(text):
    try:
        field = text_field("Subject", text)
    except ValueError:
        return
    assert only_field(field)[0] == "subject"


@given(st.text(alphabet=st.characters(exclude_categories=["C", "Z"]) | st.just(" "), max_size=200))
@example(SMUGGLED)
def test_a_subject_reads_back_as_it_was_written(text):
    text = one_line(text)
    body = only_field(text_field("Subject", text))[1]
    assert one_line(decode_words(body)) == text


@pytest.mark.parametrize("text", ["x" * 3000, "x " * 3000, "報價單" * 500, "é" + "x" * 3000])
def test_no_line_we_write_is_longer_than_998_octets(text):
    for field in (text_field("Subject", text), mailbox_field("From", text, HERE)):
        assert max(map(len, field.split(b"\r\n"))) <= 998


@pytest.mark.parametrize("bad", ["a\r\nBcc: x", "a\nb", "a\rb", "a\x00b", "a\tb", "a\x7fb"])
def test_a_control_character_is_refused_rather_than_written(bad):
    for write in (text_field, token_field, lambda name, value: ids_field(name, [value])):
        with pytest.raises(ValueError, match="control characters"):
            write("X-Replygate-Record", bad)


@pytest.mark.parametrize("name", ["", "Sub ject", "Subject:", "Subject\r\nBcc", "Subject\n", "主旨", "a" * 77])
def test_a_field_name_that_is_none_is_refused(name):
    for write in (
        lambda: text_field(name, "x"),
        lambda: text_field(name, "é"),
        lambda: token_field(name, "x"),
        lambda: ids_field(name, ["x"]),
        lambda: mailbox_field(name, "x", HERE),
    ):
        with pytest.raises(ValueError, match=r"."):
            write()


def test_a_token_that_is_not_ascii_is_refused():
    with pytest.raises(ValueError, match="not ASCII"):
        token_field("List-Id", "銷售")


def test_message_ids_are_never_encoded_however_long():
    ids = [f"<{'x' * 200}{n}@sales.example.com>" for n in range(20)]
    name, body = only_field(ids_field("References", ids))
    assert name == "references"
    assert body.split() == ids


def test_fields_stand_in_order_in_lower_case_and_unfolded():
    header, body = split_mail(b"Subject: a\r\n b\r\nTO: x\nTo:y\r\n\r\nbody\r\n")
    assert header.fields == (("subject", "a b"), ("to", "x"), ("to", "y"))
    assert header.all("to") == ["x", "y"]
    assert header.first("to") == "x"
    assert header.first("cc") == ""
    assert body == b"body\r\n"


@pytest.mark.parametrize(
    ("content", "fields", "body", "defect"),
    [
        (b"", (), b"", ""),
        (b"\r\nbody", (), b"body", ""),
        (b"Subject: a", (("subject", "a"),), b"", ""),
        (b"Subject: a\r\nno field\r\n", (("subject", "a"),), b"no field\r\n", "header does not end with an empty line"),
        (b" folded\r\nA: b\r\n\r\n", (("a", "b"),), b"", "header begins with a folded line"),
        (b"From x Mon\r\nA: b\r\n\r\nc", (("a", "b"),), b"c", ""),
        (b"From : evil@x\r\nA: b\r\n\r\n", (("a", "b"),), b"", "space before a colon in the header"),
        (b"A: b\rFrom: c\r\n\r\n", (("a", "b From: c"),), b"", "bare CR or NUL in the header"),
        (b"A: b\x00c\r\n\r\n", (("a", "bc"),), b"", "bare CR or NUL in the header"),
        ("Subject: 報價".encode(), (("subject", "報價"),), b"", "8-bit header"),
        ("Subject: 報價".encode("big5"), (("subject", "報價"),), b"", "8-bit header"),
        (b"Subject: \xff\xff", (("subject", "\xff\xff"),), b"", "8-bit header"),
    ],
)
def test_a_header_is_read_for_what_it_is(content, fields, body, defect):
    header, rest = split_mail(content)
    assert header.fields == fields
    assert rest == body
    assert header.defects == ((defect,) if defect else ())


def test_too_many_fields_are_left_out_and_said():
    header, body = split_mail(b"A: b\r\n" * (FIELDS_MAX + 500) + b"\r\nbody")
    assert len(header.fields) <= FIELDS_MAX + 1
    assert header.defects == ("header is longer than we read",)
    assert body == b"body"


@pytest.mark.parametrize(
    "line", [b"A: b\r\n", b" folded\r\n", b"A" * 70 + b":\r\n", b"X: " + b";" * 990 + b"\r\n", b"X: (\r\n"]
)
def test_a_megabyte_of_header_is_read_in_part_and_the_body_found(line):
    header, body = split_mail(b"Subject: s\r\n" + line * (1_000_000 // len(line)) + b"\r\nbody")
    assert sum(len(name) + len(text) for name, text in header.fields) <= HEADER_OCTETS_MAX + 1000
    assert "header is longer than we read" in header.defects
    assert body == b"body"


def test_the_body_behind_a_long_header_is_found_where_line_ends_are_mixed():
    _, body = split_mail(b"X: y\n" * 200_000 + b"\r\nbody")
    assert body == b"body"


def test_one_field_is_read_up_to_its_cap():
    header, _ = split_mail(b"Subject: " + b"x" * 200_000 + b"\r\n\r\n")
    assert len(header.first("subject")) <= FIELD_OCTETS_MAX


@given(st.binary())
def test_splitting_never_raises_and_the_body_is_a_tail_of_the_mail(content):
    header, body = split_mail(content)
    assert content.endswith(body)
    assert not [text for _, text in header.fields if "\n" in text or "\x00" in text]


@pytest.mark.parametrize(
    "mark", "\u0085\u009b\u180e\u206a\u206f\ufff9\ufffb\U000e0001\U000e0041\u034f\u3164\u115f\u1160\uffa0"
)
def test_a_mark_that_nobody_sees_does_not_stand_in_a_line(mark):
    assert mark not in one_line(f"a{mark}b")
