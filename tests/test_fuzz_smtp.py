"""The protocol fuzz in its short form; `script/fuzz-smtp` runs the long one."""

import pytest

from tests.kit.protocol_fuzz import run

pytestmark = pytest.mark.timeout(120)


def test_F2_whatever_is_said_is_answered_and_nothing_is_kept_that_was_not_brought(tmp_path):  # noqa: N802 (the campaign's name)
    figures = run(tmp_path, 1_000, seed=20261124)
    assert figures.problems == [], figures.show()
    assert figures.sessions == 1_000
    assert figures.kept > 100, figures.show()
