"""init, check, serve, migrate: a site and its node."""

import asyncio
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from gateway import bundled, maillog
from gateway.cli.app import NO, fail, load_site, out, say
from gateway.store import schema
from gateway.store.session import open_store

_FILES = ("gateway.yaml", "people.yaml", "rules.yaml")


def init(
    directory: Path,
    /,
    *,
    local: Annotated[
        bool, Parameter(negative="", help="A trial on this machine: loopback trusted, mail into Maildirs.")
    ] = False,
) -> None:
    """Write a commented example site into DIRECTORY."""
    write_example(directory, local=local)
    out.print(f"Wrote {', '.join(_FILES)} into {directory}.", markup=False)
    out.print(f"Next: replygate -c {directory / _FILES[0]} check, then serve.", markup=False)


def write_example(directory: Path, *, local: bool) -> None:
    """Write the example site; a file that is there already is never written over."""
    there = [name for name in _FILES if (directory / name).exists()]
    if there:
        fail(f"{directory} holds {', '.join(there)} already; nothing was written", NO)
    directory.mkdir(parents=True, exist_ok=True)
    example = bundled.folder("templates") / "site"
    for name in _FILES:
        source = example / ("gateway.local.yaml" if local and name == "gateway.yaml" else name)
        (directory / name).write_text(source.read_text("utf-8"), "utf-8")


def check() -> None:
    """Read the whole configuration and print every problem as FILE:LINE:COLUMN, with the mend."""
    site = load_site()
    for note in site.notes:
        say(str(note))
    out.print("No problems.")


def serve(*, log: Annotated[str, Parameter(help="debug, info, warning or error")] = "info") -> None:
    """Run a node until SIGTERM or SIGINT; SIGHUP, or a changed file, reloads people and rules."""
    if log not in ("debug", "info", "warning", "error"):
        fail(f"--log {log}: use debug, info, warning or error", 2)
    import uvloop  # noqa: PLC0415 (a node loads what no other command needs)

    from gateway.node import CannotStart, Node  # noqa: PLC0415 (as above)

    maillog.configure(level=log)
    site = load_site()
    for note in site.notes:
        say(str(note))

    def ready(listening: dict[str, str]) -> None:
        sys.stdout.write(" ".join(["ready", *(f"{name}={at}" for name, at in listening.items())]) + "\n")
        sys.stdout.flush()

    try:
        node = Node(site)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(node.run(ready))
    except CannotStart as error:
        fail(str(error), NO)


def migrate() -> None:
    """Bring the store's schema up to date."""
    site = load_site()
    store = open_store(site.settings.store.url, site.settings.folder)
    try:
        before, after = schema.upgrade(store)
    finally:
        store.close()
    out.print(
        f"The schema is at {after}, as before."
        if before == after
        else f"The schema went from {before or 'nothing'} to {after}."
    )
