import hashlib
import tracemalloc

import pytest
from dkim.canonicalization import Relaxed, Simple
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.mail.canonical import relaxed_body, simple_body, simple_body_hash
from tests.kit.work import yards

BODIES = st.lists(st.sampled_from([b"\r\n", b"\r", b"\n", b" ", b"\t", b"  ", b"a", b"\x00", b"\x0b", "單".encode()])).map(b"".join) | st.binary()  # fmt: skip


@settings(max_examples=500)
@given(BODIES)
@example(b"")
@example(b"\r\n")
@example(b"\r\n\r\n")
@example(b"a")
@example(b"a\r\n\r\n \r\n\r\n")
def test_the_hash_of_a_body_is_dkims(body):
    assert simple_body(body) == Simple.canonicalize_body(body)
    assert simple_body_hash(body) == hashlib.sha256(Simple.canonicalize_body(body)).digest()


@settings(max_examples=1_000)
@given(BODIES)
@example(b"")
@example(b" ")
@example(b" \r\n")
@example(b"\r\n \t\r\n")
@example(b" \r \n \r\n")
@example(b"a  b\t\r\n\r\n")
@example(b"\t a\t")
def test_the_relaxed_form_of_a_body_is_dkims(body):
    assert relaxed_body(body) == Relaxed.canonicalize_body(body)


@pytest.mark.parametrize("lines", [4_095, 4_096, 4_097, 8_192, 10_000])
@pytest.mark.parametrize("front", [b"", b"a", b" ", b"a\n", b"a\r"])
def test_many_empty_lines_are_dkims(front, lines):
    body = front + b"\r\n" * lines
    assert simple_body(body) == Simple.canonicalize_body(body)
    assert relaxed_body(body) == Relaxed.canonicalize_body(body)


@pytest.mark.parametrize("body", [b"\r\n" * 500_000, b"\r\n" * 500_000 + b"x", (b"\r\n" * 50 + b"x") * 10_000, b" " * 1_000_000, b" " * 1_000_000 + b"x", b" \t" * 500_000 + b"\r\n", b"a " * 500_000, b"a\t" * 500_000, b" \r" * 500_000, b"\r" * 1_000_000])  # fmt: skip
def test_a_megabyte_takes_no_time(body):
    assert yards(lambda: (simple_body_hash(body), relaxed_body(body)), 25) < 25


@pytest.mark.parametrize("body", [b"a\t" * 500_000, b"a b  c\r\n" * 125_000, b" " * 1_000_000])
def test_a_megabyte_takes_a_few_megabytes(body):
    tracemalloc.start()
    try:
        relaxed_body(body)
        assert tracemalloc.get_traced_memory()[1] < 5 * len(body)
    finally:
        tracemalloc.stop()
