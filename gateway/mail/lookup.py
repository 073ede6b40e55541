"""What is asked of the DNS, as a function that is handed in: nothing in `mail/` opens a socket.

*Failure:* a name that is not there, and one that holds nothing of the type, are both no answer:
an empty sequence. A server that fails, refuses or does not answer in time is `Unreachable`: it
may pass, and decides nothing.

*Standards:* RFC 1035 (types, strings of TXT), RFC 8020 (a name that is not there).
"""

import re
from collections.abc import Sequence
from typing import Literal, Protocol

RecordType = Literal["TXT", "A", "AAAA", "MX", "PTR"]
# What is printed as it is: a control or a backslash would be read as something else.
_LABEL = re.compile(r"[ -\[\]-~]{1,63}", re.ASCII)


class Unreachable(Exception):
    """The DNS could not be asked now."""


class Lookup(Protocol):
    """Asks for the records of one type at `name`, following aliases.

    TXT gives each record's strings joined, A, AAAA and PTR what people write, MX the hosts in
    the order of their preference.
    """

    def __call__(self, name: str, kind: RecordType) -> Sequence[bytes | str]:
        """Return the records; raise `Unreachable`."""
        ...


def remembering(lookup: Lookup) -> Lookup:
    """Return `lookup`, asking nothing twice: neither what was answered nor what was not."""
    known: dict[tuple[str, RecordType], Sequence[bytes | str] | Unreachable] = {}

    def ask(name: str, kind: RecordType) -> Sequence[bytes | str]:
        if (name, kind) not in known:
            try:
                known[name, kind] = lookup(name, kind)
            except Unreachable as away:
                known[name, kind] = away
        found = known[name, kind]
        if isinstance(found, Unreachable):
            raise found
        return found

    return ask


def texts(lookup: Lookup, name: str) -> list[bytes]:
    """Return the TXT records at `name`, as octets."""
    return [each if isinstance(each, bytes) else each.encode("utf-8", "replace") for each in lookup(name, "TXT")]


def is_name(domain: str) -> bool:
    """Whether `domain` can be asked for: printed ASCII, labels of 1 to 63 octets, 253 in all (RFC 1035 §2.3.4)."""
    name = domain.removesuffix(".")
    return len(name) <= 253 and all(_LABEL.fullmatch(label) for label in name.split("."))
