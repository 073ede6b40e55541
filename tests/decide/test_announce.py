"""Events of the record system: taken whole or refused whole, once, and answered at once."""

import shutil

import pytest
import sqlalchemy as sa

from gateway.alias import Addresses
from gateway.decide.announce import Refused, parse_event, take
from gateway.decide.post import Desk
from gateway.mail.tag import Keys
from gateway.records.record import Line
from gateway.site import load
from gateway.store import content, followers, messages, records
from gateway.store.session import Conflict
from gateway.store.tables import metadata
from tests.kit.node import ROOT
from tests.store.kit import NOW, in_threads

REPAIR = """kinds:
  repair:
    prefix: R
    name: {zh-TW: 維修單, en: Repair}
    states: [new, repairing, done]
    subtypes:
      started: {name: {zh-TW: 開始維修, en: Repair started}, from: new, to: repairing}
      finished: {name: {zh-TW: 維修完成, en: Repair done}, to: done, internal: false}
"""
# Every transition of the built-in kinds: what comes before it, and the state it leads to.
TRANSITIONS = {
    "quotation.created": ((), "draft"),
    "quotation.sent": (("quotation.created",), "sent"),
    "quotation.confirmed": (("quotation.created", "quotation.sent"), "confirmed"),
    "quotation.cancelled": (("quotation.created", "quotation.confirmed"), "cancelled"),
    "lead.created": ((), "open"),
    "lead.stage": (("lead.created",), "open"),
    "lead.won": (("lead.created",), "won"),
    "lead.lost": (("lead.created",), "lost"),
    "lead.restored": (("lead.created", "lead.lost"), "open"),
    "invoice.created": ((), "draft"),
    "invoice.validated": (("invoice.created",), "posted"),
    "invoice.paid": (("invoice.created", "invoice.validated"), "paid"),
}
STAGE = {"lead.stage": {"stage": "qualified"}}


class House:
    """A site with its store, to which events are announced."""

    def __init__(self, store, folder):
        for name in ("gateway", "people", "rules"):
            shutil.copy(ROOT / "templates" / "site" / f"{name}.yaml", folder / f"{name}.yaml")
        rules = (folder / "rules.yaml").read_text("utf-8")
        rules = rules.replace("kinds: {}\n", REPAIR).replace(
            "teams:\n", "teams:\n  service: {name: 服務, members: [d]}\n"
        )
        (folder / "rules.yaml").write_text(rules, "utf-8")
        self.store, self.folder = store, folder
        self.desk = Desk(load(folder / "gateway.yaml"), Addresses("sales.example.com", Keys(0, {0: b"k" * 32})))

    def say(self, event, **values):
        """Announce an event; return the answer, or the problems as (field, value, problem)."""
        parsed = parse_event({"event": event, **values})
        if isinstance(parsed, Refused):
            return [(p.field, p.value, p.problem) for p in parsed.problems]
        answer = take(self.store, self.desk, parsed, self.folder, NOW)
        return [(p.field, p.value, p.problem) for p in answer.problems] if isinstance(answer, Refused) else answer

    def made(self, event="quotation.created", **values):
        """Announce an event that must be taken; return the record's reference."""
        answer = self.say(event, **values)
        assert isinstance(answer, dict), answer
        return answer["record"]

    def refused(self, event, **values):
        """Announce an event that must be refused, leaving nothing behind; return (field, value) of each problem."""
        before = self.everything()
        answer = self.say(event, **values)
        assert isinstance(answer, list), answer
        assert all(problem for _, _, problem in answer)
        assert self.everything() == before
        return [(field, value) for field, value, _ in answer]

    def record(self, ref):
        with self.store.read() as tx:
            found = records.find(tx, ref)
        assert found is not None
        return found

    def thread(self, ref):
        with self.store.read() as tx:
            return messages.thread(tx, self.record(ref).id)

    def everything(self):
        with self.store.read() as tx:
            return {t.name: tx.execute(sa.select(t)).all() for t in metadata.sorted_tables}


@pytest.fixture
def house(store, tmp_path):
    return House(store, tmp_path)


@pytest.mark.parametrize("event", TRANSITIONS)
def test_every_transition_makes_one_message_and_the_state_it_leads_to(house, event):
    before, state = TRANSITIONS[event]
    ref = None
    for each in before:
        ref = house.made(each, **({"ref": ref} if ref else {}))
    answer = house.say(event, fields=STAGE.get(event, {}), **({"ref": ref} if ref else {}))
    assert (answer["event"], answer["repeated"]) == (event, False)
    assert answer["alias"] == f"{answer['record'].lower()}@sales.example.com"
    assert house.record(answer["record"]).state == state
    thread = house.thread(answer["record"])
    assert [each.subtype for each in thread] == [*before, event]
    assert f"<{thread[-1].message_id}>" == answer["message"]


@pytest.mark.parametrize(
    ("before", "event"),
    [
        (("quotation.created", "quotation.confirmed"), "quotation.sent"),
        (("quotation.created", "quotation.confirmed"), "quotation.confirmed"),
        (("quotation.created", "quotation.cancelled"), "quotation.cancelled"),
        (("lead.created", "lead.won"), "lead.lost"),
        (("lead.created",), "lead.restored"),
        (("lead.created", "lead.lost"), "lead.stage"),
        (("invoice.created",), "invoice.paid"),
        (("invoice.created", "invoice.validated"), "invoice.validated"),
    ],
)
def test_a_transition_the_state_does_not_allow_is_refused_with_state_and_event(house, before, event):
    ref = None
    for each in before:
        ref = house.made(each, **({"ref": ref} if ref else {}))
    assert house.refused(event, ref=ref, fields=STAGE.get(event, {})) == [("event", event)]
    ((_, _, problem),) = house.say(event, ref=ref, fields=STAGE.get(event, {}))
    assert house.record(ref).state in problem
    assert event in problem


def test_a_quotation_may_be_sent_again(house):
    ref = house.made()
    house.made("quotation.sent", ref=ref)
    house.made("quotation.sent", ref=ref)
    assert [each.subtype for each in house.thread(ref)] == ["quotation.created", "quotation.sent", "quotation.sent"]


def test_everything_an_event_says_stands_on_the_record(house):
    origin = house.made("lead.created")
    ref = house.made(
        title="20 chairs", customer={"name": "王小明", "email": "WANG2@acme.example", "language": "zh-TW"}, salesperson="b",
        team="service", actor="a", origin=origin.lower(), fields={"amount": "120000.00", "currency": "TWD", "count": 3},
        lines=[{"name": "Chair", "quantity": 20, "price": "6000"}], body="please look",
    )  # fmt: skip
    found = house.record(ref)
    assert (found.title, found.salesperson, found.team, found.creator, found.origin) == (
        "20 chairs",
        "b",
        "service",
        "a",
        origin,
    )
    assert (found.customer.name, found.customer.emails, found.customer.language) == (
        "王小明",
        ("wang2@acme.example",),
        "zh-TW",
    )
    assert found.fields == {"amount": "120000.00", "currency": "TWD", "count": "3"}
    assert found.lines == (Line("Chair", "20", "6000"),)
    created, assigned = house.thread(ref)
    assert (created.text, created.author.who, created.author.name) == ("please look", "a", "A君")
    assert (assigned.subtype, assigned.author.who) == ("assigned", "a")


def test_only_the_event_is_required_for_a_creation(house):
    ref = house.made()
    assert ref == "S00001"
    assert house.record(ref).title == "報價單 S00001"
    assert house.thread(ref)[0].author.name == "Example Trading"


@pytest.mark.parametrize(
    ("event", "values", "expected"),
    [
        ("quotation.lost", {"ref": "S00001"}, [("event", "quotation.lost")]),
        ("discussion", {"ref": "S00001"}, [("event", "discussion")]),
        ("note", {"ref": "S00001"}, [("event", "note")]),
        ("assigned", {"ref": "S00001"}, [("event", "assigned")]),
        ("", {"ref": "S00001"}, [("event", "")]),
        ("quotation.sent", {}, [("ref", "")]),
        ("changed", {}, [("ref", "")]),
        ("quotation.sent", {"ref": "S99999"}, [("ref", "S99999")]),
        ("lead.won", {"ref": "S00001"}, [("event", "lead.won")]),
        ("message", {"ref": "S00001"}, [("body", "")]),
        ("message", {"ref": "S00001", "body": " \n"}, [("body", " \n")]),
        ("quotation.created", {"ref": "S00001"}, [("ref", "S00001")]),
        ("quotation.created", {"ref": "s00001"}, [("ref", "s00001")]),
        ("quotation.created", {"ref": ""}, [("ref", "")]),
        ("quotation.created", {"ref": "1A"}, [("ref", "1A")]),
        ("quotation.created", {"ref": "A-1"}, [("ref", "A-1")]),
        ("quotation.created", {"ref": "A" * 25}, [("ref", "A" * 25)]),
        ("quotation.created", {"ref": "Ünder"}, [("ref", "Ünder")]),
        ("quotation.created", {"ref": "Sales"}, [("ref", "Sales")]),
        ("quotation.created", {"ref": "quotations"}, [("ref", "quotations")]),
        ("quotation.created", {"ref": "POSTMASTER"}, [("ref", "POSTMASTER")]),
        ("quotation.created", {"salesperson": "x"}, [("salesperson", "x")]),
        ("quotation.created", {"actor": "x"}, [("actor", "x")]),
        ("quotation.created", {"team": "x"}, [("team", "x")]),
        ("quotation.created", {"origin": "L99999"}, [("origin", "L99999")]),
        ("quotation.created", {"customer": {"email": "no address"}}, [("customer.email", "no address")]),
        ("quotation.created", {"customer": {"email": "a@example.com"}}, [("customer.email", "a@example.com")]),
        ("quotation.created", {"customer": {"email": "x@sales.example.com"}}, [("customer.email", "x@sales.example.com")]),
        ("quotation.created", {"customer": {"name": "x", "language": "fr"}}, [("customer.language", "fr")]),
        ("quotation.created", {"customer": {"phone": "1"}}, [("customer.phone", "1")]),
        ("quotation.created", {"customer": "ACME"}, [("customer", "ACME")]),
        ("lead.created", {"fields": {"stage": "x"}}, [("fields.stage", "x")]),
        ("quotation.created", {"fields": {"amount": [1]}}, [("fields.amount", "[1]")]),
        ("quotation.created", {"fields": {"amount": True}}, [("fields.amount", "true")]),
        ("quotation.created", {"lines": [{"quantity": 1}]}, [("lines.0.name", '{"quantity": 1}')]),
        ("quotation.created", {"lines": "x"}, [("lines", "x")]),
        ("quotation.created", {"title": ["x"]}, [("title", '["x"]')]),
        ("quotation.created", {"titel": "x"}, [("titel", "x")]),
        ("quotation.created", {"id": ""}, [("id", "")]),
        ("quotation.created", {"mailed": "yes"}, [("mailed", "yes")]),
        ("quotation.created", {"attachments": "x.pdf"}, [("attachments", "x.pdf")]),
        ("quotation.created", {"attachments": ["none.pdf"]}, [("attachments.0", "none.pdf")]),
        ("quotation.created", {"attachments": ["."]}, [("attachments.0", ".")]),
        ("quotation.created", {"attachments": ["../secret"]}, [("attachments.0", "../secret")]),
        ("quotation.created", {"attachments": ["/etc/hostname"]}, [("attachments.0", "/etc/hostname")]),
        ("quotation.created", {"attachments": ["link"]}, [("attachments.0", "link")]),
        ("quotation.created", {"attachments": ["a\0b"]}, [("attachments.0", "a\0b")]),
        ("quotation.created", {"attachments": ["x" * 5000]}, [("attachments.0", "x" * 5000)]),
        ("quotation.created", {"body": "x" * 100_001}, [("body", "x" * 200)]),
    ],
)  # fmt: skip
def test_a_bad_event_is_refused_by_field_and_value_and_changes_nothing(house, event, values, expected):
    house.made()
    (house.folder.parent / "secret").write_bytes(b"secret")
    (house.folder / "link").symlink_to(house.folder.parent / "secret")
    assert house.refused(event, **values) == expected


@pytest.mark.parametrize("given", [None, 1, "x", [], [{}]])
def test_what_is_no_object_is_refused(given):
    assert isinstance(parse_event(given), Refused)


def test_an_event_without_event_is_refused():
    answer = parse_event({})
    assert isinstance(answer, Refused)
    assert [(p.field, p.problem) for p in answer.problems] == [("event", "is required")]


def test_all_the_problems_of_an_event_are_told_at_once(house):
    (house.folder / "good.pdf").write_bytes(b"%PDF")
    told = house.refused(
        "lead.created", ref="sales", salesperson="x", actor="y", team="z", origin="Q1", fields={"stage": "w"},
        customer={"email": "a@example.com", "language": "fr"}, attachments=["good.pdf", "../x", "none"],
    )  # fmt: skip
    assert sorted(told) == sorted([
        ("ref", "sales"), ("salesperson", "x"), ("actor", "y"), ("team", "z"), ("origin", "Q1"), ("fields.stage", "w"),
        ("customer.email", "a@example.com"), ("customer.language", "fr"), ("attachments.1", "../x"), ("attachments.2", "none"),
    ])  # fmt: skip


def test_a_note_of_a_refused_transition_is_not_posted_either(house):
    ref = house.made("invoice.created")
    assert house.refused("invoice.paid", id="e1", ref=ref, note="inside", fields={"x": "y"}) == [
        ("event", "invoice.paid")
    ]
    assert isinstance(house.say("invoice.validated", id="e1", ref=ref), dict)


def test_an_event_said_again_changes_nothing_and_gets_the_first_answer(house):
    first = house.say("quotation.created", id="erp-1", title="one", note="n")
    before = house.everything()
    assert house.say("quotation.created", id="erp-1", title="two") == {**first, "repeated": True}
    assert house.say("lead.won", id="erp-1", ref="none") == {**first, "repeated": True}
    assert house.everything() == before


def test_a_number_as_id_is_the_same_as_its_text(house):
    first = house.say("quotation.created", id=7731)
    assert house.say("quotation.created", id="7731") == {**first, "repeated": True}


def test_events_without_an_id_are_each_their_own(house):
    assert [house.made(), house.made()] == ["S00001", "S00002"]


def test_the_same_event_announced_at_once_is_taken_once_and_answered_each_time(house):
    answers = in_threads(4, lambda _: house.say("quotation.created", id="erp-1"))
    assert {answer["record"] for answer in answers} == {answers[0]["record"]}
    assert [answer["repeated"] for answer in answers].count(False) == 1
    assert len(house.everything()["record"]) == 1


def test_a_reference_of_the_erp_is_kept_and_one_announced_twice_at_once_is_refused_once(house):
    assert house.made(ref="erp77x") == "ERP77X"

    def work(_):
        try:
            return house.say("quotation.created", ref="SO9")
        except Conflict:
            return "fault"

    answers = in_threads(3, work)
    assert "fault" not in answers
    assert [isinstance(answer, dict) for answer in answers].count(True) == 1


def test_a_number_the_erp_took_is_not_given_again(house):
    house.made(ref="S00001")
    assert house.made() == "S00002"


def test_attachments_stand_with_the_message(house):
    (house.folder / "sub").mkdir()
    (house.folder / "sub" / "報價.pdf").write_bytes(b"%PDF")
    (house.folder / "big").write_bytes(b"x" * 300_000)
    ref = house.made(attachments=["sub/報價.pdf", "big", "sub/../big"])
    with house.store.read() as tx:
        (kept,) = messages.attachments(tx, [house.thread(ref)[0].id]).values()
        assert [(a.name, a.media_type, a.size) for a in kept] == [
            ("報價.pdf", "application/pdf", 4), ("big", "application/octet-stream", 300_000),
            ("big", "application/octet-stream", 300_000),
        ]  # fmt: skip
        assert content.load(tx, kept[1].digest) == b"x" * 300_000


def test_an_attachment_beyond_25_mib_is_refused(house):
    with (house.folder / "huge").open("wb") as file:
        file.truncate(25 * 1024 * 1024 + 1)
    assert house.refused("quotation.created", attachments=["huge"]) == [("attachments.0", "huge")]


def test_a_further_kind_has_a_creation_of_its_own_and_its_transitions(house):
    ref = house.made("repair.created", title="Saw")
    assert ref == "R00001"
    assert house.refused("repair.lost", ref=ref) == [("event", "repair.lost")]
    house.made("repair.started", ref=ref)
    assert house.refused("repair.started", ref=ref) == [("event", "repair.started")]
    house.made("repair.finished", ref=ref)
    assert house.record(ref).state == "done"
    assert [(each.subtype, each.internal) for each in house.thread(ref)] == [
        ("repair.created", True), ("repair.started", True), ("repair.finished", False),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"email": "wang@acme.example"}, ("ACME", ("wang@acme.example",), "en", "acme")),
        ({"name": "王", "email": "Wang@ACME.example"}, ("王", ("wang@acme.example",), "en", "acme")),
        ({"email": "wang@acme.example", "language": "zh-TW"}, ("ACME", ("wang@acme.example",), "zh-TW", "acme")),
        ({"name": "acme"}, ("ACME", ("wang@acme.example",), "en", "acme")),
        ({"name": "Nobody"}, ("Nobody", (), "", "")),
        ({"name": "New", "email": "new@x.example"}, ("New", ("new@x.example",), "", "")),
    ],
)
def test_the_events_customer_wins_and_their_file_fills_the_gaps(house, given, expected):
    found = house.record(house.made(customer=given)).customer
    assert (found.name, found.emails, found.language, found.key) == expected


def test_a_known_customers_salesperson_and_team_are_the_records_unless_the_event_says_otherwise(house):
    customer = {"email": "wang@acme.example"}
    found = house.record(house.made(customer=customer))
    assert (found.salesperson, found.team, found.teams) == ("a", "sales", ("sales",))
    found = house.record(house.made(customer=customer, salesperson="b", team="service"))
    assert (found.salesperson, found.team) == ("b", "service")


def test_the_first_team_of_the_salesperson_is_the_records(house):
    assert house.record(house.made(salesperson="d")).team == "service"
    assert house.record(house.made(salesperson="b")).team == "sales"


def test_a_lead_begins_in_the_first_stage_and_goes_to_another(house):
    ref = house.made("lead.created")
    assert house.record(ref).fields["stage"] == "new"
    assert house.refused("lead.stage", ref=ref) == [("fields.stage", "")]
    assert house.refused("lead.stage", ref=ref, fields={"stage": "new"}) == [("fields.stage", "new")]
    house.made("lead.stage", ref=ref, fields={"stage": "proposition"})
    (change,) = house.thread(ref)[-1].changes
    assert (change.name, change.old, change.new) == ("stage", "new", "proposition")


def test_a_changed_stage_is_checked_however_it_comes_about(house):
    ref = house.made("lead.created")
    assert house.refused("changed", ref=ref, fields={"stage": "nowhere"}) == [("fields.stage", "nowhere")]


def test_changed_changes_fields_without_a_message(house):
    ref = house.made(fields={"amount": "1", "phone": "2"}, title="old")
    answer = house.say("changed", ref=ref, title="new", fields={"amount": "2", "phone": None}, customer={"name": "X"})
    assert (answer["event"], answer["message"]) == ("changed", None)
    found = house.record(ref)
    assert (found.title, found.fields, found.customer.name, found.state) == ("new", {"amount": "2"}, "X", "draft")
    assert len(house.thread(ref)) == 1


@pytest.mark.parametrize(("actor", "subtypes"), [("a", ["assigned"]), (None, ["assigned"]), ("b", [])])
def test_a_new_salesperson_is_told_unless_they_did_it(house, actor, subtypes):
    ref = house.made(salesperson="a", actor="a")
    house.made("changed", ref=ref, salesperson="b", **({"actor": actor} if actor else {}))
    assert [each.subtype for each in house.thread(ref)] == ["quotation.created", *subtypes]
    assert house.record(ref).salesperson == "b"


def test_a_change_of_team_adds_to_the_teams_it_has_had(house):
    ref = house.made(team="sales")
    house.made("changed", ref=ref, team="service")
    found = house.record(ref)
    assert (found.team, found.teams) == ("service", ("sales", "service"))


def test_mailed_stands_with_the_message(house):
    ref = house.made()
    house.made("quotation.sent", ref=ref, mailed=True)
    house.made("quotation.sent", ref=ref)
    assert [each.details.mailed for each in house.thread(ref)] == [False, True, False]


def test_a_message_is_a_discussion_of_its_actor_or_of_the_site(house):
    ref = house.made()
    house.made("message", ref=ref, body="from A", actor="a")
    house.made("message", ref=ref, body="from the ERP")
    first, second = house.thread(ref)[1:]
    assert (first.subtype, first.internal, first.author.who, first.text) == ("discussion", False, "a", "from A")
    assert (second.author.who, second.author.name, second.author.outsider) == ("", "Example Trading", False)


def test_a_note_is_a_message_of_its_own_and_stays_inside(house):
    ref = house.made(body="for all", note="for us", actor="a")
    assert [(each.subtype, each.internal, each.text) for each in house.thread(ref)] == [
        ("quotation.created", True, "for all"), ("note", True, "for us"),
    ]  # fmt: skip


def test_a_confirmed_order_makes_its_customer_follow(house):
    ref = house.made(customer={"email": "wang@acme.example"})
    house.made("quotation.sent", ref=ref)
    with house.store.read() as tx:
        assert followers.choices(tx, [house.record(ref).id])[house.record(ref).id] == []
    house.made("quotation.confirmed", ref=ref)
    with house.store.read() as tx:
        (made,) = followers.choices(tx, [house.record(ref).id])[house.record(ref).id]
    assert (made.who, made.subtypes) == ("customer", ("discussion",))


def test_a_teams_thread_takes_messages_only(house):
    with house.store.write() as tx:
        records.create_team(tx, "sales", "銷售團隊", NOW)
    assert house.refused("changed", ref="sales", title="x") == [("ref", "sales")]
    assert house.refused("quotation.sent", ref="sales") == [("ref", "sales")]
    assert house.made("message", ref="sales", body="hello") == "SALES"


def test_a_title_is_one_line_of_at_most_200_characters(house):
    assert house.record(house.made(title="one\r\nBcc: x@y " + "z" * 400)).title.startswith("one Bcc: x@y")
    assert len(house.record(house.made(title="z" * 400)).title) == 200


@pytest.mark.parametrize("field", ["id", "body", "note"])
def test_a_nul_in_a_text_is_taken_or_refused_but_is_no_fault(house, field):
    answer = house.say("quotation.created", **{field: "a\0b"})
    assert isinstance(answer, dict) or [name for name, _, _ in answer] == [field]


def test_a_nul_in_a_fields_name_and_value_is_taken_or_refused_but_is_no_fault(house):
    assert house.say("quotation.created", fields={"a\0": "b\0"}, lines=[{"name": "a\0"}], customer={"name": "\0"})


@pytest.mark.parametrize("field", ["id", "title", "body"])
def test_a_lone_surrogate_is_taken_or_refused_but_is_no_fault(house, field):
    answer = house.say("quotation.created", **{field: "a\ud800"})
    assert isinstance(answer, dict) or [name for name, _, _ in answer] == [field]
    assert str(answer).encode("utf-8")
