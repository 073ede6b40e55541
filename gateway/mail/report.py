"""Read a delivery report: what became of the mail it speaks of.

*Standards:* RFC 3464 §2.3 (per-recipient fields), RFC 3463 (status codes).
"""

import re
from dataclasses import dataclass
from typing import Literal

from gateway.mail.parse import Mail
from gateway.mail.status import readable

_STATUS = re.compile(r"([245])\.(\d{1,3})\.(\d{1,3})")
_FIELD = re.compile(r"^(action|status|diagnostic-code)[ \t]*:[ \t]*(.{0,500})", re.IGNORECASE | re.MULTILINE)
# What some programs write where the standard has "failed".
_LOOSE = {"failure": "failed", "error": "failed", "fail": "failed", "undeliverable": "failed"}
_FOLD = re.compile(r"\r?\n[ \t]+")


@dataclass(frozen=True, slots=True)
class Report:
    """The first recipient's outcome; a mail of ours has one recipient only."""

    action: Literal["failed", "delayed", "delivered", "relayed", "expanded"]
    status: str
    diagnostic: str


def read_report(mail: Mail) -> Report | None:
    """Return what a multipart/report says, or None if `mail` holds no delivery status."""
    if mail.report is None:
        return None
    fields: dict[str, str] = {}
    text = _FOLD.sub(" ", mail.report[:64_000].decode("utf-8", "replace"))
    for name, value in _FIELD.findall(text):
        fields.setdefault(name.lower(), readable(value))
    status = _STATUS.search(fields.get("status", ""))
    said = status[0] if status else ""
    diagnostic = fields.get("diagnostic-code", "").partition(";")[2].strip() or fields.get("diagnostic-code", "")
    said_action = (fields.get("action", "").lower().split() or [""])[0].rstrip(";,")
    match _LOOSE.get(said_action, said_action):
        case "failed" | "delayed" | "delivered" | "relayed" | "expanded" as action:
            return Report(action, said, diagnostic)
        case _:
            return None
