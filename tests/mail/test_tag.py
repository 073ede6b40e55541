import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mail.tag import NUMBER_MAX, TAG_LENGTH, Keys, make_tag, read_tag

KEYS = Keys(3, {3: b"k" * 32, 7: b"o" * 32})
ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"
subjects = st.text(alphabet="abcdefghijklmnopqrstuvwxyz0123456789:", max_size=40)
numbers = st.integers(0, NUMBER_MAX)


@given(subjects, numbers)
def test_a_tag_we_made_holds_its_number(subject, number):
    tag = make_tag(KEYS, subject, number)
    assert len(tag) == TAG_LENGTH
    assert set(tag) <= set(ALPHABET)
    assert read_tag(KEYS, subject, tag) == number


@given(subjects, numbers)
def test_case_does_not_matter(subject, number):
    tag = make_tag(KEYS, subject, number)
    assert read_tag(KEYS, subject.upper(), tag.upper()) == number


@given(numbers, st.integers(0, TAG_LENGTH - 1), st.sampled_from(ALPHABET))
def test_a_tag_with_one_character_changed_is_refused(number, at, char):
    tag = make_tag(KEYS, "record:s00042", number)
    changed = tag[:at] + char + tag[at + 1 :]
    assert (read_tag(KEYS, "record:s00042", changed) is None) == (changed != tag)


@pytest.mark.parametrize("char", ["\u212a", "k\u0307", "0", "1", "8", "9", "", " ", "é", "\u0130", "ｋ", "-", "\x00"])
def test_a_character_outside_the_alphabet_is_refused(char):
    number = next(n for n in range(100) if "k" in make_tag(KEYS, "x", n))
    assert read_tag(KEYS, "x", make_tag(KEYS, "x", number).replace("k", char)) is None


@given(subjects, subjects, numbers)
def test_a_tag_is_good_for_its_subject_only(subject, other, number):
    assert (read_tag(KEYS, other, make_tag(KEYS, subject, number)) is None) == (subject != other)


@given(numbers)
def test_another_key_is_refused(number):
    stranger = Keys(3, {3: b"x" * 32})
    assert read_tag(KEYS, "s", make_tag(stranger, "s", number)) is None


def test_an_old_key_is_still_accepted_and_a_forgotten_one_is_not():
    old = make_tag(Keys(7, KEYS.secrets), "s", 5)
    assert read_tag(KEYS, "s", old) == 5
    assert read_tag(Keys(3, {3: b"k" * 32}), "s", old) is None


def test_a_key_that_is_empty_makes_nothing_good():
    empty = Keys(9, {9: b""})
    assert read_tag(empty, "s", make_tag(empty, "s", 5)) is None
    assert read_tag(KEYS, "s", make_tag(Keys(9, {9: b""}), "s", 5)) is None


@given(st.text(max_size=60))
def test_reading_never_raises_and_refuses_what_is_made_up(tag):
    assert read_tag(KEYS, "s", tag) is None


def test_a_number_that_does_not_fit_is_refused():
    with pytest.raises(OverflowError):
        make_tag(KEYS, "s", NUMBER_MAX + 1)
