import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mail.quoting import EXAMINED, split_reply, without_quotes

GMAIL = "On Wed, Mar 4, 2026 at 10:00 AM A <s00042@sales.example.com>"
OUTLOOK = "From: A <s00042@sales.example.com>\nSent: Wednesday, March 4, 2026 10:00 AM\nTo: Wang\nSubject: RE: [S00042] 20 chairs\n\nHello\nsee offer"
OUTLOOK_ZH = "寄件者： A君 <s00042@sales.example.com>\n寄件日期： 2026年3月4日 上午 10:00\n收件者： 王小明\n主旨： RE: [S00042] 20 chairs\n\n您好\n報價如附"

# What the author wrote, what their program put behind it.
TOP_POSTED = {
    "gmail": ("Fine.", GMAIL + " wrote:\n\n> Hello\n> see offer"),
    "gmail wraps before wrote": ("Fine.", GMAIL + "\nwrote:\n\n> Hello\n> see offer"),
    "gmail wraps before the address": ("Fine.", "On Wed, Mar 4, 2026 at 10:00 AM A of the sales team <\ns00042@sales.example.com> wrote:\n\n> Hello"),
    "gmail in Chinese": ("好的，就照這個價錢。", "A君 <s00042@sales.example.com> 於 2026年3月4日 週三 上午10:00 寫道：\n\n> 您好\n> 報價如附"),
    "gmail in Chinese, wrapped": ("好的", "A君 <s00042@sales.example.com> 於 2026年3月4日 週三\n上午10:00寫道：\n\n> 您好"),
    "apple mail": ("Fine.", "> On Mar 4, 2026, at 10:00 AM, A <s00042@sales.example.com> wrote:\n> \n> Hello\n> see offer"),
    "apple mail in Chinese": ("好的", "> A君 <s00042@sales.example.com> 於 2026年3月4日 上午10:00 寫道：\n> \n> 您好"),
    "outlook": ("Fine.", OUTLOOK),
    "outlook with a rule": ("Fine.\n\nBest regards,\nWang", "_" * 32 + "\n" + OUTLOOK),
    "outlook, original message": ("Fine.", "-----Original Message-----\n" + OUTLOOK),
    "outlook in Chinese": ("好的", OUTLOOK_ZH),
    "outlook in Chinese, original message": ("好的", "-----原始郵件-----\n" + OUTLOOK_ZH),
    "outlook for a phone": ("Fine.", "Get Outlook for iOS<https://aka.ms/o0ukef>\n" + "_" * 32 + "\n" + OUTLOOK),
    "a phone": ("Fine.", "Sent from my iPhone\n\n" + GMAIL + " wrote:\n> Hello"),
    "a phone in Chinese": ("好的", "從我的 iPhone 傳送\n\nA君 <s00042@sales.example.com> 於 2026年3月4日 上午10:00 寫道：\n\n> 您好"),
    "an android in Chinese": ("好的", "從我的 Samsung Galaxy 智慧型手機傳送。\n\n-------- 原始郵件 --------\n" + OUTLOOK_ZH),
    "thunderbird": ("Fine.", "On 3/4/26 10:00, A wrote:\n> Hello\n> see offer"),
    "German": ("Gut.", "Am 04.03.2026 um 10:00 schrieb A:\n> Hallo"),
    "French": ("Bien.", "Le mer. 4 mars 2026 à 10:00, A <s00042@sales.example.com> a écrit :\n\n> Bonjour"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "behind"), TOP_POSTED.values(), ids=TOP_POSTED.keys())
def test_what_a_program_puts_behind_an_answer_is_quoted(text, behind):
    reply = split_reply(f"{text}\n\n{behind}\n")
    assert reply.text == text
    assert reply.quoted


@pytest.mark.parametrize(("text", "behind"), TOP_POSTED.values(), ids=TOP_POSTED.keys())
def test_line_ends_change_nothing(text, behind):
    whole = f"{text}\n\n{behind}\n"
    assert split_reply(whole.replace("\n", "\r\n")) == split_reply(whole)


@pytest.mark.parametrize(
    "head", ["On 3/4/26 10:00, A wrote:", "Am 04.03.26 um 10:00 schrieb A:", "A 於 2026/3/4 上午 10:00 寫道："]
)
def test_an_answer_below_its_quote_is_the_text(head):
    reply = split_reply(f"{head}\n> Hello\n> see offer\n\nFine for me.\nWang\n")
    assert reply.text == "Fine for me.\nWang"
    assert reply.quoted == f"{head}\n> Hello\n> see offer"


def test_answers_line_by_line_keep_the_quotes_they_answer():
    text = "> How many?\nTwenty.\n> When?\nIn May."
    assert split_reply(text).text == text
    assert without_quotes(text) == "Twenty.\nIn May."


def test_a_mail_that_only_quotes_says_nothing():
    reply = split_reply(GMAIL + " wrote:\n> Hello\n")
    assert reply.text == ""
    assert "> Hello" in reply.quoted


@pytest.mark.parametrize(
    "signature", ["-- \nWang\nACME", "Sent from my iPhone", "從我的 iPhone 傳送", "Get Outlook for Android"]
)
def test_a_signature_is_no_text(signature):
    assert split_reply(f"Fine.\n\n{signature}\n").text == "Fine."


@pytest.mark.parametrize(
    "text",
    [
        "Sent via DHL this morning, tracking number 12345.\n\nRegards",
        "Sent by courier yesterday; please confirm.",
        "From my side all is fine.",
        "從我的角度看沒問題，請出貨。",
        "傳送自動報價給客戶了嗎？",
        "On Tuesday the customer wrote:\nplease lower the price\nThat is what I know.",
    ],
)
def test_a_sentence_that_begins_like_a_signature_or_an_attribution_is_not_lost(text):
    reply = split_reply(text)
    whole = reply.text + "\n" + reply.quoted
    assert [line for line in text.split("\n") if line not in whole] == []
    assert reply.text


def test_code_between_fences_is_text():
    text = "Hello\n```\n> code\nFrom: a\n```\nbye"
    assert split_reply(text).text == text


def test_what_is_beyond_the_cap_is_quoted():
    text = "word " * (EXAMINED // 5 + 100)
    reply = split_reply(text)
    assert len(reply.text) <= EXAMINED
    assert reply.quoted


PLAIN = st.lists(
    st.lists(st.sampled_from(["chairs", "twenty", "三張椅子", "price", "42", "OK,", "very", "明天", "(maybe)", "thanks!"]), max_size=8).map(" ".join),
    max_size=30,
).map("\n".join)  # fmt: skip


@given(PLAIN)
def test_where_nothing_is_quoted_nothing_is_lost(text):
    reply = split_reply(text)
    assert [line for line in reply.text.split("\n") if line] == [line for line in text.split("\n") if line]
    assert reply.quoted == ""


@given(PLAIN.filter(str.strip), st.sampled_from(list(TOP_POSTED)))
def test_whatever_the_author_wrote_above_a_quote_is_the_text(text, program):
    if program == "gmail wraps before wrote":
        return
    reply = split_reply(f"{text}\n\n{TOP_POSTED[program][1]}")
    assert reply.text.split() == text.split()


PIECES = [GMAIL, " wrote:", "\n", ">", "> ", "wrote:", "From: a", "Sent: 2026", "To: b", "-----", "-- ", "```", "寫道：", "於 ", "\r\n", "word", "<a@b.tw>", "2026", "Sent from my "]  # fmt: skip


@given(st.text() | st.lists(st.sampled_from(PIECES)).map("".join))
def test_splitting_never_raises(text):
    reply = split_reply(text)
    assert reply.text == reply.text.strip()
    assert reply.quoted == reply.quoted.strip()
    without_quotes(text)


@pytest.mark.parametrize(
    "text",
    [
        "On Mon, 1 Jan 2024, A <a@b.tw> wrote:\n" + ">\n" * 32_000 + "From: x\n",
        "On Mon, 1 Jan 2024, A <a@b.tw> wrote:\n" + "\n" * 60_000 + "From: x\n",
        "On \n" * 250_000,
        "2024\n" * 200_000,
        "\n" * 1_000_000,
        "[" * 1_000_000,
        "From: a\nx\n" * 100_000,
        ("posted by " * 30 + "\n") * 3_000,
        ("a@" * 200 + "\n") * 2_500,
        "on " * 300_000,
    ],
    ids=lambda text: repr(text[:30]),
)
def test_a_megabyte_of_malice_comes_back(text):
    split_reply(text)


def lines_of(text: str) -> list[str]:
    return [line.rstrip() for line in text.replace("\r\n", "\n").strip().split("\n")]


def test_the_corpus_of_replies_is_split_as_its_makers_say(corpora):
    folder = corpora / "reply"
    emails = sorted((folder / "emails").iterdir())
    wrong = [
        path.name
        for path in emails
        if lines_of(split_reply(path.read_bytes().decode()).text)
        != lines_of((folder / "trimmed" / path.name).read_bytes().decode())
    ]
    assert len(emails) == 22
    assert len(wrong) <= 1, wrong
