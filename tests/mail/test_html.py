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
            )
        ),
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
            )
        ),
        '<table bgcolor="#0052cc"><tr><td style="color:#ffffff">Hello</td></tr></table>',
        '<body style="background-color:black"><font color="white">Hello</font>',
        "<style>.dark{background:#222}</style><p class=dark><font color=white>Hello</font></p>",
    ],
)
def test_what_it_does_not_hide_is_there(shown):
    assert "Hello" in html_to_text(shown)
