"""Every folder here is a promise to a user, played against a real node on both stores."""

from pathlib import Path

import pytest

from tests.kit.story import play

STORIES = sorted(path for path in Path(__file__).parent.iterdir() if path.is_dir() and path.name[0].isdigit())


pytestmark = pytest.mark.parametrize("story", STORIES, ids=lambda path: path.name)


class TestOnSqlite:
    def test_story(self, story, tmp_path):
        play(story, tmp_path / "site")


class TestOnPostgresql:
    def test_story(self, story, tmp_path, postgresql_url):
        play(story, tmp_path / "site", postgresql_url)
