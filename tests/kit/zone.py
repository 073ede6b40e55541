"""DNS from a dictionary or a small text: what a name holds, and which of it does not answer.

A `Zone` is a `Lookup`, and counts what it is asked. In text, a line is `name TYPE value`, `name TIMEOUT`
for whatever else is asked of that name, or `name TYPE TIMEOUT` for that type; `;` begins a comment only at
the beginning of a line, since records are full of it:

    example.com          TXT    v=spf1 mx -all
    example.com          MX     10 mail.example.com
    www.example.com      CNAME  example.com
    slow.example.com     TIMEOUT

The dictionary is that of the public SPF suite: a name to a list of {TYPE: value} and "TIMEOUT".
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gateway.mail.lookup import RecordType, Unreachable

TIMEOUT = "TIMEOUT"
ALIASES_MAX = 10


class Zone:
    """Records by name and type, aliases followed; a type or a name may not answer."""

    def __init__(self, names: Mapping[str, Iterable[Any]] | None = None) -> None:
        self.records: dict[str, list[tuple[str, Any]]] = {}
        self.asked: list[tuple[str, str]] = []
        for name, entries in (names or {}).items():
            kinds = {kind for entry in entries if entry != TIMEOUT for kind in entry}
            self.records.setdefault(key(name), [])
            for entry in entries:
                for kind, value in [(TIMEOUT, "")] if entry == TIMEOUT else entry.items():
                    self.add(name, kind, value)
                    if kind == "SPF" and "TXT" not in kinds:  # the suite means both, but where it says NONE
                        self.add(name, "TXT", value)

    @classmethod
    def read(cls, text: str) -> "Zone":
        """Return the zone that `text` describes."""
        zone = cls()
        for line in text.splitlines():
            if line.strip() and not line.lstrip().startswith(";"):
                name, kind, *value = line.split(None, 2)
                zone.add(name, kind, value[0] if value else "")
        return zone

    def add(self, name: str, kind: str, value: Any) -> "Zone":
        """Add a record; one of type MX is "10 host" or a pair."""
        if kind == "MX" and value != TIMEOUT:
            preference, host = value.split() if isinstance(value, str) else value
            value = (int(preference), host)
        entries = self.records.setdefault(key(name), [])
        if value != "NONE":
            entries.append((kind, value))
        return self

    def exists(self, name: str) -> bool:
        """Whether anything is at the name or below it: what is not there at all is NXDOMAIN."""
        return any(held == key(name) or held.endswith("." + key(name)) for held in self.records)

    def find(self, name: str, kind: str) -> list[Any]:
        """Return the values as they were added, aliases followed; raise `Unreachable`."""
        for _ in range(ALIASES_MAX):
            entries = self.records.get(key(name), [])
            found = [value for held, value in entries if held == kind]
            if TIMEOUT in found or (not found and (TIMEOUT, "") in entries):
                raise Unreachable(f"{name}: no answer in time")
            alias = [value for held, value in entries if held == "CNAME"]
            if found or not alias:
                return found
            name = alias[0]
        return []

    def __call__(self, name: str, kind: RecordType) -> Sequence[bytes | str]:
        """Answer as the gateway's own lookup does."""
        self.asked.append((key(name), kind))
        found = self.find(name, kind)
        match kind:
            case "TXT":
                return [octets(value) for value in found]
            case "MX":
                return [host for _, host in sorted(found)]
            case _:
                return found


def key(name: str) -> str:
    """Return a name as it is compared."""
    return str(name).lower().rstrip(".")


def octets(value: bytes | str | Sequence[str]) -> bytes:
    """Return the text of a TXT record, given whole or in strings."""
    if isinstance(value, bytes):
        return value
    return (value if isinstance(value, str) else "".join(value)).encode("utf-8", "surrogateescape")
