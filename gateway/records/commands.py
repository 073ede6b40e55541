"""The commands people can give, in both languages: which words mean which.

A command is a line that begins with `/`, or the address of its own that an alias has for it.
"""

import difflib
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.mail.address import without_unseen
from gateway.records.kinds import TEAM as TEAM_KIND
from gateway.records.kinds import Kinds
from gateway.records.record import Record


@dataclass(frozen=True, slots=True)
class Command:
    """A command by its English name, with its Chinese one, and what it takes.

    `kinds` are the kinds of record it is for, empty for any; `states` those in which it makes sense, empty
    where `event`, the transition it is, says so; `makes` is the kind of the record that is made of this one;
    `asks` tells that it changes nothing and is answered.
    """

    name: str
    chinese: str
    takes: str = ""
    kinds: frozenset[str] = frozenset()
    event: str = ""
    asks: bool = False
    states: frozenset[str] = frozenset()
    makes: str = ""


def _for(kind: str, name: str, chinese: str, event: str, takes: str = "") -> Command:
    return Command(name, chinese, takes, frozenset({kind}), f"{kind}.{event}")


NOTE = Command("note", "備註")
SEND = Command(
    "send", "送出", "[ADDRESS…]", frozenset({"quotation", "invoice"}),
    states=frozenset({"draft", "sent", "posted", "paid"}),
)  # fmt: skip
QUOTE = Command("quote", "報價", "[TITLE]", frozenset({"lead"}), states=frozenset({"open", "won"}), makes="quotation")
INVOICE = Command(
    "invoice", "開發票", "[TITLE]", frozenset({"quotation"}), states=frozenset({"confirmed"}), makes="invoice"
)
FOLLOW = Command("follow", "訂閱", "[SUBTYPE…]")
UNFOLLOW = Command("unfollow", "取消訂閱", "[SUBTYPE…]")
CONFIRM = _for("quotation", "confirm", "確認", "confirmed")
CANCEL = _for("quotation", "cancel", "取消", "cancelled")
STAGE = _for("lead", "stage", "階段", "stage", "NAME")
WON = _for("lead", "won", "贏得", "won")
LOST = _for("lead", "lost", "失去", "lost", "REASON")
RESTORE = _for("lead", "restore", "恢復", "restored")
VALIDATE = _for("invoice", "validate", "過帳", "validated", "[ADDRESS…]")
PAID = _for("invoice", "paid", "已付款", "paid")
SET = Command("set", "設定", "FIELD VALUE")
ASSIGN = Command("assign", "指派", "PERSON")
TEAM = Command("team", "團隊", "TEAM")
ADD = Command("add", "加入", "WHO [SUBTYPE…]")
REMOVE = Command("remove", "移除", "WHO [SUBTYPE…]")
UNDO = Command("undo", "復原")
PREFS = Command("prefs", "偏好", asks=True)
SHOW = Command("show", "查看", asks=True)
HISTORY = Command("history", "歷史", asks=True)
FOLLOWERS = Command("followers", "訂閱者", asks=True)
WHY = Command("why", "原因", asks=True)
LIST = Command("list", "列表", asks=True)
HELP = Command("help", "說明", asks=True)
COMMANDS = (
    NOTE, FOLLOW, UNFOLLOW, SEND, CONFIRM, CANCEL, INVOICE, QUOTE, STAGE, WON, LOST, RESTORE, VALIDATE, PAID,
    SET, ASSIGN, TEAM, ADD, REMOVE, UNDO, PREFS, SHOW, HISTORY, FOLLOWERS, WHY, LIST, HELP,
)  # fmt: skip
SOCIAL = (NOTE, FOLLOW, UNFOLLOW, ADD, REMOVE, UNDO)  # what also a team's own thread takes
BY_NAME = {command.name: command for command in COMMANDS}
_MEANT_NOTE = re.compile(
    r"[*_>\"'`\s•·●▪◦–—「『【(\d.)\\/-]*[/\\⁄∕](?:notes?(?![a-z0-9])|(?:內部|内部)?[備备][註注])", re.IGNORECASE
)
_DECORATED = re.compile(r"(?:[-*_•·●▪◦–—「『【]{1,3}|\(?\d{1,2}[.)、])\s{0,9}(/.*)")
_WORD = re.compile(r"\s*(?P<word>[^\s:：]+)(?P<rest>.*)", re.DOTALL)
_OFFER = re.compile(r" ?\((\d{1,4})\)")
_STOPS = ".,;!。，、；！"  # a phone makes one of two blanks
_GLUED = re.compile(r"([a-z]+)[^\x00-\x7f].*")
_HALF_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
# What is written in other characters, by habit or by an input method, is the same word.
_SAME = str.maketrans(
    "订阅閲确认备注报价开发阶赢过账帐设团队复历说",
    "訂閱閱確認備註報價開發階贏過帳帳設團隊復歷說",
)
# What people call a command that has another name, and what may be glued to it: the nearest, whatever its letters.
_MEANT = {
    "unsubscribe": "unfollow", "subscribe": "follow", "退訂": "取消訂閱", "取消追蹤": "取消訂閱", "追蹤": "訂閱",
    "accept": "confirm", "approve": "confirm", "接受": "確認", "同意": "確認", "decline": "cancel", "reject": "cancel",
    "作廢": "取消", "成交": "贏得", "win": "won", "輸": "失去", "失敗": "失去", "lose": "lost", "幫助": "說明",
    "求助": "說明", "報價單": "報價", "發票": "開發票", "bill": "invoice", "quotation": "quote", "寄出": "送出",
    "發送": "送出", "送出": "送出", "清單": "列表", "付款": "已付款", "已付清": "已付款", "收款": "已付款",
    "reopen": "restore", "還原": "復原", "撤銷": "復原", "comment": "note", "內部": "備註",
}  # fmt: skip
_NO_TITLE = frozenset("單单給给")  # what makes a word of a command longer, and begins no title
_BY_WORD = {word: command for command in COMMANDS for word in (command.name, command.chinese)}


@dataclass(frozen=True, slots=True)
class Given:
    """A command as somebody gave it. `command` is None where the word means nothing to us."""

    word: str
    command: Command | None
    arguments: tuple[str, ...]

    @property
    def line(self) -> str:
        """The command as a line."""
        return " ".join((f"/{self.word}", *self.arguments))

    @property
    def nearest(self) -> Sequence[str]:
        """The words that come nearest to one we do not know, best first, at most three."""
        word = self.word.lower().translate(_SAME)
        meant = [command for other, command in _MEANT.items() if word.startswith(other)][:1]
        close = difflib.get_close_matches(self.word, _BY_WORD, 3, 0.4)
        # What does something is not offered for a word that is only a little like it; of two characters one is half.
        least = 0.7 if self.word.isascii() else 0.5
        close = [
            near
            for near in close
            if _BY_WORD[near].asks
            or difflib.get_close_matches(self.word, [near], 1, 0.7 if _BY_WORD[near] is UNDO else least)
        ]
        return [f"/{each}" for each in meant or close]


def named(word: str) -> Command | None:
    """Return the command that a word names, in either language, with or without its slash."""
    return _BY_WORD.get(word.strip().lstrip("/").lower().translate(_SAME))


def in_chinese(line: str) -> str:
    """Return the line of a command with its Chinese word; any other line as it stands."""
    word, blank, rest = line.partition(" ")
    command = BY_NAME.get(word.removeprefix("/")) if word.startswith("/") else None
    return f"/{command.chinese}{blank}{rest}" if command else line


def offer_mark(number: int) -> str:
    """Return what stands behind a reference in the subject of a button: which offer it is of."""
    return f" ({number})" if number else ""


def offer_marked(subject: str, ref: str) -> tuple[int, str]:
    """Return which offer a subject names behind a reference, 0 for none, and the subject without the mark."""
    subject = unicodedata.normalize("NFKC", subject)
    found = _OFFER.match(subject, subject.find(ref) + len(ref)) if ref in subject else None
    return (int(found[1]), subject[: found.start()] + subject[found.end() :]) if found else (0, subject)


def is_for(command: Command, kind: str) -> bool:
    """Whether a command is for records of this kind at all; a team's thread takes those about followers only."""
    if kind == TEAM_KIND:
        return command.asks or command in SOCIAL
    return not command.kinds or kind in command.kinds


def fits(command: Command, record: Record, kinds: Kinds) -> bool:
    """Whether a command makes sense on a record of this kind, in this state."""
    if not is_for(command, record.kind):
        return False
    if command.states:
        return record.state in command.states
    return not command.event or record.state in kinds.subtypes[command.event].origins


def needs(command: Command) -> int:
    """Return how many words a command needs behind it."""
    return sum(1 for word in command.takes.split() if not word.startswith("["))


def split_commands(text: str) -> tuple[tuple[Given, ...], str]:
    """Split the author's own text into the command lines at its top, and what comes after them.

    Empty lines before and between commands are skipped. Full-width letters and slashes are forgiven, a colon
    behind the word, and a missing space after a Chinese word that takes others. A path (`/usr/bin`) is no command.
    """
    lines = text.split("\n")
    given: list[Given] = []
    at = 0
    while at < len(lines):
        if without_unseen(lines[at]).strip():
            each = _read(lines[at])
            if each is None:
                break
            given.append(each)
        at += 1
    return tuple(given), "\n".join(lines[at:]).strip("\n") if given else text


def asks_note(given: Sequence[Given]) -> bool:
    """Whether one of the commands makes the text a note."""
    return any(each.command is NOTE for each in given)


def titles(given: Sequence[Given]) -> list[str]:
    """Return the words of commands that everybody reads who hears of the record."""
    return [" ".join(each.arguments) for each in given if each.command in (SET, QUOTE, INVOICE) and each.arguments]


def may_mean_note(text: str) -> bool:
    """Whether a line of `text` looks as if its author meant `/note`, though it does not stand at the top.

    A false alarm costs sending a mail again; a miss shows the customer what was meant for those inside.
    """
    return any(_MEANT_NOTE.match(_looked_at(line)) for line in text.split("\n"))


def decorated(text: str) -> tuple[str, Given] | None:
    """Return the first line of a text, and the command in it, where only a mark of a list, or of bold, is before it."""
    line = next((line.strip() for line in text.split("\n") if without_unseen(line).strip()), "")
    found = _DECORATED.fullmatch(_looked_at(line))
    given = _read(found[1].rstrip("*_」』】 ")) if found else None
    return (line, given) if given is not None and given.command is not None else None


def _looked_at(line: str) -> str:
    return unicodedata.normalize("NFKC", without_unseen(line)).strip()


def _read(line: str) -> Given | None:
    """Read a line as a command; what stands behind the word of a note is kept as it was written."""
    before, *behind = re.split(r"[/／]", line, maxsplit=1)
    found = _WORD.match(behind[0]) if behind and not without_unseen(before).strip() else None
    if found is None:
        return None
    word, rest = found["word"].rstrip(_STOPS) or found["word"], found["rest"]
    name = _looked_at(word).lower().translate(_SAME)
    glued = _GLUED.fullmatch(name)
    if glued is not None and (latin := _BY_WORD.get(glued[1])) is not None and latin.takes:  # `/set金額 5`
        name, rest = glued[1], word[len(glued[1]) :] + rest
    first, _, others = _looked_at(rest).partition(" ")
    if name + first.translate(_SAME) in _BY_WORD and not name.isascii():  # `/取消 訂閱`
        name, rest = name + first.translate(_SAME), others
    command = _BY_WORD.get(name)
    if command is None:
        if not name[:1].isalpha() or "/" in _looked_at((word + rest).split(maxsplit=1)[0]):
            return None
        longest = max((w for w in _BY_WORD if not w.isascii() and name.startswith(w)), key=len, default="")
        joined = word[len(longest) :] if len(word) == len(name) else name[len(longest) :]
        # What takes no words is not meant by a longer one: `/取消通知` cancels nothing.
        # Nor does a longer word hold a title: `/報價單`, `/開發票給客戶`.
        meant = bool(longest) and not (_BY_WORD[longest].takes == "[TITLE]" and joined[:1] in _NO_TITLE)
        if meant and (_BY_WORD[longest].takes or _BY_WORD[longest] in (NOTE, HELP) or not _says(joined)):
            name, command, rest = longest, _BY_WORD[longest], joined + rest
    rest = rest.lstrip(":：").strip()
    if command is NOTE:
        return Given(name, command, (rest,) if rest else ())
    return Given(name, command, tuple(_argument(each) for each in without_unseen(rest).split()))


def _says(words: str) -> bool:
    return any(char.isalnum() for char in words)


def too_much(given: Given) -> bool:
    """Whether words stand behind a command that takes none, and does something: it may be a sentence."""
    command = given.command
    plain = command is not None and not (command.takes or command.asks or command is NOTE)
    return plain and _says("".join(given.arguments))


def _argument(word: str) -> str:
    """Return a word in ASCII where full-width letters are all that keeps it from it; other words as they stand."""
    plain = word.translate(_HALF_WIDTH)
    return plain if plain.isascii() else word
