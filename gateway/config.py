"""gateway.yaml: what a node is and where it listens; restart to apply."""

import ipaddress
import os
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import unquote, urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field

from gateway.document import Bad, Document, Model, Problem, Where, validate
from gateway.mail.address import parse_address

FILE = "gateway.yaml"
SELECTOR = r"^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$"
Language = Literal["zh-TW", "en"]
_DURATION = re.compile(r"(\d{1,5})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def _domain(value: str) -> str:
    address = parse_address(f"x@{value}")
    if address is None or "." not in value:
        message = f"{value!r} is no domain; write one like sales.example.com"
        raise ValueError(message)
    return address.domain


def _timezone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        message = f"the time zone {value!r} is not known; write one like Asia/Taipei"
        raise ValueError(message) from None
    return value


def parse_listen(value: str) -> tuple[str, int]:
    """Read `HOST:PORT`, `[IPv6]:PORT` or `unix:PATH` (port -1); raise ValueError otherwise."""
    if value.startswith("unix:") and len(value) > len("unix:"):
        return value.removeprefix("unix:"), -1
    host, _, port = value.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        message = f"{value!r} is no address to listen on; write HOST:PORT, or unix:PATH"
        raise ValueError(message)
    return host.strip("[]"), int(port)


def _listen(value: str) -> str:
    parse_listen(value)
    return value


def _network(value: str) -> str:
    try:
        network = ipaddress.ip_network(value)
    except ValueError:
        message = f"{value!r} is no network; write one like 192.0.2.0/28, its host bits zero"
        raise ValueError(message) from None
    if network.prefixlen == 0:
        message = f"{value!r} would trust the whole world; name the hosts of your own people"
        raise ValueError(message)
    return value


def parse_duration(value: str) -> timedelta:
    """Read `7d`, `12h`, `30m` or `45s`; raise ValueError otherwise."""
    match = _DURATION.fullmatch(value)
    if match is None:
        message = f"{value!r} is no duration; write one like 7d, 12h, 30m or 45s"
        raise ValueError(message)
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def _duration(value: str) -> str:
    parse_duration(value)
    return value


def _resolver(value: str) -> str:
    if value:
        parse_listen(value if ":" in value else f"{value}:53")
    return value


def _checker(value: str) -> str:
    if value:
        parse_listen(value)
    return value


def _http(value: str) -> str:
    parts = urlsplit(value)
    if value and (parts.scheme not in ("http", "https") or not parts.hostname):
        message = f"{value!r} is no URL; write one like http://127.0.0.1:11333"
        raise ValueError(message)
    return value


def _store_url(value: str) -> str:
    if not value.startswith(("sqlite:///", "postgresql://")):
        message = f"{value!r} is no store; write sqlite:///var/gateway.db or postgresql://user@host/name"
        raise ValueError(message)
    return value


def _hop_url(value: str) -> str:
    parse_hop(value)
    return value


Listen = Annotated[str, AfterValidator(_listen)]


class NextHop(Model):
    """The server we hand mail to, read from `next_hop.url`."""

    scheme: Literal["maildir", "smtp", "smtps", "lmtp"]
    path: str = ""
    host: str = ""
    port: int = 0
    user: str = ""


def parse_hop(url: str) -> NextHop:
    """Read `maildir:PATH`, `smtp://host:25`, `smtps://user@host:465`, `lmtp://host:24` or `lmtp:///PATH`."""
    if url.startswith("maildir:") and len(url) > len("maildir:"):
        return NextHop(scheme="maildir", path=url.removeprefix("maildir:"))
    parts = urlsplit(url)
    if parts.password is not None:
        message = "the URL holds a password; take it out of the URL and name a password_file"
        raise ValueError(message)
    ports = {"smtp": 25, "smtps": 465, "lmtp": 24}
    usable = parts.scheme in ports and not parts.query and not parts.fragment
    if not usable or not (parts.hostname or (parts.scheme == "lmtp" and len(parts.path) > 1)):
        message = f"{url!r} is no next hop; write maildir:PATH, smtp://host:25, smtps://user@host:465 or lmtp://host:24"
        raise ValueError(message)
    return NextHop(
        scheme=parts.scheme,  # type: ignore[arg-type]  # one of the keys of `ports`
        host=parts.hostname or "",
        port=parts.port or ports[parts.scheme],
        path=parts.path if not parts.hostname else "",
        user=unquote(parts.username or ""),
    )


class Site(Model):
    """`site`: what the gateway is called and where it keeps what it makes."""

    domain: Annotated[str, AfterValidator(_domain)]
    name: Annotated[str, Field(min_length=1, max_length=100)]
    language: Language = "zh-TW"
    timezone: Annotated[str, AfterValidator(_timezone)] = "Asia/Taipei"
    state: str = "var"
    templates: str = ""


class StoreSettings(Model):
    """`store`: where everything is remembered."""

    url: Annotated[str, AfterValidator(_store_url)] = "sqlite:///var/gateway.db"


class Submission(Model):
    """`smtp.submission`: AUTH for people, only over TLS."""

    listen: Listen
    users_file: str


MAX_SIZE = 26_214_400  # octets


class Smtp(Model):
    """`smtp`: a door for mail from anywhere."""

    listen: Listen
    max_size: Annotated[int, Field(ge=10_000, le=200_000_000)] = MAX_SIZE
    trusted_networks: tuple[Annotated[str, AfterValidator(_network)], ...] = Field(default=(), strict=False)
    tls_certificate: str = ""
    tls_key: str = ""
    require_tls: bool = False
    submission: Submission | None = None


class Lmtp(Model):
    """`lmtp`: where a border MTA hands over; never trusted by address."""

    listen: Listen
    max_size: Annotated[int, Field(ge=10_000, le=200_000_000)] = MAX_SIZE


ARCHIVE = "archive"  # the account of filing that is no person's


class ImapAccount(Model):
    """An account on an IMAP server."""

    host: str
    user: str
    port: Annotated[int, Field(gt=0, lt=65536)] = 993
    tls: bool = True
    password_file: str = ""
    token_command: str = ""


class ImapDoor(ImapAccount):
    """`imap`: a catch-all mailbox."""

    folder: str = "INBOX"
    done: str = "Processed"
    failed: str = "Failed"
    envelope_headers: tuple[str, ...] = Field(default=(), strict=False)


class Authentication(Model):
    """`authentication`: how the author of a mail is made sure of."""

    mode: Literal["verify", "trust"] = "verify"
    authserv_id: str = ""
    resolver: Annotated[str, AfterValidator(_resolver)] = ""
    arc_sealers: tuple[Annotated[str, AfterValidator(_domain)], ...] = Field(default=(), strict=False)


class Checks(Model):
    """`checks`: who looks at incoming mail beside us; each is asked where it is named."""

    clamd: Annotated[str, AfterValidator(_checker)] = ""
    rspamd: Annotated[str, AfterValidator(_http)] = ""


class NextHopSettings(Model):
    """`next_hop`: where everything we send goes."""

    url: Annotated[str, AfterValidator(_hop_url)]
    password_file: str = ""


class DkimKey(Model):
    """`dkim`: one key that signs everything."""

    selector: Annotated[str, Field(pattern=SELECTOR)]
    key_file: str


class PersonAccount(ImapAccount):
    """A person's own account."""

    person: str


class Filing(Model):
    """`filing`: threads as IMAP folders."""

    archive: ImapAccount | None = None
    accounts: tuple[PersonAccount, ...] = Field(default=(), strict=False)
    keep_read: Annotated[str, AfterValidator(_duration)] = "7d"


class Metrics(Model):
    """`metrics`: a private port for /metrics, /healthz and /readyz."""

    listen: Listen


class Settings(Model):
    """gateway.yaml as a whole. Paths are relative to the file; `path` resolves them."""

    site: Site
    next_hop: NextHopSettings
    store: StoreSettings = StoreSettings()
    smtp: Smtp | None = None
    lmtp: Lmtp | None = None
    imap: tuple[ImapDoor, ...] = Field(default=(), strict=False)
    authentication: Authentication = Authentication()
    checks: Checks = Checks()
    dkim: tuple[DkimKey, ...] = Field(default=(), strict=False)
    filing: Filing | None = None
    metrics: Metrics | None = None
    folder: Path = Field(default=Path(), exclude=True)

    def path(self, relative: str) -> Path:
        """Return where a path of the file leads."""
        return (self.folder / relative).resolve()

    @property
    def max_size(self) -> int:
        """Octets of the largest mail that is taken, by whatever door."""
        door = self.smtp or self.lmtp
        return door.max_size if door else MAX_SIZE

    @property
    def state(self) -> Path:
        """The folder for keys, the SQLite file and Maildirs."""
        return self.path(self.site.state)

    @property
    def hop(self) -> NextHop:
        """The next hop, read."""
        return parse_hop(self.next_hop.url)


def load(document: Document, folder: Path) -> tuple[Settings, list[Problem]]:
    """Return the settings of gateway.yaml in `folder`, and the problems that are no errors.

    Raises `Bad` where a value cannot be used.
    """
    settings = validate(document, Settings).model_copy(update={"folder": folder.resolve()})
    smtp = settings.smtp
    if smtp is not None and smtp.require_tls and not smtp.tls_certificate:
        what = "require_tls needs a certificate"
        raise Bad([document.problem(("smtp", "require_tls"), what, "name tls_certificate and tls_key")])
    if smtp is not None and smtp.submission is not None and not smtp.tls_certificate:
        what = "submission takes passwords over TLS only, and needs a certificate"
        raise Bad([document.problem(("smtp", "submission"), what, "name smtp.tls_certificate and smtp.tls_key")])
    for where, account in _accounts(settings):
        if not account.tls and account.host not in _LOOPBACK:
            what = f"the password of {account.user} would go to {account.host} in the clear"
            raise Bad([document.problem(where, what, "leave tls out; only a server on this machine does without")])
        if not (account.password_file or account.token_command):
            what = "the account has neither password_file nor token_command"
            raise Bad([document.problem(where, what, "name one of them")])
        if account.password_file and account.token_command:
            what = "the account has both password_file and token_command"
            raise Bad([document.problem((*where, "token_command"), what, "name one of them")])
    for number, door in enumerate(settings.imap):
        for name in ("done", "failed"):
            if getattr(door, name).casefold() == door.folder.casefold():
                what = f"what is moved to {door.folder} would be fetched from there again"
                raise Bad([document.problem(("imap", number, name), what, "name another folder")])
    _refuse_shared(document, settings)
    return settings, list(_missing(document, settings))


def _missing(document: Document, settings: Settings) -> Iterator[Problem]:
    """Give the files of passwords that are not there yet: their accounts stand still until they are."""
    for where, account in _accounts(settings):
        if account.password_file and not os.access(settings.path(account.password_file), os.R_OK):
            what = f"the password of {account.user} cannot be read from {account.password_file}"
            yield document.problem((*where, "password_file"), what, "write it there", note=True)


def _refuse_shared(document: Document, settings: Settings) -> None:
    """Refuse two accounts that are one mailbox: what is filed for one, or acts there, would be another's."""
    people = [account.person for account in settings.filing.accounts] if settings.filing else []
    for number, person in enumerate(people):
        if person in people[:number]:
            place = ("filing", "accounts", number, "person")
            raise Bad([document.problem(place, f"{person} has an account already", "a person has one account")])
    seen: dict[tuple[object, ...], Where] = {}
    for where, account in _accounts(settings):
        fetched = account.folder if isinstance(account, ImapDoor) else None
        key = (account.host.lower(), account.port, account.user, fetched)
        if key in seen:
            what = f"{account.user} on {account.host} stands here already, as {'.'.join(map(str, seen[key]))}"
            raise Bad([document.problem(where, what, "give each a login of its own")])
        seen[key] = where


_LOOPBACK = ("127.0.0.1", "::1", "localhost")


def _accounts(settings: Settings) -> list[tuple[Where, ImapAccount]]:
    """Return the accounts of the file, with their places in it."""
    found: list[tuple[Where, ImapAccount]] = [(("imap", n), door) for n, door in enumerate(settings.imap)]
    if settings.filing is not None:
        found += [(("filing", "accounts", n), account) for n, account in enumerate(settings.filing.accounts)]
        if settings.filing.archive is not None:
            found.append((("filing", "archive"), settings.filing.archive))
    return found
