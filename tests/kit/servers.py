"""What the kit's real servers (Dovecot, Postfix) share: is it installed, free ports, is it there yet, and its end.

A server that is not installed is a loud skip on a laptop and a failure in CI: `need`.
"""

import os
import random
import shutil
import signal
import socket
import subprocess
import time
from contextlib import ExitStack, suppress
from pathlib import Path

_SBIN = ("/usr/sbin", "/usr/lib/dovecot", "/usr/lib/postfix/sbin")

# Waits until its input ends: we are done with the server, or dead. Then it ends the server and its processes.
_GUARD = """cat >/dev/null
kill -TERM "$1" 2>/dev/null
n=0
while kill -0 "$1" 2>/dev/null && [ $n -lt 100 ]; do sleep 0.1; n=$((n+1)); done
kill -KILL "-$1" 2>/dev/null
[ -z "$2" ] || rm -rf "$2"
"""


def program(name: str) -> str | None:
    """Return where a server's program is: it need not be on the PATH of who is not root."""
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), *_SBIN]))


def path_of(name: str) -> str:
    found = program(name)
    if found is None:
        raise RuntimeError(f"{name} is not on this machine")
    return found


def need(what: str, packages: str, *names: str) -> None:
    """Skip the test, loudly, where a server's programs are missing; fail it in CI."""
    import pytest

    if all(program(name) for name in names):
        return
    missing = f"no {what} on this machine (on Debian: apt-get install {packages})"
    if os.environ.get("CI"):
        pytest.fail(missing)
    pytest.skip(missing)


def free_ports(count: int, low: int = 20_000, high: int = 32_000) -> list[int]:
    """Return ports of loopback that are free now, below those the system gives to connections.

    They are drawn: a server that is down for a moment must find its ports free when it comes back.
    """
    found: list[int] = []
    with ExitStack() as stack:
        for port in random.sample(range(low, high), 1000):
            if len(found) == count:
                return found
            tried = stack.enter_context(socket.socket())
            with suppress(OSError):
                tried.bind(("127.0.0.1", port))
                found.append(port)
    raise RuntimeError(f"no {count} free ports between {low} and {high}")


def wait_for_greeting(port: int, greeting: bytes, process: "Process", timeout: float = 30.0) -> None:
    """Wait until who listens at `port` says `greeting`; give up at once if the process ends."""
    until = time.monotonic() + timeout
    while time.monotonic() < until:
        if not process.alive():
            break
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 5) as to:
            to.settimeout(5)
            if to.recv(512).startswith(greeting):
                return
        time.sleep(0.02)  # polls; how long it takes decides nothing
    raise RuntimeError(f"nothing says {greeting!r} at port {port}: {process.said()}")


def wait_until_refused(port: int, timeout: float = 10.0) -> None:
    """Wait until nobody listens at `port`: what was killed takes a moment to die."""
    until = time.monotonic() + timeout
    while time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", port), 5).close()
        except ConnectionRefusedError:
            return
        except OSError:
            pass
        time.sleep(0.02)  # polls; how long it takes decides nothing
    raise RuntimeError(f"port {port} still answers")


class Process:
    """A server in the foreground with the processes it starts, in a group of their own; it ends if we die."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self.process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None

    def start(self, *words: str, home: Path | None = None) -> None:
        """Start it; `home` is what to take away if we die before we can."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", start_new_session=True
            )
        self._guard = subprocess.Popen(
            ["sh", "-c", _GUARD, "guard", str(self.process.pid), str(home or "")],
            stdin=subprocess.PIPE, cwd="/", start_new_session=True,
        )  # fmt: skip

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def end(self, how: signal.Signals = signal.SIGTERM, timeout: float = 30.0) -> None:
        """Send a signal and wait; SIGKILL goes to all its processes, and what outlives the server gets one too."""
        if self.process is None or self._guard is None:
            return
        self._guard.kill()  # first: it must not end who has our number later
        self._guard.communicate()
        with suppress(ProcessLookupError):
            if self.process.poll() is None:
                self.process.send_signal(how)
                if how != signal.SIGKILL:
                    self._await_end(timeout)
                os.killpg(self.pid, signal.SIGKILL)
        self.process.wait(10)
        self.process = self._guard = None

    def _await_end(self, timeout: float) -> None:
        """Wait until it ended without taking note of it, so that its number, the group's, stays its own."""
        until = time.monotonic() + timeout
        while time.monotonic() < until:
            if os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None:
                return
            time.sleep(0.02)  # polls; how long it takes decides nothing

    def said(self) -> str:
        return self.log.read_text("utf-8", "replace")[-2000:] if self.log.exists() else ""
