"""The answer to a form with a box for each subtype: which are ticked, however somebody ticks them.

The lines of the form stand in what is quoted, for the answer is written into it: this is the one place where a
quoted line counts, and only in a mail to the form's own address.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

from gateway.mail.address import without_unseen
from gateway.records.commands import FOLLOW, UNFOLLOW, Given
from gateway.records.kinds import Subtype

_LINES_MAX = 2_000
_LINE_MAX = 500  # characters
_LEADING = re.compile(r"[\s>|*•·–-]*")
_BOX = re.compile(
    r"(?P<left>[xv✓✔√*]?)\s?[\[({【〔](?P<inside>[^\])}】〕]{0,8})[\])}】〕](?P<right>(?:[xv✓✔√*](?![a-z]))?)",
    re.IGNORECASE,
)
_SIGN = re.compile(r"[☐□☑☒✅✓✔√❌✗✘■]")
_MARK = re.compile(r"[xv*](?:\s+|(?=[^\x00-\x7f]))", re.IGNORECASE)
# What people write behind a name, in place of into its box; and what says no there.
_BEHIND = re.compile(
    r"(?P<name>.*?[^\s:=])\s*(?:(?<=\s)|[:=]|(?=[^\x00-\x7f]))\s*(?:(?P<yes>x|v|y|yes|ok|on|[✓✔√✅]|要|是|好|打勾|勾選)|no|off|不要|否|不)"
    r"\s*[.!。]?",
    re.IGNORECASE,
)
_SENT = re.compile(r"(?:As it was sent|寄出時)\s*:\s*([01]{1,99})")
_EMPTY = frozenset({"", "_", "-", ".", "0", "n", "no", "off", "false", "否", "不", "不要", "無"})
_NAME = re.compile(r"[a-z][a-z0-9_]*(?:\.[a-z0-9_]+)?")
_UNTICKED = "☐□❌✗✘"


def read(text: str, subtypes: Iterable[Subtype]) -> dict[str, bool]:
    """Return which subtypes a form says are ticked; those it does not name are missing. The first word counts."""
    called: dict[str, str] = {}
    for each in subtypes:
        called |= {word.casefold(): each.name for word in (each.name, *each.names.values())}
        called |= {f"{each.name} {label}".casefold(): each.name for label in each.names.values()}
    found: dict[str, bool] = {}
    for line in text.split("\n")[:_LINES_MAX]:
        shown = _LEADING.sub("", unicodedata.normalize("NFKC", without_unseen(line[:_LINE_MAX])), count=1).strip()
        ticked = _ticked(shown)
        behind = _BEHIND.fullmatch(shown)
        name = _named(shown.casefold(), called) if ticked is not None else ""
        if behind is not None and ticked is None:
            name, ticked = called.get(" ".join(behind["name"].casefold().split()), ""), bool(behind["yes"])
        elif behind is not None and not ticked:
            ticked = bool(behind["yes"])
        if name and ticked is not None:
            found.setdefault(name, ticked)
    return found


def as_sent(text: str, subtypes: Sequence[Subtype]) -> dict[str, bool]:
    """Return what was ticked when the form was sent, as a line of it says; nothing where it says it of others."""
    found = _SENT.search(unicodedata.normalize("NFKC", text))
    if found is None or len(found[1]) != len(subtypes):
        return {}
    return {each.name: bit == "1" for each, bit in zip(subtypes, found[1], strict=True)}


def _ticked(line: str) -> bool | None:
    """Return whether the box on a line is ticked, or None for a line without one."""
    if box := _BOX.search(line):
        beside = bool(box["left"] or box["right"])
        return beside or box["inside"].strip().lower() not in _EMPTY
    if sign := _SIGN.search(line):
        return sign[0] not in _UNTICKED
    return True if _MARK.match(line) else None


def _named(line: str, called: Mapping[str, str]) -> str:
    for word in _NAME.finditer(line):
        if called.get(word[0]) == word[0]:
            return word[0]
    return next((name for label, name in called.items() if label in line), "")


def as_commands(
    ticked: Mapping[str, bool], sent: Mapping[str, bool], heard: Iterable[str], team: str = ""
) -> tuple[Given, ...]:  # fmt: skip
    """Return the commands that make of what is `heard` now what is ticked, and was not when the form was `sent`."""
    now = set(heard)
    ticked = {name: wanted for name, wanted in ticked.items() if sent.get(name) != wanted}
    more = tuple(name for name, wanted in ticked.items() if wanted and name not in now)
    less = tuple(name for name, wanted in ticked.items() if not wanted and name in now)
    where = (team,) if team else ()
    return tuple(
        Given(command.name, command, (*names, *where)) for command, names in ((FOLLOW, more), (UNFOLLOW, less)) if names
    )
