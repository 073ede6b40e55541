"""SPF, whether this host may send for that domain: pyspf, asking through the lookup it is handed.

*Failure:* a DNS that cannot be asked is `temperror`, a record that cannot be read `permerror`; nothing raises.

*Standards:* RFC 7208 (§4.6.4: ten lookups, two of them void; §2.4 the MAIL FROM identity; §3.4 the size of
a record; the explanation of §6.2 is a stranger's text and is not asked for).
"""

import ipaddress
from collections.abc import Mapping
from typing import Any

import spf

from gateway.mail.address import parse_address
from gateway.mail.authres import Result, Verdict
from gateway.mail.lookup import Lookup, RecordType, Unreachable, is_name

_VERDICTS: Mapping[str, Verdict] = {
    "pass": "pass", "fail": "fail", "softfail": "softfail", "neutral": "neutral", "none": "none",
    "temperror": "temperror", "permerror": "permerror",
}  # fmt: skip
_VOID_MAX = 2
_SENDER_MAX = 512  # characters of a sender or a greeting; RFC 5321 §4.5.3.1 has 320
_RECORD_MAX = 8 * 1024  # octets of a record
_TERM_MAX = 1_024  # characters of a term with macros; pyspf takes the square of it


class _Query(spf.query):  # type: ignore[misc]  # pyspf has no types
    """A query that asks our lookup, which follows aliases by itself."""

    def __init__(self, ip: str, sender: str, helo: str, lookup: Lookup) -> None:
        super().__init__(ip, sender, helo)
        self._lookup = lookup

    def get_explanation(self, spec: str) -> None:
        """Ask for no explanation: nobody reads it, and it would be a lookup of a stranger's choice."""

    def expand(self, s: str, stripdot: bool = True) -> str:  # noqa: FBT001, FBT002 (pyspf's arguments)
        if len(s) > _TERM_MAX:
            message = f"a term of more than {_TERM_MAX} characters"
            raise spf.PermError(message)
        return str(super().expand(s, stripdot))

    def dns(self, name: str, qtype: RecordType, cnames: object = None, ignore_void: bool = False) -> list[Any]:  # noqa: ARG002, FBT001, FBT002 (pyspf's arguments)
        name = str(name).rstrip(".").lower()
        if not name or not is_name(name):
            return []
        key = (name, qtype)
        if key not in self.cache:
            try:
                found = self._lookup(name, qtype)
            except Unreachable as away:
                raise spf.TempError(str(away)) from None
            self.cache[key] = [_as_pyspf(n, each, qtype) for n, each in enumerate(found)]
            if not found and not ignore_void:
                self.void_lookups += 1
                if self.void_lookups > _VOID_MAX:
                    message = f"Void lookup limit of {_VOID_MAX} exceeded"
                    raise spf.PermError(message)
        result: list[Any] = self.cache[key]
        return list(result)


def _as_pyspf(n: int, each: bytes | str, kind: RecordType) -> object:
    match kind:
        case "TXT":
            octets = each if isinstance(each, bytes) else each.encode("utf-8", "replace")
            if len(octets) > _RECORD_MAX and octets[:6].lower() == b"v=spf1":
                message = f"a record of more than {_RECORD_MAX} octets"
                raise spf.PermError(message)
            return (octets[:_RECORD_MAX],)
        case "MX":
            return (n, each)
        case _:
            return each


def check_spf(ip: str, helo: str, return_path: str, lookup: Lookup) -> Result:
    """Return whether the host `ip` may send with this return path; "" has no domain that could be an author's.

    `ip` is a textual address, `helo` what the host called itself.
    """
    address = parse_address(return_path)
    if address is None:
        return Result("spf", "none", "", "no return path that could be somebody's")
    # As we read it, so that the domain that is asked is the one the result names, whatever alphabet it came in.
    return check_host(ip, helo, str(address), address.domain, lookup)


def check_host(ip: str, helo: str, sender: str, domain: str, lookup: Lookup) -> Result:
    """Return what RFC 7208 §4 says of `sender`, whatever form that has."""
    try:
        address = ipaddress.ip_address(ip.partition("%")[0])
    except ValueError:
        return Result("spf", "permerror", domain, "the host has no address")
    try:
        verdict, _, said = _Query(str(address), sender[:_SENDER_MAX], helo[:_SENDER_MAX], lookup).check()
    except Exception as error:  # noqa: BLE001 (pyspf raises what comes on records from outside)
        return Result("spf", "permerror", domain, f"the record cannot be read ({type(error).__name__})")
    shown = "".join(char if char.isprintable() else " " for char in str(said))[:200]
    return Result("spf", _VERDICTS.get(verdict, "permerror"), domain, shown if verdict != "pass" else "")
