import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.following import Follower, followers
from gateway.people import People, Person
from gateway.records.conditions import Condition, parse_condition
from gateway.records.kinds import Kinds, matches
from gateway.records.record import CUSTOMER, Choice, Party, Record
from gateway.rules import FollowRule, Rules, Team

PEOPLE = People({
    key: Person(key=key, name=key.upper(), email=(f"{key}@example.com", f"{key}2@example.com"), delivery=way)
    for key, way in (("a", "mail"), ("b", "mail"), ("chia", "inbox"), ("cheng", "digest"), ("d", "none"))
})  # fmt: skip
TEAMS = {
    "sales": Team(name="銷售團隊", leader="cheng", members=("a", "b", "chia")),
    "export": Team(name="外銷", leader="", members=("b", "d")),
}
WANG = Party("王小明", ("wang@acme.example", "w@acme.example"), "zh-TW", "acme")


def rules(*follow: FollowRule) -> Rules:
    return Rules(teams=TEAMS, follow=follow)


def rule(who: str, *subtypes: str, teams=("sales",), when: str = "", delivery=None, line: int = 7) -> FollowRule:
    return FollowRule(line, teams, who, subtypes, parse_condition(when) if when else Condition(), delivery)


def record(**more) -> Record:
    told = {"team": "sales", "teams": ("sales",), "customer": WANG, "fields": {"amount": "5"}}
    return Record(1, "quotation", "S00042", "20 chairs", "draft", **{**told, **more})


def found(record_: Record, choices=(), in_force: Rules | None = None) -> dict[str, Follower]:
    their = followers(record_, choices, PEOPLE, in_force or rules())
    assert len({each.who for each in their}) == len(their)
    return {each.who: each for each in their}


def hears(record_: Record, subtype: str, choices=(), in_force: Rules | None = None) -> set[str]:
    return {
        w for w, each in found(record_, choices, in_force).items() if not isinstance(each.heard(subtype, record_), str)
    }


def test_nobody_follows_a_record_that_names_nobody():
    assert found(record()) == {}


def test_creator_and_salesperson_hear_discussions():
    new = record(creator="b", salesperson="a")
    assert hears(new, "discussion") == {"a", "b"}
    assert hears(new, "note") == set()


def test_a_creator_who_is_no_person_does_not_follow():
    assert found(record(creator="erp", salesperson="nobody")) == {}


@pytest.mark.parametrize(
    ("who", "expected"),
    [
        ("chia", {"chia"}),
        ("chia@example.com", {"chia"}),
        ("chia2@example.com", {"chia"}),
        ("group:sales", {"a", "b", "chia", "cheng"}),
        ("group:nobody", set()),
        ("leader", {"cheng"}),
        ("salesperson", {"b"}),
        ("creator", {"d"}),
        ("customer", {"wang@acme.example"}),
        ("wang@acme.example", {"wang@acme.example"}),
        ("w@acme.example", {"wang@acme.example"}),
        ("guest@other.example", {"guest@other.example"}),
        ("nobody", set()),
    ],
)
def test_a_rule_names_who_follows(who, expected):
    new = record(creator="d", salesperson="b")
    assert hears(new, "quotation.sent", in_force=rules(rule(who, "quotation.*"))) == expected


def test_the_leader_of_a_team_without_one_is_nobody():
    assert found(record(team="export", teams=("export",)), in_force=rules(rule("leader", "*", teams=()))) == {}


@pytest.mark.parametrize(
    ("teams", "heard"), [(("sales",), True), ((), True), (("export",), False), (("export", "sales"), True)]
)
def test_a_rule_speaks_of_the_teams_it_names(teams, heard):
    assert bool(found(record(), in_force=rules(rule("a", "note", teams=teams)))) is heard


def test_the_rules_of_a_team_had_before_still_count():
    moved = record(team="export", teams=("sales", "export"))
    assert hears(moved, "note", in_force=rules(rule("a", "note"), rule("group:export", "note", teams=("export",)))) == {"a", "b", "d"}  # fmt: skip


def test_a_condition_is_judged_on_the_record_as_it_stands():
    in_force = rules(rule("a", "note", when="amount >= 10"))
    assert hears(record(), "note", in_force=in_force) == set()
    assert hears(record(fields={"amount": "10"}), "note", in_force=in_force) == {"a"}
    why = found(record(), in_force=in_force)["a"].heard("note", record())
    assert why == "the condition of the rule does not hold: rules.yaml:7: amount >= 10"


def test_subtypes_of_several_sources_unite():
    new = record(salesperson="a")
    in_force = rules(rule("a", "note"), rule("group:sales", "quotation.*"))
    heard = {name for name in Kinds().subtypes if "a" in hears(new, name, [Choice("a", ("lead.won",))], in_force)}
    assert heard == {"discussion", "note", "lead.won", *(n for n in Kinds().subtypes if n.startswith("quotation."))}


@pytest.mark.parametrize("who", ["a", "a@example.com", "a2@example.com"])
def test_ones_own_unfollow_beats_the_rules(who):
    choices = [Choice(who, (), ("quotation.*",), "unfollowed")]
    in_force = rules(rule("a", "*"))
    assert hears(record(), "quotation.sent", choices, in_force) == set()
    assert hears(record(), "note", choices, in_force) == {"a"}


def test_a_choice_that_is_more_exact_than_the_unfollow_beats_it():
    choices = [Choice("a", ("quotation.sent",), ("quotation.*",))]
    in_force = rules(rule("a", "*"), rule("a", "quotation.confirmed"))
    assert hears(record(), "quotation.sent", choices, in_force) == {"a"}
    assert hears(record(), "quotation.confirmed", choices, in_force) == set()


def test_an_unfollow_of_what_one_never_followed_makes_no_follower():
    assert found(record(), [Choice("a", (), ("*",), "unfollowed")]) == {}


def test_the_most_immediate_way_of_delivery_wins():
    in_force = rules(rule("a", "note", delivery="digest"), rule("a", "note", delivery="inbox", line=9))
    grant = found(record(), in_force=in_force)["a"].heard("note", record())
    assert not isinstance(grant, str)
    assert (grant.delivery, str(grant.reason)) == ("inbox", "rule rules.yaml:9")


def test_ones_own_way_of_delivery_counts_where_the_rule_names_none():
    their = found(record(), in_force=rules(rule("group:sales", "note"), rule("guest@other.example", "note")))
    ways = {who: each.grants[0].delivery for who, each in their.items()}
    assert ways == {"a": "mail", "b": "mail", "chia": "inbox", "cheng": "digest", "guest@other.example": "mail"}


def test_a_follower_added_by_hand_says_why():
    grant = found(record(), [Choice("guest@other.example", ("discussion",))])["guest@other.example"].grants[0]
    assert str(grant.reason) == "added"


def test_people_stand_before_outsiders():
    choices = [
        Choice(CUSTOMER, ("discussion",)),
        Choice("guest@other.example", ("discussion",)),
        Choice("a", ("note",)),
    ]
    assert list(found(record(), choices)) == ["a", "wang@acme.example", "guest@other.example"]


def test_the_customer_of_a_record_without_one_is_nobody():
    assert found(record(customer=Party()), [Choice(CUSTOMER, ("discussion",))]) == {}


def test_members_and_leader_follow_their_teams_own_thread():
    thread = Record(2, "team", "SALES", "銷售團隊", "open")
    assert hears(thread, "discussion") == {"a", "b", "chia", "cheng"}
    assert hears(thread, "note") == {"a", "b", "chia", "cheng"}
    assert hears(thread, "note", [Choice("a", (), ("note",), "unfollowed")]) == {"b", "chia", "cheng"}


def test_an_edit_of_the_rules_counts_at_once():
    assert hears(record(), "note", in_force=rules(rule("a", "note"))) == {"a"}
    assert hears(record(), "note", in_force=rules(rule("b", "note"))) == {"b"}


def test_a_person_and_a_customers_file_of_one_key_are_two_followers():
    new = record(customer=Party("Someone", ("other@acme.example",), "", "a"), salesperson="a")
    their = followers(new, [Choice(CUSTOMER, ("discussion",))], PEOPLE, rules())
    assert [(each.outsider, each.emails[0]) for each in their] == [
        (False, "a@example.com"),
        (True, "other@acme.example"),
    ]
    assert len({each.who for each in their}) == 2


WHO = ["a", "b", "chia", "cheng", "d", "group:sales", "group:export", "a@example.com", "wang@acme.example", "w@acme.example", "guest@other.example", CUSTOMER, "nobody"]  # fmt: skip
patterns = st.lists(st.sampled_from(["*", "quotation.*", "discussion", "note", "quotation.sent"]), max_size=3).map(
    tuple
)
choice_lists = st.lists(st.builds(Choice, st.sampled_from(WHO), patterns, patterns), max_size=6)
rule_lists = st.lists(
    st.builds(FollowRule, st.integers(1, 99), st.sampled_from([(), ("sales",), ("export",)]), st.sampled_from([*WHO, "leader", "salesperson", "creator"]), patterns),
    max_size=6,
)  # fmt: skip


@given(choice_lists, rule_lists)
def test_whatever_names_them_everybody_follows_once_by_addresses_of_their_own(choices, follow):
    their = followers(record(salesperson="a", creator="b"), choices, PEOPLE, rules(*follow))
    emails = [email for each in their for email in each.emails]
    assert len(set(emails)) == len(emails)
    assert len({each.who for each in their}) == len(their)
    assert [each.outsider for each in their] == sorted(each.outsider for each in their)
    for each in their:
        assert each.outsider == (each.who not in PEOPLE.by_key)
        assert each.grants
        for name in Kinds().subtypes:
            if matches(each.without, name) and not any(grant.chosen for grant in each.grants):
                assert isinstance(each.heard(name, record()), str)
