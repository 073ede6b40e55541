"""The kill campaign in its short form; `script/campaign` runs the long one."""

import pytest

from tests.kit import postgres
from tests.kit.campaign import Plan, run, show

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
KILLS = 12


@pytest.mark.parametrize("store", ["sqlite", "postgresql"])
def test_nothing_is_lost_or_doubled_however_often_a_node_is_killed(tmp_path, store):
    if store == "postgresql":
        postgres.need()
    figures = run(tmp_path / "campaign", Plan(kills=KILLS, seed=20261123, store=store, sink_kills=0.3))
    assert not figures.problems, show(figures)
    assert figures.kills == KILLS
