"""Sites in a temporary folder, and real `replygate` processes over them."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from gateway.store.session import Store
from tests.kit import forked
from tests.kit.forked import ROOT

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


def write_site(folder: Path, **files: str) -> Path:
    """Write a site: the example of `init --local` on free ports, with `files` in place of its own."""
    example = ROOT / "templates" / "site"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("gateway", "people", "rules"):
        text = files.get(name) or (example / f"{name}{'.local' if name == 'gateway' else ''}.yaml").read_text("utf-8")
        if name == "gateway":
            text = text.replace("127.0.0.1:2525", "127.0.0.1:0").replace("127.0.0.1:2424", "127.0.0.1:0")
        (folder / f"{name}.yaml").write_text(text, "utf-8")
    return folder


class Node:
    """A `replygate serve` process: forked from one that has imported everything, or started `alone`, as in the field.

    `under` is what stands before the command of one that starts under another program, and so alone.
    """

    under: Sequence[str] = ()

    def __init__(self, site: Path, *, log: str = "warning", alone: bool = False) -> None:
        self.site = site
        self.log = log
        self.alone = alone or bool(self.under)
        self.ports: dict[str, int] = {}
        self.process: subprocess.Popen[bytes] | forked.Process | None = None
        self.stderr = site / "node.log"
        self._said: IO[str] | None = None
        self._store: Store | None = None

    def start(self) -> "Node":
        read, write = os.pipe()
        self._said = os.fdopen(read)
        try:
            self.process = self._start(["-c", str(self.site / "gateway.yaml"), "serve", "--log", self.log], write)
        finally:
            os.close(write)
        line = self._said.readline()
        if not line.startswith("ready"):
            self.process.wait(10)
            raise RuntimeError(f"the node did not start: {self.stderr.read_text()[-2000:]}")
        for word in line.split()[1:]:
            name, _, at = word.partition("=")
            if not at.startswith("unix:"):
                self.ports[name] = int(at.rpartition(":")[2])
        return self

    def _start(self, arguments: Sequence[str], stdout: int) -> subprocess.Popen[bytes] | forked.Process:
        with self.stderr.open("a") as stderr, Path(os.devnull).open() as stdin:
            if not self.alone:
                return forked.Process(arguments, stdin=stdin.fileno(), stdout=stdout, stderr=stderr.fileno())
            words = [*self.under, sys.executable, "-m", "gateway", *arguments]
            return subprocess.Popen(words, stdin=stdin, stdout=stdout, stderr=stderr, cwd=ROOT, env=ENVIRONMENT)

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def stop(self) -> int:
        """Stop it politely; return its exit status."""
        self._close_store()
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(60)
        if self._said is not None:
            self._said.close()
        return status

    def kill(self) -> None:
        self._close_store()
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)
        if self._said is not None:
            self._said.close()

    def __enter__(self) -> "Node":
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self.process is not None and self.process.poll() is None:
            self.stop()

    def replygate(self, *arguments: str, stdin: str = "", check: bool = True) -> str:
        """Run a command of the CLI against this site; return its stdout."""
        return replygate(self.site, *arguments, stdin=stdin, check=check).stdout

    def json(self, *arguments: str):
        return json.loads(self.replygate(*arguments, "--json", check=False))

    def quiet(self, timeout: float = 60.0) -> None:
        """Wait until nothing waits any more: no arrival, message, notice or queued delivery."""
        until = time.monotonic() + timeout
        while time.monotonic() < until:
            found = self.waiting()
            if not any(found.values()):
                return
            time.sleep(0.05)  # polls; how long it takes decides nothing
        raise TimeoutError(f"still waiting: {found}")

    def waiting(self) -> dict[str, int]:
        from gateway.store import status

        with self.store().read() as tx:
            now = status.waiting(tx, time.time_ns() // 1_000_000)
        return {
            "arrivals": now.arrivals, "messages": now.messages, "notices": now.notices,
            "deliveries": now.deliveries - now.deferred,
        }  # fmt: skip

    def store(self) -> Store:
        """Return the node's store, opened once beside it."""
        from gateway.config import load as load_settings
        from gateway.document import read
        from gateway.node import open_site_store

        if self._store is None:
            settings, _ = load_settings(read(self.site / "gateway.yaml"), self.site)
            self._store = open_site_store(settings)
        return self._store

    def _close_store(self) -> None:
        if self._store is not None:
            self._store.close()
        self._store = None


def replygate(site: Path, *arguments: str, stdin: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run `replygate -c SITE/gateway.yaml ARGUMENTS`."""
    return forked.run(["-c", str(site / "gateway.yaml"), *arguments], stdin=stdin, check=check)


def peak_memory_mib(pid: int) -> float:
    """Return the largest resident size a process had, in MiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return 0.0


def lines(path: Path) -> Sequence[str]:
    return path.read_text("utf-8").splitlines() if path.exists() else []
