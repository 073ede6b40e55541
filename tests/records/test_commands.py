import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.records.commands import COMMANDS, FOLLOW, NOTE, QUOTE, UNFOLLOW, split_commands


@pytest.mark.parametrize(
    ("text", "commands", "rest"),
    [
        ("/note\nInside.", [(NOTE, ())], "Inside."),
        ("/NOTE\nInside.", [(NOTE, ())], "Inside."),
        ("/備註\n不要給客戶看", [(NOTE, ())], "不要給客戶看"),
        ("／備註\n不要給客戶看", [(NOTE, ())], "不要給客戶看"),
        ("／ｎｏｔｅ\nx", [(NOTE, ())], "x"),
        ("/follow", [(FOLLOW, ())], ""),
        ("/follow quotation.* note", [(FOLLOW, ("quotation.*", "note"))], ""),
        ("/訂閱 note", [(FOLLOW, ("note",))], ""),
        ("/訂閱note", [(FOLLOW, ("note",))], ""),
        ("/取消訂閱", [(UNFOLLOW, ())], ""),
        ("/取消訂閱note", [(UNFOLLOW, ("note",))], ""),
        ("  /note  \n\n\n  x", [(NOTE, ())], "  x"),
        ("\n\n/follow\n\n/note\n\nx\n/unfollow", [(FOLLOW, ()), (NOTE, ())], "x\n/unfollow"),
        ("/follow\r\n/note\r\nx", [(FOLLOW, ()), (NOTE, ())], "x"),
        ("x\n/note", [], "x\n/note"),
        ("/備註 還在比價，先別催（週五）", [(NOTE, ("還在比價，先別催（週五）",))], ""),
        ("／備註：客戶　Ａ", [(NOTE, ("客戶　Ａ",))], ""),
        ("/備註客戶：急（今天）", [(NOTE, ("客戶：急（今天）",))], ""),
        ("/note：foo", [(NOTE, ("foo",))], ""),
        ("/note:see http://x.example/a", [(NOTE, ("see http://x.example/a",))], ""),
        ("/note:\nx", [(NOTE, ())], "x"),
        ("／ＦＯＬＬＯＷ：ｎｏｔｅ", [(FOLLOW, ("note",))], ""),
        ("/quote 辦公椅（二十張），Ａ案 １００", [(QUOTE, ("辦公椅（二十張），Ａ案", "100"))], ""),
        ("/備註/客戶\nx", [], "/備註/客戶\nx"),
        ("/報價/2026/五月.pdf\nx", [], "/報價/2026/五月.pdf\nx"),
        ("/usr/bin/python\nx", [], "/usr/bin/python\nx"),
        ("/\nx", [], "/\nx"),
        ("/ note\nx", [(NOTE, ())], "x"),
        ("//note", [], "//note"),
        ("/5 of them", [], "/5 of them"),
        ("> /note\nx", [], "> /note\nx"),
        ("", [], ""),
        ("\n\nx\n", [], "\n\nx\n"),
    ],
)
def test_commands_stand_at_the_top_of_a_text(text, commands, rest):
    given_, left = split_commands(text)
    assert [(each.command, each.arguments) for each in given_] == commands
    assert left == rest


def test_an_unknown_command_is_kept_with_the_nearest_words():
    (each,), rest = split_commands("/folow note\nx")
    assert each.command is None
    assert each.word == "folow"
    assert each.arguments == ("note",)
    assert each.nearest[0] == "/follow"
    assert rest == "x"


def test_a_word_like_none_of_ours_has_no_nearest():
    (each,), _ = split_commands("/zzzzzzzz")
    assert each.command is None
    assert list(each.nearest) == []


def test_both_words_of_every_command_mean_it():
    for command in COMMANDS:
        for word in (command.name, command.chinese):
            (each,), _ = split_commands(f"/{word}")
            assert each.command is command


@given(st.text(alphabet=st.characters() | st.sampled_from("/／\n \r備註note")))
def test_splitting_never_raises_and_the_rest_is_the_authors(text):
    given_, rest = split_commands(text)
    assert rest in text
    if not given_:
        assert rest == text
    for each in given_:
        assert len(each.nearest) <= 3


@pytest.mark.parametrize("text", ["/x\n" * 30_000, "/" + "x" * 1_000_000, "\n" * 1_000_000, "/note " * 160_000])
def test_a_megabyte_of_commands_comes_back(text):
    for each in split_commands(text)[0][:3]:
        assert len(each.nearest) <= 3
