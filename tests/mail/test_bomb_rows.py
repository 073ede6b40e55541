"""Rows C01 to C03 of the catalogue: what is made to cost much costs little, and archives are never unpacked."""
# ruff: noqa: N802 (rows have capital names)

import base64
import struct

import pytest

from gateway.mail.html import html_to_text
from gateway.mail.parse import parse
from gateway.mail.quoting import split_reply
from tests.kit.work import calls, yards

FROM = b"From: a@x.example\r\nMessage-ID: <1@x>\r\n"
MIXED = FROM + b"Content-Type: multipart/mixed; boundary=b"
NESTED = b"".join(b"--b%d\r\nContent-Type: multipart/mixed; boundary=b%d\r\n\r\n" % (i, i + 1) for i in range(35_000))
BOMBS = {
    "nested": (FROM + b"Content-Type: multipart/mixed; boundary=b0\r\n\r\n" + NESTED, "more nested parts"),
    "mails": (FROM + b"Content-Type: message/rfc822\r\n\r\n" * 35_000, "more nested parts"),
    "parts": (MIXED + b"\r\n\r\n" + b"--b\r\n\r\nx\r\n" * 100_000, "more parts"),
    "some parts": (MIXED + b"\r\n\r\n" + b"--b\r\n\r\nx\r\n" * 4_900, "more parts"),
    "fields": (FROM + b"X-A: y\r\n" * 100_000 + b"\r\nhi\r\n", "header is longer"),
    "folds": (FROM + b"X-A: y\r\n" + b" \tz\r\n" * 100_000 + b"\r\nhi\r\n", "header is longer"),
    "semicolons": (FROM + b"Content-Type: text/plain" + b";" * 49 * 1024 + b"\r\n\r\nhi\r\n", ""),
    "dots": (b"From: " + b"." * 200 * 1024 + b"@x.example\r\n\r\nhi\r\n", "not exactly one well-formed From"),
    "parentheses": (FROM + b"To: " + b"(" * 1000 + b")" * 1000 + b"b@x.example\r\n\r\nhi\r\n", ""),
    "segments": (
        FROM + b"Content-Type: a/b" + b"".join(b";\r\n name*%d=a" % i for i in range(5_000)) + b"\r\n\r\nhi\r\n", "",
    ),
    "boundary": (FROM + b"Content-Type: multipart/mixed; boundary=" + b"b" * 60_000 + b"\r\n\r\n--b\r\n\r\nhi\r\n", ""),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_C01_a_bomb_costs_little_and_a_defect_says_so(name):
    content, defect = BOMBS[name]
    assert yards(lambda: parse(content), 50) < 50
    assert any(defect in each for each in parse(content).defects)


@pytest.mark.parametrize("octets", [
    b"PK\x03\x04" + struct.pack("<HHHHHIII", 20, 0, 8, 0, 0, 0, 42, 0xFFFFFFFF) + b"\x00" * 400,
    b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + struct.pack(">II", 10**9, 10**9) + b"\x08\x06\x00\x00\x00\x00\x00\x00\x00",
], ids=["zip", "png"])  # fmt: skip
def test_C02_what_unpacks_to_much_is_kept_octet_for_octet(octets):
    part = b"\r\n\r\n--b\r\nContent-Type: application/x\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    mail = parse(MIXED + part + base64.encodebytes(octets).replace(b"\n", b"\r\n") + b"--b--\r\n")
    assert [each.content for each in mail.attachments] == [octets]


UNITS = ["> ", ">", "On ", "on x wrote:\n", "-", "_", "\n", " \n", "-- \n", "From: ", "a" * 500 + "\n", "在", "於 寫道",
         "@", "<a@b>", "*", ":", "wrote:", "=", "\u2063"]  # fmt: skip
TEXTS = [(a + b, 4_000) for a in UNITS for b in UNITS[:10]]


def test_C03_two_hundred_adversarial_texts_are_split_in_time():
    assert len(TEXTS) >= 200
    for text, times in TEXTS:
        assert yards(lambda text=text * times: split_reply(text), 100) < 100, text


def test_C03_four_times_the_text_is_four_times_the_work():
    for text, _ in TEXTS:
        few, many = (calls(lambda long=text * times: split_reply(long)) for times in (250, 1_000))
        assert many <= 5 * few, text


@pytest.mark.parametrize(
    "html",
    [
        '<p style="margin-top:1000000em">a' * 200,
        "<table><tr><td>" + "x" * 100_000 + "</td><td>y</td></tr>" + "<tr><td>a<td>b" * 7_000,
        '<div style="padding-left:900000px">a' * 200,
    ],
)
def test_C02_a_small_page_is_laid_out_into_no_large_text(html):
    text = html_to_text(html)
    assert len(text) < 1_000_000
    assert "a" in text
