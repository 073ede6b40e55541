"""Campaign L2 in its short form: large mails, many at once, and a node that stays small."""

import pytest

from tests.kit.memory import MIB, attachment, run, run_doors, short_lines

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
MOST_MIB = 256
KINDS = pytest.mark.parametrize(
    ("mail", "count"), [(attachment, 40), (short_lines, 20)], ids=["attachments of 25 MB", "lines of 3 octets"]
)


@KINDS
def test_L2_the_doors_take_large_mails_in_little_memory(tmp_path, mail, count):  # noqa: N802 (the campaign's name)
    figures = run_doors(tmp_path, mail, count, at_once=20, octets=24 * MIB)
    assert figures.accepted == count, figures.show()
    assert figures.peak < MOST_MIB, figures.show()


@KINDS
def test_L2_a_node_takes_large_mails_in_little_memory(tmp_path, mail, count):  # noqa: N802 (the campaign's name)
    count //= 2  # it decides about each as well, which takes minutes
    figures = run(tmp_path, mail, count, at_once=20, octets=24 * MIB)
    assert figures.accepted == count, figures.show()
    assert figures.peak < 2 * MOST_MIB, figures.show()
