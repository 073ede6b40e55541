"""Records come back as they were kept; no two have one reference."""

import dataclasses

import pytest

from gateway.records.kinds import INVOICE, LEAD, QUOTATION
from gateway.records.record import Line, Party
from gateway.store import records
from gateway.store.session import Conflict
from tests.store.kit import NOW, add_record, in_threads


def test_a_record_comes_back_as_it_was_kept(store):
    with store.write() as tx:
        made = add_record(
            tx, "erp77", title="20 張椅子", team="sales", teams=("old", "sales"), salesperson="a", creator="b",
            customer=Party("王", ("w@acme.example", "v@acme.example"), "en", "acme"), fields={"amount": "120000.00", "客": "戶"},
            lines=(Line("Chair", "20", "6000"), Line("Desk")), origin="L00001",
        )  # fmt: skip
        assert records.find(tx, "ERP77") == records.find(tx, "erp77") == made
        assert records.load(tx, [made.id, 999]) == {made.id: made}
    assert made.ref == "ERP77"


def test_a_change_is_kept_and_the_reference_stays(store):
    with store.write() as tx:
        made = add_record(tx)
        records.change(tx, dataclasses.replace(made, state="sent", ref="OTHER", fields={"amount": "1"}), NOW + 1)
        found = records.find(tx, made.ref)
    assert found is not None
    assert (found.state, found.ref, found.fields, found.created_at) == ("sent", made.ref, {"amount": "1"}, NOW)


def test_a_reference_that_is_taken_is_a_conflict_in_any_case(store):
    def twice():
        with store.write() as tx:
            add_record(tx, "erp1")
            add_record(tx, "ERP1")

    with pytest.raises(Conflict):
        twice()


def test_references_count_up_for_each_kind_and_skip_what_is_taken(store):
    with store.write() as tx:
        add_record(tx, "S00002")
        taken = {"S00004"}
        found = [records.next_ref(tx, QUOTATION, taken.__contains__) for _ in range(3)]
        assert found == ["S00001", "S00003", "S00005"]
        assert records.next_ref(tx, LEAD, taken.__contains__) == "L00001"
        assert records.next_ref(tx, INVOICE, taken.__contains__) == "I00001"


def test_a_number_beyond_five_digits_goes_on(store):
    from gateway.store.tables import counter

    with store.write() as tx:
        tx.execute(counter.insert().values(name="quotation", last=99_999))
        assert records.next_ref(tx, QUOTATION, lambda _: False) == "S100000"


def test_records_made_at_once_have_references_of_their_own(store):
    def work(_):
        found = []
        for _ in range(10):
            with store.write() as tx:
                found.append(add_record(tx, records.next_ref(tx, QUOTATION, lambda _: False)).ref)
        return found

    refs = [ref for each in in_threads(4, work) for ref in each]
    assert sorted(refs) == [f"S{n:05d}" for n in range(1, 41)]


def test_a_teams_thread_is_made_once(store):
    def work(_):
        with store.write() as tx:
            return records.create_team(tx, "sales", "銷售團隊", NOW).id

    assert len(set(in_threads(4, work))) == 1
    with store.read() as tx:
        found = records.find(tx, "sales")
    assert found is not None
    assert (found.kind, found.ref, found.team, found.teams) == ("team", "SALES", "sales", ("sales",))


def test_records_are_listed_newest_first_and_narrowed(store):
    with store.write() as tx:
        add_record(tx, "S1", team="sales")
        add_record(tx, "L1", kind="lead", state="open", team="sales")
        add_record(tx, "S2", state="sent")
        assert [each.ref for each in records.listed(tx)] == ["S2", "L1", "S1"]
        assert [each.ref for each in records.listed(tx, kind="quotation")] == ["S2", "S1"]
        assert [each.ref for each in records.listed(tx, state="sent")] == ["S2"]
        assert [each.ref for each in records.listed(tx, team="sales", limit=1)] == ["L1"]
