"""The one loop behind every room: do what is due, then sleep until woken, due or stopped.

*Failure:* a step that raises is logged and tried again after a growing pause; a loop never ends
by a fault.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_PAUSE_FIRST_S = 0.2
_PAUSE_LAST_S = 30.0


def now_ms() -> int:
    """Return the time in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


class Traffic:
    """Lets the doors go first: a peer that waits for its 250 matters more than a mail we have.

    What works through the backlog asks `give_way` between two mails. While mails arrive it then
    waits, but never longer than `MOST_S`, so that the backlog moves even under a flood.
    """

    QUIET_S = 0.02
    MOST_S = 0.2
    HEAVY = 4 * 1024 * 1024  # octets from which on a mail is handled by one loop at a time

    def __init__(self) -> None:
        """Begin quiet."""
        self._last = -1.0
        self._heavy = threading.Lock()

    @contextmanager
    def carrying(self, octets: int) -> Iterator[None]:
        """Hold so many octets of mail in memory: of what is heavy, one loop at a time."""
        if octets < self.HEAVY:
            yield
            return
        with self._heavy:
            yield

    def arriving(self) -> None:
        """Note that a mail is arriving now."""
        self._last = time.monotonic()

    @property
    def busy(self) -> bool:
        """Whether a mail arrived a moment ago."""
        return time.monotonic() - self._last < self.QUIET_S

    def give_way(self) -> None:
        """Wait while mails arrive, for a bounded time."""
        until = time.monotonic() + self.MOST_S
        while self.busy and time.monotonic() < until:
            time.sleep(self.QUIET_S)


class Worker:
    """Runs `step` in a thread of its own. `step` returns how many things it did; 0 lets it sleep."""

    def __init__(
        self, name: str, step: Callable[[], int], fault: Callable[[str, BaseException], None], idle_s: float = 1.0
    ) -> None:
        """`idle_s` is the longest sleep, for what nobody wakes us for; `fault` is told what raised."""
        self.name = name
        self._step = step
        self._fault = fault
        self._idle_s = idle_s
        self._woken = threading.Event()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin to run."""
        self._thread.start()

    def wake(self) -> None:
        """Let it look for work now. From any thread."""
        self._woken.set()

    def stop(self, timeout_s: float = 30.0) -> bool:
        """Let the step at hand end, then stop; False if it did not within `timeout_s`."""
        self._stopped = True
        self._woken.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    @property
    def stopped(self) -> bool:
        """Whether it was told to stop."""
        return self._stopped

    def _run(self) -> None:
        pause = _PAUSE_FIRST_S
        while not self._stopped:
            self._woken.clear()
            try:
                done = self._step()
            except Exception as error:  # noqa: BLE001 (a loop never ends by a fault)
                self._fault(self.name, error)
                self._woken.wait(pause)
                pause = min(pause * 2, _PAUSE_LAST_S)
                continue
            pause = _PAUSE_FIRST_S
            if not done:
                self._woken.wait(self._idle_s)
