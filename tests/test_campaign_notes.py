"""The campaign of notes in its short form; `script/campaign-notes` runs the long one."""
# ruff: noqa: N802 (rows have capital names)

from tests.kit.notes_campaign import run, show

OPERATIONS = 1_200


def test_A01_A09_C23_no_note_and_no_tag_leaves_the_house_whatever_people_do():
    figures = run(OPERATIONS, seed=20261124)
    assert not figures.problems, show(figures)
    assert figures.operations == OPERATIONS
    assert figures.canaries_inside, "notes are heard inside"
    assert figures.to_outsiders, "mail goes to outsiders"
    assert figures.became["held quotes a note"], "and some of it would have carried a note"
