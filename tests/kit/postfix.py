"""A Postfix of its own for tests, on a free port of loopback: it takes mail for some domains and hands it on.

It asks no DNS and knows no way out: whatever is not for one of its domains is refused, or goes to a given relay.
"""

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.kit import servers
from tests.kit.servers import Process

# Of a mail to several recipients at once Dovecot does not say whom it was delivered to: hence a limit of 1.
_MAIN = """
compatibility_level = 3.6
queue_directory = {home}/queue
data_directory = {home}/data
maillog_file = /dev/stdout
myhostname = mx.example.com
mydestination =
alias_maps =
local_recipient_maps =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
smtp_dns_support_level = disabled
smtp_host_lookup = native
lmtp_host_lookup = native
lmtp_destination_recipient_limit = 1
smtpd_peername_lookup = no
relay_domains = {domains}
transport_maps = texthash:{home}/transport
default_transport = {relay}
local_transport = error:nobody lives here
smtpd_relay_restrictions = {permit} reject_unauth_destination
smtpd_client_connection_rate_limit = 0
smtpd_client_connection_count_limit = 0
message_size_limit = 104857600
in_flow_delay = 0
queue_run_delay = 1s
minimal_backoff_time = 1s
maximal_backoff_time = 2s
transport_retry_time = 1s
"""
# name, type, private, wakeup, most processes, program; nothing runs in a chroot
_MASTER = """
127.0.0.1:{port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
lmtp unix - - n - - lmtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""
# What `postfix check` makes too, in three seconds.
_QUEUE = ["active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "private", "saved", "trace"]


def need() -> None:
    """Skip the test, loudly, where there is no Postfix or we are not root, whom it needs; fail it in CI."""
    servers.need("Postfix", "postfix", "postfix")
    if os.geteuid() != 0:
        import pytest

        missing = "Postfix starts for root only"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)


class Postfix:
    """A server whose log stands in `folder`; its port and queue stay the same from `stop` to `start`."""

    def __init__(
        self,
        folder: Path,
        deliveries: Mapping[str, str],
        *,
        relay: str | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        """`deliveries` is where a domain's mail goes: `lmtp:inet:127.0.0.1:24`, `smtp:[127.0.0.1]:25`.

        `relay` is where all other mail goes, which is refused otherwise; `settings` are further lines of main.cf.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.deliveries = dict(deliveries)
        self.relay = relay
        self.settings = dict(settings or {})
        (self.port,) = servers.free_ports(1)
        self.log = folder.resolve() / "postfix.log"
        self.home: Path | None = None
        self._process = Process(self.log)

    def start(self) -> "Postfix":
        if self.home is None:
            self._make_home()
        # What `postfix start-fg` does, but in our own process group, which we can kill.
        self._process.start(servers.path_of("master"), "-c", f"{self.home}/config", "-s", home=self.home)
        try:
            servers.wait_for_greeting(self.port, b"220", self._process)
        except BaseException:
            self.kill()
            raise
        return self

    @property
    def pid(self) -> int:
        return self._process.pid

    def stop(self) -> None:
        """Stop it politely: what is queued stays queued."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Kill it and all its processes, as a loss of power would."""
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        self._process.end(how)
        servers.wait_until_refused(self.port)

    def queue(self) -> list[dict[str, Any]]:
        """Return what is queued, a mail each: `queue_id`, `sender`, `recipients` with their `delay_reason`."""
        said = [json.loads(line) for line in self._run("postqueue", "-j").stdout.splitlines()]
        return list({each["queue_id"]: each for each in said}.values())  # one that moves is seen twice

    def flush(self) -> None:
        """Try at once again to deliver what is queued."""
        self._run("postqueue", "-f")

    def quiet(self, timeout: float = 60.0) -> None:
        """Wait until nothing is queued: all was delivered, or given up."""
        until = time.monotonic() + timeout
        while time.monotonic() < until:
            if not (queued := self.queue() or self.queue()):  # twice: one that moves may not be seen
                return
            time.sleep(0.05)  # polls; how long it takes decides nothing
        raise TimeoutError(f"still queued: {queued}")

    def _run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        words = [servers.path_of(program), "-c", f"{self.home}/config", *arguments]
        return subprocess.run(words, capture_output=True, text=True, check=True, timeout=30)

    def __enter__(self) -> "Postfix":
        return self.start()

    def __exit__(self, *_: object) -> None:
        try:
            self.kill()  # its queue goes away
        finally:
            if self.home is not None:
                shutil.rmtree(self.home, ignore_errors=True)
            self.home = None

    def _make_home(self) -> None:
        # A folder of its own: paths of sockets are short, and its user cannot walk into pytest's folders.
        self.home = home = Path(tempfile.mkdtemp(prefix="replygate-postfix-"))
        home.chmod(0o755)
        for name in ("config", "queue", "queue/pid"):
            (home / name).mkdir()
        for name in ("data", *(f"queue/{each}" for each in _QUEUE)):
            (home / name).mkdir(mode=0o700)
            shutil.chown(home / name, "postfix", "postfix")
        for name, mode in (("maildrop", 0o1730), ("public", 0o710)):
            at = home / "queue" / name
            at.mkdir()
            shutil.chown(at, "postfix", "postdrop")
            at.chmod(mode)
        main = _MAIN.format(
            home=home,
            domains=", ".join(self.deliveries),
            relay=self.relay or "error:5.4.4 this server has no way out",
            permit="permit_mynetworks" if self.relay else "",
        )
        main += "".join(f"{name} = {value}\n" for name, value in self.settings.items())
        (home / "transport").write_text("".join(f"{name} {to}\n" for name, to in self.deliveries.items()))
        (home / "config" / "main.cf").write_text(main)
        (home / "config" / "master.cf").write_text(_MASTER.format(port=self.port))
        for name in ("config/main.cf", "config/master.cf", "transport"):
            os.utime(home / name, (0, 0))  # it waits two seconds for a file that may still be being written
