"""Tell mail that no person wrote, and what kind it is: out-of-office, bounce, list, receipt, challenge.

Marks that a system sets in the header decide. Text only hints: the name of an automatic answer counts
where it begins a subject, a sentence where it says of its own mail that it is automatic, weaker words
only together. Quoted text, questions, answers and forwarded mails never count. Linear; 4 KiB of text.

*Standards:* RFC 3834 §2 and §5 (Auto-Submitted), RFC 2919 and 2369 (lists), RFC 6522 (reports),
RFC 5321 §4.5.5 (null return path), RFC 5546 §3.2.3 (answers of calendars); the others are custom.
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, replace

from gateway.mail import automatic_phrases as phrases
from gateway.mail import automatic_words as words
from gateway.mail.parse import Mail
from gateway.mail.quoting import split_reply, without_quotes

Kind = words.Kind

EXAMINED = 4 * 1024  # characters of the text that are looked at
CALENDAR = "a calendar's answer"
BY_ADDRESS, SAYS = "from ", "says: "  # where the author's address says so, and where a mail begins with it
BY_SUBJECT = "subject: "  # what the reason begins with where the subject says so
_SENTENCE_MAX, _SENTENCES_MAX = 300, 60
_VALUE_MAX = 1_000  # characters of a field that are looked at
_TAGS_MAX = 4  # [External] [Ticket#1] … before the subject proper

_COMMENT = re.compile(r"\([^()]{0,200}\)")
_SENTENCE = re.compile(r"([^.!?。;\n]+)([.!?。;\n]?)")
_ASKS = re.compile("[^.!?。;\n]{20}\\?|[\u3040-\u9fff][^.!?。;\n]{0,20}\\?")  # "Urgent?" asks nothing
_CHINESE_CLAUSE = re.compile("(?<=[\u3040-\u9fff]),(?=[\u3040-\u9fff])|\\s(?=[(\\[【※])")
_DATE_DOT = re.compile(r"(?<=\d)\.(?=\d)|(?<=\b\d)\.(?=\s[^\W\d])|(?<=\b\d\d)\.(?=\s[^\W\d])")
_QUOTED = re.compile('"[^"\n]{0,400}"|“[^”\n]{0,400}”|「[^」\n]{0,400}」|『[^』\n]{0,400}』|«[^»\n]{0,400}»')
_DECORATION = " \t*#_~=|<>([{【〔※◆■●・-–—+:,"
_PROOF_OF_BOUNCE = re.compile(r"@|\b[45]\d\d[ -]|\b[45]\.\d\.\d")
_REPORT_TYPE = re.compile(r"report-type\s*=\s*\"?([a-z-]{1,40})")
_DISPOSITION = re.compile(rb"^disposition:", re.IGNORECASE | re.MULTILINE)
_ACTION = re.compile(rb"^action:[ \t]*([a-z]{1,20})", re.IGNORECASE | re.MULTILINE)
_CALENDAR_ANSWER = re.compile(
    rb"^METHOD[^:\r\n]{0,100}:\s?(?:REPLY|COUNTER|REFRESH|DECLINECOUNTER)\b", re.IGNORECASE | re.MULTILINE
)
_CALENDAR = frozenset({"text/calendar", "application/ics"})


@dataclass(frozen=True, slots=True)
class Automatic:
    """What kind of automatic mail it is, and in a few words, for an administrator, why."""

    kind: Kind
    why: str
    worded: bool = False  # its words alone say so: no field and no address of a machine's
    bulk: bool = False  # only fields that lists and servers set on what people write, too, or its author's address


def read_automatic(mail: Mail, return_path: str) -> Automatic | None:
    """Return what kind of automatic mail `mail` is, or None when a person wrote it.

    `return_path` is the envelope's, without angle brackets; "" is the null return path.
    """
    said = _Said.of(mail)
    shaped = _by_shape(mail, said)
    if shaped:
        return shaped
    worded = _by_words(said)
    marked = _by_header(mail, said, return_path)
    if marked:
        kind = worded.kind if worded else _kind_by_hint(mail, said) or marked.kind
        return replace(marked, kind=kind, bulk=marked.bulk and not worded)
    return replace(worded, worded=True) if worded else None


@dataclass(frozen=True, slots=True)
class _Said:
    """What a mail says, made even: lower case, NFKC, without quotes."""

    subject: str  # without the tags before it
    tags: tuple[str, ...]
    answer: bool  # the subject is that of an answer or of a forwarded mail
    forwarded: bool
    follows: bool  # In-Reply-To or References stand
    local: str  # of the author's address
    post_office: bool
    first: str  # line of the text
    sentences: tuple[str, ...]
    asks: bool
    head: str  # of the text, with what looks quoted: receipts repeat the fields of what was read

    @staticmethod
    def of(mail: Mail) -> "_Said":
        subject, tags = _untagged(_even(mail.subject))
        local, name = _author(mail)
        own = _QUOTED.sub(" ", _even(without_quotes(split_reply(mail.text[:EXAMINED]).text)))
        lines = [line for line in _DATE_DOT.sub("·", own).split("\n") if _bare(line)] or [""]
        cited = next((at for at, line in enumerate(lines) if phrases.CITES.match(line[-_SENTENCE_MAX:])), len(lines))
        own = "\n".join(lines[:cited])
        forwarded = bool(words.FORWARDED.match(subject))
        return _Said(
            subject=subject,
            tags=tags,
            answer=forwarded or bool(words.ANSWERED.match(subject)),
            forwarded=forwarded,
            follows=bool(mail.in_reply_to or mail.references),
            local=local,
            post_office=bool(words.POST_OFFICE_LOCAL.match(local) or words.POST_OFFICE_NAME.search(name)),
            first=_bare(lines[0][:_SENTENCE_MAX]),
            sentences=tuple(_sentences(own)),
            asks=bool(_ASKS.search(own)),
            head=_even(mail.text[:_VALUE_MAX]),
        )


def _even(text: str) -> str:
    return unicodedata.normalize("NFKC", text).lower().replace("’", "'").replace("\xa0", " ")


def _bare(text: str) -> str:
    text = text.strip().lstrip(_DECORATION).rstrip(" \t*)]】〕}_~=#※<>|-")
    label = phrases.LABEL.match(text)
    return text[label.end() :].lstrip(_DECORATION) if label else text


def _untagged(subject: str) -> tuple[str, tuple[str, ...]]:
    """Return a subject without the tags in brackets before it, and the tags."""
    tags: list[str] = []
    subject = subject.strip().lstrip("*=-~#> ")
    while len(tags) < _TAGS_MAX and (tag := words.TAG.match(subject)):
        tags.append(tag[1].strip())
        subject = subject[tag.end() :]
    return subject, tuple(tags)


def _author(mail: Mail) -> tuple[str, str]:
    """Return the local part and the name of the author, in lower case, however ill-formed From is."""
    field = mail.header.first("from")[:_VALUE_MAX].lower()
    if mail.author:
        # A comment behind an address is a name too: root@host (Cron Daemon).
        return mail.author.address.local.lower(), f"{_even(mail.author.name)} {field}"
    inside = field.rpartition("<")[2].partition(">")[0].strip()
    return inside.partition("@")[0].split(" ")[0].strip("\"'"), field


def _sentences(own: str) -> Iterator[str]:
    """Give the sentences of a text that are no questions; clauses of Chinese stand alone."""
    count = 0
    for found in _SENTENCE.finditer(own):
        if found[2] == "?":
            continue
        for clause in _CHINESE_CLAUSE.split(found[1][:_SENTENCE_MAX]):
            bare = _bare(clause)
            if not bare:
                continue
            yield bare
            greeting = phrases.GREETING.match(bare)
            if greeting and greeting.end() < len(bare):
                yield bare[greeting.end() :]
            count += 1
            if count >= _SENTENCES_MAX:
                return


def _kind_by_hint(mail: Mail, said: _Said) -> Kind | None:
    """What kind an automatic mail is by signs too weak to call a mail automatic."""
    calendar = "calendar" in mail.header.first("sender") or any(
        part.media_type in _CALENDAR for part in mail.attachments
    )
    if calendar or said.subject.startswith("meeting forward notification"):
        return "calendar"
    if words.CHALLENGE.match(said.subject):
        return "challenge"
    if not said.answer and (words.READ.match(said.subject) or said.subject.startswith("message status - opened")):
        return "receipt"
    away = any(map(phrases.AWAY.match, said.sentences[:6]))
    return "vacation" if away or words.AUTO.match(said.subject) or words.ABSENT.match(said.subject) else None


def _by_shape(mail: Mail, said: _Said) -> Automatic | None:
    """Reports and the answers of calendars."""
    content_type = mail.header.first("content-type")[:_VALUE_MAX].lower()
    if content_type.startswith("multipart/report"):
        found = _REPORT_TYPE.search(content_type)
        return Automatic(_kind_of_report(found[1] if found else "", mail.report or b""), "a report")
    if mail.report is not None and not said.answer:
        return Automatic(_kind_of_report("", mail.report), "a report inside")
    for part in mail.attachments:
        if part.media_type in _CALENDAR and _CALENDAR_ANSWER.search(part.content[:EXAMINED]) and not said.answer:
            return Automatic("calendar", CALENDAR)
    return None


def _kind_of_report(report_type: str, report: bytes) -> Kind:
    if report_type == "disposition-notification" or _DISPOSITION.search(report[: 64 * 1024]):
        return "receipt"
    if report_type not in {"", "delivery-status"}:
        return "notification"
    actions = {action.lower() for action in _ACTION.findall(report[: 64 * 1024])}
    return "receipt" if actions and actions <= {b"delivered", b"relayed", b"expanded"} else "bounce"


def _by_header(mail: Mail, said: _Said, return_path: str) -> Automatic | None:
    """What a system marked as its own, or sent so that no answer comes back."""
    submitted = _submitted(mail)
    robot = _by_address(said)
    marked = _by_marks(mail, said)
    if submitted:
        replied = submitted.startswith("auto-repl")
        kind = marked or robot or Automatic("vacation" if replied else "notification", "")
        return Automatic(kind.kind, f"Auto-Submitted: {submitted[:40]}")
    if not return_path:
        kind = marked or robot or Automatic(_kind_of_null_path(said), "")
        return Automatic(kind.kind, "null return path")
    if marked and robot:
        its = robot.kind == "bounce" or marked.kind == "list"
        return Automatic(robot.kind if its else marked.kind, marked.why)
    return marked or robot


def _kind_of_null_path(said: _Said) -> Kind:
    if said.post_office:
        return "bounce"
    return "vacation" if said.answer or said.follows else "notification"


def _submitted(mail: Mail) -> str:
    """The keyword of Auto-Submitted, comments aside, or "" for none and "no"."""
    for field in mail.header.all("auto-submitted"):
        keyword = _COMMENT.sub("", field[:_VALUE_MAX]).partition(";")[0].strip().lower()
        if keyword and keyword != "no":
            return keyword
    return ""


def _by_marks(mail: Mail, said: _Said) -> Automatic | None:
    header = mail.header
    fields = {name: value[:_VALUE_MAX] for name, value in reversed(header.fields)}
    for name, kind in words.MARKS:
        if name in fields and (name in words.FLAGS or fields[name].lower() not in words.NO):
            return Automatic(kind, f"{name} is set")
    for name, values, kind in words.VALUES:
        if any(value in field.lower() for field in header.all(name) for value in values):
            return Automatic(kind, f"{name}: {fields[name][:40]}")
    for name, value in fields.items():
        if words.AUTO_FIELD.fullmatch(name) and value.lower() not in words.NO:
            return Automatic("notification" if "generated" in name else "vacation", f"{name} is set")
    # A rule that hands on what a person wrote sets this too, but then From is not the owner of the rule.
    loop = fields.get("x-ms-exchange-inbox-rules-loop", "").lower().strip("<> ")
    if mail.author and loop == str(mail.author.address).lower():
        return Automatic("vacation", "x-ms-exchange-inbox-rules-loop is set")
    if fields.get("return-path", "").replace(" ", "") == "<>":
        return Automatic(_kind_of_null_path(said), "Return-Path: <>")
    return _by_bulk(mail, fields, said)


def _by_bulk(mail: Mail, fields: dict[str, str], said: _Said) -> Automatic | None:
    listed = next((name for name in words.LIST_FIELDS if mail.header.first(name)), "")
    letter = bool(listed or "list-unsubscribe" in fields)
    feedback = fields.get("feedback-id", "")
    if feedback and feedback.rpartition(":")[2].strip().lower() not in words.FEEDBACK_OF_PEOPLE:
        return Automatic("list" if letter else "notification", "feedback-id is set", bulk=True)
    for name in ("precedence", "x-precedence"):
        value = fields.get(name, "").strip().lower()
        if value in words.PRECEDENCES:
            answer: Kind = "vacation" if "auto" in value or said.answer or said.follows else "notification"
            kind = "list" if letter or value == "list" else answer
            return Automatic(kind, f"Precedence: {value}", bulk="auto" not in value)
    if listed:
        return Automatic("list", f"{listed} is set", bulk=True)
    if "all" in fields.get("x-auto-response-suppress", "").lower().replace(",", " ").split():
        return Automatic("notification", "X-Auto-Response-Suppress: All", bulk=True)
    return None


def _by_address(said: _Said) -> Automatic | None:
    local = said.local[:64]
    if words.MAILER.match(local):
        return Automatic("bounce", f"{BY_ADDRESS}{local}", bulk=True)
    return Automatic("notification", f"{BY_ADDRESS}{local}", bulk=True) if words.ROBOT.search(local) else None


def _by_words(said: _Said) -> Automatic | None:
    """What the mail says of itself; nothing that a person hands on."""
    if said.forwarded:
        return None
    return _by_subject(said) or _bounced(said) or _read_or_challenged(said) or _declared(said) or _away(said)


def _by_subject(said: _Said) -> Automatic | None:
    for tag in said.tags:
        if _is_name(said, tag):
            return Automatic(_kind_of_answer(said), f"{BY_SUBJECT}{tag[:40]}")
    if said.answer:
        return None
    subject, why = said.subject, f"{BY_SUBJECT}{said.subject[:40]}"
    last = words.TAG_LAST.search(subject)
    if words.ANSWERS_BY_ITSELF.match(subject) or (last and _is_name(said, last[1].strip())):
        return Automatic(_kind_of_answer(said), why)
    if _tells_absence(said):
        return Automatic("vacation", why)
    if any(map(words.SYSTEMS.match, (subject, *said.tags))):
        return Automatic("notification", why)
    return None


def _is_name(said: _Said, tag: str) -> bool:
    return bool(words.ANSWERS_BY_ITSELF.match(tag) or (said.follows and words.ABSENT.fullmatch(tag)))


def _tells_absence(said: _Said) -> bool:
    """Whether the subject begins as assistants begin it; "Auto: tyres" alone is what people write too."""
    subject = said.subject
    absent = words.ABSENT.match(subject)
    firm = absent and (absent[0].isascii() or len(absent[0]) > 3) and words.ABSENT_FIRM.match(subject, absent.end())
    if firm or words.NAMED_ABSENT.fullmatch(subject):
        return True
    auto = words.AUTO.match(subject)
    if not auto:
        return False
    named = words.NAMED_ABSENT.fullmatch(subject, auto.end())
    return said.follows or bool(named or words.ANSWERED.match(subject, auto.end()))


def _kind_of_answer(said: _Said) -> Kind:
    heads = (said.subject, *(f"[{tag}]" for tag in said.tags))
    return "notification" if any(map(words.TICKET.search, heads)) else "vacation"


def _bounced(said: _Said) -> Automatic | None:
    whole = " ".join((*(f"[{tag}]" for tag in said.tags), said.subject))
    if said.answer:
        return None
    firm = any(each.startswith(words.BOUNCED) for each in (said.subject, whole))
    line = any(map(words.BOUNCE_LINE.match, (said.first, *said.sentences[:3])))
    hinted = bool(words.BOUNCE_WORDS.search(whole))
    told = line and hinted and bool(_PROOF_OF_BOUNCE.search(said.head))
    office = said.post_office and (hinted or line)
    if firm or told or office or words.FROM_POST_OFFICE.match(said.subject):
        return Automatic("bounce", f"a bounce: {whole[:40]}")
    return None


def _read_or_challenged(said: _Said) -> Automatic | None:
    if not said.answer and words.READ.match(said.subject) and words.READ_TEXT.search(said.head):
        return Automatic("receipt", f"a receipt: {said.subject[:40]}")
    text = " ".join(said.sentences[:12])
    if words.CHALLENGE.match(said.subject) and words.CHALLENGE_TEXT.search(text) and not said.asks:
        return Automatic("challenge", f"asks for proof: {said.subject[:40]}")
    return None


def _declared(said: _Said) -> Automatic | None:
    """A sentence that says of its own mail that a machine wrote it: the first is no footer, nor somebody's tale."""
    for at, sentence in enumerate(said.sentences):
        if any(each.match(sentence) for each in phrases.DECLARED.values()) and not phrases.DENIED.search(sentence):
            return Automatic(_kind_of_text(said), f"{'declares: ' if at else SAYS}{sentence[:40]}")
    if words.ANSWERS_BY_ITSELF.match(said.first):
        return Automatic(_kind_of_text(said), f"{SAYS}{said.first[:40]}")
    if words.SYSTEMS.match(said.first):
        return Automatic("notification", f"{SAYS}{said.first[:40]}")
    return _acknowledged(said)


def _acknowledged(said: _Said) -> Automatic | None:
    """Two signs that a desk's program has made a ticket of the mail."""
    if said.answer:
        return None
    heads = (said.subject, *(f"[{tag}]" for tag in said.tags))
    received = any(map(words.TICKET_TEXT.match, said.sentences))
    numbered = received and any(map(words.TICKET.search, (*heads, *said.sentences)))
    tagged = any(map(words.TICKET_TAG.match, (said.subject, *said.tags)))
    unanswered = any(map(words.ASK_NOT_TO_ANSWER.match, said.sentences))
    service = said.post_office or bool(words.SERVICE.match(said.local))
    if received + numbered + tagged + unanswered * (1 + service) >= 2:
        return Automatic("notification", f"an acknowledgement: {said.subject[:40]}")
    return None


def _kind_of_text(said: _Said) -> Kind:
    away = any(map(phrases.AWAY.match, said.sentences))
    return "vacation" if away or said.answer or said.follows else "notification"


def _away(said: _Said) -> Automatic | None:
    """An absence told in the pieces that an assistant's text is made of; one piece is what people write too."""
    if phrases.AWAY_LINE.match(said.first):
        return Automatic("vacation", f"away: {said.first[:40]}")
    told = next((each for each in said.sentences[:7] if phrases.AWAY.match(each)), "")
    if said.asks or not told:
        return None
    absent = None if said.answer else words.ABSENT.match(said.subject)
    subject = 2 * bool(absent and words.ABSENT_ENDS.match(said.subject, absent.end()))
    sentence = phrases.AWAY.match(said.subject)  # "I am currently out of the office", and nothing more
    subject = subject or bool(sentence and not said.answer and len(said.subject) - sentence.end() < 12)
    thanks = any(map(phrases.THANKS.match, said.sentences[:4]))
    returning = any(map(phrases.RETURNING.match, said.sentences))
    contact = any(map(phrases.CONTACT.match, said.sentences))
    if subject + thanks + returning + contact >= 2:
        return Automatic("vacation", f"away: {told[:40]}")
    return None
