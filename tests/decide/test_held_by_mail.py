"""Held mail and who decides about it by mail: the addresses that stand in a notice, and the audit log of what was decided."""

import re

import pytest
import sqlalchemy as sa

from gateway.store import audit, tables
from tests.kit.house import D, decisive
from tests.store.kit import in_threads


def hold_one(house, author="eve@x.example", text="let me in", sure=True):
    """Let a stranger's mail be held; return its id and the addresses that decide about it."""
    house.write(author, f"s00001@{D}", text, sure=sure)
    kept = next(each for each in house.held() if each.author == author)
    return kept.id, {action: str(house.addresses.held(action, kept.id)) for action in ("release", "drop", "block")}


def test_a_notice_holds_the_addresses_that_decide_and_they_do_what_they_say(made):
    made.write("eve@x.example", f"s00001@{D}", "let me in")
    (notice,) = [each for each in made.sent() if each["X-Replygate-Subtype"] == "held"]
    assert notice.to == "a@example.com"
    ((release,), (drop,), (block,)) = (decisive([notice], action) for action in ("release", "drop", "block"))
    for action, address in (("release", release), ("drop", drop), ("block", block)):
        assert re.search(
            rf'href="mailto:{re.escape(address).replace(chr(92) + "+", "(?:[+]|%2B)")}\?subject={action}', notice.text
        ), action
    assert made.write("a@example.com", release, "") == ("done", "command")
    assert made.states()[0] == ("posted", "")
    assert made.texts() == ["let me in"]
    assert ("a", "held release", "1") in made.audited()
    assert made.write("a@example.com", drop, "") == ("done", "gone")
    assert made.texts() == ["let me in"]


@pytest.mark.parametrize("action", ["drop", "block"])
def test_drop_and_block_keep_the_octets_and_tell_nobody_outside(made, action):
    held_id, addresses = hold_one(made)
    assert made.write("cheng@example.com", addresses[action], "any words") == ("done", "command")
    assert made.states()[0] == ("discarded", "dropped")
    assert made.write("eve@x.example", f"s00001@{D}", "again") == (
        ("held", "stranger") if action == "drop" else ("refused", "blocked")
    )
    assert not [each for each in made.sent() if each.to == "eve@x.example"]
    assert ("cheng", f"held {action}", str(held_id)) in made.audited()
    (answer,) = [each for each in made.sent() if each["X-Replygate-Subtype"] == "decision"]
    assert answer.to == "cheng@example.com"


@pytest.mark.parametrize(
    ("author", "sure", "became"),
    [
        ("a@example.com", True, ("done", "command")),  # the salesperson
        ("cheng@example.com", True, ("done", "command")),  # with the right settings
        ("chia@example.com", True, ("refused", "no right")),
        ("a@example.com", False, ("held", "not authenticated")),
        ("cheng@example.com", False, ("held", "not authenticated")),
        ("wang@acme.example", True, ("held", "not authenticated")),
        ("eve@x.example", True, ("held", "not authenticated")),  # whose own mail it is
    ],
)
@pytest.mark.parametrize("action", ["release", "drop", "block"])
def test_who_may_decide_by_mail(both_made, action, author, sure, became):
    held_id, addresses = hold_one(both_made)
    assert both_made.write(author, addresses[action], "", sure=sure) == became
    still = held_id in [each.id for each in both_made.held()]
    assert still == (became != ("done", "command"))
    assert bool(both_made.audited()) == (not still)


def test_who_has_no_right_is_told_and_who_proved_nothing_is_not(made):
    _, addresses = hold_one(made)
    made.write("chia@example.com", addresses["release"], "")
    made.write("eve@x.example", addresses["release"], "")
    made.write("chia@example.com", addresses["release"], "", sure=False)
    sent = made.sent()
    assert [each.to for each in sent if each["X-Replygate-Subtype"] == "decision"] == ["chia@example.com"]
    assert not [each for each in sent if each.to == "eve@x.example"]


def test_a_machine_decides_nothing(made):
    held_id, addresses = hold_one(made)
    became = made.write("a@example.com", addresses["release"], "I am away", head="Auto-Submitted: auto-replied")
    assert became == ("done", "automatic")
    assert [each.id for each in made.held()] == [held_id]


def test_a_decision_sent_again_decides_nothing_more(made):
    _, addresses = hold_one(made)
    mail = f"From: a@example.com\r\nTo: {addresses['drop']}\r\nMessage-ID: <d@x>\r\n\r\n\r\n".encode()
    sent = {"peer": "192.0.2.1", "return_path": "a@example.com"}
    assert made.take(mail, addresses["drop"], **sent) == ("done", "command")
    assert made.take(mail, addresses["drop"], **sent) == ("done", "gone")
    assert [what for _, what, _ in made.audited()] == ["held drop"]


def test_a_forged_address_is_nobodys_and_one_action_is_not_another(made):
    held_id, addresses = hold_one(made)
    local, _, domain = addresses["release"].partition("@")
    tag = local.partition(".")[2]
    forged = [
        f"{local[:-1]}{'b' if local[-1] == 'a' else 'a'}@{domain}",
        f"held-drop+{held_id}.{tag}@{D}",
        f"held-block+{held_id}.{tag}@{D}",
        f"held-release+{held_id + 1}.{tag}@{D}",
        f"held-release+0{held_id}.{tag}@{D}",
        f"held-release+{held_id}@{D}",
        f"held-release@{D}",
        f"bounce+{held_id}.{tag}@{D}",
        f"s00001+{tag}@{D}",
    ]
    assert set(made.rcpt(*forged)) == set(made.rcpt(f"nobody@{D}"))
    assert made.rcpt(addresses["release"].upper())[0].startswith("250")


def test_the_careful_author_decides_about_a_text_that_quotes_a_note_and_nobody_else_without_a_right(made):
    made.follow("S00001", "customer")
    note = "The margin on this one is eleven percent, so do not go below that with them."
    made.write("b@example.com", f"s00001-note@{D}", note)
    became = made.write("c@example.com", f"s00001@{D}", f"Please see:\n\n{note}\n\nthanks")
    assert became == ("held", "quotes a note")
    (kept,) = made.held()
    notices = [each for each in made.sent() if each["X-Replygate-Subtype"] == "held"]
    assert [each.to for each in notices] == ["c@example.com"]
    (release,) = decisive(notices, "release")
    assert made.write("d@example.com", release, "") == ("refused", "no right")
    assert made.write("c@example.com", release, "", sure=False) == ("held", "not authenticated")
    assert not [each for each in made.sent() if each.to == "wang@acme.example" and "eleven percent" in each.text]
    assert made.write("c@example.com", release, "") == ("done", "command")
    assert made.states()[1] == ("posted", "")
    assert ("c", "held release", str(kept.id)) in made.audited()


def test_what_a_forger_wrote_in_a_persons_name_and_was_blocked_does_not_silence_the_person(made):
    _, addresses = hold_one(made, "b@example.com", "wire the money", sure=False)
    assert made.write("cheng@example.com", addresses["block"], "") == ("done", "command")
    assert made.write("b@example.com", f"s00001@{D}", "it is me") == ("posted", "")
    assert made.write("b@example.com", f"s00001@{D}", "forged again", sure=False) == ("held", "not authenticated")


def test_two_who_decide_at_once_are_one_decision(both_made):
    from gateway.decide import held as decide_held
    from gateway.store import held

    held_id, _ = hold_one(both_made)
    found = next(each for each in both_made.held() if each.id == held_id)

    def release(n):
        with both_made.store.write() as tx:
            return decide_held.decide(tx, "release", found, f"person{n}", 1)

    assert sorted(in_threads(4, release)) == [False, False, False, True]
    assert [what for _, what, _ in both_made.audited()] == ["held release"]
    assert held.KEPT


# ---- the audit log


def entries(house, count=5):
    with house.store.write() as tx:
        for n in range(count):
            audit.append(tx, "a", "tried", f"thing {n}", n, more="é")
    with house.store.read() as tx:
        return audit.verify(tx)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit SET who = 'x'",
        "DELETE FROM audit",
        "UPDATE audit SET who = 'x' WHERE id = 3",
        "DELETE FROM audit WHERE id = 5",
    ],
)
def test_the_database_refuses_to_change_or_take_out_an_entry(both_made, statement):
    entries(both_made)
    with pytest.raises(sa.exc.DBAPIError, match="append-only"), both_made.store.write() as tx:
        tx.execute(sa.text(statement))
    with both_made.store.read() as tx:
        assert audit.verify(tx).broken is None
        assert audit.verify(tx).entries == 5


def behind_its_back(house, *statements):
    """Change the table as somebody does who may do everything in the database."""
    with house.store.write() as tx:
        if tx.dialect.name == "postgresql":
            statements = ("ALTER TABLE audit DISABLE TRIGGER ALL", *statements, "ALTER TABLE audit ENABLE TRIGGER ALL")
        else:
            statements = ("DROP TRIGGER audit_no_update", "DROP TRIGGER audit_no_delete", *statements)
        for each in statements:
            tx.execute(sa.text(each))


@pytest.mark.parametrize(
    ("statement", "broken"),
    [
        ("UPDATE audit SET who = 'x' WHERE id = 3", 3),
        ("UPDATE audit SET what = 'x' WHERE id = 1", 1),
        ("UPDATE audit SET about = 'x' WHERE id = 5", 5),
        ("UPDATE audit SET data = '{}' WHERE id = 2", 2),
        ("UPDATE audit SET at = 99 WHERE id = 4", 4),
        ("DELETE FROM audit WHERE id = 3", 4),
        ("DELETE FROM audit WHERE id = 1", 2),
        ("UPDATE audit SET previous = hash WHERE id = 3", 3),
        ("UPDATE audit SET id = 70 WHERE id = 2", 3),
    ],
)  # fmt: skip
def test_an_entry_changed_taken_out_or_put_in_is_found(both_made, statement, broken):
    assert entries(both_made).broken is None
    behind_its_back(both_made, statement)
    with both_made.store.read() as tx:
        assert audit.verify(tx).broken == broken


@pytest.mark.parametrize("at", [-1, 0, 6, 90])
def test_an_entry_put_in_before_or_behind_the_others_is_found(both_made, at):
    noted = entries(both_made).head
    with both_made.store.write() as tx:
        row = {
            "id": at,
            "at": 1,
            "who": "x",
            "what": "x",
            "about": "x",
            "data": "{}",
            "previous": noted,
            "hash": b"1" * 32,
        }
        tx.execute(sa.insert(tables.audit).values(row))
    with both_made.store.read() as tx:
        assert audit.verify(tx).broken == at


def test_what_is_cut_off_at_the_end_is_found_by_a_hash_noted_before(both_made):
    noted = entries(both_made).head
    behind_its_back(both_made, "DELETE FROM audit WHERE id = 5")
    with both_made.store.read() as tx:
        assert audit.verify(tx).broken is None
        assert audit.verify(tx, noted).broken == 0


def test_entries_written_at_once_are_one_chain(both_made):
    def write(n):
        for each in range(5):
            with both_made.store.write() as tx:
                audit.append(tx, f"p{n}", "tried", str(each), each)

    in_threads(6, write)
    with both_made.store.read() as tx:
        assert audit.verify(tx).broken is None
        assert audit.verify(tx).entries == 30


def test_what_was_decided_and_commanded_stands_in_the_log(made):
    made.write("b@example.com", f"s00001@{D}", "/follow quotation.*\n/unfollow note")
    made.write("b@example.com", f"s00001-unfollow@{D}", "")
    _, addresses = hold_one(made)
    made.write("a@example.com", addresses["drop"], "")
    assert [(who, what) for who, what, _ in made.audited()] == [
        ("b", "follow"),
        ("b", "unfollow"),
        ("b", "unfollow"),
        ("a", "held drop"),
    ]
    with made.store.read() as tx:
        said = [each.data for each in audit.listed(tx)]
        assert all(each["how"] == "SPF example.com" for each in said[:3])
        assert tx.execute(sa.select(sa.func.count()).select_from(tables.audit)).scalar() == 4
