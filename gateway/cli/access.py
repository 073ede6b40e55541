"""user, tag: who may log in to submit, and the keys in the addresses people answer to."""

import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from getpass import getpass
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from gateway.cli.app import NO, AsJson, fail, load_site, opened, operator, out, say, show_json, show_table
from gateway.keyring import KEPT_DAYS, read_keys, rotate
from gateway.keyring import load_keys as load_tag_keys
from gateway.site import Site
from gateway.store import audit, records
from gateway.users import read_users, remove_user, set_user
from gateway.worker import now_ms

PASSWORD_MIN = 8  # characters
user = App(name="user", help="People who may log in to the submission port.")
tag = App(name="tag", help="The keys of the tags in our addresses.")


def _users_file(site: Site) -> Path:
    smtp = site.settings.smtp
    if smtp is None or smtp.submission is None:
        fail("gateway.yaml has no smtp.submission: nobody can log in", NO)
    return site.settings.path(smtp.submission.users_file)


@user.command(name="set")
def set_password(
    person: str,
    /,
    *,
    generate: Annotated[bool, Parameter(negative="", help="Make a password and print it.")] = False,
) -> None:
    """Set the password PERSON logs in with: asked for, or read from stdin."""
    site = load_site()
    path = _users_file(site)
    if person not in site.people.by_key:
        fail(f"unknown person {person!r}; the people are {', '.join(site.people.by_key)}", NO)
    password = secrets.token_urlsafe(15) if generate else _ask()
    if len(password) < PASSWORD_MIN:
        fail(f"a password has at least {PASSWORD_MIN} characters", NO)
    with _written_down("user set", person):
        set_user(path, person, password)
    if generate:
        out.print(password, markup=False)
    say(f"{person} may log in as {person}, or with an address of theirs.")


def _ask() -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    password = getpass("Password: ")
    if getpass("Again: ") != password:
        fail("the two were not the same; nothing was changed", NO)
    return password


@user.command(name="list")
def list_users(*, as_json: AsJson = False) -> None:
    """List who may log in."""
    site = load_site()
    path = _users_file(site)
    known = read_users(path) if path.exists() else {}
    rows = [{"person": name, "known": "yes" if name in site.people.by_key else "not in people.yaml"} for name in known]
    if as_json:
        show_json(rows)
    else:
        show_table(rows, ("person", "known"), "Nobody may log in.")


@user.command(name="remove")
def take_away(person: str, /) -> None:
    """Let PERSON no longer log in."""
    path = _users_file(load_site())
    with _written_down("user remove", person):
        if not remove_user(path, person):
            fail(f"{person} could not log in before", NO)
    out.print(f"{person} can no longer log in.", markup=False)


@tag.command(name="list")
def list_keys(*, as_json: AsJson = False) -> None:
    """List the keys: which one signs, and since when the others are retired."""
    state = load_site().settings.state
    load_tag_keys(state)
    rows = [
        {"id": each.id, "state": "retired" if each.retired else "signs", "retired": str(each.retired or "")}
        for each in read_keys(state)
    ]
    if as_json:
        show_json(rows)
    else:
        show_table(rows, ("id", "state", "retired"), "There is no key.")


@tag.command(name="rotate")
def rotate_keys() -> None:
    """Make a new key that signs from now on; a running node takes it up within a second or two."""
    with opened() as site, site.store.write() as tx:
        try:
            new = rotate(site.site.settings.state, datetime.now(UTC).date())
        except (ValueError, OSError) as error:
            fail(str(error), NO)
        audit.append(tx, operator(), "tag rotate", str(new.id), now_ms())
    out.print(f"Key {new.id} signs from now on; the ones before are accepted for {KEPT_DAYS} days.")
    say("With several nodes, copy tag.keys to each of them.")


@tag.command
def revoke(ref: str, /) -> None:
    """Make every tag in the addresses of REF nobody's: whoever holds one has to answer a newer mail."""
    with opened() as site, site.store.write() as tx:
        if not records.revoke_tags(tx, ref):
            fail(f"there is no record {ref}", NO)
        audit.append(tx, operator(), "tag revoke", ref.upper(), now_ms())
        site.store.wake_others(tx)
    out.print(f"The tags of {ref.upper()} are revoked.", markup=False)


@contextmanager
def _written_down(what: str, about: str) -> Iterator[None]:
    """Do nothing where it cannot be written down, and write nothing down where it cannot be done."""
    with opened() as site, site.store.write() as tx:
        yield
        audit.append(tx, operator(), what, about, now_ms())
