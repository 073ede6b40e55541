"""Split a reply into what its author wrote and what they quoted.

Every line gets a letter by tables of what mail programs write; a few rules over the string of
letters then say where the quoted part begins. Quotes that the author answers line by line stay,
for the answer would mean nothing without them. Linear in the text; at most 64 KiB is examined.

*Standards:* RFC 3676 §4.5 (quoted lines); the attributions are custom, not standard.
"""

import re
from dataclasses import dataclass

from gateway.mail.html import QUOTE_BEGINS

EXAMINED = 64 * 1024  # characters; what is beyond them counts as quoted
_LINE_MAX = 400  # characters of a line that are looked at
_SIGNATURE_LINES = 12  # lines under "-- " that still are a signature (RFC 3676 §4.3)
_WRAPPED = 6  # lines over which a program wraps an attribution

_TEXT, _EMPTY, _RULE, _SIGNATURE, _BEGINS, _FIELD, _QUOTE = "t", "e", "d", "s", "b", "h", "q"

# (how an attribution begins, how it ends) in lower case, its punctuation aside.
_ATTRIBUTIONS = (
    ("on ", ("wrote", "writes", "says", "said")),
    ("at ", ("wrote", "writes", "says", "said")),
    ("in message ", ("writes", "wrote")),
    ("於 ", ("寫道",)), ("於", ("寫道",)), ("在 ", ("寫道", "写道")), ("在", ("寫道", "写道")),
    ("le ", ("a écrit", "nous a dit")),
    ("am ", ("schrieb", "geschrieben", "schrieben sie")),
    ("op ", ("het volgende geschreven", "schreef")),
    ("il ", ("ha scritto",)),
    ("em ", ("escreveu",)),
    ("el ", ("escribió",)),
    ("dnia ", ("napisał", "napisał(a)", "napisał/a")), ("dňa ", ("napísal", "napísal(a)")),
    ("den ", ("skrev", "skrev följande")),
)  # fmt: skip
# (begins, has in it): "Op 10 dec. schreef X <x@y>:" — the name stands last.
_NAME_LAST = (("op ", " schreef "), ("am ", " schrieb "), ("den ", " skrev "), ("søn. ", " skrev "))
# Endings that make an attribution of a line with an address, a year or "via" in it.
_WROTE = (
    "wrote", "writes", "寫道", "写道", "schrieb", "написал", "написал(а)", "написала", "пише", "пишет",
    "napisał(a)", "napisał", "escribió", "a écrit", "ha scritto", "escreveu", "schreef", "skrev", "написав",
)  # fmt: skip
_WROTE_ON = (" wrote on ", " schrieb am ")
_BANNERS = frozenset({
    "original message", "forwarded message", "reply message", "original appointment",
    "原始郵件", "原始邮件", "轉寄郵件", "转发邮件", "轉寄的郵件", "郵件原件", "原始信件",
    "ursprüngliche nachricht", "weitergeleitete nachricht", "message transféré", "message d'origine",
    "mensaje original", "mensaje reenviado", "messaggio originale", "mensagem original",
    "oorspronkelijk bericht", "doorgestuurd bericht", "oprindelig meddelelse", "ursprungligt meddelande",
    "исходное сообщение", "пересылаемое сообщение", "původní zpráva", "wiadomość oryginalna", "元のメッセージ",
})  # fmt: skip
_FORWARDED = (
    "begin forwarded message",
    "début du message transféré",
    "下面是被轉寄的郵件",
    "以下是轉寄的郵件",
    "anfang der weitergeleiteten",
)
_DATE_FIELDS = frozenset({
    "sent", "date", "le", "gesendet", "datum", "enviada em", "enviado", "enviado el", "fecha", "data", "inviato",
    "envoyé", "skickat", "sendt", "verzonden", "寄件日期", "傳送日期", "日期", "发送时间", "發送時間", "发送日期",
    "wysłano", "дата", "отправлено",
})  # fmt: skip
_TEXT_FIELDS = frozenset({
    "from", "to", "cc", "bcc", "reply-to", "subject", "寄件者", "寄件人", "收件者", "收件人", "副本", "主旨", "主題",
    "发件人", "發件人", "主题", "抄送", "fra", "til", "emne", "de", "expéditeur", "à", "destinataire", "répondre à",
    "objet", "von", "an", "betreff", "para", "assunto", "asunto", "da", "risposta", "a", "oggetto", "van", "aan",
    "beantwoorden - aan", "onderwerp", "från", "till", "ämne", "od", "do", "temat", "от", "кому", "тема", "копия",
})  # fmt: skip
_SIGNATURES = (
    "sent from ", "sent via ", "sent with ", "sent by ", "get outlook for ", "從我的",
    "传送自", "傳送自 ", "发自我的",
    "envoyé depuis ", "envoyé de mon ", "von meinem ", "diese nachricht wurde von ", "inviato da ", "sendt fra min ",
    "enviado do meu ", "enviado desde mi ", "verzonden met ", "verstuurd vanaf mijn ", "från min ", "skickat från min ",
    "wysłane z ", "отправлено с ", "取得 outlook", "下載適用於",
)  # fmt: skip
# What "sent via" and "from my" must name to be the signature of a program and no sentence.
_DEVICES = (
    "phone", "ipad", "mobile", "android", "galaxy", "tablet", "blackberry", "outlook", "mail", "app", "device", "pixel",
    "samsung", "huawei", "xiaomi", "ti-85", "手機", "手机", "iphone", "line", "傳送", "发送",
)  # fmt: skip
_SIGNATURE_MAX = 70
_RULES = frozenset("-_,=+~#*ᐧ—")
_ADDRESS = re.compile(r"[^\s@<>(\[]{1,64}@[^\s@<>)\]]{1,253}\.[^\s@<>)\]]{2,63}")
_YEAR = re.compile(r"(?<!\d)(?:19|20)\d\d(?!\d)")
_ISO_STAMP = re.compile(r"20\d\d-\d\d-\d\d \d\d?:\d\d GMT[+-]\d\d:\d\d [^:<]{1,100}:?")
_POSTED = re.compile(r"posted by .{1,200} on \d\d/\d\d/\d{4}", re.IGNORECASE)
_LINK = re.compile(r"\[([^\][]{1,200})\]\([^()\s]{1,200}\)")
_BOTTOM_POSTED = re.compile(r"e*be*q[eq]*(?P<own>t[te]*)")  # Thunderbird: one quote, then the answer
_MARK = re.compile(r"[>\s]*")


@dataclass(frozen=True, slots=True)
class Reply:
    """What the author wrote, and what they quoted; either may be empty."""

    text: str
    quoted: str


def split_reply(text: str) -> Reply:
    """Split the plain text of a mail; `text` and `quoted` come without empty lines around them."""
    examined, beyond = text[:EXAMINED], text[EXAMINED:]
    lines = _unwrap(examined.replace("\r\n", "\n").split("\n"))
    letters = _letters(lines)
    kept = [n for n, letter in enumerate(letters) if letter not in (_RULE, _SIGNATURE)]
    pattern = "".join(letters[n] for n in kept)
    below = _BOTTOM_POSTED.fullmatch(pattern)
    if below:
        start = below.start("own")
        return Reply(_bare("\n".join(lines[n] for n in kept[start:])), _bare("\n".join(lines[: kept[start]]) + beyond))
    pattern, cut = _cut(pattern)
    dropped = _BEGINS if _QUOTE in letters or cut < len(kept) else ""
    own = "\n".join(lines[n] for n, letter in zip(kept, pattern, strict=False) if letter != dropped)
    quoted = "\n".join(lines[kept[cut] :]) if cut < len(kept) else ""
    return Reply(_bare(own), _bare(quoted + beyond))


def begins_quoted(text: str) -> bool:
    """Return whether HTML began with a quote: then its first line is another's, whoever wrote what is below."""
    return text[:EXAMINED].lstrip().startswith(QUOTE_BEGINS)


def without_quotes(text: str) -> str:
    """Return `text` without any quoted line, also those the author answers line by line."""
    return "\n".join(line for line in text.split("\n") if _letter(line) not in (_QUOTE, _BEGINS)).strip("\n")


def _bare(text: str) -> str:
    return text.replace(QUOTE_BEGINS, "").strip()


def _cut(pattern: str) -> tuple[str, int]:
    """Return the letters of what is kept, and the index where the quoted part begins."""
    whole = pattern
    cut = len(pattern)
    for rule in (_begins_last, _begins_and_quotes):
        cut = min(cut, rule(pattern))
        pattern = pattern[:cut]
    pattern = _long_fields(pattern)
    cut = min(cut, _fields(pattern))
    pattern = pattern[:cut]
    if _TEXT in pattern:
        end = len(pattern.rstrip(_EMPTY + _QUOTE + _BEGINS))
        pattern, cut = pattern[:end], min(cut, end)
    elif _QUOTE in whole or _BEGINS in whole:
        pattern, cut = "", 0
    return pattern, cut


def _begins_after_text(pattern: str, start: int) -> int:
    """Return the index of the first attribution at or after `start` that has text right before it."""
    previous = _EMPTY
    for at, letter in enumerate(pattern):
        if letter == _BEGINS and previous == _TEXT and at >= start:
            return at
        if letter != _EMPTY:
            previous = letter
    return len(pattern)


def _begins_last(pattern: str) -> int:
    """An attribution behind which no line is marked as quoted: Outlook, top-posted."""
    return _begins_after_text(pattern, pattern.rfind(_QUOTE) + 1)


def _begins_and_quotes(pattern: str) -> int:
    """An attribution, quotes, and perhaps a footer that some list added behind them."""
    head = pattern.rstrip(_TEXT + _EMPTY)
    return _begins_after_text(pattern, len(head.rstrip(_EMPTY + _QUOTE + _BEGINS + _FIELD)))


def _long_fields(pattern: str) -> str:
    """Fields that a program wrapped: what stands between two of a block belongs to it."""
    for block in re.finditer(r"h[ht]*", pattern):
        if block[0].count(_FIELD) >= 2 and block[0].rstrip(_TEXT).endswith(_FIELD):
            end = block.start() + len(block[0].rstrip(_TEXT))
            pattern = pattern[: block.start()] + _FIELD * (end - block.start()) + pattern[end:]
    return pattern


def _fields(pattern: str) -> int:
    """Three header fields one after the other, as Outlook writes above what it quotes."""
    at = pattern.find(_FIELD * 3)
    return at if at > 0 and _TEXT in pattern[:at] else len(pattern)


def _letters(lines: list[str]) -> list[str]:
    """Give every line its letter; between two fences of code all is text."""
    letters = [_letter(line) for line in lines]
    for at, line in enumerate(lines[1:], 1):
        if letters[at - 1] == _BEGINS and line.strip("> \t").lower().rstrip(":： \t") in _WROTE:
            letters[at] = _BEGINS
    fences = [at for at, line in enumerate(lines) if line.startswith("```")]
    for start, end in zip(fences[::2], fences[1::2], strict=False):
        letters[start : end + 1] = _TEXT * (end + 1 - start)
    sign = next((at for at, line in enumerate(lines) if line.rstrip() == "--"), None)
    if sign is not None and _TEXT in letters[:sign] and letters[sign] == _RULE:
        rest = [_SIGNATURE if letter == _TEXT else letter for letter in letters[sign:]]
        if rest.count(_SIGNATURE) <= _SIGNATURE_LINES and _BEGINS not in rest:
            letters[sign:] = rest
    return letters


def _letter(line: str) -> str:
    bare = line[:_LINE_MAX].strip()
    if not bare:
        return _EMPTY
    if bare == QUOTE_BEGINS:
        return _BEGINS
    if all(char in _RULES or char.isspace() for char in bare):
        return _RULE
    low = bare.lower()
    if _is_signature(low):
        return _SIGNATURE
    if _is_attribution(bare, low):
        return _BEGINS
    if _is_field(low):
        return _FIELD
    return _QUOTE if bare[0] == ">" else _TEXT


def _is_signature(low: str) -> bool:
    low = _LINK.sub(r"\1", low).lstrip("(<")
    if len(low) > _SIGNATURE_MAX:
        return False
    if low.startswith(("from my ", "sent via ", "sent by ", "sent with ", "從我的", "从我的")):
        return any(device in low for device in _DEVICES)
    return low.startswith(_SIGNATURES) or low.partition(" ")[2].startswith("from mobile")


def _is_field(low: str) -> bool:
    name, colon, value = low.replace("：", ":").partition(":")
    name = name.strip("* \t>")
    if not colon or not value.strip("* \t"):
        return False
    return name in _TEXT_FIELDS or (name in _DATE_FIELDS and any(char.isdigit() for char in value))


def _is_attribution(bare: str, low: str) -> bool:
    """Whether one line says who wrote, and when, what follows."""
    head = low.lstrip("<>-* \t")
    end = head.rstrip(".:：>-* \t")
    for begins, ends in _ATTRIBUTIONS:
        if head.startswith(begins) and end.endswith(ends) and len(end) > len(begins) + 8:
            return True
    if head.rstrip().endswith(":") and any(head.startswith(begins) and within in head for begins, within in _NAME_LAST):
        return True
    if head.startswith(_FORWARDED) or _is_banner(head):
        return True
    if end.endswith(_WROTE) and (_YEAR.search(low) or _ADDRESS.search(low) or " via " in low):
        return True
    if any(within in low for within in _WROTE_ON) and low.endswith(":"):
        return True
    if low.endswith((">", ">:", ">：")) and _YEAR.search(low) and _ADDRESS.search(low.rpartition("<")[2]):
        return True
    return bool(_ISO_STAMP.fullmatch(bare.lstrip("> ")) or _POSTED.fullmatch(head))


def _is_banner(head: str) -> bool:
    words = head.strip("-_=*> \t")
    return (words != head.rstrip() and words in _BANNERS) or (words in _BANNERS and len(words) < len(head))


def _unwrap(lines: list[str]) -> list[str]:
    """Join the lines over which a program wrapped one attribution."""
    joined: list[str] = []
    at = 0
    while at < len(lines):
        count = _wrapped(lines, at)
        first, *rest = lines[at : at + count]
        joined.append(" ".join([first.rstrip(), *(_MARK.sub("", line, count=1).strip("- ") for line in rest)]))
        at += count
    return joined


def _wrapped(lines: list[str], at: int) -> int:
    first = lines[at][:_LINE_MAX]
    head = first.lower().lstrip("<>-* \t")
    opens = head.startswith(tuple(begins for begins, _ in _ATTRIBUTIONS)) or bool(_YEAR.search(head))
    opens = opens or any(within in head for within in _WROTE_ON)
    if not opens or _is_attribution(first.strip(), first.strip().lower()):
        return 1
    whole = first.rstrip()
    for more in range(1, _WRAPPED):
        if at + more >= len(lines) or len(whole) > _LINE_MAX:
            return 1
        whole += " " + _MARK.sub("", lines[at + more][:_LINE_MAX], count=1).strip("- ")
        low = whole.strip().lower()
        if not lines[at + more].strip():
            continue
        if low.count(" wrote") < 2 and _is_attribution(whole.strip(), low):
            return more + 1
    return 1
