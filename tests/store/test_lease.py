"""Claims: nobody gets a row twice, a late claimant writes nothing, a suspect is alone."""

import pytest
import sqlalchemy as sa

from gateway.store import arrivals, lease, messages, notices, outbox, status
from gateway.store.lease import Claim
from gateway.store.notices import NewNotice
from gateway.store.outbox import Outcome
from gateway.store.tables import arrival, delivery, message, notice
from tests.store.kit import NOW, add_arrivals, add_delivery, add_message, add_record, in_threads

TABLES = [
    (arrival, arrivals.PENDING), (message, messages.PENDING), (notice, notices.PENDING), (delivery, outbox.WAITING),
]  # fmt: skip


def claim_all(store, claim, now=NOW, limit=10):
    with store.write() as tx:
        return claim(tx, now, limit)


def test_a_claimed_row_is_nobody_elses_until_its_lease_ends(store):
    with store.write() as tx:
        add_arrivals(tx, 1)
    (first,) = claim_all(store, arrivals.claim)
    assert (first.fence, first.attempts) == (1, 1)
    assert claim_all(store, arrivals.claim, NOW + arrivals.LEASE - 1) == []
    (second,) = claim_all(store, arrivals.claim, NOW + arrivals.LEASE)
    assert (second.id, second.fence) == (first.id, 2)


def test_a_late_claimant_settles_nothing(store):
    with store.write() as tx:
        add_arrivals(tx, 1)
    (late,) = claim_all(store, arrivals.claim)
    (now_its,) = claim_all(store, arrivals.claim, NOW + arrivals.LEASE)
    with store.write() as tx:
        assert not arrivals.finish(tx, late)
        assert not arrivals.shunt(tx, late, "late", NOW)
        arrivals.postpone(tx, late, NOW + 10**9, failed=True)
    with store.read() as tx:
        row = tx.execute(sa.select(arrival)).one()
        assert (row.state, row.lease_until, row.due_at) == ("pending", NOW + 2 * arrivals.LEASE, NOW)
    with store.write() as tx:
        assert arrivals.finish(tx, now_its)
    assert claim_all(store, arrivals.claim, NOW + 10**9) == []


def test_what_is_not_due_is_not_claimed(store):
    with store.write() as tx:
        add_arrivals(tx, 1, now=NOW + 1)
    assert claim_all(store, arrivals.claim) == []
    assert len(claim_all(store, arrivals.claim, NOW + 1)) == 1


def test_claims_are_the_oldest_due_and_no_more_than_asked(store):
    with store.write() as tx:
        for at in (3, 1, 2):
            add_arrivals(tx, 1, now=NOW + at)
    assert [claimed.id for claimed in claim_all(store, arrivals.claim, NOW + 9, 2)] == [2, 3]
    assert [claimed.id for claimed in claim_all(store, arrivals.claim, NOW + 9, 2)] == [1]


def test_a_suspect_is_handed_out_alone_after_the_new_ones_and_counts_its_tries(store):
    with store.write() as tx:
        add_arrivals(tx, 3)
    assert len(claim_all(store, arrivals.claim)) == 3
    later = NOW + arrivals.LEASE
    with store.write() as tx:
        add_arrivals(tx, 2, now=later)
    assert [claimed.id for claimed in claim_all(store, arrivals.claim, later)] == [4, 5]
    alone = [claim_all(store, arrivals.claim, later) for _ in range(4)]
    assert [[(claimed.id, claimed.attempts) for claimed in each] for each in alone] == [
        [(1, 2)],
        [(2, 2)],
        [(3, 2)],
        [],
    ]
    again = claim_all(store, arrivals.claim, later + arrivals.LEASE, 10)
    assert [(claimed.id, claimed.attempts) for claimed in again] in ([(1, 3)], [(4, 2)])
    assert len(again) == 1


def test_a_row_put_back_by_a_fault_counts_a_try_and_one_put_back_by_the_store_none(store):
    with store.write() as tx:
        add_arrivals(tx, 1)
    (first,) = claim_all(store, arrivals.claim)
    with store.write() as tx:
        arrivals.postpone(tx, first, NOW + 5, failed=True)
    assert claim_all(store, arrivals.claim, NOW + 4) == []
    (second,) = claim_all(store, arrivals.claim, NOW + 5)
    assert second.attempts == 2
    with store.write() as tx:
        arrivals.postpone(tx, second, NOW + 6, failed=False)
    (third,) = claim_all(store, arrivals.claim, NOW + 6)
    assert third.attempts == 2


def test_rows_handed_back_untried_are_claimed_together_among_the_fresh_ones(store):
    with store.write() as tx:
        add_arrivals(tx, 3)
    claims = claim_all(store, arrivals.claim)
    with store.write() as tx:
        for each in claims:
            arrivals.postpone(tx, each, NOW + 5, failed=False)
        add_arrivals(tx, 1, now=NOW + 5)
    again = claim_all(store, arrivals.claim, NOW + 5)
    assert [(claimed.id, claimed.attempts) for claimed in again] == [(1, 1), (2, 1), (3, 1), (4, 1)]


def test_a_mail_released_while_it_is_decided_is_settled_by_the_newer_claim_only(store):
    from gateway.store import held
    from gateway.store.arrivals import Settled

    with store.write() as tx:
        add_arrivals(tx, 1, recipients=("s00001@d", "s00002@d"))
    (claimed,) = claim_all(store, arrivals.claim)
    with store.write() as tx:
        for number in (1, 2):
            arrivals.settle_recipient(tx, number, Settled("held", "stranger"), NOW, "", "")
        arrivals.finish(tx, claimed)
    with store.write() as tx:
        assert held.release(tx, 1, NOW)
    (late,) = claim_all(store, arrivals.claim)
    with store.write() as tx:
        assert held.release(tx, 2, NOW)
    (newer,) = claim_all(store, arrivals.claim)
    with store.write() as tx:
        assert not arrivals.finish(tx, late), "the fence went back, so a late claimant passes for the new one"
        assert arrivals.finish(tx, newer)


@pytest.mark.parametrize("careful", [True, False])
def test_four_threads_that_claim_at_once_never_get_one_row_twice(store, careful):
    with store.write() as tx:
        add_arrivals(tx, 120)
    claim = lease.claim_carefully if careful else lease.claim

    def work(_):
        mine = []
        for _ in range(200):
            with store.write() as tx:
                got = claim(tx, arrival, arrivals.PENDING, NOW, 60_000, 7)
            if not got:
                break
            mine += got
        return mine

    each = in_threads(4, work)
    ids = [claimed.id for mine in each for claimed in mine]
    assert sorted(ids) == list(range(1, 121))
    assert {claimed.fence for mine in each for claimed in mine} == {1}


def test_deliveries_are_settled_by_the_fence_and_only_ours_are_told(store):
    with store.write() as tx:
        for _ in range(2):
            add_delivery(tx)
    first = claim_all(store, outbox.claim)
    with store.write() as tx:
        outbox.hand_back(tx, first[:1])
    (again,) = claim_all(store, outbox.claim, NOW)
    assert again.id == first[0].id
    with store.write() as tx:
        kept = outbox.settle(tx, [Outcome(each, "sent", "250 ok") for each in first], NOW)
        assert [outcome.delivery.id for outcome in kept] == [first[1].id]
        assert outbox.attempts(tx, first[0].id) == []
        assert outbox.attempts(tx, first[1].id) == [(NOW, "250 ok")]
        listed = {each.id: each.state for each in outbox.listed(tx, ("queued", "sent"))}
    assert listed == {first[0].id: "queued", first[1].id: "sent"}


def test_a_deferred_delivery_is_due_again_when_it_was_said(store):
    with store.write() as tx:
        add_delivery(tx)
    (claimed,) = claim_all(store, outbox.claim)
    with store.write() as tx:
        outbox.settle(tx, [Outcome(claimed, "deferred", "451 later", due_at=NOW + 60_000)], NOW)
        assert outbox.next_due(tx) == NOW + 60_000
    assert claim_all(store, outbox.claim, NOW + 59_999) == []
    (again,) = claim_all(store, outbox.claim, NOW + 60_000)
    assert again.attempts == 1


def test_a_node_that_starts_frees_every_lease(store):
    with store.write() as tx:
        add_arrivals(tx, 1)
        made = add_record(tx)
        add_message(tx, made.id)
        notices.add(tx, NewNotice("held", "a", "a@example.com", {}), NOW)
        add_delivery(tx)
    claims = [arrivals.claim, messages.claim, notices.claim, outbox.claim]
    assert [len(claim_all(store, each)) for each in claims] == [1, 1, 1, 1]
    assert [len(claim_all(store, each)) for each in claims] == [0, 0, 0, 0]
    with store.write() as tx:
        status.free_leases(tx)
    assert [len(claim_all(store, each)) for each in claims] == [1, 1, 1, 1]


def test_next_due_waits_for_a_lease(store):
    with store.write() as tx:
        assert lease.next_due(tx, delivery, outbox.WAITING) is None
        add_delivery(tx)
        assert lease.next_due(tx, delivery, outbox.WAITING) == NOW
        outbox.claim(tx, NOW, 1)
        assert lease.next_due(tx, delivery, outbox.WAITING) == NOW + outbox.LEASE


@pytest.mark.parametrize(("table", "states"), TABLES, ids=lambda each: getattr(each, "name", ""))
@pytest.mark.parametrize("which", ["any", "fresh", "again"])
def test_a_claim_on_sqlite_reads_the_partial_index_of_what_waits(store, table, states, which):
    if not store.embedded:
        pytest.skip("the plan of PostgreSQL depends on how full its tables are")
    statement = lease._claiming(table, states, which).compile(dialect=store._writer.dialect)
    with store.read() as tx:
        plan = tx.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", tuple([0] * len(statement.positiontup))).all()
    said = [row[-1] for row in plan]
    assert any(f"{table.name} USING INDEX ix_{table.name}_due" in line for line in said), said
    assert not any(line.startswith(f"SCAN {table.name}") and "USING" not in line for line in said), said


def test_settling_a_row_that_is_not_there_is_false(store):
    with store.write() as tx:
        assert not lease.settle(tx, arrival, Claim(999, 1, 0), state="handled")
