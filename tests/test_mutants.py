"""The guards that `script/mutants` takes away still stand where it looks for them, and a few are taken away for real."""

import pytest

from tests.kit.mutants import MUTANTS, caught_by, copy, misplaced

# One caught where recipients are chosen, one by rules, one only by the campaign.
FOR_REAL = ("law 5 where recipients are chosen", "only one's own tag stands in for proof", "outsiders are told no rule")


def test_every_mutant_stands_exactly_once_in_its_file():
    assert misplaced() == []
    assert len(MUTANTS) >= 30
    assert len({mutant.guards for mutant in MUTANTS}) == len(MUTANTS)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_guard_that_is_taken_away_is_missed(tmp_path):
    tree = copy(tmp_path)
    chosen = [mutant for mutant in MUTANTS if mutant.guards in FOR_REAL]
    assert len(chosen) == len(FOR_REAL)
    assert [mutant.guards for mutant in chosen if not caught_by(tree, mutant)] == []
