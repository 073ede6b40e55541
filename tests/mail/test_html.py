"""What a reader of a page would see: nothing that a style sheet hides, and all that it shows."""

import pytest

from gateway.mail.html import html_to_text


@pytest.mark.parametrize(
    "hidden",
    [
        "<style>.x{display:none}</style><p class=x>/unfollow</p>",
        "<style>p.x , #y {visibility:hidden}</style><p class='q x'>/unfollow</p><p id=Y>/won</p>",
        "<style>/* .y{} */ td .x {color:red; font-size:0}</style><span class=X>/unfollow</span>",
        "<style>aside{mso-hide:all}</style><aside>/unfollow</aside>",
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
                "left:-99em",
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
        "<style>.x{display:none</style><p class=x>Hello</p>",
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
    ],
)
def test_what_it_does_not_hide_is_there(shown):
    assert "Hello" in html_to_text(shown)
