"""What gives a machine away that sets no field: it says the same again, at once, to whatever it is told.

Also what mail may not command though its author may: because it is old, or can be read in two ways.
"""

import difflib
import email.utils
import re
from dataclasses import replace

from gateway.decide.authorise import Wish
from gateway.decide.disposition import Disposition, hold
from gateway.decide.place import Incoming, Place
from gateway.mail.parse import AMBIGUOUS
from gateway.store import messages
from gateway.store.arrivals import FOLDER
from gateway.store.session import Transaction

AT_ONCE_MS = 60_000  # a person seldom answers faster, and never several times in the same words
REPEATED_MS = 2 * 3_600_000
AHEAD_MS = 24 * 3_600_000  # by how much an author's clock may be wrong
OLD_MS = 7 * 86_400_000
SHORT = 20  # letters: so short a thing people do say again ("收到")
LONG = 40  # letters from which on nearly the same is the same: machines say whom they answer, and about what
ALIKE = 0.9
_COMPARED_MAX = 600  # letters
_LOOKED_MAX = 20_000  # characters
_DATES = re.compile(  # and times, and numbers: what differs from one answer of a machine to the next
    r"(?<![a-z])[a-z]{1,20}\d[a-z0-9:./-]*|\d[a-z0-9:./-]*"
    r"|\b(?:mon|tues|wednes|thurs|fri|satur|sun)day\b|\b(?:mon|tue|wed|thu|fri|sat|sun)\b"
    r"|\b(?:january|february|march|april|may|june|july|august|september|october|november|december)\b"
    r"|\b(?:jan|feb|mar|apr|jun|jul|aug|sep|sept|oct|nov|dec)\b|\b[ap]m\b"
    r"|(?:星期|禮拜|礼拜|週|周)[一二三四五六日天]|[上下]午|[一二三四五六七八九十]{1,3}(?=[月日號号點点時时])"
)
_LINE_MAX = 200  # characters of a machine's answer that stand on the record
REPEATS = "says the same again, at once"


def recognised(tx: Transaction, incoming: Incoming, where: Place, text: str) -> Incoming:
    """Return a mail marked as automatic if its author has answered other messages in the same words just now.

    Two gateways with an answering machine between them fall silent so, whatever headers are lost. What says not what
    it answers answers as much as its author heard: who sends one photo after the other says more.
    """
    parent, letters = where.parent, _letters(text)
    if incoming.automatic or incoming.recipient.released or not letters or incoming.arrival.door == FOLDER:
        return incoming
    email, since = incoming.identity.email, incoming.now - REPEATED_MS
    heard = [parent.at] if parent else messages.heard_since(tx, where.record.id, email, since)
    if not heard or incoming.now - heard[0] > AT_ONCE_MS:
        return incoming
    before = messages.said_since(tx, where.record.id, email, since)
    same = [each for each in before if _says_same(each.text, text)]
    if parent is None and (incoming.attachments or len(heard) <= len(same)):
        return incoming
    others = {each.parent_id or -each.id for each in same} - ({parent.id} if parent else set())
    short = bool(same) and len(_letters(_apart(same[0].text, text)[1])) < SHORT
    return replace(incoming, automatic=REPEATS) if len(others) >= (2 if short else 1) else incoming


def _says_same(one: str, other: str) -> bool:
    """Whether two texts say the same, a signature below both aside."""
    one, other = _apart(one, other)
    return _alike(_letters(one), _letters(other))


def _apart(one: str, other: str) -> tuple[str, str]:
    """Return two texts without the last lines that both have."""
    lines, others = one.rstrip().split("\n"), other.rstrip().split("\n")
    while len(lines) > 1 and len(others) > 1 and lines[-1].strip() == others[-1].strip():
        lines.pop()
        others.pop()
    return "\n".join(lines), "\n".join(others)


def _letters(text: str) -> str:
    """Return the letters of a text, in lower case: a machine's answers differ in dates and numbers."""
    return "".join(char for char in _DATES.sub(" ", text[:_LOOKED_MAX].casefold()) if char.isalpha())


def _alike(one: str, other: str) -> bool:
    if one == other:
        return True
    if min(len(one), len(other)) < LONG:
        return False
    matcher = difflib.SequenceMatcher(None, one[:_COMPARED_MAX], other[:_COMPARED_MAX], autojunk=False)
    return matcher.real_quick_ratio() >= ALIKE and matcher.quick_ratio() >= ALIKE and matcher.ratio() >= ALIKE


def line(text: str) -> str:
    """Return a machine's answer as the line that stands on the record; the original is kept."""
    shown = " ".join(text.split())
    return shown if len(shown) <= _LINE_MAX else shown[: _LINE_MAX - 1] + "…"


def why_not(incoming: Incoming, wish: Wish, *, named: bool) -> Disposition | None:
    """Return why a mail commands nothing and is no note, though its author may, or None.

    `named` tells that To or Cc name what is commanded: a signed mail that somebody else got from its
    author, and sends us again, commands nothing here.
    """
    if wish not in ("note", "command"):
        return None
    if AMBIGUOUS in incoming.mail.defects and incoming.arrival.door != FOLDER:
        return hold("ambiguous", f"a {wish} must be readable in one way only, and the mail is not")
    if wish == "command" and incoming.arrival.received_at - _oldest(incoming) > OLD_MS:
        return hold("old", "a command counts for seven days, and the mail is older")
    if wish == "command" and (incoming.mail.date or 0) - incoming.arrival.received_at > AHEAD_MS:
        return hold("ahead", "a command counts from when it was written, and the mail says a later day")
    if wish == "command" and not named:
        return hold("not named", "a command counts where To or Cc, as its author signed them, name its address")
    return None


def _oldest(incoming: Incoming) -> int:
    """Return when a mail was written (ms): what Date says, or the host that had it first, whichever is older."""
    received = incoming.mail.header.all("received")
    said = [incoming.arrival.received_at, incoming.mail.date]
    if received:
        try:
            first = email.utils.parsedate_to_datetime(received[-1].rpartition(";")[2].strip()[:200])
            said.append(int(first.timestamp() * 1000))
        except (ValueError, TypeError, OverflowError, IndexError, AttributeError):
            pass  # a field that says no time says nothing
    return min(each for each in said if each is not None)
