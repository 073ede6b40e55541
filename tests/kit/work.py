"""How much work something is, said so that no machine's speed is in it: calls counted, or CPU time in yards.

`calls` sees what Python does, and is the same on every machine. What happens inside one call of C, a regular
expression that goes back and forth over a megabyte, it cannot see: `yards` compares that with a piece of work that
is always the same, done by the same machine.
"""

import re
import sys
import time
from collections.abc import Callable
from functools import cache

_WORDS = b"ab 12 " * 60_000
_WORD = re.compile(rb"[a-z]+|\d+")


def _cpu(call: Callable[[], object]) -> float:
    began = time.process_time()
    call()
    return max(time.process_time() - began, 1e-6)


def _work() -> None:
    """Do a yard of work, in a regular expression and in Python; the bounds of the tests are tens of it."""
    assert sum(len(each) for each in _WORD.findall(_WORDS)) == 240_000


@cache
def _yard() -> float:
    return min(_cpu(_work) for _ in range(3))


def yards(call: Callable[[], object], most: float) -> float:
    """Return what `call` costs in yards: measured once, or, where that is `most` or more, the least of three."""
    cost = _cpu(call) / _yard()
    for _ in range(2 if cost >= most else 0):
        cost = min(cost, _cpu(call) / _cpu(_work))
    return cost


def calls(call: Callable[[], object]) -> int:
    """Return how many functions, of Python and of C, `call` calls."""
    count = 0

    def note(_frame: object, event: str, _function: object) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(before)
    return count
