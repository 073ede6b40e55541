"""What a reader of a page would see: nothing that a style sheet hides, and all that it shows."""

import time

import pytest

from gateway.mail.html import QUOTE_BEGINS, html_to_text


@pytest.mark.parametrize(
    "hidden",
    [
        "<style>.x{display:none}</style><p class=x>/unfollow</p>",
        "<style>p.x , #y {visibility:hidden}</style><p class='q x'>/unfollow</p><p id=Y>/won</p>",
        "<style>/* .y{} */ p .x {color:red; font-size:0}</style><p><span class=X>/unfollow</span></p>",
        *(
            f'<div style="{style}">/unfollow</div>'
            for style in (
                "color:#fff",
                "color: White;font-size:12px",
                "font-size:12px; COLOR:rgb(255, 255,255)",
                "color:transparent",
                "color:rgba(0,0,0, 0)",
                "font-size:1px",
                "font-size: 0.01em",
                "font-size:.5pt",
                "font-size:1%",
                "opacity:0.01",
                "clip:rect(0,0,0,0)",
                "clip-path:inset(50%)",
                "position:absolute;left:-99em",
                "transform:scale(0)",
                "visibility:collapse",
                "font:0/0 a",
                "font:0px/1 Arial",
                "font: italic bold 1px serif",
                "zoom:0",
                "filter:opacity(0)",
                "filter:opacity(0%)",
                "max-width:0;overflow:hidden",
                "text-indent:100%;white-space:nowrap;overflow:hidden",
                "text-indent:-9999px",
                "content-visibility:hidden",
                "-webkit-text-fill-color:transparent",
                "-webkit-text-fill-color:#fff",
                "color:#ffffff00",
                "color:#0000",
                "color:rgb(0 0 0 / 0%)",
                "color:hsl(0,0%,100%)",
                "color:hsla(0 0% 100% / 1)",
                "color:rgb(255 255 255)",
                "color:rgb(100%, 100%, 100%)",
                "color:snow",
                "color:#fefefe",
                "color:#FFF !important",
                "color:#333;background:#333",
                "color:#fff;background:#fff",
                "color:#fff;background:none",
                "transform:translateX(-9999px)",
            )
        ),
        "<style>.x{display:none</style><p class=x>/unfollow</p>",
        "<style>.q{color:#fff}</style><p class=q>/unfollow</p>",
        "<style>@media screen{.q{display:none}}</style><p class=q>/unfollow</p>",
        "<style>@media only screen { .p{color:red} .q{display:none} }</style><p class=q>/unfollow</p>",
        "<style>[data-x]{display:none} p[lang]{font-size:0}</style><p data-x=1>/unfollow</p><p lang=en>/won</p>",
        "<style>.a{background:#eee} .q{color:#fff}</style><p class=q>/unfollow</p>",
        '<body bgcolor="#ffffff"><p style="color:white">/unfollow</p>',
        '<body style="background:#fff"><p style="color:white">/unfollow</p>',
        '<div style="background-color:white"><p style="color:#fff">/unfollow</p></div>',
        '<div style="background:#eee"><p style="color:#EEE">/unfollow</p></div>',
        '<table bgcolor="black"><tr><td><font color=black>/unfollow</font></td></tr></table>',
        '<div style="background:#000"><div style="background:#fff"><p style="color:#fff">/unfollow</p></div></div>',
        "<style>.x{background:#123}</style><font color=white>/unfollow</font>",
        '<div style="color:#fff;display:none"><p style="color:#fff">/unfollow</p></div>',
        '<font color="#FFFFFF">/unfollow</font>',
        "<div style='color:white'><p>/unfollow</p><b>/won</b></div>",
        '<style>.a.b{display:none}</style><p class="a b">/unfollow</p>',
        "<style>aside *{display:none}</style><aside><p>/unfollow</p></aside>",
        "<style>aside > p + p{display:none}</style><aside><p></p><p>/unfollow</p></aside>",
        "<style>b:first-child{display:none}</style><p><b>/unfollow</b></p>",
        '<p style="display:/**/none">/unfollow</p>',
        '<p style="d\\69splay:none">/unfollow</p>',
        '<p style="display:none !important;display:block">/unfollow</p>',
        "<style>.x{display:none !important}</style><p class=x style='display:block'>/unfollow</p>",
        "<style>@media screen, print{.m{display:none}}</style><p class=m>/unfollow</p>",
        "<style>@supports (display:block){.m{display:none}}</style><p class=m>/unfollow</p>",
        '<font color="ffffff">/unfollow</font>',
        '<body style="color:#fff"><p>/unfollow</p><p style="color:#000"></p><style>div{color:#000}</style>',
        '<div style="background:#000000"><p style="color:#000">/unfollow</p></div>',
        "<details><summary></summary>/unfollow</details>",
        "<iframe>/unfollow</iframe>",
        "<dialog>/unfollow</dialog>",
        "<canvas>/unfollow</canvas>",
        "<p hidden>/unfollow</p>",
        "<style>aside{mso-hide:all}</style><aside>/unfollow</aside>",
        '<p style="margin:-9999px">/unfollow</p>',
        '<div style="height:1px;overflow:hidden">/unfollow</div>',
        '<p style="font-size:0.1mm">/unfollow</p>',
        '<div style="font-size:1px"><p style="font-size:1em">/unfollow</p></div>',
    ],
)
def test_what_a_style_sheet_hides_is_not_there(hidden):
    assert html_to_text(f"{hidden}<div>Hello</div>") == "Hello"


@pytest.mark.parametrize(
    "shown",
    [
        "<style>.x{color:red}</style><p class=x>Hello</p>",
        "<style>@media (max-width: 400px) {.x{display:none}}</style><p class=x>Hello</p>",
        "<style>.xy{display:none}</style><p class=x>Hello</p>",
        *(
            f'<div style="{style}">Hello</div>'
            for style in (
                "color:#fff;background:#000",
                "color:#ffe",
                "background-color:#fff",
                "border-color: white",
                "font-size:12px",
                "font-size:1.0em",
                "font-size:100%",
                "font-size:3px",
                "opacity:0.5",
                "opacity:1",
                "color:rgba(0,0,0,0.9)",
                "clip:rect(10px,0,0,0)",
                "left:-9px",
                "transform:scale(0.5)",
                "font:12px/1.5 Arial",
                "font: 400 2em serif",
                "font:inherit",
                "zoom:1",
                "zoom:100%",
                "zoom:0.9",
                "filter:opacity(50%)",
                "max-width:100%",
                "width:0.5px",
                "text-indent:2em",
                "color:#ff0000ff",
                "color:rgb(0 0 0 / 100%)",
                "color: rgb(0, 0, 0)",
                "color:rgb(0 0 0)",
                "color:hsl(0, 0%, 0%)",
                "color:hsl(0,0%,20%)",
                "color:#fff;background:url(x.png)",
                "color:#333;background:#fff",
                "margin-top:1000px",
                "font-size:medium",
            )
        ),
        '<table bgcolor="#0052cc"><tr><td style="color:#ffffff">Hello</td></tr></table>',
        '<body style="background-color:black"><font color="white">Hello</font>',
        "<style>@media screen and (max-width:600px){.q{display:none}}</style><p class=q>Hello</p>",
        "<style>@media print{.q{display:none}}</style><p class=q>Hello</p>",
        "<style>.q{color:#fff;background:#06c}</style><p class=q>Hello</p>",
        "<style>.d{background:#06c}.q{color:#fff}</style><div class=d><p class=q>Hello</p></div>",
        "<body bgcolor=#003366><font color=white>Hello</font>",
        "<style>.dark{background:#222}</style><p class=dark><font color=white>Hello</font></p>",
        '<div style="line-height:0"><p style="line-height:1.5">Hello</p></div>',
        '<p class=MsoNormal style="margin-left:120.0pt;text-indent:-120.0pt">Hello</p>',
        '<div style="color:#fff"><span style="color:#000">Hello</span></div>',
        '<div style="visibility:hidden"><p style="visibility:visible">Hello</p></div>',
        '<style>.a{display:none}</style><p class=a style="display:block">Hello</p>',
        "<style>.a{display:none}.a{display:block}</style><p class=a>Hello</p>",
        "<style>p.a{display:block}.a{display:none}</style><p class=a>Hello</p>",
        "<style>.mobile p{display:none}</style><p>Hello</p>",
        "<style>[owa] .show{display:none}</style><p class=show>Hello</p>",
        "<style>p:hover{display:none}</style><p>Hello</p>",
        '<p style="width:0;min-width:100%!important;overflow:hidden">Hello</p>',
        '<table><tr><td style="width:0">Hello</td></tr></table>',
        '<div style="height:0">Hello</div>',
        '<div style="left:-9999px">Hello</div>',
        '<p style="color:#fff;text-shadow:1px 1px 2px #000">Hello</p>',
        "<style>.q tr:first-child{background:#333} .q th{color:#fff}</style><table class=q><tr><th>Hello</th></tr></table>",
        "<details open><summary>more</summary>Hello</details>",
        "<details><summary>Hello</summary>more</details>",
        '<div style="font-size:0"><p style="font-size:13px">Hello</p></div>',
    ],
)
def test_what_it_does_not_hide_is_there(shown):
    assert "Hello" in html_to_text(shown)


@pytest.mark.parametrize(
    ("page", "least"),
    [(f"<style>{'@' * 60_000}</style>x", 1), (f"<style>{'a,' * 30_000}{{color:red}}</style>{'<a>x</a>' * 9_000}", 9_000),
     (f"<style>{'*{color:red}' * 5_000}</style>{'<i>x</i>' * 9_000}", 9_000), (f"<style>{'{' * 60_000}</style>x", 1),
     (f"<style>{'@media only' + ' ' * 60_000}</style>x", 1), (f"<style>a{'.b' * 30_000}{{color:red}}</style>{'<a class=b>x</a>' * 5_000}", 5_000),
     (f"<style>{'div div div div div div p{color:red}' * 900}</style>{'<div>' * 190}{'<p>x</p>' * 9_000}", 9_000),
     (f"<style>i div div div div div div div p{{display:none}}</style>{'<div>' * 190}{'<p>x</p>' * 900}", 900)],
)  # fmt: skip
def test_a_page_whose_sheets_would_take_long_is_read_and_commands_nothing(page, least):
    began = time.process_time()
    text = html_to_text(page)
    assert text.count("x") >= least
    assert time.process_time() - began < 8  # each took minutes, or would
    assert least == 1 or text.startswith(QUOTE_BEGINS)
