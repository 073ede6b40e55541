"""`replygate` processes without the second that their imports take: forked from one that has imported everything.

The tests start hundreds. Each is a process of its own, with arguments, streams, signals and an exit status as any
other. What is to be seen from its first instruction on (a trace, a campaign of kills) is started by itself instead.
"""

import atexit
import contextlib
import gc
import importlib
import json
import os
import pkgutil
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

ROOT = Path(__file__).parents[2]
_LOCK = threading.Lock()
_MESSAGE = 1 << 16


class Process:
    """A forked `replygate ARGUMENTS`; what it offers is named as in `subprocess.Popen`."""

    def __init__(self, arguments: Sequence[str], *, stdin: int, stdout: int, stderr: int) -> None:
        self.arguments = list(arguments)
        self.returncode: int | None = None
        self._talk = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._talk.settimeout(60)
        self._talk.connect(_mother())
        socket.send_fds(self._talk, [json.dumps(self.arguments).encode()], [stdin, stdout, stderr])
        self.pid = int(self._talk.recv(_MESSAGE))

    def poll(self) -> int | None:
        """Return its exit status, or None while it lives."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float) -> int:
        """Wait `timeout` seconds for its end and return its status. Raises `TimeoutExpired`."""
        if self.returncode is None:
            self._talk.settimeout(timeout)
            try:
                self.returncode = int(self._talk.recv(_MESSAGE))
            except (BlockingIOError, TimeoutError):
                raise subprocess.TimeoutExpired(self.arguments, timeout) from None
            self._talk.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def run(arguments: Sequence[str], *, stdin: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run `replygate ARGUMENTS` to its end, within a minute. Raises as `subprocess.run` does."""
    with (
        tempfile.TemporaryFile("w+") as given,
        tempfile.TemporaryFile("w+") as out,
        tempfile.TemporaryFile("w+") as err,
    ):
        given.write(stdin)
        given.seek(0)
        process = Process(arguments, stdin=given.fileno(), stdout=out.fileno(), stderr=err.fileno())
        try:
            status = process.wait(60)
        finally:
            process.kill()
        said = [_read(each) for each in (out, err)]
    done = subprocess.CompletedProcess(process.arguments, status, *said)
    if check:
        done.check_returncode()
    return done


def _read(stream: IO[str]) -> str:
    stream.seek(0)
    return stream.read()


def _mother() -> str:
    """Return where the process listens from which others are forked; it ends when we do."""
    with _LOCK:
        if _Mother.at is None:
            folder = tempfile.TemporaryDirectory(prefix="replygate-forked-")
            at = f"{folder.name}/s"
            words = [sys.executable, "-m", "tests.kit.forked", at]
            environment = {**os.environ, "PYTHONPATH": str(ROOT)}
            process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, env=environment)
            assert process.stdin is not None
            assert process.stdout is not None
            if not process.stdout.readline():
                raise RuntimeError("the process to fork from did not start")
            process.stdout.close()
            _Mother.at = at
            atexit.register(folder.cleanup)
            atexit.register(process.wait, 10)
            atexit.register(process.stdin.close)
    return _Mother.at


class _Mother:
    at: str | None = None


# -- in the process from which others are forked


def import_all() -> None:
    """Import all of Replygate, and what it imports only when it is needed."""
    import gateway

    for each in pkgutil.walk_packages(gateway.__path__, "gateway."):
        if not each.name.endswith("__main__"):
            importlib.import_module(each.name)
    for name in ("alembic.command", "alembic.config", "uvloop"):
        importlib.import_module(name)
    gc.freeze()


class Forking:
    """Forks a child for each that connects to `at`, and tells each when its child has ended."""

    def __init__(self, at: str) -> None:
        self.listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listening.bind(at)
        self.listening.listen(64)
        self.ended, self.wakes = socket.socketpair()
        self.wakes.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self.wakes.fileno(), warn_on_full_buffer=False)
        self.children: dict[int, socket.socket] = {}

    def run(self) -> list[str]:
        """Return, in a child, its arguments. The process itself ends with its stdin."""
        with selectors.DefaultSelector() as selector:
            for each in (sys.stdin, self.ended, self.listening):
                selector.register(each, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    if key.fileobj is sys.stdin:
                        os._exit(0)
                    elif key.fileobj is self.ended:
                        self._tell()
                    elif (arguments := self._fork()) is not None:
                        return arguments

    def _tell(self) -> None:
        self.ended.recv(_MESSAGE)
        for pid, status in _ended():
            with contextlib.suppress(OSError), self.children.pop(pid) as talk:
                talk.send(b"%d" % os.waitstatus_to_exitcode(status))

    def _fork(self) -> list[str] | None:
        talk, _ = self.listening.accept()
        said, streams, _, _ = socket.recv_fds(talk, _MESSAGE, 3)
        child = os.fork()
        if child:
            self.children[child] = talk
            talk.send(b"%d" % child)
        else:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for each in (self.listening, self.ended, self.wakes, talk, *self.children.values()):
                each.close()
            for number, stream in enumerate(streams):
                os.dup2(stream, number)
        for stream in streams:
            os.close(stream)
        return None if child else json.loads(said)


def _ended() -> Iterator[tuple[int, int]]:
    with contextlib.suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            yield found


if __name__ == "__main__":
    import_all()
    forking = Forking(sys.argv[1])
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    given = forking.run()
    sys.argv = ["replygate", *given]
    importlib.import_module("gateway.cli.app").main(given)
