from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.records.conditions import Condition, amount, day, number, parse_condition

TABLE = [
    ("amount >= 100000", {"amount": "120000.00"}, True),
    ("amount >= 100000", {"amount": "100000"}, True),
    ("amount >= 100000", {"amount": "99999.99"}, False),
    ("amount >= 100000", {"amount": "120,000"}, True),
    ("amount >= 100,000", {"amount": "120000"}, True),
    ("amount>=100000", {"amount": "120000"}, True),
    ("amount > 9", {"amount": "10"}, True),
    ("amount < 9", {"amount": "-1"}, True),
    ("amount <= 9", {"amount": "9.0"}, True),
    ("amount = 9", {"amount": "9.00"}, True),
    ("amount != 9", {"amount": "9.00"}, False),
    ("amount != 9", {"amount": "8"}, True),
    ("amount >= 100000", {}, False),
    ("amount != 9", {}, False),
    ("amount < 9", {"amount": ""}, False),
    ("currency = TWD", {"currency": "TWD"}, True),
    ("currency = TWD", {"currency": "twd"}, False),
    ("currency = 'TWD'", {"currency": "TWD"}, True),
    ('currency = "TWD"', {"currency": "TWD"}, True),
    ("currency in TWD, USD", {"currency": "USD"}, True),
    ("currency in [TWD, 'USD']", {"currency": "USD"}, True),
    ("currency in (TWD)", {"currency": "TWD"}, True),
    ("currency in TWD, USD", {"currency": "EUR"}, False),
    ("n in 1, 2.0", {"n": "2"}, True),
    ("valid_until < 2026-12-31", {"valid_until": "2026-06-30"}, True),
    ("amount >= 10 and currency = TWD", {"amount": "10", "currency": "TWD"}, True),
    ("amount >= 10 and currency = TWD", {"amount": "10", "currency": "USD"}, False),
    ("amount >= 10\n  and   currency = TWD", {"amount": "10", "currency": "TWD"}, True),
    ("amount > 9", {"amount": "many"}, True),  # as text
    ("stage = 談判中", {"stage": "談判中"}, True),
    ("x.y = 1", {"x.y": "1"}, True),
]


@pytest.mark.parametrize(("text", "fields", "holds"), TABLE)
def test_a_condition_holds_or_does_not(text, fields, holds):
    assert (parse_condition(text).failing(fields) is None) is holds


@pytest.mark.parametrize(
    "text",
    [
        "", "amount", "amount >=", ">= 3", "amount 3", "3 >= amount", "amount >= 3 and", "amount >= 3 and b",
        "amount ~ 3", "金額 > 3", "amount in", "and",
        "amount == 3", "amount => 3", "amount =< 3", "amount <> 3", "amount >> 3", "amount !== 3", "amount >== 3",
    ],
)  # fmt: skip
def test_a_condition_that_cannot_be_read_is_an_error(text):
    with pytest.raises(ValueError, match="cannot read"):
        parse_condition(text)


def test_the_clause_that_fails_is_named():
    clause = parse_condition("a = 1 and b in 2, 3").failing({"a": "1", "b": "4"})
    assert clause is not None
    assert (clause.field, clause.operator, clause.values) == ("b", "in", ("2", "3"))


def test_no_condition_always_holds():
    assert Condition().failing({}) is None


@pytest.mark.parametrize(("text", "value"), [("1", "1"), (" 1,000.50 ", "1000.50"), ("-3", "-3"), ("+3", "3")])
def test_a_number_is_a_decimal(text, value):
    assert number(text) == Decimal(value)


@pytest.mark.parametrize("text", ["", "x", "1e5", "NaN", "Infinity", "1.", ".5", "0x10", "1 2", "1.2.3", "9" * 31])
def test_what_is_no_number_is_text(text):
    assert number(text) is None


@given(st.text())
def test_reading_raises_nothing_but_value_error(text):
    try:
        parse_condition(text)
    except ValueError:
        return


@given(st.decimals(-(10**9), 10**9, places=2), st.decimals(-(10**9), 10**9, places=2))
def test_numbers_are_compared_as_numbers(have, value):
    fields = {"n": f"{have:f}"}
    assert (parse_condition(f"n < {value:f}").failing(fields) is None) == (have < value)
    assert (parse_condition(f"n = {value:f}").failing(fields) is None) == (have == value)
    assert (parse_condition(f"n >= {value:f}").failing(fields) is None) == (have >= value)


@given(st.text(), st.sampled_from(["=", "!=", "<", "<=", ">", ">=", "in"]), st.text(min_size=1))
def test_judging_never_raises(have, operator, value):
    try:
        condition = parse_condition(f"x {operator} {value}")
    except ValueError:
        return
    condition.failing({"x": have})


@pytest.mark.parametrize(
    ("text", "read"),
    [("120000", "120000"), ("NT$120,000", "120000"), ("１２萬元", "120000"), ("1.25萬", "12500"), ("$5.50", "5.50"),
     ("十二萬", ""), ("USD 5", ""), ("", ""), ("萬", ""), ("-5", ""), ("12,5", ""), ("120.000,50", ""), ("1,234,567.5", "1234567.5")],
)  # fmt: skip
def test_an_amount_is_read_as_people_write_it(text, read):
    assert amount(text) == read


@pytest.mark.parametrize(
    ("text", "read"),
    [("2026-11-20", "2026-11-20"), ("2026/1/2", "2026-01-02"), ("2026年1月2日", "2026-01-02"), ("115/11/20", "2026-11-20"),
     ("民國115年11月20日", "2026-11-20"), ("２０２６／１１／２０", "2026-11-20"), ("2026-11-20T10:00:00Z", "2026-11-20"),
     ("2026-02-30", ""), ("next week", ""), ("20/11/2026", ""), ("", "")],
)  # fmt: skip
def test_a_day_is_read_as_people_write_it(text, read):
    assert day(text) == read
