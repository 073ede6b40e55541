import itertools
from typing import get_args

import pytest

from gateway.decide.authorise import (
    Question,
    Role,
    Senders,
    Tag,
    Wish,
    authorise,
    authorise_intake,
    authorise_team,
)

# Every combination there is. Columns: was it released by a person, is the author authenticated,
# whose tag does the address hold. What is answered:
#   yes accept;  - not authenticated;  p not a person;  s stranger;  u no author
GOLDEN = """
                       as it came                      released
                       sure            unsure          sure            unsure
role      wish         own other none  own other none  own other none  own other none
person    discussion   yes yes   yes   yes -     -     yes yes   yes   yes yes   yes
person    note         yes yes   yes   -   -     -     yes yes   yes   yes yes   yes
person    command      yes yes   yes   -   -     -     yes yes   yes   yes yes   yes
person    unfollow     yes yes   yes   -   -     -     yes yes   yes   yes yes   yes
follower  discussion   yes yes   yes   yes -     -     yes yes   yes   yes yes   yes
follower  note         p   p     p     p   p     p     p   p     p     p   p     p
follower  command      p   p     p     p   p     p     p   p     p     p   p     p
follower  unfollow     yes yes   yes   yes -     -     yes yes   yes   yes yes   yes
customer  discussion   yes yes   yes   yes -     -     yes yes   yes   yes yes   yes
customer  note         p   p     p     p   p     p     p   p     p     p   p     p
customer  command      p   p     p     p   p     p     p   p     p     p   p     p
customer  unfollow     yes yes   yes   yes -     -     yes yes   yes   yes yes   yes
stranger  discussion   s   s     s     s   s     s     yes yes   yes   yes yes   yes
stranger  note         p   p     p     p   p     p     p   p     p     p   p     p
stranger  command      p   p     p     p   p     p     p   p     p     p   p     p
stranger  unfollow     s   s     s     s   s     s     yes yes   yes   yes yes   yes
unknown   discussion   u   u     u     u   u     u     yes yes   yes   yes yes   yes
unknown   note         u   u     u     u   u     u     u   u     u     u   u     u
unknown   command      u   u     u     u   u     u     u   u     u     u   u     u
unknown   unfollow     u   u     u     u   u     u     u   u     u     u   u     u
"""
CAUSES = {
    "yes": "",
    "-": "not authenticated",
    "p": "not a person",
    "s": "stranger",
    "u": "no author",
    "w": "not welcome",
}
COLUMNS = list(itertools.product((False, True), (True, False), get_args(Tag)))  # released, authenticated, tag


def golden() -> dict[Question, str]:
    rows = [line.split() for line in GOLDEN.strip().splitlines()[3:]]
    return {
        Question(role, sure, tag, wish, released): CAUSES[cell]
        for role, wish, *cells in rows
        for (released, sure, tag), cell in zip(COLUMNS, cells, strict=True)
    }


@pytest.mark.parametrize(("question", "cause"), golden().items(), ids=str)
def test_what_a_mail_may_do_on_a_record_stands_in_the_table(question, cause):
    decided = authorise(question)
    assert decided.cause == cause
    assert decided.name == ("hold" if cause else "accept")
    assert bool(decided.reason) == bool(cause)


def test_the_table_has_every_combination():
    every = itertools.product(get_args(Role), (True, False), get_args(Tag), get_args(Wish), (True, False))
    assert set(golden()) == {Question(*each) for each in every}


def test_no_mail_to_a_record_is_refused_or_discarded():
    assert {authorise(question).name for question in golden()} == {"accept", "hold"}


# Who may create a record by mail: whom the address takes mail from, role, sure, unsure.
INTAKE = """
people     person    yes  -
people     follower  w    w
people     customer  w    w
people     stranger  w    w
people     unknown   u    u
customers  person    yes  -
customers  follower  w    w
customers  customer  yes  -
customers  stranger  w    w
customers  unknown   u    u
everyone   person    yes  -
everyone   follower  yes  yes
everyone   customer  yes  yes
everyone   stranger  yes  yes
everyone   unknown   u    u
"""


@pytest.mark.parametrize("row", INTAKE.strip().splitlines())
def test_who_may_create_a_record_by_mail(row):
    senders, role, *cells = row.split()
    for authenticated, cell in zip((True, False), cells, strict=True):
        decided = authorise_intake(senders, role, authenticated=authenticated, released=False)
        assert decided.cause == CAUSES[cell]
        assert decided.name == {"yes": "accept", "w": "refuse"}.get(cell, "hold")


@pytest.mark.parametrize("senders", get_args(Senders))
@pytest.mark.parametrize("role", get_args(Role))
def test_what_a_person_released_creates_a_record_whoever_wrote_it(senders, role):
    for authenticated in (True, False):
        assert authorise_intake(senders, role, authenticated=authenticated, released=True).name == "accept"


# A team's own thread: role, sure, unsure, and released whether sure or not.
TEAM = """
person    yes  -  yes
follower  s    s  yes
customer  s    s  yes
stranger  s    s  yes
unknown   u    u  yes
"""


@pytest.mark.parametrize("row", TEAM.strip().splitlines())
def test_a_teams_thread_is_for_people(row):
    role, sure, unsure, released = row.split()
    assert authorise_team(role, authenticated=True, released=False).cause == CAUSES[sure]
    assert authorise_team(role, authenticated=False, released=False).cause == CAUSES[unsure]
    for authenticated in (True, False):
        assert authorise_team(role, authenticated=authenticated, released=True).cause == CAUSES[released]
