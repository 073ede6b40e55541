"""The answer to a form with a box for each subtype: which are ticked, however somebody ticks them.

The lines of the form stand in what is quoted, for the answer is written into it: this is the one place where a
quoted line counts, and only in a mail to the form's own address.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping

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
_SIGN = re.compile(r"[☐□☑☒✅✓✔√❌✗✘]")
_MARK = re.compile(r"[xv*]\s+", re.IGNORECASE)
_EMPTY = frozenset({"", "_", "-", ".", "0", "n", "no", "off", "false", "否", "不", "不要", "無"})
_NAME = re.compile(r"[a-z][a-z0-9_]*(?:\.[a-z0-9_]+)?")
_UNTICKED = "☐□❌✗✘"


def read(text: str, subtypes: Iterable[Subtype]) -> dict[str, bool]:
    """Return which subtypes a form says are ticked; those it does not name are missing. The first word counts."""
    known = {subtype.name: subtype for subtype in subtypes}
    by_label = {label: each.name for each in known.values() for label in each.names.values()}
    found: dict[str, bool] = {}
    for line in text.split("\n")[:_LINES_MAX]:
        shown = _LEADING.sub("", unicodedata.normalize("NFKC", without_unseen(line[:_LINE_MAX])), count=1)
        ticked = _ticked(shown)
        name = _named(shown, known, by_label) if ticked is not None else ""
        if name and ticked is not None:
            found.setdefault(name, ticked)
    return found


def _ticked(line: str) -> bool | None:
    """Return whether the box on a line is ticked, or None for a line without one."""
    if box := _BOX.search(line):
        beside = bool(box["left"] or box["right"])
        return beside or box["inside"].strip().lower() not in _EMPTY
    if sign := _SIGN.search(line):
        return sign[0] not in _UNTICKED
    return True if _MARK.match(line) else None


def _named(line: str, known: Mapping[str, Subtype], by_label: Mapping[str, str]) -> str:
    for word in _NAME.finditer(line):
        if word[0] in known:
            return word[0]
    return next((name for label, name in by_label.items() if label in line), "")


def as_commands(ticked: Mapping[str, bool], heard: Iterable[str], team: str = "") -> tuple[Given, ...]:
    """Return the commands that make of what is `heard` now what is ticked."""
    now = set(heard)
    more = tuple(name for name, wanted in ticked.items() if wanted and name not in now)
    less = tuple(name for name, wanted in ticked.items() if not wanted and name in now)
    where = (team,) if team else ()
    return tuple(
        Given(command.name, command, (*names, *where)) for command, names in ((FOLLOW, more), (UNFOLLOW, less)) if names
    )
