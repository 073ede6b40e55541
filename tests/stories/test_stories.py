"""Every folder here is a promise to a user, played against a real node on both stores."""

from pathlib import Path

import pytest

from tests.kit.story import play

STORIES = sorted(path for path in Path(__file__).parent.iterdir() if path.is_dir() and path.name[0].isdigit())


@pytest.mark.parametrize("story", STORIES, ids=lambda path: path.name)
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_story(story, kind, tmp_path, request):
    url = request.getfixturevalue("postgresql_url") if kind == "postgresql" else ""
    play(story, tmp_path / "site", url)
