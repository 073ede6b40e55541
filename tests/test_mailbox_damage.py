"""Mails that a real Dovecot cannot read, and hangs up at: they stand in the way of nothing else."""

import os

import pytest
import yaml

from tests.kit.dovecot import Dovecot
from tests.kit.dovecot import need as need_dovecot
from tests.test_mailboxes import D, Office, mail, until

USERS = {name: f"pw-{name}" for name in ("gateway", "archive", "chia")}
MARK = "TO BE DAMAGED"
FILES = ("people", "rules")


@pytest.fixture
def office(tmp_path):
    need_dovecot()
    with Dovecot(tmp_path / "dovecot", USERS, catch_all=(D, "gateway")) as server:
        yield Office(tmp_path / "office", server, extra=", failed: Failed, done: Processed")


def damage(office, how):
    """Damage the file of every mail that says so, as a bad disk or a crash does."""
    found = 0
    for path in office.server.home.rglob("u.*"):
        octets = path.read_bytes()
        if MARK.encode() in octets:
            found += 1
            if how == "cut":
                os.truncate(path, octets.index(MARK.encode()) + 200)
            else:
                os.chown(path, 0, 0)
                path.chmod(0)
    assert found


def put(office, user, folder, *words, flags=()):
    with office.client(user) as client:
        if not client.folder_exists(folder):
            client.create_folder(folder)
        for each in words:
            said = mail(
                "chia@example.com", f"nobody@{D}", each + "z" * 3000, number=each.replace(" ", ""), subject=each
            )
            client.append(folder, said, flags)


def fetching(office):
    return next(each for each in office.node.json("status")["mailboxes"] if each["purpose"] == "fetch")


def test_a_mail_that_cannot_even_be_listed_stops_no_other(office):
    put(office, "gateway", "INBOX", "one", "two", MARK, "three", f"{MARK} too", "four")
    damage(office, "cut")
    with office.node:
        until(lambda: len(office.node.json("held", "list")) == 4, "the good ones")
        until(lambda: not fetching(office)["waiting"], "nothing that waits")
        put(office, "gateway", "INBOX", "five")
        until(lambda: len(office.node.json("held", "list")) == 5, "the next one")
        subjects = {each["subject"] for each in office.node.json("held", "list")}
        assert subjects == {"one", "two", "three", "four", "five"}
        until(lambda: len(office.mails("gateway", "Processed")) == 5, "all that was taken in")


def test_what_was_never_taken_in_is_not_moved_to_what_was(office):
    file = office.node.site / "gateway.yaml"
    file.write_text(file.read_text("utf-8").replace("failed: Failed", "failed: ''"), "utf-8")
    put(office, "gateway", "INBOX", "one", MARK, "two")
    damage(office, "cut")
    with office.node:
        until(lambda: len(office.node.json("held", "list")) == 2, "the good ones")
    put(office, "gateway", "INBOX", "three")
    with office.node:  # which looks, when it connects, for what was kept and not moved
        until(lambda: len(office.node.json("held", "list")) == 3, "the next one")
        until(lambda: len(office.mails("gateway", "Processed")) == 3, "all that was taken in")
    with office.client("gateway") as client:
        client.select_folder("INBOX", readonly=True)
        assert len(client.search()) == 1


def test_a_damaged_mail_in_an_inbox_does_not_keep_anything_from_being_filed(office):
    put(office, "chia", "Replygate/Inbox", MARK, flags=(b"\\Seen",))
    damage(office, "unreadable")
    with office.node:
        ref = office.quotation()
        until(lambda: office.mails("chia", f"Replygate/Quotations/{ref}"), "the quotation in her folder")


def test_a_damaged_mail_in_a_folder_stops_neither_other_drops_nor_cards(office):
    with office.node:
        ref, lead = office.quotation(), office.lead()
        folder = f"Replygate/Quotations/{ref}"
        until(lambda: office.mails("chia", folder), "her folder")
        until(lambda: office.mails("archive", f"Quotations/{ref}"), "the archive's")
        until(lambda: office.mails("chia", "Replygate/Stages/new"), "her card")
    put(office, "chia", folder, "one", MARK, "two")
    put(office, "archive", f"Quotations/{ref}", "three", f"{MARK} too", "four")
    damage(office, "cut")
    with office.client("chia") as client:
        client.select_folder("Replygate/Stages/new")
        client.move(client.search(), "Replygate/Stages/qualified")
    with office.node:
        until(lambda: office.record(lead)["fields"].get("stage") == "qualified", "the stage")
        until(lambda: [each[0] for each in office.thread(ref)].count("note") == 2, "both notes")
        until(lambda: len(office.node.json("held", "list")) == 2, "what lies in the archive")
        assert {each["subject"] for each in office.node.json("held", "list")} == {"three", "four"}


def test_what_is_dropped_into_the_archive_twice_is_held_once(office):
    with office.node:
        ref = office.quotation()
        until(lambda: office.mails("archive", f"Quotations/{ref}"), "the archive's folder")
        put(office, "archive", f"Quotations/{ref}", "one", "one")
        put(office, "archive", f"Quotations/{ref}", "last")
        until(lambda: "last" in {each["subject"] for each in office.node.json("held", "list")}, "the last one")
        assert sorted(each["subject"] for each in office.node.json("held", "list")) == ["last", "one"]


def test_a_mail_that_is_dropped_is_a_note_with_all_it_passes_on(office):
    with office.node:
        ref = office.quotation()
        folder = f"Replygate/Quotations/{ref}"
        until(lambda: office.mails("chia", folder), "her folder")
        text = "FYI\r\n\r\n---------- Forwarded message ---------\r\nFrom: Li <li@x.example>\r\nSubject: price\r\n\r\nSix thousand.\r\n"
        with office.client("chia") as client:
            client.append(folder, mail("chia@example.com", f"nobody@{D}", text, number="fwd"))
        until(lambda: len(office.thread(ref)) == 2, "the note")
        subtype, _, said = office.thread(ref)[1]
        assert subtype == "note"
        assert "FYI" in said
        assert "Six thousand." in said


def test_who_left_acts_by_no_folder_any_more(office):
    with office.node:
        ref = office.quotation()
        folder = f"Replygate/Quotations/{ref}"
        until(lambda: office.mails("chia", folder), "her folder")
        people, rules = (yaml.safe_load((office.node.site / f"{name}.yaml").read_text("utf-8")) for name in FILES)
        del people["people"]["chia"]
        for team in rules["teams"].values():
            team["members"] = [each for each in team["members"] if each != "chia"]
        rules["follow"] = [each for each in rules["follow"] if each["who"] != "chia"]
        for name, read in zip(FILES, (people, rules), strict=True):
            (office.node.site / f"{name}.yaml").write_text(yaml.safe_dump(read, allow_unicode=True), "utf-8")
        in_force = office.node.site / "var" / "in-force" / "people.yaml"
        until(lambda: "chia@" not in in_force.read_text("utf-8"), "the new people in force")
        put(office, "chia", folder, "from who left")
        put(office, "archive", f"Quotations/{ref}", "later")
        until(lambda: len(office.node.json("held", "list")) == 1, "a look into folders, later")
        assert [each[0] for each in office.thread(ref)] == ["quotation.created"]


def test_a_card_that_somebody_deleted_stands_again(office):
    with office.node:
        office.lead()
        until(lambda: office.mails("chia", "Replygate/Stages/new"), "her card")
        with office.client("chia") as client:
            client.select_folder("Replygate/Stages/new")
            client.delete_messages(client.search())
            client.expunge()
        until(lambda: office.mails("chia", "Replygate/Stages/new"), "her card again")
        assert len(office.mails("chia", "Replygate/Stages/new")) == 1
