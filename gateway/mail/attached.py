"""The texts in an attachment: of the file, of the mails in it and of what they attach, whatever type it says to be.

*Standards:* RFC 5545 §3.3.11 (how a calendar writes a new line).
"""

import re
from collections.abc import Iterator

from gateway.mail.charset import decode_text, decode_words, is_utf_16
from gateway.mail.html import html_to_text
from gateway.mail.parse import Attachment, Mail, parse, read_texts

_TEXTS_MAX = 1_000_000  # octets of an attached text that are looked at
_LOOKED_MAX = 2_000_000  # octets of an attached mail
_DEPTH_MAX = 5  # mails in mails
_MAILS_MAX = 100  # of a mailbox
_FIELDS = rb"(?:[A-Za-z-]{2,60}:[^\r\n]*\r?\n(?:[ \t][^\r\n]*\r?\n)*){2}"
_MAIL = re.compile(rb"(?:\xef\xbb\xbf)?\s{0,20}(?:From [^\r\n]{1,200}\r?\n)?" + _FIELDS)
_MBOX = re.compile(rb"(?:\A|\r?\n)From [^\r\n]{1,200}\r?\n")
_TAG = re.compile(r"<[^<>]{0,2000}>")
_CARD = re.compile(r"\bBEGIN:V(?:CALENDAR|CARD)\b", re.IGNORECASE)
_CARD_AT = 1_000  # characters before which a calendar or card begins
_NEWLINE = re.compile(r"\\[nN]|\r?\n[ \t]")  # as calendars and cards write one (RFC 5545 §3.3.11), and their folds
_MARKUP = re.compile(r"<(?:!doctype|\?xml|svg|text|tspan|html|head|body|div|p|table|span|br)\b", re.IGNORECASE)
# What holds a text that only its own program reads: S/MIME, PGP; and Outlook's own form, beside no text.
_SEALED = frozenset({"application/pkcs7-mime", "application/x-pkcs7-mime", "application/pgp-encrypted"})
_TNEF = frozenset({"application/ms-tnef", "application/vnd.ms-tnef"})
_ARMOUR = "-----BEGIN PGP MESSAGE-----"


def texts_in(attachment: Attachment, ids: list[str], depth: int = 0) -> Iterator[str]:
    """Give the texts in an attachment; add the Message-IDs of the mails in it to `ids`."""
    content = attachment.content[:_LOOKED_MAX]
    for mail_octets in _mails_in(attachment.media_type, content):
        mail = parse(mail_octets)
        ids.append(mail.message_id)
        yield mail.text
        yield "\n".join(decode_words(body) for _, body in mail.header.fields)
        for text in read_texts(mail_octets):
            yield from _shown_or_not(text)
        for each in mail.attachments if depth < _DEPTH_MAX else ():
            yield from texts_in(each, ids, depth + 1)
    # What looks like a mail may be a list of terms, a calendar or a card.
    if attachment.media_type.startswith("text/") or b"\0" not in content or is_utf_16(content):
        yield from _shown_or_not(decode_text(content[:_TEXTS_MAX], "")[0])


def attached_in(attachment: Attachment, depth: int = 0) -> Iterator[Attachment]:
    """Give what the mails in an attachment attach."""
    mails = _mails_in(attachment.media_type, attachment.content)
    for each in (each for mail in mails for each in parse(mail).attachments):
        yield each
        if depth < _DEPTH_MAX:
            yield from attached_in(each, depth + 1)


def _shown_or_not(text: str) -> Iterator[str]:
    """Give a text; of a page what its reader sees, what they do not, and what stands in its marks."""
    yield text
    if _CARD.search(text[:_CARD_AT]):
        yield _NEWLINE.sub(" ", text)
    if _MARKUP.search(text[:20_000]):
        yield html_to_text(text)
        yield _TAG.sub(" ", text)


def _mails_in(media_type: str, content: bytes) -> list[bytes]:
    """Return the mails of a file that is one, or a mailbox of some; [] if it holds none."""
    if media_type == "message/rfc822":
        return [content]
    if not _MAIL.match(content[:2000]):
        return []
    return _MBOX.split(content.removeprefix(b"\xef\xbb\xbf"), _MAILS_MAX)[:_MAILS_MAX]


def is_sealed(mail: Mail) -> bool:
    """Whether a mail may say what only its receiver's own program reads."""
    names = {each.name.lower() for each in mail.attachments}
    types = {each.media_type for each in mail.attachments}
    sealed = bool(types & _SEALED) or any(name.endswith(".p7m") for name in names) or _ARMOUR in mail.text
    return sealed or ((bool(types & _TNEF) or "winmail.dat" in names) and not mail.text.strip())
