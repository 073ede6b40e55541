"""dkim: make keys, and print the DNS records that publish them."""

import os
import re
from typing import Annotated

from cyclopts import App, Parameter

from gateway.cli.app import NO, USAGE, AsJson, fail, load_site, out, say, show_json
from gateway.config import SELECTOR

dkim = App(name="dkim", help="DKIM keys.")
_TXT_MAX = 255  # octets of one string in a TXT record (RFC 1035 §3.3)


@dkim.command
def keygen(
    selector: str,
    /,
    *,
    kind: Annotated[str, Parameter(name="--type", help="rsa (2048 bits) or ed25519")] = "rsa",
) -> None:
    """Make a key pair for SELECTOR in the site's state folder."""
    from gateway.send.sign import load_key, make_key  # noqa: PLC0415 (cryptography takes long to load)

    if kind not in ("rsa", "ed25519"):
        fail(f"--type {kind}: use rsa or ed25519", USAGE)
    if not re.fullmatch(SELECTOR.removesuffix("$"), selector):
        fail(f"{selector!r} is no selector: letters, digits and - in between", USAGE)
    settings = load_site().settings
    path = settings.state / "dkim" / f"{selector}.pem"
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        fail(f"{path} is there already; choose another selector, or take it away", NO)
    with os.fdopen(descriptor, "wb") as file:
        file.write(make_key(kind))
    key = load_key(path, selector, settings.site.domain)
    relative = os.path.relpath(path, settings.folder)
    say(
        f"Wrote {path}. Add to gateway.yaml, under dkim:\n"
        f"  - selector: {selector}\n    key_file: {relative}\nand publish:"
    )
    _print_record(*key.dns())


@dkim.command
def dns(*, as_json: AsJson = False) -> None:
    """Print the DNS records to publish for the keys that gateway.yaml names."""
    from gateway.send.sign import load_key  # noqa: PLC0415 (as above)

    settings = load_site().settings
    if not settings.dkim:
        fail("gateway.yaml names no key under dkim; `replygate dkim keygen SELECTOR` makes one", NO)
    try:
        keys = [load_key(settings.path(each.key_file), each.selector, settings.site.domain) for each in settings.dkim]
    except ValueError as error:
        fail(str(error), NO)
    found = [key.dns() for key in keys]
    if as_json:
        show_json([{"name": name, "type": "TXT", "text": text} for name, text in found])
        return
    for name, text in found:
        _print_record(name, text)


def _print_record(name: str, text: str) -> None:
    """Print a TXT record as a zone file takes it, in strings of at most 255 octets."""
    parts = [text[at : at + _TXT_MAX] for at in range(0, len(text), _TXT_MAX)]
    quoted = " ".join('"' + part + '"' for part in parts)
    out.print(f"{name}. IN TXT ( {quoted} )", markup=False)
