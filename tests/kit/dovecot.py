"""A Dovecot of its own for tests: IMAP and LMTP on free ports of loopback, accounts with plain passwords.

Every user has one account; `chia` and `chia@any.domain` are the same. All addresses of one domain can go to one
user, with the address a mail was sent to in Delivered-To.
"""

import grp
import os
import pwd
import shutil
import signal
import ssl
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import imapclient
import trustme

from tests.kit import servers
from tests.kit.servers import Process

_MAIL_USER = "nobody"  # root may not own mail: Dovecot refuses

_CONFIG = """
protocols = imap lmtp
listen = 127.0.0.1
base_dir = {home}/run
state_dir = {home}/state
log_path = {log}
hostname = imap.example.com
postmaster_address = postmaster@example.com
default_internal_user = {internal}
default_internal_group = {internal_group}
default_login_user = {login}
first_valid_uid = 1
mail_location = {format}:~/mail
mail_max_userip_connections = 10000
mail_plugins = quota
stats_writer_socket_path =
disable_plaintext_auth = no
auth_mechanisms = plain login
auth_failure_delay = 0
auth_username_format = %Lu
{tls}
namespace inbox {{
  inbox = yes
  separator = /
}}
passdb {{
  driver = passwd-file
  args = scheme=PLAIN username_format=%Ln {home}/users
}}
userdb {{
  driver = passwd-file
  args = username_format=%Ld {home}/domains
}}
userdb {{
  driver = passwd-file
  args = username_format=%Ln {home}/users
}}
protocol imap {{
  mail_plugins = quota imap_quota
}}
plugin {{
  quota = count:User quota
  quota_vsizes = yes
  quota_grace = 0
}}
recipient_delimiter = +
lmtp_save_to_detail_mailbox = no
lmtp_hdr_delivery_address = final
lmtp_rcpt_check_quota = yes
service imap-login {{
  chroot =
  service_count = 0
  client_limit = 1000
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = {tls_port}
  }}
}}
service imap {{
  process_limit = 10000
}}
service anvil {{
  chroot =
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service lmtp {{
  inet_listener lmtp {{
    port = {lmtp_port}
  }}
}}
{privileges}
"""
_SAME_USER = """
service auth-worker {{
  user = {user}
}}
service lmtp {{
  user = {user}
}}
"""


def need() -> None:
    """Skip the test, loudly, where there is no Dovecot; fail it in CI."""
    servers.need("Dovecot", "dovecot-imapd dovecot-lmtpd", "dovecot", "imap", "lmtp")


class Dovecot:
    """A server whose log stands in `folder`; its ports and mail stay the same from `stop` to `start`."""

    def __init__(
        self,
        folder: Path,
        users: Mapping[str, str],
        *,
        catch_all: tuple[str, str] | None = None,
        quota: Mapping[str, int] | None = None,
        tls: bool = False,
        format: str = "sdbox",  # noqa: A002 (as Dovecot calls it)
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.users = dict(users)
        self.catch_all = catch_all
        self.quota = dict(quota or {})
        self.port, self.lmtp_port, tls_port = servers.free_ports(3)
        self.tls_port = tls_port if tls else 0
        self.log = folder.resolve() / "dovecot.log"
        self.ca = folder.resolve() / "dovecot-ca.pem"
        self.format = format
        self.home: Path | None = None
        self._owner = pwd.getpwnam(_MAIL_USER) if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
        self._process = Process(self.log)

    def start(self) -> "Dovecot":
        if self.home is None:
            self._make_home()
        self._process.start(servers.path_of("dovecot"), "-F", "-c", f"{self.home}/dovecot.conf", home=self.home)
        try:
            servers.wait_for_greeting(self.port, b"* OK", self._process)
            servers.wait_for_greeting(self.lmtp_port, b"220", self._process)
        except BaseException:
            self.kill()
            raise
        return self

    @property
    def pid(self) -> int:
        return self._process.pid

    def stop(self) -> None:
        """Stop it politely; every connection to it ends."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Kill it and all its processes, as a loss of power would."""
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        self._process.end(how)
        for port in (self.port, self.lmtp_port):
            servers.wait_until_refused(port)

    def client(self, user: str, *, tls: bool = False) -> imapclient.IMAPClient:
        """Return a client that is logged in; `with` logs it out."""
        if tls:
            context = ssl.create_default_context(cafile=str(self.ca))
            client = imapclient.IMAPClient("localhost", self.tls_port, ssl_context=context, timeout=30)
        else:
            client = imapclient.IMAPClient("127.0.0.1", self.port, ssl=False, timeout=30)
        client.login(user, self.users[user])
        return client

    def mails(self, user: str, mailbox: str = "INBOX") -> list[bytes]:
        """Return the octets of all mails in a mailbox, in the order of their UIDs."""
        with self.client(user) as client:
            client.select_folder(mailbox, readonly=True)
            found = client.fetch(client.search(), ["BODY.PEEK[]"])
            # Of a mail that has gone since it was found the server says NIL.
            return [octets for uid in sorted(found) if (octets := found[uid].get(b"BODY[]")) is not None]

    def set_quota(self, user: str, octets: int | None) -> None:
        """Give a user another quota, or none; it counts from their next login or delivery, and who is in is put out."""
        self.quota.pop(user, None)
        if octets is not None:
            self.quota[user] = octets
        self._write_users()
        asked = [servers.path_of("doveadm"), "-c", f"{self.home}/dovecot.conf", "user", "-f", "quota_rule", user]
        until = time.monotonic() + 30
        while time.monotonic() < until:
            rule = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=30).stdout.strip()
            if rule == ("" if octets is None else f"*:bytes={octets}"):
                put_out = [servers.path_of("doveadm"), "-c", f"{self.home}/dovecot.conf", "kick", user]
                subprocess.run(put_out, capture_output=True, check=False, timeout=30)
                return
            time.sleep(0.1)  # polls: it looks at its files once a second
        raise RuntimeError(f"the quota of {user} is still {rule!r}: {self._process.said()}")

    def __enter__(self) -> "Dovecot":
        return self.start()

    def __exit__(self, *_: object) -> None:
        try:
            self.kill()  # its mail goes away, and a polite end takes a second
        finally:
            if self.home is not None:
                shutil.rmtree(self.home, ignore_errors=True)
            self.home = None

    def _make_home(self) -> None:
        # A folder of its own: paths of sockets are short, and who owns the mail cannot walk into pytest's folders.
        self.home = home = Path(tempfile.mkdtemp(prefix="replygate-dovecot-"))
        home.chmod(0o755)
        for user in self.users:
            account = home / "accounts" / user
            account.mkdir(parents=True)
            shutil.chown(account, self._owner.pw_uid, self._owner.pw_gid)
        self._write_users()
        (home / "dovecot.conf").write_text(self._config(home))

    def _write_users(self) -> None:
        """Write who there is: `users` by name, `domains` by the domain all of whose addresses are one user's."""
        self._write("users", {user: user for user in self.users})
        self._write("domains", dict([self.catch_all] if self.catch_all else []))

    def _write(self, name: str, users: Mapping[str, str]) -> None:
        assert self.home is not None
        lines = []
        for key, user in users.items():
            limit = f"userdb_quota_rule=*:bytes={self.quota[user]}" if user in self.quota else ""
            account = f"{self._owner.pw_uid}:{self._owner.pw_gid}::{self.home}/accounts/{user}"
            lines.append(f"{key}:{self.users[user]}:{account}::userdb_user={user} {limit}\n")
        new = self.home / f"{name}.new"
        new.write_text("".join(lines))
        new.rename(self.home / name)

    def _config(self, home: Path) -> str:
        root = os.geteuid() == 0
        me = self._owner.pw_name
        return _CONFIG.format(
            home=home,
            log=self.log,
            internal="dovecot" if root else me,
            internal_group="dovecot" if root else grp.getgrgid(self._owner.pw_gid).gr_name,
            login="dovenull" if root else me,
            format=self.format,
            tls=self._tls(home),
            port=self.port,
            tls_port=self.tls_port,
            lmtp_port=self.lmtp_port,
            privileges="" if root else _SAME_USER.format(user=me),
        )

    def _tls(self, home: Path) -> str:
        if not self.tls_port:
            return "ssl = no"
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(self.ca))
        certificate = authority.issue_cert("localhost", "127.0.0.1", "imap.example.com")
        certificate.private_key_and_cert_chain_pem.write_to_path(str(home / "tls.pem"))
        return f"ssl = yes\nssl_cert = <{home}/tls.pem\nssl_key = <{home}/tls.pem"
