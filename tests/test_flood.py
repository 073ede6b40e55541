"""The flood in its short form; `script/flood` runs the long one, which asks for 2 seconds on a quiet machine."""

import pytest

from tests.kit.flood import Plan, run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]
PATIENCE_S = 10.0  # beside whatever else the machine does; who is shut out waits for ever


@pytest.mark.parametrize("many", [False, True], ids=["from one address", "from many"])
def test_L1_honest_mail_passes_through_a_flood(tmp_path, many):  # noqa: N802 (the campaign's name)
    figures = run(tmp_path, Plan(seconds=4.0, many=many))
    assert figures.accepted == figures.mails > 0, figures.show()
    assert figures.quantile(0.99) < PATIENCE_S, figures.show()
    assert figures.fds[2] <= figures.fds[0] + 2, figures.show()
    assert figures.rss[1] - figures.rss[0] < 64, figures.show()
