"""Row C18 of the catalogue: what turns text around, or is not seen, and letters of one script that pass for another's.

Each case says what comes and what a reader is shown of it. With the marks that `test_content_rows` takes one by
one through subject and name, these are more than sixty.
"""
# ruff: noqa: N802 (rows have capital names)

import base64

import pytest

from gateway.mail.parse import parse
from tests.kit.house import CUSTOMER, INSIDE, D, House

TO = f"s00001@{D}"
WANG = "wang@acme.example"
RLO, LRO, PDF, RLI, PDI, ZWSP, ZWJ, ZWNJ, BOM, SHY, WJ, ALM = "\u202e\u202d\u202c\u2067\u2069\u200b\u200d\u200c\ufeff\u00ad\u2060\u061c"  # fmt: skip


def word(text: str, how: str = "b", charset: str = "utf-8") -> str:
    octets = text.encode(charset)
    shown = base64.b64encode(octets).decode() if how == "b" else "".join(f"={octet:02X}" for octet in octets)
    return f"=?{charset}?{how}?{shown}?="


SUBJECTS = {
    "the whole turned around": (f"{RLO}gpj.exe", "gpj.exe"),
    "a part turned around": (f"price {RLO}001{PDF} dollars", "price 001 dollars"),
    "turned the other way": (f"{LRO}price{PDF}", "price"),
    "isolated": (f"a {RLI}b{PDI} c", "a b c"),
    "never closed": (f"a {RLI}{RLI}{RLO}b", "a b"),
    "only closed": (f"a{PDF}{PDI}{PDF} b", "a b"),
    "nothing but marks between": (f"a{RLO}{PDF}{ZWSP}{BOM}b", "ab"),
    "nothing but marks": (f"{RLO}{PDF}{ZWSP}", "商機 L00001"),
    "base64": (word(f"pay{RLO} now"), "pay now"),
    "quoted-printable": (word(f"pay{ZWSP} now", "q"), "pay now"),
    "UTF-7": (word(f"pay{RLO}now", "b", "utf-7"), "paynow"),
    "GB 18030": (word(f"pay{RLO}now", "b", "gb18030"), "paynow"),
    "a mark of its own word": (f"{word('pay')} {word(RLO)} {word('now')}", "paynow"),
    "our own prefix, forged": (f"[S{ZWSP}00001] chairs", "[S00001] chairs"),
    "a prefix from behind": (f"{RLO}]10000S[ chairs", "]10000S[ chairs"),
    "split letters": (f"in{ZWNJ}vo{ZWJ}i{WJ}ce", "invoice"),
    "hyphens that are not seen": (f"pass{SHY}word", "password"),
    "a byte order mark": (f"{BOM}chairs", "chairs"),
    "an Arabic mark": (f"chairs{ALM} 7", "chairs 7"),
    "an entity is a text": ("&#8238;chairs", "&#8238;chairs"),
    "lines that are no lines": ("a\u2028b\u2029c\x85d\x0be\x0cf", "a b c d e f"),
    "a terminal's orders": (word("a\x1b[31mb\x07c\x7fd"), "a [31mb c d"),
}


@pytest.mark.parametrize("case", SUBJECTS)
def test_C18_a_subject_is_shown_as_its_letters_stand(made, case):
    given, shown = SUBJECTS[case]
    content = f"From: {WANG}\r\nTo: leads@{D}\r\nSubject: {given}\r\nMessage-ID: <1@x>\r\n\r\nhello\r\n".encode()
    assert made.take(content, f"leads@{D}", peer=CUSTOMER, return_path=WANG) == ("posted", "")
    sent = [each for each in made.sent() if "[L00001]" in each["Subject"]]
    assert sent
    for each in sent:
        assert each["Subject"].removeprefix("Re: ").removeprefix("[L00001]").strip() == shown
        assert shown in each.text
        assert not [char for char in each["Subject"] if not char.isprintable()]


NAMES = {
    "turned around": (f"{RLO}gnaW", "gnaW <wang@acme.example>"),
    "with what is not seen": (f"W{ZWSP}a{ZWJ}n{WJ}g", "Wang <wang@acme.example>"),
    "a Cyrillic letter": ("Wаng", WANG),
    "a Greek letter": ("Wαng", WANG),
    "an Armenian letter": ("Wang Տ", WANG),
    "a Cherokee letter": ("ᎳANG", WANG),
    "Cyrillic alone is a name": ("Иван", "Иван <wang@acme.example>"),
    "Greek alone is a name": ("Νίκος", "Νίκος <wang@acme.example>"),
    "Latin beside Chinese is a name": ("王 Wang", "王 Wang <wang@acme.example>"),
    "one of ours, with what is not seen": (f"A{ZWSP}君", WANG),
    "one of ours, hyphenated unseen": (f"鄭{SHY}先生", WANG),
    "one of ours, in full width": ("Ａ君", WANG),
    "one of ours, turned": (f"{RLO}鄭先生{PDF}", WANG),
    "one of ours, in an encoded word": (word(f"A{BOM}君"), WANG),
    "an address, with what is not seen": (f"cheng@{ZWSP}example.com", WANG),
    "an address, in full width": ("cheng＠example.com", WANG),
    "letters for mathematics": ("𝐖𝐚𝐧𝐠", "Wang <wang@acme.example>"),
}


def shown_author(house: House) -> str:
    """Return how somebody inside is told who wrote last: the line that holds the address."""
    last = [each for each in house.sent() if each.to == "chia@example.com"][-1]
    text = last.mail.get_body(("plain",)).get_content()
    (line,) = (line for line in text.splitlines() if WANG in line)
    return line


@pytest.mark.parametrize("case", NAMES)
def test_C18_a_name_is_shown_as_its_letters_stand_or_not_at_all(made, case):
    given, shown = NAMES[case]
    name = given if given.startswith("=?") else f'"{given}"'
    content = f"From: {name} <{WANG}>\r\nTo: {TO}\r\nSubject: chairs\r\nMessage-ID: <1@x>\r\n\r\nhello\r\n".encode()
    assert made.take(content, TO, peer=CUSTOMER, return_path=WANG) == ("posted", "")
    line = shown_author(made)
    assert line.startswith(shown) or f" {shown}" in line, line
    if shown == WANG:
        assert f"<{WANG}>" not in line, "the address alone"


# A domain in From, and what it is to us: in A-labels where it is one, None where it is none. None of them is acme.example,
# but for those that the rules of IDNA make it.
DOMAINS = {
    "Cyrillic а": ("аcme.example", "xn--cme-5cd.example"),
    "Cyrillic с and е": ("aсmе.example", "xn--am-olc0c.example"),
    "all Cyrillic": ("асме.example", "xn--80akut.example"),
    "Greek ο": ("gοοgle.example", "xn--ggle-0nda.example"),
    "Latin ı without a dot": ("wıng.example", "xn--wng-jua.example"),
    "Latin ɑ": ("ɑcme.example", "xn--cme-fsb.example"),
    "an accent below": ("acmẹ.example", "xn--acm-ljz.example"),
    "an accent on its own": ("acme\u0301.example", "xn--acm-dma.example"),
    "sharp s": ("straße.example", "xn--strae-oqa.example"),
    "final sigma": ("σας.example", "xn--mxa8ab.example"),
    "Chinese": ("例.tw", "xn--fsq.tw"),
    "A-labels": ("xn--cme-5cd.example", "xn--cme-5cd.example"),
    "A-labels in capitals": ("XN--CME-5CD.EXAMPLE", "xn--cme-5cd.example"),
    "full width": ("ａｃｍｅ.example", "acme.example"),
    "a full stop of China": ("acme。example", "acme.example"),
    "a soft hyphen": (f"ac{SHY}me.example", "acme.example"),
    "a zero-width space": (f"ac{ZWSP}me.example", "acme.example"),
    "a zero-width joiner": (f"ac{ZWJ}me.example", None),
    "turned around": (f"{RLO}emca.example", None),
    "a slash that is none": ("acme.example⁄x.example", None),
    "a slash for fractions": ("acme.example∕x.example", None),
    "a sign that holds one": ("acme℀.example", None),
    "an at sign in full width": ("acme＠x.example", None),
    "a space of no width": ("acme\u00a0.example", None),
    "Hebrew and digits": ("0א.example", None),
    "an unassigned letter": ("acme\u0378.example", None),
    "a private letter": ("acme\ue000.example", None),
    "a symbol": ("acme♥.example", None),
    "a face": ("acme😀.example", None),
}


@pytest.mark.parametrize("case", DOMAINS)
def test_C18_a_domain_is_what_the_dns_holds_or_none(made, case):
    given, is_ = DOMAINS[case]
    content = f"From: Wang <wang@{given}>\r\nTo: {TO}\r\nMessage-ID: <1@x>\r\n\r\nhello\r\n".encode()
    author = parse(content).author
    assert (author.address.domain if author else None) == is_
    if is_ != "acme.example":
        became = made.take(content, TO, peer=CUSTOMER, return_path=WANG)
        assert became[0] == "held", "whoever looks like the customer is not the customer"


FILES = {
    "turned around": (f"quote_{RLO}fdp.exe", "quote_fdp.exe", True),
    "turned around, harmless": (f"quote_{RLO}txt.pdf", "quote_txt.pdf", False),
    "split ending": (f"quote.e{ZWSP}x{ZWNJ}e", "quote.exe", True),
    "an ending behind what is not seen": (f"quote.exe{ZWSP}{BOM}", "quote.exe", True),
    "a full stop that is none": ("quote．exe", "quote.exe", True),
    "letters in full width": ("quote.ｅｘｅ", "quote.exe", True),
    "a hidden beginning": (f"{ZWSP}.htaccess", "htaccess", False),
    "lines": ("a\u2028b.pdf", "a b.pdf", False),
}


@pytest.mark.parametrize("case", FILES)
def test_C18_a_file_is_called_as_its_letters_stand_and_known_by_them(made, case):
    given, shown, runs = FILES[case]
    head = f"From: b@example.com\r\nTo: {TO}\r\nSubject: chairs\r\nMessage-ID: <1@x>\r\nMIME-Version: 1.0\r\n"
    part = f"Content-Type: application/x; name*=utf-8''{''.join(f'%{octet:02X}' for octet in given.encode())}\r\nContent-Disposition: attachment\r\n\r\nx\r\n"
    content = f"{head}Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nhello\r\n--b\r\n{part}--b--\r\n"
    assert made.take(content.encode(), TO, peer=INSIDE, return_path="b@example.com") == ("posted", "")
    sent = [each for each in made.sent() if each["X-Replygate-Subtype"] == "discussion"]
    assert sent
    for each in sent:
        named = [part.get_filename() for part in each.mail.iter_attachments()]
        assert named == ([] if runs else [shown])
        assert shown in each.text


COMMANDS = {
    "split": f"/no{ZWSP}te", "begun unseen": f"{ZWSP}/note", "a byte order mark": f"{BOM}/note", "hyphenated unseen": f"/no{SHY}te", "joined": f"/n{ZWJ}ote",
    "full width": "／ｎｏｔｅ",
}  # fmt: skip


@pytest.mark.parametrize("case", COMMANDS)
def test_C18_a_command_is_one_however_it_looks_so_that_no_note_goes_out(made, case):
    """Whoever sees `/note` there means a note: it must not be posted to the customer with an unseen mark in front."""
    given = COMMANDS[case]
    state = made.write("b@example.com", TO, f"{given}\n\nSECRET")
    assert state[0] in ("posted", "done")
    assert not [each for each in made.sent() if each.to == WANG and "SECRET" in each.text]
    assert made.messages()[-1].subtype == "note"


def test_C18_there_are_sixty_cases():
    assert len(SUBJECTS) + len(NAMES) + len(DOMAINS) + len(FILES) + len(COMMANDS) >= 60
