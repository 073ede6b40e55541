"""Row S03 of the catalogue, while somebody edits: files cut short, written in pieces, two that belong together."""
# ruff: noqa: N802 (rows have capital names)

import re
import signal
import threading
import time
from pathlib import Path

import pytest

from gateway import site as site_module
from gateway.document import Bad
from gateway.site import InForce, load
from tests.kit.client import Client
from tests.kit.house import calm_rules
from tests.kit.node import Node, replygate, write_site

PLACE = re.compile(r"(?:gateway|people|rules)\.yaml:\d+:\d+: \S")
CUTS = 60
EDITS = 60
SOMEBODY = "\n  lin:\n    name: 林先生\n    email: [lin@example.com]\n"


def the_same(one: InForce, other: InForce) -> bool:
    rules = [name for name in one.rules.__dataclass_fields__ if name != "kinds"]
    return one.people == other.people and all(getattr(one.rules, n) == getattr(other.rules, n) for n in rules)


@pytest.mark.parametrize("name", ["people", "rules"])
def test_S03_a_file_that_is_half_written_is_taken_whole_or_not_at_all(tmp_path, name):
    """However far an editor has come when the node looks, what is in force is the old, or all of what stands there."""
    folder = write_site(tmp_path / "site")
    path = folder / f"{name}.yaml"
    whole = path.read_bytes()
    site = load(folder / "gateway.yaml")
    refused = 0
    for cut in range(0, len(whole), max(1, len(whole) // CUTS)):
        path.write_bytes(whole[:cut])
        before = site.now
        if problems := [str(each) for each in site.reload()]:
            refused += 1
            assert site.now is before, cut
            assert all(PLACE.search(each) for each in problems), problems
            with pytest.raises(Bad):
                load(folder / "gateway.yaml")
        else:
            assert the_same(site.now, load(folder / "gateway.yaml").now), cut
    assert refused > CUTS // 4
    path.write_bytes(whole)
    assert list(site.reload()) == []
    assert the_same(site.now, load(folder / "gateway.yaml").now)


def test_S03_two_files_that_belong_together_are_never_in_force_apart(tmp_path):
    """One thread edits, in pieces; one reloads; whoever looks sees people and rules of one mind."""
    folder = write_site(tmp_path / "site")
    people, rules = folder / "people.yaml", folder / "rules.yaml"
    old = people.read_text("utf-8"), rules.read_text("utf-8")
    new = tuple(text.replace("chia", "lin") for text in old)
    site = load(folder / "gateway.yaml")
    done = threading.Event()
    faults: list[BaseException] = []

    def edit() -> None:
        try:
            for n in range(EDITS):
                for path, text in zip((people, rules), (new, old)[n % 2], strict=True):
                    with path.open("w", encoding="utf-8") as file:
                        for at in range(0, len(text), 500):
                            file.write(text[at : at + 500])
                            file.flush()
        except BaseException as fault:  # noqa: BLE001 (told by the test)
            faults.append(fault)
        finally:
            done.set()

    writing = threading.Thread(target=edit)
    writing.start()
    while not done.is_set():
        list(site.reload())
        now = site.now
        known = {"chia", "lin"} & set(now.people.by_key)
        assert len(known) == 1
        assert known == {"chia", "lin"} & {each for team in now.rules.teams.values() for each in team.members}
    writing.join()
    assert faults == []
    assert site.changed() or the_same(site.now, load(folder / "gateway.yaml").now), "what came last is not overlooked"
    assert list(site.reload()) == []
    assert the_same(site.now, load(folder / "gateway.yaml").now)


def test_S03_an_edit_that_comes_while_the_files_are_read_is_not_overlooked(tmp_path, monkeypatch):
    folder = write_site(tmp_path / "site")
    site = load(folder / "gateway.yaml")
    reads = site_module._load_in_force

    def edited_meanwhile(of: Path, domain: str):
        found = reads(of, domain)
        with (folder / "people.yaml").open("a", encoding="utf-8") as file:
            file.write(SOMEBODY)
        return found

    monkeypatch.setattr(site_module, "_load_in_force", edited_meanwhile)
    assert list(site.reload()) == []
    monkeypatch.undo()
    assert "lin" not in site.people.customers
    assert site.changed()
    assert list(site.reload()) == []
    assert "lin" in site.people.customers


def mail(number: int) -> bytes:
    fields = "From: wang@acme.example\r\nTo: s00001@sales.example.com\r\nSubject: s\r\n"
    return f"{fields}Message-ID: <{number}@x>\r\n\r\nhello\r\n".encode()


BAD = {
    "people.yaml": ["", "\0\0\0", "people:\n  a: {name: 1}\n"],
    "rules.yaml": ["\ufeff{", "teams: [\n", "teams:\n  sales: {name: x, members: [nobody]}\n"],
    "gateway.yaml": ["", "site: [", "site: {domain: x}\n"],
}


def test_S03_a_node_takes_mail_through_every_bad_edit_and_the_good_one_after(tmp_path):
    created = '{"event": "quotation.created", "title": "x", "team": "sales", "salesperson": "a", "customer": {"email": "wang@acme.example"}}'
    site = write_site(tmp_path / "site", rules=calm_rules())
    good = {name: (site / name).read_bytes() for name in BAD}
    number = 0
    with Node(site, log="info") as node, Client(node.ports["smtp"]) as client:
        replygate(site, "announce", stdin=created)
        for name, texts in BAD.items():
            for text in texts:
                (site / name).write_text(text, "utf-8")
                told = node.stderr.read_text("utf-8").count("event=reloaded")
                node.process.send_signal(signal.SIGHUP)
                number += 1
                assert client.send("wang@acme.example", ["s00001@sales.example.com"], mail(number))[-1][:3] == "250"
                until_it_says(node, "event=reloaded", told)
                assert node.process.poll() is None
            checked = replygate(site, "check", check=False)
            assert checked.returncode == 1
            assert re.search(rf"{re.escape(name)}:\d+:\d+: \S", checked.stderr)
            (site / name).write_bytes(good[name])
        in_force = site / "var" / "in-force" / "people.yaml"
        (site / "people.yaml").write_bytes(good["people.yaml"] + SOMEBODY.encode())
        node.process.send_signal(signal.SIGHUP)
        until(lambda: "lin@example.com" in in_force.read_text("utf-8"))
        node.quiet()
        assert node.stop() == 0
    log = node.stderr.read_text("utf-8")
    assert log.count("event=decided how=posted") == number
    assert 'how="kept the old"' in log
    assert "level=error" not in log


def until_it_says(node: Node, what: str, more_than: int) -> None:
    until(lambda: node.stderr.read_text("utf-8").count(what) > more_than)


def until(it_is) -> None:
    limit = time.monotonic() + 60
    while not it_is():
        assert time.monotonic() < limit, "it did not happen"
        time.sleep(0.02)  # polls; how long it takes decides nothing


def test_S03_what_a_node_remembers_can_be_read_by_a_command_beside_a_bad_edit(tmp_path):
    folder: Path = write_site(tmp_path / "site")
    site = load(folder / "gateway.yaml")
    site.remember()
    for text in ("", "teams: [", "\0"):
        (folder / "rules.yaml").write_text(text, "utf-8")
        beside = load(folder / "gateway.yaml", last_good=True)
        assert the_same(beside.now, site.now)
        assert [each.file for each in beside.notes] == ["rules.yaml"]


def test_S03_what_is_kept_is_what_was_read_and_no_later_edit(tmp_path):
    site = load(write_site(tmp_path / "site") / "gateway.yaml")
    assert list(site.reload()) == []
    (site.settings.folder / "rules.yaml").write_text("teams: [", "utf-8")
    site.remember()
    before = site.settings.state / "in-force" / "rules.yaml"
    assert not before.exists() or before.read_text("utf-8") != "teams: ["
