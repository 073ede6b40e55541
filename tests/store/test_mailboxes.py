"""How accounts are: that one stands still is told once, and once more when it goes on."""

from gateway.store import mailboxes
from gateway.store.mailboxes import Progress

MINUTE = 60_000
PATIENCE = 15 * MINUTE


def test_that_an_account_stands_still_is_told_once_and_again_when_it_goes_on(store):
    with store.write() as tx:
        mailboxes.begin(tx, "x", "fetch", 0)
        mailboxes.begin(tx, "x", "fetch", 5 * MINUTE)  # known already
        told = [mailboxes.went_wrong(tx, "x", "away", minute * MINUTE, PATIENCE) for minute in (1, 14, 15, 16, 40)]
        assert told == [False, False, True, False, False]
        (health,) = mailboxes.health(tx)
        assert (health.error, health.error_at, health.ok_at) == ("away", 40 * MINUTE, 0)
        mailboxes.has_room(tx, "x", (7, 10))
        assert mailboxes.went_well(tx, "x", 41 * MINUTE, 3) is True
        assert mailboxes.went_well(tx, "x", 42 * MINUTE, 0) is False
        (health,) = mailboxes.health(tx)
        assert (health.error, health.waiting, health.quota_used, health.quota_limit) == ("", 0, 7, 10)


def test_that_only_looking_into_an_account_stands_still_is_told_and_not_beside_filing_into_it(store):
    with store.write() as tx:
        mailboxes.begin(tx, "x folders", "file", 0)
        mailboxes.begin(tx, "x watch", "watch", 0)
        mailboxes.went_wrong(tx, "x folders", "away", MINUTE, PATIENCE)
        assert mailboxes.went_wrong(tx, "x watch", "away", 16 * MINUTE, PATIENCE, "x folders") is False
        mailboxes.went_well(tx, "x folders", 17 * MINUTE, 0)
        assert mailboxes.went_wrong(tx, "x watch", "away", 18 * MINUTE, PATIENCE, "x folders") is True


def test_progress_is_of_one_numbering_and_nothing_is_known_of_another_account(store):
    with store.write() as tx:
        mailboxes.begin(tx, "x", "fetch", 0)
        mailboxes.advance(tx, "x", Progress(7, 3))
    with store.read() as tx:
        assert mailboxes.progress(tx, "x") == Progress(7, 3)
        assert mailboxes.progress(tx, "y") == Progress()
