"""SMTP replies: one severity, from which the code and the enhanced code are both printed.

*Standards:* RFC 5321 §4.2 (codes), RFC 3463 and RFC 5248 (enhanced codes).
"""

import re
from dataclasses import dataclass
from typing import Literal

Severity = Literal[2, 4, 5]
_REPLY = re.compile(r"\s*(\d{3})(?:[ -]+|$)(?:([245])\.(\d{1,3})\.(\d{1,3})\b)?\s*(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Status:
    """A reply: `severity` 2, 4 or 5, `code` the last two digits, `subject.detail`, fixed public text."""

    severity: Severity
    code: int
    enhanced: str
    text: str

    def __str__(self) -> str:
        return f"{self.severity}{self.code:02d} {self.severity}.{self.enhanced} {self.text}"


def parse_reply(code: int, text: str) -> Status:
    """Read a server's reply: its code and its text, of which the enhanced code is the beginning.

    A code outside 2xx and 5xx is temporary, whatever it is.
    """
    # What is no answer, or one that does not belong here, decides nothing: it may pass.
    severity: Severity = 2 if 200 <= code < 300 else 5 if 500 <= code < 600 else 4
    match = _REPLY.match(f"{code} {text}")
    enhanced = f"{match[3]}.{match[4]}" if match and match[2] == str(severity) else "0.0"
    said = match[5] if match else text
    return Status(severity, code % 100, enhanced, readable(said))


def readable(text: str) -> str:
    """Return what a server said as one line that can be stored and shown: no controls, no half characters."""
    shown = text.encode("utf-8", "replace").decode("utf-8")
    return " ".join("".join(char if char.isprintable() else " " for char in shown).split())[:500]
