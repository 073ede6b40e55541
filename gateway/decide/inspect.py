"""What of a mail is not passed on: attachments that run, that are infected, or that nobody could look at.

The text passes; an attachment that is withheld stays with the original, and everybody is told so.
clamd and rspamd are asked where the site names them.

*Failure:* a checker that does not answer raises `CheckerAway`: the mail waits a while, then its
attachments are withheld unchecked. What a checker says that we cannot read counts as no answer.

*Standards:* clamd's INSTREAM and rspamd's /checkv2, as their manuals give them.
"""

import http.client
import json
import socket
import struct
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from gateway.config import Checks, parse_listen
from gateway.mail.address import without_unseen
from gateway.mail.attached import attached_in
from gateway.mail.parse import Attachment
from gateway.store.arrivals import Arrival

Policy = Literal["withhold", "hold", "pass"]
RUNS, INFECTED, UNCHECKED = "a file that runs", "infected", "could not be checked for viruses"
_TIMEOUT_S = 10.0
_CHUNK = 128 * 1024
_ANSWER_MAX = 256 * 1024
# Names whose programs run what stands in them, whatever the mail calls it.
_RUNS = frozenset({
    "ade", "adp", "apk", "app", "application", "appref-ms", "appx", "appxbundle", "bas", "bat", "chm", "cmd", "com",
    "command", "cpl", "desktop", "diagcab", "dll", "dmg", "docm", "dotm", "exe", "gadget", "hlp", "hta", "img", "inf",
    "ins", "iso", "isp", "jar", "jnlp", "js", "jse", "lib", "library-ms", "lnk", "mde", "msc", "msi", "msix",
    "msixbundle", "msp", "mst", "nsh", "osd", "pif", "potm", "ppam", "ppsm", "pptm", "ps1", "ps1xml", "ps2", "psc1",
    "py", "pyw", "rdp", "reg", "scf", "scr", "sct", "search-ms", "searchconnector-ms", "settingcontent-ms", "sh",
    "shb", "sys", "url", "vb", "vbe", "vbs", "vhd", "vhdx", "vxd", "ws", "wsc", "wsf", "wsh", "xbap", "xla", "xlam",
    "xll", "xlsm", "xltm", "xnk",
})  # fmt: skip
_BEGINS = ((b"MZ", "a Windows program"), (b"\x7fELF", "a Linux program"), (b"#!", "a script"),
           (b"\xca\xfe\xba\xbe", "a program"), (b"\xcf\xfa\xed\xfe", "a macOS program"))  # fmt: skip


class CheckerAway(Exception):
    """A checker that the site asks does not answer."""


@dataclass(frozen=True, slots=True)
class Withheld:
    """An attachment that is not passed on: why, in fixed words that are translated for readers, and what exactly.

    `number` says which of the mail's attachments it is, from 0: several may bear one name.
    """

    name: str
    why: str
    detail: str = ""
    number: int = 0


@dataclass(frozen=True, slots=True)
class Inspection:
    """What is withheld of a mail; `hold` is why the whole mail is kept for a person, or ""."""

    withheld: tuple[Withheld, ...] = ()
    hold: str = ""


def what_runs(attachment: Attachment) -> str:
    """Return what kind of program an attachment is, or one that a mail in it holds; or ""."""
    return next(filter(None, map(_runs, [attachment, *attached_in(attachment)])), "")


def _runs(attachment: Attachment) -> str:
    name = without_unseen(attachment.name).rstrip(". ").lower()
    if "." in name and name.rpartition(".")[2] in _RUNS:
        return f".{name.rpartition('.')[2]}"
    return next((what for begins, what in _BEGINS if attachment.content.startswith(begins)), "")


def inspect(arrival: Arrival, attachments: Sequence[Attachment], checks: Checks, policy: Policy) -> Inspection:
    """Look at a mail's attachments, and have it looked at; raise `CheckerAway`."""
    withheld = [] if policy == "pass" else [
        Withheld(each.name, RUNS, what, n) for n, each in enumerate(attachments) if (what := what_runs(each))
    ]  # fmt: skip
    hold = f"{withheld[0].why}: {withheld[0].name} ({withheld[0].detail})" if withheld and policy == "hold" else ""
    if checks.clamd:
        said = {each.number for each in withheld}
        for n, each in enumerate(attachments):
            if n not in said and (virus := scan(checks.clamd, each.content)):
                withheld.append(Withheld(each.name, INFECTED, virus, n))
        if virus := scan(checks.clamd, arrival.content) if not withheld else "":
            hold = hold or f"{INFECTED}: {virus}"
    if checks.rspamd and not hold:
        hold = rate(checks.rspamd, arrival)
    return Inspection(tuple(withheld), hold)


def unchecked(attachments: Sequence[Attachment]) -> Inspection:
    """Withhold everything: nobody could look at it."""
    return Inspection(tuple(Withheld(each.name, UNCHECKED, number=n) for n, each in enumerate(attachments)))


def scan(at: str, octets: bytes) -> str:
    """Return the virus that clamd at `HOST:PORT` or `unix:PATH` finds in `octets`, or ""; raise `CheckerAway`."""
    host, port = parse_listen(at)
    try:
        with _connect(host, port) as peer:
            peer.sendall(b"zINSTREAM\0")
            for start in range(0, len(octets), _CHUNK):
                piece = octets[start : start + _CHUNK]
                peer.sendall(struct.pack(">I", len(piece)) + piece)
            peer.sendall(struct.pack(">I", 0))
            answer = b""
            while not answer.endswith(b"\0") and len(answer) < _ANSWER_MAX and (more := peer.recv(4096)):
                answer += more
    except OSError as error:
        message = f"clamd does not answer: {error.strerror or error}"
        raise CheckerAway(message) from None
    said = answer.rstrip(b"\0\n ").decode("utf-8", "replace")
    if said.endswith(" FOUND"):
        return said.removesuffix(" FOUND").rpartition(": ")[2][:100]
    if said.endswith(": OK"):
        return ""
    message = f"clamd answered {said[:100]!r}"
    raise CheckerAway(message)


def _connect(host: str, port: int) -> socket.socket:
    if port >= 0:
        return socket.create_connection((host, port), _TIMEOUT_S)
    peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    peer.settimeout(_TIMEOUT_S)
    try:
        peer.connect(host)
    except OSError:
        peer.close()
        raise
    return peer


def rate(url: str, arrival: Arrival) -> str:
    """Return why rspamd at `url` would not take a mail, or ""; raise `CheckerAway`."""
    headers = {"From": arrival.return_path, "Helo": arrival.helo, "IP": arrival.peer, "User": arrival.auth_who}
    shown = {name: value for name, value in headers.items() if value.isascii() and value.isprintable() and value}
    request = urllib.request.Request(f"{url.rstrip('/')}/checkv2", arrival.content, shown)  # noqa: S310 (the site names it)
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310 (as above)
            said = json.loads(answer.read(_ANSWER_MAX))
        action, score = str(said["action"]), float(said.get("score", 0))
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError, RecursionError) as error:
        message = f"rspamd does not answer: {type(error).__name__}"
        raise CheckerAway(message) from None
    wanted = action in {"reject", "add header", "rewrite subject", "soft reject"}
    return f"spam: {action}, {score:.1f} (rspamd)" if wanted else ""
