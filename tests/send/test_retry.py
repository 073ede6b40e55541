"""When a deferred delivery is tried again, and when it is given up."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from gateway.send.retry import DELAY_TOLD_MS, HOUR_MS, LIFETIME_MS, MINUTE_MS, next_try


def middle():
    return 0.5


def schedule():
    """Return every time a delivery made at 0 that always fails is tried, and when it is given up."""
    tried, now, attempts = [0], 0, 0
    while (due := next_try(attempts + 1, 0, now, middle)) is not None:
        attempts, now = attempts + 1, due
        tried.append(now)
    return tried


def test_the_first_pause_is_a_minute():
    assert next_try(1, 0, 0, middle) == MINUTE_MS


def test_pauses_grow_and_never_beyond_six_hours():
    tried = schedule()
    pauses = [b - a for a, b in itertools.pairwise(tried)][:-1]
    assert pauses == sorted(pauses)
    assert pauses[-1] == 6 * HOUR_MS


def test_it_is_tried_often_before_the_author_is_told():
    assert sum(at < DELAY_TOLD_MS for at in schedule()) >= 7


def test_it_is_given_up_after_five_days_and_tried_at_the_end():
    tried = schedule()
    assert tried[-1] == LIFETIME_MS == 5 * 24 * HOUR_MS
    assert next_try(30, 0, LIFETIME_MS - 1, middle) == LIFETIME_MS
    assert next_try(30, 0, LIFETIME_MS, middle) is None


def test_a_delivery_that_nobody_tried_for_six_days_is_given_up_at_its_next_failure():
    assert next_try(1, 0, 6 * 24 * HOUR_MS, middle) is None


@given(st.integers(0, 10_000), st.integers(0, LIFETIME_MS * 2), st.floats(0, 1, exclude_max=True))
def test_the_next_try_is_later_and_within_the_lifetime(attempts, now, jitter):
    due = next_try(attempts, 0, now, lambda: jitter)
    assert due is None if now >= LIFETIME_MS else now < due <= LIFETIME_MS


@given(st.integers(1, 50))
def test_jitter_spreads_a_pause_by_a_tenth_either_way(attempts):
    least, most = next_try(attempts, 0, 0, lambda: 0.0), next_try(attempts, 0, 0, lambda: 0.999999)
    between = next_try(attempts, 0, 0, middle)
    assert abs(least - between * 0.9) < 5
    assert abs(most - between * 1.1) < between * 0.001
