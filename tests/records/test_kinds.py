import pytest

from gateway.records.kinds import (
    ADDRESSED_TO_CUSTOMER,
    BUILT_IN,
    DEFAULT_SUBTYPES,
    Kind,
    Kinds,
    Subtype,
    matches,
)

# CONTRACT §4: subtype, zh-TW, internal.
TABLE = [
    ("discussion", "討論", False),
    ("note", "備註", True),
    ("assigned", "指派", True),
    ("quotation.created", "報價單建立", True),
    ("quotation.sent", "報價單送出", False),
    ("quotation.confirmed", "銷售訂單已確認", False),
    ("quotation.cancelled", "報價單取消", False),
    ("lead.created", "商機建立", True),
    ("lead.stage", "階段變更", True),
    ("lead.won", "贏得商機", True),
    ("lead.lost", "失去商機", True),
    ("lead.restored", "商機恢復", True),
    ("invoice.created", "發票建立", True),
    ("invoice.validated", "發票已確認", False),
    ("invoice.paid", "發票已付款", False),
]


@pytest.mark.parametrize(("name", "chinese", "internal"), TABLE)
def test_a_subtype_is_named_and_kept_inside_as_promised(name, chinese, internal):
    subtype = Kinds().subtypes[name]
    assert subtype.label("zh-TW") == chinese
    assert subtype.label("en")
    assert subtype.internal is internal
    assert subtype.transition == ("." in name)
    assert subtype.creates == name.endswith(".created")


def test_there_are_no_other_subtypes():
    assert set(Kinds().subtypes) == {name for name, _, _ in TABLE}


def test_a_new_follower_hears_discussions_only():
    assert DEFAULT_SUBTYPES == ("discussion",)


def test_the_customer_is_addressed_by_what_is_sent_to_them():
    assert {"quotation.sent", "invoice.validated"} == ADDRESSED_TO_CUSTOMER
    assert not [name for name in ADDRESSED_TO_CUSTOMER if Kinds().subtypes[name].internal]


def test_every_transition_leads_between_states_of_its_kind():
    for kind in BUILT_IN:
        for subtype in kind.subtypes:
            assert subtype.to in kind.states
            assert subtype.origins <= set(kind.states)
            assert subtype.name.startswith(kind.name + ".")


@pytest.mark.parametrize(("kind", "prefix", "first"), [("quotation", "S", "draft"), ("lead", "L", "open"), ("invoice", "I", "draft")])  # fmt: skip
def test_a_kind_has_its_letter_and_first_state(kind, prefix, first):
    found = Kinds().by_name[kind]
    assert (found.prefix, found.first_state) == (prefix, first)


def test_a_further_kind_stands_beside_those_built_in():
    started = Subtype("repair.started", {"zh-TW": "開始維修"}, origins=frozenset({"new"}), to="repairing")
    kinds = Kinds([Kind("repair", {"en": "Repair"}, "R", ("new", "repairing"), (started,))])
    assert kinds.kind_of("repair.started") is kinds.by_name["repair"]
    assert kinds.kind_of("discussion") is None
    assert [s.name for s in kinds.of_record("repair")] == ["discussion", "note", "assigned", "repair.started"]
    assert [s.name for s in kinds.of_record("no such kind")] == ["discussion", "note", "assigned"]
    assert "repair" not in Kinds().by_name


def test_a_label_falls_back_to_english_and_then_to_the_key():
    assert Subtype("x.y", {"en": "Why"}).label("zh-TW") == "Why"
    assert Subtype("x.y", {}).label("en") == "x.y"


@pytest.mark.parametrize(
    ("patterns", "subtype", "fits"),
    [
        (["quotation.*"], "quotation.sent", "quotation.*"),
        (["quotation.*"], "lead.won", ""),
        (["*"], "note", "*"),
        (["note", "*"], "note", "note"),
        (["*.created"], "lead.created", "*.created"),
        (["discussion"], "discussion", "discussion"),
        (["discuss"], "discussion", ""),
        (["Quotation.*"], "quotation.sent", ""),
        (["not?"], "note", ""),
        (["[n]ote"], "note", ""),
        ([], "note", ""),
    ],
)
def test_a_pattern_fits_a_subtype_or_does_not(patterns, subtype, fits):
    assert matches(patterns, subtype) == fits
