"""Who stays when too many come: the sessions of all doors, in the order they were last heard.

Who holds connections without a word, or drips, keeps out nobody who has something to say.
"""

import ipaddress
import resource
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from gateway.arrive.accept import Acceptor
from gateway.mail.status import Status

CONNECTIONS_MAX = 1_500
CONNECTIONS_PER_PEER = 500
FILES_RESERVED = 300  # open files that are not connections: the store's, the spool's, the next hop's
SILENT_S = 0.25  # a session that said nothing for so long may have to go for another
STALLED_S = 2.0  # … and one in DATA, when nothing came for so long, or less than this:
SLOWEST = 500  # octets a second in DATA
_IPV6_PREFIX = 64  # what one customer of a provider has


class Guest(Protocol):
    """What is known here of a session."""

    group: str
    receiving: bool
    heard: float  # when it last gave a command, or octets of a mail, by the monotonic clock

    def stalls(self, now: float) -> bool:
        """Whether its mail comes too slowly, or not at all."""

    def end(self, status: Status, *, unless_busy: bool = False) -> None:
        """Say why and hang up."""

    def leave(self) -> bool:
        """Go, for there is no room; False if it is going already or cannot just now."""


@dataclass(slots=True)
class Shared:
    """What the sessions of all doors share."""

    acceptor: Acceptor
    hostname: str
    in_flight: int = 0
    sessions: OrderedDict[Guest, None] = field(default_factory=OrderedDict)  # silent longest first
    peers: dict[str, OrderedDict[Guest, None]] = field(default_factory=dict)

    def enter(self, guest: Guest) -> bool:
        """Count a session; if there are too many, another goes. False when none can: then it must go itself.

        The other is one of the same peer if there are too many of that peer's.
        """
        self.sessions[guest] = None
        own = self.peers.setdefault(guest.group, OrderedDict())
        own[guest] = None
        if len(own) > CONNECTIONS_PER_PEER and guest.group != "unix":
            return _one_leaves(own, guest)
        return len(self.sessions) <= _connections_max() or _one_leaves(self.sessions, guest)

    def heard(self, guest: Guest) -> None:
        """Note that a session said something."""
        if guest in self.sessions:
            self.sessions.move_to_end(guest)
            self.peers[guest.group].move_to_end(guest)

    def left(self, guest: Guest) -> None:
        """Forget a session."""
        if guest in self.sessions:
            del self.sessions[guest]
            own = self.peers[guest.group]
            del own[guest]
            if not own:
                del self.peers[guest.group]


def _connections_max() -> int:
    """Return how many connections there may be: no more than the process may have files open."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return CONNECTIONS_MAX if files < 0 else max(1, min(CONNECTIONS_MAX, files - FILES_RESERVED))


def _one_leaves(those: OrderedDict[Guest, None], newest: Guest) -> bool:
    now = time.monotonic()
    for each in those:
        if now - each.heard < SILENT_S:
            return False
        if each is not newest and (not each.receiving or each.stalls(now)) and each.leave():
            return True
    return False


def group_of(peer: str) -> str:
    """Return what is counted as one peer: an IPv4 address, or the /64 of an IPv6 address."""
    address = _address(peer)
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, _IPV6_PREFIX), strict=False))
    return str(address) if address else peer


def inside(peer: str, networks: Sequence[str]) -> bool:
    """Return whether a peer's address is in one of these networks."""
    address = _address(peer) if networks else None
    return address is not None and any(address in ipaddress.ip_network(network) for network in networks)


def _address(peer: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
