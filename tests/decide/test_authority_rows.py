"""Rows A02, A12 and A19 of the catalogue, and the two golden tables: who may do what, and what a tag grants."""
# ruff: noqa: N802 (rows have capital names)

import itertools
from pathlib import Path
from typing import get_args

import pytest
import sqlalchemy as sa

from gateway.alias import ACTIONS, HELD_ACTIONS, OFFERS
from gateway.decide.authorise import Question, Role, Tag, Wish, authorise
from gateway.mail.tag import Keys
from gateway.records.kinds import NOTE
from gateway.store import records, tables
from tests.kit.golden import compare
from tests.kit.house import HOSTS, NOBODY, D

GOLDEN = Path(__file__).parent / "golden"
OLD, NEW = Keys(1, {1: b"k" * 32}), Keys(2, {2: b"n" * 32})
BOTH = Keys(2, {2: b"n" * 32, 1: b"k" * 32})
DMARC = ("example.com", "acme.example", "x.example")
# Each author: their address, and who they are to tags.
AUTHORS = {
    "person": ("d@example.com", "person:d"),
    "customer": ("wang@acme.example", "wang@acme.example"),
    "follower": ("carol@x.example", "carol@x.example"),
    "stranger": ("eve@x.example", "eve@x.example"),
}
SHORT = {
    ("posted", ""): "yes", ("done", "command"): "done", ("done", ""): "done", ("held", "not authenticated"): "-",
    ("held", "not a person"): "p", ("held", "stranger"): "s", ("held", "unknown address"): "u", ("held", "no author"): "?",
}  # fmt: skip
LEGEND = """\
; yes  posted            done carried out
; -    held: nothing proves that the author wrote it
; p    held: it takes one of our own people
; s    held: a stranger
; u    held: not our address any more (RCPT says 550)
; ?    held: no author
"""


def table(title: str, heads, rows) -> str:
    lines = [f"{title:40}" + " ".join(f"{head:9}" for head in heads)]
    lines += [f"{name:40}" + " ".join(f"{cell:9}" for cell in cells) for name, cells in rows]
    return "\n".join(line.rstrip() for line in lines) + "\n"


# ---- the pure table


def test_A02_what_a_mail_may_do_is_the_reviewed_table():
    columns = list(itertools.product((False, True), (True, False), get_args(Tag)))
    heads = [f"{tag}{'' if sure else '?'}{'!' if released else ''}" for released, sure, tag in columns]
    rows = []
    for disowned, role, wish in itertools.product((False, True), get_args(Role), get_args(Wish)):
        decided = [authorise(Question(role, sure, tag, wish, rel, disowned)) for rel, sure, tag in columns]
        cells = ["yes" if each.name == "accept" else SHORT["held", each.cause] for each in decided]
        rows.append((f"{role} {wish}{' disowned' if disowned else ''}", cells))
    about = "; whose tag the address holds; ? nothing proves the author, ! a person released it\n"
    compare(GOLDEN / "authority.txt", LEGEND + about + table("", heads, rows))


def test_A02_what_is_disowned_never_may_more_and_what_is_proved_never_less():
    for role, sure, tag, wish, released in itertools.product(
        get_args(Role), (True, False), get_args(Tag), get_args(Wish), (True, False)
    ):
        plain = authorise(Question(role, sure, tag, wish, released)).name == "accept"
        assert plain or authorise(Question(role, sure, tag, wish, released, disowned=True)).name != "accept"
        assert not plain or authorise(Question(role, True, tag, wish, released)).name == "accept"


# ---- what a tag grants, from the door to the thread

TAGS = ("own", "other's", "none", "forged", "retired", "too old", "revoked")


class Case:
    """One mail to a record of its own, and what became of it."""

    def __init__(self, house, tag: str, who: str, action: str):
        self.house = house
        house.addresses.keys = OLD
        self.ref = house.quotation()
        house.follow(self.ref, "carol@x.example")
        self.to = self._address(tag, who, action)
        house.addresses.keys = {"retired": BOTH, "too old": NEW}.get(tag, OLD)
        if tag == "revoked":
            with house.store.write() as tx:
                records.revoke_tags(tx, self.ref)

    def _address(self, tag: str, who: str, action: str) -> str:
        if tag == "none":
            return str(self.house.addresses.alias(self.ref, action))
        made = self.house.tagged(self.ref, "person:b" if tag == "other's" else who, action)
        if tag == "forged":
            local, _, domain = made.partition("@")
            return f"{local[:-1]}{'b' if local[-1] == 'a' else 'a'}@{domain}"
        return made


def let_disown(house, *, disowned: bool) -> None:
    """Let every domain ask that what fails be rejected, or none."""
    for domain in DMARC:
        house.zone.records.pop(f"_dmarc.{domain}", None)
        if disowned:
            house.zone.add(f"_dmarc.{domain}", "TXT", "v=DMARC1; p=reject")


def remove_d(house) -> None:
    """Take D君 out of people.yaml, as an administrator does who leaves."""
    people = house.folder / "people.yaml"
    rules = house.folder / "rules.yaml"
    people.write_text(people.read_text().replace("  d:\n    name: D君\n    email: d@example.com\n", ""))
    rules.write_text(rules.read_text().replace("c, d, chia]", "c, chia]"))
    assert list(house.site.reload()) == []
    assert "d" not in house.site.people.by_key


def outcome(house, author: str, to: str, *, sure: bool, **more) -> str:
    return SHORT[house.write(author, to, "hello", sure=sure, **more)]


def rows_of(house, action: str, authors: dict[str, tuple[str, str]]):
    for name, (author, who) in authors.items():
        for proof in ("proved", "unproved", "disowned"):
            let_disown(house, disowned=proof == "disowned")
            cells = []
            for tag in TAGS:
                case = Case(house, tag, who, action)
                cells.append(outcome(house, author, case.to, sure=proof == "proved"))
            yield f"{name}, {proof}", cells


def test_A02_what_a_tag_grants_is_the_reviewed_table(made):
    actions = {"a discussion": "", "a note": "note", "follow": "follow", "unfollow": "unfollow"}
    removed = {"removed person": AUTHORS["person"]}
    blocks = {title: list(rows_of(made, action, AUTHORS)) for title, action in actions.items()}
    remove_d(made)
    for title, action in actions.items():
        blocks[title] += rows_of(made, action, removed)
    let_disown(made, disowned=False)
    answers = []
    for action in ("", "note", "follow", "unfollow"):
        cases = []
        for tag in TAGS:
            case = Case(made, tag, "person:b", action)
            cases.append(made.rcpt(case.to)[0][:9])
        answers.append((f"RCPT {action or 'the reply address'}", cases))
    text = (
        LEGEND + table("", TAGS, answers) + "".join("\n" + table(title, TAGS, rows) for title, rows in blocks.items())
    )
    compare(GOLDEN / "tags.txt", text)


def test_A02_a_tag_on_an_address_of_another_record_is_nobodys(made):
    mine, other = made.quotation(), made.quotation()
    made.addresses.keys = OLD
    tag = made.tagged(mine, "wang@acme.example").partition("+")[2].partition("@")[0]
    assert made.rcpt(f"{other.lower()}+{tag}@{D}") == made.rcpt(f"nobody@{D}")
    assert made.rcpt(f"{mine.lower()}+{tag}@{D}")[0].startswith("250")


# ---- A02: the matrix


def test_A02_the_matrix_of_spoofed_answers_is_the_reviewed_one(made):
    """Nothing a header says raises anybody's authority: not In-Reply-To, not References, not our own X- fields."""
    columns = list(itertools.product(("own", "forged", "none"), (False, True)))
    axes = [("person", "customer", "stranger"), (True, False), (False, True), (False, True)]
    combinations = sorted(itertools.product(*axes), key=lambda each: each[2])  # who is removed does not come back
    let_disown(made, disowned=True)
    before = made.quotation()
    rows: dict[str, list[str]] = {}
    for name, dmarc, revoked, old in combinations:
        if revoked and "d" in made.site.people.by_key:
            remove_d(made)
        cells = []
        for tag, claims in columns:
            case = Case(made, "too old" if old and tag == "own" else tag, AUTHORS[name][1], "")
            made.write("a@example.com", f"{case.ref.lower()}@{D}", "the staff says")
            known = next(row.message_id for row in reversed(made.messages()) if row.text == "the staff says")
            head = "\n".join([
                f"In-Reply-To: <{known}>", f"References: <{known}>", f"X-Replygate-Record: {before}",
                "X-Replygate-Reason: salesperson", "Authentication-Results: mx; dmarc=pass header.from=example.com",
            ]) if claims else ""  # fmt: skip
            cells.append(outcome(made, AUTHORS[name][0], case.to, sure=dmarc, head=head))
            posted = [row for row in made.messages() if row.text == "hello"][-1:]
            if cells[-1] == "yes" and not (name == "person" and not revoked):
                assert posted[0].author_who == ""
        said = ", ".join(
            filter(None, [name, "DMARC" if dmarc else "no DMARC", revoked and "removed", old and "old key"])
        )
        rows[said] = cells
        assert cells[::2] == cells[1::2], f"{said}: a header made a difference"
    heads = [f"{tag}{'+claims' if claims else ''}" for tag, claims in columns]
    compare(GOLDEN / "spoofed.txt", LEGEND + table("", heads, rows.items()))
    assert [row.text for row in made.messages() if row.record_id == _id(made, before)] == [""]


def _id(house, ref: str) -> int:
    with house.store.read() as tx:
        return int(tx.execute(sa.select(tables.record.c.id).where(tables.record.c.ref == ref)).scalar_one())


# ---- A12: what changed between the mail and its being decided


def test_A12_a_person_removed_after_the_mail_arrived_is_nobody_when_it_is_decided(made, monkeypatch):
    monkeypatch.setattr(made, "run", lambda: None)
    with pytest.raises(KeyError):
        outcome(made, "d@example.com", f"s00001-note@{D}", sure=True)  # arrived, not decided yet
    monkeypatch.undo()
    remove_d(made)
    made.run()
    assert made.states()[-1] == ("held", "not a person")
    assert made.texts() == []


def test_A12_a_removed_person_cannot_use_an_old_reply_address_nor_command(made):
    address = made.tagged("S00001", "person:d")
    assert made.write("d@example.com", address, "first") == ("posted", "")
    remove_d(made)
    assert made.write("d@example.com", address, "second") == ("held", "stranger")
    assert made.write("d@example.com", f"s00001-follow@{D}", "") == ("held", "not a person")
    assert made.texts() == ["first"]
    assert "d" not in made.choices()


def test_A12_a_right_taken_away_counts_at_once_for_held_mail(made):
    made.write("eve@x.example", f"s00001@{D}", "hello")
    (kept,) = made.held()
    made.edit("people", "rights: [sales, sales-admin, settings]", "rights: [sales]")
    release = str(made.addresses.held("release", kept.id))
    assert made.write("cheng@example.com", release, "") == ("refused", "no right")
    assert [each.id for each in made.held()] == [kept.id]


def test_A12_who_is_salesperson_no_more_decides_no_more(made):
    made.write("eve@x.example", f"s00001@{D}", "hello")
    (kept,) = made.held()
    made.announce("changed", ref="S00001", salesperson="b")
    release = str(made.addresses.held("release", kept.id))
    assert made.write("a@example.com", release, "") == ("refused", "no right")
    assert made.write("b@example.com", release, "") == ("done", "command")


def test_A12_a_customer_who_is_no_more_the_records_is_a_stranger_with_their_old_tag(made):
    address = made.tagged("S00001", "wang@acme.example")
    assert made.write("wang@acme.example", address, "first") == ("posted", "")
    made.announce("changed", ref="S00001", customer={"name": "Other", "email": "li@other.example"})
    assert made.write("wang@acme.example", address, "second") == ("held", "stranger")


# ---- A19: mail may nothing that nobody gave it


@pytest.mark.parametrize(
    "action", sorted({"revoke", "erase", "export", "admin", "release", "migrate", "serve", "reload"})
)
def test_A19_an_address_commands_only_what_stands_in_the_list(made, action):
    assert action not in ACTIONS
    (answer,) = made.rcpt(f"s00001-{action}@{D}")
    assert answer.startswith("550 5.1.1")


@pytest.mark.parametrize("role", AUTHORS)
@pytest.mark.parametrize("sure", [True, False])
@pytest.mark.parametrize("action", sorted(ACTIONS - set(OFFERS)))
def test_A19_what_the_command_line_may_a_mail_may_by_authorise_alone(made, action, role, sure):
    """`follow`, `unfollow` and notes of the command line, by mail: what happens is what the table says."""
    let_disown(made, disowned=False)
    made.follow("S00001", "carol@x.example")
    before = made.dump()
    author, _ = AUTHORS[role]
    wish = {"note": "note", "unfollow": "unfollow"}.get(action, "command")
    decided = authorise(Question(role, sure, "none", wish))
    became = made.write(author, f"s00001-{action}@{D}", "hello", sure=sure)
    if decided.name == "accept":
        assert became in {("posted", ""), ("done", "command"), ("done", "mistake")}
        return
    assert became == ("held", decided.cause)
    after = made.dump()
    assert [name for name in ("choice", "message", "audit", "record") if before[name] != after[name]] == []


@pytest.mark.parametrize("role", [*AUTHORS, "salesperson", "settings"])
@pytest.mark.parametrize("sure", [True, False])
@pytest.mark.parametrize("action", HELD_ACTIONS)
def test_A19_held_mail_is_decided_by_those_the_rule_names_alone(made, action, role, sure):
    made.follow("S00001", "carol@x.example")
    made.write("eve@x.example", f"s00001@{D}", "let me in")
    (kept,) = made.held()
    author = {"salesperson": "a@example.com", "settings": "cheng@example.com"}.get(role) or AUTHORS[role][0]
    became = made.write(author, str(made.addresses.held(action, kept.id)), "", sure=sure)
    still = [each.id for each in made.held() if each.author == "eve@x.example" and each.to == f"s00001@{D}"]
    if role in ("salesperson", "settings") and sure:
        assert became == ("done", "command")
        assert still == []
    else:
        assert became == (("refused", "no right") if role == "person" and sure else ("held", "not authenticated"))
        assert still == [kept.id]
        assert made.audited() == []


@pytest.mark.parametrize(
    "command", ["/release 1", "/drop 1", "/block x@x.example", "/erase a", "/export", "/revoke", "/migrate"]
)
def test_A19_a_word_of_the_command_line_is_no_command_in_a_mail(made, command):
    before = made.dump()
    assert made.write("cheng@example.com", f"s00001@{D}", command) == ("done", "mistake")
    after = made.dump()
    assert [name for name in ("choice", "message", "audit", "record", "blocked") if before[name] != after[name]] == []


def test_A19_an_intake_makes_the_kind_its_rule_says_whatever_the_mail_says(made):
    head = "X-Replygate-Kind: lead\nX-Replygate-Record: S00001\nReferences: <lead@x>"
    text = "Kind: lead\nTeam: other\nState: confirmed\nSalesperson: cheng\n\nhello"
    assert made.write("d@example.com", f"quotations@{D}", text, head=head) == ("posted", "")
    with made.store.read() as tx:
        row = tx.execute(sa.select(tables.record).order_by(tables.record.c.id.desc()).limit(1)).one()
    assert (row.kind, row.state, row.team, row.salesperson) == ("quotation", "draft", "sales", "d")


def test_A19_a_stage_that_only_an_event_may_reach_is_not_set_by_a_line_of_a_mail(made):
    assert made.write("d@example.com", f"leads@{D}", "Stage: won\n\nhello") == ("posted", "")
    with made.store.read() as tx:
        row = tx.execute(sa.select(tables.record).order_by(tables.record.c.id.desc()).limit(1)).one()
    assert (row.state, row.fields["stage"]) == ("open", "new")


def test_A19_everybody_stands_in_the_hosts_of_this_test():
    assert {author.rpartition("@")[2] for author, _ in AUTHORS.values()} <= set(HOSTS)
    assert NOBODY not in HOSTS.values()
    assert NOTE.name in ACTIONS
