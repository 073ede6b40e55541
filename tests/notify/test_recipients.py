import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.following import followers
from gateway.notify.recipients import Chosen, choose
from gateway.people import People, Person
from gateway.records.kinds import Kinds
from gateway.records.record import CUSTOMER, Choice, Party, Record
from gateway.rules import FollowRule, Rules, Team
from gateway.store.messages import Author, Details, Message

WAYS = {"a": "mail", "b": "mail", "chia": "inbox", "cheng": "digest", "d": "none"}
PEOPLE = People({
    key: Person(key=key, name=key.upper(), email=(f"{key}@example.com", f"{key}2@example.com"), delivery=way)
    for key, way in WAYS.items()
})  # fmt: skip
TEAMS = {"sales": Team(name="銷售團隊", leader="cheng", members=("a", "b", "chia", "d"))}
WANG = Party("王小明", ("wang@acme.example", "w@acme.example"), "zh-TW", "acme")
GUEST = "guest@other.example"
RECORD = Record(1, "quotation", "S00042", "20 chairs", "draft", "sales", ("sales",), customer=WANG)
EVERYBODY = FollowRule(3, (), "group:sales", ("*",))
KINDS = Kinds()


def message(subtype: str = "discussion", author: Author = Author(), **more) -> Message:
    told = {
        "id": 1, "record_id": 1, "subtype": subtype, "internal": KINDS.subtypes[subtype].internal, "at": 0,
        "author": author, "subject": "", "text": "", "quoted": "", "message_id": "m@d", "original_id": "",
        "parent_id": None, "ancestors": (), "addressed": (), "changes": (), "details": Details(),
        "hears": (), "not_hears": (), "state": "pending", **more,
    }  # fmt: skip
    return Message(**told)


def chosen(told: Message, choices=(), follow=(EVERYBODY,), record: Record = RECORD, suppressed=()) -> Chosen:
    their = followers(record, choices, PEOPLE, Rules(teams=TEAMS, follow=tuple(follow)))
    return choose(told, KINDS.subtypes[told.subtype], record, their, PEOPLE, suppressed)


def hears(*given_, **more) -> dict[str, str]:
    return {heard.who: heard.email for heard in chosen(*given_, **more).hears}


def why_not(who: str, *given_, **more) -> str:
    return next(left.reason for left in chosen(*given_, **more).not_hears if left.who == who)


def test_followers_hear_at_their_first_address():
    assert hears(message()) == {key: f"{key}@example.com" for key in ("a", "b", "chia", "cheng")}


def test_nobody_hears_their_own_message_back():
    for author in (Author("a", "A", "a@example.com"), Author("", "A", "a2@example.com"), Author("a", "A", "")):
        assert "a" not in hears(message(author=author))
        assert why_not("a", message(author=author)) == "wrote it themselves"


def test_nobody_hears_of_what_they_did():
    assert why_not("a", message("quotation.confirmed", Author("a", "A", "a@example.com"))) == "did it themselves"


def test_a_customer_who_wrote_does_not_hear_it_at_their_other_address():
    wrote = message(author=Author("", "", "w@acme.example"))
    assert "wang@acme.example" not in hears(wrote, [Choice(CUSTOMER, ("discussion",))])


@pytest.mark.parametrize("subtype", [name for name, subtype in KINDS.subtypes.items() if subtype.internal])
def test_an_outsider_never_hears_of_an_internal_subtype(subtype):
    choices = [Choice(CUSTOMER, ("*",)), Choice(GUEST, ("*",))]
    assert set(hears(message(subtype), choices)) <= set(PEOPLE.by_key)
    assert why_not(GUEST, message(subtype), choices) == "an outsider never hears of an internal subtype"


def test_a_message_marked_internal_stays_inside_whatever_its_subtype():
    inside = message(internal=True, details=Details(answered=GUEST))
    assert set(hears(inside, [Choice(CUSTOMER, ("*",)), Choice(GUEST, ("*",))])) <= set(PEOPLE.by_key)


@pytest.mark.parametrize("subtype", ["quotation.sent", "invoice.validated"])
def test_what_is_sent_to_the_customer_reaches_them_follower_or_not(subtype):
    for choices in ((), [Choice(CUSTOMER, ("discussion",))], [Choice(CUSTOMER, (), ("*",))]):
        heard = next(h for h in chosen(message(subtype), choices).hears if h.outsider)
        assert (heard.who, heard.email, heard.reason.code, heard.follows) == (
            "wang@acme.example",
            "wang@acme.example",
            "addressed",
            any(choice.subtypes for choice in choices),
        )


def test_what_somebody_else_mailed_is_not_mailed_again():
    mailed = message("quotation.sent", details=Details(mailed=True))
    assert "wang@acme.example" not in hears(mailed, [Choice(CUSTOMER, ("*",))])
    assert "somebody else" in why_not("wang@acme.example", mailed)


@pytest.mark.parametrize("email", ["wang@acme.example", "w@acme.example"])
def test_an_answer_goes_to_the_customer_at_the_address_that_asked(email):
    answer = message(author=Author("a", "A", "a@example.com"), details=Details(answered=email))
    assert hears(answer)["wang@acme.example"] == email
    assert hears(answer, [Choice(CUSTOMER, ("discussion",))])["wang@acme.example"] == email


def test_an_answer_goes_to_an_outsider_who_is_nobody_we_know():
    heard = next(h for h in chosen(message(details=Details(answered=GUEST))).hears if h.outsider)
    assert (heard.who, heard.email, heard.reader, heard.follows) == (GUEST, GUEST, GUEST, False)


def test_who_stands_in_to_or_cc_gets_no_second_copy():
    told = message(addressed=("a2@example.com", "w@acme.example"))
    assert not {"a", "wang@acme.example"} & set(hears(told, [Choice(CUSTOMER, ("discussion",))]))
    assert why_not("a", told) == "stands in To or Cc of the mail itself"


def test_a_suppressed_address_gives_way_to_the_next_and_then_to_none():
    assert hears(message(), suppressed={"a@example.com"})["a"] == "a2@example.com"
    both = {"a@example.com", "a2@example.com"}
    assert why_not("a", message(), suppressed=both) == "mail to the address is suppressed"


def test_automatic_mail_is_passed_on_to_nobody():
    assert hears(message(details=Details(automatic="a report"))) == {}


def test_who_wants_no_mail_gets_none():
    assert why_not("d", message()) == "wants no mail (delivery: none)"


def test_the_person_assigned_always_hears_it_unless_they_did_it():
    assigned = dataclasses.replace(RECORD, salesperson="b")
    assert hears(message("assigned"), follow=(), record=assigned) == {"b": "b@example.com"}
    assert hears(message("assigned"), [Choice("b", (), ("*",))], follow=(), record=assigned) == {"b": "b@example.com"}
    assert hears(message("assigned", Author("b", "B", "b@example.com")), follow=(), record=assigned) == {}


def test_a_person_who_does_not_follow_is_told_why_not():
    assert why_not("a", message(), follow=()) == "does not follow this record"
    assert why_not("a", message(), follow=(FollowRule(3, (), "a", ("note",)),)) == "follows, but not discussion"
    assert why_not("a", message(), [Choice("a", (), ("disc*",))]) == "unfollowed disc*"
    standing = [Choice("a", (), ("disc*",), team="sales")]
    assert why_not("a", message(), standing) == "unfollowed disc* team:sales"


def test_a_reader_is_known_by_what_they_are():
    readers = {h.who: h.reader for h in chosen(message(), [Choice(CUSTOMER, ("*",)), Choice(GUEST, ("*",))]).hears}
    assert (readers["a"], readers["wang@acme.example"], readers[GUEST]) == ("person:a", "wang@acme.example", GUEST)


NAMESAKE = dataclasses.replace(RECORD, customer=Party("Someone", ("other@acme.example",), "", "a"))


def test_a_quotation_for_a_customer_whose_file_has_a_persons_key_reaches_the_customer():
    told = chosen(message("quotation.sent"), record=NAMESAKE)
    assert {"a@example.com", "other@acme.example"} <= {heard.email for heard in told.hears}


def test_a_customer_whose_file_has_a_persons_key_hears_beside_that_person():
    told = chosen(message(), [Choice(CUSTOMER, ("discussion",))], record=NAMESAKE)
    assert {"a@example.com", "other@acme.example"} <= {heard.email for heard in told.hears}


def test_a_customer_whose_file_has_a_persons_key_hears_what_that_person_wrote():
    wrote = message(author=Author("a", "A", "a@example.com"), details=Details(answered="other@acme.example"))
    assert "other@acme.example" in {heard.email for heard in chosen(wrote, record=NAMESAKE).hears}


WHO = [*WAYS, "group:sales", "a2@example.com", "wang@acme.example", GUEST, "other@other.example", CUSTOMER, "nobody"]
EMAILS = [*(email for person in PEOPLE.by_key.values() for email in person.email), *WANG.emails, GUEST]
patterns = st.lists(st.sampled_from(["*", "quotation.*", "discussion", "note", "assigned"]), max_size=2).map(tuple)
some_emails = st.lists(st.sampled_from(EMAILS), max_size=3).map(tuple)


@st.composite
def situations(draw):
    who = draw(st.sampled_from(["", *WAYS]))
    email = draw(
        st.sampled_from(["", *WANG.emails, GUEST] if not who else [f"{who}@example.com", f"{who}2@example.com"])
    )
    details = Details(
        automatic=draw(st.sampled_from(["", "", "", "a report"])),
        mailed=draw(st.booleans()),
        answered=draw(st.sampled_from(["", *WANG.emails, GUEST, "new@other.example"])),
    )
    told = message(
        draw(st.sampled_from(list(KINDS.subtypes))),
        Author(who, "", email),
        addressed=draw(some_emails),
        details=details,
    )
    told = dataclasses.replace(told, internal=told.internal or draw(st.booleans()))
    return (
        told,
        dataclasses.replace(RECORD, salesperson=draw(st.sampled_from(["", *WAYS])), creator=draw(st.sampled_from(["", *WAYS])), customer=draw(st.sampled_from([WANG, Party(), dataclasses.replace(WANG, key="")]))),
        draw(st.lists(st.builds(Choice, st.sampled_from(WHO), patterns, patterns), max_size=6)),
        draw(st.lists(st.builds(FollowRule, st.integers(1, 99), st.sampled_from([(), ("sales",)]), st.sampled_from([*WHO, "leader", "salesperson"]), patterns), max_size=4)),
        set(draw(some_emails)),
    )  # fmt: skip


@given(situations())
def test_the_laws_of_who_hears(situation):
    told, record, choices, follow, suppressed = situation
    outcome = chosen(told, choices, follow, record, suppressed)
    internal = told.internal or KINDS.subtypes[told.subtype].internal
    for heard in outcome.hears:
        assert heard.email not in suppressed
        assert heard.email not in told.addressed
        assert heard.email != told.author.email
        assert not told.author.who or heard.who != told.author.who
        assert not (heard.outsider and internal)
        assert not told.details.automatic
        assert heard.delivery != "none"
        assert heard.outsider == (heard.who not in PEOPLE.by_key)
        assert str(heard.reason)
    emails = [heard.email for heard in outcome.hears]
    assert len(set(emails)) == len(emails)


@given(situations())
def test_everybody_stands_on_exactly_one_side(situation):
    told, record, choices, follow, suppressed = situation
    outcome = chosen(told, choices, follow, record, suppressed)
    sides = [heard.who for heard in outcome.hears] + [left.who for left in outcome.not_hears]
    assert len(set(sides)) == len(sides)
    assert set(PEOPLE.by_key) <= set(sides)
    assert all(left.reason for left in outcome.not_hears)
