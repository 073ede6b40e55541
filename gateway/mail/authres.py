"""What the methods of authentication said of a mail, and reading what a trusted server wrote of it.

*Failure:* a field that cannot be read says nothing; nothing here raises on octets from outside.

*Standards:* RFC 8601 (Authentication-Results; §2.7 methods and results, §5 foreign fields).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import authres

from gateway.mail.address import parse_address
from gateway.mail.header import Header

FIELD = "authentication-results"
FIELD_MAX = 8 * 1024  # characters of a field that are read
Verdict = Literal["pass", "fail", "softfail", "neutral", "none", "policy", "temperror", "permerror"]
_VERDICTS: dict[str, Verdict] = {
    "pass": "pass", "fail": "fail", "softfail": "softfail", "neutral": "neutral", "none": "none",
    "policy": "policy", "temperror": "temperror", "permerror": "permerror", "hardfail": "fail",
}  # fmt: skip
# The properties that name the domain each method speaks of, the better first. Of DKIM some servers tell only
# the identity, which is the signing domain or within it.
_DOMAIN = {
    "spf": (("smtp", "mailfrom"),),
    "dkim": (("header", "d"), ("header", "i")),
    "dmarc": (("header", "from"),),
}

_POLICY = re.compile(r"\b(?:p|policy|action|policy\.[a-z-]+)\s?=\s?(none|quarantine|reject)\b")


@dataclass(frozen=True, slots=True)
class Result:
    """What one method said: `domain` is the one it speaks of (lower case), `detail` why, in a few words."""

    method: Literal["spf", "dkim", "dmarc", "arc", "auth", "network", "folder"]
    verdict: Verdict
    domain: str = ""
    detail: str = ""

    def __str__(self) -> str:
        said = f"{self.method}={self.verdict}" + (f" ({self.domain})" if self.domain else "")
        return f"{said}: {self.detail}" if self.detail else said


def trusted_results(header: Header, authserv_id: str, behind: int = 0) -> tuple[list[Result], list[str]]:
    """Return what the server `authserv_id` found, and defects: fields that only bear its name.

    Only the topmost Authentication-Results field counts, and only above the second Received field, or so many further
    down as hosts of our own stand `behind` the trusted server and wrote one each:
    what stands further down was there before the trusted server had the mail (RFC 8601 §5). A server that
    writes no such field, and takes no forged one out, must not be trusted: the forged one would be topmost.
    """
    found: list[Result] = []
    defects: list[str] = []
    received = 0
    first = True
    for name, body in header.fields:
        received += name == "received"
        if name != FIELD:
            continue
        ours = is_by(body, authserv_id)
        if ours and first and received < 2 + behind:
            found = _read(body)
        elif ours:
            defects.append("a foreign Authentication-Results field bears the name of our server")
        first = False
    return found, list(dict.fromkeys(defects))


def is_by(body: str, authserv_id: str) -> bool:
    """Whether the body of a field says to be written by `authserv_id`."""
    words = body.partition(";")[0].strip().lower().split()
    return bool(authserv_id) and words[:1] == [authserv_id.lower()]


def _read(body: str) -> list[Result]:
    if len(body) > FIELD_MAX:
        return []
    try:
        parsed = authres.AuthenticationResultsHeader.parse(f"Authentication-Results: {' '.join(body.split())}")
        return list(_results(parsed.results, body))
    except Exception:  # noqa: BLE001 (authres raises what comes; an unreadable field says nothing)
        return []


def _results(parsed: Iterable[authres.AuthenticationResult], body: str) -> Iterable[Result]:
    for each in parsed:
        verdict = _VERDICTS.get(str(each.result).lower())
        match str(each.method).lower():
            case "spf" | "dkim" | "dmarc" as method if verdict:
                asks = f"; {_asks(body)}" if (method, verdict) == ("dmarc", "fail") else ""
                yield Result(method, verdict, _domain(method, each), f"said by the trusted server{asks}")
            case _:
                continue


def _asks(body: str) -> str:
    """Return what the domain asks of a mail that fails, as `mail/dmarc.py` does.

    Servers write it into a comment. Where it is not said, or words of others could pass for it, it is the strictest.
    """
    said = [each for each in body.lower().split(";") if each.strip().startswith("dmarc")]
    found = _POLICY.search(said[0]) if len(said) == 1 else None
    return f"it asks: {found[1] if found else 'reject'}"


def _domain(method: str, each: authres.AuthenticationResult) -> str:
    for wanted in _DOMAIN[method]:
        for given in each.properties:
            if (given.type, given.name) == wanted:
                address = parse_address("x@" + str(given.value).rpartition("@")[2].strip("<>"))
                return address.domain if address else ""
    return ""


def read_arc_results(body: str) -> list[Result]:
    """Return what the body of an ARC-Authentication-Results field says (RFC 8617 §4.1.1: `i=N;` stands in front)."""
    instance, _, rest = body.partition(";")
    return _read(rest) if instance.strip().lower().startswith("i") else []
