"""The command `replygate`: its options, its exit statuses, and what every command needs.

Exit status: 0 done, 1 the answer is no, 2 usage, 3 cannot reach the store, 4 refused by policy.
"""

import getpass
import json
import os
import sys
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn

from cyclopts import App, CycloptsError, Parameter, validators
from rich.console import Console
from rich.table import Table

import gateway
from gateway import maillog
from gateway.alias import Addresses
from gateway.document import Bad
from gateway.keyring import load_keys
from gateway.mail.address import parse_address
from gateway.site import Site, load
from gateway.store import schema
from gateway.store.session import Away, Store, open_store

NO, USAGE, STORE, REFUSED = 1, 2, 3, 4
_config: ContextVar[Path] = ContextVar("config")

app = App(
    name="replygate",
    help="An e-mail gateway: every quotation, lead and invoice has an address and a thread in people's mail.",
    version=gateway.__version__,
    help_format="plaintext",
)
# Where each command stands: only the file of the one that is given is imported.
_COMMANDS = {
    "announce": "events:announce_events", "audit": "lists:audit", "block": "lists:block", "check": "site:check",
    "demo": "demo:demo", "dkim": "keys:dkim", "do": "commands:carry_out", "explain": "records:explain",
    "follow": "records:follow", "held": "mails:held", "init": "site:init", "migrate": "site:migrate",
    "outbox": "mails:outbox", "record": "records:record", "serve": "site:serve", "status": "status:status",
    "suppression": "lists:suppression", "tag": "access:tag", "try": "trial:try_mails", "unfollow": "records:unfollow",
    "user": "access:user",
}  # fmt: skip
for _name, _at in _COMMANDS.items():
    app.command(f"gateway.cli.{_at}", name=_name)
out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)
Id = Annotated[int, Parameter(validator=validators.Number(gte=0, lt=2**63))]
_WHOLE = frozenset({"id", "at", "next"})  # columns whose cells are never broken
AsJson = Annotated[bool, Parameter(name="--json", negative="", help="One JSON document on stdout.")]


@dataclass(frozen=True, slots=True)
class Open:
    """A site with its store, open for one command."""

    site: Site
    store: Store
    addresses: Addresses


@app.meta.default
def _launch(
    *tokens: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
    config: Annotated[Path | None, Parameter(name=["-c", "--config"], help="The site's gateway.yaml.")] = None,
) -> None:
    _config.set(config or Path(os.environ.get("REPLYGATE_CONFIG") or "gateway.yaml"))
    app(tokens, exit_on_error=False, print_error=True)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command and exit with its status."""
    given = sys.argv[1:] if arguments is None else arguments
    if not _COMMANDS.keys() & set(given) and "--version" not in given:
        for name in _COMMANDS:  # their list shows what each says of itself
            app[name]
    try:
        app.meta(given, exit_on_error=False, print_error=True)
    except CycloptsError:
        sys.exit(USAGE)
    except Bad as bad:
        for problem in bad.problems:
            say(str(problem))
        sys.exit(NO)
    except Away as error:
        fail(str(error), STORE)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(0)


def config_path() -> Path:
    """Return the site's gateway.yaml, as the options name it."""
    return _config.get()


def load_site() -> Site:
    """Read the site. Raises `Bad`, which `main` prints."""
    return load(config_path())


@contextmanager
def opened() -> Iterator[Open]:
    """Open the site and its store; on SQLite the schema is brought up to date. Raises `Away`."""
    maillog.configure(level="warning")
    site = load(config_path(), last_good=True)
    for problem in site.notes:
        if not problem.note:
            say(f"{problem} (what was last in force is used)")
    store = open_store(site.settings.store.url, site.settings.folder)
    try:
        if schema.revision(store) != schema.newest():
            if not store.embedded:
                fail("the store's schema is not up to date; run `replygate migrate`", STORE)
            schema.upgrade(store)
        yield Open(site, store, Addresses(site.settings.site.domain, load_keys(site.settings.state)))
    finally:
        store.close()


def operator() -> str:
    """Return who types, as the audit log names them."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):
        return f"cli:{os.getuid()}"


def say(text: str) -> None:
    """Print a message for people on stderr, as it is."""
    err.print(text, markup=False)


def fail(text: str, status: int) -> NoReturn:
    """Say what is wrong and exit with `status`."""
    say(f"replygate: {text}")
    sys.exit(status)


def only_outsiders(site: Open, email: str) -> None:
    """Fail where an address is one of our own people's, or the gateway's: nobody can block these."""
    if site.site.people.person(email) is not None:
        fail(f"{email} is one of your own people, who cannot be blocked: a forger would silence them", REFUSED)
    address = parse_address(email)
    if address is not None and site.addresses.owns(address):
        fail(f"{email} is an address of this gateway, from which no mail comes", REFUSED)


def foreign(text: str) -> str:
    """Return what somebody else wrote as a terminal may show it: nothing in it is an order to the terminal."""
    return "".join(char for char in text if char in "\n\t" or unicodedata.category(char) not in ("Cc", "Cf"))


def show_json(document: object) -> None:
    """Print one JSON document on stdout."""
    sys.stdout.write(json.dumps(document, ensure_ascii=False, indent=2) + "\n")


def show_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], empty: str) -> None:
    """Print rows as a table, or `empty` on stderr where there are none."""
    if not rows:
        say(empty)
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column in _WHOLE)
    for row in rows:
        table.add_row(*(_cell(row.get(column)) for column in columns))
    out.print(table)


def _cell(value: object) -> str:
    text = "" if value is None else str(value)
    return "".join(char if char.isprintable() else " " for char in text).replace("[", "\\[")


def iso(at: int) -> str:
    """Return a time (ms since 1970) in ISO form, UTC."""
    return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
