"""Split a reply into what its author wrote and what they quoted.

Every line gets a letter by tables of what mail programs write; a few rules over the string of
letters then say where the quoted part begins. Quotes that the author answers line by line stay,
for the answer would mean nothing without them. What another wrote never comes to stand at the top
of the author's text, for there it would command. Linear in the text; at most 64 KiB is examined.

*Standards:* RFC 3676 §4.5 (quoted lines); the attributions are custom, not standard.
"""

import re
from dataclasses import dataclass

from gateway.mail.address import without_unseen
from gateway.mail.html import QUOTE_BEGINS

EXAMINED = 64 * 1024  # characters; what is beyond them is whosever the last of them are
_LINE_MAX = 400  # characters of a line that are looked at
_SIGNATURE_LINES = 12  # lines under "-- " that still are a signature (RFC 3676 §4.3)
_WRAPPED = 6  # lines over which a program wraps an attribution

# An attribution is "b", or "a" where it is itself marked as quoted, or "w" where it may be a sentence of the author's;
# "A" and, for a banner, "B" are where all that follows is another's, marked as quoted or not.
_TEXT, _EMPTY, _RULE, _SIGNATURE, _FIELD, _QUOTE = "t", "e", "d", "s", "h", "q"
_BEGINS, _MARKED, _SAYS, _ALL, _BANNER = "b", "a", "w", "A", "B"

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
_BEGINNINGS = tuple(dict.fromkeys(begins for begins, _ in _ATTRIBUTIONS))
# (begins, has in it): "Op 10 dec. schreef X <x@y>:" — the name stands last.
_NAME_LAST = (("op ", " schreef "), ("am ", " schrieb "), ("den ", " skrev "), ("søn. ", " skrev "))
# Endings that make an attribution of a line with an address, a year or "via" in it.
_WROTE = (
    "wrote", "writes", "寫道", "写道", "schrieb", "написал", "написал(а)", "написала", "пише", "пишет",
    "napisał(a)", "napisał", "escribió", "a écrit", "ha scritto", "escreveu", "schreef", "skrev", "написав",
    "のメール", "のメッセージ",
)  # fmt: skip
_WROTE_ON = (" wrote on ", " schrieb am ")
_BANNERS = frozenset({
    "original message", "forwarded message", "reply message", "original appointment",
    "原始郵件", "原始邮件", "轉寄郵件", "转发邮件", "轉寄的郵件", "郵件原件", "原始信件",
    "ursprüngliche nachricht", "weitergeleitete nachricht", "message transféré", "message d'origine",
    "mensaje original", "mensaje reenviado", "messaggio originale", "mensagem original",
    "oorspronkelijk bericht", "doorgestuurd bericht", "oprindelig meddelelse", "ursprungligt meddelande",
    "исходное сообщение", "пересылаемое сообщение", "původní zpráva", "wiadomość oryginalna", "元のメッセージ",
    "回复的原邮件", "转发的原邮件", "转发的邮件", "replied message", "回覆的原郵件",
})  # fmt: skip
_SHORT_BANNERS = frozenset({"original", "原始"})  # only between long rules: QQ
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
    "传送自", "傳送自 ", "发自我的", "發自我的", "寄自我的", "获取 outlook", "獲取 outlook",
    "envoyé depuis ", "envoyé de mon ", "von meinem ", "diese nachricht wurde von ", "inviato da ", "sendt fra min ",
    "enviado do meu ", "enviado desde mi ", "verzonden met ", "verstuurd vanaf mijn ", "från min ", "skickat från min ",
    "wysłane z ", "отправлено с ", "取得 outlook", "下載適用於",
)  # fmt: skip
# What "sent via" and "from my" must name to be the signature of a program and no sentence.
_DEVICES = (
    "phone", "ipad", "mobile", "android", "galaxy", "tablet", "blackberry", "outlook", "mail", "app", "device", "pixel",
    "samsung", "huawei", "xiaomi", "ti-85", "手機", "手机", "iphone", "line", "傳送", "发送", "spark",
)  # fmt: skip
_SIGNATURE_MAX = 70
_RULES = frozenset("-_,=+~#*ᐧ—")
_ADDRESS = re.compile(r"[^\s@<>(\[]{1,64}@[^\s@<>)\]]{1,253}\.[^\s@<>)\]]{2,63}")
_YEAR = re.compile(r"(?<!\d)(?:19|20)\d\d(?!\d)")
_CLOCK = re.compile(r"(?<!\d)\d\d?[:.時时点點]\d\d(?!\d)")
_ISO_STAMP = re.compile(r"20\d\d-\d\d-\d\d \d\d?:\d\d GMT[+-]\d\d:\d\d [^:<]{1,100}:?")
_POSTED = re.compile(r"posted by .{1,200} on \d\d/\d\d/\d{4}", re.IGNORECASE)
_LINK = re.compile(r"\[([^\][]{1,200})\]\([^()\s]{1,200}\)")
# Thunderbird: one quote, then the answer.
_BELOW = re.compile(r"e*(?P<says>(?=[ab]))b*e?(?P<quote>[aq][aqe]*)e(?P<own>[th][teh]*)")
_RULED_FIELDS = re.compile(r"[eds]*[ds]e*(?=hhh)")  # Outlook, when nothing was written above what it quotes
_LIST_RULE = re.compile(r"_{20,}")  # Mailman's, above the footer it puts behind a mail
_ONE_LINE = re.compile(r"(?P<head>.{8,}?[:：])[ \t\xa0]{2,}(?=\S)")
_MARKS = re.compile(r"[>\s]*")


@dataclass(frozen=True, slots=True)
class Reply:
    """What the author wrote, and what they quoted; either may be empty."""

    text: str
    quoted: str


def split_reply(text: str) -> Reply:
    """Split the plain text of a mail; `text` and `quoted` come without empty lines around them.

    The first line of `text` is the author's own, or says that it is not: an attribution, a field, a marked line.
    """
    examined, beyond = text[:EXAMINED], text[EXAMINED:]
    lines = _unwrap(examined.replace("\r\n", "\n").split("\n"))
    letters = _letters(lines)
    kept = [n for n, letter in enumerate(letters) if letter not in (_RULE, _SIGNATURE)]
    pattern = "".join(letters[n] for n in kept)
    below = _BELOW.fullmatch(pattern)
    if below and _is_marked(lines[kept[below.start("says")]], lines[kept[below.start("quote")]]):
        start = kept[below.start("own")]
        return Reply(bare(_own(lines[start:], letters[start:])), bare("\n".join(lines[:start]) + beyond))
    cut = _cut(pattern)
    end = kept[cut] if cut < len(kept) else len(lines)
    own, quoted = _own(lines[:end], letters[:end]), "\n".join(lines[end:])
    if own.lstrip().startswith(QUOTE_BEGINS) and _like_command(bare(own)):
        own, quoted = "", own + quoted
    own, beyond = (own + beyond, "") if own and end == len(lines) else (own, beyond)
    return Reply(bare(own), bare(quoted + beyond))


def begins_quoted(text: str) -> bool:
    """Return whether HTML began with a quote: then its first line is another's, whoever wrote what is below."""
    return text[:EXAMINED].lstrip().startswith(QUOTE_BEGINS)


def without_quotes(text: str) -> str:
    """Return `text` without any quoted line, also those the author answers line by line."""
    quoted = (_QUOTE, _BEGINS, _MARKED, _SAYS, _BANNER)
    return "\n".join(line for line in text.split("\n") if _letter(line) not in quoted).strip("\n")


def bare(text: str) -> str:
    """Return `text` without the marks that HTML left in it, and without blanks around it."""
    return text.replace(QUOTE_BEGINS, "").strip()


def _own(lines: list[str], letters: list[str]) -> str:
    """Return the lines without rules, signatures and attributions.

    One that stands above a line like a command stays, lest the command come to the top; but some write below the
    signature that their phone had put there already.
    """
    own: list[str] = []
    commands = False  # whether the line below is like a command
    head = len(letters) - len("".join(letters).lstrip(_EMPTY + _SIGNATURE))
    for at in range(len(lines) - 1, -1, -1):
        left_out = letters[at] in (_RULE, _SIGNATURE, _BEGINS, _MARKED)
        if not left_out or (at >= head and commands):
            own.append(lines[at])
            commands = _like_command(lines[at]) if lines[at].strip() else commands
        elif letters[at] == _BEGINS:
            while own and not own[-1].strip():
                own.pop()
    return "\n".join(reversed(own))


def _is_marked(attribution: str, line: str) -> bool:
    """Whether the mark of the first quoted line is that of the program that wrote the attribution above it.

    Yahoo and NetEase mark nothing: a mark below their attributions is one of the quoted mail, and what stands
    below that is another's. Yahoo leaves a line and indents the next; only NetEase begins with "At".
    """
    return line.startswith(">") and not line.startswith(">>") and not attribution.lower().startswith("at ")


def _like_command(line: str) -> bool:
    return without_unseen(line).lstrip().startswith(("/", "／"))


def _cut(pattern: str) -> int:
    """Return the index where the quoted part begins; what is forwarded without a word of its own is the text."""
    begins = re.search(f"[{_ALL}{_BANNER}]", pattern)
    if begins and begins[0] == _BANNER and not pattern[: begins.start()].strip(_EMPTY):
        return len(pattern)
    own = _long_fields(pattern[: begins.start()] if begins else pattern)
    own = own[: _fields(own)]
    if _TEXT in own:
        return len(own.rstrip(_EMPTY + _QUOTE + _BEGINS + _MARKED))
    return 0 if begins or set(own) & {_QUOTE, _BEGINS, _MARKED} else len(pattern)


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
    """Give every line its letter; between two fences of code all is text, as are attributions in a forwarded mail."""
    letters = [_letter(line) for line in lines]
    fences = [at for at, line in enumerate(lines) if line.startswith("```")]
    for start, end in zip(fences[::2], fences[1::2], strict=False):
        letters[start : end + 1] = _TEXT * (end + 1 - start)
    _see_what_follows(letters)
    if fields := _RULED_FIELDS.match("".join(letters)):
        letters[fields.end()] = _BANNER
    if "".join(letters).lstrip(_EMPTY + _RULE + _SIGNATURE).startswith(_BANNER):
        letters = [_TEXT if letter in (_BEGINS, _MARKED) else letter for letter in letters]
    _end_with_signature(lines, letters)
    _end_with_footer(lines, letters)
    return letters


def _see_what_follows(letters: list[str]) -> None:
    """Decide by what is below an attribution whether that is marked as quoted, or all of it another's."""
    follows = ""
    for at in range(len(letters) - 1, -1, -1):
        if letters[at] == _EMPTY:
            continue
        if letters[at] in (_BEGINS, _SAYS, _MARKED):
            marked = follows in (_QUOTE, _BEGINS, _MARKED)
            alone = {_BEGINS: _ALL, _SAYS: _TEXT, _MARKED: _QUOTE}[letters[at]]
            letters[at] = alone if not marked else _MARKED if letters[at] == _MARKED else _BEGINS
        follows = letters[at]


def _end_with_signature(lines: list[str], letters: list[str]) -> None:
    """Mark the lines under "-- " as a signature, as far as the next quote (RFC 3676 §4.3)."""
    sign = next((at for at, line in enumerate(lines) if line.rstrip() == "--"), None)
    if sign is None or letters[sign] != _RULE or _TEXT not in letters[:sign]:
        return
    behind = "".join(letters[sign:])
    end = len(re.split(r"[ABbaq]|hhh", behind, maxsplit=1)[0])
    if behind.count(_TEXT, 0, end) <= _SIGNATURE_LINES:
        letters[sign : sign + end] = behind[:end].replace(_TEXT, _SIGNATURE)


def _end_with_footer(lines: list[str], letters: list[str]) -> None:
    """Mark what a list put behind a mail that ends with a quote."""
    last = max((at for at, letter in enumerate(letters) if letter in (_QUOTE, _MARKED)), default=len(letters))
    rule = next((at for at in range(last + 1, len(letters)) if letters[at] != _EMPTY), None)
    if rule is not None and _TEXT in letters[:last] and _LIST_RULE.fullmatch(lines[rule].strip()):
        letters[rule:] = [_SIGNATURE] * (len(letters) - rule)


def _letter(line: str) -> str:
    bare = line.strip()[:_LINE_MAX]
    if not bare:
        return _EMPTY
    low = bare.replace("&nbsp;", " ").lower()  # QQ writes it into plain text
    if bare[0] == ">":
        return _MARKED if _is_attribution(bare, low) else _QUOTE
    if bare != "*" and all(char in _RULES or char.isspace() for char in bare):  # alone, it stands for all
        return _RULE
    tables = ((_SIGNATURE, _is_signature), (_FIELD, _is_field), (_BANNER, _is_banner))
    letter = next((letter for letter, is_one in tables if is_one(low)), _TEXT)
    if letter == _TEXT and _is_attribution(bare, low):
        # A sentence may end so ("In 2026 he wrote:"), but names no hour and no address.
        return _BEGINS if _CLOCK.search(low) or (_YEAR.search(low) and _ADDRESS.search(low)) else _SAYS
    return letter


def _is_signature(low: str) -> bool:
    low = _LINK.sub(r"\1", low).lstrip("(<")
    if len(low) > _SIGNATURE_MAX:
        return False
    if low.startswith(("from my ", "sent via ", "sent by ", "sent with ", "從我的", "从我的", "來自我的", "来自我的")):
        return any(device in low for device in _DEVICES)
    if low.startswith("取得 ") and "版 outlook" in low:
        return True
    sent = next((each for each in ("傳送", "发送", "發送", "寄出") if low.endswith(each)), "")
    if sent and low.startswith(("從", "从", "由", "透過", "通过")):
        return any(device in low.removesuffix(sent) for device in (*_DEVICES, "郵件", "邮件"))
    return low.startswith(_SIGNATURES) or low.partition(" ")[2].startswith("from mobile") or low.endswith("から送信")


def _is_field(low: str) -> bool:
    if low.startswith("| "):  # NetEase Mail Master writes them as a table
        name, colon, value = low.strip("| ").partition("|")
    else:
        name, colon, value = low.replace("：", ":").partition(":")
    name = name.strip("* \t")
    if not colon or not value.strip("* \t"):
        return False
    return name in _TEXT_FIELDS or (name in _DATE_FIELDS and any(char.isdigit() for char in value))


def _is_banner(low: str) -> bool:
    words = low.strip("-_=*<> \t:")
    if words != low and (words in _BANNERS or (words in _SHORT_BANNERS and low.startswith("-----"))):
        return True
    return QUOTE_BEGINS in low or low.startswith(_FORWARDED)


def _is_attribution(bare: str, low: str) -> bool:
    """Whether one line says who wrote, and when, what follows."""
    head = low.lstrip("<>-* \t")
    end = head.rstrip(".:：>-* \t")
    for begins, ends in _ATTRIBUTIONS:
        if head.startswith(begins) and end.endswith(ends) and len(end) > len(begins) + 8:
            return True
    if head.rstrip().endswith(":") and any(head.startswith(begins) and within in head for begins, within in _NAME_LAST):
        return True
    if end.endswith(_WROTE) and (_YEAR.search(low) or _ADDRESS.search(low) or " via " in low):
        return True
    if any(within in low for within in _WROTE_ON) and low.endswith(":"):
        return True
    if low.endswith((">:", ">：")) and _YEAR.search(low) and _ADDRESS.search(low.rpartition("<")[2]):
        return True
    return bool(_ISO_STAMP.fullmatch(bare.lstrip("> ")) or _POSTED.fullmatch(head))


def _unwrap(lines: list[str]) -> list[str]:
    """Join the lines over which a program wrapped one attribution, and part one from what it quotes on its line."""
    joined: list[str] = []  # from the last line upwards, so that a line knows the attribution below it as one
    for line in reversed([part for each in lines for part in _parted(each)]):
        joined.append(line.rstrip())
        if _opens(line) and (below := _wrapped(joined)):
            first, *rest = reversed(joined[-below - 1 :])
            joined[-below - 1 :] = [_together(first, rest)]
    return joined[::-1]


def _parted(line: str) -> list[str]:
    """Part an attribution from the first line of its quote: Yahoo for Android puts both on one."""
    found = _ONE_LINE.match(line[:_LINE_MAX])
    if found is None or line.lstrip().startswith(">") or _letter(found["head"]) != _BEGINS:
        return [line]
    return [found["head"], " " + line[found.end() :]]


def _together(first: str, rest: list[str]) -> str:
    return " ".join([first, *(_MARKS.sub("", line, count=1).strip("- ") for line in rest)])


def _opens(line: str) -> bool:
    """Whether an attribution may begin on a line and go on below it."""
    head = line[:_LINE_MAX].lower().strip("<>-* \t\r")
    if not head or head[0] in "/／" or head[-1] in "。！？!?" or _is_field(head):
        return False
    if head.startswith(_BEGINNINGS) or any(within in head for within in _WROTE_ON):
        return True
    return bool(_YEAR.search(head)) or (line.rstrip().endswith(">") and bool(_ADDRESS.search(head)))


def _wrapped(joined: list[str]) -> int:
    """Return over how many lines below it an attribution goes on that begins on the last line of `joined`, or 0."""
    first = joined[-1][:_LINE_MAX]
    whole = first.strip()
    if _is_attribution(whole, whole.lower()):
        return 0
    sure = whole.lower().lstrip("<>-* ").startswith(_BEGINNINGS) and _YEAR.search(whole) and _CLOCK.search(whole)
    for more in range(1, min(_WRAPPED, len(joined))):
        line = joined[-1 - more][:_LINE_MAX]
        bare = _MARKS.sub("", line, count=1).strip("- ")
        if not bare and sure:
            continue
        goes_on = _depth(line) == _depth(first) or bare.lower().rstrip(":： ") in _WROTE
        if not bare or not goes_on or _is_field(bare.lower()) or _stands_alone(bare, first):
            return 0
        whole += " " + bare
        low = whole.lower()
        if len(whole) > _LINE_MAX or low.count(" wrote") > 1:
            return 0
        if _is_attribution(whole, low):
            return more
    return 0


def _stands_alone(line: str, first: str) -> bool:
    """Whether a line is an attribution that needs no `first` line above it."""
    low = line.lower()
    if not _is_attribution(line, low):
        return False
    if low.startswith("於") and first.rstrip().endswith(">"):
        return False
    if low[0].isdigit() or low.startswith("at "):
        return not first.lower().lstrip("<>-* \t").startswith(_BEGINNINGS)
    return low.startswith(_BEGINNINGS) or bool(_YEAR.search(low))


def _depth(line: str) -> int:
    return line[: len(line) - len(line.lstrip("> \t"))].count(">")
