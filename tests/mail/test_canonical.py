import hashlib

import pytest
from dkim.canonicalization import Simple
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.mail.canonical import simple_body_hash


@given(st.lists(st.sampled_from([b"\r\n", b"\r", b"\n", b" ", b"\t", b"a", b"\x00", "單".encode()])).map(b"".join) | st.binary())  # fmt: skip
@example(b"")
@example(b"\r\n")
@example(b"\r\n\r\n")
@example(b"a")
@example(b"a\r\n\r\n \r\n\r\n")
def test_the_hash_of_a_body_is_dkims(body):
    assert simple_body_hash(body) == hashlib.sha256(Simple.canonicalize_body(body)).digest()


@pytest.mark.parametrize("body", [b"\r\n" * 500_000, b"\r\n" * 500_000 + b"x", (b"\r\n" * 50 + b"x") * 10_000])
def test_a_megabyte_of_empty_lines_comes_back(body):
    simple_body_hash(body)
