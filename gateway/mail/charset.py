"""From octets to text: declared charsets, lying charsets, encoded words.

*Failure:* never raises; what cannot be decoded is replaced, and the caller is told.

*Standards:* RFC 2047 (encoded words), RFC 2045 §5.1 (charset), WHATWG Encoding for the
names that in practice mean a larger set (gb2312 is gb18030, big5 is cp950).
"""

import binascii
import codecs
import re

import chardet

_LARGER = {
    "gb2312": "gb18030", "gb_2312-80": "gb18030", "gbk": "gb18030", "x-gbk": "gb18030",
    "big5": "cp950", "big-5": "cp950", "x-big5": "cp950", "cn-big5": "cp950",
    "iso-8859-1": "cp1252", "latin1": "cp1252", "us-ascii": "utf-8", "ascii": "utf-8",
    "ks_c_5601-1987": "cp949", "euc-kr": "cp949", "shift_jis": "cp932",
    "utf8": "utf-8", "utf-8": "utf-8", "iso-8859-8-i": "iso-8859-8", "unicode-1-1-utf-7": "utf-7",
    "csiso2022jp": "iso-2022-jp",
}  # fmt: skip
_SECOND = {"cp950": "big5hkscs", "utf-8": "cp1252"}
# Codecs of Python that are no charsets of mail: they change sizes or run code paths of their own.
_NOT_CHARSETS = frozenset({"idna", "punycode", "raw_unicode_escape", "unicode_escape", "undefined", "mbcs", "oem"})
_WORD = re.compile(r"=\?([^?\s]{1,60})\?([bBqQ])\?([^?\s]*)\?=")
_WORDS_MAX = 500
# Charsets that say with ASCII octets what is not ASCII.
_ASCII_SHAPED = ("iso-2022", "iso2022", "utf-7", "utf7", "hz")
_GUESS_OCTETS = 20_000
_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def is_utf_16(data: bytes) -> bool:
    """Whether `data` begins with the byte order mark of UTF-16."""
    return data[:2] in _MARKS


def decode_text(data: bytes, declared: str = "") -> tuple[str, str]:
    """Decode `data` as the `declared` charset, or the likeliest one; give also the defect, or "".

    NUL is removed, for no part of a mail may hold it (RFC 5322 §4) and PostgreSQL stores none.
    """
    text, defect = _decode(data, declared.strip().strip("\"'").lower())
    if "\x00" in text:
        return text.replace("\x00", ""), defect or "holds NUL"
    return text, defect


def _decode(data: bytes, declared: str) -> tuple[str, str]:
    if is_utf_16(data):  # the mark says more than any declaration (WHATWG Encoding, "decode")
        lies = declared and not declared.startswith("utf-16")
        return data.decode("utf-16", "replace"), f"charset {declared} is really utf-16" if lies else ""
    charset = _LARGER.get(declared, declared)
    if data.isascii() and not charset.startswith(_ASCII_SHAPED):
        return data.decode("ascii"), ""
    first = _strict(data, charset)
    if first is not None:
        return first, ""
    for guess in ("utf-8", _SECOND.get(charset, "")):
        text = _strict(data, guess)
        if text is not None:
            return text, f"charset {declared or 'undeclared'!s} is really {guess}"
    guessed = chardet.detect(data[:_GUESS_OCTETS]).get("encoding") or ""
    text = _strict(data, guessed.lower())
    if text is not None:
        return text, f"charset {declared or 'undeclared'!s} guessed to be {guessed.lower()}"
    return data.decode("utf-8", "replace"), f"charset {declared or 'undeclared'!s} cannot be decoded"


def _strict(data: bytes, charset: str) -> str | None:
    if not charset:
        return None
    try:
        name = codecs.lookup(charset).name.replace("-", "_")
        if name in _NOT_CHARSETS:
            return None
        text = data.decode(charset)
    except (LookupError, ValueError, AssertionError):  # AssertionError: a few codecs assert
        return None
    return text if not any("\ud800" <= c <= "\udfff" for c in text) else None


def decode_words(field: str) -> str:
    """Return a header field body with its encoded words decoded (RFC 2047 §6.2).

    Neighbouring words of one charset are joined before decoding, for many programs cut a
    character in two. At most 500 words are decoded; the rest is left as it is.
    """
    if "=?" not in field:
        return field
    pieces: list[str] = []
    run: list[tuple[str, bytes]] = []
    at = 0
    for count, word in enumerate(_WORD.finditer(field)):
        if count >= _WORDS_MAX:
            break
        between = field[at : word.start()]
        if between.strip() or not run:
            pieces += [_decode_run(run), between]
            run = []
        run.append((word[1].partition("*")[0].lower(), _word_octets(word[2], word[3])))
        at = word.end()
    return "".join([*pieces, _decode_run(run), field[at:]])


def _decode_run(run: list[tuple[str, bytes]]) -> str:
    text: list[str] = []
    while run:
        charset = run[0][0]
        same = 1
        while same < len(run) and run[same][0] == charset:
            same += 1
        text.append(decode_text(b"".join(octets for _, octets in run[:same]), charset)[0])
        run = run[same:]
    return "".join(text)


def _word_octets(encoding: str, text: str) -> bytes:
    octets = text.encode("utf-8", "replace")
    if encoding in "qQ":
        return binascii.a2b_qp(octets, header=True)
    try:
        return binascii.a2b_base64(octets + b"=" * (-len(octets) % 4))
    except binascii.Error:
        return octets
