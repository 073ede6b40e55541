"""Thousands of random sequences of mails and events, compared with a model written from CONTRACT alone.

`script/model --sequences 10000 --seed N` plays others. What differs is printed in its smallest form.
"""

import os
from pathlib import Path

import pytest

from gateway import following
from gateway.records import conditions, kinds, lifecycle
from gateway.store import followers
from tests.kit import model, model_given, model_mail, model_words
from tests.kit.model import Bag
from tests.kit.model_play import run

FULL = bool(os.environ.get("REPLYGATE_FULL"))


@pytest.mark.timeout(3_600 if FULL else 600)
def test_no_sequence_of_commands_ends_otherwise_than_the_model_says(tmp_path):
    count = 10_000 if FULL else 1_200
    result = run(tmp_path, count, seed=1)
    assert result.sequences == count
    assert result.differences == [], result.show()
    assert {"posted", "done", "mistake", "held", "duplicate", "taken", "refused", "repeated"} == set(result.seen)
    assert all(each >= count // 100 for each in result.seen.values())


def test_the_model_knows_nothing_of_what_it_is_compared_with():
    for module in (model, model_given, model_mail, model_words):
        assert "import gateway" not in Path(module.__file__).read_text("utf-8")
        assert "from gateway" not in Path(module.__file__).read_text("utf-8")


# A rule of the code that is bent must be missed: each by what it is, and how.
BENT = {
    "the newer word wins": (followers, "unite", lambda old, _made: old),
    "what one gave up beats the rules": (following, "exactest", lambda *_: ""),
    "a condition judges the fields": (conditions.Clause, "holds", lambda *_: True),
    "a transition is refused in the wrong state": (
        lifecycle, "apply", lambda record, subtype, edit, _apply=lifecycle.apply, **more: _apply(record, subtype and _from_anywhere(subtype), edit, **more),
    ),
}  # fmt: skip


def _from_anywhere(subtype):
    return kinds.Subtype(subtype.name, subtype.names, subtype.internal, frozenset(), subtype.to)


@pytest.mark.parametrize("rule", BENT)
def test_a_rule_that_is_bent_is_noticed(tmp_path, monkeypatch, rule):
    monkeypatch.setattr(*BENT[rule])
    monkeypatch.setattr("tests.kit.model_play.SHRUNK_MAX", 1)
    result = run(tmp_path, 60, seed=1)
    assert result.differences
    assert "seed 1, smallest of a sequence that differs" in result.differences[0]


@pytest.mark.parametrize(
    ("bag", "subtype", "wanted"),
    [
        (Bag().with_wanted(["note"]), "note", True),
        (Bag().with_wanted(["note"]), "discussion", None),
        (Bag().with_wanted(["lead.*"]).with_given_up(["lead.won"]), "lead.won", False),
        (Bag().with_given_up(["lead.*"]).with_wanted(["lead.won"]), "lead.won", True),
        (Bag().with_given_up(["lead.*"]).with_wanted(["lead.won"]), "lead.lost", False),
        (Bag().with_wanted(["lead.won"]).with_given_up(["*"]), "lead.won", False),
        (Bag().with_given_up(["*"]).with_wanted(["note"]), "discussion", None),
    ],
)
def test_the_model_unites_choices_as_contract_says(bag, subtype, wanted):
    assert bag.says(subtype)[0] is wanted
