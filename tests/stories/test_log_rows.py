"""Row C24 of the catalogue, over all stories: `play` looks through the log of every node it stops; here, that it sees."""
# ruff: noqa: N802 (rows have capital names)

import base64

import pytest

from gateway.alias import Addresses
from gateway.keyring import load_keys
from gateway.users import set_user
from tests.kit import story
from tests.kit.node import Node
from tests.kit.nodelog import leaks, nowhere_words, secrets_of
from tests.stories.test_stories import STORIES

LINE = "timestamp=2026-11-24T10:00:00.000000Z level=info event=decided how=held arrival=3 cause={} record="
NOTES = STORIES[3]


def test_C24_a_story_whose_node_logs_what_it_should_not_fails(tmp_path, monkeypatch):
    """The log of a real story, with one line in it as a careless node would have written it."""

    def stop(node: Node) -> int:
        with node.stderr.open("a") as log:
            log.write(LINE.format("/note CANARY") + "\n")
        return stops(node)

    stops = Node.stop
    monkeypatch.setattr(Node, "stop", stop)
    with pytest.raises(AssertionError, match="C24"):
        story.play(NOTES, tmp_path / "site")


def test_C24_a_log_is_seen_to_hold_a_tag_a_secret_and_what_was_said(tmp_path):
    keys = load_keys(tmp_path / "var")
    set_user(tmp_path / "var" / "users", "a", "a password")
    hashed = (tmp_path / "var" / "users").read_text().strip().rpartition(":")[2]
    ours = Addresses("sales.example.com", keys)
    tagged = ours.alias("S00001", "", 7).local
    tag = tagged.rpartition("+")[2]
    key = keys.secrets[keys.current]
    secrets, said = secrets_of(tmp_path), nowhere_words(NOTES) | {"the price is 7"}
    assert said >= {"CANARY"}
    bad = [
        tagged, tagged.upper(), tag, f"s00001={tag}", f"s00001{tag}", f"%2b{tag}", ours.return_path(3).local, ours.held("drop", 3).local,
        key.hex(), repr(key), base64.b64encode(key).decode(), hashed, "CANARY", "'/note canary'", "The price is 7, she said",
    ]  # fmt: skip
    for each in bad:
        assert list(leaks(LINE.format(each), secrets, said)), each
    good = ["", "stranger", "'not authenticated'", "s00001@sales.example.com", "0123456789abcdef0123456789abcdef"]
    assert list(leaks("\n".join(map(LINE.format, good)), secrets, said)) == []


def test_C24_every_word_that_a_story_keeps_inside_is_looked_for():
    assert {each.name[:2] for each in STORIES if nowhere_words(each)} >= {"04", "23", "25", "26", "30"}
