import codecs
import encodings.aliases

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.mail.charset import decode_text, decode_words

CLEAN = [
    (b"plain", "", "plain"),
    (b"plain", "us-ascii", "plain"),
    ("報價單".encode(), "utf-8", "報價單"),
    ("報價單".encode(), "UTF8", "報價單"),
    ("報價單".encode(), '"utf-8"', "報價單"),
    ("報價單".encode("big5"), "big5", "報價單"),
    ("碁銹".encode("cp950"), "Big5", "碁銹"),
    ("嘅咗".encode("big5hkscs"), "big5-hkscs", "嘅咗"),
    ("报价单".encode("gb2312"), "gb2312", "报价单"),
    ("镕堃".encode("gb18030"), "gb2312", "镕堃"),
    ("漢字".encode("iso-2022-jp"), "iso-2022-jp", "漢字"),
    ("漢字".encode("shift_jis"), "Shift_JIS", "漢字"),
    ("한국".encode("cp949"), "ks_c_5601-1987", "한국"),
    ("price: 5 €".encode("cp1252"), "iso-8859-1", "price: 5 €"),
    ("中文".encode("utf-16"), "utf-16", "中文"),
    (b"+AGE-", "utf-7", "a"),
    ("日本語".encode("utf-7"), "unicode-1-1-utf-7", "日本語"),
    ("漢字".encode("iso-2022-jp"), "csISO2022JP", "漢字"),
    ("报价".encode("hz"), "hz-gb-2312", "报价"),
    (b"", "utf-8", ""),
]


@pytest.mark.parametrize(("data", "charset", "text"), CLEAN)
def test_a_declared_charset_is_believed_where_it_fits(data, charset, text):
    assert decode_text(data, charset) == (text, "")


@pytest.mark.parametrize("charset", ["iso-2022-jp", "big5", "us-ascii", "x-unknown", "idna", "punycode", "base64", ""])
def test_utf8_is_recognised_whatever_was_declared(charset):
    text, _ = decode_text("報價單 S00042 已送出".encode(), charset)
    assert text == "報價單 S00042 已送出" or charset == "big5"


@pytest.mark.parametrize(
    "charset", ["x-unknown", "iso-2022-jp", "no such\x00charset", "ü", "a" * 5000, "unicode_escape"]
)
def test_a_lie_about_the_charset_is_a_defect(charset):
    assert "is really utf-8" in decode_text("報價單".encode(), charset)[1]


def test_latin_that_calls_itself_utf8_is_read():
    assert decode_text("café".encode("latin-1"), "utf-8") == ("café", "charset utf-8 is really cp1252")


def test_octets_that_fit_nowhere_are_replaced_and_said():
    text, defect = decode_text(b"\x81\x8d\x8f\xff", "utf-8")
    assert isinstance(text, str)
    assert defect


@pytest.mark.parametrize("charset", ["hex", "rot13", "zlib", "bz2", "uu", "quopri", "base64", "undefined"])
def test_a_codec_that_is_no_charset_runs_no_code(charset):
    assert decode_text(b"4142", charset) == ("4142", "")
    assert decode_text(b"4142\xc3\xa9", charset)[0] == "4142é"


def test_nul_is_taken_out_and_said():
    assert decode_text(b"a\x00b", "utf-8") == ("ab", "holds NUL")


def test_utf16_under_a_plain_name_leaves_no_nul():
    assert "\x00" not in decode_text("ab中".encode("utf-16-le"), "utf-8")[0]


def test_half_a_pair_of_surrogates_is_no_text():
    text, defect = decode_text(b"+2AA-", "utf-7")
    assert text.encode("utf-8")
    assert defect


@given(st.binary(), st.sampled_from(["", *sorted(set(encodings.aliases.aliases.values()))]) | st.text(max_size=20))
@example(b"\xff", "mbcs")
def test_decoding_never_raises_and_gives_text_that_can_be_kept(data, charset):
    text, _ = decode_text(data, charset)
    assert "\x00" not in text
    text.encode("utf-8")


@given(st.text(alphabet=st.characters(exclude_characters="\x00", exclude_categories=["Cs"])))
def test_utf8_comes_back_as_it_went(text):
    assert decode_text(text.encode(), "utf-8") == (text, "")


WORDS = [
    ("=?utf-8?q?caf=C3=A9?=", "café"),
    ("=?UTF-8?B?5aCx5YO5?=", "報價"),
    ("=?utf-8*zh?b?5aCx5YO5?=", "報價"),
    ("a =?utf-8?q?b?= c", "a b c"),
    ("=?utf-8?q?a?= =?utf-8?q?b?=", "ab"),
    ("=?utf-8?q?a?=\r\n =?utf-8?q?b?=", "ab"),
    ("=?utf-8?q?a_b?=", "a b"),
    ("=?utf-8?b?5aCx5Q==?= =?utf-8?b?g7k=?=", "報價"),
    ("=?big5?b?s/i7+Q==?= =?utf-8?b?5Zau?=", "報價單"),
    ("=?utf-8?b?5aCx5YO5", "=?utf-8?b?5aCx5YO5"),
    ("=?utf-8?x?abc?=", "=?utf-8?x?abc?="),
    ("=?=?utf-8?q?a?=", "=?a"),
    ("no words", "no words"),
    ("=?utf-8?q??=", ""),
    ("=?utf-8?b?5aCx5YO5=?=", "報價"),
]


@pytest.mark.parametrize(("field", "text"), WORDS)
def test_encoded_words_are_decoded(field, text):
    assert decode_words(field) == text


def test_a_word_within_a_word_is_decoded_once_only():
    field = "=?utf-8?q?caf=C3=A9_=3D=3FUTF-8=3FQ=3F=3D0A=3F=3DBcc:_attacker=40evil.example?="
    assert decode_words(field) == "café =?UTF-8?Q?=0A?=Bcc: attacker@evil.example"


@given(st.text(alphabet=st.characters() | st.sampled_from("=?bBqQ_ ")))
def test_decoding_words_never_raises(field):
    decode_words(field)


@pytest.mark.parametrize("piece", ["=?", "=?utf-8?q?", "=?utf-8?q?a?= ", "=?big5?b?pKQ?= =?gbk?b?pKQ?= ", "=?a?b?" + "A" * 500 + "?="])  # fmt: skip
def test_words_without_end_come_back(piece):
    decode_words(piece * (1_000_000 // len(piece)))


def test_python_knows_every_charset_of_the_table_by_the_name_we_use():
    from gateway.mail.charset import _LARGER, _SECOND

    for name in (*_LARGER.values(), *_SECOND.values()):
        codecs.lookup(name)
