"""What an administrator does is kept whole, and written down, or not done; what strangers wrote orders no terminal."""

import pytest

from gateway.keyring import read_keys
from gateway.site import load
from tests.cli.test_cli import CREATED, announce, run, site, store  # noqa: F401 (fixtures)

ACCOUNT = "\nfiling:\n  accounts:\n    - {person: chia, host: imap.example.com, user: chia, password_file: x}\n"


def test_a_note_by_command_stands_in_the_thread(run):  # noqa: F811
    announce(run, CREATED)
    assert run("do", "S00001", "note", "底價八萬", "--as", "a").status == 0
    (note,) = [each for each in run("record", "show", "S00001", "--json").json["thread"] if each["subtype"] == "note"]
    assert note["text"] == "底價八萬"
    assert run("audit", "list", "--json").status == 0


def test_a_note_by_command_has_all_its_lines_and_no_other_command_has_a_text(run):  # noqa: F811
    announce(run, CREATED)
    assert run("do", "S00001", "/note first\nsecond\n\nthird", "--as", "a").status == 0
    (note,) = [each for each in run("record", "show", "S00001", "--json").json["thread"] if each["subtype"] == "note"]
    assert note["text"] == "first\nsecond\n\nthird"
    assert run("do", "S00001", "/set amount 5\nmore", "--as", "a").status == 2
    assert run("do", "S00001", "/note", "--as", "a").status == 4
    refused = run("do", "S00001", "confirm", "please", "--as", "a")
    assert (refused.status, "did you mean: /confirm" in refused.err) == (4, True)


def test_a_key_is_not_changed_where_nothing_can_be_written_down(site, run):  # noqa: F811
    assert run("tag", "list").status == 0
    before = read_keys(site / "var")
    text = (site / "gateway.yaml").read_text("utf-8")
    (site / "gateway.yaml").write_text(
        text.replace("sqlite:///var/gateway.db", "sqlite:////proc/nowhere/x.db"), "utf-8"
    )
    assert run("tag", "rotate").status == 3
    assert read_keys(site / "var") == before


def test_who_has_an_account_cannot_leave_without_it(site):  # noqa: F811
    gateway = site / "gateway.yaml"
    gateway.write_text(gateway.read_text("utf-8") + ACCOUNT, "utf-8")
    now = load(gateway)
    people = site / "people.yaml"
    text = people.read_text("utf-8")
    people.write_text(
        text.replace("  chia:\n    name: 賈小姐              # sales assistant\n    email: chia@example.com\n", ""),
        "utf-8",
    )
    problems = [str(each) for each in now.reload()]
    assert any("unknown person 'chia'" in each for each in problems), problems
    assert "chia" in now.people.by_key


@pytest.mark.parametrize("number", ["99999999999999999999999", "-1"])
def test_a_number_that_is_none_is_refused(run, number):  # noqa: F811
    assert run("held", "release", "--", number).status == 2


def test_nobody_of_ours_is_blocked(run):  # noqa: F811
    assert run("block", "add", "chia@example.com").status == 4
    assert run("block", "add", "x@spam.example").status == 0


def test_what_a_stranger_wrote_orders_no_terminal(run):  # noqa: F811
    announce(run, {**CREATED, "body": "see \x1b]0;OWNED\x07\x1b[2J\u202ehere"})
    shown = run("record", "show", "S00001").out
    assert not set("\x1b\x07\u202e") & set(shown)
