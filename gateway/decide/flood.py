"""How much is too much from one author, on one record, and for a whole node.

Counted in memory, by each node for itself: a limit that is forgotten at a restart still stops a flood.
What is beyond a limit is held, nothing is lost. What is not proved counts apart: no forger uses up what is another's.
"""

import threading

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from gateway.rules import Limits, Quantity

FROM = ("from one person on one record", "from one author", "from outside in all")


class Flood:
    """Counts mails against the limits now in force; safe in any thread."""

    def __init__(self) -> None:
        """Begin with nothing counted."""
        self._limiter = MovingWindowRateLimiter(MemoryStorage())
        self._guard = threading.Lock()

    def too_much(self, limits: Limits, author: str, record: str, *, sure: bool, proved: bool) -> str:
        """Count a mail and return which limit it is beyond, or "".

        `author` is an address, `record` a reference or an address of ours; `sure` tells that the
        author is one of our own people and proved it, `proved` that whoever it is did.
        """
        counted: list[tuple[Quantity, tuple[str, ...], str]] = []
        if sure:
            counted.append((limits.person, ("person", author, record), FROM[0]))
        else:
            counted.append((limits.author, ("author" if proved else "unproved", author), FROM[1]))
            counted.append((limits.node, ("node", "proved" if proved else "unproved"), FROM[2]))
        with self._guard:
            for quantity, key, said in counted:
                item = RateLimitItemPerMinute(quantity.messages, quantity.minutes)
                if not self._limiter.hit(item, *key):
                    return f"more than {quantity.messages} mails in {quantity.minutes} minutes {said}"
        return ""
