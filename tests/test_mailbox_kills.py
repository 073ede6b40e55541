"""Row P11 in its short form: what reads and writes mailboxes is killed at every point; `script/campaign-mailboxes` is the long one."""

import random
import zlib

import pytest
import structlog

from tests.kit import dovecot as dovecot_kit
from tests.kit.dovecot import Dovecot
from tests.kit.mailbox_campaign import USERS, begin, finish, play
from tests.kit.mailbox_child import POINTS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
TIMES = 2


@pytest.fixture(autouse=True)
def _quiet():
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    dovecot_kit.need()
    folder = tmp_path_factory.mktemp("kills")
    with Dovecot(folder / "dovecot", {user: f"pw-{user}" for user in USERS}) as server:
        made = begin(folder / "world", server)
        yield made
        made.close()


@pytest.mark.parametrize("point", POINTS)
def test_P11_no_mail_is_lost_or_doubled_whenever_it_is_killed(world, point):  # noqa: N802 (the row's name)
    rng = random.Random(zlib.crc32(point.encode()))
    assert [problem for _ in range(TIMES) for problem in play(world, point, rng)] == []


def test_P11_in_the_end_everything_stands_everywhere_once(world):  # noqa: N802 (the row's name)
    assert finish(world) == []
