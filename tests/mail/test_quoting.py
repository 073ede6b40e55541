from html import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mail.html import html_to_text
from gateway.mail.parse import parse
from gateway.mail.quoting import EXAMINED, Reply, split_reply, without_quotes
from gateway.records.commands import split_commands

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
    "signature",
    [
        "-- \nWang\nACME", "Sent from my iPhone", "從我的 iPhone 傳送", "Get Outlook for Android", "發自我的 iPhone",
        "來自我的 iPhone", "由我的 iPhone 傳送", "從 Yahoo奇摩電子郵件 傳送", "從 Windows 版郵件傳送", "透過 Gmail 行動版傳送",
        "取得 Android 版 Outlook", "取得 iOS 版 Outlook<https://aka.ms/o0ukef>", "获取 Outlook for iOS", "发自我的iPhone", "寄自我的 iPad",
    ],
)  # fmt: skip
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
        "來自我的客戶的問題：何時出貨？",
        "由我的同事下週傳送",
        "從台中寄出",
        "透過貨運公司寄出",
        "取得客戶的同意後再說",
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


def test_what_is_beyond_the_cap_is_whosever_the_last_before_it_is():
    text = "word " * (EXAMINED // 5 + 100)
    assert split_reply(text + "the end") == Reply(text + "the end", "")
    quoted = f"I agree.\n\n{GMAIL} wrote:\n" + "> word\n" * (EXAMINED // 7 + 100)
    assert split_reply(quoted).text == "I agree."
    assert split_reply(quoted).quoted.count("word") == EXAMINED // 7 + 100


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
    reply = split_reply(f"{text}\n\n{TOP_POSTED[program][1]}")
    assert reply.text.split() == text.split()


def marked(text: str) -> str:
    return "\n".join(f"> {line}".rstrip() for line in text.split("\n"))


A = "A <s00042@sales.example.com>"
FIELDS = f"From: {A}\nSent: Tuesday, November 24, 2026 3:05 PM\nTo: B <b@x.example>\nSubject: RE: 20 chairs\n\n"
FIELDS_ZH = f"寄件者: {A}\n寄件日期: 2026年11月24日 下午 03:05\n收件者: B君 <b@x.example>\n主旨: RE: 20 chairs\n\n"
WROTE = f"On Tue, Nov 24, 2026 at 3:05 PM {A} wrote:"
WROTE_ZH = "A君 <s00042@sales.example.com> 於 2026年11月24日週二 下午3:05寫道："
# What a program puts behind the author's own words, by what it quotes: every line marked, or none.
MARKED = {
    "gmail": lambda quoted: f"{WROTE}\n\n{marked(quoted)}",
    "gmail, wrapped": lambda quoted: f"On Tue, Nov 24, 2026 at 3:05 PM A of sales\n<a@x.example> wrote:\n\n{marked(quoted)}",
    "gmail in Chinese": lambda quoted: f"{WROTE_ZH}\n\n{marked(quoted)}",
    "gmail in Chinese, wrapped": lambda quoted: f"A君 <a@x.example>\n於 2026年11月24日週二\n下午3:05寫道：\n\n{marked(quoted)}",
    "apple mail": lambda quoted: f"> On Nov 24, 2026, at 3:05 PM, {A} wrote:\n> \n{marked(quoted)}",
    "apple mail forwards": lambda quoted: f"Begin forwarded message:\n\n{marked(FIELDS + quoted)}",
    "thunderbird": lambda quoted: f"On 11/24/26 15:05, A wrote:\n{marked(quoted)}",
    "spark": lambda quoted: f"Sent with Spark\nOn 24 Nov 2026 at 3:05 PM +0800, {A}, wrote:\n{marked(quoted)}",
}  # fmt: skip
UNMARKED = {
    "outlook": lambda quoted: FIELDS + quoted,
    "outlook in Chinese": lambda quoted: FIELDS_ZH + quoted,
    "outlook with a rule": lambda quoted: "_" * 32 + f"\n{FIELDS}{quoted}",
    "outlook for a phone": lambda quoted: f"Get Outlook for iOS<https://aka.ms/o0ukef>\n{'_' * 32}\n{FIELDS}{quoted}",
    "outlook, original message": lambda quoted: f"-----Original Message-----\n{FIELDS}{quoted}",
    "gmail forwards": lambda quoted: f"---------- Forwarded message ---------\n{FIELDS}{quoted}",
    "a banner alone": lambda quoted: f"---------- Forwarded message ---------\n{quoted}",
    "samsung in Chinese": lambda quoted: f"-------- 原始郵件 --------\n{FIELDS_ZH}{quoted}",
    "yahoo": lambda quoted: f"    {WROTE}  \n \n {quoted}",
    "yahoo in Chinese": lambda quoted: f"    {WROTE_ZH}  \n \n {quoted}",
    "yahoo for android": lambda quoted: f"Sent from Yahoo Mail on Android \n \n  {WROTE}   {quoted}",
    "netease": lambda quoted: f'At 2026-11-24 15:05:12, "A" <a@x.example> wrote:\n{quoted}',
    "netease on a phone": lambda quoted: f"---- 回复的原邮件 ----\n| 发件人 | A君<a@x.example> |\n| 日期 | 2026年11月24日 15:05 |\n{quoted}",
    "qq": lambda quoted: f"------------------&nbsp;原始邮件&nbsp;------------------\n发件人: A\n{quoted}",
}  # fmt: skip
RICH = {
    "gmail": lambda quoted: f'<div class="gmail_quote"><div dir="ltr" class="gmail_attr">{escape(WROTE)}<br></div><blockquote class="gmail_quote">{quoted}</blockquote></div>',
    "gmail, a language we do not know": lambda quoted: f'<div class="gmail_quote"><div class="gmail_attr">Xyz:</div><blockquote class="gmail_quote">{quoted}</blockquote></div>',
    "gmail forwards": lambda quoted: f'<div class="gmail_quote"><div class="gmail_attr">---------- Xyz ---------<br>Abc: d</div>{quoted}</div>',
    "gmail without a word above": lambda quoted: f'<div class="gmail_quote">{quoted}</div>',
    "apple mail": lambda quoted: f'<div><br><blockquote type="cite"><div>{escape(WROTE)}</div><br><div>{quoted}</div></blockquote></div>',
    "thunderbird": lambda quoted: f'<div class="moz-cite-prefix">{escape(WROTE)}<br></div><blockquote cite="mid:x" type="cite">{quoted}</blockquote>',
    "outlook": lambda quoted: f'<div id="appendonsend"></div><hr><div id="divRplyFwdMsg">{escape(FIELDS)}</div>{quoted}',
    "outlook without fields": lambda quoted: f'<div id="appendonsend"></div>{quoted}',
    "yahoo": lambda quoted: f'<div class="ydp1yahoo_quoted"><div>{escape(WROTE)}</div>{quoted}</div>',
}  # fmt: skip
PLAINLY = ["Fine.", "三張椅子", "We deliver in May 2027.", "On Monday we deliver.", "在月底前交貨沒問題。", "At noon", "Regards,", "B", "", "", "see <a@b.example>", "wrote:", "To: Taipei"]  # fmt: skip
COMMANDS = ["/unfollow", "/follow note", "／備註：客戶", "/confirm"]
ANYTHING = [
    *PLAINLY, *COMMANDS, *COMMANDS, *COMMANDS, "> Hi", "> /confirm", ">> x", "-- ", "_" * 30, "```", "Sent from my iPhone",
    "On Mon, Nov 23, 2026 at 10:00 AM W <w@x.example> wrote:", "W <w@x.example> 於 2026年11月23日 寫道：", "W <w@x.example> wrote:",
    "-----Original Message-----", "Begin forwarded message:", "From: W <w@x.example>", "Sent: 2026/11/23 10:00", "Subject: y",
]  # fmt: skip
OWN = st.tuples(
    st.lists(st.sampled_from(COMMANDS), max_size=2), st.lists(st.sampled_from(PLAINLY), max_size=6)
).map(lambda both: "\n".join(both[0] + both[1]))  # fmt: skip
QUOTED = st.lists(st.sampled_from(ANYTHING), min_size=1, max_size=9).map("\n".join)
RICHLY = st.recursive(
    st.sampled_from(ANYTHING).map(lambda line: f"<div>{escape(line)}</div>"),
    lambda inside: (
        st.lists(inside, min_size=1, max_size=4).map("".join)
        | st.tuples(st.sampled_from(list(RICH.values())), inside).map(lambda both: both[0](both[1]))
        | inside.map(lambda each: f"<blockquote>{each}</blockquote>")
        | inside.map(lambda each: f"<table><tr><td>{each}</td><td>{each}</td></tr></table>")
    ),
    max_leaves=8,
)


@given(OWN, QUOTED, st.sampled_from([*MARKED.values(), *UNMARKED.values()]))
def test_exactly_what_the_author_commands_is_a_command(own, quoted, behind):
    reply = split_reply(f"{own}\n\n{behind(quoted)}")
    assert split_commands(reply.text)[0] == split_commands(own)[0]


@given(OWN, RICHLY, st.sampled_from(list(RICH.values())))
def test_exactly_what_the_author_commands_is_a_command_in_html_too(own, quoted, behind):
    html = "".join(f"<div>{escape(line) or '<br>'}</div>" for line in own.split("\n")) + behind(quoted)
    assert split_commands(split_reply(html_to_text(html)).text)[0] == split_commands(own)[0]


@given(QUOTED, st.sampled_from(["On 11/24/26 15:05, A wrote:\n", f"{WROTE}\n\n", f"{WROTE_ZH}\n\n"]))
def test_a_command_below_a_marked_quote_is_taken(quoted, head):
    reply = split_reply(f"{head}{marked(quoted)}\n\n/follow note\nFine.")
    assert reply.text == "/follow note\nFine."


@pytest.mark.parametrize(
    "text",
    [
        f"{WROTE}\n/unfollow\nHello\n{WROTE}\nHi",
        f"/follow\n\n{WROTE}\n/unfollow\n> Hi",
        "/follow\n\nOn Tuesday Wang wrote:\n/unfollow\n> Hi",
        "/follow\n-----\n/unfollow",
        "-----\n" + "\u200b" * 500 + "/unfollow",
        f"> {WROTE}\n> please send the command\n/unfollow",
    ],
)
def test_what_is_left_out_brings_no_command_to_the_top(text):
    assert [each.word for each in split_commands(split_reply(text).text)[0] if each.word != "follow"] == []


@pytest.mark.parametrize(
    ("parameters", "body", "text"),
    [
        ("; format=flowed", "/set title oak \nchairs\n\nx \ny", "/set title oak chairs\n\nx y"),
        ('; format="flowed"; delsp=yes', "三張 \n椅子", "三張椅子"),
        ("; Format=Flowed", "> one \n> two\n>> three \nfour", "> one two\n>> three \nfour"),
        ("; format=flowed", "Fine. \n-- \nWang", "Fine. \n-- \nWang"),
        ("; format=flowed", " From me\n > no quote", "From me\n > no quote"),
        ("; format=flowed", "a\n \nb", "a\n\nb"),
        ("; format=fixed", "one \ntwo", "one \ntwo"),
        ("", "one \ntwo", "one \ntwo"),
    ],
)
def test_lines_broken_softly_are_one(parameters, body, text):
    head = f"From: a@b.example\nContent-Type: text/plain; charset=utf-8{parameters}\n\n"
    assert parse((head + body).encode()).text == text


@pytest.mark.parametrize(
    "style",
    ["-webkit-text-stroke-width: 0px", "border-width:0", "min-height:0", "fill-opacity:0", "margin: 0;height: 20px"],
)
def test_a_style_that_hides_nothing_hides_nothing(style):
    assert html_to_text(f'<div style="color:red; {style}">Fine.</div>') == "Fine."


@pytest.mark.parametrize(
    "style",
    [
        "width:0;overflow:hidden",
        "overflow-y: hidden;height: 0px",
        "max-height:0;overflow:hidden",
        "font-size:0",
        "display:none",
        "opacity:0",
        "position:absolute;left:-9999px",
    ],
)
def test_a_style_that_hides_hides(style):
    assert html_to_text(f'<div style="color:red;{style}">/unfollow</div>Fine.') == "Fine."


def test_no_text_of_html_closes_a_quote_that_is_marked():
    for end in ("\u2063<\u2063", "&#8291;&lt;&#8291;"):
        shown = html_to_text(f"<blockquote><div>Hi</div><div>{end}</div><div>/unfollow</div></blockquote>Fine.")
        assert shown.split("\n")[-3:] == ["> /unfollow", "", "Fine."]


def test_html_that_nests_too_deep_is_read_as_far_as_it_may_be():
    shown = html_to_text("<p>Fine.</p>" + "<blockquote>" * 300 + "/unfollow" + "</blockquote>" * 300)
    assert split_reply(shown).text == "Fine."


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
