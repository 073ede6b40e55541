"""Rows S03, S04 and C24: a file that was mangled changes nothing in part; no secret and no text is printed or logged."""
# ruff: noqa: N802 (rows have capital names)

import io
import random
import re
import shutil
from contextlib import redirect_stderr

import pytest

from gateway import maillog
from gateway.document import Bad
from gateway.keyring import load_keys
from gateway.site import load
from tests.kit.house import CUSTOMER, INSIDE, ZONE, D, House, calm_rules
from tests.kit.node import write_site
from tests.kit.zone import Zone

FILES = ("gateway", "people", "rules")
PLACE = re.compile(r"(?:gateway|people|rules)\.yaml:\d+:\d+: \S")
PIECES = [
    "\0", "\t", "{", "}", "[", "]", ":", ": ", "- ", "#", "&a ", "*a", "!!python/object/apply:os.system ['x']", "|", ">", "%", "@", "`", "'", '"', "\ufeff", "\u2028", "\r", "---\n", "...\n", "? ",
    "<<: ", "nope: 1\n", "~", "null", "yes", "0x1f", "1e999", "-1", "99999999999999999999", "2026-13-45", "x" * 3_000, "[" * 500, "{a: " * 300, "\n" * 50, "客戶", "\U0001f600", "=", "!!binary x", ".inf",
]  # fmt: skip


def mutated(rng: random.Random, text: str) -> bytes:
    """Return a file somebody was writing, or miswrote: cut, doubled, moved, or with something else in it."""
    lines = text.splitlines(keepends=True)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(lines))
        match rng.randrange(7):
            case 0:
                del lines[at:]
                lines.append(text[: rng.randrange(30)])
            case 1:
                lines.insert(at, lines[rng.randrange(len(lines))])
            case 2:
                lines[at] = " " * rng.randint(1, 5) + lines[at]
            case 3:
                lines[at] = lines[at].replace(":", "", 1)
            case 4:
                cut = rng.randrange(len(lines[at]) + 1)
                lines[at] = lines[at][:cut] + rng.choice(PIECES) + lines[at][cut:]
            case 5:
                key = lines[at].partition(":")[0]
                lines[at] = f"{key}: {rng.choice(PIECES)}\n"
            case _:
                del lines[at]
        if not lines:
            break
    octets = bytearray("".join(lines).encode("utf-8"))
    if octets and rng.random() < 0.2:
        octets[rng.randrange(len(octets))] = rng.randrange(256)
    return bytes(octets)


def _shown(site) -> tuple:
    """Return what is in force, as values."""
    rules = site.rules
    return (site.people, *(getattr(rules, name) for name in rules.__dataclass_fields__ if name != "kinds"))


@pytest.mark.parametrize("name", FILES)
def test_S03_seventy_mangled_files_are_taken_whole_or_not_at_all(tmp_path, name):
    folder = write_site(tmp_path / "site")
    site = load(folder / "gateway.yaml")
    good = (folder / f"{name}.yaml").read_bytes()
    refused = 0
    unplaced: list[tuple[int, str]] = []
    for seed in range(70):
        (folder / f"{name}.yaml").write_bytes(mutated(random.Random(f"{name}.{seed}"), good.decode("utf-8")))
        before = site.now
        problems = list(site.reload())
        if problems:
            assert site.now is before, "what was in force stays in force, whole"
        else:
            assert name == "gateway" or site.now is not before
        try:
            whole = load(folder / "gateway.yaml")
        except Bad as bad:
            refused += 1
            unplaced += [(seed, str(each)) for each in bad.problems if not PLACE.search(str(each))]
        else:
            assert name == "gateway" or (not problems and _shown(whole) == _shown(site))
    assert unplaced == []
    assert refused > 30
    (folder / f"{name}.yaml").write_bytes(good)
    assert list(site.reload()) == []


def test_S03_a_file_that_vanishes_keeps_what_is_in_force(tmp_path):
    folder = write_site(tmp_path / "site")
    site = load(folder / "gateway.yaml")
    before = site.now
    shutil.move(folder / "rules.yaml", folder / "rules.old")
    assert list(site.reload())
    assert site.now is before


def test_S04_no_key_and_no_password_stands_in_what_is_printed_of_things(tmp_path):
    keys = load_keys(tmp_path / "keys")
    house = House(tmp_path / "site", Zone.read(ZONE), rules=calm_rules())
    told = "".join(map(repr, (keys, house.desk, house.site, house.addresses, house.site.settings)))
    for secret in (*keys.secrets.values(), *house.addresses.keys.secrets.values()):
        assert secret.hex() not in told
        assert repr(secret) not in told
    house.close()


def test_C24_no_line_of_the_log_holds_what_a_mail_says_a_tag_or_a_secret(tmp_path):
    told = io.StringIO()
    with redirect_stderr(told):
        maillog.configure(level="debug")
        _a_day(House(tmp_path / "site", Zone.read(ZONE), rules=calm_rules()))
    said = told.getvalue()
    assert said.count("decided") >= 8, "the log did hold what happened"
    assert "CANARY" not in said.upper()
    assert not re.search(r"\+[a-z2-7]{25}|\.[a-z2-7]{25}@", said)
    assert (b"k" * 32).hex() not in said


def _a_day(house: House) -> None:
    """Let mail of every kind come, each with a canary in all it says."""
    ref = house.quotation(title="CANARY title")
    tag = house.tagged(ref, "person:b")
    number = 0

    def comes(author: str, to: str, text: str, peer: str, extra: str = "") -> None:
        nonlocal number
        number += 1
        fields = f"From: CANARY <{author}>\r\nTo: {to}\r\nSubject: CANARY\r\nMessage-ID: <canary{number}@x>\r\n{extra}"
        house.take(f"{fields}\r\n{text}\r\n".encode(), to, peer=peer, return_path=author)

    comes("b@example.com", f"s00001@{D}", "CANARY", INSIDE)
    comes("b@example.com", tag, "/note CANARY", INSIDE)
    comes("b@example.com", f"s00001@{D}", "/canary CANARY", INSIDE)
    comes("wang@acme.example", f"s00001@{D}", "CANARY", CUSTOMER)
    comes("canary@x.example", f"s00001@{D}", "CANARY", INSIDE)
    comes("b@example.com", f"quotations@{D}", "CANARY", INSIDE)
    comes("canary@x.example", f"quotations@{D}", "CANARY", INSIDE)
    comes("b@example.com", f"s00001@{D}", "CANARY", INSIDE, "Content-Type: text/plain; name=CANARY.exe\r\n")
    comes("canary@x.example", f"postmaster@{D}", "CANARY", INSIDE)
    comes(
        "mailer-daemon@x.example",
        str(house.addresses.return_path(1)),
        "CANARY 550",
        INSIDE,
        "Auto-Submitted: auto-replied\r\n",
    )

    def fails(*_):
        raise RuntimeError("a fault")

    house.reader._prove, proves = fails, house.reader._prove
    comes("b@example.com", f"s00001@{D}", "CANARY", INSIDE)
    house.reader._prove = proves
    house.sent()
    house.close()
