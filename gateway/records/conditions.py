"""The `when` of a rule: `FIELD OP VALUE`, joined by `and`, over the fields of a record.

*Failure:* a condition that cannot be read raises `ValueError` with what is wrong; judging one
never raises, and a missing field is false.
"""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from zoneinfo import ZoneInfo

_CLAUSE = re.compile(r"\s*([A-Za-z_][\w.-]*)\s*(<=|>=|!=|=|<(?!=)|>(?!=)|\bin\b)\s*(.+?)\s*", re.DOTALL)
_NUMBER = re.compile(r"[+-]?\d{1,30}(\.\d{1,20})?", re.ASCII)
_GROUPED = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?\s*萬?", re.ASCII)
_TEN_THOUSANDS = re.compile(r"(\d{1,6}(?:\.\d{1,4})?)\s*萬", re.ASCII)
_OURS_BEFORE = re.compile(r"\A(?:NTD?|TWD|新?[台臺]幣)?\s*\$?\s*")
_OURS_AFTER = re.compile(r"\s*(?:元整?|圓整?|塊|NTD?|TWD)$")
# Behind a day may stand which one of the week it is, and a time.
_WEEKDAY = r"\(?(?:(?:星期|禮拜|週|周)?[一二三四五六日天]|(?:MON|TUE|WED|THU|FRI|SAT|SUN)[A-Z]*)\)?"
_BEHIND_DAY = rf"\s*(?:{_WEEKDAY})?(?:[T ]\s*\d{{1,2}}:.*)?\.?"
_DAY = re.compile(r"(?:民國)?\s*(\d{3,4})\s*[-/.年]\s*(\d{1,2})\s*[-/.月]\s*(\d{1,2})\s*日?" + _BEHIND_DAY)
_DIGITS = re.compile(r"(\d{4})(\d{2})(\d{2})")
_DAY_FIRST = re.compile(r"(\d{1,2})\.\s?(\d{1,2})\.\s?(\d{4})")
_MONTHS = ("JAN(?:UARY)?", "FEB(?:RUARY)?", "MAR(?:CH)?", "APR(?:IL)?", "MAY", "JUNE?", "JULY?", "AUG(?:UST)?",
           "SEPT?(?:EMBER)?", "OCT(?:OBER)?", "NOV(?:EMBER)?", "DEC(?:EMBER)?")  # fmt: skip
_SHORT = [each[:3] for each in _MONTHS]
_MONTH_FIRST = re.compile(rf"({'|'.join(_MONTHS)})\.?\s+(\d{{1,2}})(?:ST|ND|RD|TH)?,?\s+(\d{{4}})")
_MONTH_SECOND = re.compile(rf"(\d{{1,2}})(?:ST|ND|RD|TH)?\s+({'|'.join(_MONTHS)})\.?,?\s+(\d{{4}})")
_REPUBLIC = 1911  # the year before the first of Taiwan's calendar, whose years have three digits
_LAST = 299  # year of it that we read
_FIRST = 1900  # of ours
_OPERATORS = "= != < <= > >= in"


@dataclass(frozen=True, slots=True)
class Clause:
    """One comparison; `values` holds several only for `in`."""

    field: str
    operator: str
    values: tuple[str, ...]

    def holds(self, fields: Mapping[str, str]) -> bool:
        """Whether it is true of a record with these fields."""
        have = fields.get(self.field, "")
        if have == "":
            return False
        if self.operator == "in":
            return any(_compare(have, value) == 0 for value in self.values)
        order = _compare(have, self.values[0])
        match self.operator:
            case "=":
                return order == 0
            case "!=":
                return order != 0
            case "<":
                return order < 0
            case "<=":
                return order <= 0
            case ">":
                return order > 0
            case _:
                return order >= 0


@dataclass(frozen=True, slots=True)
class Condition:
    """All clauses must hold; none at all always does."""

    clauses: tuple[Clause, ...] = ()

    def failing(self, fields: Mapping[str, str]) -> Clause | None:
        """Return the first clause that does not hold, or None when the condition is true."""
        return next((clause for clause in self.clauses if not clause.holds(fields)), None)


def parse_condition(text: str) -> Condition:
    """Read `amount >= 100000 and currency in TWD, USD`; raise ValueError where it cannot be read."""
    clauses: list[Clause] = []
    for part in re.split(r"\s+and\s+", text.strip()):
        match = _CLAUSE.fullmatch(part)
        if match is None:
            message = f"cannot read {part!r}: expected FIELD OP VALUE, OP one of {_OPERATORS}"
            raise ValueError(message)
        name, operator, value = match.groups()
        if value[0] in "=<>!" or value.split()[-1] == "and":
            message = f"cannot read {part!r}: {value!r} is no value; OP is one of {_OPERATORS}"
            raise ValueError(message)
        values = (
            [v.strip().strip("\"'") for v in value.strip("[]()").split(",")]
            if operator == "in"
            else [value.strip("\"'")]
        )
        clauses.append(Clause(name, operator, tuple(values)))
    return Condition(tuple(clauses))


def number(text: str) -> Decimal | None:
    """Return `text` as a decimal if it is one, thousands separators and a currency's name aside."""
    bare = text.strip().replace(",", "")
    try:
        return Decimal(bare) if _NUMBER.fullmatch(bare) else None
    except InvalidOperation:
        return None


def amount(text: str) -> str:
    """Return `text` as a number if it is an amount, commas and our currency aside: `NT$120,000`, `12萬元`; else ""."""
    bare = unicodedata.normalize("NFKC", text).upper().replace("万", "萬").strip()
    bare = _OURS_AFTER.sub("", _OURS_BEFORE.sub("", bare)).strip()
    if bare.startswith("-") or ("," in bare and not _GROUPED.fullmatch(bare)):
        return ""  # 12,5 may be 12.5 as well as 125
    bare = bare.replace(",", "")
    if (found := _TEN_THOUSANDS.fullmatch(bare)) is not None:
        bare = f"{Decimal(found[1]) * 10_000:f}".partition(".")[0]
    return bare if number(bare) is not None else ""


def is_over(last: str, now: int, timezone: str) -> bool:
    """Whether the day that a text names, if it names one, is over at a moment (ms since 1970) in a time zone."""
    named = day(last)
    today = datetime.fromtimestamp(now / 1000, ZoneInfo(timezone)).date()
    return bool(named) and today > date.fromisoformat(named)


def day(text: str) -> str:
    """Return `text` as a day (YYYY-MM-DD) if it names one: `2026/11/20`, `2026年11月20日`, `115/11/20`; else ""."""
    said = unicodedata.normalize("NFKC", text).upper().strip()
    if found := _DAY.fullmatch(said) or _DIGITS.fullmatch(said):
        year, month, number_of_day = (int(part) for part in found.groups())
    elif found := _DAY_FIRST.fullmatch(said):
        number_of_day, month, year = (int(part) for part in found.groups())
    elif found := _MONTH_FIRST.fullmatch(said):
        year, month, number_of_day = int(found[3]), _SHORT.index(found[1][:3]) + 1, int(found[2])
    elif found := _MONTH_SECOND.fullmatch(said):
        year, month, number_of_day = int(found[3]), _SHORT.index(found[2][:3]) + 1, int(found[1])
    else:
        return ""
    try:
        year = year + _REPUBLIC if year <= _LAST else year
        return "" if year < _FIRST else date(year, month, number_of_day).isoformat()
    except ValueError:
        return ""


def _compare(have: str, value: str) -> int:
    left, right = number(have), number(value)
    if left is not None and right is not None:
        return (left > right) - (left < right)
    return (have > value) - (have < value)
