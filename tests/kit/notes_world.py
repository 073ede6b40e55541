"""A company in which people, customers, followers and strangers write whatever they may, at random.

What somebody got lies in their box, and they answer, quote, forward and attach it as mail programs do.
Every note holds a canary, a word of its own in the middle of a line, that goes along when it is quoted.
"""

# ruff: noqa: SIM905 (words read better in one string)
import base64
import html
import random
import re
import textwrap
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

D = "sales.example.com"
CANARY = re.compile(r"kanari(\d{7})z", re.IGNORECASE)
BOX_MAX = 14  # mails that somebody still has
# The people, by key, with every address of theirs; `gil` comes and goes, `carol` is outside but for a while.
INSIDE = {
    "a": ("a@example.com",), "b": ("b@example.com", "b.private@home.example"), "c": ("c@example.com",),
    "chia": ("chia@example.com",), "cheng": ("cheng@example.com",), "gil": ("gil@example.com",),
}  # fmt: skip
CUSTOMERS = ("wang@acme.example", "li@beta.example", "w2@acme.example")
FOLLOWERS = ("carol@x.example", "dave@partner.example")
STRANGERS = ("mallory@evil.example", "news@shop.example")
OUTSIDE = (*CUSTOMERS, *FOLLOWERS, *STRANGERS)
INTAKES = ("quotations", "leads", "invoices")
_NOTE_WORDS = (
    "margin floor partner discount reserve quarter ceiling supplier warehouse secret internal approve director "
    "penalty bargain walkaway fallback competitor weakness overdue credit exposure settle quietly before audit"
).split()
_NOTE_CHINESE = "底價只有我們自己知道千萬不要告訴客戶成本毛利折扣上限董事會已經同意供應商的報價比較低交期可能延後兩週請先不要承諾任何事情"
_TALK = (
    "please find attached the offer thank you for your patience we will call on monday about chairs and tables"
).split()
_TALK_CHINESE = "您好請參考附件若有任何問題歡迎隨時聯絡我們謝謝您的耐心等候下週一會再與您確認交貨時間"


@dataclass(slots=True)
class Got:
    """A mail in somebody's box, as far as it matters for answering it."""

    message_id: str
    references: str
    reply_to: str
    subject: str
    ref: str
    text: str
    octets: Callable[[], bytes]
    delivery: int = 0
    return_path: str = ""

    @property
    def canaries(self) -> set[int]:
        return {int(each) for each in CANARY.findall(self.text)}


@dataclass(slots=True)
class Mail:
    """What an operation sends us: who, to which of our addresses, and its octets."""

    author: str
    recipients: tuple[str, ...]
    octets: bytes
    sure: bool
    return_path: str
    canaries: set[int]
    made: set[int] = field(default_factory=set)  # canaries this mail invents
    outside: tuple[str, ...] = ()  # whom else the author's own mail server takes it to
    text: str = ""
    hidden: bool = False  # only its Bcc says that it is a note


class World:
    """Boxes, records and dice."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.boxes: dict[str, deque[Got]] = {}
        self.refs: list[str] = []
        self.sent: deque[Mail] = deque(maxlen=60)
        self.canaries = 0
        self.numbers = 0
        self.inside: frozenset[str] = frozenset()

    # ---- words

    def note_text(self, ref: str = "") -> tuple[str, int]:
        """Return a note of one to three lines with a new canary in the middle of one.

        What is about it is a secret as well, or, now and then on a record, what somebody outside read there.
        """
        self.canaries += 1
        word = f"kanari{self.canaries:07d}z"
        lines = [self._note_line() for _ in range(self.dice.choice((1, 1, 2, 3)))]
        at = self.dice.randrange(len(lines))
        read = self._read_outside(ref) if ref and self.dice.random() < 0.3 else []
        before, behind = (self.dice.choice(read) if read else self._note_line(26) for _ in range(2))
        lines[at] = f"{before} {word} {behind}"
        return "\n".join(lines), self.canaries

    def _read_outside(self, ref: str) -> list[str]:
        """What stands in the mails that outsiders have of a record, in lines that are long enough to be told by."""
        boxes = (got for who in OUTSIDE for got in self.boxes.get(who, ()) if got.ref == ref)
        lines = (line.lstrip("> ") for got in boxes for line in got.text.split("\n"))
        return [line for line in lines if len(line) > 26 and not CANARY.search(line)]

    def _note_line(self, least: int = 40) -> str:
        if self.dice.random() < 0.3:
            return "".join(self.dice.choice(_NOTE_CHINESE) for _ in range(least))
        words = ""
        while len(words) < least:
            words += self.dice.choice(_NOTE_WORDS) + " "
        return words.strip()

    def talk(self) -> str:
        if self.dice.random() < 0.25:
            return "".join(self.dice.choice(_TALK_CHINESE) for _ in range(self.dice.randint(4, 40)))
        return " ".join(self.dice.choice(_TALK) for _ in range(self.dice.randint(2, 16)))

    def number(self) -> int:
        self.numbers += 1
        return self.numbers

    # ---- who and where

    def somebody_inside(self) -> str:
        return self.dice.choice(self.dice.choice(tuple(INSIDE.values())))

    def somebody(self) -> str:
        return self.somebody_inside() if self.dice.random() < 0.62 else self.dice.choice(OUTSIDE)

    def ref(self) -> str:
        return self.dice.choice(self.refs[-12:])

    def of_ours(self, ref: str = "") -> str:
        """Return some address of ours."""
        ref = ref or self.ref()
        kind = self.dice.random()
        if kind < 0.70:
            return f"{ref.lower()}@{D}"
        if kind < 0.84:
            return f"{ref.lower()}-note@{D}"
        if kind < 0.92:
            return f"sales@{D}"
        return f"{self.dice.choice(INTAKES)}@{D}"

    def got_by(self, who: str) -> Got | None:
        box = self.boxes.get(who)
        return self.dice.choice(box) if box else None

    def keep(self, who: str, got: Got) -> None:
        self.boxes.setdefault(who, deque(maxlen=BOX_MAX)).append(got)

    # ---- mails

    def mail(
        self, author: str, to: Sequence[str], text: str, *, cc: Sequence[str] = (), bcc: Sequence[str] = (),
        subject: str = "chairs", answers: Got | None = None, sure: bool = True, markup: str = "",
        attached: Sequence[tuple[str, str, bytes]] = (), head: str = "", return_path: str | None = None,
        made: Sequence[int] = (), note_id: bool = False, carries: Sequence[int] = (),
    ) -> Mail:  # fmt: skip
        host = author.rpartition("@")[2]
        number = self.number()
        # A note's own Message-ID and subject may say something too.
        own = f"kanari{made[0]:07d}z.{number}@{host}" if made and note_id else f"{number}.m@{host}"
        fields = [f"From: {author}", f"To: {', '.join(to)}"]
        fields += [f"Cc: {', '.join(cc)}"] if cc else []
        fields += [f"Subject: {subject}", f"Message-ID: <{own}>", "MIME-Version: 1.0"]
        if answers is not None:
            fields += [f"In-Reply-To: <{answers.message_id}>"] * (self.dice.random() < 0.9)
            fields.append(f"References: {answers.references} <{answers.message_id}>")
        fields += head.splitlines()
        kind, body = ("html", markup) if markup else ("plain", text)
        payload = body.encode("utf-8")
        if self.dice.random() < 0.25:
            payload = base64.encodebytes(payload).replace(b"\n", b"\r\n")
            shape = f"Content-Type: text/{kind}; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        else:
            payload = payload.replace(b"\n", b"\r\n")
            shape = f"Content-Type: text/{kind}; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
        part = shape.encode() + payload
        if attached:
            parts = [part, *(_attachment(name, media, octets) for name, media, octets in attached)]
            mark = f"=_w{number}"
            joined = b"".join(b"--" + mark.encode() + b"\r\n" + each + b"\r\n" for each in parts)
            part = f'Content-Type: multipart/mixed; boundary="{mark}"\r\n\r\n'.encode() + joined
            part += b"--" + mark.encode() + b"--\r\n"
        octets = "\r\n".join(fields).encode("utf-8") + b"\r\n" + part
        everybody = list(dict.fromkeys((*to, *cc, *bcc)))
        ours = tuple(each for each in everybody if each.endswith("@" + D))
        outside = tuple(each for each in everybody if each in OUTSIDE)
        carried = {int(each) for each in CANARY.findall(text + markup)} | set(made) | set(carries)
        path = author if return_path is None else return_path
        hidden = any("-note" in each for each in bcc) and not any("-note" in each for each in (*to, *cc))
        sent = Mail(author, ours, octets, sure, path, carried, set(made), outside, text or markup, hidden)
        self.sent.append(sent)
        return sent

    def quoting(self, got: Got) -> tuple[str, str]:  # noqa: PLR0911 (a table of styles)
        """Return a text, or HTML, of somebody who answers `got` in one of the ways programs and people do."""
        own, quoted = self.talk(), got.text.strip("\n")
        marked = "\n".join(f"> {line}" for line in quoted.split("\n"))
        style = self.dice.randrange(12)
        match style:
            case 0 | 1:
                return f"{own}\n\nOn Mon, 23 Nov 2026 at 10:00, A <a@example.com> wrote:\n{marked}\n", ""
            case 2:
                return f"A <a@example.com> wrote:\n{marked}\n\n{own}\n", ""
            case 3:
                lines = [
                    f"> {line}\n{self.talk()}" if self.dice.random() < 0.5 else f"> {line}"
                    for line in quoted.split("\n")
                ]
                return "\n".join([own, *lines, self.talk()]), ""
            case 4:
                fields = f"From: A <a@example.com>\nSent: Monday\nTo: someone\nSubject: {got.subject}\n"
                return f"{own}\n\n-----Original Message-----\n{fields}\n{quoted}\n", ""
            case 5:
                return f"{own}\n\n{quoted}\n", ""
            case 6:
                wide = self.dice.choice((36, 60, 72))
                prefix = self.dice.choice(("> ", ">> ", "| ", "  ", ">"))
                return f"{own}\n" + "\n".join(
                    prefix + line for line in textwrap.wrap(quoted, wide)
                ) + "\n" + self.talk(), ""
            case 7:
                around = [line for line in quoted.split("\n") if CANARY.search(line)] or quoted.split("\n")[:1]
                return f"{own}: " + " / ".join(around), ""
            case 8:
                inner = "<br>".join(html.escape(line) for line in quoted.split("\n"))
                tag = self.dice.choice(('blockquote type="cite"', 'div class="gmail_quote"', "div", "blockquote"))
                return "", f"<p>{own}</p><{tag}>{inner}</{tag.split()[0]}>"
            case 9:
                inner = "".join(
                    f"<p>&gt; <i>{html.escape(line)}</i></p><p>{self.talk()}</p>" for line in quoted.split("\n")
                )
                return "", f"<div>{own}</div>{inner}"
            case 10:
                return (
                    f"{own}\n\n---------- Forwarded message ---------\nFrom: A <a@example.com>\nDate: Mon\n\n{quoted}\n",
                    "",
                )
            case _:
                return f"{own}\n", ""

    def attaching(self, got: Got) -> list[tuple[str, str, bytes]]:
        """Return a mail as an attachment, in one of the ways programs do it."""
        octets = got.octets()
        text = got.text.encode("utf-8")
        inner = _attachment("forwarded.eml", "message/rfc822", octets)
        nested = b'From: c@example.com\r\nSubject: fw\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="n"\r\n\r\n'
        nested += b"--n\r\nContent-Type: text/plain\r\n\r\nsee below\r\n--n\r\n" + inner + b"\r\n--n--\r\n"
        page = f"<html><body><p>{'<br>'.join(html.escape(line) for line in got.text.split(chr(10)))}</p></body></html>"
        return self.dice.choice((
            [("", "message/rfc822", octets)],
            [("mail.eml", "message/rfc822", octets)],
            [("mail.eml", "application/octet-stream", octets)],
            [("note.txt", "text/plain", text)],
            [("thread.html", "text/html", page.encode())],
            [("mails.mbox", "application/mbox", b"From x Mon Nov 23 10:00:00 2026\r\n" + octets)],
            [("nested.eml", "message/rfc822", nested)],
            [("wide.txt", 'text/plain; charset="utf-16"', got.text.encode("utf-16"))],
        ))  # fmt: skip


def _attachment(name: str, media: str, octets: bytes) -> bytes:
    if media == "message/rfc822":
        shape = f"Content-Type: message/rfc822\r\nContent-Disposition: attachment{f'; filename={name}' if name else ''}\r\n\r\n"
        return shape.encode() + octets
    shape = f'Content-Type: {media}\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename="{name}"\r\n\r\n'
    return shape.encode() + base64.encodebytes(octets).replace(b"\n", b"\r\n")
