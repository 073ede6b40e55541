"""The administrator's hands: exit statuses, and the shapes other programs read."""

import io
import json
import sys

import pytest

from gateway.cli.app import main
from gateway.config import load as load_settings
from gateway.document import read
from gateway.node import open_site_store
from gateway.store import arrivals
from gateway.store.arrivals import Settled
from tests.kit.node import Node, replygate, write_site
from tests.store.kit import NOW, add_arrivals, add_delivery, add_message

CREATED = {"event": "quotation.created", "title": "20 chairs", "team": "sales", "salesperson": "a"}


class Done:
    """What a command answered."""

    def __init__(self, status, out, err):
        self.status, self.out, self.err = status, out, err

    @property
    def json(self):
        return json.loads(self.out)

    @property
    def lines(self):
        return [json.loads(line) for line in self.out.splitlines()]


@pytest.fixture
def site(tmp_path):
    return write_site(tmp_path / "site")


@pytest.fixture
def run(site, capsys, monkeypatch):
    """Run a command on the site, in this process."""

    def run_it(*arguments, stdin="", config=None):
        octets = stdin if isinstance(stdin, bytes) else stdin.encode()
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(octets), "utf-8"))
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(["-c", str(config or site / "gateway.yaml"), *arguments])
        said = capsys.readouterr()
        return Done(ended.value.code or 0, said.out, said.err)

    return run_it


@pytest.fixture
def store(site, run):
    """The site's store, migrated."""
    assert run("status").status == 0
    settings, _ = load_settings(read(site / "gateway.yaml"), site)
    made = open_site_store(settings)
    yield made
    made.close()


def announce(run, *events):
    done = run("announce", stdin="\n".join(map(json.dumps, events)))
    assert done.status == 0, done.err
    return done.lines


# ---- exit statuses


def test_done_is_0(run):
    assert run("check").status == 0


@pytest.mark.parametrize(
    "arguments",
    [("nonsense",), ("check", "--nonsense"), ("record", "show"), ("follow", "S1"), ("record", "list", "--last", "x"),
     ("outbox", "list", "--state", "x"), ("dkim", "keygen", "s", "--type", "dsa"), ("serve", "--log", "loud"), ("held", "show", "x")],
)  # fmt: skip
def test_usage_is_2_and_said_on_stderr(run, arguments):
    done = run(*arguments)
    assert done.status == 2
    assert done.out == ""
    assert done.err.strip()


@pytest.mark.parametrize(
    "arguments",
    [("record", "list"), ("record", "show", "S99999"), ("explain", "S99999", "discussion"), ("follow", "S99999", "a"),
     ("unfollow", "S99999", "a"), ("held", "show", "9"), ("held", "release", "9"), ("outbox", "show", "9"), ("dkim", "dns"),
     ("announce", "/no/such/file")],
)  # fmt: skip
def test_nothing_matched_is_1(run, arguments):
    done = run(*arguments)
    assert done.status == 1
    assert done.out == ""
    assert done.err.strip()


def test_a_store_that_is_away_is_3(run, site):
    text = (site / "gateway.yaml").read_text("utf-8")
    (site / "gateway.yaml").write_text(
        text.replace("sqlite:///var/gateway.db", "postgresql://x@127.0.0.1:1/x"), "utf-8"
    )
    for arguments in (("record", "list"), ("status",), ("migrate",), ("announce",)):
        done = run(*arguments, stdin=json.dumps(CREATED))
        assert (done.status, done.out) == (3, ""), arguments
        assert done.err.startswith("replygate: ")


def test_a_node_whose_store_is_away_does_not_start_and_says_3(site):
    text = (site / "gateway.yaml").read_text("utf-8")
    (site / "gateway.yaml").write_text(
        text.replace("sqlite:///var/gateway.db", "postgresql://x@127.0.0.1:1/x"), "utf-8"
    )
    done = replygate(site, "serve", check=False)
    assert "the store cannot be reached" in done.stderr
    assert (done.returncode, done.stdout) == (3, "")


def test_refused_by_policy_is_4_and_the_others_go_on(run):
    done = run("announce", stdin="\n".join(map(json.dumps, [CREATED, {**CREATED, "team": "x", "actor": "y"}, CREATED])))
    assert done.status == 4
    first, refused, last = done.lines
    assert (first["record"], last["record"]) == ("S00001", "S00002")
    assert [(p["field"], p["value"]) for p in refused["error"]] == [("actor", "y"), ("team", "x")]
    assert all(set(p) == {"field", "value", "problem"} and p["problem"] for p in refused["error"])
    assert len(done.err.splitlines()) == 2


def test_a_missing_configuration_is_1_with_its_place(run, tmp_path):
    done = run("check", config=tmp_path / "none" / "gateway.yaml")
    assert done.status == 1
    assert done.err.startswith("gateway.yaml:1:1: cannot be read")


def test_the_configuration_may_be_named_by_the_environment(site, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("REPLYGATE_CONFIG", str(site / "gateway.yaml"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["check"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == "No problems.\n"


def test_help_and_version_are_0(run):
    for arguments in (("--help",), ("--version",), ("record", "--help"), ("announce", "--help")):
        done = run(*arguments)
        assert done.status == 0
        assert done.out.strip()


# ---- init, check, migrate


@pytest.mark.parametrize("arguments", [(), ("--local",)])
def test_init_writes_a_site_that_check_finds_good(run, tmp_path, arguments):
    done = run("init", str(tmp_path / "new" / "site"), *arguments)
    assert done.status == 0
    folder = tmp_path / "new" / "site"
    assert sorted(path.name for path in folder.iterdir()) == ["gateway.yaml", "people.yaml", "rules.yaml"]
    assert ("  url: maildir:" in (folder / "gateway.yaml").read_text("utf-8")) == bool(arguments)
    assert run("check", config=folder / "gateway.yaml").status == 0


@pytest.mark.parametrize("name", ["gateway.yaml", "people.yaml", "rules.yaml"])
def test_init_never_writes_over_a_file(run, tmp_path, name):
    (tmp_path / name).write_text("mine", "utf-8")
    done = run("init", str(tmp_path))
    assert done.status == 1
    assert name in done.err
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".yaml"] == [name]
    assert (tmp_path / name).read_text("utf-8") == "mine"


def test_check_tells_notes_and_is_0(run, site):
    people = (site / "people.yaml").read_text("utf-8")
    (site / "people.yaml").write_text(people.replace("delivery: mail ", "delivery: digest "), "utf-8")
    done = run("check")
    assert done.status == 0
    assert done.err == "people.yaml:8:15: note: delivery: digest acts as mail in this release\n"


def test_check_tells_of_a_password_that_is_not_there_yet(run, site):
    gateway = (site / "gateway.yaml").read_text("utf-8")
    account = (
        "\nfiling:\n  accounts:\n    - {person: chia, host: imap.example.com, user: chia, password_file: chia.txt}\n"
    )
    (site / "gateway.yaml").write_text(gateway + account, "utf-8")
    done = run("check")
    assert done.status == 0
    assert "note: the password of chia cannot be read from chia.txt; write it there" in done.err
    (site / "chia.txt").write_text("secret", "utf-8")
    assert run("check").err == ""


def test_migrate_tells_from_where_to_where(run):
    assert run("migrate").out.startswith("The schema went from nothing to ")
    assert "as before" in run("migrate").out


# ---- announce


def test_announce_takes_one_document_a_list_or_lines_from_stdin_or_a_file(run, tmp_path):
    forms = [
        json.dumps(CREATED), json.dumps(CREATED, indent=2), json.dumps([CREATED, CREATED]), json.dumps([CREATED], indent=2),
        f"{json.dumps(CREATED)}\n\n{json.dumps(CREATED)}\n", f"{json.dumps(CREATED)}\r\n{json.dumps(CREATED)}\r\n",
        "\ufeff" + json.dumps(CREATED),
    ]  # fmt: skip
    counts = []
    for text in forms:
        done = run("announce", stdin=text)
        assert done.status == 0, done.err
        counts.append(len(done.lines))
        (tmp_path / "events.json").write_text(text, "utf-8")
        assert len(run("announce", str(tmp_path / "events.json")).lines) == counts[-1]
    assert counts == [1, 1, 2, 1, 2, 2, 1]


def test_announce_answers_with_record_alias_event_message_and_repeated(run):
    (answer,) = announce(run, {**CREATED, "id": "erp-1"})
    assert set(answer) == {"record", "alias", "event", "message", "repeated"}
    assert (answer["record"], answer["alias"], answer["event"], answer["repeated"]) == (
        "S00001", "s00001@sales.example.com", "quotation.created", False,
    )  # fmt: skip
    assert answer["message"].startswith("<")
    (again,) = announce(run, {**CREATED, "id": "erp-1"})
    assert again == {**answer, "repeated": True}


def test_attachments_are_relative_to_the_file_of_the_event(run, tmp_path):
    (tmp_path / "events").mkdir()
    (tmp_path / "events" / "quote.pdf").write_bytes(b"%PDF")
    (tmp_path / "events" / "e.json").write_text(json.dumps({**CREATED, "attachments": ["quote.pdf"]}), "utf-8")
    assert run("announce", str(tmp_path / "events" / "e.json")).status == 0
    assert run("record", "show", "S00001", "--json").json["thread"][0]["attachments"] == ["quote.pdf"]


@pytest.mark.parametrize(
    "text",
    ["{", "nonsense", "[1]", "null", '{"event": "quotation.created"} x', "[" * 100_000, '{"event": "\\ud800"}', b"\xff\xfe{}",
     '{"event": "quotation.created", "title": "\\ud800"}', '{"event": "quotation.created", "attachments": ["a\\u0000b"]}'],
)  # fmt: skip
def test_events_that_cannot_be_read_are_4_and_no_fault(run, text):
    done = run("announce", stdin=text)
    assert done.status == 4
    assert done.err.strip()
    assert run("record", "list", "--json").json == []


def test_no_event_at_all_is_no_fault(run):
    done = run("announce", stdin="")
    assert (done.status in {0, 1, 4}, done.out) == (True, "")


# ---- what other programs read


def test_record_show_has_the_shape_that_was_promised(run):
    announce(
        run,
        {**CREATED, "actor": "b", "customer": {"name": "王", "email": "w@x.example"}, "fields": {"amount": "1"},
         "lines": [{"name": "Chair", "quantity": 2, "price": "3"}], "note": "inside"},
        {"event": "quotation.sent", "ref": "S00001"},
    )  # fmt: skip
    shown = run("record", "show", "s00001", "--json").json
    assert {
        "record", "kind", "title", "state", "alias", "team", "salesperson", "customer", "fields", "lines", "followers", "thread",
    } <= set(shown)  # fmt: skip
    assert (shown["record"], shown["kind"], shown["state"], shown["alias"]) == (
        "S00001", "quotation", "sent", "s00001@sales.example.com",
    )  # fmt: skip
    assert shown["lines"] == [{"name": "Chair", "quantity": "2", "price": "3"}]
    for follower in shown["followers"]:
        assert {"who", "email", "outsider", "subtypes", "why"} <= set(follower)
    chia = next(each for each in shown["followers"] if each["who"] == "chia")
    assert any(why.startswith("rule rules.yaml:") for why in chia["why"])
    assert [each["subtype"] for each in shown["thread"]] == ["quotation.created", "assigned", "note", "quotation.sent"]
    for message in shown["thread"]:
        assert {
            "message", "original_id", "subtype", "internal", "author", "at", "subject", "text", "quoted", "attachments", "heard",
            "not_heard",
        } <= set(message)  # fmt: skip
    last = run("record", "show", "S00001", "--last", "1", "--json").json["thread"]
    assert [each["subtype"] for each in last] == ["quotation.sent"]
    assert "20 chairs" in run("record", "show", "S00001").out


def test_record_list_is_narrowed_and_1_when_nothing_matches(run):
    announce(run, CREATED, {"event": "lead.created", "title": "[bold]x[/bold]"})
    assert [each["record"] for each in run("record", "list", "--json").json] == ["L00001", "S00001"]
    assert [each["record"] for each in run("record", "list", "--kind", "lead", "--json").json] == ["L00001"]
    assert run("record", "list", "--team", "none", "--json").status == 1
    assert "[bold]x[/bold]" in run("record", "list").out


def test_explain_says_who_hears_by_which_rule_and_who_does_not(run, site):
    announce(run, CREATED)
    shown = run("explain", "S00001", "quotation.confirmed", "--json").json
    assert set(shown) == {"hears", "not"}
    hears = {each["who"]: each for each in shown["hears"]}
    assert set(hears) == {"chia", "cheng"}
    assert all(set(each) == {"who", "email", "reason", "delivery"} for each in shown["hears"])
    line = next(
        n
        for n, text in enumerate((site / "rules.yaml").read_text("utf-8").splitlines(), 1)
        if "[quotation.confirmed," in text
    )
    assert f"rules.yaml:{line - 2}" in hears["cheng"]["reason"]
    left = {each["who"]: each["reason"] for each in shown["not"]}
    assert "a" in left
    assert all(left.values())


def test_explain_leaves_the_actor_out_and_refuses_an_unknown_event(run):
    announce(run, CREATED)
    shown = run("explain", "S00001", "discussion", "--actor", "chia", "--json").json
    assert "chia" not in {each["who"] for each in shown["hears"]}
    assert "chia" in {each["who"] for each in shown["not"]}
    assert run("explain", "S00001", "lead.won").status == 1
    assert run("explain", "S00001", "discussion", "--actor", "nobody").status == 1


def test_held_list_has_the_shape_that_was_promised(run, store):
    with store.write() as tx:
        add_arrivals(tx, 1)
        (claimed,) = arrivals.claim(tx, NOW, 1)
        arrivals.settle_recipient(tx, 1, Settled("held", "stranger", "nobody we know"), NOW, "x@y.example", "hello")
        arrivals.finish(tx, claimed)
    (row,) = run("held", "list", "--json").json
    assert {"id", "at", "from", "to", "subject", "cause", "reason"} <= set(row)
    assert (row["id"], row["from"], row["to"], row["cause"]) == (
        1,
        "x@y.example",
        "s00001@sales.example.com",
        "stranger",
    )
    assert run("held", "show", "1", "--json").json["id"] == 1
    assert "hello" in run("held", "list").out
    assert run("held", "release", "1").status == 0
    assert run("held", "list", "--json").json == []


def test_outbox_list_has_the_shape_that_was_promised(run, store):
    announce(run, CREATED)
    with store.write() as tx:
        add_delivery(tx, add_message(tx, 1, "m@sales.example.com"), recipient="chia@example.com")
    (row,) = run("outbox", "list", "--json").json
    assert {"id", "to", "message", "state", "attempts", "next", "answer"} <= set(row)
    assert (row["to"], row["message"], row["state"], row["attempts"]) == (
        "chia@example.com", "<m@sales.example.com>", "queued", 0,
    )  # fmt: skip
    assert run("outbox", "list", "--state", "sent", "--json").json == []
    assert run("outbox", "show", "1", "--json").json["tries"] == []


def test_status_counts_what_waits_and_is_1_when_something_is_stuck(run, store):
    done = run("status", "--json")
    assert done.status == 0
    keys = {"arrivals", "messages", "deliveries", "held", "shunted", "oldest_s"}
    assert {name: done.json[name] for name in keys} == dict.fromkeys(keys, 0)
    announce(run, CREATED)
    assert run("status", "--json").json["messages"] == 2
    with store.write() as tx:
        add_arrivals(tx, 1, now=1_000)
    done = run("status", "--json")
    assert (done.status, done.json["arrivals"]) == (1, 1)
    assert done.json["oldest_s"] > 900


# ---- follow and unfollow


def test_follow_adds_discussions_or_what_is_said(run):
    announce(run, CREATED)
    for arguments in (
        ("x@y.example",),
        ("acme", "quotation.*"),
        ("d", "note", "assigned"),
        ("group:sales", "quotation.sent"),
    ):
        done = run("follow", "S00001", *arguments)
        assert done.status == 0, done.err
    shown = {each["who"]: each for each in run("record", "show", "S00001", "--json").json["followers"]}
    assert (shown["x@y.example"]["subtypes"], shown["x@y.example"]["outsider"]) == (["discussion"], True)
    assert "quotation.sent" in shown["wang@acme.example"]["subtypes"]
    assert {"note", "assigned", "quotation.sent"} <= set(shown["d"]["subtypes"])
    assert "quotation.sent" in shown["b"]["subtypes"]


def test_unfollow_takes_away_what_is_said_or_all_even_against_the_rules(run):
    announce(run, CREATED)
    assert run("unfollow", "S00001", "chia", "note").status == 0
    shown = {each["who"]: each for each in run("record", "show", "S00001", "--json").json["followers"]}
    assert "note" not in shown["chia"]["subtypes"]
    assert "discussion" in shown["chia"]["subtypes"]
    assert run("unfollow", "S00001", "chia").status == 0
    left = {each["who"] for each in run("explain", "S00001", "discussion", "--json").json["not"]}
    assert "chia" in left
    assert run("follow", "S00001", "chia").status == 0
    hears = {each["who"] for each in run("explain", "S00001", "discussion", "--json").json["hears"]}
    assert "chia" in hears


@pytest.mark.parametrize(
    "arguments",
    [("S00001", "nobody"), ("S00001", "group:none"), ("S00001", "a", "lead.won"), ("S00001", "a", "nonsense")],
)
@pytest.mark.parametrize("command", ["follow", "unfollow"])
def test_nobody_and_no_subtype_are_1_and_change_nothing(run, command, arguments):
    announce(run, CREATED)
    before = run("record", "show", "S00001", "--json").json
    done = run(command, *arguments)
    assert done.status == 1
    assert done.err.strip()
    assert run("record", "show", "S00001", "--json").json == before


# ---- dkim


@pytest.mark.parametrize(("kind", "tag"), [("rsa", "k=rsa"), ("ed25519", "k=ed25519")])
def test_dkim_keygen_makes_a_private_key_and_dns_prints_its_record(run, site, kind, tag):
    done = run("dkim", "keygen", "gw1", "--type", kind)
    assert done.status == 0
    assert done.out.startswith("gw1._domainkey.sales.example.com. IN TXT (")
    path = site / "var" / "dkim" / "gw1.pem"
    assert path.stat().st_mode & 0o777 == 0o600
    before = path.read_bytes()
    again = run("dkim", "keygen", "gw1")
    assert (again.status, path.read_bytes()) == (1, before)
    with (site / "gateway.yaml").open("a", encoding="utf-8") as file:
        file.write("\ndkim:\n  - selector: gw1\n    key_file: var/dkim/gw1.pem\n")
    (row,) = run("dkim", "dns", "--json").json
    assert (row["name"], row["type"]) == ("gw1._domainkey.sales.example.com", "TXT")
    assert tag in row["text"]
    assert run("dkim", "dns").out == done.out


@pytest.mark.parametrize("selector", ["../gw1", "gw 1", "", "/ELSEWHERE/x", "gw1\n"])
def test_a_selector_that_is_no_name_makes_no_key(run, tmp_path, selector):
    done = run("dkim", "keygen", selector.replace("/ELSEWHERE", str(tmp_path)))
    assert [path.name for path in tmp_path.rglob("*.pem")] == []
    assert done.status in {1, 2}


# ---- one node on a SQLite store


def test_a_second_node_on_one_sqlite_store_is_refused_and_the_cli_works_beside_the_first(site):
    with Node(site) as node:
        second = replygate(site, "serve", check=False)
        assert second.returncode == 1
        assert second.stdout == ""
        assert "another node runs on this store" in second.stderr
        assert json.loads(node.replygate("announce", stdin=json.dumps(CREATED)))["record"] == "S00001"
        node.quiet()
        assert node.json("record", "show", "S00001")["thread"][0]["heard"]
    assert node.process is not None
    assert node.process.returncode == 0
