"""A node under strace: what it starts, whom it speaks to of its own accord, and which files it opens."""

import re
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.kit.node import Node
from tests.kit.servers import need, path_of

CALLS = "execve,execveat,connect,sendto,sendmsg,sendmmsg,open,openat,openat2"
# `PID name(arguments…`; a call that waits is told in two lines, and the first holds the arguments.
_CALL = re.compile(r"^\d+ +(\w+)\((.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Trace:
    """What strace wrote."""

    text: str

    def started(self) -> list[str]:
        """Return the programs that were started, the one that was traced first of all."""
        return [said for name, said in _CALL.findall(self.text) if name.startswith("execve")]

    def spoke_to(self) -> list[str]:
        """Return every connection that was begun, and every datagram that named whom it is for."""
        return [
            f"{name}({said}"
            for name, said in _CALL.findall(self.text)
            if name == "connect" or (name.startswith("send") and "sa_family" in said)
        ]

    def opened(self, path: Path) -> bool:
        """Whether a file was opened, or it was tried."""
        return f'"{path}"' in self.text


class TracedNode(Node):
    """A `replygate serve` process with a tracer beside it, which follows all its threads and children."""

    @property
    def under(self) -> Sequence[str]:
        return traced(self.site / "trace")

    def trace(self) -> Trace:
        """Return what was traced of a node that was stopped."""
        return read(self.site / "trace", self.pid)


def need_strace() -> None:
    need("strace", "strace", "strace")


def traced(to: Path) -> list[str]:
    """Return what stands before a command to trace it: the process is still our own child (-D)."""
    return [path_of("strace"), "-D", "-f", "--seccomp-bpf", "-q", "-s", "4096", "-e", f"trace={CALLS}", "-o", str(to)]


def read(path: Path, pid: int) -> Trace:
    """Wait for the end of a trace, which the tracer writes after the process has gone; return it."""
    until = time.monotonic() + 30
    ended = re.compile(rf"^{pid} +\+\+\+ (?:exited|killed)", re.MULTILINE)
    while not (path.exists() and ended.search(text := path.read_text("utf-8", "replace"))):
        assert time.monotonic() < until, "the tracer wrote no end"
        time.sleep(0.02)  # polls; how long it takes decides nothing
    return Trace(text)


def trace_python(code: str, to: Path) -> Trace:
    """Run some Python and return its trace."""
    process = subprocess.Popen([*traced(to), sys.executable, "-c", code])
    assert process.wait(60) == 0
    return read(to, process.pid)
