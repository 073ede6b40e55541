"""Read a bounce, whatever program wrote it: what became of the mail, and what to tell who sent it.

A delivery report is read field by field. Programs older than the standard, or careless of it, write
prose: what they are known to write is known to flufl.bounce, and the rest is read by its words.

*Failure:* total: nothing raises, and the work is linear in a capped text. What may not be a bounce
is None, for a person's words must not be lost; what is uncertain is never `hard`.

*Standards:* RFC 3464 §2.3 (per-recipient fields), RFC 3463 §3 and RFC 5248 (status codes),
RFC 6522 (multipart/report). The words and codes of NetEase, QQ, Yahoo and the rest are custom.
"""

import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from email.message import Message
from typing import Literal

from flufl.bounce import all_failures

from gateway.mail.address import parse_address
from gateway.mail.header import split_mail
from gateway.mail.parse import Mail, parse
from gateway.mail.status import readable

Action = Literal["failed", "delayed", "delivered", "relayed", "expanded"]
Cause = Literal["address", "full", "blocked", "size", "temporary", "other"]

CONTENT_MAX = 256 * 1024  # octets of a mail that are looked at
FIELDS_MAX = 64_000  # octets of a report's fields
PROSE_MAX = 24_000  # characters of prose: a program gives its reason before it returns the mail
LINE_MAX = 250  # characters of a line of it
_REASON_MAX = 2_000
_STATUS = re.compile(r"([245]\.\d{1,3}\.\d{1,3})")
_FIELD = re.compile(r"(action|status|diagnostic-code|original-recipient|final-recipient)[ \t]*:[ \t]*", re.IGNORECASE)
_DISPOSITION = re.compile(r"^disposition[ \t]*:", re.IGNORECASE | re.MULTILINE)
_INLINE = re.compile(r"^(?:original|final)-recipient[ \t]*:", re.IGNORECASE | re.MULTILINE)
# What some programs write where the standard has "failed".
_LOOSE = {"failure": "failed", "error": "failed", "fail": "failed", "undeliverable": "failed"}


def _any(*words: str, flags: int = re.IGNORECASE) -> re.Pattern[str]:
    return re.compile("|".join(words), flags)


_NOT_SENT = r"退[信件回]|(無法|无法|未能?)(送達|送达|傳遞|传递|投递|投遞|寄達)|(投递|投遞|傳送|发送|寄送|傳遞)失[败敗]"
_MACHINE = _any(
    r"mailer-?daemon|post-?master|mail[ .]delivery[ .](sub)?system|delivery subsystem|system administrator|mdaemon@|<>",
    r"smtp_|\bndr@|\bbounces?[@+]|microsoftexchange|系[统統]管理|[郵邮]件系[统統]|系[统統]退信",
)
_TITLE = _any(
    r"un-?deliver|non.?delivery|delivery.{0,20}(fail|delay|problem|warning|notification)|mail.{0,12}(fail|error)",
    r"returned mail|failure notice|could not send message|(not|n't) (yet )?(been |be )?delivered|non remis|延[遲迟]",
    _NOT_SENT,
)
_ANSWER = _any(r"\s*(re|aw|sv|fwd?|wg|tr|回[覆复]|答[覆复]|轉寄|转发|自動回[覆复]|自动回复)\s*[:：](?!.*: non remis)")
_FAILED = _any(
    r"un-?deliver(able|ed)|(unable|failed) to (be )?deliver|(not|n't) (be(en)? )?(able to )?deliver",
    r"deliver(y|ed)?\b.{0,60}\b(fail|error|abort)|(fail|error).{0,20}\b(deliver|address|recipient)",
    r"failed mail|returned (mail|to sender|because)|given up|permanent(ly)? (error|fail)|was rejected|n'a pas pu",
    r"fatal error|not (reach|receive)|被拒|was aborted|user unknown|(unknown|no such) user|no mailbox|user mailbox",
    _NOT_SENT,
)
_DELAYED = _any(
    r"\bdelay|not yet (been )?delivered|will be retried|(keep|continue|still) (trying|to (try|be made))",
    r"no action is required|warning message only|延[遲迟]|(繼續|继续)(嘗試|尝试)|稍[後后](再|會|会)",
)
_GIVEN_UP = _any(r"giv(en|ing) up|permanent|could not be delivered|放[棄弃]")
_ORIGINAL = _any(
    r"^.{0,40}(original message|copy of (the|your|my) message|message copy|below (this|the next) line",
    r"returned (mail|message)\b|headers? of the|(headers?|text) follows|forwarded message|message reads)",
    r"^(received|return-path|message-id|mime-version):",
    flags=re.IGNORECASE | re.MULTILINE,
)

_BY_STATUS: dict[str, Cause] = {
    **dict.fromkeys(("1.1", "1.2", "1.3", "1.4", "1.6", "1.10", "2.1", "4.4", "4.310"), "address"),
    **dict.fromkeys(("2.2", "3.1"), "full"),
    **dict.fromkeys(("1.7", "1.8"), "blocked"),
    **dict.fromkeys(("2.3", "3.4"), "size"),
}
_BOX = (
    r"(user|recipient|rcpt|mail ?box|account|(?<!ip )address|alias|inbox|person|addressee|userid)s?"
    r"( (id|name|address))?"
)
_WHO = rf"({_BOX}|domain|host|e-?mail)"
_WER = r"(收件|收信|用[户戶]|使用者|[帳账帐][號号户戶]|[邮郵信]箱|地址|域名|[網网]域|[对對]方)"
_NOBODY = _any(rf"user ?unknown|(unknown|no such) (user|recipient|mailbox)|{_BOX}.{{0,40}}not (exist|found)")
_SPAM = _any(
    r"spam|junk|unsolicited|bulk mail|(black|block|deny).?list|\b(ube|uce|rbls?|dmarc|dkim|spf|ptr|helo)\b|dnsbl",
    r"blocked (using|by)|client host|phish|malware|\bvirus\b|(content|message) (denied|rejected|blocked|not allowed)",
    r"\b(dt|mi|rp|hl|ip):[a-z]{3}\b|\[(ts|ph|bl|ss)s?\d\d\]|reverse dns|reputation",
    r"(?<!to )(?<!to the )sender.{0,60}(reject|denied|invalid|unknown|not|verif|resolve|block)|mail from.{0,20}reject",
    r"垃圾|黑名[单單]|病毒|[违違][规規]|拒收|(寄件|发件|發件|寄信|发信)[人者].{0,20}[不拒无無未]",
)
_FULL = _any(
    r"(mail ?box|inbox|account|folder|user|storage|disk|space).{0,30}\b(is |was |too )?full\b|over.?quota",
    r"quota.{0,30}(exceed|full|limit|violat)|(exceed|over|out of|reached).{0,40}quota|exceed.{0,30}storage|no space",
    r"(mail ?box|inbox|user).{0,30}(exceed|size limit|over its|over the|limit reached)|out of (disk |storage )?space",
    r"(not|in)\s?.{0,10}(enough|sufficient).{0,15}(space|storage)|space not enough|(disk|storage) (full|limit)",
    r"([信邮郵]箱|收件[匣夹]|[郵邮]件[匣夹]|空[间間]|容量).{0,10}([滿满]|不足|超[过過出]|用完|用盡)",
    r"quotaexceeded|配[額额]|超[过過出].{0,6}容量",
)
_SIZE = _any(
    r"too (large|big)|(message|mail|attachment|content)s?.{0,30}(exceed|larger|over.?size)|exceed.{0,40}\bsize",
    r"(message|mail) ?size|size ?limit|larger than|([郵邮信]件|附件|大小).{0,12}([過过太]大|超[過过出])|大小限制",
)
_LATER = _any(
    r"temporar|try( again)? later|, try again|gr[ae]y.?list|rate.?limit|at a rate|frequency|not respond|no answer",
    r"connection (refused|reset|lost|closed|failed)|network (is )?unreachable|no route to host|deferred",
    r"tim(ed|e) ?out|too (quickly|fast|many (conn|mess|mail|sess))|稍[後后]|[暫暂][時时]|逾時|超[时時]|[频頻][率繁]",
)
_ADDRESS = _any(
    rf"(unknown|no ?such|invalid|bad|illegal|non-?exist\w+) ([a-z-]+ ){{0,2}}{_WHO}|user ?unknown|no ?such ?user",
    rf"{_WHO}.{{0,60}}\b(d(o|oe?s|id)(n't| ?not)|not) exist|not a valid|not listed in|recip(ient)?notfound|null ?mx",
    rf"{_WHO}.{{0,40}}\b(not|n't|cannot) (be )?(found|known|valid|listed|recogni|our)|{_WHO} (is )?unknown|nxdomain",
    rf"{_BOX}.{{0,30}}\b(unknown|invalid|disabled|inactive|unavailable|deactivated|suspended|closed|expired|no longer)",
    rf"{_BOX}.{{0,30}}(discontinued|not (active|local|available))|(by|of) th(at|is) name|n't have an? .{{0,30}}account",
    r"name service error|not our customer|no mailbox|address rejected: access denied|(couldn't be|wasn't) found",
    r"not accept (any )?(e-?)?mail|unrout(e?able)",
    rf"{_WER}[^。，；]{{0,40}}(不存在|[无無]效|未知|找不到|停用|禁用|[冻凍][结結]|[锁鎖]定|[注註][销銷]|不正[確确])",
    rf"{_WER}[^。，；]{{0,40}}([错錯][误誤]|有[误誤])|([查没沒][有無无]?|[無无]|找不到|不存在)[此该該的]{{0,2}}{_WER}",
)
_BLOCKED = _any(
    r"block|\bban(ned)?\b|denied|reject|prohibit|refused|polic(y|ies)|not (authori|permit|allow|accept)|relay",
    r"notauthorized|authentication|restrict|拒[絕绝]|[攔拦]截|封[锁鎖]|策略|政策|禁止|限制",
)
# In this order: what is said of a filter or of us outweighs what is said of the address.
_BY_WORDS: tuple[tuple[re.Pattern[str], Cause], ...] = (
    *((_SPAM, "blocked"), (_FULL, "full"), (_SIZE, "size")),
    *((_LATER, "temporary"), (_ADDRESS, "address"), (_BLOCKED, "blocked")),
)
_CODED = re.compile(
    r"(?:(?<![\d.])[245]\d\d:?[ -]#?|[#(] ?|\b(?:message|error|code|status):? |-- )([245]\.\d{1,3}\.\d{1,3})(?![\d.])"
)
_REPLY = re.compile(r"(?<![\d.#:/=-])([45])\d\d(?=[ -](?!\d)|[ -]\d\.\d|:)")
_HOST = re.compile(r"[a-zA-Z0-9-]\.[a-z]{2,}|@|://")
# Some known patterns are cubic in these marks; no line of a program's has many.
_WILD = re.compile(r"(?:[^<]*<){9}|(?:[^@]*@){9}|(?:[^,]*,){9}|.*?[ \t]{60}")
_CODE = re.compile(r"[245]\d\d(?:[ -]?[245]\.\d{1,3}\.\d{1,3})?|[245]\.\d{1,3}\.\d{1,3}")


@dataclass(frozen=True, slots=True)
class Report:
    """The worst outcome a report tells of: the first failure, or else delay, or else anything.

    `status` is an enhanced code or "", `diagnostic` one line that can be shown, `cause` what to
    tell who sent the mail, `recipient` the address the report names, in lower case, or "".
    """

    action: Action
    status: str
    diagnostic: str
    cause: Cause = "other"
    recipient: str = ""

    @property
    def hard(self) -> bool:
        """Whether the mail failed because the address is no good: what may count towards suppression."""
        return self.action == "failed" and self.cause == "address"


def read_report(mail: Mail, content: bytes = b"") -> Report | None:
    """Return what a bounce says, or None if `mail` is none: a person's, a vacation's, a receipt.

    `content` is the mail's octets; they are read where its structure is too broken to hold a text.
    """
    if mail.report is not None:
        fields = _decoded(mail.report)
        if _DISPOSITION.search(fields):
            return None
        if found := _read_fields(fields):
            return _with_prose(found, mail)
    told = _is_machine(mail) or (_TITLE.search(mail.subject) and not _is_answer(mail))
    if not told or "feedback-report" in mail.header.first("content-type")[:LINE_MAX].lower():
        return None
    text = mail.text[:FIELDS_MAX] or _decoded(split_mail(content[:CONTENT_MAX])[1]).replace("\r", "")
    return _inside(mail, text) or _read_prose(mail, text[:PROSE_MAX])


def read_answer(answer: str) -> Cause:
    """Return what a next hop's refusal means: `550 5.1.1 no such user`, with or without its codes."""
    line = readable(answer[:_REASON_MAX])
    return _cause(_code(_CODED, line), line)


def _decoded(octets: bytes) -> str:
    return octets[:FIELDS_MAX].decode("utf-8", "replace")


def _read_fields(text: str) -> Report | None:
    """Return the worst of the recipients in `text`, a message/delivery-status."""
    said = [(action, each) for each in _recipients(text) if (action := _action(each))]
    if not said:
        return None
    action, fields = min(said, key=lambda each: {"failed": 0, "delayed": 1}.get(each[0], 2))
    coded = fields.get("diagnostic-code", "")
    diagnostic = coded.partition(";")[2].strip() if ";" in coded else coded
    status = _code(_STATUS, fields.get("status", "")) or _code(_CODED, diagnostic)
    recipient = _address(fields.get("original-recipient", "")) or _address(fields.get("final-recipient", ""))
    return Report(action, status, diagnostic, _cause(status, diagnostic, action), recipient)


def _recipients(text: str) -> list[dict[str, str]]:
    """Return the fields of each recipient. A block may lack its empty line, or have one too many."""
    groups: list[dict[str, str]] = [{}]
    for name, value in _lines(text):
        now = groups[-1]
        if (not name and "action" in now) or (name in now and name not in {"status", "diagnostic-code"}):
            groups.append({})
        # Astray: an empty line stood before it.
        astray = name in {"status", "diagnostic-code"} and not now and len(groups) > 1
        if name:
            groups[-2 if astray else -1].setdefault(name, value)
    return groups


def _lines(text: str) -> Iterator[tuple[str, str]]:
    """Give the fields we read, unfolded, and ("", "") for an empty line."""
    name, value = "", ""
    for line in [*text.replace("\r\n", "\n").split("\n"), ""]:
        if line[:1] in {" ", "\t"} and line.strip():
            value = f"{value} {line.strip()}" if len(value) < _REASON_MAX else value
            continue
        if name:
            yield name, value[:_REASON_MAX] if name.endswith("recipient") else readable(value[:_REASON_MAX])
        match = _FIELD.match(line)
        name, value = (match[1].lower(), line[match.end() :]) if match else ("", "")
        if not line.strip():
            yield "", ""


def _action(fields: dict[str, str]) -> Action | None:
    said = (fields.get("action", "").lower().split() or [""])[0].rstrip(";,")
    if not said and "final-recipient" in fields:
        said = {"5": "failed", "4": "delayed"}.get(_code(_STATUS, fields.get("status", ""))[:1], "")
    match _LOOSE.get(said, said):
        case "failed" | "delayed" | "delivered" | "relayed" | "expanded" as action:
            return action
        case _:
            return None


def _address(field: str) -> str:
    """Return the address in a recipient field: `rfc822; a@b`, `rfc822;<a@b>`, `<a@b> (A)`."""
    address = parse_address((field.rpartition(";")[2].split() or [""])[0].strip("<>,"))
    return address.key if address else ""


def _with_prose(report: Report, mail: Mail) -> Report:
    """Let the words for people say why, where the fields do not."""
    if (report.action, report.cause) != ("failed", "other"):
        return report
    paragraph = _reason(_own_words(mail.text[:PROSE_MAX]), report.recipient)
    return replace(report, cause=_cause("", paragraph), diagnostic=report.diagnostic or paragraph)


def _is_machine(mail: Mail) -> bool:
    """Whether a program that delivers mail wrote this, by its name."""
    header = mail.header
    author = f"{header.first('from')[:LINE_MAX]} {mail.author.name if mail.author else ''}".strip()
    nameless = not author and "/report" in header.first("content-type")[:LINE_MAX].lower()
    return bool(nameless or header.first("x-failed-recipients") or _MACHINE.search(author))


def _is_answer(mail: Mail) -> bool:
    """Whether this answers or forwards another mail: who does so with a bounce quotes it."""
    return bool(mail.in_reply_to or mail.references or _ANSWER.match(mail.subject))


def _inside(mail: Mail, text: str) -> Report | None:
    """Return a report that stands where it should not: in a mail within the mail, or in the text."""
    found = None
    if match := _INLINE.search(text):
        found = _read_fields(text[max(text.rfind("\n\n", 0, match.start()), 0) :])
    first = mail.attachments[0] if mail.attachments else None
    if found is None and first and first.media_type == "message/global-delivery-status":
        found = _read_fields(_decoded(first.content))
    elif found is None and first and first.media_type == "message/rfc822":
        within = parse(first.content[:CONTENT_MAX])
        found = _read_fields(_decoded(within.report)) if within.report and _is_machine(within) else None
    return found


def _read_prose(mail: Mail, text: str) -> Report | None:
    """Return what a bounce without fields says, by the programs known, or by words any might use."""
    own = _own_words(text)
    said = f"{mail.subject}\n{own[:_REASON_MAX]}"
    titled = bool(_TITLE.search(mail.subject))
    fails = titled or bool(_FAILED.search(said))
    late = bool(_DELAYED.search(said)) and not _GIVEN_UP.search(said)
    delayed, failed = _known(mail, text) if fails or late else ([], [])
    # A postmaster is a person too: words that any might use need a title, or a code where no mail is answered.
    told = (titled and not _ANSWER.match(mail.subject)) or (_CODED.search(said) and not _is_answer(mail))
    if not (failed or delayed or (told and (fails or late) and _is_machine(mail))):
        return None
    action: Action = "delayed" if (delayed or late) and not failed else "failed"
    recipient = _first_named(failed or delayed, f"{mail.header.first('x-failed-recipients')}\n{text}")
    reason = _reason(own, recipient)
    status = _code(_CODED, reason)
    return Report(action, status, reason, _cause(status, reason, action), recipient or _only_address(own))


def _own_words(text: str) -> str:
    match = _ORIGINAL.search(text, 1)
    return text[: match.start()] if match and text[: match.start()].strip() else text


def _known(mail: Mail, text: str) -> tuple[list[str], list[str]]:
    """Return the addresses delayed and failed, as flufl.bounce reads them from a message of our own making.

    The standard library's parser is quadratic in `;` and recursive in `(`, so it never sees the mail.
    """
    kind = mail.header.first("content-type")[:LINE_MAX].partition(";")[0].strip().lower()
    prose, returned = Message(), Message()
    prose["Content-Type"], prose["Content-Description"] = "text/plain", "notification"
    # Between two commas LLNL's bounces name an address, and so do people.
    lines = (line[:LINE_MAX] for line in (text if _is_machine(mail) else text.replace(",", " ")).split("\n"))
    prose.set_payload("\n".join("" if _WILD.match(line) else line for line in lines))
    returned.set_payload("")
    message = prose
    if kind.startswith("multipart/"):
        message = Message()
        message["Content-Type"] = kind
        message.set_payload([prose, returned])
    for name in ("From", "X-Mailer", "X-Failed-Recipients"):
        if value := mail.header.first(name.lower())[:LINE_MAX]:
            message[name] = value
    # It tells of each detector that stumbles, with a traceback; here that is no fault.
    logging.getLogger("flufl.bounce").disabled = True
    try:
        delayed, failed = all_failures(message)
    except Exception:  # noqa: BLE001 (detectors are guesses, and a mail from outside may break any)
        return [], []
    return [each.decode("utf-8", "replace") for each in delayed], [each.decode("utf-8", "replace") for each in failed]


def _first_named(addresses: list[str], text: str) -> str:
    """Return the well-formed address that `text` names first."""
    low = text.lower()
    found = {address.key for each in addresses if (address := parse_address(each.strip()))}
    return min(found, key=lambda key: (low.find(key) % (len(low) + 1), key), default="")


def _only_address(text: str) -> str:
    """Return the address in a program's own words if it names just one."""
    words = re.split(r"[\s<>()\[\]{},;:\"'“”()《》，：；。、（）]+", text)
    found = {address.key for word in words if "@" in word and (address := parse_address(word.rstrip(".")))}
    return found.pop() if len(found) == 1 else ""


def _reason(text: str, recipient: str) -> str:
    """Return the paragraph that says why: with a code, or with words we know after the recipient, or any."""
    paragraphs = [readable(each[:_REASON_MAX]) for each in re.split(r"\n[ \t]*\n", text)[:100] if each.strip()]
    named = next((at for at, each in enumerate(paragraphs) if recipient and recipient in each.lower()), 0)
    paragraphs = paragraphs[named:] + paragraphs[:named]
    tests: tuple[Callable[[str], object], ...] = (
        lambda each: _CODED.search(each) or _REPLY.search(each),
        lambda each: _by_words(each) != "other",
        _FAILED.search,
    )
    return next((each for says in tests for each in paragraphs if says(each)), paragraphs[0] if paragraphs else "")


def _code(pattern: re.Pattern[str], text: str) -> str:
    match = pattern.search(text)
    return match[1] if match else ""


def _cause(status: str, text: str, action: Action = "failed") -> Cause:
    """Return why, by the status where it is exact, and by the words where it is not."""
    if not status or status.endswith((".0.0", ".5.0")):
        status = _code(_CODED, text) or status
    words = _by_words(text)
    exact = _BY_STATUS.get(status[2:])
    if action not in {"failed", "delayed"}:
        return "other"
    if action == "delayed" or (status or _code(_REPLY, text)).startswith("4"):
        return "full" if "full" in {exact, words} else "temporary"
    if status.startswith("5.7."):
        return "address" if words == "address" and _NOBODY.search(text) else "blocked"
    # Filters and full mailboxes too are told as "no such address", and words of theirs are plain.
    if exact == "address" and (words in {"full", "temporary"} or _SPAM.search(_words(text))):
        return words
    return exact or words


def _by_words(text: str) -> Cause:
    plain = _words(text)
    return next((cause for pattern, cause in _BY_WORDS if pattern.search(plain)), "other")


def _words(text: str) -> str:
    """Return `text` without hosts, addresses and codes: `mx.antispam.example` says nothing of spam."""
    words = text[:_REASON_MAX].split()
    return " ".join(word for word in words if not (word.isascii() and (_HOST.search(word) or _CODE.fullmatch(word))))
