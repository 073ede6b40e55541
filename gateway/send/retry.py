"""When a deferred delivery is tried again, and when it is given up. Pure.

*Standards:* RFC 5321 §4.5.4.1 (growing pauses, four to five days before giving up).
"""

import random
from collections.abc import Callable

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
LIFETIME_MS = 5 * 24 * HOUR_MS
DELAY_TOLD_MS = 4 * HOUR_MS
_PAUSES = (MINUTE_MS, 4 * MINUTE_MS, 10 * MINUTE_MS, 15 * MINUTE_MS, 30 * MINUTE_MS, HOUR_MS, 2 * HOUR_MS)
_LAST_PAUSE = 6 * HOUR_MS


def next_try(attempts: int, created_at: int, now: int, jitter: Callable[[], float] = random.random) -> int | None:
    """Return when to try again after `attempts` tries that failed, or None to give up.

    Times in ms. A pause is spread by a tenth either way, so that not everything is tried at once.
    """
    pause = _PAUSES[attempts - 1] if 0 < attempts <= len(_PAUSES) else _LAST_PAUSE
    due = now + int(pause * (0.9 + 0.2 * jitter()))
    if now - created_at >= LIFETIME_MS:
        return None
    return min(due, created_at + LIFETIME_MS)
