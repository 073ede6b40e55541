"""`replygate try`: what would become of mails, in each way there is; and nothing is changed by asking."""

import json
from pathlib import Path

import pytest
import sqlalchemy as sa

from gateway.alias import Addresses
from gateway.decide.post import Desk
from gateway.decide.read import Reader
from gateway.decide.receive import Receiver
from gateway.decide.resolver import Resolver
from gateway.keyring import load_keys
from gateway.site import load as load_site
from gateway.store import arrivals, followers, tables
from gateway.store.arrivals import Received
from gateway.worker import Traffic, now_ms
from tests.cli.test_cli import announce, run, site, store

__all__ = ["run", "site", "store"]
D = "sales.example.com"
KEYS = {
    "file", "disposition", "reason", "record", "author", "authenticated", "subtype", "text", "quoted", "attachments", "defects", "commands",
    "results", "recipients",
}  # fmt: skip
CREATED = {
    "event": "quotation.created", "title": "chairs", "salesperson": "a", "team": "sales", "actor": "a",
    "customer": {"name": "ACME", "email": "wang@acme.example"},
}  # fmt: skip


def dump(store):
    with store.read() as tx:
        found = {}
        for table in tables.metadata.sorted_tables:
            found[table.name] = sorted(map(repr, tx.execute(sa.select(table))))
        return found


@pytest.fixture
def mail(tmp_path):
    """Return what writes a mail into a file."""
    count = iter(range(1000))

    def write(text="hello", author="b@example.com", to=f"s00001@{D}", head="", name=""):
        n = next(count)
        fields = [f"From: {author}", f"To: {to}", "Subject: s", f"Message-ID: <t{n}@x>", *head.splitlines()]
        path = tmp_path / (name or f"{n}.eml")
        path.write_bytes("\r\n".join([*fields, "", text, ""]).encode())
        return str(path)

    return write


@pytest.fixture
def quotation(run, store):
    announce(run, CREATED)
    return store


def tried(run, *arguments):
    done = run("try", *arguments, "--json")
    return done.status, [json.loads(line) for line in done.out.splitlines()]


@pytest.mark.usefixtures("quotation")
def test_one_line_a_file_with_every_key(run, mail):
    files = [mail("one"), mail("/follow quotation.*"), mail("x", author="eve@x.example")]
    status, shown = tried(run, *files)
    assert status == 0
    assert [each["file"] for each in shown] == files
    for each in shown:
        assert set(each) >= KEYS
    assert [each["disposition"] for each in shown] == ["accept", "accept", "hold"]


# What is tried, and what is to come of it: text, author, to, head, peer; disposition, then other keys.
WAYS = {
    "a discussion": (("hello\n\nOn Wed, Mar 4, 2026 at 10:00 AM A <a@b.example> wrote:\n> hi", "b@example.com", f"s00001@{D}", ""),
                     {"disposition": "accept", "subtype": "discussion", "text": "hello", "record": "S00001", "authenticated": True}),
    "a note": (("/note\nsecret", "b@example.com", f"s00001@{D}", ""), {"disposition": "accept", "subtype": "note", "text": "secret"}),
    "a note by address": (("secret", "b@example.com", f"s00001-note@{D}", ""), {"disposition": "accept", "subtype": "note"}),
    "a command": (("/follow quotation.*", "b@example.com", f"s00001@{D}", ""),
                  {"disposition": "accept", "commands": [{"command": "follow", "arguments": ["quotation.*"]}]}),
    "a mistake": (("/nonsense", "b@example.com", f"s00001@{D}", ""), {"disposition": "accept", "cause": "mistake"}),
    "an intake": (("hello", "b@example.com", f"quotations@{D}", ""), {"disposition": "accept", "subtype": "quotation.created", "record": "S00002"}),
    "an intake that takes no outsiders": (("hello", "eve@x.example", f"quotations@{D}", ""), {"disposition": "refuse", "cause": "not welcome"}),
    "a team": (("hello", "b@example.com", f"sales@{D}", ""), {"disposition": "accept", "subtype": "discussion"}),
    "a stranger": (("hello", "eve@x.example", f"s00001@{D}", ""), {"disposition": "hold", "cause": "stranger"}),
    "no author": (("hello", "a@example.com, b@example.com", f"s00001@{D}", ""), {"disposition": "hold", "author": ""}),
    "nobody's address": (("hello", "b@example.com", f"s99999@{D}", ""), {"disposition": "refuse", "record": ""}),
    "not ours": (("hello", "b@example.com", "x@elsewhere.example", ""), {"disposition": "refuse", "recipients": []}),
    "our own mail": (("hello", f"s00001@{D}", f"s00001@{D}", ""), {"disposition": "discard"}),
    "a machine": (("away", "b@example.com", f"s00001@{D}", "Auto-Submitted: auto-replied"), {"disposition": "accept", "cause": "automatic"}),
    "the postmaster": (("hello", "b@example.com", f"postmaster@{D}", ""), {"disposition": "hold"}),
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_each_way_a_mail_may_go_and_nothing_is_changed(run, quotation, mail, way):
    (text, author, to, head), expected = WAYS[way]
    before = dump(quotation)
    status, (shown,) = tried(run, mail(text, author, to, head))
    assert {key: shown[key] for key in expected} == expected
    assert status == 0
    assert dump(quotation) == before
    done = run("try", mail(text, author, to, head))
    assert shown["disposition"] in done.out
    assert dump(quotation) == before


@pytest.mark.usefixtures("quotation")
def test_who_would_hear_is_told_with_the_reason(run, mail):
    _, (shown,) = tried(run, mail("hello"))
    hears = {each["who"]: each["why"] for each in shown["recipients"]}
    assert "rules.yaml:" in hears["chia"]
    assert {each["who"] for each in shown["not"]} >= {"b"}
    assert not [each for each in shown["recipients"] if "acme" in each["email"]]


def test_what_would_be_decided_is_what_is_decided(run, quotation, mail, site):
    """The same mail, tried twice and then sent: trying it took nothing from it."""
    file = mail("/follow quotation.*\n\nhello")
    first, second = tried(run, file)[1][0], tried(run, file)[1][0]
    assert first == second
    loaded = load_site(site / "gateway.yaml")
    receiver = Receiver(
        quotation,
        Desk(loaded, Addresses(D, load_keys(site / "var"))),
        Reader(loaded, Resolver("127.0.0.1:9")),
        Traffic(),
        lambda: None,
    )
    with quotation.write() as tx:
        octets = Path(file).read_bytes()
        arrivals.keep_many(
            tx, [Received(now_ms(), "smtp", "127.0.0.1", "t", "b@example.com", True, (f"s00001@{D}",), octets)]
        )
    while receiver.step():
        pass
    with quotation.read() as tx:
        message = tx.execute(sa.select(tables.message).order_by(tables.message.c.id.desc()).limit(1)).one()
    assert (message.subtype, message.text) == (first["subtype"], first["text"])


# ---- held, by hand


def test_held_mail_is_routed_and_dropped_by_hand_and_the_log_says_who(run, quotation, site):
    loaded = load_site(site / "gateway.yaml")
    desk = Desk(loaded, Addresses(D, load_keys(site / "var")))
    receiver = Receiver(quotation, desk, Reader(loaded, Resolver("127.0.0.1:9")), Traffic(), lambda: None)
    announce(run, {**CREATED, "title": "tables"})
    for n in range(3):
        octets = f"From: eve@x.example\r\nTo: s00001@{D}\r\nMessage-ID: <h{n}@x>\r\n\r\nhello {n}\r\n".encode()
        with quotation.write() as tx:
            arrivals.keep_many(
                tx, [Received(now_ms(), "smtp", "127.0.0.1", "t", "eve@x.example", True, (f"s00001@{D}",), octets)]
            )
    while receiver.step():
        pass
    third, second, first = (each["id"] for each in run("held", "list", "--json").json)
    for nowhere in (
        f"s99999@{D}",
        "x@elsewhere.example",
        f"bounce+1@{D}",
        "nonsense",
        str(desk.addresses.held("release", first)),
    ):
        assert run("held", "route", str(first), nowhere).status == 1
    assert run("held", "route", str(first), f"s00002@{D}").status == 0
    assert run("held", "drop", str(second), "--block").status == 0
    assert run("held", "drop", str(second)).status == 1
    assert run("held", "release", str(third)).status == 0
    while receiver.step():
        pass
    with quotation.read() as tx:
        rows = tx.execute(
            sa.select(tables.message.c.record_id, tables.message.c.text).where(tables.message.c.text != "")
        ).all()
    assert sorted(map(tuple, rows)) == [(1, "hello 2"), (2, "hello 0")]
    log = run("audit", "list", "--json").json
    assert [(each["what"], each["about"]) for each in log] == [
        ("held route", str(first)),
        ("held block", str(second)),
        ("held release", str(third)),
    ]
    assert log[0]["data"]["to"] == f"s00002@{D}"
    assert all(each["who"].startswith("cli:") for each in log)
    assert [each["email"] for each in run("block", "list", "--json").json] == ["eve@x.example"]


@pytest.mark.usefixtures("quotation")
def test_a_peer_and_a_return_path_may_be_given_and_what_they_prove_is_told(run, mail):
    status, (shown,) = tried(run, mail("hello"), "--peer", "192.0.2.99", "--return-path", "b@example.com")
    assert status == 0
    assert (shown["disposition"], shown["authenticated"]) == ("hold", False)
    assert {each["method"] for each in shown["results"]} >= {"spf", "dmarc"}
    assert set(shown["results"][0]) == {"method", "result", "domain", "detail"}


def test_the_envelope_may_be_given(run, quotation, mail, site):
    status, (shown,) = tried(run, mail("hello", to="someone@elsewhere.example"), "--to", f"s00001@{D}")
    assert (status, shown["record"], shown["to"]) == (0, "S00001", [f"s00001@{D}"])
    with quotation.write() as tx:
        number = followers.reader_ids(tx, ["wang@acme.example"])["wang@acme.example"]
    tagged = str(Addresses(D, load_keys(site / "var")).alias("S00001", "", number))
    _, (shown,) = tried(
        run, mail("hello", author="wang@acme.example", to="x@y.example"), "--to", tagged, "--peer", "192.0.2.99"
    )
    assert (shown["disposition"], shown["authenticated"]) == ("accept", False)


@pytest.mark.usefixtures("quotation")
def test_a_file_that_is_not_there_is_1_and_none_is_usage(run):
    assert run("try", "/no/such.eml").status == 1
    assert run("try").status == 2


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"\x00\xff" * 1000,
        b"From: b@example.com\r\n",
        b"\r\n\r\n",
        b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x",
    ],
)
def test_whatever_the_file_holds_it_is_told_what_would_become_of_it(run, quotation, tmp_path, octets):
    path = tmp_path / "odd.eml"
    path.write_bytes(octets)
    before = dump(quotation)
    status, (shown,) = tried(run, str(path), "--to", f"s00001@{D}")
    assert (status, shown["disposition"]) in {(0, "hold"), (0, "accept")}
    assert dump(quotation) == before


# ---- the lists and the log, by hand


def test_a_suppression_a_block_and_what_they_leave_in_the_log(run, store):
    assert run("suppression", "add", "Wang@ACME.example").status == 0
    assert run("suppression", "add", "wang@acme.example").status == 1
    assert [each["email"] for each in run("suppression", "list", "--json").json] == ["wang@acme.example"]
    assert run("suppression", "remove", "wang@acme.example").status == 0
    assert run("suppression", "remove", "wang@acme.example").status == 1
    assert run("block", "add", "eve@x.example").status == 0
    assert run("block", "add", "no address").status == 1
    assert run("block", "remove", "eve@x.example").status == 0
    log = run("audit", "list", "--json").json
    assert [(each["what"], each["about"]) for each in log] == [
        ("suppressed", "wang@acme.example"), ("sent to again", "wang@acme.example"), ("blocked", "eve@x.example"), ("unblocked", "eve@x.example"),
    ]  # fmt: skip
    assert all(each["who"].startswith("cli:") for each in log)
    verified = run("audit", "verify", "--json").json
    assert (verified["entries"], verified["broken"]) == (4, None)
    assert run("audit", "verify", "--head", verified["head"]).status == 0
    assert run("audit", "verify", "--head", "00" * 32).status == 1
    assert run("audit", "verify", "--head", "nonsense").status == 2
    with store.write() as tx:
        tx.execute(sa.text("DROP TRIGGER audit_no_update"))
        tx.execute(sa.text("UPDATE audit SET who = 'x' WHERE id = 2"))
    assert run("audit", "verify").status == 1
    assert run("audit", "verify", "--json").json["broken"] == 2
