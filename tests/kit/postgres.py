"""A PostgreSQL server of its own for tests, on a free port of loopback.

A server that is not installed is a loud skip on a laptop and a failure in CI: `need`.
"""

import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

_USER = "postgres"
# As it is in production, but for the memory it takes. fsync stays on: it is what a commit costs.
_SETTINGS = {"listen_addresses": "127.0.0.1", "shared_buffers": "32MB", "max_connections": "100"}

# Waits until its input ends: we are done with the server, or dead. Then it takes the server away.
_GUARD = """cat >/dev/null
"$@" >/dev/null 2>&1
cp "$HOME_OF_IT/log" "$LOG" 2>/dev/null
rm -rf "$HOME_OF_IT"
"""


def programs() -> Path | None:
    """Return the folder of the newest server's programs, or None if there is no server."""
    found = [Path(at).resolve().parent] if (at := shutil.which("pg_ctl")) else []
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda each: int(each.parent.name), reverse=True)
    return next((each for each in found if (each / "initdb").exists() and (each / "createdb").exists()), None)


def need() -> None:
    """Skip the test, loudly, where there is no server; fail it in CI."""
    import pytest

    if programs() is not None:
        return
    missing = "no PostgreSQL server on this machine (on Debian: apt-get install postgresql)"
    if os.environ.get("CI"):
        pytest.fail(missing)
    pytest.skip(missing)


def free_port(low: int = 20_000, high: int = 32_000) -> int:
    """Return a port that is free now, below those the system gives to connections, so that it stays free."""
    for port in range(low + os.getpid() * 37 % (high - low), high):
        with socket.socket() as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                tried.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError(f"no free port between {low} and {high}")


class Postgres:
    """A server: `start` gives the URL of an empty database, `stop` takes the server and its data away."""

    def __init__(self) -> None:
        self.port = 0
        self._home: Path | None = None
        self._guard: subprocess.Popen[bytes] | None = None

    def start(self, folder: Path) -> str:
        """Make a server whose log stands in `folder`; return `postgresql://postgres@127.0.0.1:PORT/replygate`."""
        if programs() is None:
            raise RuntimeError("there is no PostgreSQL server on this machine")
        folder.mkdir(parents=True, exist_ok=True)
        # A folder of its own: root may not run a server, and its user cannot walk into pytest's folders.
        self._home = Path(tempfile.mkdtemp(prefix="replygate-pg-"))
        if os.geteuid() == 0:
            shutil.chown(self._home, _USER, _USER)
        data = self._home / "data"
        self._guard = subprocess.Popen(
            ["sh", "-c", _GUARD, "guard", *self._words("pg_ctl", "-D", str(data), "-w", "-m", "immediate", "stop")],
            stdin=subprocess.PIPE,
            cwd="/",
            env={**os.environ, "HOME_OF_IT": str(self._home), "LOG": str(folder.resolve() / "postgresql.log")},
            start_new_session=True,
        )
        try:
            self._run("initdb", "-D", str(data), "-U", _USER, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8")
            self.port = free_port()
            settings = {**_SETTINGS, "port": str(self.port), "unix_socket_directories": str(self._home)}
            with (data / "postgresql.auto.conf").open("a") as file:
                file.writelines(f"{name} = '{value}'\n" for name, value in settings.items())
            self._run("pg_ctl", "-D", str(data), "-w", "-t", "60", "-l", str(self._home / "log"), "start")
            return self.database("replygate")
        except BaseException:
            self.stop()
            raise

    def database(self, name: str) -> str:
        """Make an empty database and return its URL."""
        self._run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", _USER, name)
        return f"postgresql://{_USER}@127.0.0.1:{self.port}/{name}"

    def stop(self) -> None:
        """End the server and take its data away; its log stays. It ends too if we die before we come here."""
        if self._guard is not None:
            self._guard.communicate(timeout=60)
        self._guard = self._home = None

    def __enter__(self) -> "Postgres":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _words(self, program: str, *arguments: str) -> list[str]:
        at = programs()
        assert at is not None
        as_user = ["runuser", "-u", _USER, "--"] if os.geteuid() == 0 else []
        return [*as_user, str(at / program), *arguments]

    def _run(self, program: str, *arguments: str) -> None:
        # pg_ctl leaves the server its own output, so a pipe would never end: a file takes it.
        with tempfile.TemporaryFile() as said:
            done = subprocess.run(
                self._words(program, *arguments), stdout=said, stderr=said, cwd="/", check=False, timeout=120
            )
            if done.returncode:
                said.seek(0)
                raise RuntimeError(f"{program}: {said.read().decode('utf-8', 'replace')[-2000:]}")
